"""tools/*.json: what a tool takes and does. The contract goes into the release by value, its code by digest.

A contract has name, description, parameters (JSON Schema of an object) and effect: `read` changes nothing, `write`
can be undone, `irreversible` cannot.
"""

import json
import re
from typing import Any

from waterline.rollout.folder import MAX_TEXT_BYTES, Folder
from waterline.rollout.keys import TOOL
from waterline.rollout.reading import Place, read_table

SCHEMA_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")
_NESTING = 64


def read_json(folder: Folder, file: str) -> tuple[dict[str, Any], str] | None:
    """A JSON object and its text, or None and a mistake."""
    text = folder.text(file, MAX_TEXT_BYTES)
    if text is None:
        return None
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_int=_whole)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except json.JSONDecodeError as error:
        folder.wrong(file, error.lineno, f"JSON syntax: {error.msg}", "Write one JSON object (RFC 8259)")
        return None
    except (ValueError, RecursionError) as error:
        folder.wrong(file, 1, f"JSON: {error}", "Write one JSON object (RFC 8259)")
        return None
    if not isinstance(value, dict):
        folder.wrong(file, 1, "is not a JSON object", "Write one JSON object: { ... }")
        return None
    return value, text


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def _whole(text: str) -> int:
    if len(text) > 19 or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"{text[:24]} does not fit in 64 bits")
    return int(text)


def json_line(text: str, key: str) -> int:
    """The line where a key is first written; 1 if it is not."""
    at = text.find(json.dumps(key))
    return text.count("\n", 0, at) + 1 if at >= 0 else 1


def read_tools(folder: Folder) -> tuple[dict[str, Any], list[str]]:
    """Contracts by tool name, and the other files below tools/ (code, shared schemas)."""
    contracts: dict[str, Any] = {}
    others: list[str] = []
    for file in folder.files("tools"):
        if file.count("/") > 1 or not file.endswith(".json") or file.endswith(".schema.json"):
            others.append(file)
            continue
        found = read_json(folder, file)
        if found is not None:
            _read_contract(folder, file, *found, contracts)
    return contracts, others


def _read_contract(folder: Folder, file: str, value: dict[str, Any], text: str, contracts: dict[str, Any]) -> None:
    place = Place(folder, file, "", lambda key: json_line(text, key) if key else 1)
    values = read_table(place, value, TOOL)
    if "parameters" in values:
        check_schema(folder, file, text, values["parameters"], top="object")
    name = values.get("name")
    if name is None:
        return
    if not _NAME.match(name):
        place.wrong("name", f'"{name}" is not the name of a tool', "Use letters, digits, _ and -, at most 64")
    elif name in contracts:
        place.wrong("name", f'there are two tools named "{name}"', "Rename one of them")
    if "code" in values and not (folder.inside(values["code"]) and folder.has(values["code"])):
        place.wrong("code", f'there is no file "{values["code"]}"', "Write the path from the app folder")
    properties = values.get("parameters", {}).get("properties", {})
    for parameter in values.get("idempotency_key", ()):
        if isinstance(properties, dict) and parameter not in properties:
            place.wrong(
                "idempotency_key", f'"{parameter}" is not a parameter of the tool', "Name the tool's own parameters"
            )
    if values.get("effect") == "irreversible" and not values.get("confirmation"):
        folder.warnings.append(f"{file}: {name} is irreversible, but asks for no confirmation")
    contracts[name] = value


def check_schema(folder: Folder, file: str, text: str, schema: Any, top: str = "") -> None:
    """Finds what is surely wrong in a JSON Schema. `top`: the type that the outermost one must have."""
    if top and (not isinstance(schema, dict) or schema.get("type") != top):
        folder.wrong(file, json_line(text, "type"), f'the schema is not of type "{top}"', f'Write "type": "{top}"')
        return
    problem = _schema_problem(schema, 0)
    if problem is not None:
        key, what = problem
        folder.wrong(file, json_line(text, key), f"the JSON Schema is wrong: {what}", "See https://json-schema.org")


def _schema_problem(schema: Any, depth: int) -> tuple[str, str] | None:
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, dict):
        return "", "a schema is an object"
    if depth > _NESTING:
        return "", f"it is nested more than {_NESTING} deep"
    types = schema.get("type", [])
    for name in types if isinstance(types, list) else [types]:
        if name not in SCHEMA_TYPES:
            return "type", f"{name!r} is not a type ({', '.join(SCHEMA_TYPES)})"
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        return "properties", '"properties" is an object'
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(r, str) for r in required):
        return "required", '"required" is a list of names'
    missing = [r for r in required if r not in properties] if properties else []
    if missing:
        return "required", f"{missing[0]!r} is required, but not among the properties"
    inner = [*properties.values(), *([schema["items"]] if "items" in schema else [])]
    for name in ("anyOf", "oneOf", "allOf"):
        branches = schema.get(name, [])
        if not isinstance(branches, list):
            return name, f'"{name}" is a list'
        inner += branches
    for child in inner:
        problem = _schema_problem(child, depth + 1)
        if problem is not None:
            return problem
    return None


def is_strict(schema: Any) -> bool:
    """Whether a provider can enforce it exactly: every object closed and every property required (OpenAI's rule,
    https://platform.openai.com/docs/guides/structured-outputs)."""
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or properties is not None:
        names = set(properties or {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", [])) != names:
            return False
    inner = [*(properties or {}).values(), *([schema["items"]] if "items" in schema else [])]
    for name in ("anyOf", "oneOf", "allOf"):
        inner += schema.get(name, [])
    return all(is_strict(child) for child in inner)
