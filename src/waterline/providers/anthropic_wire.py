"""What Anthropic's Messages API says: its types, its counts in our buckets, its errors.

Source: https://platform.claude.com/docs/en/api/messages, and the types of the `anthropic` package 2.11.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from waterline.core.money import Usage, kept_for
from waterline.providers.base import FaultKind, ProviderFault, fault_kind

_ERROR_KINDS: dict[str, FaultKind] = {
    "rate_limit_error": "rate_limited",
    "overloaded_error": "rate_limited",  # status 529
    "authentication_error": "refused_key",
    "permission_error": "refused_key",
    "billing_error": "refused_key",  # our account, never the caller's fault
    "invalid_request_error": "invalid",
    "not_found_error": "invalid",
    "request_too_large": "invalid",
    "api_error": "unavailable",
    "timeout_error": "silent",
}
Count = Annotated[int, Meta(ge=0, le=1 << 53)]


class _OutputDetails(Struct):
    thinking_tokens: Count | None = None


class _Creation(Struct):
    """For how long what was written is kept."""

    ephemeral_1h_input_tokens: Count | None = None


class Reported(Struct):
    """Input buckets exclude each other; output includes thinking."""

    input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    output_tokens: Count | None = None
    output_tokens_details: _OutputDetails | None = None
    cache_creation: _Creation | None = None  # a part of `cache_creation_input_tokens`; without it none is kept an hour


class Block(Struct):
    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: Raw = Raw()
    thinking: str = ""
    signature: str = ""
    data: str = ""
    citations: list[Raw] | None = None


class Message(Struct):
    id: str
    model: str
    content: list[Block] = []
    stop_reason: str | None = None
    usage: Reported | None = None
    stop_sequence: str | None = None


class Delta(Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None


class Error(Struct):
    type: str = ""
    message: str = ""


class Event(Struct):
    type: str
    index: int = 0
    message: Message | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: Reported | None = None
    error: Error | None = None


class _ErrorBody(Struct):
    error: Error


class _Content(Struct):
    """The blocks of a message as they were written."""

    content: list[Raw]


class _OwnEvent(Struct):
    """What only a Messages answer can say, as it was written."""

    content_block: Raw = Raw()
    delta: Raw = Raw()


decode_content = msgspec.json.Decoder(_Content).decode
decode_own = msgspec.json.Decoder(_OwnEvent).decode
decode_message = msgspec.json.Decoder(Message).decode
decode_event = msgspec.json.Decoder(Event).decode
decode_error = msgspec.json.Decoder(_ErrorBody).decode
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def buckets(read: Reported) -> Usage:
    total = read.output_tokens or 0
    details = read.output_tokens_details
    thinking = min(total, (details.thinking_tokens or 0) if details is not None else 0)
    written, kept = read.cache_creation_input_tokens or 0, read.cache_creation
    hour = min(written, (kept.ephemeral_1h_input_tokens or 0) if kept is not None else 0)
    return Usage(
        input=read.input_tokens or 0,
        cached_input=read.cache_read_input_tokens or 0,
        cache_write=written - hour,
        output=total - thinking,
        reasoning=thinking,
        cache_write_1h=hour,
    )


def stopped(reason: str | None, sequence: str | None) -> dict[str, Any]:
    """Why the answer ended, in Anthropic's words: a finish reason tells less."""
    return {"stop_reason": reason} | ({"stop_sequence": sequence} if sequence is not None else {})


def json_text(raw: Raw) -> str:
    """The arguments of a tool call, as the provider wrote them; a call without any is still a JSON object."""
    try:
        return bytes(raw).decode() or "{}"
    except UnicodeDecodeError as error:
        raise ProviderFault("garbage", "the arguments of a tool call are not UTF-8") from error


def thinking_block(block: Block) -> dict[str, Any]:
    if block.type == "redacted_thinking":
        return {"type": block.type, "data": block.data}
    return {"type": block.type, "thinking": block.thinking, "signature": block.signature}


def started_usage(usage: Reported) -> dict[str, Any]:
    """The prompt's counts, known before the answer is."""
    counts: dict[str, Any] = {
        "input_tokens": usage.input_tokens or 0,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens or 0,
        "cache_read_input_tokens": usage.cache_read_input_tokens or 0,
        "output_tokens": usage.output_tokens or 0,
    }
    if hour := buckets(usage).cache_write_1h:
        counts["cache_creation"] = kept_for(counts["cache_creation_input_tokens"], hour)
    return counts


def fault_of(error: Error, status: int, retry_s: float | None = None) -> ProviderFault:
    message = error.message[:1000] or f"{error.type or 'an error'} without a message"
    lower = message.lower()
    kind = fault_kind(status) if status else _ERROR_KINDS.get(error.type, "unavailable")
    if error.type in ("billing_error", "rate_limit_error", "overloaded_error"):
        kind = _ERROR_KINDS[error.type]
    if kind == "invalid":
        if "prompt is too long" in lower or "exceed context limit" in lower or "context window" in lower:
            kind = "context_length"
        elif "credit balance is too low" in lower:
            kind = "refused_key"
    return ProviderFault(kind, message, status=status, retry_after_s=retry_s)
