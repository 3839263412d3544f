"""May this judge's word count? Its verdicts beside people's labels on the same answers.

Each look at new labels is a chance to pass by luck, and so is each new wording of the judge on the same labels. The
k-th look is therefore held to an error of .05/(k(k+1)), which over all looks add up to .05 at most.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from waterline.core.verdict import Outcome
from waterline.evals.statistics.agreement import Agreement, agreement, alpha_nominal, kappa_bounds
from waterline.evals.statistics.corrected import JudgeErrors

KAPPA_MIN = 0.6
ALPHA = 0.05  # over all looks
CLASS_MIN = 10  # labelled items of each kind, below which no figure is believed
SEARCH = (1.1, 1.25, 1.5, 2, 3, 4, 6, 8, 12, 16, 32)

Label = Literal["pass", "fail", "unsure"]


class LabelledItem(Struct, frozen=True):
    """`labels`: by labeller. `said`: the judge's verdict; None: it has not been asked; "": it gave none."""

    item: str
    labels: Mapping[str, Label]
    said: str | None = None

    @property
    def people(self) -> bool | None:
        """What most labellers who were sure say; None: nobody, or as many for as against."""
        counts = Counter(label for label in self.labels.values() if label != "unsure")
        return None if counts["pass"] == counts["fail"] else counts["pass"] > counts["fail"]


class Calibration(Struct, frozen=True):
    """The judge (pass/fail) beside people. `errors`: what an evaluation's interval carries."""

    outcome: Outcome
    reason: str
    look: int
    alpha: float  # of this look
    both: int
    judge_only: int
    people_only: int
    neither: int
    agreement: Agreement
    kappa_low: float | None  # one-sided, at `alpha`
    labelled: int  # items with any label
    unsettled: int  # of those: people are unsure, or of two minds
    not_asked: int  # settled, but the judge has not been asked yet
    gave_none: int  # the judge gave no verdict: it does not pass, and is not dropped
    labellers: int
    between_people: float | None  # Krippendorff's alpha
    more_labels: int | None  # None: enough, or more of the same would not do

    @property
    def errors(self) -> JudgeErrors:
        return JudgeErrors((self.both, self.both + self.people_only), (self.neither, self.neither + self.judge_only))


def calibrate(items: Sequence[LabelledItem], look: int) -> Calibration:
    """`look`: 1 for the first look at labels for this question, whatever judge was looked at before."""
    settled = [one for one in items if one.people is not None]
    asked = [one for one in settled if one.said is not None]
    counts = Counter((one.people, one.said == "yes") for one in asked)
    table = (counts[True, True], counts[False, True], counts[True, False], counts[False, False])
    alpha = ALPHA / (look * (look + 1))
    bounds = kappa_bounds(*table, alpha) if asked else None
    passed, failed = table[0] + table[2], table[1] + table[3]
    outcome, reason = _verdict(bounds, passed, failed, alpha)
    return Calibration(
        outcome=outcome, reason=reason, look=look, alpha=alpha,
        both=table[0], judge_only=table[1], people_only=table[2], neither=table[3],
        agreement=agreement(*table), kappa_low=bounds[0] if bounds else None,
        labelled=sum(bool(one.labels) for one in items),
        unsettled=sum(bool(one.labels) for one in items) - len(settled), not_asked=len(settled) - len(asked),
        gave_none=sum(one.said == "" for one in asked),
        labellers=len({who for one in items for who in one.labels}),
        between_people=alpha_nominal([[x for x in one.labels.values() if x != "unsure"] for one in items]),
        more_labels=None if outcome is not Outcome.INCONCLUSIVE else _more(table, alpha),
    )  # fmt: skip


def _verdict(bounds: tuple[float, float] | None, passed: int, failed: int, alpha: float) -> tuple[Outcome, str]:
    if passed < CLASS_MIN or failed < CLASS_MIN:
        said = f"people passed {passed} and failed {failed}; {CLASS_MIN} of each are needed before any figure counts"
        return Outcome.INCONCLUSIVE, said
    if bounds is None:
        return Outcome.INCONCLUSIVE, "judge and people always say the same one thing"
    low, high = bounds
    sure = f"at {100 * (1 - alpha):.3g} % confidence"
    if low >= KAPPA_MIN:
        return Outcome.PASS, f"kappa is at least {low:.2f} {sure}, {KAPPA_MIN:g} required"
    if high < KAPPA_MIN:
        return Outcome.FAIL, f"kappa is at most {high:.2f} {sure}, {KAPPA_MIN:g} required"
    return Outcome.INCONCLUSIVE, f"kappa is between {low:.2f} and {high:.2f} {sure}, at least {KAPPA_MIN:g} required"


def _more(table: tuple[int, int, int, int], alpha: float) -> int | None:
    """Labels that would settle it, if they fall as those so far. None: more of the same would not."""
    n, passed, failed = sum(table), table[0] + table[2], table[1] + table[3]
    if min(passed, failed) < CLASS_MIN:
        if not min(passed, failed):
            return max(0, 2 * CLASS_MIN - n) or CLASS_MIN
        return max(1, round(CLASS_MIN * n / min(passed, failed)) - n)
    for times in SEARCH:
        a, b, c, d = (round(cell * times) for cell in table)
        bounds = kappa_bounds(a, b, c, d, alpha)
        if bounds is not None and (bounds[0] >= KAPPA_MIN or bounds[1] < KAPPA_MIN):
            return max(1, round(n * times) - n)
    return None
