"""The views over the books: the report, the invoice beside it and the month's forecast, on a made history."""

import calendar
import math
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from waterline.control import costs
from waterline.core.app_spec import AppSpec, Limits, Objectives, PriceOverride
from waterline.core.errors import Refused
from waterline.core.money import NANO, Usage, cost_nano_usd
from waterline.core.prices import PriceTable
from waterline.core.trace import TraceRow
from waterline.store import traces
from waterline.store.db import Store

DAY = 86_400_000_000
PRICES = PriceTable.parse(
    'version = "test"',
    (
        PriceOverride("large", "openai", 3 * NANO, 15 * NANO, cached_input=300_000_000),
        PriceOverride("small", "openai", 150_000_000, 750_000_000, cached_input=15_000_000),
    ),
)
SPEC = AppSpec(
    name="school",
    limits=Limits(nano_usd_per_month=30 * NANO),
    objectives=Objectives(nano_usd_per_month=500 * NANO),
)


def us(day: str, hour: int = 0) -> int:
    return calendar.timegm(date.fromisoformat(day).timetuple()) * 1_000_000 + hour * 3_600_000_000


def row(trace_id: str, at_us: int, model: str = "large", **changes: Any) -> TraceRow:
    usage = changes.pop("usage", Usage(input=100_000, cached_input=20_000, output=10_000))
    price = PRICES.find("openai", model, at_us)
    given: dict[str, Any] = {
        "id": trace_id, "app": "school", "env": "production", "purpose": "live", "release": "r1", "route": "main",
        "provider": "openai", "model": model, "key": "wl-1", "session": "s", "subject": "", "tags": "", "stream": False,
        "started_us": at_us, "first_token_us": None, "duration_us": 5, "outcome": "answered", "status": 200, "code": "",
        "attempts": 1, "usage": usage, "cost_nano_usd": None if price is None else cost_nano_usd(usage, price),
        "reserved_nano_usd": 0, "price_version": "test", "boot": "b", "branch": "porto",
    }  # fmt: skip
    return TraceRow(**{**given, **changes})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.open(tmp_path / "waterline.db")
    yield made
    made.close()


def put(store: Store, *rows: TraceRow) -> None:
    store.write_sync(lambda tx: traces.insert_batch(tx, [traces.write_of(r, []) for r in rows]))


def history(store: Store, first: str, days: int) -> None:
    """A pilot: weekdays ten large and ten small requests, weekends three of each, two turns a session."""
    rows = []
    for d in range(days):
        at = us(first, 12) + d * DAY
        count = 3 if (at // DAY + 3) % 7 >= 5 else 10 + d % 3
        for n in range(count):
            rows += [row(f"{d}-{n}-{m}", at + n, m, session=f"s{d}-{n}") for m in ("large", "small")]
    put(store, *rows)


def forecast(store: Store, now: int) -> costs.AppForecast:
    return store.read_sync(lambda tx: costs.app_forecast(tx, SPEC, PRICES, now))


def test_the_month_is_what_was_spent_and_what_days_like_these_will_cost(store):
    history(store, "2026-10-12", 40)  # to 20 November
    found = forecast(store, us("2026-11-21"))
    month = found.forecast.month
    assert month is not None
    each = sum(cost_nano_usd(Usage(input=100_000, cached_input=20_000, output=10_000), PRICES.find("openai", m, 0))
               for m in ("large", "small")) / NANO  # fmt: skip
    # 21 to 30 November: six weekdays of eleven, four days at a weekend of three
    assert month.value == pytest.approx(found.forecast.spent_usd + each * (6 * 11 + 4 * 3), rel=0.03)
    assert month.low < month.value < month.high
    assert found.month == "2026-11"
    assert found.turns == 2.0


def test_the_odds_are_against_each_declared_limit(store):
    history(store, "2026-10-12", 40)
    odds = {o.name.split()[0]: o.probability for o in forecast(store, us("2026-11-21")).forecast.odds}
    assert odds == {"limit": 1.0, "objective": 0.0}


def test_the_tornado_has_price_cache_routing_and_turns(store):
    history(store, "2026-10-12", 40)
    made = forecast(store, us("2026-11-21")).forecast
    effects = {e.name: e for e in made.effects}
    assert {"price", "cache hit rate", "routing", "turns a conversation"} <= set(effects)
    assert made.month is not None
    routing = effects["routing"]
    assert routing.low_usd < made.month.value < routing.high_usd
    cache = effects["cache hit rate"]
    assert "now 17%" in cache.high
    assert cache.high_usd < made.month.value < cache.low_usd


def test_a_month_that_is_over_tonight_has_hardly_anything_left_to_guess(store):
    history(store, "2026-10-12", 50)  # to 30 November
    month = forecast(store, us("2026-11-30", 23)).forecast.month
    assert month is not None
    assert (month.high - month.low) / month.value < 0.02


def test_the_requests_of_trials_are_no_traffic(store):
    put(store, *(row(f"t{d}", us("2026-11-01") + d * DAY, purpose="trial") for d in range(20)))
    assert forecast(store, us("2026-11-21")).forecast.month is None


def test_unpriced_traffic_makes_the_forecast_at_least(store):
    history(store, "2026-11-01", 20)
    put(store, row("u", us("2026-11-10"), "unknown"))
    found = forecast(store, us("2026-11-21"))
    assert found.unpriced == 1
    assert any(note.startswith("at least: 1 requests") for note in found.forecast.notes)


def test_the_report_keeps_purposes_apart_and_counts_what_is_estimated_or_unpriced(store):
    at = us("2026-11-03")
    put(
        store, row("a", at), row("b", at, outcome="cancelled", usage=Usage(input=10, output=5, estimated=True)),
        row("c", at, "unknown"), row("d", at, purpose="trial"), row("e", at, attempts=2), row("f", at, attempts=0),
    )  # fmt: skip
    days = costs.period("2026-11", "", "", at)
    found = store.read_sync(lambda tx: costs.report(tx, "school", "branch", days))
    assert [t.purpose for t in found.totals] == ["live", "trial"]
    live = found.totals[0]
    assert (live.requests, live.unpriced, live.estimated, live.retried) == (4, 1, 1, 1)
    assert live.estimated_nano_usd == next(r for r in found.rows if r.estimated).estimated_nano_usd > 0
    assert {r.what for r in found.rows} == {"porto"}


def test_an_invoice_of_one_provider_is_compared_with_that_providers_models_of_every_purpose(store):
    at = us("2026-11-03")
    put(store, row("a", at), row("b", at, purpose="trial"), row("c", at, provider="anthropic", model="claude-x"),
        row("d", us("2026-12-01")))  # fmt: skip
    ours = sum(r.cost_nano_usd or 0 for r in (row("a", at), row("b", at)))
    text = f"day,model,usd\n2026-11-03,large,{ours / NANO:.9f}\n2026-12-05,large,9.00\n"
    invoice = costs.parsed(text)
    days = costs.period("2026-11", "", "", at)
    found = store.read_sync(lambda tx: costs.reconciliation(tx, None, "openai", invoice, days))
    assert [m.model for m in found.matches] == ["large"]
    assert (found.total.error_nano_usd, found.outside) == (0, 1)


@pytest.mark.parametrize(
    ("month", "since", "until", "days"),
    [
        ("2026-12", "", "", ("2026-12-01", "2027-01-01")),
        ("", "2026-11-03", "2026-11-05", ("2026-11-03", "2026-11-06")),
        ("", "", "", ("2026-11-01", "2026-11-22")),
    ],
)
def test_a_span_is_whole_utc_days(month, since, until, days):
    first, after = costs.period(month, since, until, us("2026-11-21", 7))
    assert (str(first), str(after)) == days


@pytest.mark.parametrize(("month", "since"), [("2026-13", ""), ("1", ""), ("", "2026-02-30"), ("", "x" * 99)])
def test_a_span_that_is_none_is_refused(month, since):
    with pytest.raises(Refused, match="write YYYY-MM"):
        costs.period(month, since, "", 0)


def test_no_figure_of_a_forecast_is_not_a_number(store):
    history(store, "2026-11-01", 20)
    made = forecast(store, us("2026-11-21")).forecast
    assert made.month is not None
    assert all(math.isfinite(x) for e in made.effects for x in (e.low_usd, e.high_usd))
