"""Traces for people: pages of them, one with its events, what they add up to, and rendered again."""

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from waterline.access.roles import Action, Principal, allowed, require
from waterline.control import replaying, responses
from waterline.control.named import parsed, resolved
from waterline.control.views import ReplayView, RowView, TracePage, TraceView
from waterline.core.errors import NotReplayable, Refused
from waterline.core.ids import is_trace_id
from waterline.core.release import StoredRelease
from waterline.gateway.deps import Deps
from waterline.gateway.upstreams import Upstreams
from waterline.providers.base import Provider
from waterline.store import traces, verdicts
from waterline.store.db import Store, Tx

WHOLE_ID = 64  # hex digits; fewer are the first of a release's


class TraceDesk:
    def __init__(
        self, store: Store, deps: Deps, providers: dict[str, Provider], upstreams: Upstreams,
        drain: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._store = store
        self._deps = deps
        self._providers = providers
        self._upstreams = upstreams
        self._drain = drain

    async def page(
        self, who: Principal, where: traces.TraceFilter, before: str = "", limit: int = 50, count: bool = False
    ) -> TracePage:
        """A page, newest first; `before` is the cursor that the page before gave."""
        require(who, Action.TRACES_READ)
        if where.text:
            require(who, Action.BODIES_READ)  # a search tells what a text says
        try:
            cursor = traces.Cursor.parse(before) if before else None
        except ValueError as error:
            raise Refused(f"{error}.", 400) from None

        def read(tx: Tx) -> TracePage:
            nonlocal where
            if where.release and len(where.release) < WHOLE_ID:
                where = replace(where, release=resolved(tx, where.release).id)
            page = traces.page(tx, where, before=cursor, limit=limit)
            total = traces.count(tx, where) if count else None
            return TracePage([RowView.of(r) for r in page.rows], str(page.next) if page.next else "", total)

        return await self._store.read(read)

    async def one(self, who: Principal, trace_id: str) -> TraceView:
        require(who, Action.TRACES_READ)
        readable = allowed(who.acts_as, Action.BODIES_READ)
        feedback = allowed(who.acts_as, Action.FEEDBACK_READ)
        await self._stored(trace_id)

        def read(tx: Tx) -> TraceView:
            found = traces.get(tx, trace_id)
            if found is None:
                raise Refused(f"There is no trace {trace_id[:40]}.", 404)
            request = traces.body(tx, trace_id, "request") if readable else None
            answer = traces.body(tx, trace_id, "answer") if readable else None
            said = [v.verdict for v in verdicts.of(tx, "trace", trace_id)] if feedback else []
            return TraceView(*found, said, _text(request), _text(answer), not readable)

        return await self._store.read(read)

    async def overview(
        self, who: Principal, app: str | None, since_us: int, until_us: int, step_us: int
    ) -> traces.Overview:
        """Traffic, cost, latency and errors by time and by release."""
        require(who, Action.OVERVIEW_READ)
        if not step_us > 0 or (until_us - since_us) / step_us > 2000:
            raise Refused("That span has too many steps. Ask for at most 2,000.", 400)
        purpose = self._deps.purpose
        return await self._store.read(lambda tx: traces.overview(tx, app, since_us, until_us, step_us, purpose=purpose))

    async def replay(self, who: Principal, trace_id: str, wanted: str) -> ReplayView:
        """Render the trace's upstream requests again; on a reproducible route ask again and compare the answers."""
        require(who, Action.TRACE_REPLAY)
        await self._stored(trace_id)

        def read(tx: Tx) -> tuple[replaying.Sealed, StoredRelease]:
            found = traces.get(tx, trace_id)
            if found is None:
                raise Refused(f"There is no trace {trace_id[:40]}.", 404)
            row, events = found
            request, answer = traces.body(tx, trace_id, "request"), traces.body(tx, trace_id, "answer")
            history, gap = responses.history_for_replay(tx, row, events, request)
            summary, lost = replaying.summary_of(tx, events)
            sealed = replaying.Sealed(row, events, request, answer, history, gap or lost, summary)
            if not wanted and not row.release:
                raise Refused(f"Trace {trace_id} was refused before a release was chosen; nothing to replay.")
            return sealed, resolved(tx, wanted or row.release, row.app)

        sealed, stored = await self._store.read(read)
        try:
            return await replaying.replay(
                sealed, stored.id, parsed(stored), self._providers, self._upstreams, self._deps
            )
        except NotReplayable as reason:
            return ReplayView(trace_id, stored.id, False, str(reason), [], "")

    async def _stored(self, trace_id: str) -> None:
        """A trace that was just answered may still be on its way from the spool to the store."""
        if not is_trace_id(trace_id):
            raise Refused(f'"{trace_id[:40]}" is no trace id; it has 24 hex digits.', 404)
        found = await self._store.read(lambda tx: traces.get(tx, trace_id))
        if found is None or found[0].outcome == "open":
            await self._drain()


def _text(body: bytes | None) -> str | None:
    return None if body is None else body.decode("utf-8", "replace")
