"""A wish for a day and a time, as people type it, in a branch's time zone. Own rules for what is relative to now, in
three languages at once; `dateparser` for the rest.

"Tuesday" is the next one after today. English "next Tuesday" is the one in the week after this one; "próxima terça",
"el próximo martes" is the next one after today, as people there mean it. Whatever was understood is confirmed with its
full date, so a misunderstanding costs a message, not a visit.
"""

import re
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta

from msgspec import Struct

from waterline.agents.slots.base import NUMBER, Context, Refused, distance_is_one, fold, number
from waterline.agents.slots.times import DAY, read_clock
from waterline.agents.slots.when_words import (
    AFTER_TOMORROW,
    ANY,
    CORRECTION,
    DAY_MONTH,
    DAY_OF,
    DAY_OF_NEXT_MONTH,
    ES_MORNING,
    FIXABLE,
    FIXED_BEFORE,
    GREETING,
    IN,
    ISO,
    MONTH_DAY,
    MONTHS,
    NAMED_DAY,
    NEXT_MONTH,
    NEXT_MONTHS_DAY,
    NTH,
    NTH_ONLY,
    NUMERIC,
    ORDINAL_DAYS,
    SHORT_DAYS,
    SPELLED,
    THIS_WEEK,
    TODAY,
    TOMORROW,
    WEEK,
    WEEKEND,
    YESTERDAY,
)

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


class _Says(Exception):
    def __init__(self, reason: str) -> None:
        self.reason = reason


def read_when(text: str, context: Context) -> When | Refused | None:
    """Refused: "past", "no_such_date", "no_such_time", "too_far", "conflict" (Tuesday the 25th is a Wednesday)."""
    folded, places = _spelled(GREETING.sub(lambda m: " " * len(m.group()), fold(text)))
    segments = [s for s in _segments(folded) if s[1] > s[0]]
    result: When | None = None
    refused: Refused | None = None
    for start, end in segments:
        try:
            part = _segment(" " * start + folded[start:end], context)
        except _Says as said:
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
    today = context.now.date()
    days: list[date] = []
    avoid: list[date] = []
    spans: list[tuple[int, int]] = []
    exact: list[date] = []

    def take(found: re.Match[str], *dates: date) -> None:
        nonlocal text
        days.extend(dates)
        spans.append((found.start(), found.end()))
        text = text[: found.start()] + " " * (found.end() - found.start()) + text[found.end() :]

    if found := YESTERDAY.search(text):
        raise _Says("past")
    for found in list(ISO.finditer(text)):
        exact.append(_date(int(found[1]), int(found[2]), int(found[3])))
        take(found, exact[-1])
    for found in list(NUMERIC.finditer(text)):
        day = _numeric(found, context)
        if day is not None:
            exact.append(day)
            take(found, day)
    for found in list(DAY_MONTH.finditer(text)):
        first = 1 if found[1].startswith(("pri", "fir")) else int(found[1])
        exact.append(_coming(MONTHS[found[2]], first, found[3], today))
        take(found, exact[-1])
    for found in list(MONTH_DAY.finditer(text)):
        exact.append(_coming(MONTHS[found[1]], int(found[2]), found[3], today))
        take(found, exact[-1])
    for pattern in (NEXT_MONTHS_DAY, DAY_OF_NEXT_MONTH):
        if found := pattern.search(text):
            month = today.replace(day=1) + timedelta(days=31)
            exact.append(_date(month.year, month.month, int(found[1])))
            take(found, exact[-1])
            break
    minute: int | None = None
    if found := IN.search(text):
        unit, word = (found["u"] or found[2])[:3], found["n"] or found[1]
        count = number(word) if word.isdecimal() or word in _NUMBER_WORDS else 1 if word in ("a", "an") else 2
        if unit.startswith("ho"):
            moment = (context.now.astimezone(UTC) + timedelta(hours=count)).astimezone(context.now.tzinfo)
            minute = moment.hour * 60 + moment.minute
            take(found, moment.date())
        else:
            step = 14 if unit == "for" else 7 if unit in ("wee", "sem") else 30 if unit in ("mon", "mes") else 1
            take(found, today + timedelta(days=count * step))
    if found := AFTER_TOMORROW.search(text):
        take(found, today + timedelta(days=2))
    mornings = [m.span() for m in ES_MORNING.finditer(text)]
    for found in list(TOMORROW.finditer(text)):
        if not any(a <= found.start() < b for a, b in mornings) and not re.search(
            r"\b(?:las|en las)\s*$", text[: found.start()]
        ):
            take(found, today + timedelta(days=1))
    if found := TODAY.search(text):
        kept = found.group()
        days.append(today)
        spans.append((found.start(), found.end()))
        if kept in ("today", "hoje", "hoy"):
            text = text[: found.start()] + " " * len(kept) + text[found.end() :]
    weekdays = _weekdays(text, context, exact, take, avoid)
    if exact and weekdays and not any(d.weekday() in weekdays for d in exact):
        raise _Says("conflict")
    _stretches(text, today, days, take)
    if not days:
        for pattern in (NTH, NTH_ONLY):
            if found := pattern.search(text):
                take(found, _nth(int(found[1]), today))
                break
    clock, text = read_clock(text)
    if clock is not None and clock.wrong:
        raise _Says("no_such_time")
    if clock is None and minute is not None:
        from_min, to_min = 0, DAY
    else:
        minute, from_min, to_min = (clock.minute, clock.from_min, clock.to_min) if clock else (None, 0, DAY)
    if clock is not None:
        spans += clock.spans
    if not (days or avoid or clock):
        return None
    unique = tuple(d.isoformat() for d in sorted(set(days)) if d not in avoid)
    avoided = tuple(d.isoformat() for d in sorted(set(avoid)))
    read = When(unique, minute, from_min, to_min, avoided, min(a for a, _ in spans), max(b for _, b in spans))
    return read if unique or avoided or read.timed else None  # "after 0" is any time


_NUMBER_WORDS = frozenset(re.findall(r"[a-z]+", NUMBER))


def _weekdays(text: str, context: Context, exact: list[date], take: object, avoid: list[date]) -> list[int]:
    """The weekdays that were said; those that do not suit go to `avoid`."""
    today = context.now.date()
    said: list[int] = []
    for found in list(NAMED_DAY.finditer(text)):
        word = found["day"]
        if not _is_weekday(text, found, context):
            continue
        weekday = DAY_OF[word]
        day = _which(weekday, today, (found["pre"] or "").strip(), (found["post"] or "").strip())
        if found["not"] or found["no"]:
            avoid.append(day)
            take(found)  # type: ignore[operator]
            continue
        said.append(weekday)
        plural = word.endswith("s") and word not in (
            "lunes",
            "martes",
            "miercoles",
            "jueves",
            "viernes",
            "tues",
            "weds",
            "thurs",
        )
        every = (
            plural
            or (found["pre"] or "").strip() in ("every", "any", "toda", "todo", "qualquer", "cualquier")
            or bool(re.search(r"\blos\s*$", text[: found.start()]))
        )
        dates = [] if exact else [day + timedelta(days=7 * n) for n in range(3 if every else 1)]
        take(found, *dates)  # type: ignore[operator]
    return said


def _is_weekday(text: str, found: re.Match[str], context: Context) -> bool:
    word = found["day"]
    before, after = text[: found.start("day")], text[found.end("day") :]
    if word in SHORT_DAYS:
        if word in ("sex", "set", "sun", "sat", "mon", "ter", "dom") and context.language != (
            "en" if word in ("sun", "sat", "mon") else "pt"
        ):
            return False
        if word == "ter" and not context.asked:
            return False
        return (
            context.asked
            or bool(re.search(r"\b(?:on|next|this|na|no|proxim[ao]|el|or|and|e|ou)\s+$", before))
            or bool(re.match(r"\.?\s*(?:at|as|a las|\d)", after))
        )
    if word in ORDINAL_DAYS and not found["feira"]:
        if (
            re.match(
                r"\s*(?:ano|serie|grado|grade|classe|opcao|opcion|vez|filh|hij|crianca|parte|pergunta|pregunta|via|lingua|lengua|mano|mao)",
                after,
            )
            or context.language == "es"
        ):
            return False
        linked = re.search(
            r"\b(?:na|nessa|nesta|essa|esta|proxima|de|da|toda|ate|pra|para|as|ou|e|a|nao|qualquer|not|vez)\s+$", before
        )
        return (
            context.asked
            or bool(linked)
            or bool(found["post"])
            or bool(re.match(r"\s*(?:,|as\b|de manha|a tarde|de tarde|\d|ou\b|nao|$)", after))
        )
    return True


def _which(weekday: int, today: date, pre: str, post: str) -> date:
    ahead = (weekday - today.weekday()) % 7 or 7
    coming = today + timedelta(days=ahead)
    monday = today - timedelta(days=today.weekday())
    if re.search(r"two weeks|dos semanas", post):
        return coming + timedelta(days=7)
    if pre == "next" or post in ("next", "of next week") or "week" in post or "semana" in post:
        return monday + timedelta(days=7 + weekday)
    return coming


def _stretches(text: str, today: date, days: list[date], take: object) -> None:
    """Weeks, weekends, months, "any day"; only where no day was named."""
    monday = today - timedelta(days=today.weekday())

    def stretch(found: re.Match[str], first: date, count: int) -> None:
        dates = [first + timedelta(days=n) for n in range(count)]
        take(found, *(d for d in dates if d >= today))  # type: ignore[operator]

    if days:
        return
    if found := WEEKEND.search(text):
        later = 7 if (found[1] == "next" and today.weekday() < 5) else 0
        saturday = monday + timedelta(days=5 + later + (7 if today.weekday() == 6 and not later else 0))
        stretch(found, saturday, 2)
    elif found := WEEK.search(text):
        stretch(found, monday + timedelta(days=7), 7)
    elif found := THIS_WEEK.search(text):
        stretch(found, monday, 7)
    elif found := NEXT_MONTH.search(text):
        first = date(today.year + today.month // 12, today.month % 12 + 1, 1)
        stretch(found, first, monthrange(first.year, first.month)[1])
    elif found := ANY.search(text):
        stretch(found, today + timedelta(days=1), 14)


def _date(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise _Says("no_such_date") from None


def _coming(month: int, day: int, year: str | None, today: date) -> date:
    if year:
        return _date(int(year), month, day)
    if (month, day) == (2, 29):
        return _date(next(y for y in range(today.year, today.year + 9) if monthrange(y, 2)[1] == 29), month, day)
    this = _date(today.year, month, day)
    return this if this >= today else _date(today.year + 1, month, day)


def _numeric(found: re.Match[str], context: Context) -> date | None:
    first, separator, second = int(found[1]), found[2], int(found[3])
    if separator == "." and not found[4] and (second > 12 or first > 31 or found[3] in ("00", "15", "30", "45")):
        return None  # 9.30 is a time
    if separator == "-" and not found[4] and (second > 12 or first <= second):
        return None  # 9-12 is a range
    day, month = (second, first) if context.region == "US" else (first, second)
    if month > 12 and day <= 12:
        day, month = month, day
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        raise _Says("no_such_date")
    year = found[4]
    return _coming(month, day, year if year is None or len(year) == 4 else f"20{year}", context.now.date())


def _nth(day: int, today: date) -> date:
    if not 1 <= day <= 31:
        raise _Says("no_such_date")
    year, month = today.year, today.month
    for _ in range(12):
        if day <= monthrange(year, month)[1] and date(year, month, day) >= today:
            return date(year, month, day)
        year, month = year + month // 12, month % 12 + 1
    raise _Says("no_such_date")


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
