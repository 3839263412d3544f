"""The way out: an HTTP/1.1 client for model providers. One Pool per origin; httptools (llhttp) parses.

Most of a proxied request's cost is its client, so this one does only what a gateway needs (ADR 0002 has the numbers
and the fallback). What it promises, each with a test:

* We frame requests ourselves: one Content-Length, header bytes validated when the head is built (RFC 9112 6, 11.2).
* A connection is used again only after a complete, self-delimited response with nothing left over on either side;
  surplus or unsolicited bytes end it. Ambiguous framing (CL+TE, two CLs, a coding other than chunked) is refused.
* Everything has a bound: waiters, connections, heads, trailers, unread body bytes (the socket is paused), time.
* An address that a name leads to is looked at before it is connected to, and it is that address which is connected to:
  never one at which a cloud hands out credentials, whatever DNS says.
* Nothing is sent twice, except once when the caller says `idempotent`, the connection had served before, and not one
  byte of a response came.

Times are seconds. Deadlines are checked by one coarse ticker a pool, so they fire up to `tick` late.

    UpstreamError                    safe: the request cannot have reached the server
    ├── ConnectFailed      (safe)    DNS, TCP, TLS or proxy
    ├── PoolBusy           (safe)    no free connection in time, too many waiters, or the pool is closed
    ├── Timeout                      .phase says which deadline
    ├── Disconnected                 the connection ended before the response did
    └── BadResponse                  not HTTP as we accept it, or over a limit
"""

import asyncio
import base64
import os
import re
import socket
import ssl
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal, NamedTuple, Self, cast
from urllib.parse import unquote, urlsplit

import httptools

from waterline.core.egress import literal, never_ours

Phase = Literal["first_byte", "first_content", "idle", "total"]

PAUSE_AT_BYTES = 256 * 1024  # unread body at which we stop reading the socket
JOIN_BELOW_BYTES = 64 * 1024  # a smaller body goes out in one write with its head
MAX_INTERIM_RESPONSES = 8
MAX_PROXY_ANSWER_BYTES = 16 * 1024

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 5.6.2
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # never in a field value (RFC 9110 5.5)
_PATH = re.compile(r'/[!"$-~]*')  # origin-form: visible ASCII, no fragment
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_WITHOUT_BODY = (b"GET ", b"DELETE ")
_OURS = frozenset(
    b"host content-length transfer-encoding connection keep-alive proxy-connection proxy-authorization "
    b"te trailer upgrade expect".split()
)


class UpstreamError(Exception):
    """Root of what `send` and a Response raise. `safe`: the request cannot have reached the server."""

    safe: bool = False


class ConnectFailed(UpstreamError):
    safe = True


class PoolBusy(UpstreamError):
    safe = True


class Timeout(UpstreamError):
    """A deadline passed. `first_byte`: no response head; `first_content`: a head, but `content_began` was not called;
    `idle`: no body bytes for too long; `total`: the whole exchange took too long."""

    def __init__(self, phase: Phase, message: str) -> None:
        super().__init__(message)
        self.phase: Phase = phase


class Disconnected(UpstreamError):
    pass


class BadResponse(UpstreamError):
    pass


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a pool's connections go. `base_path` is for the caller to put before its paths; no part of identity."""

    host: str  # lower case; ASCII (IDNA)
    port: int
    tls: bool = True
    proxy: tuple[str, int] | None = None  # an http:// proxy; CONNECT for tls, absolute-form without
    proxy_auth: bytes | None = field(default=None, repr=False)  # the value of Proxy-Authorization
    base_path: str = field(default="", compare=False)  # "/v1", or empty; never ends in "/"

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise ValueError(f"Host {self.host!r} is no host name. Use lower-case ASCII or an IP address.")
        if not 0 < self.port < 65536:
            raise ValueError(f"Port {self.port} of {self.host} is not between 1 and 65535.")
        if self.base_path and not _PATH.fullmatch(self.base_path):
            raise ValueError(f"Path {self.base_path!r} of {self.host} is not visible ASCII starting with '/'.")
        if self.proxy_auth is not None and _CONTROL.search(self.proxy_auth):
            raise ValueError("The proxy's credentials hold a control character.")

    @classmethod
    def from_url(cls, base_url: str, proxy: str | None = None) -> Self:
        """Parse `https://api.example/v1`, and a proxy as `http://user:password@host:port`. Raises ValueError."""
        parts = urlsplit(base_url)
        if not base_url.isprintable() or parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"Base URL {base_url!r} is not http(s)://host[:port][/path].")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("A base URL holds no credentials, query or fragment; keys go in headers.")
        tls = parts.scheme == "https"
        proxy_at, proxy_auth = _parse_proxy(proxy) if proxy else (None, None)
        return cls(
            _ascii_host(parts.hostname),
            parts.port or (443 if tls else 80),
            tls,
            proxy_at,
            proxy_auth,
            parts.path.rstrip("/"),
        )

    @property
    def address(self) -> str:
        """host:port, with brackets around IPv6."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """The Host header: the port only where it is not the scheme's own (RFC 9110 7.2)."""
        default = self.port == (443 if self.tls else 80)
        return self.address.rpartition(":")[0] if default else self.address

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority}"


def request_head(origin: Origin, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The validated request line and headers, without the length and the blank line. Raises ValueError."""
    if method not in _METHODS or not _PATH.fullmatch(path):
        raise ValueError(f"{method!r} {path!r} is not a method and path we send.")
    via_proxy = origin.proxy is not None and not origin.tls
    target = f"http://{origin.authority}{path}" if via_proxy else path
    lines = [f"{method} {target} HTTP/1.1\r\nhost: {origin.authority}\r\n".encode("ascii")]
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or _CONTROL.search(value) or name.lower() in _OURS:
            raise ValueError(f"Header {name!r} is not allowed: framing is ours, and values hold no control characters.")
        lines.append(b"%b: %b\r\n" % (name, value))
    if via_proxy and origin.proxy_auth:
        lines.append(b"proxy-authorization: %b\r\n" % origin.proxy_auth)
    return b"".join(lines)


class Response:
    """A response whose head is in. Read it with `read`, or iterate; `close` it if not read to the end.

    One reader. `framed` is False where the body ends with the connection: such an end cannot be told from a cut, so
    only the caller's own end marker ([DONE], say) shows that the answer is whole."""

    status = 0
    framed = False
    _phase: Phase = "first_byte"
    _size = 0
    _head_in = False
    _done = False
    _error: UpstreamError | None = None
    _waiter: asyncio.Future[None] | None = None

    def __init__(self, connection: "_Connection", limits: "_Limits", now: float) -> None:
        self.headers: list[tuple[bytes, bytes]] = []  # lower-case names, in order, repeats kept
        self._connection: _Connection | None = connection
        self._loop = connection.loop
        self._limits = limits
        self._due = now + limits.first_byte
        self._parts: list[bytes] = []  # received and not yet read

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    async def read(self, limit: int = 64 << 20) -> bytes:
        """The whole body. Over `limit` bytes it is dropped and BadResponse raised."""
        if self._done and len(self._parts) == 1 and self._size <= limit:
            return self._take()
        received: list[bytes] = []
        size = 0
        while True:
            if self._parts:
                data = self._take()
                size += len(data)
                if size > limit:
                    self.close()
                    raise BadResponse(f"Response body is over {limit} bytes.")
                received.append(data)
            elif self._error is not None:
                raise self._error
            elif self._done:
                return b"".join(received)
            else:
                await self._wait()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Everything received since the last read, joined; never empty."""
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self._done:
                raise StopAsyncIteration
            await self._wait()
        return self._take()

    @property
    def complete(self) -> bool:
        """Everything has been received; what was not read yet can be read without waiting."""
        return self._done

    def content_began(self) -> None:
        """With `hold_first`: the first token is here, so from now on the idle deadline rules. Else no effect."""
        if self._phase == "first_content":
            self._phase = "idle"
            self._due = self._loop.time() + self._limits.idle

    def close(self) -> None:
        """Give up what has not been received; its connection ends and the slot is free. Harmless after the end."""
        if self._connection is not None:
            self._connection.fail(Disconnected("The reader closed this response."))
        elif self._error is not None:  # what was raised holds its readers' frames, and they this
            self._error = Disconnected("The reader closed this response.")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def _take(self) -> bytes:
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        self._size = 0
        if self._connection is not None and self._connection.paused:
            self._connection.resume()
        return data

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("A response has one reader.")
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except BaseException:
            self.close()  # cancelled: nobody will read the rest
            raise
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _failure(self) -> UpstreamError:
        """Why there is none. It is not kept: it will hold the frames that it comes through, and they this."""
        error, self._error = self._error, None
        assert error is not None
        return error

    def _end(self, error: UpstreamError | None) -> None:
        self._connection = None
        self._error = error
        self._wake()


class _Limits(NamedTuple):
    first_byte: float
    idle: float
    total: float
    hold_first: bool
    end: float  # loop time at which `total` is over


class _Connection(asyncio.Protocol):
    """One socket and its parser. `response` is the exchange in progress; None while idle."""

    def __init__(self, pool: "Pool") -> None:
        self.pool = pool
        self.loop = pool.loop
        self.parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport
        self.response: Response | None = None
        self.closed = False
        self.paused = False
        self.served = False  # has completed an exchange before
        self.answered = False  # a byte has come in this exchange
        self.surplus = False  # bytes after the end of the response
        self.keep = False
        self.idle_since = 0.0
        self.dry_bytes = 0  # since the last body byte: head, chunk extensions, trailers
        self.head_bytes = 0  # of the reads that brought heads, so perhaps with some of a body; then of trailers alone
        self.interim = 0

    @property
    def usable(self) -> bool:
        return not self.closed and not self.transport.is_closing()

    def start(self, head: bytes, body: bytes, limits: _Limits) -> Response:
        self.response = response = Response(self, limits, self.loop.time())
        self.answered = self.surplus = self.keep = False
        self.dry_bytes = self.head_bytes = self.interim = 0
        if not body and head.startswith(_WITHOUT_BODY):
            self.transport.write(head + b"\r\n")
        elif len(body) < JOIN_BELOW_BYTES:
            self.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        else:
            self.transport.write(b"%bcontent-length: %d\r\n\r\n" % (head, len(body)))
            self.transport.write(body)
        return response

    def fail(self, error: UpstreamError) -> None:
        response, self.response = self.response, None
        if response is not None:
            response._end(error)
        self.transport.abort()

    def resume(self) -> None:
        self.paused = False
        if self.response is not None and self.response._phase == "idle":
            self.response._due = self.loop.time() + self.response._limits.idle  # the reader was slow, not the server
        if self.usable:
            self.transport.resume_reading()

    # The transport calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not of the class, only of the shape
        self.pool.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        del self.parser  # it points back here
        response, self.response = self.response, None
        if response is not None:
            if exc is None and response._head_in and not response.framed:
                response._done = True
                response._end(None)
            else:
                where = "in the body" if response._head_in else "before a response"
                why = f" ({exc!r})" if exc else ""
                response._end(Disconnected(f"{self.pool.origin} closed the connection {where}{why}."))
        self.pool.forget(self)

    def data_received(self, data: bytes) -> None:
        response = self.response
        if response is None:  # bytes nobody asked for: whoever sent them may not answer the next request
            self.transport.abort()
            return
        self.answered = True
        size = response._size
        if not response._head_in:
            self.head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not response._done:
                ours = error.__context__
                reason = ours if isinstance(ours, BadResponse) else f"not valid HTTP/1.1: {error!r}"
                self.fail(BadResponse(f"{self.pool.origin} sent a bad response: {reason}"))
                return
            self.surplus = True
        if response._done:
            self._finish(response)
        elif response._size == size:
            self.dry_bytes += len(data)
            if self.dry_bytes > self.pool.max_header:
                self.fail(BadResponse(f"{self.pool.origin} sent over {self.pool.max_header} bytes outside a body."))
                return
            if not response._head_in:
                return
        else:
            self.dry_bytes = 0
            if response._phase == "idle":
                response._due = self.loop.time() + response._limits.idle
            if response._size > PAUSE_AT_BYTES and not self.paused:
                self.paused = True
                self.transport.pause_reading()
        response._wake()

    def _finish(self, response: Response) -> None:
        self.response = response._connection = None
        if self.paused:
            self.resume()
        # Bytes of ours still unsent (an early 413) or of theirs left over: the next exchange would start in the middle.
        unsent = self.transport.get_write_buffer_size()
        if self.surplus or not response.framed or not self.keep or unsent or not self.usable:
            self.transport.abort()
        else:
            self.served = True
            self.pool.release(self)

    # The parser calls these, inside feed_data; what they raise arrives there as the error's context.

    def on_message_begin(self) -> None:
        if self.response is not None and self.response._done:
            self.surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        response = self.response
        if response is None:
            return
        if not response._head_in:
            response.headers.append((name.lower(), value))
            return
        self.head_bytes += len(name) + len(value) + 4  # trailers are counted and dropped
        if self.head_bytes > self.pool.max_header:
            raise BadResponse(f"trailers over {self.pool.max_header} bytes")

    def on_headers_complete(self) -> None:
        response = self.response
        if response is None or response._done:
            return
        if self.head_bytes > self.pool.max_header:
            self._check_size(response.headers)
        status = self.parser.get_status_code()
        if status < 200:
            self.interim += 1
            if (status <= 101 and status != 100) or self.interim > MAX_INTERIM_RESPONSES:
                raise BadResponse(f"unexpected interim response {status}")
            return
        self.head_bytes = 0
        named = dict(response.headers)
        coding = named.get(b"transfer-encoding")
        if coding is not None and (coding.lower() != b"chunked" or _repeats(response.headers, b"transfer-encoding")):
            raise BadResponse(f"transfer coding {coding[:40]!r}")  # we send no TE, so no other may come (RFC 9112 7.4)
        response.status = status
        # llhttp refuses a second content-length, and one beside chunked.
        response.framed = coding is not None or b"content-length" in named or status in (204, 304)
        response._head_in = True
        if response._limits.hold_first:
            response._phase = "first_content"
        else:
            response._phase = "idle"
            response._due = self.loop.time() + response._limits.idle

    def _check_size(self, headers: list[tuple[bytes, bytes]]) -> None:
        if sum(len(name) + len(value) + 4 for name, value in headers) > self.pool.max_header:
            raise BadResponse(f"headers over {self.pool.max_header} bytes")

    def on_body(self, data: bytes) -> None:
        response = self.response
        if response is not None and not response._done:
            response._parts.append(data)
            response._size += len(data)

    def on_message_complete(self) -> None:
        response = self.response
        if response is None or response._done:
            return
        if not response._head_in:
            response.headers = []  # interim: the real one follows
        else:
            response._done = True
            self.keep = self.parser.should_keep_alive()  # llhttp answers truly only in this callback


class _Tunnel(asyncio.Protocol):
    """The proxy's answer to CONNECT (RFC 9110 9.3.6). `opened` is done when TLS may start."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.opened: asyncio.Future[None] = loop.create_future()
        self.answer = b""

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectFailed("The proxy closed the connection."))

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if self.opened.done():
            return
        head, blank, rest = self.answer.partition(b"\r\n\r\n")
        if rest or len(head) > MAX_PROXY_ANSWER_BYTES:
            self.opened.set_exception(ConnectFailed("The proxy's answer to CONNECT is not one HTTP head."))
        elif blank:
            words = head.partition(b"\r\n")[0].split(b" ")
            if len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1] == b"200":
                self.opened.set_result(None)
            else:
                self.opened.set_exception(ConnectFailed(f"The proxy refused: {words[:2]!r}."))


class Stats(NamedTuple):
    in_use: int  # with a request, being connected, or being closed
    idle: int
    waiting: int


class Pool:
    """Connections to one origin. Build it inside a running loop; `close` it in the same one."""

    def __init__(
        self,
        origin: Origin,
        *,
        max_conns: int = 512,
        max_waiters: int = 4096,
        ssl_context: ssl.SSLContext | None = None,
        acquire_timeout: float = 10.0,
        connect_timeout: float = 5.0,
        keepalive: float = 25.0,
        max_header: int = 65536,
        tick: float = 0.25,
    ) -> None:
        """`ssl_context`: to trust another authority than the system's; the default verifies name and chain.
        `keepalive`: seconds an idle connection is kept; keep it below the provider's own."""
        self.origin = origin
        self.loop = asyncio.get_running_loop()
        self.ssl_context = (ssl_context or ssl.create_default_context()) if origin.tls else None
        self.max_conns = max_conns
        self.max_waiters = max_waiters
        self.acquire_timeout = acquire_timeout
        self.connect_timeout = connect_timeout
        self.keepalive = keepalive
        self.max_header = max_header
        self.tick = tick
        self.connections: set[_Connection] = set()
        self._slots = 0  # connections and connection attempts
        self._idle: OrderedDict[_Connection, None] = OrderedDict()  # oldest first; the newest is used first
        self._waiters: OrderedDict[asyncio.Future[_Connection | None], None] = OrderedDict()  # first come first
        self._ticker: asyncio.TimerHandle | None = None
        self._closed = False

    def head(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """What `send` takes, to be built once per key and path, not per request. Raises ValueError."""
        return request_head(self.origin, method, path, headers)

    async def send(
        self,
        head: bytes,
        body: bytes,
        *,
        first_byte: float,
        idle: float,
        total: float,
        hold_first: bool = False,
        idempotent: bool = False,
    ) -> Response:
        """Send one request; returns when the final response head is in. Raises UpstreamError.

        `first_byte` counts from the moment a connection is there and rules until the head is in; with `hold_first`
        until the reader calls `content_began()`, whatever else arrives: so a slow first token is told from a stream
        gone idle. `idle` is the longest gap between body bytes. `total` covers waiting for a connection too."""
        limits = _Limits(first_byte, idle, total, hold_first, self.loop.time() + total)
        while True:
            connection = self._newest_idle() or await self._acquire(limits.end)
            response = connection.start(head, body, limits)
            await response._wait()
            if response._head_in:
                return response
            assert response._error is not None
            stale = connection.served and not connection.answered and isinstance(response._error, Disconnected)
            if not (idempotent and stale):
                raise response._failure()
            idempotent = False

    def close(self) -> None:
        """End every connection and refuse whoever waits."""
        self._closed = True
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_exception(self._closed_error())
        for connection in tuple(self.connections):
            connection.fail(Disconnected(f"The pool to {self.origin} was closed."))
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None

    @property
    def stats(self) -> Stats:
        return Stats(self._slots - len(self._idle), len(self._idle), len(self._waiters))

    # Connections come and go. A slot is freed in one place each: by the failed attempt, or by connection_lost.

    def _newest_idle(self) -> _Connection | None:
        while self._idle and not self._closed:
            connection, _ = self._idle.popitem()
            if connection.usable:
                return connection
        return None

    async def _acquire(self, end: float) -> _Connection:
        patience = min(end, self.loop.time() + self.acquire_timeout)
        while not self._closed:
            connection = self._newest_idle()
            if connection is not None:
                return connection
            if self._slots < self.max_conns:
                self._slots += 1
                return await self._open(end)
            handed = await self._queue(patience)
            if handed is None:
                return await self._open(end)
            if handed.usable:
                return handed
        raise self._closed_error()

    async def _queue(self, patience: float) -> _Connection | None:
        """Wait in line for a connection, or (None) for a slot to open one in."""
        if len(self._waiters) >= self.max_waiters:
            raise PoolBusy(f"{self.max_waiters} requests already wait for {self.origin}. Raise max_conns or slow down.")
        waiter: asyncio.Future[_Connection | None] = self.loop.create_future()
        self._waiters[waiter] = None
        try:
            async with asyncio.timeout_at(patience):
                return await waiter
        except BaseException as error:
            self._waiters.pop(waiter, None)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                handed = waiter.result()  # it came while we gave up: pass it on
                if handed is None:
                    self._free_slot()
                else:
                    self.release(handed)
            waiter.cancel()
            if isinstance(error, TimeoutError):
                raise PoolBusy(f"All {self.max_conns} connections to {self.origin} stayed busy.") from error
            raise

    async def _open(self, end: float) -> _Connection:
        """A new connection in a slot that is already ours."""
        try:
            async with asyncio.timeout_at(min(end, self.loop.time() + self.connect_timeout)):
                connection = await self._connect()
        except OSError as error:  # TimeoutError and ssl.SSLError among them
            self._free_slot()
            raise ConnectFailed(f"No connection to {self.origin}: {_why(error, self.connect_timeout)}.") from error
        except BaseException:
            self._free_slot()
            raise
        if connection.closed:
            raise ConnectFailed(f"{self.origin} closed the connection right after it was made.")
        if self._closed:
            connection.fail(self._closed_error())
            raise self._closed_error()
        if self._ticker is None:
            self._ticker = self.loop.call_later(self.tick, self._on_tick)
        return connection

    async def _connect(self) -> _Connection:
        connection = _Connection(self)
        through: asyncio.Transport | None = None
        try:
            if self.origin.proxy is not None and self.ssl_context is not None:
                through = await self._connect_proxy(self.origin.proxy)
                secured = await self.loop.start_tls(
                    through, connection, self.ssl_context, server_hostname=self.origin.host
                )
                assert secured is not None
                connection.connection_made(secured)
            else:
                await self._connect_one(connection)
        except BaseException:
            if connection in self.connections:
                self.connections.discard(connection)  # the caller frees the slot, so connection_lost must not
                connection.transport.abort()
            if through is not None:
                through.abort()
            raise
        sock = connection.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection

    async def _connect_one(self, connection: _Connection) -> None:
        """To the first of the addresses that answers."""
        host, port = self.origin.proxy or (self.origin.host, self.origin.port)
        name = self.origin.host if self.ssl_context else None
        addresses = await addresses_of(self.loop, host, port)
        for left, address in enumerate(addresses, 1 - len(addresses)):
            try:
                await self.loop.create_connection(
                    lambda: connection, address, port, ssl=self.ssl_context, server_hostname=name
                )
                return
            except ssl.SSLError:
                raise  # whoever has the name answered
            except OSError:
                if not left:
                    raise

    async def _connect_proxy(self, proxy: tuple[str, int]) -> asyncio.Transport:
        """A transport on which the proxy has opened a tunnel to the origin."""
        transport, tunnel = await self.loop.create_connection(lambda: _Tunnel(self.loop), *proxy)
        try:
            address = self.origin.address
            auth = self.origin.proxy_auth
            secret = b"proxy-authorization: %b\r\n" % auth if auth else b""
            transport.write(f"CONNECT {address} HTTP/1.1\r\nhost: {address}\r\n".encode("ascii") + secret + b"\r\n")
            await tunnel.opened
            if transport.is_closing():
                raise ConnectFailed("The proxy closed the tunnel.")
        except BaseException:
            tunnel.opened.cancel()
            transport.abort()
            raise
        return transport

    def release(self, connection: _Connection) -> None:
        """A connection has nothing to do: to the first waiter, else to the idle ones."""
        if not connection.usable:
            return  # connection_lost will free its slot
        if not self._hand(connection):
            connection.idle_since = self.loop.time()
            self._idle[connection] = None

    def forget(self, connection: _Connection) -> None:
        """A connection is lost."""
        self._idle.pop(connection, None)
        if connection in self.connections:
            self.connections.discard(connection)
            self._free_slot()

    def _free_slot(self) -> None:
        if not self._hand(None):
            self._slots -= 1

    def _hand(self, what: _Connection | None) -> bool:
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(what)
                return True
        return False

    def _on_tick(self) -> None:
        now = self.loop.time()
        for connection in tuple(self.connections):
            if connection.response is not None:
                error = self._overdue(connection, connection.response, now)
                if error is not None:
                    connection.fail(error)
        while self._idle:
            oldest = next(iter(self._idle))
            if oldest.idle_since + self.keepalive > now:
                break
            del self._idle[oldest]
            oldest.transport.close()
        self._ticker = self.loop.call_later(self.tick, self._on_tick) if self.connections else None

    def _overdue(self, connection: _Connection, response: Response, now: float) -> Timeout | None:
        limits = response._limits
        if now > limits.end:
            return Timeout("total", f"{self.origin} did not finish within {limits.total:g} s.")
        if now <= response._due or connection.paused:
            return None
        match response._phase:
            case "first_byte":
                return Timeout("first_byte", f"{self.origin} sent no response within {limits.first_byte:g} s.")
            case "first_content":
                if response._parts:
                    return None  # perhaps the content is here and our reader has not looked yet
                return Timeout("first_content", f"{self.origin} sent no content within {limits.first_byte:g} s.")
            case _:
                return Timeout("idle", f"{self.origin} sent nothing more for {limits.idle:g} s.")

    def _closed_error(self) -> PoolBusy:
        return PoolBusy(f"The pool to {self.origin} is closed.")


async def addresses_of(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[str]:
    """Where a host may be connected to now, at least one. Raises OSError (no such name) and ConnectFailed: it leads to
    nothing but addresses of a link or of a cloud's metadata server."""
    known = literal(host)
    if known is not None:
        found = [str(known)]
    else:
        told = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = list(dict.fromkeys(str(info[4][0]) for info in told))
    good = [address for address in found if not never_ours(ip_address(address))]
    if not good:
        where = "" if known is not None else f" leads to {found[0]}, which"
        raise ConnectFailed(f"{host}{where} is where a cloud hands credentials to whoever asks. Correct the address.")
    return good


def _repeats(headers: list[tuple[bytes, bytes]], wanted: bytes) -> bool:
    return [name for name, _ in headers].count(wanted) > 1


def _why(error: OSError, timeout_s: float) -> str:
    """In words, without Python's."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"not made within {timeout_s:g} s"
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__


def _ascii_host(host: str) -> str:
    return (host if host.isascii() else host.encode("idna").decode("ascii")).lower()


def _parse_proxy(url: str) -> tuple[tuple[str, int], bytes | None]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path.rstrip("/") or parts.query or parts.fragment:
        raise ValueError("A proxy is given as http://[user:password@]host[:port].")  # not echoed: it may hold a secret
    auth = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        auth = b"Basic " + base64.b64encode(pair.encode())
    return (_ascii_host(parts.hostname), parts.port or 80), auth
