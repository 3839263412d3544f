"""Shadow traffic for people: begin it, see what the pairs add up to, end it; and how it goes on after a restart."""

import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct

from waterline.access import audit
from waterline.access.roles import Action, Principal, require
from waterline.access.stored import AuditRows
from waterline.core.app_spec import AppSpec, Limits
from waterline.core.canary import basis_points
from waterline.core.errors import Refused
from waterline.core.ids import short
from waterline.core.release import Release, StoredRelease, parse_release
from waterline.evals.shadow_pairs import Measured, Sums, alike, is_json, measured
from waterline.gateway.deps import App, Deps
from waterline.gateway.route import Served
from waterline.gateway.shadow import Counts, Pair, Shadow
from waterline.store import shadows, traces
from waterline.store.db import Store, Tx
from waterline.store.shadows import PairRow, ShadowRow

log = logging.getLogger("waterline.shadow")

PAGE = 50
Resolve = Callable[[Tx, str, str], StoredRelease]
_encode = msgspec.json.Encoder(order="deterministic").encode
_sums = msgspec.json.Decoder(Sums).decode


class ShadowBody(Struct, forbid_unknown_fields=True):
    """`share`: of the live requests, such as "5%"."""

    app: str
    release: str
    env: str = "production"
    share: str = "5%"
    reason: str = ""


class ShadowEndBody(Struct, forbid_unknown_fields=True):
    reason: str = ""


class ShadowHead(Struct, frozen=True):
    """Of the requests that were drawn (`offered`), `dropped` came while too much waited or this server was late, and
    `over_budget` while [shadow] usd_per_day was used up."""

    id: str
    app: str
    env: str
    release: str
    share_bp: int
    who: str
    why: str
    started_us: int
    ended_us: int | None
    reason: str
    offered: int
    dropped: int
    over_budget: int
    pairs: int


class Kept(Struct, frozen=True):
    """What is kept of a pair: figures, no text."""

    alike: float
    live_failed: bool
    copy_failed: bool
    live_us: int
    copy_us: int
    live_characters: int
    copy_characters: int
    live_nano_usd: int | None
    copy_nano_usd: int | None


class PairView(Struct, frozen=True):
    n: int
    at_us: int
    live: str  # traces
    copy: str
    kept: Kept


class ShadowView(Struct, frozen=True):
    """`same`: pairs with the same answer, word for word; `alike`: the mean share of words in common."""

    head: ShadowHead
    measured: list[Measured]
    same: int
    same_finish: int
    alike: float | None
    pairs: list[PairView]
    next: int  # what `before` takes for the pairs after these; 0 on the last page


class Shadows:
    def __init__(
        self,
        *,
        store: Store,
        deps: Deps,
        resolve: Resolve,
        ready: Callable[[str, Release], Served],
        late: Callable[[], bool],
    ) -> None:
        self._store = store
        self._deps = deps
        self._resolve = resolve
        self._ready = ready  # with connections and the health of providers of its own
        self._late = late
        self._running: dict[str, Shadow] = {}  # by app

    # --- life --------------------------------------------------------------------------------------------------

    async def resume(self) -> None:
        """After a restart: what ran goes on."""
        for row in await self._store.read(shadows.under_way):
            try:
                await self._install(row)
            except (Refused, msgspec.MsgspecError, KeyError, ValueError) as error:
                log.error("shadow traffic of app %s does not go on: %s", row.app, error)

    async def stop(self) -> None:
        for app in list(self._running):
            await self._uninstall(app)

    async def _install(self, row: ShadowRow) -> None:
        live = self._deps.apps[row.app]
        stored = await self._store.read(lambda tx: self._resolve(tx, row.release, row.app))
        served = self._ready(stored.id, parse_release(stored.manifest))
        own = await self._own_app(live)
        made = Shadow(row.id, row.env, served, row.share_bp, own, self._deps, self._keeper(row.id), self._late)
        live.shadow = self._running[row.app] = made

    async def _uninstall(self, app: str) -> None:
        made = self._running.pop(app, None)
        if made is None:
            return
        live = self._deps.apps.get(app)
        if live is not None and live.shadow is made:
            live.shadow = None
        await made.stop()
        counts = made.taken()
        await self._store.write(lambda tx: _counted(tx, made.name, counts))

    async def _own_app(self, live: App) -> App:
        """Limits, budgets and caches apart from the app's own; what the copies of this day have spent is known."""
        spec = live.spec
        limits = Limits(nano_usd_per_day=spec.shadow.nano_usd_per_day)
        spec = msgspec.structs.replace(spec, limits=limits)
        own = App(spec, live.prices)
        made = own.budget.prepare(limits, {}, self._deps.clock_us())
        asked = [(ledger.scope, window.start_us, ledger.most_names + 1) for ledger, window in made.asked]
        made.restore(
            await self._store.read(
                lambda tx: [traces.spent_by(tx, spec.name, *one, made.ids.copy, "shadow") for one in asked]
            )
        )
        own.apply(spec, live.prices, {}, made)
        own.budget.drop(made)
        return own

    def _keeper(self, shadow: str) -> Callable[[Pair], Awaitable[None]]:
        async def keep(pair: Pair) -> None:
            now_us = self._deps.clock_us()
            made = next((one for one in self._running.values() if one.name == shadow), None)
            counts = made.taken() if made is not None else Counts()
            kept = _kept(pair)  # before the transaction: it reads both texts
            json = (is_json(pair.live.text), is_json(pair.copy.text))

            def write(tx: Tx) -> None:
                row = shadows.get(tx, shadow)
                if row is None:
                    return
                sums = _sums(row.sums)
                _add(sums, pair, kept, json)
                shadows.set_sums(tx, shadow, _encode(sums))
                failed = pair.copy.failed and not pair.live.failed
                differs = pair.copy.text != pair.live.text
                shadows.add_pair(
                    tx, shadow, now_us, pair.live.trace, pair.copy.trace, failed=failed, differs=differs,
                    pair=_encode(kept),
                )  # fmt: skip
                _counted(tx, shadow, counts)

            await self._store.write(write)

        return keep

    # --- views -------------------------------------------------------------------------------------------------

    async def page(self, who: Principal, app: str | None) -> list[ShadowHead]:
        require(who, Action.ROLLOUT_READ)
        rows = await self._store.read(lambda tx: shadows.list_of(tx, app))
        return [self._head(row) for row in rows]

    async def one(
        self, who: Principal, shadow: str, before: int | None = None, only: str = "", limit: int = PAGE
    ) -> ShadowView:
        """`only`: "failed" (the copy, not the live one) or "differs"."""
        require(who, Action.ROLLOUT_READ)
        if only not in ("", "failed", "differs"):
            raise Refused(f'only is "failed" or "differs", not {only[:40]!r}.', 400)

        def read(tx: Tx) -> tuple[ShadowRow, list[PairRow]]:
            row = _found(tx, shadow)
            only_these = {"failed": only == "failed", "differs": only == "differs"}
            return row, shadows.pairs(tx, shadow, limit + 1, before, **only_these)

        row, pairs = await self._store.read(read)
        sums = _sums(row.sums)
        shown = [PairView(p.n, p.at_us, p.live, p.copy, msgspec.json.decode(p.pair, type=Kept)) for p in pairs[:limit]]
        return ShadowView(
            self._head(row), measured(sums), sums.same, sums.same_finish,
            sums.alike.copy / sums.alike.n if sums.alike.n else None, shown,
            shown[-1].n if len(pairs) > limit else 0,
        )  # fmt: skip

    async def of(self, who: Principal, app: str) -> ShadowView:
        """The one that runs, else the last."""
        require(who, Action.ROLLOUT_READ)
        self._known(app)
        rows = await self._store.read(lambda tx: shadows.list_of(tx, app))
        if not rows:
            raise Refused(f'App "{app}" has had no shadow traffic: waterline shadow start {app} RELEASE.', 404)
        return await self.one(who, next((row for row in rows if row.ended_us is None), rows[0]).id)

    def _head(self, row: ShadowRow) -> ShadowHead:
        made = self._running.get(row.app)
        more = made.counts if made is not None and made.name == row.id else Counts()
        fields: dict[str, Any] = {name: getattr(row, name) for name in ShadowHead.__struct_fields__ if name != "pairs"}
        for name in Counts.__struct_fields__:
            fields[name] += getattr(more, name)
        return ShadowHead(**fields, pairs=_sums(row.sums).pairs)

    # --- acts --------------------------------------------------------------------------------------------------

    async def start(self, who: Principal, said: ShadowBody) -> ShadowView:
        require(who, Action.ROLLOUT_PROMOTE)
        spec = self._known(said.app)
        if said.env not in spec.environments:
            names = ", ".join(spec.environments)
            raise Refused(f'App "{said.app}" has no environment "{said.env[:70]}". It has: {names}.', 404)
        try:
            share_bp = basis_points(said.share if said.share.strip().endswith("%") else f"{said.share}%")
        except ValueError as error:
            raise Refused(f"{error}. Write a share of the requests such as 5%.", 400) from None
        if said.app in self._running:
            raise Refused(
                f'Shadow traffic of app "{said.app}" runs already. End it first: waterline shadow stop {said.app}'
            )
        now_us = self._deps.clock_us()

        def write(tx: Tx) -> ShadowRow:
            stored = self._resolve(tx, said.release, said.app)
            row = ShadowRow(
                secrets.token_hex(8), said.app, said.env, stored.id, share_bp, who.name, said.reason[:2000], now_us,
                None, "", 0, 0, 0, _encode(Sums()),
            )  # fmt: skip
            if shadows.under_way(tx, said.app):
                raise Refused(f'Shadow traffic of app "{said.app}" runs already.')
            shadows.add(tx, row)
            _audit(tx, who, Action.ROLLOUT_PROMOTE, row, now_us, "shadow start", said.reason)
            return row

        row = await self._store.write(write)
        try:
            await self._install(row)
        except (msgspec.MsgspecError, KeyError, ValueError) as error:
            why = f"it cannot be served: {error}"
            await self._store.write(lambda tx: shadows.end(tx, row.id, now_us, why))
            raise Refused(f"Release {short(row.release)} cannot be served: {error}.") from None
        return await self.one(who, row.id)

    async def end(self, who: Principal, shadow: str, said: ShadowEndBody) -> ShadowView:
        require(who, Action.ROLLOUT_ROLLBACK)
        now_us = self._deps.clock_us()

        def write(tx: Tx) -> ShadowRow:
            row = _found(tx, shadow)
            if not shadows.end(tx, shadow, now_us, said.reason[:2000]):
                raise Refused(f"Shadow traffic {shadow[:40]} has ended already.")
            _audit(tx, who, Action.ROLLOUT_ROLLBACK, row, now_us, "shadow end", said.reason)
            return row

        row = await self._store.write(write)
        await self._uninstall(row.app)
        return await self.one(who, shadow)

    def _known(self, app: str) -> AppSpec:
        found = self._deps.apps.get(app)
        if found is None:
            raise Refused(f'There is no app "{app[:70]}".', 404)
        return found.spec


def _kept(pair: Pair) -> Kept:
    live, copy = pair.live, pair.copy
    near = 0.0 if live.failed or copy.failed else alike(live.text, copy.text)
    return Kept(
        near, live.failed, copy.failed, live.duration_us, copy.duration_us, len(live.text), len(copy.text),
        live.cost_nano_usd, copy.cost_nano_usd,
    )  # fmt: skip


def _add(sums: Sums, pair: Pair, kept: Kept, json: tuple[bool, bool]) -> None:
    live, copy = pair.live, pair.copy
    sums.pairs += 1
    sums.add("failed", float(live.failed), float(copy.failed))
    if live.failed or copy.failed:
        return  # what did not come has no length
    sums.same += live.text == copy.text
    sums.same_finish += live.finish_reason == copy.finish_reason
    sums.alike.add(1.0, kept.alike)
    if any(json):
        sums.add("json", float(json[0]), float(json[1]))
    sums.add("duration_us", live.duration_us, copy.duration_us)
    sums.add("first_token_us", live.first_token_us, copy.first_token_us)
    sums.add("cost_nano_usd", live.cost_nano_usd, copy.cost_nano_usd)
    sums.add("characters", len(live.text), len(copy.text))


def _counted(tx: Tx, shadow: str, counts: Counts) -> None:
    shadows.count(tx, shadow, counts.offered, counts.dropped, counts.over_budget)


def _found(tx: Tx, shadow: str) -> ShadowRow:
    row = shadows.get(tx, shadow)
    if row is None:
        raise Refused(f"There is no shadow traffic {shadow[:40]}.", 404)
    return row


def _audit(tx: Tx, who: Principal, action: Action, row: ShadowRow, at_us: int, kind: str, why: str) -> None:
    detail = {
        "kind": kind,
        "env": row.env,
        "release": row.release,
        "shadow": row.id,
        "share": f"{row.share_bp / 100:g}%",
    }
    if why:
        detail["why"] = why[:500]
    audit.append(AuditRows(tx), at_us=at_us, by=who, action=action.value, target=row.app, detail=detail)
