"""Tools for other agents at /mcp, asked by the official client; behind them is the official server."""

import asyncio
import itertools
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult
from whole_app import App, Server, Sim, send

from waterline.connectors.mcp import encode_tools, tools_of
from waterline.core.app_spec import Connection
from waterline.core.branch import Branch
from waterline.core.release import Route

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "connectors"))
from mcp_server import TOKEN, Tools

WRITES = {
    "book": {"once": "uid", "into": "uid", "confirm": True},
    "add": {"once": "lookup", "look_up": "find", "by": "ref", "into": "ref"},
}
NUMBER = itertools.count()
OFFERED = ("calendar.free", "calendar.book", "calendar.add")
BRANCHES = (Branch("porto", "Colégio Porto"), Branch("lisboa", "Colégio Lisboa"))


@pytest.fixture(scope="module")
def tools() -> Iterator[Tools]:
    made = Tools()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def served(sim: Sim, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(
        tmp_path_factory.mktemp("mcp") / "d",
        f"{sim.address}/{{route}}",
        WATERLINE_CONNECTOR_CALENDAR_URL=tools.url,
        WATERLINE_CONNECTOR_CALENDAR_TOKEN=TOKEN,
    )
    yield made
    made.stop()


@pytest.fixture(scope="module")
def accepted(tools: Tools) -> str:
    return encode_tools(asyncio.run(tools_of(tools.url, TOKEN)))


@pytest.fixture
def school(served: Server, tools: Tools, accepted: str) -> App:
    tools.how = ""
    tools.bookings.clear()
    parameters: dict[str, Any] = {"tools": "calendar.json", "reads": ["free"], "writes": WRITES, "timeout_s": 10.0}
    connection = Connection("mcp", parameters, {"tools": accepted})
    name = f"school-{next(NUMBER)}"
    routes = {"main": Route(provider="simulated", model="small")}
    return App(served, name, routes, connectors={"calendar": connection}, offered=OFFERED, branches=BRANCHES)


def key(app: App, branch: str = "porto") -> str:
    return str(app.make_key(branch=branch)["key"])


@asynccontextmanager
async def client(app: App, with_key: str, answer: Any = None, mode: str = "auto"):  # type: ignore[no-untyped-def]
    async def asked(context: Any, question: Any) -> ElicitResult:
        return answer(question)  # type: ignore[no-any-return]

    headers = {"authorization": f"Bearer {with_key}"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=60) as http:
        transport = streamable_http_client(f"{app.server.url}/mcp", http_client=http)
        async with Client(transport, mode=mode, elicitation_callback=asked if answer else None) as made:  # type: ignore[arg-type]
            yield made


def yes(question: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"confirmed": True})


def acts(app: App) -> list[dict[str, Any]]:
    """Of this app, in the audit log."""
    database = app.server.data / "waterline.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        entries = [json.loads(row[0]) for row in connection.execute("SELECT entry FROM audit ORDER BY seq")]
    return [e for e in entries if e["action"] == "tools.call" and e["detail"]["app"] == app.name]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_lists_and_calls_what_is_offered_and_nothing_else(school: App, mode: str) -> None:
    async with client(school, key(school), mode=mode) as asking:
        listed = {tool.name: tool for tool in (await asking.list_tools()).tools}
        assert sorted(listed) == ["calendar_add", "calendar_book", "calendar_free"]
        assert listed["calendar_free"].annotations.read_only_hint
        assert "idempotency_key" in listed["calendar_add"].input_schema["required"]
        assert "ref" not in listed["calendar_add"].input_schema["properties"]  # the key is put in by us
        found = await asking.call_tool("calendar_free", {"day": "2027-01-04"})
        assert found.structured_content == {"times": ["10:00"]}
        with pytest.raises(MCPError, match="no tool"):
            await asking.call_tool("calendar_find", {"ref": "x"})
    assert acts(school) == []  # reads are no acts


async def test_a_write_with_the_same_key_is_done_once_and_written_down_before(school: App, tools: Tools) -> None:
    given = {"name": "Ana Silva", "idempotency_key": "lead-of-ana-1"}
    async with client(school, key(school)) as asking:
        for _ in range(2):
            assert not (await asking.call_tool("calendar_add", given)).is_error
        assert len(tools.bookings) == 1
        await asking.call_tool("calendar_add", given | {"idempotency_key": "lead-of-ana-2"})
    assert len(tools.bookings) == 2
    async with client(school, key(school, "lisboa")) as elsewhere:  # another branch's key is another key
        await elsewhere.call_tool("calendar_add", given)
    assert len(tools.bookings) == 3
    written = acts(school)
    assert [e["target"] for e in written] == ["calendar.add"] * 4
    assert [e["detail"]["branch"] for e in written] == ["porto", "porto", "porto", "lisboa"]
    assert "Ana" not in json.dumps(written)


async def test_a_write_without_a_key_is_not_done(school: App, tools: Tools) -> None:
    async with client(school, key(school)) as asking:
        for wrong in ({}, {"idempotency_key": "short"}, {"idempotency_key": 12345678}):
            assert (await asking.call_tool("calendar_add", {"name": "Ana", **wrong})).is_error
    assert (tools.bookings, acts(school)) == ([], [])


BOOK = {"day": "2027-01-04", "idempotency_key": "visit-of-ana"}


async def test_what_needs_a_yes_is_asked_for_and_done_only_then(school: App, tools: Tools) -> None:
    questions = []

    def answers(*said: ElicitResult) -> Any:
        left = list(said)

        def answer(question: Any) -> ElicitResult:
            questions.append(question.message)
            return left.pop(0)

        return answer

    no = [ElicitResult(action="decline"), ElicitResult(action="accept", content={"confirmed": False})]
    async with client(school, key(school), answers(*no, yes(None))) as asking:
        for _ in no:
            told = await asking.call_tool("calendar_book", BOOK)
            assert told.is_error
            assert told.structured_content["fault"] == "declined"
        assert tools.bookings == []
        told = await asking.call_tool("calendar_book", BOOK)
    assert not told.is_error
    assert [b["day"] for b in tools.bookings] == ["2027-01-04"]
    assert all("Colégio Porto" in q and "2027-01-04" in q for q in questions)
    assert [e["detail"]["confirmed"] for e in acts(school)] == ["yes"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_that_cannot_ask_is_refused(school: App, tools: Tools, mode: str) -> None:
    async with client(school, key(school), mode=mode) as asking:
        told = await asking.call_tool("calendar_book", BOOK)
    assert told.structured_content["fault"] == "confirmation"
    assert tools.bookings == []


def raw(app: App, with_key: str, method: str, params: dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": meta, **params}}
    sent = {"authorization": f"Bearer {with_key}", "mcp-protocol-version": "2026-07-28", "mcp-method": method}
    if "name" in params:
        sent["mcp-name"] = params["name"]
    sent |= {k.replace("_", "-"): v for k, v in headers.items()}
    reply = send(app.server.url, "POST", "/mcp", json.dumps(body).encode(), sent)
    return reply.status, reply.json


def test_a_yes_is_to_exactly_what_was_asked(school: App, tools: Tools) -> None:
    """Not for other arguments, not with another key, not made up."""
    mine, other = key(school), key(school)
    call = {"name": "calendar_book", "arguments": BOOK}
    asked = raw(school, mine, "tools/call", call)[1]["result"]
    assert asked["resultType"] == "input_required"
    agreed = {"inputResponses": {"confirm": {"action": "accept", "content": {"confirmed": True}}}}
    state = asked["requestState"]
    until, _, seal = state.partition(".")
    changed = call | {"arguments": BOOK | {"day": "2027-02-01"}}
    for who, what, said in (
        (mine, changed, state), (other, call, state), (mine, call, f"{int(until) + 1}.{seal}"), (mine, call, "1.x"),
        (mine, call, ""),
    ):  # fmt: skip
        told = raw(school, who, "tools/call", what | agreed | {"requestState": said})[1]["result"]
        assert told["isError"], (what, said)
    assert tools.bookings == []
    assert not raw(school, mine, "tools/call", call | agreed | {"requestState": state})[1]["result"]["isError"]
    assert len(tools.bookings) == 1


async def test_a_system_that_is_down_or_says_no_is_told_as_it_is(school: App, tools: Tools) -> None:
    async with client(school, key(school), yes) as asking:
        told = await asking.call_tool("calendar_book", BOOK | {"day": "never"})
        assert told.structured_content["fault"] == "refused"
        tools.how = "error"
        told = await asking.call_tool("calendar_free", {"day": "2027-01-04"})
        assert told.structured_content["fault"] == "down"
        assert TOKEN not in json.dumps(msgspec.to_builtins(told.structured_content))
        told = await asking.call_tool("calendar_free", {"day": 4})
        assert told.structured_content["fault"] == "invalid"


def test_a_key_without_a_branch_acts_in_no_branch_by_chance(school: App) -> None:
    status, told = raw(school, school.key, "tools/call", {"name": "calendar_free", "arguments": {"day": "x"}})
    assert status == 400
    assert "--branch" in told["error"]["message"]


def test_an_app_that_offers_nothing_has_no_tools(served: Server) -> None:
    app = App(served, "silent", {"main": Route(provider="simulated", model="small")})
    assert raw(app, app.key, "tools/list", {})[1]["result"]["tools"] == []


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, -32700),
        (b"[]", {}, 400, -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', {}, 400, -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', {"mcp-protocol-version": "2031-01-01"}, 400, -32022),
        (b'{"jsonrpc":"2.0","id":1,"method":"prompts/list"}', {}, 200, -32601),
    ],
)
def test_what_is_no_request_is_told_so(
    school: App, body: bytes, headers: dict[str, str], status: int, code: int
) -> None:
    reply = send(school.server.url, "POST", "/mcp", body, {"authorization": f"Bearer {school.key}", **headers})
    assert (reply.status, reply.json["error"]["code"]) == (status, code)


def test_headers_that_say_something_else_than_the_body_are_refused(school: App) -> None:
    for headers in (
        {"mcp_method": "tools/list"},
        {"mcp_name": "calendar_free"},
        {"mcp_protocol_version": "2025-06-18"},
    ):
        status, told = raw(school, school.key, "tools/call", {"name": "calendar_add"}, **headers)
        assert (status, told["error"]["code"]) == (400, -32020), headers


def test_there_is_no_stream_and_no_way_in_without_a_key(school: App) -> None:
    assert send(school.server.url, "GET", "/mcp", None, {"authorization": f"Bearer {school.key}"}).status == 405
    assert send(school.server.url, "POST", "/mcp", b"{}", {}).status == 401
    assert (
        send(school.server.url, "POST", "/mcp", b"{}", {"authorization": f"Bearer {school.server.key}"}).status == 403
    )
