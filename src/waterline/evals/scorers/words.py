"""What is in the text: contains, contains_any, not_contains, regex, max_words, language."""

import re

from waterline.core.case import Case
from waterline.core.language import LANGUAGES, identify
from waterline.evals.scorers.base import Given, Part, fold

_REGEX_CHARACTERS = 20_000
_SURE_WORDS = 12


def score(case: Case, given: Given) -> list[Part]:
    expect, answer, folded = case.expect, given.text, fold(given.text)
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
