"""A time of day in English, Portuguese and Spanish: a minute after midnight, or a stretch of the day."""

import re

from msgspec import Struct

from waterline.agents.slots.base import NUMBER, number

DAY = 24 * 60
PARTS = {
    "morning": (6 * 60, 12 * 60), "noon": (12 * 60, 14 * 60), "afternoon": (12 * 60, 18 * 60),
    "evening": (17 * 60, 22 * 60),
}  # fmt: skip


class Clock(Struct, frozen=True):
    """`minute` is one time; else what lies between the two ends. `wrong`: a time that no clock shows."""

    minute: int | None = None
    from_min: int = 0
    to_min: int = DAY
    wrong: bool = False
    spans: tuple[tuple[int, int], ...] = ()


_MORNING = r"(?:(?:early |late )?(?:in the |this )?mornings?|(?:de|da|pela|na|pelas)\s+manhas?|manhas?\b(?!\s*cedo\s*nao)|(?:por|de|en|a)\s+la\s+mananas?|(?:las|en las|por las)\s+mananas?|cedo|cedinho|temprano)"
_AFTERNOON = r"(?:(?:in the |this )?afternoons?|after school|(?:a|de|da|na|pela|depois da|desta|esta|nesta|por|em|en)?\s*(?:la |las |a )?tardes?|tardinha|tardecita|after lunch|depois do almoco|despues de(?:l almuerzo| comer))"
_EVENING = r"(?:(?:in the |this )?evenings?|tonight|at night|(?:a|de|da|na|pela|por|en|esta)?\s*(?:la )?noites?|(?:por|de|en|a|esta)?\s*(?:la )?noches?)"
_SUFFIX = rf"(?:\s*(?P<ap>a\.?\s?m\b\.?|p\.?\s?m\b\.?)|\s*(?P<part>{_MORNING}|(?:in the |this )?afternoon|(?:da|de la|a|por la|en la|na)\s+tarde|(?:in the |this )?evening|at night|(?:da|de la|a|por la|en la|na)\s+(?:noite|noche)))?"
_HOUR_WORDS = r"(?:o'?\s?clock|hours?|hrs?|horas?|hs|h)"
_AT = r"(?:at|by|around|about|approx\.?|~|@|as|a las|a la|las|la|pelas|por volta das?|umas|tipo|sobre las|a eso de las|hacia las|para as|pras|pra|para las|las|2h de)"
_CLOCK = re.compile(
    rf"(?<![\d/.:-])(?:(?P<at>\b{_AT})\s*)?(?P<h>\d{{1,2}})\s?(?P<sep>:|h\s?|\.(?=\d\d\b(?!\.\d))|hs?:)\s?(?P<m>\d{{2}})\s*(?:min(?:utos)?|m\b|{_HOUR_WORDS})?(?![\d/])"
    + _SUFFIX
)
_COMPACT = re.compile(r"\b(?P<h>\d{1,2})(?P<m>[0-5]\d)\s*(?P<ap>am|pm)\b")
_PAST = re.compile(
    rf"(?:\b{_AT}\s+)?\b(?:(?P<half>half past)|(?P<qp>(?:a )?quarter past)|(?P<qt>(?:a )?quarter to)|(?P<mp>{NUMBER})\s+(?:minutes )?past|(?P<mt>{NUMBER})\s+(?:minutes )?to|(?P<pqt>quinze (?:para|pras?) (?:as )?)|(?P<pmt>{NUMBER}) (?:para|pras?) as)\s*(?P<h>{NUMBER})\b(?!\s*(?:anos|years|/|people|filh|hij))"
    + _SUFFIX
)
_HALF = re.compile(
    rf"(?:\b(?P<at>{_AT})\s+)?\b(?P<h>{NUMBER})\s*(?:{_HOUR_WORDS})?\s+(?:e|y|menos)\s+(?P<what>meia|media|quinze|cuarto|quince|trinta|treinta|vinte|veinte|dez|diez|cinco|um quarto|quarenta e cinco|cuarenta y cinco)\b(?!\s*(?:anos|years))"
    + _SUFFIX
)
_PLAIN = re.compile(
    rf"(?<![\d/.:-])\b(?P<at>{_AT})\s+(?P<h>{NUMBER})\b(?![/:.]?\d|\s*(?:anos|years|months|meses|de\s+(?:jan|feb|fev|mar|abr|apr|may|mai|jun|jul|ago|aug|set|sep|oct|out|nov|dez|dec|dic|ene)|filh|hij|kids|children|eur|euros|grade|ano\b|st\b|nd\b|rd\b|th\b|%|or \d+ years))\s*(?:{_HOUR_WORDS}\b)?"
    + _SUFFIX
)
_SUFFIXED = re.compile(
    rf"(?<![\d/.:-])\b(?P<h>{NUMBER})\s*(?:(?P<unit>{_HOUR_WORDS})\b)?" + _SUFFIX.removesuffix("?") + r"(?!\w)"
)
_UNIT = re.compile(
    r"(?<![\d/.:-])\b(?P<h>\d{1,2})\s*(?:o'?\s?clock|horas|hrs|hs|h)\b(?!\s*(?:a day|per|por|de distancia|\d))"
)
# "make it 11", "11 is better": an hour of the day, because nothing else was being spoken of.
_HOUR = r"(?P<h>[8-9]|1[0-8])\b(?![/:.,]?\d|\s*(?:anos|years|months|meses|de |of |filh|hij|kids|children|people|eur|%|min|days|dias|st\b|nd\b|rd\b|th\b|[a-z]+day))"
_WISHED = re.compile(
    rf"\b(?:make (?:it|that)|(?:can|could) (?:we|you|i) do|prefer|prefiro|prefiero|better|melhor|mejor|(?:move|change|switch) (?:it |that )?to)\s+{_HOUR}"
    + _SUFFIX
)
_INSTEAD = re.compile(
    rf"(?<![\d/.:-])\b{_HOUR}(?=\s+(?:instead|(?:is|would be|works|suits (?:me|us)) better|(?:e|seria|fica) melhor|(?:es|seria|queda) mejor))"
)
_NOON = re.compile(
    r"\b(?:at |ao |al |a la |as )?(?:noon|midday|mid-day|meio[ -]dia|mediodia|medio dia)(?:\s+e\s+(?P<half>meia))?\b"
)
_MIDNIGHT = re.compile(r"\b(?:at |a |a la )?(?:midnight|meia[ -]noite|medianoche|media noche)\b")
_BETWEEN = re.compile(
    r"\b(?:between|entre|from|das|de las|de|from)\s+(?:as |las |os )?(?P<a>\d{1,2})(?::(?P<am>\d\d)|h(?P<am2>\d\d)?)?\s*(?P<apa>am|pm)?\s*(?:and|e|y|to|as|a las|a|until|till|ate as|hasta las|-|–)\s*(?:as |las )?(?P<b>\d{1,2})(?::(?P<bm>\d\d)|h(?P<bm2>\d\d)?)?(?![\d/])\s*(?!(?:anos|years|de ))(?P<apb>am|pm)?(?:\s*(?P<part>da tarde|de la tarde|da manha|de la manana))?"
    r"|(?<![\d/.-])\b(?P<a3>\d{1,2})(?:h|:00)?\s*[-–]\s*(?P<b3>\d{1,2})\s?(?P<ap3>am|pm|h)\b"
)
_LATER = r"(?:any ?time after|after|depois d[aeo]s?|a partir d[aeo]s?(?: las)?|apos as|apos|despues de(?: las| la)?|luego de las|desde las|desde as)"
_EARLIER = r"(?:before|until|no later than|antes d[aeo]s?(?: las| la)?|ate as|ate|hasta las?)"
_BOUNDED = re.compile(
    rf"\b(?:(?P<hi>{_EARLIER}|by)|(?P<lo>{_LATER}|from))\s+(?P<h>{NUMBER})(?:(?P<sep>:|h|\.(?=\d\d))(?P<m>\d{{2}}))?(?![\d/:]|\s*(?:anos|years|de (?!la )|filh|hij|days|dias|weeks|semanas|[a-z]+day))\s*(?:{_HOUR_WORDS}\b)?"
    + _SUFFIX
)
_ONWARDS = re.compile(
    r"\s*(?:onwards?|or later|and later|em diante|ou mais tarde|en adelante|o mas tarde|para frente)\b"
)


def read_clock(text: str) -> tuple[Clock | None, str]:
    """The time in a folded text, and the text with it blanked out."""
    for reader in (_between, _clocks):
        found = reader(text)
        if found is not None:
            return found, _blank(text, found.spans)
    found = _part(text)
    return found, _blank(text, found.spans) if found else text


def _blank(text: str, spans: tuple[tuple[int, int], ...]) -> str:
    for start, end in spans:
        text = text[:start] + " " * (end - start) + text[end:]
    return text


def _between(text: str) -> Clock | None:
    found = _BETWEEN.search(text)
    if found is None:
        return None
    group = found.groupdict()
    first, last = int(group["a"] or group["a3"]), int(group["b"] or group["b3"])
    late = group["apb"] or group["ap3"] or ""
    part = group["part"] or ("afternoon" if late == "pm" else "")
    early = group["apa"] or (late if first < last else "")
    start = _minute(first, int(group["am"] or group["am2"] or 0), early, part if first < last else "")
    end = _minute(last, int(group["bm"] or group["bm2"] or 0), late, part)
    if start is None or end is None or not start < end:
        return None
    return Clock(from_min=start, to_min=end, spans=((found.start(), found.end()),))


def _clocks(text: str) -> Clock | None:
    readers = (_BOUNDED, _COMPACT, _PAST, _HALF, _CLOCK, _SUFFIXED, _NOON, _MIDNIGHT, _PLAIN, _UNIT, _WISHED, _INSTEAD)
    for pattern in readers:
        found = pattern.search(text)
        if found is None:
            continue
        if pattern is _MIDNIGHT:
            minute: int | None = 0
        elif pattern is _NOON:
            minute = 12 * 60 + (30 if found.group("half") else 0)
        else:
            minute = _of(found)
        start, end = found.start(), found.end()
        if minute is None:
            return Clock(wrong=True, spans=((start, end),))
        onwards = _ONWARDS.match(text[end:])
        bound = found.groupdict()
        if bound.get("lo") or onwards:
            return Clock(from_min=minute, spans=((start, end + (onwards.end() if onwards else 0)),))
        if bound.get("hi"):
            return Clock(to_min=minute, spans=((start, end),))
        return Clock(minute=minute, spans=((start, end),))
    return None


def _of(found: re.Match[str]) -> int | None:
    group = found.groupdict()
    hour = number(group["h"])
    minutes = int(group.get("m") or 0)
    shift = 0
    if group.get("half"):
        minutes = 30
    elif group.get("qp"):
        minutes = 15
    elif group.get("qt") or group.get("pqt"):
        shift = -15
    elif group.get("mp"):
        minutes = number(group["mp"])
    elif group.get("mt") or group.get("pmt"):
        shift = -number(group.get("mt") or group["pmt"])
    elif what := group.get("what"):
        minutes = {"meia": 30, "media": 30, "quinze": 15, "cuarto": 15, "um quarto": 15, "quince": 15, "trinta": 30,
                   "treinta": 30, "vinte": 20, "veinte": 20, "dez": 10, "diez": 10, "cinco": 5}.get(what, 45)  # fmt: skip
        if " menos " in f" {found.group()} ":
            minutes, shift = 0, -minutes
    minute = _minute(
        hour,
        minutes,
        group.get("ap") or "",
        group.get("part") or "",
        written=bool(group.get("sep")) and len(group["h"]) == 2,
    )
    return None if minute is None else (minute + shift) % DAY


def _minute(hour: int, minutes: int, ap: str, part: str, *, written: bool = False) -> int | None:
    """Without am or pm, 1 to 6 is in the afternoon (nobody visits a school at three in the night); 07:00 is not."""
    if hour > 24 or minutes > 59 or (hour == 24 and minutes):
        return None
    ap = ap.replace(".", "").replace(" ", "")
    late = bool(re.search(r"tarde|afternoon|evening|night|noite|noche", part))
    early = bool(re.search(r"morning|manha|manana", part))
    if ap and hour > 12:
        return hour % 24 * 60 + minutes if ap == "pm" and hour < 24 else None
    if ap == "pm" or late:
        hour = hour + 12 if hour < 12 else hour
    elif ap == "am" or early:
        hour = 0 if hour == 12 and ap == "am" else hour
    elif 1 <= hour <= 6 and not written:
        hour += 12
    return hour % 24 * 60 + minutes


_PART_PATTERNS = (
    ("morning", re.compile(rf"\b{_MORNING}\b")),
    ("noon", re.compile(r"\b(?:lunch ?time|at lunch|hora do almoco|hora de comer|hora del almuerzo)\b")),
    ("afternoon", re.compile(rf"\b(?<!mas )(?<!mais ){_AFTERNOON}\b")),
    ("evening", re.compile(rf"\b{_EVENING}\b")),
)


def _part(text: str) -> Clock | None:
    for name, pattern in _PART_PATTERNS:
        for found in pattern.finditer(text):
            if re.search(r"\b(?:mais|mas)\s*$", text[: found.start()]):  # "mais tarde": later, no part of the day
                continue
            start, end = PARTS[name]
            return Clock(from_min=start, to_min=end, spans=((found.start(), found.end()),))
    return None
