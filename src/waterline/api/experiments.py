"""`/api/experiments` and `/api/load-lines`: the evidence of a release."""

from typing import Any

from starlette.responses import Response

from waterline.api.ask import Ask, Resource
from waterline.control.experiments import ExperimentBody, ItemsBody
from waterline.control.load_lines import LoadLineBody
from waterline.store.experiments import ItemFilter


async def experiments(ask: Ask) -> Any:
    limit = min(ask.whole("limit") or 50, 200)
    return await ask.plane.experiments.list_of(
        ask.who, ask.query("app") or None, ask.query("release") or None, ask.query("before"), limit
    )


async def add_experiment(ask: Ask) -> Any:
    return await ask.plane.experiments.add(ask.who, await ask.body(ExperimentBody))


async def experiment(ask: Ask) -> Any:
    return await ask.plane.experiments.view(ask.who, ask.path("experiment"))


async def experiment_items(ask: Ask) -> Any:
    passed = ask.whole("passed")
    where = ItemFilter(change=ask.query("change"), passed=passed, tag=ask.query("tag"))
    after, limit = ask.whole("after") or 0, min(ask.whole("limit") or 50, 200)
    return await ask.plane.experiments.items(ask.who, ask.path("experiment"), where, after, limit)


async def add_experiment_items(ask: Ask) -> Any:
    said = await ask.body(ItemsBody)
    return {"kept": await ask.plane.experiments.add_items(ask.who, ask.path("experiment"), said.items)}


async def add_load_line(ask: Ask) -> Any:
    return await ask.plane.load_lines.add(ask.who, await ask.body(LoadLineBody))


async def load_line(ask: Ask) -> Any:
    line = await ask.plane.load_lines.one(ask.who, ask.path("line"))
    return Response(line.json, media_type="application/json")


RESOURCES = [
    Resource("GET", "/experiments", experiments),
    Resource("POST", "/experiments", add_experiment, 201),
    Resource("GET", "/experiments/{experiment}", experiment),
    Resource("GET", "/experiments/{experiment}/items", experiment_items),
    Resource("POST", "/experiments/{experiment}/items", add_experiment_items, 201),
    Resource("GET", "/load-lines", lambda ask: ask.plane.load_lines.page(ask.who, ask.query("app") or None)),
    Resource("POST", "/load-lines", add_load_line, 201),
    Resource("GET", "/load-lines/{line}", load_line),
]
