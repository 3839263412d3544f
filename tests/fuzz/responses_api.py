"""The Responses API under mutated input: calls, and canonical streams told as events."""

import json
from typing import Any

from waterline.api.response_events import ResponseTranslator
from waterline.core.completion import UNREADABLE, message_of
from waterline.core.errors import InvalidRequest, ProviderUnavailable
from waterline.core.responses import complete, decode_responses
from waterline.providers.base import ProviderFault
from waterline.providers.openai_wire import OpenAIStream

_ITEMS = [
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": [{"type": "input_text", "text": "hi"},
                                 {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="},
                                 {"type": "input_file", "filename": "a", "file_data": "data:text/x;base64,AA=="}]},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "wl1.W3sidHlwZSI6InRoaW5raW5nIn1d"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []},
                                                         {"type": "refusal", "refusal": "no"}]},
    {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "x"}]},
]  # fmt: skip
_TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True, "description": "d"}
CALLS = [
    json.dumps({"model": "m", "input": "x", **said}).encode()
    for said in (
        {"stream": True, "max_output_tokens": 5, "temperature": 0.5, "x_unknown": [1, 2.50, None]},
        {"input": _ITEMS, "instructions": "short", "metadata": {"a": "b"}, "store": False},
        {"tools": [_TOOL], "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": False},
        {"tools": [_TOOL], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"name": "f"}]}},
        {"text": {"format": {"type": "json_schema", "name": "s", "schema": {}}, "verbosity": "low"}, "top_logprobs": 2},
        {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["message.output_text.logprobs"]},
        {"previous_response_id": "resp_0123456789ab000001abcdef", "waterline": {"variables": {"a": "b"}}},
    )
]


def decode_call(data: bytes) -> None:
    """A call is refused by its field, or what we act on is what the provider will read."""
    try:
        asked = decode_responses("/v1/responses", data, 0)
    except InvalidRequest as refused:
        if refused.status != 400 or not refused.message:
            raise AssertionError(f"refused by {refused.status} {refused.message!r}") from refused
        return
    request = complete(asked, [{"role": "user", "content": "before"}])
    read = {name: json.loads(bytes(raw)) for name, raw in request.fields.items()}
    assert read["model"] == request.model
    assert read.get("stream", False) == request.stream
    assert len(read["messages"]) >= 1 + len(asked.messages)
    assert not {"max_tokens", "max_completion_tokens", "n", "input", "store", "previous_response_id"} & set(read)
    assert complete(decode_responses("/v1/responses", data, 0), [{"role": "user", "content": "before"}]) == request
    translator = ResponseTranslator(asked, "0" * 24)
    answer = b'{"model":"m","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'
    assert json.loads(translator.answer(answer))["status"] == "completed"


def tell_stream(data: bytes) -> None:
    """Events in order whatever they came in; a success only where the stream was done."""
    reader = OpenAIStream(forward_usage=True)
    try:
        canonical = reader.feed(data)
    except ProviderFault:
        canonical = reader.pending
    canonical += b"data: [DONE]\n\n" if reader.done else b""
    whole, apart = (ResponseTranslator(decode_responses("/v1/responses", CALLS[0], 0), "0" * 24) for _ in range(2))
    try:
        said = whole.feed(canonical)
        assert said == b"".join(apart.feed(event + b"\n\n") for event in canonical.split(b"\n\n") if event)
        message_of(canonical or b"data: [DONE]\n\n")
    except UNREADABLE:
        return
    events = _read(said + whole.broken(ProviderUnavailable("cut")))
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    ends = [e["type"] for e in events if e["type"] in ("response.completed", "response.incomplete", "response.failed")]
    assert len(ends) == 1
    assert (ends[0] == "response.failed") == (not reader.done)
    done = [e for e in events if e["type"] == "response.output_item.done"]
    added = [e for e in events if e["type"] == "response.output_item.added"]
    assert len(done) == len(added) or not reader.done


def _read(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(event.split(b"\ndata: ", 1)[1]) for event in data.split(b"\n\n") if event]
