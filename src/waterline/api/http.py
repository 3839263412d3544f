"""uvicorn's HTTP protocol, with an answer's head and its first bytes in one write.

uvicorn writes the status line and headers when they come, the body after; each write is a system call, a packet and a
wake-up of the reader. ASGI lets a server hold the head until the first body message, so it is held.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class _Joining:
    """A transport that holds a head until what follows it."""

    __slots__ = ("_held", "_transport", "_write", "get_extra_info", "is_closing", "pause_reading",
                 "resume_reading", "set_protocol")  # fmt: skip

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._write = transport.write
        self._held = b""
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.set_protocol = transport.set_protocol

    def write(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._write(held + data)
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1"):
            self._held = data
        else:
            self._write(data)

    def flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._write(held)

    def close(self) -> None:
        self.flush()
        self._transport.close()


class Http(HttpToolsProtocol):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(_Joining(transport))  # type: ignore[arg-type]  # all that uvicorn asks of one

    def on_response_complete(self) -> None:
        joining: Any = self.transport
        joining.flush()
        super().on_response_complete()
