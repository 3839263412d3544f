"""The learned limit of requests at once, by a clock of our own."""

from waterline.gateway.adaptive import DECREASE_EVERY_S, FIRST_LIMIT, Adaptive


def test_it_finds_what_the_provider_takes_and_stays_near():
    """A provider that takes 50 at once and refuses more, with more callers than that."""
    adaptive, now, seen = Adaptive(), 0.0, []
    for _ in range(20_000):
        now += 0.01
        in_flight = int(adaptive.limit)
        if in_flight > 50:
            adaptive.refused(now)
        else:
            adaptive.answered(now, False, 0.2, in_flight)
        seen.append(adaptive.limit)
    late = seen[len(seen) // 2 :]
    assert min(late) >= 35
    assert max(late) <= 52


def test_it_shrinks_when_answers_take_longer_to_begin():
    adaptive = Adaptive()
    for n in range(200):
        adaptive.answered(n * 0.1, True, 0.3, 20)
    before = adaptive.limit
    for n in range(50):
        adaptive.answered(30 + n * 0.5, True, 2.0, 20)
    assert adaptive.limit < 0.7 * before


def test_answers_of_different_length_are_no_overload():
    adaptive = Adaptive()
    for n in range(2000):
        adaptive.answered(n * 0.1, False, (0.5, 1.0, 3.0, 1.5)[n % 4], 20)
    assert adaptive.limit > FIRST_LIMIT


def test_streamed_and_plain_are_not_compared():
    adaptive = Adaptive()
    for n in range(2000):
        adaptive.answered(n * 0.1, n % 2 == 0, 0.2 if n % 2 == 0 else 9.0, 20)
    assert adaptive.limit > FIRST_LIMIT


def test_refusals_of_one_burst_count_once_and_the_limit_never_reaches_zero():
    adaptive = Adaptive()
    for _ in range(100):
        adaptive.refused(5.0)
    assert adaptive.limit == 0.8 * FIRST_LIMIT
    for n in range(100):
        adaptive.refused(10 + n * DECREASE_EVERY_S)
    assert adaptive.limit >= 1
    assert adaptive.room(0, "low")


def test_the_least_important_is_shed_first():
    adaptive = Adaptive()
    assert [p for p in ("low", "normal", "high") if adaptive.room(15, p)] == ["normal", "high"]
    assert [p for p in ("low", "normal", "high") if adaptive.room(19, p)] == ["high"]
    assert not adaptive.room(20, "high")


def test_a_limit_that_nobody_reaches_does_not_grow():
    adaptive = Adaptive()
    for n in range(1000):
        adaptive.answered(n * 1.0, False, 0.1, 2)
    assert adaptive.limit == FIRST_LIMIT
