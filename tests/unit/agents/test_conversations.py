"""The conversations of conversations/*.toml with the example's own flow, judged by state: what is known, what was done in
the systems, who was asked for. Words are not compared."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from school import NOW, School, release

from waterline.agents.flow import FlowAgent
from waterline.connectors.base import ConnectorFault

FILES = sorted((Path(__file__).parent / "conversations").glob("*.toml"))
CASES = [(file.stem, case) for file in FILES for case in tomllib.loads(file.read_text("utf-8"))["case"]]
KEYS = {
    "name", "says", "model", "handbook", "slots", "unset", "visits", "lead", "handoff", "urgent", "summary", "stage",
    "pending", "language", "open", "calls", "turns", "acts", "only_acts", "minor", "out", "wakes", "reminders",
    "replies_while_person", "noted", "remarks",
}  # fmt: skip
DAY_US = 86_400_000_000


class Run:
    def __init__(self, case: dict[str, Any]) -> None:
        self.case = case
        self.school = School(*case.get("model", ()))
        if "handbook" in case:
            flow = next(iter(release().flows.values()))
            book = {"handbook": case["handbook"]} if case["handbook"] else {}
            self.school.talk.agent = FlowAgent(flow, book)
        self.reminders = self.replies_while_person = 0

    async def play(self) -> None:
        for step in self.case["says"]:
            talk, systems = self.school.talk, self.school.systems
            match step:
                case str() | [*_]:
                    texts = [step] if isinstance(step, str) else step
                    said = await self.school.heard(*texts)
                    assert len(said.replies) <= len(said.turns)  # one bubble a turn
                    self.replies_while_person += len(said.replies) if talk.with_person else 0
                case {"tick": True}:
                    self.reminders += bool((await talk.tick()).replies)
                case {"window": bool(is_open)}:
                    talk.window_open = is_open
                case {"days": int(days)}:
                    talk.now_us += days * DAY_US
                    systems.now = NOW.fromtimestamp(talk.now_us / 1e6, NOW.tzinfo)
                case {"person": True}:
                    talk.with_person = True
                case {"given_back": True}:
                    await talk.given_back()
                case {"taken": str(start)}:
                    systems.taken.add(start)
                case {"down": str(system)}:
                    systems.down[system] = ConnectorFault("down", f"{system}: no connection")
                case {"choice": str(choice)}:
                    await self.school.heard("", choice=choice)
                case {"kind": str(kind)}:
                    await self.school.heard(step.get("text", ""), kind=kind)
                case _:
                    raise AssertionError(f"no step is like {step}")

    def told(self) -> dict[str, Any]:
        """What is there in the end, for each thing that the case speaks of."""
        school, case, state = self.school, self.case, self.school.state
        talk, acts = school.talk, [e.name for e in school.talk.effects if e.connector]
        notes = [text for by_key in school.systems.notes.values() for text in by_key.values()]
        passed_on = " ".join(h.summary for h in talk.handoffs)
        return {
            "slots": {name: state.slots.get(name) for name in case.get("slots", ())},
            "unset": [name for name in case.get("unset", ()) if name not in state.slots],
            "visits": len(school.visits) if isinstance(case.get("visits"), int) else school.visits,
            "lead": bool(school.systems.leads),
            "handoff": [h.reason for h in talk.handoffs],
            "urgent": any(h.urgent for h in talk.handoffs),
            "summary": [text for text in case.get("summary", ()) if text in passed_on],
            "noted": [text for text in case.get("noted", ()) if any(text in note for note in notes)],
            "remarks": state.memory.remarks,
            "stage": state.stage,
            "pending": state.pending,
            "language": state.language,
            "open": len(state.memory.open),
            "calls": sum(turn.model_calls for turn in talk.turns),
            "turns": len(talk.turns),
            "acts": acts,
            "only_acts": sorted({*acts}, key=case.get("only_acts", []).index) if "only_acts" in case else acts,
            "minor": state.minor,
            "out": state.out,
            "wakes": talk.wake_us > 0,
            "reminders": self.reminders,
            "replies_while_person": self.replies_while_person,
        }


def test_there_are_at_least_sixty_and_each_says_what_must_be() -> None:
    assert len(CASES) >= 60
    assert len({case["name"] for _, case in CASES}) == len(CASES)
    for file, case in CASES:
        assert set(case) <= KEYS, (file, case["name"])
        assert set(case) - {"name", "says", "model", "handbook"}, (file, case["name"])


@pytest.mark.parametrize(("file", "case"), CASES, ids=[f"{file}: {case['name']}" for file, case in CASES])
async def test_a_conversation_comes_to_what_it_must(file: str, case: dict[str, Any]) -> None:
    run = Run(case)
    await run.play()
    told = run.told()
    wanted = {key: value for key, value in case.items() if key not in ("name", "says", "model", "handbook")}
    assert {key: told[key] for key in wanted} == wanted
    declared = {action.name for action in next(iter(release().flows.values())).actions}
    assert {effect.name for effect in run.school.talk.effects if effect.connector} <= declared
    assert len(run.school.visits) <= 1
