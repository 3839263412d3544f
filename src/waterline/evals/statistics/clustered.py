"""Means of scores that hang together: repeats of a case, turns of a session."""

import math
from collections.abc import Hashable, Sequence

from waterline.core.verdict import Estimate
from waterline.evals.distributions import student_quantile
from waterline.evals.statistics.gate import CONFIDENCE


def clustered_se(scores: Sequence[float], clusters: Sequence[Hashable]) -> float | None:
    """Standard error of the mean, clustered: sqrt(C/(C-1) * sum_c (sum_i (s_ic - mean))^2) / n.

    Source: Miller (2024), "Adding Error Bars to Evals", arXiv 2411.00640, with the usual C/(C-1)
    correction for few clusters (Cameron and Miller 2015, J. Human Resources 50:317-372). None with fewer than two
    clusters. With K repeats of every case and clusters = case ids it estimates (Var(x) + E[sigma^2]/K) / n, the
    variance of repeats.
    """
    check_lengths(scores, clusters)
    n = len(scores)
    if n == 0:
        return None
    mean = math.fsum(scores) / n
    sums: dict[Hashable, list[float]] = {}
    for score, cluster in zip(scores, clusters, strict=True):
        sums.setdefault(cluster, []).append(score - mean)
    count = len(sums)
    if count < 2:
        return None
    squares = math.fsum(math.fsum(part) ** 2 for part in sums.values())
    return math.sqrt(count / (count - 1) * squares) / n


def clustered_mean(
    scores: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> Estimate | None:
    """Mean with a t interval on C-1 degrees from `clustered_se`. `clusters` None: every score is its own.

    None with fewer than two clusters. Where the scores do not vary, a width of 0 would claim too much: with `bounds`
    the interval then allows for the share of clusters that may have gone unseen, 1 - ((1-confidence)/2)**(1/C), at
    either bound. `bounds` None: the values have no natural limits (money, time); no variation is then a width of 0.
    """
    groups = clusters if clusters is not None else range(len(scores))
    error = clustered_se(scores, groups)
    if error is None:
        return None
    mean, count = math.fsum(scores) / len(scores), len(set(groups))
    half = student_quantile(0.5 + confidence / 2.0, count - 1) * error
    low, high = mean - half, mean + half
    if bounds is not None:
        if min(scores) < bounds[0] or max(scores) > bounds[1]:
            raise ValueError(f"a score lies outside of the declared bounds {bounds}")
        if min(scores) == max(scores):
            unseen = unseen_share(count, confidence)
            low, high = mean - unseen * (mean - bounds[0]), mean + unseen * (bounds[1] - mean)
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Estimate(value=mean, low=low, high=high, n=count, confidence=confidence, method="clustered")


def pass_hat_k(tasks: Sequence[tuple[int, int]], k: int) -> float | None:
    """pass^k: the mean over tasks of C(c, k)/C(n, k), for a task passed c times in n trials. None without tasks.

    Unbiased for the chance that k trials of one task all pass; p^k is not. Source: tau-bench, arXiv 2406.12045.
    """
    if k < 1 or any(not 0 <= c <= n or n < k for c, n in tasks):
        raise ValueError(f"pass^{k} needs k >= 1 and at least k trials of every task")
    if not tasks:
        return None
    return math.fsum(math.comb(c, k) / math.comb(n, k) for c, n in tasks) / len(tasks)


def pass_hat_k_mean(tasks: Sequence[tuple[int, int]], k: int, confidence: float = CONFIDENCE) -> Estimate | None:
    """`pass_hat_k` with a t interval over tasks, each of which is one observation. None with fewer than two tasks."""
    pass_hat_k(tasks, k)  # refuses what cannot be told
    return clustered_mean([math.comb(c, k) / math.comb(n, k) for c, n in tasks], confidence=confidence)


def repeated_se(scores: Sequence[Sequence[float]]) -> float | None:
    """Standard error of the mean over cases, each asked K times: sqrt((Var(x) + E[sigma^2]/K) / n).

    Var(x) is the variance of the cases' true means, estimated by the variance of their observed means less the part
    that repeats leave in it, so the sum is the observed variance over n. Source: Miller (2024), arXiv 2411.00640,
    section 3.1. None with fewer than two cases, or with no repeats of one.
    """
    if len(scores) < 2 or any(not row for row in scores):
        return None
    means = [math.fsum(row) / len(row) for row in scores]
    centre = math.fsum(means) / len(means)
    return math.sqrt(math.fsum((mean - centre) ** 2 for mean in means) / (len(means) - 1) / len(means))


def check_lengths(scores: Sequence[float], clusters: Sequence[Hashable]) -> None:
    if len(scores) != len(clusters):
        raise ValueError(f"{len(scores)} scores with {len(clusters)} cluster names")


def unseen_share(count: int, confidence: float) -> float:
    """The share that can hide from `count` independent looks: the exact rule of three, one tail of the confidence."""
    return float(1.0 - ((1.0 - confidence) / 2.0) ** (1.0 / count))
