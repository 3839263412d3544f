"""What a user's message says of the answer before it, by code alone: asked again, "that's not what I asked", anger,
another language, a person wanted. English, Portuguese and Spanish, with slips of the keyboard.

How often it is right: tests/data/signals.txt and docs/howto/behaviour.md."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from waterline.agents.intents import says
from waterline.agents.slots.base import MAX_CHARS, distance_is_one, fold
from waterline.agents.wanting import shouts
from waterline.core.language import STOP_WORDS, identify
from waterline.core.signal import Signal
from waterline.evals import signal_words as known

LOOKED_BACK = 3  # messages
LEAST_WORDS = 3  # of a question that can be asked again
SURE_WORDS = 4  # of a text whose language is believed

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


class Heard(Struct, frozen=True):
    """`language`: of this message, "" if it cannot be told for sure."""

    signals: tuple[Signal, ...]
    language: str


def hear(text: str, before: Sequence[str], language: str = "") -> Heard:
    """`before`: what the user wrote until now, oldest first. `language`: that of the session so far."""
    text = text[:MAX_CHARS]
    folded = _mended(" ".join(fold(text).split()))
    found: list[Signal] = []
    earlier = [one for one in before if one.strip()]
    if earlier:
        again = _again(text, earlier)
        if again:
            found.append(again)
        if known.MISSED.search(folded):
            found.append("not_what_i_asked")
    if _angry(text, folded, earlier):
        found.append("anger")
    spoken = identify(text) or ""
    sure = len(_WORD.findall(text)) >= SURE_WORDS
    if language and spoken and spoken != language and sure:
        found.append("language_switch")
    if _wants_person(text, folded):
        found.append("human_requested")
    return Heard(tuple(found), spoken if sure else "")


# --- asked again -----------------------------------------------------------------------------------------------------


def _again(text: str, before: Sequence[str]) -> Literal["", "rephrased", "retried"]:
    said = _words(text)
    if len(said) < LEAST_WORDS or known.ANOTHER.search(" ".join(said)):
        return ""
    if said == _words(before[-1]):
        return "retried"
    asked = known.WITHOUT_PREFACE.sub("", " ".join(said)).split()
    rephrased = any(_same_question(_words(one), asked) for one in before[-LOOKED_BACK:])
    return "rephrased" if rephrased else ""


def _words(text: str) -> list[str]:
    return _WORD.findall(fold(text))


def _content(words: Sequence[str]) -> list[str]:
    long = [w for w in words if len(w) > 2 or w.isdigit()]
    return [w for w in long if w not in known.ASKING and w not in STOP_WORDS]


def _same_question(earlier: Sequence[str], now: Sequence[str]) -> bool:
    """Whether both ask the same: they share what they are about, and nothing stands in the place of another thing."""
    if len(earlier) < LEAST_WORDS or len(now) < LEAST_WORDS:
        return False
    theirs, ours = _content(earlier), _content(now)
    if not theirs or not ours:
        return False
    shared = [w for w in dict.fromkeys(ours) if any(_alike(w, other) for other in theirs)]
    only_now = [w for w in ours if w not in shared]
    only_before = [w for w in theirs if not any(_alike(w, other) for other in ours)]
    if not shared or len(shared) < 0.5 * min(len(set(theirs)), len(set(ours))):
        return False
    if any(w.isdigit() for w in (*only_now, *only_before)):
        return False  # another age, another order
    if only_now and only_before and (_swapped(earlier, now) or len(shared) == 1):
        return False  # Monday for Sunday: another question in the same words
    # A word more is often the answer to what was asked back: "to Sydney".
    return len(only_now) <= (0 if len(shared) == 1 else 1)


def _swapped(earlier: Sequence[str], now: Sequence[str]) -> bool:
    """Whether one thing stands where another stood, and all else is nearly as it was."""
    matcher = SequenceMatcher(None, list(earlier), list(now), autojunk=False)
    for kind, a0, a1, b0, b1 in matcher.get_opcodes():
        if kind == "replace":
            old, new = _content(earlier[a0:a1]), _content(now[b0:b1])
            if old and new and not any(_alike(x, y) for x in old for y in new):
                return matcher.ratio() >= 0.5
    return False


def _alike(a: str, b: str) -> bool:
    if a == b:
        return True
    if min(len(a), len(b)) < 4 or a.isdigit() or b.isdigit():
        return False
    stem = min(len(a), len(b), 6)
    return a[:stem] == b[:stem] or (min(len(a), len(b)) >= 5 and distance_is_one(a, b))


# --- not what I asked ------------------------------------------------------------------------------------------------


def _mended(folded: str) -> str:
    return re.sub(r"[a-z]{5,}", lambda m: _near(m.group()), folded)


@lru_cache(4096)
def _near(word: str) -> str:
    if word in known.NOT_SLIPS or word in known.KNOWN:
        return word
    return next((right for right in known.KNOWN if len(right) > 4 and distance_is_one(word, right)), word)


# --- anger -----------------------------------------------------------------------------------------------------------


def _angry(text: str, folded: str, before: Sequence[str]) -> bool:
    """Words that only the angry say are enough; others need capitals or marks beside them."""
    if known.GLAD.search(folded):
        return says("abuse", folded)
    felt = known.FELT.search(folded) and not known.OTHERS.search(folded)
    if felt or known.STRONG.search(folded) or says("abuse", folded):
        return True
    loud = bool(known.LOUD.search(text))
    in_capitals = shouts(text) and not any(shouts(one) for one in before)
    vexed = bool(known.MILD.search(folded))
    return loud + in_capitals + vexed + (text.count("!") >= 2 and not loud) >= 2


# --- a person --------------------------------------------------------------------------------------------------------


def _wants_person(text: str, folded: str) -> bool:
    if known.ASKED_FOR.search(folded) and known.OWN.search(folded) and not known.PASSES_ON.search(folded):
        return not known.NOT_WANTED.search(folded)
    if known.PERSON.search(folded):
        return not known.NOT_WANTED.search(folded)
    return says("person", folded) and not known.NOT_WANTED.search(folded) and not known.NAMED.search(folded)
