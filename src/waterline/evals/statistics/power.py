"""Before a run: what it would find, and how many cases it takes."""

import math

from waterline.evals.distributions import binomial_cdf, normal_cdf, normal_quantile
from waterline.evals.statistics.gate import CONFIDENCE, SEARCH_LIMIT
from waterline.evals.statistics.proportions import wilson_bounds


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


def power_paired(n: int, sd_difference: float, effect: float, confidence: float = CONFIDENCE) -> float:
    """The chance that n pairs show a true mean difference of `effect`: the two-sided z test's power.

    Phi(|e| sqrt(n)/sd - z) + Phi(-|e| sqrt(n)/sd - z). Source: Cohen (1988), Statistical Power Analysis, chapter 2.
    """
    if n <= 0:
        return 0.0
    z = normal_quantile(0.5 + confidence / 2.0)
    if sd_difference <= 0.0:
        return 1.0 if effect else 1.0 - confidence
    distance = abs(effect) * math.sqrt(n) / sd_difference
    return normal_cdf(distance - z) + normal_cdf(-distance - z)


def cases_for_effect(
    effect: float, sd_difference: float, power: float = 0.8, confidence: float = CONFIDENCE
) -> int | None:
    """How many pairs find a true mean difference of this size: the inverse of `mde_paired`. None: more than is sane."""
    return _cases(abs(effect), sd_difference, power, confidence)


def cases_for_non_inferiority(
    margin: float, sd_difference: float, difference: float = 0.0, power: float = 0.8, confidence: float = CONFIDENCE
) -> int | None:
    """How many pairs show "at most `margin` worse" when the true difference (new minus old) is `difference`.

    ((z_{1-a/2} + z_power) sd / (margin + difference))^2. Source: Julious (2004), Statistics in Medicine 23:1921-1986,
    section 5. None where the truth is at the margin or beyond it, or the count is more than is sane.
    """
    return _cases(margin + difference, sd_difference, power, confidence)


def _cases(distance: float, sd: float, power: float, confidence: float) -> int | None:
    if distance <= 0.0:
        return None
    needed = ((normal_quantile(0.5 + confidence / 2.0) + normal_quantile(power)) * sd / distance) ** 2
    return max(2, math.ceil(needed - 1e-9)) if needed < SEARCH_LIMIT else None


def power_gate(n: int, rate: float, threshold: float, confidence: float = CONFIDENCE) -> float:
    """The chance that `gate` passes a release whose true rate is `rate`, with n cases: exact, a binomial tail."""
    z = normal_quantile(confidence)
    low, high = 0, n + 1  # the fewest successes that pass; n + 1: not even n
    while low < high:
        middle = (low + high) // 2
        if wilson_bounds(middle, n, z)[0] >= threshold:
            high = middle
        else:
            low = middle + 1
    return 1.0 - binomial_cdf(low - 1, n, rate) if low <= n else 0.0


def cases_for_gate(rate: float, threshold: float, power: float = 0.8, confidence: float = CONFIDENCE) -> int | None:
    """About how many cases pass `gate` with this power at a true rate. The exact power saws up and down with n; this is
    found by doubling and bisection, an n whose power is enough and whose predecessor's is not. None: never."""
    if rate <= threshold:
        return None
    high = 8
    while power_gate(high, rate, threshold, confidence) < power:
        high *= 2
        if high > SEARCH_LIMIT:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if power_gate(middle, rate, threshold, confidence) >= power:
            high = middle
        else:
            low = middle
    return high
