"""Conversations: who writes, what was said and done, the queue for people, the funnel, what was booked."""

import secrets

from waterline.access.roles import Action
from waterline.console.frame import Ask, Moved, View, url
from waterline.control.conversations import BranchFunnel
from waterline.core.errors import Refused
from waterline.store.conversations import Filter

FILTERS = ("app", "branch", "stage", "mode", "channel")
PAGE = 50
DAYS = (1, 7, 30, 90)
DAY_US = 86_400_000_000


async def conversations(ask: Ask) -> View:
    given = {name: ask.query(name) for name in FILTERS}
    before = ask.query("before")
    where = Filter(**{name: value or None for name, value in given.items()})
    page = await ask.plane.conversations.page(ask.who, where, before, PAGE)
    context = {
        "page": page,
        "given": given,
        "filtered": any(given.values()),
        "apps": [a.name for a in await ask.plane.apps(ask.who)],
        "before": before,
        "newest": url("/conversations", **given),
        "older": url("/conversations", **given, before=page.next) if page.next else "",
        "readable": ask.may(Action.CONVERSATION_READ),
    }
    return View("conversations.html", page, context)


async def conversation(ask: Ask) -> View:
    found = await ask.plane.conversations.one(ask.who, ask.path("conversation"))
    line = found.line
    context = {
        "c": found,
        "line": line,
        "open": next((h for h in found.handoffs if not h.closed_us), None),
        "mine": line.mode == "person" and line.taken_by == ask.who.name,
        "takes": ask.may(Action.CONVERSATION_TAKE) and not found.texts_hidden,
        "reply_key": secrets.token_hex(8),
        "now_us": ask.now_us,
        "traces": url("/traces", session=line.id),
    }
    return View("conversation.html", found, context)


async def take(ask: Ask) -> Moved:
    at = ask.path("conversation")
    return Moved(f"/conversations/{at}#end", await ask.plane.conversations.take(ask.who, at))


async def reply(ask: Ask) -> Moved:
    at = ask.path("conversation")
    said = await ask.plane.conversations.reply(ask.who, at, ask.form.get("text", ""), ask.form.get("key", ""))
    return Moved(f"/conversations/{at}#end", said)


async def resume(ask: Ask) -> Moved:
    at = ask.path("conversation")
    return Moved(f"/conversations/{at}", await ask.plane.conversations.resume(ask.who, at))


async def queue(ask: Ask) -> View:
    app, branch = ask.query("app"), ask.query("branch")
    found = await ask.plane.conversations.queue(ask.who, app or None, branch or None)
    context = {
        "queue": found,
        "waiting": [w for w in found.rows if not w.handoff.taken_us],
        "taken": [w for w in found.rows if w.handoff.taken_us],
        "apps": [a.name for a in await ask.plane.apps(ask.who)],
        "app": app,
        "branch": branch,
        "takes": ask.may(Action.CONVERSATION_TAKE),
        "readable": ask.may(Action.CONVERSATION_READ),
    }
    return View("handoffs.html", found, context)


async def funnel(ask: Ask) -> View:
    app, branch, days = ask.query("app"), ask.query("branch"), ask.query("days") or "7"
    if days not in {str(d) for d in DAYS}:
        raise Refused(f"days is one of {', '.join(map(str, DAYS))}.", 400)
    until = ask.now_us + 1
    found = await ask.plane.conversations.funnel(
        ask.who, app or None, branch or None, until - int(days) * DAY_US, until
    )
    context = {
        "funnel": found,
        "drops": _drops(found.total),
        "app": app,
        "branch": branch,
        "days": int(days),
        "choices": DAYS,
        "apps": [a.name for a in await ask.plane.apps(ask.who)],
        "each": _each,
        "unpriced": _unpriced,
    }
    return View("funnel.html", found, context)


def _drops(one: BranchFunnel) -> list[tuple[str, int, float, int, float]]:
    """stage, conversations, share of all, how many fewer than at the step before, mean seconds until then."""
    out, before = [], None
    for step in one.steps:
        lost = 0 if before is None else before - step.conversations
        out.append((step.stage, step.conversations, step.share, lost, step.mean_s))
        before = step.conversations
    return out


def _each(one: BranchFunnel, of: int) -> int | None:
    """Models and channel together."""
    return (one.spent.cost_nano_usd + one.spent.fees_nano_usd) // of if of else None


def _unpriced(one: BranchFunnel) -> int:
    return one.spent.unpriced + one.spent.unpriced_messages


async def acts(ask: Ask) -> View:
    app, branch, state, before = (ask.query(name) for name in ("app", "branch", "state", "before"))
    if before and not (before.isascii() and before.isdigit() and len(before) < 19):
        raise Refused("`before` is the number of an act.", 400)
    found = await ask.plane.conversations.acts(
        ask.who, app or None, branch or None, state or None, int(before) if before else None, PAGE
    )
    context = {
        "acts": found,
        "app": app,
        "branch": branch,
        "state": state,
        "apps": [a.name for a in await ask.plane.apps(ask.who)],
        "states": ("planned", "sending", "done", "refused", "failed"),
        "readable": ask.may(Action.CONVERSATION_READ),
        "older": url("/bookings", app=app, branch=branch, state=state, before=found[-1].n)
        if len(found) == PAGE
        else "",
    }
    return View("bookings.html", found, context)
