"""`/api/conversations` and its neighbours: for an inbox of one's own, and for programs that watch the funnel."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from waterline.access.roles import Principal
from waterline.control.plane import Plane
from waterline.store.conversations import Filter

Answer = Callable[[Principal, Request], Awaitable[Any]]
Whole = Callable[[str | None, str], int | None]
Body = Callable[..., Awaitable[Any]]


class ReplyBody(msgspec.Struct, forbid_unknown_fields=True):
    """`key`: the caller's own name for this reply; a repeat under the same one sends nothing twice."""

    text: str
    key: str


def conversation_routes(plane: Plane, route: Callable[..., Route], whole: Whole, body: Body) -> list[Route]:
    async def page(who: Principal, r: Request) -> Any:
        q = r.query_params
        where = Filter(**{name: q.get(name) or None for name in Filter.__struct_fields__})
        limit = whole(q.get("limit"), "limit") or 50
        return await plane.conversations.page(who, where, q.get("before", ""), limit)

    async def one(who: Principal, r: Request) -> Any:
        return await plane.conversations.one(who, r.path_params["conversation"])

    async def take(who: Principal, r: Request) -> Any:
        return await plane.conversations.take(who, r.path_params["conversation"])

    async def reply(who: Principal, r: Request) -> Any:
        said = await body(r, ReplyBody)
        return await plane.conversations.reply(who, r.path_params["conversation"], said.text, said.key)

    async def resume(who: Principal, r: Request) -> Any:
        return await plane.conversations.resume(who, r.path_params["conversation"])

    async def queue(who: Principal, r: Request) -> Any:
        q = r.query_params
        return await plane.conversations.queue(who, q.get("app") or None, q.get("branch") or None)

    async def funnel(who: Principal, r: Request) -> Any:
        q = r.query_params
        since, until = whole(q.get("since"), "since"), whole(q.get("until"), "until")
        return await plane.conversations.funnel(who, q.get("app") or None, q.get("branch") or None, since, until)

    async def acts(who: Principal, r: Request) -> Any:
        q = r.query_params
        before, limit = whole(q.get("before"), "before"), whole(q.get("limit"), "limit") or 50
        return await plane.conversations.acts(
            who, q.get("app") or None, q.get("branch") or None, q.get("state") or None, before, limit
        )

    return [
        route("/conversations", page),
        route("/conversations/{conversation}", one),
        route("/conversations/{conversation}/takeover", take, "POST"),
        route("/conversations/{conversation}/replies", reply, "POST", status=201),
        route("/conversations/{conversation}/resumption", resume, "POST"),
        route("/handoffs", queue),
        route("/funnel", funnel),
        route("/acts", acts),
    ]
