"""The fallback for `upstream`: the same small interface on aiohttp (extra `aiohttp`), for the day ours has a fault.

Costs some seven times the client's CPU (ADR 0002). What it does not keep, seen with aiohttp 3.14:

* Bytes that arrive on an idle connection are taken as the answer to the next request; ours drops the connection.
* Surplus bytes that are not HTTP fail the response before them, where ours delivers it.
* 1xx responses, trailers and chunk extensions are bounded only by the `total` deadline.
* Retrying on a stale connection is aiohttp's own and by method (GET, PUT, DELETE); a POST is never sent twice.
* The connect deadline excludes the TLS handshake; `first_byte` here includes connecting.
* Header values are ASCII.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from waterline.core.egress import hands_out_credentials, never_ours
from waterline.providers.upstream import (
    BadResponse,
    ConnectFailed,
    Disconnected,
    Origin,
    Phase,
    PoolBusy,
    Stats,
    Timeout,
    UpstreamError,
    request_head,
)

_NONE_OF_AIOHTTPS_OWN = ("accept", "accept-encoding", "user-agent", "content-type")


class Response:
    """See `upstream.Response`."""

    def __init__(self, pool: "Pool", end: float, idle: float) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.framed = False
        self._pool: Pool | None = pool  # None: the slot has been given back
        self._origin = pool.origin
        self._loop = pool.loop
        self._answer: aiohttp.ClientResponse | None = None
        self._end = end
        self._idle = idle
        self._hold_until: float | None = None
        self._error: UpstreamError | None = None

    def header(self, name: bytes) -> bytes | None:
        for key, value in self.headers:
            if key == name:
                return value
        return None

    async def read(self, limit: int = 64 << 20) -> bytes:
        received: list[bytes] = []
        size = 0
        async for data in self:
            size += len(data)
            if size > limit:
                self.close()
                raise BadResponse(f"Response body is over {limit} bytes.")
            received.append(data)
        return b"".join(received)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._error is not None:
            raise self._error
        assert self._answer is not None
        if self._pool is None:
            raise StopAsyncIteration
        gap = self._loop.time() + self._idle
        phase: Phase = "idle" if self._hold_until is None else "first_content"
        due = gap if self._hold_until is None else self._hold_until
        try:
            async with asyncio.timeout_at(min(due, self._end)):
                data = await self._answer.content.readany()
        except BaseException as error:
            self._fail(self._translate(error, "total" if self._end <= due else phase))
            if self._error is not None:
                raise self._error from error
            raise
        if not data:
            self._give_back()
            raise StopAsyncIteration
        return data

    @property
    def complete(self) -> bool:
        """As in `upstream`; here it is not known before the end has been read."""
        return False

    def content_began(self) -> None:
        self._hold_until = None

    def close(self) -> None:
        if self._pool is not None:
            self._fail(Disconnected("The reader closed this response."))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def _begin(self, answer: aiohttp.ClientResponse, hold_until: float | None) -> None:
        self._answer = answer
        self._hold_until = hold_until
        self.status = answer.status
        self.headers = [(name.lower(), value) for name, value in answer.raw_headers]
        self.framed = (
            answer.status in (204, 304)
            or self.header(b"content-length") is not None
            or self.header(b"transfer-encoding") is not None
        )
        if answer.status < 200:
            self._fail(BadResponse(f"{self._origin} sent an unexpected {answer.status}."))
        if answer.content.at_eof():
            self._give_back()

    def _fail(self, error: UpstreamError | None) -> None:
        self._error = error
        if self._answer is not None:
            self._answer.close()
        self._give_back()

    def _give_back(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.give_back(self)

    def _translate(self, error: BaseException, phase: Phase) -> UpstreamError | None:
        """Ours for aiohttp's; None for what is not ours to answer (cancellation, a programmer's mistake)."""
        match error:
            case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError() | aiohttp.ConnectionTimeoutError():
                return ConnectFailed(f"No connection to {self._origin}: {_said(error)}")
            case aiohttp.ClientPayloadError() if isinstance(error.__cause__, aiohttp.ClientConnectionError):
                return Disconnected(f"{self._origin} closed the connection in the body: {_said(error)}")
            case aiohttp.ClientPayloadError() if "not enough data" in str(error).lower():
                return Disconnected(f"{self._origin} closed the connection in the body: {_said(error)}")
            case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
                return BadResponse(f"{self._origin} sent a bad response: {_said(error)}")
            case TimeoutError():
                return Timeout(phase, f"{self._origin}: the {phase} deadline passed.")
            case aiohttp.ClientError() | OSError():
                return Disconnected(f"{self._origin} closed the connection: {_said(error)}")
            case _:
                return None


class _Looked(aiohttp.ThreadedResolver):
    """Without the addresses at which a cloud hands out credentials."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        found = await super().resolve(host, port, family)
        good = [one for one in found if not never_ours(ip_address(one["host"]))]
        if not good:
            where = found[0]["host"]
            raise OSError(errno.EHOSTUNREACH, f"it leads to {where}, where a cloud hands credentials to whoever asks")
        return good


class Pool:
    """See `upstream.Pool`."""

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
        """`tick` is accepted and unused: aiohttp keeps a timer a request."""
        self.origin = origin
        self.loop = asyncio.get_running_loop()
        self.max_waiters = max_waiters
        self.acquire_timeout = acquire_timeout
        self._slots = asyncio.Semaphore(max_conns)  # first come, first served
        self._waiting = 0
        self._open: set[Response] = set()
        self._base = f"{'https' if origin.tls else 'http'}://{origin.authority}"
        self._connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=keepalive, ssl=ssl_context or True, force_close=False, resolver=_Looked()
        )
        proxy = f"http://{origin.proxy[0]}:{origin.proxy[1]}" if origin.proxy else None
        secret = origin.proxy_auth.decode("latin-1") if origin.proxy_auth else None
        self._proxy = proxy
        self._proxy_headers = {"proxy-authorization": secret} if secret else None
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_NONE_OF_AIOHTTPS_OWN,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
            max_line_size=max_header,
            max_field_size=max_header,
        )
        self._closing: asyncio.Task[None] | None = None

    def head(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
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
        """See `upstream.Pool.send`. `first_byte` here covers connecting too."""
        if hands_out_credentials(self.origin.host):
            raise ConnectFailed(f"{self.origin.host} is where a cloud hands credentials to whoever asks.")
        end = self.loop.time() + total
        await self._take_slot(end)
        response = Response(self, end, idle)
        self._open.add(response)
        due = self.loop.time() + first_byte
        method, url, headers = _parts(self._base, head)
        try:
            async with asyncio.timeout_at(min(due, end)):
                answer = await self._session.request(
                    method,
                    url,
                    headers=headers,
                    data=body or None,
                    allow_redirects=False,
                    proxy=self._proxy,
                    proxy_headers=self._proxy_headers,
                )
        except BaseException as error:
            translated = response._translate(error, "total" if end <= due else "first_byte")
            response._fail(translated)
            if translated is not None:
                raise translated from error
            raise
        response._begin(answer, due if hold_first else None)
        if response._error is not None:
            raise response._error
        return response

    def close(self) -> None:
        for response in tuple(self._open):
            response._fail(Disconnected(f"The pool to {self.origin} was closed."))
        if self._closing is None:
            self._closing = self.loop.create_task(self._session.close())

    @property
    def stats(self) -> Stats:
        return Stats(len(self._open), sum(len(held) for held in self._connector._conns.values()), self._waiting)

    def give_back(self, response: Response) -> None:
        self._open.discard(response)
        self._slots.release()

    async def _take_slot(self, end: float) -> None:
        if self._closing is not None:
            raise PoolBusy(f"The pool to {self.origin} is closed.")
        if self._slots.locked() and self._waiting >= self.max_waiters:
            raise PoolBusy(f"{self.max_waiters} requests already wait for {self.origin}.")
        self._waiting += 1
        try:
            async with asyncio.timeout_at(min(end, self.loop.time() + self.acquire_timeout)):
                await self._slots.acquire()
        except TimeoutError as error:
            raise PoolBusy(f"All connections to {self.origin} stayed busy.") from error
        finally:
            self._waiting -= 1


def _parts(base: str, head: bytes) -> tuple[str, URL, CIMultiDict[str]]:
    """A prebuilt head as aiohttp wants it. Header bytes above ASCII are refused there (aiohttp writes UTF-8)."""
    first, *lines = head.decode("ascii").split("\r\n")[:-1]
    method, target, _ = first.split(" ")
    url = target if target.startswith("http") else base + target
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, value = line.split(": ", 1)
        headers.add(name, value)
    return method, URL(url, encoded=True), headers


def _said(error: BaseException) -> str:
    """Not the repr: aiohttp's holds the request's headers, so the key."""
    return f"{type(error).__name__} {error}"
