"""One turn while it is being decided: what is known, and what it will come to."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from waterline.agents import phrases
from waterline.agents.agent import Tools, TurnInput
from waterline.agents.handbook import Handbook, read_handbook, with_facts
from waterline.agents.memory import summary
from waterline.agents.slots.base import Context
from waterline.agents.state import State
from waterline.connectors.visits import rules
from waterline.core.conversation import Alias, Choice, Effect, Handoff
from waterline.core.flow import Action, Flow

STAGES = ("first_message", "answered", "qualified", "offered", "booked")
_REGIONS = {"Europe/Lisbon": "PT", "Europe/Madrid": "ES", "Europe/London": "GB", "America/Sao_Paulo": "BR"}


class Talk:
    """`parts` become one bubble; `effects` what is done; both only when the turn is stored."""

    def __init__(self, flow: Flow, handbooks: dict[str, str], given: TurnInput, state: State, tools: Tools) -> None:
        self.flow, self.given, self.state, self.tools = flow, given, state, tools
        self._handbooks = handbooks
        zone = ZoneInfo(given.branch.timezone)
        self.now = datetime.fromtimestamp(given.now_us / 1e6, UTC).astimezone(zone)
        self.parts: list[str] = []
        self.choices: list[Choice] = []
        self.effects: list[Effect] = []
        self.aliases: list[Alias] = []
        self.handoff: Handoff | None = None
        self.calls = 0
        self.traces: list[str] = []
        self.heard: dict[str, str] = {}  # voice notes
        self.shown: list[str] = []  # parts that only say what was heard
        self.template = ""  # of the flow, for a closed window
        self.lookup_down = False
        self.asked = False  # the turn's question was put already

    # --- language and texts

    @property
    def language(self) -> str:
        if self.state.language:
            return self.state.language
        spoken = [language for language in self.given.branch.languages if language in self.flow.languages]
        return spoken[0] if spoken else self.flow.languages[0]

    def context(self) -> Context:
        region = self.given.branch.facts.get("region") or _REGIONS.get(self.given.branch.timezone, "US")
        return Context(self.now, self.language, region)

    def book(self, language: str = "") -> Handbook | None:
        name = self.given.branch.handbook or self.flow.handbook
        for known in (f"{name}.{language or self.language}", name, f"{name}.{self.flow.languages[0]}"):
            if known in self._handbooks:
                facts = self.given.branch.facts
                return read_handbook(with_facts(self._handbooks[known], self.flow.facts, facts))
        return None

    def values(self, **more: str) -> dict[str, str]:
        """What texts and arguments may name."""
        state, branch = self.state, self.given.branch
        appointment = self.flow.appointment()
        start = state.slots.get(appointment.name, "") if appointment else ""
        grade = next((state.slots.get(s.name, "") for s in self.flow.slots if s.kind == "grade"), "")
        labels = next((g.labels for g in self.flow.grades if g.id == grade), {})
        return {
            **dict.fromkeys(self.flow.facts, ""),
            **branch.facts,
            **{slot.name: "" for slot in self.flow.slots},
            **state.slots,
            "branch": branch.name,
            "when": self.when(start),
            "start": start,
            "grade_label": labels.get(self.language, grade),
            "conversation": self.given.conversation,
            "channel": self.given.channel,
            "language": self.language,
            "booking": state.booking,
            "stage": state.stage,
            "notes": "; ".join(state.memory.open),
            "remarks": "; ".join(state.memory.remarks),
            **more,
        }

    def when(self, start: str, short: bool = False) -> str:
        try:
            at = datetime.fromisoformat(start).astimezone(self.now.tzinfo)
        except ValueError:
            return ""
        return (phrases.short_date if short else phrases.long_date)(at, self.language)

    def text(self, name: str, **more: str) -> str:
        return phrases.say(self.flow, self.language, name, self.values(**more))

    def say(self, name: str, **more: str) -> None:
        text = self.text(name, **more)
        if text and text not in self.parts:
            self.parts.append(text)

    # --- what is done

    def plan(self, action: Action, **more: str) -> None:
        """One of the flow's own actions; nothing else can be planned."""
        values = self.values(**more)
        arguments: dict[str, Any] = {}
        for name, template in action.arguments.items():
            if template == "{visit_rules}":
                arguments[name] = rules(self.given.branch)
            elif filled := phrases.fill(template, values):
                arguments[name] = filled
        key = phrases.fill(action.key, values)
        self.effects.append(
            Effect(
                action.name,
                connector=action.connector,
                operation=action.operation,
                arguments=arguments,
                key=key + more.get("suffix", ""),
                quiet=action.quiet,
            )
        )

    def hand_over(self, reason: Any, urgent: bool = False) -> None:
        self.state.handed = reason
        self.state.pending = ""
        self.state.memory.next_step = "a person answers"
        self.handoff = Handoff(reason, "", urgent)

    def reach(self, stage: str) -> None:
        """Stages go forward only."""
        now = self.state.stage
        if now not in STAGES or STAGES.index(stage) > STAGES.index(now):
            self.state.stage = stage

    def summary(self) -> str:
        return summary(self.state)
