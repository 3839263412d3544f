"""The statistics behind a verdict: intervals, paired differences, gates. Pure Python; no data is never green.

Who calls these counts a missing, timed-out or unparsable item as a failure (score 0) and never drops it.
Two-sided intervals are 95 % unless told otherwise; gates look at one-sided 95 % bounds.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from random import Random

from msgspec import Struct

from waterline.core.verdict import Estimate, Outcome
from waterline.evals.distributions import binomial_cdf, bisect, normal_cdf, normal_quantile, poisson_cdf
from waterline.evals.distributions import student_quantile as student_quantile

CONFIDENCE = 0.95
_SEARCH_LIMIT = 10_000_000  # no answer to "how many more" is looked for beyond this


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


# ---------------------------------------------------------------------------------------------------------- rates


def wilson(k: int, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """Two-sided Wilson score interval of a rate: k successes of n.

    Source: Wilson (1927), JASA 22:209-212; recommended by Brown, Cai and DasGupta (2001), Statistical Science 16(2).
    With n = 0 it is [0, 1]: nothing is known.
    """
    _check_counts(k, n)
    low, high = _wilson_bounds(k, n, normal_quantile(0.5 + confidence / 2.0))
    return Estimate(value=k / n if n else 0.0, low=low, high=high, n=n, confidence=confidence, method="wilson")


def wilson_lower(k: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower Wilson bound: the rate is above it with this confidence. 0 when n is 0."""
    _check_counts(k, n)
    return _wilson_bounds(k, n, normal_quantile(confidence))[0]


def wilson_upper(k: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper Wilson bound. 1 when n is 0."""
    _check_counts(k, n)
    return _wilson_bounds(k, n, normal_quantile(confidence))[1]


def _wilson_bounds(k: float, n: float, z: float) -> tuple[float, float]:
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
    _check_counts(k, n)
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if k == 0 or n == 0 else bisect(lambda p: 1.0 - binomial_cdf(k - 1, n, p) > tail, 0.0, 1.0)
    high = 1.0 if k == n else bisect(lambda p: binomial_cdf(k, n, p) < tail, 0.0, 1.0)
    return Estimate(value=k / n if n else 0.0, low=low, high=high, n=n, confidence=confidence, method="clopper-pearson")


def rate_upper_bound(k: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Exact one-sided upper bound of a rate after k events in n (Clopper and Pearson 1934).

    For 0 of n it is 1 - (1 - confidence)**(1/n), of which the rule of three, 3/n, is the approximation
    (Hanley and Lippman-Hand 1983, JAMA 249:1743-1745).
    """
    _check_counts(k, n)
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


def _check_counts(k: int, n: int) -> None:
    if not 0 <= k <= n:
        raise ValueError(f"a count must be between 0 and n, got {k} of {n}")


# ---------------------------------------------------------------------------------------------------------- gates


def gate(k: int, n: int, threshold: float, confidence: float = CONFIDENCE) -> Gate:
    """Is the rate at least `threshold`? (Scores, availability, pass rates.)

    PASS when the one-sided lower Wilson bound is >= threshold, FAIL when the upper one is < threshold, otherwise
    INCONCLUSIVE. The interval of the estimate is made of those two one-sided bounds (so its two-sided confidence is 90
    % when each is 95 %). The Wilson bound inverts the score test, so at an observed rate p it passes from n = z^2
    t(1-t)/(p-t)^2 on (Wilson 1927); the count is then raised until whole successes do it too. A rate equal to the
    threshold never settles. With no data the count assumes that every further case passes.
    """
    _check_counts(k, n)
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"a rate's threshold is between 0 and 1, got {threshold}")
    z = normal_quantile(confidence)
    low, high = _wilson_bounds(k, n, z)
    two_sided = 2.0 * confidence - 1.0
    if n == 0:
        more = _first_n(1.0, 0, threshold, z, passing=True)
        return Gate(Outcome.INCONCLUSIVE, None, threshold, f"no data; {_needs(more)}", more_to_pass=more)
    estimate = Estimate(value=k / n, low=low, high=high, n=n, confidence=two_sided, method="wilson")
    seen = f"{k} of {n} ({_percent(k / n)})"
    if low >= threshold:
        return Gate(
            Outcome.PASS, estimate, threshold, f"{seen}: at least {_percent(low)}, {_percent(threshold)} required"
        )
    if high < threshold:
        return Gate(
            Outcome.FAIL, estimate, threshold, f"{seen}: at most {_percent(high)}, {_percent(threshold)} required"
        )
    rate = k / n
    to_pass = _first_n(rate, n, threshold, z, passing=True) if rate > threshold else None
    to_fail = _first_n(rate, n, threshold, z, passing=False) if rate < threshold else None
    between = f"{seen}: between {_percent(low)} and {_percent(high)}, {_percent(threshold)} required"
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
        f"{k} of {n} ({_percent(k / n)}): between {_percent(estimate.low)} and {_percent(estimate.high)}, "
        f"at most {_percent(limit)} allowed"
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
    _check_lengths(scores, clusters)
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
    low, high = _wilson_bounds(rate * effective, effective, z)
    estimate = Estimate(
        value=rate, low=low, high=high, n=count, confidence=2.0 * confidence - 1.0, method="wilson, clustered"
    )
    between = (
        f"{_percent(rate)} of {n} in {count} clusters: between {_percent(low)} and {_percent(high)}, "
        f"{_percent(threshold)} required"
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
    if needed > _SEARCH_LIMIT:
        return None
    total = max(n + 1, math.floor(needed))
    # Whole successes, rounded to the unlucky side; every multiple of n has the exact rate, so this ends soon.
    while True:
        successes = math.floor(rate * total + 1e-9) if passing else math.ceil(rate * total - 1e-9)
        low, high = _wilson_bounds(successes, total, z)
        if (low >= threshold) if passing else (high < threshold):
            return total - n
        total += 1


def _percent(rate: float) -> str:
    return f"{100.0 * rate:.2f} %"


def _needs(more: int | None) -> str:
    return f"needs {more} cases, all passing" if more is not None else "cannot be shown by any number of cases"


# ---------------------------------------------------------------------------------------------------------- means


def clustered_se(scores: Sequence[float], clusters: Sequence[Hashable]) -> float | None:
    """Standard error of the mean, clustered: sqrt(C/(C-1) * sum_c (sum_i (s_ic - mean))^2) / n.

    Source: Miller (2024), "Adding Error Bars to Evals", arXiv 2411.00640, with the usual C/(C-1)
    correction for few clusters (Cameron and Miller 2015, J. Human Resources 50:317-372). None with fewer than two
    clusters. With K repeats of every case and clusters = case ids it estimates (Var(x) + E[sigma^2]/K) / n, the
    variance of repeats.
    """
    _check_lengths(scores, clusters)
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
            unseen = _unseen(count, confidence)
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


def _check_lengths(scores: Sequence[float], clusters: Sequence[Hashable]) -> None:
    if len(scores) != len(clusters):
        raise ValueError(f"{len(scores)} scores with {len(clusters)} cluster names")


def _unseen(count: int, confidence: float) -> float:
    """The share that can hide from `count` independent looks: the exact rule of three, one tail of the confidence."""
    return float(1.0 - ((1.0 - confidence) / 2.0) ** (1.0 / count))


# ---------------------------------------------------------------------------------------------- paired comparison


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
    _check_lengths(differences, groups)
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
        unseen = _unseen(count, confidence)
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
        total = math.ceil(difference.n * factor) if factor * difference.n < _SEARCH_LIMIT else None
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


def mde_paired(n: int, sd_difference: float, power: float = 0.8, confidence: float = CONFIDENCE) -> float | None:
    """The smallest true mean difference that n pairs find with this power: (z_{1-a/2} + z_power) * sd / sqrt(n).

    Source: Miller (2024), arXiv 2411.00640, on power. For pass/fail scores sd_difference is at most the square root of
    the share of discordant pairs (Connor 1987, Biometrics 43:207-211). None when n is 0.
    """
    return _mde(sd_difference**2 / n, power, confidence) if n else None


def mde_unpaired(
    n_first: int, n_second: int, sd_first: float, sd_second: float, power: float = 0.8, confidence: float = CONFIDENCE
) -> float | None:
    """As `mde_paired`, for two independent samples: the variances of both means add up. sd of a rate: sqrt(p(1-p))."""
    if not n_first or not n_second:
        return None
    return _mde(sd_first**2 / n_first + sd_second**2 / n_second, power, confidence)


def _mde(variance: float, power: float, confidence: float) -> float:
    return (normal_quantile(0.5 + confidence / 2.0) + normal_quantile(power)) * math.sqrt(variance)


# ------------------------------------------------------------------------------------------------------ latencies


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
        return Gate(Outcome.INCONCLUSIVE, None, limit, f"no data; {_needs(more)}", more_to_pass=more)
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
        if high > _SEARCH_LIMIT:
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
