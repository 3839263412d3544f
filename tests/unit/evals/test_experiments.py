"""The verdict of an evaluation, simulated: does its interval cover, is it wrong as seldom as it says, and is what was
foreseen before the run what happens?"""

from random import Random

import pytest

from waterline.core.verdict import Outcome
from waterline.evals import experiment
from waterline.evals.experiment import Answer, Plan, Result, Tally, judge
from waterline.evals.foresight import CHANGING, fewest_pairs, foresee
from waterline.evals.statistics import clustered_mean, wilson

RUNS = 2000
CASES, REPEATS = 60, 3


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "RESAMPLES", 200)


def plan(cases: int = CASES, repeats: int = REPEATS, margin: float = 0.05, seed: int = 1) -> Plan:
    return Plan(app="a", release="new", case_set="0", cases=cases, repeats=repeats, scorer="1", against="old",
                margin=margin, seed=seed)  # fmt: skip


def simulated(made: Plan, rng: Random, shift: float) -> Result:
    """Cases of very different difficulty, asked `repeats` times of both; the new release is `shift` worse on average:
    by the same amount for every case, at a spread of twice that."""
    tally = Tally({str(n): () for n in range(made.cases)})
    for n in range(made.cases):
        rate = 0.2 + 0.6 * rng.random()
        other = rate - shift + (rng.random() - 0.5) * 0.2
        for repeat in range(made.repeats):
            tally.add(Answer(str(n), "first", repeat, rng.random() < rate, ms=1.0, cost_nano_usd=1))
            tally.add(Answer(str(n), "second", repeat, rng.random() < other, ms=1.0, cost_nano_usd=1))
    return judge(made, tally)


def test_the_interval_of_a_paired_comparison_with_repeats_covers_what_it_promises() -> None:
    rng, hits = Random("covers"), 0
    for run in range(RUNS):
        found = simulated(plan(seed=run), rng, 0.1).estimate
        assert found is not None
        hits += found.low <= -0.1 <= found.high
    assert 0.93 <= hits / RUNS <= 0.97


def test_scores_with_repeats_cover_clustered_by_case_where_counting_repeats_as_cases_does_not() -> None:
    rng, hits, plain = Random("scores"), 0, 0
    for _ in range(RUNS):
        scores, clusters = [], []
        for case in range(CASES):
            rate = 0.95 if rng.random() < 0.7 else 0.1
            scores += [float(rng.random() < rate) for _ in range(5)]
            clusters += [case] * 5
        truth = 0.7 * 0.95 + 0.3 * 0.1
        found, naive = clustered_mean(scores, clusters), wilson(int(sum(scores)), len(scores))
        assert found is not None
        hits += found.low <= truth <= found.high
        plain += naive.low <= truth <= naive.high
    assert 0.93 <= hits / RUNS <= 0.97
    assert plain / RUNS < 0.75


def test_a_release_that_is_worse_by_exactly_the_margin_passes_in_at_most_one_run_in_forty() -> None:
    rng, passed, runs = Random("margin"), 0, 600
    for run in range(runs):
        passed += simulated(plan(margin=0.1, seed=run), rng, 0.1).outcome is Outcome.PASS
    assert passed / runs <= 0.05  # 2.5 % is promised, and four standard errors are 2.5 points


def test_the_same_release_against_itself_is_called_better_or_worse_in_at_most_one_run_in_twenty() -> None:
    rng, words = Random("same"), []
    for run in range(600):
        words.append(simulated(plan(margin=0.0, seed=run), rng, 0.0).word)
    assert words.count("better") + words.count("worse") <= 600 * 0.05 + 20


def flips(made: Plan, rng: Random, changing: float) -> Result:
    """As foresight assumes: a share of the cases changes either way, in all repeats; the others stay."""
    tally = Tally({str(n): () for n in range(made.cases)})
    for n in range(made.cases):
        before = after = rng.random() < 0.5
        if rng.random() < changing:
            after = not before
        for arm, passed in (("first", before), ("second", after)):
            for repeat in range(made.repeats):
                tally.add(Answer(str(n), arm, repeat, passed, ms=1.0, cost_nano_usd=1))  # type: ignore[arg-type]
    return judge(made, tally)


@pytest.mark.parametrize(("cases", "margin"), [(150, 0.05), (120, 0.1)])
def test_the_chance_of_a_pass_is_what_was_foreseen_before_the_run(cases: int, margin: float) -> None:
    made = plan(cases, 1, margin)
    for told in foresee(made):
        if told.assumed < 0.05:
            continue  # so few changes that the normal approximation is a rough one
        rng, passed, runs = Random(f"foreseen {cases} {told.assumed}"), 0, 100
        for run in range(runs):
            passed += flips(plan(cases, 1, margin, seed=run), rng, told.assumed).outcome is Outcome.PASS
        assert passed / runs == pytest.approx(told.chance, abs=0.17), told  # about four standard errors


@pytest.mark.parametrize("margin", [0.02, 0.05, 0.1])
def test_fewer_cases_than_foreseen_cannot_show_that_equal_releases_are_equal_and_so_many_can(margin: float) -> None:
    needed = fewest_pairs(margin)
    assert needed is not None
    assert flips(plan(needed, 1, margin), Random(1), 0.0).outcome is Outcome.PASS
    assert flips(plan(needed - 1, 1, margin), Random(1), 0.0).outcome is Outcome.INCONCLUSIVE


def test_more_changes_need_more_cases_and_a_margin_of_nothing_is_never_shown() -> None:
    needed = [told.cases_needed or 0 for told in foresee(plan(100, 1, 0.05))]
    assert needed == sorted(needed)
    assert needed[CHANGING.index(0.2)] == 628  # ((1.96 + 0.8416) / 0.05)^2 * 0.2
    assert [told.cases_needed for told in foresee(plan(100, 1, 0.0))] == [None] * len(CHANGING)


def test_a_threshold_is_foreseen_by_the_exact_power_of_its_gate() -> None:
    made = Plan(app="a", release="r", case_set="0", cases=52, repeats=1, scorer="1", score_min=0.95)
    perfect = foresee(made)[-1]
    assert (perfect.assumed, perfect.chance) == (1.0, 1.0)  # 52 of 52 shows 95 %
    assert perfect.cases_needed == 52
    fewer = Plan(app="a", release="r", case_set="0", cases=51, repeats=1, scorer="1", score_min=0.95)
    assert foresee(fewer)[-1].chance == 0.0
    assert foresee(Plan(app="a", release="r", case_set="0", cases=9, repeats=1, scorer="1")) == ()
