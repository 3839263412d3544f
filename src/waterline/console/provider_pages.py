"""The providers behind the live routes: whether they answer, how fast, and what they said when they did not."""

from markupsafe import Markup
from msgspec import Struct

from waterline.console import shown
from waterline.console.charts import meter, minutes
from waterline.console.frame import Ask, View
from waterline.control.providers import AppProviders, LiveRoute, TargetView, Used
from waterline.gateway.health import Snapshot

LIMITS = {"rpm": "Requests a minute", "tpm": "Tokens a minute", "max_concurrency": "Requests at once"}


class Card(Struct, frozen=True):
    """A target, as the page draws it. `badge`: a class of the style sheet."""

    target: TargetView
    badge: str
    state: str
    words: str
    routes: list[str]
    chart: Markup
    asked: int  # in the minutes that are drawn
    limited: int
    failed: int


async def providers(ask: Ask) -> View:
    apps = await ask.plane.apps(ask.who)
    wanted = ask.query("app") or None
    found = await ask.plane.providers(ask.who, wanted)
    context = {
        "apps": apps,
        "app": wanted or "",
        "shown": [(one.app, _limits(one), [_card(t, ask.now_us) for t in one.targets]) for one in found],
        "meter": meter,
        "status": await ask.plane.status(ask.who),
    }
    return View("providers.html", found, context)


def _limits(one: AppProviders) -> list[tuple[str, Used]]:
    return [(LIMITS[used.name], used) for used in one.limits if used.limit is not None]


def _card(target: TargetView, now_us: int) -> Card:
    h = target.health
    badge, state, words = _state(h, now_us)
    counts = [(m.attempts, m.limited, m.failed) for m in h.minutes]
    return Card(
        target, badge, state, words, [_route(r) for r in target.routes],
        minutes(counts, f"{target.provider} {target.model}"),
        sum(m.attempts for m in h.minutes), sum(m.limited for m in h.minutes), sum(m.failed for m in h.minutes),
    )  # fmt: skip


def _route(r: LiveRoute) -> str:
    after = f", then {', '.join(r.fallbacks)}" if r.fallbacks else ""
    return f"{r.name}{after} ({r.env}, {shown.short(r.release)})"


def _state(h: Snapshot, now_us: int) -> tuple[str, str, str]:
    """Badge, state, and what it means now."""
    until = f"{shown.duration(h.wait_s * 1e6)} (until {shown.clock(now_us + round(h.wait_s * 1e6))})"
    match h.state:
        case "open" if h.probing:
            return "experimental", "half open", "It failed. One probe is under way; the others wait for what it says."
        case "open" if h.wait_s > 0:
            return "fail", "open", f"{h.failures} failures in a row: left alone for {until}, then one probe goes."
        case "open":
            return "experimental", "half open", "It failed; the next request is the probe."
        case "limited":
            return "experimental", "rate-limited", f"It asked for a pause of {until}."
        case "well":
            again = f" It failed {h.failures} time in a row." if h.failures else ""
            return "pass", "closed", f"It answers; requests go through.{again}"
        case "unknown":
            tried = "It has not answered since this server started." if h.attempts else "Not asked yet."
            return "plain", "unknown", tried
