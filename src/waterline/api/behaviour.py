"""`/api/behaviour` and `/api/sessions/off-rails`."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from waterline.access.roles import Principal
from waterline.control.plane import Plane


def behaviour_routes(
    plane: Plane, route: Callable[..., Route], whole: Callable[[str | None, str], int | None]
) -> list[Route]:
    async def view(who: Principal, r: Request) -> Any:
        q = r.query_params
        since, until = whole(q.get("since"), "since"), whole(q.get("until"), "until")
        return await plane.behaviour.view(who, q.get("app") or "", q.get("env") or "", since, until)

    async def off_rails(who: Principal, r: Request) -> Any:
        q = r.query_params
        return await plane.behaviour.off_rails(
            who, q.get("app") or "", q.get("env") or "", q.get("release") or "", whole(q.get("since"), "since"),
            q.get("before") or "", whole(q.get("limit"), "limit") or 50,
        )  # fmt: skip

    return [route("/behaviour", view), route("/sessions/off-rails", off_rails)]
