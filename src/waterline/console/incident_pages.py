"""Incidents: the list with the form that opens one, and one with the form that closes it."""

from waterline.console.frame import Ask, Moved, View, url
from waterline.control.incidents import SEVERITIES, STATES, IncidentBody
from waterline.core.errors import Refused
from waterline.store.incidents import Link

PAGE_ROWS = 50
PLACES = {
    "trace": "/traces/", "experiment": "/experiments/", "load_line": "/load-lines/", "release": "/releases/",
    "canary": "/canaries/",
}  # fmt: skip


async def incidents(ask: Ask) -> View:
    app, state, before = ask.query("app"), ask.query("state"), ask.query("before")
    number = int(before) if before.isascii() and before.isdigit() and len(before) <= 18 else None
    page = await ask.plane.incidents.page(ask.who, app or None, state, number, PAGE_ROWS)
    kept = {"app": app, "state": state}
    context = {
        "page": page, "app": app, "state": state, "states": STATES, "apps": await ask.plane.apps(ask.who),
        "severities": SEVERITIES, "before": before, "newest": url("/incidents", **kept),
        "older": url("/incidents", **kept, before=page.next) if page.next else "",
        "tab": lambda name: url("/incidents", app=app, state=name), "opened": ask.query("opened"),
    }  # fmt: skip
    return View("incidents.html", page, context)


async def incident(ask: Ask) -> View:
    found = await ask.plane.incidents.one(ask.who, ask.path("incident"))
    return View("incident.html", found, {"one": found, "places": PLACES, "closed": ask.query("closed")})


async def open_incident(ask: Ask) -> Moved:
    form = ask.form
    traces = [Link("trace", trace) for trace in form.get("traces", "").replace(",", " ").split()]
    app, _, env = form.get("where", "").partition("/")
    if not app:
        raise Refused("Say of which app the incident is.", 400)
    said = IncidentBody(
        app=app, title=form.get("title", ""), severity=form.get("severity", ""),
        blocking=form.get("blocking", "") == "yes", env=env, notes=form.get("notes", ""),
        release=form.get("release", ""), links=traces,
    )  # fmt: skip
    made = await ask.plane.incidents.open(ask.who, said)
    return Moved(url("/incidents", opened=made.id), made, 201)


async def close_incident(ask: Ask) -> Moved:
    found = await ask.plane.incidents.close(ask.who, ask.path("incident"), ask.form.get("resolution", ""))
    return Moved(url(f"/incidents/{found.id}", closed="yes"), found)
