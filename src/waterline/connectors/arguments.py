"""Are these the arguments that an operation asks for? A strict reading of the part of JSON Schema that manifests use.

Stricter than `core/json_shape.py`, which judges answers of models: an object is closed unless its schema says
otherwise, a keyword that is not known here is a mistake of the manifest, and text that some system cannot store (NUL,
half a surrogate pair) is refused. What is wrong is told without the value, which may be personal.
"""

import datetime
import re
from collections.abc import Mapping
from typing import Any

MAX_TEXT = 4_000  # characters, where a schema says nothing
MAX_ITEMS = 200
_DEPTH = 16

KEYWORDS = frozenset(
    {
        "type", "properties", "required", "additionalProperties", "items", "enum", "const", "minLength", "maxLength",
        "pattern", "format", "minimum", "maximum", "minItems", "maxItems", "description", "title", "default",
        "examples",
    }
)  # fmt: skip
# What `additionalProperties = true` lets in: anything, with its bounds.
_ANYTHING: dict[str, Any] = {"additionalProperties": True}
_ANYTHING["items"] = _ANYTHING
FORMATS = ("date", "date-time", "email", "file")


def misfit(value: Any, schema: Mapping[str, Any]) -> str:
    """What does not fit, with its path, or "" if everything does."""
    return _misfit(value, schema, "", 0)


def unknown_keyword(schema: Any, depth: int = 0) -> str:
    """The first keyword of a schema that `misfit` would not check; "" if there is none."""
    if not isinstance(schema, dict):
        return ""
    if depth > _DEPTH:
        return "nested too deep"
    for keyword in schema:
        if keyword not in KEYWORDS:
            return str(keyword)
    if schema.get("format", "date") not in FORMATS:
        return f"format {schema['format']}"
    inner = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return next((found for child in inner if (found := unknown_keyword(child, depth + 1))), "")


def _misfit(value: Any, schema: Mapping[str, Any], path: str, depth: int) -> str:
    at = path or "the whole"
    if depth > _DEPTH:
        return f"{at} is nested too deep"
    types = schema.get("type", [])
    types = types if isinstance(types, list) else [types]
    if types and not any(_is(value, name) for name in types):
        return f"{at} is not of type {' or '.join(types)}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at} is none of {', '.join(map(str, schema['enum']))}"
    if "const" in schema and value != schema["const"]:
        return f"{at} is not {schema['const']}"
    if isinstance(value, str):
        return _text(value, schema, at)
    if isinstance(value, dict):
        return _object(value, schema, path, depth)
    if isinstance(value, list):
        return _list(value, schema, path, depth)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value != value or value in (float("inf"), float("-inf")):
            return f"{at} is not a number"
        if "minimum" in schema and value < schema["minimum"]:
            return f"{at} is less than {schema['minimum']}"
        if "maximum" in schema and value > schema["maximum"]:
            return f"{at} is more than {schema['maximum']}"
    return ""


def _text(value: str, schema: Mapping[str, Any], at: str) -> str:
    longest = schema.get("maxLength", MAX_TEXT)
    if len(value) > longest:
        return f"{at} has {len(value)} characters; at most {longest}"
    if len(value) < schema.get("minLength", 0):
        return f"{at} is empty" if not value else f"{at} is too short"
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        return f"{at} holds a character that cannot be stored"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return f"{at} has not the form {schema['pattern']}"
    match schema.get("format"):
        case "date" if not is_date(value):
            return f"{at} is not a date (YYYY-MM-DD)"
        case "date-time" if not is_time(value):
            return f"{at} is not a time with its offset (2026-11-30T09:00:00+01:00)"
        case "email" if not re.fullmatch(r"[^@\s<>,;]{1,64}@[^@\s<>,;]{1,255}", value):
            return f"{at} is not an e-mail address"
    return ""


def is_date(text: str) -> bool:
    try:
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", text)) and bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False


def is_time(text: str) -> bool:
    try:
        return datetime.datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _object(value: dict[str, Any], schema: Mapping[str, Any], path: str, depth: int) -> str:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{path}.{name} is missing".lstrip(".")
    others = schema.get("additionalProperties", False)
    for name, inner in value.items():
        expected = properties.get(name, others)
        if expected is False:
            known = ", ".join(properties)
            return f'{path or "the whole"} has an unknown name "{name[:40]}"; known: {known or "none"}'
        if wrong := _misfit(
            inner, expected if isinstance(expected, dict) else _ANYTHING, f"{path}.{name}".lstrip("."), depth + 1
        ):
            return wrong
    return ""


def _list(value: list[Any], schema: Mapping[str, Any], path: str, depth: int) -> str:
    at = path or "the whole"
    if len(value) > schema.get("maxItems", MAX_ITEMS):
        return f"{at} has {len(value)} items; at most {schema.get('maxItems', MAX_ITEMS)}"
    if len(value) < schema.get("minItems", 0):
        return f"{at} has {len(value)} items; at least {schema['minItems']}"
    for index, item in enumerate(value):
        if wrong := _misfit(item, schema.get("items", {}), f"{path}[{index}]", depth + 1):
            return wrong
    return ""


def _is(value: Any, name: str) -> bool:
    match name:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return False
