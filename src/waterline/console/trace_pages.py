"""Traces: the list with its filter, one trace as a timeline, its bodies, and its replay."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
from markupsafe import Markup
from msgspec import Struct
from starlette.responses import Response

from waterline.access.roles import Action
from waterline.console import shown
from waterline.console.charts import timeline_bar
from waterline.console.conversation import answer_of, request_of
from waterline.console.frame import Ask, View, url
from waterline.control.views import TraceView
from waterline.core.errors import Refused
from waterline.core.trace import PURPOSES, Attempted, Event
from waterline.store.traces import TraceFilter

PAGE_ROWS = 50
OUTCOMES = ("answered", "refused", "failed", "cancelled", "interrupted", "open")
FIELDS = ("app", "env", "purpose", "release", "outcome", "route", "model", "session", "code")


async def traces(ask: Ask) -> View:
    given = {name: ask.query(name) for name in FIELDS}
    since, until, text = ask.query("since"), ask.query("until"), ask.query("q")
    where = msgspec.structs.replace(
        TraceFilter(since_us=_moment(since, "since"), until_us=_moment(until, "until"), text=text or None),
        **{name: value or None for name, value in given.items()},
    )
    before = ask.query("before")
    page = await ask.plane.traces(ask.who, where, before, PAGE_ROWS, count=True)
    apps = await ask.plane.apps(ask.who)
    releases = await ask.plane.releases(ask.who, given["app"] or None)
    kept = {**given, "since": since, "until": until, "q": text}
    context = {
        "page": page,
        "given": kept,
        "filtered": any(kept.values()),
        "extra": any(kept[n] for n in ("env", "purpose", "route", "model", "session", "code", "since", "until")),
        "before": before,
        "older": url("/traces", **kept, before=page.next) if page.next else "",
        "newest": url("/traces", **kept),
        "apps": [a.name for a in apps],
        "environments": sorted({e.env for a in apps for e in a.environments}),
        "releases": releases,
        "outcomes": OUTCOMES,
        "purposes": PURPOSES,
        "searchable": ask.may(Action.BODIES_READ),
    }
    return View("traces.html", page, context)


def _moment(text: str, name: str) -> int | None:
    """What a datetime-local field sends, read as UTC; or Unix microseconds, as the API takes them."""
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{name} is a time like 2026-05-31T14:30 (UTC), not {text[:40]!r}.", 400) from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return round(at.timestamp() * 1e6)


# --- one trace ---------------------------------------------------------------------------------------------------


class Line(Struct, frozen=True):
    """An event of the timeline."""

    name: str
    title: str
    at: str
    took: str
    bar: Markup
    details: list[tuple[str, str]]
    bad: bool


async def trace(ask: Ask) -> View:
    found = await ask.plane.trace(ask.who, ask.path("trace"))
    row = found.row
    usage = row.usage
    context = {
        "t": found,
        "row": row,
        "lines": timeline(found),
        "buckets": [(shown.words(n), getattr(usage, n)) for n in usage.__struct_fields__ if n != "estimated"],
        "request": None if found.request is None else await asyncio.to_thread(request_of, found.request),
        "answer": None if found.answer is None else await asyncio.to_thread(answer_of, found.answer),
        "tags": [t for t in row.tags.split(",") if t],
    }
    return View("trace.html", found, context)


def timeline(found: TraceView) -> list[Line]:
    """Every event with all its fields, on one scale from receipt to the end."""
    ends = [e.offset_us + (e.ended_us or 0 if isinstance(e, Attempted) else 0) for e in found.events]
    whole = max([found.row.duration_us, 1, *ends])
    return [_line(event, whole) for event in found.events]


def _line(event: Event, whole: int) -> Line:
    name = str(event.__struct_config__.tag)
    start = event.offset_us
    end, mark, took, bad = start, None, "", name == "fell_back"
    fields = {n: getattr(event, n) for n in event.__struct_fields__ if n not in ("offset_us", "number")}
    title = name.replace("_", " ")
    if isinstance(event, Attempted):
        end = start + (event.ended_us or 0)
        took = shown.duration(event.ended_us)
        bad = bool(event.error)
        title = f"attempt {event.number}"
        if event.first_byte_us is not None:
            mark = (start + event.first_byte_us) / whole
    if name == "ended":
        bad = fields["outcome"] not in ("answered", "open")
    details = [
        (shown.words(n), shown.field(n, v))
        for n, v in fields.items()
        if n == "cost_nano_usd" or (v not in (None, "", {}) and n != "usage")
    ]
    style = "bad" if bad else name
    said = f"{title}: {shown.duration(start)}" + (f" to {shown.duration(end)}" if end > start else "")
    return Line(name, title, shown.duration(start), took, timeline_bar(start / whole, end / whole, mark, style, said),
                details, bad)  # fmt: skip


async def request_body(ask: Ask) -> Response:
    found = await ask.plane.trace(ask.who, ask.path("trace"))
    return _attachment(found.row.id, "request", found.request)


async def answer_body(ask: Ask) -> Response:
    found = await ask.plane.trace(ask.who, ask.path("trace"))
    return _attachment(found.row.id, "answer", found.answer)


def _attachment(trace_id: str, kind: str, text: str | None) -> Response:
    """As plain text to be saved: what a caller wrote is never drawn by a browser as a page."""
    if text is None:
        raise Refused(f"The {kind} of trace {trace_id} is not kept (its time is over, or there was none).", 404)
    name = f'attachment; filename="{trace_id}-{kind}.txt"'
    return Response(text.encode(), media_type="text/plain; charset=utf-8", headers={"content-disposition": name})


async def replay(ask: Ask) -> View:
    wanted = ask.form.get("release", "")
    result = await ask.plane.replay(ask.who, ask.path("trace"), wanted)
    context: dict[str, Any] = {"r": result, "other": bool(wanted)}
    return View("replay.html", result, context)
