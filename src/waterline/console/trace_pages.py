"""Traces: the list with its filter, one trace as a timeline, its bodies, and its replay."""

import asyncio
from collections import Counter
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
from waterline.core.trace import PURPOSES, Attempted, Ended, Event, FellBack
from waterline.store.traces import TraceFilter

PAGE_ROWS = 50
PAGE_EVENTS = 100
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
    page = await ask.plane.traces.page(ask.who, where, before, PAGE_ROWS, count=True)
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
    found = await ask.plane.traces.one(ask.who, ask.path("trace"))
    row = found.row
    usage = row.usage
    context = {
        "t": found,
        "row": row,
        "events": timeline(found, ask.query("kind"), bool(ask.query("bad")), whole_number(ask.query("from"), "from")),
        "buckets": [(shown.words(n), getattr(usage, n)) for n in usage.__struct_fields__ if n != "estimated"],
        "request": None if found.request is None else await asyncio.to_thread(request_of, found.request),
        "answer": None if found.answer is None else await asyncio.to_thread(answer_of, found.answer),
        "tags": [t for t in row.tags.split(",") if t],
    }
    return View("trace.html", found, context)


class Kind(Struct, frozen=True):
    """How many events of a kind there are, and how many of them went badly."""

    name: str
    n: int
    bad: int
    here: bool
    to: str
    to_bad: str


class Timeline(Struct, frozen=True):
    """A page of the events of a trace: `first` to `last` (from 1) of the `fit` that fit the filter, of `all`."""

    lines: list[Line]
    kinds: list[Kind]
    first: int
    last: int
    fit: int
    all: int
    whole: str  # addresses; "": there is no such page
    begin: str
    before: str
    after: str
    end: str


def timeline(found: TraceView, kind: str = "", bad: bool = False, start: int = 0) -> Timeline:
    """Events with all their fields, on one scale from receipt to the end. No more of them than a page holds, and how
    many there are."""
    ends = [e.offset_us + (e.ended_us or 0 if isinstance(e, Attempted) else 0) for e in found.events]
    whole = max([found.row.duration_us, 1, *ends])
    marked = [(event, _name(event), went_badly(event)) for event in found.events]
    fitting = [event for event, name, badly in marked if kind in ("", name) and (badly or not bad)]
    start = min(start - start % PAGE_EVENTS, max(0, (len(fitting) - 1) // PAGE_EVENTS * PAGE_EVENTS))
    shown_here = fitting[start : start + PAGE_EVENTS]
    here, kept = f"/traces/{found.row.id}", {"kind": kind, "bad": "1" if bad else ""}
    last_page = max(0, (len(fitting) - 1) // PAGE_EVENTS * PAGE_EVENTS)

    def at(place: int) -> str:
        return url(here, **kept, **{"from": place or ""}) if place != start and 0 <= place <= last_page else ""

    counts = Counter(name for _, name, _ in marked)
    badly_of = Counter(name for _, name, badly in marked if badly)
    kinds = [
        Kind(name, n, badly_of[name], name == kind, url(here, kind=name), url(here, kind=name, bad="1"))
        for name, n in counts.items()
    ]
    return Timeline(
        [_line(event, whole) for event in shown_here], kinds, start + 1 if fitting else 0, start + len(shown_here),
        len(fitting), len(found.events), here if kind or bad else "", at(0), at(start - PAGE_EVENTS),
        at(start + PAGE_EVENTS), at(last_page),
    )  # fmt: skip


def went_badly(event: Event) -> bool:
    match event:
        case Attempted():
            return bool(event.error)
        case FellBack():
            return True
        case Ended():
            return event.outcome not in ("answered", "open")
        case _:
            return False


def _name(event: Event) -> str:
    return str(event.__struct_config__.tag)


def _line(event: Event, whole: int) -> Line:
    name = _name(event)
    start = event.offset_us
    end, mark, took, bad = start, None, "", went_badly(event)
    fields = {n: getattr(event, n) for n in event.__struct_fields__ if n not in ("offset_us", "number")}
    title = name.replace("_", " ")
    if isinstance(event, Attempted):
        end = start + (event.ended_us or 0)
        took = shown.duration(event.ended_us)
        title = f"attempt {event.number}"
        if event.first_byte_us is not None:
            mark = (start + event.first_byte_us) / whole
    details = [
        (shown.words(n), shown.field(n, v))
        for n, v in fields.items()
        if n == "cost_nano_usd" or (v not in (None, "", {}) and n != "usage")
    ]
    style = "bad" if bad else name
    said = f"{title}: {shown.duration(start)}" + (f" to {shown.duration(end)}" if end > start else "")
    return Line(name, title, shown.duration(start), took, timeline_bar(start / whole, end / whole, mark, style, said),
                details, bad)  # fmt: skip


def whole_number(text: str, name: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Refused(f"{name} is a whole number, not {text[:40]!r}.", 400)
    return int(text or 0)


async def request_body(ask: Ask) -> Response:
    found = await ask.plane.traces.one(ask.who, ask.path("trace"))
    return _attachment(found.row.id, "request", found.request)


async def answer_body(ask: Ask) -> Response:
    found = await ask.plane.traces.one(ask.who, ask.path("trace"))
    return _attachment(found.row.id, "answer", found.answer)


def _attachment(trace_id: str, kind: str, text: str | None) -> Response:
    """As plain text to be saved: what a caller wrote is never drawn by a browser as a page."""
    if text is None:
        raise Refused(f"The {kind} of trace {trace_id} is not kept (its time is over, or there was none).", 404)
    name = f'attachment; filename="{trace_id}-{kind}.txt"'
    return Response(text.encode(), media_type="text/plain; charset=utf-8", headers={"content-disposition": name})


async def replay(ask: Ask) -> View:
    wanted = ask.form.get("release", "")
    result = await ask.plane.traces.replay(ask.who, ask.path("trace"), wanted)
    context: dict[str, Any] = {"r": result, "other": bool(wanted)}
    return View("replay.html", result, context)
