"""Invariant 3: spent + reserved <= limit at every instant; a caller far from the limit is never blocked."""

import itertools
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterline.core.app_spec import Limits, Spending
from waterline.core.errors import BudgetExceeded
from waterline.core.money import MILLION, Price, worst_case_nano_usd
from waterline.gateway.budget import Budget, Reservation
from waterline.gateway.ledger import Cell, bounds
from waterline.gateway.lengths import AnswerLengths

PRICE = Price(3 * 10**9, 15 * 10**9, 3 * 10**8, 375 * 10**7, 15 * 10**9, 3 * 10**9, 15 * 10**9, "test")
NOW = int(datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp() * 1e6)


IDS = itertools.count()


def budget(nano: int | None = None, month: int | None = None) -> Budget:
    return Budget("school", Limits(nano_usd_per_day=nano, nano_usd_per_month=month))


def reserve(b: Budget, at_us: int, *wanted, branch: str = "", key: str = "wl-1", subject: str = "") -> Reservation:
    """As the first attempt of a request of its own."""
    return b.reserve(b.open(f"t{next(IDS)}", at_us, branch, key, subject), *wanted)


def running(b: Budget) -> list[Cell]:
    """The app's day and month."""
    return [b.of_app("day"), b.of_app("month")]


@settings(max_examples=200)
@given(
    limit=st.integers(0, 10**10),
    calls=st.lists(
        st.tuples(st.integers(1, 5000), st.none() | st.integers(1, 4000), st.integers(1, 3), st.floats(0, 1)),
        max_size=60,
    ),
    data=st.data(),
)
def test_spent_plus_reserved_never_passes_the_limit_in_any_interleaving(limit, calls, data):
    b = budget(limit, limit * 2)
    open_holds = []
    for prompt, max_tokens, choices, share in calls:
        try:
            hold = reserve(b, NOW, PRICE, "m", prompt, max_tokens, choices, 64)
            open_holds.append((hold, share))
            assert hold.max_tokens is not None
        except BudgetExceeded:
            pass
        for p in running(b):
            assert p.spent + p.reserved <= p.limit
        while open_holds and data.draw(st.booleans()):
            hold, share = open_holds.pop(data.draw(st.integers(0, len(open_holds) - 1)))
            assert hold.settle(int(hold.amount * share)) == 0
        for p in running(b):
            assert p.spent + p.reserved <= p.limit
    for hold, _ in open_holds:
        hold.settle(0)
    assert all(p.reserved == 0 for p in running(b))


def test_answer_is_clamped_to_what_the_budget_has_left():
    room = worst_case_nano_usd(PRICE, 100, 500)
    hold = reserve(budget(room), NOW, PRICE, "m", 100, 4000, 1, 64)
    assert hold.max_tokens is not None
    assert 490 <= hold.max_tokens <= 500
    assert hold.clamped_from == 4000


def test_refused_only_below_the_learned_p99():
    room = worst_case_nano_usd(PRICE, 100, 50)
    with pytest.raises(BudgetExceeded, match="usd_per_day"):
        reserve(budget(room), NOW, PRICE, "m", 100, 4000, 1, 64)
    assert reserve(budget(room), NOW, PRICE, "m", 100, 4000, 1, 40).max_tokens is not None
    assert reserve(budget(room), NOW, PRICE, "m", 100, 30, 1, 64).max_tokens == 30


def test_a_hundred_concurrent_long_worst_cases_do_not_block_a_cheap_call_far_from_the_limit():
    b = budget(10 * 10**9)  # 10 USD; the worst case of a call is 0.06
    for _ in range(100):
        reserve(b, NOW, PRICE, "m", 100, None, 1, 64)
    assert reserve(b, NOW, PRICE, "m", 100, 64, 1, 64).clamped_from is None


def test_what_has_no_price_is_refused_under_a_hard_budget_and_free_without_one():
    with pytest.raises(BudgetExceeded, match="no price"):
        reserve(budget(10**9), NOW, None, "mystery", 10, 10, 1, 64)
    assert reserve(budget(), NOW, None, "mystery", 10, 10, 1, 64).amount == 0


def test_a_new_day_begins_with_nothing_spent_and_old_reservations_settle_where_they_came_from():
    b = budget(worst_case_nano_usd(PRICE, 100, 100))
    hold = reserve(b, NOW, PRICE, "m", 100, 100, 1, 64)
    tomorrow = NOW + 24 * 3600 * 1_000_000
    second = reserve(b, tomorrow, PRICE, "m", 100, 100, 1, 64)
    hold.settle(hold.amount)
    assert b.of_app("day").spent == 0
    second.settle(7)
    assert b.of_app("day").spent == 7


def test_a_limit_that_was_taken_away_after_midnight_binds_no_request_that_came_before_it():
    b = budget(1)
    tab = b.open("before midnight", NOW, "", "wl-1", "")
    b.open("after it", NOW + 24 * 3600 * 1_000_000, "", "wl-1", "").close()
    b.configure(Limits())
    assert b.reserve(tab, PRICE, "m", 100, 100, 1, 64).clamped_from is None


def test_raised_limit_keeps_what_was_spent():
    b = budget(10**9)
    reserve(b, NOW, PRICE, "m", 100, 10, 1, 64).settle(123)
    b.configure(Limits(nano_usd_per_day=2 * 10**9))
    assert (b.of_app("day").spent, b.of_app("day").limit) == (123, 2 * 10**9)


def test_restart_counts_what_the_store_says_was_spent():
    b = budget(10**9)
    made = b.prepare(Limits(nano_usd_per_day=10**9), {}, NOW)
    made.restore([{"school": 10**9}, {"school": 10**9}])
    b.configure(Limits(nano_usd_per_day=10**9), {}, made)
    b.drop(made)
    with pytest.raises(BudgetExceeded):
        reserve(b, NOW, PRICE, "m", 1, 1, 1, 1)


# In the last three a change of the clock makes midnight come twice, or not at all.
ZONES = ["UTC", "America/Sao_Paulo", "Europe/Lisbon", "Pacific/Auckland"]
MIDNIGHTS = ["Atlantic/Azores", "America/Havana", "Africa/Cairo"]


@pytest.mark.parametrize("zone", ZONES + MIDNIGHTS)
@given(at=st.integers(1_600_000_000, 1_900_000_000))
def test_periods_tile_the_calendar(zone, at):
    z = ZoneInfo(zone)
    for kind in ("day", "month"):
        start, end = bounds(kind, at * 1_000_000, z)
        assert start <= at * 1_000_000 < end
        assert bounds(kind, end, z)[0] == end
        assert bounds(kind, end - 1, z) == (start, end)


def test_learned_p99_follows_the_answers():
    lengths = AnswerLengths()
    for _ in range(200):
        lengths.learn(10)
    assert lengths.p99 == 10
    for _ in range(50):
        lengths.learn(900)
    assert lengths.p99 == 900


def test_cost_is_rounded_up_once():
    tiny = Price(1, 1, 1, 1, 1, 1, 1, "t")
    assert worst_case_nano_usd(tiny, 1, 1) == 1
    assert worst_case_nano_usd(tiny, MILLION, MILLION) == 2


def test_a_clock_set_forth_and_back_does_not_give_the_budget_twice():
    b = budget(1000 * 10**6)
    reserve(b, NOW, PRICE, "m", 100, 10, 1, 64).settle(900 * 10**6)
    b.roll(NOW + 24 * 3600 * 1_000_000)
    b.roll(NOW)
    assert b.of_app("day").spent == 900 * 10**6


def test_a_limit_declared_later_counts_what_is_still_in_flight():
    b = budget()
    hold = reserve(b, NOW, PRICE, "m", 100, 1000, 1, 64)
    b.configure(Limits(nano_usd_per_day=10**9))
    assert b.of_app("day").reserved > 0
    hold.settle(5)
    assert (b.of_app("day").reserved, b.of_app("day").spent) == (0, 5)


def test_an_hour_that_comes_twice_at_midnight_is_one_day():
    """On 2026-10-25 the Azores go from 01:00 back to 00:00: the day has 25 hours, and one beginning."""
    zone = ZoneInfo("Atlantic/Azores")
    first = int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp() * 1e6)  # 00:30, the first time
    start, end = bounds("day", first, zone)
    assert bounds("day", first + 3_600_000_000, zone) == (start, end)  # 00:30, the second time
    assert end - start == 25 * 3_600_000_000


def test_a_call_draws_on_every_budget_that_applies_or_on_none():
    tight = worst_case_nano_usd(PRICE, 100, 100)
    limits = Limits(nano_usd_per_day=10**9, branch=Spending(10**9), subject=Spending(tight))
    b = Budget("school", limits)
    reserve(b, NOW, PRICE, "m", 100, 100, 1, 64, branch="porto", subject="ana")
    before = [(line.scope, line.name, line.reserved) for line in b.lines()]
    with pytest.raises(BudgetExceeded, match="This subject"):
        reserve(b, NOW, PRICE, "m", 100, 100, 1, 64, branch="porto", subject="ana")
    assert [(line.scope, line.name, line.reserved) for line in b.lines()] == before
    assert {amount for _, _, amount in before} == {tight}
    assert reserve(b, NOW, PRICE, "m", 100, 100, 1, 64, branch="porto", subject="bia").clamped_from is None


def test_the_tightest_budget_clamps():
    limits = Limits(nano_usd_per_day=10**9, branches={"porto": Spending(None, worst_case_nano_usd(PRICE, 100, 90))})
    b = Budget("school", limits)
    hold = reserve(b, NOW, PRICE, "m", 100, 4000, 1, 64, branch="porto")
    assert (hold.max_tokens, hold.clamped_from) == (90, 4000)
    assert reserve(b, NOW, PRICE, "m", 100, 4000, 1, 64, branch="lisbon").max_tokens == 4000


def test_a_refusal_names_the_budget_what_is_spent_its_limit_and_when_it_renews():
    b = Budget("school", Limits(key=Spending(10**6), timezone="Europe/Lisbon"))
    reserve(b, NOW, PRICE, "m", 1, 1, 1, 1).settle(999_999)
    with pytest.raises(BudgetExceeded) as refused:
        reserve(b, NOW, PRICE, "m", 100, 100, 1, 64)
    said = str(refused.value)
    for part in ('Key wl-1 of app "school"', "0.0010 of 0.0010 USD today", "[limits.key]", "2026-11-22 00:00 WET"):
        assert part in said, said


def test_two_changes_of_the_limits_at_the_same_time_lose_nothing():
    """What the first replaces is counted on for the second, which was prepared before."""
    lisbon, utc = Limits(rpm=10, timezone="Europe/Lisbon"), Limits(nano_usd_per_day=10**9)
    b = budget(10**9)
    began = b.prepare(utc, {}, NOW)
    began.restore([{}, {}])
    b.configure(utc, {}, began)
    b.drop(began)
    first, second = b.prepare(lisbon, {}, NOW), b.prepare(utc, {}, NOW)
    first.restore([{}, {}])
    b.configure(lisbon, {}, first)
    b.drop(first)
    reserve(b, NOW, PRICE, "m", 100, 10, 1, 64).settle(123)
    b.configure(utc, {}, second)
    b.drop(second)
    assert (b.of_app("day").spent, b.of_app("day").limit) == (123, 10**9)


def test_alerts_are_raised_once_at_half_at_four_fifths_and_when_nothing_fits():
    raised = []
    b = Budget("school", Limits(nano_usd_per_day=1000), alert=lambda alert: raised.append(alert.level))
    tab = b.open("t", NOW, "", "wl-1", "")
    for cost in (499, 1, 1, 299, 1):
        b.reserve(tab, PRICE, "m", 0, 0, 1, 0).settle(cost)
    assert raised == [50, 80]
    for _ in range(2):
        with pytest.raises(BudgetExceeded):
            b.reserve(tab, PRICE, "m", 100, 100, 1, 64)
    assert raised == [50, 80, 100]
