"""A SOAP system described by a WSDL: the operations that an app names become tools.

The WSDL is a file of the app's folder; requests go to the url in the settings, not to the address in it. The system's
own WSDL is looked at before the first call, and again every few minutes and when something does not fit: an operation
that is no longer what was declared is not called. A write says how a repeat does nothing, or it is not offered.
"""

import base64
import logging
import ssl
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct

from waterline.connectors.base import BadParameter, Config, ConnectorFault, Manifest, Operation, Scope
from waterline.connectors.http import Reply, judge, send, site_of
from waterline.connectors.once import safe_key, writes, written_before
from waterline.connectors.soap_wsdl import Described, Fault, Wsdl, answered, object_schema
from waterline.connectors.threads import Threads

LOOK_AGAIN_S = 300.0
_CREDENTIALS = ("authentication", "authorization", "security", "unauthorized", "invalidlogin")


class Write(Struct, frozen=True, forbid_unknown_fields=True):
    """How one operation that changes something is done once."""

    once: Literal["native", "uid", "lookup"]
    into: str  # the argument that the key becomes; child.reference: within an argument
    effect: Literal["write", "irreversible"] = "write"
    confirm: bool = False
    look_up: str = ""  # lookup: the operation that finds what was written before ...
    by: str = ""  # ... by this argument of it
    field: str = ""  # lookup: what its answer calls the key; "": the last name of `into`
    timeout_s: float = 15.0


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    wsdl: str
    port: str = ""
    operations: tuple[str, ...] = ()
    writes: dict[str, Write] = {}
    branch: str = ""  # an argument that is always the branch's own place
    personal: tuple[str, ...] | None = None  # None: every argument
    sign_in: Literal["basic", "wsse", "none"] = "basic"
    timeout_s: float = 15.0

    @property
    def named(self) -> tuple[str, ...]:
        looked = [how.look_up for how in self.writes.values() if how.look_up]
        return tuple(dict.fromkeys((*self.operations, *self.writes, *looked)))


class Soap:
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "wsdl": {"type": "string", "format": "file"},
            "port": {"type": "string"},
            "operations": {"type": "array", "items": {"type": "string"}},
            "writes": writes(
                ("native", "uid", "lookup"), ("into", "look_up", "by", "field"), required=("once", "into")
            ),
            "branch": {"type": "string"},
            "personal": {"type": "array", "items": {"type": "string"}},
            "sign_in": {"type": "string", "enum": ["basic", "wsse", "none"]},
            "timeout_s": {"type": "number", "minimum": 0.1, "maximum": 120},
        },
        "required": ["wsdl"],
    }

    def __init__(self, config: Config) -> None:
        logging.getLogger("zeep").setLevel(logging.CRITICAL)  # it writes values into the log
        self.options = msgspec.convert(dict(config.parameters), Options)
        self.wsdl = Wsdl(config.files["wsdl"], self.options.port)
        self.described = _described(self.options, self.wsdl)
        self.manifest = _manifest(self.options, self.described)
        self.settings = config.settings
        self._threads = Threads(config.name)
        self._looked_s: float | None = None
        self._context: ssl.SSLContext | None = None

    @staticmethod
    def describe(parameters: Mapping[str, Any], files: Mapping[str, str]) -> Manifest:
        options = msgspec.convert(dict(parameters), Options)
        return _manifest(options, _described(options, Wsdl(files["wsdl"], options.port)))

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        name = self.manifest.operation(operation).name
        how = self.options.writes.get(name)
        timeout_s = how.timeout_s if how is not None else self.options.timeout_s
        if self._looked_s is None or time.monotonic() - self._looked_s > LOOK_AGAIN_S:
            await self._look(timeout_s)
        given = msgspec.to_builtins(arguments)
        if how is None:
            return await self._ask(name, given, scope, timeout_s)
        mark = safe_key(key)
        _put(given, how.into, mark)
        if how.once == "lookup":
            found = await self._ask(how.look_up, {how.by: mark}, scope, timeout_s)
            field = how.field or how.into.rpartition(".")[2]
            before = written_before(found, field, mark, how.look_up)
            if before is not None:
                return before
        return await self._ask(name, given, scope, timeout_s)

    async def close(self) -> None:
        self._threads.close()

    async def _ask(self, name: str, given: dict[str, Any], scope: Scope, timeout_s: float) -> dict[str, Any]:
        branch, described = self.options.branch, self.described[name]
        if branch and branch in {one.name for one in described.given}:
            if not scope.place:
                raise ConnectorFault("invalid", f'Nothing is declared as the place of the branch "{scope.branch}".')
            given = {**given, branch: scope.place}
        body, headers = self.wsdl.envelope(name, given, self._signed)
        reply = await self._send("POST", "", headers, body, timeout_s)
        if not (reply.status == 500 and b"Envelope" in reply.body):  # a SOAP fault comes with 500
            judge(reply, f"The system ({name})")
        try:
            found = answered(reply.body, described)
        except ConnectorFault as fault:
            if fault.kind == "schema":
                await self._look(timeout_s)  # which says more, if it was changed and says so
            raise
        if isinstance(found, Fault):
            raise await self._refused(name, found, timeout_s)
        return found

    async def _refused(self, name: str, fault: Fault, timeout_s: float) -> ConnectorFault:
        code = fault.code.lower()
        if any(word in code for word in _CREDENTIALS):
            return ConnectorFault(
                "credentials", f"The system refuses our credentials ({fault.code[:80]}). Set new ones."
            )
        if "client" not in code and "sender" not in code:
            return ConnectorFault("down", f"{name}: the system failed ({fault.code[:80]}).")
        await self._look(timeout_s)
        return ConnectorFault("refused", f"{name}: {fault.text[:200] or fault.code[:80]}")

    async def _look(self, timeout_s: float) -> None:
        """Compares the system's own WSDL, if it shows one. Raises ConnectorFault("schema") if an operation changed."""
        self._looked_s = None
        reply = await self._send("GET", "?wsdl", {"accept": "text/xml"}, None, timeout_s)
        if reply.status in (401, 403, 407, 408, 425, 429) or reply.status >= 500:
            judge(reply, "The system")
        if reply.status == 200 and b"definitions" in reply.body:
            await self._threads.run(self._compare, reply.body)
        self._looked_s = time.monotonic()

    def _compare(self, body: bytes) -> None:
        try:
            now = Wsdl(body.decode("utf-8", "replace"), self.options.port).described(self.options.named)
        except BadParameter as error:
            raise ConnectorFault("schema", f"The system's WSDL changed: {error.problem}. Get the new one.") from None
        for name, accepted in self.described.items():
            for part in ("given", "answer"):
                if getattr(now[name], part) != getattr(accepted, part):
                    what = "arguments" if part == "given" else "answer"
                    text = f"The {what} of {name} are not what the WSDL in the app's folder says. Get the new one."
                    raise ConnectorFault("schema", text)

    async def _send(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None, timeout_s: float
    ) -> Reply:
        site = site_of(self.settings.get("url", ""))
        if self.options.sign_in == "basic":
            pair = f"{self.settings.get('user', '')}:{self.settings.get('password', '')}".encode()
            headers["authorization"] = "Basic " + base64.b64encode(pair).decode()
        if site.scheme == "https" and self._context is None:
            self._context = ssl.create_default_context()
        return await send(self._threads, site, method, target, headers, body, timeout_s, context=self._context)

    def _signed(self, envelope: Any) -> Any:
        if self.options.sign_in != "wsse":
            return envelope
        from zeep.wsse.username import UsernameToken

        user, password = self.settings.get("user", ""), self.settings.get("password", "")
        return UsernameToken(user, password, use_digest=True).apply(envelope, {})[0]  # type: ignore[no-untyped-call]


def _put(given: dict[str, Any], path: str, value: str) -> None:
    *outer, last = path.split(".")
    for name in outer:
        given = given.setdefault(name, {})
    given[last] = value


def _described(options: Options, wsdl: Wsdl) -> dict[str, Described]:
    found = wsdl.described(options.named)
    for name in options.operations:
        if name in options.writes:
            raise BadParameter("operations", f"{name} is declared as a write, too", "Name it once")
    for name, how in options.writes.items():
        schema = object_schema(found[name].given)
        for part in how.into.split("."):
            schema = schema.get("properties", {}).get(part, {})
        if schema.get("type") != "string":
            known = ", ".join(one.name for one in found[name].given)
            raise BadParameter("writes", f'{name} has no text "{how.into}" for the key', f"Its arguments: {known}")
        looked = found[how.look_up].given if how.look_up else ()
        if how.once == "lookup" and how.by not in {one.name for one in looked}:
            raise BadParameter(
                "writes", f"{name} has no lookup", 'Write look_up = "<operation>", by = "<its argument>"'
            )
    return found


def _manifest(options: Options, described: dict[str, Described]) -> Manifest:
    operations = []
    for name in (*options.operations, *options.writes):
        one, how = described[name], options.writes.get(name)
        schema = object_schema(one.given)
        for hidden in (options.branch, how.into if how is not None else ""):
            _hide(schema, hidden)
        operations.append(
            Operation(
                name,
                how.effect if how is not None else "read",
                one.about[:1000] or name,
                schema,
                once=how.once if how is not None else "",
                confirm=how.confirm if how is not None else False,
                personal=tuple(schema["properties"]) if options.personal is None else options.personal,
                timeout_s=2 * (how.timeout_s if how is not None else options.timeout_s),  # the WSDL, the act
            )
        )
    settings = ("url",) if options.sign_in == "none" else ("url", "user", "password")
    scope = f'value of the argument "{options.branch}"' if options.branch else ""
    return Manifest("soap", "SOAP with a WSDL", settings, settings[2:], tuple(operations), scope)


def _hide(schema: dict[str, Any], path: str) -> None:
    """Takes an argument away that is not the caller's to give."""
    *outer, last = path.split(".")
    for name in outer:
        schema = schema["properties"][name]
    schema["properties"].pop(last, None)
    schema["required"] = [name for name in schema["required"] if name != last]
