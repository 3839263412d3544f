"""Anthropic's Messages API, for callers who speak OpenAI's chat completions. The request: `anthropic_request.py`; their
types: `anthropic_wire.py`.

Source: https://platform.claude.com/docs/en/api/messages, and the types of the `anthropic` package 2.11.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from waterline.core.money import Usage
from waterline.core.release import ProviderKind, Route
from waterline.providers.anthropic_request import messages_request
from waterline.providers.anthropic_wire import (
    UNREADABLE,
    Block,
    Delta,
    Error,
    Event,
    Message,
    Reported,
    buckets,
    decode_content,
    decode_error,
    decode_event,
    decode_message,
    decode_own,
    fault_of,
    json_text,
    started_usage,
    stopped,
    thinking_block,
)
from waterline.providers.base import Answer, Fields, Headers, ProviderFault, StreamReader, retry_after_s
from waterline.providers.event_stream import EventStream, data_of

API_VERSION = b"2023-06-01"
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "length",  # a long turn was interrupted: not the whole answer
}
_KNOWN = ("text", "tool_use", "thinking", "redacted_thinking")  # blocks that a chat completion can say
# What the endpoint that counts takes; it refuses the rest.
_COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control",
            "context_management", "mcp_servers")  # fmt: skip
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def _usage_json(usage: Usage) -> dict[str, Any]:
    """As OpenAI reports it: totals that include their details."""
    prompt, completion = usage.total_input, usage.total_output
    details = {"cached_tokens": usage.cached_input, "cache_write_tokens": usage.cache_write + usage.cache_write_1h}
    if usage.cache_write_1h:
        details["cache_write_1h_tokens"] = usage.cache_write_1h  # a part of those written
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": details,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _completion(read: Message, body: bytes, created: int) -> tuple[dict[str, Any], str, str]:
    """The chat completion, its text and its finish reason."""
    text = "".join(block.text for block in read.content if block.type == "text")
    calls = [
        {
            "id": block.id,
            "type": "function",
            "function": {"name": block.name, "arguments": json_text(block.input)},
        }
        for block in read.content
        if block.type == "tool_use"
    ]
    thoughts = [block for block in read.content if block.type in ("thinking", "redacted_thinking")]
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "".join(block.thinking for block in thoughts)
        message["thinking_blocks"] = [thinking_block(block) for block in thoughts]
    finish = _FINISH.get(read.stop_reason or "", "length")  # never call success what we do not know
    beyond = stopped(read.stop_reason, read.stop_sequence)
    if any(block.type not in _KNOWN or block.citations for block in read.content):
        beyond["content"] = decode_content(body).content
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish, "anthropic": beyond}
    out: dict[str, Any] = {
        "id": read.id,
        "object": "chat.completion",
        "created": created,
        "model": read.model,
        "choices": [choice],
    }
    if read.usage is not None:
        out["usage"] = _usage_json(buckets(read.usage))
    return out, text, finish


class _OpenBlock(Struct):
    """A content block of which the end has not been read."""

    kind: str
    tool: int = -1  # index among the tool calls
    spoken: bool = False  # some of the arguments were forwarded
    input: Raw = Raw()
    thinking: list[str] = []
    signature: str = ""
    own: bool = False  # it has what only a Messages answer can say


class AnthropicStream(EventStream):
    """Reads Anthropic's event stream, gives chunks of a chat completion. Pings and unknown events give nothing."""

    def __init__(self, created: int, *, forward_usage: bool) -> None:
        super().__init__()
        self._created = created
        self._forward_usage = forward_usage
        self._head = b""  # of every chunk; empty until message_start
        self._blocks: dict[int, _OpenBlock] = {}
        self._tools = 0
        self._reported = Reported()

    def _read(self, event: bytes) -> None:
        payload = data_of(event)
        if not payload:
            return
        try:
            read = decode_event(payload)
        except UNREADABLE as error:
            raise ProviderFault("garbage", f"the stream has an event that cannot be read: {error}") from error
        match read.type:
            case "message_start":
                self._start(read.message)
            case "error":
                raise fault_of(read.error or Error(), 0)
            case "content_block_start" | "content_block_delta" | "content_block_stop" | "message_delta":
                if not self._head:
                    raise ProviderFault("garbage", f"the stream has {read.type} before message_start")
                self._content(read, payload)
            case "message_stop":
                self._stop()
            case _:
                pass  # ping; and new kinds, which clients are told to ignore

    def _content(self, read: Event, payload: bytes) -> None:
        match read.type:
            case "content_block_start":
                self._block(read.index, read.content_block)
                if read.content_block is not None and read.content_block.type not in _KNOWN:
                    self._emit({}, beyond={"block": decode_own(payload).content_block})
            case "content_block_delta":
                block, delta = self._open(read.index), read.delta or Delta()
                self._delta(block, delta)
                if block.kind not in _KNOWN or delta.type == "citations_delta":
                    block.own = True
                    self._emit({}, beyond={"delta": decode_own(payload).delta})
            case "content_block_stop":
                self._close(self._open(read.index))
                del self._blocks[read.index]
            case _:
                self._finish(read)

    def _start(self, message: Message | None) -> None:
        if message is None or self._head:
            raise ProviderFault("garbage", "the stream has a message_start without a message, or a second one")
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            _encode(message.id),
            self._created,
            _encode(message.model),
        )
        if message.usage is not None:
            self._reported = message.usage
            started = buckets(message.usage)
            # What is written here of the output is not the count of an answer yet.
            self.usage = structs.replace(started, output=0, reasoning=0)
        told = message.usage is not None and self._forward_usage
        known = {"usage": started_usage(self._reported)} if told else None
        self._emit({"role": "assistant", "content": ""}, beyond=known)

    def _open(self, index: int) -> _OpenBlock:
        block = self._blocks.get(index)
        if block is None:
            raise ProviderFault("garbage", f"the stream speaks of content block {index}, which is not open")
        return block

    def _block(self, index: int, start: Block | None) -> None:
        if start is None or index in self._blocks:
            raise ProviderFault("garbage", "the stream opens a content block twice, or without saying what it is")
        block = self._blocks[index] = _OpenBlock(start.type)
        match start.type:
            case "text":
                self._say(start.text, "content")
            case "tool_use":
                block.tool, self._tools = self._tools, self._tools + 1
                block.input = start.input
                call = {"id": start.id, "type": "function", "function": {"name": start.name, "arguments": ""}}
                self._speak({"tool_calls": [{"index": block.tool, **call}]})
            case "thinking":
                self._think(block, start.thinking)
                block.signature = start.signature
            case "redacted_thinking":
                self._speak({"thinking_blocks": [thinking_block(start)]})
            case _:
                pass  # the provider's own tools: their calls and results are not the caller's

    def _delta(self, block: _OpenBlock, delta: Delta) -> None:
        match delta.type:
            case "text_delta":
                self._say(delta.text, "content")
            case "input_json_delta" if block.tool >= 0 and delta.partial_json:
                block.spoken = True
                self._arguments(block, delta.partial_json)
            case "thinking_delta":
                self._think(block, delta.thinking)
            case "signature_delta":
                block.signature += delta.signature
            case _:
                pass

    def _close(self, block: _OpenBlock) -> None:
        if block.own:
            self._emit({}, beyond={"end": True})  # the next text is a block of its own
        if block.tool >= 0 and not block.spoken:
            self._arguments(block, json_text(block.input))
        if block.kind == "thinking" and block.signature:
            whole = {"type": "thinking", "thinking": "".join(block.thinking), "signature": block.signature}
            self._speak({"thinking_blocks": [whole]})

    def _finish(self, read: Event) -> None:
        if read.usage is not None:
            told, before = read.usage, self._reported
            self._reported = Reported(
                told.input_tokens if told.input_tokens is not None else before.input_tokens,
                _later(told.cache_read_input_tokens, before.cache_read_input_tokens),
                _later(told.cache_creation_input_tokens, before.cache_creation_input_tokens),
                _later(told.output_tokens, before.output_tokens),
                told.output_tokens_details or before.output_tokens_details,
                told.cache_creation or before.cache_creation,
            )
            self.usage = buckets(self._reported)
        reason = read.delta.stop_reason if read.delta is not None else None
        if reason is not None and not self.finished:
            self.finish_reason = _FINISH.get(reason, "length")
            self.finished = self.began = True
            sequence = read.delta.stop_sequence if read.delta is not None else None
            self._emit({}, self.finish_reason, stopped(reason, sequence))

    def _stop(self) -> None:
        if not self.finished:
            raise ProviderFault("garbage", "the stream has message_stop before a stop_reason")
        self.done = True
        if self._forward_usage and self.usage is not None:
            # What the provider has told is whole only now.
            self._out.append(self._head + b'],"usage":' + _encode(_usage_json(self.usage)) + b"}\n\n")

    def _arguments(self, block: _OpenBlock, json: str) -> None:
        self._speak({"tool_calls": [{"index": block.tool, "function": {"arguments": json}}]})

    def _think(self, block: _OpenBlock, text: str) -> None:
        if text:
            block.thinking.append(text)
            self._say(text, "reasoning_content")

    def _say(self, text: str, name: str) -> None:
        if text:
            self.text.append(text)
            self._speak({name: text})

    def _speak(self, delta: dict[str, Any]) -> None:
        self.began = True
        self.chunks += 1
        self._emit(delta)

    def _emit(self, delta: dict[str, Any], finish: str | None = None, beyond: dict[str, Any] | None = None) -> None:
        """`beyond`: what only a Messages answer has a name for."""
        said = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        choice = _encode(said if beyond is None else {**said, "anthropic": beyond})
        self._out.append(self._head + choice + (b'],"usage":null}\n\n' if self._forward_usage else b"]}\n\n"))


def _later(told: int | None, before: int | None) -> int | None:
    return told if told is not None else before


class Anthropic:
    """`clock` gives Unix seconds: a chat completion says when it was created, a Messages answer does not."""

    kind: ProviderKind = "anthropic"
    default_base_url = "https://api.anthropic.com/v1"
    default_key_env = "ANTHROPIC_API_KEY"
    chat_path = stream_path = "/messages"
    embeddings_path = transcriptions_path = ""
    count_path = "/messages/count_tokens"

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    def headers(self, secret: str) -> list[tuple[bytes, bytes]]:
        out = [
            (b"content-type", b"application/json"),
            (b"user-agent", b"waterline"),
            (b"anthropic-version", API_VERSION),
        ]
        if secret:
            out.append((b"x-api-key", secret.encode("latin-1")))
        return out

    def request(self, fields: Fields, route: Route) -> bytes:
        return _encode(messages_request(fields, route))

    def countable(self, body: bytes, model: str) -> bytes:
        asked = _decode_fields(body)
        return _encode({name: asked[name] for name in _COUNTED if name in asked})

    def answer(self, body: bytes) -> Answer:
        try:
            if not body.isascii():
                body.decode()  # raw values are not checked by the decoder
            read = decode_message(body)
        except UNREADABLE as error:
            raise ProviderFault("garbage", f"the answer is not a message: {error}") from error
        if read.stop_reason is None:
            raise ProviderFault("garbage", "the answer has no stop_reason")
        completion, text, finish = _completion(read, body, self._clock())
        usage = buckets(read.usage) if read.usage is not None else None
        return Answer(body=_encode(completion), usage=usage, finish_reason=finish, text=text)

    def embeddings(self, body: bytes, asked: Fields, route: Route) -> Answer:
        raise ProviderFault("invalid", "Anthropic offers no embeddings. Use a route to another provider.", status=400)

    def stream(self, *, forward_usage: bool, choices: int = 1) -> StreamReader:
        return AnthropicStream(self._clock(), forward_usage=forward_usage)

    def fault(self, status: int, headers: Headers, body: bytes) -> ProviderFault:
        try:
            error = decode_error(body).error
        except UNREADABLE:
            error = Error(message=f"status {status} without an error body")
        return fault_of(error, status, retry_after_s(headers))
