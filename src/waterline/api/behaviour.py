"""`/api/behaviour` and `/api/sessions/off-rails`."""

from typing import Any

from waterline.api.ask import Ask, Resource


async def view(ask: Ask) -> Any:
    since, until = ask.whole("since"), ask.whole("until")
    return await ask.plane.behaviour.view(ask.who, ask.query("app"), ask.query("env"), since, until)


async def off_rails(ask: Ask) -> Any:
    return await ask.plane.behaviour.off_rails(
        ask.who, ask.query("app"), ask.query("env"), ask.query("release"), ask.whole("since"),
        ask.query("before"), ask.whole("limit") or 50,
    )  # fmt: skip


RESOURCES = [
    Resource("GET", "/behaviour", view),
    Resource("GET", "/sessions/off-rails", off_rails),
]
