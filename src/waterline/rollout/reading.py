"""Takes the values of one table by its declared keys; what does not fit becomes a mistake and is left out."""

import difflib
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any

from waterline.core.money import nano_from_usd
from waterline.rollout.folder import SECRET_REMEDY, Folder
from waterline.rollout.keys import TYPE_NAMES, Key, Keys

_SECRET_KEYS = frozenset({"api_key", "apikey", "key", "token", "access_token", "secret", "password", "authorization"})


class Place:
    """A table in a file: how to name it and where its keys stand."""

    def __init__(self, folder: Folder, file: str, name: str, line_of: Callable[[str], int]) -> None:
        self.folder = folder
        self.file = file
        self.name = name  # "[limits]"; empty for the top of a file
        self.line_of = line_of  # of a key; of "": the table itself

    def wrong(self, key: str, problem: str, remedy: str) -> None:
        self.folder.wrong(self.file, self.line_of(key), problem, remedy)

    def called(self, key: str) -> str:
        return f"{self.name} {key}" if self.name else key


def did_you_mean(word: str, known: Collection[str]) -> str:
    """ "Did you mean "prompt"?" or what there is."""
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    if near:
        return f'Did you mean "{near[0]}"?'
    return f"Known: {', '.join(sorted(known))}" if known else "There is none"


def read_table(place: Place, table: Mapping[str, Any], keys: Keys, also: Collection[str] = ()) -> dict[str, Any]:
    """The good values of a table. Money becomes nano-USD, numbers become float or int, lists become tuples.

    `also`: keys that are read elsewhere (sub-tables)."""
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name in also:
            continue
        key = keys.get(name)
        if key is None:
            _unknown(place, name, {*keys, *also})
            continue
        good = _value(place, name, key, value)
        if good is not None:
            values[name] = good
    for name, key in keys.items():
        if key.required and name not in table:
            place.wrong("", f'{place.name or "the file"} has no "{name}"', f"Write {name} = {_example(key)}")
    return values


def _unknown(place: Place, name: str, known: Collection[str]) -> None:
    if name.lower().replace("-", "_") in _SECRET_KEYS:
        place.wrong(name, f'"{place.called(name)}" would put a secret into the folder', SECRET_REMEDY)
    else:
        place.wrong(name, f'unknown key "{place.called(name)}"', did_you_mean(name, known))


def _value(place: Place, name: str, key: Key, value: Any) -> Any:
    called = place.called(name)
    if not _has_type(key, value):
        what = f'"{called}" is {TYPE_NAMES[key.type]}'
        place.wrong(name, f"{what}, not {_kind(value)}", f"Write {name} = {_example(key)}")
        return None
    if key.type in ("whole", "number", "usd") and not _in_bounds(key, value):
        place.wrong(name, f'"{called}" is {value}, but it is {_bounds(key)}', f"Write {name} = {_example(key)}")
        return None
    if key.choices and value not in key.choices:
        near = did_you_mean(value, key.choices)
        place.wrong(name, f'"{called}" is "{value}"; it is one of {", ".join(key.choices)}', near)
        return None
    if key.required and isinstance(value, str) and not value.strip():
        place.wrong(name, f'"{called}" is empty', f"Write {name} = {_example(key)}")
        return None
    if key.type == "usd":
        try:
            return nano_from_usd(value)
        except ValueError:
            place.wrong(name, f'"{called}" is finer than a nano-USD', "Write at most nine decimals")
            return None
    if key.type == "number":
        return float(value)
    return tuple(value) if key.type == "texts" else value


def _has_type(key: Key, value: Any) -> bool:
    match key.type:
        case "text":
            return isinstance(value, str)
        case "yes_no":
            return isinstance(value, bool)
        case "whole":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number" | "usd":
            if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
                return False
            return Decimal(value).is_finite()
        case "texts":
            return isinstance(value, list) and all(isinstance(v, str) for v in value)
        case "table":
            return isinstance(value, dict)


def _in_bounds(key: Key, value: Any) -> bool:
    if key.low is not None and value < Decimal(str(key.low)):
        return False
    if key.high is not None and value > Decimal(str(key.high)):
        return False
    return key.above is None or value > Decimal(str(key.above))


def _bounds(key: Key) -> str:
    parts = []
    if key.above is not None:
        parts.append(f"above {_plain(key.above)}")
    if key.low is not None:
        parts.append(f"at least {_plain(key.low)}")
    if key.high is not None:
        parts.append(f"at most {_plain(key.high)}")
    return " and ".join(parts)


def _plain(bound: float) -> str:
    """As people write it: 1000000, 0.5."""
    return f"{bound:.0f}" if bound == int(bound) else f"{bound:g}"


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, float | Decimal):
        return "a number with decimals" if Decimal(value).is_finite() else "infinity or nan"
    if isinstance(value, list):
        return "a list"
    return "a table" if isinstance(value, dict) else "a date or time"


def _example(key: Key) -> str:
    if key.choices:
        return f'"{key.choices[0]}"'
    match key.type:
        case "text":
            return '"..."'
        case "yes_no":
            return "true"
        case "usd":
            return "5.00"
        case "whole" | "number":
            if key.high == 1:
                return "0.9"
            return f"{_plain(key.low)}" if key.low else "1"
        case "texts":
            return '["..."]'
        case "table":
            return "{ ... }"


def plain_json(value: Any) -> Any:
    """A TOML value as JSON has it: exact decimals become floats. Raises ValueError for dates, nan and infinity."""
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is not a JSON number")
        return float(value)
    if isinstance(value, dict):
        return {k: plain_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain_json(v) for v in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{value} does not fit in 64 bits")
    if isinstance(value, str | bool | int):
        return value
    raise ValueError(f"{value} is a date or time, which JSON has not")
