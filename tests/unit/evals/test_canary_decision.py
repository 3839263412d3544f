"""What a canary decides from figures: harm, no harm within the margin, or not known."""

import random

import pytest

from waterline.core.app_spec import AppSpec, Objectives
from waterline.core.canary import Canary
from waterline.evals.canary import Arm, Asked, Sums, is_harm, judged, look, measured, plan_of, sentence
from waterline.evals.canary_replay import false_alarms, run
from waterline.evals.statistics import bounded_sequence, rate_sequence, surely_more

SPEC = AppSpec(
    "school",
    objectives=Objectives(answer_ms_p95=2000, ttft_ms_p95=500),
    canary=Canary(quality=("feedback", "signal.anger"), nano_usd_per_request=1_000_000),
)
PLAN = plan_of(SPEC)
ONLY_ERRORS = plan_of(AppSpec("school"))


def ask(outcome="answered", ms=100, first=None, cost=None, code="") -> Asked:
    return Asked(outcome, code, ms * 1000, None if first is None else first * 1000, first is not None, cost)


def sums(baseline: tuple[int, float], candidate: tuple[int, float]) -> Sums:
    made = Sums.empty()
    for arm, (n, total) in ((made.baseline, baseline), (made.candidate, candidate)):
        arm.sessions = n
        arm.sums["errors"] = (n, total)
    return made


def test_alpha_is_split_over_signals_steps_and_sides() -> None:
    assert [g.signal for g in PLAN.guards] == [
        "errors", "slow", "first_token", "cost", "quality:feedback", "quality:signal.anger",
    ]  # fmt: skip
    assert 1 - PLAN.confidence == pytest.approx(0.05 / (6 * 3 * 2))


def test_only_what_is_declared_is_guarded() -> None:
    assert [g.signal for g in ONLY_ERRORS.guards] == ["errors"]


def test_a_session_is_one_value_however_many_requests_it_had() -> None:
    found = measured(PLAN, [ask("failed"), ask(), ask(ms=3000, cost=500_000), ask(cost=5_000_000)])
    assert found == {"errors": 0.25, "slow": pytest.approx(1 / 3), "cost": 0.75}


def test_what_we_refused_or_the_caller_left_is_no_error_and_no_figure_is_no_zero() -> None:
    assert measured(PLAN, [ask("refused"), ask("interrupted"), ask("cancelled")]) == {}


def test_a_release_whose_providers_are_left_alone_fails_although_nothing_was_attempted() -> None:
    assert measured(PLAN, [ask("refused", code="provider_unavailable")]) == {"errors": 1.0}
    assert measured(PLAN, [ask("refused", code="rate_limited")]) == {}


def test_who_leaves_after_the_declared_time_or_waits_still_was_answered_slowly() -> None:
    assert measured(PLAN, [ask("cancelled", ms=2500), ask("open")]) == {"slow": 1.0}
    assert measured(PLAN, [ask(first=400), ask(first=600)])["first_token"] == 0.5


def test_feedback_is_the_mean_of_its_verdicts_and_a_signal_is_seen_or_not() -> None:
    said = [("feedback.accepted", 1.0), ("feedback.rejected", 0.0), ("feedback.rejected", 0.0), ("feedbacks", 1.0)]
    assert judged(PLAN, said) == {"quality:feedback": pytest.approx(2 / 3), "quality:signal.anger": 0.0}
    assert judged(PLAN, [("signal.anger", 1.0)]) == {"quality:signal.anger": 1.0}


def test_harm_shown_on_one_signal_rolls_back() -> None:
    found = look(ONLY_ERRORS, sums((1000, 2.0), (100, 30.0)))
    assert found.decision == "roll back"
    assert [c.signal for c in found.worse] == ["errors"]
    assert "it is worse, by" in sentence(found.worse[0])


def test_no_worse_within_the_margin_on_enough_sessions_goes_on() -> None:
    assert look(ONLY_ERRORS, sums((20_000, 20.0), (2_000, 2.0))).decision == "promote"


def test_too_few_sessions_wait_whatever_they_say() -> None:
    plan = plan_of(AppSpec("school", canary=Canary(least_sessions=5000)))
    assert look(plan, sums((20_000, 20.0), (2_000, 2.0))).decision == "wait"


def test_what_may_not_gate_shows_neither_harm_nor_green() -> None:
    """A judge that is not calibrated."""
    bad, good = sums((1000, 2.0), (100, 30.0)), sums((20_000, 20.0), (2_000, 2.0))
    assert look(ONLY_ERRORS, bad, ["errors"]).decision == "wait"
    assert look(ONLY_ERRORS, good, ["errors"]).decision == "wait"
    plan = plan_of(AppSpec("school", canary=Canary(quality=("judge.tone", "feedback"))))
    assert [guard.judge for guard in plan.guards] == ["", "tone", ""]


def test_no_data_is_never_green() -> None:
    found = look(ONLY_ERRORS, Sums(Arm(500, {}), Arm(500, {})))
    assert found.decision == "wait"
    assert "no figure" in sentence(found.compared[0])


def test_worse_by_less_than_the_margin_is_all_right() -> None:
    found = look(ONLY_ERRORS, sums((2_000_000, 2_000.0), (2_000_000, 8_000.0)))
    assert found.compared[0].difference is not None
    assert found.compared[0].difference.low > 0
    assert found.decision == "promote"


def test_the_quick_question_for_harm_is_the_same_as_both_intervals() -> None:
    draw = random.Random(7)
    agreed = 0
    for _ in range(400):
        n0, n1 = draw.randint(1, 3000), draw.randint(1, 600)
        t0 = round(n0 * draw.random() * 0.3, 3)
        t1 = min(n1, round(n1 * draw.random() * 0.4, 3))
        apart = bounded_sequence(t1, n1, 0.99).low > bounded_sequence(t0, n0, 0.99).high
        assert surely_more(t1, n1, t0, n0, 0.99) == apart
        agreed += apart
    assert 20 < agreed < 380
    assert is_harm(ONLY_ERRORS, sums((1000, 0.0), (100, 30.0)))


def test_of_whole_counts_the_bounded_sequence_is_the_rate_sequence() -> None:
    assert bounded_sequence(7.0, 90) == rate_sequence(7, 90)
    with pytest.raises(ValueError, match="cannot add up"):
        bounded_sequence(4.0, 3)


def test_a_mean_of_shares_looked_at_every_time_is_lost_in_at_most_five_percent_of_runs() -> None:
    """Values that are no 0 or 1: halves and thirds, as sessions have them."""
    draw = random.Random(3)
    values = (0.0, 0.0, 0.0, 0.5, 1 / 3, 1.0)
    mean = sum(values) / len(values)
    lost = 0
    for _ in range(300):
        total = 0.0
        for n in range(1, 201):
            total += draw.choice(values)
            if n % 4 == 0:
                found = bounded_sequence(min(total, n), n)
                if not found.low <= mean <= found.high:
                    lost += 1
                    break
    assert lost / 300 <= 0.05


def test_an_equal_release_is_hardly_ever_rolled_back_and_a_bad_one_is() -> None:
    draw = random.Random(5)
    plan = plan_of(AppSpec("school", canary=Canary(steps=("20%", "50%", "100%"))))
    same = [{"errors": float(draw.random() < 0.05)} for _ in range(600)]
    found = false_alarms(plan, same, runs=40)
    assert found.rolled_back.value <= 0.05
    bad = [lambda side: {"errors": float(draw.random() < (0.25 if side == "candidate" else 0.05))}] * 5000
    assert run(plan, bad, seed=1).word == "rolled back"


def test_a_good_release_gets_to_all_of_the_traffic() -> None:
    draw = random.Random(5)
    plan = plan_of(AppSpec("school", canary=Canary(steps=("20%", "50%", "100%"), error_margin=0.05)))
    good = [lambda side: {"errors": float(draw.random() < 0.01)}] * 9000
    assert run(plan, good, seed=1).word == "promoted"
