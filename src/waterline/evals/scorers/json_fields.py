"""`json`: the answer is one JSON object and holds at least these fields."""

import re

import msgspec

from waterline.core.case import Case
from waterline.evals.scorers.base import Given, Part, difference

CUT = frozenset(("length", "max_tokens"))
_FENCE = re.compile(r"\A```[\w-]*[ \t]*\n(.*?)\n?```\Z", re.DOTALL)


def score(case: Case, given: Given) -> list[Part]:
    return [] if case.expect.json is None else [_json(given.text, case.expect.json, given.finish_reason)]


def _json(answer: str, wanted: dict[str, object], finish_reason: str) -> Part:
    if finish_reason in CUT:
        return Part("json", False, "truncated: the answer ran into its token limit")
    text = answer.strip()
    if fenced := _FENCE.match(text):
        inside = decoded(fenced.group(1))
        return Part("json", False, "fenced: JSON inside ```" if inside is not None else "fenced, and not a JSON object")
    found = decoded(text)
    if found is None:
        return Part("json", False, "not a JSON object")
    wrong = difference(found, wanted, "")
    return Part("json", wrong is None, wrong or "")


def decoded(text: str) -> dict[str, object] | None:
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
