"""A drill that did not get its turn on the machine measured the machine: what it timed then is not known."""

from collections.abc import Sequence

from msgspec import structs

from waterline.core.verdict import Outcome, Verdict
from waterline.evals.statistics import quantile

LATE_S = 0.25  # of the drill's own waits, by 99 of 100 at most: beyond, it was starved


def starved(late_s: Sequence[float]) -> str:
    """Why nothing that was timed counts against a release; "": it does. `late_s`: by how much waits of the drill
    itself, which do nothing else, ended too late."""
    p99_s = quantile(sorted(late_s), 0.99)
    if p99_s is None or p99_s <= LATE_S:
        return ""
    return (
        f"the drill itself was starved: its own waits ended {1000 * p99_s:,.0f} ms late (p99), "
        f"{1000 * LATE_S:,.0f} ms are allowed. Repeat it on a quiet machine"
    )


def softened(timed: Verdict, late_s: Sequence[float]) -> Verdict:
    """Of what was timed only, never of what was counted: a failure of a starved drill is inconclusive."""
    why = starved(late_s)
    if timed.outcome is not Outcome.FAIL or not why:
        return timed
    return structs.replace(timed, outcome=Outcome.INCONCLUSIVE, reason=f"{timed.reason}; {why}")
