"""The first page: what the apps do, what it costs, and how the live releases compare."""

from collections.abc import Callable

from msgspec import Struct

from waterline.console import shown
from waterline.console.charts import Axis, Chart, Series, lines, meter, stacked
from waterline.console.frame import Ask, View
from waterline.control.views import AppView
from waterline.core.money import NANO
from waterline.core.rollout import FULL_BP
from waterline.store.traces import Figures, Overview

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
SPANS = {  # name -> length, step
    "1h": ("1 hour", HOUR_US, MINUTE_US),
    "24h": ("24 hours", 24 * HOUR_US, 20 * MINUTE_US),
    "7d": ("7 days", 7 * 24 * HOUR_US, 2 * HOUR_US),
    "30d": ("30 days", 30 * 24 * HOUR_US, 12 * HOUR_US),
}
DRAWN_RELEASES = 6  # more are drawn together
OUTCOMES = ("answered", "refused", "failed", "cancelled", "interrupted", "open")


class ReleaseLine(Struct, frozen=True):
    """One release beside the others."""

    id: str
    style: str
    live: list[tuple[str, int]]  # environment, weight
    figures: Figures
    share: str  # of the traffic


class Difference(Struct, frozen=True):
    """The lighter of two live releases against the heavier one."""

    candidate: str
    base: str
    answered_points: str
    p50: str
    p95: str
    p99: str
    ttft_p50: str
    ttft_p95: str
    cost: str


async def overview(ask: Ask) -> View:
    chosen = ask.query("span") if ask.query("span") in SPANS else "24h"
    name, length, step = SPANS[chosen]
    until = ask.now_us + 1
    since = (until - length) // step * step
    wanted = ask.query("app") or None
    apps = await ask.plane.apps(ask.who)
    figures = await ask.plane.overview(ask.who, wanted, since, until, step)
    status = await ask.plane.status(ask.who)
    releases = _release_lines(figures, apps, wanted)
    context = {
        "apps": apps,
        "shown_apps": [a for a in apps if wanted in (None, a.name)],
        "app": wanted or "",
        "spans": [(key, value[0]) for key, value in SPANS.items()],
        "span": chosen,
        "span_name": name,
        "o": figures,
        "outcomes": [(o, figures.total.outcomes[o]) for o in OUTCOMES if figures.total.outcomes.get(o)],
        "releases": releases,
        "difference": _difference(releases),
        "charts": _charts(figures, releases) if figures.total.requests else [],
        "status": status,
        "meter": meter,
        "per_thousand": per_thousand,
    }
    return View("overview.html", {"apps": apps, "overview": figures, "status": status}, context)


def per_thousand(f: Figures) -> int | None:
    """Nano-USD a thousand priced requests; None if none has a price."""
    priced = f.requests - f.unpriced
    return f.cost_nano_usd * 1000 // priced if priced else None


def _release_lines(o: Overview, apps: list[AppView], wanted: str | None) -> list[ReleaseLine]:
    """Live ones first, the heaviest first; then by traffic. Colours follow that order."""
    live: dict[str, list[tuple[str, int]]] = {}
    for app in apps:
        if wanted in (None, app.name):
            for state in app.environments:
                for share in state.shares:
                    live.setdefault(share.release, []).append((state.env, share.weight_bp))
    by_id = {f.release: f for f in o.releases}
    for release in live:
        by_id.setdefault(release, Figures(0, release, 0, {}, 0, 0, 0, 0, None, None, None, None, None, None))

    def order(f: Figures) -> tuple[int, int, str]:
        return (-max((w for _, w in live.get(f.release, [])), default=0), -f.requests, f.release)

    lines_: list[ReleaseLine] = []
    for i, f in enumerate(sorted(by_id.values(), key=order)):
        style = f"s{i}" if i < DRAWN_RELEASES else "other"
        lines_.append(
            ReleaseLine(f.release, style, live.get(f.release, []), f, shown.share(f.requests, o.total.requests))
        )
    return lines_


def _difference(releases: list[ReleaseLine]) -> Difference | None:
    """Only where one environment has exactly two live releases, both with answers."""
    live = [r for r in releases if any(0 < w < FULL_BP for _, w in r.live)]
    if len(live) != 2 or not all(r.figures.outcomes.get("answered") for r in live):
        return None
    base, new = live[0], live[1]
    b, n = base.figures, new.figures
    points = 100 * (n.outcomes.get("answered", 0) / n.requests - b.outcomes.get("answered", 0) / b.requests)
    costs = per_thousand(n), per_thousand(b)
    if costs[0] is None or costs[1] is None:
        cost = shown.NONE
    else:
        sign = "+" if costs[0] >= costs[1] else "−"
        cost = f"{sign}{shown.money(abs(costs[0] - costs[1]))}{_relative(costs[0], costs[1])}"
    return Difference(
        new.id, base.id, f"{points:+.1f} points".replace("-", "−"),
        _slower(n.p50_us, b.p50_us), _slower(n.p95_us, b.p95_us), _slower(n.p99_us, b.p99_us),
        _slower(n.ttft_p50_us, b.ttft_p50_us), _slower(n.ttft_p95_us, b.ttft_p95_us), cost,
    )  # fmt: skip


def _slower(new: float | None, old: float | None) -> str:
    if new is None or old is None:
        return shown.NONE
    return f"{'+' if new >= old else '−'}{shown.duration(abs(new - old))}{_relative(new, old)}"


def _relative(new: float, old: float) -> str:
    return f" ({100 * (new - old) / old:+.0f} %)".replace("-", "−") if old else ""


# --- charts ------------------------------------------------------------------------------------------------------


def _charts(o: Overview, releases: list[ReleaseLine]) -> list[Chart]:
    axis = Axis(o.since_us, o.until_us, o.step_us)
    answered = sum(f.outcomes.get("answered", 0) for f in o.times)
    by_outcome = [
        Series(name, f"o-{name}", _over(o.times, lambda f, n=name: f.outcomes.get(n, 0)), f"{o.total.outcomes[name]:,}")  # type: ignore[misc]
        for name in OUTCOMES[1:]
        if o.total.outcomes.get(name)
    ]
    percentiles = [
        Series("p50", "p50", _known(o.times, lambda f: f.p50_us), shown.duration(o.total.p50_us)),
        Series("p95", "p95", _known(o.times, lambda f: f.p95_us), shown.duration(o.total.p95_us)),
        Series("p99", "p99", _known(o.times, lambda f: f.p99_us), shown.duration(o.total.p99_us)),
    ]
    return [
        stacked("Traffic by release", "requests", _by_release(
            o, releases, lambda f: f.requests, lambda f: f"{f.requests:,}"), axis, _count),
        lines("Latency of answers", "whole answer, UTC", percentiles if answered else [], axis, shown.duration),
        lines("p95 latency by release", "whole answer, UTC", _lines_by_release(
            o, releases, lambda f: f.p95_us), axis, shown.duration),
        stacked("Not answered", "requests", by_outcome, axis, _count),
        stacked("Cost by release", "USD, priced requests", _by_release(
            o, releases, lambda f: f.cost_nano_usd / NANO, lambda f: shown.money(f.cost_nano_usd)), axis, _usd),
        lines("p95 time to first token by release", "streamed answers, UTC", _lines_by_release(
            o, releases, lambda f: f.ttft_p95_us), axis, shown.duration),
    ]  # fmt: skip


def _over(points: list[Figures], value: Callable[[Figures], float]) -> dict[int, float]:
    return {f.at_us: value(f) for f in points}


def _known(points: list[Figures], value: Callable[[Figures], float | None]) -> dict[int, float]:
    return {f.at_us: v for f in points if (v := value(f)) is not None}


def _by_release(
    o: Overview, releases: list[ReleaseLine], value: Callable[[Figures], float], say: Callable[[Figures], str]
) -> list[Series]:
    """One series a release; those beyond the drawn ones are added up as "others"."""
    series = []
    rest: dict[int, float] = {}
    points: dict[str, list[Figures]] = {}
    for f in o.points:
        points.setdefault(f.release, []).append(f)
    for r in releases:
        mine = _over(points.get(r.id, []), value)
        if r.style == "other":
            for at, v in mine.items():
                rest[at] = rest.get(at, 0) + v
        elif mine:
            series.append(Series(shown.short(r.id), r.style, mine, say(r.figures)))
    unreleased = {}
    for f in o.times:  # refused before a release was chosen: in the total, under no release
        left = value(f) - sum(s.values.get(f.at_us, 0) for s in series) - rest.get(f.at_us, 0)
        if left > 1e-12:
            unreleased[f.at_us] = left
    if rest:
        series.append(Series("others", "other", rest))
    if unreleased:
        series.append(Series("no release", "none", unreleased))
    return series


def _lines_by_release(
    o: Overview, releases: list[ReleaseLine], value: Callable[[Figures], float | None]
) -> list[Series]:
    series = []
    for r in releases:
        if r.style != "other":
            mine = _known([f for f in o.points if f.release == r.id], value)
            series.append(Series(shown.short(r.id), r.style, mine, shown.duration(value(r.figures))))
    return series


def _count(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _usd(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 else f"{value:.3g}" if value else "0"
