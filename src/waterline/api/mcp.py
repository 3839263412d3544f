"""POST /mcp: what an app offers of its connected systems, as tools of the Model Context Protocol over streamable HTTP.

One request, one answer, nothing kept in between. Both generations are spoken: 2026-07-28, in which every request says
for itself which version it is, and those before, which begin with `initialize`.
Source: https://modelcontextprotocol.io/specification/2026-07-28/basic/transports
"""

import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from waterline import __version__
from waterline.access import audit
from waterline.access.roles import Action, Principal
from waterline.access.stored import AuditRows
from waterline.agents.tools import scope_of
from waterline.api.http import Exchange
from waterline.connectors.base import ConnectorFault, Operation
from waterline.core.app_spec import AppSpec
from waterline.core.branch import Branch
from waterline.core.ids import keyed_digest
from waterline.core.offered import KEY, tool_name
from waterline.gateway.deps import App
from waterline.store.db import Store, StoreUnavailable, Tx

if TYPE_CHECKING:
    from waterline.connectors.systems import Systems

MODERN = "2026-07-28"
BEFORE = ("2025-11-25", "2025-06-18", "2025-03-26")
MAX_BODY = 256 * 1024
YES_S = 600  # for so long a question that was asked may be answered
_VERSION = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
_SERVER = "io.modelcontextprotocol/serverInfo"
JSON = b"application/json"
_NAMED = {"tools/call": "name"}  # whose header mcp-name says what


class Wrong(Exception):
    """An error of the protocol. `status`: what HTTP says; the old generation always says 200."""

    def __init__(self, code: int, message: str, status: int = 400, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.data = code, message, status, data


class Tool(Struct, frozen=True):
    connector: str
    operation: Operation


class Asked(Struct, frozen=True):
    """One request, and who asks."""

    id: Any
    method: str
    params: dict[str, Any]
    modern: bool
    capabilities: dict[str, Any]
    who: Principal


class Mcp:
    def __init__(
        self,
        *,
        systems: "Callable[[str], Systems | None]",
        apps: Mapping[str, App],
        store: Store,
        clock_us: Callable[[], int],
        digest_key: bytes,
        count: Callable[[str], None],
    ) -> None:
        self._systems = systems
        self._apps = apps
        self._store = store
        self._clock_us = clock_us
        self._digest_key = digest_key
        self._count = count

    async def __call__(self, exchange: Exchange, principal: Principal) -> None:
        body = await exchange.body(MAX_BODY)
        try:
            asked = _asked(body, exchange.named, principal)
            if asked is None:  # a notification: there is nothing to answer
                await exchange.sink.begin(202, JSON, [])
                await exchange.sink.end(b"")
                return
            try:
                answer, status = {"jsonrpc": "2.0", "id": asked.id, "result": await self._answer(asked)}, 200
            except Wrong as wrong:
                answer, status = _error(asked.id, wrong), wrong.status if asked.modern else 200
        except Wrong as wrong:
            answer, status = _error(None, wrong), wrong.status
        await exchange.sink.begin(status, JSON, [])
        await exchange.sink.end(msgspec.json.encode(answer))

    async def _answer(self, asked: Asked) -> dict[str, Any]:
        match asked.method:
            case "initialize" if not asked.modern:
                wanted = asked.params.get("protocolVersion")
                version = wanted if wanted in BEFORE else BEFORE[0]
                return _about() | {"protocolVersion": version, "serverInfo": _server()}
            case "server/discover" if asked.modern:
                return self._complete(asked, _about() | {"supportedVersions": [MODERN, *BEFORE]}, cached=True)
            case "ping" if not asked.modern:
                return {}
            case "tools/list":
                tools = [_listed(name, tool) for name, tool in sorted(self._tools(asked.who).items())]
                return self._complete(asked, {"tools": tools}, cached=True)
            case "tools/call":
                return self._complete(asked, await self._call(asked))
        raise Wrong(-32601, f'There is no method "{asked.method[:80]}" here.', 404)

    def _complete(self, asked: Asked, result: dict[str, Any], *, cached: bool = False) -> dict[str, Any]:
        """As the generation of the caller has it."""
        if not asked.modern:
            return result
        more: dict[str, Any] = {"ttlMs": 0, "cacheScope": "private"} if cached else {}
        return {"resultType": "complete", "_meta": {_SERVER: _server()}, **more, **result}

    # --- tools -----------------------------------------------------------------------------------------------------

    def _tools(self, who: Principal) -> dict[str, Tool]:
        """What the app offers, as its connectors are now."""
        spec, systems = self._spec(who), self._systems(who.app)
        found: dict[str, Tool] = {}
        for offered in spec.offered if systems is not None else ():
            connector, _, operation = offered.partition(".")
            try:
                assert systems is not None
                found[tool_name(offered)] = Tool(connector, systems.manifest(connector).operation(operation))
            except ConnectorFault:
                continue  # its settings are missing: the others are offered all the same
        return found

    def _spec(self, who: Principal) -> AppSpec:
        app = self._apps.get(who.app)
        if app is None:
            raise Wrong(-32602, f'App "{who.app}" has nothing live.', 404)
        return app.spec

    def _branch(self, who: Principal) -> Branch:
        """A key sees its own branch; one without sees the only one there is."""
        spec = self._spec(who)
        if who.branch:
            for branch in spec.branches:
                if branch.id == who.branch:
                    return branch
            raise Wrong(-32602, f'This key is of the branch "{who.branch}", which the app does not declare any more.')
        if len(spec.branches) > 1:
            remedy = f"Make one: waterline key create --app {who.app} --env {who.env} --branch BRANCH"
            raise Wrong(-32602, f"The app has {len(spec.branches)} branches, and this key is of none. {remedy}")
        return spec.branches[0] if spec.branches else Branch("", spec.name, spec.limits.timezone)

    async def _call(self, asked: Asked) -> dict[str, Any]:
        name, arguments = asked.params.get("name"), asked.params.get("arguments") or {}
        tool = self._tools(asked.who).get(name) if isinstance(name, str) else None
        if tool is None or not isinstance(arguments, dict):
            raise Wrong(-32602, f"There is no tool {str(name)[:80]!r} here, or its arguments are no object.")
        operation, given = tool.operation, dict(arguments)
        branch = self._branch(asked.who)
        key = ""
        if operation.effect != "read":
            said = given.pop(KEY, None)
            if not isinstance(said, str) or not 8 <= len(said) <= 100 or not said.isprintable():
                return _failed(f'"{KEY}" is missing: 8 to 100 characters, the same for a repetition of the same act.')
            key = f"mcp/{asked.who.env}/{branch.id}/{said}"
        confirmed = False
        if operation.confirm:
            asking = self._confirmation(asked, str(name), tool, branch, arguments)
            if asking is not None:
                return asking
            confirmed = True
        if key:
            try:
                await self._store.write(lambda tx: self._audit(tx, asked.who, tool, branch, key, confirmed))
            except StoreUnavailable:
                return _failed("The act cannot be written down now, so it is not done. Try again with the same key.")
        return await self._perform(asked, tool, given, key, branch, confirmed)

    async def _perform(
        self, asked: Asked, tool: Tool, given: dict[str, Any], key: str, branch: Branch, confirmed: bool
    ) -> dict[str, Any]:
        systems = self._systems(asked.who.app)
        assert systems is not None
        scope = scope_of(branch, tool.connector)
        try:
            result = await systems.call(
                tool.connector, tool.operation.name, given, key, scope, confirmed=confirmed, reads_only=not key
            )
        except ConnectorFault as fault:
            self._count(f"mcp_{fault.kind}")
            again = "" if fault.retry_after_s is None else f" Try again in {fault.retry_after_s:.0f} s."
            return _failed(f"{fault.message}{again}", fault.kind)
        self._count("mcp_done")
        text = msgspec.json.encode(result).decode()
        return {"content": [{"type": "text", "text": text}], "structuredContent": result, "isError": False}

    def _audit(self, tx: Tx, who: Principal, tool: Tool, branch: Branch, key: str, confirmed: bool) -> None:
        """Before it is done, and without what is personal: a crash leaves no act that nobody wrote down."""
        detail = {"app": who.app, "env": who.env, "branch": branch.id, "key": key, "effect": tool.operation.effect,
                  "confirmed": "yes" if confirmed else "not needed"}  # fmt: skip
        target = f"{tool.connector}.{tool.operation.name}"
        audit.append(
            AuditRows(tx), at_us=self._clock_us(), by=who, action=Action.TOOLS_CALL.value, target=target, detail=detail
        )

    # --- somebody's yes --------------------------------------------------------------------------------------------

    def _confirmation(
        self, asked: Asked, name: str, tool: Tool, branch: Branch, arguments: dict[str, Any]
    ) -> dict[str, Any] | None:
        """None: somebody said yes to exactly this. Else what the caller is told: the question, or that it is over."""
        state, responses = asked.params.get("requestState"), asked.params.get("inputResponses")
        if isinstance(state, str) and isinstance(responses, dict):
            if not self._same(state, asked, name, branch, arguments):
                return _failed("What was agreed to was something else, or too long ago. Ask again.")
            said = responses.get("confirm")
            content = said.get("content") if isinstance(said, dict) else None
            agreed = isinstance(said, dict) and said.get("action") == "accept"
            if agreed and isinstance(content, dict) and content.get("confirmed") is True:
                return None
            self._count("mcp_declined")
            return _failed("It was not agreed to, and is not done.", "declined")
        if not asked.modern or "elicitation" not in asked.capabilities:
            return _failed(
                f"{name} needs somebody's yes, and your client cannot ask for one: it must speak MCP {MODERN} with "
                "elicitation.", "confirmation",
            )  # fmt: skip
        until = self._clock_us() // 1_000_000 + YES_S
        told = {k: v for k, v in arguments.items() if k != KEY}
        message = f"{tool.operation.description}\n{msgspec.json.encode(told).decode()}"
        if branch.id:
            message = f"{branch.name}: {message}"
        form = {
            "type": "object",
            "properties": {"confirmed": {"type": "boolean", "title": "Do it"}},
            "required": ["confirmed"],
        }
        question = {"mode": "form", "message": message[:2000], "requestedSchema": form}
        return {
            "resultType": "input_required",
            "inputRequests": {"confirm": {"method": "elicitation/create", "params": question}},
            "requestState": f"{until}.{self._sealed(until, asked, name, branch, arguments)}",
        }

    def _same(self, state: str, asked: Asked, name: str, branch: Branch, arguments: dict[str, Any]) -> bool:
        until, _, seal = state.partition(".")
        if not (until.isascii() and until.isdigit() and len(until) < 16) or int(until) * 1_000_000 < self._clock_us():
            return False
        return hmac.compare_digest(seal.encode(), self._sealed(int(until), asked, name, branch, arguments).encode())

    def _sealed(self, until: int, asked: Asked, name: str, branch: Branch, arguments: dict[str, Any]) -> str:
        who = asked.who
        what = ["mcp", until, who.key_id, who.app, who.env, branch.id, name, arguments]
        return keyed_digest(self._digest_key, msgspec.json.encode(what, order="deterministic"))


def _asked(body: bytes, headers: Mapping[bytes, bytes], who: Principal) -> Asked | None:
    """None: a notification. Raises Wrong."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Wrong(-32700, "This is no JSON.") from None
    if not isinstance(told, dict) or told.get("jsonrpc") != "2.0" or not isinstance(told.get("method"), str):
        raise Wrong(-32600, "One JSON-RPC request or notification, please.")
    if "id" not in told:
        return None
    params = told.get("params") or {}
    if not isinstance(told["id"], str | int) or isinstance(told["id"], bool) or not isinstance(params, dict):
        raise Wrong(-32600, "A request has an id and an object of params.")
    version = headers.get(b"mcp-protocol-version", b"").decode("latin-1")
    meta = params.get("_meta")
    modern = isinstance(meta, dict) and _VERSION in meta
    capabilities: Any = {}
    if modern:
        assert isinstance(meta, dict)
        _agree(told["method"], params, meta, headers, version)
        capabilities = meta.get(_CAPABILITIES)
    elif version and version not in BEFORE:
        raise Wrong(-32022, f"MCP {version[:20]} is not spoken here.", data=_versions(version))
    return Asked(
        told["id"], told["method"], params, modern, capabilities if isinstance(capabilities, dict) else {}, who
    )


def _agree(
    method: str, params: dict[str, Any], meta: dict[str, Any], headers: Mapping[bytes, bytes], version: str
) -> None:
    """What the headers say is what the body says: somebody on the way may have decided by them. Raises Wrong."""
    if _CAPABILITIES not in meta:
        raise Wrong(-32602, f'params._meta is missing "{_CAPABILITIES}"')
    said = {b"mcp-protocol-version": meta[_VERSION], b"mcp-method": method}
    if method in _NAMED and isinstance(params.get(_NAMED[method]), str):
        said[b"mcp-name"] = params[_NAMED[method]]
    for name, value in said.items():
        if headers.get(name, b"").decode("latin-1") != value:
            raise Wrong(-32020, f"The header {name.decode()} does not say what the body says.")
    if version != MODERN:
        raise Wrong(-32022, f"MCP {version[:20]} is not spoken here.", data=_versions(version))


def _versions(requested: str) -> dict[str, Any]:
    return {"supported": [MODERN, *BEFORE], "requested": requested}


def _error(id_: Any, wrong: Wrong) -> dict[str, Any]:
    error: dict[str, Any] = {"code": wrong.code, "message": wrong.message}
    if wrong.data is not None:
        error["data"] = wrong.data
    return {"jsonrpc": "2.0", "id": id_, "error": error}


def _about() -> dict[str, Any]:
    return {
        "capabilities": {"tools": {}},
        "instructions": f'A tool that changes something takes "{KEY}": the same value again does nothing more.',
    }


def _server() -> dict[str, str]:
    return {"name": "waterline", "version": __version__}


def _listed(name: str, tool: Tool) -> dict[str, Any]:
    operation = tool.operation
    schema = dict(operation.parameters)
    if operation.effect != "read":
        key = {"type": "string", "minLength": 8, "maxLength": 100, "description": "The same for the same act."}
        schema["properties"] = {**schema.get("properties", {}), KEY: key}
        schema["required"] = [*schema.get("required", ()), KEY]
    hints = {
        "readOnlyHint": operation.effect == "read",
        "destructiveHint": operation.effect == "irreversible",
        "idempotentHint": True,
    }
    return {"name": name, "description": operation.description, "inputSchema": schema, "annotations": hints}


def _failed(message: str, kind: str = "invalid") -> dict[str, Any]:
    return {
        "content": [{"type": "text", "text": message}],
        "structuredContent": {"fault": kind, "message": message},
        "isError": True,
    }
