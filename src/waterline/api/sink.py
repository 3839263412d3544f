"""The caller on the other side of an HTTP connection: what it is told, and how fast it reads."""

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from waterline.core.errors import RequestError

if TYPE_CHECKING:
    from waterline.api.http import Connection

Headers = list[tuple[bytes, bytes]]

_encode = msgspec.json.Encoder().encode
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
_WITHOUT_BODY = frozenset((204, 304))


def error_body(error: RequestError) -> bytes:
    """The shape that the OpenAI SDKs expect."""
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    return _encode({"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}})


class HttpSink:
    """One answer. Its head leaves with the first bytes of its body: one write, one packet, one wake-up."""

    status = 0
    started = False
    ended = False
    gone = False  # the caller has hung up
    _head = b""  # until its length is known, or that it has none
    _sized = False
    _chunked = False
    _silent = False  # an answer without a body, whatever is written

    def __init__(self, connection: "Connection", keep_alive: bool, may_chunk: bool) -> None:
        self._connection = connection
        self._may_chunk = may_chunk  # HTTP/1.0 knows no chunks: there the end of the connection is the answer's
        self.keep_alive = keep_alive

    async def begin(self, status: int, content_type: bytes, headers: Headers) -> None:
        self.head(status, [(b"content-type", content_type), *headers])

    def head(self, status: int, headers: Headers, *, silent: bool = False, sized: bool = False) -> None:
        """`silent`: the answer to a HEAD. `sized`: its length is among the headers; else it is told here."""
        self.started = True
        self.status = status
        if silent or status in _WITHOUT_BODY:
            self._silent = self._sized = True
        elif sized:
            self._sized = True
        first = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        self._head = first + b"".join([b"%b: %b\r\n" % header for header in headers])

    async def write(self, data: bytes) -> None:
        """Waits while the caller reads slowly."""
        if not data or self._silent:
            return
        head = self._head
        if head:
            self._head = b""
            if not self._sized:
                if self._may_chunk:
                    self._chunked = True
                    head += b"transfer-encoding: chunked\r\n"
                else:
                    self.keep_alive = False
            head += b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        if self._chunked:
            data = b"%b%x\r\n%b\r\n" % (head, len(data), data)
        elif head:
            data = head + data
        connection = self._connection
        connection.transport.write(data)
        if connection.paused_at:
            await connection.drained()

    async def end(self, data: bytes) -> None:
        if self._silent:
            data = b""
        elif self._chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        head = self._head
        if head:
            self._head = b""
            last = b"" if self.keep_alive else b"connection: close\r\n"
            if self._sized:
                data = b"%b%b\r\n%b" % (head, last, data)
            else:
                data = b"%bcontent-length: %d\r\n%b\r\n%b" % (head, len(data), last, data)
        connection = self._connection
        connection.transport.write(data)
        self.ended = True
        if connection.paused_at:
            await connection.drained()

    def error_body(self, error: RequestError) -> bytes:
        return error_body(error)

    def error_event(self, error: RequestError) -> bytes:
        return b"data: " + error_body(error) + b"\n\n"

    async def fail(self, error: RequestError, headers: Headers) -> None:
        """An error before the first byte is a status; after it, an event in the stream and no [DONE]."""
        if self.started:
            await self.end(self.error_event(error))
            return
        body = self.error_body(error)
        headers = [
            *headers,
            *((b"x-request-id", v) for n, v in headers if n == b"x-waterline-trace"),
        ]  # the SDKs show it
        if error.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % error.retry_after_s))
        await self.begin(error.status, b"application/json", headers)
        await self.end(body)
