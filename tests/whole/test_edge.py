"""The edge, from outside: a running server and raw bytes. Nothing that two readers could read in two ways is served,
nothing may trickle for ever, nothing is let in by what a header claims."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from whole_app import App, Route, Server, eventually, send

from waterline.providers.simulated_script import Answer, Target

GOOD = Target(answer=Answer(text="ok"))
BODY = json.dumps({"model": "main", "messages": [{"role": "user", "content": "x"}]}).encode()
HIDDEN = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"  # what a smuggler would have served as a request of its own


def connect(server: Server) -> socket.socket:
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


def talk(server: Server, data: bytes) -> bytes:
    """Everything that is answered until the server closes the connection; a test of what must close it."""
    with connect(server) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(data)
        got = b""
        with contextlib.suppress(ConnectionError):
            while part := sock.recv(65536):
                got += part
        return got


def statuses(answered: bytes) -> list[int]:
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", answered)]


def post(
    app: App, headers: bytes, body: bytes = b"", first: bytes = b"POST /v1/chat/completions HTTP/1.1\r\n"
) -> bytes:
    """A request with a good key, whatever else it says."""
    return first + b"host: x\r\nauthorization: Bearer " + app.key.encode() + b"\r\n" + headers + b"\r\n" + body


CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
TE = b"transfer-encoding: chunked\r\n"


def cl(length: object = len(BODY)) -> bytes:
    return f"content-length: {length}\r\n".encode()


# --- request smuggling -------------------------------------------------------------------------------------------

AMBIGUOUS = {
    "CL then TE": (cl() + TE, CHUNK),
    "TE then CL": (TE + cl(4), CHUNK),
    "CL 0 and TE": (cl(0) + TE, CHUNK),
    "two differing CLs": (cl() + cl(len(BODY) + 1), BODY),
    "two equal CLs": (cl() + cl(), BODY),
    "a list of CLs": (cl(f"{len(BODY)}, {len(BODY)}"), BODY),
    "CL with a sign": (cl(f"+{len(BODY)}"), BODY),
    "CL below zero": (cl(-1), BODY),
    "CL in hexadecimal": (cl(hex(len(BODY))), BODY),
    "CL with an underscore": (cl("1_0"), BODY),
    "CL that is empty": (cl(""), BODY),
    "CL with a fraction": (cl("5.0"), BODY),
    "CL that overflows": (cl(2**64 + len(BODY)), BODY),
    "CL in other digits": ("content-length: \u0661\u0662\r\n".encode(), BODY),
    "TE gzip, chunked": (b"transfer-encoding: gzip, chunked\r\n", CHUNK),
    "TE chunked, identity": (b"transfer-encoding: chunked, identity\r\n", CHUNK),
    "TE identity": (b"transfer-encoding: identity\r\n" + cl(), BODY),
    "TE xchunked": (b"transfer-encoding: xchunked\r\n", CHUNK),
    "TE twice": (TE + TE, CHUNK),
    "TE with a vertical tab": (b"transfer-encoding: \x0bchunked\r\n", CHUNK),
    "TE in an obsolete fold": (b"transfer-encoding:\r\n chunked\r\n", CHUNK),
    "chunk size that is no number": (TE, b"zz\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk size below zero": (TE, b"-1\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk size with 0x": (TE, b"0x%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "chunk size that overflows": (TE, b"1" + b"0" * 16 + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "chunk size that is empty": (TE, b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunk longer than it says": (TE, b"3\r\nabcd\r\n0\r\n\r\n"),
    "chunk with a bare LF": (TE, b"%x\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "obsolete fold": (b"x-a: b\r\n folded\r\n" + cl(), BODY),
    "space before the colon": (f"content-length : {len(BODY)}\r\n".encode(), BODY),
    "space before a name": (b" content-length: 5\r\n" + cl(), BODY),
    "bare LF after a header": (b"x-a: b\n" + cl(), BODY),
    "bare CR in a header": (b"x-a: b\rx-c: d\r\n" + cl(), BODY),
    "NUL in a header": (b"x-a: b\0c\r\n" + cl(), BODY),
    "name that is empty": (b": b\r\n" + cl(), BODY),
    "name with a space": (b"x a: b\r\n" + cl(), BODY),
    "a line without a colon": (b"nonsense\r\n" + cl(), BODY),
}


@pytest.fixture(scope="module")
def app(server, sim) -> App:
    sim.play(main=GOOD)
    return App(server, "edge", {"main": Route(provider="simulated", model="small")})


@pytest.mark.parametrize(("headers", "body"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_two_readers_could_read_in_two_ways_is_a_400_and_the_end(app, sim, headers, body):
    sim.play(main=GOOD)
    answered = talk(app.server, post(app, headers, body) + HIDDEN)
    assert statuses(answered) in ([400], [413]), answered
    assert b"connection: close" in answered.lower()
    assert sim.asked("main") == 0


@pytest.mark.parametrize(
    "first",
    [
        b"POST /v1/chat/completions HTTP/1.1\n",
        b"POST /v1/chat/completions\r\n",
        b"POST /v1/chat/comp letions HTTP/1.1\r\n",
        b"POST /v1/chat/completions\0 HTTP/1.1\r\n",
        b"POST /v1/chat/completions HTTP/3.7\r\n",
        b"P\xc3\x96ST /v1/chat/completions HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_not_http_1_is_a_400_and_the_end(app, sim, first):
    sim.play(main=GOOD)
    answered = talk(app.server, post(app, cl(), BODY, first) + HIDDEN)
    assert statuses(answered) in ([400], [505]), answered
    assert sim.asked("main") == 0


def test_two_good_requests_at_once_are_two_answers(app, sim):
    """So that "one answer" above means something."""
    sim.play(main=GOOD)
    answered = talk(app.server, post(app, cl(), BODY) + HIDDEN.replace(b"host", b"connection: close\r\nhost"))
    assert statuses(answered) == [200, 200], answered
    assert sim.asked("main") == 1


@pytest.mark.parametrize("hosts", [b"", b"host: x\r\nhost: y\r\n"], ids=["none", "two"])
def test_a_request_has_one_host(server, hosts):
    assert statuses(talk(server, b"GET /healthz HTTP/1.1\r\n" + hosts + b"connection: close\r\n\r\n")) == [400]


# --- limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"".join(b"x-%d: y\r\n" % n for n in range(2000)), 431),
        (b"x: " + b"y" * (200 << 10) + b"\r\n", 431),
        (b"x" * (200 << 10) + b": y\r\n", 431),
        (b"cookie: " + b"a=b; " * (40 << 10) + b"\r\n", 431),
    ],
    ids=["many", "long value", "long name", "long cookie"],
)
def test_headers_are_limited_in_number_and_size(app, headers, status):
    answered = talk(app.server, post(app, headers + cl(), BODY))
    assert statuses(answered) in ([status], []), answered  # an early close may destroy the answer on its way
    assert send(app.server.url, "GET", "/healthz").status == 200


def test_a_few_headers_more_than_usual_are_no_trouble(app, sim):
    sim.play(main=GOOD)
    assert app.post(json.loads(BODY), **{f"x-{n}": "y" * 200 for n in range(60)}).status == 200


def test_a_long_address_is_refused(server):
    answered = talk(server, b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert statuses(answered) in ([414], [431]), answered
    answered = talk(server, b"GET /" + b"a" * (5 << 20) + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    assert statuses(answered) in ([414], [431], []), answered


@pytest.mark.parametrize("framing", ["declared", "chunked"])
def test_a_body_over_the_limit_is_refused_at_the_limit(app, framing):
    if framing == "declared":
        sent = post(app, cl(11 << 20), b"x" * (2 << 20))
    else:
        sent = (
            post(app, TE, b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
            + (b"100000\r\n" + b"x" * (1 << 20) + b"\r\n") * 12
        )
    answered = talk(app.server, sent)
    assert statuses(answered) in ([413], []), answered
    assert send(app.server.url, "GET", "/healthz").status == 200


def test_trailers_are_limited_and_are_no_headers(app, sim):
    """What comes after the key was looked at says nothing about who is calling."""
    sim.play(main=GOOD)
    last = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
    said = post(app, TE, last + b"x-waterline-session: smuggled\r\ncontent-length: 3\r\nconnection: close\r\n\r\n")
    with connect(app.server) as sock:
        sock.sendall(said)
        assert statuses(sock.recv(65536)) in ([200], [400])
    sessions = {row["session"] for row in app.server.traces(app=app.name)}
    assert "smuggled" not in sessions
    flood = b"".join(b"x-%d: %b\r\n" % (n, b"y" * 1000) for n in range(12_000))
    answered = talk(app.server, post(app, TE, last + flood))
    assert statuses(answered) in ([413], []), answered


# --- slow callers ------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(tmp_path, sim) -> Iterator[App]:
    times = {"WATERLINE_HEADER_TIMEOUT_S": "2", "WATERLINE_BODY_TIMEOUT_S": "3"}
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}", **times)
    yield App(server, "slow", {"main": Route(provider="simulated", model="small")})
    assert server.stop() == 0, server.log()[-3000:]


def until_cut(sock: socket.socket, drip: bytes) -> tuple[float, bytes]:
    """Seconds until the server ends the connection, one drip every 0.2 s; and what it said."""
    began, got = time.monotonic(), b""
    sock.settimeout(0.2)
    while time.monotonic() - began < 50:
        try:
            part = sock.recv(65536)
            if not part:
                return time.monotonic() - began, got
            got += part
        except TimeoutError:
            with contextlib.suppress(OSError):
                sock.sendall(drip)
        except ConnectionError:
            return time.monotonic() - began, got
    raise AssertionError("still open after 50 s")


def test_headers_that_trickle_are_cut_at_the_declared_time(impatient, sim):
    with connect(impatient.server) as sock:
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
        took, got = until_cut(sock, b"x: y\r\n")
    assert took >= 1.5
    assert statuses(got) in ([408], [])


def test_a_body_that_trickles_is_cut_at_the_declared_time(impatient, sim):
    sim.play(main=GOOD)
    with connect(impatient.server) as sock:
        sock.sendall(post(impatient, cl(100_000), b"{"))
        took, got = until_cut(sock, b" ")
    assert took >= 2.5
    assert statuses(got) in ([408], [])
    with connect(impatient.server) as sock:
        sock.sendall(post(impatient, TE))
        took, got = until_cut(sock, b"1\r\n \r\n")
    assert took >= 2.5
    assert statuses(got) in ([408], [])
    assert sim.asked("main") == 0


def test_hundreds_of_slow_callers_do_not_keep_others_waiting(impatient, sim):
    sim.play(main=GOOD)
    slow = [connect(impatient.server) for _ in range(300)]
    try:
        for sock in slow:
            sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nx")
        assert [impatient.chat().status for _ in range(5)] == [200] * 5
        for sock in slow:
            sock.settimeout(60)
            with contextlib.suppress(ConnectionError):
                while sock.recv(65536):
                    pass  # every one of them is ended by the server
    finally:
        for sock in slow:
            sock.close()


# --- keys --------------------------------------------------------------------------------------------------------

INJECTIONS = ["wl-12345678' OR '1'='1", "wl-12345678'; DROP TABLE keys; --", 'wl-" OR ""="', "wl-%", "wl-________", "*",
              "' UNION SELECT * FROM keys --", "wl-12345678\\' OR 1=1#", "{{7*7}}", "${jndi:ldap://x}"]  # fmt: skip


@pytest.fixture(scope="module")
def guessed(tmp_path_factory, sim) -> Iterator[App]:
    """On a server of its own: the tests' address is soon one that sends too many wrong keys."""
    server = Server(tmp_path_factory.mktemp("guessed") / "d", f"{sim.address}/{{route}}")
    yield App(server, "guessed", {"main": Route(provider="simulated", model="small")})
    assert server.stop() == 0, server.log()[-3000:]


@pytest.mark.parametrize("said", INJECTIONS)
def test_sql_injection_through_the_bearer_header_finds_no_key_and_breaks_nothing(guessed, sim, said):
    sim.play(main=GOOD)
    app = guessed
    before = app.server.ask("GET", "/api/keys")
    for headers in ({"authorization": f"Bearer {said}"}, {"x-api-key": said}, {"cookie": f"waterline_session={said}"}):
        for method, path in (("POST", "/v1/chat/completions"), ("GET", "/api/keys"), ("GET", "/metrics")):
            reply = send(app.server.url, method, path, BODY, headers)
            assert reply.status in (401, 429), (headers, path, reply.status)
            assert len(said) < 5 or said.encode() not in reply.body
    assert app.server.ask("GET", "/api/keys") == before
    assert app.chat().status == 200


LIES = {
    "host": ["localhost", "127.0.0.1", "admin", "x/../healthz", "healthz", "[::1]", "a@b", "w.internal"],
    "x-forwarded-host": ["localhost"],
    "x-forwarded-for": ["127.0.0.1"],
    "x-real-ip": ["127.0.0.1"],
    "forwarded": ["for=127.0.0.1;host=localhost;proto=https"],
    "x-original-url": ["/healthz"],
    "x-rewrite-url": ["/healthz"],
    "x-http-method-override": ["GET"],
    "x-waterline-internal": ["1"],
    "x-forwarded-user": ["operator"],
    "x-remote-user": ["operator"],
}  # fmt: skip


@pytest.mark.parametrize(("header", "values"), LIES.items(), ids=LIES)
def test_no_host_or_proxy_header_opens_what_a_key_opens(server, header, values):
    locked = [("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/api/traces"),
              ("GET", "/api/keys"), ("POST", "/api/keys"), ("GET", "/api/audit/export")]  # fmt: skip
    for value in values:
        for method, path in locked:
            reply = send(server.url, method, path, BODY, {header: value})
            assert reply.status in (401, 400), (path, header, value, reply.status)
        for path in ("/", "/traces", "/keys"):
            reply = send(server.url, "GET", path, headers={header: value})
            assert reply.status in (303, 400), (path, header, value, reply.status)
            assert reply.headers.get("location", "/").startswith("/"), "a header decides where a browser is sent"


PATHS = ["/healthz/../api/keys", "/healthz/..;/api/keys", "/healthz%2f..%2fapi%2fkeys", "//api/keys", "/./api/keys",
         "/api/keys/", "/API/keys", "/static/../api/keys", "/static/%2e%2e/api/keys", "/api/keys%00",
         "/login/../api/keys",
         "/static/..%2f..%2f..%2fsettings.py", "/api/keys?x=/healthz", "/v1/models/../../api/keys",
         "http://localhost/api/keys", "*"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_way_of_writing_a_path_opens_it(server, path):
    answered = talk(server, f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    (status,) = statuses(answered)
    assert status in (303, 307, 400, 401, 404, 405), answered
    assert not re.search(rb"wl-[0-9a-f]{8}", answered)


def test_a_key_in_a_query_string_opens_nothing_and_is_never_logged(app, sim):
    """It would be in the log of every proxy on the way."""
    sim.play(main=GOOD)
    for name in ("api_key", "key", "access_token", "token", "x-api-key", "authorization"):
        for method, path in (
            ("POST", "/v1/chat/completions"),
            ("GET", "/v1/models"),
            ("GET", "/api/keys"),
            ("GET", "/"),
        ):
            for key in (app.key, app.server.key):
                reply = send(app.server.url, method, f"{path}?{name}={key}", BODY)
                assert reply.status in (401, 303), (path, reply.status)
                assert key.encode() not in reply.body + repr(reply.headers).encode()
    assert sim.asked("main") == 0
    assert app.key not in app.server.log()
    assert app.server.key not in app.server.log()


def test_wrong_keys_from_an_address_are_told_to_wait_and_right_ones_are_not(tmp_path, sim):
    sim.play(main=GOOD)
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    try:
        app = App(server, "guessed", {"main": Route(provider="simulated", model="small")})
        guesses = [f"wl-12345678{n:043d}" for n in range(30)]
        replies = [send(server.url, "POST", "/v1/chat/completions", BODY, {"x-api-key": g}) for g in guesses]
        assert [r.status for r in replies] == [401] * 20 + [429] * 10
        assert all(0 < int(r.headers["retry-after"]) <= 120 for r in replies[20:])
        for path in ("/api/keys", "/metrics", "/"):
            reply = send(server.url, "GET", path, headers={"authorization": f"Bearer {guesses[0]}"})
            assert (reply.status, int(reply.headers["retry-after"]) > 0) == (429, True), path
        assert [app.chat().status for _ in range(5)] == [200] * 5
        assert server.ask("GET", "/api/keys")
        fresh = app.make_key()["key"]  # one that was never seen before is not held up either
        assert send(server.url, "GET", "/v1/models", headers={"x-api-key": fresh}).status == 200
        assert send(server.url, "GET", "/v1/models").status == 401  # no key is no guess
        assert eventually(lambda: "too many wrong API keys from 127.0.0.1" in server.log())
        assert not [g for g in guesses if g in server.log()]
    finally:
        server.stop()
