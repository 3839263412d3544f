"""The geometry of the report's drawings: intervals against thresholds, latency by percentile. Numbers only; the
template turns them into SVG."""

import math

from msgspec import Struct

from waterline.core.verdict import Verdict
from waterline.trials.load_line import Series

BAR_WIDTH, BAR_LEFT, BAR_RIGHT = 260.0, 8.0, 252.0
CHART_WIDTH, CHART_HEIGHT = 720.0, 260.0
CHART_LEFT, CHART_RIGHT, CHART_TOP, CHART_BOTTOM = 56.0, 696.0, 14.0, 226.0
SHOWN_PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


class Bar(Struct, frozen=True):
    """One figure with its interval. x in the drawing's units; None: nothing to draw."""

    low: float
    high: float
    value: float
    threshold: float | None
    good_from: float  # the side of the threshold that passes
    good_to: float
    left_label: str
    right_label: str
    said: str  # for who cannot see it


class Line(Struct, frozen=True):
    name: str
    path: str
    number: int  # which colour and dash
    last: str  # its p99


class Tick(Struct, frozen=True):
    at: float
    label: str


class Chart(Struct, frozen=True):
    lines: list[Line]
    across: list[Tick]
    up: list[Tick]


def number(value: float, unit: str) -> str:
    """A figure as people read it."""
    match unit:
        case "share":
            percent = 100.0 * value
            whole = abs(percent - round(percent)) < 0.005 or abs(percent) >= 1000
            return f"{percent:.0f} %" if whole else f"{percent:.2f} %" if abs(percent) > 99 else f"{percent:.1f} %"
        case "difference":
            return f"{100.0 * value:+.1f} pp"
        case "ms":
            return f"{value:,.0f} ms"
        case "x":
            return f"{value:.2f}x"
        case "USD":
            return f"{value:,.2f} USD" if abs(value) >= 0.1 or not value else f"{value:.6f} USD"
        case _:
            return f"{value:,.4g} {unit}".strip()


def at_least(verdict: Verdict) -> bool:
    """Whether the threshold is a floor (scores, shares answered) or a ceiling."""
    return verdict.unit == "difference" or (verdict.unit == "share" and bool(verdict.threshold))


def bar(verdict: Verdict) -> Bar | None:
    seen = verdict.value
    if seen is None or not all(map(math.isfinite, (seen.value, seen.low, seen.high))):
        return None
    points = [seen.low, seen.value, seen.high] + ([verdict.threshold] if verdict.threshold is not None else [])
    first, last = min(points), max(points)
    room = 0.18 * (last - first) or abs(last) * 0.1 or 0.01
    first, last = first - room, last + room
    if verdict.unit == "share":
        first, last = max(0.0, first), min(1.0, last)
    elif verdict.unit != "difference":
        first = max(0.0, first)

    def at(value: float) -> float:
        return round(BAR_LEFT + (BAR_RIGHT - BAR_LEFT) * (value - first) / (last - first), 1)

    threshold = at(verdict.threshold) if verdict.threshold is not None else None
    good = (BAR_LEFT, BAR_LEFT)
    if threshold is not None:
        good = (threshold, BAR_RIGHT) if at_least(verdict) else (BAR_LEFT, max(threshold, BAR_LEFT + 1.5))
    shown = f"{number(seen.value, verdict.unit)} [{number(seen.low, verdict.unit)}, {number(seen.high, verdict.unit)}]"
    return Bar(
        at(seen.low), at(seen.high), at(seen.value), threshold, *good,
        number(first, verdict.unit), number(last, verdict.unit), shown,
    )  # fmt: skip


def chart(series: list[Series]) -> Chart | None:
    """Latency by percentile; the tail has the room: x is log10 of 1/(1-p), y starts at 0."""
    drawn = [s for s in series if s.points]
    if not drawn:
        return None
    top = _round_up(1.06 * max(ms for s in drawn for _, ms in s.points))
    deepest = _depth(99.9)

    def across(percentile: float) -> float:
        return round(CHART_LEFT + (CHART_RIGHT - CHART_LEFT) * min(1.0, _depth(percentile) / deepest), 1)

    def up(ms: float) -> float:
        return round(CHART_BOTTOM - (CHART_BOTTOM - CHART_TOP) * ms / top, 1)

    lines = []
    for place, one in enumerate(drawn):
        points = [(p, ms) for p, ms in one.points if p <= 99.9]
        path = "M" + " L".join(f"{across(p)},{up(ms)}" for p, ms in points)
        p99 = next((ms for p, ms in one.points if p == 99.0), 0.0)
        lines.append(Line(one.name, path, place % 4, f"p99 {p99:,.0f} ms"))
    return Chart(
        lines,
        [Tick(across(p), f"p{p:g}") for p in SHOWN_PERCENTILES],
        [Tick(up(top * part / 4), f"{top * part / 4:,.0f}") for part in range(5)],
    )


def _depth(percentile: float) -> float:
    return -math.log10(max(1e-3, 1.0 - percentile / 100.0))


def _round_up(value: float) -> float:
    """To 1, 2, 4, 6 or 8 times a power of ten, so that quarters are round."""
    if value <= 0:
        return 4.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 6.0, 8.0, 10.0) if m * power >= value)
