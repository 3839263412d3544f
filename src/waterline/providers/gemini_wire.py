"""What Google's Gemini API says: its types, its counts in our buckets, its errors.

Source: https://ai.google.dev/api/generate-content, and the types of the `google-genai` package 3.4.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from waterline.core.money import Usage
from waterline.providers.base import FaultKind, ProviderFault, fault_kind
from waterline.providers.gemini_logprobs import LogprobsResult

_STATUS_KINDS: dict[str, FaultKind] = {
    "RESOURCE_EXHAUSTED": "rate_limited",
    "UNAUTHENTICATED": "refused_key",
    "PERMISSION_DENIED": "refused_key",
    "FAILED_PRECONDITION": "refused_key",  # no billing, no service in this country: our account, not the caller
    "INVALID_ARGUMENT": "invalid",
    "NOT_FOUND": "invalid",
    "OUT_OF_RANGE": "invalid",
    "UNAVAILABLE": "unavailable",
    "INTERNAL": "unavailable",
    "DEADLINE_EXCEEDED": "silent",
    "CANCELLED": "unavailable",
    "ABORTED": "unavailable",
}
Count = Annotated[int, Meta(ge=0, le=1 << 53)]


class _Wire(Struct, rename="camel"):
    """Gemini's names are camelCase."""


class _ModalityTokens(_Wire):
    modality: str = ""
    token_count: Count = 0


class Reported(_Wire):
    """`promptTokenCount` includes cached tokens, `candidatesTokenCount` excludes thoughts, tool prompts are apart."""

    prompt_token_count: Count = 0
    cached_content_token_count: Count = 0
    tool_use_prompt_token_count: Count = 0
    candidates_token_count: Count = 0
    thoughts_token_count: Count = 0
    prompt_tokens_details: list[_ModalityTokens] = []
    cache_tokens_details: list[_ModalityTokens] = []
    candidates_tokens_details: list[_ModalityTokens] = []


class FunctionCall(_Wire):
    name: str = ""
    id: str = ""
    args: Raw = Raw()


class _Blob(_Wire):
    mime_type: str = ""


class Part(_Wire):
    text: str = ""
    thought: bool = False
    thought_signature: str = ""
    function_call: FunctionCall | None = None
    inline_data: _Blob | None = None


class _Content(_Wire):
    parts: list[Part] = []


class Candidate(_Wire):
    index: int = 0
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str = ""
    logprobs_result: LogprobsResult | None = None


class Feedback(_Wire):
    block_reason: str = ""
    block_reason_message: str = ""


class _Detail(Struct):
    type: str = msgspec.field(name="@type", default="")
    reason: str = ""
    retry_delay: str = msgspec.field(name="retryDelay", default="")


class Error(Struct):
    code: int = 0
    message: str = ""
    status: str = ""
    details: list[_Detail] = []


class Response(_Wire):
    candidates: list[Candidate] = []
    prompt_feedback: Feedback | None = None
    usage_metadata: Reported | None = None
    response_id: str = ""
    model_version: str = ""
    error: Error | None = None


class _Embedding(_Wire):
    values: list[float]


class _Embeddings(_Wire):
    embeddings: list[_Embedding]
    usage_metadata: Reported | None = None


class _ErrorBody(Struct):
    error: Error


decode = msgspec.json.Decoder(Response).decode
decode_embeddings = msgspec.json.Decoder(_Embeddings).decode
decode_error = msgspec.json.Decoder(_ErrorBody | list[_ErrorBody]).decode
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _audio(details: list[_ModalityTokens]) -> int:
    return sum(d.token_count for d in details if d.modality == "AUDIO")


def buckets(read: Reported) -> Usage:
    cached = min(read.cached_content_token_count, read.prompt_token_count)
    fresh = read.prompt_token_count - cached
    audio_in = min(fresh, max(0, _audio(read.prompt_tokens_details) - _audio(read.cache_tokens_details)))
    audio_out = min(read.candidates_token_count, _audio(read.candidates_tokens_details))
    return Usage(
        input=fresh - audio_in + read.tool_use_prompt_token_count,
        cached_input=cached,
        output=read.candidates_token_count - audio_out,
        reasoning=read.thoughts_token_count,
        audio_input=audio_in,
        audio_output=audio_out,
    )


def _retry_delay_s(details: list[_Detail]) -> float | None:
    """RetryInfo's "36s" or "0.5s". At most an hour."""
    for detail in details:
        if detail.type.endswith("RetryInfo") and detail.retry_delay.endswith("s"):
            try:
                return min(max(float(detail.retry_delay[:-1]), 0.0), 3600.0)
            except ValueError:
                return None
    return None


def fault_of(error: Error, status: int, retry_s: float | None = None) -> ProviderFault:
    message = error.message[:1000] or f"{error.status or 'an error'} without a message"
    lower = message.lower()
    kind = _STATUS_KINDS.get(error.status) or fault_kind(status or error.code or 500)
    if kind == "invalid":
        if "token count" in lower and "exceeds the maximum" in lower:
            kind = "context_length"
        elif any(detail.reason.startswith("API_KEY_") for detail in error.details) or "api key not valid" in lower:
            kind = "refused_key"  # Gemini says 400 for a wrong key
    delay_s = _retry_delay_s(error.details)
    return ProviderFault(kind, message, status=status, retry_after_s=delay_s if delay_s is not None else retry_s)
