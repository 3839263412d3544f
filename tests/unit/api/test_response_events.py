"""A canonical answer as a response object, and a canonical stream as the events of one."""

import json
from typing import Any

import pytest

from waterline.api.response_events import ResponseTranslator
from waterline.core.completion import is_stream, message_of
from waterline.core.errors import ProviderUnavailable, RateLimited
from waterline.core.response_items import chat_messages
from waterline.core.responses import Asked, complete, decode_responses

TRACE = "0123456789ab000001abcdef"


def asked(**more: Any) -> Asked:
    return decode_responses("/v1/responses", json.dumps({"model": "main", "input": "x", **more}).encode(), 1_000_000)


def translator() -> ResponseTranslator:
    return ResponseTranslator(asked(), TRACE)


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"model": "m", "choices": choices, **more}).encode() + b"\n\n"


def call(at: int, arguments: str, **first: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": first.pop("name")} if "name" in first else {})}
    return {"tool_calls": [{"index": at, **first, "function": function}]}


DONE = b"data: [DONE]\n\n"
RICH = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "let me "}),
    chunk({"reasoning_content": "think"}),
    chunk({"thinking_blocks": [{"type": "thinking", "thinking": "let me think", "signature": "s1"}]}),
    chunk({"content": "I look "}),
    chunk({"content": "it up."}),
    chunk(call(0, "", id="c0", name="one")),
    chunk(call(1, "", id="c1", name="two")),
    chunk(call(0, '{"a":')),
    chunk(call(1, "{}")),
    chunk(call(0, "1}")),
    chunk({}, "tool_calls"),
    chunk(usage={"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}}),
    DONE,
]


def read(data: bytes) -> list[dict[str, Any]]:
    events = []
    for event in data.decode().split("\n\n")[:-1]:
        name, payload = event.split("\n")
        events.append(json.loads(payload.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def test_interleaved_tool_calls_reasoning_and_text_become_items_of_their_own():
    events = read(translator().feed(b"".join(RICH)))
    last = events[-1]
    assert last["type"] == "response.completed"
    output = last["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert output[0]["summary"] == [{"type": "summary_text", "text": "let me think"}]
    assert output[1]["content"][0]["text"] == "I look it up."
    assert [(i["call_id"], i["name"], i["arguments"]) for i in output[2:]] == [
        ("c0", "one", '{"a":1}'),
        ("c1", "two", "{}"),
    ]
    assert last["response"]["usage"]["input_tokens_details"]["cached_tokens"] == 3
    assert [e["sequence_number"] for e in events] == list(range(len(events)))


def test_every_delta_lies_between_its_items_beginning_and_end():
    open_: set[str] = set()
    for event in read(translator().feed(b"".join(RICH))):
        match event["type"]:
            case "response.output_item.added":
                open_.add(event["item"]["id"])
            case "response.output_item.done":
                open_.remove(event["item"]["id"])
            case kind if "item_id" in event:
                assert event["item_id"] in open_, kind
    assert not open_


def test_the_pieces_in_which_a_stream_comes_change_nothing():
    whole = translator().feed(b"".join(RICH))
    apart = translator()
    assert b"".join(apart.feed(piece) for piece in RICH) == whole
    assert b"".join(translator_feed(RICH[:6], RICH[6:])) == whole


def translator_feed(*groups: list[bytes]) -> list[bytes]:
    made = translator()
    return [made.feed(b"".join(group)) for group in groups]


def test_a_stream_that_broke_says_failed_and_no_done_for_what_was_open():
    for at in range(1, len(RICH) - 1):
        made = translator()
        data = made.feed(b"".join(RICH[:at])) + made.broken(ProviderUnavailable("cut off"))
        events = read(data)
        assert [e["sequence_number"] for e in events] == list(range(len(events)))
        assert events[-1]["type"] == "response.failed"
        assert events[-1]["response"]["error"] == {"code": "server_error", "message": "cut off"}
        assert not any(e["type"] in ("response.completed", "response.function_call_arguments.done") for e in events)
        for item in events[-1]["response"]["output"]:
            assert item["type"] == "reasoning" or item["status"] in ("completed", "incomplete")


def test_a_stream_that_broke_before_anything_was_said_is_still_whole():
    made = translator()
    events = read(made.broken(RateLimited("too many", retry_after_s=1)))
    assert [e["type"] for e in events] == ["response.created", "response.in_progress", "response.failed"]
    assert events[-1]["response"]["error"]["code"] == "rate_limit_exceeded"
    assert made.broken(ProviderUnavailable("again")) == b""


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [("stop", "completed", None), ("tool_calls", "completed", None), ("length", "incomplete", "max_output_tokens"),
     ("content_filter", "incomplete", "content_filter"), ("a_new_reason", "incomplete", "max_output_tokens")],
)  # fmt: skip
def test_only_what_is_known_to_be_whole_is_completed(finish, status, reason):
    made = translator()
    events = read(made.feed(chunk({"content": "a"}) + chunk({}, finish) + DONE))
    assert events[-1]["type"] == f"response.{status}"
    plain = translator()
    plain.answer(
        json.dumps({"model": "m", "choices": [{"message": {"content": "a"}, "finish_reason": finish}]}).encode()
    )
    for response in (events[-1]["response"], plain.response):
        assert response["status"] == status
        assert (response["incomplete_details"] or {}).get("reason") == reason
    assert {**events[-1]["response"]} == plain.response


def test_a_refusal_is_a_part_of_its_own():
    events = read(
        translator().feed(chunk({"refusal": "I will "}) + chunk({"refusal": "not."}) + chunk({}, "stop") + DONE)
    )
    assert events[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "I will not."}]
    assert [e["type"] for e in events if "refusal" in e["type"]] == ["response.refusal.delta"] * 2 + [
        "response.refusal.done"
    ]


def test_an_answer_that_says_nothing_has_an_empty_message():
    response = read(translator().feed(chunk({}, "stop") + DONE))[-1]["response"]
    assert [(i["type"], i["content"]) for i in response["output"]] == [("message", [])]
    assert "usage" not in response  # not reported is not zero


def test_comments_and_other_choices_are_not_part_of_the_answer():
    data = translator().feed(
        b": keep-alive\n\n" + chunk({"content": "b"}, index=1) + chunk({"content": "a"}, "stop") + DONE
    )
    assert read(data)[-1]["response"]["output"][0]["content"][0]["text"] == "a"


def test_thinking_with_its_signature_comes_back_as_it_was_both_by_id_and_by_items():
    stream = b"".join(RICH)
    blocks = [{"type": "thinking", "thinking": "let me think", "signature": "s1"}]
    by_id = message_of(stream)
    output = read(translator().feed(stream))[-1]["response"]["output"]
    (by_items,) = chat_messages(output)
    assert by_id["thinking_blocks"] == by_items["thinking_blocks"] == blocks
    assert by_id == by_items


def test_a_plain_answer_and_its_stream_are_told_apart():
    assert is_stream(b"data: {}\n\n")
    assert is_stream(b": keep-alive\n\ndata: {}\n\n")
    assert not is_stream(b' {"choices": []}')


def test_instructions_come_first_then_what_went_before_then_the_input():
    made = complete(asked(instructions="Be brief."), [{"role": "user", "content": "before"}])
    said = json.loads(bytes(made.fields["messages"]))
    assert [(m["role"], m["content"]) for m in said] == [("system", "Be brief."), ("user", "before"), ("user", "x")]


def test_the_same_call_makes_the_same_fields():
    tools = [{"type": "function", "name": "f", "parameters": {"b": 1, "a": 2}}]
    one, two = (complete(asked(tools=tools, top_p=0.1), []).fields for _ in range(2))
    assert list(one.items()) == list(two.items())


def test_allowed_tools_are_the_only_ones_offered():
    tools = [{"type": "function", "name": name} for name in ("f", "g")]
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
    fields = asked(tools=tools, tool_choice=choice).request.fields
    assert [t["function"]["name"] for t in json.loads(bytes(fields["tools"]))] == ["g"]
    assert json.loads(bytes(fields["tool_choice"])) == "required"
