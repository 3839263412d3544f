"""A drill that was starved of its machine fails nothing for being slow, and still fails what it counted."""

from waterline.core.verdict import Outcome
from waterline.trials.judging import verdict
from waterline.trials.starved import LATE_S, softened, starved

SLOW = verdict("branches", "p95", Outcome.FAIL, "p95 31,000 ms, 10,000 allowed", provider="simulated")


def test_a_failure_of_a_starved_drill_is_inconclusive_and_says_why() -> None:
    made = softened(SLOW, [0.0] * 90 + [2.0] * 10)
    assert made.outcome is Outcome.INCONCLUSIVE
    assert made.reason.startswith("p95 31,000 ms, 10,000 allowed; the drill itself was starved")
    assert "2,000 ms late (p99), 250 ms are allowed" in made.reason


def test_a_drill_that_had_its_turn_fails() -> None:
    for late_s in ([], [0.0] * 100, [LATE_S] * 100, [0.0] * 995 + [9.0] * 5):
        assert softened(SLOW, late_s) is SLOW
        assert not starved(late_s)


def test_what_passed_in_spite_of_it_stays() -> None:
    good = verdict("branches", "p95", Outcome.PASS, "p95 900 ms", provider="simulated")
    assert softened(good, [3.0] * 100) is good
