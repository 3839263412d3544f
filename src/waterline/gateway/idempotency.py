"""`Idempotency-Key`: the same request again gets the first answer, byte for byte, and costs nothing.

Kept for 24 hours: the newest in memory, the others (and all, after a restart) in the trace store. There they are in the
canonical form, and are said again in their API's own words. Only complete answers are kept.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import TYPE_CHECKING

from msgspec import Struct

from waterline.access.roles import Principal
from waterline.core.errors import IdempotencyConflict, RequestError
from waterline.core.request import Request
from waterline.core.trace import TraceOutcome

if TYPE_CHECKING:
    from waterline.gateway.deps import Sink

KEPT_US = 24 * 3600 * 1_000_000
MAX_BYTES = 64 << 20  # of answers in memory
MAX_ONE_BYTES = 4 << 20
MAX_ENTRIES = 10_000
REPLAYED = (b"x-waterline-replayed", b"true")
Ident = tuple[str, str, str, str]  # app, environment, key, idempotency key


class Stored(Struct, frozen=True):
    """A complete answer as the trace store has it."""

    trace: str
    release: str
    path: str
    stream: bool
    request: bytes
    answer: bytes | None  # canonical; None: not kept any more
    started_us: int


Find = Callable[[Ident, int], Awaitable[Stored | None]]  # answered since (Unix us)


class _Recording:
    """A sink around the caller's that remembers what it is told."""

    def __init__(self, inner: "Sink", mark: bytes, at_us: int) -> None:
        self.inner = inner
        self.mark = mark
        self.at_us = at_us
        self.content_type = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        self.size = 0
        self.complete = False

    @property
    def started(self) -> bool:
        return self.inner.started

    @property
    def gone(self) -> bool:
        return self.inner.gone

    async def begin(self, status: int, content_type: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.content_type = content_type
        self.headers = [h for h in headers if h[0] != b"x-waterline-cost-usd"]
        await self.inner.begin(status, content_type, headers)

    async def write(self, data: bytes) -> None:
        self._add(data)
        await self.inner.write(data)

    async def end(self, data: bytes) -> None:
        self._add(data)
        self.complete = self.size <= MAX_ONE_BYTES
        await self.inner.end(data)

    async def fail(self, error: RequestError, headers: list[tuple[bytes, bytes]]) -> None:
        await self.inner.fail(error, headers)

    def _add(self, data: bytes) -> None:
        self.size += len(data)
        if self.size <= MAX_ONE_BYTES:
            self.parts.append(data)


class Once:
    def __init__(self, clock_us: Callable[[], int], find: Find) -> None:
        self._clock_us = clock_us
        self._find = find
        self._running: dict[Ident, bytes] = {}
        self._kept: dict[Ident, _Recording] = {}  # oldest first
        self._bytes = 0

    async def serve(
        self,
        request: Request,
        principal: Principal,
        sink: "Sink",
        run: Callable[["Sink"], Awaitable[TraceOutcome]],
        retold: Callable[[Stored], "Sink"],
    ) -> None:
        """Runs it, or says again what was said. `retold`: what says a canonical answer to the caller.

        Raises IdempotencyConflict."""
        ident = (principal.app, principal.env, principal.key_id, request.idempotency_key)
        mark = _mark(request.path, request.body)
        if ident in self._running:
            if self._running[ident] != mark:
                raise _other_request(request)
            raise IdempotencyConflict(
                f'The first request with Idempotency-Key "{request.idempotency_key}" is still under way. Ask again in '
                "a moment to get its answer.",
                retry_after_s=1,
            )
        self._expire()
        kept = self._kept.get(ident)
        if kept is not None:
            if kept.mark != mark:
                raise _other_request(request)
            await _again(sink, kept.content_type, kept.headers, kept.parts)
            return
        self._running[ident] = mark
        try:
            stored = await self._find(ident, self._clock_us() - KEPT_US)
            if stored is not None:
                await _from_store(request, retold, stored, mark)
                return
            recording = _Recording(sink, mark, self._clock_us())
            if await run(recording) == "answered" and recording.complete:
                self._keep(ident, recording)
        finally:
            del self._running[ident]

    def _keep(self, ident: Ident, recording: _Recording) -> None:
        self._kept[ident] = recording
        self._bytes += recording.size
        while self._bytes > MAX_BYTES or len(self._kept) > MAX_ENTRIES:
            self._drop(next(iter(self._kept)))

    def _expire(self) -> None:
        before = self._clock_us() - KEPT_US
        while self._kept and next(iter(self._kept.values())).at_us < before:
            self._drop(next(iter(self._kept)))

    def _drop(self, ident: Ident) -> None:
        self._bytes -= self._kept.pop(ident).size


def _mark(path: str, body: bytes) -> bytes:
    return sha256(path.encode() + b"\0" + body).digest()


def _other_request(request: Request) -> IdempotencyConflict:
    return IdempotencyConflict(
        f'Idempotency-Key "{request.idempotency_key}" was used for another request in the last 24 hours. '
        "Use a new key for a new request."
    )


async def _from_store(request: Request, retold: Callable[[Stored], "Sink"], stored: Stored, mark: bytes) -> None:
    if _mark(stored.path, stored.request) != mark:
        raise _other_request(request)
    if stored.answer is None:
        raise IdempotencyConflict(
            f'The request with Idempotency-Key "{request.idempotency_key}" was answered (trace {stored.trace}), but '
            "its bytes are no longer kept. Use a new key to ask again."
        )
    headers = [(b"x-waterline-trace", stored.trace.encode()), (b"x-waterline-release", stored.release.encode())]
    kind = b"text/event-stream; charset=utf-8" if stored.stream else b"application/json"
    await _again(retold(stored), kind, headers, [stored.answer])


async def _again(sink: "Sink", content_type: bytes, headers: list[tuple[bytes, bytes]], parts: list[bytes]) -> None:
    await sink.begin(200, content_type, [*headers, REPLAYED, (b"x-waterline-cost-usd", b"0.000000000")])
    for part in parts[:-1]:
        await sink.write(part)
    await sink.end(parts[-1] if parts else b"")
