"""The caller on the other side of an ASGI connection, and noticing that it has left.

Listening for a hang-up costs a task; most requests end first. So only requests older than `LISTEN_AFTER_S` are
listened to, and one coarse ticker finds them.
"""

import asyncio
from time import monotonic
from typing import Any

import msgspec

from waterline.core.errors import RequestError

LISTEN_AFTER_S = 0.2
STALLED_S = 60.0  # a caller that does not read for so long is given up
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


def error_body(error: RequestError) -> bytes:
    """The shape that the OpenAI SDKs expect."""
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    return _encode({"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}})


class HttpSink:
    __slots__ = ("_send", "gone", "heard", "started", "status", "writing_since")

    def __init__(self, send: Any) -> None:
        self._send = send
        self.started = False
        self.gone = False
        self.status = 0
        self.heard = False  # the whole request is in: what comes next is a hang-up
        self.writing_since = 0.0

    async def begin(self, status: int, content_type: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        self.status = status
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type), *headers]}
        )

    async def write(self, data: bytes) -> None:
        self.writing_since = monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self.writing_since = 0.0

    async def end(self, data: bytes) -> None:
        self.writing_since = monotonic()
        await self._send({"type": "http.response.body", "body": data})
        self.writing_since = 0.0

    def error_body(self, error: RequestError) -> bytes:
        return error_body(error)

    def error_event(self, error: RequestError) -> bytes:
        return b"data: " + error_body(error) + b"\n\n"

    async def fail(self, error: RequestError, headers: list[tuple[bytes, bytes]]) -> None:
        """An error before the first byte is a status; after it, an event in the stream and no [DONE]."""
        if self.started:
            await self.end(self.error_event(error))
            return
        body = self.error_body(error)
        extra = [*headers, (b"content-length", b"%d" % len(body))]
        if error.retry_after_s is not None:
            extra.append((b"retry-after", b"%d" % error.retry_after_s))
        if error.status == 413:
            extra.append((b"connection", b"close"))  # the rest of the body is not read
        await self.begin(error.status, b"application/json", extra)
        await self.end(body)


class Caller:
    """One request in flight."""

    __slots__ = ("listener", "receive", "since", "sink", "task")

    def __init__(self, receive: Any, sink: HttpSink, task: "asyncio.Task[Any]", since: float) -> None:
        self.receive = receive
        self.sink = sink
        self.task = task
        self.since = since
        self.listener: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            self.sink.gone = True
            self.task.cancel()


class Callers:
    """All requests in flight. `run` is the ticker."""

    def __init__(self) -> None:
        self._in_flight: dict[Caller, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None  # kept: asking for it costs a system call

    def __len__(self) -> int:
        return len(self._in_flight)

    def enter(self, receive: Any, sink: HttpSink) -> Caller:
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        caller = Caller(receive, sink, task, loop.time())
        self._in_flight[caller] = None
        return caller

    def leave(self, caller: Caller) -> None:
        self._in_flight.pop(caller, None)
        if caller.listener is not None:
            caller.listener.cancel()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LISTEN_AFTER_S / 2)
            before = loop.time() - LISTEN_AFTER_S
            for caller in self._in_flight:
                if caller.since > before:
                    break  # in order of arrival
                if caller.sink.writing_since and monotonic() - caller.sink.writing_since > STALLED_S:
                    caller.sink.gone = True  # it does not read; nobody waits for ever
                    caller.task.cancel()
                if caller.listener is None and caller.sink.heard:
                    caller.listener = loop.create_task(caller.listen())
