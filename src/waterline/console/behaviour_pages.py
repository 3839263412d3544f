"""Behaviour: signs over time, acceptance, edits and the funnel by release; the sessions that went off the rails."""

from collections import defaultdict
from collections.abc import Callable

from markupsafe import Markup, escape

from waterline.access.roles import Action
from waterline.console import shown
from waterline.console.charts import Axis, Chart, Series, lines
from waterline.console.frame import Ask, View, url
from waterline.control.behaviour import Behaviour, BehaviourView, Day, Share
from waterline.core.errors import Refused
from waterline.core.ids import short
from waterline.core.signal import SIGNALS
from waterline.store.behaviour import DAY_US

CHOICES = (1, 7, 30, 90)
MOST_LINES = 5
PAGE_ROWS = 50


async def behaviour(ask: Ask) -> View:
    apps = [one.name for one in await ask.plane.apps(ask.who)]
    app, env, days = ask.query("app") or (apps[0] if apps else ""), ask.query("env"), _days(ask, "30")
    if not app:
        return View("behaviour.html", {}, {"view": None, "app": "", "apps": apps, "env": env, "days": days,
                                           "choices": CHOICES, "charts": []})  # fmt: skip
    view = await ask.plane.behaviour.view(ask.who, app, env, ask.now_us - (days - 1) * DAY_US, ask.now_us + 1)
    context = {
        "view": view, "app": app, "apps": apps, "env": env, "days": days, "choices": CHOICES, "signals": SIGNALS,
        "charts": [_over_time(view, "Sessions off the rails", lambda d: (d.off_rails, d.sessions)),
                   _over_time(view, "Answers accepted, of those decided on", lambda d: (d.accepted, d.decided))],
        "edits": _edits(view.total), "bar": bar, "said": said,
        "off_rails": url("/behaviour/off-rails", app=app, env=env, days=days) if ask.may(Action.TRACES_READ) else "",
    }  # fmt: skip
    return View("behaviour.html", view, context)


async def off_rails(ask: Ask) -> View:
    apps = [one.name for one in await ask.plane.apps(ask.who)]
    app, env, release = ask.query("app") or (apps[0] if apps else ""), ask.query("env"), ask.query("release")
    days, before = _days(ask, "7"), ask.query("before")
    since = ask.now_us - (days - 1) * DAY_US
    view = await ask.plane.behaviour.off_rails(ask.who, app, env, release, since, before, PAGE_ROWS)
    kept = {"app": app, "env": env, "release": release, "days": days}
    context = {
        "view": view, "app": app, "env": env, "release": release, "days": days, "choices": CHOICES, "apps": apps,
        "said": said, "bar": bar, "before": before, "newest": url("/behaviour/off-rails", **kept),
        "older": url("/behaviour/off-rails", **kept, before=view.next) if view.next else "",
        "of_release": lambda name: url("/behaviour/off-rails", **{**kept, "release": name}),
    }  # fmt: skip
    return View("off_rails.html", view, context)


def _days(ask: Ask, otherwise: str) -> int:
    days = ask.query("days") or otherwise
    if days not in {str(d) for d in CHOICES}:
        raise Refused(f"days is one of {', '.join(map(str, CHOICES))}.", 400)
    return int(days)


def _over_time(view: BehaviourView, title: str, figures: Callable[[Day], tuple[int, int]]) -> Chart:
    """A line a release; a day without any is a gap."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for day in view.days:
        k, n = figures(day)
        if n:
            found[day.release][day.day] = 100 * k / n
    drawn = [one.release for one in view.releases if one.release in found][:MOST_LINES]
    series = [Series(short(release) or "none", f"s{i}", found[release]) for i, release in enumerate(drawn)]
    axis = Axis(view.since_us, view.until_us, DAY_US)
    return lines(title, "% of each day", series, axis, lambda v: f"{v:.1f} %", lambda v: f"{v:g}")


def _edits(one: Behaviour) -> list[tuple[str, int, float]]:
    """tenth of the words changed, how many edits, share of the most frequent."""
    most = max(one.edits)
    if not most:
        return []
    return [(f"{10 * i} to {10 * (i + 1)} %", n, n / most) for i, n in enumerate(one.edits)]


def said(share: Share) -> str:
    """`12.3 % (10.1 to 14.9)`, or that nothing is known."""
    e = share.estimate
    return f"{100 * e.value:.1f} % ({100 * e.low:.1f} to {100 * e.high:.1f})" if e is not None else "–"


def bar(share: Share, name: str) -> Markup:
    """The share as a bar, with its interval over it."""
    e = share.estimate
    if e is None:
        return Markup("")
    label = f"{name}: {shown.whole(share.k)} of {shown.whole(share.n)}, {said(share)}"
    low, high = 100 * e.low, 100 * e.high
    return Markup(
        f'<svg class="meter" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f'<title>{escape(label)}</title><rect class="rail" width="100" height="6"/>'
        f'<rect class="s0" width="{100 * e.value:.2f}" height="6"/>'
        f'<rect class="band" x="{low:.2f}" width="{max(0.5, high - low):.2f}" height="6"/></svg>'
    )
