"""A flow whose model reads every turn: what it fills in counts only where the message says it."""

from typing import Any

import pytest
from msgspec import structs
from school import School, release

from waterline.agents.agent import AskFailed
from waterline.agents.flow import FlowAgent
from waterline.agents.reading import SCHEMA, _stands
from waterline.core.flow import Reading

FORM: dict[str, Any] = {**dict.fromkeys(SCHEMA["properties"]), "intent": "other"}


def school(reading: Reading, *answers: dict[str, Any]) -> School:
    built = release()
    flow = structs.replace(next(iter(built.flows.values())), reading=reading)
    made = School(*answers)
    made.talk.agent = FlowAgent(flow, built.handbooks)
    return made


def form(**said: Any) -> dict[str, Any]:
    return {**FORM, **said}


async def test_a_visit_is_booked_with_a_model_that_reads_every_turn() -> None:
    one = school(
        "model", form(intent="visit", child_age=5), form(answer="yes", when="tuesday at 9:30"), form(name="Ana Souza"),
        form(phone="912 345 678"), form(answer="yes"),
    )  # fmt: skip
    says = ("can we come by? she turned five", "ok then tuesday at 9:30", "Ana Souza", "912 345 678", "right")
    for text in says:
        await one.says(text)
    assert one.visits == ["2026-11-24T09:30+00:00"]
    assert len(one.model.asked) == len(says)
    assert one.slots["phone_number"] == "+351912345678"


async def test_what_the_message_does_not_say_is_not_believed() -> None:
    one = school("model", form(child_age=9, name="Eva Stone", phone="912345678", when="monday", question="is it free?"))
    await one.says("hello there, good morning to you")
    assert not {"child_age", "parent_name", "phone_number", "visit_at"} & set(one.slots)
    assert not one.state.wish.days


async def test_the_assistant_s_last_words_are_shown_to_the_model() -> None:
    one = school("model", form(intent="visit"), form(child_age=6))
    await one.says("could we have a look?")
    await one.says("six")
    assert "How old is your child?" in one.model.asked[1][1]
    assert one.slots["child_age"] == "6"


async def test_who_wants_no_messages_is_heard_without_the_model() -> None:
    one = school("model", form())
    await one.says("stop")
    assert one.state.out
    assert one.model.asked == []


async def test_a_button_needs_no_model() -> None:
    one = school("model", form(intent="visit", child_age=5))
    await one.says("my girl, five, would like to see you")
    offered = one.state.offered[1].start
    await one.says("", choice=f"at:{offered}")
    assert one.slots["visit_at"] == offered
    assert len(one.model.asked) == 1


async def test_code_reads_where_the_model_is_down() -> None:
    one = school("model", form())

    async def down(*_: Any) -> Any:
        raise AskFailed("down")

    one.talk.ask = down
    await one.says("hi, my daughter is 5, we want to visit on tuesday at 9:30")
    assert one.slots["child_age"] == "5"
    assert one.slots["visit_at"].startswith("2026-11-24T09:30")


async def test_both_ask_the_model_in_turns_that_code_can_read() -> None:
    said = {"intent": "visit"}
    by_code, by_both = school("code", said), school("both", said)
    for one in (by_code, by_both):
        await one.says("my daughter is 5")
    assert len(by_code.model.asked) == 0
    assert len(by_both.model.asked) == 1
    assert by_both.slots == {**by_code.slots, "wants_visit": "yes"}


@pytest.mark.parametrize(
    ("said", "text", "stands"),
    [
        ("terca de manha", "na terça de manhã, pode ser?", True),
        ("912 345 678", "it is 912-345-678", True),
        ("monday", "moonday", False),
        ("", "anything", False),
    ],
)
def test_words_stand_in_a_message_apart_from_accents_and_signs(said: str, text: str, stands: bool) -> None:
    assert _stands(said, text) is stands


async def test_a_question_that_code_has_found_is_not_answered_twice() -> None:
    one = school("both", {"intent": "question"})
    said = await one.says("my daughter is 5, how much is the bus?")
    assert said.count("120") == 1
    assert "handbook" not in said
