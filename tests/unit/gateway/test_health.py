"""Breakers, by a clock of our own: how often a dead provider is asked, and how soon a recovered one."""

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterline.gateway.health import FAILURES_TO_OPEN, Health

UP, DOWN, LIMITED = "up", "down", "limited"


def known() -> Health:
    health = Health()
    health.begin(0.0)
    health.succeeded(0.0)
    return health


def opened(at_s: float = 100.0) -> Health:
    health = known()
    for _ in range(FAILURES_TO_OPEN):
        health.begin(at_s)
        health.failed(at_s, at_s)
    return health


def play(arrivals, state_at, answer_s, health, until_s):
    """Every caller that may go goes; what it finds is told `answer_s` later. Returns when attempts began."""
    asked, ends, n = [], [], 0
    for now in arrivals:
        if now > until_s:
            break
        while ends and ends[0][0] <= now:
            at, _, began, state = heapq.heappop(ends)
            if state == UP:
                health.succeeded(began)
            elif state == DOWN:
                health.failed(at, began)
            else:
                health.rate_limited(at, began, None)
        if health.wait_s(now) == 0:
            health.begin(now)
            asked.append(now)
            n += 1
            heapq.heappush(ends, (now + answer_s, n, now, state_at(now)))
    return asked


def ticks(per_s, until_s):
    return [n / per_s for n in range(int(until_s * per_s))]


@pytest.mark.parametrize("per_s", [1, 20, 500])
@pytest.mark.parametrize("answer_s", [0.0, 0.3, 5.0, 30.0])
def test_a_dead_provider_is_asked_at_most_five_times_in_any_minute_whatever_the_load(per_s, answer_s):
    """`answer_s`: how long it takes to fail. From the moment at which two attempts have failed."""
    health = opened(at_s=0.0)
    asked = [0.0, 0.0, *play(ticks(per_s, 300), lambda _: DOWN, answer_s, health, 300)]
    for start in asked:
        assert sum(start <= t < start + 60 for t in asked) <= 5, asked


@given(st.floats(3, 200), st.floats(0, 10), st.sampled_from([1, 7, 50]))
@settings(max_examples=60, deadline=None)
def test_back_on_it_within_thirty_seconds_of_its_recovery(dead_s, answer_s, per_s):
    health = opened(at_s=0.0)
    until = dead_s + 40
    asked = play(ticks(per_s, until), lambda t: DOWN if t < dead_s else UP, answer_s, health, until)
    assert next(t for t in asked if t >= dead_s) - dead_s <= 30
    assert not health.pauses


def test_a_silent_probe_does_not_keep_the_next_one_away():
    """A probe that hangs began before the recovery, and will never say so."""
    health = opened(at_s=0.0)
    health.begin(2.0)  # hangs for ever
    assert health.wait_s(19.9) > 0
    assert health.wait_s(20.1) == 0


def test_of_many_callers_at_once_one_is_the_probe():
    health = opened(at_s=0.0)
    went = 0
    for _ in range(500):
        if health.wait_s(2.0) == 0:
            health.begin(2.0)
            went += 1
    assert went == 1
    health.succeeded(2.0)
    assert health.wait_s(2.1) == 0


def test_an_unknown_provider_is_tried_by_two_until_there_is_news():
    health = Health()
    went = 0
    for _ in range(50):
        if health.wait_s(0.0) == 0:
            health.begin(0.0)
            went += 1
    assert went == 2
    assert 0 < health.wait_s(0.1) <= 0.5
    assert health.wait_s(0.6) == 0, "a slow one is not a dead one"


def test_a_longer_cool_down_is_never_replaced_by_a_shorter_one():
    health = known()
    health.begin(100.0)
    health.begin(100.0)
    health.rate_limited(100.0, 100.0, 30.0)
    health.rate_limited(101.0, 100.0, 1.0)
    assert health.wait_s(129.0) > 0
    assert health.wait_s(130.5) == 0


def test_a_probes_success_does_not_shorten_what_the_provider_asked_for():
    health = opened(at_s=0.0)
    health.begin(2.0)
    health.begin(2.0)
    health.rate_limited(2.1, 2.0, 60.0)
    health.succeeded(2.0)
    assert health.wait_s(50.0) > 0


def test_an_answer_that_began_before_the_failures_does_not_close_the_breaker():
    health = known()
    health.begin(1.0)  # a long stream
    for at in (5.0, 5.1):
        health.begin(at)
        health.failed(at, at)
    health.succeeded(1.0)
    assert health.wait_s(5.2) > 0


def test_rate_limits_of_one_burst_count_once_and_later_ones_wait_longer():
    health = known()
    for _ in range(10):
        health.begin(0.0)
    for _ in range(10):
        health.rate_limited(0.1, 0.0, None)
    assert health.wait_s(0.2) == pytest.approx(0.9)
    health.begin(1.2)
    health.rate_limited(1.2, 1.2, None)
    assert health.wait_s(1.2) == pytest.approx(2.0)


def test_a_provider_that_only_ever_limits_us_is_probed_not_stormed():
    health = known()
    asked = play(ticks(100, 240), lambda _: LIMITED, 0.05, health, 240)
    assert sum(120 <= t < 180 for t in asked) <= 5, asked


def test_one_failure_alone_keeps_nobody_away():
    health = known()
    health.begin(1.0)
    health.failed(1.0, 1.0)
    assert health.wait_s(1.0) == 0


def test_snapshot_says_what_is_so():
    health = opened(at_s=10.0)
    health.first_bytes_s.extend([0.1, 0.2, 0.3])
    seen = health.snapshot(10.5)
    assert (seen.state, seen.failures, seen.failed, seen.in_flight) == ("open", 2, 2, 0)
    assert seen.wait_s == pytest.approx(1.5)
    assert seen.first_byte_ms_p50 == pytest.approx(200)


def test_a_snapshot_tells_the_last_minutes_and_the_last_error_of_the_provider():
    health = Health()
    for at in (10.0, 70.0, 71.0):
        health.begin(at)
        health.succeeded(at)
    health.begin(130.0)
    health.failed(131.0, 130.0, "unavailable: overloaded")
    health.begin(200.0)
    health.rate_limited(201.0, 200.0, 5.0, "rate_limited: slow down")
    seen = health.snapshot(250.0)
    assert [(m.attempts, m.failed, m.limited) for m in seen.minutes[-5:]] == [
        (1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1), (0, 0, 0),
    ]  # fmt: skip
    assert (seen.last_error, seen.last_error_s_ago) == ("rate_limited: slow down", 49.0)
    assert len(seen.minutes) == 15
    assert sum(m.attempts for m in health.snapshot(60.0 * 60).minutes) == 0
    assert health.snapshot(60.0 * 60).attempts == 5
    assert Health().snapshot(0.0).last_error is None


def test_a_failure_long_after_its_attempt_is_of_the_minute_it_happened_in():
    health = Health()
    health.begin(10.0)
    health.failed(125.0, 10.0, "silent")
    seen = health.snapshot(130.0)
    assert [(m.attempts, m.failed) for m in seen.minutes[-3:]] == [(1, 0), (0, 0), (0, 1)]
