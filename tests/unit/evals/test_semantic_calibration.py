"""The threshold of the semantic cache: what the cases show, and what too few of them do not."""

from typing import Any

import pytest

from waterline.core.case import Case, Expect
from waterline.core.verdict import Outcome
from waterline.evals.semantic import calibrate

np = pytest.importorskip("numpy")
POLITE = ("", "hi ", "hello ", "please ", "hey ", "oh ", "oh hi ", "excuse me ")


def cases(topics: int, wordings: int = 8) -> list[Case]:
    return [
        Case(f"{t}-{w}", Expect(contains=(f"answer {t}",)), input=f"{POLITE[w]}tell us of topic{chr(97 + t)}")
        for t in range(topics)
        for w in range(wordings)
    ]


def embed(text: str) -> Any:
    """Wordings of one topic are at 0.9 or more, topics at right angles."""
    made = np.zeros(40, dtype=np.float32)
    topic = text.rsplit("topic", 1)[1]
    made[ord(topic) - 97] = 1.0
    made[39] = 0.02 * len(text)
    return made / np.linalg.norm(made)


def found(made: list[Case], how: Any = embed, max_false: float = 0.05) -> Any:
    return calibrate(made, how, max_false, embedder="e", case_set="c")


def test_wordings_that_are_near_give_a_threshold_with_its_rates() -> None:
    result = found(cases(20))
    assert result.outcome is Outcome.PASS
    assert (result.semantic.questions, result.semantic.hits, result.semantic.false_hits) == (160, 160, 0)
    assert 0 < result.semantic.false_upper <= 0.05
    assert (result.semantic.embedder, result.semantic.cases) == ("e", "c")
    assert "160 of 160" in result.semantic.told


def test_a_few_cases_are_inconclusive_however_good_they_look() -> None:
    for made in ([], cases(1), cases(5)):
        result = found(made)
        assert result.outcome is Outcome.INCONCLUSIVE
        assert result.semantic is None
        assert "INCONCLUSIVE" in result.reason


def test_embeddings_that_cannot_tell_questions_apart_calibrate_to_nothing() -> None:
    one = np.ones(40, dtype=np.float32) / np.sqrt(40)
    made = [
        Case(str(n), Expect(contains=(str(n),)), input=f"{'so ' * (n % 7)}tell us {'of it ' * n}") for n in range(60)
    ]
    result = found(made, lambda text: one)
    assert result.semantic is None
    assert any(level.false_hits and level.worst for level in result.levels)


def test_two_cases_that_only_expect_a_language_do_not_expect_the_same() -> None:
    vague = [Case(c.id, Expect(language="en"), input=c.input) for c in cases(20)]
    assert found(vague).semantic is None


def test_another_route_or_other_variables_are_another_scope() -> None:
    split = [Case(c.id, c.expect, input=c.input, route=f"r{i}") for i, c in enumerate(cases(20))]
    assert all(level.hits == 0 for level in found(split).levels)
