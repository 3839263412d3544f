"""`/api/judges`: which there are, answers and labels, what they say, and each look at both."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from waterline.access.roles import Principal
from waterline.control.judges import PAGE, CompareBody, ItemsBody, LabelBody, RunBody, SampleBody
from waterline.control.plane import Plane

Whole = Callable[[str | None, str], int | None]
Body = Callable[..., Awaitable[Any]]


def judge_routes(plane: Plane, route: Callable[..., Route], whole: Whole, body: Body) -> list[Route]:
    def named(r: Request) -> tuple[str, str]:
        return r.path_params["app"], r.path_params["judge"]

    async def of_app(who: Principal, r: Request) -> Any:
        return await plane.judges.all_of(who, r.path_params["app"])

    async def one(who: Principal, r: Request) -> Any:
        return await plane.judges.one(who, *named(r))

    async def items(who: Principal, r: Request) -> Any:
        after, limit = whole(r.query_params.get("after"), "after"), whole(r.query_params.get("limit"), "limit")
        return await plane.judges.items(who, *named(r), after or 0, limit or PAGE)

    async def following(who: Principal, r: Request) -> Any:
        return await plane.judges.next(who, *named(r), whole(r.query_params.get("after"), "after") or 0)

    async def add(who: Principal, r: Request) -> Any:
        return await plane.judges.add(who, *named(r), await body(r, ItemsBody))

    async def sample(who: Principal, r: Request) -> Any:
        return await plane.judges.sample(who, *named(r), await body(r, SampleBody))

    async def label(who: Principal, r: Request) -> Any:
        return await plane.judges.label(who, *named(r), await body(r, LabelBody))

    async def run(who: Principal, r: Request) -> Any:
        return await plane.judges.run(who, *named(r), (await body(r, RunBody)).limit)

    async def calibrate(who: Principal, r: Request) -> Any:
        return await plane.judges.calibrate(who, *named(r))

    async def compare(who: Principal, r: Request) -> Any:
        return await plane.judges.compare(who, *named(r), await body(r, CompareBody))

    here = "/apps/{app}/judges"
    return [
        route(here, of_app),
        route(f"{here}/{{judge}}", one),
        route(f"{here}/{{judge}}/items", items),
        route(f"{here}/{{judge}}/items", add, "POST", status=201),
        route(f"{here}/{{judge}}/next", following),
        route(f"{here}/{{judge}}/samples", sample, "POST", status=201),
        route(f"{here}/{{judge}}/labels", label, "POST", status=201),
        route(f"{here}/{{judge}}/runs", run, "POST"),
        route(f"{here}/{{judge}}/calibrations", calibrate, "POST", status=201),
        route(f"{here}/{{judge}}/comparisons", compare, "POST"),
    ]
