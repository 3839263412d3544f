"""Opening hours as people write them: "Mon-Fri 08:30-12:30 14:00-18:00; Sat 09:00-12:00"."""

import re
from itertools import pairwise

from waterline.core.branch import Hours

_DAYS = {
    name: day
    for day, names in enumerate(
        (
            ("mon", "monday", "seg", "segunda", "lun", "lunes"),
            ("tue", "tuesday", "ter", "terça", "terca", "mar", "martes"),
            ("wed", "wednesday", "qua", "quarta", "mié", "mie", "miércoles"),
            ("thu", "thursday", "qui", "quinta", "jue", "jueves"),
            ("fri", "friday", "sex", "sexta", "vie", "viernes"),
            ("sat", "saturday", "sáb", "sab", "sábado", "sabado"),
            ("sun", "sunday", "dom", "domingo"),
        )
    )
    for name in names
}
_TIME = re.compile(r"(\d{1,2})[:h.](\d\d)\s*(?:-|–|to|a|às)\s*(\d{1,2})[:h.](\d\d)")
_RANGE = re.compile(r"([^\W\d]+)\s*(?:-|–)\s*([^\W\d]+)\Z")


def parse_hours(text: str) -> tuple[Hours, ...]:
    """Sorted, not overlapping. Raises ValueError that says what is wrong."""
    found: list[Hours] = []
    for part in filter(None, (p.strip() for p in re.split(r"[;\n]", text))):
        first = _TIME.search(part)
        if first is None:
            raise ValueError(f'"{part}" has no time')
        days = _days(part[: first.start()].strip(" ,:"))
        rest = _TIME.sub("", part[first.start() :])
        if rest.strip(" ,"):
            raise ValueError(f'"{rest.strip(" ,")}" is no time')
        for times in _TIME.finditer(part):
            a, b, c, d = map(int, times.groups())
            start, end = a * 60 + b, c * 60 + d
            if b > 59 or d > 59 or end > 24 * 60 or start >= end:
                raise ValueError(f'"{times.group()}" does not end after it begins, on one day')
            found += [Hours(day, start, end) for day in days]
    found.sort(key=lambda h: (h.weekday, h.start_min))
    for before, after in pairwise(found):
        if before.weekday == after.weekday and after.start_min < before.end_min:
            raise ValueError("two of its times overlap")
    return tuple(found)


def _days(text: str) -> list[int]:
    if text.casefold() in ("daily", "every day", "todos os dias", "todos los días"):
        return list(range(7))
    days: list[int] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        between = _RANGE.match(part)
        first, last = (between.group(1), between.group(2)) if between else (part, part)
        for name in (first, last):
            if name.casefold() not in _DAYS:
                raise ValueError(f'"{name}" is no day of the week')
        a, b = _DAYS[first.casefold()], _DAYS[last.casefold()]
        days += range(a, b + 1) if a <= b else [*range(a, 7), *range(b + 1)]
    if not days:
        raise ValueError("it names no day")
    return list(dict.fromkeys(days))
