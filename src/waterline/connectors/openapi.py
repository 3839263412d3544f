"""A REST system that describes itself with OpenAPI: the operations that an app names become tools.

Requests go to the host in the settings and nowhere else; servers named in the description are not believed. A write
says how a repeat does nothing, or it is not offered.
"""

import base64
import json
import ssl
from collections.abc import Mapping
from typing import Any, ClassVar, Literal
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from waterline.connectors.arguments import is_date, is_time
from waterline.connectors.base import BadParameter, Config, ConnectorFault, EffectClass, Manifest, Operation, Scope
from waterline.connectors.http import Reply, judge, send, site_of
from waterline.connectors.once import safe_key, writes, written_before
from waterline.connectors.openapi_spec import Auth, Described, read
from waterline.connectors.threads import Threads
from waterline.core.json_shape import misfit_value


class Write(Struct, frozen=True, forbid_unknown_fields=True):
    """How one operation that changes something is done once."""

    once: Literal["native", "lookup", "uid"]
    effect: Literal["write", "irreversible"] = "write"
    confirm: bool = False
    header: str = "Idempotency-Key"  # native: the system drops a repeat by it
    look_up: str = ""  # lookup: the operation that finds what was written before ...
    by: str = ""  # ... by this parameter of it
    into: str = ""  # lookup: the field of the body that holds the key; uid: the path parameter that is the key
    timeout_s: float = 8.0


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    spec: str
    operations: tuple[str, ...] = ()
    writes: dict[str, Write] = {}
    branch: str = ""  # a parameter that is always the branch's own place, never an argument
    personal: tuple[str, ...] | None = None  # None: every argument
    timeout_s: float = 8.0


class _Missing(ConnectorFault):
    pass


class OpenApi:
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "spec": {"type": "string", "format": "file"},
            "operations": {"type": "array", "items": {"type": "string"}},
            "writes": writes(("native", "lookup", "uid"), ("header", "look_up", "by", "into")),
            "branch": {"type": "string"},
            "personal": {"type": "array", "items": {"type": "string"}},
            "timeout_s": {"type": "number", "minimum": 0.1, "maximum": 120},
        },
        "required": ["spec"],
    }

    def __init__(self, config: Config) -> None:
        self.options = msgspec.convert(dict(config.parameters), Options)
        self.described = _described(self.options, config.files)
        self.manifest = _manifest(self.options, self.described)
        self.settings = config.settings
        self._threads = Threads(config.name)
        self._context: ssl.SSLContext | None = None

    @staticmethod
    def describe(parameters: Mapping[str, Any], files: Mapping[str, str]) -> Manifest:
        options = msgspec.convert(dict(parameters), Options)
        return _manifest(options, _described(options, files))

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        one = self.described[self.manifest.operation(operation).name]
        given = dict(arguments)
        if self.options.branch and any(p.name == self.options.branch for p in one.parameters):
            if not scope.place:
                raise ConnectorFault("invalid", f'Nothing is declared as the place of the branch "{scope.branch}".')
            given[self.options.branch] = scope.place
        headers: dict[str, str] = {}
        if one.effect == "write":
            how = self.options.writes[one.id]
            name = safe_key(key)
            if how.once == "native":
                headers[how.header] = name
            elif how.once == "uid":
                given[how.into] = name
            else:
                before = await self._before(how, name, scope)
                if before is not None:
                    return before
                given["body"] = {**given.get("body", {}), how.into: name}
            return await self._ask(one, given, headers, how.timeout_s)
        return await self._ask(one, given, headers, self.options.timeout_s)

    async def _before(self, how: Write, name: str, scope: Scope) -> dict[str, Any] | None:
        """What an earlier call with this key has written."""
        other = self.described[how.look_up]
        looked = {how.by: name}
        if any(p.name == self.options.branch for p in other.parameters):
            looked[self.options.branch] = scope.place
        try:
            found = await self._ask(other, looked, {}, how.timeout_s)
        except _Missing:
            return None
        return written_before(found, how.into, name, how.look_up)

    async def close(self) -> None:
        self._threads.close()

    async def _ask(
        self, one: Described, given: dict[str, Any], headers: dict[str, str], timeout_s: float
    ) -> dict[str, Any]:
        site = site_of(self.settings.get("url", ""))
        query, path = [], one.path
        body: bytes | None = None
        for parameter in one.parameters:
            if parameter.name not in given or given[parameter.name] is None:
                continue
            value = given[parameter.name]
            match parameter.where:
                case "path":
                    text = quote(_text(value), safe="")
                    if text in ("", ".", ".."):
                        raise ConnectorFault("invalid", f"{parameter.name} may not be empty, . or ..")
                    path = path.replace("{" + parameter.name + "}", text)
                case "query":
                    many = isinstance(value, list)
                    query += [(parameter.name, _text(v)) for v in value] if many and parameter.explode else [
                        (parameter.name, ",".join(map(_text, value)) if many else _text(value))
                    ]  # fmt: skip
                case "header":
                    headers[parameter.name] = _header(parameter.name, _text(value))
                case "body":
                    body = json.dumps(value, ensure_ascii=False).encode()
                    headers["content-type"] = "application/json"
        if one.auth is not None:
            self._sign(one.auth, headers, query)
        if site.scheme == "https" and self._context is None:
            self._context = ssl.create_default_context()
        target = path + (f"?{urlencode(query)}" if query else "")
        reply = await send(self._threads, site, one.method, target, headers, body, timeout_s, context=self._context)
        system = f"{site} ({one.id})"
        if reply.status == 404 and one.knows_404:
            raise _Missing("refused", f"{system} has no such record (404).")
        judge(reply, system, declared=one.knows_404)
        return _answer(reply, one, system)

    def _sign(self, auth: Auth, headers: dict[str, str], query: list[tuple[str, str]]) -> None:
        value = self.settings.get
        match auth.kind:
            case "bearer":
                headers["authorization"] = _header("token", f"Bearer {value('token', '')}")
            case "basic":
                pair = f"{value('user', '')}:{value('password', '')}".encode()
                headers["authorization"] = "Basic " + base64.b64encode(pair).decode()
            case "api_key":
                secret = _header("api_key", value("api_key", ""))
                if auth.where == "query":
                    query.append((auth.name, secret))
                elif auth.where == "cookie":
                    headers["cookie"] = f"{auth.name}={secret}"
                else:
                    headers[auth.name] = secret


def _described(options: Options, files: Mapping[str, str]) -> dict[str, Described]:
    wanted = (*options.operations, *options.writes)
    wanted += tuple(w.look_up for w in options.writes.values() if w.look_up)
    found = read(files["spec"], tuple(dict.fromkeys(wanted)))
    for name, one in found.items():
        if one.effect == "write" and name not in options.writes:
            example = f'[connectors.<name>.writes.{name}] once = "native"'
            raise BadParameter("operations", f"{name} changes something and does not say how it is done once", example)
    for name, how in options.writes.items():
        _check_write(found, found[name], how)
    return found


def _check_write(found: dict[str, Described], one: Described, how: Write) -> None:
    def wrong(problem: str, remedy: str) -> BadParameter:
        return BadParameter("writes", f"{one.id}: {problem}", remedy)

    if one.effect == "read":
        raise wrong("it only reads", "Name it in operations instead")
    places = {p.name: p.where for p in one.parameters}
    if how.once == "uid" and (places.get(how.into) != "path" or one.method != "PUT"):
        raise wrong(
            "uid is for a PUT to a path that ends in the key", f"Write into = one of its path parameters: {places}"
        )
    if how.once == "lookup":
        other = found.get(how.look_up)
        if other is None or other.effect != "read" or how.by not in {p.name for p in other.parameters}:
            raise wrong("it has no lookup", 'Write look_up = "<operation that reads>" and by = "<its parameter>"')
        fields = one.schema["properties"].get("body", {}).get("properties", {})
        if how.into not in fields:
            raise wrong(f'its body has no field "{how.into}"', f"Write into = one of: {', '.join(fields)}")


def _manifest(options: Options, described: dict[str, Described]) -> Manifest:
    names = (*options.operations, *options.writes) or tuple(described)
    operations = []
    settings, secrets = ["url"], []
    for name in dict.fromkeys(names):
        one = described[name]
        how = options.writes.get(name)
        hidden = {options.branch} | ({how.into} if how is not None and how.once == "uid" else set())
        schema = _without(one.schema, hidden)
        if how is not None and how.once == "lookup":
            schema["properties"]["body"] = _without(schema["properties"]["body"], {how.into})
        effect: EffectClass = how.effect if how is not None else "read"
        operations.append(
            Operation(
                name=name,
                effect=effect,
                description=one.summary,
                parameters=schema,
                once=how.once if how is not None else "",
                confirm=how.confirm if how is not None else False,
                personal=tuple(schema["properties"]) if options.personal is None else options.personal,
                timeout_s=how.timeout_s if how is not None else options.timeout_s,
            )
        )
        if one.auth is not None:
            settings += {"bearer": ["token"], "basic": ["user", "password"], "api_key": ["api_key"]}[one.auth.kind]
            secrets += {"bearer": ["token"], "basic": ["password"], "api_key": ["api_key"]}[one.auth.kind]
    return Manifest(
        kind="openapi",
        title="REST described by OpenAPI",
        settings=tuple(dict.fromkeys(settings)),
        secrets=tuple(dict.fromkeys(secrets)),
        operations=tuple(operations),
        branch_scope=f'value of the parameter "{options.branch}"' if options.branch else "",
    )


def _without(schema: dict[str, Any], hidden: set[str]) -> dict[str, Any]:
    made = {**schema, "properties": {k: v for k, v in schema["properties"].items() if k not in hidden}}
    if "required" in schema:
        made["required"] = [name for name in schema["required"] if name not in hidden]
    return made


def _answer(reply: Reply, one: Described, system: str) -> dict[str, Any]:
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not reply.body or one.method == "HEAD":
        if one.answer:
            raise ConnectorFault("schema", f"{system} answered nothing where its description promises something.")
        return {}
    if kind != "application/json" and not kind.endswith("+json"):
        if one.answer:
            raise ConnectorFault("schema", f'{system} answered "{kind}", not JSON as described.')
        return {"text": reply.body.decode("utf-8", "replace")}
    try:
        value = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise ConnectorFault("data", f"{system} answered what is not JSON.") from None
    wrong = misfit_value(value, one.answer)
    if wrong:
        raise ConnectorFault("schema", f"{system} does not answer as described: {wrong}. Get its new description.")
    dirty = _dirty(value, one.answer, "")
    if dirty:
        raise ConnectorFault("data", f"{system}: {dirty}. Correct the record there.")
    if isinstance(value, dict):
        return value
    return {"items": value} if isinstance(value, list) else {"value": value}


def _dirty(value: Any, schema: dict[str, Any], path: str) -> str:
    """A value of the right type that cannot be: the 31st of February."""
    if isinstance(value, str):
        match schema.get("format"):
            case "date" if not is_date(value):
                return f"{path or 'the answer'} is no date"
            case "date-time" if not is_time(value):
                return f"{path or 'the answer'} is no time with an offset"
    elif isinstance(value, dict):
        for name, inner in schema.get("properties", {}).items():
            if name in value and (wrong := _dirty(value[name], inner, f"{path}.{name}".lstrip("."))):
                return wrong
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if wrong := _dirty(item, schema.get("items", {}), f"{path}[{index}]"):
                return wrong
    return ""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _header(name: str, value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ConnectorFault("invalid", f"{name} cannot be sent in a header: only printable ASCII can.")
    return value
