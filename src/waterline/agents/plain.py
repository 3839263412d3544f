"""The agent of an app that declares no flows: each turn is one answer of a route, with what was said before."""

from typing import Any

import msgspec
from msgspec import Struct

from waterline.agents.agent import Tools, TurnInput
from waterline.core.conversation import Effect, Inbound, Outbound, Turn

MOST_KEPT = 30  # messages


class _Said(Struct):
    role: str
    content: str


class PlainAgent:
    def __init__(self, route: str) -> None:
        self._route = route

    async def turn(self, given: TurnInput, tools: Tools) -> Turn:
        said = msgspec.json.decode(given.state, type=list[_Said]) if given.state else []
        for line in (line for m in given.messages for line in m.said):
            said.append(_Said("user" if line.by_user else "assistant", line.text))
        heard = [m for m in given.messages if m.channel not in ("outcome", "clock")]
        if not heard:
            return Turn(msgspec.json.encode(said[-MOST_KEPT:]))
        said.append(_Said("user", "\n".join(_text(m) for m in heard)))
        messages: list[dict[str, Any]] = msgspec.to_builtins(said)
        asked = await tools.ask(self._route, messages)
        said.append(_Said("assistant", asked.text))
        reply = Effect("reply", message=Outbound(asked.text))
        return Turn(msgspec.json.encode(said[-MOST_KEPT:]), (reply,), stage="answered")


def _text(message: Inbound) -> str:
    return message.text or message.choice or f"({message.kind})"
