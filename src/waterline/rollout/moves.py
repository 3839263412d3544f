"""Promote, roll back, pin, unpin. Each is one transaction: a Move is added to the history and an entry to the audit
log; then Live is moved; then the caller gets its answer. So whoever has the answer knows that the next request is
served by the new state, and a crash at any instant leaves the history and Live in step.

Where a rollback goes: full promotions pile up; a rollback takes the pile down. If several releases share the traffic,
it goes to the one on top (the last that had all of it); else to the one below. So going back twice goes two releases
back, never forth to what was just left. An explicit release may be named instead.

Pins survive promotions. A rollback drops them all: nobody stays on what was rolled back.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType

import msgspec
from msgspec import Struct

from waterline.access import audit
from waterline.access.roles import Action, Principal
from waterline.access.stored import AuditRows
from waterline.core.app_spec import parse_spec
from waterline.core.errors import Refused
from waterline.core.ids import sha256_hex, short
from waterline.core.release import StoredRelease
from waterline.core.rollout import FULL_BP, Move, MoveKind, Share, with_weight
from waterline.rollout.live import Live, Unreadable, read_release
from waterline.store import releases, rollouts
from waterline.store.db import Store, Tx

LONGEST_WHY = 2000
LONGEST_SESSION = 512


def parse_weight(text: str) -> int:
    """Basis points of "10%", "12.5 %" or "10" (percent). Raises Refused."""
    said = text.strip()
    percent = said.removesuffix("%").strip()
    try:
        bp = Decimal(percent) * 100
    except InvalidOperation:
        raise Refused(f'"{text[:40]}" is no weight. Write a share of the traffic such as 10%.', 400) from None
    if not bp.is_finite() or bp != bp.to_integral_value() or not 0 < bp <= FULL_BP:
        raise Refused(f'A weight is from 0.01% to 100%, in steps of 0.01%; not "{text[:40]}".', 400)
    if bp < 100 and not said.endswith("%"):
        raise Refused(f'Is "{text[:40]}" {percent} % or a fraction? Write the % sign.', 400)
    return int(bp)


class Admitted(Struct, frozen=True):
    """What is kept with a move that was let through. `keep` is called in its transaction, with its number."""

    evidence: str = ""  # where the caller of the promotion names none
    detail: Mapping[str, str] = MappingProxyType({})  # for the audit log
    keep: Callable[[Tx, Move], None] = lambda tx, move: None


Admit = Callable[[Tx, tuple[str, ...]], Admitted]


class _Done(Struct, frozen=True):
    move: Move
    stored: dict[str, StoredRelease]  # the releases that the move names


class Moves:
    """The acts on rollouts. `who` is believed: whoever calls has checked the right."""

    def __init__(self, store: Store, live: Live, clock_us: Callable[[], int]) -> None:
        self._store = store
        self._live = live
        self._clock_us = clock_us
        self._one_at_a_time = asyncio.Lock()
        self._under_way: set[asyncio.Task[Move]] = set()
        self.noticed: Callable[[Tx, Move], None] = _nobody  # told of each move, in its transaction

    async def promote(
        self,
        who: Principal,
        *,
        app: str,
        env: str,
        release: str,
        weight_bp: int = FULL_BP,
        why: str = "",
        evidence: str = "",
        spec: str = "",
        apply: Callable[[], None] = lambda: None,
        admit: Admit | None = None,
    ) -> Move:
        """Give a release all of the traffic, or a share of it beside what is live.

        `spec`: the environment record that comes into force with it, in the same transaction; `apply` puts it into
        force in memory, just before Live is moved. `admit` is asked in the transaction, with the releases that get more
        of the traffic than before (`rising`), and lets the move through or raises.

        Raises Refused: unknown release or environment, already live like this, nothing live to share with; and what
        `admit` raises."""

        def act(tx: Tx) -> _Done:
            stored = _stored(tx, app, release)
            _known_environment(tx, stored, env)
            now = rollouts.latest(tx, app, env)
            shares = _promoted(app, env, now.shares if now else (), release, weight_bp)
            admitted = admit(tx, rising(tx, app, env, now, shares)) if admit is not None else Admitted()
            at_us = self._clock_us()
            salt = now.salt if now is not None and len(shares) > 1 else _salt(app, env, at_us)
            said = evidence or admitted.evidence
            move = Move(app, env, "promote", shares, salt, who.name, why[:LONGEST_WHY], said, at_us)
            if spec:
                releases.set_current_spec(tx, app, spec, at_us, who.name)
            done = self._record(tx, who, Action.ROLLOUT_PROMOTE, move, {"environment_record": spec, **admitted.detail})
            admitted.keep(tx, done.move)
            return done

        return await self._run(act, apply)

    async def rollback(
        self, who: Principal, *, app: str, env: str, to: str | None = None, why: str = "", evidence: str = ""
    ) -> Move:
        """Back to the previous release that had all the traffic, or to `to`. Drops every pin.

        No gate is asked, so where there are gates only a release that had all of the traffic before may be named.

        Raises Refused: nothing live, nothing to roll back to, unknown release, already there."""

        def act(tx: Tx) -> _Done:
            now = rollouts.latest(tx, app, env)
            if now is None:
                raise _nothing_live(app, env)
            history = moves_of(tx, app, env)
            target = to or before(history, now.shares)
            if target is None:
                raise Refused(
                    f'App "{app}" has nothing to roll back to in "{env}": {short(now.shares[0].release)} is the only '
                    f"release that ever had all of its traffic. Name one: waterline rollback {app} --to RELEASE"
                )
            _stored(tx, app, target)
            if target not in _had_all(history) and _gated(tx, app, env):
                raise Refused(
                    f'Release {short(target)} never had all the traffic of "{env}", so this would be no way back, and '
                    f"the gates of the environment are asked: waterline promote {app} {short(target)} --to {env}"
                )
            shares = (Share(target, FULL_BP),)
            if shares == now.shares and not rollouts.pins(tx, app, env):
                raise _already(app, env, target, FULL_BP)
            at_us = self._clock_us()
            salt = _salt(app, env, at_us)
            move = Move(app, env, "rollback", shares, salt, who.name, why[:LONGEST_WHY], evidence, at_us)
            return self._record(tx, who, Action.ROLLOUT_ROLLBACK, move)

        return await self._run(act)

    async def pin(self, who: Principal, *, app: str, env: str, session: str, release: str, why: str = "") -> Move:
        """Keep one session on one release, whatever the weights say, until it is unpinned or a rollback. Where there
        are gates, on one that is live or had all of the traffic: a session is somebody too."""

        def act(tx: Tx) -> _Done:
            if not session or len(session) > LONGEST_SESSION:
                raise Refused(f"A session to pin has 1 to {LONGEST_SESSION} characters.", 400)
            stored = _stored(tx, app, release)
            now = rollouts.latest(tx, app, env)
            if now is None:
                raise _nothing_live(app, env)
            known = {*_had_all(moves_of(tx, app, env)), *(share.release for share in now.shares)}
            if stored.id not in known and _gated(tx, app, env):
                raise Refused(
                    f'Release {short(stored.id)} was never live in "{env}", and its gates hold for one session too. '
                    f"Promote it, if only by --weight 0.01%: waterline promote {app} {short(stored.id)} --to {env}"
                )
            pinned = {m.session: m.shares[0].release for m in rollouts.pins(tx, app, env)}
            if pinned.get(session) == stored.id:
                raise Refused(f'Session "{session[:60]}" is pinned to {short(release)} already. Nothing was changed.')
            return self._pinning(tx, who, "pin", now, (Share(stored.id, FULL_BP),), session, why)

        return await self._run(act)

    async def unpin(self, who: Principal, *, app: str, env: str, session: str, why: str = "") -> Move:
        """Let the weights decide for a session again."""

        def act(tx: Tx) -> _Done:
            now = rollouts.latest(tx, app, env)
            if now is None:
                raise _nothing_live(app, env)
            if session not in {m.session for m in rollouts.pins(tx, app, env)}:
                raise Refused(
                    f'Session "{session[:60]}" is not pinned in "{env}". See the pins: waterline status {app}', 404
                )
            return self._pinning(tx, who, "unpin", now, (), session, why)

        return await self._run(act)

    # --- parts -------------------------------------------------------------------------------------------------

    async def _run(self, act: Callable[[Tx], _Done], apply: Callable[[], None] = lambda: None) -> Move:
        """A caller that leaves must not leave the store moved and Live not: the step is finished without it."""
        step = asyncio.create_task(self._step(act, apply))
        self._under_way.add(step)
        step.add_done_callback(self._under_way.discard)
        return await asyncio.shield(step)

    async def _step(self, act: Callable[[Tx], _Done], apply: Callable[[], None]) -> Move:
        async with self._one_at_a_time:  # Live is moved in the order of the history
            done = await self._store.write(act)
            apply()
            self._live.put([done.move], done.stored)
            return done.move

    def _pinning(
        self, tx: Tx, who: Principal, kind: MoveKind, now: Move, shares: tuple[Share, ...], session: str, why: str
    ) -> _Done:
        """`shares` of a pin is the session's own state: all of it on one release; of an unpin, none."""
        at_us = self._clock_us()
        move = Move(now.app, now.env, kind, shares, now.salt, who.name, why[:LONGEST_WHY], "", at_us, session)
        return self._record(tx, who, Action.ROLLOUT_PIN, move)

    def _record(
        self, tx: Tx, who: Principal, action: Action, move: Move, more: Mapping[str, str] = MappingProxyType({})
    ) -> _Done:
        move = msgspec.structs.replace(move, seq=rollouts.append(tx, move))
        self.noticed(tx, move)
        detail = {
            "env": move.env,
            "kind": move.kind,
            "shares": " ".join(f"{s.release}:{s.weight_bp}" for s in move.shares),
            "why": move.why,
            "evidence": move.evidence,
            "session": move.session,
            **more,
        }
        told = {key: text for key, text in detail.items() if text}
        audit.append(AuditRows(tx), at_us=move.at_us, by=who, action=action.value, target=move.app, detail=told)
        stored = {s.release: found for s in move.shares if (found := releases.get(tx, s.release)) is not None}
        return _Done(move, stored)


def before(moves: Iterable[Move], shares: tuple[Share, ...]) -> str | None:
    """Where a rollback goes from `shares`, by the history (oldest first); None: nowhere."""
    pile: list[str] = []
    for move in moves:
        if len(move.shares) != 1 or move.kind not in ("promote", "rollback"):
            continue
        release = move.shares[0].release
        if move.kind == "rollback" and release in pile:
            while pile[-1] != release:
                pile.pop()
        elif move.kind == "rollback":
            pile[-1:] = [release]
        elif not pile or pile[-1] != release:
            pile.append(release)
    if len(shares) > 1:
        return pile[-1] if pile else None
    return pile[-2] if len(pile) > 1 else None


def _promoted(app: str, env: str, now: tuple[Share, ...], release: str, weight_bp: int) -> tuple[Share, ...]:
    if not 0 < weight_bp <= FULL_BP:
        raise Refused("A weight is above 0 % and at most 100 %.", 400)
    if any(share.release == release and share.weight_bp == weight_bp for share in now):
        raise _already(app, env, release, weight_bp)
    if weight_bp < FULL_BP and all(share.release == release for share in now):
        what = "nothing else is" if now else "nothing is"
        raise Refused(
            f'{short(release)} cannot take {weight_bp / 100:g} % of "{env}": {what} live there to take the rest. '
            f"Promote it fully: waterline promote {app} {short(release)} --to {env}"
        )
    return with_weight(now, release, weight_bp)


def _stored(tx: Tx, app: str, release: str) -> StoredRelease:
    """A release that can be served. Raises Refused."""
    stored = releases.get(tx, release)
    if stored is None or stored.app != app:
        raise Refused(
            f'App "{app}" has no release "{release[:70]}". List them: waterline release list {app}.',
            404,
        )
    found = read_release(release, stored)
    if isinstance(found, Unreadable):
        raise Refused(f"Release {short(release)} {found.why}. Build it again from its folder, or choose another.")
    return stored


def _known_environment(tx: Tx, stored: StoredRelease, env: str) -> None:
    record = releases.get_spec(tx, stored.spec)
    names = parse_spec(record.bytes).environments if record is not None else (env,)
    if env not in names:
        raise Refused(
            f'App "{stored.app}" has no environment "{env[:70]}". It has: {", ".join(names)}. '
            "Add it in app.toml [environments] names.",
            404,
        )


def rising(tx: Tx, app: str, env: str, now: Move | None, shares: tuple[Share, ...]) -> tuple[str, ...]:
    """The releases that would get more of the traffic than they have. Not the one that a rollback would go to: more for
    it is a way back."""
    had = {share.release: share.weight_bp for share in now.shares} if now is not None else {}
    back = before(moves_of(tx, app, env), now.shares) if now is not None and len(now.shares) > 1 else None
    return tuple(s.release for s in shares if s.weight_bp > had.get(s.release, 0) and s.release != back)


def _had_all(moves: Iterable[Move]) -> set[str]:
    return {m.shares[0].release for m in moves if m.kind in ("promote", "rollback") and len(m.shares) == 1}


def _gated(tx: Tx, app: str, env: str) -> bool:
    record = releases.current_spec(tx, app)
    return record is not None and bool(parse_spec(record.bytes).gates_of(env).requires)


def moves_of(tx: Tx, app: str, env: str) -> list[Move]:
    """All moves, oldest first."""
    found: list[Move] = []
    page = rollouts.history(tx, app, env)
    while page:
        found += page
        page = rollouts.history(tx, app, env, before=page[-1].seq)
    return found[::-1]


def _salt(app: str, env: str, at_us: int) -> str:
    return sha256_hex(f"{app}\0{env}\0{at_us}".encode())[:16]


def _already(app: str, env: str, release: str, weight_bp: int) -> Refused:
    return Refused(
        f'Release {short(release)} has {weight_bp / 100:g} % of app "{app}" in "{env}" already. Nothing was changed.'
    )


def _nobody(tx: Tx, move: Move) -> None:
    """Nobody asked to be told."""


def _nothing_live(app: str, env: str) -> Refused:
    return Refused(
        f'Nothing is live for app "{app}" in "{env[:70]}". '
        f"Promote a release: waterline promote {app} RELEASE --to {env}",
        404,
    )
