"""`/api/apps/{app}/gates` and its neighbours: what keeps a release from an environment, approvals and incidents."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from waterline.access.roles import Principal
from waterline.control.incidents import ClosureBody, IncidentBody
from waterline.control.plane import Plane

Whole = Callable[[str | None, str], int | None]
Body = Callable[..., Awaitable[Any]]


class ApprovalBody(msgspec.Struct, forbid_unknown_fields=True):
    """`shown`: of the report that was looked at."""

    release: str
    shown: str = ""
    env: str = "production"
    note: str = ""


class WithdrawalBody(msgspec.Struct, forbid_unknown_fields=True):
    """`person` "": one's own approval."""

    release: str
    env: str = "production"
    person: str = ""
    note: str = ""


def gate_routes(plane: Plane, route: Callable[..., Route], whole: Whole, body: Body) -> list[Route]:
    async def gates(who: Principal, r: Request) -> Any:
        q = r.query_params
        return await plane.gates.report(who, r.path_params["app"], q.get("release") or "", q.get("env") or "production")

    async def approve(who: Principal, r: Request) -> Any:
        said = await body(r, ApprovalBody)
        return await plane.gates.approve(who, r.path_params["app"], said.release, said.env, said.shown, said.note)

    async def withdraw(who: Principal, r: Request) -> Any:
        said = await body(r, WithdrawalBody)
        return await plane.gates.withdraw(who, r.path_params["app"], said.release, said.env, said.person, said.note)

    async def incidents(who: Principal, r: Request) -> Any:
        q = r.query_params
        limit = min(whole(q.get("limit"), "limit") or 50, 200)
        before = whole(q.get("before"), "before")
        return await plane.incidents.page(who, q.get("app") or None, q.get("state") or "", before, limit)

    async def open_(who: Principal, r: Request) -> Any:
        return await plane.incidents.open(who, await body(r, IncidentBody))

    async def close(who: Principal, r: Request) -> Any:
        said = await body(r, ClosureBody)
        return await plane.incidents.close(who, r.path_params["incident"], said.resolution)

    return [
        route("/apps/{app}/gates", gates),
        route("/apps/{app}/approvals", approve, "POST", status=201),
        route("/apps/{app}/approvals/withdrawal", withdraw, "POST", status=201),
        route("/releases/{release}/gates", lambda who, r: plane.gates.past(who, r.path_params["release"])),
        route("/incidents", incidents),
        route("/incidents", open_, "POST", status=201),
        route("/incidents/{incident}", lambda who, r: plane.incidents.one(who, r.path_params["incident"])),
        route("/incidents/{incident}/closure", close, "POST"),
    ]
