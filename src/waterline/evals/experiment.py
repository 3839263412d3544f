"""An evaluation: what is to be asked, what was answered, and the verdict one can defend.

Everything that the verdict turns on (cases, repeats, margin, thresholds) is in the `Plan`, which is fixed before the
first call and whose digest names the run. Two releases are compared in pairs, by case; a missing answer is a failed
one.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import msgspec
from msgspec import Struct

from waterline.core.ids import sha256_hex
from waterline.core.verdict import Estimate, Outcome
from waterline.evals.judged import Bench, Opinion, Standing, Use, gate_judged
from waterline.evals.statistics import (
    Judged,
    clustered_mean,
    gate_clustered,
    holm,
    mde_paired,
    non_inferiority,
    paired_difference,
    pass_hat_k_mean,
    quantile,
    quantile_interval,
    sign_test,
)

Arm = Literal["first", "second"]  # first: the one compared against; second: the one under evaluation
Word = Literal["better", "non-inferior", "worse", "unknown", "passed", "failed"]
Change = Literal["lost", "won", "same"]
SLICES = 60  # the largest ones get an interval; more are counted
RESAMPLES = 2000
DRAWS = 4_000_000  # of the bootstrap in all: with very many cases fewer resamples do as well
EXIT: dict[Outcome, int] = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 2, Outcome.NOT_RUN: 3}


class Plan(Struct, frozen=True, omit_defaults=True):
    """Declared beforehand. `against` "": the release is held to `score_min` alone."""

    app: str
    release: str
    case_set: str
    cases: int
    repeats: int
    scorer: str  # its version
    against: str = ""
    margin: float | None = None
    score_min: float | None = None
    seed: int = 1
    cases_from: str = ""  # "front@3 3b8a45e9f0c1, held_out": the set, version and side; "": a file
    judges: dict[str, str] = {}  # their ids, by name

    @property
    def arms(self) -> tuple[Arm, ...]:
        return ("first", "second") if self.against else ("second",)

    @property
    def calls(self) -> int:
        return self.cases * self.repeats * len(self.arms)


def plan_id(plan: Plan, number: int = 1) -> str:
    """Names a run: the same plan, the same run; `number` tells a run from the one before it."""
    return sha256_hex(msgspec.json.encode((plan, number), order="deterministic"))[:16]


class Answer(Struct, frozen=True, omit_defaults=True):
    """What became of one question. `ms` None: no whole answer came."""

    case: str
    arm: Arm
    repeat: int
    passed: bool
    reason: str = ""
    text: str = ""
    code: str = ""
    ms: float | None = None
    cost_nano_usd: int | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    trace: str = ""
    provider: str = ""
    held: bool = False  # where judges were asked: everything but what they say
    judged: tuple[Opinion, ...] = ()


class Side(Struct):
    """One arm's answers to one case, without their texts: what the statistics need."""

    passed: int = 0
    asked: int = 0
    cost_nano_usd: int = 0
    unpriced: int = 0
    missing: int = 0
    ms: float = 0.0  # the sum over whole answers
    judged: int = 0  # of those asked: judges were asked too
    plain: int = 0  # passed, of those that no judge was asked about


class Tally:
    """All answers so far, by case: a few numbers each, so that memory does not grow with what was said."""

    def __init__(self, tags: Mapping[str, Sequence[str]]) -> None:
        """`tags` of every case of the plan, in its order."""
        self.tags = tags
        self.sides: dict[Arm, dict[str, Side]] = {"first": {}, "second": {}}
        self.latencies: dict[Arm, list[float]] = {"first": [], "second": []}
        self.prices: dict[Arm, list[int]] = {"first": [], "second": []}
        self.bench = Bench()

    def add(self, answer: Answer) -> None:
        side = self.sides[answer.arm].setdefault(answer.case, Side())
        side.asked += 1
        side.passed += answer.passed
        if answer.judged:
            self.bench.add(answer.case, answer.arm, answer.held, answer.judged)
            side.judged += 1
        else:
            side.plain += answer.passed
        if answer.ms is None:
            side.missing += 1
        else:
            side.ms += answer.ms
            self.latencies[answer.arm].append(answer.ms)
        if answer.cost_nano_usd is None:
            side.unpriced += 1
        else:
            side.cost_nano_usd += answer.cost_nano_usd
            self.prices[answer.arm].append(answer.cost_nano_usd)

    def score(self, arm: Arm, case: str, repeats: int) -> float:
        """The share of repeats passed; a repeat that was never answered is a failed one."""
        side = self.sides[arm].get(case)
        return side.passed / repeats if side is not None else 0.0


class Slice(Struct, frozen=True):
    tag: str
    cases: int
    first: float
    second: float
    difference: Estimate | None
    p: float  # sign test, Holm over the slices


class ArmFigures(Struct, frozen=True):
    """Latencies in ms over whole answers; a missing one is in `missing`. Cost None: something is unpriced."""

    release: str
    asked: int
    passed: int
    score: Estimate | None
    pass_hat_k: Estimate | None
    missing: int
    cost_nano_usd: int | None
    unpriced: int
    ms_p50: Estimate | None
    ms_p95: float | None
    ms_p95_interval: Estimate | None
    scores: tuple[int, ...] = ()  # cases by how many of their repeats passed, from none to all
    ms_spread: tuple[float, ...] = ()  # of whole answers: quantiles at every hundredth, from the least to the most
    usd_spread: tuple[float, ...] = ()  # of priced answers


class Result(Struct, frozen=True):
    plan: Plan
    word: Word
    outcome: Outcome
    reason: str
    more_cases: int | None
    estimate: Estimate | None  # the difference, or the score
    p: float | None  # sign test over cases
    smallest: float | None  # the difference that this run would find, 80 % power
    arms: dict[str, ArmFigures]
    cost_difference: Estimate | None  # nano-USD an answer, second minus first
    ms_difference: Estimate | None  # mean ms of whole answers, by case, second minus first
    lost: int
    won: int
    same: int
    slices: tuple[Slice, ...]
    slices_left_out: int
    provider: Literal["real", "simulated", "none"]
    judges: tuple[Use, ...] = ()

    @property
    def exit_status(self) -> int:
        return EXIT[self.outcome]


def change(first: float, second: float) -> Change:
    return "same" if first == second else ("lost" if second < first else "won")


def judge(
    plan: Plan,
    tally: Tally,
    provider: Literal["real", "simulated", "none"] = "real",
    standings: Mapping[str, Standing] = MappingProxyType({}),
) -> Result:
    """The verdict on everything that was asked. Cases are the clusters: repeats of one are no new ones. `standings`:
    of the plan's judges; one that is not there has not been calibrated."""
    uses = tally.bench.uses({name: standings.get(name, Standing(name, made)) for name, made in plan.judges.items()})
    cases = list(tally.tags)
    second = [tally.score("second", case, plan.repeats) for case in cases]
    first = [tally.score("first", case, plan.repeats) for case in cases] if plan.against else []
    word: Word
    if plan.against:
        resamples = max(200, min(RESAMPLES, DRAWS // max(1, len(cases))))
        difference = paired_difference(first, second, seed=plan.seed, resamples=resamples)
        gate = non_inferiority(difference, plan.margin if plan.margin is not None else 0.0)
        if uses:
            gate = gate_judged(
                _unjudged(plan, tally, cases), tally.bench, uses, margin=plan.margin or 0.0, threshold=None
            )
        word = _word(gate.outcome, gate.estimate if uses else difference)
        deltas = [b - a for a, b in zip(first, second, strict=True)]
        p, smallest = sign_test(deltas), _smallest(deltas)
    else:
        scores = [float(i < round(s * plan.repeats)) for s in second for i in range(plan.repeats)]
        clusters = [case for case in cases for _ in range(plan.repeats)]
        gate = gate_clustered(scores, clusters, plan.score_min if plan.score_min is not None else 1.0)
        if uses:
            gate = gate_judged(_unjudged(plan, tally, cases), tally.bench, uses, margin=None, threshold=plan.score_min)
        words: dict[Outcome, Word] = {Outcome.PASS: "passed", Outcome.FAIL: "failed"}
        word, p, smallest = words.get(gate.outcome, "unknown"), None, None
    outcome, reason = gate.outcome, gate.reason
    if not plan.against and plan.score_min is None:
        word, outcome = "unknown", Outcome.INCONCLUSIVE
        reason = "nothing was declared to judge by: neither --against nor [objectives.quality] score_min"
    slices, left_out = _slices(plan, tally, cases, first, second)
    return Result(
        plan=plan, word=word, outcome=outcome, reason=reason, more_cases=gate.more_cases, estimate=gate.estimate, p=p,
        smallest=smallest,
        arms={arm: _figures(plan, tally, arm, cases, first if arm == "first" else second) for arm in plan.arms},
        cost_difference=_cost_difference(plan, tally, cases), ms_difference=_ms_difference(plan, tally, cases),
        lost=sum(b < a for a, b in zip(first, second, strict=False)),
        won=sum(b > a for a, b in zip(first, second, strict=False)),
        same=sum(b == a for a, b in zip(first, second, strict=False)),
        slices=slices, slices_left_out=left_out, provider=provider, judges=uses,
    )  # fmt: skip


def _unjudged(plan: Plan, tally: Tally, cases: Sequence[str]) -> list[Judged]:
    """The answers that no judge was asked about, those that never came included."""
    found: list[Judged] = []
    for arm in plan.arms:
        weight = -1.0 if arm == "first" else 1.0
        for case in cases:
            side = tally.sides[arm].get(case, Side())
            missing = plan.repeats - side.judged - side.plain
            found += [Judged(case, True, (), weight)] * side.plain + [Judged(case, False, (), weight)] * missing
    return found


def _word(outcome: Outcome, difference: Estimate | None) -> Word:
    if outcome is Outcome.PASS:
        return "better" if difference is not None and difference.low > 0.0 else "non-inferior"
    return "worse" if outcome is Outcome.FAIL else "unknown"


def _smallest(deltas: Sequence[float]) -> float | None:
    n = len(deltas)
    if n < 2:
        return None
    mean = sum(deltas) / n
    variance = sum((delta - mean) ** 2 for delta in deltas) / (n - 1)
    return mde_paired(n, variance**0.5) if variance else None


def _figures(plan: Plan, tally: Tally, arm: Arm, cases: Sequence[str], scores: Sequence[float]) -> ArmFigures:
    sides = [tally.sides[arm].get(case, Side()) for case in cases]
    unpriced = sum(side.unpriced for side in sides)
    latencies = tally.latencies[arm]
    return ArmFigures(
        release=plan.release if arm == "second" else plan.against,
        asked=sum(side.asked for side in sides),
        passed=sum(side.passed for side in sides),
        score=clustered_mean(scores),
        pass_hat_k=pass_hat_k_mean([(side.passed, plan.repeats) for side in sides], plan.repeats) if sides else None,
        missing=sum(side.missing for side in sides) + sum(plan.repeats - side.asked for side in sides),
        cost_nano_usd=None if unpriced else sum(side.cost_nano_usd for side in sides),
        unpriced=unpriced,
        ms_p50=quantile_interval(latencies, 0.5),
        ms_p95=quantile(latencies, 0.95),
        ms_p95_interval=quantile_interval(latencies, 0.95),
        scores=_by_passed(sides, plan.repeats),
        ms_spread=_spread(latencies),
        usd_spread=tuple(nano / 1e9 for nano in _spread(tally.prices[arm])),
    )


def _by_passed(sides: Sequence[Side], repeats: int) -> tuple[int, ...]:
    counts = [0] * (repeats + 1)
    for side in sides:
        counts[min(side.passed, repeats)] += 1
    return tuple(counts)


def _spread(values: Sequence[float]) -> tuple[float, ...]:
    """101 observed values at even ranks; () for none."""
    if not values:
        return ()
    ordered, last = sorted(values), len(values) - 1
    return tuple(ordered[round(last * place / 100)] for place in range(101))


def _cost_difference(plan: Plan, tally: Tally, cases: Sequence[str]) -> Estimate | None:
    """By case, so that dear cases do not hide behind cheap ones. None where anything is unpriced or missing."""
    pairs = _both(plan, tally, cases)
    if not pairs or any(a.unpriced or b.unpriced for a, b in pairs):
        return None
    return clustered_mean([b.cost_nano_usd / b.asked - a.cost_nano_usd / a.asked for a, b in pairs], bounds=None)


def _ms_difference(plan: Plan, tally: Tally, cases: Sequence[str]) -> Estimate | None:
    whole = [(a, b) for a, b in _both(plan, tally, cases) if a.asked > a.missing and b.asked > b.missing]
    return clustered_mean([b.ms / (b.asked - b.missing) - a.ms / (a.asked - a.missing) for a, b in whole], bounds=None)


def _both(plan: Plan, tally: Tally, cases: Sequence[str]) -> list[tuple[Side, Side]]:
    if not plan.against:
        return []
    found = [(tally.sides["first"].get(case), tally.sides["second"].get(case)) for case in cases]
    return [(a, b) for a, b in found if a is not None and b is not None]


def _slices(
    plan: Plan, tally: Tally, cases: Sequence[str], first: Sequence[float], second: Sequence[float]
) -> tuple[tuple[Slice, ...], int]:
    """By tag, the worst first."""
    places: dict[str, list[int]] = {}
    for place, case in enumerate(cases):
        for tag in tally.tags[case]:
            places.setdefault(tag, []).append(place)
    largest = sorted(places, key=lambda tag: (-len(places[tag]), tag))[:SLICES]
    made = []
    for tag in largest:
        b = [second[i] for i in places[tag]]
        a = [first[i] for i in places[tag]] if plan.against else []
        found = (
            paired_difference(a, b, seed=plan.seed, resamples=max(200, min(500, DRAWS // (20 * len(b)))))
            if plan.against
            else clustered_mean(b)
        )
        p = sign_test([y - x for x, y in zip(a, b, strict=True)]) if plan.against else 1.0
        made.append(Slice(tag, len(b), sum(a) / len(a) if a else 0.0, sum(b) / len(b), found, p))
    adjusted = holm([one.p for one in made])
    with_p = [msgspec.structs.replace(one, p=p) for one, p in zip(made, adjusted, strict=True)]
    with_p.sort(key=lambda one: ((one.second - one.first), one.tag))
    return tuple(with_p), len(places) - len(largest)


class Item(Struct, frozen=True):
    """One case with every answer, as it is kept and shown side by side. Scores: the share of repeats that passed."""

    ordinal: int  # from 1, in the order of the cases
    case: str
    tags: tuple[str, ...]
    asked: str  # the last message
    expect: str  # as JSON
    first: float | None  # None: nothing was compared
    second: float
    change: Change
    answers: tuple[Answer, ...]
