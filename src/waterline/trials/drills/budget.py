"""Budget: many callers into a small budget, with a kill -9 in the middle. It must hold, and block nobody too early.

First the app's day; then a branch's, a key's, a subject's and the app's month (`budget_scopes.py`)."""

import asyncio
from typing import Any

from msgspec import Struct

from waterline.core.app_spec import Limits
from waterline.core.money import Usage, cost_nano_usd, usd
from waterline.core.verdict import Outcome
from waterline.providers.simulated_script import Answer, Script, Target, Uniform
from waterline.trials.asking import CouldNotRun
from waterline.trials.calls import Call, Caller, user, wall_us
from waterline.trials.drills import budget_scopes
from waterline.trials.drills.cost import price_table
from waterline.trials.instance import Instance
from waterline.trials.judging import none_allowed, verdict
from waterline.trials.load_line import Fact, Section
from waterline.trials.sea import Sea

DRILL = "budget"
CALLERS = 32
WORST_CASES = 100  # how many calls' worst cases the budget holds: more than three times the callers, at half of it
LOW_SPEND = 0.5
KILL_AT = 0.4
MOST_S = 60.0
# Its traces count as live ones in its own data: a budget is about those.
LIVE = {"WATERLINE_PURPOSE": "live"}


class Booked(Struct):
    """What the store says when all is over. Nano-USD."""

    spent: int
    answered: int
    interrupted: int
    refused: int
    early: int  # refusals for the budget while less than LOW_SPEND of it was spent
    asked_early: int
    first_refusal_at: int | None


async def run(sea: Sea) -> Section:
    section = Section(DRILL)
    prices = price_table(sea)
    for name in (sea.main, *sea.route.fallbacks):
        route = sea.release.routes[name]
        price = prices.find(route.provider, route.model, wall_us())
        if price is None or not price.output:
            what = "has no price" if price is None else "is free"
            raise CouldNotRun(
                f'Route "{name}" ({route.provider}, {route.model}) {what}, so a budget in USD cannot be tried. '
                "Declare a [[price]] for it in prices.toml."
            )
    talk = Target(first_token_ms=Uniform(10.0, 60.0), per_token_ms=2.0, answer=Answer(text="word " * 40))
    async with sea.simulated(Script(seed=sea.seed, default=talk)) as provider:
        redirect = f"{provider.address}/probe-{{route}}"
        async with sea.instance("probe", redirect=redirect, environ=LIVE) as ours:
            limit = await _small_budget(sea, ours)
        redirect = f"{provider.address}/{{route}}"
        async with sea.instance("instance", redirect=redirect, environ=LIVE) as ours:
            small = Limits(nano_usd_per_day=limit, timezone=sea.spec.limits.timezone)
            await ours.install(sea.manifest, sea.spec_with(small), sea.env)
            key = await ours.app_key(sea.spec.name, sea.env)
            sea.teller.doing("calls into the budget", 3 * WORST_CASES)
            before = await _spend(sea, ours, key, until=KILL_AT * limit)
            await ours.kill9()
            await ours.start()
            after = await _spend(sea, ours, key, until=None)
            await ours.drained()
            rows = await ours.traces(app=sea.spec.name)
            said = await ours.ask("GET", "/api/apps")
        billed = _billed(sea, (await provider.stats()).targets)
        redirect = f"{provider.address}/names-{{route}}"
        async with sea.instance("names", redirect=redirect, environ=LIVE) as ours:
            sea.teller.doing("calls into budgets of names", 8 * budget_scopes.WORST_CASES)
            names, table, asked = await budget_scopes.run(sea, ours, limit // WORST_CASES, _ask, MOST_S)
    booked = read(rows, limit)
    section.calls_simulated = 1 + len(before) + len(after) + asked
    shown = next((a["spent_today_nano_usd"] for a in said if a["name"] == sea.spec.name), 0)
    over = max(0, booked.spent - limit, shown - limit, billed - limit)
    held = f"{usd(booked.spent, 6)} of {usd(limit, 6)} USD booked, {usd(billed, 6)} billed by the provider's own count"
    ended = any(c.code == "budget_exceeded" for c in after)
    outcome = Outcome.FAIL if over else Outcome.PASS if ended else Outcome.INCONCLUSIVE
    reason = f"overshoot {usd(over, 6)} USD: {held}, {CALLERS} callers at once, kill -9 and restart in the middle"
    if not ended and not over:
        reason = f"the budget was not used up within {MOST_S:g} s, so nothing was shown: {held}"
    section.verdicts = [
        verdict(DRILL, "overshoot", outcome, reason, provider="simulated", unit="USD", threshold=0.0),
        none_allowed(DRILL, "blocked too early", booked.early, booked.asked_early, "simulated",
                     f"calls were refused while less than {LOW_SPEND:.0%} of the budget was spent"),
    ]  # fmt: skip
    section.verdicts += names
    section.tables = [table]
    first = booked.first_refusal_at
    section.facts = [
        Fact("Share of the budget used", f"{100 * booked.spent / limit:.1f} %", "simulated"),
        Fact("First refusal", "none" if first is None else f"at {100 * first / limit:.1f} % spent", "simulated"),
        Fact("Calls", f"{booked.answered:,} answered, {booked.refused:,} refused for the budget, "
             f"{booked.interrupted:,} interrupted by the kill and counted with their worst case", "simulated"),
        Fact("The budget", f"{usd(limit, 6)} USD a day instead of the app's own, {WORST_CASES} worst cases of a call "
             "at the app's prices; other limits lifted", "simulated"),
    ]  # fmt: skip
    section.excludes = ["several gateways with one budget (this version has one)", "bills of a real provider"]
    return section


async def _small_budget(sea: Sea, ours: Instance) -> int:
    """One call on an instance without a budget shows the worst case of a call. Nano-USD."""
    await ours.install(sea.manifest, sea.spec_with(Limits()), sea.env)
    async with ours.caller(await ours.app_key(sea.spec.name, sea.env)) as caller:
        probe = await _ask(sea, caller, 0)
    if not probe.complete:
        raise CouldNotRun(f"The first call of the drill failed: {probe.message or probe.code}")
    row = (await ours.ask("GET", f"/api/traces/{probe.trace}"))["row"]
    return WORST_CASES * int(row["reserved_nano_usd"])


async def _spend(sea: Sea, ours: Instance, key: str, until: float | None) -> list[Call]:
    """Until so much is spent (then the caller kills the server, with calls in flight), or until all are refused."""
    calls: list[Call] = []
    loop = asyncio.get_running_loop()
    began, spent = loop.time(), 0

    async def caller_of(caller: Caller, number: int) -> None:
        nonlocal spent
        while loop.time() - began < MOST_S:
            call = await _ask(sea, caller, number)
            calls.append(call)
            sea.teller.step()
            if call.code:
                return

    async with ours.caller(key) as caller:
        tasks = [asyncio.create_task(caller_of(caller, n)) for n in range(CALLERS)]
        try:
            while not all(t.done() for t in tasks):
                await asyncio.wait(tasks, timeout=0.05)
                if until is not None:
                    said = await ours.ask("GET", "/api/apps")
                    spent = next((a["spent_today_nano_usd"] for a in said if a["name"] == sea.spec.name), 0)
                    if spent >= until:
                        return calls
        finally:
            if until is not None:
                await ours.kill9()  # while they are in flight
            await asyncio.gather(*tasks)
    return calls


async def _ask(sea: Sea, caller: Caller, number: int, *, subject: str = "") -> Call:
    asked = user("How much is it a month, and when can we come?")
    return await caller.chat(asked, model=sea.main, stream=number % 2 == 0, subject=subject, give_up_s=20.0)


def read(rows: list[dict[str, Any]], limit: int) -> Booked:
    """The store's account. An interrupted trace has its worst case as its cost."""
    ended = sorted((r["started_us"] + r["duration_us"], r["cost_nano_usd"] or 0) for r in rows)
    refusals = [r for r in rows if r["code"] == "budget_exceeded"]

    def spent_at(us: int) -> int:
        return sum(cost for at, cost in ended if at <= us)

    low = [r for r in rows if spent_at(r["started_us"]) < LOW_SPEND * limit]
    first = min((r["started_us"] for r in refusals), default=None)
    return Booked(
        spent=sum(cost for _, cost in ended),
        answered=sum(r["outcome"] == "answered" for r in rows),
        interrupted=sum(r["outcome"] == "interrupted" for r in rows),
        refused=len(refusals),
        early=sum(r["code"] == "budget_exceeded" for r in low),
        asked_early=len(low),
        first_refusal_at=None if first is None else spent_at(first),
    )


def _billed(sea: Sea, targets: dict[str, Any]) -> int:
    """What the simulated provider would bill for what it sent, at the app's prices: a count that is not ours."""
    prices, total = price_table(sea), 0
    for name, seen in targets.items():
        route = sea.release.routes.get(name)
        price = prices.find(route.provider, route.model, wall_us()) if route else None
        if price is not None:
            total += cost_nano_usd(Usage(input=seen.input_tokens, output=seen.output_tokens), price)
    return total
