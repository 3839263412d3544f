"""The gateway's canonical answer, an OpenAI chat completion or the stream of one, read for translation.

Source: https://platform.openai.com/docs/api-reference/chat; `reasoning_content` and `thinking_blocks` are what
compatible servers and our own translation of Anthropic's answers add to it.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class PromptDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None  # a part of those written


class CompletionDetails(Struct):
    reasoning_tokens: int | None = None


class ChatUsage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class FunctionPart(Struct):
    name: str | None = None
    arguments: str | None = None


class ToolPart(Struct):
    """A tool call, or a piece of one in a stream (`index` says of which)."""

    index: int = 0
    id: str | None = None
    function: FunctionPart | None = None


class Said(Struct):
    """A message, or a delta of one."""

    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolPart] | None = None
    thinking_blocks: list[dict[str, Any]] | None = None  # Anthropic's, with their signatures


class LogProbs(Struct):
    content: list[Raw] | None = None


class ChunkChoice(Struct):
    index: int = 0
    delta: Said | None = None
    finish_reason: str | None = None
    logprobs: LogProbs | None = None
    anthropic: dict[str, Any] | None = None  # what only a Messages answer has a name for


class Chunk(Struct):
    """One event of a canonical stream. The last ones may have usage and no choices."""

    model: str | None = None
    choices: list[ChunkChoice] = []
    usage: ChatUsage | None = None
    id: str | None = None
    waterline: dict[str, Any] | None = None  # another route goes on here


class CompletionChoice(Struct):
    message: Said
    finish_reason: str | None = None
    logprobs: LogProbs | None = None
    anthropic: dict[str, Any] | None = None


class Completion(Struct):
    """A canonical plain answer."""

    choices: list[CompletionChoice]
    model: str | None = None
    usage: ChatUsage | None = None
    id: str | None = None


_decode_chunk = msgspec.json.Decoder(Chunk).decode
decode_completion = msgspec.json.Decoder(Completion).decode  # raises one of UNREADABLE


def chunks(events: bytes) -> Iterator[Chunk | None]:
    """Whole canonical events, decoded; None for [DONE]. Comments are left out. Raises one of UNREADABLE."""
    for event in events.split(b"\n\n"):
        if event.startswith(b"data: ") and b"\n" not in event:
            payload = event[6:]
        else:
            lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
            payload = b"\n".join(lines)
        if payload:
            yield None if payload == b"[DONE]" else _decode_chunk(payload)


def is_stream(answer: bytes) -> bool:
    """Whether a stored answer is a stream's events, and not one JSON object."""
    return answer.lstrip()[:1] != b"{"


def message_of(answer: bytes) -> dict[str, Any]:
    """What was answered, plain or streamed, as the assistant's message of a later request.

    Raises one of UNREADABLE, ValueError if there is nothing."""
    if not is_stream(answer):
        choices = decode_completion(answer).choices
        if not choices:
            raise ValueError("an answer without choices")
        said = choices[0].message
        return _message(said, said.tool_calls or [])
    whole, calls = Said(), dict[int, ToolPart]()
    for chunk in chunks(answer):
        for choice in chunk.choices if chunk is not None else ():
            if choice.delta is not None and choice.index == 0:
                _gather(whole, calls, choice.delta)
    return _message(whole, [calls[index] for index in sorted(calls)])


def _gather(whole: Said, calls: dict[int, ToolPart], delta: Said) -> None:
    if delta.content:
        whole.content = (whole.content or "") + delta.content
    if delta.refusal:
        whole.refusal = (whole.refusal or "") + delta.refusal
    if delta.thinking_blocks:
        whole.thinking_blocks = (whole.thinking_blocks or []) + delta.thinking_blocks
    for part in delta.tool_calls or ():
        call = calls.setdefault(part.index, ToolPart(part.index, function=FunctionPart("", "")))
        call.id = call.id or part.id
        if part.function is not None and call.function is not None:
            call.function.name = call.function.name or part.function.name
            call.function.arguments = (call.function.arguments or "") + (part.function.arguments or "")


def _message(said: Said, calls: list[ToolPart]) -> dict[str, Any]:
    out: dict[str, Any] = {"role": "assistant", "content": said.content}
    if said.refusal:
        out["refusal"] = said.refusal
    if said.thinking_blocks:
        out["thinking_blocks"] = said.thinking_blocks
    if calls:
        out["content"] = said.content or None
        out["tool_calls"] = [
            {
                "id": call.id or f"call_{i}",
                "type": "function",
                "function": {
                    "name": (call.function.name if call.function else None) or "",
                    "arguments": (call.function.arguments if call.function else None) or "",
                },
            }
            for i, call in enumerate(calls)
        ]
    elif said.content is None:
        out["content"] = ""
    return out
