"""The server that bench/volume.py measures: Waterline with its own channels, an agent that asks the model for every
message, and a calendar and a CRM that write down every call.

    WATERLINE_WHATSAPP_URL=... VOLUME_FOLDER=... python bench/volume_server.py up --data FOLDER ...
"""

import os
import sys
from pathlib import Path
from typing import Any

import waterline.app
from waterline.__main__ import main
from waterline.agents.agent import Agent, Tools, TurnInput
from waterline.agents.plain import PlainAgent
from waterline.connectors.base import Scope
from waterline.conversations import Conversations
from waterline.core.conversation import Effect, Outbound, Turn
from waterline.core.release import Release

BOOK = "visit"  # who writes this word wants one


class Books:
    """A calendar and a CRM: every call is a line, so that one too many is seen."""

    def __init__(self, file: Path) -> None:
        self._out = file.open("a", buffering=1)

    async def call(
        self, connector: str, operation: str, arguments: dict[str, Any], key: str, scope: Scope, *,
        reads_only: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        self._out.write(f"{connector} {key} {scope.branch}\n")
        return {"place": scope.place}


class Receptionist(Agent):
    """A model call and a reply for what was heard; a visit and a lead for who wants one; a reply when it is booked."""

    def __init__(self) -> None:
        self._plain = PlainAgent("main")

    async def turn(self, given: TurnInput, tools: Tools) -> Turn:
        turn = await self._plain.turn(given, tools)
        effects, stage = list(turn.effects), turn.stage
        for message in given.messages:
            if message.outcome is not None:
                effects.append(Effect("told", Outbound(f"{message.outcome.name} {message.outcome.state}")))
                stage = "booked"
            elif BOOK in message.text:
                who = {"who": given.subject}
                effects.append(Effect("lead", connector="crm", operation="note", arguments=who, quiet=True))
                effects.append(Effect("visit", connector="calendar", operation="book", arguments=who))
        return Turn(turn.state, tuple(effects), stage=stage)


class MeasuredWaterline(waterline.app.Waterline):
    def _connect(self) -> Conversations:
        books = Books(Path(os.environ["VOLUME_FOLDER"]) / f"books-{os.environ['VOLUME_PIECE']}")

        def make_agent(release: Release) -> Agent:
            return Receptionist()

        made = Conversations(
            store=self.store, deps=self.deps, find=self.find, systems=lambda app: books,
            url=lambda c: f"/conversations/{c}", make_agent=make_agent,
        )  # fmt: skip

        return made


if __name__ == "__main__":
    waterline.app.Waterline = MeasuredWaterline  # type: ignore[misc]
    if os.environ.get("VOLUME_PROFILE"):
        import cProfile

        profile = cProfile.Profile()
        profile.enable()
        try:
            code = main()
        finally:
            profile.disable()
            profile.dump_stats(os.environ["VOLUME_PROFILE"])
        sys.exit(code)
    sys.exit(main())
