"""Releases: what there is, what is live, how two differ; and the acts that move a rollout."""

from starlette.responses import RedirectResponse, Response

from waterline.access.roles import Action
from waterline.console import gate_pages
from waterline.console.frame import Ask, Moved, View, url
from waterline.control.views import RolloutView
from waterline.core.errors import Refused
from waterline.core.rollout import Move
from waterline.core.savings import told
from waterline.rollout.moves import before
from waterline.store.incidents import Incident

HISTORY_SHOWN = 100  # moves of an environment that the plane gives at once


async def releases(ask: Ask) -> View:
    """Of one app (the only one, or ?app=) with its rollouts; without, of all."""
    apps = await ask.plane.apps(ask.who)
    app = ask.query("app") or (apps[0].name if len(apps) == 1 else "")
    listed = await ask.plane.releases(ask.who, app or None)
    rollouts: list[RolloutView] = []
    known = next((a for a in apps if a.name == app), None)
    for state in known.environments if known else []:
        rollouts.append(await ask.plane.rollout(ask.who, app, state.env))
    context = {
        "apps": apps,
        "app": app,
        "releases": listed,
        "rollouts": rollouts,
        "messages": {r.id: r.message for r in listed},
        "statuses": {r.id: r.status for r in listed},
        "incidents": await _blocking(ask, app),
        "moved": _moved(ask, rollouts),
        "back_to": {r.env: _back_to(r) for r in rollouts},
        "history_shown": HISTORY_SHOWN,
        "readable": ask.may(Action.RELEASE_READ),
    }
    return View("releases.html", {"app": app, "releases": listed, "rollouts": rollouts}, context)


async def _blocking(ask: Ask, app: str) -> list[Incident]:
    """The newest that keep releases out."""
    if not ask.may(Action.INCIDENT_READ):
        return []
    page = await ask.plane.incidents.page(ask.who, app or None, "open", None, 50)
    return [one for one in page.rows if one.blocking][:3]


async def release(ask: Ask) -> View:
    view, parsed, manifest_bytes = await ask.plane.release(ask.who, ask.path("release"))
    spec = await ask.plane.spec(ask.who, view.app)
    siblings = await ask.plane.releases(ask.who, view.app)
    rollouts = [await ask.plane.rollout(ask.who, view.app, env) for env in spec.environments]
    history = sorted(
        (m for r in rollouts for m in r.history if any(s.release == view.id for s in m.shares)),
        key=lambda m: -m.seq,
    )
    live = next((s.release for r in rollouts for s in r.shares if s.release != view.id), "")
    older = next((r.id for r in siblings if r.at_us < view.at_us), "")
    lines = await ask.plane.load_lines.page(ask.who, view.app)
    context = {
        "r": view,
        "release": parsed,
        "savings": told(parsed.cache, parsed.routing, parsed.history),
        "bytes": len(manifest_bytes),
        "environments": spec.environments,
        "siblings": [s for s in siblings if s.id != view.id],
        "rollouts": rollouts,
        "moves": history,
        "live": live,
        "older": older,
        "load_lines": [line for line in lines if line.release == view.id],
        "moved": _moved(ask, rollouts),
        "readable": True,
        "checklists": await gate_pages.checklists(ask, view, spec),
        "past": await gate_pages.past(ask, view),
        "approved": ask.query("approved"),
        "withdrawn": ask.query("withdrawn"),
        **gate_pages.context(),
    }
    return View("release.html", {"release": view, "manifest": parsed}, context)


async def manifest(ask: Ask) -> Response:
    """The stored bytes, those that are hashed."""
    view, _, stored = await ask.plane.release(ask.who, ask.path("release"))
    headers = {"content-disposition": f'attachment; filename="{view.app}-{view.id[:12]}.json"'}
    return Response(stored, media_type="application/json", headers=headers)


async def choose_diff(ask: Ask) -> Response:
    """The form's way to a diff: the address of a comparison names both."""
    view, _, _ = await ask.plane.release(ask.who, ask.path("release"))
    other, _, _ = await ask.plane.release(ask.who, ask.query("with"))
    return RedirectResponse(f"/releases/{other.id}/diff/{view.id}", 303)


async def diff(ask: Ask) -> View:
    a, _, _ = await ask.plane.release(ask.who, ask.path("a"))
    b, _, _ = await ask.plane.release(ask.who, ask.path("b"))
    found = await ask.plane.diff(ask.who, a.id, b.id)
    return View("diff.html", found, {"a": a, "b": b, "diff": found})


# --- acts --------------------------------------------------------------------------------------------------------


async def promote(ask: Ask) -> Moved:
    view, _, _ = await ask.plane.release(ask.who, ask.path("release"))
    form = ask.form
    move = await ask.plane.promote(
        ask.who,
        view.app,
        view.id,
        form.get("env", ""),
        form.get("weight", "") or "100%",
        form.get("reason", ""),
        override=form.get("override", ""),
    )
    return Moved(url(f"/releases/{view.id}", move=move.seq), move, 201)


async def roll_back(ask: Ask) -> Moved:
    app, form = ask.path("app"), ask.form
    move = await ask.plane.rollback(ask.who, app, form.get("release", ""), form.get("env", ""), form.get("reason", ""))
    return Moved(url("/releases", app=app, move=move.seq), move, 201)


async def pin(ask: Ask) -> Moved:
    wanted = ask.form.get("release", "")
    if not wanted:
        raise Refused("Say to which release the session is to be pinned.", 400)
    return await _pin(ask, wanted)


async def unpin(ask: Ask) -> Moved:
    return await _pin(ask, "")


async def _pin(ask: Ask, wanted: str) -> Moved:
    app, form = ask.path("app"), ask.form
    env, session, reason = form.get("env", ""), form.get("session", ""), form.get("reason", "")
    move = await ask.plane.pin(ask.who, app, wanted, env, session, reason)
    return Moved(url("/releases", app=app, move=move.seq), move, 201)


def _moved(ask: Ask, rollouts: list[RolloutView]) -> Move | None:
    """The move that the page before made, by its number; what is said of it comes from the history."""
    wanted = ask.query("move")
    return next((m for r in rollouts for m in r.history if str(m.seq) == wanted), None)


def _back_to(rollout: RolloutView) -> str:
    """Where a rollback would go, for the form to say; "" where the moves shown do not tell."""
    if len(rollout.history) >= HISTORY_SHOWN:
        return ""
    return before(reversed(rollout.history), rollout.shares) or ""
