"""What every API beside chat completions needs: a caller's sink that says the gateway's answers in other words.

The gateway's canonical form is OpenAI's chat completion: `serve` writes that, a Translator turns it into what the
caller's SDK expects. What was written to the trace before is the canonical form.
"""

from typing import Protocol

from waterline.core.completion import UNREADABLE
from waterline.core.errors import ProviderUnavailable, RequestError
from waterline.gateway.deps import Sink
from waterline.gateway.faults import AfterContent


class Translator(Protocol):
    alive: bytes  # what says that the answer is still awaited; empty: the comment itself

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

    def __init__(self, inner: Sink, translator: Translator) -> None:
        self.inner = inner
        self.translator = translator
        self._head: tuple[int, bytes, list[tuple[bytes, bytes]]] | None = None  # of a plain answer, until it is read

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
            self._head = (status, content_type, headers)

    async def write(self, data: bytes) -> None:
        alone = data[:1] == b":" and data.find(b"\n\n") == len(data) - 2  # a comment that keeps a connection alive
        said = (self.translator.alive or data) if alone else self._translated(data)
        if said:
            await self.inner.write(said)

    async def end(self, data: bytes) -> None:
        if self._head is None:
            await self.inner.end(self._translated(data))
            return
        try:
            body = self.translator.answer(data)
        except UNREADABLE as error:
            raise ProviderUnavailable(f"The provider's answer cannot be said in this API: {error}.") from error
        await self.inner.begin(*self._head)
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
