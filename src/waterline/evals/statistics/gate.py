"""A decision against a threshold, and the words of its reason."""

from msgspec import Struct

from waterline.core.verdict import Estimate, Outcome

CONFIDENCE = 0.95
SEARCH_LIMIT = 10_000_000  # no answer to "how many more" is looked for beyond this


class Gate(Struct, frozen=True):
    """A decision against a threshold. `more_to_pass` and `more_to_fail` are set only when it is INCONCLUSIVE: how many
    further cases would settle it if what was observed goes on. Both None: more of the same would never settle it."""

    outcome: Outcome
    estimate: Estimate | None
    threshold: float
    reason: str
    more_to_pass: int | None = None
    more_to_fail: int | None = None

    @property
    def more_cases(self) -> int | None:
        """For `Verdict.more_cases`: what settles it, whichever way."""
        return self.more_to_pass if self.more_to_pass is not None else self.more_to_fail


def percent(rate: float) -> str:
    return f"{100.0 * rate:.2f} %"


def needs(more: int | None) -> str:
    return f"needs {more} cases, all passing" if more is not None else "cannot be shown by any number of cases"
