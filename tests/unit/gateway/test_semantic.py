"""Which two questions may share an answer, and the index that finds them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.core.request import Request, decode_request
from waterline.gateway.cache import AnswerCache, Kept
from waterline.gateway.semantic import (
    MAX_ROWS,
    ROWS_A_SCOPE,
    Questions,
    compatible,
    marks_of,
    question_of,
    without_question,
)

np = pytest.importorskip("numpy")


def may_stand_for(one: str, other: str) -> bool:
    return compatible(marks_of(one), marks_of(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("how much is grade 3", "how much is grade 4"),
        ("is the school open on the 12 may", "is the school open on the 21 may"),
        ("is it open on monday", "is it open on friday"),
        ("can I bring my dog", "can I not bring my dog"),
        ("why can he come?", "why can't he come?"),
        ("quando posso ir sem marcação", "quando posso ir com marcação"),
        ("when is the visit", "where is the visit"),
        ("quando é a visita", "onde é a visita"),
        ("what does my son need", "what does my daughter need"),
        ("may I come before lunch", "may I come after lunch"),
        ("please write to Ana about it", "please write to Rui about it"),
        ("the form for ana please", "the form for rui please"),
        ("send it to a@x.pt", "send it to b@x.pt"),
        ("is it three or four", "is it three or five"),
        ("put bread on the list", "did i put bread on the list"),
        ("hello, when do you open the school please", "olá, por favor quando abre a escola e o jardim"),
    ],
)
def test_what_differs_in_what_matters_never_shares_an_answer(one: str, other: str) -> None:
    assert not may_stand_for(one, other)
    assert not may_stand_for(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("when do you open?", "hi, when do you open please"),
        ("When do you open?", "what time do you open"),
        ("how much is grade 3 a month", "hello! how much is grade 3 a month please?"),
        ("Quando abrem as inscrições?", "olá, quando abrem as inscricoes"),
    ],
)
def test_another_wording_of_the_same_question_may_share_its_answer(one: str, other: str) -> None:
    assert may_stand_for(one, other)
    assert may_stand_for(other, one)


@given(st.text(max_size=80), st.text(max_size=80))
def test_the_guard_does_not_care_who_asked_first(one: str, other: str) -> None:
    assert may_stand_for(one, other) == may_stand_for(other, one)
    assert may_stand_for(one, one)


def ask(*messages: Any, **more: Any) -> Request:
    return decode_request("chat", "/v1/x", json.dumps({"model": "m", "messages": messages, **more}).encode(), 0)


SYSTEM, USER = {"role": "system", "content": "Rules."}, {"role": "user", "content": "when do you open?"}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER], True),
        ([SYSTEM, USER], True),
        ([USER, SYSTEM], False),
        ([USER, {"role": "assistant", "content": "At 8."}, USER], False),
        ([{"role": "user", "content": "x" * 301}], False),
        ([{"role": "user", "content": "when? where?"}], False),
        ([{"role": "user", "content": [{"type": "text", "text": "when?"}]}], False),
        ([{"role": "user", "content": " "}], False),
        ([SYSTEM, {"role": "assistant", "content": "when?"}], False),
    ],
)
def test_only_a_single_short_question_of_a_first_turn_takes_part(messages: list[Any], expected: bool) -> None:
    assert bool(question_of(ask(*messages))) is expected


def test_two_questions_have_everything_else_in_common_or_they_do_not_meet() -> None:
    other = {**USER, "content": "what time do you open?"}
    assert without_question(ask(SYSTEM, USER)).fields == without_question(ask(SYSTEM, other)).fields
    assert without_question(ask(SYSTEM, USER)).fields != without_question(ask(USER)).fields
    assert without_question(ask(USER)).fields != without_question(ask({**USER, "name": "ana"})).fields
    assert without_question(ask(USER)).fields != without_question(ask(USER, temperature=1)).fields


def vector(*numbers: float) -> Any:
    made = np.zeros(256, dtype=np.float32)
    made[: len(numbers)] = numbers
    return made / np.linalg.norm(made)


def answers(*keys: str) -> AnswerCache:
    cache = AnswerCache()
    for key in keys:
        cache.keep(key, Kept(key.encode(), 0, "t", (key,), "stop", 1), 1 << 20)
    return cache


def test_the_nearest_question_that_is_still_kept_is_found_in_its_own_scope_only() -> None:
    questions = Questions()
    questions.add("s", "a", "when do you open", vector(1, 0.1))
    questions.add("s", "b", "when do you open please", vector(1, 0.2))
    kept = answers("a", "b")
    near = questions.nearest("s", "hi when do you open", vector(1, 0.19), 0.9, kept, 0, 60)
    assert near is not None
    assert near.key == "b"
    assert questions.nearest("other", "hi when do you open", vector(1, 0.19), 0.9, kept, 0, 60) is None
    assert questions.nearest("s", "hi when do you open", vector(0, 1), 0.9, kept, 0, 60) is None
    near = questions.nearest("s", "hi when do you open", vector(1, 0.19), 0.9, answers("a"), 0, 60)
    assert near is not None
    assert near.key == "a"  # the answer of b is gone, and b is forgotten
    near = questions.nearest("s", "hi when do you open", vector(1, 0.19), 0.9, kept, 0, 60)
    assert near is not None
    assert near.key == "a"
    assert questions.nearest("s", "hi when do you open", vector(1, 0.19), 0.9, kept, 60_000_000, 60) is None


def test_however_similar_the_guard_has_the_last_word() -> None:
    questions = Questions()
    questions.add("s", "a", "how much is grade 3", vector(1))
    assert questions.nearest("s", "how much is grade 4", vector(1), 0.7, answers("a"), 0, 60) is None


def test_the_index_is_bounded_in_each_scope_and_in_all() -> None:
    questions = Questions()
    for number in range(ROWS_A_SCOPE + 10):
        questions.add("s", f"k{number}", "x", vector(1, number))
    assert questions.rows == ROWS_A_SCOPE
    for number in range(MAX_ROWS // 8 + 10):
        questions.add(f"s{number}", "k", "x", vector(1))
    assert questions.rows <= MAX_ROWS
    assert questions.nearest("s", "x", vector(1), 0.0, answers("k3"), 0, 60) is None
