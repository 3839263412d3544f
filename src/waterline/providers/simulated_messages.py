"""What the simulated provider says in Anthropic's dialect, and what it refuses of thoughts and tools that come back."""

import base64
import hashlib
from typing import Any

import msgspec

from waterline.providers.simulated_answers import Bill, Call, Events, Head, Message, Said, cut, encode
from waterline.providers.simulated_openai import json_string
from waterline.providers.simulated_script import Target

_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def signature(thinking: str) -> str:
    """Proof that a thought is ours: nobody can change a letter of it."""
    return base64.b64encode(hashlib.sha256(b"simulated" + thinking.encode()).digest()).decode()


# --- answers ------------------------------------------------------------------------------------------------------


def _input_usage(b: Bill) -> dict[str, Any]:
    out: dict[str, Any] = {
        "input_tokens": b.prompt - b.cached - b.cache_write,
        "cache_creation_input_tokens": b.cache_write,
        "cache_read_input_tokens": b.cached,
    }
    if b.cache_write_1h:
        minutes = b.cache_write - b.cache_write_1h
        out["cache_creation"] = {
            "ephemeral_5m_input_tokens": minutes,
            "ephemeral_1h_input_tokens": b.cache_write_1h,
        }
    return out


def _output_usage(b: Bill) -> dict[str, Any]:
    out: dict[str, Any] = {"output_tokens": b.output}
    if b.reasoning:
        out["output_tokens_details"] = {"thinking_tokens": b.reasoning}
    return out


def _stop(said: Said) -> dict[str, Any]:
    if said.stopped and said.finish == "stop":
        return {"stop_reason": "stop_sequence", "stop_sequence": said.stopped}
    return {"stop_reason": _FINISH[said.finish], "stop_sequence": None}


def _tool_use(head: Head, call: Call, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{head.id[-12:]}", "name": call.name, "input": arguments}


def _redacted(said: Said) -> dict[str, Any]:
    return {"type": "redacted_thinking", "data": said.redacted}


def plain(head: Head, said: Said, usage: Bill | None) -> bytes:
    blocks: list[dict[str, Any]] = []
    if said.thinking:
        blocks.append({"type": "thinking", "thinking": said.thinking, "signature": signature(said.thinking)})
    if said.redacted:
        blocks.append(_redacted(said))
    if said.call is not None:
        blocks.append(_tool_use(head, said.call, msgspec.json.decode(said.call.arguments)))
    elif said.pieces:
        blocks.append({"type": "text", "text": said.text})
    out: dict[str, Any] = {
        "id": head.id,
        "type": "message",
        "role": "assistant",
        "model": head.model,
        "content": blocks,
        **_stop(said),
    }
    if usage is not None:
        out["usage"] = {**_input_usage(usage), **_output_usage(usage), "service_tier": "standard"}
    return encode(out)


def _event(data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (str(data["type"]).encode(), encode(data))


def _block(index: int, block: dict[str, Any]) -> bytes:
    return _event({"type": "content_block_start", "index": index, "content_block": block})


def _end_of_block(index: int) -> bytes:
    return _event({"type": "content_block_stop", "index": index})


def _deltas(index: int, kind: str, key: str, pieces: tuple[str, ...]) -> list[bytes]:
    shape = (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":%b}}\n\n'
    )
    return [shape % (index, kind.encode(), key.encode(), json_string(piece)) for piece in pieces]


def events(head: Head, said: Said, usage: Bill | None) -> Events:
    """message_start, ping, and per block its start, deltas and stop; message_delta, message_stop."""
    message: dict[str, Any] = {
        "id": head.id,
        "type": "message",
        "role": "assistant",
        "model": head.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }
    final: dict[str, Any] = {"type": "message_delta", "delta": _stop(said)}
    if usage is not None:
        message["usage"] = {**_input_usage(usage), "output_tokens": 1, "service_tier": "standard"}
        final["usage"] = _output_usage(usage)
    begin = _event({"type": "message_start", "message": message})
    content, between, index = _thoughts(said)
    block = {"type": "text", "text": ""} if said.call is None else _tool_use(head, said.call, {})
    between += _block(index, block) + _event({"type": "ping"})
    if said.call is None:
        answer = _deltas(index, "text_delta", "text", said.pieces)
    else:
        answer = _deltas(index, "input_json_delta", "partial_json", said.pieces)
    if not content:
        begin += between
    elif answer:
        answer[0] = between + answer[0]
    else:
        content[-1] += between
    end = [_end_of_block(index), _event(final)]
    return Events(begin, content + answer, end, _event({"type": "message_stop"}))


def _thoughts(said: Said) -> tuple[list[bytes], bytes, int]:
    """Content events of the thinking, what comes between them and the answer, and the answer's block."""
    if not said.thinking:
        return [], b"", 0
    content = _deltas(0, "thinking_delta", "thinking", cut(said.thinking))
    content[0] = _block(0, {"type": "thinking", "thinking": "", "signature": ""}) + content[0]
    between = b"".join(_deltas(0, "signature_delta", "signature", (signature(said.thinking),))) + _end_of_block(0)
    if not said.redacted:
        return content, between, 1
    return content, between + _block(1, _redacted(said)) + _end_of_block(1), 2


# --- refusals -----------------------------------------------------------------------------------------------------

_ERRORS: dict[int, tuple[str, str]] = {
    400: ("invalid_request_error", "The request is invalid."),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "The requested resource could not be found."),
    413: ("request_too_large", "Request exceeds the maximum allowed number of bytes."),
    429: ("rate_limit_error", "This request would exceed your account's rate limit. Please try again later."),
    529: ("overloaded_error", "Overloaded"),
}


def error(status: int, message: str = "") -> bytes:
    kind, usual = _ERRORS.get(status, ("api_error", "Internal server error"))
    return encode(
        {"type": "error", "error": {"type": kind, "message": message or usual}, "request_id": "req_simulated"}
    )


def wrong_blocks(messages: list[Message], target: Target, *, thinks: bool) -> str | None:
    """What Anthropic would refuse of the blocks that come back to it; None: nothing."""
    calls: list[Any] = []  # of the message before
    for i, message in enumerate(messages):
        blocks = [b for b in message.content if isinstance(b, dict)] if isinstance(message.content, list) else []
        results = [b.get("tool_use_id") for b in blocks if b.get("type") == "tool_result"]
        for result in results:
            if result not in calls:
                return f"messages.{i}: unexpected `tool_use_id` found in `tool_result` blocks: {result}"
        if missing := [call for call in calls if call not in results]:
            return (
                f"messages.{i}: `tool_use` ids were found without `tool_result` blocks: {', '.join(map(str, missing))}"
            )
        calls = [b.get("id") for b in blocks if b.get("type") == "tool_use"]
        for j, block in enumerate(blocks):
            if not _genuine(block, target):
                return f"messages.{i}.content.{j}: Invalid `signature` in `thinking` block"
        if thinks and calls and blocks[0].get("type") not in ("thinking", "redacted_thinking"):
            return f"messages.{i}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`"
    return None


def _genuine(block: dict[str, Any], target: Target) -> bool:
    match block.get("type"):
        case "thinking":
            return block.get("signature") == signature(str(block.get("thinking")))
        case "redacted_thinking":
            return block.get("data") == target.redacted_thinking
        case _:
            return True
