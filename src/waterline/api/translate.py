"""What every API beside chat completions needs: a caller's sink that says the gateway's answers in other words.

The gateway's canonical form is OpenAI's chat completion: `serve` writes that, a Translator turns it into what the
caller's SDK expects. What was written to the trace before is the canonical form.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from waterline.api.sink import HttpSink
from waterline.core.errors import ProviderUnavailable, RequestError
from waterline.gateway.faults import AfterContent

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class PromptDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


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
    delta: Said | None = None
    finish_reason: str | None = None
    logprobs: LogProbs | None = None
    index: int = 0
    anthropic: dict[str, Any] | None = None  # what only a Messages answer has a name for


class Chunk(Struct):
    """One event of a canonical stream. The last ones may have usage and no choices."""

    model: str = ""
    choices: list[ChunkChoice] = []
    usage: ChatUsage | None = None
    id: str = ""


class CompletionChoice(Struct):
    message: Said
    finish_reason: str | None = None
    logprobs: LogProbs | None = None
    anthropic: dict[str, Any] | None = None


class Completion(Struct):
    """A canonical plain answer."""

    choices: list[CompletionChoice]
    model: str = ""
    usage: ChatUsage | None = None
    id: str = ""


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


class Translator(Protocol):
    def answer(self, body: bytes) -> bytes:
        """A canonical plain answer in the caller's form. Raises one of UNREADABLE."""
        ...

    def feed(self, events: bytes) -> bytes:
        """Whole canonical events in the caller's form; may be empty. Raises one of UNREADABLE."""
        ...

    def broken(self, error: RequestError) -> bytes:
        """The events that end a stream which broke off. Never one that says success."""
        ...


class TranslatingSink:
    """Wraps the caller's sink. Errors before the first byte keep OpenAI's shape; override `fail` for another."""

    def __init__(self, inner: HttpSink, translator: Translator) -> None:
        self.inner = inner
        self.translator = translator
        self._head: tuple[int, bytes, list[tuple[bytes, bytes]]] | None = None  # of a plain answer, until its length

    @property
    def started(self) -> bool:
        return self.inner.started

    @property
    def gone(self) -> bool:
        return self.inner.gone

    async def begin(self, status: int, content_type: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        if content_type.startswith(b"text/event-stream"):
            await self.inner.begin(status, content_type, headers)
        else:
            self._head = (status, content_type, [h for h in headers if h[0] != b"content-length"])

    async def write(self, data: bytes) -> None:
        said = self._translated(data)
        if said:
            await self.inner.write(said)

    async def end(self, data: bytes) -> None:
        if self._head is None:
            await self.inner.end(self._translated(data))
            return
        status, content_type, headers = self._head
        try:
            body = self.translator.answer(data)
        except UNREADABLE as error:
            raise ProviderUnavailable(f"The provider's answer cannot be said in this API: {error}.") from error
        await self.inner.begin(status, content_type, [*headers, (b"content-length", b"%d" % len(body))])
        await self.inner.end(body)

    async def fail(self, error: RequestError, headers: list[tuple[bytes, bytes]]) -> None:
        if self.inner.started:
            await self.inner.end(self.translator.broken(error))
        else:
            await self.inner.fail(error, headers)

    def _translated(self, data: bytes) -> bytes:
        """Raises AfterContent: bytes have left already, so no other route may be asked."""
        try:
            return self.translator.feed(data)
        except UNREADABLE as error:
            broken = ProviderUnavailable(f"The provider's stream cannot be said in this API: {error}.")
            raise AfterContent(broken) from error
