"""Rates: their intervals, and gates on them."""

import math
from collections.abc import Hashable, Sequence

from waterline.core.verdict import Estimate, Outcome
from waterline.evals.distributions import binomial_cdf, bisect, normal_quantile, poisson_cdf, student_quantile
from waterline.evals.statistics.clustered import check_lengths, clustered_se
from waterline.evals.statistics.gate import CONFIDENCE, SEARCH_LIMIT, Gate, needs, percent


def wilson(k: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Two-sided Wilson score interval of a rate: k successes of n.

    Source: Wilson (1927), JASA 22:209-212; recommended by Brown, Cai and DasGupta (2001), Statistical Science 16(2).
    With n = 0 it is [0, 1]: nothing is known.
    """
    check_counts(k, n)
    low, high = wilson_bounds(k, n, normal_quantile(0.5 + confidence / 2.0))
    return Estimate(value=k / n if n else 0.0, low=low, high=high, n=n, confidence=confidence, method="wilson")


def wilson_lower(k: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower Wilson bound: the rate is above it with this confidence. 0 when n is 0."""
    check_counts(k, n)
    return wilson_bounds(k, n, normal_quantile(confidence))[0]


def wilson_upper(k: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper Wilson bound. 1 when n is 0."""
    check_counts(k, n)
    return wilson_bounds(k, n, normal_quantile(confidence))[1]


def wilson_bounds(k: float, n: float, z: float) -> tuple[float, float]:
    if n <= 0:
        return 0.0, 1.0
    z2 = z * z
    centre = k + z2 / 2.0
    spread = z * math.sqrt(k * (n - k) / n + z2 / 4.0)
    # At the ends the formula is exactly 0 or 1; say so rather than leave a rounding error there.
    low = 0.0 if k <= 0 else (centre - spread) / (n + z2)
    high = 1.0 if k >= n else (centre + spread) / (n + z2)
    return max(0.0, low), min(1.0, high)


def clopper_pearson(k: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Exact two-sided interval of a rate (Clopper and Pearson 1934, Biometrika 26:404-413): never covers too little."""
    check_counts(k, n)
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if k == 0 or n == 0 else bisect(lambda p: 1.0 - binomial_cdf(k - 1, n, p) > tail, 0.0, 1.0)
    high = 1.0 if k == n else bisect(lambda p: binomial_cdf(k, n, p) < tail, 0.0, 1.0)
    return Estimate(value=k / n if n else 0.0, low=low, high=high, n=n, confidence=confidence, method="clopper-pearson")


def newcombe_difference(k: int, n: int, k_base: int, n_base: int, confidence: float = CONFIDENCE) -> Estimate:
    """k/n minus k_base/n_base, two independent rates, from their Wilson intervals.

    Source: Newcombe (1998), Statistics in Medicine 17:873-890, method 10 (hybrid score). An empty side knows nothing.
    """
    one, base = wilson(k, n, confidence), wilson(k_base, n_base, confidence)
    value = one.value - base.value
    return Estimate(
        value=value,
        low=value - math.hypot(one.value - one.low, base.high - base.value) if n and n_base else -1.0,
        high=value + math.hypot(one.high - one.value, base.value - base.low) if n and n_base else 1.0,
        n=min(n, n_base), confidence=confidence, method="Newcombe",
    )  # fmt: skip


def rate_upper_bound(k: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Exact one-sided upper bound of a rate after k events in n (Clopper and Pearson 1934).

    For 0 of n it is 1 - (1 - confidence)**(1/n), of which the rule of three, 3/n, is the approximation
    (Hanley and Lippman-Hand 1983, JAMA 249:1743-1745).
    """
    check_counts(k, n)
    if k == n:
        return 1.0
    if k == 0:
        return -math.expm1(math.log(1.0 - confidence) / n)
    return bisect(lambda p: binomial_cdf(k, n, p) < 1.0 - confidence, 0.0, 1.0)


def poisson_upper_bound(events: int, confidence: float = CONFIDENCE) -> float:
    """Exact one-sided upper bound of a Poisson mean after so many events (Garwood 1936, Biometrika 28:437-442).

    Divide by the exposure (hours, requests) for a rate. No event: -ln(1 - confidence), which is 2.996 at 95 %.
    """
    if events < 0:
        raise ValueError(f"events cannot be negative, got {events}")
    if events == 0:
        return -math.log(1.0 - confidence)
    top = events + 10.0 * math.sqrt(events + 1.0) + 50.0
    return bisect(lambda mean: poisson_cdf(events, mean) < 1.0 - confidence, float(events), top)


def check_counts(k: int, n: int) -> None:
    if not 0 <= k <= n:
        raise ValueError(f"a count must be between 0 and n, got {k} of {n}")


# --------------------------------------------------------------------------------------------------------- gates


def gate(k: int, n: int, threshold: float, confidence: float = CONFIDENCE) -> Gate:
    """Is the rate at least `threshold`? (Scores, availability, pass rates.)

    PASS when the one-sided lower Wilson bound is >= threshold, FAIL when the upper one is < threshold, otherwise
    INCONCLUSIVE. The interval of the estimate is made of those two one-sided bounds (so its two-sided confidence is 90
    % when each is 95 %). The Wilson bound inverts the score test, so at an observed rate p it passes from n = z^2
    t(1-t)/(p-t)^2 on (Wilson 1927); the count is then raised until whole successes do it too. A rate equal to the
    threshold never settles. With no data the count assumes that every further case passes.
    """
    check_counts(k, n)
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"a rate's threshold is between 0 and 1, got {threshold}")
    z = normal_quantile(confidence)
    low, high = wilson_bounds(k, n, z)
    two_sided = 2.0 * confidence - 1.0
    if n == 0:
        more = _first_n(1.0, 0, threshold, z, passing=True)
        return Gate(Outcome.INCONCLUSIVE, None, threshold, f"no data; {needs(more)}", more_to_pass=more)
    estimate = Estimate(value=k / n, low=low, high=high, n=n, confidence=two_sided, method="wilson")
    seen = f"{k} of {n} ({percent(k / n)})"
    if low >= threshold:
        return Gate(
            Outcome.PASS, estimate, threshold, f"{seen}: at least {percent(low)}, {percent(threshold)} required"
        )
    if high < threshold:
        return Gate(
            Outcome.FAIL, estimate, threshold, f"{seen}: at most {percent(high)}, {percent(threshold)} required"
        )
    rate = k / n
    to_pass = _first_n(rate, n, threshold, z, passing=True) if rate > threshold else None
    to_fail = _first_n(rate, n, threshold, z, passing=False) if rate < threshold else None
    between = f"{seen}: between {percent(low)} and {percent(high)}, {percent(threshold)} required"
    if to_pass is not None:
        reason = f"{between}; {to_pass} more cases at this rate would pass it"
    elif to_fail is not None:
        reason = f"{between}; {to_fail} more cases at this rate would fail it"
    else:
        reason = f"{between}; more cases at this rate would not settle it"
    return Gate(Outcome.INCONCLUSIVE, estimate, threshold, reason, more_to_pass=to_pass, more_to_fail=to_fail)


def gate_at_most(k: int, n: int, limit: float, confidence: float = CONFIDENCE) -> Gate:
    """Is the rate of k bad events in n at most `limit`? The mirror of `gate` (errors, leaks, false alarms)."""
    mirrored = gate(n - k, n, 1.0 - limit, confidence)
    if (seen := mirrored.estimate) is None:
        return Gate(Outcome.INCONCLUSIVE, None, limit, mirrored.reason, more_to_pass=mirrored.more_to_pass)
    estimate = Estimate(
        value=k / n, low=1.0 - seen.high, high=1.0 - seen.low, n=n, confidence=seen.confidence, method="wilson"
    )
    reason = (
        f"{k} of {n} ({percent(k / n)}): between {percent(estimate.low)} and {percent(estimate.high)}, "
        f"at most {percent(limit)} allowed"
    )
    if mirrored.outcome is Outcome.INCONCLUSIVE:
        verb = "pass" if mirrored.more_to_pass is not None else "fail"
        more = mirrored.more_cases
        reason += f"; {more} more cases at this rate would {verb} it" if more is not None else "; not settled by more"
    return Gate(
        mirrored.outcome,
        estimate,
        limit,
        reason,
        more_to_pass=mirrored.more_to_pass,
        more_to_fail=mirrored.more_to_fail,
    )


def gate_clustered(
    scores: Sequence[float], clusters: Sequence[Hashable], threshold: float, confidence: float = CONFIDENCE
) -> Gate:
    """`gate` for pass/fail scores that hang together (K repeats of a case, turns of a session).

    The Wilson bounds are taken at the effective sample size n* = n / deff * (z/t)^2, with deff the clustered variance
    over the binomial one and t on C-1 degrees: Korn and Graubard (1998), Survey Methodology 24:193-201, with Wilson in
    the place of Clopper-Pearson (Franco et al. 2019, J. Survey Statistics and Methodology 7:334-364). n* is never above
    n; where the scores do not vary, deff cannot be estimated and n* is the number of clusters. "More cases" means
    clusters.
    """
    check_lengths(scores, clusters)
    if any(score not in (0, 1) for score in scores):
        raise ValueError("gate_clustered takes scores of 0 and 1; use clustered_mean for others")
    n, z = len(scores), normal_quantile(confidence)
    count = len(set(clusters))
    if n == count or n == 0:
        return gate(round(sum(scores)), n, threshold, confidence)
    rate = sum(scores) / n
    error = clustered_se(scores, clusters)
    if rate in (0.0, 1.0) or error is None:
        effective = float(count)
    elif error == 0.0:
        effective = float(n)
    else:
        shrink = (z / student_quantile(confidence, count - 1)) ** 2
        effective = min(float(n), rate * (1.0 - rate) / error**2) * shrink
    low, high = wilson_bounds(rate * effective, effective, z)
    estimate = Estimate(
        value=rate, low=low, high=high, n=count, confidence=2.0 * confidence - 1.0, method="wilson, clustered"
    )
    between = (
        f"{percent(rate)} of {n} in {count} clusters: between {percent(low)} and {percent(high)}, "
        f"{percent(threshold)} required"
    )
    if low >= threshold:
        return Gate(Outcome.PASS, estimate, threshold, between)
    if high < threshold:
        return Gate(Outcome.FAIL, estimate, threshold, between)
    if rate == threshold or threshold == 1.0:
        return Gate(Outcome.INCONCLUSIVE, estimate, threshold, f"{between}; more at this rate would not settle it")
    needed = z * z * threshold * (1.0 - threshold) / (rate - threshold) ** 2
    more = max(1, math.ceil(count * needed / effective) - count)
    verb = "pass" if rate > threshold else "fail"
    return Gate(
        Outcome.INCONCLUSIVE,
        estimate,
        threshold,
        f"{between}; about {more} more clusters at this rate would {verb} it",
        more_to_pass=more if rate > threshold else None,
        more_to_fail=more if rate < threshold else None,
    )


def cases_to_pass(threshold: float, rate: float = 1.0, confidence: float = CONFIDENCE) -> int | None:
    """The smallest n whose gate passes at this observed rate: .90 needs 25, .95 needs 52, .99 needs 268 all right."""
    return _first_n(rate, 0, threshold, normal_quantile(confidence), passing=True)


def _first_n(rate: float, n: int, threshold: float, z: float, *, passing: bool) -> int | None:
    """How many more than n until the Wilson bound settles at `rate`; None when it never does."""
    distance = rate - threshold if passing else threshold - rate
    if distance <= 0.0:
        return None
    needed = z * z * threshold * (1.0 - threshold) / distance**2
    if needed > SEARCH_LIMIT:
        return None
    total = max(n + 1, math.floor(needed))
    # Whole successes, rounded to the unlucky side; every multiple of n has the exact rate, so this ends soon.
    while True:
        successes = math.floor(rate * total + 1e-9) if passing else math.ceil(rate * total - 1e-9)
        low, high = wilson_bounds(successes, total, z)
        if (low >= threshold) if passing else (high < threshold):
            return total - n
        total += 1
