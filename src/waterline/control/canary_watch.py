"""What watches canaries between requests: which sessions there are is noted as traces are stored, each is counted once
when its time has come, and what the figures then say is done.

Nothing is kept in memory. Every step is one transaction: the sessions of a batch come with its traces, the sums with
the sessions that they count, the state of a canary with the move that changes it. So a `kill -9` at any instant loses
and repeats nothing.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct

from waterline.access import audit
from waterline.access.roles import Action, Principal, Role
from waterline.access.stored import AuditRows
from waterline.control.judges import standing
from waterline.core.app_spec import AppSpec
from waterline.core.errors import Refused, RequestError
from waterline.core.rollout import FULL_BP, Move
from waterline.core.trace import Purpose
from waterline.evals.canary import Asked, Look, Plan, Sums, judged, look, measured, sentence
from waterline.rollout.moves import Admit, Moves
from waterline.store import canaries, rollouts
from waterline.store.canaries import CanaryHead, CanaryRow, LookRow, Unit
from waterline.store.db import Store, Tx
from waterline.store.traces import Stored

log = logging.getLogger("waterline.canary")

CANARY = Principal(key_id="", kind="person", name="canary", role=Role.OPERATOR)
MOST_AT_ONCE = 500  # sessions counted in one round
GROWTH = 1.02  # a look is kept when a side has grown by this, or when it decides something
ACT_S = 60.0
THE_JUDGE = "The judge"
_encode = msgspec.json.Encoder(order="deterministic").encode
_plan = msgspec.json.Decoder(Plan).decode
_sums = msgspec.json.Decoder(Sums).decode


class Act(Struct, frozen=True):
    """What is to be done now. `why`: for the move."""

    kind: Literal["promote", "roll back"]
    canary: CanaryRow
    why: str


class Counted(Struct, frozen=True):
    """Sessions whose time has come, with their values. `stage`: what they have reached with this."""

    stage: int
    units: list[str]
    values: list[tuple[bool, bool, dict[str, float]]]  # candidate, whether it counts as a session, its values


def note_sessions(tx: Tx, stored: list[Stored], purpose: Purpose) -> None:
    """As traces are stored, in the same transaction: which sessions there are in the steps that run."""
    for head in canaries.under_way(tx):
        arms = {head.candidate: True, head.baseline: False}
        units = [
            Unit(unit_key(row.session, row.id), row.session, arms[row.release], row.started_us)
            for _, row in stored
            if row.release in arms and row.app == head.app and row.env == head.env
            and row.purpose == purpose and row.started_us >= head.step_us
        ]  # fmt: skip
        if units:
            canaries.add_units(tx, head.id, units)


class CanaryWatch:
    def __init__(
        self,
        store: Store,
        moves: Moves,
        clock_us: Callable[[], int],
        purpose: Purpose,
        spec_of: Callable[[str], AppSpec],
    ) -> None:
        self._store = store
        self._spec_of = spec_of
        self._moves = moves
        self._clock_us = clock_us
        self._purpose = purpose
        self._loop: asyncio.AbstractEventLoop | None = None
        self.starting: dict[str, CanaryRow] = {}  # by id: added in the transaction of their first move
        self.admit: Callable[[Principal, str, str], Admit | None] = _open  # for which app and environment
        self.rolled_back: Callable[[Tx, Principal, CanaryHead, Move], None] = _nobody  # in the transaction of the move
        moves.noticed = self.moved

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """`loop`: where the moves are made."""
        self._loop = loop

    # --- a round -------------------------------------------------------------------------------------------------

    def round(self) -> bool:
        """Count whose time has come, decide, act. Blocks; for the worker's thread. True: there is more to count."""
        more = False
        for head in self._store.read_sync(canaries.under_way):
            counted = self._store.read_sync(lambda tx, h=head: self._count(tx, h))  # type: ignore[misc]
            more = more or any(len(c.units) == MOST_AT_ONCE for c in counted)
            act = self._store.write_sync(lambda tx, h=head, c=counted: self._decide(tx, h, c))  # type: ignore[misc]
            if act is not None:
                self._do(act)
        return more

    def _count(self, tx: Tx, head: CanaryHead) -> list[Counted]:
        row = canaries.get(tx, head.id)
        if row is None:
            return []
        plan, now_us = _plan(row.plan), self._clock_us()
        pinned = {move.session for move in rollouts.pins(tx, head.app, head.env)}  # chosen by a person, not drawn
        quality = any(guard.signal.startswith("quality:") for guard in plan.guards)
        asked_by = plan.session_us + plan.late_us
        said_by = plan.session_us + max(plan.quality_us, plan.late_us)
        found = []
        if units := canaries.due(tx, head.id, 0, now_us - asked_by, MOST_AT_ONCE):
            values = [self._measured(tx, row, plan, unit) for unit in units if unit.session not in pinned]
            found.append(Counted(1 if quality else 2, [u.unit for u in units], values))
        if units := canaries.due(tx, head.id, 1, now_us - said_by, MOST_AT_ONCE) if quality else []:
            values = [self._judged(tx, row, plan, unit) for unit in units if unit.session not in pinned]
            found.append(Counted(2, [u.unit for u in units], values))
        return found

    def _where(self, row: CanaryHead, unit: Unit) -> dict[str, str]:
        release = row.candidate if unit.candidate else row.baseline
        return {"app": row.app, "env": row.env, "release": release, "purpose": self._purpose}

    def _measured(self, tx: Tx, row: CanaryHead, plan: Plan, unit: Unit) -> tuple[bool, bool, dict[str, float]]:
        rows = canaries.asked(tx, unit, unit.begun_us + plan.session_us, self._where(row, unit))
        asked = [msgspec.convert(r, Asked, strict=False) for r in rows]
        return unit.candidate, True, measured(plan, asked)

    def _judged(self, tx: Tx, row: CanaryHead, plan: Plan, unit: Unit) -> tuple[bool, bool, dict[str, float]]:
        until_us = unit.begun_us + plan.session_us
        said = canaries.said(tx, unit, until_us, until_us + plan.quality_us, self._where(row, unit))
        return unit.candidate, False, judged(plan, said)

    def _decide(self, tx: Tx, head: CanaryHead, counted: list[Counted]) -> Act | None:
        """The sums with what was counted, and what they say; in one transaction."""
        row = canaries.get(tx, head.id)
        if row is None or row.ended_us is not None or row.step != head.step:
            return None  # somebody moved it meanwhile
        plan, sums, now_us = _plan(row.plan), _sums(row.sums), self._clock_us()
        for batch in counted:
            for candidate, whole, values in batch.values:
                arm = sums.candidate if candidate else sums.baseline
                arm.sessions += whole
                arm.add(values)
            canaries.settle(tx, row.id, batch.units, batch.stage)
        overdue = row.state == "running" and now_us - row.step_us > plan.longest_wait_us
        mute = self._mute(tx, row.app, plan)
        found = look(plan, sums, mute)
        act = _act(row, plan, found, overdue)
        new = msgspec.structs.replace(row, sums=_encode(sums))
        if act is None and overdue:
            new = msgspec.structs.replace(new, state="held", reason=unknown(found))
        if act is None and new.state == "running" and (mute or row.reason.startswith(THE_JUDGE)):
            new = msgspec.structs.replace(new, reason=" ".join(mute.values()))
        new = self._kept(tx, new, found, now_us, act is not None)
        if new != row:
            canaries.update(tx, new)
        return None if act is None else msgspec.structs.replace(act, canary=new)

    def _mute(self, tx: Tx, app: str, plan: Plan) -> dict[str, str]:
        """Signals of judges that may not gate now, and why: neither harm nor green comes from them."""
        if not any(guard.judge for guard in plan.guards):
            return {}
        spec = self._spec_of(app)
        told = {guard.signal: judge_trouble(tx, spec, guard.judge) for guard in plan.guards if guard.judge}
        return {signal: why for signal, why in told.items() if why}

    def _kept(self, tx: Tx, row: CanaryRow, found: Look, now_us: int, decided: bool) -> CanaryRow:
        least = min(found.sessions)
        if least <= row.looked or (not decided and least < row.looked * GROWTH):
            return row
        canaries.add_look(tx, row.id, LookRow(row.looks + 1, now_us, row.step, found.decision, row.sums))
        return msgspec.structs.replace(row, looked=least, looks=row.looks + 1)

    # --- moves ---------------------------------------------------------------------------------------------------

    def _do(self, act: Act) -> None:
        assert self._loop is not None
        try:
            asyncio.run_coroutine_threadsafe(self._move(act), self._loop).result(ACT_S)
        except (Refused, RequestError) as refused:
            said = str(refused)
            if said != act.canary.reason:
                log.warning("canary %s could not %s: %s", act.canary.id, act.kind, said)
                self._store.write_sync(lambda tx: _note(tx, act.canary.id, said))
        except TimeoutError:
            log.warning("canary %s: %s is not done after %s s; it is tried again", act.canary.id, act.kind, ACT_S)

    async def _move(self, act: Act) -> None:
        row = act.canary
        if act.kind == "promote":
            weight_bp = _plan(row.plan).steps_bp[row.step + 1]
            await self._moves.promote(
                CANARY, app=row.app, env=row.env, release=row.candidate, weight_bp=weight_bp, why=act.why,
                evidence=row.id, admit=self.admit(CANARY, row.app, row.env),
            )  # fmt: skip
            return
        await self._moves.rollback(
            CANARY, app=row.app, env=row.env, to=row.baseline, why=act.why, evidence=row.id
        )  # fmt: skip

    def stopped(self, tx: Tx, canary: str, who: Principal, text: str) -> None:
        """By a person who leaves the weights as they are."""
        row = canaries.get(tx, canary)
        if row is None or row.ended_us is not None:
            raise Refused(f"Canary {canary} has ended already.")
        now_us = self._clock_us()
        canaries.update(tx, msgspec.structs.replace(row, state="stopped", ended_us=now_us, reason=text))
        canaries.forget_units(tx, canary)
        detail = {"env": row.env, "canary": canary, "why": text[:500]}
        action = Action.ROLLOUT_ROLLBACK.value
        audit.append(AuditRows(tx), at_us=now_us, by=who, action=action, target=row.app, detail=detail)

    def moved(self, tx: Tx, move: Move) -> None:
        """In the transaction of every move: a canary begins, goes on or ends with it."""
        if move.kind not in ("promote", "rollback"):
            return
        found = canaries.under_way(tx, move.app, move.env)
        row = canaries.get(tx, found[0].id) if found else None
        if move.evidence in self.starting:
            if row is not None:
                raise Refused(_one_already(row))
            begun = self.starting[move.evidence]
            canaries.add(tx, msgspec.structs.replace(begun, started_us=move.at_us, step_us=move.at_us))
        elif row is not None:
            after = _after(row, move)
            canaries.update(tx, after)
            canaries.forget_units(tx, row.id)
            if after.state == "rolled back":
                self.rolled_back(tx, CANARY, row, move)


def unit_key(session: str, trace: str) -> str:
    """A session by a digest; where there is none, each request is drawn by itself."""
    return hashlib.blake2b(session.encode(), digest_size=12).hexdigest() if session else trace


def judge_trouble(tx: Tx, spec: AppSpec, name: str) -> str:
    """Why a judge's verdicts may decide nothing; "": they may."""
    judge = spec.judges.get(name)
    if judge is None:
        return f'There is no judge "{name}" in judges/.'
    found = standing(tx, spec.name, name, judge)
    return "" if found.may_gate else f'{THE_JUDGE} "{name}" may not gate: {found.why}.'


def unknown(found: Look) -> str:
    open_ones = ", ".join(c.words for c in found.still_open) or "too few sessions"
    return f"Unknown: after the longest wait the figures do not settle it ({open_ones})."


def _act(row: CanaryRow, plan: Plan, found: Look, overdue: bool) -> Act | None:
    match found.decision:
        case "roll back":
            return Act("roll back", row, " ".join(sentence(c) for c in found.worse))
        case "promote" if row.state == "running":
            why = f"No harm beyond the margins at {plan.steps_bp[row.step] / 100:g} % of the sessions. "
            return Act("promote", row, why + " ".join(sentence(c) for c in found.compared))
        case _ if overdue and plan.on_unknown == "rollback":
            return Act("roll back", row, unknown(found))
        case _:
            return None


def _after(row: CanaryRow, move: Move) -> CanaryRow:
    """The canary after a move of its app and environment, its own or somebody's."""
    new = msgspec.structs.replace
    own = move.evidence == row.id and (move.kind == "rollback" or move.who == CANARY.name)
    if not own:
        said = "went back" if move.kind == "rollback" else "promoted"
        why = f": {move.why}" if move.why else ""
        return new(row, state="ended", ended_us=move.at_us, reason=f"{move.who} {said} while it ran{why}")
    if move.kind == "rollback":
        state: canaries.State = "rolled back" if move.who == CANARY.name else "stopped"
        return new(row, state=state, ended_us=move.at_us, reason=move.why)
    weight_bp = next((share.weight_bp for share in move.shares if share.release == row.candidate), 0)
    step = _plan(row.plan).steps_bp.index(weight_bp)
    begun = new(row, step=step, step_us=move.at_us, looked=0, reason="", sums=row.sums)
    if weight_bp == FULL_BP:
        return new(begun, state="promoted", ended_us=move.at_us, reason=move.why)
    return new(begun, sums=_encode(Sums.empty()))


def _note(tx: Tx, canary: str, reason: str) -> None:
    row = canaries.get(tx, canary)
    if row is not None and row.ended_us is None:
        canaries.update(tx, msgspec.structs.replace(row, reason=reason))


def _one_already(row: CanaryHead) -> str:
    return (
        f'A canary of app "{row.app}" runs in "{row.env}" already: {row.id}. '
        f"Wait for it, or end it: waterline canary stop {row.app} --env {row.env}"
    )


def _open(who: Principal, app: str, env: str) -> Admit | None:
    """No gate."""
    return None


def _nobody(tx: Tx, who: Principal, head: CanaryHead, move: Move) -> None:
    """Nobody is told."""
