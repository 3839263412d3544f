"""Google's Gemini API, for callers who speak OpenAI's chat completions. The request: `gemini_request.py`; its
types: `gemini_wire.py`.

Gemini's stream has no [DONE]: it is complete when every candidate has a finishReason and the body has ended. A model
that thinks signs its parts and wants the signatures back; they travel where Google's own OpenAI-compatible API puts
them, in `extra_content.google.thought_signature` of a tool call or of the message.
Source: https://ai.google.dev/api/generate-content, and the types of the `google-genai` package 3.4.
"""

import base64
import struct
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from waterline.core.money import Usage
from waterline.core.release import ProviderKind, Route
from waterline.providers.base import (
    Answer,
    FaultKind,
    Fields,
    Headers,
    ProviderFault,
    StreamReader,
    retry_after_s,
)
from waterline.providers.event_stream import EventStream, data_of
from waterline.providers.gemini_logprobs import told_logprobs
from waterline.providers.gemini_request import embed_request, generate_request
from waterline.providers.gemini_wire import (
    UNREADABLE,
    Candidate,
    Error,
    Feedback,
    FunctionCall,
    Part,
    Response,
    buckets,
    decode,
    decode_embeddings,
    decode_error,
    fault_of,
)

_REFUSED = (
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MODEL_ARMOR",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
)
# Not an answer: the model failed at making one, or the request at asking for it.
_FAILED: dict[str, FaultKind] = {
    "MALFORMED_FUNCTION_CALL": "garbage",
    "MALFORMED_RESPONSE": "garbage",
    "UNEXPECTED_TOOL_CALL": "garbage",
    "TOO_MANY_TOOL_CALLS": "garbage",
    "OTHER": "garbage",
    "MISSING_THOUGHT_SIGNATURE": "invalid",
}
_encode = msgspec.json.Encoder().encode


def _usage_json(usage: Usage) -> dict[str, Any]:
    """As OpenAI reports it: totals that include their details."""
    prompt, completion = usage.total_input, usage.total_output
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input, "audio_tokens": usage.audio_input},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_output},
    }


def _signed(signature: str) -> dict[str, Any]:
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def _tool_call(part: Part, call: FunctionCall, answer_id: str, number: int) -> dict[str, Any]:
    """A whole call; an id is made where Gemini gives none, the same whenever the same answer is read."""
    try:
        arguments = bytes(call.args).decode() or "{}"
    except UnicodeDecodeError as error:
        raise ProviderFault("garbage", "the arguments of a tool call are not UTF-8") from error
    return {
        "id": call.id or f"call_{answer_id}_{number}",
        "type": "function",
        "function": {"name": call.name, "arguments": "{}" if arguments == "null" else arguments},
        **_signed(part.thought_signature),
    }


def _finish(candidate: Candidate, called: bool, usage: Usage | None) -> str:
    """OpenAI's word for a finishReason. Raises ProviderFault for one that ends no answer."""
    reason = candidate.finish_reason or ""
    if reason in _FAILED:
        said = f": {candidate.finish_message}" if candidate.finish_message else ""
        status = 400 if _FAILED[reason] == "invalid" else 0
        raise ProviderFault(_FAILED[reason], f"it ended with {reason}{said[:500]}", status=status, usage=usage)
    if reason == "STOP":
        return "tool_calls" if called else "stop"
    return "content_filter" if reason in _REFUSED else "length"  # never call success what we do not know


def _blocked(feedback: Feedback | None) -> str:
    """Why the prompt was refused, in words; empty: it was not."""
    if feedback is None or not feedback.block_reason:
        return ""
    return f"Gemini blocked the prompt ({feedback.block_reason}). {feedback.block_reason_message}".strip()


def _not_media(part: Part, usage: Usage | None) -> None:
    if part.inline_data is not None:
        kind = part.inline_data.mime_type
        message = f"the answer holds {kind}, which a chat completion cannot carry; use a model that answers in text"
        raise ProviderFault("invalid", message, status=400, usage=usage)


def _message(candidate: Candidate, answer_id: str, usage: Usage | None) -> tuple[dict[str, Any], str]:
    """The message of one choice, and its text."""
    text: list[str] = []
    thoughts: list[str] = []
    signature = ""
    calls: list[dict[str, Any]] = []
    for part in candidate.content.parts if candidate.content is not None else ():
        _not_media(part, usage)
        if part.function_call is not None:
            calls.append(_tool_call(part, part.function_call, f"{answer_id}_{candidate.index}", len(calls)))
            continue
        signature = part.thought_signature or signature
        (thoughts if part.thought else text).append(part.text)
    said = "".join(text)
    message: dict[str, Any] = {"role": "assistant", "content": said if said or not calls else None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    return {**message, **_signed(signature)}, said


class _OpenChoice(Struct):
    """A choice of which the end has not been told."""

    calls: int = 0
    finish: str = ""


class GeminiStream(EventStream):
    """Reads Gemini's event stream (alt=sse), gives chunks of a chat completion.

    A finish reason is told when the body has ended (`end`): nothing else says that no more follows."""

    def __init__(self, created: int, *, forward_usage: bool, choices: int = 1) -> None:
        super().__init__()
        self._created = created
        self._forward_usage = forward_usage
        self._expected = choices
        self._head = b""  # of every chunk; empty until the first event
        self._id = ""
        self._choices: dict[int, _OpenChoice] = {}

    def end(self) -> bytes:
        """The body has ended: the finish reasons and the usage, if the answer is whole."""
        if self._rest.strip():
            self._read(self._rest)
            self._rest = b""
        if self.finished and not self.done:
            self.done = True
            for index, choice in self._choices.items():
                self._emit(index, {}, choice.finish)
            if self._forward_usage and self.usage is not None:
                self._out.append(self._head + b'],"usage":' + _encode(_usage_json(self.usage)) + b"}\n\n")
        return self.pending

    def _read(self, event: bytes) -> None:
        payload = data_of(event)
        if not payload or payload == b"[DONE]":
            return
        try:
            read = decode(payload)
        except UNREADABLE as error:
            raise ProviderFault("garbage", f"the stream has an event that cannot be read: {error}") from error
        if read.error is not None:
            raise fault_of(read.error, 0)
        if not self._head:
            self._start(read, payload)
        if read.usage_metadata is not None:
            self.usage = buckets(read.usage_metadata)
        if refusal := _blocked(read.prompt_feedback):
            self._open(0).finish = self.finish_reason = "content_filter"
            self._say(0, refusal, "refusal")
            self.finished = True
        for candidate in read.candidates:
            self._candidate(candidate)

    def _start(self, read: Response, payload: bytes) -> None:
        self._id = read.response_id or sha256(payload).hexdigest()[:20]
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            _encode(self._id),
            self._created,
            _encode(read.model_version),
        )

    def _open(self, index: int) -> _OpenChoice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _OpenChoice()
            self._emit(index, {"role": "assistant", "content": ""})
        return choice

    def _candidate(self, candidate: Candidate) -> None:
        index, choice = candidate.index, self._open(candidate.index)
        logprobs = told_logprobs(candidate.logprobs_result)  # of this event; told with its first words
        for part in candidate.content.parts if candidate.content is not None else ():
            _not_media(part, self.usage)
            if part.function_call is not None:
                call = _tool_call(part, part.function_call, f"{self._id}_{index}", choice.calls)
                self._speak(index, {"tool_calls": [{"index": choice.calls, **call}]})
                choice.calls += 1
                continue
            if part.text and not part.thought:
                self._say(index, part.text, "content", logprobs)
                logprobs = None
            else:
                self._say(index, part.text, "reasoning_content")
            if part.thought_signature:
                self._speak(index, _signed(part.thought_signature))
        if logprobs is not None:
            self._speak(index, {}, logprobs)
        if candidate.finish_reason:
            choice.finish = self.finish_reason = _finish(candidate, choice.calls > 0, self.usage)
            self.began = True
            ended = sum(1 for one in self._choices.values() if one.finish)
            self.finished = ended == len(self._choices) and ended >= self._expected

    def _say(self, index: int, text: str, name: str, logprobs: dict[str, Any] | None = None) -> None:
        if text:
            self.text.append(text)
            self._speak(index, {name: text}, logprobs)

    def _speak(self, index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None = None) -> None:
        self.began = True
        self.chunks += 1
        self._emit(index, delta, logprobs=logprobs)

    def _emit(
        self, index: int, delta: dict[str, Any], finish: str | None = None, logprobs: dict[str, Any] | None = None
    ) -> None:
        choice = _encode({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish})
        self._out.append(self._head + choice + (b'],"usage":null}\n\n' if self._forward_usage else b"]}\n\n"))


class Gemini:
    """`clock` gives Unix seconds: a chat completion says when it was created, Gemini's answer does not."""

    kind: ProviderKind = "gemini"
    default_base_url = "https://generativelanguage.googleapis.com/v1beta"
    default_key_env = "GEMINI_API_KEY"
    chat_path = "/models/{model}:generateContent"
    stream_path = "/models/{model}:streamGenerateContent?alt=sse"
    embeddings_path = "/models/{model}:batchEmbedContents"
    transcriptions_path = ""
    count_path = "/models/{model}:countTokens"

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    def headers(self, secret: str) -> list[tuple[bytes, bytes]]:
        out = [(b"content-type", b"application/json"), (b"user-agent", b"waterline")]
        if secret:
            out.append((b"x-goog-api-key", secret.encode("latin-1")))
        return out

    def request(self, fields: Fields, route: Route) -> bytes:
        return _encode(generate_request(fields, route) if "messages" in fields else embed_request(fields, route))

    def countable(self, body: bytes, model: str) -> bytes:
        """The whole request, so that its system instruction and functions count (https://ai.google.dev/api/tokens)."""
        return b'{"generateContentRequest":{"model":%b,%b}' % (_encode(f"models/{model}"), body[1:])

    def answer(self, body: bytes) -> Answer:
        try:
            read = decode(body)
        except UNREADABLE as error:
            raise ProviderFault("garbage", f"the answer is not one of generateContent: {error}") from error
        usage = buckets(read.usage_metadata) if read.usage_metadata is not None else None
        answer_id = read.response_id or sha256(body).hexdigest()[:20]
        choices, texts = [], []
        if refusal := _blocked(read.prompt_feedback):
            message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": refusal}
            choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "content_filter"}]
            texts = [refusal]
        elif not read.candidates:
            raise ProviderFault("garbage", "the answer has no candidates", usage=usage)
        else:
            for candidate in read.candidates:
                if candidate.finish_reason is None:
                    raise ProviderFault("garbage", "the answer has no finishReason", usage=usage)
                message, text = _message(candidate, answer_id, usage)
                finish = _finish(candidate, "tool_calls" in message, usage)
                logprobs = told_logprobs(candidate.logprobs_result)
                choices.append(
                    {"index": candidate.index, "message": message, "logprobs": logprobs, "finish_reason": finish}
                )
                texts.append(text)
        completion: dict[str, Any] = {
            "id": answer_id,
            "object": "chat.completion",
            "created": self._clock(),
            "model": read.model_version,
            "choices": choices,
        }
        if usage is not None:
            completion["usage"] = _usage_json(usage)
        finish = str(choices[0]["finish_reason"])
        return Answer(body=_encode(completion), usage=usage, finish_reason=finish, text=texts[0])

    def embeddings(self, body: bytes, asked: Fields, route: Route) -> Answer:
        try:
            read = decode_embeddings(body)
        except UNREADABLE as error:
            raise ProviderFault("garbage", f"the answer is not a list of embeddings: {error}") from error
        packed = bytes(asked.get("encoding_format", b"")) == b'"base64"'
        data = [
            {"object": "embedding", "index": i, "embedding": _packed(one.values) if packed else one.values}
            for i, one in enumerate(read.embeddings)
        ]
        out: dict[str, Any] = {"object": "list", "data": data, "model": route.model}
        usage = buckets(read.usage_metadata) if read.usage_metadata is not None else None
        if usage is not None:
            out["usage"] = {"prompt_tokens": usage.total_input, "total_tokens": usage.total_input}
        return Answer(body=_encode(out), usage=usage)

    def stream(self, *, forward_usage: bool, choices: int = 1) -> StreamReader:
        return GeminiStream(self._clock(), forward_usage=forward_usage, choices=choices)

    def fault(self, status: int, headers: Headers, body: bytes) -> ProviderFault:
        try:
            read = decode_error(body)
        except UNREADABLE:
            read = []
        if isinstance(read, list):  # without alt=sse errors of a stream come in a list
            error = read[0].error if read else Error(message=f"status {status} without an error body")
        else:
            error = read.error
        return fault_of(error, status, retry_after_s(headers))


def _packed(values: list[float]) -> str:
    """As OpenAI packs a vector on request: little-endian float32 in base64."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
