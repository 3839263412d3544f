"""When the entries of a calendar take time. Whoever can send an invitation writes what stands in them: it is read in a
thread, and an entry that repeats each second, or that takes long to be worked out, is passed over and counted."""

import datetime as dt
import hashlib
import math
import re
import time
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

from waterline.connectors.visits import Taken

MOST_TIMES = 2_000  # of one entry, in what is asked for: an hourly one of two months
MOST_CPU_S = 1.0  # of one entry; "each 31st of February" is looked for until the year 9999
_MOST_KNOWN = 1_000
_EVERY_S = {"SECONDLY": 1, "MINUTELY": 60, "HOURLY": 3600, "DAILY": 86_400}  # others cannot be too many
_OURS = re.compile(r"wl-(\d{8}T\d{6}Z)-(\d{1,3})\.ics\Z")
STAMP = "%Y%m%dT%H%M%SZ"


class Endless(Exception):
    """An entry that nobody means."""


class Reader:
    """Remembers which entries took too long, so that they do so once."""

    def __init__(self) -> None:
        self._endless: dict[bytes, None] = {}

    def taken(
        self, entries: Iterable[tuple[str, str]], start: dt.datetime, end: dt.datetime, zone: ZoneInfo
    ) -> tuple[list[Taken], int]:
        """Of names of resources and their iCalendar: what takes time, and how many could not be read. In a thread."""
        found: list[Taken] = []
        unreadable = 0
        for name, text in entries:
            digest = hashlib.sha256(text.encode()).digest()
            began_s = time.thread_time()
            try:
                if digest in self._endless:
                    raise Endless
                found += times(name, text, start, end, zone)
            except Exception:  # noqa: BLE001  iCalendar as people's programs write it: anything may be in it
                unreadable += 1
            if time.thread_time() - began_s > MOST_CPU_S:
                self._endless[digest] = None
                while len(self._endless) > _MOST_KNOWN:
                    self._endless.pop(next(iter(self._endless)))
        return found, unreadable


def ours(name: str) -> tuple[dt.datetime, int] | None:
    """Of a resource that we made: the beginning of its slot, and its place there."""
    found = _OURS.search(name)
    return (dt.datetime.strptime(found[1], STAMP).replace(tzinfo=dt.UTC), int(found[2])) if found else None


def times(name: str, text: str, start: dt.datetime, end: dt.datetime, zone: ZoneInfo) -> list[Taken]:
    """When an entry takes time, repeated ones included. Raises whatever the reading of dirty iCalendar raises."""
    made = ours(name)
    import icalendar
    import recurring_ical_events

    calendar = icalendar.Calendar.from_ical(text)
    for event in calendar.walk("VEVENT"):
        rules = event.get("RRULE", [])
        for rule in rules if isinstance(rules, list) else [rules]:
            if _times_within(rule, (end - start).total_seconds()) > MOST_TIMES:
                raise Endless
    found = []
    for event in recurring_ical_events.of(calendar).between(start, end):
        if str(event.get("TRANSP", "")).upper() == "TRANSPARENT" or str(event.get("STATUS", "")).upper() == "CANCELLED":
            continue
        begin, stop = event.start, event.end
        all_day = not isinstance(begin, dt.datetime)
        begin, stop = _utc(begin, zone), _utc(stop, zone)
        if stop <= begin:  # no time at all; a slot at that instant is meant
            stop = begin + dt.timedelta(minutes=1)
        found.append(Taken(begin, stop, all_day, made[1] if made and made[0] == begin else 0))
    return found


def _times_within(rule: Any, seconds: float) -> float:
    """How often at most a rule (RRULE) comes in so many seconds."""
    every_s = _EVERY_S.get(str(rule["FREQ"][0]).upper())
    if every_s is None:
        return 0
    at_once = math.prod(max(len(rule.get(by, ())), 1) for by in ("BYHOUR", "BYMINUTE", "BYSECOND"))
    often = seconds / (every_s * max(int(rule.get("INTERVAL", [1])[0]), 1)) * at_once
    return min(often, *map(float, rule.get("COUNT", [math.inf])))


def _utc(at: dt.date | dt.datetime, zone: ZoneInfo) -> dt.datetime:
    if not isinstance(at, dt.datetime):
        at = dt.datetime.combine(at, dt.time(), zone)
    elif at.tzinfo is None:  # "floating", or of a time zone that is not known: the branch's
        at = at.replace(tzinfo=zone)
    return at.astimezone(dt.UTC)
