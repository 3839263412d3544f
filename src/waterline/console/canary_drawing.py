"""A canary as pictures: each signal's two curves with the bands that hold at every look, and the weights over time."""

from collections.abc import Sequence

from markupsafe import Markup, escape
from msgspec import Struct

from waterline.console.charts import BOTTOM, DAY_US, HEIGHT, LEFT, PLOT_H, PLOT_W, RIGHT, TOP, WIDTH, Scale
from waterline.console.shown import clock, moment
from waterline.control.canaries import CanaryView, LookView
from waterline.core.verdict import Estimate
from waterline.evals.canary import Compared, sentence

BAR_W, BAR_H = 400.0, 44.0
SIDES = (("baseline", "s0"), ("candidate", "s1"))


class SignalPicture(Struct, frozen=True):
    """`bar`: the difference with its interval, beside 0 and the margin. `chart` None: no look was kept yet."""

    compared: Compared
    words: str
    badge: str
    sentence: str
    chart: Markup | None
    bar: Markup | None


class Span(Struct, frozen=True):
    """The time from left to right."""

    since_us: int
    until_us: int

    def x(self, at_us: int) -> float:
        return LEFT + PLOT_W * (at_us - self.since_us) / max(1, self.until_us - self.since_us)

    def ticks(self) -> str:
        parts = []
        long = self.until_us - self.since_us > 2 * DAY_US
        for part, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
            at_us = round(self.since_us + part * (self.until_us - self.since_us))
            text = moment(at_us).strftime("%d %b" if long else "%H:%M" if self._minutes else "%H:%M:%S")
            parts.append(
                f'<text class="tick" x="{self.x(at_us):.1f}" y="{HEIGHT - 7}" text-anchor="{anchor}">{text}</text>'
            )
        return "".join(parts)

    @property
    def _minutes(self) -> bool:
        return self.until_us - self.since_us > 600_000_000


def span_of(view: CanaryView, now_us: int) -> Span:
    return Span(view.head.started_us, max(view.head.ended_us or now_us, view.head.started_us + 1_000_000))


def pictures(view: CanaryView, now_us: int) -> list[SignalPicture]:
    span = span_of(view, now_us)
    found = []
    for number, now in enumerate(view.now.compared):
        looks = [(look, look.compared[number]) for look in view.looks]
        badge = {"worse": "fail", "no worse": "pass", "open": "inconclusive"}[now.state]
        words = now.words[0].upper() + now.words[1:]
        found.append(
            SignalPicture(now, words, badge, sentence(now), _curves(words, looks, view, span), _difference(now))
        )
    return found


def _curves(
    title: str, looks: Sequence[tuple[LookView, Compared]], view: CanaryView, span: Span
) -> Markup | None:  # fmt: skip
    known = [(look, one) for look, one in looks if one.baseline.n or one.candidate.n]
    if not known:
        return None
    last = {look.step: one for look, one in known}
    tops = [e.value for _, one in known for e in (one.baseline, one.candidate) if e.n]
    tops += [e.high for one in last.values() for e in (one.baseline, one.candidate) if e.n]
    scale = Scale(max([*tops, 0.01]) * 100)
    parts = [_grid(scale, span, view)]
    for step in sorted(last):
        run = [(look, one) for look, one in known if look.step == step]
        for side, style in SIDES:
            points = [(look.at_us, getattr(one, side)) for look, one in run if getattr(one, side).n]
            parts.append(_band(points, style, scale, span))
            parts.append(_line(points, style, scale, span))
    for look, one in known:
        told = "\n".join(f"{side}: {_said(getattr(one, side))}" for side, _ in SIDES)
        text = escape(f"{clock(look.at_us)} UTC, step {look.step + 1}\n{told}")
        parts.append(
            f'<rect class="hover" x="{span.x(look.at_us) - 2:.1f}" y="{TOP}" width="4" height="{PLOT_H}">'
            f"<title>{text}</title></rect>"
        )
    label = escape(f"{title}: candidate and baseline over time with their confidence sequences, percent of sessions")
    return Markup(f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">') + Markup(
        "".join(parts) + "</svg>"
    )


def _grid(scale: Scale, span: Span, view: CanaryView) -> str:
    parts = []
    for tick in scale.ticks:
        y = scale.y(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{tick:g} %</text>')
    for move in view.moves[1:]:
        x = span.x(move.at_us)
        said = escape(f"{move.kind} at {clock(move.at_us)} UTC by {move.who}")
        parts.append(
            f'<line class="step" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}">'
            f"<title>{said}</title></line>"
        )
    return "".join(parts) + span.ticks()


def _band(points: Sequence[tuple[int, Estimate]], style: str, scale: Scale, span: Span) -> str:
    if len(points) < 2:
        return ""

    def at(at_us: int, share: float) -> str:
        return f"{span.x(at_us):.1f},{scale.y(min(100 * share, scale.top)):.1f}"

    upper = [at(us, e.high) for us, e in points]
    lower = [at(us, e.low) for us, e in reversed(points)]
    return f'<polygon class="band {style}" points="{" ".join([*upper, *lower])}"/>'


def _line(points: Sequence[tuple[int, Estimate]], style: str, scale: Scale, span: Span) -> str:
    at = [(span.x(us), scale.y(min(100 * e.value, scale.top))) for us, e in points]
    if len(at) == 1:
        return f'<circle class="{style}" cx="{at[0][0]:.1f}" cy="{at[0][1]:.1f}" r="2.2"/>'
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    return f'<polyline class="line {style}" points="{drawn}"/>' if at else ""


def _said(e: Estimate) -> str:
    if not e.n:
        return "nothing yet"
    return f"{100 * e.value:.1f} % ({100 * e.low:.1f} to {100 * e.high:.1f}) of {e.n:,} sessions"


def _difference(c: Compared) -> Markup | None:
    d = c.difference
    if d is None:
        return None
    reach = max(abs(d.low), abs(d.high), 2 * c.margin)

    def x(points: float) -> float:
        return 8 + (BAR_W - 16) * (points + reach) / (2 * reach)

    label = escape(
        f"candidate minus baseline: {100 * d.low:+.1f} to {100 * d.high:+.1f} points; margin {100 * c.margin:g}"
    )
    parts = [
        f'<rect class="rail" x="8" y="12" width="{BAR_W - 16:g}" height="10" rx="3"/>',
        f'<rect class="band" x="{x(d.low):.1f}" y="12" width="{max(1.5, x(d.high) - x(d.low)):.1f}" height="10"/>',
        f'<rect class="mark" x="{x(d.value) - 1:.1f}" y="9" width="2.5" height="16"/>',
        f'<line class="grid" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="5" y2="28"/>',
        f'<line class="limit" x1="{x(c.margin):.1f}" x2="{x(c.margin):.1f}" y1="5" y2="28"/>',
        f'<text class="tick" x="{x(0):.1f}" y="39" text-anchor="end">equal</text>',
        f'<text class="tick" x="{x(c.margin) + 2:.1f}" y="39" text-anchor="start">margin {100 * c.margin:g}</text>',
    ]
    return Markup(
        f'<svg class="chart outlook" viewBox="0 0 {BAR_W:g} {BAR_H:g}" role="img" aria-label="{label}">'
        f"<title>{label}</title>{''.join(parts)}</svg>"
    )


def weights(view: CanaryView, now_us: int) -> Markup:
    """The candidate's share of the sessions, from its first step on."""
    span = span_of(view, now_us)
    scale = Scale(100.0)
    points: list[str] = []
    at_y = scale.y(0.0)
    for move in view.moves:
        share = next((s.weight_bp for s in move.shares if s.release == view.head.candidate), 0)
        x, y = span.x(move.at_us), scale.y(share / 100)
        points += [f"{x:.1f},{at_y:.1f}", f"{x:.1f},{y:.1f}"]
        at_y = y
    points.append(f"{span.x(span.until_us):.1f},{at_y:.1f}")
    label = escape("The candidate's share of the sessions over time")
    line = f'<polyline class="line s1 solid" points="{" ".join(points)}"/>'
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{_grid(scale, span, view)}{line}</svg>"
    )
