"""A judge against people: how well they agree, and what the judge's errors do to a rate that it reports."""

import math
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from waterline.core.verdict import Estimate
from waterline.evals.distributions import normal_quantile
from waterline.evals.statistics.gate import CONFIDENCE
from waterline.evals.statistics.proportions import check_counts, wilson


class Agreement(Struct, frozen=True):
    """A pass/fail judge beside people's labels. None: there was no case of that kind, or nothing but chance to show."""

    kappa: Estimate | None
    sensitivity: Estimate | None  # of what people pass, the share that the judge passes
    specificity: Estimate | None  # of what people fail, the share that the judge fails
    n: int


def agreement(both: int, judge_only: int, people_only: int, neither: int, confidence: float = CONFIDENCE) -> Agreement:
    """Counts of passes: by both, by the judge only, by people only, by neither.

    kappa = (po - pe)/(1 - pe), Cohen (1960), Educational and Psychological Measurement 20:37-46, with the large-sample
    standard error of Fleiss, Cohen and Everitt (1969), Psychological Bulletin 72:323-327. The rates have Wilson
    intervals.
    """
    n = both + judge_only + people_only + neither
    if min(both, judge_only, people_only, neither) < 0:
        raise ValueError("counts cannot be negative")
    passed, failed = both + people_only, judge_only + neither
    return Agreement(
        kappa=_kappa(both, judge_only, people_only, neither, confidence),
        sensitivity=wilson(both, passed, confidence) if passed else None,
        specificity=wilson(neither, failed, confidence) if failed else None,
        n=n,
    )


def _kappa(both: float, judge_only: float, people_only: float, neither: float, confidence: float) -> Estimate | None:
    n = both + judge_only + people_only + neither
    if n == 0:
        return None
    cells = ((both / n, people_only / n), (judge_only / n, neither / n))  # rows: people; columns: judge
    rows = [sum(row) for row in cells]
    columns = [cells[0][i] + cells[1][i] for i in (0, 1)]
    observed = cells[0][0] + cells[1][1]
    chance = sum(rows[i] * columns[i] for i in (0, 1))
    if chance >= 1.0:
        return None  # both always say the same one thing: agreement by chance is perfect
    kappa = (observed - chance) / (1.0 - chance)
    agreed = sum(cells[i][i] * (1.0 - (rows[i] + columns[i]) * (1.0 - kappa)) ** 2 for i in (0, 1))
    apart = sum(cells[i][1 - i] * (columns[i] + rows[1 - i]) ** 2 for i in (0, 1)) * (1.0 - kappa) ** 2
    rest = (kappa - chance * (1.0 - kappa)) ** 2
    error = math.sqrt(max(0.0, agreed + apart - rest) / n) / (1.0 - chance)
    half = normal_quantile(0.5 + confidence / 2.0) * error
    return Estimate(
        value=kappa, low=max(-1.0, kappa - half), high=min(1.0, kappa + half), n=int(n), confidence=confidence,
        method="kappa",
    )  # fmt: skip


def kappa_bounds(
    both: int, judge_only: int, people_only: int, neither: int, alpha: float
) -> tuple[float, float] | None:
    """One-sided bounds of kappa, each wrong at most `alpha` of the time. Half a case is added to every cell (Haldane
    1956, Annals of Human Genetics 20:309-311): without it two cases that agree would have kappa 1 for sure. By
    simulation the lower bound is above a true kappa of .6 in at most 3.3 % of calibrations at a nominal 2.5 %."""
    seen = _kappa(both + 0.5, judge_only + 0.5, people_only + 0.5, neither + 0.5, 1.0 - 2.0 * alpha)
    return None if seen is None else (seen.low, seen.high)


def alpha_nominal(units: Sequence[Sequence[str]]) -> float | None:
    """Krippendorff's alpha of several labellers, nominal labels, who need not all have labelled everything.

    1 - observed/expected disagreement over pairs within a unit. Source: Krippendorff (2011), "Computing Krippendorff's
    Alpha-Reliability", section C. None: no unit has two labels, or there is only one label ever.
    """
    paired = [unit for unit in units if len(unit) > 1]
    n = sum(len(unit) for unit in paired)
    if not n:
        return None
    whole = Counter(label for unit in paired for label in unit)
    expected = n * n - sum(count * count for count in whole.values())
    observed = sum((len(unit) ** 2 - sum(c * c for c in Counter(unit).values())) / (len(unit) - 1) for unit in paired)
    return None if not expected else 1.0 - (n - 1) * observed / expected


def corrected_rate(
    k: int, n: int, sensitivity: tuple[int, int], specificity: tuple[int, int], confidence: float = CONFIDENCE
) -> Estimate | None:
    """The true rate behind k of n passes by a judge whose sensitivity and specificity were (right, of) in calibration.

    (p + q0 - 1)/(q0 + q1 - 1), Rogan and Gladen (1978), American J. of Epidemiology 107:71-76, with the interval of
    Lang and Reiczigel (2014), Preventive Veterinary Medicine 113:13-22, which carries the error of both calibrations.
    None where the judge is no better than a coin.
    """
    for right, of in ((k, n), sensitivity, specificity):
        check_counts(right, of)
    if not n or not sensitivity[1] or not specificity[1]:
        return None
    q1, q0 = sensitivity[0] / sensitivity[1], specificity[0] / specificity[1]
    z = normal_quantile(0.5 + confidence / 2.0)
    size, se_size, sp_size = n + z * z, sensitivity[1] + 2.0, specificity[1] + 2.0
    p, se, sp = (k + z * z / 2.0) / size, (sensitivity[0] + 1.0) / se_size, (specificity[0] + 1.0) / sp_size
    youden = se + sp - 1.0
    if youden <= 0.0 or q0 + q1 <= 1.0:
        return None
    rate = (p + sp - 1.0) / youden
    of_se, of_sp = se * (1.0 - se) / se_size, sp * (1.0 - sp) / sp_size
    shift = 2.0 * z * z * (rate * of_se - (1.0 - rate) * of_sp)
    error = math.sqrt(p * (1.0 - p) / size + rate * rate * of_se + (1.0 - rate) ** 2 * of_sp) / youden
    low, high = rate + shift - z * error, rate + shift + z * error
    value = (k / n + q0 - 1.0) / (q0 + q1 - 1.0)
    return Estimate(
        value=_within(value), low=_within(low), high=_within(high), n=n, confidence=confidence,
        method="Lang-Reiczigel",
    )  # fmt: skip


def _within(rate: float) -> float:
    return min(1.0, max(0.0, rate))
