"""`/api/canaries` and `/api/shadows`: begin one, see what it knows, end it."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from waterline.access.roles import Principal
from waterline.control.canaries import PAGE, CanaryBody, EndBody
from waterline.control.plane import Plane
from waterline.control.shadows import ShadowBody, ShadowEndBody

Whole = Callable[[str | None, str], int | None]
Body = Callable[..., Awaitable[Any]]
DAY_HOURS = 24


def canary_routes(plane: Plane, route: Callable[..., Route], whole: Whole, body: Body) -> list[Route]:
    async def page(who: Principal, r: Request) -> Any:
        q = r.query_params
        limit = min(whole(q.get("limit"), "limit") or PAGE, 200)
        return await plane.canaries.page(who, q.get("app") or None, q.get("before") or "", limit)

    async def start(who: Principal, r: Request) -> Any:
        return await plane.canaries.start(who, await body(r, CanaryBody))

    async def one(who: Principal, r: Request) -> Any:
        return await plane.canaries.one(who, r.path_params["canary"])

    async def end(who: Principal, r: Request) -> Any:
        return await plane.canaries.end(who, r.path_params["canary"], await body(r, EndBody))

    async def of_app(who: Principal, r: Request) -> Any:
        return await plane.canaries.of(who, r.path_params["app"], r.query_params.get("env") or "production")

    async def recorded(who: Principal, r: Request) -> Any:
        q = r.query_params
        hours = whole(q.get("hours"), "hours") or DAY_HOURS
        return await plane.canaries.recorded(who, r.path_params["app"], q.get("env") or "production", hours)

    async def shadows(who: Principal, r: Request) -> Any:
        return await plane.shadows.page(who, r.query_params.get("app") or None)

    async def start_shadow(who: Principal, r: Request) -> Any:
        return await plane.shadows.start(who, await body(r, ShadowBody))

    async def shadow(who: Principal, r: Request) -> Any:
        q = r.query_params
        limit = min(whole(q.get("limit"), "limit") or PAGE, 500)
        before = whole(q.get("before"), "before")
        return await plane.shadows.one(who, r.path_params["shadow"], before, q.get("only") or "", limit)

    async def end_shadow(who: Principal, r: Request) -> Any:
        return await plane.shadows.end(who, r.path_params["shadow"], await body(r, ShadowEndBody))

    async def shadow_of_app(who: Principal, r: Request) -> Any:
        return await plane.shadows.of(who, r.path_params["app"])

    return [
        route("/shadows", shadows),
        route("/shadows", start_shadow, "POST", status=201),
        route("/shadows/{shadow}", shadow),
        route("/shadows/{shadow}/end", end_shadow, "POST"),
        route("/apps/{app}/shadow", shadow_of_app),
        route("/canaries", page),
        route("/canaries", start, "POST", status=201),
        route("/canaries/{canary}", one),
        route("/canaries/{canary}/end", end, "POST"),
        route("/apps/{app}/canary", of_app),
        route("/apps/{app}/recorded-sessions", recorded),
    ]
