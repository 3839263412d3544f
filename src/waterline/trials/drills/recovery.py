"""Recovery: kill -9 under load, start again. Everything that was answered is there, once; how long until it answers?"""

import asyncio
from collections import Counter
from typing import Any

from waterline.core.verdict import Outcome
from waterline.providers.simulated_script import Answer, Script, Target, Uniform
from waterline.trials.calls import Call, Caller, user
from waterline.trials.instance import Instance
from waterline.trials.judging import none_allowed, verdict
from waterline.trials.load_line import Fact, Section
from waterline.trials.sea import LIFTED, Sea

DRILL = "recovery"
CALLERS = 24
LOAD_S = 1.5
MOST_TO_ANSWER_S = 60.0


async def run(sea: Sea) -> Section:
    section = Section(DRILL)
    talk = Target(first_token_ms=Uniform(2.0, 30.0), per_token_ms=1.0, answer=Answer(text="word " * 20))
    calls: list[Call] = []
    back_s: list[float] = []
    sea.teller.doing("kills", sea.pace.kills)
    async with sea.simulated(Script(seed=sea.seed, default=talk)) as provider:
        async with sea.instance("instance", redirect=f"{provider.address}/{{route}}") as ours:
            await ours.install(sea.manifest, sea.lifted(), sea.env)
            key = await ours.app_key(sea.spec.name, sea.env)
            for _ in range(sea.pace.kills):
                killed_s = await _load_and_kill(sea, ours, key, calls)
                back_s.append(await _until_answered(sea, ours, key, calls, killed_s))
                sea.teller.step()
            await ours.drained()
            rows = await ours.traces(app=sea.spec.name)
            account = await ours.ask("GET", "/api/status")
    section.calls_simulated = len(calls)
    acknowledged = [c.trace for c in calls if c.complete]
    lost, twice = missing(acknowledged, rows)
    section.verdicts = [
        none_allowed(DRILL, "acknowledged answers lost", len(lost), len(acknowledged), "simulated",
                     f"answers that callers had in full before a kill -9 were not in the store ({_some(lost)})"),
        none_allowed(DRILL, "answers stored twice", len(twice), len(acknowledged), "simulated",
                     "answers were in the store more than once"),
    ]  # fmt: skip
    if sum(back_s) == float("inf"):
        said = f"it did not answer within {MOST_TO_ANSWER_S:g} s of a kill"
        section.verdicts.append(verdict(DRILL, "back again", Outcome.FAIL, said, provider="simulated"))
    interrupted = sum(r["outcome"] == "interrupted" for r in rows)
    section.facts = [
        Fact("Time to recover (RTO)", f"{max(back_s):.1f} s at most from the kill to the first answer, "
             f"{len(back_s)} kills, start of the process included", "simulated"),
        Fact("Data lost (RPO)", f"{len(lost)} of {len(acknowledged):,} acknowledged answers", "simulated"),
        Fact("In flight when killed", f"{interrupted:,} requests, in the store as interrupted with their worst cost",
             "simulated"),
        Fact("The store's own account", f"{account['emitted']:,} emitted, {account['stored']:,} stored, "
             f"{account['rejected']:,} rejected, {account['waiting']:,} waiting, {account['lost']:,} lost",
             "simulated"),
        Fact("Load", f"{CALLERS} callers for {LOAD_S:g} s before each kill; {LIFTED}", "simulated"),
    ]  # fmt: skip
    section.excludes = ["loss of the disk, a restored backup (not in this version)", "a power cut of the machine"]
    return section


async def _load_and_kill(sea: Sea, ours: Instance, key: str, calls: list[Call]) -> float:
    """Returns the loop's time of the kill."""
    loop = asyncio.get_running_loop()

    async def talk(caller: Caller, number: int) -> None:
        while True:
            call = await caller.chat(user("What is for lunch?"), model=sea.main, stream=number % 2 == 0, give_up_s=20.0)
            calls.append(call)
            if not call.complete:
                return

    async with ours.caller(key) as caller:
        tasks = [asyncio.create_task(talk(caller, n)) for n in range(CALLERS)]
        try:
            await asyncio.sleep(LOAD_S)
        finally:
            killed_s = loop.time()
            await ours.kill9()
            await asyncio.gather(*tasks)
    return killed_s


async def _until_answered(sea: Sea, ours: Instance, key: str, calls: list[Call], began: float) -> float:
    loop = asyncio.get_running_loop()
    await ours.start()
    async with ours.caller(key) as caller:
        while loop.time() - began < MOST_TO_ANSWER_S:
            call = await caller.chat(user("Are you back?"), model=sea.main, give_up_s=10.0)
            calls.append(call)
            if call.complete:
                return loop.time() - began
            await asyncio.sleep(0.02)
    return float("inf")


def missing(acknowledged: list[str], rows: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Answers that are not stored as answered, and those that are there more than once."""
    stored = Counter(r["id"] for r in rows if r["outcome"] == "answered")
    return [t for t in acknowledged if not stored[t]], [t for t in set(acknowledged) if stored[t] > 1]


def _some(lost: list[str]) -> str:
    return ", ".join(lost[:3]) or "none"
