"""Channels: how the numbers are and what to do about it, which templates may be sent, what messages cost."""

from collections.abc import Sequence
from datetime import UTC, datetime

from markupsafe import Markup
from msgspec import Struct

from waterline.console import shown
from waterline.console.charts import DAY_US, Axis, Chart, Series, budget_bar, meter, stacked
from waterline.console.forecast_pages import usd
from waterline.console.frame import Ask, View
from waterline.control.channels import BranchFees, FeesView, NumberView
from waterline.control.views import AppView
from waterline.core.money import NANO

MOST_NUMBERS, MOST_BRANCHES = 60, 100
BADGES = {"stopped": "fail", "well": "pass"} | dict.fromkeys(("paused", "careful", "slow"), "experimental")
TEMPLATE_BADGES = {"APPROVED": "pass", "PENDING": "experimental", "IN_APPEAL": "experimental"}
STATES = {
    "stopped": "Nothing can be sent from it.",
    "paused": "It answers, and begins no conversation until {until} UTC.",
    "careful": "Its rating fell: it answers as always, templates go slowly{marketing}.",
    "slow": "WhatsApp said that it is too fast: it speeds up again as messages go through.",
    "well": "It sends.",
    "unknown": "WhatsApp has not said anything of it yet.",
}


class Line(Struct, frozen=True):
    """A number as the page draws it. `badge`: a class of the style sheet."""

    number: NumberView
    badge: str
    words: str


async def channels(ask: Ask) -> View:
    apps = await ask.plane.apps(ask.who)
    wanted = _wanted(ask, apps)
    found = await ask.plane.channels(ask.who, wanted) if wanted else None
    lines = [_line(n) for n in found.numbers] if found else []
    context = {
        "apps": apps,
        "app": wanted,
        "found": found,
        "lines": lines[:MOST_NUMBERS],
        "more": max(0, len(lines) - MOST_NUMBERS),
        "well": sum(line.number.state == "well" for line in lines),
        "portfolio": meter(found.begun, found.now.limit, "Users in 24 hours") if found else "",
        "template_badges": TEMPLATE_BADGES,
        "here": "/channels",
    }
    return View("channels.html", found, context)


def _wanted(ask: Ask, apps: Sequence[AppView]) -> str:
    """The app that is asked for; else the only one."""
    return ask.query("app") or (apps[0].name if len(apps) == 1 else "")


def _line(number: NumberView) -> Line:
    words = STATES[number.state].format(
        until=shown.clock(number.paused_until_us) if number.paused_until_us else "",
        marketing=", marketing not at all" if number.quality == "RED" else "",
    )
    if number.stopped:
        words = f"{words} {number.stopped}"
    if number.stands_in and number.state in ("stopped", "paused", "careful"):
        words = f"{words} Templates leave from {number.stands_in} meanwhile."
    return Line(number, BADGES.get(number.state, "plain"), words)


class Bar(Struct, frozen=True):
    """A branch's month. `picture` None: it has no limit."""

    fees: BranchFees
    picture: Markup | None


async def fees(ask: Ask) -> View:
    apps = await ask.plane.apps(ask.who)
    wanted = _wanted(ask, apps)
    found = await ask.plane.money.channel_fees(ask.who, wanted, ask.query("month")) if wanted else None
    limit = found.limit_nano_usd if found else None
    context = {
        "apps": apps,
        "app": wanted,
        "found": found,
        "bars": [_bar(b, found.branch_limit_nano_usd) for b in found.branches[:MOST_BRANCHES]] if found else [],
        "more": max(0, len(found.branches) - MOST_BRANCHES) if found else 0,
        "picture": budget_bar(found.spent_nano_usd, 0, limit, "The app's messages") if found and limit else None,
        "chart": _chart(found) if found else None,
        "before": _month_before(found.month) if found else "",
        "usd": usd,
        "here": "/channels/fees",
    }
    return View("channel_fees.html", found, context)


def _bar(branch: BranchFees, limit: int | None) -> Bar:
    return Bar(branch, budget_bar(branch.spent_nano_usd, 0, limit, f"Branch {branch.branch}") if limit else None)


def _chart(found: FeesView) -> Chart:
    year, month = map(int, found.month.split("-"))
    since = int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000_000
    until = int(datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    spent = {day * DAY_US: nano / NANO for day, _, nano in found.days}
    series = [Series("billed or expected", "s0", spent, f"{shown.money(found.spent_nano_usd)} USD")]
    return stacked("Messages", "USD a day", series, Axis(since, until, DAY_US), lambda v: f"{usd(v)} USD", usd)


def _month_before(month: str) -> str:
    year, number = map(int, month.split("-"))
    return f"{year - (number == 1)}-{(number - 2) % 12 + 1:02}"
