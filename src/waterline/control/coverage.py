"""How much of what people ask has a case, as it was measured last. Kept in memory: the examples are people's words."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

from msgspec import Struct

from waterline.access.roles import Action, Principal, require
from waterline.core.errors import Refused
from waterline.core.redact import Redaction
from waterline.evals.coverage import Coverage, Request, measure
from waterline.evals.harvest import asked_of
from waterline.evals.near import Embed
from waterline.store import cases, traces
from waterline.store.db import Store, Tx
from waterline.store.traces import Cursor, TraceFilter

MOST_REQUESTS = 2000
MOST_LOOKED_AT = 20_000  # traces
AT_ONCE = 200
MOST_KEPT = 50  # measurements, the oldest go first


class CoverageBody(Struct, forbid_unknown_fields=True):
    """Of the newest `look_at` live traces, one a session, at most `requests` by chance (the same for the same seed).
    `threshold`: from which likeness on a case is near; None: the usual one."""

    requests: int = 1000
    look_at: int = 10_000
    threshold: float | None = None
    since_us: int | None = None
    seed: int = 1


class Measured(Struct, frozen=True):
    """`of`: the set and version, `name@version`. `looked_at`: traces, of `traces` that there are. `no_text`: traces
    that have no words for a case."""

    app: str
    of: str
    at_us: int
    looked_at: int
    traces: int
    no_text: int
    sessions: int
    coverage: Coverage


class CoverageDesk:
    def __init__(
        self, store: Store, clock_us: Callable[[], int], known: Callable[[str], object],
        drain: Callable[[], Awaitable[None]], embedder: Callable[[], Embed | None],
    ) -> None:  # fmt: skip
        self._store = store
        self._clock_us = clock_us
        self._known = known
        self._drain = drain
        self._embedder = embedder
        self._last: dict[tuple[str, str], Measured] = {}
        self._busy = asyncio.Semaphore(1)

    def forget(self) -> None:
        """Somebody is erased: an example may be theirs."""
        self._last.clear()

    async def last(self, who: Principal, app: str, name: str) -> Measured | None:
        require(who, Action.CASE_READ)
        self._known(app)
        return self._last.get((app, name))

    async def measure(self, who: Principal, app: str, name: str, said: CoverageBody) -> Measured:
        """Some seconds with 100,000 cases, in a thread of its own; one at a time."""
        require(who, Action.CASE_READ)
        self._known(app)
        if not 1 <= said.requests <= MOST_REQUESTS or not 1 <= said.look_at <= MOST_LOOKED_AT:
            raise Refused(f"requests is 1 to {MOST_REQUESTS:,}, look_at is 1 to {MOST_LOOKED_AT:,}.", 400)
        if said.threshold is not None and not 0 < said.threshold <= 1:
            raise Refused("The threshold is above 0 and at most 1.", 400)
        await self._drain()
        async with self._busy:
            made = await asyncio.to_thread(self._measure, app, name, said)
        self._last.pop((app, name), None)
        self._last[app, name] = made
        while len(self._last) > MOST_KEPT:
            del self._last[next(iter(self._last))]
        return made

    def _measure(self, app: str, name: str, said: CoverageBody) -> Measured:
        embed = self._embedder()
        sample = _Sample(said)
        where = TraceFilter(app=app, purpose="live", since_us=said.since_us)
        before: Cursor | None = None
        while sample.looked_at < said.look_at:

            def read(tx: Tx, before: Cursor | None = before) -> Cursor | None:
                limit = min(AT_ONCE, said.look_at - sample.looked_at)
                page = traces.page(tx, where, before=before, limit=limit)
                for row in page.rows:
                    sample.add(row.session or row.id, row.id)
                return page.next

            before = self._store.read_sync(read)
            if before is None:
                break
        asked: list[Request] = []
        no_text = 0
        for at in range(0, len(sample.chosen), AT_ONCE):
            part = sample.chosen[at : at + AT_ONCE]
            for found in self._store.read_sync(lambda tx, p=part: [_request(tx, one) for one in p]):  # type: ignore[misc]
                if found is None:
                    no_text += 1
                else:
                    asked.append(found)
        total, of, texts = self._store.read_sync(lambda tx: (traces.count(tx, where), *_set(tx, app, name)))
        coverage = measure(asked, texts, embed, said.threshold)
        return Measured(
            app, of, self._clock_us(), sample.looked_at, total, no_text, len(sample.sessions), coverage
        )  # fmt: skip


class _Sample:
    """One trace of each session, and of these the ones of the lowest hash: the same for the same traces and seed."""

    def __init__(self, said: CoverageBody) -> None:
        self._said = said
        self.looked_at = 0
        self.sessions: dict[str, tuple[bytes, str]] = {}

    def add(self, session: str, trace: str) -> None:
        self.looked_at += 1
        rank = hashlib.sha256(f"{self._said.seed}\0{trace}".encode()).digest()
        if session not in self.sessions or rank < self.sessions[session][0]:
            self.sessions[session] = (rank, trace)

    @property
    def chosen(self) -> list[str]:
        return [trace for _, trace in sorted(self.sessions.values())[: self._said.requests]]


def _request(tx: Tx, trace: str) -> Request | None:
    asked = asked_of(traces.body(tx, trace, "request") or b"")
    if isinstance(asked, str):
        return None
    return Request(trace, Redaction().take(asked.last)[:2000])


def _set(tx: Tx, app: str, name: str) -> tuple[str, list[str]]:
    """No set is no cases: then nothing is covered."""
    head = cases.head(tx, app, name)
    if head is None:
        return f"{name} (there is no such set yet)", []
    return f"{name}@{head.version}", [case.asked for case in cases.each(tx, app, name, head.version)]
