"""A judge beside people: the statistics against published values and against what they promise in simulation."""

from random import Random

import pytest

from waterline.core.verdict import Outcome
from waterline.evals.calibration import ALPHA, CLASS_MIN, KAPPA_MIN, Calibration, LabelledItem, calibrate
from waterline.evals.statistics import (
    Judged,
    JudgeErrors,
    agreement,
    alpha_nominal,
    clustered_mean,
    corrected_mean,
    corrected_rate,
    gate_corrected,
    kappa_bounds,
)


def items(both: int, judge_only: int, people_only: int, neither: int) -> list[LabelledItem]:
    cells = [("pass", "yes", both), ("fail", "yes", judge_only), ("pass", "no", people_only), ("fail", "no", neither)]
    return [
        LabelledItem(f"{label}{said}{n}", {"ana": label}, said)  # type: ignore[dict-item]
        for label, said, count in cells
        for n in range(count)
    ]


def calibrated(*cells: int, look: int = 1) -> Calibration:
    return calibrate(items(*cells), look)


def test_krippendorffs_alpha_has_the_published_value() -> None:
    # Krippendorff (2011), section C: four observers, twelve units, some not observed by all; alpha = .743
    rows = ("1233214 12 . . .", "123322412 5 . 3", ". 33323422 5 1 .", "123324412 5 1 .")
    told = [row.replace(" ", "") for row in rows]
    units = [[row[place] for row in told if row[place] != "."] for place in range(12)]
    found = alpha_nominal(units)
    assert found is not None
    assert found == pytest.approx(0.743, abs=5e-4)
    assert alpha_nominal([["a"], ["b"]]) is None
    assert alpha_nominal([["a", "a"], ["a", "a"]]) is None


def test_kappa_has_the_textbook_value_and_half_a_case_keeps_it_from_being_sure_of_little() -> None:
    kappa = agreement(20, 10, 5, 15).kappa
    assert kappa is not None
    assert kappa.value == pytest.approx(0.4)
    sure = agreement(2, 0, 0, 2).kappa
    assert sure is not None
    assert (sure.low, sure.high) == (1.0, 1.0)  # the textbook's interval of four cases that agree
    bounds = kappa_bounds(2, 0, 0, 2, 0.025)
    assert bounds is not None
    assert bounds[0] < KAPPA_MIN


def test_a_judge_that_agrees_with_people_is_calibrated_and_its_figures_are_shown() -> None:
    found = calibrated(48, 2, 3, 47)
    assert found.outcome is Outcome.PASS
    assert found.agreement.sensitivity is not None
    assert found.agreement.specificity is not None
    assert found.agreement.sensitivity.low > 0.8
    assert found.errors == JudgeErrors((48, 51), (47, 49))
    assert (found.labelled, found.labellers, found.not_asked, found.gave_none) == (100, 1, 0, 0)


def test_no_labels_few_labels_and_labels_of_one_kind_are_never_calibrated() -> None:
    for cells in ((0, 0, 0, 0), (5, 0, 0, 5), (500, 0, 0, CLASS_MIN - 1), (0, 0, 0, 500)):
        found = calibrated(*cells)
        assert found.outcome is Outcome.INCONCLUSIVE, cells
        assert found.more_labels, cells


def test_a_judge_that_always_says_yes_is_not_calibrated_however_often_it_is_right() -> None:
    assert calibrated(900, 100, 0, 0).outcome is Outcome.FAIL


def test_between_the_two_it_says_how_many_more_labels_would_settle_it() -> None:
    found = calibrated(20, 3, 3, 20)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.more_labels is not None
    times = (found.more_labels + 46) / 46
    assert calibrated(*(round(cell * times) for cell in (20, 3, 3, 20))).outcome is Outcome.PASS


def test_an_unreadable_verdict_is_a_no_and_counts() -> None:
    # A judge that is right whenever it says something, and says nothing on half of what is good.
    told = [*items(25, 0, 0, 50), *(LabelledItem(f"none{n}", {"ana": "pass"}, "") for n in range(25))]
    found = calibrate(told, 1)
    assert (found.gave_none, found.people_only) == (25, 25)
    assert found.outcome is not Outcome.PASS


def test_people_who_are_unsure_or_of_two_minds_are_counted_and_left_out_of_the_table() -> None:
    told = [
        LabelledItem("a", {"ana": "pass", "rui": "fail"}, "yes"),
        LabelledItem("b", {"ana": "unsure"}, "yes"),
        LabelledItem("c", {"ana": "pass", "rui": "pass", "eva": "fail"}, "yes"),
        LabelledItem("d", {"ana": "fail"}, None),
    ]
    found = calibrate(told, 1)
    assert (found.labelled, found.unsettled, found.not_asked, found.both, found.labellers) == (4, 2, 1, 1, 3)


def test_looking_again_and_again_or_trying_wording_after_wording_gets_harder() -> None:
    cells = (45, 4, 4, 47)
    assert calibrated(*cells).outcome is Outcome.PASS
    assert calibrated(*cells, look=40).outcome is Outcome.INCONCLUSIVE
    assert sum(calibrated(*cells, look=k).alpha for k in range(1, 1000)) < ALPHA


def draw(rng: Random, n: int, passing: float, se: float, sp: float) -> tuple[int, int, int, int]:
    cells = [0, 0, 0, 0]
    for _ in range(n):
        good = rng.random() < passing
        yes = rng.random() < (se if good else 1 - sp)
        cells[(0 if yes else 2) if good else (1 if yes else 3)] += 1
    return cells[0], cells[1], cells[2], cells[3]


def true_kappa(passing: float, se: float, sp: float) -> float:
    a, b, c, d = passing * se, (1 - passing) * (1 - sp), passing * (1 - se), (1 - passing) * sp
    chance = (a + c) * (a + b) + (b + d) * (c + d)
    return (a + d - chance) / (1 - chance)


@pytest.mark.parametrize(("passing", "se", "sp"), [(0.5, 0.8, 0.8), (0.7, 0.72, 0.99), (0.85, 0.873, 0.873)])
def test_a_judge_just_short_of_the_line_is_called_calibrated_in_at_most_one_project_in_twenty(
    passing: float, se: float, sp: float
) -> None:
    # Ten looks, one every 20 labels: what a team does that labels until it likes what it sees.
    assert true_kappa(passing, se, sp) <= KAPPA_MIN + 0.005
    rng, runs, wrong = Random("line"), 250, 0
    for _ in range(runs):
        cells = [0, 0, 0, 0]
        for look in range(1, 11):
            for place, more in enumerate(draw(rng, 20, passing, se, sp)):
                cells[place] += more
            bounds = kappa_bounds(*cells, ALPHA / (look * (look + 1)))  # type: ignore[arg-type]
            enough = min(cells[0] + cells[2], cells[1] + cells[3]) >= CLASS_MIN
            if enough and bounds is not None and bounds[0] >= KAPPA_MIN:
                wrong += 1
                break
    assert wrong / runs <= 0.05 + 0.04  # three standard errors


def judged(rng: Random, cases: int, repeats: int, rate: float, se: float, sp: float) -> list[Judged]:
    made = []
    for case in range(cases):
        for _ in range(repeats):
            good = rng.random() < rate
            made.append(Judged(case, True, (("j", rng.random() < (se if good else 1 - sp)),)))
    return made


def binomial(rng: Random, n: int, p: float) -> int:
    return sum(rng.random() < p for _ in range(n))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "se", "sp", "cases", "labels", "repeats"),
    [(0.8, 0.9, 0.85, 200, 50, 1), (0.7, 0.85, 0.9, 60, 40, 3), (0.95, 0.97, 0.9, 200, 100, 1)],
)
def test_a_corrected_rate_covers_what_it_promises_and_an_uncorrected_one_does_not(
    rate: float, se: float, sp: float, cases: int, labels: int, repeats: int
) -> None:
    rng, runs, hits, naive = Random("rate"), 2000, 0, 0
    for _ in range(runs):
        errors = {"j": JudgeErrors((binomial(rng, labels, se), labels), (binomial(rng, labels, sp), labels))}
        answers = judged(rng, cases, repeats, rate, se, sp)
        found = corrected_mean(answers, errors)
        assert found is not None
        hits += found.low <= rate <= found.high
        plain = clustered_mean([float(a.said[0][1]) for a in answers], [a.cluster for a in answers])
        assert plain is not None
        naive += plain.low <= rate <= plain.high
    assert 0.93 <= hits / runs <= 0.98
    assert naive / runs < 0.9


@pytest.mark.slow
def test_a_corrected_difference_covers_what_it_promises() -> None:
    rng, runs, hits = Random("pairs"), 2000, 0
    for _ in range(runs):
        errors = {"j": JudgeErrors((binomial(rng, 60, 0.9), 60), (binomial(rng, 60, 0.85), 60))}
        answers = []
        for case in range(120):
            before = rng.random() < 0.7
            after = before if rng.random() < 0.7 else rng.random() < 0.9
            for weight, good in ((-1.0, before), (1.0, after)):
                answers.append(Judged(case, True, (("j", rng.random() < (0.9 if good else 0.15)),), weight))
        found = corrected_mean(answers, errors)
        assert found is not None
        hits += found.low <= 0.06 <= found.high
    assert 0.93 <= hits / runs <= 0.98


def test_without_errors_of_the_judge_it_is_the_plain_rate_and_with_them_rogan_and_gladens() -> None:
    perfect = {"j": JudgeErrors((10_000_000, 10_000_000), (10_000_000, 10_000_000))}
    answers = [Judged(n, True, (("j", n % 4 != 0),)) for n in range(100)]
    found = corrected_mean(answers, perfect)
    assert found is not None
    assert found.value == pytest.approx(0.75)
    errors = {"j": JudgeErrors((45, 50), (40, 50))}
    published = corrected_rate(75, 100, (45, 50), (40, 50))
    found = corrected_mean(answers, errors)
    assert found is not None
    assert published is not None
    assert found.value == pytest.approx(published.value)
    assert found.low == pytest.approx(published.low, abs=0.02)
    assert found.high == pytest.approx(published.high, abs=0.02)


def test_fewer_labels_make_the_interval_wider_and_a_coin_gives_none() -> None:
    answers = [Judged(n, True, (("j", n % 4 != 0),)) for n in range(400)]
    few, many = ({"j": JudgeErrors((9 * n, 10 * n), (9 * n, 10 * n))} for n in (2, 200))
    wide, narrow = corrected_mean(answers, few), corrected_mean(answers, many)
    assert wide is not None
    assert narrow is not None
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    assert corrected_mean(answers, {"j": JudgeErrors((5, 10), (5, 10))}) is None


def test_what_fails_without_the_judge_fails_and_what_needs_no_judge_carries_no_error() -> None:
    errors = {"j": JudgeErrors((45, 50), (45, 50))}
    plain = [Judged(n, n % 5 != 0) for n in range(100)]
    found = corrected_mean(plain, errors)
    assert found is not None
    assert found.value == pytest.approx(0.8)
    failed = corrected_mean([Judged(n, False, (("j", True),)) for n in range(100)], errors)
    assert failed is not None
    assert failed.value == 0.0
    assert failed.high < 0.1


def test_a_gate_on_judged_answers_passes_fails_and_waits() -> None:
    errors = {"j": JudgeErrors((98, 100), (95, 100))}
    answers = [Judged(n, True, (("j", n % 20 != 0),)) for n in range(300)]
    assert gate_corrected(answers, errors, 0.85).outcome is Outcome.PASS
    assert gate_corrected(answers, errors, 0.995).outcome is Outcome.INCONCLUSIVE
    assert gate_corrected([Judged(n, True, (("j", n % 2 == 0),)) for n in range(300)], errors, 0.9).outcome is (
        Outcome.FAIL
    )
