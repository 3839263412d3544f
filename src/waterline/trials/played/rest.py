"""Plays a REST system from the app's own OpenAPI description: reads answer as described, writes are filed by their key
in the way that the app declares (`once`): a system that drops repeats by a header, a PUT to a path that ends in the
key, or one that files whatever comes, and can be searched."""

import datetime as dt
import re
import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from waterline.connectors.base import Config
from waterline.connectors.openapi import OpenApi
from waterline.connectors.openapi_spec import Described
from waterline.core.app_spec import Connection
from waterline.trials.played.base import REFUSED, Record, Reply, Request

SECRET = "trial-secret"
JSON = {"content-type": "application/json"}
Filed = dict[str, Any]


class PlayedRest:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._kind = OpenApi(Config("rest", {}, connection.parameters, connection.files))
        self._paths = {name: _pattern(one.path) for name, one in self._kind.described.items()}
        branch = self._kind.options.branch
        self.scoped = bool(branch) and all(
            any(p.name == branch for p in one.parameters) for one in self._kind.described.values()
        )
        self.writes: dict[str, tuple[str, ...]] = {name: (name,) for name in self._kind.options.writes}
        self.filed: dict[str, list[tuple[Record, Filed]]] = {}  # by place

    def connection(self) -> Connection:
        return self._connection

    def settings(self, url: str) -> dict[str, str]:
        return {name: url if name == "url" else SECRET for name in self._kind.manifest.settings}

    def place_of(self, request: Request) -> str:
        one = self._operation(request)
        return str(self._given(one, request).get(self._kind.options.branch, "")) if one and self.scoped else ""

    def wire(self, request: Request) -> str:
        one = self._operation(request)
        return one.id if one is not None and one.effect == "write" else ""

    def answer(self, request: Request, place: str, dirty: bool) -> Reply:
        one = self._operation(request)
        if one is None:
            return Reply(404)
        if one.auth is not None and one.auth.kind != "api_key" and "authorization" not in request.headers:
            return REFUSED
        given, filed = self._given(one, request), self.filed.setdefault(place, [])
        for name, how in self._kind.options.writes.items():
            if how.once == "lookup" and how.look_up == one.id:
                return self._looked_up(
                    one, [f for r, f in filed if r.what == name and f[how.into] == given.get(how.by)]
                )
        body = given.get("body")
        if one.effect == "write":
            self._file(one, request, given, filed)
        return _said(sample(one.answer, dirty=dirty) if one.answer else {}, body if isinstance(body, dict) else {})

    def changed(self, request: Request) -> Reply:
        return Reply(410)

    def records(self, place: str) -> list[Record]:
        return [record for record, _ in self.filed.get(place, ())]

    def _operation(self, request: Request) -> Described | None:
        path = urlsplit(request.target).path
        return next((one for name, one in self._kind.described.items()
                     if one.method == request.method and self._paths[name].fullmatch(path)), None)  # fmt: skip

    def _given(self, one: Described, request: Request) -> Filed:
        """The arguments that the request carries."""
        parts = urlsplit(request.target)
        found = self._paths[one.id].fullmatch(parts.path)
        names = re.findall(r"{([^}]+)}", one.path)
        given: Filed = {n: unquote(v) for n, v in zip(names, found.groups() if found else (), strict=True)}
        given |= {name: values[0] for name, values in parse_qs(parts.query).items()}
        given |= {p.name: request.headers[p.name.lower()] for p in one.parameters
                  if p.where == "header" and p.name.lower() in request.headers}  # fmt: skip
        try:
            return given | ({"body": msgspec.json.decode(request.body)} if request.body else {})
        except msgspec.DecodeError:
            return given

    def _file(self, one: Described, request: Request, given: Filed, filed: list[tuple[Record, Filed]]) -> None:
        how = self._kind.options.writes[one.id]
        body = given.get("body")
        match how.once:
            case "native":
                key = request.headers.get(how.header.lower(), "")
            case "uid":
                key = str(given.get(how.into, ""))
            case _:
                key = str(body.get(how.into, "")) if isinstance(body, dict) else ""
        known = any(r.identity == key and r.what == one.id for r, _ in filed)
        if not known or how.once == "lookup" or not key:
            filed.append((Record(one.id, key, time.time()), body if isinstance(body, dict) else {}))

    def _looked_up(self, one: Described, found: list[Filed]) -> Reply:
        """In the list that the description has, alone, or not at all."""
        many = [name for name, inner in one.answer.get("properties", {}).items() if inner.get("type") == "array"]
        if one.answer.get("type") == "array":
            return _said([sample(one.answer.get("items", {})) | f for f in found], {})
        if many:
            items = one.answer["properties"][many[0]].get("items", {})
            return _said({**sample(one.answer), many[0]: [sample(items) | f for f in found]}, {})
        return _said(sample(one.answer), found[0]) if found else Reply(404)


def sample(schema: dict[str, Any], number: int = 0, dirty: bool = False) -> Any:
    """A value as described; times are in the days to come. `dirty`: a date that cannot be, where there is one."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            return {name: sample(inner, number, dirty) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [sample(schema.get("items", {}), n, dirty) for n in range(max(3, schema.get("minItems", 0)))]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "string":
            day = dt.datetime.now(dt.UTC).replace(hour=10, minute=0, second=0, microsecond=0) + dt.timedelta(number + 1)
            made = {"date-time": day.isoformat(), "date": day.date().isoformat(), "email": "office@example.org"}
            if dirty and schema.get("format") in ("date", "date-time"):
                return "2026-02-31"
            text = made.get(schema.get("format", ""), "played")
            return text.ljust(schema.get("minLength", 0), "x")
    return {}


def _said(value: Any, given: Filed) -> Reply:
    """What was written is shown in the answer's fields of the same name."""
    if isinstance(value, dict):
        value = {name: given.get(name, inner) for name, inner in value.items()}
    return Reply(200, msgspec.json.encode(value), JSON)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("".join("([^/]+)" if part.startswith("{") else re.escape(part)
                              for part in re.split(r"({[^}]+})", path)))  # fmt: skip
