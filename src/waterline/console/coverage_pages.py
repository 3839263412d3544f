"""Coverage: the share of what people ask that no case is near, as a picture, and what the rest is about."""

from typing import Any

from markupsafe import Markup, escape

from waterline.access.roles import Action
from waterline.console.frame import Ask, Moved, View, url
from waterline.control.coverage import CoverageBody
from waterline.core.errors import Refused
from waterline.evals.coverage import BINS, Coverage

WIDTH, HEIGHT, BASE, PAD = 400, 150, 120, 8


async def coverage(ask: Ask) -> View:
    apps = [one.name for one in await ask.plane.apps(ask.who)]
    app = ask.query("app") or (apps[0] if apps else "")
    sets = [one.name for one in await ask.plane.cases.sets(ask.who, app or None)]
    name = ask.query("set") or (sets[0] if sets else "main")
    last = await ask.plane.coverage.last(ask.who, app, name) if app else None
    context: dict[str, Any] = {
        "apps": apps, "app": app, "sets": sets, "name": name, "m": last, "may_measure": ask.may(Action.CASE_READ),
        "picture": histogram(last.coverage) if last and last.coverage.requests else None,
        "most": max((group.requests for group in last.coverage.groups), default=1) if last else 1,
    }  # fmt: skip
    return View("coverage.html", last, context)


async def measure(ask: Ask) -> Moved:
    app, name, threshold = (ask.form.get(one, "") for one in ("app", "set", "threshold"))
    try:
        said = CoverageBody(threshold=float(threshold) if threshold else None)
    except ValueError:
        raise Refused(f"The threshold is a number from 0 to 1, not {threshold[:40]!r}.", 400) from None
    made = await ask.plane.coverage.measure(ask.who, app, name or "main", said)
    return Moved(url("/coverage", app=app, set=name), made)


def histogram(found: Coverage) -> Markup:
    """Requests by the likeness of their nearest case; those below the threshold are drawn in another colour."""
    highest = max(found.bins) or 1
    width = (WIDTH - 2 * PAD) / BINS

    def x(likeness: float) -> float:
        return PAD + (WIDTH - 2 * PAD) * likeness

    parts = []
    for i, n in enumerate(found.bins):
        tall = (BASE - 12) * n / highest
        style = "s1" if (i + 0.5) / BINS < found.threshold else "s3"
        told = f"likeness {i / BINS:.2f} to {(i + 1) / BINS:.2f}: {n:,} requests"
        parts.append(
            f'<rect class="{style}" x="{x(i / BINS) + 1:.1f}" y="{BASE - tall:.1f}" width="{width - 2:.1f}" '
            f'height="{tall:.1f}"><title>{escape(told)}</title></rect>'
        )
    at = x(found.threshold)
    parts.append(
        f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="4" y2="{BASE}">'
        f"<title>{escape(f'threshold {found.threshold:.2f}')}</title></line>"
    )
    parts.append(f'<line class="grid" x1="{PAD}" x2="{WIDTH - PAD}" y1="{BASE}" y2="{BASE}"/>')
    for likeness in (0.0, 0.25, 0.5, 0.75, 1.0):
        anchor = "start" if likeness == 0 else "end" if likeness == 1 else "middle"
        parts.append(
            f'<text class="tick" x="{x(likeness):.1f}" y="{BASE + 16}" text-anchor="{anchor}">{likeness:g}</text>'
        )
    label = f"{found.without_case:,} of {found.requests:,} requests have no case of likeness {found.threshold:.2f}"
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
