"""`grounded_in`: every number, name and yes of the answer is in this text (or in the question). Words alone decide, as
for the answers of flows (`agents/answers.py`): what is said in wholly other words is not caught, nor is it blamed.
"""

from waterline.agents.answers import ungrounded
from waterline.core.case import Case
from waterline.evals.scorers.base import Given, Part


def score(case: Case, given: Given) -> list[Part]:
    if not case.expect.grounded_in:
        return []
    wrong = ungrounded(given.text, case.expect.grounded_in, case.turns()[-1].content)
    return [Part("grounded_in", not wrong, f"not in the given text: {wrong}" if wrong else "")]
