"""Tools of an MCP server, over streamable HTTP. https://modelcontextprotocol.io/specification

A server may say tomorrow that a tool does something else, so the tools that were looked at and accepted are a file of
the app's folder (`waterline mcp accept URL`), and each call first compares what the server says now. What a server says
of its own tools (that one only reads, say) is not believed: the app declares it.
"""

import asyncio
import contextlib
import importlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct

from waterline.connectors.base import BadParameter, Config, ConnectorFault, Manifest, Operation, Scope
from waterline.connectors.dial import addresses_of
from waterline.connectors.http import site_of
from waterline.connectors.once import safe_key, writes, written_before
from waterline.connectors.openapi_spec import argument_schema, inline
from waterline.core.ids import sha256_hex
from waterline.core.json_shape import misfit_value

MAX_TOOLS = 500
MAX_BYTES = 4 << 20
_PAGES = 20


class Tool(Struct, frozen=True, rename="camel"):
    """What was accepted of one tool."""

    name: str
    description: str = ""
    input_schema: dict[str, Any] = {}
    output_schema: dict[str, Any] | None = None

    @property
    def digest(self) -> str:
        return sha256_hex(msgspec.json.encode(self, order="deterministic"))


class Write(Struct, frozen=True, forbid_unknown_fields=True):
    """How a tool that changes something is done once. MCP has no key for that, so the tool's own arguments have it."""

    once: Literal["uid", "lookup"]
    into: str  # the argument that the key becomes: the record's own id (uid), or a field that is looked up
    effect: Literal["write", "irreversible"] = "write"
    confirm: bool = False
    look_up: str = ""  # lookup: the tool that finds what was written before ...
    by: str = ""  # ... by this argument of it
    timeout_s: float = 15.0


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    tools: str
    reads: tuple[str, ...] = ()
    writes: dict[str, Write] = {}
    branch: str = ""  # an argument that is always the branch's own place
    timeout_s: float = 15.0


class Mcp:
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "tools": {"type": "string", "format": "file"},
            "reads": {"type": "array", "items": {"type": "string"}},
            "writes": writes(("uid", "lookup"), ("into", "look_up", "by"), required=("once", "into")),
            "branch": {"type": "string"},
            "timeout_s": {"type": "number", "minimum": 0.1, "maximum": 120},
        },
        "required": ["tools"],
    }

    def __init__(self, config: Config) -> None:
        self.options = msgspec.convert(dict(config.parameters), Options)
        self.accepted = _accepted(self.options, config.files)
        self.manifest = _manifest(self.options, self.accepted)
        self.settings = config.settings

    @staticmethod
    def describe(parameters: Mapping[str, Any], files: Mapping[str, str]) -> Manifest:
        options = msgspec.convert(dict(parameters), Options)
        return _manifest(options, _accepted(options, files))

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        name = self.manifest.operation(operation).name
        given = self._placed(name, dict(arguments), scope)
        how = self.options.writes.get(name)
        timeout_s = how.timeout_s if how is not None else self.options.timeout_s
        url = self.settings.get("url", "")
        async with _session(url, self.settings.get("token", ""), timeout_s) as client:
            now = await _listed(client)
            if how is None:
                return await self._call(client, now, name, given)
            given[how.into] = safe_key(key)
            if how.once == "lookup":
                looked = self._placed(how.look_up, {how.by: given[how.into]}, scope)
                found = await self._call(client, now, how.look_up, looked)
                before = written_before(found, how.into, given[how.into], how.look_up)
                if before is not None:
                    return before
            return await self._call(client, now, name, given)

    async def close(self) -> None:
        pass

    def _placed(self, tool: str, given: dict[str, Any], scope: Scope) -> dict[str, Any]:
        branch = self.options.branch
        if branch and branch in self.accepted[tool].input_schema.get("properties", {}):
            if not scope.place:
                raise ConnectorFault("invalid", f'Nothing is declared as the place of the branch "{scope.branch}".')
            given[branch] = scope.place
        return given

    async def _call(self, client: Any, now: dict[str, Tool], name: str, given: dict[str, Any]) -> dict[str, Any]:
        accepted, found = self.accepted[name], now.get(name)
        if found is None:
            raise ConnectorFault("schema", f'The server has no tool "{name}" any more. It has: {", ".join(now)[:200]}')
        if found.digest != accepted.digest:
            raise ConnectorFault(
                "schema",
                f'The tool "{name}" is not the one that was accepted: {_difference(accepted, found)} changed. Look at '
                "it, then run waterline mcp accept and release the app again.",
            )
        try:
            result = await client.call_tool(name, given)
        except RuntimeError as error:  # the library looks at the structured result, too
            raise ConnectorFault("data", f"{name} answered what its own schema forbids ({error}).") from None
        return _result(result, accepted)


def _accepted(options: Options, files: Mapping[str, str]) -> dict[str, Tool]:
    try:
        tools = {tool.name: tool for tool in msgspec.json.decode(files["tools"], type=list[Tool])}
    except msgspec.DecodeError as error:
        remedy = "Write it with: waterline mcp accept URL > FILE"
        raise BadParameter("tools", f"it is no list of tools ({error})", remedy) from None
    looked = [how.look_up for how in options.writes.values() if how.once == "lookup"]
    for name in (*options.reads, *options.writes, *looked):
        if name not in tools:
            raise BadParameter("reads", f'no tool "{name}" was accepted', f"There are: {', '.join(tools)[:300]}")
    for name, how in options.writes.items():
        if how.into not in tools[name].input_schema.get("properties", {}):
            raise BadParameter("writes", f'{name} has no argument "{how.into}"', "Write into = one of its arguments")
        if how.once == "lookup" and how.by not in tools[how.look_up].input_schema.get("properties", {}):
            raise BadParameter("writes", f'{how.look_up} has no argument "{how.by}"', "Write by = one of its arguments")
    return tools


def _manifest(options: Options, tools: dict[str, Tool]) -> Manifest:
    operations = []
    for name in (*options.reads, *options.writes):
        tool, how = tools[name], options.writes.get(name)
        schema = argument_schema(tool.input_schema, {**tool.input_schema, "type": "object"})
        hidden = {options.branch, how.into if how is not None else ""}
        schema["properties"] = {k: v for k, v in schema.get("properties", {}).items() if k not in hidden}
        schema["required"] = [k for k in schema.get("required", ()) if k not in hidden]
        schema["additionalProperties"] = False
        operations.append(
            Operation(
                name=name,
                effect=how.effect if how is not None else "read",
                description=tool.description[:1000],
                parameters=schema,
                once=how.once if how is not None else "",
                confirm=how.confirm if how is not None else False,
                personal=tuple(schema["properties"]),
                timeout_s=how.timeout_s if how is not None else options.timeout_s,
            )
        )
    return Manifest(
        kind="mcp",
        title="Tools of an MCP server",
        settings=("url", "token"),
        secrets=("token",),
        operations=tuple(operations),
        branch_scope=f'value of the argument "{options.branch}"' if options.branch else "",
    )


def _difference(accepted: Tool, now: Tool) -> str:
    pairs = {
        "description": accepted.description != now.description,
        "arguments": accepted.input_schema != now.input_schema,
        "result": accepted.output_schema != now.output_schema,
    }
    return ", ".join(name for name, differs in pairs.items() if differs)


def _result(result: Any, tool: Tool) -> dict[str, Any]:
    text = "\n".join(c.text for c in result.content if c.type == "text")
    if result.is_error:
        raise ConnectorFault("refused", f"{tool.name}: {text[:300] or 'it failed and says nothing'}")
    if tool.output_schema is None:
        return {"text": text}
    wrong = misfit_value(result.structured_content, inline(tool.output_schema, tool.output_schema))
    if wrong:
        raise ConnectorFault("data", f"{tool.name} answered what its own schema forbids: {wrong}.")
    return dict(result.structured_content)


# --- the wire ------------------------------------------------------------------------------------------------------


async def tools_of(url: str, token: str, timeout_s: float = 15.0) -> list[Tool]:
    """What a server offers now, to be looked at. Raises ConnectorFault."""
    async with _session(url, token, timeout_s) as client:
        return list((await _listed(client)).values())


async def _listed(client: Any) -> dict[str, Tool]:
    found: dict[str, Tool] = {}
    cursor = None
    for _ in range(_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            found[tool.name] = Tool(tool.name, tool.description or "", tool.input_schema, tool.output_schema)
        cursor = page.next_cursor
        if not cursor or len(found) > MAX_TOOLS:
            break
    return found


@contextlib.asynccontextmanager
async def _session(url: str, token: str, timeout_s: float) -> AsyncIterator[Any]:
    """A session for one act. Raises ConnectorFault for whatever goes wrong in it."""
    # Half a second the first time, in which others are served.
    await asyncio.to_thread(importlib.import_module, "mcp.client.streamable_http")
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    logging.getLogger("mcp.client").setLevel(logging.CRITICAL)  # it logs what was answered, which may be personal

    site = site_of(url)
    statuses: list[int] = []
    over: list[ConnectorFault] = []  # the library makes another error of it

    def too_much() -> ConnectorFault:
        over.append(ConnectorFault("data", f"{site} answered more than {MAX_BYTES >> 20} MiB."))
        return over[-1]

    async def note(response: Any) -> None:
        statuses.append(response.status_code)
        if response.headers.get("content-encoding", "identity") != "identity":  # which we did not ask for: a bomb
            raise ConnectorFault("schema", f"{site} packed its answer, though it was not to.")
        response.stream = _bounded(response.stream, too_much)

    headers = {"accept-encoding": "identity", **({"authorization": f"Bearer {token}"} if token else {})}
    try:
        async with asyncio.timeout(timeout_s):
            async with httpx2.AsyncClient(
                headers=headers, timeout=timeout_s, trust_env=False, event_hooks={"response": [note]},
                transport=_dialling(),
            ) as http:  # fmt: skip
                transport = streamable_http_client(url, http_client=http)
                async with Client(transport, read_timeout_seconds=timeout_s) as client:
                    yield client
    except TimeoutError:
        raise _slow(str(site), timeout_s) from None
    except ConnectorFault:
        raise
    except Exception as error:  # noqa: BLE001  # groups of anyio's, errors of three libraries: each becomes a fault
        raise over[0] if over else _fault(error, str(site), statuses, timeout_s) from None


def _dialling() -> Any:
    """Connects to the addresses that we looked at, one after the other; Host and the certificate are the name's."""
    import httpx2

    class Dialling(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: Any) -> Any:
            try:
                addresses = await asyncio.to_thread(addresses_of, request.url.host)
            except OSError as error:
                raise httpx2.ConnectError(str(error), request=request) from None
            given = request.extensions
            timeout = {**given["timeout"], "connect": given["timeout"]["connect"] / len(addresses)}
            for left, address in enumerate(addresses, 1 - len(addresses)):
                there = httpx2.Request(
                    request.method, request.url.copy_with(host=address), headers=request.headers,
                    stream=request.stream, extensions={**given, "timeout": timeout, "sni_hostname": request.url.host},
                )  # fmt: skip
                try:
                    return await super().handle_async_request(there)
                except (httpx2.ConnectError, httpx2.ConnectTimeout):
                    if not left:
                        raise
            raise AssertionError  # there is one

    return Dialling(trust_env=False)


def _bounded(stream: Any, too_much: Callable[[], ConnectorFault]) -> Any:
    """The bytes of an answer; a server that does not end takes no memory but this."""
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for block in stream:
                size += len(block)
                if size > MAX_BYTES:
                    raise too_much()
                yield block

        async def aclose(self) -> None:
            await stream.aclose()

    return Bounded()


def _slow(site: str, timeout_s: float) -> ConnectorFault:
    return ConnectorFault("slow", f"{site} gave no answer within {timeout_s:g} s. Whether it did it is not known.")


def _fault(error: Exception, site: str, statuses: list[int], timeout_s: float) -> ConnectorFault:
    import httpx2
    from mcp import MCPError

    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ConnectorFault):
            return cause
    if any(status in (401, 403) for status in statuses):
        return ConnectorFault("credentials", f"{site} refuses our token. Set a new one.")
    if any(isinstance(c, TimeoutError | httpx2.TimeoutException) for c in causes):
        return _slow(site, timeout_s)
    if any(isinstance(c, httpx2.TransportError) for c in causes) or any(status >= 500 for status in statuses):
        return ConnectorFault("down", f"{site} cannot be reached or is broken.")
    for cause in causes:
        if isinstance(cause, MCPError):
            if cause.error.code == -32001 or "timed out" in cause.error.message.lower():
                return _slow(site, timeout_s)
            kind: Literal["invalid", "schema"] = "invalid" if cause.error.code == -32602 else "schema"
            return ConnectorFault(kind, f"{site}: {cause.error.message[:200]}")
    return ConnectorFault("schema", f"{site} does not speak MCP as it should ({type(causes[-1]).__name__}).")


def _causes(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [cause for inner in error.exceptions for cause in _causes(inner)]
    return [error]


def encode_tools(tools: list[Tool]) -> str:
    """The file of accepted tools."""
    return json.dumps(msgspec.to_builtins(tools), indent=2, ensure_ascii=False) + "\n"
