"""Texts of a flow, filled in; dates and times as people write them in each language."""

import re
from collections.abc import Mapping
from datetime import datetime

from waterline.core.flow import Flow

_HOLE = re.compile(r"\{([a-z_0-9]+)\}")
_DAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "pt": ("segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado", "domingo"),
    "es": ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
}
_MONTH_NAMES = {
    "en": "January February March April May June July August September October November December",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
}
_MONTHS = {language: names.split() for language, names in _MONTH_NAMES.items()}


def fill(text: str, values: Mapping[str, str]) -> str:
    """Holes without a value become nothing, and blanks around them one."""
    filled = _HOLE.sub(lambda hole: values.get(hole[1], ""), text)
    return re.sub(r" +([,.;:!?])", r"\1", re.sub(r" {2,}", " ", filled)).strip()


def say(flow: Flow, language: str, name: str, values: Mapping[str, str]) -> str:
    texts = flow.texts.get(language) or flow.texts[flow.languages[0]]
    return fill(texts.get(name, ""), values)


def long_date(at: datetime, language: str) -> str:
    """ "Tuesday, 24 November, 9:30" in the language's own way."""
    day, month = _DAYS.get(language, _DAYS["en"])[at.weekday()], _MONTHS.get(language, _MONTHS["en"])[at.month - 1]
    clock = f"{at.hour}:{at.minute:02}"
    match language:
        case "pt":
            return f"{day}, {at.day} de {month}, às {clock}"
        case "es":
            return f"{day} {at.day} de {month}, a las {clock}"
        case _:
            return f"{day}, {at.day} {month}, at {clock}"


def short_date(at: datetime, language: str) -> str:
    """For a button: at most 20 characters."""
    day = _DAYS.get(language, _DAYS["en"])[at.weekday()][:3]
    month = _MONTHS.get(language, _MONTHS["en"])[at.month - 1][:3]
    return f"{day} {at.day} {month} {at.hour}:{at.minute:02}"
