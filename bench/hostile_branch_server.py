"""The server that bench/hostile_branch.py measures: Waterline with its own channels and its own way of calling systems;
the calendar is one system that all branches share, and one branch's part of it hangs.

    HOSTILE=<branch> HOSTILE_FOLDER=... python bench/hostile_branch_server.py up --data FOLDER ...
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volume_server import Receptionist

import waterline.app
from waterline.__main__ import main
from waterline.agents.agent import Agent
from waterline.connectors.base import Config, ConnectorFault, Manifest, Operation, Scope
from waterline.connectors.run import Ready, perform
from waterline.conversations import Conversations
from waterline.core.release import Release

HANGS_S = 10.0
ANYTHING = {"type": "object", "properties": {"who": {"type": "string"}}}


class Shared:
    """Writes down what it did; for the hostile branch it hangs."""

    def __init__(self, name: str, file: Path) -> None:
        operations = tuple(
            Operation(one, "write", one, ANYTHING, once="uid", timeout_s=HANGS_S, retries=0) for one in ("book", "note")
        )
        self.manifest = Manifest(name, "a system that branches share", (), (), operations)
        self._name = name
        self._out = file.open("a", buffering=1)

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        if scope.branch == os.environ["HOSTILE"]:
            await asyncio.sleep(HANGS_S * 2)
            raise ConnectorFault("down", "hung")
        await asyncio.sleep(0.02)
        self._out.write(f"{self._name} {key} {scope.branch}\n")
        return {"place": scope.place}

    async def close(self) -> None: ...


class Systems:
    def __init__(self, folder: Path) -> None:
        made = {name: Shared(name, folder / "books") for name in ("calendar", "crm")}
        self._ready = {name: Ready(one, Config(name)) for name, one in made.items()}

    async def call(
        self, connector: str, operation: str, arguments: dict[str, Any], key: str, scope: Scope, *,
        reads_only: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        return await perform(self._ready[connector], operation, arguments, key, scope, confirmed=True)


class HostileWaterline(waterline.app.Waterline):
    def _connect(self) -> Conversations:
        systems = Systems(Path(os.environ["HOSTILE_FOLDER"]))

        def make_agent(release: Release) -> Agent:
            return Receptionist()

        return Conversations(
            store=self.store, deps=self.deps, find=self.find, systems=lambda app: systems,
            url=lambda c: f"/conversations/{c}", make_agent=make_agent,
        )  # fmt: skip


if __name__ == "__main__":
    waterline.app.Waterline = HostileWaterline  # type: ignore[misc]
    sys.exit(main())
