"""The OpenAI wire format, shared by every provider that speaks it (OpenAI itself, compatible servers, the local
model, the simulated provider). Source: https://platform.openai.com/docs/api-reference/chat

Bytes are forwarded as they came: an event is parsed to be understood, never to be written again.
"""

import re

import msgspec
from msgspec import Raw, Struct

from waterline.core.money import Usage
from waterline.core.release import Route
from waterline.providers.base import (
    Answer,
    Fields,
    Headers,
    ProviderFault,
    StreamReader,
    fault_kind,
    retry_after_s,
)
from waterline.providers.event_stream import EventStream, data_of

_USAGE_NULL = re.compile(rb',\s*"usage"\s*:\s*null')  # a quote inside a JSON string is escaped, so this is a key


class _PromptDetails(Struct):
    cached_tokens: int | None = None
    audio_tokens: int | None = None


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


class WireUsage(Struct):
    """Usage as OpenAI reports it: details are parts of the totals."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Delta(Struct):
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[Raw] | None = None
    function_call: dict[str, Raw] | None = None
    audio: dict[str, Raw] | None = None


class _ChunkChoice(Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(Struct):
    choices: list[_ChunkChoice] = []
    usage: WireUsage | None = None
    error: dict[str, Raw] | str | None = None


class _Said(Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(Struct):
    message: _Said
    finish_reason: str | None = None


class _Completion(Struct):
    choices: list[_Choice]
    usage: WireUsage | None = None


class _Embeddings(Struct):
    data: list[Raw]
    usage: WireUsage | None = None


class _ErrorBody(Struct):
    message: str = ""
    type: str | None = None
    code: str | int | None = None


class _ErrorEnvelope(Struct):
    error: _ErrorBody | str


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_completion = msgspec.json.Decoder(_Completion).decode
_decode_embeddings = msgspec.json.Decoder(_Embeddings).decode
_decode_error = msgspec.json.Decoder(_ErrorEnvelope).decode
_encode = msgspec.json.Encoder().encode


def exclusive(usage: WireUsage) -> Usage | None:
    """Buckets that exclude each other, from OpenAI's totals that include their details."""
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    if not (0 <= usage.prompt_tokens < 10**10 and 0 <= usage.completion_tokens < 10**10):
        return None
    if prompt is None and completion is None:
        return Usage(input=usage.prompt_tokens, output=usage.completion_tokens)
    cached = _part(prompt.cached_tokens if prompt else 0, usage.prompt_tokens)
    audio_in = _part(prompt.audio_tokens if prompt else 0, usage.prompt_tokens - cached)
    reasoning = _part(completion.reasoning_tokens if completion else 0, usage.completion_tokens)
    audio_out = _part(completion.audio_tokens if completion else 0, usage.completion_tokens - reasoning)
    return Usage(
        input=max(0, usage.prompt_tokens - cached - audio_in),
        cached_input=cached,
        output=max(0, usage.completion_tokens - reasoning - audio_out),
        reasoning=reasoning,
        audio_input=audio_in,
        audio_output=audio_out,
    )


def _part(said: int | None, total: int) -> int:
    """A detail is never less than nothing, nor more than the total it is part of."""
    return min(max(said or 0, 0), total)


class OpenAIStream(EventStream):
    """Reads `text/event-stream`. Whole events only; a malformed one is a fault, never forwarded."""

    def __init__(self, *, forward_usage: bool, choices: int = 1) -> None:
        super().__init__()
        self._strip_usage = not forward_usage
        self._choices = choices
        self._ended: set[int] = set()
        self._open: set[int] = set()

    def _read(self, event: bytes) -> None:
        if event.startswith(b"data: ") and b"\n" not in event:
            payload = event[6:]
        else:
            event = event.strip(b"\n")  # an empty line too many belongs to no event
            payload = data_of(event)
        if not payload:
            return  # a comment (keep-alive) or an empty event
        if payload == b"[DONE]":
            self.done = True
            return
        try:
            if not payload.isascii():
                payload.decode()  # fields that we do not know are not checked by the decoder
            chunk = _decode_chunk(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderFault("garbage", f"the stream has an event that is not a chunk: {error}") from error
        if chunk.error is not None:
            raise _fault_of_event(payload)
        if chunk.usage is not None:
            self.usage = exclusive(chunk.usage)
            if self._strip_usage and not chunk.choices:
                return
        for choice in chunk.choices:
            self._note(choice)
        if self._strip_usage and b'"usage"' in event:
            event = _USAGE_NULL.sub(b"", event)
        self._out.append(event + b"\n\n")

    def _note(self, choice: _ChunkChoice) -> None:
        delta = choice.delta
        if delta is not None:
            text = delta.content or delta.reasoning_content or delta.refusal
            if text:
                self.text.append(text)
            if text or delta.tool_calls or delta.function_call or delta.audio:
                self.began = True
                self.chunks += 1
        if choice.finish_reason:  # some servers write "" where there is none yet
            self.finish_reason = choice.finish_reason
            self.began = True
            self._open.discard(choice.index)
            self._ended.add(choice.index)
            self.finished = not self._open and len(self._ended) >= self._choices
        elif not self.finish_reason or choice.index not in self._open:
            self._open.add(choice.index)
            self.finished = False


def _fault_of_event(payload: bytes) -> ProviderFault:
    try:
        error = _decode_error(payload).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = "an error event that cannot be read"
    if isinstance(error, str):
        return ProviderFault("unavailable", error[:500])
    limited = str(error.code) in ("429", "rate_limit_exceeded") or error.type in ("rate_limit_error", "rate_limited")
    return ProviderFault("rate_limited" if limited else "unavailable", error.message[:500] or "an error event")


class OpenAIWire:
    """The translation is the identity."""

    chat_path = stream_path = "/chat/completions"
    embeddings_path = "/embeddings"
    transcriptions_path = "/audio/transcriptions"
    count_path = ""

    def headers(self, secret: str) -> list[tuple[bytes, bytes]]:
        out = [(b"content-type", b"application/json"), (b"user-agent", b"waterline")]
        if secret:
            out.append((b"authorization", b"Bearer " + secret.encode("latin-1")))
        return out

    def request(self, fields: Fields, route: Route) -> bytes:
        return _encode(fields)

    def countable(self, body: bytes, model: str) -> bytes:
        return body

    def answer(self, body: bytes) -> Answer:
        try:
            if not body.isascii():
                body.decode()
            read = _decode_completion(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderFault("garbage", f"the answer is not a chat completion: {error}") from error
        if not read.choices:
            raise ProviderFault("garbage", "the answer has no choices")
        first = read.choices[0]
        return Answer(
            body=body,
            usage=exclusive(read.usage) if read.usage is not None else None,
            finish_reason=first.finish_reason or "",
            text=first.message.content or first.message.refusal or "",
        )

    def embeddings(self, body: bytes, asked: Fields, route: Route) -> Answer:
        try:
            read = _decode_embeddings(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderFault("garbage", f"the answer is not a list of embeddings: {error}") from error
        return Answer(body=body, usage=exclusive(read.usage) if read.usage is not None else None)

    def stream(self, *, forward_usage: bool, choices: int = 1) -> StreamReader:
        return OpenAIStream(forward_usage=forward_usage, choices=choices)

    def fault(self, status: int, headers: Headers, body: bytes) -> ProviderFault:
        kind = fault_kind(status)
        message, code = "", ""
        try:
            error = _decode_error(body).error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message = f"status {status} without an error body"
        else:
            message = error if isinstance(error, str) else error.message
            code = "" if isinstance(error, str) else f"{error.code} {error.type}"
        if kind == "invalid" and ("context_length" in code or "exceed_context_size" in code):
            kind = "context_length"
        return ProviderFault(kind, message[:1000], status=status, retry_after_s=retry_after_s(headers))
