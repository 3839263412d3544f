"""From an OpenAPI description (3.0 or 3.1, JSON) to operations: those that an app names, with the parameters that they
take and the answers that they promise. https://spec.openapis.org/oas/v3.1.0

What is not understood is refused when the folder is checked, not when somebody waits for an answer.
"""

import json
from typing import Any, Literal

import msgspec
from msgspec import Struct

from waterline.connectors.base import BadParameter, EffectClass

Where = Literal["path", "query", "header", "body"]
_METHODS = ("get", "put", "post", "delete", "patch", "head")
_DEPTH = 12
_KEPT = frozenset(
    {"type", "properties", "required", "items", "enum", "const", "minLength", "maxLength", "pattern", "minimum",
     "maximum", "minItems", "maxItems", "description", "default"}
)  # fmt: skip
_FORMATS = ("date", "date-time", "email")
_OWN_HEADERS = frozenset({"host", "authorization", "cookie", "content-length", "content-type", "accept", "connection"})


class Auth(Struct, frozen=True):
    kind: Literal["bearer", "basic", "api_key"]
    where: str = ""  # api_key: header, query or cookie
    name: str = ""


class Parameter(Struct, frozen=True):
    name: str
    where: Where
    explode: bool = True  # lists in a query: a=1&a=2, else a=1,2


class Described(Struct, frozen=True):
    """One operation of the description."""

    id: str
    method: str
    path: str  # with {names}
    summary: str
    parameters: tuple[Parameter, ...]
    schema: dict[str, Any]  # of the arguments; the body is the argument "body"
    answer: dict[str, Any]  # JSON Schema of a 2xx; {}: nothing is promised
    knows_404: bool
    auth: Auth | None

    @property
    def effect(self) -> EffectClass:
        return "read" if self.method in ("GET", "HEAD") else "write"


def read(text: str, wanted: tuple[str, ...]) -> dict[str, Described]:
    """By operationId; `wanted` empty: all that only read. Raises BadParameter."""
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise BadParameter("spec", "it is not JSON", "Convert the description to JSON, and name that file") from None
    version = str(document.get("openapi", "")) if isinstance(document, dict) else ""
    if not version.startswith(("3.0", "3.1")) or not isinstance(document.get("paths"), dict):
        raise BadParameter("spec", "it is not OpenAPI 3.0 or 3.1", "Convert it to OpenAPI 3.1")
    found: dict[str, Described] = {}
    known: list[str] = []
    for path, item in document["paths"].items():
        item = _resolve(document, item, 0)
        for method in _METHODS:
            operation = item.get(method)
            if not isinstance(operation, dict):
                continue
            name = str(operation.get("operationId") or _named(method, path))
            known.append(name)
            if name in wanted or (not wanted and method == "get"):
                found[name] = _described(document, name, method, path, item, operation)
    absent = [name for name in wanted if name not in found]
    if absent:
        raise BadParameter("operations", f'there is no "{absent[0]}"', f"It has: {', '.join(known)[:300]}")
    return found


def _named(method: str, path: str) -> str:
    return method + "_" + "_".join(part.strip("{}") for part in path.split("/") if part)


def _described(
    document: dict[str, Any], name: str, method: str, path: str, item: dict[str, Any], operation: dict[str, Any]
) -> Described:
    given: dict[tuple[str, str], dict[str, Any]] = {}
    for raw in (*item.get("parameters", ()), *operation.get("parameters", ())):
        one = _resolve(document, raw, 0)
        given[(str(one.get("in")), str(one.get("name")))] = one
    parameters: list[Parameter] = []
    properties: dict[str, Any] = {}
    required: list[str] = []
    for (where, called), one in given.items():
        if where == "cookie" or (where == "header" and called.lower() in _OWN_HEADERS):
            continue
        if where not in ("path", "query", "header") or called in properties or "schema" not in one:
            raise BadParameter(
                "spec", f'{name}: the parameter "{called}" is not understood', "Leave it out of operations"
            )
        parameters.append(Parameter(called, where, one.get("explode", one.get("style", "form") == "form")))  # type: ignore[arg-type]
        properties[called] = argument_schema(document, one["schema"]) | _said(one)
        if one.get("required") or where == "path":
            required.append(called)
    body = _resolve(document, operation.get("requestBody") or {}, 0)
    if body:
        content = _json_of(body)
        if content is None:
            raise BadParameter("spec", f"{name} takes a body that is not JSON", "Leave it out of operations")
        parameters.append(Parameter("body", "body"))
        properties["body"] = argument_schema(document, content.get("schema", {"type": "object"}))
        if body.get("required"):
            required.append("body")
    answers = operation.get("responses", {})
    good: Any = next((a for status, a in sorted(answers.items()) if str(status).startswith("2")), {})
    promised = (_json_of(_resolve(document, good, 0)) or {}).get("schema", {})
    return Described(
        id=name,
        method=method.upper(),
        path=path,
        summary=str(operation.get("summary") or operation.get("description") or name)[:500],
        parameters=tuple(parameters),
        schema={"type": "object", "properties": properties, "required": required, "additionalProperties": False},
        answer=inline(document, promised),
        knows_404="404" in answers,
        auth=_auth(document, operation),
    )


def _said(parameter: dict[str, Any]) -> dict[str, Any]:
    return {"description": str(parameter["description"])[:500]} if parameter.get("description") else {}


def _json_of(holder: dict[str, Any]) -> dict[str, Any] | None:
    for kind, content in (holder.get("content") or {}).items():
        if kind.partition(";")[0].strip() == "application/json" or kind.partition(";")[0].endswith("+json"):
            return dict(content)
    return None


def _auth(document: dict[str, Any], operation: dict[str, Any]) -> Auth | None:
    """The first of the declared ways that we can go."""
    ways = operation.get("security", document.get("security", []))
    schemes = document.get("components", {}).get("securitySchemes", {})
    for way in ways:
        if not way:
            return None
        if len(way) != 1:
            continue
        scheme = _resolve(document, schemes.get(next(iter(way)), {}), 0)
        match scheme.get("type"), str(scheme.get("scheme", "")).lower():
            case ("http", "bearer") | ("oauth2", _) | ("openIdConnect", _):
                return Auth("bearer")
            case "http", "basic":
                return Auth("basic")
            case "apiKey", _:
                return Auth("api_key", scheme["in"], scheme["name"])
    if ways:
        raise BadParameter("spec", "no declared way to sign in is understood", "Bearer, basic and apiKey are")
    return None


def _resolve(document: dict[str, Any], value: Any, depth: int) -> dict[str, Any]:
    """What a local $ref stands for. Nothing is fetched, from nowhere."""
    while isinstance(value, dict) and "$ref" in value:
        reference = value["$ref"]
        if not isinstance(reference, str) or not reference.startswith("#/") or depth > 32:
            raise BadParameter("spec", f'the reference "{reference}" leads out of the file', "Put all into one file")
        found: Any = document
        for part in reference[2:].split("/"):
            part = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or part not in found:
                raise BadParameter("spec", f'the reference "{reference}" leads nowhere', "Correct it")
            found = found[part]
        more = {k: v for k, v in value.items() if k != "$ref"}
        value, depth = ({**found, **more} if more and isinstance(found, dict) else found), depth + 1
    if not isinstance(value, dict):
        raise BadParameter("spec", f"{json.dumps(value)[:60]} should be an object", "Correct it")
    return value


def inline(document: dict[str, Any], schema: Any, depth: int = 0) -> dict[str, Any]:
    """The schema of an answer without references. What refers to itself is checked to some depth."""
    if not isinstance(schema, dict) or depth > _DEPTH:
        return {}
    schema = _nullable(_merged(document, _resolve(document, schema, 0), depth))
    made = dict(schema)
    if isinstance(schema.get("properties"), dict):
        made["properties"] = {k: inline(document, v, depth + 1) for k, v in schema["properties"].items()}
    if "items" in schema:
        made["items"] = inline(document, schema["items"], depth + 1)
    made.pop("additionalProperties", None)  # a field more is no change that breaks anybody
    for name in ("anyOf", "oneOf", "allOf", "not", "discriminator"):
        made.pop(name, None)
    return made


def argument_schema(document: dict[str, Any], schema: Any) -> dict[str, Any]:
    """The part of a schema that arguments are checked against; objects are closed where their fields are listed."""
    return _argument(inline(document, schema))


def _argument(schema: dict[str, Any]) -> dict[str, Any]:
    made = {k: v for k, v in schema.items() if k in _KEPT}
    if schema.get("format") in _FORMATS:
        made["format"] = schema["format"]
    if isinstance(made.get("type"), list) and len(made["type"]) == 1:
        made["type"] = made["type"][0]
    if "properties" in made:
        visible = {k: v for k, v in made["properties"].items() if not v.get("readOnly")}
        made["properties"] = {k: _argument(v) for k, v in visible.items()}
        made["required"] = [k for k in made.get("required", ()) if k in visible]
    elif made.get("type") == "object":
        made["additionalProperties"] = True
    if "items" in made:
        made["items"] = _argument(made["items"])
    if not made.get("required", True):
        del made["required"]
    return made


def _merged(document: dict[str, Any], schema: dict[str, Any], depth: int) -> dict[str, Any]:
    """allOf in one; anyOf and oneOf of one thing or null as that thing; of several things, no promise."""
    if isinstance(schema.get("allOf"), list):
        made = {k: v for k, v in schema.items() if k != "allOf"}
        properties: dict[str, Any] = {}
        required: list[str] = []
        for part in schema["allOf"]:
            one = _merged(document, _resolve(document, part, 0), depth + 1) if depth <= _DEPTH else {}
            properties |= one.get("properties", {})
            required += one.get("required", [])
            made = {**one, **made}
        properties |= schema.get("properties", {})
        required += schema.get("required", [])
        if properties:
            made |= {"type": made.get("type", "object"), "properties": properties}
        if required:
            made["required"] = list(dict.fromkeys(required))
        schema = made
    for name in ("anyOf", "oneOf"):
        if isinstance(schema.get(name), list):
            things = [_resolve(document, one, 0) for one in schema[name]]
            real = [one for one in things if one.get("type") != "null"]
            rest = {k: v for k, v in schema.items() if k != name}
            if len(real) == 1 and depth <= _DEPTH:
                one = _merged(document, real[0], depth + 1)
                return {**one, **rest, **({"nullable": True} if len(things) > 1 else {})}
            return {k: v for k, v in rest.items() if k in ("description", "title")}
    return schema


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """3.0 says nullable, 3.1 says a type more."""
    made = {k: v for k, v in schema.items() if k != "nullable"}
    if schema.get("nullable"):
        if "type" in schema:
            types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            made["type"] = list(dict.fromkeys([*types, "null"]))
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            made["enum"] = [*schema["enum"], None]
    return made
