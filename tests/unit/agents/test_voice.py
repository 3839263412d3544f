"""Voice notes in a flow: what was heard counts like what is typed, and what was not is politely declined."""

from typing import Any

from msgspec import structs
from school import BRANCH, NOW, School, release

from waterline.agents.agent import Asked, AskFailed, Tools, TurnInput
from waterline.agents.flow import FlowAgent
from waterline.agents.state import read_state
from waterline.connectors.base import ConnectorFault
from waterline.core.conversation import Inbound, Media, Turn
from waterline.core.flow import Voice


class Ears(Tools):
    """Hears what is told; asks no model and no system."""

    def __init__(self, *said: str) -> None:
        self.said = list(said)
        self.languages: list[str] = []

    async def ask(self, *_: Any, **__: Any) -> Any:
        raise AskFailed("no model here")

    async def look(self, *_: Any, **__: Any) -> Any:
        raise ConnectorFault("down", "no systems here")

    async def hear(self, route: str, message: Inbound, longest_s: int, language: str = "") -> Asked:
        self.languages.append(language)
        if not self.said:
            raise AskFailed("too long")
        return Asked(self.said.pop(0), "t", 100)


async def _spoken(ears: Ears, state: bytes = b"", notes: int = 1, **voice: Any) -> Turn:
    flow = structs.replace(next(iter(release().flows.values())), voice=Voice("hear", **voice))
    spoken = tuple(
        Inbound("whatsapp", "a", f"m{n}", "u", int(NOW.timestamp() * 1e6), "audio", media=Media("f"))
        for n in range(notes)
    )
    turn = TurnInput("c1", "whatsapp", BRANCH, state, spoken, int(NOW.timestamp() * 1e6), "s", True)
    return await FlowAgent(flow, release().handbooks).turn(turn, ears)


async def test_a_voice_note_fills_slots_is_shown_and_told_to_who_looks() -> None:
    turn = await _spoken(Ears("my daughter is five"))
    assert turn.slots["child_age"] == "5"
    assert turn.effects[0].message is not None
    assert "🎤 “my daughter is five”" in turn.effects[0].message.text
    assert (turn.heard, turn.model_calls, turn.traces) == ({"m0": "my daughter is five"}, 1, ("t",))


async def test_what_a_child_says_is_not_written_down() -> None:
    turn = await _spoken(Ears("hi, I am ten years old and my name is Tom"))
    assert turn.heard == {}
    assert read_state(turn.state).minor


async def test_at_most_five_voice_notes_of_a_turn_are_heard_and_none_is_guessed_at() -> None:
    ears = Ears(*["my daughter is five"] * 9)
    turn = await _spoken(ears, notes=7)
    assert (len(ears.languages), len(turn.heard)) == (5, 5)
    assert turn.effects[0].message is not None
    assert "cannot listen to voice notes" in turn.effects[0].message.text
    declined = await _spoken(Ears())
    assert declined.slots["child_age"] == ""


async def test_a_yes_that_is_spoken_books_and_makes_no_bubble_of_its_own() -> None:
    school = School()
    await school.says("hi, my son is 8")
    for text in ("yes", "1", "Ana Souza", "912 345 678"):
        await school.says(text)
    turn = await _spoken(Ears("yes"), school.talk.state)
    assert [effect.operation for effect in turn.effects if effect.connector] == ["book"]
    assert not [effect for effect in turn.effects if effect.message is not None]
