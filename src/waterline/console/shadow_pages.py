"""Shadow traffic: what ran, and one with what its pairs of answers add up to."""

from typing import Any

from waterline.console.frame import Ask, Moved, View, url
from waterline.console.shown import duration, money, whole
from waterline.control.shadows import ShadowBody, ShadowEndBody, ShadowView
from waterline.evals.shadow_pairs import Measured

NAMES = {
    "failed": "Failed", "json": "Is JSON", "duration_us": "Answer, time", "first_token_us": "First token",
    "cost_nano_usd": "Cost, USD", "characters": "Length, characters",
}  # fmt: skip


async def shadows(ask: Ask) -> View:
    app = ask.query("app")
    rows = await ask.plane.shadows.page(ask.who, app or None)
    return View("shadows.html", rows, {"rows": rows, "app": app, "apps": await ask.plane.apps(ask.who)})


async def shadow(ask: Ask) -> View:
    name, only, before = ask.path("shadow"), ask.query("only"), ask.query("before")
    at = int(before) if before.isascii() and before.isdigit() and len(before) < 18 else None
    found = await ask.plane.shadows.one(ask.who, name, at, only)
    here = f"/shadows/{name}"
    context: dict[str, Any] = {
        "s": found, "h": found.head, "rows": [_row(m) for m in found.measured], "only": only, "before": before,
        "here": here, "older": url(here, only=only, before=found.next or ""), "words": _words(found),
    }  # fmt: skip
    return View("shadow.html", found, context)


async def start(ask: Ask) -> Moved:
    form = ask.form
    body = ShadowBody(
        form.get("app", ""), form.get("release", ""), form.get("env", "") or "production",
        form.get("share", "") or "5%", form.get("reason", ""),
    )  # fmt: skip
    found = await ask.plane.shadows.start(ask.who, body)
    return Moved(f"/shadows/{found.head.id}", found, 201)


async def end(ask: Ask) -> Moved:
    found = await ask.plane.shadows.end(ask.who, ask.path("shadow"), ShadowEndBody(ask.form.get("reason", "")))
    return Moved(f"/shadows/{found.head.id}", found)


def _words(found: ShadowView) -> str:
    if not found.head.pairs:
        return "No copy has been answered yet."
    parts = [f"{found.same:,} of {found.head.pairs:,} answers are the same word for word"]
    if found.alike is not None:
        parts.append(f"on average {100 * found.alike:.0f} % of the words are in both")
    parts.append(f"{found.same_finish:,} ended for the same reason")
    return "; ".join(parts) + "."


def _row(m: Measured) -> tuple[str, str, str, str, int]:
    """Name, live, copy, difference, pairs."""
    d = m.difference
    between = "too few pairs" if d is None else f"{_signed(m.name, d.low)} to {_signed(m.name, d.high)}"
    return NAMES[m.name], _figure(m.name, m.live), _figure(m.name, m.copy), between, m.n


def _figure(name: str, value: float) -> str:
    match name:
        case "failed" | "json":
            return f"{100 * value:.1f} %"
        case "duration_us" | "first_token_us":
            return duration(value)
        case "cost_nano_usd":
            return money(round(value))
        case _:
            return whole(round(value))


def _signed(name: str, value: float) -> str:
    if name in ("failed", "json"):
        return f"{100 * value:+.1f} points"
    return f"{'−' if value < 0 else '+'}{_figure(name, abs(value))}"
