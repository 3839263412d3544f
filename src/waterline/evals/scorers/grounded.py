"""`grounded_in` and `grounded`: does the answer keep to the given text?

* words: every number, name and yes of the answer is in the text (or in the question), as for the answers of flows
  (`agents/answers.py`). What is said in wholly other words is not caught, nor is it blamed.
* meaning: every sentence of the answer is near some sentence of the text, by embeddings (extra `semantic`). "Opens" and
  "does not open" are near, so it catches what strays from the subject, and not what turns it round.

A judge with the text as its `context` is a third opinion: `judge`, beside these.
"""

import re

from waterline.core.case import Case
from waterline.evals.scorers import similar
from waterline.evals.scorers.base import Given, Part

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
MOST_SENTENCES = 200
LEAST_WORDS = 3  # "Yes." and "Of course." claim nothing by themselves


def score(case: Case, given: Given) -> list[Part]:
    """Raises NoEmbedder where meaning is asked for and the extra is missing."""
    parts = []
    if case.expect.grounded_in:
        parts.append(_only_words("grounded_in", case.expect.grounded_in, case, given))
    wanted = case.expect.grounded
    if wanted is not None:
        found = [
            _only_words("words", wanted.text, case, given)
            if way == "words"
            else _meaning(wanted.text, wanted.least, given)
            for way in wanted.by
        ]
        held = all(p.passed for p in found) if wanted.need == "all" else any(p.passed for p in found)
        said = "; ".join(f"{p.name}: {p.detail or 'held'}" for p in found)
        parts.append(Part("grounded", held, "" if held else said))
    return parts


def _only_words(name: str, text: str, case: Case, given: Given) -> Part:
    from waterline.agents.answers import ungrounded  # it brings the patterns of three languages

    wrong = ungrounded(given.text, text, case.asked)
    return Part(name, not wrong, f"not in the given text: {wrong}" if wrong else "")


def _meaning(text: str, least: float, given: Given) -> Part:
    said = [one for one in _sentences(given.text) if len(one.split()) >= LEAST_WORDS]
    if not said:
        return Part("meaning", True)
    there = [similar.embed(one) for one in _sentences(text)]
    nearest = {one: max((float(similar.embed(one) @ other) for other in there), default=0.0) for one in said}
    worst = min(nearest, key=lambda one: nearest[one])
    held = nearest[worst] >= least
    return Part("meaning", held, "" if held else f"{nearest[worst]:.2f}, at least {least:.2f}: {worst[:80]!r}")


def _sentences(text: str) -> list[str]:
    return [one.strip() for one in _SENTENCE.split(text) if one.strip()][:MOST_SENTENCES]
