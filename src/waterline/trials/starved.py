"""A drill that did not get its turn on the machine measured the machine: what it timed then is not known.

Both must be so: the drill's own waits, which do nothing else, ended late; and other programs (or other guests of the
host) used the CPUs. A release that uses them itself is slow, and fails.
"""

from collections.abc import Sequence

from msgspec import Struct, structs

from waterline.core.verdict import Outcome, Verdict
from waterline.evals.statistics import quantile
from waterline.trials.busy import CROWDED

LATE_S = 0.25  # of the drill's own waits, by 99 of 100 at most


class Turn(Struct):
    """How a drill got its turn. `late_s`: by how much each of its waits ended too late; `others`: share of the CPUs
    that other programs used meanwhile, once all processes of the drill have ended; None: not known."""

    late_s: Sequence[float] = ()
    others: float | None = None

    @property
    def worst_ms(self) -> float:
        return 1000 * max(self.late_s, default=0.0)

    def starved(self) -> str:
        """Why nothing that was timed counts against a release; "": it does."""
        p99_s = quantile(self.late_s, 0.99)
        if p99_s is None or p99_s <= LATE_S or self.others is None or self.others < CROWDED:
            return ""
        return (
            f"the drill itself was starved: other programs used {100 * self.others:.0f} % of the CPUs, and its own "
            f"waits ended {1000 * p99_s:,.0f} ms late (p99; {1000 * LATE_S:,.0f} ms are allowed). Repeat it on a quiet "
            "machine"
        )


def softened(timed: Verdict, turn: Turn) -> Verdict:
    """Of what was timed only, never of what was counted: a failure of a starved drill is inconclusive."""
    why = turn.starved()
    if timed.outcome is not Outcome.FAIL or not why:
        return timed
    return structs.replace(timed, outcome=Outcome.INCONCLUSIVE, reason=f"{timed.reason}; {why}")
