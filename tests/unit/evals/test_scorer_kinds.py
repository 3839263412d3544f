"""The scorers beside the plain texts: one promise each, and what each refuses."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from waterline.core.case import Case, Expect, case_digest
from waterline.evals.cases import parse_cases
from waterline.evals.scorers import Given, Score, score, score_given
from waterline.evals.scorers.base import ToolCalled
from waterline.evals.scorers.number import readings
from waterline.evals.scorers.python import NoFunction, load

HANDBOOK = "Grade 3 costs 790 euros a month. The office opens at 8:30 on Tuesday. Ask for Mrs Almeida. No parking."


def case(asked: str = "How much is it?", **expect: Any) -> Case:
    return Case(id="c", input=asked, expect=msgspec.convert(expect, Expect))


def judged(text: str, asked: str = "How much is it?", finish: str = "stop", given: Any = None, **expect: Any) -> Score:
    return score_given(case(asked, **expect), Given(text, finish, **(given or {})))


def test_the_whole_answer_is_compared_without_case_accents_and_a_full_stop() -> None:
    assert judged("  Sim, às 8h. ", equals=["sim, as 8h", "não"]).passed
    assert not judged("Sim, às 8h, senhor", equals=["sim, as 8h"]).passed
    assert "none of the expected" in judged("maybe", equals=["yes"]).reason


@pytest.mark.parametrize(
    ("text", "value", "tolerance", "passed"),
    [
        ("It is 790 euros.", 790, 0, True),
        ("It is 790.50 euros.", 790, 0.5, True),
        ("It is 791 euros.", 790, 0.5, False),
        ("R$ 1.500,00 por mês", 1500, 0, True),
        ("$1,500.25 a month", 1500.25, 0, True),
        ("about 1'500", 1500, 0, True),
        ("minus: -4 degrees", -4, 0, True),
        ("rooms 3-4", -4, 0, False),  # a range is no minus
        ("none at all", 0, 0, False),
    ],
)
def test_a_number_is_found_as_people_write_it_and_within_its_tolerance(
    text: str, value: float, tolerance: float, passed: bool
) -> None:
    found = judged(text, number={"value": value, "tolerance": tolerance})
    assert found.passed is passed, (found.reason, [list(readings(w)) for w in text.split() if w[0].isdigit()])


def test_a_shape_is_held_and_a_truncated_answer_has_none() -> None:
    shape = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    assert judged('{"n": 3}', json_schema=shape).passed
    assert "n" in judged('{"n": "three"}', json_schema=shape).reason
    assert "truncated" in judged('{"n": 3}', finish="length", json_schema=shape).reason
    assert not judged("three", json_schema=shape).passed


BOOK = ToolCalled("book", '{"day": "2026-12-01", "people": 2}')


def test_a_tool_call_is_judged_by_name_and_at_least_these_arguments() -> None:
    right = {"name": "book", "arguments": {"day": "2026-12-01"}}
    assert judged("", finish="tool_calls", given={"tools": (BOOK,)}, tool=right).passed
    wrong = {"name": "book", "arguments": {"day": "2026-12-02"}}
    found = judged("", finish="tool_calls", given={"tools": (BOOK,)}, tool=wrong)
    assert (found.passed, "day" in found.reason) == (False, True)
    assert "was not called" in judged("I cannot", given={"tools": ()}, tool=right).reason
    broken = ToolCalled("book", "{day")
    assert "not a JSON object" in judged("", finish="tool_calls", given={"tools": (broken,)}, tool=right).reason
    assert judged("No need.", given={"tools": ()}, tool={"name": ""}).passed
    assert "book was called" in judged("Ok", given={"tools": (BOOK,)}, tool={"name": ""}).reason


def test_an_answer_that_only_calls_a_tool_is_an_empty_one_for_a_case_that_expects_text() -> None:
    assert not judged("", finish="tool_calls", given={"tools": (BOOK,)}, contains=["790"]).passed


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        ("It costs 790 euros a month.", True),
        ("It costs 850 euros a month.", False),
        ("The office opens on Friday.", False),
        ("Ask for Mrs Figueiredo, please.", False),
        ("Yes, there is parking.", False),
        ("Ask for Mrs Almeida.", True),
    ],
)
def test_what_is_not_in_the_given_text_is_no_grounded_answer(answer: str, passed: bool) -> None:
    assert judged(answer, "Is there any parking?", grounded_in=HANDBOOK).passed is passed


def test_meaning_is_compared_with_the_nearest_of_the_texts() -> None:
    pytest.importorskip("wordllama")
    wanted = {"to": ["The school opens at eight in the morning.", "We open at 8."], "least": 0.5}
    assert judged("The school opens in the morning at eight.", similar=wanted).passed
    found = judged("Bananas are rich in potassium.", similar=wanted)
    assert (found.passed, "at least 0.50" in found.reason) == (False, True)


def test_time_and_money_are_held_and_what_is_not_known_is_not_green() -> None:
    spent = {"ms": 900.0, "cost_nano_usd": 2_000_000}
    assert judged("ok", given=spent, max_ms=1000, max_usd=0.002).passed
    assert "900 ms" in judged("ok", given=spent, max_ms=500).reason
    assert "USD" in judged("ok", given=spent, max_usd=0.001).reason
    assert "not known" in judged("ok", max_usd=0.001).reason


SCORERS = """
def polite(answer, case):
    return ("please" in answer.lower(), "no please")
def share(answer, case):
    return len(answer) / 10
def broken(answer, case):
    return 1 / 0
def asked(answer, case):
    return case["input"] == "How much is it?"
def odd(answer, case):
    return "yes"
"""


def test_functions_of_the_app_judge_with_their_reason_and_one_that_raises_fails_the_case(tmp_path: Path) -> None:
    (tmp_path / "tone.py").write_text(SCORERS)
    names = ("polite", "share", "broken", "asked", "odd")
    cases = [case(python={f"tone:{name}": 0.5}) for name in names]
    functions, digest = load(tmp_path, cases)
    assert len(digest) == 12

    def found(name: str, text: str) -> Score:
        return score_given(case(python={f"tone:{name}": 0.5}), Given(text, "stop", functions=functions))

    assert found("polite", "Please come.").passed
    assert "no please" in found("polite", "Come.").reason
    assert (found("share", "12345").passed, found("share", "1234").passed) == (True, False)
    assert "0.4, at least 0.5" in found("share", "1234").reason
    assert "ZeroDivisionError" in found("broken", "x").reason
    assert found("asked", "x").passed
    assert "answered str" in found("odd", "x").reason
    (tmp_path / "tone.py").write_text(SCORERS + "# changed\n")
    assert load(tmp_path, cases)[1] != digest  # another version of a scorer is another evaluation


def test_a_function_that_is_not_there_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(NoFunction, match=r"no .*tone\.py"):
        load(tmp_path, [case(python={"tone:polite": 1})])
    (tmp_path / "tone.py").write_text("def rude(answer, case): ...")
    with pytest.raises(NoFunction, match="polite"):
        load(tmp_path, [case(python={"tone:polite": 1})])
    (tmp_path / "bad.py").write_text("import nowhere_at_all")
    with pytest.raises(NoFunction, match="cannot be loaded"):
        load(tmp_path, [case(python={"bad:polite": 1})])
    with pytest.raises(NoFunction, match="no name"):
        load(tmp_path, [case(python={"../etc/passwd:polite": 1})])


@pytest.mark.parametrize("expect", [{"python": {"tone:polite": 1}}, {"tool": {"name": "book"}}, {"max_ms": 5}])
def test_what_is_not_measured_where_it_is_judged_fails_and_never_counts_as_held(expect: dict[str, Any]) -> None:
    assert not score(case(**expect), "Fine.", "stop").passed


@pytest.mark.parametrize(
    "expect",
    ['{"similar": {"to": [], "least": 0.5}}', '{"similar": {"to": ["a"], "least": 60}}', '{"equals": [""]}',
     '{"number": {"value": 1, "tolerance": -1}}', '{"max_ms": 0}', '{"python": {"polite": 1}}',
     '{"tool": {"nmae": "x"}}'],
)  # fmt: skip
def test_a_mistake_in_what_is_expected_is_named(expect: str) -> None:
    found, wrong = parse_cases(b'{"id": "a", "input": "x", "expect": %s}' % expect.encode(), "cases/a.jsonl")
    assert not found
    assert wrong[0].problem


def test_the_cases_of_before_keep_their_digest() -> None:
    old = Case(id="hours-1", input="When do you open?", expect=Expect(contains=("8:00",)))
    assert msgspec.json.encode(old.expect) == b'{"contains":["8:00"]}'
    assert case_digest(old) == case_digest(msgspec.json.decode(msgspec.json.encode(old), type=Case))
