"""`/api/traces`, `/api/overview`: what was answered, one by one and added up."""

from typing import Any

import msgspec

from waterline.api.ask import Ask, Resource
from waterline.core.errors import Refused
from waterline.store.traces import TraceFilter


class ReplayBody(msgspec.Struct, forbid_unknown_fields=True):
    release: str = ""


async def traces(ask: Ask) -> Any:
    where = TraceFilter(
        app=ask.query("app") or None,
        env=ask.query("env") or None,
        release=ask.query("release") or None,
        outcome=ask.query("outcome") or None,
        route=ask.query("route") or None,
        model=ask.query("model") or None,
        purpose=ask.query("purpose") or None,
        session=ask.query("session") or None,
        code=ask.query("code") or None,
        since_us=ask.whole("since"),
        until_us=ask.whole("until"),
        text=ask.query("q") or None,
    )
    limit = ask.whole("limit") or 50
    return await ask.plane.traces.page(ask.who, where, ask.query("before"), limit, count=ask.query("count") == "1")


async def trace(ask: Ask) -> Any:
    return await ask.plane.traces.one(ask.who, ask.path("trace"))


async def replay(ask: Ask) -> Any:
    body = await ask.body(ReplayBody)
    return await ask.plane.traces.replay(ask.who, ask.path("trace"), body.release)


async def overview(ask: Ask) -> Any:
    until = ask.whole("until")
    since = ask.whole("since")
    if until is None or since is None:
        raise Refused("Give since and until, in Unix microseconds.", 400)
    step = ask.whole("step") or max(1, (until - since) // 60)
    return await ask.plane.traces.overview(ask.who, ask.query("app") or None, since, until, step)


RESOURCES = [
    Resource("GET", "/overview", overview),
    Resource("GET", "/traces", traces),
    Resource("GET", "/traces/{trace}", trace),
    Resource("POST", "/traces/{trace}/replay", replay),
]
