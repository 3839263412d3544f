"""The example's own flow, its branch, and a conversation to have with it."""

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from double_systems import DoubleSystems, no_model

from waterline.agents.agent import Asked
from waterline.agents.flow import FlowAgent, flow_agent
from waterline.agents.state import State, read_state
from waterline.core.branch import Branch, Hours
from waterline.core.release import Release
from waterline.evals.talks import Said, Talking
from waterline.rollout.check import check
from waterline.trials import DRILLS

FOLDER = Path(__file__).parents[3] / "examples" / "school"
LISBON = ZoneInfo("Europe/Lisbon")
NOW = datetime(2026, 11, 21, 11, 0, tzinfo=LISBON)  # a Saturday
BRANCH = Branch(
    "porto-azul",
    "Porto Azul International School",
    timezone="Europe/Lisbon",
    languages=("en", "pt", "es"),
    visit_hours=tuple(Hours(day, 9 * 60 + 30, 12 * 60 + 30) for day in (1, 3)),
    visit_minutes=45,
    facts={"phone": "555-0142", "email": "admissions@portoazul.example", "street": "Rua do Mar 12"},
)


@cache
def release() -> Release:
    digests = {"qwen2.5-coder-1.5b": "0" * 64}
    return check(FOLDER, model_digests=digests, known_drills=DRILLS).release


def school_agent() -> FlowAgent:
    agent = flow_agent(release())
    assert isinstance(agent, FlowAgent)
    return agent


class Script:
    """A model that says what it was told to; anything else is a mistake of the test."""

    def __init__(self, *answers: str | dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, route: str, messages: Any, schema: Any, max_tokens: int) -> Asked:
        self.asked.append((route, messages[-1]["content"]))
        found = self.answers.pop(0)
        text = (
            found
            if isinstance(found, str)
            else msgspec.json.encode({"child_age": None, "name": None, **found}).decode()
        )
        return Asked(text, f"t{len(self.asked)}", 100)


class School:
    """A parent's conversation with the school."""

    def __init__(self, *answers: str | dict[str, Any], branch: Branch = BRANCH) -> None:
        self.systems = DoubleSystems(NOW)
        self.model = Script(*answers)
        self.talk = Talking(
            school_agent(), branch, self.model if answers else no_model, self.systems, int(NOW.timestamp() * 1e6)
        )

    async def says(self, *texts: str, choice: str = "", kind: str = "text") -> str:
        return (await self.heard(*texts, choice=choice, kind=kind)).text

    async def heard(self, *texts: str, choice: str = "", kind: str = "text") -> Said:
        return await self.talk.send(*texts, choice=choice, kind=kind)

    async def all(self, *texts: str) -> str:
        said = ""
        for text in texts:
            said = await self.says(text)
        return said

    @property
    def state(self) -> State:
        return read_state(self.talk.state)

    @property
    def slots(self) -> dict[str, str]:
        return self.state.slots

    @property
    def visits(self) -> list[str]:
        return [start for start, _ in self.systems.visits.values()]
