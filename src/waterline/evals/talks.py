"""Drives an agent as the platform does, one conversation at a time and in one process: a message in, one turn, its
effects performed, their outcomes heard in turns of their own. Side effects go to whatever `systems` are given."""

from typing import Any, Protocol

from msgspec import Struct

from waterline.agents.agent import Agent, Asked, AskFailed, TurnInput
from waterline.connectors.base import ConnectorFault
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
        self.known: dict[str, str] = {}  # of this person, from a conversation before
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
            {} if self.state else self.known,
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

    async def hear(self, route: str, message: Inbound, longest_s: int, language: str = "") -> Asked:
        raise AskFailed("nobody speaks in this talk")

    async def look(self, connector: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return await self._systems.call(connector, operation, arguments, "")
