"""`/api/apps/{app}/case-sets` and what belongs to it."""

from typing import Any

from waterline.api.ask import Ask, Resource
from waterline.control.cases import VersionBody
from waterline.control.coverage import CoverageBody
from waterline.control.harvest import HarvestBody
from waterline.control.review import DecisionBody
from waterline.store.candidates import Where
from waterline.store.cases import Filter

SETS = "/apps/{app}/case-sets"
LARGEST_PAGE = 1000


def place(ask: Ask) -> tuple[str, str]:
    return ask.path("app"), ask.path("set")


async def one_set(ask: Ask) -> Any:
    return await ask.plane.cases.one_set(ask.who, *place(ask), ask.query("version"), ask.whole("before"))


async def page(ask: Ask) -> Any:
    where = Filter(ask.query("q"), ask.query("tag"), ask.query("split"), ask.query("found"))
    limit = min(ask.whole("limit") or 50, LARGEST_PAGE)
    return await ask.plane.cases.page(ask.who, *place(ask), ask.query("version"), where, ask.query("after"), limit)


async def case(ask: Ask) -> Any:
    return await ask.plane.cases.case(ask.who, *place(ask), ask.path("case"))


async def diff(ask: Ask) -> Any:
    return await ask.plane.cases.diff(ask.who, *place(ask), ask.path("a"), ask.path("b"))


async def add_version(ask: Ask) -> Any:
    return await ask.plane.cases.add_version(ask.who, *place(ask), await ask.body(VersionBody))


async def harvest(ask: Ask) -> Any:
    return await ask.plane.harvest.run(ask.who, ask.path("app"), await ask.body(HarvestBody))


async def queue(ask: Ask) -> Any:
    where = Where(ask.query("app"), ask.query("set"), ask.query("found"))
    after, limit = ask.whole("after") or 0, min(ask.whole("limit") or 50, 200)
    state: Any = ask.query("state") or "waiting"
    return await ask.plane.review.queue(ask.who, where, state, after, limit)


async def measure(ask: Ask) -> Any:
    return await ask.plane.coverage.measure(ask.who, *place(ask), await ask.body(CoverageBody))


def number(ask: Ask) -> int:
    text = str(ask.path("candidate"))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0  # there is no candidate 0


async def claim(ask: Ask) -> Any:
    return await ask.plane.review.claim(ask.who, number(ask))


async def decide(ask: Ask) -> Any:
    return await ask.plane.review.decide(ask.who, number(ask), await ask.body(DecisionBody))


RESOURCES = [
    Resource("GET", SETS, lambda ask: ask.plane.cases.sets(ask.who, ask.path("app"))),
    Resource("GET", f"{SETS}/{{set}}", one_set),
    Resource("GET", f"{SETS}/{{set}}/cases", page),
    Resource("GET", f"{SETS}/{{set}}/cases/{{case}}", case),
    Resource("GET", f"{SETS}/{{set}}/diff/{{a}}/{{b}}", diff),
    Resource("POST", f"{SETS}/{{set}}/versions", add_version, 201),
    Resource("GET", f"{SETS}/{{set}}/coverage", lambda ask: ask.plane.coverage.last(ask.who, *place(ask))),
    Resource("POST", f"{SETS}/{{set}}/coverage", measure),
    Resource("POST", "/apps/{app}/harvest", harvest),
    Resource("GET", "/candidates", queue),
    Resource("GET", "/candidates/{candidate}", lambda ask: ask.plane.review.one(ask.who, number(ask))),
    Resource("POST", "/candidates/{candidate}/claim", claim),
    Resource("POST", "/candidates/{candidate}/decision", decide),
]
