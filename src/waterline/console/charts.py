"""Charts as SVG, drawn here: axes with units, a title on hover for every bucket of time, colours from the style sheet.

A chart is drawn 400 units wide and shown between 330 and 460 pixels, so that its letters stay legible everywhere.
"""

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape
from msgspec import Struct

from waterline.console.shown import moment

WIDTH, HEIGHT = 400, 190
LEFT, RIGHT, TOP, BOTTOM = 48, 8, 10, 24
PLOT_W, PLOT_H = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
DAY_US = 86_400_000_000
TICKS_US = tuple(m * 60_000_000 for m in (1, 5, 10, 15, 30, 60, 180, 360, 720, 1440, 2 * 1440, 7 * 1440, 30 * 1440))


class Series(Struct, frozen=True):
    """`style` is a class of the style sheet. `values`: start of the bucket -> figure; a missing one is unknown."""

    name: str
    style: str
    values: dict[int, float]
    figure: str = ""  # for the whole span, said in the legend


class Axis(Struct, frozen=True):
    """Time from left to right in buckets that begin at multiples of `step_us`."""

    since_us: int
    until_us: int
    step_us: int

    @property
    def buckets(self) -> range:
        return range(self.since_us - self.since_us % self.step_us, self.until_us, self.step_us)

    @property
    def width(self) -> float:
        """Of one bucket."""
        return PLOT_W / max(1, len(self.buckets))

    def x(self, at_us: int) -> float:
        return LEFT + self.width * (at_us - self.buckets.start) / self.step_us

    @property
    def ticks(self) -> list[int]:
        """Three to eight round moments, those too near to an end left out."""
        start, length = self.buckets.start, self.until_us - self.buckets.start
        every = next((t for t in TICKS_US if length / t <= 8), TICKS_US[-1])
        first = -(-start // every) * every
        return [at for at in range(first, self.until_us, every) if self.x(at) < WIDTH - RIGHT - 12]

    def name(self, at_us: int) -> str:
        start, end = moment(at_us), moment(at_us + self.step_us)
        same_day = start.date() == end.date()
        return f"{start:%Y-%m-%d %H:%M} to {end:%H:%M}" if same_day else f"{start:%Y-%m-%d %H:%M} to {end:%m-%d %H:%M}"


class Chart(Struct, frozen=True):
    title: str
    unit: str
    svg: Markup | None  # None: there is nothing to draw
    legend: list[Series]
    lines: bool = False


Say = Callable[[float], str]


def stacked(title: str, unit: str, series: Sequence[Series], axis: Axis, say: Say, tick: Say) -> Chart:
    """Bars over time, one on top of the other; what is missing counts as none. `tick`: as `say`, on the axis."""
    legend = [s for s in series if any(s.values.values())]
    if not legend:
        return Chart(title, unit, None, [])
    totals = {at: sum(s.values.get(at, 0) for s in legend) for at in axis.buckets}
    scale = Scale(max(totals.values()))
    gap = 1 if axis.width > 3 else 0
    parts = [_axes(scale, axis, tick)]
    for at in axis.buckets:
        below = 0.0
        for s in legend:
            value = s.values.get(at, 0)
            if value:
                top = scale.y(below + value)
                parts.append(
                    f'<rect class="{s.style}" x="{axis.x(at):.1f}" y="{top:.1f}" '
                    f'width="{max(0.8, axis.width - gap):.1f}" height="{max(0.6, scale.y(below) - top):.1f}"/>'
                )
                below += value
    parts.append(_hover(legend, axis, say, totals if len(legend) > 1 else None))
    return Chart(title, unit, _svg(title, unit, legend, parts), legend)


def lines(title: str, unit: str, series: Sequence[Series], axis: Axis, say: Say, tick: Say) -> Chart:
    """Lines over time; where a figure is missing the line is broken, never drawn through."""
    legend = [s for s in series if s.values]
    if not legend:
        return Chart(title, unit, None, [])
    scale = Scale(max(max(s.values.values()) for s in legend))
    parts = [_axes(scale, axis, tick)]
    for s in legend:
        for run in _runs(s, axis):
            points = [(axis.x(at) + axis.width / 2, scale.y(s.values[at])) for at in run]
            if len(points) == 1:
                parts.append(f'<circle class="{s.style}" cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="2.2"/>')
            else:
                drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
                parts.append(f'<polyline class="line {s.style}" points="{drawn}"/>')
    parts.append(_hover(legend, axis, say, None))
    return Chart(title, unit, _svg(title, unit, legend, parts), legend, lines=True)


def meter(used: int, limit: int | None, name: str) -> Markup:
    """A bar that fills up to its limit; the last tenth is said by colour too."""
    if not limit:
        return Markup("")
    part = min(1.0, used / limit)
    level = "full" if part >= 1 else "high" if part >= 0.9 else "low"
    return Markup(
        '<svg class="meter {}" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" '
        'aria-label="{}: {:.0f} % used">'
        '<rect class="rail" width="100" height="6"/><rect class="fill" width="{:.2f}" height="6"/></svg>'
    ).format(level, name, 100 * part, 100 * part)


def budget_bar(spent: int, reserved: int, limit: int, name: str) -> Markup:
    """A budget as one bar: spent, then reserved by calls under way, then what is left."""
    whole = max(limit, spent + reserved, 1)
    done, held = 100 * spent / whole, 100 * reserved / whole
    level = "full" if spent + reserved >= limit else "high" if (spent + reserved) >= 0.8 * limit else "low"
    label = f"{name}: {done:.0f} % spent, {held:.0f} % reserved, {max(0.0, 100 - done - held):.0f} % left"
    return Markup(
        '<svg class="meter budget {}" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="rail" width="100" height="6"/><rect class="fill" width="{:.2f}" height="6"/>'
        '<rect class="held" x="{:.2f}" width="{:.2f}" height="6"/></svg>'
    ).format(level, label, done, done, held)


class Outlook(Struct, frozen=True):
    """Where a month is and where it goes, in USD. `end`: middle, low, high; None: not known yet."""

    spent: dict[int, float]  # end of a day, or now -> spent since the month began
    now_us: int
    end: tuple[float, float, float] | None
    limits: list[tuple[str, float]]


def month(title: str, outlook: Outlook, axis: Axis, say: Say, tick: Say) -> Chart:
    """What was spent, day by day added up, and the projection to the month's end with its interval."""
    points = sorted(outlook.spent.items())
    so_far = points[-1][1] if points else 0.0
    legend = [Series("spent so far", "s0", {}, say(so_far))]
    tops = [so_far]
    if outlook.end is not None:
        middle, low, high = outlook.end
        legend.append(Series("projection", "s1", {}, f"{say(middle)} ({say(low)} to {say(high)})"))
        tops.append(high)
    if not any(tops):
        return Chart(title, "USD", None, [])
    legend += [Series(name, "limit", {}, say(limit)) for name, limit in outlook.limits]
    drawn = [(name, limit) for name, limit in outlook.limits if limit <= 3 * max(tops)]
    scale = Scale(max(tops + [limit for _, limit in drawn]))
    parts = [_axes(scale, axis, tick)]
    x_now, y_now = axis.x(outlook.now_us), scale.y(so_far)
    if outlook.end is not None:
        x_end = axis.x(axis.until_us)
        band = f"{x_now:.1f},{y_now:.1f} {x_end:.1f},{scale.y(high):.1f} {x_end:.1f},{scale.y(low):.1f}"
        parts.append(f'<polygon class="band" points="{band}"><title>{escape(legend[1].figure)}</title></polygon>')
        parts.append(f'<polyline class="line s1" points="{x_now:.1f},{y_now:.1f} {x_end:.1f},{scale.y(middle):.1f}"/>')
    for name, limit in drawn:
        y = scale.y(limit)
        parts.append(
            f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}">'
            f"<title>{escape(f'{name}: {say(limit)}')}</title></line>"
        )
    line = [(float(LEFT), scale.y(0.0)), *((axis.x(at), scale.y(usd)) for at, usd in points)]
    parts.append(f'<polyline class="line s0" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in line)}"/>')
    for at, usd in points:
        text = escape(f"{moment(at - 1):%Y-%m-%d} UTC: {say(usd)} since the month began")
        parts.append(
            f'<circle class="s0" cx="{axis.x(at):.1f}" cy="{scale.y(usd):.1f}" r="2"><title>{text}</title></circle>'
        )
    return Chart(title, "USD", _svg(title, "USD", legend, parts), legend, lines=True)


def minutes(counts: Sequence[tuple[int, int, int]], name: str) -> Markup:
    """A bar a minute, the oldest first, of (attempts, limited, failed); the last one is the minute that runs."""
    width, height, gap = 300.0, 46.0, 2.0
    step = width / max(1, len(counts))
    most = max((attempts for attempts, _, _ in counts), default=0) or 1
    parts = [f'<line class="grid" x1="0" x2="{width:g}" y1="{height:g}" y2="{height:g}"/>']
    for i, (attempts, limited, failed) in enumerate(counts):
        ago = len(counts) - 1 - i
        when = "this minute" if not ago else "a minute ago" if ago == 1 else f"{ago} minutes ago"
        said = f"{when}: {attempts:,} asked, {limited:,} rate-limited, {failed:,} failed"
        below = height
        for style, n in (("s0", max(0, attempts - limited - failed)), ("s4", limited), ("o-failed", failed)):
            if n:
                tall = min(below, max(1.5, height * n / max(most, limited + failed)))
                below -= tall
                parts.append(
                    f'<rect class="{style}" x="{i * step:.1f}" y="{below:.1f}" width="{step - gap:.1f}" '
                    f'height="{tall:.1f}"/>'
                )
        parts.append(
            f'<rect class="hover" x="{i * step:.1f}" y="0" width="{step:.1f}" height="{height:g}">'
            f"<title>{escape(said)}</title></rect>"
        )
    totals = [sum(column) for column in zip(*counts, strict=True)] if counts else [0, 0, 0]
    label = f"{name}, last {len(counts)} minutes: {totals[0]:,} asked, {totals[1]:,} rate-limited, {totals[2]:,} failed"
    return Markup(
        f'<svg class="chart minutes" viewBox="0 0 {width:g} {height + 1:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def timeline_bar(start: float, end: float, mark: float | None, style: str, title: str) -> Markup:
    """One row of a trace's timeline; all positions are shares (0..1) of the whole. `mark`: the first byte."""
    width = max(0.4, 100 * (end - start))
    inner = (
        Markup("")
        if mark is None
        else Markup('<rect class="mark" x="{:.2f}" width="0.5" height="10"/>').format(100 * mark)
    )
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{t}">'
        '<title>{t}</title><rect class="rail" width="100" height="10"/>'
        '<rect class="{s}" x="{x:.2f}" width="{w:.2f}" height="10"/>{m}</svg>'
    ).format(t=title, s=style, x=min(99.6, 100 * start), w=width, m=inner)


# --- parts -------------------------------------------------------------------------------------------------------


class Scale:
    """From 0 to a round number at or above the largest value, in at most five round steps (1, 2 or 5 times 10^n)."""

    def __init__(self, largest: float) -> None:
        largest = largest if largest > 1e-12 else 1.0  # a nano-USD is 1e-9
        power = 10.0 ** math.floor(math.log10(largest / 4))
        self.step: float = next(m * power for m in (1, 2, 5, 10, 20) if m * power * 5 >= largest)
        self.top = self.step * max(1, math.ceil(largest / self.step - 1e-9))

    def y(self, value: float) -> float:
        return TOP + PLOT_H * (1 - value / self.top)

    @property
    def ticks(self) -> list[float]:
        return [i * self.step for i in range(round(self.top / self.step) + 1)]


def _axes(scale: Scale, axis: Axis, say: Say) -> str:
    parts = []
    for tick in scale.ticks:
        y = scale.y(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{escape(say(tick))}</text>'
        )
    for at in axis.ticks:
        x = axis.x(at)
        text = moment(at).strftime("%d %b" if axis.until_us - axis.since_us > 2 * DAY_US else "%H:%M")
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP + PLOT_H}" y2="{TOP + PLOT_H + 4}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 7}" text-anchor="middle">{text}</text>')
    return "".join(parts)


def _hover(series: Sequence[Series], axis: Axis, say: Say, totals: dict[int, float] | None) -> str:
    """A bar without colour over each bucket that has a figure, with all figures in its title."""
    parts = []
    for at in axis.buckets:
        said = [f"{s.name}: {say(s.values[at])}" for s in series if at in s.values]
        if not said:
            continue
        if totals is not None:
            said.append(f"all: {say(totals[at])}")
        text = escape("\n".join([f"{axis.name(at)} UTC", *said]))
        parts.append(
            f'<rect class="hover" x="{axis.x(at):.1f}" y="{TOP}" width="{axis.width:.1f}" height="{PLOT_H}">'
            f"<title>{text}</title></rect>"
        )
    return "".join(parts)


def _runs(series: Series, axis: Axis) -> list[list[int]]:
    """The stretches of neighbouring buckets that have a figure."""
    runs: list[list[int]] = []
    open_run = False
    for at in axis.buckets:
        if at not in series.values:
            open_run = False
        elif open_run:
            runs[-1].append(at)
        else:
            runs.append([at])
            open_run = True
    return runs


def _svg(title: str, unit: str, legend: Sequence[Series], parts: Sequence[str]) -> Markup:
    said = "; ".join(f"{s.name} {s.figure}".strip() for s in legend)
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(f"{title}, {unit}: {said}")}">{"".join(parts)}</svg>'
    )
