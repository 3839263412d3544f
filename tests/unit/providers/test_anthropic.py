"""Anthropic: requests as its API wants them, answers and streams as OpenAI's SDK reads them."""

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from anthropic.types import Message, MessageCreateParams, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from waterline.core.money import Usage
from waterline.core.release import Route
from waterline.providers.anthropic import Anthropic, AnthropicStream
from waterline.providers.base import ProviderFault
from waterline.providers.simulated import SimulatedInProcess
from waterline.providers.simulated_script import Answer, Fault, Script, Target, Tool

ROUTE = Route(provider="anthropic", model="claude-x", max_tokens=300)
PROVIDER = Anthropic(lambda: 1_800_000_000)
HI = [{"role": "user", "content": "hi"}]


def sent(**fields: Any) -> dict[str, Any]:
    """What reaches Anthropic, checked against the official types where they know the field."""
    fields.setdefault("messages", HI)
    raw = {name: Raw(json.dumps(value).encode()) for name, value in fields.items()}
    body = PROVIDER.request(raw, ROUTE)
    assert body == PROVIDER.request(dict(raw), ROUTE)  # deterministic
    out: dict[str, Any] = json.loads(body)
    known = {k: v for k, v in out.items() if k not in ("temperature", "top_p", "top_k", "house_rule")}
    TypeAdapter(MessageCreateParams).validate_python({"stream": False, **known})
    return out


def refused(**fields: Any) -> ProviderFault:
    with pytest.raises(ProviderFault) as error:
        sent(**fields)
    assert error.value.kind == "invalid"
    return error.value


# --- the request ------------------------------------------------------------------------------------------------


def test_system_and_developer_messages_become_the_system_prompt() -> None:
    out = sent(messages=[{"role": "system", "content": "be brief"}, *HI])
    assert out == {"model": "claude-x", "max_tokens": 300, "messages": HI, "system": "be brief"}
    both = sent(messages=[{"role": "system", "content": "a"}, *HI, {"role": "developer", "content": "b"}])
    assert both["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert both["messages"] == HI
    cached = [{"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}]
    assert sent(messages=[{"role": "system", "content": cached}, *HI])["system"] == cached


@pytest.mark.parametrize(
    ("fields", "bound"),
    [
        ({}, 300),
        ({"max_tokens": 9}, 9),
        ({"max_completion_tokens": 8}, 8),
        ({"max_tokens": 9, "max_completion_tokens": 8}, 8),
    ],
)
def test_max_tokens_is_always_sent_and_never_above_what_was_asked(fields: dict[str, int], bound: int) -> None:
    out = sent(**fields)
    assert out["max_tokens"] == bound
    assert "max_completion_tokens" not in out


@pytest.mark.parametrize(
    ("fields", "length"),
    [({}, 4096), ({"max_tokens": 7}, 7), ({"thinking": {"type": "enabled", "budget_tokens": 2_000}}, 6_096),
     ({"thinking": {"type": "adaptive"}}, 4096), ({"thinking": {"budget_tokens": "y"}}, 4096)],
)  # fmt: skip
def test_where_nobody_says_a_length_every_claude_can_give_the_one_that_is_sent(
    fields: dict[str, Any], length: int
) -> None:
    """An unchanged OpenAI program says none, and Anthropic insists on one, above what it may think."""
    raw = {name: Raw(json.dumps(value).encode()) for name, value in {"messages": HI, **fields}.items()}
    assert json.loads(PROVIDER.request(raw, Route(provider="anthropic", model="c")))["max_tokens"] == length


def test_a_tool_loop_becomes_tool_use_and_one_turn_of_results() -> None:
    call = {"type": "function", "function": {"name": "find", "arguments": '{"q": "x"}'}}
    messages = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a", **call}, {"id": "b", **call}]},
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": "and?"},
    ]
    tools = [{"type": "function", "function": {"name": "find", "description": "d", "parameters": {"type": "object"}}}]
    out = sent(messages=messages, tools=tools, tool_choice="required", parallel_tool_calls=False)
    assert out["messages"][1]["content"] == [
        {"type": "tool_use", "id": "a", "name": "find", "input": {"q": "x"}},
        {"type": "tool_use", "id": "b", "name": "find", "input": {"q": "x"}},
    ]
    assert out["messages"][2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "one"},
            {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "two"}]},
        ],
    }
    assert out["messages"][3] == {"role": "user", "content": "and?"}
    assert out["tools"] == [{"name": "find", "description": "d", "input_schema": {"type": "object"}}]
    assert out["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "find"}}, {"type": "tool", "name": "find"}),
    ],
)
def test_tool_choice_is_translated(choice: Any, expected: dict[str, str]) -> None:
    tools = [{"type": "function", "function": {"name": "find"}}]
    out = sent(tools=tools, tool_choice=choice)
    assert out["tool_choice"] == expected
    assert out["tools"][0]["input_schema"] == {"type": "object", "properties": {}}


def test_images_and_pdfs_become_blocks() -> None:
    parts = [
        {"type": "text", "text": "what is it?"},
        {"type": "text", "text": ""},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
    ]
    assert sent(messages=[{"role": "user", "content": parts}])["messages"][0]["content"] == [
        {"type": "text", "text": "what is it?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.jpg"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
            "title": "a.pdf",
        },
    ]


def test_the_other_fields_are_translated_or_passed_through() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    out = sent(
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stop="END",
        stream=True,
        stream_options={"include_usage": True},
        user="u1",
        reasoning_effort="low",
        thinking={"type": "adaptive"},
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        service_tier="default",
        house_rule={"deep": [1]},
        n=1,
        logprobs=False,
        seed=None,
    )
    assert out == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "stream": True,
        "thinking": {"type": "adaptive"},
        "service_tier": "standard_only",
        "house_rule": {"deep": [1]},
        "model": "claude-x",
        "max_tokens": 300,
        "messages": HI,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u1"},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": schema}},
    }


BITMAP = {"type": "image_url", "image_url": {"url": "data:image/bmp;base64,x"}}
LIST_CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "[1]"}}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"seed": 1}, "seed"),
        ({"audio": {}}, "audio"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"temperature": 1.5}, "temperature 1.5"),
        ({"response_format": {"type": "json_object"}}, "json_object"),
        ({"reasoning_effort": "minimal"}, "minimal"),
        ({"metadata": {"team": "x"}}, "metadata"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0]"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"messages": []}, "user message"),
        ({"messages": 3}, "cannot be read"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0]"),
        ({"messages": [{"role": "oracle", "content": "x"}]}, "oracle"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "audio"),
        ({"messages": [{"role": "user", "content": [BITMAP]}]}, "image/png"),
        ({"messages": [*HI, {"role": "assistant", "tool_calls": [LIST_CALL]}]}, "arguments"),
    ],
)
def test_what_anthropic_cannot_express_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    fault = refused(**fields)
    assert named in fault.message
    assert fault.status == 400


keys = st.sampled_from(["type", "text", "role", "content", "function", "name", "url"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["messages", "tools", "tool_choice", "stop", "metadata", "response_format", "max_tokens", "user", "model"]


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_any_request_is_translated_or_refused(fields: dict[str, Any]) -> None:
    try:
        PROVIDER.request({name: Raw(msgspec.json.encode(value)) for name, value in fields.items()}, ROUTE)
    except ProviderFault as fault:
        kind = fault.kind
    else:
        kind = "invalid"
    assert kind == "invalid"


def test_headers_carry_the_key_and_the_version() -> None:
    assert dict(PROVIDER.headers("s3cret")) == {
        b"content-type": b"application/json",
        b"user-agent": b"waterline",
        b"anthropic-version": b"2023-06-01",
        b"x-api-key": b"s3cret",
    }
    assert b"x-api-key" not in dict(PROVIDER.headers(""))


# --- the answer -------------------------------------------------------------------------------------------------

USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 1000,
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 2},
}
BUCKETS = Usage(input=10, cached_input=100, cache_write=1000, output=5, reasoning=2)


def message(*content: dict[str, Any], stop: str | None = "end_turn", **more: Any) -> bytes:
    out = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": list(content)}
    out |= {"stop_reason": stop, "stop_sequence": None, "usage": USAGE, **more}
    Message.model_validate(out)
    return json.dumps(out).encode()


@pytest.mark.parametrize(
    ("kept", "minutes", "hour"),
    [({"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600}, 400, 600), (None, 1000, 0), ({}, 1000, 0)],
)
def test_what_is_kept_for_an_hour_is_counted_apart(kept: dict[str, int] | None, minutes: int, hour: int) -> None:
    usage = USAGE | {"cache_creation": kept}
    answer = PROVIDER.answer(json.dumps(json.loads(message({"type": "text", "text": "a"})) | {"usage": usage}).encode())
    assert answer.usage is not None
    assert (answer.usage.cache_write, answer.usage.cache_write_1h) == (minutes, hour)
    assert answer.usage.total_input == BUCKETS.total_input
    assert json.loads(answer.body)["usage"]["prompt_tokens_details"]["cache_write_tokens"] == 1000


def test_an_answer_becomes_a_chat_completion_with_usage_in_exclusive_buckets() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    use = {"type": "tool_use", "id": "t1", "name": "find", "input": {"q": 1}}
    answer = PROVIDER.answer(message(thought, {"type": "text", "text": "I look."}, use, stop="tool_use"))
    assert (answer.usage, answer.finish_reason, answer.text) == (BUCKETS, "tool_calls", "I look.")
    read = ChatCompletion.model_validate(json.loads(answer.body), strict=True)
    assert (read.id, read.created, read.model) == ("msg_1", 1_800_000_000, "claude-x")
    choice = read.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "I look."
    assert choice.message.tool_calls is not None
    call = choice.message.tool_calls[0]
    assert call.type == "function"
    assert (call.id, call.function.name, json.loads(call.function.arguments)) == ("t1", "find", {"q": 1})
    assert read.usage is not None
    assert read.usage.prompt_tokens_details is not None
    assert read.usage.completion_tokens_details is not None
    assert (read.usage.prompt_tokens, read.usage.completion_tokens, read.usage.total_tokens) == (1110, 7, 1117)
    assert read.usage.prompt_tokens_details.cached_tokens == 100
    assert read.usage.completion_tokens_details.reasoning_tokens == 2


def test_thinking_comes_back_unchanged_in_the_next_turn() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    hidden = {"type": "redacted_thinking", "data": "xyz"}
    answer = PROVIDER.answer(message(thought, hidden, {"type": "text", "text": "yes"}))
    said = json.loads(answer.body)["choices"][0]["message"]
    assert said["reasoning_content"] == "hm"
    again = sent(messages=[*HI, said, *HI])["messages"][1]
    assert again["content"] == [thought, hidden, {"type": "text", "text": "yes"}]


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
    ],
)
def test_stop_reasons_are_mapped_and_a_truncated_answer_is_never_success(stop: str, finish: str) -> None:
    assert PROVIDER.answer(message({"type": "text", "text": "x"}, stop=stop)).finish_reason == finish


def test_usage_that_is_missing_is_not_zero() -> None:
    body = json.loads(message({"type": "text", "text": "x"}))
    del body["usage"]
    answer = PROVIDER.answer(json.dumps(body).encode())
    assert answer.usage is None
    assert "usage" not in json.loads(answer.body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"id":"a"}',
        b"\xff",
        b'{"choices":[]}',
        b"[" * 100_000,
        b'{"id":"a","model":"b","content":[]}',
        b'{"id":"a","model":"b","stop_reason":"end_turn","usage":{"input_tokens":-1}}',
        b'{"id":"a","model":"b","stop_reason":"end_turn","content":[{"type":"tool_use","input":{"a":"\xff"}}]}',
    ],
)
def test_what_is_no_answer_is_garbage(body: bytes) -> None:
    with pytest.raises(ProviderFault) as error:
        PROVIDER.answer(body)
    assert error.value.kind == "garbage"


# --- the stream -------------------------------------------------------------------------------------------------


def events(*data: dict[str, Any]) -> bytes:
    for one in data:
        if one["type"] not in ("ping", "error", "news"):
            TypeAdapter(RawMessageStreamEvent).validate_python(one)
    return b"".join(b"event: %b\ndata: %b\n\n" % (d["type"].encode(), json.dumps(d).encode()) for d in data)


def delta(index: int, kind: str, **what: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **what}}


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**USAGE, "output_tokens": 1, "output_tokens_details": None},
    },
}
FINISH = {
    "type": "message_delta",
    "delta": {"stop_reason": "tool_use", "stop_sequence": None},
    "usage": {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 2}},
}
STREAM = events(
    START,
    start(0, type="thinking", thinking="", signature=""),
    {"type": "ping"},
    delta(0, "thinking_delta", thinking="hm"),
    delta(0, "signature_delta", signature="sig"),
    stop(0),
    start(1, type="text", text=""),
    delta(1, "text_delta", text="I lo"),
    delta(1, "text_delta", text="ok. é\r\n"),
    stop(1),
    {"type": "news"},
    start(2, type="tool_use", id="t1", name="find", input={}),
    delta(2, "input_json_delta", partial_json=""),
    delta(2, "input_json_delta", partial_json='{"q":'),
    delta(2, "input_json_delta", partial_json=" 1}"),
    stop(2),
    start(3, type="tool_use", id="t2", name="now", input={}),
    stop(3),
    FINISH,
    {"type": "message_stop"},
)


def read_all(data: bytes, *, usage: bool = True) -> tuple[AnthropicStream, bytes]:
    reader = AnthropicStream(1_800_000_000, forward_usage=usage)
    return reader, reader.feed(data)


def chunks_of(out: bytes) -> list[ChatCompletionChunk]:
    lines = out.split(b"\n\n")
    assert lines.pop() == b""
    return [ChatCompletionChunk.model_validate(json.loads(line.removeprefix(b"data: ")), strict=True) for line in lines]


def test_a_stream_becomes_chunks() -> None:
    reader, out = read_all(STREAM)
    chunks = chunks_of(out)
    deltas = [c.choices[0].delta for c in chunks if c.choices]
    assert "".join(d.content or "" for d in deltas) == "I look. é\r\n"
    assert "".join(getattr(d, "reasoning_content", None) or "" for d in deltas) == "hm"
    arguments, names = {0: "", 1: ""}, {}
    for d in deltas:
        for call in d.tool_calls or []:
            assert call.function is not None
            arguments[call.index] += call.function.arguments or ""
            if call.id:
                names[call.index] = (call.id, call.function.name)
    assert names == {0: ("t1", "find"), 1: ("t2", "now")}
    assert {i: json.loads(a) for i, a in arguments.items()} == {0: {"q": 1}, 1: {}}
    assert [c.choices[0].finish_reason for c in chunks if c.choices if c.choices[0].finish_reason] == ["tool_calls"]
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 1110
    assert (reader.began, reader.finished, reader.done, reader.finish_reason) == (True, True, True, "tool_calls")
    assert reader.usage == BUCKETS
    assert "".join(reader.text) == "hmI look. é\r\n"
    signed = [b for d in deltas for b in getattr(d, "thinking_blocks", None) or []]
    assert signed == [{"type": "thinking", "thinking": "hm", "signature": "sig"}]


def test_usage_is_read_but_not_forwarded_unless_it_was_asked_for() -> None:
    reader, out = read_all(STREAM, usage=False)
    assert reader.usage == BUCKETS
    assert b"usage" not in out


def test_pings_and_unknown_events_give_nothing_and_are_not_content() -> None:
    reader, out = read_all(events(START))
    assert len(chunks_of(out)) == 1
    assert not reader.began
    assert reader.feed(events({"type": "ping"}, {"type": "news"}) + b": keep-alive\n\n") == b""
    assert not reader.began


def test_an_unfinished_stream_tells_its_input_and_no_output_count() -> None:
    reader, _ = read_all(STREAM[: STREAM.index(b"event: message_delta")])
    assert not reader.finished
    assert reader.usage == Usage(input=10, cached_input=100, cache_write=1000)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.booleans())
def test_any_split_of_the_bytes_gives_the_same_output(cuts: list[int], crlf: bool) -> None:
    data = STREAM.replace(b"\n", b"\r\n") if crlf else STREAM
    reader = AnthropicStream(1_800_000_000, forward_usage=True)
    edges = [0, *sorted(cuts), len(data)]
    out = b"".join(reader.feed(data[a:b]) for a, b in pairwise(edges))
    whole, expected = read_all(STREAM)
    assert out == expected
    assert (reader.usage, reader.text, reader.chunks, reader.done) == (whole.usage, whole.text, whole.chunks, True)


@settings(max_examples=300)
@given(st.data())
def test_mutated_bytes_are_read_or_a_fault_never_another_exception(data: st.DataObject) -> None:
    raw = bytearray(STREAM)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        patch = data.draw(st.binary(max_size=6) | st.sampled_from([b"\n\n", b'"', b"\\ud800", b"}", b"-1", b"null"]))
        raw[at : at + data.draw(st.integers(0, 8))] = patch
    reader = AnthropicStream(0, forward_usage=True)
    out, kind = b"", "garbage"
    try:
        for at in range(0, len(raw), 200):
            out += reader.feed(bytes(raw[at : at + 200]))
    except ProviderFault as fault:
        kind = fault.kind
        out += reader.pending
    assert kind in ("garbage", "unavailable", "rate_limited")
    for line in out.split(b"\n\n")[:-1]:
        json.loads(line.removeprefix(b"data: "))


@pytest.mark.parametrize(
    "data",
    [
        events(delta(0, "text_delta", text="x")),
        events(START, START),
        events(START, delta(3, "text_delta", text="x")),
        events(START, stop(0)),
        events(START, {"type": "message_stop"}),
        b"data: {oops}\n\n",
        b"data: [1]\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: " + b"x" * (5 << 20),
    ],
)
def test_a_stream_that_makes_no_sense_is_garbage(data: bytes) -> None:
    with pytest.raises(ProviderFault) as error:
        read_all(data)
    assert error.value.kind == "garbage"


def test_events_before_a_fault_are_not_lost() -> None:
    reader = AnthropicStream(0, forward_usage=False)
    good = events(START, start(0, type="text", text=""), delta(0, "text_delta", text="so far"))
    bad = events({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    with pytest.raises(ProviderFault) as error:
        reader.feed(good + bad)
    assert (error.value.kind, error.value.message) == ("rate_limited", "Overloaded")
    assert b"so far" in reader.pending
    assert reader.pending == b""
    assert not reader.done


# --- faults -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "text", "expected"),
    [
        (400, "invalid_request_error", "max_tokens: Field required", "invalid"),
        (400, "invalid_request_error", "prompt is too long: 208656 tokens > 200000 maximum", "context_length"),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 1 + 2 > 2",
            "context_length",
        ),
        (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", "refused_key"),
        (401, "authentication_error", "invalid x-api-key", "refused_key"),
        (402, "billing_error", "pay first", "refused_key"),
        (403, "permission_error", "no", "refused_key"),
        (404, "not_found_error", "model: claude-x", "invalid"),
        (413, "request_too_large", "too large", "invalid"),
        (429, "rate_limit_error", "slow down", "rate_limited"),
        (500, "api_error", "Internal server error", "unavailable"),
        (504, "timeout_error", "Gateway timeout", "silent"),
        (529, "overloaded_error", "Overloaded", "rate_limited"),
    ],
)
def test_an_error_answer_says_whether_a_retry_may_help(status: int, kind: str, text: str, expected: str) -> None:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": text}}).encode()
    fault = PROVIDER.fault(status, [(b"retry-after", b"3")], body)
    assert (fault.kind, fault.message, fault.status, fault.retry_after_s) == (expected, text, status, 3.0)


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[]", b'{"error":"x"}', b"[" * 100_000])
def test_an_error_without_a_body_is_known_by_its_status(body: bytes) -> None:
    assert PROVIDER.fault(502, [], body).kind == "unavailable"
    assert PROVIDER.fault(429, [], body).kind == "rate_limited"


def test_embeddings_are_not_offered() -> None:
    assert PROVIDER.embeddings_path == ""
    with pytest.raises(ProviderFault, match="no embeddings"):
        PROVIDER.embeddings(b"{}", {}, ROUTE)


# --- against the simulated provider -----------------------------------------------------------------------------


@pytest.fixture
async def simulated() -> AsyncIterator[SimulatedInProcess]:
    rule = Answer(match="weather", tool=Tool("weather", {"city": "Porto"}))
    target = Target(answer=Answer(text="one two three"), rules=(rule,), cached_share=0.25, cache_write_share=0.25)
    async with SimulatedInProcess(Script(default=target)) as server:
        yield server


def post(address: str, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    headers = {name.decode(): value.decode() for name, value in PROVIDER.headers("k")}
    connection.request("POST", "/v1" + PROVIDER.chat_path, body, headers)
    answer = connection.getresponse()
    found = [(name.lower().encode(), value.encode()) for name, value in answer.getheaders()]
    read = answer.read()
    connection.close()
    return answer.status, found, read


@pytest.mark.parametrize("text", ["hello", "the weather?"])
async def test_plain_and_streamed_say_the_same(simulated: SimulatedInProcess, text: str) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    fields: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "tools": tools}
    raw = {name: Raw(json.dumps(value).encode()) for name, value in fields.items()}
    status, _, body = await asyncio.to_thread(post, simulated.address, PROVIDER.request(raw, ROUTE))
    assert status == 200
    plain = PROVIDER.answer(body)
    status, _, body = await asyncio.to_thread(
        post, simulated.address, PROVIDER.request({**raw, "stream": Raw(b"true")}, ROUTE)
    )
    assert status == 200
    reader, out = read_all(body)
    assert reader.done
    assert (reader.usage, reader.finish_reason, "".join(reader.text)) == (plain.usage, plain.finish_reason, plain.text)
    choice = ChatCompletion.model_validate(json.loads(plain.body)).choices[0]
    if choice.message.tool_calls:
        call = choice.message.tool_calls[0]
        assert call.type == "function"
        pieces = [c for chunk in chunks_of(out) for x in chunk.choices for c in x.delta.tool_calls or []]
        streamed = "".join(c.function.arguments or "" for c in pieces if c.function)
        assert json.loads(streamed) == json.loads(call.function.arguments) == {"city": "Porto"}
    else:
        assert plain.text == "one two three"


async def test_an_overloaded_provider_may_be_asked_again(simulated: SimulatedInProcess) -> None:
    await simulated.set_script(Script(default=Target(faults=(Fault("http", status=529, retry_after_s=2),))))
    raw = {"messages": Raw(json.dumps(HI).encode())}
    status, headers, body = await asyncio.to_thread(post, simulated.address, PROVIDER.request(raw, ROUTE))
    fault = PROVIDER.fault(status, headers, body)
    assert (fault.kind, fault.retry_after_s) == ("rate_limited", 2.0)


def test_an_answer_that_is_not_utf_8_is_never_forwarded() -> None:
    broken = b'{"content":[{"type":"other","\x8cext":"hi"}],"stop_reason":"end_turn"}'
    with pytest.raises(ProviderFault) as fault:
        Anthropic(lambda: 0).answer(broken)
    assert fault.value.kind == "garbage"
