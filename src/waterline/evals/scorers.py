"""Does an answer hold what its case expects? No model judges here: plain comparisons, each with its reason.

* Text compares without case, accents, white space (at its ends, or more than one blank), typographic quotes and dashes.
  `contains` means as a part of the text, not as a word. Numbers compare as written: "1.500" is not "1,500" and "8h30"
  is not "8:30"; a case that takes either says so in `contains_any`.
* `regex` is searched in the answer as it is (case and accents count; write `(?i)`), in its first 20,000 characters.
* `language` is judged by `core/language.py`. Unsure is no failure where the answer has fewer than 12 words; in a
  longer one it is, because a long text that looks like none of the three is in another language.
* `json`: the whole answer is one JSON object. In a ``` fence it fails with the reason "fenced", whether or not the
  fields are right, because the program that reads it would fail too. Nested objects hold at least what is expected,
  lists are equal in length and order, strings compare as text does, numbers by value, and true is not 1.
* A missing or empty answer fails everything. A refused, timed-out or unfinished one is a missing one, and so is a text
  whose end never came (finish_reason None or ""). "length" fails a JSON case; a text cut there is judged by what is
  there.
"""

import re
import unicodedata

import msgspec
from msgspec import Struct

from waterline.core.case import Case
from waterline.core.language import LANGUAGES, identify

VERSION = "1"  # goes into the JudgeRef of every verdict; raise it when a comparison changes
_REGEX_CHARACTERS = 20_000
_SURE_WORDS = 12
_COMPLETE = frozenset(("stop", "end_turn", "stop_sequence", "length", "max_tokens"))
_CUT = frozenset(("length", "max_tokens"))
_FENCE = re.compile(r"\A```[\w-]*[ \t]*\n(.*?)\n?```\Z", re.DOTALL)
_TYPOGRAPHY = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "´": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"'}
    | dict.fromkeys("‐‑‒–—−", "-")
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad", None)
)


class Part(Struct, frozen=True):
    """One expectation. `passed` None: could not be told, which counts neither way."""

    name: str
    passed: bool | None
    detail: str = ""


class Score(Struct, frozen=True):
    passed: bool
    reason: str  # of the first failure; "" when it passed
    parts: tuple[Part, ...]


def score(case: Case, answer_text: str | None, finish_reason: str | None) -> Score:
    """Judge one answer. `finish_reason` as the provider gave it: "stop", "length", ...; None: its end never came."""
    if answer_text is None or not answer_text.strip():
        return _failed("answer", "no answer" if answer_text is None else "the answer is empty")
    if finish_reason not in _COMPLETE:
        return _failed("answer", f"the answer did not end properly (finish reason: {finish_reason or 'none'})")
    parts = _parts(case, answer_text, finish_reason)
    failure = next((part for part in parts if part.passed is False), None)
    return Score(
        passed=failure is None,
        reason="" if failure is None else f"{failure.name}: {failure.detail}",
        parts=tuple(parts),
    )


def fold(text: str) -> str:
    """What text is compared by: no case, no accents, plain quotes and dashes, single blanks."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_TYPOGRAPHY))
    bare = "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()
    return " ".join(bare.translate(_TYPOGRAPHY).split())


def _failed(name: str, detail: str) -> Score:
    return Score(passed=False, reason=detail, parts=(Part(name, False, detail),))


def _parts(case: Case, answer: str, finish_reason: str) -> list[Part]:
    expect, folded = case.expect, fold(answer)
    parts = [
        Part("contains", held := fold(wanted) in folded, "" if held else f"{wanted!r} is missing")
        for wanted in expect.contains
    ]
    if expect.contains_any:
        held = any(fold(wanted) in folded for wanted in expect.contains_any)
        parts.append(Part("contains_any", held, "" if held else f"none of {', '.join(map(repr, expect.contains_any))}"))
    parts += [
        Part("not_contains", held := fold(unwanted) not in folded, "" if held else f"{unwanted!r} is there")
        for unwanted in expect.not_contains
    ]
    if expect.regex is not None:
        held = re.search(expect.regex, answer[:_REGEX_CHARACTERS]) is not None
        parts.append(Part("regex", held, "" if held else f"nothing matches {expect.regex!r}"))
    if expect.max_words is not None:
        count = len(answer.split())
        parts.append(Part("max_words", count <= expect.max_words, f"{count} words, at most {expect.max_words}"))
    if expect.language is not None:
        parts.append(_language(answer, expect.language))
    if expect.json is not None:
        parts.append(_json(answer, expect.json, finish_reason))
    return parts


def _language(answer: str, wanted: str) -> Part:
    if wanted not in LANGUAGES:
        return Part("language", False, f"{wanted!r} cannot be judged, only {', '.join(LANGUAGES)}")
    found, count = identify(answer), len(answer.split())
    if found is None:
        return Part(
            "language",
            None if count < _SURE_WORDS else False,
            "too short to tell" if count < _SURE_WORDS else f"expected {wanted}, recognised as none of the known ones",
        )
    return Part("language", found == wanted, "" if found == wanted else f"expected {wanted}, found {found}")


def _json(answer: str, wanted: dict[str, object], finish_reason: str) -> Part:
    if finish_reason in _CUT:
        return Part("json", False, "truncated: the answer ran into its token limit")
    text = answer.strip()
    if fenced := _FENCE.match(text):
        inside = _decoded(fenced.group(1))
        return Part("json", False, "fenced: JSON inside ```" if inside is not None else "fenced, and not a JSON object")
    found = _decoded(text)
    if found is None:
        return Part("json", False, "not a JSON object")
    difference = _difference(found, wanted, "")
    return Part("json", difference is None, difference or "")


def _decoded(text: str) -> dict[str, object] | None:
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _difference(found: object, wanted: object, path: str) -> str | None:
    """Where `found` does not hold `wanted`; None when it does."""
    at = path or "the answer"
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return f"{at} is {_shown(found)}, expected an object"
        for key, value in wanted.items():
            inner = f"{path}.{key}" if path else str(key)
            if key not in found:
                return f"{inner} is missing"
            if (difference := _difference(found[key], value, inner)) is not None:
                return difference
        return None
    if isinstance(wanted, (list, tuple)):
        if not isinstance(found, list) or len(found) != len(wanted):
            return f"{at} is {_shown(found)}, expected a list of {len(wanted)}"
        for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
            if (difference := _difference(one, other, f"{path}[{index}]")) is not None:
                return difference
        return None
    return None if _same(found, wanted) else f"{at} is {_shown(found)}, expected {_shown(wanted)}"


def _same(found: object, wanted: object) -> bool:
    if isinstance(found, str) and isinstance(wanted, str):
        return fold(found) == fold(wanted)
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, (int, float)) and isinstance(wanted, (int, float)):
        return found == wanted
    return found is None and wanted is None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
