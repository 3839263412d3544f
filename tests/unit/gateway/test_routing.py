"""Rules, the learned score, and when an answer is doubtful."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.core.difficulty import NAMES, VERSION, Difficulty, features, score
from waterline.core.request import Request, decode_request
from waterline.core.savings import Routing, Rule
from waterline.gateway.routing import choose, doubt, fits, request_features

EASY = Difficulty(VERSION, tuple(1.0 if n == "questions" else 0.0 for n in NAMES), -1.0, 0.5)


def ask(text: str, *before: str, **more: object) -> Request:
    messages = [{"role": "user", "content": t} for t in (*before, text)]
    return decode_request("chat", "/v1/x", json.dumps({"model": "main", "messages": messages, **more}).encode(), 0)


@pytest.mark.parametrize(
    ("rule", "text", "tags", "tools", "expected"),
    [
        (Rule("x", max_chars=5), "hello", "", False, True),
        (Rule("x", max_chars=4), "hello", "", False, False),
        (Rule("x", min_chars=5), "hell", "", False, False),
        (Rule("x", keywords=("REFUND",)), "I want a Refund", "", False, True),
        (Rule("x", keywords=("refund", "lawyer")), "hello", "", False, False),
        (Rule("x", tags=("vip",)), "hello", "beta, vip", False, True),
        (Rule("x", tags=("vip",)), "hello", "vips", False, False),
        (Rule("x", tools=True), "hello", "", True, True),
        (Rule("x", tools=False), "hello", "", True, False),
        (Rule("x", languages=("pt",)), "Bom dia, gostaria de saber o preço, por favor", "", False, True),
        (Rule("x", languages=("pt",)), "Good morning, what is the price please?", "", False, False),
        (Rule("x", max_chars=9, keywords=("a",)), "a", "", False, True),
        (Rule("x", max_chars=9, keywords=("a",)), "b", "", False, False),
    ],
)
def test_everything_a_rule_sets_must_hold(rule: Rule, text: str, tags: str, tools: bool, expected: bool) -> None:
    assert fits(rule, text, tags, tools) is expected


def test_the_first_rule_that_fits_decides_and_only_then_the_score() -> None:
    routing = Routing(
        small="small", rules=(Rule("a", keywords=("one",)), Rule("b", keywords=("one", "two"))), learned=EASY
    )
    assert (choose(routing, ask("one two")).to, choose(routing, ask("one two")).rule) == ("a", 1)
    assert choose(routing, ask("two")).to == "b"
    easy, hard = choose(routing, ask("hello")), choose(routing, ask("what? why? when? how? " * 3))
    assert (easy.to, easy.rule) == ("small", None)
    assert hard.to == "main"
    assert easy.score is not None
    assert hard.score is not None
    assert easy.score < 0.5 < hard.score


def test_tools_that_are_not_offered_are_no_tools() -> None:
    routing = Routing(rules=(Rule("x", tools=True),))
    assert choose(routing, ask("hi", tools=[])).to == "main"
    assert choose(routing, ask("hi", tools=[{"type": "function"}])).to == "x"


def test_a_score_sees_the_conversation_and_not_only_the_last_message() -> None:
    alone, late = request_features(ask("and then?")), request_features(ask("and then?", "long story " * 50, "and?"))
    at = NAMES.index("turns"), NAMES.index("earlier")
    assert [alone[i] for i in at] == [0.0, 0.0]
    assert all(late[i] > 0 for i in at)


@given(st.text(max_size=3000), st.integers(0, 50), st.integers(0, 10**6), st.booleans())
def test_any_text_has_finite_features_and_a_score_between_0_and_1(
    text: str, turns: int, earlier: int, tools: bool
) -> None:
    values = features(text, turns=turns, earlier=earlier, tools=tools)
    assert len(values) == len(NAMES)
    assert all(0.0 <= v < 100.0 for v in values)
    wild = Difficulty(VERSION, (1e3, -1e3) + (50.0,) * (len(NAMES) - 2), 0.0, 0.5)
    assert 0.0 <= score(wild, values) <= 1.0


FORM = {"type": "json_schema", "json_schema": {"schema": {"type": "object", "required": ["a"]}}}


@pytest.mark.parametrize(
    ("text", "finish", "form", "says"),
    [
        ("Fine.", "stop", None, ""),
        (" \n", "stop", None, "empty"),
        ("Fine, but", "length", None, "length"),
        ("Sorry, I CANNOT help with that", "stop", None, "refusal"),
        ("Fine.", "stop", FORM, "schema"),
        ('{"b": 1}', "stop", FORM, "schema: a is missing"),
        ('{"a": 1}', "stop", FORM, ""),
        ('{"a": 1}', "stop", {"type": "json_object"}, ""),
    ],
)
def test_a_doubtful_answer_is_named(text: str, finish: str, form: object, says: str) -> None:
    found = doubt(Routing(refusals=("i cannot help",)), form, text, finish)
    assert found.startswith(says)
    assert bool(found) is bool(says)
    assert doubt(Routing(refusals=("i cannot help",), escalate_on=()), form, text, finish) == ""
