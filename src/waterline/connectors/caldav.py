"""Visits in a calendar (CalDAV, RFC 4791; tested with Radicale).

A slot has one resource for each visit that may begin at it: `wl-<start in UTC>-<place>.ics`, made by a conditional PUT
(`If-None-Match: *`), so that of two who book the last place the server refuses one, whoever they are. The event carries
a digest of the key; a repeat finds it and books nothing. What people put into the calendar by hand is respected when
free slots are shown and booked, but a person and we can still choose the same minute: nothing locks a person's entry.
"""

import base64
import datetime as dt
import hashlib
import re
import time
from collections.abc import Mapping
from itertools import islice
from typing import Any, ClassVar
from urllib.parse import quote, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from msgspec import Struct

from waterline.connectors.base import Config, ConnectorFault, Manifest, Operation, Scope
from waterline.connectors.calendar_times import STAMP, Reader, ours
from waterline.connectors.http import Reply, Site, judge, send, site_of
from waterline.connectors.threads import Threads
from waterline.connectors.visits import MAX_DAYS, RULES, Taken, is_slot, left, places, slots

TIMEOUT_S = 6.0
_START = {"type": "string", "format": "date-time", "description": "Beginning of a free slot, as free_slots gave it"}
_BOOKING = {"type": "string", "minLength": 1, "maxLength": 300, "description": "The key that it was booked with"}
_LINE = {"type": "string", "maxLength": 300}

MANIFEST = Manifest(
    kind="caldav",
    title="Calendar (CalDAV)",
    settings=("url", "user", "password"),
    secrets=("password",),
    branch_scope="path of the branch's calendar, from url: visits/porto",
    operations=(
        Operation(
            "free_slots",
            "read",
            "Free times for a visit, soonest first",
            {
                "type": "object",
                "properties": {
                    "visits": RULES,
                    "from": {"type": "string", "format": "date", "description": "First day, in the branch's time"},
                    "days": {"type": "integer", "minimum": 1, "maximum": MAX_DAYS},
                    "limit": {"type": "integer", "minimum": 1, "maximum": 200},
                    "not_before": {"type": "string", "format": "date-time", "description": "Only slots from then on"},
                },
                "required": ["visits", "from"],
            },
        ),
        Operation(
            "book",
            "write",
            "Books a visit at a free time",
            {
                "type": "object",
                "properties": {
                    "visits": RULES,
                    "start": _START,
                    "title": _LINE,
                    "name": _LINE,
                    "phone": _LINE,
                    "email": _LINE,
                    "note": {"type": "string", "maxLength": 2000},
                },
                "required": ["visits", "start"],
            },
            once="uid",
            confirm=True,
            personal=("title", "name", "phone", "email", "note"),
        ),
        Operation(
            "move",
            "write",
            "Moves a booked visit to another free time",
            {
                "type": "object",
                "properties": {"visits": RULES, "booking": _BOOKING, "start": _START},
                "required": ["visits", "booking", "start"],
            },
            once="condition",
            confirm=True,
        ),
        Operation(
            "cancel",
            "write",
            "Cancels a booked visit",
            {"type": "object", "properties": {"booking": _BOOKING}, "required": ["booking"]},
            once="condition",
            confirm=True,
        ),
        Operation(
            "find",
            "read",
            "The visit that was booked with a key, if it is still in the calendar",
            {"type": "object", "properties": {"booking": _BOOKING}, "required": ["booking"]},
            personal=("title", "description"),
        ),
        Operation("ping", "read", "Whether the calendar answers", {"type": "object", "properties": {}}),
    ),
)

_D, _C = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}"
_QUERY = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">'
    "<D:prop><D:getetag/><C:calendar-data/></D:prop>"
    '<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">{}</C:comp-filter></C:comp-filter>'
    "</C:filter></C:calendar-query>"
)
# Before the first element; later, "<!" begins a CDATA section, in which some servers put the entries.
_DOCTYPE = re.compile(rb"(?s)(?>(?:\xef\xbb\xbf)?(?:\s+|<\?.*?\?>|<!--.*?-->)*+)<!")
MARK = "X-WATERLINE-KEY"


class Entry(Struct, frozen=True):
    """A resource of the calendar."""

    target: str  # its path, escaped
    etag: str
    text: str  # iCalendar

    @property
    def ours(self) -> tuple[dt.datetime, int] | None:
        return ours(unquote(self.target))


class CalDav:
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "calendar": {"type": "string", "description": "path of the calendar of branches that name none in `scope`"}
        },
    }
    manifest = MANIFEST

    def __init__(self, config: Config) -> None:
        self._config = config
        self._threads = Threads(config.name)
        self._reader = Reader()

    @staticmethod
    def describe(parameters: Mapping[str, Any], files: Mapping[str, str]) -> Manifest:
        return MANIFEST

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        calendar = Calendar(self._config, self._threads, self._reader, scope)
        match operation:
            case "free_slots":
                return await calendar.free_slots(arguments)
            case "book":
                return await calendar.book(arguments, key)
            case "move":
                return await calendar.move(arguments)
            case "cancel":
                return await calendar.cancel(str(arguments["booking"]))
            case "find":
                return await calendar.find(str(arguments["booking"]))
            case _:
                await calendar.query('<C:prop-filter name="UID"><C:text-match>none</C:text-match></C:prop-filter>')
                return {"ok": True}

    async def close(self) -> None:
        self._threads.close()


class Calendar:
    """One branch's calendar."""

    def __init__(self, config: Config, threads: Threads, reader: Reader, scope: Scope) -> None:
        self._site: Site = site_of(config.settings.get("url", ""))
        self._threads, self._reader = threads, reader
        self._auth = _basic(config.settings.get("user", ""), config.settings.get("password", ""))
        self._path = _path(scope.place or str(config.parameters.get("calendar", "")))
        self._zone = ZoneInfo(scope.timezone)

    async def free_slots(self, given: Mapping[str, Any]) -> dict[str, Any]:
        visits, first, days = given["visits"], dt.date.fromisoformat(given["from"]), given.get("days", 14)
        earliest = dt.datetime.now(dt.UTC)
        if "not_before" in given:
            earliest = max(earliest, dt.datetime.fromisoformat(given["not_before"]))
        begins = [at for at in slots(visits, first, days, self._zone) if at >= earliest]
        if not begins:
            return {"slots": [], "more": False, "unreadable": 0}
        length = dt.timedelta(minutes=visits["minutes"])
        taken, unreadable = await self._taken(begins[0], begins[-1] + length)
        limit = given.get("limit", 100)
        free = await self._threads.run(_free, visits, begins, taken, limit + 1)
        return {
            "slots": [{"start": self._shown(at), "end": self._shown(at + length), "left": n} for at, n in free[:limit]],
            "more": len(free) > limit,
            "unreadable": unreadable,  # entries that nobody could make sense of; they are passed over
        }

    async def book(self, given: Mapping[str, Any], key: str) -> dict[str, Any]:
        if found := await self._by_key(key):
            return self._booked(found[0], again=True)
        start = self._slot(given["visits"], given["start"])
        if start <= dt.datetime.now(dt.UTC):
            raise ConnectorFault("refused", "The time has passed. Offer another.")
        event = _event(start, given["visits"]["minutes"], key, given, 0)
        won = await self._take(given["visits"], start, key, event)
        # A caller with the same key may have been as quick, at another place: both keep the same one.
        survivor, *surplus = await self._by_key(key) or [won]
        for entry in surplus:
            await self._delete(entry)
        return self._booked(survivor, again=False)

    async def move(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """First the new place, then the old one goes: cut off in between, a repeat ends it; the visit is never lost."""
        booking = str(given["booking"])
        found = await self._by_key(booking)
        if not found:
            raise ConnectorFault("refused", "There is no such visit in the calendar (any more). Book a new one.")
        start = self._slot(given["visits"], given["start"])
        at_start = [entry for entry in found if entry.ours and entry.ours[0] == start]
        if at_start:
            new = at_start[0]
        else:
            new = await self._take(given["visits"], start, booking, _moved(found[0], start, given["visits"]["minutes"]))
        for entry in found:
            if entry.target != new.target:
                await self._delete(entry)
        return self._booked(new, again=bool(at_start))

    async def cancel(self, booking: str) -> dict[str, Any]:
        found = await self._by_key(booking)
        for entry in found:
            await self._delete(entry)
        return {"cancelled": True, "found": bool(found)}

    async def find(self, booking: str) -> dict[str, Any]:
        found = await self._by_key(booking)
        return {"found": True, **self._booked(found[0], again=True)} if found else {"found": False}

    async def _take(self, visits: Mapping[str, Any], start: dt.datetime, key: str, event: str) -> Entry:
        """Puts the event at the first place of the slot that the server lets us have."""
        taken, _ = await self._taken(start, start + dt.timedelta(minutes=visits["minutes"]))
        for place in range(1, places(visits, start, taken) + 1):
            name = f"wl-{start.strftime(STAMP)}-{place}.ics"
            target = f"{self._path}/{name}"
            text = event.replace("{uid}", name.removesuffix(".ics"))
            headers = {"if-none-match": "*", "content-type": "text/calendar; charset=utf-8"}
            reply = await self._send("PUT", target, text.encode(), headers)
            if reply.status in (200, 201, 204):
                return Entry(target, reply.headers.get("etag", ""), text)
            if reply.status != 412:
                self._judge(reply)
            there = await self._get(target)
            if there is not None and _mark(there.text) == _digest(key):  # the same act, a moment earlier
                return there
        raise ConnectorFault("refused", "No place is left at this time. Offer another.")

    def _slot(self, visits: Mapping[str, Any], text: str) -> dt.datetime:
        start = dt.datetime.fromisoformat(text).astimezone(dt.UTC)
        if not is_slot(visits, start, self._zone):
            raise ConnectorFault("refused", "No visit begins at this time. Offer one of free_slots.")
        return start

    async def _taken(self, start: dt.datetime, end: dt.datetime) -> tuple[list[Taken], int]:
        """What takes time between two instants, and how many entries could not be read."""
        # A day more on both sides: an all-day entry has no time zone of its own.
        day = dt.timedelta(days=1)
        filters = f'<C:time-range start="{(start - day).strftime(STAMP)}" end="{(end + day).strftime(STAMP)}"/>'
        entries = await self.query(filters)
        named = [(unquote(entry.target), entry.text) for entry in entries]
        return await self._threads.run(self._reader.taken, named, start - day, end + day, self._zone)

    async def _by_key(self, key: str) -> list[Entry]:
        """What was booked with the key: one; more only where a caller was cut off. The one that counts is first."""
        match = escape(_digest(key))
        filters = (
            f'<C:prop-filter name="{MARK}"><C:text-match collation="i;octet">{match}</C:text-match></C:prop-filter>'
        )
        found = [e for e in await self.query(filters) if e.ours and _mark(e.text) == _digest(key)]
        return sorted(found, key=lambda e: (_sequence(e.text), e.target), reverse=True)

    async def query(self, filters: str) -> list[Entry]:
        body = _QUERY.format(filters).encode()
        headers = {"depth": "1", "content-type": "application/xml; charset=utf-8"}
        reply = await self._send("REPORT", f"{self._path}/", body, headers)
        self._judge(reply)
        return _entries(reply, self._site)

    async def _get(self, target: str) -> Entry | None:
        reply = await self._send("GET", target)
        if reply.status == 404:
            return None
        self._judge(reply)
        return Entry(target, reply.headers.get("etag", ""), reply.body.decode("utf-8", "replace"))

    async def _delete(self, entry: Entry) -> None:
        reply = await self._send("DELETE", entry.target, headers={"if-match": entry.etag} if entry.etag else {})
        if reply.status == 412:  # a person changed it meanwhile: what we were asked still holds for what is there now
            there = await self._get(entry.target)
            if there is None or _mark(there.text) != _mark(entry.text):
                return
            reply = await self._send("DELETE", entry.target, headers={"if-match": there.etag})
            if reply.status == 412:
                raise ConnectorFault("down", "The visit is being changed by somebody. Try again.")
        if reply.status not in (404, 410):
            self._judge(reply)

    async def _send(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        given = {"authorization": self._auth, "accept": "text/calendar, application/xml", **(headers or {})}
        return await send(self._threads, self._site, method, target, given, body, TIMEOUT_S)

    def _judge(self, reply: Reply) -> None:
        if reply.status in (404, 405, 409, 410):
            where = unquote(self._path)
            raise ConnectorFault("schema", f"{self._site} has no calendar at {where}. Correct the branch's scope.")
        judge(reply, str(self._site))

    def _booked(self, entry: Entry, again: bool) -> dict[str, Any]:
        ours = entry.ours
        start, place = ours if ours else (dt.datetime.now(dt.UTC), 0)
        return {
            "start": self._shown(start),
            "place": place,
            "uid": unquote(entry.target).rsplit("/", 1)[-1].removesuffix(".ics"),
            "again": again,
        }

    def _shown(self, at: dt.datetime) -> str:
        return at.astimezone(self._zone).isoformat(timespec="minutes")


def _free(
    visits: Mapping[str, Any], begins: list[dt.datetime], taken: list[Taken], most: int
) -> list[tuple[dt.datetime, int]]:
    found = ((at, left(visits, at, taken)) for at in begins)
    return list(islice((slot for slot in found if slot[1]), most))


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _path(place: str) -> str:
    """The branch's calendar below the url; it cannot leave it."""
    parts = [part for part in unquote(place).split("/") if part]
    if any(part in (".", "..") or "\\" in part or not part.isprintable() for part in parts) or "://" in place:
        raise ConnectorFault("invalid", "The calendar's path is no path below url. Correct the branch's scope.")
    return "".join(f"/{quote(part)}" for part in parts)


def _entries(reply: Reply, site: Site) -> list[Entry]:
    try:
        if _DOCTYPE.match(reply.body):  # entities, other files
            raise ElementTree.ParseError
        tree = ElementTree.fromstring(reply.body)
    except ElementTree.ParseError:
        raise ConnectorFault("schema", f"{site} answers, but not as a calendar does. Correct url.") from None
    found = []
    for one in tree.iter(f"{_D}response"):
        text = one.findtext(f".//{_C}calendar-data")
        href = one.findtext(f"{_D}href") or ""
        if text:
            # On another host or outside of url it is not ours to touch; only its times count.
            path = re.sub(r"\Ahttps?://[^/]+", "", href)
            target = path.removeprefix(site.path) if path.startswith(f"{site.path}/") else ""
            found.append(Entry(target, one.findtext(f".//{_D}getetag") or "", text))
    return found


def _digest(key: str) -> str:
    """The key itself may name a person's telephone number; the calendar is read by many."""
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def _unfolded(text: str) -> str:
    return re.sub(r"\r?\n[ \t]", "", text)


def _property(text: str, name: str) -> str:
    found = re.search(rf"^{name}(?:;[^:\r\n]*)?:(.*?)\r?$", _unfolded(text), re.MULTILINE | re.IGNORECASE)
    return found[1] if found else ""


def _mark(text: str) -> str:
    return _property(text, MARK)


def _sequence(text: str) -> int:
    said = _property(text, "SEQUENCE")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0


def _event(start: dt.datetime, minutes: int, key: str, given: Mapping[str, Any], sequence: int) -> str:
    """iCalendar (RFC 5545), folded; `{uid}` is filled in with the place."""
    summary = given.get("title") or " ".join(filter(None, ("Visit", given.get("name"))))
    details = [str(given[name]) for name in ("name", "phone", "email", "note") if given.get(name)]
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Waterline//EN",
        "BEGIN:VEVENT",
        "UID:{uid}",
        f"DTSTAMP:{time.strftime(STAMP, time.gmtime())}",
        f"DTSTART:{start.strftime(STAMP)}",
        f"DTEND:{(start + dt.timedelta(minutes=minutes)).strftime(STAMP)}",
        f"SEQUENCE:{sequence}",
        f"{MARK}:{_digest(key)}",
        f"SUMMARY:{_escaped(summary)}",
        f"DESCRIPTION:{_escaped(chr(10).join(details))}",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]
    return "\r\n".join(_folded(line) for line in lines)


def _moved(entry: Entry, start: dt.datetime, minutes: int) -> str:
    """The same event, whatever people have added to it, at another time."""
    new = {
        "UID": "{uid}",
        "DTSTAMP": time.strftime(STAMP, time.gmtime()),
        "DTSTART": start.strftime(STAMP),
        "DTEND": (start + dt.timedelta(minutes=minutes)).strftime(STAMP),
        "SEQUENCE": str(_sequence(entry.text) + 1),
    }
    lines, inside = [], False
    for line in _unfolded(entry.text).replace("\r\n", "\n").strip().split("\n"):
        name = re.split("[;:]", line, maxsplit=1)[0].upper()
        if line.upper() == "BEGIN:VALARM":
            inside = False
        if inside and name in (*new, "DURATION"):
            continue
        lines.append(line.replace("{uid}", "(uid)"))
        if line.upper() in ("BEGIN:VEVENT", "END:VALARM"):
            inside = True
            if line.upper() == "BEGIN:VEVENT":
                lines += [f"{key}:{value}" for key, value in new.items()]
    return "\r\n".join(_folded(line) for line in [*lines, ""])


def _escaped(text: str) -> str:
    clean = "".join(c for c in text if c == "\n" or c >= " ").replace("{uid}", "(uid)")
    return clean.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


def _folded(line: str) -> str:
    """Lines of at most 75 octets (RFC 5545, 3.1), never within a character."""
    pieces, now = [], ""
    for character in line:
        if len((now + character).encode()) > 74:
            pieces.append(now)
            now = character
        else:
            now += character
    return "\r\n ".join([*pieces, now])
