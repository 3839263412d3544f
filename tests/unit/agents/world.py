"""A small world for conversations: a store, an agent that follows a script, a channel and a system that remember."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from waterline.agents.agent import Agent, Tools, TurnInput
from waterline.agents.drain import Drain
from waterline.agents.effects import Performer, Sends
from waterline.agents.inbox import Desk
from waterline.agents.places import KnownPlaces, Place
from waterline.connectors.base import Scope
from waterline.core.branch import Branch
from waterline.core.conversation import Alias, Effect, Inbound, Outbound, Turn
from waterline.core.conversing import Conversing
from waterline.store import conversations, effects
from waterline.store.conversations import Conversation, Filter
from waterline.store.db import Store

QUICK = Conversing(quiet_s=0.05, longest_quiet_s=0.3, late_s=0.3, excuse_s=0.2, turn_s=20, remind_s=0.2)
LISBON = Branch("lisbon", "Lisbon", addresses={"whatsapp": ("100", "200")}, scope={"calendar": "/lisbon/"})
PORTO = Branch("porto", "Porto", addresses={"whatsapp": ("300",)})
ids = itertools.count(1)


def text(said: str, message_id: str = "", sender: str = "351911", address: str = "100", **more: Any) -> Inbound:
    made = message_id or f"wamid.{next(ids)}"
    values = {"at_us": time.time_ns() // 1000, "aliases": (Alias("phone", f"+{sender}"),), **more}
    return Inbound("whatsapp", address, made, sender, text=said, **values)


def said(turn: TurnInput) -> list[str]:
    """What a turn was given, in short."""
    return [
        f"{m.outcome.name} {m.outcome.state}" if m.outcome else m.text if m.kind == "text" else f"{m.kind} {m.text}"
        for m in turn.messages
    ]


class Phone(Sends):
    """Remembers what it sent. `faults`: raised one by one before anything is sent."""

    def __init__(self, *, sends_once: bool = True, echo_s: float = 0.3) -> None:
        self.sends_once = sends_once
        self.echo_s = echo_s
        self.sent: list[tuple[str, str, str]] = []  # to, text, key
        self.ways: list[str] = []
        self.windows: list[bool] = []
        self.faults: list[Exception] = []
        self.hold: Callable[[], Awaitable[None]] | None = None

    async def send(self, address: str, to: str, message: Outbound, key: str, window_open: bool) -> str:
        if self.hold is not None:
            await self.hold()
        if self.faults:
            raise self.faults.pop(0)
        known = [n for n, (*_, before) in enumerate(self.sent, start=1) if before == key]
        if self.sends_once and known:
            return f"out.{known[0]}"
        self.sent.append((to, message.text, key))
        self.ways.append(address)
        self.windows.append(window_open)
        return f"out.{len(self.sent)}"

    @property
    def texts(self) -> list[str]:
        return [text for _, text, _ in self.sent]


class System:
    """A connected system: what it did, by key. `faults` come first, `slow_s` is how long it takes."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []  # connector, operation, key
        self.done: dict[str, dict[str, Any]] = {}
        self.scopes: list[Scope] = []
        self.faults: list[Exception] = []
        self.slow_s = 0.0

    async def call(
        self,
        connector: str,
        operation: str,
        arguments: dict[str, Any],
        key: str,
        scope: Scope,
        *,
        reads_only: bool = False,
    ) -> dict[str, Any]:
        self.calls.append((connector, operation, key))
        self.scopes.append(scope)
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        if self.faults:
            raise self.faults.pop(0)
        return self.done.setdefault(key, {"id": len(self.done) + 1, **arguments})


class Scripted(Agent):
    """Answers what a function says; keeps what it was given."""

    def __init__(self, answer: Callable[[TurnInput], Turn]) -> None:
        self.answer = answer
        self.given: list[TurnInput] = []
        self.failing: Exception | None = None
        self.hold: Callable[[], Awaitable[None]] | None = None
        self.at_once = 0
        self.most_at_once = 0

    async def turn(self, given: TurnInput, tools: Tools) -> Turn:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.hold is not None:
                await self.hold()
            if self.failing is not None:
                raise self.failing
            self.given.append(given)
            return self.answer(given)
        finally:
            self.at_once -= 1

    @property
    def heard(self) -> list[list[str]]:
        return [said(given) for given in self.given]


def echo(given: TurnInput) -> Turn:
    reply = Effect("reply", Outbound("you said: " + ", ".join(said(given))))
    return Turn(given.state + b"x", (reply,), stage="answered")


class NoTools(Tools):
    async def ask(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("no model here")

    async def hear(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("no recordings here")

    async def look(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("no systems here")


class Thought:
    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.tools: Tools = NoTools()
        self.release = "r1"
        self.subject = "s"
        self.traces: list[str] = []


class World:
    """`open` it; `close` stops it as an orderly end does, `drop` as a crash of the process would."""

    def __init__(
        self,
        folder: Path,
        answer: Callable[[TurnInput], Turn] = echo,
        rules: Conversing = QUICK,
        branches: tuple[Branch, ...] = (LISBON, PORTO),
    ) -> None:
        self.path = folder / "waterline.db"
        self.agent = Scripted(answer)
        self.phone = Phone()
        self.system = System()
        self.rules = rules
        self.counts: dict[str, int] = {}
        self.skip_us = 0
        self.branches = branches

    def clock_us(self) -> int:
        return time.time_ns() // 1000 + self.skip_us

    def open(self, *, look: bool = True) -> "World":
        self.store = Store.open(self.path)
        places = KnownPlaces(Place("school", "production", branch, self.rules) for branch in self.branches)

        def count(name: str) -> None:
            self.counts[name] = self.counts.get(name, 0) + 1

        self.performer = Performer(
            store=self.store, channels={"whatsapp": self.phone}, systems=lambda app: self.system,
            places=lambda: places, clock_us=self.clock_us, wake=lambda c: self.drain.wake(c), count=count,
        )  # fmt: skip
        self.drain = Drain(
            store=self.store, places=lambda: places, think=lambda at, place: Thought(self.agent),
            performer=self.performer, clock_us=self.clock_us, count=count, url=lambda c: f"/conversations/{c}",
        )  # fmt: skip
        self.desk = Desk(self.store, lambda: places, self.clock_us, lambda: f"c{next(ids):06}", self.drain.wake)
        if look:
            self.drain.start()
        return self

    async def close(self) -> None:
        await self.drain.stop()
        self.store.close()

    async def until(self, check: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        end = time.monotonic() + timeout_s
        while not (found := check()):
            assert time.monotonic() < end, (self.agent.heard, self.phone.sent, self.counts)
            await asyncio.sleep(0.01)
        return found

    async def idle(self) -> None:
        """Nothing waits and nothing is planned that is due."""

        def busy() -> bool:
            if self.drain._tasks or self.performer._tasks:
                return True
            due = self.store.read_sync(
                lambda tx: conversations.due(tx, self.clock_us(), 10) + effects.due(tx, self.clock_us(), 10)  # type: ignore[operator]
            )
            return bool(due)

        await self.until(lambda: not busy())

    def all(self) -> list[Conversation]:
        return self.store.read_sync(lambda tx: conversations.page(tx, Filter(), limit=1000)[0])

    @property
    def one(self) -> Conversation:
        [found] = self.all()
        return found

    def effects(self, conversation: str = "") -> list[effects.EffectRow]:
        at = conversation or self.one.id
        return self.store.read_sync(lambda tx: effects.of(tx, at))[::-1]
