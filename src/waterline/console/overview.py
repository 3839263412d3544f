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
    app: str  # "" where it is not live
    style: str
    live: list[tuple[str, int]]  # environment, weight
    figures: Figures
    share: str  # of the traffic


class Delta(Struct, frozen=True):
    """New minus old: in the unit itself, and relative to the old."""

    text: str
    relative: str = ""


class Difference(Struct, frozen=True):
    """The lighter of two live releases against the heavier one."""

    candidate: str
    base: str
    answered: Delta
    latencies: list[Delta]  # p50, p95, p99, then first token p50, p95
    cost: Delta  # a thousand requests


async def overview(ask: Ask) -> View:
    chosen = ask.query("span") if ask.query("span") in SPANS else "24h"
    name, length, step = SPANS[chosen]
    until = ask.now_us + 1
    since = (until - length) // step * step
    wanted = ask.query("app") or None
    apps = await ask.plane.apps(ask.who)
    figures = await ask.plane.traces.overview(ask.who, wanted, since, until, step)
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
    """Live ones with traffic first, the heaviest first; then by traffic. Colours follow that order."""
    live: dict[str, list[tuple[str, int]]] = {}
    app_of: dict[str, str] = {}
    for app in apps:
        if wanted in (None, app.name):
            for state in app.environments:
                for share in state.shares:
                    live.setdefault(share.release, []).append((state.env, share.weight_bp))
                    app_of[share.release] = app.name
    by_id = {f.release: f for f in o.releases}
    for release in live:
        by_id.setdefault(release, Figures(0, release, 0, {}, 0, 0, 0, 0, None, None, None, None, None, None))

    def order(f: Figures) -> tuple[bool, int, int, str]:
        return (not f.requests, -max((w for _, w in live.get(f.release, [])), default=0), -f.requests, f.release)

    lines_: list[ReleaseLine] = []
    for i, f in enumerate(sorted(by_id.values(), key=order)):
        style = f"s{i}" if i < DRAWN_RELEASES else "other"
        lines_.append(
            ReleaseLine(
                f.release,
                app_of.get(f.release, ""),
                style,
                live.get(f.release, []),
                f,
                shown.share(f.requests, o.total.requests),
            )
        )
    return lines_


def _difference(releases: list[ReleaseLine]) -> Difference | None:
    """Only where one environment has exactly two live releases, both with answers."""
    live = [r for r in releases if any(0 < w < FULL_BP for _, w in r.live)]
    if len(live) != 2 or not all(r.figures.outcomes.get("answered") for r in live):
        return None
    old, new = live[0].figures, live[1].figures
    points = 100 * (_answered_share(new) - _answered_share(old))
    latencies = [
        _delta(new.p50_us, old.p50_us, shown.duration),
        _delta(new.p95_us, old.p95_us, shown.duration),
        _delta(new.p99_us, old.p99_us, shown.duration),
        _delta(new.ttft_p50_us, old.ttft_p50_us, shown.duration),
        _delta(new.ttft_p95_us, old.ttft_p95_us, shown.duration),
    ]
    cost = _delta(per_thousand(new), per_thousand(old), lambda nano: shown.money(round(nano)))
    return Difference(live[1].id, live[0].id, Delta(_signed(points, f"{abs(points):.1f} points")), latencies, cost)


def _answered_share(f: Figures) -> float:
    return f.outcomes.get("answered", 0) / f.requests


def _delta(new: float | None, old: float | None, say: Callable[[float], str]) -> Delta:
    if new is None or old is None:
        return Delta(shown.NONE)
    change = new - old
    percent = 100 * change / old if old else 0
    return Delta(_signed(change, say(abs(change))), _signed(percent, f"{abs(percent):.0f} %") if old else "")


def _signed(value: float, size: str) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else '±'}{size}"


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

    def by_release(value: Callable[[Figures], float | None]) -> list[Series]:
        return _lines_by_release(o, releases, value)

    traffic = _by_release(o, releases, lambda f: f.requests, _count)
    cost = _by_release(o, releases, lambda f: f.cost_nano_usd / NANO, _usd)
    p95, ttft = by_release(lambda f: f.p95_us), by_release(lambda f: f.ttft_p95_us)
    say = shown.duration
    return [
        stacked("Traffic by release", "requests", traffic, axis, _count, _count_tick),
        lines("Latency", "of whole answers", percentiles if answered else [], axis, say, _time_tick),
        lines("p95 latency by release", "of whole answers", p95, axis, say, _time_tick),
        stacked("Not answered", "requests", by_outcome, axis, _count, _count_tick),
        stacked("Cost by release", "USD, priced requests", cost, axis, _usd, _usd),
        lines("p95 first token by release", "of streams", ttft, axis, say, _time_tick),
    ]


def _over(points: list[Figures], value: Callable[[Figures], float]) -> dict[int, float]:
    return {f.at_us: value(f) for f in points}


def _known(points: list[Figures], value: Callable[[Figures], float | None]) -> dict[int, float]:
    return {f.at_us: v for f in points if (v := value(f)) is not None}


def _by_release(
    o: Overview, releases: list[ReleaseLine], value: Callable[[Figures], float], say: Callable[[float], str]
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
            series.append(Series(shown.short(r.id), r.style, mine, say(value(r.figures))))
    unreleased = {}
    for f in o.times:  # refused before a release was chosen: in the total, under no release
        left = value(f) - sum(s.values.get(f.at_us, 0) for s in series) - rest.get(f.at_us, 0)
        if left > 1e-12:
            unreleased[f.at_us] = left
    if rest:
        series.append(Series("others", "other", rest, say(sum(rest.values()))))
    if unreleased:
        series.append(Series("no release", "none", unreleased, say(sum(unreleased.values()))))
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
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _count_tick(value: float) -> str:
    for size, letter in ((1_000_000, "M"), (10_000, "k")):
        if value >= size:
            return f"{value / (1000 if letter == 'k' else size):g}{letter}"
    return f"{value:,g}" if value >= 1000 else f"{value:g}"


def _time_tick(us: float) -> str:
    if us >= 1_000_000:
        return f"{us / 1e6:g} s"
    return f"{us / 1000:g} ms" if us else "0"


def _usd(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 else f"{value:.3g}" if value else "0"
