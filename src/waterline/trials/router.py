"""Asking an app's cases of the small and of the large route, each by itself, to learn which questions are easy.

The calls are real ones, through a Waterline of their own (purpose "eval"): its fallbacks and its routing are off, so
that a figure is of one model; its prices and its budget are the app's.
"""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from waterline.core.app_spec import AppSpec, encode_spec
from waterline.core.case import Case, case_set_id
from waterline.core.release import Release, behaviour_digest, encode_release
from waterline.core.request import decode_request
from waterline.core.savings import Cache, Routing
from waterline.evals.routing import Pair, Trained, train
from waterline.evals.scorers import score
from waterline.gateway.routing import doubt, request_features
from waterline.trials.asking import CouldNotRun
from waterline.trials.calls import Call, Caller
from waterline.trials.instance import Instance

AT_ONCE = 6
AT_ONCE_LOCAL = 2
GIVE_UP_S = 300.0


class Ask(Struct, frozen=True):
    """One answer with what it took."""

    call: Call
    cost_nano_usd: int | None


async def learn(
    release: Release, spec: AppSpec, cases: Sequence[Case], margin: float, tell: Callable[[str], None]
) -> Trained:
    """Raises CouldNotRun where a route does not answer or no case asks the routed route."""
    routing = release.routing
    if not routing.small:
        raise CouldNotRun('There is no small route. Write [routing] small = "..." in app.toml.')
    asked = [case for case in cases if case.route == routing.route]
    if not asked:
        raise CouldNotRun(f'No case asks the route "{routing.route}". Add cases, or name their route in [routing].')
    with tempfile.TemporaryDirectory(prefix="waterline-router-") as folder:
        async with Instance(Path(folder), environ={"WATERLINE_PURPOSE": "eval"}) as instance:
            alone = _alone(release)
            await instance.install(encode_release(alone), encode_spec(spec), spec.environments[0])
            key = await instance.app_key(release.app, spec.environments[0])
            small = await _ask_all(instance, key, alone, asked, routing.small, tell)
            large = await _ask_all(instance, key, alone, asked, routing.route, tell)
    form = release.routes[routing.small].params.get("response_format")
    pairs = [_pair(case, routing, form, s, b) for case, s, b in zip(asked, small, large, strict=True)]
    return train(
        pairs,
        margin,
        routes=behaviour_digest(release, (routing.route, routing.small)),
        cases=case_set_id(asked),
    )


def _alone(release: Release) -> Release:
    routes = {name: replace(route, fallbacks=()) for name, route in release.routes.items()}
    return replace(release, routes=routes, routing=Routing(), cache=Cache())


async def _ask_all(
    instance: Instance, key: str, release: Release, cases: Sequence[Case], route: str, tell: Callable[[str], None]
) -> list[Ask]:
    local = release.routes[route].provider == "local"
    done: list[Ask | None] = [None] * len(cases)
    todo = iter(range(len(cases)))
    async with instance.caller(key, AT_ONCE) as caller:
        hello = await caller.chat([{"role": "user", "content": "Hello"}], model=route, extra={"max_tokens": 1})
        if not hello.complete and hello.code != "invalid_request":  # a prompt may need variables
            raise CouldNotRun(f'Route "{route}" does not answer: {hello.message or hello.code}')

        async def one_after_the_other() -> None:
            for index in todo:
                done[index] = await _ask(instance, caller, cases[index], route)
                tell(f"{route}: {sum(d is not None for d in done)} of {len(cases)}")

        await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE_LOCAL if local else AT_ONCE)))
    asked = [a for a in done if a is not None]
    if starved := next((a for a in asked if a.call.code == "budget_exceeded"), None):
        raise CouldNotRun(f"The app's budget ended while learning: {starved.call.message}")
    return asked


async def _ask(instance: Instance, caller: Caller, case: Case, route: str) -> Ask:
    call = await caller.chat(_turns(case), model=route, extra=_extra(case), give_up_s=GIVE_UP_S)
    cost = None
    if call.trace:
        cost = (await instance.ask("GET", f"/api/traces/{call.trace}"))["row"]["cost_nano_usd"]
    return Ask(call, cost)


def _turns(case: Case) -> list[dict[str, Any]]:
    return [{"role": m.role, "content": m.content} for m in case.turns()]


def _extra(case: Case) -> dict[str, Any]:
    return {"waterline": {"variables": case.variables}} if case.variables else {}


def _pair(case: Case, routing: Routing, form: Any, small: Ask, large: Ask) -> Pair:
    body = msgspec.json.encode({"model": routing.route, "messages": _turns(case), **_extra(case)})
    request = decode_request("chat", "/v1/chat/completions", body, 0)
    answered = small.call.complete
    return Pair(
        case=case.id,
        features=request_features(request),
        small=_passed(case, small.call),
        large=_passed(case, large.call),
        doubtful=not answered or bool(doubt(routing, form, small.call.text, small.call.finish_reason)),
        small_cost=small.cost_nano_usd,
        large_cost=large.cost_nano_usd,
    )


def _passed(case: Case, call: Call) -> bool:
    return score(case, call.text if call.complete else None, call.finish_reason if call.complete else None).passed
