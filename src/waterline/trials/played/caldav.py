"""Plays a calendar (CalDAV, RFC 4791), as far as connectors/caldav.py asks for it."""

import hashlib
import re
import time
from urllib.parse import unquote
from xml.sax.saxutils import escape, unescape

from waterline.connectors.caldav import MARK
from waterline.core.app_spec import Connection
from waterline.trials.played.base import REFUSED, Record, Reply, Request

USER, PASSWORD = "trial", "trial-password"
_WANTED = re.compile(rb"<C:text-match[^>]*>(.*?)</C:text-match>", re.DOTALL)
_EVENT = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:{0}\r\n{1}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
DIRTY = {  # what people's programs leave in calendars; none of it takes a time that can be told
    "impossible.ics": _EVENT.format("impossible", "DTSTART:20260231T250000Z\r\nDTEND:20260231T260000Z"),
    "broken.ics": "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nSUMMARY:cut off",
    "nothing.ics": "not a calendar \N{PILE OF POO} at all",
    "seconds.ics": _EVENT.format("seconds", "DTSTART:20200101T000000Z\r\nRRULE:FREQ=SECONDLY"),
    "no-start.ics": _EVENT.format("no-start", "SUMMARY:<b>no start</b> & no end"),
}


class PlayedCalendar:
    scoped = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.writes: dict[str, tuple[str, ...]] = {"book": ("PUT",)}
        self.entries: dict[str, dict[str, tuple[str, float]]] = {}  # place -> resource -> iCalendar, when it was put

    def connection(self) -> Connection:
        return self._connection

    def settings(self, url: str) -> dict[str, str]:
        return {"url": f"{url}/dav", "user": USER, "password": PASSWORD}

    def place_of(self, request: Request) -> str:
        parts = _parts(request)
        return parts[1] if len(parts) > 1 else ""

    def wire(self, request: Request) -> str:
        return request.method if request.method in ("PUT", "DELETE") else ""

    def answer(self, request: Request, place: str, dirty: bool) -> Reply:
        if not request.headers.get("authorization", "").startswith("Basic "):
            return REFUSED
        entries, name = self.entries.setdefault(place, {}), _parts(request)[-1]
        there = entries.get(name)
        match request.method:
            case "REPORT":
                return self._found(request, entries, dirty)
            case "GET":
                return Reply(200, there[0].encode(), {"etag": _etag(there[0])}) if there else Reply(404)
            case "PUT":
                if there and (request.headers.get("if-none-match") == "*" or not _same(request, there[0])):
                    return Reply(412)
                text = request.body.decode()
                self.put(place, name, text)
                return Reply(201, b"", {"etag": _etag(text)})
            case "DELETE":
                if there is None:
                    return Reply(404)
                if not _same(request, there[0]):
                    return Reply(412)
                del entries[name]
                return Reply(204)
        return Reply(405)

    def put(self, place: str, name: str, text: str) -> None:
        self.entries[place][name] = (text, time.time())

    def changed(self, request: Request) -> Reply:
        """The calendar has another path now."""
        return Reply(409 if request.method == "PUT" else 404)

    def records(self, place: str) -> list[Record]:
        found = []
        for text, at_s in self.entries.get(place, {}).values():
            mark = re.search(rf"^{MARK}:(\S+)", text, re.MULTILINE)
            found.append(Record("book", mark[1] if mark else "", at_s))
        return found

    def _found(self, request: Request, entries: dict[str, tuple[str, float]], dirty: bool) -> Reply:
        """Filtered by a text; by time not: more than asked for is what real calendars give, too."""
        wanted = _WANTED.search(request.body)
        mark = unescape(wanted[1].decode()) if wanted else ""
        shown = {name: text for name, (text, _) in entries.items() if mark in text}
        if dirty and not mark:
            shown |= DIRTY
        path = request.target.rstrip("/")
        rows = "".join(
            f"<D:response><D:href>{escape(path)}/{name}</D:href><D:propstat><D:prop><D:getetag>{_etag(text)}"
            f"</D:getetag><C:calendar-data>{escape(text)}</C:calendar-data></D:prop>"
            "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
            for name, text in shown.items()
        )
        body = f'<D:multistatus xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">{rows}</D:multistatus>'
        return Reply(207, body.encode(), {"content-type": "application/xml; charset=utf-8"})


def _parts(request: Request) -> list[str]:
    return [part for part in unquote(request.target).split("/") if part]


def _etag(text: str) -> str:
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'


def _same(request: Request, text: str) -> bool:
    return request.headers.get("if-match", _etag(text)) == _etag(text)
