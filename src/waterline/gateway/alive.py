"""Keep-alive comments while a streamed answer has no content yet, where the route declares it (`keep_alive_s`).

A proxy or a client that gives a silent connection up after a minute then waits on. The price, and why it is off by
default: status 200 has left with the first comment, so a failure after it is an event in the stream, which no SDK
retries by itself. Retries and fallbacks go on as ever: until the first content, nothing of any answer has left.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from waterline.core.errors import RequestError
from waterline.gateway.call import Call
from waterline.gateway.deps import Sink
from waterline.gateway.relay import SSE

COMMENT = b": keep-alive\n\n"  # a comment (WHATWG HTML 9.2.5); an API that has an event for it says that instead


class _Alive:
    """The caller's sink. Its head may have left already when the answer begins."""

    def __init__(self, inner: Sink) -> None:
        self.inner = inner
        self.begun = False  # the answer has

    @property
    def started(self) -> bool:
        return self.inner.started

    @property
    def gone(self) -> bool:
        return self.inner.gone

    async def begin(self, status: int, content_type: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.begun = True
        if not self.inner.started:
            await self.inner.begin(status, content_type, headers)

    async def write(self, data: bytes) -> None:
        await self.inner.write(data)

    async def end(self, data: bytes) -> None:
        await self.inner.end(data)

    async def fail(self, error: RequestError, headers: list[tuple[bytes, bytes]]) -> None:
        self.begun = True
        await self.inner.fail(error, headers)

    async def beat(self, call: Call) -> None:
        while True:
            await asyncio.sleep(call.keep_alive_s)
            if self.begun or self.gone:
                return
            if not self.inner.started:
                call.trail.deps.metrics.count("kept_alive")
                await self.inner.begin(200, SSE, call.trail.headers)
            await self.inner.write(COMMENT)


async def kept_alive(call: Call, answer: Coroutine[Any, Any, bytes]) -> bytes:
    """What `answer` returns or raises."""
    sink = call.sink = _Alive(call.sink)
    beating = asyncio.get_running_loop().create_task(sink.beat(call))
    try:
        return await answer
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
