"""Shadow traffic: a candidate answers a copy of live requests, after the caller has been answered.

The caller's request knows nothing of it but one question at its end. Copies wait in a bounded queue; what does not
fit, or comes while this server is late, is dropped and counted. They have limits, budgets, caches, connections and the
health of providers of their own, so that nothing they do is felt by live requests. Their traces have the purpose
"shadow". Tools are not run by the gateway, so a copy has no effect but its answer.
"""

import asyncio
import copy
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct

from waterline.access.roles import Principal
from waterline.core.errors import RequestError
from waterline.core.request import Request
from waterline.core.rollout import bucket_of
from waterline.core.trace import Answered, Ended, OutcomeRecord, TraceRow, decode_record
from waterline.gateway.deps import App, Deps, Log
from waterline.gateway.metrics import Metrics
from waterline.gateway.route import Served
from waterline.gateway.serve import serve
from waterline.gateway.trail import Trail

log = logging.getLogger("waterline.shadow")

MOST_CHARS = 20_000  # of an answer that are compared
REST_US = 600_000_000  # after the budget has refused a copy
TAG = "shadow-of:"


class Half(Struct, frozen=True):
    """How one of the two went."""

    trace: str
    failed: bool
    duration_us: int
    first_token_us: int | None
    cost_nano_usd: int | None
    text: str
    finish_reason: str


class Pair(Struct, frozen=True):
    live: Half
    copy: Half


class Counts(Struct):
    """Since they were last taken."""

    offered: int = 0
    dropped: int = 0
    over_budget: int = 0


class _Copy(Struct, frozen=True):
    request: Request
    principal: Principal
    live: Half


class Shadow:
    """One candidate beside one environment of an app, while it runs. Only the event loop's thread uses it."""

    def __init__(
        self, name: str, env: str, served: Served, share_bp: int, app: App, deps: Deps,
        keep: Callable[[Pair], Awaitable[None]], busy: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.name = name
        self.env = env
        self.served = served
        self.share_bp = share_bp
        self.counts = Counts()
        self._app = app  # its own: limits, budget, caches
        self._deps = deps
        self._keep = keep
        self._busy = busy  # this server is late
        self._metrics = Metrics()
        self._waiting: deque[_Copy] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rests_until_us = 0

    def offer(self, trail: Trail) -> None:
        """A request that has been answered, or has failed. Raises nothing and waits for nothing."""
        request = trail.request
        if trail.principal.env != self.env or request.kind != "chat" or trail.served.id == self.served.id:
            return
        if trail.outcome not in ("answered", "failed") or not trail.attempts:  # from a cache: no model to compare with
            return
        if bucket_of(self.name, trail.id) >= self.share_bp:
            return
        self.counts.offered += 1
        declared = self._app.spec.shadow
        if self._deps.clock_us() < self._rests_until_us:
            self.counts.over_budget += 1
        elif len(self._waiting) >= declared.queue or self._busy():
            self.counts.dropped += 1
        else:
            self._waiting.append(_Copy(request, trail.principal, _live_half(trail)))
            if len(self._tasks) < declared.max_concurrency:
                task = asyncio.get_running_loop().create_task(self._work())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def taken(self) -> Counts:
        """Since the last time."""
        found, self.counts = self.counts, Counts()
        return found

    async def stop(self) -> None:
        """Those that wait are dropped; those under way are cancelled, and leave their traces."""
        self.counts.dropped += len(self._waiting)
        self._waiting.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        while self._waiting:
            one = self._waiting.popleft()
            try:
                await self._answer(one)
            except Exception:
                log.exception("a copy of request %s was not answered", one.live.trace)

    async def _answer(self, one: _Copy) -> None:
        kept = _Kept(self._deps.log)
        mine = copy.copy(self._deps)
        mine.log, mine.metrics, mine.purpose = kept, self._metrics, "shadow"
        mine.apps = {one.principal.app: self._app}
        tags = f"{one.request.tags},{TAG}{one.live.trace}".removeprefix(",")
        request = msgspec.structs.replace(
            one.request, trace_id=self._deps.next_id(), received_us=self._deps.clock_us(), tags=tags,
            idempotency_key="", deadline_ms=None, summary="", shortened=b"", delivery="live",
            fields=dict(one.request.fields),
        )  # fmt: skip
        await serve(request, self.served, one.principal, mine, _Nowhere())
        if kept.row is None:
            return
        if kept.row.code == "budget_exceeded":
            self.counts.over_budget += 1
            self._rests_until_us = self._deps.clock_us() + REST_US
            return
        await self._keep(Pair(one.live, kept.half()))


def _live_half(trail: Trail) -> Half:
    ended = trail.events[-1]
    return Half(
        trail.id, trail.outcome != "answered", ended.offset_us, trail.first_token_us, trail.cost,
        "".join(trail.text)[:MOST_CHARS], trail.finish_reason,
    )  # fmt: skip


class _Kept:
    """The log of traces, and what it was told of this one."""

    def __init__(self, inner: Log) -> None:
        self._inner = inner
        self.row: TraceRow | None = None
        self._events: list[Any] = []
        self._body = b""

    def admit(self, head: bytes, body: bytes) -> None:
        self._inner.admit(head, body)

    def outcome(self, head: bytes, body: bytes) -> None:
        self._inner.outcome(head, body)
        record = decode_record(head)
        if isinstance(record, OutcomeRecord):
            self.row, self._events, self._body = record.row, record.events, body

    def half(self) -> Half:
        row = self.row
        assert row is not None
        ended = next((e.offset_us for e in self._events if isinstance(e, Ended)), row.duration_us)
        finish = next((e.finish_reason for e in self._events if isinstance(e, Answered)), "")
        return Half(
            row.id, row.outcome != "answered", ended, row.first_token_us, row.cost_nano_usd,
            text_of(self._body)[:MOST_CHARS], finish,
        )  # fmt: skip


class _Nowhere:
    """The caller that a copy has not."""

    started = False
    gone = False

    async def begin(self, status: int, content_type: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True

    async def write(self, data: bytes) -> None: ...

    async def end(self, data: bytes) -> None: ...

    async def fail(self, error: RequestError, headers: list[tuple[bytes, bytes]]) -> None: ...


class _Message(Struct):
    content: str | None = None


class _Choice(Struct):
    message: _Message | None = None
    delta: _Message | None = None


class _Answer(Struct):
    choices: list[_Choice] = []


_decode = msgspec.json.Decoder(_Answer).decode


def text_of(body: bytes) -> str:
    """What an answer says, streamed or not; "" if it cannot be read."""
    if not body.startswith(b"data:"):
        return _said(body)
    lines = (line.removeprefix(b"data:").strip() for line in body.split(b"\n") if line.startswith(b"data:"))
    return "".join(_said(line) for line in lines if line.startswith(b"{"))


def _said(data: bytes) -> str:
    try:
        found = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    first = found.choices[0] if found.choices else _Choice()
    part = first.message or first.delta
    return (part.content or "") if part is not None else ""
