"""Does a JSON text have the shape that a schema asks for? The part of JSON Schema that response formats use: type,
properties, required, additionalProperties: false, items, enum, const. What is not known here is not checked.
"""

from typing import Any

import msgspec

_DEPTH = 32


def misfit(text: str, schema: dict[str, Any]) -> str:
    """What does not fit, or "" if everything does."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return "it is not JSON"
    return _misfit(value, schema, "", 0)


def misfit_value(value: Any, schema: dict[str, Any]) -> str:
    """As `misfit`, of a value that is decoded."""
    return _misfit(value, schema, "", 0)


def _misfit(value: Any, schema: Any, path: str, depth: int) -> str:
    if not isinstance(schema, dict) or depth > _DEPTH:
        return ""
    at = path or "the answer"
    types = schema.get("type", [])
    types = types if isinstance(types, list) else [types]
    if types and not any(_is(value, name) for name in types):
        return f"{at} is not of type {' or '.join(map(str, types))}"
    if "enum" in schema and not any(_same(value, allowed) for allowed in schema["enum"]):
        return f"{at} is none of the allowed values"
    if "const" in schema and not _same(value, schema["const"]):
        return f"{at} is not the only allowed value"
    if isinstance(value, dict):
        return _misfit_object(value, schema, path, depth)
    if isinstance(value, list):
        for index, item in enumerate(value):
            if wrong := _misfit(item, schema.get("items"), f"{path}[{index}]", depth + 1):
                return wrong
    return ""


def _misfit_object(value: dict[str, Any], schema: dict[str, Any], path: str, depth: int) -> str:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{path}.{name} is missing".lstrip(".")
    for name, inner in value.items():
        if name in properties:
            if wrong := _misfit(inner, properties[name], f"{path}.{name}".lstrip("."), depth + 1):
                return wrong
        elif schema.get("additionalProperties") is False:
            return f"{path}.{name} is not in the schema".lstrip(".")
    return ""


def _is(value: Any, name: Any) -> bool:
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
            return (isinstance(value, int) and not isinstance(value, bool)) or (
                isinstance(value, float) and value.is_integer()
            )
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return True


def _same(value: Any, other: Any) -> bool:
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)
