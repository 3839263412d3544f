"""Budgets as pictures: what is spent, reserved and left of each, and where an app's month goes."""

import calendar
import time
from collections.abc import Mapping
from itertools import groupby

from markupsafe import Markup
from msgspec import Struct

from waterline.console import shown
from waterline.console.charts import DAY_US, Axis, Chart, Outlook, budget_bar, month
from waterline.console.frame import Ask, View
from waterline.control.budgets import BudgetView
from waterline.control.costs import LIVE, AppForecast, CostReport
from waterline.core.money import NANO

PERIODS = {"day": "today", "month": "this month"}
LARGEST = 24  # of the budgets of branches, keys or people: those nearest to their limit


class Bar(Struct, frozen=True):
    budget: BudgetView
    title: str
    picture: Markup | None  # None: there is no limit
    renews: str


class Bars(Struct, frozen=True):
    """The budgets of one app; `more`: those that are not drawn."""

    app: str
    own: list[Bar]
    others: list[Bar]
    more: int


async def budgets(ask: Ask) -> View:
    apps = await ask.plane.apps(ask.who)
    wanted = ask.query("app") or (apps[0].name if len(apps) == 1 else "")
    forecast = await ask.plane.money.forecast(ask.who, wanted) if wanted else None
    found = await ask.plane.money.budgets(ask.who, wanted or None)
    chart = None
    if forecast is not None:
        since, until = _month(ask.now_us)
        report = await ask.plane.money.report(ask.who, wanted, "day", "", "", "")
        chart = _chart(forecast, _by_day(report), since, until, ask.now_us, found)
    context = {
        "apps": apps,
        "app": wanted,
        "shown": [_bars(app, list(of_app), ask.now_us) for app, of_app in groupby(found, lambda b: b.app)],
        "forecast": forecast,
        "chart": chart,
        "periods": PERIODS,
    }
    return View("budgets.html", {"budgets": found, "forecast": forecast}, context)


def _bars(app: str, found: list[BudgetView], now_us: int) -> Bars:
    own = [_bar(b, now_us) for b in found if b.scope == "app"]
    others = sorted((b for b in found if b.scope != "app"), key=lambda b: -_share(b))
    return Bars(app, own, [_bar(b, now_us) for b in others[:LARGEST]], max(0, len(others) - LARGEST))


def _share(b: BudgetView) -> float:
    return (b.spent_nano_usd + b.reserved_nano_usd) / max(1, b.limit_nano_usd or 0)


def _bar(b: BudgetView, now_us: int) -> Bar:
    whose = "The app" if b.scope == "app" else f"{b.scope.capitalize()} {b.name}"
    title = f"{whose}, {PERIODS[b.period]}"
    picture = None
    if b.limit_nano_usd is not None:
        picture = budget_bar(b.spent_nano_usd, b.reserved_nano_usd, b.limit_nano_usd, title)
    return Bar(b, title, picture, shown.span(b.renews_us - now_us))


def _month(now_us: int) -> tuple[int, int]:
    """Start and end of the running month, UTC, as the forecast counts it."""
    now = time.gmtime(now_us / 1e6)
    days = calendar.monthrange(now.tm_year, now.tm_mon)[1]
    start = calendar.timegm((now.tm_year, now.tm_mon, 1, 0, 0, 0)) * 1_000_000
    return start, start + days * DAY_US


def _by_day(report: CostReport) -> dict[int, int]:
    """Nano-USD of the app's users, by the day's beginning."""
    spent: dict[int, int] = {}
    for row in report.rows:
        if row.purpose == LIVE:
            day_us = calendar.timegm(time.strptime(row.what, "%Y-%m-%d")) * 1_000_000
            spent[day_us] = spent.get(day_us, 0) + row.cost_nano_usd
    return spent


def _chart(
    forecast: AppForecast, spent: Mapping[int, int], since: int, until: int, now_us: int, found: list[BudgetView]
) -> Chart:
    added: dict[int, float] = {}
    total = 0
    for day_us in sorted(spent):
        total += spent[day_us]
        added[min(day_us + DAY_US, now_us)] = total / NANO
    added[now_us] = total / NANO
    end = forecast.forecast.month
    limits = [
        ("limit of the app", b.limit_nano_usd / NANO)
        for b in found
        if b.scope == "app" and b.period == "month" and b.limit_nano_usd is not None
    ]
    outlook = Outlook(added, now_us, (end.value, end.low, end.high) if end is not None else None, limits)
    return month(f"{forecast.app}, {forecast.month}", outlook, Axis(since, until, DAY_US), _usd, _usd)


def _usd(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 else f"{value:.3g}" if value else "0"
