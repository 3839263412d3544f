"""How a drill's measurement becomes a Verdict."""

from waterline.core.verdict import Estimate, JudgeRef, Outcome, Ref, Verdict
from waterline.evals.statistics import Gate, rate_upper_bound
from waterline.trials.load_line import Behind

VERSION = "1"  # of the drills; raise it when one measures differently


def verdict(
    drill: str,
    name: str,
    outcome: Outcome,
    reason: str,
    *,
    provider: Behind,
    value: Estimate | None = None,
    threshold: float | None = None,
    unit: str = "",
    more: int | None = None,
) -> Verdict:
    return Verdict(
        Ref("drill", drill), name, outcome, value, reason, JudgeRef(f"drill.{drill}", VERSION), more_cases=more,
        provider=provider, unit=unit, threshold=threshold,
    )  # fmt: skip


def gated(drill: str, name: str, gate: Gate, provider: Behind, unit: str = "share", note: str = "") -> Verdict:
    reason = f"{gate.reason}; {note}" if note else gate.reason
    return verdict(
        drill, name, gate.outcome, reason, provider=provider, value=gate.estimate, threshold=gate.threshold,
        unit=unit, more=gate.more_cases,
    )  # fmt: skip


def none_allowed(drill: str, name: str, bad: int, n: int, provider: Behind, what: str) -> Verdict:
    """A hard zero: one bad event fails. `what` says what was counted, as "of 12 calls had ..."."""
    if not n:
        said = f"nothing was seen to judge by: {what}"
        return verdict(drill, name, Outcome.INCONCLUSIVE, said, provider=provider, threshold=0.0, unit="share", more=1)
    high = rate_upper_bound(bad, n)
    value = Estimate(value=bad / n, low=0.0, high=high, n=n, confidence=0.95, method="exact, one-sided")
    reason = f"{bad} of {n:,} {what}; none allowed (with 95 % confidence the true share is below {100 * high:.2g} %)"
    outcome = Outcome.FAIL if bad else Outcome.PASS
    return verdict(drill, name, outcome, reason, provider=provider, value=value, threshold=0.0, unit="share")


def undeclared(drill: str, name: str, key: str, provider: Behind = "none") -> Verdict:
    """No threshold, no verdict: the app says what it wants before the run."""
    reason = f"app.toml declares no {key}, so there is nothing to judge by; declare it in [objectives]"
    return verdict(drill, name, Outcome.INCONCLUSIVE, reason, provider=provider)
