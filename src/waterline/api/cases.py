"""`/api/apps/{app}/case-sets` and what belongs to it."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from waterline.access.roles import Principal
from waterline.control.cases import VersionBody
from waterline.control.coverage import CoverageBody
from waterline.control.erasure import ErasureBody
from waterline.control.harvest import HarvestBody
from waterline.control.plane import Plane
from waterline.control.review import DecisionBody
from waterline.control.subject_export import ExportBody
from waterline.store.candidates import Where
from waterline.store.cases import Filter

Whole = Callable[[str | None, str], int | None]
Body = Callable[..., Awaitable[Any]]
LARGEST_PAGE = 1000


def case_routes(plane: Plane, route: Callable[..., Route], whole: Whole, body: Body) -> list[Route]:
    def place(r: Request) -> tuple[str, str]:
        return r.path_params["app"], r.path_params["set"]

    async def one_set(who: Principal, r: Request) -> Any:
        q = r.query_params
        return await plane.cases.one_set(who, *place(r), q.get("version", ""), whole(q.get("before"), "before"))

    async def page(who: Principal, r: Request) -> Any:
        q = r.query_params
        where = Filter(q.get("q", ""), q.get("tag", ""), q.get("split", ""), q.get("found", ""))
        limit = min(whole(q.get("limit"), "limit") or 50, LARGEST_PAGE)
        return await plane.cases.page(who, *place(r), q.get("version", ""), where, q.get("after", ""), limit)

    async def case(who: Principal, r: Request) -> Any:
        return await plane.cases.case(who, *place(r), r.path_params["case"])

    async def diff(who: Principal, r: Request) -> Any:
        return await plane.cases.diff(who, *place(r), r.path_params["a"], r.path_params["b"])

    async def add_version(who: Principal, r: Request) -> Any:
        return await plane.cases.add_version(who, *place(r), await body(r, VersionBody))

    async def harvest(who: Principal, r: Request) -> Any:
        return await plane.harvest.run(who, r.path_params["app"], await body(r, HarvestBody))

    async def queue(who: Principal, r: Request) -> Any:
        q = r.query_params
        where = Where(q.get("app", ""), q.get("set", ""), q.get("found", ""))
        after, limit = whole(q.get("after"), "after") or 0, min(whole(q.get("limit"), "limit") or 50, 200)
        state: Any = q.get("state") or "waiting"
        return await plane.review.queue(who, where, state, after, limit)

    async def measure(who: Principal, r: Request) -> Any:
        return await plane.coverage.measure(who, *place(r), await body(r, CoverageBody))

    async def erase(who: Principal, r: Request) -> Any:
        return await plane.erasure.erase(who, await body(r, ErasureBody))

    async def export(who: Principal, r: Request) -> Any:
        return await plane.subject_export.page(who, await body(r, ExportBody))

    def number(r: Request) -> int:
        text = str(r.path_params["candidate"])
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0  # there is no candidate 0

    async def claim(who: Principal, r: Request) -> Any:
        return await plane.review.claim(who, number(r))

    async def decide(who: Principal, r: Request) -> Any:
        return await plane.review.decide(who, number(r), await body(r, DecisionBody))

    sets = "/apps/{app}/case-sets"
    return [
        route(sets, lambda who, r: plane.cases.sets(who, r.path_params["app"])),
        route(f"{sets}/{{set}}", one_set),
        route(f"{sets}/{{set}}/cases", page),
        route(f"{sets}/{{set}}/cases/{{case}}", case),
        route(f"{sets}/{{set}}/diff/{{a}}/{{b}}", diff),
        route(f"{sets}/{{set}}/versions", add_version, "POST", status=201),
        route(f"{sets}/{{set}}/coverage", lambda who, r: plane.coverage.last(who, *place(r))),
        route(f"{sets}/{{set}}/coverage", measure, "POST"),
        route("/subjects/erasure", erase, "POST"),
        route("/subjects/export", export, "POST"),
        route("/apps/{app}/harvest", harvest, "POST"),
        route("/candidates", queue),
        route("/candidates/{candidate}", lambda who, r: plane.review.one(who, number(r))),
        route("/candidates/{candidate}/claim", claim, "POST"),
        route("/candidates/{candidate}/decision", decide, "POST"),
    ]
