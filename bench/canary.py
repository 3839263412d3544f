"""What a canary's decision is worth, by simulation: how often it is wrong about an equal release when it is looked at
after every session, and how many sessions it takes to roll back a bad one or to let a good one pass.

    python bench/canary.py [--runs 2000] [--write]

No server and no clock: sessions are drawn, and the same code that the worker calls decides. Exit 1 when false alarms
pass alpha by more than chance. About ten minutes at 2,000 runs on an idle machine, one at 200.
"""

import argparse
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from host import machine

from waterline.core.app_spec import AppSpec, Objectives
from waterline.core.canary import Canary
from waterline.evals.canary import Plan, Side, plan_of
from waterline.evals.canary_replay import Ran, Values, run
from waterline.evals.statistics import clopper_pearson, newcombe_difference, surely_more

HERE = Path(__file__).resolve().parent
SESSIONS = 1500  # of a false-alarm run
LONGEST = 60_000  # sessions of a power run
BASE = 0.05
EFFECTS = (0.02, 0.05, 0.10, 0.20)
Session = Callable[[Side], Values]
Draw = Callable[[random.Random], Iterator[Session]]

ERRORS = plan_of(AppSpec("app"))
HALF = plan_of(AppSpec("app", canary=Canary(steps=("50%", "100%"), error_margin=0.0001)))  # one step, never left
FIVE = plan_of(
    AppSpec(
        "app",
        objectives=Objectives(answer_ms_p95=2000, ttft_ms_p95=500),
        canary=Canary(nano_usd_per_request=1_000_000, quality=("feedback",)),
    )
)


def plain(rate: float, effect: float = 0.0) -> Draw:
    """Each session fails or not."""

    def sessions(r: random.Random) -> Iterator[Session]:
        while True:
            u = r.random()
            yield lambda side, u=u: {"errors": float(u < rate + (effect if side == "candidate" else 0.0))}  # type: ignore[misc]

    return sessions


def five(r: random.Random) -> Iterator[Session]:
    """All five signals; quality of a third of the sessions only, costs that vary."""
    while True:
        values = {
            "errors": float(r.random() < 0.02), "slow": float(r.random() < 0.05),
            "first_token": float(r.random() < 0.05), "cost": min(1.0, r.lognormvariate(-1.5, 0.6)),
        }  # fmt: skip
        if r.random() < 0.33:
            values["quality:feedback"] = float(r.random() < 0.2)
        yield lambda side, v=values: v  # type: ignore[misc]


def weather(r: random.Random) -> Iterator[Session]:
    """The rate swings over the day, and now and then a provider is out for a while: 5 % of the time, 60 % fail."""
    n, out = 0, 0
    while True:
        n += 1
        out = out - 1 if out else (60 if r.random() < 0.05 / 60 else 0)
        rate = 0.6 if out else 0.05 + 0.04 * math.sin(n / 120)
        bad = float(r.random() < rate)
        yield lambda side, b=bad: {"errors": b}  # type: ignore[misc]


def long_sessions(r: random.Random) -> Iterator[list[float]]:
    """Ten requests each, alike within a session: some people's nearly all fail (beta 0.1, 1.9: a mean of 5 %)."""
    while True:
        rate = r.betavariate(0.1, 1.9)
        yield [float(r.random() < rate) for _ in range(10)]


def by_session(r: random.Random) -> Iterator[Session]:
    for requests in long_sessions(r):
        mean = sum(requests) / len(requests)
        yield lambda side, m=mean: {"errors": m}  # type: ignore[misc]


def false_alarms(plan: Plan, draw: Draw, runs: int, seed: int) -> list[Ran]:
    found = []
    for number in range(runs):
        r = random.Random(f"sessions {seed} {number}")
        source = draw(r)
        found.append(run(plan, (next(source) for _ in range(SESSIONS)), 1_000_000 * (seed + 1) + number))
    return found


def by_request(runs: int) -> int:
    """What happens where each request is counted as if it were drawn by itself: rollbacks of an equal release."""
    alarms = 0
    for number in range(runs):
        r = random.Random(number)
        sessions = long_sessions(r)
        sums: dict[bool, list[float]] = {True: [0, 0.0], False: [0, 0.0]}
        for _ in range(SESSIONS):
            side = r.random() < 0.5
            requests = next(sessions)
            sums[side][0] += len(requests)
            sums[side][1] += sum(requests)
            (n1, t1), (n0, t0) = sums[True], sums[False]
            if surely_more(t1, int(n1), t0, int(n0), 1 - 0.05 / 2):
                alarms += 1
                break
    return alarms


def fixed_interval(runs: int) -> int:
    """A 95 % interval for a fixed n (Newcombe), looked at every ten sessions."""
    alarms = 0
    for number in range(runs):
        r = random.Random(number)
        k1 = n1 = k0 = n0 = 0
        for i in range(SESSIONS):
            bad = r.random() < BASE
            if r.random() < 0.5:
                n1, k1 = n1 + 1, k1 + bad
            else:
                n0, k0 = n0 + 1, k0 + bad
            if i % 10 == 9 and n1 and n0 and newcombe_difference(k1, n1, k0, n0).low > 0:
                alarms += 1
                break
    return alarms


def at(weight: str, margin: float = 0.02) -> Plan:
    """A canary with all its steps that stands at one weight: alpha is split over three steps, as by default."""
    plan = plan_of(AppSpec("app", canary=Canary(steps=(weight, "51%", "52%", "100%"), error_margin=margin)))
    return plan


def power(effect: float, weight: str, runs: int) -> list[Ran]:
    found = []
    for number in range(runs):
        r = random.Random(f"power {number}")
        source = plain(BASE, effect)(r)
        found.append(run(at(weight), (next(source) for _ in range(LONGEST)), number))
    return found


def passing(rate: float, margin: float, runs: int) -> list[Ran]:
    found = []
    plan = plan_of(AppSpec("app", canary=Canary(error_margin=margin)))
    for number in range(runs):
        r = random.Random(f"passing {number}")
        source = plain(rate)(r)
        found.append(run(plan, (next(source) for _ in range(3 * LONGEST)), number))
    return found


def percent(k: int, n: int) -> str:
    e = clopper_pearson(k, n)
    return f"{100 * e.value:.2f} % ({100 * e.low:.2f} to {100 * e.high:.2f})"


def main() -> int:
    ask = argparse.ArgumentParser()
    ask.add_argument("--runs", type=int, default=2000)
    ask.add_argument("--write", action="store_true", help="write CANARY.md")
    said = ask.parse_args()
    began, runs, bad = time.monotonic(), said.runs, False
    tries = max(4, runs // 20)
    rows = []
    worlds: list[tuple[str, Plan, Draw]] = [
        ("one signal, 5 % fail", ERRORS, plain(BASE)),
        ("one signal, 0.5 % fail", ERRORS, plain(0.005)),
        ("five signals", FIVE, five),
        ("a rate that swings, outages of both sides", ERRORS, weather),
        ("ten requests a session, alike: counted by session", ERRORS, by_session),
        ("one step of 50 %, one signal, 5 % fail", HALF, plain(BASE)),
        ("the same with ten requests a session, alike: counted by session", HALF, by_session),
    ]
    for seed, (name, plan, draw) in enumerate(worlds):
        ended = [r.word for r in false_alarms(plan, draw, runs, seed)]
        alarms = ended.count("rolled back")
        bad = bad or clopper_pearson(alarms, runs).low > plan.alpha
        rows.append(f"| {name} | {percent(alarms, runs)} | at most {100 * plan.alpha:g} % |")
        print(rows[-1], flush=True)
    fewer = runs // 4
    rows.append(f"| ... counted by request (not what is done) | {percent(by_request(fewer), fewer)} | |")
    fixed = percent(fixed_interval(fewer), fewer)
    rows.append(f"| a fixed 95 % interval looked at every ten sessions (not what is done) | {fixed} | |")
    print(*rows[-2:], sep="\n", flush=True)
    found = []
    for effect in EFFECTS:
        for weight in ("5%", "25%", "50%"):
            ran = power(effect, weight, tries)
            back = [r for r in ran if r.word == "rolled back"]
            cells = "–"
            if len(back) > len(ran) / 2:
                seen = sorted(r.sessions if r.word == "rolled back" else LONGEST for r in ran)
                mine = statistics.median(r.candidate for r in back)
                cells = f"{statistics.median(seen):,.0f} | {seen[int(0.9 * len(seen))]:,} | {mine:,.0f}"
            else:
                cells = f"over {LONGEST:,} | |"
            found.append(f"| {100 * effect:g} points | {weight} | {len(back)} of {len(ran)} | {cells} |")
            print(found[-1], flush=True)
    passed = []
    for rate, margin in ((0.005, 0.02), (0.02, 0.02), (0.05, 0.05)):
        ran = passing(rate, margin, tries // 4)
        there = sorted(r.sessions for r in ran if r.word == "promoted")
        cells = f"{statistics.median(there):,.0f}" if len(there) > len(ran) / 2 else f"over {3 * LONGEST:,}"
        passed.append(f"| {100 * rate:g} % | {100 * margin:g} points | {len(there)} of {len(ran)} | {cells} |")
        print(passed[-1], flush=True)
    if said.write:
        (HERE / "CANARY.md").write_text(page(rows, found, passed, runs, time.monotonic() - began))
    return int(bad)


def page(rows: list[str], found: list[str], passed: list[str], runs: int, took_s: float) -> str:
    table = "\n".join
    return f"""# What a canary's decision is worth

`python bench/canary.py --write`, {datetime.now(UTC):%Y-%m-%d}, {machine()}; {took_s / 60:.0f} minutes.
Sessions are drawn, and the code that the worker calls decides.

## How often an equal release is rolled back

{runs:,} runs of {SESSIONS:,} sessions, looked at after every one of them, steps 5 %, 25 %, 50 %, alpha 5 % over all
signals and steps together; intervals are 95 % (Clopper and Pearson). It is far below alpha because the sequences hold
for any number of sessions and their errors are added up as if they never came together.

| an equal release | rolled back | declared |
| --- | --- | --- |
{table(rows)}

Requests of one session resemble each other, so counting them one by one sees evidence where there is none; a fixed
interval that is looked at again and again is wrong sooner or later. Neither is what a canary does.

## How soon a bad release is rolled back

The baseline fails in {100 * BASE:g} % of the sessions, the candidate in so many points more; error rate is the only
guarded signal; {runs // 20} runs each, at most {LONGEST:,} sessions, the weight of the step as it is.

| worse by | weight | rolled back | sessions, median | 90 % of runs | of the candidate, median |
| --- | --- | --- | --- | --- | --- |
{table(found)}

## How soon a good one has all of the traffic

Both fail alike; steps 5 %, 25 %, 50 %, 100 %; {runs // 80} runs each.

| both fail in | margin | promoted | sessions in all, median |
| --- | --- | --- | --- |
{table(passed)}

A small margin on little traffic takes long; `[canary]` steps of 25 % and more, or a wider margin, make it shorter.
"""


if __name__ == "__main__":
    sys.exit(main())
