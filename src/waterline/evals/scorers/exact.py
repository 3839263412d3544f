"""`equals`: the whole answer is one of these texts, compared as `fold` does, with or without a full stop at its end."""

from waterline.core.case import Case
from waterline.evals.scorers.base import Given, Part, fold, shown


def score(case: Case, given: Given) -> list[Part]:
    if not case.expect.equals:
        return []
    said = _bare(given.text)
    held = any(said == _bare(text) for text in case.expect.equals)
    return [Part("equals", held, "" if held else f"{shown(given.text.strip())} is none of the expected texts")]


def _bare(text: str) -> str:
    return fold(text).rstrip(".").rstrip()
