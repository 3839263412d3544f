"""Latencies: quantiles with intervals free of any distribution, and gates on them."""

import math
from collections.abc import Callable, Sequence

from waterline.core.verdict import Estimate, Outcome
from waterline.evals.distributions import binomial_cdf
from waterline.evals.statistics.gate import CONFIDENCE, SEARCH_LIMIT, Gate, needs


def quantile(samples: Sequence[float], q: float) -> float | None:
    """The nearest-rank quantile, an observed value: the ceil(q*n)-th smallest. None without samples.

    Source: Hyndman and Fan (1996), The American Statistician 50:361-365, definition 1.
    """
    _check_q(q)
    if not samples:
        return None
    return sorted(samples)[max(0, math.ceil(q * len(samples) - 1e-9) - 1)]


def quantile_interval(samples: Sequence[float], q: float, confidence: float = CONFIDENCE) -> Estimate | None:
    """A quantile with a distribution-free interval made of two order statistics.

    The number of samples below the true quantile is Binomial(n, q), so x_(l) and x_(r) bound it with the binomial's
    tails; the coverage is at least `confidence` whatever the distribution. Source: Hahn and Meeker (1991), Statistical
    Intervals, section 5.2; David and Nagaraja (2003), Order Statistics, section 7.1. None when n is too small to bound
    both sides: at 95 % p50 needs 6 samples, p95 needs 72, p99 needs 368.
    """
    _check_q(q)
    n, tail = len(samples), (1.0 - confidence) / 2.0
    lower, upper = _lower_rank(n, q, tail), _upper_rank(n, q, tail)
    value = quantile(samples, q)
    if lower is None or upper is None or value is None:
        return None
    ordered = sorted(samples)
    return Estimate(
        value=value,
        low=ordered[lower - 1],
        high=ordered[upper - 1],
        n=n,
        confidence=confidence,
        method="order statistics",
    )


def _plain(x: float) -> str:
    """Four digits, for people: never 1.193e+04."""
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.4g}"


def gate_quantile(samples: Sequence[float], q: float, limit: float, confidence: float = CONFIDENCE) -> Gate:
    """Is the q-quantile at most `limit`? (`ttft_ms_p95` and its like.) Count a lost request as math.inf.

    PASS when the one-sided upper order-statistic bound is <= limit, FAIL when the lower one is > limit (sources as in
    `quantile_interval`). p95 needs 59 samples all within the limit, p99 needs 299 (0.95**59 < 0.05).
    """
    _check_q(q)
    n, tail, name = len(samples), 1.0 - confidence, f"p{100 * q:g}"
    within = sum(1 for sample in samples if sample <= limit)
    value = quantile(samples, q)
    if value is None:
        more = _quantile_needs(1.0, 0, q, tail, passing=True)
        return Gate(Outcome.INCONCLUSIVE, None, limit, f"no data; {needs(more)}", more_to_pass=more)
    lower, upper = _lower_rank(n, q, tail), _upper_rank(n, q, tail)
    ordered = sorted(samples)
    estimate = Estimate(
        value=value,
        low=ordered[lower - 1] if lower is not None else -math.inf,
        high=ordered[upper - 1] if upper is not None else math.inf,
        n=n,
        confidence=2.0 * confidence - 1.0,
        method="order statistics",
    )
    seen = f"{name} {_plain(value)} of {n}, limit {_plain(limit)}"
    if upper is not None and ordered[upper - 1] <= limit:
        return Gate(Outcome.PASS, estimate, limit, f"{seen}: at most {_plain(estimate.high)}")
    if lower is not None and ordered[lower - 1] > limit:
        return Gate(Outcome.FAIL, estimate, limit, f"{seen}: at least {_plain(estimate.low)}")
    share = within / n
    to_pass = _quantile_needs(share, n, q, tail, passing=True) if share > q else None
    to_fail = _quantile_needs(share, n, q, tail, passing=False) if share < q else None
    more = to_pass if to_pass is not None else to_fail
    settled = (
        f"about {more} more samples would settle it" if more is not None else "more of the same would not settle it"
    )
    return Gate(Outcome.INCONCLUSIVE, estimate, limit, f"{seen}: {settled}", more_to_pass=to_pass, more_to_fail=to_fail)


def _lower_rank(n: int, q: float, tail: float) -> int | None:
    """The largest l with P(X_(l) > quantile) = P(Binomial(n, q) <= l - 1) <= tail."""
    return _last(n, lambda rank: binomial_cdf(rank - 1, n, q) <= tail)


def _upper_rank(n: int, q: float, tail: float) -> int | None:
    """The smallest r with P(X_(r) < quantile) = 1 - P(Binomial(n, q) <= r - 1) <= tail."""
    below = _last(n, lambda rank: 1.0 - binomial_cdf(rank - 1, n, q) > tail)
    rank = 1 if below is None else below + 1
    return rank if rank <= n else None


def _last(n: int, holds: Callable[[int], bool]) -> int | None:
    """The last rank of 1..n for which a property holds that holds first and then no more; None if it never does."""
    low, high = 0, n + 1
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low or None


def _quantile_needs(share: float, n: int, q: float, tail: float, *, passing: bool) -> int | None:
    def settled(total: int) -> bool:
        if passing:
            rank = _upper_rank(total, q, tail)
            return rank is not None and math.floor(share * total + 1e-9) >= rank
        rank = _lower_rank(total, q, tail)
        return rank is not None and math.ceil(share * total - 1e-9) < rank

    high = max(1, n)
    while not settled(high):
        high *= 2
        if high > SEARCH_LIMIT:
            return None
    low = max(n, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        if settled(middle):
            high = middle
        else:
            low = middle
    return max(1, high - n)


def _check_q(q: float) -> None:
    if not 0.0 < q < 1.0:
        raise ValueError(f"a quantile is asked for between 0 and 1, got {q}")
