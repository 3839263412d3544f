"""Drives an agent as the platform does, one conversation at a time and in one process: a message in, one turn, its
effects performed, their outcomes heard in turns of their own. Side effects go to whatever `systems` are given."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from msgspec import Struct

from waterline.agents.agent import Agent, Asked, AskFailed, Tools, TurnInput
from waterline.connectors.base import ConnectorFault
from waterline.connectors.visits import slots
from waterline.core.branch import Branch
from waterline.core.conversation import Alias, Effect, Handoff, Inbound, Outbound, Outcome, Turn

MOST_OUTCOMES = 8  # turns that outcomes may cause after one message


class Systems(Protocol):
    async def call(self, connector: str, operation: str, arguments: dict[str, Any], key: str) -> dict[str, Any]: ...


class Said(Struct, frozen=True):
    """What one message came to."""

    replies: tuple[Outbound, ...]
    turns: tuple[Turn, ...]

    @property
    def text(self) -> str:
        return "\n".join(reply.text for reply in self.replies)


class Talking:
    """One conversation. `now_us` moves only when told to."""

    def __init__(
        self,
        agent: Agent,
        branch: Branch,
        ask: Any,
        systems: Systems,
        now_us: int,
        name: str = "c1",
        channel: str = "webchat",
    ) -> None:
        self.agent, self.branch, self.systems, self.name = agent, branch, systems, name
        self.channel: Any = channel
        self.ask = ask
        self.now_us = now_us
        self.state = b""
        self.wake_us = 0
        self.with_person = False
        self.window_open = True
        self.handoffs: list[Handoff] = []
        self.effects: list[Effect] = []
        self.turns: list[Turn] = []
        self.aliases: tuple[Alias, ...] = ()
        self._performed: set[str] = set()

    async def send(self, *texts: str, choice: str = "", kind: Any = "text") -> Said:
        """Several texts are messages that came quickly one after the other: one turn."""
        messages = [
            Inbound(
                self.channel, "a", f"m{len(self.turns)}-{n}", "u", self.now_us, kind, text, choice, aliases=self.aliases
            )
            for n, text in enumerate(texts or ("",))
        ]
        return await self._run(tuple(messages))

    async def tick(self) -> Said:
        self.now_us = max(self.now_us, self.wake_us)
        return await self._run((Inbound("clock", "a", f"t{len(self.turns)}", "", self.now_us, "tick"),))

    async def outcome(self, outcome: Outcome) -> Said:
        message = Inbound("outcome", "a", f"o{len(self.turns)}", "", self.now_us, "outcome", outcome=outcome)
        return await self._run((message,))

    async def given_back(self) -> Said:
        self.with_person = False
        return await self._run((Inbound("clock", "a", f"b{len(self.turns)}", "", self.now_us, "takeover", "bot"),))

    async def _run(self, messages: tuple[Inbound, ...]) -> Said:
        replies: list[Outbound] = []
        turns: list[Turn] = []
        for _ in range(MOST_OUTCOMES):
            turn = await self._turn(messages)
            turns.append(turn)
            replies += [effect.message for effect in turn.effects if effect.message is not None]
            messages = await self._perform(turn)
            if not messages:
                break
        return Said(tuple(replies), tuple(turns))

    async def _turn(self, messages: tuple[Inbound, ...]) -> Turn:
        given = TurnInput(
            self.name,
            self.channel,
            self.branch,
            self.state,
            messages,
            self.now_us,
            "s",
            self.window_open,
            self.with_person,
        )
        turn = await self.agent.turn(given, _Tools(self.ask, self.systems))
        self.state, self.wake_us = turn.state, turn.wake_us
        self.turns.append(turn)
        self.effects += turn.effects
        if turn.handoff is not None:
            self.handoffs.append(turn.handoff)
        return turn

    async def _perform(self, turn: Turn) -> tuple[Inbound, ...]:
        heard = []
        for effect in turn.effects:
            if not effect.connector or effect.key in self._performed:
                continue
            self._performed.add(effect.key)
            try:
                result = await self.systems.call(effect.connector, effect.operation, effect.arguments, effect.key)
                outcome = Outcome(effect.name, "done", result)
            except ConnectorFault as fault:
                outcome = Outcome(effect.name, "refused" if fault.kind == "refused" else "failed", reason=fault.message)
            if effect.quiet and outcome.state == "done":
                continue
            heard.append(Inbound("outcome", "a", f"o{effect.key}", "", self.now_us, "outcome", outcome=outcome))
        return tuple(heard)


class _Tools:
    def __init__(self, ask: Any, systems: Systems) -> None:
        self._ask, self._systems = ask, systems

    async def ask(
        self, route: str, messages: list[dict[str, Any]], schema: dict[str, Any] | None = None, max_tokens: int = 0
    ) -> Asked:
        found = await self._ask(route, messages, schema, max_tokens)
        if not isinstance(found, Asked):
            raise AskFailed("no model in this talk")
        return found

    async def look(self, connector: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._systems.call(connector, operation, arguments, "")


def as_tools(ask: Any, systems: Systems) -> Tools:
    return _Tools(ask, systems)


async def no_model(route: str, messages: Any, schema: Any, max_tokens: int) -> None:
    """A model that is down."""


class DoubleSystems:
    """A calendar and a CRM in memory, with the connectors' operations and faults; for tests, not for claims."""

    def __init__(self, now: dt.datetime) -> None:
        self.now = now
        self.visits: dict[str, tuple[str, Mapping[str, Any]]] = {}  # key -> start, details
        self.leads: dict[str, Mapping[str, Any]] = {}  # phone -> what is known
        self.notes: dict[str, dict[str, str]] = {}  # lead -> key -> text
        self.taken: set[str] = set()  # starts that others have
        self.down: dict[str, ConnectorFault] = {}  # connector -> what it raises
        self.calls: list[tuple[str, str, str]] = []

    async def call(self, connector: str, operation: str, arguments: dict[str, Any], key: str) -> dict[str, Any]:
        self.calls.append((connector, operation, key))
        if connector in self.down:
            raise self.down[connector]
        if connector == "crm" and operation == "note":
            if not any(lead.get("lead") == arguments["lead"] for lead in self.leads.values()):
                raise ConnectorFault("refused", "There is no such lead. Make it first (upsert_lead).")
            self.notes.setdefault(arguments["lead"], {})[key] = arguments["text"]
            return {"noted": True}
        if connector == "crm":
            self.leads[arguments["phone"]] = arguments
            return {"lead": arguments.get("lead", key), "again": False}
        match operation:
            case "free_slots":
                zone = self.now.tzinfo
                assert isinstance(zone, ZoneInfo)
                found = slots(arguments["visits"], dt.date.fromisoformat(arguments["from"]), arguments["days"], zone)
                starts = [at.astimezone(zone).isoformat(timespec="minutes") for at in found]
                busy = {start for start, _ in self.visits.values()} | self.taken
                return {"slots": [{"start": s, "end": s, "left": 1} for s in starts if s not in busy]}
            case "book":
                return self._book(arguments, key)
            case "move":
                if arguments["booking"] not in self.visits:
                    raise ConnectorFault("refused", "There is no such visit")
                details = self.visits[arguments["booking"]][1]
                self._free(arguments["start"])
                self.visits[arguments["booking"]] = (_minutes(arguments["start"]), details)
                return {"start": arguments["start"]}
            case "cancel":
                return {"cancelled": True, "found": self.visits.pop(arguments["booking"], None) is not None}
        raise ConnectorFault("invalid", f"no operation {operation}")

    def _book(self, arguments: dict[str, Any], key: str) -> dict[str, Any]:
        if key not in self.visits:
            self._free(arguments["start"])
            self.visits[key] = (_minutes(arguments["start"]), arguments)
        return {"start": arguments["start"], "uid": key}

    def _free(self, start: str) -> None:
        start = _minutes(start)
        if start in self.taken or any(start == other for other, _ in self.visits.values()):
            raise ConnectorFault("refused", "No place is left at this time. Offer another.")


def _minutes(start: str) -> str:
    return dt.datetime.fromisoformat(start).isoformat(timespec="minutes")
