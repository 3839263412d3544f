"""An evaluation of many cases: how much longer it takes than the provider itself, and what it holds in memory.

    python bench/experiment.py [--cases 10000] [--repeats 3] [--at-once 64] [--ms 400] [--against] [--write]

The simulated provider takes `--ms` for every answer, so `calls * ms / at_once` is the provider's own time: what nobody
can be quicker than. Exit 1 when the run takes more than 5 % longer (start and verdict included), when an answer is
lost, or when memory grows after the first fifth by more than `--grow-mb`.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from host import machine, resident_mb

from waterline.core.app_spec import AppSpec
from waterline.core.case import Case, Expect
from waterline.core.release import Release, Route, encode_release
from waterline.providers.simulated import SimulatedProcess
from waterline.providers.simulated_script import Answer, Script, Target
from waterline.trials.evaluation import Done, Work, evaluate
from waterline.trials.progress import minutes

HERE = Path(__file__).resolve().parent
OVERHEAD = 0.05
SAMPLE_S = 2.0
WARM_UP = 0.2


@dataclass
class Told:
    """Counts answers, as the progress line does."""

    total: int = 0
    done: int = 0
    began: float = 0.0
    ended: float = 0.0

    def begin(self, drill: str, number: int, of: int, left_s: float) -> None: ...

    def doing(self, what: str, total: int) -> None:
        self.total = total

    def step(self, count: int = 1) -> None:
        if not self.done:
            self.began = time.monotonic()
        self.done += count
        if self.done == self.total:
            self.ended = time.monotonic()

    def end(self, said: str) -> None: ...


@dataclass
class Sample:
    share: float  # of the answers
    rss_mb: float  # of this process and the server that it asks


async def sampled(told: Told, samples: list[Sample], provider: int) -> None:
    shown = 0.0
    while True:
        await asyncio.sleep(SAMPLE_S)
        if not told.done:
            continue
        share = told.done / told.total
        samples.append(Sample(share, resident_mb(os.getpid()) - resident_mb(provider)))
        if share - shown >= 0.1:
            shown = share
            left = (time.monotonic() - told.began) / told.done * (told.total - told.done)
            print(f"{share:4.0%}  {samples[-1].rss_mb:6.1f} MB  {minutes(left)} left", flush=True)


def release(name: str) -> bytes:
    route = Route(provider="simulated", model=name, retries=0, total_s=60.0)
    return encode_release(Release(app="many", routes={"main": route}, prompts={}))


def cases(count: int) -> Iterator[Case]:
    for n in range(count):
        asked = f"Question {n}: when does the office open on day {n % 31 + 1}? Say hazel if you know it."
        yield Case(id=f"case-{n}", input=asked, expect=Expect(contains=("hazel",)), tags=(f"day-{n % 31}",))


async def run(given: argparse.Namespace) -> tuple[Done, Told, list[Sample], float]:
    target = Target(answer=Answer(echo=True), first_token_ms=float(given.ms))
    told, samples = Told(), []
    async with SimulatedProcess(Script(default=target)) as provider:
        work = Work(
            manifest=release("small"), spec=AppSpec(name="many"), cases=tuple(cases(given.cases)),
            against=release("large") if given.against else None, repeats=given.repeats, at_once=given.at_once,
            margin=0.05, score_min=0.9, redirect=f"{provider.address}/{{route}}",
        )  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="waterline-experiment-") as folder:
            watching = asyncio.create_task(sampled(told, samples, provider.pid))
            since = time.monotonic()
            done = await evaluate(work, Path(folder), told)
            took = time.monotonic() - since
            watching.cancel()
    return done, told, samples, took


def growth_mb(samples: list[Sample]) -> float | None:
    """Median of the last fifth of the steady part less that of its first fifth. None: too short to say."""
    steady = [s.rss_mb for s in samples if WARM_UP <= s.share < 1.0]
    fifth = len(steady) // 5
    return statistics.median(steady[-fifth:]) - statistics.median(steady[:fifth]) if fifth else None


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--cases", type=int, default=10_000)
    ask.add_argument("--repeats", type=int, default=3)
    ask.add_argument("--at-once", type=int, default=64)
    ask.add_argument("--ms", type=float, default=400.0)
    ask.add_argument("--against", action="store_true", help="two releases: twice the calls")
    ask.add_argument("--grow-mb", type=float, default=16.0)
    ask.add_argument("--write", action="store_true", help="write EXPERIMENT.md")
    given = ask.parse_args()
    done, told, samples, took = asyncio.run(run(given))
    calls = done.result.plan.calls
    own = calls * given.ms / 1000.0 / given.at_once
    asking, overhead = told.ended - told.began, took / own - 1.0
    grown = growth_mb(samples)
    answered = sum(arm.passed for arm in done.result.arms.values())
    rows = [
        ("calls", f"{calls:,} ({given.cases:,} cases x {given.repeats}{', two releases' if given.against else ''})"),
        ("the provider's own time", f"{own:.1f} s ({given.ms:g} ms an answer, {given.at_once} at once)"),
        ("asking", f"{asking:.1f} s"),
        ("start, asking, verdict", f"{took:.1f} s"),
        ("overhead", f"{overhead:.1%} (bound {OVERHEAD:.0%})"),
        ("answered and right", f"{answered:,} of {calls:,}"),
        ("resident memory, highest", f"{max((s.rss_mb for s in samples), default=0.0):.1f} MB"),
        ("memory's growth after the first fifth", "too short" if grown is None else f"{grown:+.1f} MB"),
    ]
    for name, figure in rows:
        print(f"{name:40} {figure}")
    if given.write:
        lines = "\n".join(f"| {name} | {figure} |" for name, figure in rows)
        (HERE / "EXPERIMENT.md").write_text(
            f"""# An evaluation of many cases

`python bench/experiment.py {" ".join(sys.argv[1:])}`, {datetime.now(UTC):%Y-%m-%d}, {machine()}.

One process asks, judges and keeps every answer; a server of its own answers through the gateway. Memory is of both.

| | |
| --- | --- |
{lines}
"""
        )
    bad = overhead > OVERHEAD or answered != calls or (grown is not None and grown > given.grow_mb)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
