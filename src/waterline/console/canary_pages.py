"""Canaries: the list, and one with its decision and the evidence for it."""

from typing import Any

from waterline.console.canary_drawing import pictures, weights
from waterline.console.frame import Ask, Moved, View, url
from waterline.console.shown import span, weight
from waterline.control.canaries import CanaryBody, CanaryView, EndBody

BADGES = {
    "running": "live", "held": "inconclusive", "promoted": "pass", "rolled back": "fail", "stopped": "", "ended": "",
}  # fmt: skip


async def canaries(ask: Ask) -> View:
    app, before = ask.query("app"), ask.query("before")
    page = await ask.plane.canaries.page(ask.who, app or None, before)
    context = {
        "page": page, "app": app, "apps": await ask.plane.apps(ask.who), "badges": BADGES, "before": before,
        "older": url("/canaries", app=app, before=page.next) if page.next else "",
        "newest": url("/canaries", app=app),
    }  # fmt: skip
    return View("canaries.html", page, context)


async def canary(ask: Ask) -> View:
    found = await ask.plane.canaries.one(ask.who, ask.path("canary"))
    context: dict[str, Any] = {
        "c": found, "h": found.head, "plan": found.plan, "badges": BADGES, "verdict": verdict(found, ask.now_us),
        "signals": pictures(found, ask.now_us), "weights": weights(found, ask.now_us),
        "sessions": found.now.sessions, "at_step": "the step before" if found.head.state == "promoted" else "this step",
        "moves": list(reversed(found.moves)),
    }  # fmt: skip
    return View("canary.html", found, context)


async def start(ask: Ask) -> Moved:
    form = ask.form
    body = CanaryBody(
        form.get("app", ""), form.get("release", ""), form.get("env", "") or "production", form.get("weight", ""),
        form.get("reason", ""),
    )  # fmt: skip
    found = await ask.plane.canaries.start(ask.who, body)
    return Moved(f"/canaries/{found.head.id}", found, 201)


async def end(ask: Ask) -> Moved:
    said = EndBody(ask.form.get("keep") == "1", ask.form.get("reason", ""))
    found = await ask.plane.canaries.end(ask.who, ask.path("canary"), said)
    return Moved(f"/canaries/{found.head.id}", found)


def verdict(view: CanaryView, now_us: int) -> str:
    """The state in a sentence or two."""
    h, plan = view.head, view.plan
    took = span((h.ended_us or now_us) - h.started_us)
    at = f"{weight(plan.steps_bp[h.step])} of the sessions"
    match h.state:
        case "promoted":
            return f"It has all of the traffic, after {took}: no harm beyond the margins was found at any step."
        case "rolled back" if h.reason.startswith("Unknown"):
            return f"It was rolled back after {took}, as declared for figures that settle nothing. {h.reason}"
        case "rolled back":
            return f"Harm was shown at {at}, after {took}, and it was rolled back. {h.reason}"
        case "held":
            return f"{h.reason} It stays at {at}; harm is still looked for, and a person decides."
        case "stopped":
            return f"A person stopped it after {took}: {h.reason}."
        case "ended":
            return f"It ended after {took}: {h.reason}."
        case "running":
            trouble = f" It could not go on: {h.reason}" if h.reason else ""
            return f"It runs at {at}, since {took}. {_waits_for(view)}{trouble}"


def _waits_for(view: CanaryView) -> str:
    least, wanted = min(view.now.sessions), view.plan.least_sessions
    undecided = [c.words for c in view.now.compared if c.state == "open"]
    if least < wanted:
        return f"It waits for {wanted - least:,} more sessions of one side."
    return f"It waits until it is settled that nothing is worse by its margin: {', '.join(undecided)}."
