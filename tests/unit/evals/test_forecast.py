"""The month's forecast: honest about how little it knows, and right as often as it says."""

from random import Random

import pytest

from waterline.core.money import NANO, Price
from waterline.core.verdict import Estimate
from waterline.evals.forecast import Assumption, Day, Declared, Effect, declared_month, from_days, weekday_means

PRICE = Price(3 * NANO, 15 * NANO, 300_000_000, 3_750_000_000, 15 * NANO, 3 * NANO, 15 * NANO, "test")
SMALL = Price(150_000_000, 750_000_000, 15_000_000, 187_500_000, 750_000_000, 150_000_000, 750_000_000, "test")
MONDAY = 4  # 1970-01-05


def declared(within: float = 0.3, other: Price | None = None) -> Declared:
    def a(name: str, value: float) -> Assumption:
        return Assumption(name, value, within, "", "test")

    return Declared(
        a("volume", 1000), a("turns", 4), a("prompt", 500), a("question", 40), a("answer", 100), 0.0, 1.0, 0.0, PRICE,
        other, "small",
    )  # fmt: skip


def traffic(days: int, seed: int = 1, weekend: float = 0.3) -> list[Day]:
    rng = Random(seed)
    found = []
    for d in range(MONDAY, MONDAY + days):
        level = weekend if (d - MONDAY) % 7 >= 5 else 1.0
        found.append(Day(d, 10.0 * level * rng.lognormvariate(0.0, 0.25)))
    return found


def left(days: int, since: int) -> list[tuple[int, float]]:
    return [(d, 1.0) for d in range(since, since + days)]


def width(e: Estimate | None) -> float:
    assert e is not None
    return (e.high - e.low) / e.value


def test_a_declared_month_is_the_same_every_time_and_holds_its_value():
    first, second = declared_month(declared()), declared_month(declared())
    assert first == second
    assert first.month is not None
    assert first.month.low < first.month.value < first.month.high


def test_without_uncertainty_the_interval_is_the_figure():
    month = declared_month(declared(within=0.0)).month
    assert month is not None
    # 4 turns x (500 + 1.5 x 140 + 40 in, 100 out)
    exact = 1000 * 4 * (750 * 3 + 100 * 15) / 1e6
    assert (month.low, month.value, month.high) == pytest.approx((exact, exact, exact))


def test_more_uncertainty_is_a_wider_interval():
    assert width(declared_month(declared(0.6)).month) > 1.5 * width(declared_month(declared(0.3)).month)


def test_the_interval_of_one_assumption_is_the_one_that_was_stated():
    d = declared(0.0)
    alone = Declared(Assumption("volume", 1000, 0.5, "", ""), *(getattr(d, f) for f in d.__struct_fields__[1:]))
    month = declared_month(alone).month
    assert month is not None
    assert month.high / month.value == pytest.approx(1.5, rel=0.05)
    assert month.value / month.low == pytest.approx(1.5, rel=0.05)


def test_the_tornado_has_the_widest_first_and_the_four_levers():
    made = declared_month(declared(other=SMALL))
    names = [e.name for e in made.effects]
    assert {"price", "turns", "cache hit rate", "routing"} <= set(names)
    assert [e.swing for e in made.effects] == sorted((e.swing for e in made.effects), reverse=True)


def test_the_odds_of_a_budget_go_from_nought_to_one():
    odds = declared_month(declared(), [("tight", 0.01), ("ample", 1e9)]).odds
    assert [o.probability for o in odds] == [1.0, 0.0]


@pytest.mark.parametrize("days", [0, 3, 6])
def test_too_little_traffic_is_inconclusive_and_says_how_many_more_days(days):
    made = from_days(traffic(days), left(20, 100), 1.0, [("b", 5.0)])
    assert made.month is None
    assert made.more_days == 7 - days
    assert made.odds == []


def test_days_without_any_traffic_are_no_data():
    assert from_days([Day(d, 0.0) for d in range(30)], left(10, 30), 0.0).month is None


def test_few_days_make_a_wide_interval_and_say_so():
    few = from_days(traffic(7), left(20, MONDAY + 7), 0.0)
    many = from_days(traffic(42), left(20, MONDAY + 42), 0.0)
    assert width(few.month) > 2 * width(many.month)
    assert "7 days only" in few.notes[0]


def test_weekends_to_come_cost_what_weekends_cost():
    days = traffic(28)
    means = weekday_means(days)
    saturday, monday = (MONDAY + 5) % 7, MONDAY % 7
    assert means[saturday] < 0.5 * means[monday]
    weekend = from_days(days, [(MONDAY + 28 + 5, 1.0), (MONDAY + 28 + 6, 1.0)], 0.0).month
    week = from_days(days, [(MONDAY + 28, 1.0), (MONDAY + 29, 1.0)], 0.0).month
    assert weekend is not None
    assert week is not None
    assert weekend.high < week.low


def test_what_is_spent_is_spent():
    made = from_days(traffic(28), [], 77.0, [("b", 76.0)])
    assert made.month is not None
    assert (made.month.low, made.month.high) == (77.0, 77.0)
    assert made.odds[0].probability == 1.0


def test_a_change_of_level_is_said():
    days = [Day(d.number, d.usd * (3 if d.number >= MONDAY + 21 else 1)) for d in traffic(28)]
    assert any("no trend is in the forecast" in n for n in from_days(days, left(5, MONDAY + 28), 0.0).notes)


@pytest.mark.parametrize(("days", "at_least"), [(7, 0.84), (21, 0.82), (42, 0.84)])
def test_the_ninety_percent_interval_holds_about_ninety_percent_of_the_months(days, at_least):
    """Seeded; 150 made months. Below two weeks the weekday pattern is unknown and the t interval must still hold."""
    held = 0
    for seed in range(150):
        everything = traffic(days + 21, seed=seed, weekend=0.6)
        past, future = everything[:days], everything[days:]
        month = from_days(past, [(d.number, 1.0) for d in future], 0.0, seed=seed, draws=400).month
        assert month is not None
        held += month.low <= sum(d.usd for d in future) <= month.high
    assert held / 150 >= at_least


def test_effects_are_made_of_the_months_value():
    made = from_days(traffic(20), left(3, 100), 1.0, effects=lambda usd: [Effect("price", "", usd * 0.8, "", usd)])
    assert made.month is not None
    assert made.effects[0].high_usd == made.month.value
