"""Tools of an MCP server, against the official server over streamable HTTP."""

import asyncio
import contextlib
import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mcp_server import TOKEN, Tools

from waterline.connectors.arguments import unknown_keyword
from waterline.connectors.base import BadParameter, Config, ConnectorFault, Scope
from waterline.connectors.mcp import Mcp, encode_tools, tools_of
from waterline.connectors.run import Ready, perform

PORTO = Scope("porto")
WRITES = {
    "book": {"once": "uid", "into": "uid", "confirm": True},
    "add": {"once": "lookup", "look_up": "find", "by": "ref", "into": "ref"},
}


@pytest.fixture
async def tools() -> AsyncIterator[Tools]:
    made = Tools()
    yield made
    made.how = ""
    made.stop()


async def calendar(tools: Tools, token: str = TOKEN, **more: Any) -> Mcp:
    accepted = encode_tools(await tools_of(tools.url, TOKEN))
    parameters = {"tools": "calendar.json", "reads": ["free"], "writes": WRITES, "timeout_s": 10.0, **more}
    return Mcp(Config("calendar", {"url": tools.url, "token": token}, parameters, {"tools": accepted}))


async def fault(connector: Mcp, operation: str = "free", **arguments: Any) -> ConnectorFault:
    with pytest.raises(ConnectorFault) as caught:
        await connector.call(operation, arguments or {"day": "2027-01-04"}, "k", PORTO)
    return caught.value


async def test_accepted_tools_become_operations_and_no_others(tools: Tools) -> None:
    made = await calendar(tools)
    assert [(o.name, o.effect, o.confirm, o.once) for o in made.manifest.operations] == [
        ("free", "read", False, ""), ("book", "write", True, "uid"), ("add", "write", False, "lookup"),
    ]  # fmt: skip
    assert set(made.manifest.operation("book").parameters["properties"]) == {"day"}  # the key is put in by us
    assert [unknown_keyword(o.parameters) for o in made.manifest.operations] == ["", "", ""]
    assert unknown_keyword(Mcp.PARAMETERS) == ""
    assert await made.call("free", {"day": "2027-01-04"}, "", PORTO) == {"times": ["10:00"]}
    ready = Ready(made, Config("calendar", made.settings))
    with pytest.raises(ConnectorFault, match="find"):
        await perform(ready, "find", {"ref": "x"}, "", PORTO)


@pytest.mark.parametrize(("operation", "arguments"), [("book", {"day": "2027-01-04"}), ("add", {"name": "Ana"})])
async def test_the_same_act_is_done_once(tools: Tools, operation: str, arguments: dict[str, str]) -> None:
    first = await (await calendar(tools)).call(operation, arguments, "c1/3/visit", PORTO)
    again = await (await calendar(tools)).call(operation, arguments, "c1/3/visit", PORTO)
    assert first.items() >= again.items() or again.items() >= first.items()
    assert len(tools.bookings) == 1


async def test_the_command_prints_what_the_folder_keeps(tools: Tools) -> None:
    command = [sys.executable, "-m", "waterline", "mcp", "accept", tools.url, "--token-env", "T"]
    ran = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, env={**os.environ, "T": TOKEN}, check=True
    )
    manifest = Mcp.describe({"tools": "t.json", "reads": ["free"]}, {"tools": ran.stdout})
    assert manifest.operations[0].name == "free"


@pytest.mark.parametrize(("how", "what"), [("changed", "arguments"), ("described", "description")])
async def test_a_tool_that_changes_is_refused_until_it_is_accepted(tools: Tools, how: str, what: str) -> None:
    made = await calendar(tools)
    tools.how = how
    found = await fault(made)
    assert found.kind == "schema"
    assert what in found.message
    assert "waterline mcp accept" in found.message
    assert await made.call("book", {"day": "2027-01-04"}, "k", PORTO)  # that one did not change
    accepted = await calendar(tools)
    assert await accepted.call("free", {"day": "2027-01-04"}, "", PORTO)


async def test_what_a_tool_refuses_is_told_as_a_no(tools: Tools) -> None:
    found = await fault(await calendar(tools), "book", day="never")
    assert (found.kind, "That day is closed" in found.message) == ("refused", True)


@pytest.mark.parametrize(
    ("how", "kind"),
    [("slow", "slow"), ("down", "down"), ("error", "down"), ("credentials", "credentials"), ("changed", "schema"),
     ("dirty", "data")],
)  # fmt: skip
async def test_a_fault_has_its_name_and_is_over_when_its_cause_is(tools: Tools, how: str, kind: str) -> None:
    made = await calendar(tools, "wrong" if how == "credentials" else TOKEN, timeout_s=1.0 if how == "slow" else 10.0)
    tools.how = how
    if how == "down":
        tools.stop()
    found = await fault(made)
    assert found.kind == kind, found.message
    assert TOKEN not in found.message
    if how == "down":
        tools.begin()
    tools.how = ""
    well = await calendar(tools)
    assert await well.call("free", {"day": "2027-01-04"}, "", PORTO) == {"times": ["10:00"]}


class Endless:
    """Answers without end, as JSON or as events; or a small answer that unpacks to a large one."""

    def __init__(self, how: str) -> None:
        self.how, self.sent = how, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if self.how == "packed":
                body = gzip.compress(b" " * (16 << 20))
                writer.write(head + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            else:
                block = b" " * 65536 if self.how == "json" else b": still here\n\n" * 4096
                kind = b"application/json" if self.how == "json" else b"text/event-stream"
                writer.write(head.replace(b"application/json", kind) + b"transfer-encoding: chunked\r\n\r\n")
                while self.sent < 256 << 20:
                    writer.write(b"%x\r\n" % len(block) + block + b"\r\n")
                    self.sent += len(block)
                    await writer.drain()
            await writer.drain()
        writer.close()


@pytest.mark.parametrize(("how", "kind"), [("json", "data"), ("events", "data"), ("packed", "schema")])
async def test_a_server_that_answers_without_end_takes_no_memory(
    how: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    endless = Endless(how)
    server = await asyncio.start_server(endless.serve, "127.0.0.1", 0)
    async with server:
        with pytest.raises(ConnectorFault) as caught:
            await tools_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp", TOKEN, 60.0)
    assert caught.value.kind == kind, caught.value.message
    assert endless.sent < 64 << 20, "the connection is closed after 4 MiB"
    assert caplog.text == "", "what was answered is in no log"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"reads": ["nothing"]}, "no tool"),
        ({"writes": {"book": {"once": "uid", "into": "nothing"}}}, "no argument"),
        ({"writes": {"add": WRITES["add"] | {"by": "nothing"}}}, "no argument"),
    ],
)
def test_a_mistake_is_told_when_the_folder_is_checked(more: dict[str, Any], problem: str) -> None:
    tool = {"name": "book", "inputSchema": {"type": "object", "properties": {"uid": {"type": "string"}}}}
    add = {"name": "add", "inputSchema": {"type": "object", "properties": {"ref": {"type": "string"}}}}
    accepted = json.dumps([tool, add, {**add, "name": "find"}])
    with pytest.raises(BadParameter, match=problem):
        Mcp.describe({"tools": "t.json", **more}, {"tools": accepted})
    with pytest.raises(BadParameter, match="no list of tools"):
        Mcp.describe({"tools": "t.json"}, {"tools": "{}"})


def test_the_library_is_not_imported_on_the_event_loop() -> None:
    """Half a second, in which nobody else would be served."""
    script = """
import asyncio, sys, threading
from waterline.connectors.base import ConnectorFault
from waterline.connectors.mcp import _session
assert "mcp" not in sys.modules
class Note:
    where = {}
    def find_spec(self, name, path=None, target=None):
        self.where.setdefault(name, threading.current_thread())
sys.meta_path.insert(0, Note())
async def main():
    try:
        async with _session("http://127.0.0.1:9/mcp", "", 5.0):
            pass
    except ConnectorFault as fault:
        print(fault.kind)
asyncio.run(main())
late = [name for name in ("mcp", "mcp.client.streamable_http", "httpx2", "pydantic")
        if Note.where[name] is threading.main_thread()]
print(late)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split("\n")[:2] == ["down", "[]"], done.stdout + done.stderr
