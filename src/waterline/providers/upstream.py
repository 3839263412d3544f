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
"""

import asyncio
import os
import socket
import ssl
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from waterline.providers.upstream_connection import Connection, Limits, Response, Tunnel
from waterline.providers.upstream_errors import (
    BadResponse,
    ConnectFailed,
    Disconnected,
    Phase,
    PoolBusy,
    Timeout,
    UpstreamError,
)
from waterline.providers.upstream_origin import Origin, addresses_of, request_head

__all__ = [
    "BadResponse",
    "ConnectFailed",
    "Disconnected",
    "Origin",
    "Phase",
    "Pool",
    "PoolBusy",
    "Response",
    "Stats",
    "Timeout",
    "UpstreamError",
    "addresses_of",
    "request_head",
]


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
        self.connections: set[Connection] = set()
        self._slots = 0  # connections and connection attempts
        self._idle: OrderedDict[Connection, None] = OrderedDict()  # oldest first; the newest is used first
        self._waiters: OrderedDict[asyncio.Future[Connection | None], None] = OrderedDict()  # first come first
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
        limits = Limits(first_byte, idle, total, hold_first, self.loop.time() + total)
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

    def _newest_idle(self) -> Connection | None:
        while self._idle and not self._closed:
            connection, _ = self._idle.popitem()
            if connection.usable:
                return connection
        return None

    async def _acquire(self, end: float) -> Connection:
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

    async def _queue(self, patience: float) -> Connection | None:
        """Wait in line for a connection, or (None) for a slot to open one in."""
        if len(self._waiters) >= self.max_waiters:
            raise PoolBusy(f"{self.max_waiters} requests already wait for {self.origin}. Raise max_conns or slow down.")
        waiter: asyncio.Future[Connection | None] = self.loop.create_future()
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

    async def _open(self, end: float) -> Connection:
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

    async def _connect(self) -> Connection:
        connection = Connection(self)
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

    async def _connect_one(self, connection: Connection) -> None:
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
        transport, tunnel = await self.loop.create_connection(lambda: Tunnel(self.loop), *proxy)
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

    def release(self, connection: Connection) -> None:
        """A connection has nothing to do: to the first waiter, else to the idle ones."""
        if not connection.usable:
            return  # connection_lost will free its slot
        if not self._hand(connection):
            connection.idle_since = self.loop.time()
            self._idle[connection] = None

    def forget(self, connection: Connection) -> None:
        """A connection is lost."""
        self._idle.pop(connection, None)
        if connection in self.connections:
            self.connections.discard(connection)
            self._free_slot()

    def _free_slot(self) -> None:
        if not self._hand(None):
            self._slots -= 1

    def _hand(self, what: Connection | None) -> bool:
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

    def _overdue(self, connection: Connection, response: Response, now: float) -> Timeout | None:
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


def _why(error: OSError, timeout_s: float) -> str:
    """In words, without Python's."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"not made within {timeout_s:g} s"
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__
