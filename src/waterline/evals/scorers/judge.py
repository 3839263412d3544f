"""`judge`: models of judges/*.md that must say yes. They are asked before scoring; without a verdict it is no yes."""

from waterline.core.case import Case
from waterline.evals.scorers.base import Given, Part


def score(case: Case, given: Given) -> list[Part]:
    return [_part(name, given) for name in case.expect.judge]


def _part(name: str, given: Given) -> Part:
    if given.judged is None or name not in given.judged:
        return Part(f"judge.{name}", False, "judges are asked by waterline eval only")
    said = given.judged[name]
    if not said.said:
        return Part(f"judge.{name}", False, f"no verdict: {said.reason}")
    return Part(f"judge.{name}", said.said == "yes", said.reason)
