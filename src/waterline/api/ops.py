"""Small data-plane routes: liveness, readiness, metrics."""

from collections.abc import Awaitable, Callable

import msgspec

from waterline.access.roles import Principal
from waterline.api.http import Exchange
from waterline.api.sink import HttpSink
from waterline.core.errors import Overloaded

JSON = b"application/json"
TEXT = b"text/plain; version=0.0.4; charset=utf-8"
_encode = msgspec.json.Encoder().encode


async def reply(sink: HttpSink, body: bytes, content_type: bytes = JSON, status: int = 200) -> None:
    await sink.begin(status, content_type, [])
    await sink.end(body)


async def healthz(sink: HttpSink) -> None:
    """The process answers; nothing else is checked."""
    await reply(sink, b'{"status":"ok"}')


class Readyz:
    """Ready: the store is open, the log can be written, and the drainer is not far behind."""

    def __init__(self, trouble: Callable[[], str]) -> None:
        self._trouble = trouble

    async def __call__(self, sink: HttpSink) -> None:
        trouble = self._trouble()
        if trouble:
            await sink.fail(Overloaded(trouble, retry_after_s=5), [])
        else:
            await reply(sink, b'{"status":"ready"}')


class MetricsPage:
    def __init__(self, text: Callable[[], Awaitable[str]]) -> None:
        self._text = text

    async def __call__(self, exchange: Exchange, principal: Principal) -> None:
        await reply(exchange.sink, (await self._text()).encode(), TEXT)
