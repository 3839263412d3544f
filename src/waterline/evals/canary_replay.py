"""A canary run over sessions that are there already: A/A runs (both sides the same release) and simulations.

The sessions come in their order; which side each one gets is drawn anew with every seed, by the weight of the step.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from msgspec import Struct

from waterline.core.rollout import FULL_BP
from waterline.core.verdict import Estimate
from waterline.evals.canary import Plan, Side, Sums, is_harm, look
from waterline.evals.statistics import clopper_pearson

Values = Mapping[str, float]
GROWTH = 1.02  # the whole look (may it go on?) is taken when a side has grown by this; harm is looked for every time


class Ran(Struct, frozen=True):
    """How one canary ended. `step`: the last one, from 0. `sessions`: all that came; `candidate`: those it had."""

    word: Literal["promoted", "rolled back", "unknown"]
    step: int
    sessions: int
    candidate: int


class FalseAlarms(Struct, frozen=True):
    """`rolled_back`: the share of runs in which an equal candidate was rolled back; `alpha` is what was declared."""

    runs: int
    sessions: int
    rolled_back: Estimate
    promoted: int
    unknown: int
    alpha: float


def run(plan: Plan, sessions: Iterable[Callable[[Side], Values]], seed: int) -> Ran:
    """`sessions`: each says its values on the side that it gets."""
    draw = random.Random(seed).random
    step, seen, candidates, next_look = 0, 0, 0, 1.0
    sums = Sums.empty()
    for seen, session in enumerate(sessions, start=1):
        if draw() * FULL_BP < plan.steps_bp[step]:
            candidates += 1
            arm, values = sums.candidate, session("candidate")
        else:
            arm, values = sums.baseline, session("baseline")
        arm.sessions += 1
        arm.add(values)
        least = min(sums.baseline.sessions, sums.candidate.sessions)
        if least < next_look and not is_harm(plan, sums):
            continue
        if least >= next_look:
            next_look = max(least + 1, least * GROWTH)
        found = look(plan, sums)
        if found.decision == "roll back":
            return Ran("rolled back", step, seen, candidates)
        if found.decision == "promote":
            step, sums, next_look = step + 1, Sums.empty(), 1.0
            if plan.steps_bp[step] >= FULL_BP:
                return Ran("promoted", step, seen, candidates)
    return Ran("unknown", step, seen, candidates)


def false_alarms(plan: Plan, sessions: list[Values], runs: int, seed: int = 1) -> FalseAlarms:
    """A/A: both labels of each run are the same release, so that every rollback is false."""
    same: list[Callable[[Side], Values]] = [lambda side, v=values: v for values in sessions]  # type: ignore[misc]
    ended = [run(plan, same, seed + number).word for number in range(runs)]
    alarms = ended.count("rolled back")
    return FalseAlarms(
        runs, len(sessions), clopper_pearson(alarms, runs), ended.count("promoted"), ended.count("unknown"), plan.alpha
    )
