"""The distributions behind the intervals: normal, Student, binomial, Poisson, chi-square. Pure Python.

Accuracy is held against scipy in the tests: quantiles to 1e-9, probabilities to 1e-9 relative.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

_STANDARD = NormalDist()
_TINY = 1e-300


def normal_quantile(p: float) -> float:
    """x with P(Z <= x) = p. The standard library's Wichura (1988), algorithm AS 241, good to about 1e-16."""
    return _STANDARD.inv_cdf(p)


def normal_cdf(x: float) -> float:
    """P(Z <= x), through erfc so that both tails keep their digits."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def beta_inc(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b).

    Continued fraction NIST DLMF 8.17.22, evaluated with the modified Lentz method (Thompson and Barnett 1986),
    on the side of (a + 1)/(a + b + 2) where it converges fast.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_inc(b, a, 1.0 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) * _beta_fraction(a, b, x) / a


def _beta_fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    value = d
    # It converges in O(sqrt(max(a, b))) steps; the bound is a belt for the braces.
    for m in range(1, 200 + int(20 * math.sqrt(max(a, b)))):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 + numerator * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + numerator / c
            c = c if abs(c) > _TINY else _TINY
            step = c * d
            value *= step
        if abs(step - 1.0) < 1e-16:
            break
    return value


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(X <= k) for X ~ Binomial(n, p) = I_{1-p}(n - k, k + 1) (NIST DLMF 8.17.5)."""
    if k < 0:
        return 0.0
    if k >= n:
        return 1.0
    return beta_inc(n - k, k + 1.0, 1.0 - p)


def poisson_cdf(k: int, mean: float) -> float:
    """P(X <= k) for X ~ Poisson(mean), summed term by term from the largest."""
    if k < 0:
        return 0.0
    if mean <= 0.0:
        return 1.0
    log_mean = math.log(mean)
    return min(1.0, math.fsum(math.exp(i * log_mean - mean - math.lgamma(i + 1.0)) for i in range(k + 1)))


def chi_square_cdf(x: float, df: float) -> float:
    """P(X <= x) = P(df/2, x/2), the regularised lower incomplete gamma function by its series (NIST DLMF 8.11.4)."""
    if x <= 0.0:
        return 0.0
    a, y = df / 2.0, x / 2.0
    term = total = 1.0 / a
    k = a
    while term > total * 1e-17:
        k += 1.0
        term *= y / k
        total += term
    return min(1.0, math.exp(a * math.log(y) - y - math.lgamma(a)) * total)


def chi_square_quantile(p: float, df: float) -> float:
    """x with P(X <= x) = p, by bisection."""
    if not 0.0 < p < 1.0 or df <= 0.0:
        raise ValueError(f"chi_square_quantile needs 0 < p < 1 and df > 0, got p={p}, df={df}")
    high = df + 10.0
    while chi_square_cdf(high, df) < p:
        high *= 2.0
    return bisect(lambda x: chi_square_cdf(x, df) >= p, 0.0, high)


def student_upper_tail(t: float, df: float) -> float:
    """P(T > t) for t >= 0: half of I_{df/(df+t^2)}(df/2, 1/2) (NIST DLMF 8.17 with Abramowitz and Stegun 26.7.1)."""
    return 0.5 * beta_inc(df / 2.0, 0.5, df / (df + t * t))


@lru_cache(maxsize=1024)
def student_quantile(p: float, df: float) -> float:
    """x with P(T <= x) = p for Student's t with df > 0 degrees of freedom (it need not be whole).

    Up to 1000 degrees: the tail above, inverted by bisection. Beyond: the Cornish-Fisher expansion of Abramowitz and
    Stegun 26.7.5, whose error there is below 1e-12, where the difference of log-gammas loses digits.
    """
    if not 0.0 < p < 1.0 or df <= 0.0:
        raise ValueError(f"student_quantile needs 0 < p < 1 and df > 0, got p={p}, df={df}")
    if p < 0.5:
        return -student_quantile(1.0 - p, df) if p > 1e-8 else -_student_upper(p, df)
    if p == 0.5:
        return 0.0
    return _student_upper(1.0 - p, df)


def _student_upper(tail: float, df: float) -> float:
    if df > 1000.0:
        return _cornish_fisher(-normal_quantile(tail), df)
    high = 1.0
    while student_upper_tail(high, df) > tail:
        high *= 2.0
    return bisect(lambda t: student_upper_tail(t, df) <= tail, 0.0 if high == 1.0 else high / 2.0, high)


def _cornish_fisher(z: float, df: float) -> float:
    z3, z5, z7, z9 = z**3, z**5, z**7, z**9
    return (
        z
        + (z3 + z) / (4.0 * df)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * df**2)
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * df**3)
        + (79.0 * z9 + 776.0 * z7 + 1482.0 * z5 - 1920.0 * z3 - 945.0 * z) / (92160.0 * df**4)
    )


def bisect(above: Callable[[float], bool], low: float, high: float) -> float:
    """The point between low and high where `above` turns true, to the last bit."""
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if above(middle):
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)
