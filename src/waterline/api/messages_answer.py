"""A canonical answer in the words of Anthropic's Messages API, plain and streamed.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming, and the types of the `anthropic` package 2.11.
"""

from typing import Any

import msgspec
from msgspec import Raw

from waterline.core.completion import (
    ChatUsage,
    Chunk,
    ChunkChoice,
    Completion,
    FunctionPart,
    Said,
    ToolPart,
    chunks,
    decode_completion,
)
from waterline.core.errors import RequestError
from waterline.core.money import kept_for

_STOP = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_encode = msgspec.json.Encoder().encode
_decode_arguments = msgspec.json.Decoder(dict[str, Raw]).decode
_NO_FUNCTION = FunctionPart()


def error_body(error: RequestError) -> bytes:
    """The shape that the Anthropic SDKs expect, with our stable `code`."""
    kind = _ERRORS.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    return _encode({"type": "error", "error": {"type": kind, "message": error.message, "code": error.code}})


def error_event(error: RequestError) -> bytes:
    return b"event: error\ndata: " + error_body(error) + b"\n\n"


def event(kind: str, body: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **body}))


def _message_id(given: str | None) -> str:
    return given if given and given.startswith("msg_") else f"msg_{(given or '').removeprefix('chatcmpl-')}"


def _usage(usage: ChatUsage | None) -> dict[str, Any]:
    """Input buckets that exclude each other, as Anthropic counts. The API has no word for "unknown"."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0, "waterline": "the provider reported no usage"}
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    read = (prompt.cached_tokens or 0) if prompt is not None else 0
    written = (prompt.cache_write_tokens or 0) if prompt is not None else 0
    out: dict[str, Any] = {
        "input_tokens": max(0, usage.prompt_tokens - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.completion_tokens,
    }
    if prompt is not None and prompt.cache_write_1h_tokens:
        out["cache_creation"] = kept_for(written, prompt.cache_write_1h_tokens)
    if completion is not None and completion.reasoning_tokens:
        out["output_tokens_details"] = {"thinking_tokens": completion.reasoning_tokens}
    return out


def _stop(finish: str | None, native: dict[str, Any] | None, called: bool, refused: bool) -> dict[str, Any]:
    """`stop_reason` and what belongs to it. What we do not know is never called success."""
    if native is not None and "stop_reason" in native:
        return {"stop_reason": native["stop_reason"], "stop_sequence": native.get("stop_sequence")}
    reason = _STOP.get(finish or "", "max_tokens")
    if reason == "end_turn":  # some servers say "stop" after a tool call
        reason = "tool_use" if called else "refusal" if refused else reason
    return {"stop_reason": reason, "stop_sequence": None}


def _tool_block(call: ToolPart, arguments: Any) -> dict[str, Any]:
    name = (call.function or _NO_FUNCTION).name or ""
    return {"type": "tool_use", "id": call.id or f"toolu_{call.index}", "name": name, "input": arguments}


def _arguments(call: ToolPart, finish: str | None) -> dict[str, Any]:
    """Raises DecodeError if they are no JSON object, though the answer is complete."""
    text = (call.function or _NO_FUNCTION).arguments or "{}"
    try:
        return _decode_arguments(text)
    except msgspec.DecodeError:
        if finish == "length":  # cut off; the stop reason says so
            return {}
        raise


def _content(said: Said, finish: str | None, native: dict[str, Any] | None) -> list[dict[str, Any]]:
    own = (native or {}).get("content")
    if own is not None and _text_of(own) == (said.content or ""):  # else something has changed the text since
        return list(own)
    blocks: list[dict[str, Any]] = list(said.thinking_blocks or ())
    if said.reasoning_content and not blocks:
        blocks.append({"type": "thinking", "thinking": said.reasoning_content, "signature": ""})
    blocks += [{"type": "text", "text": text} for text in (said.content, said.refusal) if text]
    return blocks + [_tool_block(call, _arguments(call, finish)) for call in said.tool_calls or ()]


def _text_of(blocks: list[dict[str, Any]]) -> str:
    return "".join(block.get("text", "") for block in blocks if block.get("type") == "text")


class MessagesTranslator:
    """One answer. A stream that has not said that it is complete gets no message_stop."""

    alive = b'event: ping\ndata: {"type":"ping"}\n\n'

    def __init__(self, model: str) -> None:
        self._model = model  # as asked; for an answer that does not name one
        self._started = False
        self._index = -1
        self._open = ""  # kind of the open block: text, thinking, tool_use
        self._tool = ToolPart()  # the open call
        self._closed: set[int] = set()  # indexes of the calls that are complete
        self._finish: str | None = None
        self._native: dict[str, Any] | None = None
        self._refused = False
        self._usage: ChatUsage | None = None
        self._out: list[bytes] = []

    def answer(self, body: bytes) -> bytes:
        read: Completion = decode_completion(body)
        choice = read.choices[0]
        said, finish = choice.message, choice.finish_reason
        return _encode(
            {
                "id": _message_id(read.id),
                "type": "message",
                "role": "assistant",
                "model": read.model or self._model,
                "content": _content(said, finish, choice.anthropic),
                **_stop(finish, choice.anthropic, bool(said.tool_calls), bool(said.refusal)),
                "usage": _usage(read.usage),
            }
        )

    def feed(self, events: bytes) -> bytes:
        for chunk in chunks(events):
            if chunk is None:
                self._end()
            else:
                self._read(chunk)
        out = b"".join(self._out)
        self._out.clear()
        return out

    def broken(self, error: RequestError) -> bytes:
        return error_event(error)

    def _read(self, chunk: Chunk) -> None:
        choice = next((c for c in chunk.choices if c.index == 0), None)
        if not self._started:
            self._start(chunk, choice)
        if chunk.waterline is not None:
            self._out.append(event("ping", {"waterline": chunk.waterline}))
        if chunk.usage is not None:
            self._usage = chunk.usage
        if choice is None:
            return
        if choice.delta is not None:
            self._say(choice.delta)
        if choice.anthropic is not None:
            self._own(choice.anthropic)
        if choice.finish_reason is not None:
            self._finish, self._native = choice.finish_reason, choice.anthropic

    def _start(self, chunk: Chunk, choice: ChunkChoice | None) -> None:
        self._started = True
        known = (choice.anthropic or {}).get("usage") if choice is not None else None
        message: dict[str, Any] = {
            "id": _message_id(chunk.id),
            "type": "message",
            "role": "assistant",
            "model": chunk.model or self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": known or {"input_tokens": 0, "output_tokens": 0},  # message_delta tells the whole
        }
        self._out.append(event("message_start", {"message": message}))
        self._out.append(event("ping", {}))

    def _say(self, delta: Said) -> None:
        if delta.reasoning_content:
            self._in("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            self._delta({"type": "thinking_delta", "thinking": delta.reasoning_content})
        for block in delta.thinking_blocks or ():
            self._think(block)
        for text in (delta.content, delta.refusal):
            if text:
                self._in("text", {"type": "text", "text": ""})
                self._delta({"type": "text_delta", "text": text})
        self._refused = self._refused or bool(delta.refusal)
        for call in delta.tool_calls or ():
            self._call(call)

    def _own(self, native: dict[str, Any]) -> None:
        """Blocks of Anthropic's own tools, and citations: as they came."""
        if "block" in native:
            self._begin("own", native["block"])
        elif "delta" in native and self._open:
            self._delta(native["delta"])
        elif "end" in native:
            self._close()

    def _think(self, block: dict[str, Any]) -> None:
        """The end of a thought: its text is out already, its signature is not. Or one that nobody may read."""
        if block.get("type") == "thinking":
            self._in("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            self._delta({"type": "signature_delta", "signature": block.get("signature", "")})
        else:
            self._begin("redacted_thinking", block)
        self._close()

    def _call(self, call: ToolPart) -> None:
        function = call.function or _NO_FUNCTION
        another = call.index != self._tool.index or (call.id and call.id != self._tool.id)
        if self._open != "tool_use" or another:
            if call.index in self._closed and not (call.id and function.name):
                raise msgspec.ValidationError(f"arguments of tool call {call.index} come after another block")
            self._begin("tool_use", _tool_block(call, {}))
            self._tool = call
        if function.arguments:
            self._delta({"type": "input_json_delta", "partial_json": function.arguments})

    def _in(self, kind: str, block: dict[str, Any]) -> None:
        if self._open != kind:
            self._begin(kind, block)

    def _begin(self, kind: str, block: dict[str, Any]) -> None:
        self._close()
        self._index += 1
        self._open = kind
        self._out.append(event("content_block_start", {"index": self._index, "content_block": block}))

    def _delta(self, delta: dict[str, Any]) -> None:
        self._out.append(event("content_block_delta", {"index": self._index, "delta": delta}))

    def _close(self) -> None:
        if self._open == "tool_use":
            self._closed.add(self._tool.index)
        if self._open:
            self._out.append(event("content_block_stop", {"index": self._index}))
        self._open = ""

    def _end(self) -> None:
        self._close()
        delta = _stop(self._finish, self._native, bool(self._closed), self._refused)
        self._out.append(event("message_delta", {"delta": delta, "usage": _usage(self._usage)}))
        self._out.append(event("message_stop", {}))
