"""Rollback: promote another release under traffic, go back under traffic. When is every request on the old one?"""

import asyncio
from typing import Any

import msgspec
from msgspec import Struct, field

from waterline.core.ids import short
from waterline.core.release import Release, encode_release, release_id
from waterline.core.verdict import Outcome
from waterline.providers.simulated_script import Answer, Script, Target, Uniform
from waterline.trials.calls import Call, Caller, user
from waterline.trials.instance import Instance
from waterline.trials.judging import none_allowed, verdict
from waterline.trials.load_line import Fact, Section, Table
from waterline.trials.sea import LIFTED, Sea

DRILL = "rollback"
CALLERS = 12
BETWEEN_S = 1.2
MOST_PER_MOVE_S = 20.0
REPLAYED = 20


class Sent(Struct):
    at_s: float
    call: Call


class Move(Struct):
    """One way there and back. Seconds of the loop's clock."""

    back_asked_s: float = 0.0
    back_done_s: float = 0.0
    sent: list[Sent] = field(default_factory=list)


def changed(release: Release) -> Release:
    """The same with one word more in a prompt; without prompts, in what the app says it is for."""
    if not release.prompts:
        return msgspec.structs.replace(release, purpose=f"{release.purpose} Please.".strip())
    name = sorted(release.prompts)[0]
    prompt = msgspec.structs.replace(release.prompts[name], text=release.prompts[name].text + " Please.")
    return msgspec.structs.replace(release, prompts={**release.prompts, name: prompt})


async def run(sea: Sea) -> Section:
    section = Section(DRILL)
    other = encode_release(changed(sea.release))
    new = release_id(other)
    talk = Target(first_token_ms=Uniform(5.0, 80.0), per_token_ms=2.0, answer=Answer(text="word " * 20))
    async with sea.simulated(Script(seed=sea.seed, default=talk)) as provider:
        async with sea.instance("instance", redirect=f"{provider.address}/{{route}}") as ours:
            await ours.install(sea.manifest, sea.lifted(), sea.env)
            await ours.ask(
                "POST", "/api/releases",
                {"manifest": other.decode(), "spec": sea.lifted().decode(), "message": "trial: one word changed"},
            )  # fmt: skip
            key = await ours.app_key(sea.spec.name, sea.env)
            sea.teller.doing("moves there and back", sea.pace.moves)
            moves = []
            for _ in range(sea.pace.moves):
                moves.append(await _there_and_back(sea, ours, key, new))
                sea.teller.step()
            replays = await _replays(ours, [s.call.trace for m in moves for s in m.sent if s.call.complete])
    sent = [s for m in moves for s in m.sent]
    section.calls_simulated = len(sent)
    late = [(s.call.release != sea.release_id) for m in moves for s in m.sent if s.at_s >= m.back_done_s]
    reached = sum(any(s.call.release == new for s in m.sent) for m in moves)
    same = sum(bool(r["same"]) for r in replays)
    section.verdicts = [
        none_allowed(DRILL, "requests on the new release after the rollback", sum(late), len(late), "simulated",
                     "requests sent after the rollback had returned went to the release that was rolled back"),
        none_allowed(DRILL, "errors during the moves", sum(not s.call.complete for s in sent), len(sent), "simulated",
                     "requests failed while releases were moved"),
        none_allowed(DRILL, "replays that differ", len(replays) - same, len(replays), "simulated",
                     "replayed requests were not byte-identical to what was sent"),
    ]  # fmt: skip
    if reached < len(moves):
        said = f"the new release was reached in {reached} of {len(moves)} moves only, so the way back shows nothing"
        section.verdicts.append(verdict(DRILL, "the way there", Outcome.FAIL, said, provider="simulated"))
    took = [1000.0 * (m.back_done_s - m.back_asked_s) for m in moves]
    last = [1000.0 * _last_on(new, m) for m in moves]
    section.facts = [
        Fact("Rollback", f"returned after {max(took):,.0f} ms at most, in {len(moves)} moves", "simulated"),
        Fact("Every request on the old release", f"{max(last):,.0f} ms after it was asked for: that late was the last "
             "request sent that still went to the new one", "simulated"),
        Fact("Traffic", f"{CALLERS} callers, {len(sent):,} requests, half of them streamed", "simulated"),
        Fact("The other release", f"{short(new)}: the same with one word more in a prompt"),
        Fact("Limits", LIFTED),
    ]  # fmt: skip
    section.tables = [_replay_table(replays)] if same < len(replays) else []
    section.excludes = ["several gateways (this version has one)", "going back over a change of stored data"]
    return section


async def _there_and_back(sea: Sea, ours: Instance, key: str, new: str) -> Move:
    move, loop, over = Move(), asyncio.get_running_loop(), asyncio.Event()

    async def talk(caller: Caller, number: int) -> None:
        while not over.is_set():
            at_s = loop.time()
            call = await caller.chat(user("When are visits?"), model=sea.main, stream=number % 2 == 0, give_up_s=20.0,
                                     session=f"s{number}-{len(move.sent) % 50}")  # fmt: skip
            move.sent.append(Sent(at_s, call))

    async with ours.caller(key) as caller:
        tasks = [asyncio.create_task(talk(caller, n)) for n in range(CALLERS)]
        try:
            async with asyncio.timeout(MOST_PER_MOVE_S):
                await asyncio.sleep(BETWEEN_S / 2)
                await ours.promote(sea.spec.name, new, sea.env)
                await asyncio.sleep(BETWEEN_S)
                move.back_asked_s = loop.time()
                back = {"kind": "rollback", "env": sea.env, "release": sea.release_id, "reason": "trial"}
                await ours.ask("POST", f"/api/apps/{sea.spec.name}/moves", back)
                move.back_done_s = loop.time()
                await asyncio.sleep(BETWEEN_S)
        finally:
            over.set()
            await asyncio.gather(*tasks)
    return move


def _last_on(new: str, move: Move) -> float:
    """Seconds after the rollback was asked for at which the last request left that still met the new release."""
    return max((s.at_s - move.back_asked_s for s in move.sent if s.call.release == new), default=0.0)


async def _replays(ours: Instance, traces: list[str]) -> list[dict[str, Any]]:
    chosen = traces[:: max(1, len(traces) // REPLAYED)][:REPLAYED]
    return [await ours.ask("POST", f"/api/traces/{trace}/replay", {}) for trace in chosen]


def _replay_table(replays: list[dict[str, Any]]) -> Table:
    rows = [[r["trace"], r["not_replayable"] or "the bytes differ"] for r in replays if not r["same"]]
    return Table("Replays that were not the same", ["trace", "why"], rows, "simulated")
