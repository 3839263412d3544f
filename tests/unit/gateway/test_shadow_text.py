"""What a copy's answer says, however it came; and what pairs add up to."""

import random

import pytest

from waterline.evals.shadow_pairs import Sums, alike, is_json, measured
from waterline.gateway.shadow import text_of


def test_an_answer_is_read_plain_or_streamed_and_anything_else_is_empty() -> None:
    assert text_of(b'{"choices":[{"message":{"role":"assistant","content":"hello"}}]}') == "hello"
    streamed = b'data: {"choices":[{"delta":{"content":"he"}}]}\n\ndata: {"choices":[{"delta":{"content":"llo"}}]}\n\n'
    assert text_of(streamed + b'data: {"choices":[],"usage":{}}\n\ndata: [DONE]\n\n') == "hello"
    assert text_of(b'{"choices":[{"message":{"content":null,"tool_calls":[]}}]}') == ""
    assert text_of(b'{"error":{"message":"no"}}') == ""
    assert text_of(b"\xff\xfe") == ""


def test_words_in_common_are_a_share_of_both_answers() -> None:
    assert alike("The visit is on Monday.", "the visit is on monday") == 1.0
    assert alike("yes", "no") == 0.0
    assert alike("", "") == 1.0
    assert alike("a b c d", "a b x y") == 0.5


def test_json_is_an_object_or_a_list_that_can_be_read() -> None:
    assert is_json(' {"a": 1}')
    assert not is_json('{"a": 1')
    assert not is_json("12")


def test_a_pair_takes_the_question_out_of_the_difference() -> None:
    """Questions differ by seconds, the two releases by 100 ms: in pairs that is seen with a few dozen of them."""
    draw = random.Random(2)
    sums = Sums()
    for _ in range(60):
        hard = draw.uniform(100_000, 9_000_000)
        sums.add("duration_us", hard, hard + 100_000 + draw.gauss(0, 20_000))
    found = measured(sums)[0]
    assert found.difference is not None
    assert 0 < found.difference.low < 100_000 < found.difference.high
    assert found.copy - found.live == pytest.approx(100_000, rel=0.1)


def test_a_few_pairs_say_nothing_of_amounts_and_little_of_shares() -> None:
    sums = Sums()
    for _ in range(5):
        sums.add("failed", 0.0, 0.0)
        sums.add("duration_us", 1.0, 1.0)
    failed, duration = measured(sums)
    assert duration.difference is None
    assert failed.difference is not None
    assert failed.difference.high > 0.4
