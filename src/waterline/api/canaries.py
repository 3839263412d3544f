"""`/api/canaries` and `/api/shadows`: begin one, see what it knows, end it."""

from typing import Any

from waterline.api.ask import Ask, Resource
from waterline.control.canaries import PAGE, CanaryBody, EndBody
from waterline.control.shadows import ShadowBody, ShadowEndBody

DAY_HOURS = 24


async def page(ask: Ask) -> Any:
    limit = min(ask.whole("limit") or PAGE, 200)
    return await ask.plane.canaries.page(ask.who, ask.query("app") or None, ask.query("before"), limit)


async def start(ask: Ask) -> Any:
    return await ask.plane.canaries.start(ask.who, await ask.body(CanaryBody))


async def one(ask: Ask) -> Any:
    return await ask.plane.canaries.one(ask.who, ask.path("canary"))


async def end(ask: Ask) -> Any:
    return await ask.plane.canaries.end(ask.who, ask.path("canary"), await ask.body(EndBody))


async def of_app(ask: Ask) -> Any:
    return await ask.plane.canaries.of(ask.who, ask.path("app"), ask.query("env") or "production")


async def recorded(ask: Ask) -> Any:
    hours = ask.whole("hours") or DAY_HOURS
    return await ask.plane.canaries.recorded(ask.who, ask.path("app"), ask.query("env") or "production", hours)


async def shadows(ask: Ask) -> Any:
    return await ask.plane.shadows.page(ask.who, ask.query("app") or None)


async def start_shadow(ask: Ask) -> Any:
    return await ask.plane.shadows.start(ask.who, await ask.body(ShadowBody))


async def shadow(ask: Ask) -> Any:
    limit = min(ask.whole("limit") or PAGE, 500)
    before = ask.whole("before")
    return await ask.plane.shadows.one(ask.who, ask.path("shadow"), before, ask.query("only"), limit)


async def end_shadow(ask: Ask) -> Any:
    return await ask.plane.shadows.end(ask.who, ask.path("shadow"), await ask.body(ShadowEndBody))


async def shadow_of_app(ask: Ask) -> Any:
    return await ask.plane.shadows.of(ask.who, ask.path("app"))


RESOURCES = [
    Resource("GET", "/shadows", shadows),
    Resource("POST", "/shadows", start_shadow, 201),
    Resource("GET", "/shadows/{shadow}", shadow),
    Resource("POST", "/shadows/{shadow}/end", end_shadow),
    Resource("GET", "/apps/{app}/shadow", shadow_of_app),
    Resource("GET", "/canaries", page),
    Resource("POST", "/canaries", start, 201),
    Resource("GET", "/canaries/{canary}", one),
    Resource("POST", "/canaries/{canary}/end", end),
    Resource("GET", "/apps/{app}/canary", of_app),
    Resource("GET", "/apps/{app}/recorded-sessions", recorded),
]
