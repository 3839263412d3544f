"""The budget drill's second half: a branch, a key and a subject each with a budget of its own, the app with a month's.

Their callers come at once, and the gateway is killed in their midst; then whoever has no budget of its own uses up the
month. None may pass its limit, none be refused far from it, whatever the others spend.
"""

import asyncio
from typing import Any, Protocol

from msgspec import Struct

from waterline.core.app_spec import Limits, Spending
from waterline.core.money import usd
from waterline.core.verdict import Outcome, Verdict
from waterline.trials.calls import Call, Caller
from waterline.trials.instance import Instance
from waterline.trials.judging import none_allowed, verdict
from waterline.trials.load_line import Table
from waterline.trials.sea import Sea

CALLERS = 8  # of each name
WORST_CASES = 40  # of a call, in each name's budget: its callers hold a fifth of it at once
MONTH_FOR = 4  # times such a budget: three names and as much again
KILL_AT = 0.4
BRANCH, SUBJECT = "north", "ana"


class Ask(Protocol):
    async def __call__(self, sea: Sea, caller: Caller, number: int, *, subject: str = "") -> Call: ...


class Name(Struct):
    """Callers who share a budget, and a key that nobody else has."""

    what: str
    limit: int
    key: str = ""
    key_id: str = ""
    subject: str = ""
    calls: list[Call] = []


class Held(Struct, frozen=True):
    """What the store says of a name. Nano-USD."""

    what: str
    limit: int
    spent: int
    answered: int
    refused: int
    early: int
    asked_early: int


async def run(sea: Sea, ours: Instance, worst: int, ask: Ask, most_s: float) -> tuple[list[Verdict], Table, int]:
    """On an instance of its own. `worst`: of one call, in nano-USD. Returns also how many calls were made."""
    small = WORST_CASES * worst
    limits = Limits(
        nano_usd_per_month=MONTH_FOR * small,
        branch=Spending(nano_usd_per_day=small),
        subject=Spending(nano_usd_per_day=small),
        timezone=sea.spec.limits.timezone,
    )
    await ours.install(sea.manifest, sea.spec_with(limits), sea.env)
    names = [
        await _name(sea, ours, Name("a branch, a day", small), branch=BRANCH),
        await _name(sea, ours, Name("a key, a month", small), nano_usd_per_month=small),
        await _name(sea, ours, Name("a subject, a day", small, subject=SUBJECT), assert_identity=True),
    ]
    rest = await _name(sea, ours, Name("the app, a month", MONTH_FOR * small))
    await _spend(sea, ours, names, ask, most_s, until=KILL_AT * len(names) * small)
    await ours.start()
    await _spend(sea, ours, names, ask, most_s, until=None)
    await _spend(sea, ours, [rest], ask, most_s, until=None)
    await ours.drained()
    rows = await ours.traces(app=sea.spec.name)
    held = [read(name.what, name.limit, [r for r in rows if r["key"] == name.key_id]) for name in names]
    held.append(read(rest.what, rest.limit, rows))
    ended = all(any(c.code == "budget_exceeded" for c in name.calls) for name in (*names, rest))
    return judged(held, ended), _table(held), sum(len(name.calls) for name in (*names, rest))


async def _name(sea: Sea, ours: Instance, name: Name, **more: Any) -> Name:
    made = await ours.make_key(sea.spec.name, sea.env, **more)
    name.key, name.key_id = made["key"], made["id"]
    return name


async def _spend(sea: Sea, ours: Instance, names: list[Name], ask: Ask, most_s: float, until: float | None) -> None:
    """Until each caller is refused or, killed with calls in flight, until so much is spent."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + most_s

    async def caller_of(caller: Caller, name: Name, number: int) -> None:
        while loop.time() < ends:
            call = await ask(sea, caller, number, subject=name.subject)
            name.calls.append(call)
            sea.teller.step()
            if call.code:
                return

    callers = [ours.caller(name.key) for name in names]
    for caller in callers:
        await caller.__aenter__()
    tasks = [
        asyncio.create_task(caller_of(caller, name, n))
        for caller, name in zip(callers, names, strict=True)
        for n in range(CALLERS)
    ]
    try:
        while not all(t.done() for t in tasks):
            await asyncio.wait(tasks, timeout=0.05)
            if until is not None and await _spent(sea, ours) >= until:
                break
    finally:
        if until is not None:
            await ours.kill9()
        await asyncio.gather(*tasks)
        for caller in callers:
            await caller.__aexit__()


async def _spent(sea: Sea, ours: Instance) -> int:
    said = await ours.ask("GET", "/api/apps")
    return next((int(a["spent_today_nano_usd"]) for a in said if a["name"] == sea.spec.name), 0)


def read(what: str, limit: int, rows: list[dict[str, Any]], low_spend: float = 0.5) -> Held:
    """The store's account of the traces that a budget covers. An interrupted one has its worst case as its cost."""
    ended = [(r["started_us"] + r["duration_us"], r["cost_nano_usd"] or 0) for r in rows]
    low = [r for r in rows if sum(cost for at, cost in ended if at <= r["started_us"]) < low_spend * limit]
    own = [r for r in rows if r["code"] == "budget_exceeded"]
    return Held(
        what=what,
        limit=limit,
        spent=sum(cost for _, cost in ended),
        answered=sum(r["outcome"] == "answered" for r in rows),
        refused=len(own),
        early=sum(r["code"] == "budget_exceeded" for r in low),
        asked_early=len(low),
    )


def judged(held: list[Held], ended: bool) -> list[Verdict]:
    over = {h.what: h.spent - h.limit for h in held if h.spent > h.limit}
    told = "; ".join(f"{h.what}: {usd(h.spent, 6)} of {usd(h.limit, 6)} USD" for h in held)
    outcome = Outcome.FAIL if over else Outcome.PASS if ended else Outcome.INCONCLUSIVE
    if over:
        told = f"passed by {', '.join(over)}. {told}"
    elif not ended:
        told = f"not every budget was used up in the time, so nothing was shown. {told}"
    early, asked = sum(h.early for h in held[:-1]), sum(h.asked_early for h in held[:-1])
    return [
        verdict("budget", "overshoot of branch, key, subject, month", outcome, told, provider="simulated", unit="USD",
                threshold=0.0),
        none_allowed("budget", "blocked too early by another's budget", early, asked, "simulated",
                     "calls were refused while less than half of their own budget was spent"),
    ]  # fmt: skip


def _table(held: list[Held]) -> Table:
    rows = [[h.what, usd(h.limit, 6), usd(h.spent, 6), f"{h.answered:,}", f"{h.refused:,}"] for h in held]
    columns = ["budget of", "USD", "spent", "answered", "refused"]
    note = "The month's row counts every call of the app. The gateway was killed and started again while all spent."
    return Table("Budgets by name", columns, rows, "simulated", note)
