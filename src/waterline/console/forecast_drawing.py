"""A forecast as pictures: the month as a bar with its interval and limits, and what would change it as a tornado."""

from collections.abc import Sequence

from markupsafe import Markup, escape
from msgspec import Struct

from waterline.console.charts import Say
from waterline.evals.forecast import Effect, Forecast

WIDTH, ROW = 400.0, 34.0
PAD = 6.0


class Row(Struct, frozen=True):
    """A bar of the tornado, and its two ends in words."""

    effect: Effect
    picture: Markup


def month_bar(forecast: Forecast, say: Say) -> Markup | None:
    """From 0: what is spent, the interval, its middle, and each limit as a line. None: there is no forecast."""
    end = forecast.month
    if end is None:
        return None
    limits = [odds for odds in forecast.odds if odds.limit_usd <= 3 * end.high]
    most = max([end.high, forecast.spent_usd, *(odds.limit_usd for odds in limits), 1e-9]) * 1.04

    def x(usd: float) -> float:
        return PAD + (WIDTH - 2 * PAD) * usd / most

    parts = [
        f'<rect class="rail" x="{PAD}" y="14" width="{WIDTH - 2 * PAD}" height="18" rx="3"/>',
        f'<rect class="band" x="{x(end.low):.1f}" y="14" width="{x(end.high) - x(end.low):.1f}" height="18">'
        f"<title>{escape(f'between {say(end.low)} and {say(end.high)} USD')}</title></rect>",
        f'<rect class="s0" x="{PAD}" y="18" width="{x(forecast.spent_usd) - PAD:.1f}" height="10">'
        f"<title>{escape(f'spent so far: {say(forecast.spent_usd)} USD')}</title></rect>",
        f'<rect class="mark" x="{x(end.value) - 1:.1f}" y="10" width="2.5" height="26">'
        f"<title>{escape(f'by the end: {say(end.value)} USD')}</title></rect>",
    ]
    for odds in limits:
        at = x(odds.limit_usd)
        parts.append(
            f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="6" y2="40">'
            f"<title>{escape(f'{odds.name}: {say(odds.limit_usd)} USD')}</title></line>"
        )
    for usd in (0.0, most / 2, most):
        anchor = "start" if not usd else "end" if usd == most else "middle"
        parts.append(f'<text class="tick" x="{x(usd):.1f}" y="54" text-anchor="{anchor}">{escape(say(usd))}</text>')
    label = f"{say(end.value)} USD by the end of the month, between {say(end.low)} and {say(end.high)}"
    return _svg(58, label, parts)


def tornado(effects: Sequence[Effect], middle: float, say: Say) -> list[Row]:
    """The widest first; every bar on one scale, the forecast as a line through all of them."""
    ordered = sorted(effects, key=lambda e: -e.swing)
    ends = [usd for e in ordered for usd in (e.low_usd, e.high_usd)]
    if not ends:
        return []
    first, last = min([*ends, middle]), max([*ends, middle])
    room = (last - first) * 0.05 or max(abs(last) * 0.1, 1e-9)
    first, last = max(0.0, first - room), last + room

    def x(usd: float) -> float:
        return WIDTH * (usd - first) / (last - first)

    rows = []
    for e in ordered:
        parts = [f'<rect class="rail" y="4" width="{WIDTH}" height="12" rx="3"/>']
        for usd, said in ((e.low_usd, e.low), (e.high_usd, e.high)):
            left, right = sorted((x(usd), x(middle)))
            style = "s3" if usd <= middle else "s1"
            parts.append(
                f'<rect class="{style}" x="{left:.1f}" y="4" width="{max(0.5, right - left):.1f}" height="12">'
                f"<title>{escape(f'{e.name} {said}: {say(usd)} USD')}</title></rect>"
            )
        parts.append(f'<rect class="mark" x="{x(middle) - 1:.1f}" width="2" height="20"/>')
        label = f"{e.name}: {say(e.low_usd)} USD at {e.low}, {say(e.high_usd)} USD at {e.high}"
        rows.append(Row(e, _svg(20, label, parts)))
    return rows


def _svg(height: float, label: str, parts: Sequence[str]) -> Markup:
    return Markup(
        f'<svg class="chart outlook" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
