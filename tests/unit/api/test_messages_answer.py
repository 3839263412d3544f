"""A canonical answer in Anthropic's words: the same message, plain or streamed, at every split of the stream."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterline.api.messages_answer import MessagesTranslator
from waterline.core.errors import ProviderUnavailable, RequestError, request_errors
from waterline.providers.anthropic import Anthropic
from waterline.providers.base import Provider
from waterline.providers.openai import OpenAI
from waterline.providers.simulated_answers import Ask, Bill, Call, Head, Said, StreamOptions, cut
from waterline.providers.simulated_messages import events, plain
from waterline.providers.simulated_openai import events as openai_events
from waterline.providers.simulated_openai import plain as openai_plain

HEAD = Head("msg_1", 0, "claude-x")
BILL = Bill(prompt=100, output=30, cached=40, cache_write=10, reasoning=4)
SAID = {
    "text": Said(cut("Good morning to you."), "stop"),
    "cut off": Said(cut("Good morning"), "length"),
    "stopped": Said(cut("Good "), "stop", stopped="END"),
    "filtered": Said(cut("Good "), "content_filter"),
    "thought": Said(cut("Four."), "stop", thinking="Two and two is four.", redacted="c2VjcmV0"),
    "tool": Said(cut('{"city": "Porto"}'), "tool_calls", Call("weather", '{"city": "Porto"}'), thinking="Ask."),
    "nothing": Said((), "stop"),
}


def assembled(out: bytes) -> dict[str, Any]:
    """The message that the events make, by the rules of Anthropic's streaming page."""
    message: dict[str, Any] = {}
    done, open_block = False, None
    for part in out.decode().split("\n\n")[:-1]:
        name, _, data = part.partition("\ndata: ")
        body = json.loads(data)
        assert name == f"event: {body['type']}"
        assert not done
        match body["type"]:
            case "message_start":
                assert not message
                message = body["message"]
            case "content_block_start":
                assert open_block is None
                assert body["index"] == len(message["content"])
                open_block = body["content_block"] | {"json": ""}
            case "content_block_delta":
                assert body["index"] == len(message["content"])
                delta = body["delta"]
                kinds = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
                if delta["type"] == "input_json_delta":
                    open_block["json"] += delta["partial_json"]
                elif delta["type"] == "citations_delta":
                    open_block.setdefault("citations", []).append(delta["citation"])
                else:
                    key = kinds[delta["type"]]
                    open_block[key] += delta[key]
            case "content_block_stop":
                text = open_block.pop("json")
                if text:
                    open_block["input"] = json.loads(text)
                message["content"].append(open_block)
                open_block = None
            case "message_delta":
                assert open_block is None
                message = message | body["delta"] | {"usage": message["usage"] | body["usage"]}
            case "message_stop":
                done = True
    assert done
    return message


def canonical(provider: Provider, data: bytes) -> bytes:
    reader = provider.stream(forward_usage=True)
    return reader.feed(data) + b"data: [DONE]\n\n"


@pytest.mark.parametrize("said", SAID.values(), ids=SAID.keys())
def test_thinking_signatures_tool_calls_stop_sequences_and_cache_counts_survive_anthropic(said):
    """Plain: equal to what Anthropic said. Streamed: the same message."""
    provider = Anthropic(lambda: 0)
    native = json.loads(plain(HEAD, said, BILL))
    del native["usage"]["service_tier"]
    assert json.loads(MessagesTranslator("main").answer(provider.answer(plain(HEAD, said, BILL)).body)) == native
    made = events(HEAD, said, BILL)
    stream = b"".join((made.begin, *made.content, *made.end, made.done))
    got = assembled(MessagesTranslator("main").feed(canonical(provider, stream)))
    if not said.pieces:  # Anthropic's stream has an empty block, of which nothing is said
        native["content"] = []
    assert got == native


@pytest.mark.parametrize("said", SAID.values(), ids=SAID.keys())
def test_an_openai_answer_is_the_same_message_plain_and_streamed(said):
    ask = Ask(stream_options=StreamOptions(include_usage=True))
    body = openai_plain(HEAD, ask, [said], BILL)
    one = json.loads(MessagesTranslator("main").answer(OpenAI().answer(body).body))
    made = openai_events(HEAD, ask, [said], BILL)
    stream = b"".join((made.begin, *made.content, *made.end, made.done))
    other = assembled(MessagesTranslator("main").feed(canonical(OpenAI(), stream)))
    assert other == one
    assert one["usage"]["input_tokens"] + one["usage"]["cache_read_input_tokens"] == BILL.prompt
    if said.thinking:
        assert one["content"][0] == {"type": "thinking", "thinking": said.thinking, "signature": ""}


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(SAID)), st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_where_the_stream_is_split_makes_no_difference(name, sizes):
    made = events(HEAD, SAID[name], BILL)
    stream = b"".join((made.begin, *made.content, *made.end, made.done))
    whole = MessagesTranslator("main").feed(canonical(Anthropic(lambda: 0), stream))
    reader, translator, out, at = Anthropic(lambda: 0).stream(forward_usage=True), MessagesTranslator("main"), b"", 0
    for size in sizes:
        out += translator.feed(reader.feed(stream[at : at + size]))
        at += size
    out += translator.feed(reader.feed(stream[at:]) + b"data: [DONE]\n\n")
    assert out == whole


def test_every_input_json_delta_is_forwarded_as_it_came():
    made = events(HEAD, SAID["tool"], BILL)
    out = MessagesTranslator("main").feed(canonical(Anthropic(lambda: 0), b"".join((made.begin, *made.content))))
    pieces = [json.loads(e.split("data: ")[1])["delta"].get("partial_json") for e in out.decode().split("\n\n")
              if "input_json_delta" in e]  # fmt: skip
    assert tuple(pieces) == SAID["tool"].pieces


SEARCHED: list[dict[str, Any]] = [
    {"type": "text", "text": "Let me look."},
    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "tides"}},
    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"type": "web_search_result", "url": "u"}]},
    {"type": "text", "text": "High tide is at nine.", "citations": [{"type": "char_location", "cited_text": "9:00"}]},
    {"type": "text", "text": " Bring boots."},
]


def searched_events() -> bytes:
    """The same message, streamed as Anthropic does."""
    out = [{"type": "message_start", "message": {"id": "msg_1", "model": "m", "content": []}}]
    for i, block in enumerate(SEARCHED):
        start, deltas = dict(block), []
        match block["type"]:
            case "text":
                deltas = [{"type": "text_delta", "text": block["text"]}]
                deltas += [{"type": "citations_delta", "citation": c} for c in block.get("citations", [])]
                start = {"type": "text", "text": ""}
            case "server_tool_use":
                start["input"] = {}
                deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
        out.append({"type": "content_block_start", "index": i, "content_block": start})
        out += [{"type": "content_block_delta", "index": i, "delta": d} for d in deltas]
        out.append({"type": "content_block_stop", "index": i})
    out.append({"type": "message_delta", "delta": {"stop_reason": "pause_turn"}, "usage": {"output_tokens": 9}})
    out.append({"type": "message_stop"})
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in out)


def test_blocks_of_anthropics_own_tools_and_citations_come_through_in_their_order():
    native = {"id": "msg_1", "model": "m", "content": SEARCHED, "stop_reason": "pause_turn"}
    plain_answer = Anthropic(lambda: 0).answer(json.dumps(native).encode())
    one = json.loads(MessagesTranslator("main").answer(plain_answer.body))
    assert (one["content"], one["stop_reason"]) == (SEARCHED, "pause_turn")
    other = assembled(MessagesTranslator("main").feed(canonical(Anthropic(lambda: 0), searched_events())))
    assert (other["content"], other["stop_reason"]) == (SEARCHED, "pause_turn")


def test_a_text_that_was_changed_on_its_way_is_told_as_changed():
    """What a guard takes out of the canonical answer does not come back by way of the blocks."""
    native = {"id": "msg_1", "model": "m", "content": SEARCHED, "stop_reason": "end_turn"}
    body = json.loads(Anthropic(lambda: 0).answer(json.dumps(native).encode()).body)
    body["choices"][0]["message"]["content"] = "[removed]"
    one = json.loads(MessagesTranslator("main").answer(json.dumps(body).encode()))
    assert one["content"] == [{"type": "text", "text": "[removed]"}]


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    body = {
        "id": "chatcmpl-1",
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": more.pop("name")} if "name" in more else {})
    return {"tool_calls": [{"index": index, "function": function, **more}]}


def test_parallel_tool_calls_are_blocks_of_their_own():
    stream = (
        chunk({"role": "assistant", "content": None})
        + chunk(call(0, "", id="a", name="x"))
        + chunk(call(0, '{"n":1}'))
        + chunk(call(1, '{"n":', id="b", name="y"))
        + chunk(call(1, "2}"))
        + chunk({}, "stop")  # some servers say so
        + b"data: [DONE]\n\n"
    )
    message = assembled(MessagesTranslator("main").feed(stream))
    assert [(b["id"], b["name"], b["input"]) for b in message["content"]] == [
        ("a", "x", {"n": 1}),
        ("b", "y", {"n": 2}),
    ]
    assert message["stop_reason"] == "tool_use"


def test_two_calls_under_one_index_are_told_apart_by_their_ids():
    stream = chunk(call(0, "{}", id="a", name="x")) + chunk(call(0, "{}", id="b", name="x")) + chunk({}, "tool_calls")
    message = assembled(MessagesTranslator("main").feed(stream + b"data: [DONE]\n\n"))
    assert [b["id"] for b in message["content"]] == ["a", "b"]


def test_interleaved_arguments_are_an_error_never_a_mixed_call():
    translator = MessagesTranslator("main")
    translator.feed(chunk(call(0, '{"n":', id="a", name="x")) + chunk(call(1, "{}", id="b", name="y")))
    with pytest.raises(msgspec.DecodeError, match="another block"):
        translator.feed(chunk(call(0, "1}")))


def test_a_stream_that_has_not_ended_has_no_message_stop():
    translator = MessagesTranslator("main")
    out = translator.feed(chunk({"content": "Good"}) + chunk({"content": " morning"}, "stop"))
    assert b"message_stop" not in out
    assert b"message_delta" not in out
    assert translator.broken(ProviderUnavailable("cut")).startswith(b"event: error\n")


def test_an_unknown_finish_reason_is_not_called_success():
    out = MessagesTranslator("main").feed(chunk({"content": "x"}, "odd") + b"data: [DONE]\n\n")
    assert assembled(out)["stop_reason"] == "max_tokens"


def test_a_refusal_is_a_refusal():
    out = MessagesTranslator("main").feed(chunk({"refusal": "No."}) + chunk({}, "stop") + b"data: [DONE]\n\n")
    message = assembled(out)
    assert (message["content"][0]["text"], message["stop_reason"]) == ("No.", "refusal")


def test_arguments_that_are_no_object_are_an_error_unless_the_answer_was_cut_off():
    def body(finish: str) -> bytes:
        function = {"name": "x", "arguments": '{"n":'}
        message = {"content": None, "tool_calls": [{"id": "a", "function": function}]}
        return json.dumps(
            {"id": "1", "model": "m", "choices": [{"message": message, "finish_reason": finish}]}
        ).encode()

    with pytest.raises(msgspec.DecodeError):
        MessagesTranslator("main").answer(body("tool_calls"))
    message = json.loads(MessagesTranslator("main").answer(body("length")))
    assert (message["stop_reason"], message["content"][0]["input"]) == ("max_tokens", {})


@pytest.mark.parametrize("error", request_errors().values(), ids=request_errors().keys())
def test_every_error_has_anthropics_shape_and_our_code(error: type[RequestError]):
    import anthropic.types as types

    made = json.loads(MessagesTranslator("main").broken(error("why")).split(b"data: ")[1])
    assert (made["type"], made["error"]["message"], made["error"]["code"]) == ("error", "why", error.code)
    read = types.ErrorResponse.model_validate(made)
    assert read.error.type == made["error"]["type"]
