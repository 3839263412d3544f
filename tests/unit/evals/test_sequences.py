"""Confidence sequences: right at every look together, where a fixed interval looked at often is wrong often."""

import math

import numpy as np
import pytest
from scipy import optimize, special

from waterline.core.verdict import Estimate
from waterline.evals.statistics import (
    EmpiricalBernstein,
    difference_sequence,
    mean_sequence,
    rate_sequence,
    wilson,
)

RUNS = 2000


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 40), (3, 50), (25, 50), (49, 50), (50, 50), (20, 10_000)])
def test_the_rate_sequence_is_where_the_mixture_crosses_one_over_alpha(k: int, n: int) -> None:
    def log_ratio(p: float) -> float:
        mixture = special.betaln(0.5 + k, 0.5 + n - k) - special.betaln(0.5, 0.5)
        return float(mixture - special.xlogy(k, p) - special.xlog1py(n - k, -p) - math.log(20))

    found = rate_sequence(k, n)
    if k:
        assert found.low == pytest.approx(float(optimize.brentq(log_ratio, 1e-12, k / n - 1e-12 * (k == n))), rel=1e-6)
    else:
        assert found.low == 0.0
    if k < n:
        assert found.high == pytest.approx(float(optimize.brentq(log_ratio, max(k / n, 1e-12), 1 - 1e-12)), rel=1e-6)
    else:
        assert found.high == 1.0


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
def test_a_rate_looked_at_after_every_answer_is_lost_in_at_most_five_percent_of_runs(rate: float) -> None:
    looks = 1000
    draws = np.random.default_rng(1).random((RUNS, looks)) < rate
    counts, n = draws.cumsum(axis=1), np.arange(1, looks + 1)
    # Vectorised: the truth is outside of the interval where the mixture ratio at the truth passes 1 / alpha.
    mixture = special.betaln(0.5 + counts, 0.5 + n - counts) - special.betaln(0.5, 0.5)
    ratio = mixture - counts * math.log(rate) - (n - counts) * math.log1p(-rate)
    lost = ratio >= math.log(20)
    assert lost.any(axis=1).mean() <= 0.05
    # ... and the function says the same of single looks.
    for run in range(0, RUNS, 97):
        for look in (0, 9, 99, 999):
            found = rate_sequence(int(counts[run, look]), look + 1)
            assert (found.low <= rate <= found.high) == (not lost[run, look])


def test_a_fixed_interval_looked_at_after_every_answer_would_alarm_in_a_third_of_the_runs() -> None:
    draws = np.random.default_rng(1).random((400, 1000)) < 0.3
    counts = draws.cumsum(axis=1)
    bounds = {}
    wrong = 0
    for row in counts:
        for look in range(20, 1000, 5):
            key = (int(row[look]), look + 1)
            if key not in bounds:
                bounds[key] = wilson(*key)
            if not bounds[key].low <= 0.3 <= bounds[key].high:
                wrong += 1
                break
    assert wrong / 400 > 0.25


def scores(kind: str, rng: np.random.Generator, count: int) -> tuple[np.ndarray, float]:
    match kind:
        case "even":
            return rng.random(count), 0.5
        case "steady":
            return rng.beta(80, 20, count), 0.8
        case _:
            return (rng.random(count) < 0.95).astype(float), 0.95


@pytest.mark.parametrize("kind", ["even", "steady", "binary"])
def test_scores_looked_at_after_every_answer_are_lost_in_at_most_five_percent_of_runs(kind: str) -> None:
    rng, lost = np.random.default_rng(2), 0
    for _ in range(RUNS // 4):
        sequence = EmpiricalBernstein()
        values, truth = scores(kind, rng, 300)
        for value in values.tolist():
            sequence.add(value)
        # The running intersection is kept, so one look at the end sees every earlier one.
        lost += not sequence.estimate.low <= truth <= sequence.estimate.high
    assert lost / (RUNS // 4) <= 0.05


def test_the_bernstein_sequence_is_the_printed_formula() -> None:
    values, alpha = [0.2, 0.9, 0.4, 0.4, 0.8, 0.1, 0.7], 0.05
    sequence, low, high = EmpiricalBernstein(), 0.0, 1.0
    for t, value in enumerate(values, start=1):
        sequence.add(value)
        means = [(0.5 + sum(values[:i])) / (i + 1) for i in range(t + 1)]
        spread = [(0.25 + sum((values[j] - means[j + 1]) ** 2 for j in range(i))) / (i + 1) for i in range(t + 1)]
        weights = [
            min(0.5, math.sqrt(2 * math.log(2 / alpha) / (spread[i - 1] * i * math.log(1 + i))))
            for i in range(1, t + 1)
        ]
        paid = sum(
            4 * (values[i] - means[i]) ** 2 * (-math.log(1 - w) - w) / 4 for i, w in enumerate(weights)
        ) + math.log(2 / alpha)
        centre = sum(w * v for w, v in zip(weights, values[:t], strict=True)) / sum(weights)
        low, high = max(low, centre - paid / sum(weights)), min(high, centre + paid / sum(weights))
    assert (sequence.estimate.low, sequence.estimate.high) == pytest.approx((low, high))


def test_scores_that_vary_little_give_a_narrower_interval() -> None:
    rng = np.random.default_rng(3)
    wide, narrow = EmpiricalBernstein(), EmpiricalBernstein()
    for a, b in zip(scores("even", rng, 500)[0], scores("steady", rng, 500)[0], strict=True):
        wide.add(float(a))
        narrow.add(float(b))
    assert narrow.estimate.high - narrow.estimate.low < (wide.estimate.high - wide.estimate.low) / 2


def test_bounds_of_scores_are_honoured() -> None:
    sequence = EmpiricalBernstein(bounds=(1.0, 5.0))
    assert (sequence.estimate.low, sequence.estimate.high, sequence.estimate.value) == (1.0, 5.0, 3.0)
    for _ in range(200):
        sequence.add(4.0)
    assert 3.5 < sequence.estimate.low < 4.0 < sequence.estimate.high <= 5.0
    with pytest.raises(ValueError, match="bounds"):
        sequence.add(0.5)
    with pytest.raises(ValueError, match="width"):
        EmpiricalBernstein(bounds=(1.0, 1.0))


def test_latencies_looked_at_from_the_fiftieth_on_are_lost_in_at_most_five_percent_of_runs() -> None:
    looks = 2000
    draws = np.random.default_rng(4).lognormal(0.0, 0.5, (RUNS, looks))
    truth, n = math.exp(0.125), np.arange(1, looks + 1)
    means = draws.cumsum(axis=1) / n
    variances = (draws**2).cumsum(axis=1) / n - means**2
    # The half width for a variance of 1, from the function itself.
    units = [mean_sequence(count, 0.0, 1.0) for count in range(50, looks + 1)]
    half = np.array([unit.high for unit in units if unit is not None])
    lost = np.abs(means[:, 49:] - truth) > half * np.sqrt(variances[:, 49:])
    assert lost.any(axis=1).mean() <= 0.06  # 0.05 and what 2,000 runs can tell
    fixed = np.abs(means[:, 49:] - truth) > 1.96 * np.sqrt(variances[:, 49:] / n[49:])
    assert fixed.any(axis=1).mean() > 0.25


def test_two_equal_arms_are_told_apart_in_at_most_five_percent_of_runs_and_unequal_ones_are_found() -> None:
    rng = np.random.default_rng(5)

    def alarms(second: float) -> float:
        wrong = 0
        for _ in range(200):
            a = (rng.random(1000) < 0.1).cumsum()
            b = (rng.random(1000) < second).cumsum()
            for look in range(24, 1000, 25):
                found = difference_sequence(
                    rate_sequence(int(a[look]), look + 1, 0.975), rate_sequence(int(b[look]), look + 1, 0.975)
                )
                assert found is not None
                if found.low > 0.0 or found.high < 0.0:
                    wrong += 1
                    break
        return wrong / 200

    assert alarms(0.1) <= 0.05
    assert alarms(0.3) > 0.9


def test_a_difference_needs_both_arms_and_adds_up_what_may_go_wrong() -> None:
    one = rate_sequence(5, 50, 0.975)
    assert difference_sequence(one, None) is None
    found = difference_sequence(one, rate_sequence(10, 60, 0.975))
    assert isinstance(found, Estimate)
    assert found.confidence == pytest.approx(0.95)
    assert found.n == 50


def test_without_data_a_sequence_knows_nothing() -> None:
    assert (rate_sequence(0, 0).low, rate_sequence(0, 0).high) == (0.0, 1.0)
    assert (EmpiricalBernstein().estimate.low, EmpiricalBernstein().estimate.high) == (0.0, 1.0)
    assert mean_sequence(1, 3.0, 0.0) is None
