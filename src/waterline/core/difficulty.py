"""How hard is this question? A logistic score of the request's text; weights are learned on an app's own cases.

Pure and quick (a few tens of microseconds for a chat message), because every routed request is scored. A change of what
`features` gives needs a new VERSION: weights are only good for the features they were learned with.
"""

import re
from math import exp, log1p

from msgspec import Struct

from waterline.core.language import stop_word_languages

VERSION = 1
NAMES = (
    "characters",  # log
    "words",  # log
    "digits",  # log
    "questions",  # question marks, log
    "clauses",  # commas, semicolons, sentence ends within the text, log
    "long_words",  # share of words of nine letters or more
    "unusual_words",  # share of words that are no stop word of a known language
    "mixed_languages",  # 0: all stop words of one language .. near 1: of several
    "capitals",  # share of letters
    "code",  # brackets, operators, log
    "turns",  # messages before this one, log
    "earlier",  # characters before this one, log
    "tools",  # tools are offered
)
_CHARACTERS = 600  # of a text are looked at; the rest only counts
_WORD = re.compile(r"[^\W\d_]+")
_CLAUSE = re.compile(r"[,;:\n]|[.!?]+\s")
_CODE = re.compile(r"[{}\[\]<>=`|\\]")
_DIGIT = re.compile(r"\d")
_CAPITAL = re.compile(r"[A-ZÀ-ÖØ-Þ]")


class Difficulty(Struct, frozen=True, omit_defaults=True):
    """A learned score, by value in the release. `weights` in the order of NAMES."""

    version: int
    weights: tuple[float, ...]
    bias: float
    threshold: float  # a question that scores below it goes to the small model
    routes: str = ""  # digest of the two routes it was learned with
    cases: str = ""  # the set of cases it was learned on
    n: int = 0  # how many cases
    share: float = 0.0  # of those cases, that the small model answers
    loss: tuple[float, float, float] = (0.0, 0.0, 0.0)  # quality lost against the large model alone: mean, low, high


def features(text: str, *, turns: int = 0, earlier: int = 0, tools: bool = False) -> tuple[float, ...]:
    """`text`: the last message. `turns`, `earlier`: messages and characters before it."""
    size = len(text)
    text = text[:_CHARACTERS]
    words = _WORD.findall(text)
    count = len(words) or 1
    long = unusual = 0
    seen: dict[str, int] = {}
    for word in words:
        if len(word) >= 9:
            long += 1
        languages = stop_word_languages(word.lower())
        if not languages:
            unusual += 1
        elif len(languages) == 1:
            seen[languages[0]] = seen.get(languages[0], 0) + 1
    known = sum(seen.values())
    return (
        log1p(size),
        log1p(len(words)),
        log1p(len(_DIGIT.findall(text))),
        log1p(text.count("?")),
        log1p(len(_CLAUSE.findall(text))),
        long / count,
        unusual / count,
        1.0 - max(seen.values()) / known if known else 0.0,
        len(_CAPITAL.findall(text)) / (len(text) or 1),
        log1p(len(_CODE.findall(text))),
        log1p(turns),
        log1p(earlier),
        1.0 if tools else 0.0,
    )


def score(learned: Difficulty, values: tuple[float, ...]) -> float:
    """0..1: how likely it is that only the large model gets it right."""
    total = learned.bias
    for weight, value in zip(learned.weights, values, strict=True):
        total += weight * value
    if total < -60:
        return 0.0
    return 1.0 / (1.0 + exp(-total))
