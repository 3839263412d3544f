"""Branches: all of them at once, one of them hostile: it floods, it spends, its part of every connected system hangs.
No other branch may miss its objective.

The release's own agent talks over a simulated WhatsApp with people who answer what it asks, until what it does for them
is done. Connected systems are played (connectors/stand_in.py); all else is as it is served.
"""

import asyncio
import math
import time

import msgspec

from waterline.core.app_spec import AppSpec, Limits, Spending, encode_spec, ungated
from waterline.core.branch import Branch
from waterline.core.channels import Channels
from waterline.core.flow import Flow
from waterline.providers.simulated_script import Answer, Script, Target, Uniform
from waterline.trials.asking import CouldNotRun
from waterline.trials.branch_systems import Systems
from waterline.trials.busy import Busy
from waterline.trials.calls import wall_us
from waterline.trials.drills.branches_found import DRILL, Tried, classes, facts, judged, worst_branches
from waterline.trials.drills.cost import price_table
from waterline.trials.instance import Instance
from waterline.trials.load_line import Section
from waterline.trials.sea import Sea
from waterline.trials.telephones import Person, Telephones

OBJECTIVE_MS = 10_000.0  # where the app declares no answer_ms_p95
LEAST_PEOPLE = 12  # of the other branches together: fewer say little
FLOOD_PHONES, FLOOD_EACH = 500, 3  # at any time; each writes so often, then another does
FLOOD_SHARE = 1.5  # of the messages of all others together
SETTLED_S = 15.0  # for what was said yes to
MESSAGES_EACH = 7  # of a person, about
LEAST_FLOOD_PER_S = 20.0
CALLS_EACH = 8  # of a person, at most, and
TOKENS_READ = 500  # by each besides the prompt: for the small budget
LIVE = {"WATERLINE_PURPOSE": "live"}  # a budget is about live traffic
# Nothing that code could read, so that a model is asked each time.
NOISE = "umbrella {word} lanterns drifting softly beside the velvet machinery of marble orchards, " * 7


def not_applicable(spec: AppSpec) -> str:
    """Why nobody can be hurt by a hostile branch here; "": somebody can."""
    count = sum(bool(b.addresses) for b in spec.branches)
    few = f"{count or 'no'} branch of the app has an address, so none can harm another"
    return "" if count > 1 else f"not applicable: {few}"


async def run(sea: Sea) -> Section:
    if why := not_applicable(sea.spec):
        said = f"{why[0].upper()}{why[1:]}. Declare branches, or take the drill out of app.toml [trial] drills."
        raise CouldNotRun(said)
    tried = await _try(sea)
    section = Section(DRILL, calls_simulated=sum(p.said for p in tried.people) + tried.flood)
    section.verdicts = judged(tried, declared=sea.spec.objectives.answer_ms_p95 is not None)
    section.facts = facts(tried)
    section.tables = [classes(tried), worst_branches(tried)]
    section.excludes = [
        "e-mail and the web chat (the branches' numbers on WhatsApp were used)",
        "real connected systems (they were played)", "several hostile branches at once",
    ]  # fmt: skip
    if tried.budget is None:
        section.excludes.append("spending: the models that are asked are free or have no price")
    if not tried.each:
        section.excludes.append("connected systems: the release's agent does nothing there after a yes")
    return section


# --- what is done ---------------------------------------------------------------------------------------------------


async def _try(sea: Sea) -> Tried:
    hostile, *others = _chosen(sea)
    flow = next(iter(sea.release.flows.values()), None)
    each = max(sea.pace.people, math.ceil(LEAST_PEOPLE / len(others)))
    tried = Tried(
        sea.spec.objectives.answer_ms_p95 or OBJECTIVE_MS, hostile,
        [Person(b, f"3519{n:04d}{m:04d}") for m in range(each) for n, b in enumerate(others)],
        each=sum(a.when == "confirmed" for a in flow.actions) if flow is not None else 0,
        budget=_budget(sea, each),
    )  # fmt: skip
    talk = Target(first_token_ms=Uniform(50.0, 250.0), per_token_ms=0.0, answer=Answer(text="word " * 60))
    numbers = {b.addresses["whatsapp"][0]: b.id for b in (hostile, *others)}
    busy = Busy()
    sea.teller.doing("people", len(tried.people))
    async with (
        sea.simulated(Script(seed=sea.seed, default=talk)) as provider,
        Telephones(sea.folder / "whatsapp", numbers, sea.seed) as phones,
        Systems(hostile.id) as systems,
    ):
        environ = LIVE | phones.environ | {"WATERLINE_REDIRECT_SYSTEMS": systems.url}
        redirect = f"{provider.address}/{{route}}"
        async with sea.instance("instance", redirect=redirect, environ=environ) as ours:
            await ours.install(sea.manifest, _spec(sea, (hostile, *others), tried.budget), sea.env)
            await phones.deliver_to(f"{ours.url}/webhooks/whatsapp")
            await _live(sea, phones, systems, flow, tried)
            tried.turn.late_s = phones.late
            tried.flood_answers = phones.sent[hostile.addresses["whatsapp"][0]]
            await ours.drained()
            await _ask_what_was_spent(ours, tried)
            await ours.kill9()  # the flood that is left is nobody's
    tried.turn.others = busy.others()
    tried.hung = systems.hung
    tried.acts = {b.id: _done(systems, flow, b.id) for b in others}
    return tried


def _chosen(sea: Sea) -> list[Branch]:
    """The hostile one and then the others; each has a number of its own, made up where it declares none."""
    found = [b for b in sea.spec.branches if b.addresses][: sea.pace.branches]
    return [
        msgspec.structs.replace(b, addresses={"whatsapp": (b.addresses.get("whatsapp", ()) or (f"9{n:014d}",))[:1]})
        for n, b in enumerate(found)
    ]


def _spec(sea: Sea, branches: tuple[Branch, ...] | list[Branch], budget: int | None) -> bytes:
    limits = Limits(
        max_concurrency=sea.spec.limits.max_concurrency, timezone=sea.spec.limits.timezone,
        branch=Spending(nano_usd_per_day=budget),
    )  # fmt: skip
    spec = msgspec.structs.replace(sea.spec, branches=tuple(branches), limits=limits, channels=Channels())
    return ungated(encode_spec(spec))


def _budget(sea: Sea, people: int) -> int | None:
    """What the people of one branch cannot use up, and a flood can. None: no model is asked, or it is free or has no
    price."""
    prices, dearest = price_table(sea), 0
    flow = next(iter(sea.release.flows.values()), None)
    asked_of = {flow.understand, flow.answer} - {""} if flow is not None else {sea.main}
    for name in sorted(asked_of):
        route = sea.release.routes[name]
        price = prices.find(route.provider, route.model, wall_us())
        if price is None or not price.output:
            return None
        prompt = sea.release.prompts.get(route.prompt)
        read = TOKENS_READ + len(prompt.text if prompt is not None else "") // 3
        asked = read * price.input + (route.max_tokens or 300) * price.output
        dearest = max(dearest, math.ceil(asked / 1_000_000))
    return people * CALLS_EACH * dearest or None


async def _live(sea: Sea, phones: Telephones, systems: Systems, flow: Flow | None, tried: Tried) -> None:
    """The others live their talks, spread over some time; the hostile branch floods until the last of them ended."""
    hostile_people = [Person(tried.hostile, f"3479{n:08d}") for n in range(4)]
    messages = MESSAGES_EACH * len(tried.people) if flow is not None else 3 * len(tried.people)
    began = time.monotonic()

    async def one(person: Person, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await person.live(phones, flow)
        sea.teller.step()

    flooding = asyncio.create_task(
        _flood(phones, tried, max(LEAST_FLOOD_PER_S, FLOOD_SHARE * messages / sea.pace.spread_s))
    )
    bad = [asyncio.create_task(p.live(phones, flow)) for p in hostile_people]
    every_s = sea.pace.spread_s / len(tried.people)
    try:
        await asyncio.gather(*(one(p, n * every_s) for n, p in enumerate(tried.people)))
        end = time.monotonic() + SETTLED_S
        while any(_done(systems, flow, b) < tried.expected(b) for b in tried.branches):
            if time.monotonic() > end:  # what was said yes to last
                break
            await asyncio.sleep(0.1)
        tried.seconds = time.monotonic() - began
    finally:
        for task in (flooding, *bad):
            task.cancel()
        ended = await asyncio.gather(flooding, *bad, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def _flood(phones: Telephones, tried: Tried, per_s: float) -> None:
    """From many telephones; each message is long and a different one."""
    number, began = tried.hostile.addresses["whatsapp"][0], time.monotonic()
    while True:
        wave, at = divmod(tried.flood, FLOOD_PHONES * FLOOD_EACH)
        who = f"346{wave:04d}{at % FLOOD_PHONES:05d}"
        word = f"{tried.flood:08x}".translate(str.maketrans("0123456789", "ghijklmnop"))
        await phones.say(who, number, NOISE.format(word=word))
        tried.flood += 1
        await asyncio.sleep(max(0.0, began + tried.flood / per_s - time.monotonic()))


def _done(systems: Systems, flow: Flow | None, branch: str) -> int:
    actions = [a for a in flow.actions if a.when == "confirmed"] if flow is not None else []
    return sum(systems.done(branch, name) for name in {f"{a.connector}.{a.operation}" for a in actions})


async def _ask_what_was_spent(ours: Instance, tried: Tried) -> None:
    if tried.budget is None:
        return
    said = await ours.ask("GET", "/api/budgets")
    for budget in said:
        if budget["scope"] == "branch" and budget["period"] == "day":
            tried.spent[budget["name"]] = budget["spent_nano_usd"]
            if any(alert["level"] >= 100 for alert in budget["alerts"]):
                tried.ran_out.add(budget["name"])
