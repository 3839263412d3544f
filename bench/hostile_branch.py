"""Three hundred branches in one process, one of them hostile: it floods, it spends, its part of the calendar hangs. No
other branch misses its objective.

    python bench/hostile_branch.py [--branches 300] [--people 2] [--flood 2000] [--objective 10] [--alone]

Each person of the other branches says hello, then asks for a visit; from each message to its answer on the telephone,
and to "booked" for the visit, is measured. `--alone`: the same without the hostile branch, to compare. Exit 1 when a
branch misses the objective (seconds, p95 of all its messages), a message stays unanswered, or a visit is not booked
exactly once.
"""

import argparse
import asyncio
import contextlib
import socket
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from msgspec.structs import replace
from volume import APP, HERE, PRICES, PROMPT, sheet
from volume_server import BOOK

from waterline.channels.simulated.script import Deliveries, Number, Script
from waterline.channels.simulated.server import Simulator
from waterline.core.app_spec import Spending, encode_spec, parse_spec
from waterline.core.branch import Branch
from waterline.core.conversing import Conversing
from waterline.providers.simulated import SimulatedProcess
from waterline.providers.simulated_script import Answer, Lognormal, Target
from waterline.providers.simulated_script import Script as ModelScript
from waterline.rollout.build import build
from waterline.trials import DRILLS
from waterline.trials.instance import Instance

BUDGET = Spending(nano_usd_per_day=3_000_000)  # of each branch: some sixty turns
PATIENCE_S = 120.0
FLOOD_S = 60.0
SPREAD_S = 60.0  # in which the others write


@dataclass
class Found:
    """`took_s`: by branch, each message. `lost`: messages without an answer, or visits not told."""

    objective_s: float
    took_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    lost: list[str] = field(default_factory=list)
    booked: Counter[str] = field(default_factory=Counter)
    expected: set[str] = field(default_factory=set)
    flooded: int = 0
    hostile_answers: int = 0
    spent_nano: dict[str, int] = field(default_factory=dict)

    def missed(self) -> list[str]:
        wrong = [f"no answer: {one}" for one in self.lost]
        for branch, took in sorted(self.took_s.items()):
            if _p95(took) > self.objective_s:
                wrong.append(f"{branch}: p95 {_p95(took):.1f} s, objective {self.objective_s:g} s")
        wrong += [f"{b}: visits and leads {n}" for b, n in sorted(self.booked.items()) if n != self.booked_each]
        return wrong + [f"{b}: nothing was booked" for b in sorted(self.expected - set(self.booked))]

    booked_each: int = 0


class Telephones:
    def __init__(self, script: Script) -> None:
        self.simulator = Simulator(script)
        self.heard: dict[str, list[str]] = defaultdict(list)
        self._news: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        inner = self.simulator.cloud.send

        def send(number: str, told: dict[str, Any]) -> dict[str, Any]:
            answer = inner(number, told)
            who = str(told.get("to"))
            self.heard[who].append(str((told.get("text") or {}).get("body")))
            self._news[who].set()
            return answer

        self.simulator.cloud.send = send  # type: ignore[method-assign]

    async def serve(self, sock: socket.socket) -> None:
        config = uvicorn.Config(self.simulator.application(), log_level="critical", lifespan="on", backlog=2048)
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        await server.serve(sockets=[sock])

    def say(self, who: str, number: str, text: str) -> None:
        self.simulator.cloud.say(who, number, {"type": "text", "text": {"body": text}})

    async def hears(self, who: str, messages: int) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while len(self.heard[who]) < messages:
                    self._news[who].clear()
                    await self._news[who].wait()
        except TimeoutError:
            return False
        return True


async def person(phones: Telephones, branch: Branch, who: str, after_s: float, found: Found) -> None:
    await asyncio.sleep(after_s)
    number, answers = branch.addresses["whatsapp"][0], 0
    for text, more in (("hello", 1), (f"a {BOOK}, please", 2)):
        began = time.monotonic()
        phones.say(who, number, text)
        answers += more
        if not await phones.hears(who, answers):
            found.lost.append(f"{branch.id} {who}: {text!r}, heard {phones.heard[who]}")
            return
        found.took_s[branch.id].append(time.monotonic() - began)


async def flood(phones: Telephones, branch: Branch, messages: int, found: Found) -> None:
    """From five hundred telephones; every one wants a visit, and writes at length."""
    number, long = branch.addresses["whatsapp"][0], "I would like to know everything about the school. " * 20
    for n in range(messages):
        phones.say(f"34600{n % 500:06d}", number, f"{n} {BOOK} {long}")
        found.flooded += 1
        await asyncio.sleep(FLOOD_S / messages)


async def drill(work: Path, branches: int, people: int, flood_of: int, objective_s: float) -> Found:
    """`flood_of`: messages of the hostile branch; 0: it is as quiet as the others."""
    built, listed = _built(work, branches)
    hostile, others = listed[0], listed[1:]
    found = Found(objective_s, expected={b.id for b in others}, booked_each=2 * people)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(2048)
    numbers = [Number(id=b.addresses["whatsapp"][0], display=b.id) for b in listed]
    script = Script(numbers=numbers, phones=[], limit=0, seed=1, deliveries=Deliveries(duplicate=0.02, batch=10))
    phones = Telephones(script)
    environ = {
        "WATERLINE_PURPOSE": "live", "WATERLINE_WHATSAPP_URL": f"http://127.0.0.1:{sock.getsockname()[1]}",
        "WATERLINE_WHATSAPP_TOKEN": script.token, "WATERLINE_WHATSAPP_APP_SECRET": script.app_secret,
        "HOSTILE": hostile.id if flood_of else "", "HOSTILE_FOLDER": str(work),
    }  # fmt: skip
    serving = asyncio.create_task(phones.serve(sock))
    model = Target(first_token_ms=Lognormal(250.0, 600.0), per_token_ms=0.0, answer=Answer(text="Good morning!"))
    program = (str(HERE / "hostile_branch_server.py"),)
    async with SimulatedProcess(ModelScript(seed=1, targets={"main": model})) as provider:
        redirect = f"{provider.address}/{{route}}"
        async with Instance(work / "data", redirect=redirect, environ=environ, program=program) as sea:
            await sea.install(built.manifest, encode_spec(_spec(built)))
            script.webhook = f"{sea.url}/webhooks/whatsapp"
            lives = [
                person(phones, branch, f"3519{n:04d}{m:04d}", SPREAD_S * (n + m / people) / len(others), found)
                for n, branch in enumerate(others)
                for m in range(people)
            ]
            await asyncio.gather(flood(phones, hostile, flood_of, found), *lives)
            await sea.drained()
            budgets = await sea.ask("GET", "/api/budgets")
    found.hostile_answers = sum(len(heard) for who, heard in phones.heard.items() if who.startswith("34600"))
    found.spent_nano = {b["name"]: b["spent_nano_usd"] for b in budgets if b.get("scope") == "branch"}
    for line in (work / "books").read_text().splitlines():
        found.booked[line.rsplit(" ", 1)[1]] += 1
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    return found


def _built(work: Path, branches: int) -> tuple[Any, tuple[Branch, ...]]:
    folder = work / "app"
    (folder / "prompts").mkdir(parents=True)
    (folder / "app.toml").write_text(APP)
    (folder / "prices.toml").write_text(PRICES)
    (folder / "prompts" / "desk.md").write_text(PROMPT)
    sheet(folder, branches)
    built = build(folder, model_digests={}, known_drills=DRILLS)
    return built, parse_spec(built.spec_record).branches


def _spec(built: Any) -> Any:
    spec = parse_spec(built.spec_record)
    return replace(
        spec, conversations=Conversing(quiet_s=0.2, longest_quiet_s=2.0), limits=replace(spec.limits, branch=BUDGET)
    )


def _p95(took: list[float]) -> float:
    ordered = sorted(took)
    return ordered[max(0, -int(-len(ordered) * 0.95 // 1) - 1)] if ordered else 0.0


def figures(found: Found) -> str:
    every = sorted(s for took in found.took_s.values() for s in took)
    worst = sorted(((_p95(took), branch) for branch, took in found.took_s.items()), reverse=True)[:3]
    return "\n".join(
        [
            f"branches that answered    {len(found.took_s)} of {len(found.expected)}",
            f"messages answered         {len(every)}, unanswered {len(found.lost)}",
            f"median, p95, p99, most    {', '.join(f'{_at(every, q):.2f} s' for q in (0.5, 0.95, 0.99, 1.0))}",
            f"slowest branches (p95)    {', '.join(f'{branch} {s:.2f} s' for s, branch in worst)}",
            f"visits and leads          {sum(n for b, n in found.booked.items() if b in found.expected)} of "
            f"{len(found.expected) * found.booked_each}",
            f"the hostile branch        {found.flooded} messages in, {found.hostile_answers} answers out",
        ]
    )


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--branches", type=int, default=300)
    parser.add_argument("--people", type=int, default=2)
    parser.add_argument("--flood", type=int, default=2000)
    parser.add_argument("--objective", type=float, default=10.0)
    parser.add_argument("--alone", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        flood_of = 0 if asked.alone else asked.flood
        found = asyncio.run(drill(Path(work), asked.branches, asked.people, flood_of, asked.objective))
    print(figures(found))
    missed = found.missed()
    print("\n".join(missed) or f"no branch misses its objective of {asked.objective:g} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
