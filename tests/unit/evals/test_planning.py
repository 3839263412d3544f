"""Power before a run, agreement of a judge with people, drift: against statsmodels' values, scipy and simulation.

Where a value is marked statsmodels, version 0.15.0 computed it; it is not a dependency.
"""

import numpy as np
import pytest
from scipy import stats

from waterline.evals import distributions
from waterline.evals.statistics import (
    agreement,
    cases_for_effect,
    cases_for_gate,
    cases_for_non_inferiority,
    clustered_se,
    corrected_rate,
    gate,
    holm,
    mcnemar,
    mde_paired,
    non_inferiority,
    paired_difference,
    pass_hat_k,
    pass_hat_k_mean,
    power_gate,
    power_paired,
    repeated_se,
    sign_test,
    stability,
)

RUNS = 2000


def test_the_clustered_error_agrees_with_statsmodels() -> None:
    values = [.63, .9, .78, .23, .3, .87, .01, .82, .8, .47, .3, .28, .25, .45, .5, .55, 1.0, .79, .62, .99, .22, .16,
              .61, .04, .04, .51, .47, .92, .63, .51, .5, .25, .01, .19, .69, .2]  # fmt: skip
    # statsmodels: OLS on a constant, cov_type="cluster", without its correction, times sqrt(12/11)
    assert clustered_se(values, [i // 3 for i in range(36)]) == pytest.approx(0.054374504138766176, rel=1e-9)


def test_mcnemar_and_holm_agree_with_statsmodels() -> None:
    assert mcnemar(121, 59) == pytest.approx(4.4344492637551645e-06)  # the printed example's table, exact
    assert holm([0.01, 0.04, 0.03, 0.005, 0.2, 0.0009]) == pytest.approx((0.04, 0.09, 0.09, 0.025, 0.2, 0.0054))


def test_the_variance_of_repeats_adds_what_cases_and_repeats_bring() -> None:
    rng = np.random.default_rng(1)
    cases, repeats = 60, 5
    observed, promised = [], []
    for _ in range(RUNS):
        rates = rng.beta(4, 2, cases)
        rows = (rng.random((cases, repeats)) < rates[:, None]).astype(float)
        observed.append(rows.mean())
        promised.append(repeated_se(rows.tolist()))
    # Var(x) of Beta(4, 2) is 8/252, E[p(1-p)] = 2/3 * 1/3 - 8/252; (Var + E/K)/n is the variance of the mean.
    true = ((8 / 252 + (2 / 9 - 8 / 252) / repeats) / cases) ** 0.5
    assert np.std(observed) == pytest.approx(true, rel=0.05)
    assert np.mean([p for p in promised if p is not None]) == pytest.approx(true, rel=0.03)
    rows_of_one = [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    flat, ids = [s for row in rows_of_one for s in row], [i for i, row in enumerate(rows_of_one) for _ in row]
    assert repeated_se(rows_of_one) == pytest.approx(clustered_se(flat, ids))
    assert repeated_se([[1.0]]) is None


def test_pass_hat_k_is_unbiased_where_the_power_is_not() -> None:
    rng = np.random.default_rng(2)
    rates = rng.beta(3, 1, 200)
    true, found, power = float((rates**3).mean()), [], []
    for _ in range(400):
        passed = rng.binomial(5, rates)
        found.append(pass_hat_k([(int(c), 5) for c in passed], 3))
        power.append(float(((passed / 5) ** 3).mean()))
    assert np.mean([f for f in found if f is not None]) == pytest.approx(true, abs=0.004)
    assert float(np.mean(power)) > true + 0.015
    estimate = pass_hat_k_mean([(3, 3), (2, 3), (0, 3), (3, 3)], 2)
    assert estimate is not None
    assert estimate.value == pytest.approx((1 + 1 / 3 + 0 + 1) / 4)
    assert estimate.n == 4


def test_pass_hat_k_covers_what_it_promises() -> None:
    rng, hits = np.random.default_rng(3), 0
    for _ in range(RUNS):
        passed = rng.binomial(4, rng.beta(3, 1, 80))
        found = pass_hat_k_mean([(int(c), 4) for c in passed], 2)
        assert found is not None
        hits += found.low <= 0.6 <= found.high  # E[p^2] of Beta(3, 1) = 3/5
    assert 0.93 <= hits / RUNS <= 0.97


def test_the_sign_test_is_mcnemar_where_scores_are_pass_or_fail() -> None:
    assert sign_test([1, 1, 1, -1, 0, 0]) == mcnemar(1, 3)
    assert sign_test([0.5, -0.25, 0.25]) == pytest.approx(float(stats.binomtest(1, 3).pvalue))
    assert sign_test([]) == 1.0


# --------------------------------------------------------------------------------------------------------- power


def test_power_and_cases_agree_with_statsmodels() -> None:
    assert power_paired(100, 1.0, 0.2) == pytest.approx(0.5160052739761747, abs=1e-9)
    assert cases_for_effect(0.2, 1.0) == 197  # statsmodels: 196.2215
    effect = mde_paired(197, 1.0)
    assert effect is not None
    assert power_paired(197, 1.0, effect) == pytest.approx(0.8, abs=1e-4)


def test_the_cases_for_non_inferiority_have_the_power_that_they_promise() -> None:
    n = cases_for_non_inferiority(0.1, 0.4)
    assert n == 126  # ((1.959964 + 0.841621) * 0.4 / 0.1)^2 = 125.6
    rng, shown = np.random.default_rng(4), 0
    for run in range(400):
        a, b = rng.random(n) < 0.8, rng.random(n) < 0.8
        swap = rng.random(n) < 0.5  # half of the cases answer alike, so that the differences have sd 0.4
        b = np.where(swap, b, a)
        found = paired_difference(a.astype(float).tolist(), b.astype(float).tolist(), seed=run, resamples=300)
        shown += non_inferiority(found, 0.1).outcome == "pass"
    assert shown / 400 == pytest.approx(0.8, abs=0.06)
    assert cases_for_non_inferiority(0.1, 0.4, difference=-0.1) is None
    assert cases_for_effect(0.0, 1.0) is None


@pytest.mark.parametrize(
    ("n", "rate", "threshold"), [(25, 0.99, 0.9), (100, 0.95, 0.9), (24, 1.0, 0.9), (400, 0.9, 0.9)]
)
def test_the_power_of_a_gate_is_the_exact_chance_that_it_passes(n: int, rate: float, threshold: float) -> None:
    exact = sum(float(stats.binom.pmf(k, n, rate)) for k in range(n + 1) if gate(k, n, threshold).outcome == "pass")
    assert power_gate(n, rate, threshold) == pytest.approx(exact, abs=1e-9)


def test_the_cases_for_a_gate_have_the_power_and_one_fewer_has_not() -> None:
    n = cases_for_gate(0.95, 0.9)
    assert n is not None
    assert power_gate(n, 0.95, 0.9) >= 0.8 > power_gate(n - 1, 0.95, 0.9)
    assert cases_for_gate(0.9, 0.9) is None
    assert power_paired(0, 1.0, 0.5) == 0.0


# ------------------------------------------------------------------------------------------------------ agreement


def test_kappa_agrees_with_statsmodels() -> None:
    first = agreement(20, 5, 10, 15).kappa
    assert first is not None
    assert first.value == pytest.approx(0.4)
    assert (first.high - first.value) / 1.959963985 == pytest.approx(0.12699606293110033, rel=1e-6)
    second = agreement(88, 14, 10, 38).kappa
    assert second is not None
    assert second.value == pytest.approx(0.6402877697841726)
    assert (second.high - second.value) / 1.959963985 == pytest.approx(0.06661529390428136, rel=1e-6)


def test_a_judge_who_saw_only_good_answers_has_no_specificity_and_no_kappa() -> None:
    found = agreement(30, 0, 0, 0)
    assert found.kappa is None
    assert found.specificity is None
    assert found.sensitivity is not None
    assert agreement(0, 0, 0, 0).kappa is None


@pytest.mark.parametrize("true", [0.2, 0.5, 0.85])
def test_a_corrected_rate_covers_the_truth_where_the_judges_own_rate_does_not(true: float) -> None:
    rng, hits, plain = np.random.default_rng(6), 0, 0
    for _ in range(RUNS):
        se, sp = int(rng.binomial(100, 0.9)), int(rng.binomial(100, 0.8))
        seen = int(rng.binomial(300, true * 0.9 + (1 - true) * 0.2))
        found = corrected_rate(seen, 300, (se, 100), (sp, 100))
        assert found is not None
        hits += found.low <= true <= found.high
        plain += abs(seen / 300 - true) < 0.057
    assert 0.93 <= hits / RUNS <= 0.975
    assert plain / RUNS < 0.93
    assert corrected_rate(10, 20, (50, 100), (50, 100)) is None


# ---------------------------------------------------------------------------------------------------------- drift


@pytest.mark.parametrize("df", [1, 2, 5, 9, 19, 100])
@pytest.mark.parametrize("p", [0.01, 0.5, 0.95, 0.999])
def test_the_chi_square_quantile_agrees_with_scipy(p: float, df: int) -> None:
    assert distributions.chi_square_quantile(p, df) == pytest.approx(float(stats.chi2.ppf(p, df)), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(200, 200), (5000, 300)])
def test_the_same_distribution_drifts_in_about_five_percent_of_comparisons(n: int, m: int) -> None:
    rng, shares = np.random.default_rng(7), [0.3, 0.25, 0.2, 0.15, 0.1]
    moved = fixed = 0
    for _ in range(RUNS):
        found = stability(rng.multinomial(n, shares).tolist(), rng.multinomial(m, shares).tolist())
        assert found is not None
        moved += found.moved
        fixed += found.index > 0.1
    assert 0.03 <= moved / RUNS <= 0.07
    if n == 5000:
        assert fixed / RUNS < 0.005  # the usual 0.1 means something else at each size
    shifted = stability([300, 250, 200, 150, 100], [100, 150, 200, 250, 300])
    assert shifted is not None
    assert shifted.moved


def test_drift_of_nothing_is_not_green() -> None:
    assert stability([0, 0], [3, 4]) is None
    assert stability([5], [5]) is None
    with pytest.raises(ValueError, match="bins"):
        stability([1, 2], [1])
