"""Distributions of an evaluation as SVG: how many cases pass how often, and the share of answers within a time or a
price, both releases in one picture."""

from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from waterline.console.charts import BOTTOM, HEIGHT, LEFT, PLOT_H, PLOT_W, RIGHT, TOP, WIDTH, Chart, Scale, Series
from waterline.evals.experiment import ArmFigures, Result

STYLES = {"first": "s1", "second": "s0"}
Say = Callable[[float], str]
MARKS = (0.5, 0.95)


def distributions(result: Result) -> list[Chart]:
    """Scores, latency, cost; what an older evaluation did not keep is left out."""
    arms = [(name, figures) for name, figures in result.arms.items() if figures.scores]
    compared = bool(result.plan.against)
    scores = _named(arms, compared, lambda f: f.scores)
    times, prices = _named(arms, compared, lambda f: f.ms_spread), _named(arms, compared, lambda f: f.usd_spread)
    found = [
        bars("Cases by repeats passed", "cases", scores, _of(result.plan.repeats)),
        rising("Whole answers within a time", "ms", times, lambda ms: f"{ms:,.0f} ms"),
        rising("Answers within a price", "USD a thousand", prices, lambda usd: f"{1000 * usd:.3g} USD"),
    ]
    return [chart for chart in found if chart.svg is not None]


def _named(
    arms: Sequence[tuple[str, ArmFigures]], compared: bool, take: Callable[[ArmFigures], Sequence[float]]
) -> list[tuple[str, str, Sequence[float]]]:
    names = {"first": "before", "second": "after" if compared else "answers"}
    return [(names[arm], STYLES[arm], take(figures)) for arm, figures in arms if take(figures)]


def _of(repeats: int) -> Say:
    return lambda k: f"{k:.0f} of {repeats}"


def bars(title: str, unit: str, series: Sequence[tuple[str, str, Sequence[float]]], say: Say) -> Chart:
    """Counts by whole number from 0 on, side by side."""
    if not series or not any(any(values) for _, _, values in series):
        return Chart(title, unit, None, [])
    scale = Scale(max(max(values) for _, _, values in series))
    columns = max(len(values) for _, _, values in series)
    step = PLOT_W / columns
    width = min(46.0, 0.8 * step / len(series))
    parts = [_grid(scale, lambda y: f"{y:,.0f}")]
    every = -(-columns // 9)
    for k in range(columns):
        centre = LEFT + step * (k + 0.5)
        if k % every == 0 or k == columns - 1:
            parts.append(_tick(centre, say(k)))
        for place, (name, style, values) in enumerate(series):
            count = values[k] if k < len(values) else 0
            top = scale.y(count)
            x = centre + (place - len(series) / 2) * width
            said = escape(f"{name}: {count:,.0f} cases passed {say(k)}")
            parts.append(
                f'<rect class="{style}" x="{x:.1f}" y="{top:.1f}" width="{max(0.8, width - 1):.1f}" '
                f'height="{scale.y(0) - top:.1f}"><title>{said}</title></rect>'
            )
    legend = [Series(name, style, {}, f"{sum(values):,.0f} cases") for name, style, values in series]
    return Chart(title, unit, _svg(title, unit, legend, parts), legend)


def rising(title: str, unit: str, series: Sequence[tuple[str, str, Sequence[float]]], say: Say) -> Chart:
    """The share of answers at or below a figure. `values`: quantiles at even steps from 0 to 1."""
    if not series:
        return Chart(title, unit, None, [])
    # The slowest one of ten thousand would press all others against the axis, so the picture ends at the 99th of 100.
    right = max(values[-2] if len(values) > 2 else values[-1] for _, _, values in series) or 1.0
    across, up = Scale(right), Scale(1.0)
    parts = [_grid(up, lambda y: f"{100 * y:.0f} %")]
    for tick in across.ticks:
        parts.append(_tick(LEFT + PLOT_W * tick / across.top, say(tick).split(" ")[0]))
    legend = []
    for name, style, values in series:
        last = len(values) - 1
        points = [(min(value, across.top), place / last) for place, value in enumerate(values)]
        drawn = " ".join(f"{LEFT + PLOT_W * x / across.top:.1f},{up.y(y):.1f}" for x, y in points)
        parts.append(f'<polyline class="line {style}" points="{drawn}"/>')
        for share in MARKS:
            value = values[round(share * last)]
            if value <= across.top:
                x = LEFT + PLOT_W * value / across.top
                said = escape(f"{name}: {100 * share:.0f} % within {say(value)}")
                parts.append(
                    f'<circle class="{style}" cx="{x:.1f}" cy="{up.y(share):.1f}" r="3"><title>{said}</title></circle>'
                )
        legend.append(
            Series(name, style, {}, f"p50 {say(values[round(0.5 * last)])}, p95 {say(values[round(0.95 * last)])}")
        )
    return Chart(title, unit, _svg(title, unit, legend, parts), legend, lines=True)


def _grid(scale: Scale, say: Say) -> str:
    parts = []
    for tick in scale.ticks:
        y = scale.y(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{escape(say(tick))}</text>'
        )
    return "".join(parts)


def _tick(x: float, said: str) -> str:
    x = min(x, WIDTH - RIGHT - 10.0)
    below = TOP + PLOT_H
    return (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{below}" y2="{below + 4}"/>'
        f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{escape(said)}</text>'
    )


def _svg(title: str, unit: str, legend: Sequence[Series], parts: Sequence[str]) -> Markup:
    said = "; ".join(f"{one.name} {one.figure}".strip() for one in legend)
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(f"{title}, {unit}: {said}")}">{"".join(parts)}</svg>'
    )
