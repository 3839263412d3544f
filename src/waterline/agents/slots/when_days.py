"""The days of a wish: written out, counted from now, weekdays, weeks and months."""

import re
from calendar import monthrange
from datetime import UTC, date, timedelta

from waterline.agents.slots.base import NUMBER, Context, number
from waterline.agents.slots.when_words import (
    AFTER_TOMORROW,
    ANY,
    DAY_MONTH,
    DAY_OF,
    DAY_OF_NEXT_MONTH,
    ES_MORNING,
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
    THIS_WEEK,
    TODAY,
    TOMORROW,
    WEEK,
    WEEKEND,
    YESTERDAY,
)  # fmt: skip

_NUMBER_WORDS = frozenset(re.findall(r"[a-z]+", NUMBER))
_ALSO_ENDING_IN_S = ("lunes", "martes", "miercoles", "jueves", "viernes", "tues", "weds", "thurs")


class Says(Exception):
    """Something is said that no visit can be on; `reason` as `read_when` gives it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Days:
    """What one text says of days. What was read is blanked out of `text`, so that nothing is read twice."""

    def __init__(self, text: str, context: Context) -> None:
        self.text = text
        self.days: list[date] = []
        self.avoid: list[date] = []
        self.spans: list[tuple[int, int]] = []  # where something was read
        self.minute: int | None = None  # "in two hours"
        self._exact: list[date] = []
        self._context = context
        self._today = context.now.date()

    def all(self) -> None:
        """Raises Says."""
        if YESTERDAY.search(self.text):
            raise Says("past")
        self._written()
        self._from_now()
        self._near()
        weekdays = self._weekdays()
        if self._exact and weekdays and not any(d.weekday() in weekdays for d in self._exact):
            raise Says("conflict")
        if not self.days:
            self._stretch()
        if not self.days:
            self._day_of_month()

    def _take(self, found: re.Match[str], *dates: date) -> None:
        self.days.extend(dates)
        self.spans.append(found.span())
        self.text = self.text[: found.start()] + " " * (found.end() - found.start()) + self.text[found.end() :]

    def _take_exact(self, found: re.Match[str], day: date) -> None:
        self._exact.append(day)
        self._take(found, day)

    def _written(self) -> None:
        for found in list(ISO.finditer(self.text)):
            self._take_exact(found, _date(int(found[1]), int(found[2]), int(found[3])))
        for found in list(NUMERIC.finditer(self.text)):
            day = _numeric(found, self._context)
            if day is not None:
                self._take_exact(found, day)
        for found in list(DAY_MONTH.finditer(self.text)):
            first = 1 if found[1].startswith(("pri", "fir")) else int(found[1])
            self._take_exact(found, _coming(MONTHS[found[2]], first, found[3], self._today))
        for found in list(MONTH_DAY.finditer(self.text)):
            self._take_exact(found, _coming(MONTHS[found[1]], int(found[2]), found[3], self._today))
        for pattern in (NEXT_MONTHS_DAY, DAY_OF_NEXT_MONTH):
            if named := pattern.search(self.text):
                month = self._today.replace(day=1) + timedelta(days=31)
                self._take_exact(named, _date(month.year, month.month, int(named[1])))
                break

    def _from_now(self) -> None:
        """In two hours, in a fortnight."""
        found = IN.search(self.text)
        if found is None:
            return
        unit, word = (found["u"] or found[2])[:3], found["n"] or found[1]
        count = number(word) if word.isdecimal() or word in _NUMBER_WORDS else 1 if word in ("a", "an") else 2
        if unit.startswith("ho"):
            now = self._context.now
            moment = (now.astimezone(UTC) + timedelta(hours=count)).astimezone(now.tzinfo)
            self.minute = moment.hour * 60 + moment.minute
            self._take(found, moment.date())
        else:
            step = 14 if unit == "for" else 7 if unit in ("wee", "sem") else 30 if unit in ("mon", "mes") else 1
            self._take(found, self._today + timedelta(days=count * step))

    def _near(self) -> None:
        """Today, tomorrow, the day after."""
        if found := AFTER_TOMORROW.search(self.text):
            self._take(found, self._today + timedelta(days=2))
        mornings = [m.span() for m in ES_MORNING.finditer(self.text)]
        for said in list(TOMORROW.finditer(self.text)):
            if not any(a <= said.start() < b for a, b in mornings) and not re.search(
                r"\b(?:las|en las)\s*$", self.text[: said.start()]
            ):
                self._take(said, self._today + timedelta(days=1))
        if found := TODAY.search(self.text):
            if found.group() in ("today", "hoje", "hoy"):
                self._take(found, self._today)
            else:  # "tonight" says a time too
                self.days.append(self._today)
                self.spans.append(found.span())

    def _weekdays(self) -> list[int]:
        """The weekdays that were said; those that do not suit go to `avoid`."""
        text = self.text
        said: list[int] = []
        for found in list(NAMED_DAY.finditer(text)):
            word = found["day"]
            if not _is_weekday(text, found, self._context):
                continue
            weekday = DAY_OF[word]
            day = _which(weekday, self._today, (found["pre"] or "").strip(), (found["post"] or "").strip())
            if found["not"] or found["no"]:
                self.avoid.append(day)
                self._take(found)
                continue
            said.append(weekday)
            plural = word.endswith("s") and word not in _ALSO_ENDING_IN_S
            every = (
                plural
                or (found["pre"] or "").strip() in ("every", "any", "toda", "todo", "qualquer", "cualquier")
                or bool(re.search(r"\blos\s*$", text[: found.start()]))
            )
            dates = [] if self._exact else [day + timedelta(days=7 * n) for n in range(3 if every else 1)]
            self._take(found, *dates)
        return said

    def _stretch(self) -> None:
        """Weeks, weekends, months, "any day"."""
        text, today = self.text, self._today
        monday = today - timedelta(days=today.weekday())
        if found := WEEKEND.search(text):
            later = 7 if (found[1] == "next" and today.weekday() < 5) else 0
            saturday = monday + timedelta(days=5 + later + (7 if today.weekday() == 6 and not later else 0))
            self._take_days(found, saturday, 2)
        elif found := WEEK.search(text):
            self._take_days(found, monday + timedelta(days=7), 7)
        elif found := THIS_WEEK.search(text):
            self._take_days(found, monday, 7)
        elif found := NEXT_MONTH.search(text):
            first = date(today.year + today.month // 12, today.month % 12 + 1, 1)
            self._take_days(found, first, monthrange(first.year, first.month)[1])
        elif found := ANY.search(text):
            self._take_days(found, today + timedelta(days=1), 14)

    def _take_days(self, found: re.Match[str], first: date, count: int) -> None:
        dates = [first + timedelta(days=n) for n in range(count)]
        self._take(found, *(d for d in dates if d >= self._today))

    def _day_of_month(self) -> None:
        for pattern in (NTH, NTH_ONLY):
            if found := pattern.search(self.text):
                self._take(found, _nth(int(found[1]), self._today))
                return


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


def _date(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise Says("no_such_date") from None


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
        raise Says("no_such_date")
    year = found[4]
    return _coming(month, day, year if year is None or len(year) == 4 else f"20{year}", context.now.date())


def _nth(day: int, today: date) -> date:
    if not 1 <= day <= 31:
        raise Says("no_such_date")
    year, month = today.year, today.month
    for _ in range(12):
        if day <= monthrange(year, month)[1] and date(year, month, day) >= today:
            return date(year, month, day)
        year, month = year + month // 12, month % 12 + 1
    raise Says("no_such_date")
