"""Small data-plane routes: liveness, readiness, metrics, the list of routes."""

from collections.abc import Awaitable, Callable

import msgspec

from waterline.access.roles import Principal
from waterline.api.http import Exchange
from waterline.api.sink import HttpSink
from waterline.core.errors import Overloaded
from waterline.gateway.route import Served

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


class ModelList:
    """GET /v1/models: the routes of the app's live release, and the names they answer to."""

    def __init__(self, find: Callable[[Principal, str, str], Served]) -> None:
        self._find = find

    async def __call__(self, exchange: Exchange, principal: Principal) -> None:
        served = self._find(principal, "", "models")
        rows = [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": plan[0].route.provider,
                "waterline": {"route": plan[0].name, "model": plan[0].route.model, "release": served.id},
            }
            for name, plan in sorted(served.plans.items())
        ]
        await reply(exchange.sink, _encode({"object": "list", "data": rows}))
