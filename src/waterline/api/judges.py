"""`/api/judges`: which there are, answers and labels, what they say, and each look at both."""

from typing import Any

from waterline.api.ask import Ask, Resource
from waterline.control.judges import PAGE, CompareBody, ItemsBody, LabelBody, RunBody, SampleBody

JUDGES = "/apps/{app}/judges"


def named(ask: Ask) -> tuple[str, str]:
    return ask.path("app"), ask.path("judge")


async def of_app(ask: Ask) -> Any:
    return await ask.plane.judges.all_of(ask.who, ask.path("app"))


async def one(ask: Ask) -> Any:
    return await ask.plane.judges.one(ask.who, *named(ask))


async def items(ask: Ask) -> Any:
    after, limit = ask.whole("after"), ask.whole("limit")
    return await ask.plane.judges.items(ask.who, *named(ask), after or 0, limit or PAGE)


async def following(ask: Ask) -> Any:
    return await ask.plane.judges.next(ask.who, *named(ask), ask.whole("after") or 0)


async def add(ask: Ask) -> Any:
    return await ask.plane.judges.add(ask.who, *named(ask), await ask.body(ItemsBody))


async def sample(ask: Ask) -> Any:
    return await ask.plane.judges.sample(ask.who, *named(ask), await ask.body(SampleBody))


async def label(ask: Ask) -> Any:
    return await ask.plane.judges.label(ask.who, *named(ask), await ask.body(LabelBody))


async def run(ask: Ask) -> Any:
    return await ask.plane.judges.run(ask.who, *named(ask), (await ask.body(RunBody)).limit)


async def calibrate(ask: Ask) -> Any:
    return await ask.plane.judges.calibrate(ask.who, *named(ask))


async def compare(ask: Ask) -> Any:
    return await ask.plane.judges.compare(ask.who, *named(ask), await ask.body(CompareBody))


RESOURCES = [
    Resource("GET", JUDGES, of_app),
    Resource("GET", f"{JUDGES}/{{judge}}", one),
    Resource("GET", f"{JUDGES}/{{judge}}/items", items),
    Resource("POST", f"{JUDGES}/{{judge}}/items", add, 201),
    Resource("GET", f"{JUDGES}/{{judge}}/next", following),
    Resource("POST", f"{JUDGES}/{{judge}}/samples", sample, 201),
    Resource("POST", f"{JUDGES}/{{judge}}/labels", label, 201),
    Resource("POST", f"{JUDGES}/{{judge}}/runs", run),
    Resource("POST", f"{JUDGES}/{{judge}}/calibrations", calibrate, 201),
    Resource("POST", f"{JUDGES}/{{judge}}/comparisons", compare),
]
