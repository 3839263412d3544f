"""The statistics against scipy, against published values, and against their own promise of coverage."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from waterline.core.verdict import Estimate, Outcome
from waterline.evals import distributions
from waterline.evals.statistics import (
    Gate,
    cases_to_pass,
    clopper_pearson,
    clustered_mean,
    clustered_se,
    gate,
    gate_at_most,
    gate_clustered,
    gate_quantile,
    holm,
    mcnemar,
    mde_paired,
    mde_unpaired,
    non_inferiority,
    paired_difference,
    pass_hat_k,
    poisson_upper_bound,
    quantile,
    quantile_interval,
    rate_upper_bound,
    student_quantile,
    wilson,
    wilson_lower,
    wilson_upper,
)

RUNS = 2000


def covered(estimate: Estimate | None, truth: float) -> bool:
    return estimate is not None and estimate.low <= truth <= estimate.high


# ------------------------------------------------------------------------------------------------- distributions


@pytest.mark.parametrize("p", [1e-9, 1e-4, 0.025, 0.05, 0.3, 0.5, 0.8, 0.95, 0.975, 0.9999])
def test_the_normal_quantile_agrees_with_scipy_to_1e_9(p: float) -> None:
    assert distributions.normal_quantile(p) == pytest.approx(stats.norm.ppf(p), abs=1e-9)
    assert distributions.normal_cdf(distributions.normal_quantile(p)) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("df", [1, 2, 3, 4.5, 10, 29, 119, 999, 1000, 1001, 5000, 1e6])
@pytest.mark.parametrize("p", [0.001, 0.025, 0.4, 0.5, 0.75, 0.95, 0.975, 0.9995])
def test_the_student_quantile_agrees_with_scipy_to_1e_9(p: float, df: float) -> None:
    assert student_quantile(p, df) == pytest.approx(float(stats.t.ppf(p, df)), rel=1e-9, abs=1e-9)


def test_the_student_quantile_has_the_values_of_the_printed_tables() -> None:
    assert [round(student_quantile(0.975, df), 3) for df in (1, 5, 10, 30, 120)] == [12.706, 2.571, 2.228, 2.042, 1.980]


@pytest.mark.parametrize(("p", "df"), [(0.0, 3), (1.0, 3), (0.5, 0)])
def test_the_student_quantile_refuses_what_it_cannot_answer(p: float, df: float) -> None:
    with pytest.raises(ValueError, match="student_quantile"):
        student_quantile(p, df)


@settings(max_examples=150)
@given(st.integers(1, 3000), st.floats(0.001, 0.999), st.data())
def test_binomial_probabilities_agree_with_scipy(n: int, p: float, data: st.DataObject) -> None:
    k = data.draw(st.integers(-1, n))
    assert distributions.binomial_cdf(k, n, p) == pytest.approx(float(stats.binom.cdf(k, n, p)), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("k", "mean"), [(0, 0.0), (0, 2.0), (3, 0.5), (50, 40.0), (500, 520.0), (-1, 1.0)])
def test_poisson_probabilities_agree_with_scipy(k: int, mean: float) -> None:
    assert distributions.poisson_cdf(k, mean) == pytest.approx(float(stats.poisson.cdf(k, mean)), rel=1e-9)


# --------------------------------------------------------------------------------------------------------- rates


@settings(max_examples=150)
@given(st.integers(1, 5000), st.sampled_from([0.8, 0.9, 0.95, 0.99]), st.data())
def test_wilson_and_clopper_pearson_agree_with_scipy(n: int, confidence: float, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    for ours, method in ((wilson(k, n, confidence), "wilson"), (clopper_pearson(k, n, confidence), "exact")):
        theirs = stats.binomtest(k, n).proportion_ci(confidence, method=method)  # type: ignore[arg-type]
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
        assert ours.value == k / n
        assert ours.n == n


def test_wilson_has_the_published_value() -> None:
    # Newcombe (1998), Statistics in Medicine 17:857-872, table I: 81 of 263, score method.
    assert (round(wilson(81, 263).low, 4), round(wilson(81, 263).high, 4)) == (0.2553, 0.3662)


def test_the_one_sided_bounds_are_the_ends_of_the_wider_two_sided_interval() -> None:
    assert wilson_lower(18, 20, 0.95) == pytest.approx(wilson(18, 20, 0.90).low, abs=1e-12)
    assert wilson_upper(18, 20, 0.95) == pytest.approx(wilson(18, 20, 0.90).high, abs=1e-12)


def test_without_data_a_rate_is_anything() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high, wilson(0, 0).n) == (0.0, 1.0, 0)
    assert (wilson_lower(0, 0), wilson_upper(0, 0), rate_upper_bound(0, 0)) == (0.0, 1.0, 1.0)
    assert (clopper_pearson(0, 0).low, clopper_pearson(0, 0).high) == (0.0, 1.0)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, -1)])
def test_impossible_counts_are_refused(k: int, n: int) -> None:
    for function in (wilson, wilson_lower, wilson_upper, clopper_pearson, rate_upper_bound):
        with pytest.raises(ValueError, match="count"):
            function(k, n)
    with pytest.raises(ValueError, match="count"):
        gate(k, n, 0.9)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 30), (0, 1000), (3, 50), (49, 50)])
def test_the_upper_bound_of_a_rate_is_exact(k: int, n: int) -> None:
    assert rate_upper_bound(k, n) == pytest.approx(float(stats.beta.ppf(0.95, k + 1, n - k)), abs=1e-10)


def test_the_upper_bound_after_no_event_is_near_the_rule_of_three() -> None:
    assert rate_upper_bound(0, 300) == pytest.approx(3 / 300, rel=0.01)
    assert poisson_upper_bound(0) == pytest.approx(2.995732, abs=1e-6)


@pytest.mark.parametrize("events", [0, 1, 2, 10, 100, 1000])
def test_the_poisson_upper_bound_is_half_a_chi_square_quantile(events: int) -> None:
    assert poisson_upper_bound(events) == pytest.approx(float(stats.chi2.ppf(0.95, 2 * events + 2)) / 2, rel=1e-9)


def test_negative_events_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        poisson_upper_bound(-1)


# --------------------------------------------------------------------------------------------------------- gates


@pytest.mark.parametrize(("threshold", "needed"), [(0.90, 25), (0.95, 52), (0.99, 268)])
def test_a_gate_opens_at_the_known_anchors_and_not_one_case_earlier(threshold: float, needed: int) -> None:
    assert gate(needed, needed, threshold).outcome is Outcome.PASS
    before = gate(needed - 1, needed - 1, threshold)
    assert before.outcome is Outcome.INCONCLUSIVE
    assert before.more_to_pass == before.more_cases == 1
    assert cases_to_pass(threshold) == gate(0, 0, threshold).more_cases == needed


def test_no_data_is_inconclusive_whatever_the_threshold() -> None:
    for threshold in (0.0, 0.5, 0.99, 1.0):
        assert gate(0, 0, threshold).outcome is Outcome.INCONCLUSIVE
        assert gate(0, 0, threshold).estimate is None
    assert gate(0, 0, 1.0).more_cases is None


@settings(max_examples=300)
@given(st.integers(1, 400), st.integers(1, 99), st.data())
def test_the_announced_number_of_cases_settles_the_gate(n: int, percent: int, data: st.DataObject) -> None:
    k, threshold = data.draw(st.integers(0, n)), percent / 100
    found = gate(k, n, threshold)
    if found.outcome is not Outcome.INCONCLUSIVE:
        assert found.more_cases is None
        return
    if found.more_to_pass is not None:
        assert k / n > threshold
        assert found.more_to_fail is None
        total = n + found.more_to_pass
        assert gate(math.floor(k / n * total + 1e-9), total, threshold).outcome is Outcome.PASS
    elif found.more_to_fail is not None:
        assert k / n < threshold
        total = n + found.more_to_fail
        assert gate(math.ceil(k / n * total - 1e-9), total, threshold).outcome is Outcome.FAIL
    else:
        assert k / n == pytest.approx(threshold, abs=1e-3)


def test_a_rate_at_the_threshold_says_that_more_cases_would_not_settle_it() -> None:
    found = gate(90, 100, 0.9)
    assert (found.outcome, found.more_to_pass, found.more_to_fail) == (Outcome.INCONCLUSIVE, None, None)
    assert "not settle" in found.reason


def test_a_rate_below_the_threshold_says_how_many_cases_would_fail_it() -> None:
    found = gate(17, 20, 0.9)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.more_to_pass is None
    assert found.more_to_fail is not None
    assert "would fail it" in found.reason


def test_a_clear_failure_fails() -> None:
    found = gate(10, 20, 0.9)
    assert found.outcome is Outcome.FAIL
    assert found.estimate is not None
    assert found.estimate.high < 0.9
    assert found.estimate.confidence == pytest.approx(0.9)


def test_a_threshold_of_one_cannot_be_shown_and_fails_at_the_first_miss() -> None:
    assert gate(1000, 1000, 1.0).outcome is Outcome.INCONCLUSIVE
    assert gate(1000, 1000, 1.0).more_cases is None
    assert gate(999, 1000, 1.0).outcome is Outcome.FAIL


@pytest.mark.parametrize("threshold", [-0.1, 1.1, 99.0])
def test_a_threshold_in_percent_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        gate(1, 2, threshold)


@pytest.mark.parametrize(
    ("errors", "outcome"),
    [(0, Outcome.PASS), (6, Outcome.INCONCLUSIVE), (20, Outcome.FAIL), (13, Outcome.INCONCLUSIVE)],
)
def test_gate_at_most_mirrors_gate(errors: int, outcome: Outcome) -> None:
    found = gate_at_most(errors, 100, 0.09)
    assert found.outcome is outcome
    assert found.estimate is not None
    assert found.estimate.value == errors / 100
    assert found.estimate.low == pytest.approx(wilson_lower(errors, 100))
    assert found.estimate.high == pytest.approx(wilson_upper(errors, 100))
    assert (found.more_cases is not None) == (outcome is Outcome.INCONCLUSIVE)
    assert gate_at_most(0, 0, 0.1).outcome is Outcome.INCONCLUSIVE


def test_repeats_of_one_case_do_not_count_as_new_cases() -> None:
    scores, clusters = [1] * 50, [i // 5 for i in range(50)]
    assert gate(50, 50, 0.9).outcome is Outcome.PASS
    found = gate_clustered(scores, clusters, 0.9)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.more_cases == 15  # 25 clusters, of which 10 are there
    assert found.estimate is not None
    assert found.estimate.n == 10


def test_a_clustered_gate_without_repeats_is_the_plain_gate() -> None:
    assert gate_clustered([1] * 20 + [0] * 5, list(range(25)), 0.9) == gate(20, 25, 0.9)
    assert gate_clustered([], [], 0.9).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(("good", "outcome"), [(98, Outcome.PASS), (90, Outcome.INCONCLUSIVE), (60, Outcome.FAIL)])
def test_a_clustered_gate_decides(good: int, outcome: Outcome) -> None:
    scores = [1] * (2 * good) + [0] * (200 - 2 * good)
    found = gate_clustered(scores, [i // 2 for i in range(200)], 0.92)
    assert found.outcome is outcome
    assert (found.more_cases is not None) == (outcome is Outcome.INCONCLUSIVE)


def test_a_clustered_gate_takes_only_pass_or_fail() -> None:
    with pytest.raises(ValueError, match="0 and 1"):
        gate_clustered([0.5, 1], ["a", "a"], 0.5)


def test_a_passing_gate_is_wrong_in_about_five_percent_of_borderline_releases() -> None:
    rng = Random("gate")
    wrong = sum(
        gate(sum(rng.random() < 0.9 for _ in range(200)), 200, 0.9).outcome is Outcome.PASS for _ in range(RUNS)
    )
    assert wrong / RUNS < 0.065


# --------------------------------------------------------------------------------------------------------- means


def test_the_clustered_error_is_the_formula_worked_by_hand() -> None:
    # mean 0.5; cluster sums of deviations: a +1.0, b -0.5, c -0.5; sqrt(3/2 * 1.5) / 6
    assert clustered_se([1, 1, 1, 0, 0, 0], ["a", "a", "b", "b", "c", "c"]) == pytest.approx(
        math.sqrt(1.5 * (1.0 + 0.0 + 1.0)) / 6
    )


def test_without_clustering_it_is_the_textbook_standard_error_and_t_interval() -> None:
    values = [0.1, 0.4, 0.35, 0.8, 0.55, 0.9]
    assert clustered_se(values, range(6)) == pytest.approx(float(stats.sem(values)))
    found = clustered_mean(values)
    theirs = stats.t.interval(0.95, 5, loc=np.mean(values), scale=stats.sem(values))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((float(theirs[0]), float(theirs[1])))


def test_equal_repeats_give_the_variance_of_repeats() -> None:
    rng, cases, repeats = Random(5), 40, 4
    table = [[float(rng.random() < p) for _ in range(repeats)] for p in (rng.random() for _ in range(cases))]
    scores = [score for row in table for score in row]
    clusters = [i // repeats for i in range(cases * repeats)]
    assert clustered_se(scores, clusters) == pytest.approx(float(stats.sem([sum(row) / repeats for row in table])))


def test_too_little_data_has_no_mean_with_interval() -> None:
    assert clustered_mean([]) is None
    assert clustered_mean([1.0]) is None
    assert clustered_mean([1.0, 0.0], ["s", "s"]) is None


def test_a_mean_of_equal_scores_still_has_a_width() -> None:
    found = clustered_mean([1.0] * 10)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(clopper_pearson(10, 10).low), 1.0)
    money = clustered_mean([3.5] * 4, bounds=None)
    assert money is not None
    assert (money.low, money.high) == (3.5, 3.5)


def test_a_score_out_of_bounds_and_uneven_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="bounds"):
        clustered_mean([0.5, 1.5])
    with pytest.raises(ValueError, match="cluster names"):
        clustered_mean([0.5, 1.0], ["a"])


def test_wilson_covers_what_it_promises() -> None:
    rng = Random("wilson")
    for n in (20, 60, 150):  # over rates, because the coverage at one rate oscillates (Brown, Cai and DasGupta 2001)
        hits = 0
        for _ in range(RUNS):
            rate = 0.02 + 0.96 * rng.random()
            hits += covered(wilson(sum(rng.random() < rate for _ in range(n)), n), rate)
        assert 0.93 <= hits / RUNS <= 0.97


def test_clustered_means_cover_what_they_promise_where_plain_ones_do_not() -> None:
    rng = Random("clustered")
    hits = plain = 0
    for _ in range(RUNS):
        scores, clusters = [], []
        for cluster in range(30):
            centre = rng.gauss(0.0, 1.0)
            for _ in range(2 + cluster % 4):
                scores.append(centre + rng.gauss(0.0, 0.5))
                clusters.append(cluster)
        hits += covered(clustered_mean(scores, clusters, bounds=None), 0.0)
        plain += covered(clustered_mean(scores, bounds=None), 0.0)
    assert 0.93 <= hits / RUNS <= 0.97
    assert plain / RUNS < 0.85


def test_pass_hat_k_is_the_share_of_all_right_draws_and_not_a_power() -> None:
    assert pass_hat_k([(4, 4), (2, 4), (0, 4)], 2) == pytest.approx((1 + 1 / 6 + 0) / 3)
    assert pass_hat_k([(3, 4)], 1) == 0.75
    assert pass_hat_k([(3, 4)], 2) == 0.5  # a power would say 0.5625
    assert pass_hat_k([], 1) is None


@pytest.mark.parametrize(("tasks", "k"), [([(1, 2)], 3), ([(3, 2)], 1), ([(1, 2)], 0)])
def test_pass_hat_k_refuses_too_few_trials(tasks: list[tuple[int, int]], k: int) -> None:
    with pytest.raises(ValueError, match="trials"):
        pass_hat_k(tasks, k)


# -------------------------------------------------------------------------------------------------------- pairs


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (0, 6), (5, 12), (10, 10), (40, 71)])
def test_mcnemar_is_the_exact_binomial_test(b: int, c: int) -> None:
    expected = 1.0 if b + c == 0 else float(stats.binomtest(b, b + c, 0.5).pvalue)
    assert mcnemar(b, c) == pytest.approx(expected)
    assert mcnemar(c, b) == mcnemar(b, c)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 2)


def test_holm_has_the_worked_values_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()
    assert holm([0.9, 0.8]) == (1.0, 1.0)


def test_a_paired_difference_is_the_same_for_the_same_seed_and_only_then() -> None:
    rng = Random(3)
    a = [rng.random() for _ in range(80)]
    b = [0.8 * rng.random() for _ in range(80)]
    found = paired_difference(a, b, seed=7)
    assert found == paired_difference(a, b, seed=7)
    assert found != paired_difference(a, b, seed=8)
    assert found is not None
    assert found.value == pytest.approx(sum(b) / 80 - sum(a) / 80)
    assert found.low < found.value < found.high


def test_paired_differences_cover_what_they_promise() -> None:
    rng, runs, hits = Random("pairs"), RUNS, 0
    for run in range(runs):
        first = [rng.random() for _ in range(25)]
        second = [score + 0.1 + rng.gauss(0.0, 0.3) for score in first]
        hits += covered(paired_difference(first, second, seed=run, resamples=300, bound=None), 0.1)
    assert 0.93 <= hits / runs <= 0.97


def test_clustered_pairs_cover_what_they_promise() -> None:
    rng, runs, hits = Random("clustered pairs"), RUNS, 0
    for run in range(runs):
        first, second, clusters = [], [], []
        for cluster in range(25):
            shift = rng.gauss(0.0, 0.5)
            for _ in range(1 + cluster % 3):
                first.append(0.0)
                second.append(shift + rng.gauss(0.0, 0.2))
                clusters.append(cluster)
        hits += covered(paired_difference(first, second, clusters, seed=run, resamples=300, bound=None), 0.0)
    assert 0.93 <= hits / runs <= 0.97


def test_pairs_without_a_difference_still_allow_for_the_unseen() -> None:
    few, many = paired_difference([1.0] * 10, [1.0] * 10), paired_difference([1.0] * 400, [1.0] * 400)
    assert few is not None
    assert many is not None
    assert (few.low, few.high) == (pytest.approx(-0.3085, abs=1e-4), pytest.approx(0.3085, abs=1e-4))
    assert non_inferiority(few, 0.05).outcome is Outcome.INCONCLUSIVE
    assert non_inferiority(many, 0.05).outcome is Outcome.PASS


def test_only_improvements_do_not_prove_that_nothing_got_worse() -> None:
    found = paired_difference([0.0] + [1.0] * 9, [1.0] * 10)
    assert found is not None
    assert found.low < 0.0


def test_pairs_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs needed"):
        paired_difference([1.0], [])
    with pytest.raises(ValueError, match="larger than the declared bound"):
        paired_difference([0.0, 0.0], [5.0, 0.0])
    assert paired_difference([], []) is None
    assert paired_difference([1.0, 0.0], [1.0, 0.0], ["s", "s"]) is None


def difference(value: float, half: float, n: int = 50) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=n)


@pytest.mark.parametrize(
    ("value", "half", "outcome"),
    [
        (0.0, 0.04, Outcome.PASS),
        (-0.02, 0.029, Outcome.PASS),
        (-0.02, 0.04, Outcome.INCONCLUSIVE),
        (-0.08, 0.04, Outcome.INCONCLUSIVE),
        (-0.20, 0.1, Outcome.FAIL),
    ],
)
def test_non_inferiority_compares_the_interval_with_the_margin(value: float, half: float, outcome: Outcome) -> None:
    assert non_inferiority(difference(value, half), 0.05).outcome is outcome


def test_non_inferiority_says_how_many_pairs_would_settle_it() -> None:
    found = non_inferiority(difference(-0.02, 0.06, n=50), 0.05)
    assert (found.more_to_pass, found.more_to_fail) == (150, None)  # half the width takes four times the pairs
    found = non_inferiority(difference(-0.08, 0.06, n=50), 0.05)
    assert (found.more_to_pass, found.more_to_fail) == (None, 150)
    assert non_inferiority(difference(-0.05, 0.06), 0.05).more_cases is None
    assert non_inferiority(None, 0.05).outcome is Outcome.INCONCLUSIVE
    with pytest.raises(ValueError, match="margin"):
        non_inferiority(None, -0.1)


def test_the_minimum_detectable_effect_has_the_published_value() -> None:
    # The usual planning constant: (1.96 + 0.84)^2 = 7.849 at 5 % and 80 %.
    assert mde_paired(100, 1.0) == pytest.approx(math.sqrt(7.8489) / 10, abs=1e-5)
    assert mde_unpaired(50, 50, 0.5, 0.5) == pytest.approx(math.sqrt(7.8489 * 0.5 / 50), abs=1e-5)
    assert mde_paired(0, 1.0) is None
    assert mde_unpaired(0, 10, 0.5, 0.5) is None


def test_a_true_effect_of_the_minimum_detectable_size_is_found_four_times_in_five() -> None:
    rng, n, found = Random("mde"), 100, 0
    effect = mde_paired(n, 1.0)
    assert effect is not None
    for _ in range(RUNS):
        mean = sum(rng.gauss(effect, 1.0) for _ in range(n)) / n
        found += mean - 1.959964 / math.sqrt(n) > 0.0
    assert 0.77 <= found / RUNS <= 0.83


# ---------------------------------------------------------------------------------------------------- latencies


def test_a_quantile_is_an_observed_value() -> None:
    assert quantile([5, 1, 4, 2, 3], 0.5) == 3
    assert quantile(range(1, 101), 0.95) == 95
    assert quantile(range(1, 101), 0.99) == 99
    assert quantile([7.0], 0.99) == 7.0
    assert quantile([], 0.5) is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile([1.0], 95)


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.95, 72), (0.99, 368)])
def test_a_quantile_has_an_interval_only_from_enough_samples_on(q: float, n: int) -> None:
    assert quantile_interval(list(range(n - 1)), q) is None
    assert quantile_interval(list(range(n)), q) is not None


def test_a_quantile_interval_has_the_textbook_ranks() -> None:
    # The textbook case: P(6 <= Binomial(20, 1/2) <= 14) = .959, and the next narrower pair of ranks has only .885.
    found = quantile_interval(list(range(1, 21)), 0.5)
    assert found is not None
    assert (found.low, found.high) == (6, 15)


def test_quantile_intervals_cover_at_least_what_they_promise() -> None:
    rng = Random("quantiles")
    for q, n in ((0.5, 60), (0.95, 150)):
        truth = -math.log(1.0 - q)
        hits = sum(
            covered(quantile_interval([rng.expovariate(1.0) for _ in range(n)], q), truth) for _ in range(RUNS // 2)
        )
        assert 0.94 <= hits / (RUNS // 2) <= 0.99


@pytest.mark.parametrize(("q", "needed"), [(0.95, 59), (0.99, 299)])
def test_a_latency_gate_opens_at_the_exact_number_of_samples(q: float, needed: int) -> None:
    assert gate_quantile([100.0] * needed, q, 200.0).outcome is Outcome.PASS
    before = gate_quantile([100.0] * (needed - 1), q, 200.0)
    assert before.outcome is Outcome.INCONCLUSIVE
    assert before.more_cases == 1
    assert gate_quantile([], q, 200.0).more_cases == needed


def test_a_slow_service_fails_its_latency_gate_and_a_lost_request_counts_as_slow() -> None:
    assert gate_quantile([100.0] * 80 + [900.0] * 20, 0.95, 200.0).outcome is Outcome.FAIL
    assert gate_quantile([100.0] * 80 + [math.inf] * 20, 0.95, 200.0).outcome is Outcome.FAIL
    unclear = gate_quantile([100.0] * 94 + [900.0] * 6, 0.95, 200.0)
    assert unclear.outcome is Outcome.INCONCLUSIVE
    assert unclear.more_to_fail is not None
    assert unclear.more_to_pass is None


def test_every_gate_that_decides_gives_its_figures_in_the_reason() -> None:
    found: list[Gate] = [gate(25, 25, 0.9), gate_quantile([1.0] * 60, 0.95, 2.0), gate_at_most(0, 100, 0.1)]
    for one in found:
        assert one.reason
        assert one.estimate is not None
        assert str(one.estimate.n) in one.reason
