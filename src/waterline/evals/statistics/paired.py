"""Two releases on the same cases: tests, the size of the difference, non-inferiority."""

import math
from collections.abc import Hashable, Sequence
from random import Random

from waterline.core.verdict import Estimate, Outcome
from waterline.evals.distributions import binomial_cdf, normal_cdf, student_quantile
from waterline.evals.statistics.clustered import check_lengths, unseen_share
from waterline.evals.statistics.gate import CONFIDENCE, SEARCH_LIMIT, Gate


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p value that the two discordant counts (first right and second wrong, and the reverse) are equal.

    2 * P(Binomial(b + c, 1/2) <= min(b, c)), at most 1. Source: McNemar (1947), Psychometrika 12:153-157, in its exact
    form (Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91). No discordant pair: 1.
    """
    if min(only_first, only_second) < 0:
        raise ValueError("discordant counts cannot be negative")
    total = only_first + only_second
    if total == 0:
        return 1.0
    return min(1.0, 2.0 * binomial_cdf(min(only_first, only_second), total, 0.5))


def sign_test(differences: Sequence[float]) -> float:
    """Exact two-sided p value that cases get better and worse equally often; ties say nothing. With one repeat of
    pass/fail it is `mcnemar`. Source: Conover (1999), Practical Nonparametric Statistics, section 3.4."""
    return mcnemar(sum(d < 0.0 for d in differences), sum(d > 0.0 for d in differences))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p values adjusted for several slices, same order (Holm 1979, Scandinavian J. of Statistics 6:65-70)."""
    adjusted, running, count = [0.0] * len(p_values), 0.0, len(p_values)
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = running
    return tuple(adjusted)


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 1,
    resamples: int = 2000,
    confidence: float = CONFIDENCE,
    bound: float | None = 1.0,
) -> Estimate | None:
    """mean(second - first) over pairs in the same order, with a seeded clustered bootstrap interval.

    Whole clusters are drawn (Cameron and Miller 2015); percentiles are widened for few clusters as Hesterberg (2014),
    arXiv 1411.5279 ("expanded percentile"): tail = Phi(-sqrt(C/(C-1)) * t_{C-1}). A resample cannot hold
    what was never seen, so where no cluster got worse (or none better) the interval also allows, on that side, for the
    share of clusters that may have hidden, 1 - ((1-confidence)/2)**(1/C), at a difference of `bound`. `bound` is the
    largest possible |difference| (1 for scores in 0..1); None: unlimited, and no such allowance. None with under two
    clusters.
    """
    if len(first) != len(second):
        raise ValueError(f"pairs needed, got {len(first)} and {len(second)} scores")
    differences = [b - a for a, b in zip(first, second, strict=True)]
    groups = clusters if clusters is not None else range(len(differences))
    check_lengths(differences, groups)
    if bound is not None and any(abs(d) > bound + 1e-12 for d in differences):
        raise ValueError(f"a difference is larger than the declared bound {bound}")
    parts: dict[Hashable, list[float]] = {}
    for difference, group in zip(differences, groups, strict=True):
        parts.setdefault(group, []).append(difference)
    sums = [(math.fsum(part), len(part)) for part in parts.values()]
    count = len(sums)
    if count < 2:
        return None
    mean = math.fsum(differences) / len(differences)
    low, high = _bootstrap(sums, seed, resamples, confidence)
    if bound is not None:
        unseen = unseen_share(count, confidence)
        constant = max(differences) == min(differences)
        if constant or min(total for total, _ in sums) >= 0.0:
            low = min(low, (1.0 - unseen) * mean - unseen * bound)
        if constant or max(total for total, _ in sums) <= 0.0:
            high = max(high, (1.0 - unseen) * mean + unseen * bound)
    return Estimate(value=mean, low=low, high=high, n=count, confidence=confidence, method="clustered bootstrap")


def _bootstrap(sums: list[tuple[float, int]], seed: int, resamples: int, confidence: float) -> tuple[float, float]:
    count = len(sums)
    t = student_quantile(0.5 + confidence / 2.0, count - 1)
    tail = normal_cdf(-math.sqrt(count / (count - 1)) * t)
    draw = Random(f"paired:{seed}").random
    means: list[float] = []
    if all(size == sums[0][1] for _, size in sums):
        values, weight = [total for total, _ in sums], count * sums[0][1]
        for _ in range(resamples):
            means.append(sum([values[int(draw() * count)] for _ in range(count)]) / weight)
    else:
        for _ in range(resamples):
            picked = [sums[int(draw() * count)] for _ in range(count)]
            means.append(sum([total for total, _ in picked]) / sum([size for _, size in picked]))
    means.sort()
    last = resamples - 1
    # The outer order statistics: rounding must never make the interval narrower.
    return means[max(0, math.floor(tail * resamples) - 1)], means[min(last, math.ceil((1.0 - tail) * resamples))]


def non_inferiority(difference: Estimate | None, margin: float) -> Gate:
    """Is the new one at most `margin` worse? `difference` is new minus old, higher is better.

    PASS when its lower bound is above -margin, FAIL when its upper bound is below -margin, otherwise INCONCLUSIVE, with
    the clusters that would settle it if the difference holds and the width shrinks as 1/sqrt(n).
    Source: CONSORT extension for non-inferiority trials, Piaggio et al. (2012), JAMA 308:2594-2604.
    """
    if margin < 0.0:
        raise ValueError(f"a margin is not negative, got {margin}")
    if difference is None:
        return Gate(Outcome.INCONCLUSIVE, None, -margin, "too few pairs to estimate a difference")
    value, low, high = difference.value, difference.low, difference.high
    seen = f"difference {value:+.3f} [{low:+.3f}, {high:+.3f}] over {difference.n}, margin {margin:.3f}"
    if low > -margin:
        return Gate(Outcome.PASS, difference, -margin, f"not worse: {seen}")
    if high < -margin:
        return Gate(Outcome.FAIL, difference, -margin, f"worse: {seen}")
    distance = value + margin
    half = value - low if distance > 0.0 else high - value
    more = None
    if distance != 0.0:
        factor = (half / distance) ** 2
        total = math.ceil(difference.n * factor) if factor * difference.n < SEARCH_LIMIT else None
        more = max(1, total - difference.n) if total is not None else None
    settled = f"about {more} more pairs would settle it" if more is not None else "more of the same would not settle it"
    return Gate(
        Outcome.INCONCLUSIVE,
        difference,
        -margin,
        f"unknown: {seen}; {settled}",
        more_to_pass=more if distance > 0.0 else None,
        more_to_fail=more if distance < 0.0 else None,
    )
