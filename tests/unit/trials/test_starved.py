"""A drill that was starved of its machine fails nothing for being slow, and still fails what it counted."""

from waterline.core.verdict import Outcome
from waterline.trials.busy import CROWDED
from waterline.trials.judging import verdict
from waterline.trials.starved import LATE_S, Turn, softened

SLOW = verdict("branches", "p95", Outcome.FAIL, "p95 31,000 ms, 10,000 allowed", provider="simulated")
LATE = [0.0] * 90 + [2.0] * 10


def test_a_failure_of_a_starved_drill_is_inconclusive_and_says_why() -> None:
    made = softened(SLOW, Turn(LATE, CROWDED))
    assert made.outcome is Outcome.INCONCLUSIVE
    assert made.reason.startswith(
        "p95 31,000 ms, 10,000 allowed; the drill itself was starved: other programs used 15 %"
    )
    assert "2,000 ms late (p99; 250 ms are allowed)" in made.reason


def test_a_drill_that_had_its_turn_fails() -> None:
    for late_s in ([], [0.0] * 100, [LATE_S] * 100, [0.0] * 995 + [9.0] * 5):
        assert softened(SLOW, Turn(late_s, 0.9)) is SLOW


def test_a_release_that_took_the_machine_itself_fails_and_so_does_one_of_which_nobody_knows() -> None:
    assert softened(SLOW, Turn(LATE, CROWDED - 0.01)) is SLOW
    assert softened(SLOW, Turn(LATE, None)) is SLOW


def test_what_passed_in_spite_of_it_stays() -> None:
    good = verdict("branches", "p95", Outcome.PASS, "p95 900 ms", provider="simulated")
    assert softened(good, Turn(LATE, 0.9)) is good
