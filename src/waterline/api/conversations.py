"""`/api/conversations` and its neighbours: for an inbox of one's own, and for programs that watch the funnel."""

from typing import Any

import msgspec

from waterline.api.ask import Ask, Resource
from waterline.store.conversations import Filter


class ReplyBody(msgspec.Struct, forbid_unknown_fields=True):
    """`key`: the caller's own name for this reply; a repeat under the same one sends nothing twice."""

    text: str
    key: str


async def page(ask: Ask) -> Any:
    where = Filter(**{name: ask.query(name) or None for name in Filter.__struct_fields__})
    limit = ask.whole("limit") or 50
    return await ask.plane.conversations.page(ask.who, where, ask.query("before"), limit)


async def one(ask: Ask) -> Any:
    return await ask.plane.conversations.one(ask.who, ask.path("conversation"))


async def take(ask: Ask) -> Any:
    return await ask.plane.conversations.take(ask.who, ask.path("conversation"))


async def reply(ask: Ask) -> Any:
    said = await ask.body(ReplyBody)
    return await ask.plane.conversations.reply(ask.who, ask.path("conversation"), said.text, said.key)


async def resume(ask: Ask) -> Any:
    return await ask.plane.conversations.resume(ask.who, ask.path("conversation"))


async def queue(ask: Ask) -> Any:
    return await ask.plane.conversations.queue(ask.who, ask.query("app") or None, ask.query("branch") or None)


async def funnel(ask: Ask) -> Any:
    app, branch = ask.query("app") or None, ask.query("branch") or None
    return await ask.plane.conversations.funnel(ask.who, app, branch, ask.whole("since"), ask.whole("until"))


async def acts(ask: Ask) -> Any:
    before, limit = ask.whole("before"), ask.whole("limit") or 50
    return await ask.plane.conversations.acts(
        ask.who, ask.query("app") or None, ask.query("branch") or None, ask.query("state") or None, before, limit
    )


RESOURCES = [
    Resource("GET", "/conversations", page),
    Resource("GET", "/conversations/{conversation}", one),
    Resource("POST", "/conversations/{conversation}/takeover", take),
    Resource("POST", "/conversations/{conversation}/replies", reply, 201),
    Resource("POST", "/conversations/{conversation}/resumption", resume),
    Resource("GET", "/handoffs", queue),
    Resource("GET", "/funnel", funnel),
    Resource("GET", "/acts", acts),
]
