"""Has a distribution moved? The population stability index, against its own null and not against a fixed 0.1."""

import math
from collections.abc import Sequence

from msgspec import Struct

from waterline.evals.distributions import chi_square_quantile
from waterline.evals.statistics.gate import CONFIDENCE


class Stability(Struct, frozen=True):
    index: float
    threshold: float  # what the index exceeds by chance alone in 1 - confidence of the comparisons
    moved: bool


def stability(expected: Sequence[int], observed: Sequence[int], confidence: float = CONFIDENCE) -> Stability | None:
    """Counts by bin, same bins. sum (q - p) ln(q/p), which under no change is about chi2_{B-1} * (1/n + 1/m).

    Source: Yurdakul and Naranjo (2020), J. of Risk Model Validation 14(4):89-100. Half a count is added to every bin,
    so that an empty one stays finite. None where either side is empty or there is one bin. Significant is not material:
    the caller also asks how large the change is.
    """
    if len(expected) != len(observed):
        raise ValueError(f"{len(expected)} bins beside {len(observed)}")
    if min((*expected, *observed), default=0) < 0:
        raise ValueError("counts cannot be negative")
    bins, n, m = len(expected), sum(expected), sum(observed)
    if bins < 2 or not n or not m:
        return None
    index = 0.0
    for before, after in zip(expected, observed, strict=True):
        p, q = (before + 0.5) / (n + bins / 2.0), (after + 0.5) / (m + bins / 2.0)
        index += (q - p) * math.log(q / p)
    threshold = chi_square_quantile(confidence, bins - 1) * (1.0 / n + 1.0 / m)
    return Stability(index, threshold, index > threshold)
