"""Who asks for a person and who is angry is heard by code alone, in whatever words; the figures stand in docs/howto/desk.md."""

import time
from pathlib import Path

import pytest

from waterline.agents.intents import intents

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests/data"


def rows(name: str) -> list[tuple[str, str]]:
    """Messages, and what people say of them."""
    lines = [line for line in (DATA / name).read_text("utf-8").splitlines() if not line.startswith("#")]
    return [(message, wanted) for _, message, wanted in (line.split(" | ") for line in lines)]


KNOWN, MESSY, UNSEEN = rows("wanting.txt"), rows("wanting_messy.txt"), rows("wanting_unseen.txt")


def heard(message: str) -> bool:
    return bool(intents(message) & {"person", "anger", "abuse"})


def figures(found: list[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Wanted -> how many are passed on, of how many."""
    return {
        kind: (sum(heard(m) for m, wanted in found if wanted == kind), sum(wanted == kind for _, wanted in found))
        for kind in ("person", "anger", "-")
    }


@pytest.mark.parametrize("kind", ["person", "anger"])
def test_who_wants_a_person_or_is_angry_is_passed_on(kind: str) -> None:
    passed, of = figures(KNOWN)[kind]
    assert passed / of >= 0.95, [m for m, wanted in KNOWN if wanted == kind and not heard(m)]


def test_who_asks_about_people_or_tells_of_anger_is_not() -> None:
    passed, of = figures(KNOWN)["-"]
    assert passed / of <= 0.05, [m for m, wanted in KNOWN if wanted == "-" and heard(m)]


def test_what_was_learned_of_messy_messages_stays_learned() -> None:
    found = figures(MESSY)
    assert found["person"][0] >= 165, [m for m, wanted in MESSY if wanted == "person" and not heard(m)]
    assert found["anger"][0] >= 172, [m for m, wanted in MESSY if wanted == "anger" and not heard(m)]
    assert found["-"][0] <= 5, [m for m, wanted in MESSY if wanted == "-" and heard(m)]


@pytest.mark.parametrize("text", ["i want to speak " * 400, "que " * 1000, "a" * 4000, "me me you are so " * 250])
def test_a_long_message_is_read_at_once(text: str) -> None:
    began = time.process_time()
    intents(text)
    assert time.process_time() - began < 3


def test_the_figures_of_unseen_messages_are_those_on_the_page() -> None:
    assert not {m for m, _ in (*KNOWN, *MESSY)} & {m for m, _ in UNSEEN}
    found = figures(UNSEEN)
    told = ", ".join(f"{found[kind][0]} of {found[kind][1]} {what}" for kind, what in
                     (("person", "who ask for a person"), ("anger", "who are angry"), ("-", "others")))  # fmt: skip
    assert told in (ROOT / "docs/howto/desk.md").read_text("utf-8"), told


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("call me", True), ("Please call me tomorrow", True), ("can you phone me?", True), ("call me when you can", True),
        ("you can call me Ana", False), ("call me Ana", False), ("my friends call me Bia", False),
        ("is this a joke, nobody answers", True), ("can you tell me a joke", False),
        ("STOP ASKING ME THAT", True), ("MY SON IS FOUR YEARS OLD", False), ("ninguém me liga", True),
    ],
)  # fmt: skip
def test_words_that_look_alike_are_told_apart(message: str, wanted: bool) -> None:
    assert heard(message) is wanted
