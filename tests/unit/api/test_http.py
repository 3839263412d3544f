"""The server of the data plane, spoken to over a socket, byte by byte."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.access.roles import Principal
from waterline.api import http
from waterline.api.http import Exchange, Patience, Server
from waterline.core.errors import InvalidApiKey, RequestError

PATIENT_S = 20.0  # longest that a test waits for what must come
HEAD = b"POST /echo HTTP/1.1\r\nhost: x\r\n"
SOMEBODY = Principal("wl-00000000", "app", "somebody", app="school")
Asked = tuple[str, bytes, int | None]  # path, body, status of a refusal


class Gate:
    """/echo says the body back; /stream says it in two chunks; /slow waits until it is let go; /locked needs a key."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.seen: list[bytes] = []
        self.cancelled = 0
        self.left = 0
        self.limit = 1000
        self.shut = False

    def admit(self, exchange: Exchange) -> None:
        if exchange.path == "/locked" or self.shut:
            raise InvalidApiKey("no key")
        exchange.limit, exchange.principal = self.limit, SOMEBODY
        exchange.handle = {"/stream": self.stream, "/slow": self.slow, "/endless": self.endless}.get(
            exchange.path, self.echo
        )

    async def refuse(self, exchange: Exchange, error: RequestError) -> None:
        await exchange.sink.fail(error, [])

    def left_while_sending(self) -> None:
        self.left += 1

    async def echo(self, exchange: Exchange) -> None:
        body = await exchange.body(self.limit)
        self.seen.append(body)
        await exchange.sink.begin(200, b"text/plain", [])
        await exchange.sink.end(body)

    async def stream(self, exchange: Exchange) -> None:
        await exchange.sink.begin(200, b"text/event-stream", [])
        await exchange.sink.write(b"one ")
        await exchange.sink.write(b"")
        await exchange.sink.end(b"two")

    async def slow(self, exchange: Exchange) -> None:
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        await self.echo(exchange)

    async def endless(self, exchange: Exchange) -> None:
        try:
            await exchange.sink.begin(200, b"text/plain", [])
            while True:
                await exchange.sink.write(b"x" * 100_000)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class Wire:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENT_S)
        first, *lines = head[:-4].split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines)
        body = b""
        if headers.get(b"transfer-encoding") == b"chunked":
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += await self.reader.readexactly(size + 2)
                body = body[:-2]
            await self.reader.readexactly(2)
        elif b"content-length" in headers:
            body = await self.reader.readexactly(int(headers[b"content-length"]))
        return int(first.split()[1]), headers, body

    async def end(self) -> bytes:
        """Everything until the server closes."""
        try:
            return await asyncio.wait_for(self.reader.read(), PATIENT_S)
        except ConnectionError:
            return b""


class Up:
    def __init__(self, server: Server, gate: Gate, port: int) -> None:
        self.server, self.gate, self.port = server, gate, port
        self.wires: list[Wire] = []

    async def wire(self, data: bytes = b"") -> Wire:
        made = Wire(*await asyncio.open_connection("127.0.0.1", self.port))
        self.wires.append(made)
        made.send(data)
        return made


@pytest.fixture
async def up(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Up]:
    monkeypatch.setattr(http, "TICK_S", 0.02)
    monkeypatch.setattr(http, "LINGER_S", 0.2)
    gate = Gate()
    server = Server(gate, lambda: time.time_ns() // 1000, Patience())
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    await server.start(sock)
    made = Up(server, gate, sock.getsockname()[1])
    yield made
    for wire in made.wires:
        wire.writer.close()
    await server.stop(0.0)


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENT_S):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_connection_serves_again_and_in_order(up: Up) -> None:
    wire = await up.wire()
    for said in (b"a", b"", b"b" * 900):
        wire.send(HEAD + b"content-length: %d\r\n\r\n" % len(said) + said)
        status, headers, body = await wire.answer()
        assert (status, body) == (200, said)
        assert b"connection" not in headers
    for n in range(30):  # pipelined, more than are kept waiting
        wire.send(HEAD + b"content-length: 2\r\n\r\n%02d" % n)
    assert [(await wire.answer())[2] for _ in range(30)] == [b"%02d" % n for n in range(30)]


async def test_a_chunked_body_is_joined_and_a_stream_is_chunked(up: Up) -> None:
    wire = await up.wire(HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert (await wire.answer())[2] == b"abcde"
    wire.send(b"POST /stream HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    status, headers, body = await wire.answer()
    assert (status, headers[b"transfer-encoding"], body) == (200, b"chunked", b"one two")


async def test_http_1_0_gets_a_stream_that_ends_with_the_connection(up: Up) -> None:
    wire = await up.wire(b"GET /stream HTTP/1.0\r\n\r\n")
    said = await wire.end()
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert said.endswith(b"connection: close\r\n\r\none two")
    assert b"chunked" not in said


async def test_expect_100_continue_is_answered_once_the_head_is_accepted(up: Up) -> None:
    wire = await up.wire(HEAD + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert await asyncio.wait_for(wire.reader.readuntil(b"\r\n\r\n"), PATIENT_S) == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(b"ok")
    assert (await wire.answer())[2] == b"ok"


@pytest.mark.parametrize(
    ("head", "status"),
    {
        "a length and a coding": (HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        "two lengths": (HEAD + b"content-length: 3\r\ncontent-length: 4\r\n\r\n", 400),
        "two equal lengths": (HEAD + b"content-length: 3\r\ncontent-length: 3\r\n\r\n", 400),
        "a list of lengths": (HEAD + b"content-length: 3, 3\r\n\r\n", 400),
        "a signed length": (HEAD + b"content-length: +3\r\n\r\n", 400),
        "another coding": (HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n", 400),
        "two codings": (HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        "an unknown coding": (HEAD + b"transfer-encoding: xchunked\r\n\r\n", 400),
        "no host": (b"GET /echo HTTP/1.1\r\n\r\n", 400),
        "two hosts": (b"GET /echo HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        "a space before the colon": (b"GET /echo HTTP/1.1\r\nhost : x\r\n\r\n", 400),
        "a folded header": (b"GET /echo HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n", 400),
        "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        "a bad chunk size": (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        "a long target": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414),
        "many headers": (HEAD + b"a: b\r\n" * 101 + b"\r\n", 431),
        "a head without end": (HEAD + b"a: " + b"b" * 70_000, 431),
        "a declared body over the limit": (HEAD + b"content-length: 70000\r\n\r\n", 413),
    }.values(),
)  # fmt: skip
async def test_what_cannot_be_read_in_one_way_only_is_refused_once_and_never_handled(
    up: Up, head: bytes, status: int
) -> None:
    wire = await up.wire(head + HEAD + b"content-length: 8\r\n\r\nsmuggled")
    said = await wire.end()
    assert said.split(b" ")[1] == b"%d" % status
    assert said.count(b"HTTP/1.1 ") == 1
    assert up.gate.seen == []


async def test_a_refused_head_keeps_the_connection_when_the_rest_is_small(up: Up) -> None:
    wire = await up.wire(b"POST /locked HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc")
    status, _, _ = await wire.answer()
    assert status == 401
    wire.send(HEAD + b"content-length: 2\r\n\r\nhi")
    assert (await wire.answer())[2] == b"hi"
    assert up.gate.seen == [b"hi"]


async def test_a_strangers_upload_is_answered_at_once_and_not_kept(up: Up) -> None:
    wire = await up.wire(b"POST /locked HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\n" + b"a" * 100_000)
    status, headers, _ = await wire.answer()  # long before the body is in
    assert (status, headers[b"connection"]) == (401, b"close")
    wire.send(b"a" * 500_000)
    await wire.end()
    await eventually(lambda: not up.server.connections)


async def test_an_undeclared_body_over_the_limit_is_cut_while_it_comes(up: Up) -> None:
    wire = await up.wire(HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"64\r\n" + b"a" * 100 + b"\r\n")
    for _ in range(10):
        wire.send(b"64\r\n" + b"a" * 100 + b"\r\n")
    assert (await wire.answer())[0] == 413
    assert up.gate.seen == []


async def test_a_caller_that_leaves_cancels_its_request(up: Up) -> None:
    wire = await up.wire(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    await eventually(lambda: up.server.in_flight == 1)
    wire.writer.close()
    await eventually(lambda: up.gate.cancelled == 1 and up.server.in_flight == 0)


async def test_a_caller_that_leaves_while_it_sends_is_counted_and_not_handled(up: Up) -> None:
    wire = await up.wire(HEAD + b"content-length: 10\r\n\r\nabc")
    await eventually(lambda: bool(up.server.connections))
    await asyncio.sleep(0.1)
    wire.writer.close()
    await eventually(lambda: up.gate.left == 1)
    assert up.gate.seen == []


async def test_a_caller_that_does_not_read_is_given_up(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "STALLED_S", 0.3)
    wire = await up.wire(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
    wire.reader._transport.pause_reading()  # type: ignore[attr-defined]
    await eventually(lambda: up.gate.cancelled == 1 and not up.server.connections)


async def test_a_slow_reader_slows_the_writer_and_loses_nothing(up: Up) -> None:
    body = bytes(range(256)) * 40_000
    up.gate.limit = len(body)
    wire = await up.wire(HEAD + b"content-length: %d\r\n\r\n" % len(body))
    wire.send(body)
    assert (await wire.answer())[2] == body


@pytest.mark.parametrize(
    ("sent", "status"), [(b"POST /echo HT", 408), (HEAD, 408), (HEAD + b"content-length: 9\r\n\r\nabc", 408), (b"", 0)]
)
async def test_what_trickles_is_bounded_in_time(up: Up, sent: bytes, status: int) -> None:
    up.server.patience = Patience(0.2, 0.2, 0.2)
    wire = await up.wire(sent)
    said = await wire.end()
    assert said.split(b" ")[1:2] == ([b"%d" % status] if status else [])
    await eventually(lambda: not up.server.connections)


async def test_an_upgrade_is_served_as_http_1_1(up: Up) -> None:
    wire = await up.wire(HEAD + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nhi")
    assert (await wire.answer())[2] == b"hi"


async def test_a_stop_lets_answers_end_and_then_cancels(up: Up) -> None:
    first = await up.wire(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
    await eventually(lambda: up.server.in_flight == 1)
    stopping = asyncio.create_task(up.server.stop(PATIENT_S))
    await asyncio.sleep(0.05)
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", up.port)
    up.gate.go.set()
    assert (await first.answer())[2] == b"hi"
    await stopping
    assert not up.server.connections


async def test_a_stop_ends_what_does_not_end_by_itself(up: Up) -> None:
    await up.wire(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi")
    await eventually(lambda: up.server.in_flight == 1)
    await up.server.stop(0.05)
    assert up.gate.cancelled == 1


async def said_in_pieces(data: bytes, cuts: list[int], before: Sequence[bytes] = ()) -> list[Asked]:
    """What the gate is asked when `data` comes in pieces cut at these offsets, and each of `before` came before on a
    connection of its own."""
    asked: list[Asked] = []

    class Ears(Gate):
        def admit(self, exchange: Exchange) -> None:
            exchange.limit, exchange.handle, exchange.principal = 50, self.note, SOMEBODY

        async def note(self, exchange: Exchange) -> None:
            asked.append((exchange.path, await exchange.body(1000), None))
            await self.echo(exchange)

        async def refuse(self, exchange: Exchange, error: RequestError) -> None:
            asked.append(("", b"", error.status))
            await super().refuse(exchange, error)

    class Paper(asyncio.Transport):
        def write(self, data: bytes | bytearray | memoryview) -> None: ...
        def close(self) -> None: ...
        def abort(self) -> None: ...
        def can_write_eof(self) -> bool:
            return False

        def pause_reading(self) -> None: ...
        def resume_reading(self) -> None: ...

    async def hear(*pieces: bytes) -> None:
        connection = http.Connection(server)
        connection.connection_made(Paper())
        for piece in filter(None, pieces):
            connection.data_received(piece)
        while connection.answering is not None:  # noqa: ASYNC110  (the task stays)
            await asyncio.sleep(0)

    server = Server(Ears(), lambda: 1, Patience())
    for other in before:
        await hear(other)
    asked.clear()
    await hear(*(data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)))
    return asked


PIECES = st.sampled_from([
    HEAD, b"GET /a HTTP/1.1\r\n", b"host: x\r\n", b"content-length: 3\r\n", b"transfer-encoding: chunked\r\n", b"\r\n",
    b"abc", b"3\r\nabc\r\n", b"0\r\n\r\n", b"content-length: 60\r\n", b" \t", b"\n", b"\x00", b"connection: close\r\n",
])  # fmt: skip


@given(st.lists(st.one_of(PIECES, st.binary(max_size=6)), max_size=12).map(b"".join), st.data())
def test_how_the_bytes_are_cut_changes_nothing(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    whole, cut = asyncio.run(said_in_pieces(data, [])), asyncio.run(said_in_pieces(data, cuts))
    assert [a for a in whole if a[2] is None] == [a for a in cut if a[2] is None]
    assert [a[2] for a in whole] == [a[2] for a in cut]


KNOWN = (
    HEAD + b"content-length: 3\r\n\r\nabc",
    b"GET /a HTTP/1.1\r\nhost: x\r\ncontent-length: 60\r\n\r\n" + b"a" * 60,
)


@given(st.lists(st.one_of(PIECES, st.binary(max_size=6)), max_size=12).map(b"".join))
def test_a_head_that_was_understood_before_means_the_same_again(data: bytes) -> None:
    new = asyncio.run(said_in_pieces(data, []))
    assert asyncio.run(said_in_pieces(data, [], (*KNOWN, data))) == new


async def test_a_head_is_remembered_without_the_length_of_its_body_and_never_without_a_look_at_the_key(
    up: Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []
    find = up.server.heads.find

    def watched(data: bytes) -> tuple[Exchange, bytes] | None:
        known = find(data)
        found.append(known is not None)
        return known

    monkeypatch.setattr(up.server.heads, "find", watched)
    wire = await up.wire()
    for body in (b"one", b"three", b"", b"x" * 900):
        wire.send(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert (await wire.answer())[2] == body
    assert found == [False, True, True, True]
    wire.send(HEAD + b"content-length: 1001\r\n\r\n" + b"x" * 1001)
    assert (await wire.answer())[0] == 413
    monkeypatch.setattr(up.gate, "shut", True)
    wire.send(HEAD + b"content-length: 2\r\n\r\nhi")
    assert (await wire.answer())[0] == 401
