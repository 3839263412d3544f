"""Systems that the drill `integrations` plays: real connectors speak to them, and their books tell once from twice."""

import asyncio
import datetime as dt
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from waterline.connectors import registry
from waterline.connectors.base import Config, ConnectorFault, Scope
from waterline.core.app_spec import Connection
from waterline.trials.played import PLAYED
from waterline.trials.played.base import Record, Reply, Request, place_name
from waterline.trials.played.server import POINTS, Armed, PlayedServer, State
from waterline.trials.played.tryton import PlayedTryton

PLACE = place_name(7)
SCOPE = Scope(PLACE, PLACE)
RULES = {"hours": [[day, 540, 720] for day in range(7)], "minutes": 45, "at_once": 1, "closed": []}
START = dt.datetime.combine(dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2), dt.time(9), dt.UTC).isoformat()
LEAD = {"type": "object", "properties": {"name": {"type": "string"}, "ref": {"type": "string"}}, "required": ["name"]}
PLACED = [{"name": "office", "in": "path", "required": True, "schema": {"type": "string"}}]
KEYED = [*PLACED, {"name": "ref", "in": "path", "required": True, "schema": {"type": "string"}}]
SOUGHT = [*PLACED, {"name": "ref", "in": "query", "schema": {"type": "string"}}]
TIMES = {"type": "object", "required": ["slots"], "properties": {"slots": {"type": "array", "items": {
    "type": "object", "required": ["start"], "properties": {"start": {"type": "string", "format": "date-time"}},
}}}}  # fmt: skip


def spoken(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def described(name: str, parameters: list[Any], answer: dict[str, Any], writes: bool) -> dict[str, Any]:
    body = {"requestBody": {"required": True, **spoken(LEAD)}} if writes else {}
    return {"operationId": name, "parameters": parameters, "responses": {"200": spoken(answer)}, **body}


DESCRIPTION = json.dumps({
    "openapi": "3.1.0", "info": {"title": "CRM", "version": "1"},
    "paths": {
        "/{office}/leads": {"post": described("make", PLACED, LEAD, True),
                            "get": described("find", SOUGHT, {"type": "array", "items": LEAD}, False)},
        "/{office}/leads/{ref}": {"put": described("file", KEYED, LEAD, True)},
        "/{office}/times": {"get": described("times", PLACED, TIMES, False)},
    },
})  # fmt: skip


def rest(**writes: Any) -> Connection:
    parameters = {"spec": "crm.json", "operations": ["times"], "branch": "office", "writes": writes}
    return Connection("openapi", parameters, {"spec": DESCRIPTION})


LEAD_OF_ANA = {"body": {"name": "Ana"}}
ACTS: dict[str, tuple[Connection, str, dict[str, Any]]] = {
    "calendar": (Connection("caldav"), "book", {"visits": RULES, "start": START, "name": "Ana"}),
    "crm": (Connection("tryton"), "upsert_lead", {"name": "Ana", "phone": "+351912345678", "description": "Grade 3"}),
    "web hook": (Connection("webhook"), "send", {"event": "visit", "data": {"name": "Ana"}}),
    "REST, native": (rest(make={"once": "native"}), "make", LEAD_OF_ANA),
    "REST, uid": (rest(file={"once": "uid", "into": "ref"}), "file", LEAD_OF_ANA),
    "REST, lookup": (rest(make={"once": "lookup", "look_up": "find", "by": "ref", "into": "ref"}), "make", LEAD_OF_ANA),
}
FAULTS: dict[State, str] = {"down": "down", "wrong credentials": "credentials", "changed schema": "schema"}


async def with_played(
    kind: str, use: Callable[[PlayedServer, Callable[[], Awaitable[dict[str, Any]]]], Awaitable[None]]
) -> None:
    """`use` is given the server, and what does the kind's act once more, by a connector that remembers nothing."""
    lives = [0]

    async def kill(life: int) -> None:
        lives[0] = life + 1

    declared, operation, arguments = ACTS[kind]
    system = PLAYED[declared.kind](declared)
    async with PlayedServer(system, kill, lambda: lives[0]) as server:

        async def act() -> dict[str, Any]:
            made = system.connection()
            connector = registry.make(made.kind, Config(kind, system.settings(server.url), made.parameters, made.files))
            try:
                return await connector.call(operation, arguments, "visit/1", SCOPE)
            finally:
                await connector.close()

        await use(server, act)


@pytest.mark.parametrize("kind", ACTS)
async def test_the_same_act_again_is_in_the_books_once(kind: str) -> None:
    async def use(server: PlayedServer, act: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        for state in ("healthy", "dirty data", "healthy"):
            server.put(PLACE, state)  # type: ignore[arg-type]
            await act()
        assert [r.what for r in server.system.records(PLACE)] == [ACTS[kind][1]]
        assert server.met[PLACE] >= 1
        assert not server.system.records(place_name(8))

    await with_played(kind, use)


@pytest.mark.parametrize("kind", ACTS)
async def test_each_trouble_is_the_fault_of_its_name_and_books_nothing(kind: str) -> None:
    async def use(server: PlayedServer, act: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        for state, fault in FAULTS.items():
            server.put(PLACE, state)
            server.only = PLACE
            with pytest.raises(ConnectorFault) as raised:
                await act()
            assert raised.value.kind == fault
        assert not server.system.records(PLACE)

    await with_played(kind, use)


@pytest.mark.parametrize("kind", ACTS)
async def test_a_slow_system_has_done_what_it_never_answers(kind: str) -> None:
    async def use(server: PlayedServer, act: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        server.put(PLACE, "slow")
        asked = asyncio.ensure_future(act())
        while not server.met[PLACE]:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.001)
        server.put(PLACE, "healthy")  # which ends what hangs
        with pytest.raises(ConnectorFault, match="cannot be reached or broke off"):
            await asked
        await act()
        assert len(server.system.records(PLACE)) == 1

    await with_played(kind, use)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("kind", ACTS)
async def test_a_caller_is_killed_at_the_write_and_its_repeat_is_the_same_act(kind: str, point: Any) -> None:
    async def use(server: PlayedServer, act: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        server.armed[PLACE] = Armed(server.system.writes[ACTS[kind][1]][-1], point)
        if point == "answered":
            await act()
        else:
            with pytest.raises(ConnectorFault):
                await act()
        while not server.killed[PLACE]:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert len(server.system.records(PLACE)) == (point != "before it arrived")
        await act()
        assert len(server.system.records(PLACE)) == 1
        assert server.killed[PLACE] == 1

    await with_played(kind, use)


async def test_a_receiver_of_web_hooks_believes_no_wrong_signature_and_sees_a_changed_repeat() -> None:
    async def use(server: PlayedServer, act: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        await act()
        known = server.system.events[PLACE]  # type: ignore[attr-defined]
        delivery, (body, at_s) = next(iter(known.items()))
        known[delivery] = (body.replace(b"Ana", b"Eva"), at_s)
        await act()
        assert [r.identity for r in server.system.records(PLACE)] == [delivery, delivery]

    await with_played("web hook", use)


def test_web_hooks_go_to_the_drill_whatever_the_app_declares_of_networks() -> None:
    declared = Connection("webhook", {"events": ["visit"], "allow_private": False})
    made = PLAYED["webhook"](declared).connection()
    assert made == msgspec.structs.replace(declared, parameters={"events": ["visit"], "allow_private": True})


async def test_times_of_a_described_system_are_to_come_and_a_dirty_one_is_a_fault_of_its_data() -> None:
    system = PLAYED["openapi"](rest(make={"once": "native"}))

    async def never(life: int) -> None: ...

    async with PlayedServer(system, never, lambda: 0) as server:
        made = system.connection()
        connector = registry.make("openapi", Config("crm", system.settings(server.url), made.parameters, made.files))
        found = await connector.call("times", {}, "", SCOPE)
        starts = [dt.datetime.fromisoformat(slot["start"]) for slot in found["slots"]]
        assert len(starts) == 3
        assert starts == sorted(starts)
        assert starts[0] > dt.datetime.now(dt.UTC)
        server.put(PLACE, "dirty data")
        with pytest.raises(ConnectorFault) as raised:
            await connector.call("times", {}, "", SCOPE)
        assert raised.value.kind == "data"
        await connector.close()


def test_a_described_system_whose_requests_name_no_branch_is_tried_alone() -> None:
    assert PLAYED["openapi"](rest(make={"once": "native"})).scoped
    nobodys = rest(make={"once": "native"})
    del nobodys.parameters["branch"]
    assert not PLAYED["openapi"](nobodys).scoped


class Forgets(PlayedTryton):
    """Its search finds nothing that was there before the caller logged in: the repeat of an act makes a second lead."""

    def answer(self, request: Request, place: str, dirty: bool) -> Reply:
        if self.place_of(request) == "":
            self.before = self.rows
            self.rows = {}
        return super().answer(request, place, dirty)

    def records(self, place: str) -> list[Record]:
        kept, self.rows = self.rows, getattr(self, "before", {})
        earlier = super().records(place)
        self.rows = kept
        return earlier + super().records(place)


async def test_books_of_a_system_that_forgets_show_the_same_lead_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLAYED, "tryton", Forgets)

    async def use(server: PlayedServer, act: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        await act()
        await act()
        identities = [r.identity for r in server.system.records(PLACE)]
        assert len(identities) == 2
        assert len(set(identities)) == 1

    await with_played("crm", use)
