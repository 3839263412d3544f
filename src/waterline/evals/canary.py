"""What a canary decides, from figures alone: promote one step, wait, or roll back.

A session is what is randomised, so it is what counts: each gives one value of 0..1 for each guarded signal, 1 the
worst (the share of its requests that failed, were slow ...). Candidate and baseline are compared over the same step,
where the weights are constant, so both see the same hours. Each signal at each step and each side has a confidence
sequence; alpha is split evenly over all of them. So with probability 1 - alpha they all hold at every look, and then an
equal candidate is never rolled back, and none that is worse by more than a margin gets past a step.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from waterline.core.app_spec import AppSpec
from waterline.core.rollout import FULL_BP
from waterline.core.trace import TraceOutcome
from waterline.core.verdict import Estimate
from waterline.evals.statistics import bounded_sequence, difference_sequence, surely_more

Decision = Literal["promote", "wait", "roll back"]
Side = Literal["baseline", "candidate"]
State = Literal["worse", "no worse", "open"]
ERRORS, SLOW, FIRST, COST, QUALITY = "errors", "slow", "first_token", "cost", "quality:"
UNREACHED = ("provider_unavailable", "provider_timeout")
JUDGE = "judge."
SEEN = "signal."  # verdicts of behaviour: 1 is bad, and a session without one has none
WORDS = {
    ERRORS: "failed requests", SLOW: "answers slower than declared", FIRST: "first tokens later than declared",
    COST: "cost, as a share of the cap",
}  # fmt: skip


class Guard(Struct, frozen=True):
    signal: str
    margin: float

    @property
    def judge(self) -> str:
        """The model that judges, "" for every other signal."""
        start = f"{QUALITY}{JUDGE}"
        return self.signal.removeprefix(start) if self.signal.startswith(start) else ""

    @property
    def words(self) -> str:
        if self.signal.startswith(QUALITY):
            name = self.signal.removeprefix(QUALITY)
            return f"sessions with {name}" if name.startswith(SEEN) else f"{name}, what it lacks of full marks"
        return WORDS[self.signal]


class Plan(Struct, frozen=True):
    """What was declared when it began; it holds to its end. Times in microseconds, money in nano-USD."""

    steps_bp: tuple[int, ...]
    alpha: float
    least_sessions: int
    guards: tuple[Guard, ...]
    session_us: int
    late_us: int
    quality_us: int
    longest_wait_us: int
    on_unknown: Literal["hold", "rollback"]
    answer_us: int | None = None
    first_us: int | None = None
    cap_nano_usd: int | None = None

    @property
    def confidence(self) -> float:
        """Of one sequence: alpha is split over the signals, the steps that compare, and the two sides."""
        compared = sum(1 for step in self.steps_bp if step < FULL_BP)
        return 1.0 - self.alpha / max(1, 2 * len(self.guards) * compared)


def plan_of(spec: AppSpec) -> Plan:
    """From [canary] and [objectives]."""
    c, o = spec.canary, spec.objectives
    answer_us = None if o.answer_ms_p95 is None else round(o.answer_ms_p95 * 1000)
    first_us = None if o.ttft_ms_p95 is None else round(o.ttft_ms_p95 * 1000)
    guards = [Guard(ERRORS, c.error_margin)]
    if answer_us is not None:
        guards.append(Guard(SLOW, c.slow_margin))
    if first_us is not None:
        guards.append(Guard(FIRST, c.slow_margin))
    if c.nano_usd_per_request is not None:
        guards.append(Guard(COST, c.cost_margin))
    guards += [Guard(f"{QUALITY}{name}", c.quality_margin) for name in c.quality]
    return Plan(
        c.steps_bp, c.alpha, c.least_sessions, tuple(guards), c.session_s * 1_000_000,
        max(c.late_s * 1_000_000, answer_us or 0, first_us or 0), c.quality_s * 1_000_000,
        round(c.longest_wait_h * 3_600_000_000), c.on_unknown, answer_us, first_us, c.nano_usd_per_request,
    )  # fmt: skip


# --- what a session counts for -----------------------------------------------------------------------------------


class Asked(Struct, frozen=True):
    """One request of a session. `outcome` "open": it has not ended although the time to look has come."""

    outcome: TraceOutcome
    code: str
    duration_us: int
    first_token_us: int | None
    stream: bool
    cost_nano_usd: int | None


def measured(plan: Plan, asked: Sequence[Asked]) -> dict[str, float]:
    """A session's value of each signal that it says something of: 0 good, 1 bad.

    Refused by us, left by the caller or ended by our own stop is nobody's error; refused because its providers are left
    alone for a while is one. Left or still open after the time that was declared is slow. Without a known price there
    is no cost."""
    found: dict[str, float] = {}
    failed = [a.outcome == "failed" or a.code in UNREACHED for a in asked]
    _put(found, ERRORS, [bad for a, bad in zip(asked, failed, strict=True) if bad or a.outcome == "answered"])
    if plan.answer_us is not None:
        _put(found, SLOW, [slow for a in asked if (slow := _slow(a, plan.answer_us)) is not None])
    if plan.first_us is not None:
        firsts = [a.first_token_us for a in asked if a.stream and a.outcome == "answered"]
        _put(found, FIRST, [us > plan.first_us for us in firsts if us is not None])
    if plan.cap_nano_usd is not None:
        costs = [a.cost_nano_usd for a in asked if a.outcome in ("answered", "failed")]
        _put(found, COST, [min(1.0, nano / plan.cap_nano_usd) for nano in costs if nano is not None])
    return found


def judged(plan: Plan, verdicts: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The same of its verdicts (name, value 0..1)."""
    found: dict[str, float] = {}
    for guard in plan.guards:
        name = guard.signal.removeprefix(QUALITY)
        if name == guard.signal:
            continue
        values = [min(1.0, max(0.0, v)) for said, v in verdicts if said == name or said.startswith(f"{name}.")]
        if name.startswith(SEEN):
            found[guard.signal] = max(values, default=0.0)
        else:
            _put(found, guard.signal, [1.0 - v for v in values])
    return found


def _slow(asked: Asked, limit_us: int) -> bool | None:
    if asked.outcome == "answered":
        return asked.duration_us > limit_us
    if asked.outcome == "open":
        return True
    return True if asked.outcome == "cancelled" and asked.duration_us > limit_us else None


def _put(found: dict[str, float], signal: str, values: Iterable[float]) -> None:
    known = list(values)
    if known:
        found[signal] = sum(known) / len(known)


# --- the decision ------------------------------------------------------------------------------------------------


class Arm(Struct):
    """One side's sums at one step: all that its sequences need. `sums`: signal -> [sessions, their values added up]."""

    sessions: int = 0
    sums: dict[str, tuple[int, float]] = {}

    def add(self, values: Mapping[str, float]) -> None:
        for signal, value in values.items():
            n, total = self.sums.get(signal, (0, 0.0))
            self.sums[signal] = (n + 1, total + value)


class Sums(Struct):
    baseline: Arm
    candidate: Arm

    @classmethod
    def empty(cls) -> "Sums":
        return cls(Arm(0, {}), Arm(0, {}))


class Compared(Struct, frozen=True):
    """One signal. `difference`: candidate minus baseline, above 0 is worse; None: one side has no figure yet."""

    signal: str
    words: str
    margin: float
    baseline: Estimate
    candidate: Estimate
    difference: Estimate | None
    state: State


class Look(Struct, frozen=True):
    decision: Decision
    sessions: tuple[int, int]  # baseline, candidate
    compared: tuple[Compared, ...]

    @property
    def worse(self) -> list[Compared]:
        return [c for c in self.compared if c.state == "worse"]

    @property
    def still_open(self) -> list[Compared]:
        return [c for c in self.compared if c.state == "open"]


def look(plan: Plan, sums: Sums, silent: Collection[str] = ()) -> Look:
    """`silent`: signals that may decide nothing now (a judge that is not calibrated): neither harm nor green."""
    compared = tuple(_compared(plan, guard, sums, guard.signal in silent) for guard in plan.guards)
    sessions = (sums.baseline.sessions, sums.candidate.sessions)
    decision: Decision = "wait"
    if any(c.state == "worse" for c in compared):
        decision = "roll back"
    elif min(sessions) >= plan.least_sessions and all(c.state == "no worse" for c in compared):
        decision = "promote"
    return Look(decision, sessions, compared)


def _compared(plan: Plan, guard: Guard, sums: Sums, silent: bool) -> Compared:
    (n0, t0), (n1, t1) = _of(sums.baseline, guard), _of(sums.candidate, guard)
    baseline = bounded_sequence(t0, n0, plan.confidence)
    candidate = bounded_sequence(t1, n1, plan.confidence)
    difference = difference_sequence(baseline, candidate) if n0 and n1 else None
    state: State = "open"
    if silent or difference is None:
        pass
    elif difference.low > 0:
        # Surely worse, but surely by less than what was declared to be all right.
        state = "no worse" if difference.high < guard.margin else "worse"
    elif difference.high < guard.margin:
        state = "no worse"
    return Compared(guard.signal, guard.words, guard.margin, baseline, candidate, difference, state)


def is_harm(plan: Plan, sums: Sums) -> bool:
    """Whether any signal's sequences say worse (within the margin or not): what to ask before the whole look."""
    return any(surely_more(t1, n1, t0, n0, plan.confidence) for (n0, t0), (n1, t1) in _pairs(plan, sums))


def _pairs(plan: Plan, sums: Sums) -> Iterable[tuple[tuple[int, float], tuple[int, float]]]:
    return ((_of(sums.baseline, guard), _of(sums.candidate, guard)) for guard in plan.guards)


def _of(arm: Arm, guard: Guard) -> tuple[int, float]:
    return arm.sums.get(guard.signal, (0, 0.0))


def sentence(c: Compared) -> str:
    """One signal for people."""
    name = c.words[0].upper() + c.words[1:]
    if c.difference is None:
        return f"{name}: no figure of both yet."
    d = c.difference
    new, old = c.candidate, c.baseline
    seen = f"{name}: {100 * new.value:.1f} % in {new.n:,} sessions, against {100 * old.value:.1f} % in {old.n:,}"
    between = f"{100 * d.low:+.1f} to {100 * d.high:+.1f} points"
    match c.state:
        case "worse":
            return f"{seen}: it is worse, by {between}."
        case "no worse":
            return f"{seen}: no worse by {100 * c.margin:g} points ({between})."
        case "open":
            return f"{seen}: not settled ({between}; the margin is {100 * c.margin:g})."
