"""When the process is late the least important are refused first; one stall is no overload."""

import pytest

from waterline.access.roles import Principal
from waterline.core.errors import Overloaded
from waterline.gateway.metrics import Metrics
from waterline.gateway.pressure import EVERY_S, MOST, WEIGHT, Pressure, priority_of

WHO = Principal("wl-1", "app", "n", "school", "production")


def made() -> Pressure:
    return Pressure(100, {}, Metrics())


def refused(pressure: Pressure) -> list[str]:
    found = []
    for said in ("low", "normal", "high"):
        try:
            pressure.check(WHO, said.encode())
        except Overloaded:
            found.append(said)
    return found


def test_one_stall_however_long_sheds_nobody():
    pressure = made()
    pressure.late(60.0)
    assert (pressure.refuses, refused(pressure)) == (0, [])
    assert MOST * WEIGHT < 1


def test_the_longer_it_is_late_the_more_important_those_who_are_refused():
    pressure, seen = made(), []
    for _ in range(30):
        pressure.late(0.5)
        seen.append(refused(pressure))
    steps = [found for n, found in enumerate(seen) if not n or found != seen[n - 1]]
    assert steps == [[], ["low"], ["low", "normal"], ["low", "normal", "high"]]


def test_a_lasting_lag_of_twice_the_bound_and_less_refuses_the_low_ones_only():
    pressure = made()
    for _ in range(200):
        pressure.late(0.19)
    assert refused(pressure) == ["low"]


def test_it_ends_by_itself_within_seconds_of_the_last_lateness():
    pressure = made()
    for _ in range(100):
        pressure.late(10.0)
    rounds = 0
    while pressure.refuses:
        pressure.late(0.0)
        rounds += 1
    assert rounds * EVERY_S < 2


def test_what_was_shed_is_counted_with_its_reason_and_its_priority():
    pressure = made()
    for _ in range(100):
        pressure.late(0.15)
    with pytest.raises(Overloaded) as told:
        pressure.check(WHO, b"low")
    assert told.value.retry_after_s == 5
    assert pressure._metrics.sheds == {("school", "event_loop", "low"): 1}
    assert 'waterline_shed_total{app="school",why="event_loop",priority="low"} 1' in pressure._metrics.text({})


@pytest.mark.parametrize(
    ("key", "asked", "app", "is_"),
    [
        ("normal", "high", "high", "normal"),
        ("normal", "low", "high", "low"),
        ("low", "high", "normal", "low"),
        ("high", None, "low", "high"),
        ("high", "normal", "low", "normal"),
        (None, "high", "normal", "high"),
        (None, None, "low", "low"),
    ],
)
def test_a_request_lowers_its_key_s_priority_and_never_raises_it(key, asked, app, is_):
    assert priority_of(key, asked, app) == is_
