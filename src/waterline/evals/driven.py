"""A persona whose words are a model's: the script says what is meant, the model how this person would write it.

A small model loses the thread of a goal, so the goal stays with the script; and its words are taken only where they
still say the same: the same figures and days, and the same language as far as can be told. Else the script's words."""

import re
from collections.abc import Awaitable, Callable

from waterline.agents.slots.base import fold
from waterline.agents.slots.when_words import DAY_OF
from waterline.core.language import identify
from waterline.evals.personas import Persona

Phrase = Callable[[str], Awaitable[str]]  # what is asked of a model -> what it wrote; "" where it is down
SPOKEN = {"en": "English", "pt": "Portuguese", "es": "Spanish"}
MOODS = ("in a hurry, short", "friendly and talkative", "shy and polite", "a little annoyed", "on a phone, no capitals")
_FEW = 3  # words: "2", "yes please" are said as they are
_LONGEST = 4.0  # times the script's length


def instruction(who: Persona, text: str) -> str:
    mood = MOODS[who.seed % len(MOODS)]
    return f"Language: {SPOKEN[who.language]}. Mood: {mood}.\nMessage: {' '.join(text.split())}"


async def reworded(who: Persona, text: str, phrase: Phrase) -> str:
    """The message in other words, or as it is where they would not say the same."""
    if len(text.split()) < _FEW:
        return text
    said = " ".join((await phrase(instruction(who, text))).split()).strip("\"'“” ")
    return said if _same(who, text, said) else text


def _same(who: Persona, text: str, said: str) -> bool:
    if not said or len(said) > 20 + _LONGEST * len(text):
        return False
    seen = identify(said)
    if seen is not None and seen != who.language:
        return False
    if who.name in text and who.name not in said:
        return False
    asks = "?" in text
    return _figures(text) == _figures(said) and _days(text) == _days(said) and (not asks or "?" in said)


def _figures(text: str) -> list[str]:
    return sorted(re.findall(r"\d+", text))


def _days(text: str) -> set[int]:
    return {DAY_OF[word] for word in re.findall(r"[a-z]+", fold(text)) if word in DAY_OF}
