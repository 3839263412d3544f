"""Canaries for people: begin one, see what it knows, end it; and the sessions that an A/A run is made over."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct

from waterline.access.roles import Action, Principal, require
from waterline.control.canary_watch import CanaryWatch, judge_trouble, unit_key
from waterline.core.app_spec import AppSpec, parse_spec
from waterline.core.canary import basis_points
from waterline.core.errors import Refused
from waterline.core.ids import short
from waterline.core.release import StoredRelease
from waterline.core.rollout import FULL_BP, Move
from waterline.core.trace import Purpose
from waterline.evals.canary import Asked, Compared, Decision, Plan, Sums, judged, look, measured, plan_of, sentence
from waterline.rollout.live import Live
from waterline.rollout.moves import Moves
from waterline.store import canaries, releases
from waterline.store.canaries import CanaryHead, CanaryRow, LookRow
from waterline.store.db import Store, Tx

PAGE = 50
MOST_LOOKS = 150  # that one view works out again
MOST_RECORDED = 50_000  # requests of an A/A run
HOUR_US = 3_600_000_000
Promote = Callable[[Principal, str, str, str, str, str, str], Awaitable[Move]]
Resolve = Callable[[Tx, str, str], StoredRelease]


class CanaryBody(Struct, forbid_unknown_fields=True):
    """`weight`: the first step, instead of the declared one."""

    app: str
    release: str
    env: str = "production"
    weight: str = ""
    reason: str = ""


class EndBody(Struct, forbid_unknown_fields=True):
    """`keep`: leave the weights as they are; else all traffic returns to the baseline."""

    keep: bool = False
    reason: str = ""


class CanaryPage(Struct, frozen=True):
    """`next`: what `before` takes for the page after this one; "" on the last."""

    rows: list[CanaryHead]
    next: str


class LookView(Struct, frozen=True):
    """One look, worked out again from its sums."""

    at_us: int
    step: int
    decision: Decision
    sessions: tuple[int, int]  # baseline, candidate
    compared: tuple[Compared, ...]


class CanaryView(Struct, frozen=True):
    """`now`: what the sums of the step say. `looks`: at most 150 of those kept (`head.looks`), spread evenly, with the
    last one of each step. `waiting`: sessions that were seen and are not counted yet."""

    head: CanaryHead
    plan: Plan
    now: LookView
    sentences: list[str]  # of `now`, one a signal
    looks: list[LookView]
    moves: list[Move]
    waiting: int


class Recorded(Struct, frozen=True):
    """Sessions of one release in their order, each with its values: what an A/A run draws labels for."""

    app: str
    env: str
    release: str
    plan: Plan
    requests: int
    cut: bool  # there are more than were read
    sessions: list[dict[str, float]]


_encode = msgspec.json.Encoder(order="deterministic").encode
_plan = msgspec.json.Decoder(Plan).decode
_sums = msgspec.json.Decoder(Sums).decode


class Canaries:
    def __init__(
        self,
        *,
        store: Store,
        moves: Moves,
        live: Live,
        clock_us: Callable[[], int],
        purpose: Purpose,
        promote: Promote,
        resolve: Resolve,
        spec_of: Callable[[str], AppSpec],
    ) -> None:
        self._store = store
        self._moves = moves
        self._live = live
        self._clock_us = clock_us
        self._purpose: Purpose = purpose
        self._promote = promote
        self._resolve = resolve
        self._spec_of = spec_of
        self.watch = CanaryWatch(store, moves, clock_us, purpose, spec_of)

    # --- views -------------------------------------------------------------------------------------------------

    async def page(self, who: Principal, app: str | None, before: str = "", limit: int = PAGE) -> CanaryPage:
        require(who, Action.ROLLOUT_READ)

        def read(tx: Tx) -> CanaryPage:
            last = _found(tx, before) if before else None
            rows = canaries.list_of(tx, app, limit + 1, last)
            return CanaryPage(rows[:limit], rows[limit - 1].id if len(rows) > limit else "")

        return await self._store.read(read)

    async def one(self, who: Principal, canary: str) -> CanaryView:
        require(who, Action.ROLLOUT_READ)

        def read(tx: Tx) -> CanaryView:
            row = _found(tx, canary)
            plan = _plan(row.plan)
            now = _view(plan, self._clock_us(), row.step, row.sums)
            looks = [_view(plan, kept.at_us, kept.step, kept.sums) for kept in spread(canaries.looks(tx, row.id))]
            said = [sentence(c) for c in now.compared]
            return CanaryView(_head(row), plan, now, said, looks, canaries.moves(tx, row), canaries.waiting(tx, row.id))

        return await self._store.read(read)

    async def of(self, who: Principal, app: str, env: str) -> CanaryView:
        """The one under way, else the last."""
        require(who, Action.ROLLOUT_READ)
        self._spec_of(app)
        rows = await self._store.read(lambda tx: canaries.list_of(tx, app, 200))
        here = [row for row in rows if row.env == env]
        if not here:
            raise Refused(
                f'App "{app}" has had no canary in "{env[:70]}". Begin one: '
                f"waterline canary start {app} RELEASE --to {env[:70]}",
                404,
            )
        return await self.one(who, next((row for row in here if row.ended_us is None), here[0]).id)

    async def recorded(self, who: Principal, app: str, env: str, hours: int) -> Recorded:
        """The sessions of the live release in the last hours. They hold figures, no text."""
        require(who, Action.ROLLOUT_READ)
        spec = self._spec_of(app)
        shares, _ = self._live.state(app, env)
        if not shares:
            raise Refused(f'Nothing is live for app "{app}" in "{env[:70]}".', 404)
        release = max(shares, key=lambda share: share.weight_bp).release
        since_us = self._clock_us() - max(1, hours) * HOUR_US
        where = {"app": app, "env": env, "release": release, "purpose": self._purpose}
        return await self._store.read(lambda tx: _recorded(tx, where, plan_of(spec), since_us))

    # --- acts --------------------------------------------------------------------------------------------------

    async def start(self, who: Principal, said: CanaryBody) -> CanaryView:
        """Its first step is a promotion by weight, with everything that a promotion asks for."""
        require(who, Action.ROLLOUT_PROMOTE)
        self._spec_of(said.app)
        stored, spec = await self._store.read(lambda tx: self._declared(tx, said))
        shares, _ = self._live.state(said.app, said.env)
        if len(shares) != 1:
            what = "Nothing is" if not shares else f"{len(shares)} releases are"
            raise Refused(
                f'{what} live for app "{said.app}" in "{said.env[:70]}"; a canary is compared with the one release '
                f"that has all of the traffic. Promote one first: waterline promote {said.app} RELEASE --to {said.env}"
            )
        baseline = shares[0].release
        if baseline == stored.id:
            raise Refused(f'{short(stored.id)} is live for all of "{said.env}" already. Nothing was changed.')
        plan = _with_first(plan_of(spec), said.weight)
        row = CanaryRow(
            id=secrets.token_hex(8), app=said.app, env=said.env, candidate=stored.id, baseline=baseline,
            state="running", step=0, who=who.name, why=said.reason[:2000], started_us=0, step_us=0, ended_us=None,
            reason="", looked=0, looks=0, plan=_encode(plan), sums=_encode(Sums.empty()),
        )  # fmt: skip
        self.watch.starting[row.id] = row
        try:
            weight = f"{plan.steps_bp[0] / 100:g}%"
            await self._promote(who, said.app, stored.id, said.env, weight, said.reason, row.id)
        finally:
            del self.watch.starting[row.id]
        return await self.one(who, row.id)

    async def end(self, who: Principal, canary: str, said: EndBody) -> CanaryView:
        """By a person: back to the baseline, or as the weights are now."""
        require(who, Action.ROLLOUT_ROLLBACK)
        row = await self._store.read(lambda tx: _found(tx, canary))
        if row.ended_us is not None:
            raise Refused(f"Canary {row.id} has ended already: {row.state}.")
        if said.keep:
            why = f": {said.reason}" if said.reason else ""
            text = f"{who.name} ended it and left the weights as they were{why}"
            await self._store.write(lambda tx: self.watch.stopped(tx, row.id, who, text))
        else:
            why = said.reason or "the canary was stopped"
            await self._moves.rollback(who, app=row.app, env=row.env, to=row.baseline, why=why, evidence=row.id)
        return await self.one(who, row.id)

    def _declared(self, tx: Tx, said: CanaryBody) -> tuple[StoredRelease, AppSpec]:
        """The candidate, and the environment record that comes into force with it."""
        stored = self._resolve(tx, said.release, said.app)
        record = releases.get_spec(tx, stored.spec)
        spec = parse_spec(record.bytes) if record is not None else self._spec_of(said.app)
        for guard in plan_of(spec).guards:
            if guard.judge and (why := judge_trouble(tx, spec, guard.judge)):
                raise Refused(f"{why} Calibrate it, or take it out of [canary] quality.")
        return stored, spec


def _with_first(plan: Plan, weight: str) -> Plan:
    if not weight:
        return plan
    try:
        first = basis_points(weight if weight.strip().endswith("%") else f"{weight}%")
    except ValueError as error:
        raise Refused(f"{error}. Write a share of the sessions such as 10%.", 400) from None
    if first >= FULL_BP:
        raise Refused("A canary begins with less than all of the sessions. For all of them: waterline promote.", 400)
    return msgspec.structs.replace(plan, steps_bp=(first, *(bp for bp in plan.steps_bp if bp > first)))


def spread(looks: list[LookRow]) -> list[LookRow]:
    """At most MOST_LOOKS of them and the last ones of the steps: each costs about a millisecond."""
    if len(looks) <= MOST_LOOKS:
        return looks
    every = len(looks) / MOST_LOOKS
    shown = {int(i * every) for i in range(MOST_LOOKS)}
    shown |= {i for i, one in enumerate(looks) if i + 1 == len(looks) or looks[i + 1].step != one.step}
    return [looks[i] for i in sorted(shown)]


def _view(plan: Plan, at_us: int, step: int, sums: bytes) -> LookView:
    found = look(plan, _sums(sums))
    return LookView(at_us, step, found.decision, found.sessions, found.compared)


def _found(tx: Tx, canary: str) -> CanaryRow:
    row = canaries.get(tx, canary)
    if row is None:
        raise Refused(f"There is no canary {canary[:40]}. List them: waterline canary list.", 404)
    return row


def _head(row: CanaryRow) -> CanaryHead:
    return CanaryHead(**{name: getattr(row, name) for name in CanaryHead.__struct_fields__})


def _recorded(tx: Tx, where: dict[str, str], plan: Plan, since_us: int) -> Recorded:
    rows = canaries.recorded(tx, where, since_us, MOST_RECORDED)
    said: dict[str, list[tuple[str, float]]] = {}
    if any(guard.signal.startswith("quality:") for guard in plan.guards):
        for trace, name, value in canaries.recorded_verdicts(tx, where, since_us, MOST_RECORDED):
            said.setdefault(trace, []).append((name, value))
    begun: dict[str, int] = {}
    sessions: dict[str, list[dict[str, Any]]] = {}
    for row in reversed(rows):
        key = unit_key(row["session"], row["id"])
        first_us = begun.setdefault(key, row["started_us"])
        if row["started_us"] <= first_us + plan.session_us:
            sessions.setdefault(key, []).append(row)
    values = [
        measured(plan, [msgspec.convert(r, Asked, strict=False) for r in asked])
        | judged(plan, [v for r in asked for v in said.get(r["id"], ())])
        for asked in sessions.values()
    ]
    return Recorded(where["app"], where["env"], where["release"], plan, len(rows), len(rows) == MOST_RECORDED, values)
