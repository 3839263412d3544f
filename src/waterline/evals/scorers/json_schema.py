"""`json_schema`: the answer is JSON of this shape (the part of JSON Schema that `core/json_shape.py` names)."""

from waterline.core.case import Case
from waterline.core.json_shape import misfit
from waterline.evals.scorers.base import Given, Part
from waterline.evals.scorers.json_fields import CUT


def score(case: Case, given: Given) -> list[Part]:
    if case.expect.json_schema is None:
        return []
    if given.finish_reason in CUT:
        return [Part("json_schema", False, "truncated: the answer ran into its token limit")]
    wrong = misfit(given.text.strip(), case.expect.json_schema)
    return [Part("json_schema", not wrong, wrong)]
