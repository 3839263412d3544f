"""A real Waterline with a small agent, a connected system and a channel that keep what they did on disk.

POST /v1/test/kill "<point>:<n>" ends the process with SIGKILL when it comes to that point for the n-th time.
TURNS_AGENT=flow: the agent is the one that the release's flow makes.
TURNS_REAL=1: the systems and the channel are real ones, as the app declares them and the settings say."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

import waterline.app
from waterline.__main__ import main
from waterline.access.roles import Action, Principal
from waterline.agents import drain
from waterline.agents.agent import Agent, Tools, TurnInput
from waterline.agents.effects import Performer
from waterline.agents.flow import flow_agent
from waterline.agents.inbox import Desk
from waterline.api.http import Exchange
from waterline.channels.base import Sent
from waterline.channels.graph import Graph
from waterline.channels.whatsapp import WhatsApp
from waterline.connectors.base import Scope
from waterline.connectors.systems import Systems
from waterline.connectors.visits import rules
from waterline.conversations import Conversations
from waterline.core.conversation import ChannelKind, Effect, Inbound, Outbound, Status, Turn
from waterline.core.release import Release
from waterline.store import effects

FOLDER = Path(os.environ["TURNS_WORLD"])
REAL = os.environ.get("TURNS_REAL") == "1"
OPERATIONS = ("upsert_lead", "book")
planned = {"point": "", "left": 0}


def at(point: str) -> None:
    if point == planned["point"]:
        planned["left"] = int(planned["left"]) - 1
        if planned["left"] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def write(name: str, row: dict[str, Any]) -> None:
    with (FOLDER / name).open("a") as out:
        out.write(json.dumps(row) + "\n")
        out.flush()
        os.fsync(out.fileno())


class System:
    """Does an act once a key, as a calendar does whose record's id is the key; every call is written down."""

    async def call(
        self, connector: str, operation: str, arguments: dict[str, Any], key: str, scope: Scope, *,
        reads_only: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        if reads_only:
            return json.loads((FOLDER / "looked.json").read_text())  # type: ignore[no-any-return]
        at(f"before_{connector}")
        write("calls", {"connector": connector, "key": key})
        record = FOLDER / f"{connector}-{key.replace('/', '_')}.json"
        if not record.exists():
            temporary = record.with_suffix(".tmp")
            temporary.write_text(json.dumps({"operation": operation, **arguments}))
            temporary.rename(record)
            write("acts", {"connector": connector, "key": key, "operation": operation, "arguments": arguments})
        at(f"after_{connector}")
        return {"place": scope.place}


class RealSystem(Systems):
    """The app's own, with the points around each call."""

    async def call(self, connector: str, operation: str, *args: Any, **more: Any) -> dict[str, Any]:
        at(f"before_{connector}")
        result = await super().call(connector, operation, *args, **more)
        at(f"after_{connector}")
        return result


class Phone:
    kind: ChannelKind = "whatsapp"
    sends_once = False
    echo_s = 1.0

    async def send(self, address: str, to: str, message: Outbound, key: str, window_open: bool) -> Sent:
        at("before_send")
        write("sent", {"to": to, "text": message.text, "key": key, "id": f"wamid.{key}"})
        at("after_send")
        return Sent(f"wamid.{key}", time.time_ns() // 1000)


def _lead(given: TurnInput) -> dict[str, Any]:
    return {"name": _name(given), "phone": f"+{given.messages[0].sender}", "description": "Grade 2"}


def _visit(given: TurnInput) -> dict[str, Any]:
    return {"visits": rules(given.branch), "title": f"Visit: {_name(given)}", "name": _name(given)}


def _name(given: TurnInput) -> str:
    return f"Ana {given.messages[0].sender}"


class Booker(Agent):
    """Books and notes a lead for every user message; says so when the calendar has said yes."""

    async def turn(self, given: TurnInput, tools: Tools) -> Turn:
        todo: list[Effect] = []
        asked = await tools.ask("main", [{"role": "user", "content": "anything"}])
        for message in given.messages:
            if message.outcome is not None and message.outcome.name == "book":
                todo.append(Effect("reply", Outbound(f"book {message.outcome.state}")))
            elif message.kind == "text":
                todo.append(
                    Effect("lead", connector="crm", operation=OPERATIONS[0], arguments=_lead(given), quiet=True)
                )
                visit = {"start": message.text, **_visit(given)}
                todo.append(Effect("book", connector="calendar", operation=OPERATIONS[1], arguments=visit))
        at("thought")
        return Turn(given.state + asked.text[:1].encode(), tuple(todo), stage="booked")


def around(target: Any, name: str, before: str, after: str) -> None:
    """Points before and after a function that is awaited."""
    inner = getattr(target, name)

    async def wrapped(*args: Any, **more: Any) -> Any:
        at(before)
        result = await inner(*args, **more)
        at(after)
        return result

    setattr(target, name, wrapped)


around(Desk, "inbound", "before_received", "received")
around(Performer, "_ended", "before_result", "result_stored")
around(Performer, "_reply", "reply_planned", "reply_stored")
if REAL:
    WhatsApp.echo_s = 4.0  # the simulated one's statuses come at once
    around(Graph, "send", "before_send", "after_send")  # reserved and begun before, not yet written down after


def _commit(inner: Any) -> Any:
    def wrapped(*args: Any) -> Any:
        at("before_commit")
        return inner(*args)  # inside the transaction: nothing of it is kept

    return wrapped


def _leave(inner: Any) -> Any:
    def wrapped(tx: Any, n: int, now_us: int) -> Any:
        at("before_leaving")
        return inner(tx, n, now_us)

    return wrapped


drain._commit = _commit(drain._commit)
effects.start = _leave(effects.start)
_kick = Performer.kick


def kick(self: Performer, *about: Any) -> None:
    at("committed")
    _kick(self, *about)


Performer.kick = kick  # type: ignore[method-assign]


class TestedWaterline(waterline.app.Waterline):
    def _connect(self) -> Conversations:
        def make_agent(release: Release) -> Agent:
            return (flow_agent(release) if os.environ.get("TURNS_AGENT") == "flow" else None) or Booker()

        real: dict[str, RealSystem] = {}

        def systems(app: str) -> Any:
            declared = self.deps.apps[app].spec.connectors
            return real.setdefault(app, RealSystem(declared, self.settings.connector)) if REAL else System()

        made = Conversations(
            store=self.store, deps=self.deps, find=self.find, systems=systems, url=str, make_agent=make_agent
        )
        if not REAL:
            made.add(Phone())
        return made

    def _routes(self) -> Any:
        plane = super()._routes()
        plane.add("POST", "/v1/test/inbound", Action.DATA_CALL, self._inbound)
        plane.add("POST", "/v1/test/statuses", Action.DATA_CALL, self._statuses)
        plane.add("POST", "/v1/test/kill", Action.DATA_CALL, self._kill)
        return plane

    async def _inbound(self, exchange: Exchange, principal: Principal) -> None:
        assert self.conversations is not None
        messages = msgspec.json.decode(await exchange.body(1 << 20), type=list[Inbound])
        await self.conversations.desk.inbound(messages)
        await _ok(exchange)

    async def _statuses(self, exchange: Exchange, principal: Principal) -> None:
        assert self.conversations is not None
        statuses = msgspec.json.decode(await exchange.body(1 << 20), type=list[Status])
        await self.conversations.desk.statuses(statuses)
        await _ok(exchange)

    async def _kill(self, exchange: Exchange, principal: Principal) -> None:
        point, _, nth = msgspec.json.decode(await exchange.body(1 << 20), type=str).partition(":")
        planned.update(point=point, left=int(nth or 1))
        await _ok(exchange)


async def _ok(exchange: Exchange) -> None:
    await exchange.sink.begin(200, b"application/json", [(b"content-length", b"2")])
    await exchange.sink.end(b"{}")


if __name__ == "__main__":
    waterline.app.Waterline = TestedWaterline  # type: ignore[misc]
    sys.exit(main())
