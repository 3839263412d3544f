"""One connection to a provider, the response that comes on it, and the tunnel that a proxy opens for it."""

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Self, cast

import httptools

from waterline.providers.upstream_errors import BadResponse, ConnectFailed, Disconnected, Phase, UpstreamError

if TYPE_CHECKING:
    from waterline.providers.upstream import Pool

PAUSE_AT_BYTES = 256 * 1024  # unread body at which we stop reading the socket
JOIN_BELOW_BYTES = 64 * 1024  # a smaller body goes out in one write with its head
MAX_INTERIM_RESPONSES = 8
MAX_PROXY_ANSWER_BYTES = 16 * 1024
_WITHOUT_BODY = (b"GET ", b"DELETE ")


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

    def __init__(self, connection: "Connection", limits: "Limits", now: float) -> None:
        self.headers: list[tuple[bytes, bytes]] = []  # lower-case names, in order, repeats kept
        self._connection: Connection | None = connection
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


class Limits(NamedTuple):
    first_byte: float
    idle: float
    total: float
    hold_first: bool
    end: float  # loop time at which `total` is over


class Connection(asyncio.Protocol):
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

    def start(self, head: bytes, body: bytes, limits: Limits) -> Response:
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


class Tunnel(asyncio.Protocol):
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


def _repeats(headers: list[tuple[bytes, bytes]], wanted: bytes) -> bool:
    return [name for name, _ in headers].count(wanted) > 1
