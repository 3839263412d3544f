"""The promises of the upstream client, against a server that breaks the rules. aiohttp keeps those it can."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import h11
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from waterline.providers import upstream, upstream_aiohttp, upstream_connection
from waterline.providers.upstream import (
    BadResponse,
    ConnectFailed,
    Disconnected,
    Origin,
    Pool,
    PoolBusy,
    Timeout,
    UpstreamError,
)

# The successor of this fixture, a hook, works only in a conftest and there for every test beside this file.
pytestmark = pytest.mark.filterwarnings('ignore:Overriding the "event_loop_policy" fixture')

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
EVIL = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
BIG = 24 << 20
FOREVER = 3600.0


class Hostile:
    """One behaviour a path. A behaviour that returns True ends the connection."""

    def __init__(self) -> None:
        self.connections = 0
        self.heads: list[bytes] = []
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        self.big_sent = 0
        self.port = 0
        self.go_on = asyncio.Event()  # what a behaviour waits for where a test decides when

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        nth = 0
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ")[1].rpartition(b"/")[2].decode()
                if path == "early413":
                    writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
                    await asyncio.sleep(FOREVER)
                    return
                _, has_length, rest = head.lower().partition(b"content-length: ")
                self.bodies.append(await reader.readexactly(int(rest.split(b"\r\n")[0])) if has_length else b"")
                self.heads.append(head)
                self.paths.append(path)
                nth += 1
                if path in FIXED:
                    writer.write(FIXED[path])
                elif path in FIXED_THEN_CLOSE:
                    writer.write(FIXED_THEN_CLOSE[path])
                    await writer.drain()
                    return
                elif await getattr(self, path)(writer, nth):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def by_byte(self, writer: asyncio.StreamWriter, nth: int) -> None:
        wire = CHUNKED[:-2] + b"x: y\r\n\r\n3;ext=1\r\nabc\r\n4\r\ndefg\r\n0\r\nx-trailer: 1\r\n\r\n"
        for byte in wire:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.0002)

    async def reset(self, writer: asyncio.StreamWriter, nth: int) -> bool:
        writer.transport.abort()
        return True

    async def stall(self, writer: asyncio.StreamWriter, nth: int) -> bool:
        await asyncio.sleep(FOREVER)
        return True

    async def stall_in_head(self, writer: asyncio.StreamWriter, nth: int) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(1000):
            writer.write(b"x: y\r\n")
            await asyncio.sleep(0.03)
        return True

    async def stall_in_body(self, writer: asyncio.StreamWriter, nth: int) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
        await asyncio.sleep(FOREVER)
        return True

    async def trickle(self, writer: asyncio.StreamWriter, nth: int) -> bool:
        writer.write(CHUNKED)
        for _ in range(1000):
            writer.write(b"8\r\n: ping\n\n\r\n")
            await asyncio.sleep(0.03)
        return True

    async def tokens(self, writer: asyncio.StreamWriter, nth: int) -> None:
        """The second when the test says so."""
        writer.write(CHUNKED + b"1\r\na\r\n")
        await self.go_on.wait()
        writer.write(b"1\r\nb\r\n0\r\n\r\n")

    async def late_surplus(self, writer: asyncio.StreamWriter, nth: int) -> None:
        writer.write(OK)
        await self.go_on.wait()
        writer.write(EVIL)

    async def ok_then_close(self, writer: asyncio.StreamWriter, nth: int) -> bool:
        writer.write(OK)
        await self.go_on.wait()
        return True

    async def once(self, writer: asyncio.StreamWriter, nth: int) -> bool:
        if nth == 1:
            writer.write(OK)
        return nth > 1

    async def slow(self, writer: asyncio.StreamWriter, nth: int) -> None:
        await asyncio.sleep(0.05)
        writer.write(OK)

    async def big(self, writer: asyncio.StreamWriter, nth: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % BIG)
        for _ in range(BIG >> 16):
            writer.write(b"z" * 65536)
            await writer.drain()
            self.big_sent += 65536


FIXED = {
    "ok": OK,
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,
    "no_content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "no_content_with_length": b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
    "surplus_response": OK + EVIL,
    "surplus_byte": OK + b"H",
    "surplus_junk": OK + b"\x00\x01junk",
    "interim_flood": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20 + OK,
    "head_over_limit": b"HTTP/1.1 200 OK\r\nx: " + b"a" * (1 << 20) + b"\r\ncontent-length: 0\r\n\r\n",
    "too_many_headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 40000 + b"content-length: 0\r\n\r\n",
    "too_many_trailers": CHUNKED + b"0\r\n" + b"x: y\r\n" * 40000 + b"\r\n",
    "endless_trailer": CHUNKED + b"0\r\nx: " + b"a" * (1 << 20),
    "endless_extension": CHUNKED + b"1;x=" + b"a" * (1 << 20),
    "length_and_chunked": b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two_lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabc",
    "two_codings": CHUNKED[:-2] + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "gzip_coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "upgrade": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nzz",
    "status_below_100": b"HTTP/1.1 099 What\r\ncontent-length: 0\r\n\r\n",
    "not_http": b"\x16\x03\x01 not http\r\n\r\n",
    "bad_chunk": CHUNKED + b"zz\r\nab\r\n0\r\n\r\n",
}
FIXED_THEN_CLOSE = {
    "until_close": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "short_length": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
    "short_chunk": CHUNKED + b"5\r\nab",
    "short_last_chunk": CHUNKED + b"2\r\nab\r\n",
    "short_head": b"HTTP/1.1 200 OK\r\ncontent-le",
}


class Certificate(NamedTuple):
    certificate: Path
    key: Path


ON_BOTH_LOOPS = [("uvloop", "ours"), ("asyncio", "ours")]
ours_only = pytest.mark.parametrize(("event_loop_policy", "client"), ON_BOTH_LOOPS, indirect=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What needs a client runs with ours on both loops, and unless it says `ours_only` with aiohttp on one."""
    if "client" in metafunc.fixturenames and ours_only.mark not in metafunc.definition.iter_markers():
        pairs = [*ON_BOTH_LOOPS, ("uvloop", "aiohttp")]
        metafunc.parametrize(("event_loop_policy", "client"), pairs, indirect=True)


@pytest.fixture
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    asked_for = getattr(request, "param", "asyncio")
    return uvloop.EventLoopPolicy() if asked_for == "uvloop" else asyncio.DefaultEventLoopPolicy()


@pytest.fixture
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


Listen = Callable[..., Awaitable[int]]
MakePool = Callable[..., Any]  # upstream.Pool or its stand-in


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    servers: list[asyncio.Server] = []

    async def start(serve: Any, tls: ssl.SSLContext | None = None) -> int:
        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls, limit=1 << 20))
        port: int = servers[-1].sockets[0].getsockname()[1]
        return port

    yield start
    for server in servers:
        server.close()
    leftover = asyncio.all_tasks() - {asyncio.current_task()}
    for task in leftover:
        task.cancel()
    await asyncio.gather(*leftover, return_exceptions=True)


@pytest.fixture
async def hostile(listen: Listen) -> Hostile:
    server = Hostile()
    server.port = await listen(server.serve)
    return server


@pytest.fixture
async def make_pool(client: str, hostile: Hostile) -> AsyncIterator[MakePool]:
    pools: list[Any] = []

    def make(origin: Origin | None = None, **options: Any) -> Any:
        kind = upstream.Pool if client == "ours" else upstream_aiohttp.Pool
        pool = kind(origin or Origin("127.0.0.1", hostile.port, tls=False), **{"tick": 0.02, **options})
        pools.append(pool)
        return pool

    yield make
    await eventually(lambda: all(pool.stats.in_use == 0 for pool in pools))  # no test may leak a slot
    for pool in pools:
        pool.close()
        pool.close()
    await eventually(lambda: all(pool.stats == (0, 0, 0) for pool in pools))


@pytest.fixture
async def pool(make_pool: MakePool) -> Any:
    return make_pool()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("tls")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subject = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run([*command.split(), *subject], check=True, capture_output=True)
    return made


@pytest.fixture
async def tls_port(certificate: Certificate, hostile: Hostile, listen: Listen) -> int:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return await listen(hostile.serve, context)


@pytest.fixture
def trusting(certificate: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate.certificate))


async def eventually(holds: Callable[[], bool], within: float = 30.0) -> None:
    end = asyncio.get_running_loop().time() + within
    while not holds():
        assert asyncio.get_running_loop().time() < end, "did not come true in time"
        await asyncio.sleep(0.001)


async def begin(pool: Any, path: str, body: bytes = b"x" * 2000, method: str = "POST", **options: Any) -> Any:
    head = pool.head(method, f"/{path}", ())
    return await pool.send(head, body, **{"first_byte": 30.0, "idle": 30.0, "total": 60.0, **options})


async def ask(pool: Any, path: str, body: bytes = b"x" * 2000, **options: Any) -> tuple[int, bytes]:
    response = await begin(pool, path, body, **options)
    return response.status, await response.read()


@contextlib.contextmanager
def lasting(at_least: float) -> Iterator[None]:
    """No upper bound: a machine may stop for a while. What ends too late meets another, longer deadline first."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    yield
    assert at_least - 0.005 <= loop.time() - start  # uvloop's clock ticks in milliseconds


def limit(pool: Any) -> float:
    """Seconds for a deadline that must not pass before `elapse` lets it, however the machine stalls."""
    return 1000.0 if isinstance(pool, Pool) else 3.0


async def elapse(pool: Any, seconds: float) -> None:
    """Time goes by in which nothing comes: ours by moving its deadlines, aiohttp's timers only by waiting."""
    if not isinstance(pool, Pool):
        await asyncio.sleep(seconds)
        return
    for connection in pool.connections:
        connection.idle_since -= seconds
        if (response := connection.response) is not None:
            response._due -= seconds
            response._limits = response._limits._replace(end=response._limits.end - seconds)
    if pool._ticker is not None:
        pool._ticker.cancel()
        pool._on_tick()


# What is answered.


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("ok", (200, b"ok")),
        ("by_byte", (200, b"abcdefg")),
        ("interim", (200, b"ok")),
        ("until_close", (200, b"hello")),
        ("no_content", (204, b"")),
        ("no_content_with_length", (204, b"")),
        ("surplus_response", (200, b"ok")),
        ("surplus_byte", (200, b"ok")),
        ("ok_then_close", (200, b"ok")),
    ],
)
async def test_a_complete_response_is_delivered_and_the_next_one_is_clean(
    pool: Any, hostile: Hostile, path: str, answer: tuple[int, bytes]
) -> None:
    assert await ask(pool, path) == answer
    hostile.go_on.set()
    for _ in range(20 if path == "ok_then_close" else 0):  # turns of the loop, until the close has arrived
        await asyncio.sleep(0.003)
    assert await ask(pool, "ok") == (200, b"ok")


@ours_only
async def test_a_response_that_comes_before_the_request_is_written_is_delivered(pool: Any) -> None:
    assert await ask(pool, "early413", b"x" * (30 << 20)) == (413, b"big")
    assert await ask(pool, "ok") == (200, b"ok")


@pytest.mark.parametrize(
    "path", ["surplus_response", "surplus_byte", "surplus_junk", "until_close", "no_content_with_length"]
)
@ours_only
async def test_a_connection_serves_again_only_after_a_clean_end(pool: Any, hostile: Hostile, path: str) -> None:
    await ask(pool, path)
    await ask(pool, "ok")
    assert hostile.connections == (1 if path == "no_content_with_length" else 2)


async def test_connections_are_kept_alive(pool: Any, hostile: Hostile) -> None:
    for _ in range(5):
        await ask(pool, "ok")
    assert hostile.connections == 1
    assert pool.stats == (0, 1, 0)


@ours_only
async def test_unsolicited_bytes_never_answer_the_next_request(pool: Any, hostile: Hostile) -> None:
    await ask(pool, "late_surplus")
    assert pool.stats.idle == 1
    hostile.go_on.set()
    await eventually(lambda: bool(pool.stats.idle == 0))
    assert await ask(pool, "ok") == (200, b"ok")


async def test_headers_come_with_lower_case_names(pool: Any) -> None:
    response = await begin(pool, "by_byte")
    assert response.header(b"x") == b"y"
    assert response.header(b"x-trailer") is None
    assert response.framed
    await response.read()


async def test_an_end_by_close_is_marked_as_unframed(pool: Any) -> None:
    response = await begin(pool, "until_close")
    assert not response.framed
    assert await response.read() == b"hello"


# What is refused.

REFUSED = {
    "reset": Disconnected,
    "short_length": Disconnected,
    "short_chunk": Disconnected,
    "short_last_chunk": Disconnected,
    "head_over_limit": BadResponse,
    "too_many_headers": BadResponse,
    "length_and_chunked": BadResponse,
    "two_lengths": BadResponse,
    "upgrade": BadResponse,
    "not_http": BadResponse,
    "bad_chunk": BadResponse,
}
REFUSED_BY_OURS = {
    "short_head": Disconnected,
    "interim_flood": BadResponse,
    "too_many_trailers": BadResponse,
    "endless_trailer": BadResponse,
    "endless_extension": BadResponse,
    "two_codings": BadResponse,
    "gzip_coding": BadResponse,
    "status_below_100": BadResponse,
}


@pytest.mark.parametrize(("path", "error"), REFUSED.items(), ids=REFUSED)
async def test_a_bad_response_is_an_error_and_the_next_one_is_clean(
    pool: Any, path: str, error: type[UpstreamError]
) -> None:
    with pytest.raises(error) as caught:
        await ask(pool, path)
    assert not caught.value.safe
    assert await ask(pool, "ok") == (200, b"ok")


@pytest.mark.parametrize(("path", "error"), REFUSED_BY_OURS.items(), ids=REFUSED_BY_OURS)
@ours_only
async def test_our_client_also_refuses(pool: Any, path: str, error: type[UpstreamError]) -> None:
    with pytest.raises(error):
        await ask(pool, path)
    assert await ask(pool, "ok") == (200, b"ok")


async def test_what_came_before_a_cut_is_still_delivered(pool: Any) -> None:
    response = await begin(pool, "stall_in_body", idle=0.1)
    assert await anext(response) == b"abc"
    with pytest.raises(Timeout):
        await anext(response)


async def test_a_body_over_the_callers_limit_is_refused(pool: Any) -> None:
    for path, limit in (("ok", 1), ("big", 1 << 20)):
        response = await begin(pool, path)
        with pytest.raises(BadResponse):
            await response.read(limit)
    assert await ask(pool, "ok") == (200, b"ok")


# Deadlines.


async def test_no_response_in_time_is_a_first_byte_timeout(pool: Any) -> None:
    with lasting(0.1), pytest.raises(Timeout) as caught:
        await ask(pool, "stall", first_byte=0.1)
    assert caught.value.phase == "first_byte"
    assert await ask(pool, "ok") == (200, b"ok")


async def test_headers_do_not_extend_the_first_byte_deadline(pool: Any) -> None:
    with lasting(0.1), pytest.raises(Timeout) as caught:
        await ask(pool, "stall_in_head", first_byte=0.1)
    assert caught.value.phase == "first_byte"


async def test_a_stalled_body_is_an_idle_timeout(pool: Any) -> None:
    with lasting(0.1), pytest.raises(Timeout) as caught:
        await ask(pool, "stall_in_body", idle=0.1)
    assert caught.value.phase == "idle"
    assert await ask(pool, "ok") == (200, b"ok")


async def test_a_trickle_ends_at_the_total_deadline(pool: Any) -> None:
    with lasting(0.2), pytest.raises(Timeout) as caught:
        await ask(pool, "trickle", total=0.2)
    assert caught.value.phase == "total"


async def test_deadlines_belong_to_the_request_not_to_the_pool(pool: Any) -> None:
    patient = asyncio.create_task(ask(pool, "stall", first_byte=FOREVER, total=FOREVER))
    with lasting(0.05), pytest.raises(Timeout):
        await ask(pool, "stall", first_byte=0.05)
    assert not patient.done()
    patient.cancel()


async def test_with_hold_first_comments_do_not_extend_the_first_content_deadline(pool: Any) -> None:
    response = await begin(pool, "trickle", first_byte=limit(pool), idle=FOREVER, total=FOREVER, hold_first=True)
    for _ in range(3):
        await anext(response)
    await elapse(pool, 0.6 * limit(pool))
    if isinstance(pool, Pool):
        await anext(response)
        await elapse(pool, 0.6 * limit(pool))
    with pytest.raises(Timeout) as caught:  # noqa: PT012
        while True:
            await anext(response)
    assert caught.value.phase == "first_content"


async def test_without_hold_first_a_head_ends_the_first_byte_phase(pool: Any) -> None:
    response = await begin(pool, "trickle", first_byte=limit(pool), idle=FOREVER, total=FOREVER)
    await elapse(pool, 1.2 * limit(pool))
    for _ in range(3):
        await anext(response)
    response.close()


@ours_only
async def test_body_bytes_extend_the_idle_deadline(pool: Any) -> None:
    response = await begin(pool, "trickle", idle=limit(pool), total=FOREVER)
    for _ in range(3):
        await anext(response)
        await elapse(pool, 0.6 * limit(pool))
    response.close()


async def test_content_began_switches_to_the_idle_deadline(pool: Any) -> None:
    response = await begin(pool, "stall_in_body", first_byte=FOREVER, idle=0.1, total=FOREVER, hold_first=True)
    assert await anext(response) == b"abc"
    response.content_began()
    with lasting(0.1), pytest.raises(Timeout) as caught:
        await anext(response)
    assert caught.value.phase == "idle"


async def test_content_began_lifts_the_first_content_deadline(pool: Any, hostile: Hostile) -> None:
    response = await begin(pool, "tokens", first_byte=limit(pool), idle=FOREVER, total=FOREVER, hold_first=True)
    assert await anext(response) == b"a"
    response.content_began()
    await elapse(pool, 1.2 * limit(pool))
    hostile.go_on.set()
    assert await response.read() == b"b"


async def test_content_that_its_reader_has_not_looked_at_is_not_late(pool: Any, hostile: Hostile) -> None:
    response = await begin(pool, "tokens", first_byte=limit(pool), idle=FOREVER, total=FOREVER, hold_first=True)
    if isinstance(pool, Pool):
        await eventually(lambda: bool(response._parts))
    await elapse(pool, 1.2 * limit(pool))
    assert await anext(response)
    response.content_began()
    hostile.go_on.set()
    await response.read()


@ours_only
async def test_waiting_for_a_connection_counts_towards_the_total(make_pool: MakePool) -> None:
    pool = make_pool(max_conns=1, acquire_timeout=FOREVER)
    response = await begin(pool, "stall_in_body", total=FOREVER)
    with lasting(0.1), pytest.raises(PoolBusy):
        await ask(pool, "ok", total=0.1)
    response.close()


# Slots, waiters, cancellation.


async def test_connections_are_bounded_and_waiters_served_in_order(make_pool: MakePool, hostile: Hostile) -> None:
    pool = make_pool(max_conns=4)
    order: list[int] = []

    async def one(number: int) -> tuple[int, bytes]:
        answer = await ask(pool, "slow")
        order.append(number)
        return answer

    assert set(await asyncio.gather(*map(one, range(16)))) == {(200, b"ok")}
    assert hostile.connections == 4
    assert order[4:] == sorted(order[4:])


async def test_cancelling_active_and_waiting_requests_frees_their_slots(make_pool: MakePool) -> None:
    pool = make_pool(max_conns=4)
    tasks = [asyncio.create_task(ask(pool, "slow")) for _ in range(12)]
    await eventually(lambda: bool(pool.stats.waiting == 8))
    for task in tasks[::2]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[1::2] == [(200, b"ok")] * 6
    await eventually(lambda: pool.stats.in_use == 0 and pool.stats.waiting == 0)
    assert pool.stats.idle <= 4


@ours_only
async def test_cancelling_at_every_moment_never_leaks_a_slot(make_pool: MakePool) -> None:
    pool = make_pool(max_conns=2)
    for delay in range(30):
        tasks = [asyncio.create_task(ask(pool, "ok")) for _ in range(6)]
        for _ in range(delay):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        assert (await asyncio.gather(*tasks, return_exceptions=True))[1::2] == [(200, b"ok")] * 3
    await eventually(lambda: pool.stats.in_use == 0)


async def test_a_waiter_gives_up_in_time_and_nothing_was_sent(make_pool: MakePool, hostile: Hostile) -> None:
    pool = make_pool(max_conns=1, acquire_timeout=0.1)
    busy = asyncio.create_task(ask(pool, "stall"))
    await eventually(lambda: hostile.paths == ["stall"])
    with lasting(0.1), pytest.raises(PoolBusy) as caught:
        await ask(pool, "ok")
    assert caught.value.safe
    busy.cancel()
    await eventually(lambda: pool.stats == (0, 0, 0))
    assert "ok" not in hostile.paths


async def test_waiters_are_bounded_and_those_who_gave_up_do_not_count(make_pool: MakePool) -> None:
    pool = make_pool(max_conns=1, max_waiters=2, acquire_timeout=FOREVER)
    busy = asyncio.create_task(ask(pool, "stall", total=FOREVER))
    await eventually(lambda: bool(pool.stats.in_use == 1))
    for _ in range(2):
        waiting = [asyncio.create_task(ask(pool, "ok", total=FOREVER)) for _ in range(2)]
        await eventually(lambda: bool(pool.stats.waiting == 2))
        with pytest.raises(PoolBusy):
            await ask(pool, "ok", total=FOREVER)
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert pool.stats.waiting == 0
    busy.cancel()


async def test_closing_in_the_middle_of_a_body_frees_the_slot(pool: Any) -> None:
    async with await begin(pool, "big", b""):
        pass
    await eventually(lambda: pool.stats.in_use == 0)


@ours_only
async def test_closing_the_pool_ends_requests_and_refuses_waiters(make_pool: MakePool, hostile: Hostile) -> None:
    pool = make_pool(max_conns=1)
    active = asyncio.create_task(ask(pool, "stall"))
    await eventually(lambda: hostile.paths == ["stall"])
    waiting = asyncio.create_task(ask(pool, "ok"))
    await eventually(lambda: bool(pool.stats.waiting == 1))
    pool.close()
    errors = await asyncio.gather(active, waiting, return_exceptions=True)
    assert [type(error) for error in errors] == [Disconnected, PoolBusy]
    with pytest.raises(PoolBusy):
        await ask(pool, "ok")


@ours_only
async def test_a_closed_pool_opens_no_connection_that_was_on_its_way(make_pool: MakePool) -> None:
    pool = make_pool()
    connecting = asyncio.create_task(ask(pool, "ok"))
    await asyncio.sleep(0)
    pool.close()
    with pytest.raises(PoolBusy):
        await connecting


async def test_idle_connections_are_reaped(make_pool: MakePool) -> None:
    pool = make_pool(keepalive=0.05)
    await ask(pool, "ok")
    await eventually(lambda: pool.stats == (0, 0, 0))


@ours_only
async def test_the_ticker_rests_when_there_is_nothing_to_watch(make_pool: MakePool) -> None:
    pool = make_pool(keepalive=FOREVER)
    assert pool._ticker is None
    await ask(pool, "ok")
    assert pool._ticker is not None
    await elapse(pool, 2 * FOREVER)
    await eventually(lambda: pool._ticker is None)


@ours_only
async def test_a_response_has_one_reader(pool: Any) -> None:
    response = await begin(pool, "stall_in_body")
    assert await anext(response) == b"abc"
    first = asyncio.create_task(anext(response))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError):
        await anext(response)
    first.cancel()


# Retries.


async def test_a_post_on_a_stale_connection_is_not_sent_again(pool: Any, hostile: Hostile) -> None:
    await ask(pool, "once")
    with pytest.raises(Disconnected) as caught:
        await ask(pool, "once")
    assert not caught.value.safe
    assert len(hostile.paths) == 2


@ours_only
async def test_an_idempotent_request_on_a_stale_connection_is_sent_once_more(pool: Any, hostile: Hostile) -> None:
    await ask(pool, "once")
    assert await ask(pool, "once", idempotent=True) == (200, b"ok")
    assert len(hostile.paths) == 3


@pytest.mark.parametrize("path", ["reset", "short_head", "short_length"])
@ours_only
async def test_nothing_is_retried_on_a_new_connection_or_once_a_byte_came(
    make_pool: MakePool, hostile: Hostile, path: str
) -> None:
    pool = make_pool()
    if path != "reset":
        await ask(pool, "ok")
    hostile.paths.clear()
    with pytest.raises(Disconnected):
        await ask(pool, path, idempotent=True)
    assert hostile.paths == [path]


# Backpressure.


@ours_only
async def test_an_unread_body_stops_the_server(pool: Any, hostile: Hostile) -> None:
    response = await begin(pool, "big", b"")
    await asyncio.sleep(0.2)
    assert hostile.big_sent < 12 << 20
    assert response._size < 1 << 20
    size = 0
    async for data in response:
        size += len(data)
    assert size == BIG


async def test_a_slow_reader_is_not_an_idle_server(pool: Any) -> None:
    response = await begin(pool, "big", b"", idle=limit(pool), total=FOREVER)
    if isinstance(pool, Pool):
        await eventually(lambda: bool(response._connection.paused))
    await elapse(pool, 1.2 * limit(pool))
    assert len(await response.read()) == BIG


@ours_only
async def test_a_paused_stream_does_not_miss_its_first_content_deadline(pool: Any) -> None:
    response = await begin(pool, "big", b"", first_byte=limit(pool), total=FOREVER, hold_first=True)
    await eventually(lambda: bool(response._connection.paused))
    await elapse(pool, 1.2 * limit(pool))
    assert await anext(response)
    response.content_began()
    assert len(await response.read()) < BIG


# What is sent.


async def test_a_request_is_framed_by_us(pool: Any, hostile: Hostile) -> None:
    for body in (b"", b"x" * 10, b"x" * 200_000):
        await ask(pool, "ok", body)
        assert hostile.bodies[-1] == body
        assert hostile.heads[-1].lower().count(b"content-length: %d\r\n" % len(body)) == 1
        assert b"transfer-encoding" not in hostile.heads[-1].lower()


@ours_only
async def test_only_the_headers_that_were_given_are_sent(pool: Any, hostile: Hostile) -> None:
    head = pool.head("POST", "/v1/ok", [(b"authorization", b"Bearer k"), (b"x-name", "é".encode())])
    response = await pool.send(head, b"{}", first_byte=30, idle=30, total=30)
    await response.read()
    host = b"127.0.0.1:%d" % hostile.port
    expected = (
        b"POST /v1/ok HTTP/1.1\r\nhost: %b\r\nauthorization: Bearer k\r\nx-name: \xc3\xa9\r\ncontent-length: 2\r\n\r\n"
    )
    assert hostile.heads == [expected % host]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@ours_only
async def test_a_probe_without_a_body_has_no_length(pool: Any, hostile: Hostile, method: str) -> None:
    assert await ask(pool, "ok", b"", method=method) == (200, b"ok")
    assert hostile.heads[0].startswith(method.encode())
    assert b"content-length" not in hostile.heads[0].lower()


@pytest.mark.parametrize(
    "header",
    [
        (b"a\r\nb", b"c"),
        (b"a b", b"c"),
        (b"", b"c"),
        (b"a", b"b\r\nc: d"),
        (b"a", b"b\nc"),
        (b"a", b"b\0"),
        (b"a", b"b\x7f"),
        (b"Content-Length", b"3"),
        (b"transfer-encoding", b"chunked"),
        (b"Host", b"elsewhere"),
        (b"connection", b"close"),
        (b"Proxy-Authorization", b"x"),
        (b"expect", b"100-continue"),
    ],
)
async def test_a_header_that_could_change_the_framing_is_refused(pool: Any, header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError):
        pool.head("POST", "/", [header])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/a b"),
        ("POST", "/a\r\nb"),
        ("POST", "a"),
        ("POST", "/é"),
        ("POST", "/a#b"),
        ("PO ST", "/"),
        ("HEAD", "/"),
    ],
)
async def test_a_method_or_path_we_could_not_frame_is_refused(pool: Any, method: str, path: str) -> None:
    with pytest.raises(ValueError):
        pool.head(method, path, ())


# Connecting, TLS and proxies.


async def test_a_refused_connection_is_safe_to_send_elsewhere(make_pool: MakePool) -> None:
    with pytest.raises(ConnectFailed) as caught:
        await ask(make_pool(Origin("127.0.0.1", 1, tls=False)), "ok")
    assert caught.value.safe


async def test_a_tls_handshake_that_never_ends_meets_the_connect_deadline(make_pool: MakePool, listen: Listen) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    pool = make_pool(Origin("127.0.0.1", await listen(silent)), connect_timeout=0.15)
    if isinstance(pool, Pool):
        with lasting(0.15), pytest.raises(ConnectFailed):
            await ask(pool, "ok")
    else:  # aiohttp's own connect deadline excludes the handshake; the first-byte deadline catches it
        with lasting(0.15), pytest.raises(UpstreamError):
            await ask(pool, "ok", first_byte=0.2)


async def test_tls_is_spoken_and_reused(
    make_pool: MakePool, hostile: Hostile, tls_port: int, trusting: ssl.SSLContext
) -> None:
    pool = make_pool(Origin("localhost", tls_port), ssl_context=trusting)
    assert await ask(pool, "ok") == (200, b"ok")
    assert await ask(pool, "by_byte") == (200, b"abcdefg")
    assert len(await ask(pool, "big")) == 2
    assert hostile.connections == 1
    with pytest.raises(Disconnected):
        await ask(pool, "short_length")


async def test_an_unknown_certificate_is_refused(make_pool: MakePool, tls_port: int) -> None:
    pool = make_pool(Origin("localhost", tls_port))
    with pytest.raises(ConnectFailed):
        await ask(pool, "ok")
    assert pool.stats.in_use == 0


async def test_a_certificate_for_another_name_is_refused(
    make_pool: MakePool, tls_port: int, trusting: ssl.SSLContext
) -> None:
    with pytest.raises(ConnectFailed):
        await ask(make_pool(Origin("127.0.0.1", tls_port), ssl_context=trusting), "ok")


class Proxy:
    """Tunnels to `upstream_port` for who brings the password."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.heads: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if b"proxy-authorization: basic dtpw\r\n" not in head.lower():  # u:p
            writer.write(b"HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n")
            writer.close()
            return
        if not head.startswith(b"CONNECT "):
            writer.write(OK)
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        writer.write(b"HTTP/1.1 200 Established\r\nvia: x\r\n\r\n")
        await asyncio.gather(_pipe(reader, there_writer), _pipe(there_reader, writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


async def test_tls_goes_through_a_connect_proxy(
    make_pool: MakePool, listen: Listen, tls_port: int, trusting: ssl.SSLContext
) -> None:
    proxy = Proxy(tls_port)
    at = f"http://u:p@127.0.0.1:{await listen(proxy.serve)}"
    pool = make_pool(Origin.from_url(f"https://localhost:{tls_port}", at), ssl_context=trusting)
    assert await ask(pool, "ok") == (200, b"ok")
    assert await ask(pool, "ok") == (200, b"ok")
    assert len(proxy.heads) == 1


async def test_a_proxy_that_refuses_is_a_failed_connection(
    make_pool: MakePool, listen: Listen, tls_port: int, trusting: ssl.SSLContext
) -> None:
    at = f"http://127.0.0.1:{await listen(Proxy(tls_port).serve)}"
    with pytest.raises(ConnectFailed):
        await ask(make_pool(Origin.from_url(f"https://localhost:{tls_port}", at), ssl_context=trusting), "ok")


@pytest.mark.parametrize(
    "answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nsurplus", b"HTTP/1.1 200 OK\r\nx: " + b"a" * 50000]
)
@ours_only
async def test_a_proxy_that_answers_nonsense_is_a_failed_connection(
    make_pool: MakePool, listen: Listen, answer: bytes
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    at = f"http://127.0.0.1:{await listen(serve)}"
    with pytest.raises(ConnectFailed):
        await ask(make_pool(Origin.from_url("https://localhost", at), connect_timeout=30.0), "ok")


async def test_plain_http_goes_through_a_proxy_in_absolute_form(make_pool: MakePool, listen: Listen) -> None:
    proxy = Proxy(0)
    pool = make_pool(Origin.from_url("http://model.test", f"http://u:p@127.0.0.1:{await listen(proxy.serve)}"))
    assert await ask(pool, "ok") == (200, b"ok")
    assert proxy.heads[0].startswith(b"POST http://model.test/ok HTTP/1.1\r\n")


# Origins.


def test_a_base_url_is_parsed_once() -> None:
    origin = Origin.from_url("https://API.example/v1/", "http://u%40:p@proxy:3128")
    assert (origin.host, origin.port, origin.tls, origin.base_path) == ("api.example", 443, True, "/v1")
    assert (origin.proxy, origin.proxy_auth) == (("proxy", 3128), b"Basic dUA6cA==")
    assert "dUA6cA" not in repr(origin)
    assert str(Origin.from_url("http://[::1]:8080")) == "http://[::1]:8080"
    assert Origin.from_url("http://[::1]").authority == "[::1]"
    assert Origin.from_url("https://münchen.example").host == "xn--mnchen-3ya.example"
    assert Origin.from_url("https://a.example/v1") == Origin.from_url("https://a.example/v2")


@pytest.mark.parametrize(
    "url",
    [
        "api.example",
        "ftp://api.example",
        "https://",
        "https://u:p@api.example",
        "https://api.example/?a=b",
        "https://api.example/#a",
        "https://api.example:0x50",
        "https://api.example:70000",
        "https://api example",
        "https://api.example\r\nx: y",
        "https://api.example/a b",
    ],
)
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Origin.from_url(url)


@pytest.mark.parametrize("proxy", ["https://proxy", "proxy:3128", "socks5://proxy", "http://proxy/path"])
def test_a_proxy_that_is_none_is_refused(proxy: str) -> None:
    with pytest.raises(ValueError):
        Origin.from_url("https://api.example", proxy)


# Fuzzing: the connection is fed directly, so that every split arrives as it was cut.


class _Wire(asyncio.Transport):
    def __init__(self, protocol: asyncio.Protocol, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.protocol = protocol
        self.loop = loop
        self.ended = False

    def write(self, data: object) -> None:
        pass

    def is_closing(self) -> bool:
        return self.ended

    def abort(self) -> None:
        if not self.ended:
            self.ended = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    close = abort

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class _WiredPool(Pool):
    async def _connect(self) -> Any:
        connection = upstream_connection.Connection(self)
        connection.connection_made(_Wire(connection, self.loop))
        return connection


class Played(NamedTuple):
    answer: tuple[int, bytes] | UpstreamError
    reusable: bool  # when all bytes were in, before the end of the connection


async def play(wire: bytes, cuts: list[int]) -> Played:
    """Feed `wire`, cut there, to one request, then end the connection."""
    pool = _WiredPool(Origin("fuzz", 80, tls=False))
    asking = asyncio.create_task(ask(pool, "fuzz"))
    for _ in range(3):  # until it has been sent
        await asyncio.sleep(0)
    (connection,) = pool.connections
    edges = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    for start, end in pairwise(edges):
        if not connection.transport.is_closing():
            connection.data_received(wire[start:end])
        await asyncio.sleep(0)
    reusable = pool.stats.idle == 1
    connection.transport.abort()
    (answer,) = await asyncio.wait_for(asyncio.gather(asking, return_exceptions=True), 30)  # never hangs
    await asyncio.sleep(0)  # the loop tells of a connection's end in its next round
    assert pool.stats == (0, 0, 0)
    assert isinstance(answer, tuple | UpstreamError), repr(answer)
    pool.close()
    return Played(answer, reusable)


class Valid(NamedTuple):
    wire: bytes
    status: int
    body: bytes
    framed: bool


@st.composite
def valid_responses(draw: st.DrawFn) -> Valid:
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    pieces = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=4))
    status = draw(st.sampled_from([200, 201, 400, 429, 500, 503]))
    body = b"".join(pieces)
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * draw(st.integers(0, 3))
    extra = draw(st.sampled_from([b"", b"X-A: b\r\n", b"server: \xe9\r\nx:\r\n"]))
    head = interim + b"HTTP/1.1 %d Reason\r\n%b" % (status, extra)
    if framing == "length":
        wire = head + b"content-length: %d\r\n\r\n" % len(body) + body
    elif framing == "chunked":
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        trailer = draw(st.sampled_from([b"", b"x-t: 1\r\n"]))
        wire = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"
    else:
        wire = head + b"\r\n" + body
    return Valid(wire, status, body, framing != "close")


def h11_reads(wire: bytes) -> tuple[int, bytes] | None:
    """An independent reading of the same bytes; None where h11 refuses them."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    reader.send(h11.Request(method="POST", target="/", headers=[("host", "fuzz"), ("content-length", "0")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(wire)
    reader.receive_data(b"")
    status, body = 0, b""
    try:
        while True:
            event = reader.next_event()
            match event:
                case h11.Response():
                    status = event.status_code
                case h11.Data():
                    body += bytes(event.data)
                case h11.EndOfMessage():
                    return status, body
                case h11.InformationalResponse():
                    pass
                case _:
                    return None
    except h11.RemoteProtocolError:
        return None


CUTS = st.lists(st.integers(0, 400), max_size=12)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@settings(max_examples=200)
@given(valid_responses(), CUTS)
def test_a_valid_response_is_the_same_at_every_split(runner: asyncio.Runner, valid: Valid, cuts: list[int]) -> None:
    played = runner.run(play(valid.wire, cuts))
    assert played.answer == (valid.status, valid.body)
    assert played.reusable == valid.framed


@settings(max_examples=150)
@given(valid_responses().filter(lambda valid: valid.framed), st.binary(min_size=1, max_size=60), CUTS)
def test_no_split_yields_more_than_was_framed(
    runner: asyncio.Runner, valid: Valid, surplus: bytes, cuts: list[int]
) -> None:
    played = runner.run(play(valid.wire + b"x" + surplus, cuts))
    assert played.answer == (valid.status, valid.body)
    assert not played.reusable


@settings(max_examples=300)
@given(
    valid_responses(),
    st.lists(
        st.tuples(
            st.sampled_from(["set", "insert", "delete"]), st.integers(0, 400), st.sampled_from(b"\r\n\0 :;,01fH\xff")
        ),
        min_size=1,
        max_size=4,
    ),
    CUTS,
)
def test_a_mutated_response_is_refused_or_read_as_another_parser_reads_it(
    runner: asyncio.Runner, valid: Valid, mutations: list[tuple[str, int, int]], cuts: list[int]
) -> None:
    wire = bytearray(valid.wire)
    for how, where, byte in mutations:
        at = where % len(wire)
        match how:
            case "set":
                wire[at] = byte
            case "insert":
                wire.insert(at, byte)
            case _ if len(wire) > 1:
                del wire[at]
    played = runner.run(play(bytes(wire), cuts))
    other = h11_reads(bytes(wire))
    if isinstance(played.answer, tuple) and other is not None:
        assert played.answer == other


@settings(max_examples=150)
@given(
    st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda junk: CHUNKED + junk)),
    CUTS,
)
def test_arbitrary_bytes_never_hang_leak_or_grow(runner: asyncio.Runner, wire: bytes, cuts: list[int]) -> None:
    played = runner.run(play(wire, cuts))
    if isinstance(played.answer, tuple):
        assert len(played.answer[1]) <= len(wire)
