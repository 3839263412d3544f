"""The way in: an HTTP/1.1 server on asyncio protocols; httptools (llhttp) parses. ADR 0006 says why it is our own.

What it promises, each with a test (tests/unit/api/test_http.py, tests/whole/test_edge*.py):

* A request is handled when it is here whole; its key is checked on its head alone, so a stranger's body is not kept.
* Everything has a bound: the head's bytes and headers, the body, the time for each, pipelined requests, unread answers.
* Ambiguous framing is refused (CL+TE, two lengths, a coding other than chunked, no Host), and the connection ends.
* Requests of one connection are answered one at a time, in order.
* A caller that leaves is noticed at once: its task is cancelled, whatever it waits for.
* `stop` lets answers under way end, for a while; then it cancels them.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, cast

import httptools
from msgspec import Struct

from waterline.access.roles import Principal
from waterline.api.heads import Heads
from waterline.api.sink import Headers, HttpSink
from waterline.core.errors import InvalidRequest, RequestError

TICK_S = 0.5
MOST_PIPELINED = 8
MOST_HEADERS = 100
HEAD_BYTES = 64 * 1024
TARGET_BYTES = 8 * 1024
SMALL_BODY = 64 * 1024  # what is read and thrown away, so that the connection can serve again after a refusal
LINGER_S = 2.0  # how long a refused upload is read on: to close at once would destroy the answer on its way
FAREWELL_S = 0.5  # how long a connection that is to end may still bring a request
STALLED_S = 60.0  # a caller that does not read for so long is given up
AFTER_GRACE_S = 2.0


class Patience(Struct, frozen=True):
    """Seconds: for a head once its first byte is here, for a body, between two requests."""

    head_s: float = 15.0
    body_s: float = 60.0
    idle_s: float = 75.0


class Exchange:
    """One request as it comes in, and the sink of its answer. `Gate.admit` sets `limit`, and `handle` to what will
    answer it; `handler` and `principal` are for whoever handles it."""

    method = ""  # empty until the head is in
    target = b""
    path = ""
    query = b""
    version = "1.1"
    named: Mapping[bytes, bytes] = MappingProxyType({})  # the headers by name; of a repeated one the last
    size = 0
    limit = SMALL_BODY
    keep_alive = False
    received_us = 0
    error: RequestError | None = None
    handle: Callable[["Exchange"], Awaitable[None]] | None = None
    handler: Any = None
    principal: Principal | None = None
    sink: HttpSink
    sink_type = HttpSink  # in which shape its errors are told

    def __init__(self, peer: str) -> None:
        self.peer = peer  # the address it came from
        self.headers: Headers = []  # lower-case names
        self.parts: list[bytes] = []

    def like(self, peer: str) -> "Exchange":
        """Another request with the same head, but for the length of its body."""
        other = Exchange(peer)
        other.method, other.target, other.path, other.query = self.method, self.target, self.path, self.query
        other.headers, other.named, other.keep_alive = self.headers, self.named, True
        return other

    async def body(self, limit: int) -> bytes:
        """Raises InvalidRequest (413)."""
        if self.size > limit:
            raise too_large(limit)
        parts = self.parts
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Gate(Protocol):
    def admit(self, exchange: Exchange) -> None:
        """The head is in: say what will handle it, and how much body it may have. Raises RequestError."""
        ...

    async def refuse(self, exchange: Exchange, error: RequestError) -> None: ...

    def left_while_sending(self) -> None: ...


class Connection(asyncio.Protocol):
    """One socket and its parser."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.loop = server.loop
        self.parser = httptools.HttpRequestParser(self)
        self.transport: asyncio.Transport
        self.peer = ""
        self.exchange: Exchange | None = None  # the one being read
        self.complete: Exchange | None = None  # the last one that the parser has read, until more comes
        self.answering: Exchange | None = None
        self.task: asyncio.Task[None] | None = None  # answers them, one after the other
        self.waiting: deque[Exchange] = deque()
        self.head_bytes = 0
        self.due = 0.0  # 0: nothing is awaited from the caller
        self.deaf = False  # what still comes is thrown away
        self.closing = False  # after the answer under way
        self.lost = False
        self.paused_at = 0.0  # 0: the caller reads
        self._writable: asyncio.Future[None] | None = None
        self._called: asyncio.Future[None] | None = None  # what the task waits for when there is nothing to answer

    # The transport calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not of the class, only of the shape
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        self.due = self.server.now + self.server.patience.idle_s
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.server.connections.discard(self)
        if self.exchange is not None and self.exchange.handle is not None and not self.deaf:
            self.server.gate.left_while_sending()
        self.exchange = self.complete = None  # they and the parser point back here
        del self.parser
        self.resume_writing()
        answering = self.answering
        if answering is not None:
            if answering.sink.ended:
                return  # what its handler still has to do it may do
            answering.sink.gone = True
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        between = self.exchange is None and not self.head_bytes
        if between and (found := self.server.heads.find(data)) is not None:
            self._again(*found)
            return
        if self.exchange is None or not self.exchange.method:  # between requests, or inside a head
            self.head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay_with_http_1_1(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._cut(InvalidRequest(f"This is not HTTP as we accept it: {error}."))
        else:
            if between and self.complete is not None:
                self.server.heads.learn(data, self.complete)
            elif self.head_bytes > HEAD_BYTES and not (self.exchange is None or self.exchange.method):
                self._cut(InvalidRequest(f"The request's head is larger than {HEAD_BYTES:,} bytes.", status=431))

    def pause_writing(self) -> None:
        self.paused_at = self.server.now

    def resume_writing(self) -> None:
        self.paused_at = 0.0
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    # The parser calls these.

    def on_message_begin(self) -> None:
        if self.deaf:
            return
        self.exchange, self.complete = Exchange(self.peer), None
        if self.answering is None:
            self.due = self.server.now + self.server.patience.head_s

    def on_url(self, url: bytes) -> None:
        if self.exchange is not None:
            self.exchange.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        if not exchange.method:
            exchange.headers.append((name.lower(), value))
        else:  # a trailer comes after the key was looked at: it is no header, and counts as body
            exchange.size += len(name) + len(value) + 4
            self.on_body(b"")

    def on_headers_complete(self) -> None:
        exchange = self.exchange
        if exchange is None or self.parser.should_upgrade():  # see _stay_with_http_1_1
            return
        parser = self.parser
        exchange.method = parser.get_method().decode("latin-1")
        exchange.version = parser.get_http_version()
        exchange.received_us = self.server.clock_us()
        heads, self.head_bytes = self.head_bytes, 0
        path, _, exchange.query = exchange.target.partition(b"?")
        exchange.path = path.decode("latin-1")
        try:
            length = _checked(exchange, heads)
        except RequestError as error:
            self._cut(error)
            return
        try:
            self.server.gate.admit(exchange)
            if length > exchange.limit:
                raise too_large(exchange.limit)
        except RequestError as error:
            exchange.error, exchange.handle = error, None
            if length > SMALL_BODY:
                self._begin(exchange, last=True)
        else:
            if self.answering is not None:
                return
            self.due = self.server.now + self.server.patience.body_s
            if exchange.named.get(b"expect", b"").lower() == b"100-continue":
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None or self.deaf:
            return
        exchange.size += len(data)
        if exchange.size > (exchange.limit if exchange.error is None else SMALL_BODY):
            exchange.error, exchange.handle = exchange.error or too_large(exchange.limit), None
            self._begin(exchange, last=True)
        elif exchange.error is None:
            exchange.parts.append(data)

    def on_message_complete(self) -> None:
        exchange = self.exchange
        if exchange is None or self.deaf or not exchange.method:
            return
        self.exchange, self.complete = None, exchange
        exchange.keep_alive = self.parser.should_keep_alive()
        self._come(exchange)

    def _again(self, known: Exchange, body: bytes) -> None:
        """A whole request, with a head that the parser has read before."""
        exchange = known.like(self.peer)
        exchange.received_us = self.server.clock_us()
        exchange.parts.append(body)
        exchange.size = len(body)
        try:
            self.server.gate.admit(exchange)
            if exchange.size > exchange.limit:
                raise too_large(exchange.limit)
        except RequestError as error:
            exchange.error, exchange.handle = error, None
        self._come(exchange)

    def _come(self, exchange: Exchange) -> None:
        """It is here whole."""
        if self.answering is None:
            self._begin(exchange)
            return
        self.waiting.append(exchange)
        if len(self.waiting) >= MOST_PIPELINED:
            self.transport.pause_reading()

    def _stay_with_http_1_1(self, rest: bytes) -> None:
        """Some clients offer HTTP/2 with their first request. The parser has left its body; read it again without."""
        offered, self.exchange = self.exchange, None
        if offered is None:
            return
        kept = (h for h in offered.headers if h[0] not in (b"connection", b"upgrade", b"http2-settings"))
        lines = (b"%b: %b\r\n" % header for header in kept)
        first = b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), offered.target)
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(first + b"".join(lines) + b"\r\n" + rest)

    # Answers, one after the other.

    def _begin(self, exchange: Exchange, *, last: bool = False) -> None:
        """Answer it. `last`: before it is here whole; the rest of it is not read."""
        if last:
            self.exchange, self.deaf, exchange.keep_alive = None, True, False
            if self.answering is not None:
                self.waiting.append(exchange)
                return
        self.due = 0.0
        keep_alive = exchange.keep_alive and not self.closing
        exchange.sink = exchange.sink_type(self, keep_alive, exchange.version != "1.0")
        self.answering = exchange
        if self.task is None:
            self.task = self.loop.create_task(self._answer_all())
        elif self._called is not None:
            self._called.set_result(None)

    async def _answer_all(self) -> None:
        """One task a connection: one a request costs four times as much as to wait here for the next."""
        try:
            while not self.lost:
                if self.answering is not None:
                    await self._answer(self.answering)
                else:
                    self._called = self.loop.create_future()
                    await self._called
                    self._called = None
        finally:
            self.task = self._called = None

    async def _answer(self, exchange: Exchange) -> None:
        server = self.server
        server.in_flight += 1
        try:
            if exchange.handle is not None:
                await exchange.handle(exchange)
            else:
                await server.gate.refuse(exchange, exchange.error or RequestError("nothing handles this"))
        except asyncio.CancelledError:
            pass  # the caller left, or the server stops: the handler has said what there was to say
        finally:
            server.in_flight -= 1
            self.answering = exchange.error = None  # an error holds the frames it came through, they the exchange
            self._next(exchange.sink)

    def _next(self, sink: HttpSink) -> None:
        if self.lost:
            return
        if not sink.ended:  # nothing, or half an answer, was said: only the end of the connection shows it
            self.transport.abort()
        elif self.waiting and sink.keep_alive:
            if len(self.waiting) == MOST_PIPELINED:
                self.transport.resume_reading()
            self._begin(self.waiting.popleft())
        elif self.deaf:
            self.due = self.server.now + LINGER_S
            if self.transport.can_write_eof():
                self.transport.write_eof()
        elif not sink.keep_alive:
            self.transport.close()
        elif self.closing:
            self.due = self.server.now + FAREWELL_S
        else:
            self.due = self.server.now + self.server.patience.idle_s

    def _cut(self, error: RequestError) -> None:
        """Refuse what cannot be read, after the answers under way, and end the connection."""
        self.closing = True
        exchange = self.exchange or Exchange(self.peer)
        exchange.error, exchange.handle = error, None
        self._begin(exchange, last=True)

    def expire(self, now: float) -> None:
        """The ticker's look at this connection."""
        if self.paused_at and now - self.paused_at > STALLED_S:
            self.transport.abort()  # it does not read; nobody waits for ever
        elif self.due and now > self.due:
            if self.exchange is None or self.deaf:
                self.transport.close()
            else:
                self._cut(late(self.server.patience, bool(self.exchange.method)))

    def stop(self) -> None:
        """The server stops: this connection ends with the answer under way, or with the next one."""
        self.closing = True
        if self.answering is None:
            self.due = self.server.now + FAREWELL_S
        elif not self.answering.sink.started:
            self.answering.sink.keep_alive = False

    async def drained(self) -> None:
        """Returns when the caller has read on, or left."""
        while self.paused_at and not self.lost:
            self._writable = self.loop.create_future()
            await self._writable


class Server:
    """Listens, and knows its connections. Make it inside a running loop."""

    def __init__(self, gate: Gate, clock_us: Callable[[], int], patience: Patience) -> None:
        self.gate = gate
        self.clock_us = clock_us
        self.patience = patience
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time()  # seconds, a tick old at most
        self.connections: set[Connection] = set()
        self.heads = Heads()
        self.in_flight = 0
        self._listener: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None

    async def start(self, sock: socket.socket, backlog: int = 2048) -> None:
        self._listener = await self.loop.create_server(lambda: Connection(self), sock=sock, backlog=backlog)
        self._tick()

    async def stop(self, grace_s: float) -> None:
        """No new connections; answers under way may end for `grace_s` seconds, then they are cancelled. A connection
        that was not told to close may have its next request on the way: it is waited for a moment, and told then."""
        if self._listener is not None:
            self._listener.close()
        self.now = self.loop.time()
        for connection in self.connections:
            connection.stop()
        end = self.now + grace_s
        while self.connections and self.loop.time() < end:  # noqa: ASYNC110  (connections come to their end one by one)
            await asyncio.sleep(0.02)
        left = [c for c in self.connections if c.answering is not None]
        for connection in left:
            if connection.task is not None:
                connection.task.cancel()
        end = self.loop.time() + AFTER_GRACE_S
        while any(c.answering is not None for c in left) and self.loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for connection in tuple(self.connections):
            connection.transport.abort()
        if self._ticker is not None:
            self._ticker.cancel()

    def _tick(self) -> None:
        self.now = self.loop.time()
        for connection in tuple(self.connections):
            connection.expire(self.now)
        self._ticker = self.loop.call_later(TICK_S, self._tick)


def late(patience: Patience, in_body: bool) -> InvalidRequest:
    what, limit_s, setting = ("body", patience.body_s, "BODY") if in_body else ("head", patience.head_s, "HEADER")
    return InvalidRequest(
        f"The request's {what} did not come within {limit_s:g} s. Send it faster, or raise "
        f"WATERLINE_{setting}_TIMEOUT_S on the server.",
        status=408,
    )


def too_large(limit: int) -> InvalidRequest:
    return InvalidRequest(
        f"The body is larger than {limit:,} bytes. Send less, or raise WATERLINE_MAX_BODY_BYTES on the server.",
        status=413,
    )


def _checked(exchange: Exchange, received: int) -> int:
    """The declared length, if the head is one that only one meaning can be given to. `received`: bytes in the reads
    that brought it, body perhaps among them. Raises InvalidRequest."""
    if received > HEAD_BYTES and sum(len(name) + len(value) + 4 for name, value in exchange.headers) > HEAD_BYTES:
        raise InvalidRequest(f"The request's head is larger than {HEAD_BYTES:,} bytes.", status=431)
    if len(exchange.target) > TARGET_BYTES:
        raise InvalidRequest(f"The request's target is longer than {TARGET_BYTES:,} bytes.", status=414)
    if len(exchange.headers) > MOST_HEADERS:
        raise InvalidRequest(f"The request has more than {MOST_HEADERS} headers.", status=431)
    named = exchange.named = dict(exchange.headers)
    if len(named) < len(exchange.headers):
        _refuse_repeated(exchange.headers)
    length, coding = named.get(b"content-length", b"0"), named.get(b"transfer-encoding")
    if not length.isdigit():
        raise _ambiguous("Content-Length")
    if coding is not None:
        if coding.lower() != b"chunked":
            raise _ambiguous("Transfer-Encoding")
        if b"content-length" in named:
            raise _ambiguous("Content-Length beside Transfer-Encoding")
    if exchange.version not in ("1.0", "1.1"):
        raise InvalidRequest("This server speaks HTTP/1.1 and HTTP/1.0.", status=505)
    if b"host" not in named and exchange.version != "1.0":
        raise _not_one_host()
    return int(length)


def _refuse_repeated(headers: Headers) -> None:
    """What decides where a request ends, or to whom it goes, is said once. Other headers may repeat."""
    names = [name for name, _ in headers]
    if names.count(b"content-length") > 1:
        raise _ambiguous("Content-Length")
    if names.count(b"transfer-encoding") > 1:
        raise _ambiguous("Transfer-Encoding")
    if names.count(b"host") > 1:
        raise _not_one_host()


def _not_one_host() -> InvalidRequest:
    return InvalidRequest("Send one Host header.")


def _ambiguous(what: str) -> InvalidRequest:
    return InvalidRequest(f"The request's length is ambiguous: {what}. Send one Content-Length, or chunked.")
