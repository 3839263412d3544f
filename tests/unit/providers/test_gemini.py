"""Gemini: requests as its API wants them, answers and streams as OpenAI's SDK reads them."""

import base64
import json
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from google.genai import types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from waterline.core.money import Usage
from waterline.core.release import Route
from waterline.providers.base import ProviderFault
from waterline.providers.gemini import Gemini, GeminiStream

ROUTE = Route(provider="gemini", model="gemini-3.8-flash", max_tokens=300)
OLD = Route(provider="gemini", model="gemini-2.5-flash")
PROVIDER = Gemini(lambda: 1_800_000_000)
HI = [{"role": "user", "content": "hi"}]
PNG = "data:image/png;base64,iVBORw0KGgo="
CONTENT_OF: dict[str, Any] = {
    "contents": list[types.Content],
    "systemInstruction": types.Content,
    "generationConfig": types.GenerationConfig,
    "tools": list[types.Tool],
    "toolConfig": types.ToolConfig,
}


def sent(route: Route = ROUTE, **fields: Any) -> dict[str, Any]:
    """What reaches Gemini, checked against the official types (which forbid unknown names)."""
    from pydantic import TypeAdapter

    fields.setdefault("messages", HI)
    raw = {name: Raw(json.dumps(value).encode()) for name, value in fields.items()}
    body = PROVIDER.request(raw, route)
    assert body == PROVIDER.request(dict(raw), route)  # deterministic
    out: dict[str, Any] = json.loads(body)
    for name, value in out.items():
        if name in CONTENT_OF:
            TypeAdapter(CONTENT_OF[name]).validate_python(value)
    return out


def refused(**fields: Any) -> ProviderFault:
    with pytest.raises(ProviderFault) as error:
        sent(**fields)
    assert error.value.kind == "invalid"
    return error.value


# --- the request ------------------------------------------------------------------------------------------------


def test_the_model_is_in_the_path_and_the_key_in_a_header_never_in_the_address() -> None:
    assert PROVIDER.chat_path == "/models/{model}:generateContent"
    assert PROVIDER.stream_path == "/models/{model}:streamGenerateContent?alt=sse"
    assert (b"x-goog-api-key", b"s3cret") in PROVIDER.headers("s3cret")
    assert all(name != b"x-goog-api-key" for name, _ in PROVIDER.headers(""))
    assert "key" not in PROVIDER.chat_path + PROVIDER.stream_path + PROVIDER.embeddings_path
    assert set(sent(model="gemini-3.8-flash", stream=True, stream_options={"include_usage": True})) == {"contents"}


def test_system_and_developer_messages_become_the_system_instruction() -> None:
    out = sent(messages=[{"role": "system", "content": "be brief"}, *HI, {"role": "developer", "content": "be kind"}])
    assert out["systemInstruction"] == {"parts": [{"text": "be brief"}, {"text": "be kind"}]}
    assert out["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]


@pytest.mark.parametrize(
    ("fields", "bound"),
    [({"max_tokens": 9}, 9), ({"max_completion_tokens": 8}, 8), ({"max_tokens": 9, "max_completion_tokens": 8}, 8)],
)
def test_the_length_is_never_above_what_was_asked(fields: dict[str, int], bound: int) -> None:
    assert sent(**fields)["generationConfig"] == {"maxOutputTokens": bound}


def test_a_tool_loop_becomes_calls_and_one_turn_of_results_with_their_names() -> None:
    def call(id: str, name: str, **more: Any) -> dict[str, Any]:
        return {"id": id, "type": "function", "function": {"name": name, "arguments": '{"q": 1.50}'}, **more}

    signed = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    out = sent(
        messages=[
            *HI,
            {"role": "assistant", "content": "look", "tool_calls": [call("a", "find", **signed), call("b", "now")]},
            {"role": "tool", "tool_call_id": "a", "content": '{"found": [1]}'},
            {"role": "tool", "tool_call_id": "b", "content": "{not json"},
            {"role": "user", "content": "and?"},
        ]
    )["contents"]
    assert [turn["role"] for turn in out] == ["user", "model", "user", "user"]
    assert out[1]["parts"] == [
        {"text": "look"},
        {"functionCall": {"id": "a", "name": "find", "args": {"q": 1.5}}, "thoughtSignature": "c2ln"},
        {"functionCall": {"id": "b", "name": "now", "args": {"q": 1.5}}},
    ]
    assert out[2]["parts"] == [
        {"functionResponse": {"id": "a", "name": "find", "response": {"found": [1]}}},
        {"functionResponse": {"id": "b", "name": "now", "response": {"result": "{not json"}}},
    ]


def test_a_call_of_another_provider_says_that_it_has_no_signature_where_the_model_insists_on_one() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    messages = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call, {**call, "id": "b"}]},
        {"role": "tool", "tool_call_id": "a", "content": "x"},
        {"role": "tool", "tool_call_id": "b", "content": "y"},
    ]
    parts = sent(messages=messages)["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["skip_thought_signature_validator", None]
    assert all("thoughtSignature" not in part for part in sent(OLD, messages=messages)["contents"][1]["parts"])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "find"}}, {"mode": "ANY", "allowedFunctionNames": ["find"]}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "find"}}]},
            },
            {"mode": "VALIDATED", "allowedFunctionNames": ["find"]},
        ),
    ],
)
def test_tool_choice_is_translated(choice: Any, expected: dict[str, Any]) -> None:
    tools = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
    assert sent(tools=tools, tool_choice=choice)["toolConfig"] == {"functionCallingConfig": expected}


def test_strict_tools_are_validated() -> None:
    tool = {"type": "function", "function": {"name": "find", "strict": True, "description": "finds"}}
    out = sent(tools=[tool])
    assert out["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert out["tools"] == [{"functionDeclarations": [{"name": "find", "description": "finds"}]}]


def test_a_json_schema_is_told_in_the_words_that_gemini_knows() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "const": {"const": "a property may have any name"},
            "age": {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 130, "maximum": 200},
            "who": {"$ref": "#/$defs/who", "description": "dropped: a $ref stands alone"},
            "any": {"anyOf": [{"const": 1}, {"type": "null"}]},
            "one": {"allOf": [{"$ref": "#/$defs/who"}]},
            "list": {"type": "array", "items": {"const": True}, "minItems": 1},
        },
        "required": ["age"],
        "additionalProperties": False,
        "$defs": {"who": {"type": ["string", "null"], "pattern": "^a"}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    out = sent(response_format=form)["generationConfig"]
    assert out["responseMimeType"] == "application/json"
    assert out["responseJsonSchema"] == {
        "type": "object",
        "properties": {
            "const": {"enum": ["a property may have any name"]},
            "age": {"type": "integer", "minimum": 1, "maximum": 129},
            "who": {"$ref": "#/$defs/who"},
            "any": {"anyOf": [{"enum": [1]}, {"type": "null"}]},
            "one": {"$ref": "#/$defs/who"},
            "list": {"type": "array", "items": {"enum": [True]}, "minItems": 1},
        },
        "required": ["age"],
        "additionalProperties": False,
        "$defs": {"who": {"type": ["string", "null"], "pattern": "^a"}},
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    declared = sent(tools=[tool])["tools"][0]["functionDeclarations"][0]
    assert declared == {"name": "f", "parametersJsonSchema": {"type": "object", "properties": {}}}


def test_images_audio_and_files_become_parts() -> None:
    content = [
        {"type": "text", "text": "what?"},
        {"type": "text", "text": ""},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a/cat.jpg?w=1"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
    ]
    assert sent(messages=[{"role": "user", "content": content}])["contents"][0]["parts"] == [
        {"text": "what?"},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
        {"fileData": {"fileUri": "https://example.com/a/cat.jpg?w=1", "mimeType": "image/jpeg"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
    ]


def test_the_other_fields_are_translated_or_passed_through() -> None:
    out = sent(
        temperature=0.5, top_p=0.9, top_k=40, seed=7, n=2, presence_penalty=0.1, frequency_penalty=0.2, stop="END",
        response_format={"type": "json_object"}, user="u", parallel_tool_calls=True, logprobs=False, tool_choice=None,
        safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        generationConfig={"mediaResolution": "MEDIA_RESOLUTION_LOW"}, reasoning_effort="low",
    )  # fmt: skip
    assert out["generationConfig"] == {
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "seed": 7,
        "candidateCount": 2,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "stopSequences": ["END"],
        "responseMimeType": "application/json",
        "thinkingConfig": {"thinkingLevel": "LOW"},
    }
    assert out["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    assert set(out) == {"contents", "generationConfig", "safetySettings"}


def test_effort_is_a_budget_where_the_model_thinks_by_budget() -> None:
    thinking = sent(OLD, reasoning_effort="none")["generationConfig"]["thinkingConfig"]
    assert thinking == {"thinkingBudget": 0}
    asked = sent(thinking={"type": "enabled", "budget_tokens": 500})["generationConfig"]["thinkingConfig"]
    assert asked == {"thinkingBudget": 500, "includeThoughts": True}
    assert "reasoning_effort" in str(refused(reasoning_effort="none"))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"logprobs": 1}, "logprobs"),
        ({"top_logprobs": 2}, "logprobs = true"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": True}, "top_logprobs"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"tools": [{"googleSearch": {}}]}, "tools[0]"),
        ({"tools": "x"}, "tools"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"generationConfig": {"maxOutputTokens": 9}}, "max_tokens"),
        ({"generationConfig": {"candidateCount": 4}}, "candidateCount"),
        ({"cachedContent": "cachedContents/x"}, "cachedContent"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages[0]"),
        ({"messages": [{"role": "system", "content": "x"}]}, "user message"),
        ({"messages": [{"role": "tool", "tool_call_id": "z", "content": "x"}]}, "'z'"),
        ({"messages": [{"role": "user", "content": [{"type": "video_url"}]}]}, "video_url"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}, "file_data"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://a/b.mp4"}]}]},
            "video/mp4",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "file:///x"}]}]}, "data:"),
        (
            {
                "messages": [
                    *HI,
                    {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "[1]"}}]},
                ]
            },
            "arguments",
        ),
    ],
)
def test_what_gemini_cannot_express_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    assert named in str(refused(**fields))


WORDS = ["type", "text", "role", "user", "content", "function", "name", "image_url", "url", "enabled", "allowed_tools",
         "mode", "auto", "tools", "thinkingConfig", "budget_tokens", "json_schema", "schema", "$ref",
         "allOf"]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)
NAMES = ["messages", "tools", "tool_choice", "response_format", "stop", "max_tokens", "generationConfig", "thinking",
         "reasoning_effort", "input"]  # fmt: skip


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5))
def test_any_request_is_translated_or_refused(fields: dict[str, Any]) -> None:
    if "input" not in fields:
        fields.setdefault("messages", HI)
    raw = {name: Raw(json.dumps(value).encode()) for name, value in fields.items()}
    try:
        out = PROVIDER.request(raw, ROUTE)
    except ProviderFault as error:
        fault = error
    else:
        fault = None
        json.loads(out)
    assert fault is None or fault.kind == "invalid"


# --- plain answers ----------------------------------------------------------------------------------------------


USAGE = {
    "promptTokenCount": 1000,
    "cachedContentTokenCount": 600,
    "candidatesTokenCount": 50,
    "thoughtsTokenCount": 200,
    "toolUsePromptTokenCount": 30,
    "totalTokenCount": 1280,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 900}, {"modality": "AUDIO", "tokenCount": 100}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 580}, {"modality": "AUDIO", "tokenCount": 20}],
}
BUCKETS = Usage(input=350, cached_input=600, audio_input=80, output=50, reasoning=200)


def answer_body(parts: Sequence[dict[str, Any]], finish: str | None = "STOP", **more: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    whole = {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": "gemini-3.8-flash", "responseId": "r1"}
    return json.dumps({**whole, **more}).encode()


def test_an_answer_becomes_a_chat_completion_with_usage_in_exclusive_buckets() -> None:
    parts = [
        {"text": "let me think", "thought": True},
        {"text": "Hel"},
        {"text": "lo", "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "find", "args": {"q": "é"}}, "thoughtSignature": "Y2FsbA=="},
        {"functionCall": {"name": "now", "id": "given"}},
    ]
    answer = PROVIDER.answer(answer_body(parts))
    read = ChatCompletion.model_validate_json(answer.body, strict=True)
    message = read.choices[0].message
    assert (message.content, read.choices[0].finish_reason, read.model) == ("Hello", "tool_calls", "gemini-3.8-flash")
    assert [call.id for call in message.tool_calls or []] == ["call_r1_0_0", "given"]
    assert json.loads((message.tool_calls or [])[0].function.arguments) == {"q": "é"}  # type: ignore[union-attr]
    assert (message.tool_calls or [])[1].function.arguments == "{}"  # type: ignore[union-attr]
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == "let me think"
    assert answer.usage == BUCKETS
    assert answer.usage.total_input + answer.usage.total_output == 1280
    assert read.usage is not None
    assert (read.usage.prompt_tokens, read.usage.completion_tokens, read.usage.total_tokens) == (1030, 250, 1280)
    assert (answer.finish_reason, answer.text) == ("tool_calls", "Hello")


def test_signatures_of_text_and_of_calls_survive_the_round_trip() -> None:
    parts = [
        {"text": "Hello", "thoughtSignature": "c2ln"},
        {"functionCall": {"id": "x", "name": "find", "args": {"q": 1}}, "thoughtSignature": "Y2FsbA=="},
        {"functionCall": {"id": "y", "name": "now", "args": {}}},
    ]
    said = json.loads(PROVIDER.answer(answer_body(parts)).body)["choices"][0]["message"]
    back = sent(
        messages=[
            *HI,
            said,
            {"role": "tool", "tool_call_id": "x", "content": "1"},
            {"role": "tool", "tool_call_id": "y", "content": "2"},
        ]
    )
    assert back["contents"][1] == {"role": "model", "parts": parts}
    alone = [{"text": "", "thoughtSignature": "c2ln"}]
    said = json.loads(PROVIDER.answer(answer_body(alone)).body)["choices"][0]["message"]
    assert sent(messages=[*HI, said, *HI])["contents"][1]["parts"] == alone


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("SOMETHING_NEW", "length"),
    ],
)
def test_finish_reasons_are_mapped_and_a_truncated_answer_is_never_success(reason: str, finish: str) -> None:
    assert PROVIDER.answer(answer_body([{"text": "x"}], reason)).finish_reason == finish
    empty = json.dumps({"candidates": [{"finishReason": reason, "index": 0}]}).encode()
    assert PROVIDER.answer(empty).finish_reason == finish
    assert PROVIDER.answer(empty).usage is None  # missing is not zero


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER"])
def test_a_failed_answer_is_an_error_that_was_billed(reason: str) -> None:
    with pytest.raises(ProviderFault, match=reason) as error:
        PROVIDER.answer(answer_body([], reason))
    assert (error.value.kind, error.value.usage) == ("garbage", BUCKETS)


def test_a_blocked_prompt_is_a_refusal_not_an_error() -> None:
    feedback = {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "no"}
    body = {"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 4}, "modelVersion": "m"}
    answer = PROVIDER.answer(json.dumps(body).encode())
    read = ChatCompletion.model_validate_json(answer.body, strict=True)
    assert read.choices[0].finish_reason == "content_filter"
    assert "PROHIBITED_CONTENT" in (read.choices[0].message.refusal or "")
    assert answer.usage == Usage(input=4)
    reader, out = read_all(b"data: " + json.dumps(body).encode() + b"\n\n")
    assert (reader.finish_reason, reader.done) == ("content_filter", True)
    deltas = [c.choices[0] for c in chunks_of(out) if c.choices]
    assert "PROHIBITED_CONTENT" in "".join(d.delta.refusal or "" for d in deltas)
    assert deltas[-1].finish_reason == "content_filter"


def test_an_answer_in_pictures_is_refused_rather_than_lost() -> None:
    with pytest.raises(ProviderFault, match="image/png") as error:
        PROVIDER.answer(answer_body([{"inlineData": {"mimeType": "image/png", "data": "x"}}]))
    assert (error.value.kind, error.value.usage) == ("invalid", BUCKETS)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"<html>", b"\xff", b"[" * 100_000, answer_body([], None), b'{"candidates":[]}',
     b'{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":-1}}'],
)  # fmt: skip
def test_what_is_no_answer_is_garbage(body: bytes) -> None:
    with pytest.raises(ProviderFault) as error:
        PROVIDER.answer(body)
    assert error.value.kind == "garbage"


def test_several_candidates_become_choices() -> None:
    candidates = [{"index": i, "content": {"parts": [{"text": t}]}, "finishReason": "STOP"} for i, t in enumerate("ab")]
    read = ChatCompletion.model_validate_json(PROVIDER.answer(answer_body([], candidates=candidates)).body)
    assert [(c.index, c.message.content) for c in read.choices] == [(0, "a"), (1, "b")]


# --- streams ----------------------------------------------------------------------------------------------------


def event(parts: Sequence[dict[str, Any]], finish: str = "", *, index: int = 0, **more: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": index}
    if finish:
        candidate["finishReason"] = finish
    whole = {"candidates": [candidate], "modelVersion": "gemini-3.8-flash", "responseId": "r1", **more}
    return b"data: " + json.dumps(whole).encode() + b"\r\n\r\n"


STREAM = (
    event([{"text": "hm", "thought": True}], usageMetadata={"promptTokenCount": 1000})
    + event([{"text": "I lo"}])
    + b": keep-alive\r\n\r\n"
    + event([{"text": "ok. é\r\n"}])
    + event([{"functionCall": {"name": "find", "args": {"q": 1}}, "thoughtSignature": "Y2FsbA=="}])
    + event([{"functionCall": {"name": "now", "id": "given", "args": {}}}])
    + event([{"text": "", "thoughtSignature": "c2ln"}], "STOP", usageMetadata=USAGE)
)


def read_all(data: bytes, *, usage: bool = True, choices: int = 1) -> tuple[GeminiStream, bytes]:
    reader = GeminiStream(1_800_000_000, forward_usage=usage, choices=choices)
    return reader, reader.feed(data) + reader.end()


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
    calls = [call for d in deltas for call in d.tool_calls or []]
    assert [(c.index, c.id, c.function.name, c.function.arguments) for c in calls if c.function] == [
        (0, "call_r1_0_0", "find", '{"q": 1}'),
        (1, "given", "now", "{}"),
    ]
    assert calls[0].model_extra == {"extra_content": {"google": {"thought_signature": "Y2FsbA=="}}}
    assert getattr(deltas[-2], "extra_content", None) == {"google": {"thought_signature": "c2ln"}}
    assert [c.choices[0].finish_reason for c in chunks if c.choices if c.choices[0].finish_reason] == ["tool_calls"]
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert (reader.began, reader.finished, reader.done, reader.finish_reason) == (True, True, True, "tool_calls")
    assert reader.usage == BUCKETS
    assert "".join(reader.text) == "hmI look. é\r\n"


def test_usage_is_read_but_not_forwarded_unless_it_was_asked_for() -> None:
    reader, out = read_all(STREAM, usage=False)
    assert reader.usage == BUCKETS
    assert b"usage" not in out


def test_the_end_is_told_once_though_every_event_says_that_it_is_the_last() -> None:
    """Older models put STOP on every event."""
    reader, out = read_all(event([{"text": "a"}], "STOP") + event([{"text": "b"}], "STOP"), usage=False)
    choices = [c.choices[0] for c in chunks_of(out)]
    assert "".join(c.delta.content or "" for c in choices) == "ab"
    assert [c.finish_reason for c in choices] == [None, None, None, "stop"]
    assert reader.done


def test_a_stream_without_a_finish_reason_is_not_finished() -> None:
    reader, out = read_all(event([{"text": "half an ans"}]))
    assert (reader.began, reader.finished, reader.done) == (True, False, False)
    assert b'finish_reason":"' not in out
    two, _ = read_all(event([{"text": "a"}], "STOP"), choices=2)
    assert not two.finished  # the other choice never came


def test_several_choices_end_apart() -> None:
    data = event([{"text": "a"}]) + event([{"text": "b"}], "MAX_TOKENS", index=1) + event([], "STOP")
    reader, out = read_all(data, choices=2)
    ends = [(c.choices[0].index, c.choices[0].finish_reason) for c in chunks_of(out) if c.choices[0].finish_reason]
    assert sorted(ends) == [(0, "stop"), (1, "length")]
    assert reader.done


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.booleans())
def test_any_split_of_the_bytes_gives_the_same_output(cuts: list[int], lf: bool) -> None:
    data = STREAM.replace(b"\r\n", b"\n") if lf else STREAM
    reader = GeminiStream(1_800_000_000, forward_usage=True)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    out = b"".join(reader.feed(data[a:b]) for a, b in pairwise(edges)) + reader.end()
    whole, expected = read_all(STREAM)
    assert out == expected
    assert (reader.usage, reader.text, reader.chunks, reader.done) == (whole.usage, whole.text, whole.chunks, True)


def test_every_single_split_gives_the_same_output() -> None:
    _, expected = read_all(STREAM)
    for at in range(len(STREAM) + 1):
        reader = GeminiStream(1_800_000_000, forward_usage=True)
        assert reader.feed(STREAM[:at]) + reader.feed(STREAM[at:]) + reader.end() == expected


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_mutated_bytes_are_read_or_a_fault_never_another_exception(data: st.DataObject) -> None:
    raw = bytearray(STREAM)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        patch = data.draw(st.binary(max_size=6) | st.sampled_from([b"\n\n", b'"', b"\\ud800", b"}", b"-1", b"null"]))
        raw[at : at + data.draw(st.integers(0, 8))] = patch
    reader = GeminiStream(0, forward_usage=True)
    out, kind = b"", "garbage"
    try:
        for at in range(0, len(raw), 200):
            out += reader.feed(bytes(raw[at : at + 200]))
        out += reader.end()
    except ProviderFault as fault:
        kind = fault.kind
        out += reader.pending
    assert kind in ("garbage", "unavailable", "rate_limited", "invalid")
    for line in out.split(b"\n\n")[:-1]:
        json.loads(line.removeprefix(b"data: "))


@pytest.mark.parametrize(
    "data", [b"data: {oops}\n\n", b"data: [1]\n\n", b"data: " + b"[" * 100_000 + b"\n\n", b"data: " + b"x" * (33 << 20)]
)
def test_a_stream_that_makes_no_sense_is_garbage(data: bytes) -> None:
    with pytest.raises(ProviderFault) as error:
        read_all(data)
    assert error.value.kind == "garbage"


def test_events_before_a_fault_are_not_lost() -> None:
    for bad, kind in (
        (b'data: {"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}\r\n\r\n', "unavailable"),
        (event([], "MALFORMED_FUNCTION_CALL"), "garbage"),
    ):
        reader = GeminiStream(0, forward_usage=False)
        with pytest.raises(ProviderFault) as error:
            reader.feed(event([{"text": "so far"}]) + bad)
        assert error.value.kind == kind
        assert b"so far" in reader.pending
        assert reader.pending == b""
        assert not reader.done


# --- faults -----------------------------------------------------------------------------------------------------

RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "36.5s"}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
TOO_LONG = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."


@pytest.mark.parametrize(
    ("status", "name", "text", "details", "expected", "retry_s"),
    [
        (400, "INVALID_ARGUMENT", "Invalid value", [], "invalid", 3.0),
        (400, "INVALID_ARGUMENT", TOO_LONG, [], "context_length", 3.0),
        (400, "INVALID_ARGUMENT", "API key not valid.", [BAD_KEY], "refused_key", 3.0),
        (400, "INVALID_ARGUMENT", "API key expired. Please renew it.", [BAD_KEY], "refused_key", 3.0),
        (400, "FAILED_PRECONDITION", "User location is not supported for the API use.", [], "refused_key", 3.0),
        (401, "UNAUTHENTICATED", "no", [], "refused_key", 3.0),
        (403, "PERMISSION_DENIED", "no", [], "refused_key", 3.0),
        (404, "NOT_FOUND", "models/x is not found", [], "invalid", 3.0),
        (429, "RESOURCE_EXHAUSTED", "quota", [RETRY], "rate_limited", 36.5),
        (429, "RESOURCE_EXHAUSTED", "quota", [], "rate_limited", 3.0),
        (500, "INTERNAL", "oops", [], "unavailable", 3.0),
        (503, "UNAVAILABLE", "The model is overloaded.", [], "unavailable", 3.0),
        (504, "DEADLINE_EXCEEDED", "late", [], "silent", 3.0),
    ],
)
def test_an_error_answer_says_whether_a_retry_may_help(
    status: int, name: str, text: str, details: list[Any], expected: str, retry_s: float
) -> None:
    one = {"error": {"code": status, "message": text, "status": name, "details": details}}
    for body in (one, [one]):
        fault = PROVIDER.fault(status, [(b"retry-after", b"3")], json.dumps(body).encode())
        assert (fault.kind, fault.message, fault.status, fault.retry_after_s) == (expected, text, status, retry_s)


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[]", b'{"error":"x"}', b"[" * 100_000])
def test_an_error_without_a_body_is_known_by_its_status(body: bytes) -> None:
    assert PROVIDER.fault(502, [], body).kind == "unavailable"
    assert PROVIDER.fault(429, [], body).kind == "rate_limited"


# --- embeddings -------------------------------------------------------------------------------------------------


def test_embeddings_are_asked_in_one_batch_and_answered_in_openai_s_form() -> None:
    raw = {"model": Raw(b'"main"'), "input": Raw(b'["a","b"]'), "dimensions": Raw(b"8")}
    out = json.loads(PROVIDER.request(raw, ROUTE))
    assert out == {
        "requests": [
            {"model": "models/gemini-3.8-flash", "content": {"parts": [{"text": t}]}, "outputDimensionality": 8}
            for t in "ab"
        ]
    }
    body = b'{"embeddings":[{"values":[0.5,1]},{"values":[2,3]}],"usageMetadata":{"promptTokenCount":7}}'
    answer = PROVIDER.embeddings(body, raw, ROUTE)
    read = CreateEmbeddingResponse.model_validate_json(answer.body, strict=True)
    assert [one.embedding for one in read.data] == [[0.5, 1], [2, 3]]
    assert (answer.usage, read.usage.prompt_tokens) == (Usage(input=7), 7)
    packed = PROVIDER.embeddings(body, {**raw, "encoding_format": Raw(b'"base64"')}, ROUTE)
    first = json.loads(packed.body)["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(first)) == (0.5, 1.0)
    assert PROVIDER.embeddings(b'{"embeddings":[{"values":[1]}]}', raw, ROUTE).usage is None
    with pytest.raises(ProviderFault, match="not tokens"):
        PROVIDER.request({"input": Raw(b"[1,2]")}, ROUTE)
    with pytest.raises(ProviderFault, match="list of embeddings"):
        PROVIDER.embeddings(b"{}", raw, ROUTE)


# --- log-probabilities ------------------------------------------------------------------------------------------------

PROBABLE = {
    "chosenCandidates": [{"token": "Tue", "tokenId": 7, "logProbability": -0.25}, {"token": "s☂", "tokenId": 8}],
    "topCandidates": [{"candidates": [{"token": "Wed", "tokenId": 9, "logProbability": -1.5}]}],
}
AS_OPENAI = [
    {"token": "Tue", "logprob": -0.25, "bytes": [84, 117, 101],
     "top_logprobs": [{"token": "Wed", "logprob": -1.5, "bytes": [87, 101, 100]}]},
    {"token": "s☂", "logprob": 0.0, "bytes": [115, 226, 152, 130], "top_logprobs": []},
]  # fmt: skip


def test_logprobs_are_asked_for_in_geminis_words() -> None:
    def asked(**fields: Any) -> Any:
        return sent(**fields).get("generationConfig", {})

    assert asked(logprobs=True, top_logprobs=3) == {"responseLogprobs": True, "logprobs": 3}
    assert asked(logprobs=True, top_logprobs=0) == asked(logprobs=True) == {"responseLogprobs": True}
    assert asked(logprobs=False) == asked(top_logprobs=0) == {}


def test_logprobs_of_a_plain_answer_are_told_as_openai_tells_them() -> None:
    candidate = {"content": {"parts": [{"text": "Tues☂"}]}, "finishReason": "STOP", "logprobsResult": PROBABLE}
    choice = json.loads(PROVIDER.answer(json.dumps({"candidates": [candidate]}).encode()).body)["choices"][0]
    assert choice["logprobs"] == {"content": AS_OPENAI, "refusal": None}


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([{"text": "Tues☂"}], [{"content": "Tues☂"}]),
        ([{"text": "hm", "thought": True}, {"text": "Tues☂"}, {"text": "!"}], [{"content": "Tues☂"}]),
        ([], [{}]),
    ],
)
def test_logprobs_of_a_stream_come_once_with_the_words_of_their_event(parts: list[Any], told: list[Any]) -> None:
    first = {"candidates": [{"content": {"parts": parts}, "logprobsResult": PROBABLE}]}
    last = {"candidates": [{"content": {"parts": [{"text": "."}]}, "finishReason": "STOP"}]}
    data = b"".join(b"data: " + json.dumps(one).encode() + b"\r\n\r\n" for one in (first, last))
    _, out = read_all(data, usage=False)
    chunks = [json.loads(e.removeprefix(b"data: "))["choices"][0] for e in out.split(b"\n\n") if e]
    with_them = [chunk for chunk in chunks if chunk["logprobs"] is not None]
    assert [chunk["logprobs"]["content"] for chunk in with_them] == [AS_OPENAI]
    assert [chunk["delta"] for chunk in with_them] == told
