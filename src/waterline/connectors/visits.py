"""When visits can take place: a branch's hours cut into slots, and what of them a calendar's events leave free.

Slots are cut in the branch's own time: 09:00 stays 09:00 when the clocks change, and an hour that a change of clocks
leaves out holds no slot. Instants are UTC inside.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from waterline.core.branch import Branch

MAX_DAYS = 62
MAX_AT_ONCE = 50

RULES: dict[str, Any] = {  # JSON Schema of what `rules` gives
    "type": "object",
    "description": "When visits take place; waterline.connectors.visits.rules(branch)",
    "properties": {
        "hours": {
            "type": "array",
            "maxItems": 50,
            "description": "[weekday (0 Monday), start, end]; start and end in minutes after midnight, local time",
            "items": {"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": "integer"}},
        },
        "minutes": {"type": "integer", "minimum": 5, "maximum": 24 * 60},
        "at_once": {"type": "integer", "minimum": 1, "maximum": MAX_AT_ONCE},
        "closed": {"type": "array", "maxItems": 1000, "items": {"type": "string", "format": "date"}},
    },
    "required": ["hours", "minutes"],
}


def rules(branch: Branch) -> dict[str, Any]:
    """What the calendar's operations need to know of a branch."""
    return {
        "hours": [[hours.weekday, hours.start_min, hours.end_min] for hours in branch.visit_hours],
        "minutes": branch.visit_minutes,
        "at_once": branch.visits_at_once,
        "closed": list(branch.closed),
    }


class Taken(Struct, frozen=True):
    """Something in the calendar that takes time. `place`: of the slot that begins at `start`; 0: not one of ours."""

    start: dt.datetime
    end: dt.datetime
    all_day: bool = False
    place: int = 0


def slots(visits: Mapping[str, Any], first: dt.date, days: int, zone: ZoneInfo) -> Iterator[dt.datetime]:
    """The beginnings of all slots of these days, in UTC, in order."""
    closed = set(visits.get("closed", ()))
    for number in range(min(days, MAX_DAYS)):
        day = first + dt.timedelta(days=number)
        if day.isoformat() in closed:
            continue
        begins: set[dt.datetime] = set()
        for weekday, start_min, end_min in visits["hours"]:
            if weekday == day.weekday():
                for minute in range(
                    max(0, start_min), min(24 * 60, end_min) - visits["minutes"] + 1, visits["minutes"]
                ):
                    local = dt.datetime.combine(day, dt.time(minute // 60, minute % 60), zone)
                    at = local.astimezone(dt.UTC)
                    if at.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):  # there is such a time
                        begins.add(at)
        yield from sorted(begins)


def is_slot(visits: Mapping[str, Any], start: dt.datetime, zone: ZoneInfo) -> bool:
    return start.astimezone(dt.UTC) in slots(visits, start.astimezone(zone).date(), 1, zone)


def places(visits: Mapping[str, Any], start: dt.datetime, taken: Iterable[Taken]) -> int:
    """How many visits may begin at this slot at all: `at_once`, less what else is on then.

    What was put into the calendar by hand takes one place; an all-day entry takes the day."""
    end = start + dt.timedelta(minutes=visits["minutes"])
    others = 0
    for one in taken:
        if one.start < end and start < one.end:
            if one.all_day:
                return 0
            others += not (one.place and one.start == start)
    return max(0, int(visits.get("at_once", 1)) - others)


def left(visits: Mapping[str, Any], start: dt.datetime, taken: list[Taken]) -> int:
    """How many may still be booked."""
    ours = sum(1 for one in taken if one.place and one.start == start)
    return max(0, places(visits, start, taken) - ours)
