"""What was said is read from the bodies of every API, and from broken ones nothing."""

import json

import pytest

from waterline.core.said import answer_text, user_texts

MESSAGES = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "a"},
    {"role": "user", "content": [{"type": "text", "text": "two"}]},
]
CHAT = {"messages": MESSAGES}
ASKED = {"role": "user", "content": [{"type": "input_text", "text": "one"}]}
RESPONSES = {"input": [ASKED, {"role": "user", "content": "two"}]}


@pytest.mark.parametrize("body", [CHAT, RESPONSES])
def test_users_words_are_found_in_every_api(body: object) -> None:
    assert user_texts(json.dumps(body).encode()) == ["one", "two"]
    assert user_texts(b'{"input": "hello"}') == ["hello"]


def test_a_turn_that_goes_on_after_a_tool_is_nothing_new_of_the_users() -> None:
    after_tool = {"messages": [*MESSAGES, {"role": "tool", "content": "42"}]}
    assert user_texts(json.dumps(after_tool).encode()) == []
    result = {
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "user", "content": [{"type": "tool_result", "content": "y"}]},
        ]
    }
    assert user_texts(json.dumps(result).encode()) == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b'{"messages": 3}', b'{"messages": [3]}', b'{"messages": []}', b"\xff"]
)
def test_strange_bodies_say_nothing(body: bytes) -> None:
    assert user_texts(body) == []
    assert answer_text(body) == ""


def test_answers_are_read_whole_and_streamed() -> None:
    assert answer_text(b'{"choices": [{"message": {"content": "hi"}}]}') == "hi"
    assert answer_text(b'{"content": [{"type": "text", "text": "hi"}, {"type": "tool_use"}]}') == "hi"
    assert answer_text(b'{"output": [{"type": "message", "content": [{"type": "output_text", "text": "hi"}]}]}') == "hi"
    chunks = [{"choices": [{"index": 0, "delta": {"content": c}}]} for c in ("h", "i")]
    other = {"choices": [{"index": 1, "delta": {"content": "no"}}]}
    assert (
        answer_text(b"".join(b"data: %s\n\n" % json.dumps(c).encode() for c in (*chunks, other)) + b"data: [DONE]\n\n")
        == "hi"
    )
    messages = b'event: content_block_delta\ndata: {"delta":{"type":"text_delta","text":"hi"}}\n\n'
    assert answer_text(messages) == "hi"
    assert answer_text(b'data: {"type":"response.output_text.delta","delta":"hi"}\n\n') == "hi"
