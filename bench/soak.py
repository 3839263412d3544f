"""A long run at a steady rate, with everything that leaks elsewhere in it: streamed and plain calls on three APIs,
chained responses, a provider that fails in every way, callers that hang up. What the process holds is sampled.

    python bench/soak.py [--minutes 30] [--rate 100] [--grow-mb 16] [--write]

Exit 1 when memory grows by more than the bound after the warm-up, when descriptors, connections or threads stay, when a
request stays under way, or when a trace is lost. A gateway that is published elsewhere grew to 4 GB in a day.
"""

import argparse
import asyncio
import collections
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import soak_page
from host import resident_mb, tree

from waterline.providers.simulated import SimulatedProcess
from waterline.providers.simulated_script import Answer, Fault, Limits, Lognormal, Script, Target, When
from waterline.rollout.build import build
from waterline.trials import DRILLS
from waterline.trials.instance import Instance

HERE = Path(__file__).resolve().parent
SAMPLE_S = 10.0
WARM_UP = 0.2  # of the run: caches, pools and the database's own memory fill
LONGEST_CHAIN = 6
QUIET_S = 20.0  # after the load: what may still be under way ends
APP = """
name = "soak"
owner = "The bench"
[models.main]
provider = "simulated"
model = "small"
fallbacks = ["backup"]
retries = 1
first_token_s = 5
idle_s = 2
total_s = 15
max_tokens = 200
keep_alive_s = 1
[models.backup]
provider = "simulated"
model = "large"
retries = 0
total_s = 15
[limits]
max_concurrency = 5000
usd_per_day = 1000
[cache]
exact = true
max_mb = 4
"""
PRICES = """
[[price]]
provider = "simulated"
model = "small"
input = 0.1
output = 0.4
[[price]]
provider = "simulated"
model = "large"
input = 1
output = 4
"""
FAULTS = (
    Fault("http", status=500, when=When(probability=0.01)),
    Fault("http", status=429, when=When(probability=0.005)),
    Fault("reset_before_headers", when=When(probability=0.005)),
    Fault("slow_first_token", ms=3000.0, when=When(probability=0.005)),
    Fault("stall", after=3, when=When(probability=0.003, streamed=True)),
    Fault("cut", after=3, when=When(probability=0.01)),
    Fault("malformed_event", after=2, when=When(probability=0.005, streamed=True)),
    Fault("missing_done", when=When(probability=0.005, streamed=True)),
    Fault("silence", when=When(probability=0.001)),
)
KINDS = {  # what is asked, and how often
    "plain": 30, "streamed": 30, "repeated": 5, "hung up": 10, "responses": 10, "messages": 10, "too large": 2,
    "wrong key": 3,
}  # fmt: skip


@dataclass
class Sample:
    at_s: float
    rss_mb: float
    files: int
    sockets: int
    threads: int
    spool_mb: float
    data_mb: float
    in_flight: int


@dataclass
class Run:
    minutes: float
    rate: float
    samples: list[Sample] = field(default_factory=list)
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    faults: dict[str, int] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    sent: int = 0

    @property
    def steady(self) -> list[Sample]:
        """After the warm-up."""
        return [s for s in self.samples if s.at_s >= WARM_UP * self.minutes * 60]

    def ends(self, of: Callable[[Sample], float]) -> tuple[float, float]:
        """Medians of the first and the last tenth of the steady part."""
        found = [of(s) for s in self.steady]
        tenth = max(1, len(found) // 10)
        return statistics.median(found[:tenth]), statistics.median(found[-tenth:])

    @property
    def growth_mb(self) -> float:
        first, last = self.ends(lambda s: s.rss_mb)
        return last - first

    def findings(self, bound_mb: float, idle: Sample, after: Sample) -> list[str]:
        """What is wrong; empty: nothing."""
        wrong = []
        if self.growth_mb > bound_mb:
            wrong.append(f"memory grew by {self.growth_mb:.1f} MB after the warm-up (bound {bound_mb:g})")
        if after.sockets > idle.sockets + 80:  # the pool of upstream connections stays
            wrong.append(f"{after.sockets} sockets after the load, {idle.sockets} before it")
        if after.files > idle.files + 100:
            wrong.append(f"{after.files} open files after the load, {idle.files} before it")
        if after.threads > self.ends(lambda s: s.threads)[0] + 2:
            wrong.append(f"{after.threads} threads after the load")
        if after.in_flight:
            wrong.append(f"{after.in_flight} requests still under way {QUIET_S:.0f} s after the load")
        if self.status["lost"] or self.status["rejected"] or self.status["waiting"]:
            wrong.append(f"traces: {self.status}")
        return wrong


async def sample(sea: Instance, began_s: float) -> Sample:
    pid = sea.pid
    files, sockets, threads = 0, 0, 0
    for one in tree(pid):
        threads += len(os.listdir(f"/proc/{one}/task"))
        for name in os.listdir(f"/proc/{one}/fd"):
            files += 1
            try:
                sockets += os.readlink(f"/proc/{one}/fd/{name}").startswith("socket:")
            except OSError:
                continue
    status = await sea.ask("GET", "/api/status")
    return Sample(
        time.monotonic() - began_s, resident_mb(pid), files, sockets, threads, _size_mb(sea.folder / "spool"),
        _size_mb(sea.folder), status["in_flight"],
    )  # fmt: skip


def _size_mb(folder: Path) -> float:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total / 2**20


class Callers:
    def __init__(self, url: str, key: str, run: Run, seed: int) -> None:
        self.url, self.key, self.run = url, key, run
        self.random = random.Random(seed)
        self.chains: list[tuple[str, int]] = []  # the last response of each, and how many
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
        )

    async def one(self) -> None:
        kind = self.random.choices(list(KINDS), list(KINDS.values()))[0]
        try:
            said = await self._ask(kind)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            said = f"no answer: {type(error).__name__}"
        self.run.outcomes[f"{kind}: {said}"] += 1

    async def _ask(self, kind: str) -> str:
        number = self.random.randrange(10**9)
        text = f"Question {number}: " + "what does the school offer? " * self.random.randrange(1, 40)
        if kind == "repeated":
            text = f"Question {number % 50}"
        asked = [{"role": "user", "content": text}]
        body: dict[str, Any] = {"model": "main", "messages": asked}
        path, key = "/v1/chat/completions", self.key
        match kind:
            case "streamed" | "hung up":
                body["stream"] = True
            case "messages":
                path, body = "/v1/messages", {**body, "max_tokens": 100, "stream": number % 2 == 0}
            case "responses":
                return await self._respond(text)
            case "too large":
                body["messages"][0]["content"] = "x" * 300_000
            case "wrong key":
                key = "wl-00000000" + "x" * 43
        headers = {"authorization": f"Bearer {key}"}
        if number % 10 == 0:
            headers["connection"] = "close"
        async with self.session.post(self.url + path, json=body, headers=headers) as answer:
            if kind == "hung up" and answer.status == 200:
                await answer.content.readany()
                answer.close()
                return "left"
            return _end(answer.status, await answer.read(), streamed=bool(body.get("stream")))

    async def _respond(self, text: str) -> str:
        before, length = self.chains.pop(0) if len(self.chains) > 20 else ("", 0)
        body = {"model": "main", "input": text, **({"previous_response_id": before} if before else {})}
        headers = {"authorization": f"Bearer {self.key}"}
        async with self.session.post(self.url + "/v1/responses", json=body, headers=headers) as answer:
            said = await answer.json(content_type=None)
            if answer.status == 200 and length < LONGEST_CHAIN:
                self.chains.append((said["id"], length + 1))
            return str(answer.status)


def _end(status: int, body: bytes, *, streamed: bool) -> str:
    if status != 200 or not streamed:
        return str(status)
    whole = body.rstrip().endswith((b"[DONE]", b'{"type":"message_stop"}'))
    return "200, whole" if whole else "200, an error event at its end" if b'"error"' in body[-2000:] else "200, CUT"


async def load(callers: Callers, rate: float, for_s: float) -> None:
    """Arrivals of a Poisson process, whether or not earlier calls have come back."""
    loop, pending = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    end = loop.time() + for_s
    due = loop.time()
    while due < end:
        due += callers.random.expovariate(rate)
        await asyncio.sleep(max(0.0, due - loop.time()))
        task = loop.create_task(callers.one())
        pending.add(task)
        task.add_done_callback(pending.discard)
        callers.run.sent += 1
    if pending:
        await asyncio.wait(pending, timeout=60)


async def soak(minutes: float, rate: float, work: Path) -> tuple[Run, Sample, Sample]:
    folder = work / "app"
    folder.mkdir()
    (folder / "app.toml").write_text(APP)
    (folder / "prices.toml").write_text(PRICES)
    built = build(folder, model_digests={}, known_drills=DRILLS)
    pace = Lognormal(60.0, 150.0)
    text = Answer(text="The school has courses in the morning, at noon and in the evening. " * 4)
    main = Target(first_token_ms=pace, per_token_ms=2.0, burst=8, answer=text, faults=FAULTS, limits=Limits(rpm=60_000))
    backup = Target(first_token_ms=pace, answer=text)
    run = Run(minutes, rate)
    async with SimulatedProcess(Script(seed=1, targets={"main": main, "backup": backup})) as provider:
        environ = {"WATERLINE_PURPOSE": "live", "WATERLINE_MAX_BODY_BYTES": "262144"}
        async with Instance(work / "data", redirect=f"{provider.address}/{{route}}", environ=environ) as sea:
            await sea.install(built.manifest, built.spec_record)
            callers = Callers(sea.url, await sea.app_key("soak"), run, seed=1)
            began_s = time.monotonic()
            idle = await sample(sea, began_s)
            work_on = asyncio.ensure_future(load(callers, rate, minutes * 60))
            while not work_on.done():
                await asyncio.wait((work_on,), timeout=SAMPLE_S)
                seen = await sample(sea, began_s)
                run.samples.append(seen)
                print(
                    f"{seen.at_s:6.0f} s  {seen.rss_mb:6.1f} MB  {seen.files} files  {seen.sockets} sockets  "
                    f"{seen.threads} threads  spool {seen.spool_mb:.1f} MB  {run.sent} sent",
                    file=sys.stderr, flush=True,
                )  # fmt: skip
            await work_on
            run.samples.pop()  # after the load
            await callers.session.close()
            await asyncio.sleep(QUIET_S)
            await sea.drained()
            after = await sample(sea, began_s)
            run.status = await sea.ask("GET", "/api/status")
        stats = await provider.stats()
        run.faults = dict(sorted(stats.targets["main"].faults.items()))
    return run, idle, after


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--grow-mb", type=float, default=16.0, help="most that memory may grow after the warm-up")
    parser.add_argument("--write", action="store_true", help="write SOAK.md and soak.svg")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waterline-soak-") as work:
        run, idle, after = asyncio.run(soak(given.minutes, given.rate, Path(work)))
    wrong = run.findings(given.grow_mb, idle, after)
    text = soak_page.page(run, idle, after, given.grow_mb, wrong)
    print(text)
    if given.write:
        (HERE / "SOAK.md").write_text(text)
        (HERE / "soak.svg").write_text(soak_page.drawing(run))
    for one in wrong:
        print(f"WRONG: {one}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
