"""Does an answer hold what its case expects? Plain comparisons, each with its reason; a model's judgement (`judge`) is
given, as the answer is.

* Text compares without case, accents, white space (at its ends, or more than one blank), typographic quotes and dashes.
  `contains` means as a part of the text, not as a word. Numbers compare as written: "1.500" is not "1,500" and "8h30"
  is not "8:30"; a case that takes either says so in `contains_any`.
* `regex` is searched in the answer as it is (case and accents count; write `(?i)`), in its first 20,000 characters.
* `language` is judged by `core/language.py`. Unsure is no failure where the answer has fewer than 12 words; in a
  longer one it is, because a long text that looks like none of the three is in another language.
* `json`: the whole answer is one JSON object. In a ``` fence it fails with the reason "fenced", whether or not the
  fields are right, because the program that reads it would fail too. Nested objects hold at least what is expected,
  lists are equal in length and order, strings compare as text does, numbers by value, and true is not 1.
* `equals`, `number`, `json_schema`, `tool`, `grounded_in`, `similar`, `max_ms`, `max_usd`, `python`, `grounded`,
  `tone`, `policy`, `judge`: see their files.
* A missing or empty answer fails everything. A refused, timed-out or unfinished one is a missing one, and so is a text
  whose end never came (finish_reason None or ""). "length" fails a JSON case; a text cut there is judged by what is
  there.
"""

from msgspec import Struct

from waterline.core.case import Case
from waterline.evals.scorers import (
    exact,
    grounded,
    json_fields,
    json_schema,
    judge,
    number,
    policy,
    python,
    similar,
    spent,
    tone,
    tool_call,
    words,
)
from waterline.evals.scorers.base import Given, Part, Scorer, fold

__all__ = ["SCORERS", "VERSION", "Given", "Part", "Score", "fold", "score", "score_given"]

VERSION = "1"  # goes into the JudgeRef of every verdict; raise it when a comparison changes
# A scorer is one file, its field in `core/case.Expect`, and its line here. The first that fails gives the reason.
SCORERS: tuple[Scorer, ...] = (
    words.score,
    json_fields.score,
    json_schema.score,
    exact.score,
    number.score,
    tool_call.score,
    grounded.score,
    similar.score,
    spent.score,
    tone.score,
    policy.score,
    python.score,
    judge.score,
)
_COMPLETE = frozenset(("stop", "end_turn", "stop_sequence", "length", "max_tokens"))
_CALLED = frozenset(("tool_calls", "tool_use"))


class Score(Struct, frozen=True):
    passed: bool
    reason: str  # of the first failure; "" when it passed
    parts: tuple[Part, ...]


def score(case: Case, answer_text: str | None, finish_reason: str | None) -> Score:
    """Judge one text. `finish_reason` as the provider gave it: "stop", "length", ...; None: its end never came."""
    if answer_text is None:
        return _failed("answer", "no answer")
    return score_given(case, Given(answer_text, finish_reason or ""))


def score_given(case: Case, given: Given) -> Score:
    """Judge one answer with what is known of it. Raises NoEmbedder where a case needs the extra `semantic`."""
    called = bool(given.tools) and case.expect.tool is not None
    if not given.text.strip() and not called:
        return _failed("answer", "the answer is empty")
    if given.finish_reason not in _COMPLETE and not (called and given.finish_reason in _CALLED):
        return _failed("answer", f"the answer did not end properly (finish reason: {given.finish_reason or 'none'})")
    parts = [part for scorer in SCORERS for part in scorer(case, given)]
    failure = next((part for part in parts if part.passed is False), None)
    return Score(
        passed=failure is None,
        reason="" if failure is None else f"{failure.name}: {failure.detail}",
        parts=tuple(parts),
    )


def _failed(name: str, detail: str) -> Score:
    return Score(passed=False, reason=detail, parts=(Part(name, False, detail),))
