"""Bodies as people read them; whatever a body holds, the page of its trace can be shown."""

import json

from hypothesis import given
from hypothesis import strategies as st

from waterline.console.conversation import SHOWN_CHARS, SHOWN_TURNS, answer_of, request_of

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["messages", "choices", "content", "role", "delta", "message", "text", "tool_calls", "function", "name",
                 "arguments", "index", "input", "error", "data", "embedding", "finish_reason", "refusal", "type"]
            ),
            inner, max_size=4,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@given(any_json)
def test_any_json_can_be_read_as_a_request_and_as_an_answer(value):
    text = json.dumps(value)
    request_of(text)
    answer_of(text)
    answer_of(f"data: {text}\n\ndata: [DONE]\n\n")


@given(st.text())
def test_any_text_can_be_read_and_is_shown_as_it_is_where_it_is_no_json(text):
    answer_of("data: " + text)
    for body in (request_of(text), answer_of(text)):
        assert body.turns or body.streamed or body.raw.strip() or not text.strip()


def test_a_streamed_answer_is_put_together_with_its_tool_calls_and_its_end():
    deltas = [
        {"content": "Bom "}, {"content": "dia"},
        {"tool_calls": [{"index": 0, "function": {"name": "book", "arguments": '{"day"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ': "Monday"}'}}]},
    ]  # fmt: skip
    events = [{"choices": [{"index": 0, "delta": d}]} for d in deltas]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    stream = "".join(f"data: {json.dumps(e)}\n\n" for e in events)
    body = answer_of(stream + "data: [DONE]\n\n")
    assert body.turns[0].text == 'Bom dia\n→ book {"day": "Monday"}'
    assert body.turns[0].note == "tool_calls"
    assert "5 events, ended with [DONE]" in body.note
    assert "without [DONE]" in answer_of(stream).note


def test_the_items_of_a_responses_call_are_turns():
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "the weather?"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Rome"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    ]
    body = request_of(json.dumps({"model": "main", "instructions": "Be brief.", "input": items}))
    assert [(t.role, t.text) for t in body.turns] == [
        ("instructions", "Be brief."), ("user", "the weather?"), ("assistant", '→ weather {"city":"Rome"}'),
        ("tool", "sunny"),
    ]  # fmt: skip


def test_an_error_in_the_stream_is_a_turn_of_its_own():
    error = json.dumps({"error": {"message": "the provider went silent", "code": "provider_timeout"}})
    body = answer_of('data: {"choices":[{"index":0,"delta":{"content":"Half"}}]}\n\ndata: ' + error + "\n\n")
    assert [(t.role, t.text) for t in body.turns] == [("assistant", "Half"), ("error", "the provider went silent")]


def test_what_is_cut_is_counted():
    messages = [{"role": "user", "content": "x" * (SHOWN_CHARS + 7)}] + [{"role": "user", "content": "y"}] * SHOWN_TURNS
    body = request_of(json.dumps({"messages": messages}))
    assert body.turns[0].cut == 7
    assert (len(body.turns), body.turns_cut) == (SHOWN_TURNS, 1)
    assert len(body.raw) + body.raw_cut >= body.bytes


def test_numbers_stay_as_they_were_written():
    assert "1e400" in request_of('{"seed":1e400,"id":123456789012345678901234567890}').raw
    assert "123456789012345678901234567890" in request_of('{"id":123456789012345678901234567890}').raw


def test_a_body_nested_a_hundred_thousand_deep_is_shown_as_text():
    deep = "[" * 100_000 + "]" * 100_000
    assert request_of(deep).raw.startswith("[[[")
    assert answer_of('{"choices":' + deep + "}").raw_cut > 0
