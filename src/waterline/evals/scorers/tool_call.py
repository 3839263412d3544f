"""`tool`: this tool is called with at least these arguments; a name of "": none is called.

The release's own contracts (tools/*.json) are offered to the model with the question.
"""

import msgspec

from waterline.core.case import Case
from waterline.evals.scorers.base import Given, Part, difference


def score(case: Case, given: Given) -> list[Part]:
    wanted = case.expect.tool
    if wanted is None:
        return []
    if given.tools is None:
        return [Part("tool", False, "tool calls are not read here; use waterline eval")]
    called = [tool.name for tool in given.tools]
    if not wanted.name:
        return [Part("tool", not called, f"{', '.join(called)} was called, expected none" if called else "")]
    wrong = f"{wanted.name} was not called, but {', '.join(called) or 'none'}"
    for tool in given.tools:
        if tool.name == wanted.name and not (wrong := _wrong(tool.arguments, wanted.arguments)):
            return [Part("tool", True)]
    return [Part("tool", False, wrong)]


def _wrong(arguments: str, wanted: dict[str, object]) -> str:
    try:
        found = msgspec.json.decode(arguments, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return "the arguments are not a JSON object"
    return difference(found, wanted, "") or ""
