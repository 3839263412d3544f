"""A wish for a day and a time, as people type it, in a branch's time zone. Own rules for what is relative to now, in
three languages at once; `dateparser` for the rest.

"Tuesday" is the next one after today. English "next Tuesday" is the one in the week after this one; "próxima terça",
"el próximo martes" is the next one after today, as people there mean it. Whatever was understood is confirmed with its
full date, so a misunderstanding costs a message, not a visit.
"""

import re
from datetime import UTC, date, datetime, time, timedelta

from msgspec import Struct

from waterline.agents.slots.base import Context, Refused, distance_is_one, fold
from waterline.agents.slots.times import DAY, read_clock
from waterline.agents.slots.when_days import Days, Says
from waterline.agents.slots.when_words import CORRECTION, DAY_OF, FIXABLE, FIXED_BEFORE, GREETING, MONTHS, SPELLED

FURTHEST_DAYS = 366


class When(Struct, frozen=True):
    """Days (ISO, in order) and a time of day. No days: only a time was said. `avoid`: days that do not suit."""

    days: tuple[str, ...] = ()
    minute: int | None = None
    from_min: int = 0
    to_min: int = DAY
    avoid: tuple[str, ...] = ()
    start: int = 0
    end: int = 0

    @property
    def timed(self) -> bool:
        return self.minute is not None or (self.from_min, self.to_min) != (0, DAY)


def read_when(text: str, context: Context) -> When | Refused | None:
    """Refused: "past", "no_such_date", "no_such_time", "too_far", "conflict" (Tuesday the 25th is a Wednesday)."""
    folded, places = _spelled(GREETING.sub(lambda m: " " * len(m.group()), fold(text)))
    segments = [s for s in _segments(folded) if s[1] > s[0]]
    result: When | None = None
    refused: Refused | None = None
    for start, end in segments:
        try:
            part = _segment(" " * start + folded[start:end], context)
        except Says as said:
            refused = Refused(said.reason, places[start], places[end])
            continue
        except (OverflowError, ValueError):
            continue
        if part is None:
            continue
        refused = None
        result = part if result is None else _corrected(result, part)
    if refused is not None:
        return refused
    if result is None:
        if context.asked and (parsed := _parsed(text, context)) is not None:
            return _checked(parsed, context)
        return None
    end = result.start + len(folded[result.start : result.end].rstrip())
    placed = When(
        result.days,
        result.minute,
        result.from_min,
        result.to_min,
        result.avoid,
        places[result.start],
        places[min(end, len(places) - 1)],
    )
    return _checked(placed, context)


def _spelled(folded: str) -> tuple[str, list[int]]:
    """With slips of the keyboard in weekdays and the like put right; `places` leads back to the text as it was."""
    out: list[str] = []
    places: list[int] = []
    at = 0
    for word in re.finditer(r"[a-zñ0-9]*[a-zñ][a-zñ0-9]*", folded):
        fixed = SPELLED.get(word.group(), word.group())
        if (
            fixed == word.group()
            and len(fixed) >= 5
            and fixed not in DAY_OF
            and fixed not in MONTHS
            and fixed not in FIXED_BEFORE
        ):
            near = [known for known in FIXABLE if distance_is_one(fixed, known) or _jumbled(fixed, known)]
            fixed = near[0] if near and fixed not in FIXABLE else fixed
        out += [folded[at : word.start()], fixed]
        places += [*range(at, word.start()), *(min(word.start() + i, word.end() - 1) for i in range(len(fixed)))]
        at = word.end()
    out.append(folded[at:])
    places += range(at, len(folded) + 1)
    return "".join(out), places


def _jumbled(word: str, known: str) -> bool:
    """ "thursayd": the letters of a long word, its beginning in place."""
    return len(word) == len(known) >= 6 and word[:3] == known[:3] and sorted(word) == sorted(known)


def _segments(folded: str) -> list[tuple[int, int]]:
    cuts = [0, *(end for m in CORRECTION.finditer(folded) for end in (m.start(), m.end())), len(folded)]
    return [(cuts[i], cuts[i + 1]) for i in range(0, len(cuts) - 1, 2)]


def _corrected(before: When, after: When) -> When:
    timed = after if after.timed else before
    days = after.days or before.days
    return When(
        days,
        timed.minute,
        timed.from_min,
        timed.to_min,
        (*before.avoid, *after.avoid),
        min(before.start, after.start),
        max(before.end, after.end),
    )


def _segment(text: str, context: Context) -> When | None:
    read = Days(text, context)
    read.all()
    clock, _ = read_clock(read.text)
    if clock is not None and clock.wrong:
        raise Says("no_such_time")
    minute, from_min, to_min = (clock.minute, clock.from_min, clock.to_min) if clock else (read.minute, 0, DAY)
    spans = read.spans if clock is None else [*read.spans, *clock.spans]
    if not (read.days or read.avoid or clock):
        return None
    unique = tuple(d.isoformat() for d in sorted(set(read.days)) if d not in read.avoid)
    avoided = tuple(d.isoformat() for d in sorted(set(read.avoid)))
    when = When(unique, minute, from_min, to_min, avoided, min(a for a, _ in spans), max(b for _, b in spans))
    return when if unique or avoided or when.timed else None  # "after 0" is any time


def _parsed(text: str, context: Context) -> When | None:
    """What our own rules do not know: dateparser, for a text that surely is about a date."""
    if not re.search(r"\d", text) or len(text) > 60 or not re.search(r"[a-zA-Z]{3}", text):
        return None
    import dateparser

    try:
        found = dateparser.parse(
            text, languages=[context.language, "en"] if context.language != "en" else ["en"],
            settings={"PREFER_DATES_FROM": "future", "RELATIVE_BASE": context.now.replace(tzinfo=None), "REQUIRE_PARTS": ["day", "month"], "DATE_ORDER": "MDY" if context.region == "US" else "DMY"},
        )  # fmt: skip
    except Exception:  # noqa: BLE001 - it raises whatever it likes on odd texts
        return None
    if found is None:
        return None
    named = (found.hour, found.minute) != (0, 0) and (found.hour, found.minute) != (
        context.now.hour,
        context.now.minute,
    )
    return When((found.date().isoformat(),), found.hour * 60 + found.minute if named else None, end=len(text))


def _checked(when: When, context: Context) -> When | Refused:
    today = context.now.date()
    days = [date.fromisoformat(d) for d in when.days]
    if days and max(days) < today:
        return Refused("past", when.start, when.end)
    if days and min(days) > today + timedelta(days=FURTHEST_DAYS):
        return Refused("too_far", when.start, when.end)
    if len(days) == 1 and when.minute is not None:
        if moment(days[0], when.minute, context) is None:
            return Refused("no_such_time", when.start, when.end)
        if days[0] == today and when.minute <= context.now.hour * 60 + context.now.minute:
            return Refused("past", when.start, when.end)
    kept = tuple(d for d in when.days if date.fromisoformat(d) >= today)
    return When(kept, when.minute, when.from_min, when.to_min, when.avoid, when.start, when.end)


def moment(day: date, minute: int, context: Context) -> datetime | None:
    """That minute in the branch's zone; None where the clocks jump over it."""
    local = datetime.combine(day, time(minute // 60 % 24, minute % 60), tzinfo=context.now.tzinfo)
    back = local.astimezone(UTC).astimezone(context.now.tzinfo)
    return local if (back.hour, back.minute) == (local.hour, local.minute) else None
