"""Confidence sequences: intervals that hold at every look at once, however often a canary is looked at.

An interval for a fixed n, recomputed each hour, ends in a false alarm sooner or later; these contain the truth at all
times together with the stated confidence (Ville's inequality), so one may stop, or go on, whenever one likes.
Three, by what is measured: passes and errors (`rate_sequence`; `bounded_sequence` for shares of them), scores within
bounds (`EmpiricalBernstein`), money and milliseconds (`mean_sequence`, asymptotic). `difference_sequence` compares two
arms.
"""

import math
from collections.abc import Callable

from waterline.core.verdict import Estimate
from waterline.evals.distributions import bisect
from waterline.evals.statistics.gate import CONFIDENCE
from waterline.evals.statistics.proportions import check_counts


def rate_sequence(k: int, n: int, confidence: float = CONFIDENCE, prior: tuple[float, float] = (0.5, 0.5)) -> Estimate:
    """Anytime-valid interval of a rate after k of n, from the two counts alone.

    {p : B(a+k, b+n-k) / B(a, b) < p^k (1-p)^(n-k) / alpha}: the beta mixture of likelihood ratios is a martingale under
    p. Source: Robbins (1970), Annals of Mathematical Statistics 41:1397-1409; as a prior-posterior ratio Waudby-Smith
    and Ramdas (2020), NeurIPS 33, section 2. `prior` makes it tightest near the rates that it favours; it is valid with
    any, chosen beforehand.
    """
    check_counts(k, n)
    return bounded_sequence(float(k), n, confidence, prior)


def bounded_sequence(
    total: float, n: int, confidence: float = CONFIDENCE, prior: tuple[float, float] = (0.5, 0.5)
) -> Estimate:
    """The same interval for the mean of n values within 0..1 that add up to `total`, from these two figures alone.

    It stays valid because a likelihood ratio of Bernoulli variables is convex in the value: for x within 0..1 with mean
    p, E[(q/p)^x ((1-q)/(1-p))^(1-x)] <= 1, so the mixture stays a supermartingale (values within bounds are sub-
    Bernoulli: Howard, Ramdas, McAuliffe and Sekhon (2020), Probability Surveys 17:257-317, section 3). Values that
    are nearly all 0 or 1 lose nothing by it; for values that vary little EmpiricalBernstein is narrower.
    """
    if not 0.0 <= total <= n * (1.0 + 1e-12):
        raise ValueError(f"{n} values within 0..1 cannot add up to {total}")
    total = min(total, float(n))
    if n == 0:
        return Estimate(value=0.0, low=0.0, high=1.0, n=0, confidence=confidence, method="beta mixture")
    outside = _outside(total, n, confidence, prior)
    seen = total / n
    low = 0.0 if total == 0.0 else bisect(lambda p: not outside(p), 1e-300, min(seen, 1.0 - 1e-16))
    high = 1.0 if total == n else bisect(outside, max(seen, 1e-300), 1.0 - 1e-16)
    return Estimate(value=seen, low=low, high=high, n=n, confidence=confidence, method="beta mixture")


def surely_more(
    total: float, n: int, base_total: float, base_n: int, confidence: float = CONFIDENCE,
    prior: tuple[float, float] = (0.5, 0.5),
) -> bool:  # fmt: skip
    """Whether the first mean's bounded_sequence lies above the second's; quicker than both intervals, mostly."""
    if n == 0 or base_n == 0 or total / n <= base_total / base_n:
        return False
    mean = base_total / base_n
    if mean > 0.0 and not _outside(total, n, confidence, prior)(mean):
        return False
    low = bounded_sequence(total, n, confidence, prior).low
    return low > mean and (base_total < base_n) and _outside(base_total, base_n, confidence, prior)(low)


def _outside(total: float, n: int, confidence: float, prior: tuple[float, float]) -> Callable[[float], bool]:
    a, b = prior
    room = _log_beta(a + total, b + n - total) - _log_beta(a, b) + math.log(1.0 - confidence)

    def outside(p: float) -> bool:
        likelihood = (total * math.log(p) if total else 0.0) + ((n - total) * math.log1p(-p) if n > total else 0.0)
        return likelihood <= room

    return outside


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


class EmpiricalBernstein:
    """Anytime-valid interval of the mean of scores in `bounds`, narrow where they vary little. Add them as they come.

    Predictable plug-in empirical Bernstein: sum(l_i X_i)/sum(l_i) -+ (log(2/alpha) + sum 4 (X_i - m_{i-1})^2 psi(l_i))
    / sum(l_i) with psi(l) = (-log(1-l) - l)/4 and l_t = min(1/2, sqrt(2 log(2/alpha) / (s_{t-1} t log(1+t)))).
    Source: Waudby-Smith and Ramdas (2024), J. Royal Statistical Society B 86:1-27, theorem 2. The bounds of every look
    hold together, so the narrowest of each side so far is kept. It costs constant memory.
    """

    def __init__(self, confidence: float = CONFIDENCE, bounds: tuple[float, float] = (0.0, 1.0)) -> None:
        if not bounds[0] < bounds[1]:
            raise ValueError(f"bounds need a width, got {bounds}")
        self._confidence, self._bounds = confidence, bounds
        self._n = 0
        self._sum = self._squares = 0.0  # of the scores put into 0..1, and of their distances from the mean so far
        self._weights = self._weighted = self._variance = 0.0
        self._low, self._high = 0.0, 1.0

    def add(self, score: float) -> None:
        bottom, top = self._bounds
        if not bottom <= score <= top:
            raise ValueError(f"a score lies outside of the declared bounds {self._bounds}")
        x = (score - bottom) / (top - bottom)
        t, budget = self._n + 1, math.log(2.0 / (1.0 - self._confidence))
        before = (0.5 + self._sum) / t
        spread = (0.25 + self._squares) / t
        weight = min(0.5, math.sqrt(2.0 * budget / (spread * t * math.log1p(t))))
        self._n, self._sum = t, self._sum + x
        self._squares += (x - (0.5 + self._sum) / (t + 1)) ** 2
        self._weights += weight
        self._weighted += weight * x
        self._variance += (x - before) ** 2 * (-math.log1p(-weight) - weight)
        half = (budget + self._variance) / self._weights
        self._low = max(self._low, self._weighted / self._weights - half)
        self._high = min(self._high, self._weighted / self._weights + half)

    @property
    def estimate(self) -> Estimate:
        bottom, top = self._bounds
        width = top - bottom
        value = bottom + width * (self._sum / self._n if self._n else 0.5)
        return Estimate(
            value=value, low=bottom + width * self._low, high=bottom + width * self._high, n=self._n,
            confidence=self._confidence, method="empirical Bernstein sequence",
        )  # fmt: skip


def mean_sequence(
    n: int, mean: float, variance: float, confidence: float = CONFIDENCE, tightest_at: int = 500
) -> Estimate | None:
    """Asymptotic confidence sequence of a mean without known limits (money, milliseconds), from n, mean and variance.

    mean -+ sd * sqrt(2 (n r^2 + 1) / (n^2 r^2) * log(sqrt(n r^2 + 1) / alpha)), the normal mixture, with
    r^2 = (-2 log alpha + log(-2 log alpha + 1)) / tightest_at. Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas
    (2024), Annals of Statistics 52:2613-2640, theorem 2.2 and section B.2. Asymptotic means: begin to look after some
    tens of observations (the simulation in the tests begins at 50). None with fewer than two.
    """
    if n < 2:
        return None
    alpha = 1.0 - confidence
    wanted = -2.0 * math.log(alpha)
    r2 = (wanted + math.log(wanted + 1.0)) / tightest_at
    half = math.sqrt(variance * 2.0 * (n * r2 + 1.0) / (n * n * r2) * math.log(math.sqrt(n * r2 + 1.0) / alpha))
    return Estimate(
        value=mean, low=mean - half, high=mean + half, n=n, confidence=confidence, method="asymptotic sequence"
    )


def difference_sequence(first: Estimate | None, second: Estimate | None) -> Estimate | None:
    """second - first, of two sequences. By the union bound the confidence is what both together leave: give each
    1 - alpha/2 (0.975) for 95 %. The arms may have any sizes and depend on each other. None if one is None."""
    if first is None or second is None:
        return None
    return Estimate(
        value=second.value - first.value, low=second.low - first.high, high=second.high - first.low,
        n=min(first.n, second.n), confidence=first.confidence + second.confidence - 1.0,
        method=f"difference of two: {second.method}",
    )  # fmt: skip
