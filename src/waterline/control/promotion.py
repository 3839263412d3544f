"""Approvals, and what lets a promotion through the gates of an environment.

An approval is a person's, whichever key was used, and is given on what was shown: the release, the environment, what
is required and the evidence (`GateReport.shown`). When any of that changes it holds no longer.
"""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from waterline.access.roles import Action, Principal, person_id, require
from waterline.access.stored import audited
from waterline.control import gates
from waterline.control.gates import GateReport
from waterline.core.app_spec import AppSpec, parse_spec
from waterline.core.errors import Refused
from waterline.core.ids import short
from waterline.core.release import StoredRelease
from waterline.core.rollout import Move
from waterline.rollout.moves import Admit, Admitted
from waterline.store import approvals, releases
from waterline.store.approvals import Approval
from waterline.store.db import Store, Tx

LONGEST_NOTE = 2000
Resolved = Callable[[Tx, str, str | None], StoredRelease]


class PassedBefore(Struct, frozen=True):
    """What the gates said when a move was made. `override`: why it was made all the same; "": they were passed."""

    move: int
    override: str
    report: GateReport


class Gatekeeper:
    """`resolved`: a release by its first digits, of this app; raises Refused."""

    def __init__(self, store: Store, clock_us: Callable[[], int], resolved: Resolved) -> None:
        self._store = store
        self._clock_us = clock_us
        self._resolved = resolved

    # --- views and acts ------------------------------------------------------------------------------------------

    async def report(self, who: Principal, app: str, wanted: str, env: str) -> GateReport:
        """What the gates of an environment say of a release now."""
        require(who, Action.ROLLOUT_READ)
        return await self._store.read(lambda tx: self._report(tx, app, wanted, env))

    async def past(self, who: Principal, release: str) -> list[PassedBefore]:
        """Newest first: what the gates said of each move that gave the release more traffic."""
        require(who, Action.ROLLOUT_READ)
        rows = await self._store.read(lambda tx: approvals.reports(tx, self._resolved(tx, release, None).id))
        return [PassedBefore(r.move, r.override, msgspec.json.decode(r.report, type=GateReport)) for r in rows]

    async def approve(self, who: Principal, app: str, wanted: str, env: str, shown: str, note: str = "") -> GateReport:
        """`shown`: of the report that was looked at. Returns the report with this approval in it."""
        require(who, Action.ROLLOUT_APPROVE)

        def write(tx: Tx) -> GateReport:
            stored = self._resolved(tx, wanted, app)
            found = self._report(tx, app, stored.id, env)
            _may_be_approved(found, who, shown)
            self._say(tx, who, "approve", found, note)
            return self._report(tx, app, stored.id, env)

        return await self._store.write(write)

    async def withdraw(
        self, who: Principal, app: str, wanted: str, env: str, person: str = "", note: str = ""
    ) -> GateReport:
        """Takes back one's own approval, or, for who may promote, that of `person`."""
        require(who, Action.ROLLOUT_APPROVE)
        whose = person or who.person
        if whose != who.person:
            require(who, Action.ROLLOUT_PROMOTE)

        def write(tx: Tx) -> GateReport:
            stored = self._resolved(tx, wanted, app)
            found = self._report(tx, app, stored.id, env)
            given = approvals.latest(tx, app, env, stored.id)
            if not any(one.person == whose and one.kind == "approve" for one in given):
                raise Refused(f'{whose} has not approved {short(stored.id)} for "{env}". Nothing was changed.', 404)
            self._say(tx, who, "revoke", found, note, whose)
            return self._report(tx, app, stored.id, env)

        return await self._store.write(write)

    # --- at a promotion ------------------------------------------------------------------------------------------

    def admit(
        self, who: Principal, app: str, env: str, brings: AppSpec | None, stays: str, override: str, otherwise: str = ""
    ) -> Admit:
        """What `Moves.promote` asks in its transaction. `brings`: the environment record that comes into force; None:
        the one in force stays, for the reason in `stays`. `otherwise`: the evidence where nothing is required."""

        def admit(tx: Tx, rising: tuple[str, ...]) -> Admitted:
            spec = gates.in_force(tx, app)
            if brings is not None and gates.record_stays(spec, brings):
                raise Refused("The environment record was changed at this moment. Nothing was promoted; try again.")
            detail = {"record_in_force_stays": stays} if stays else {}
            if not spec.gates_of(env).requires or not rising:
                return Admitted(otherwise, detail)
            found = [self._report(tx, app, release, env) for release in rising]
            refused = [one for one in found if not one.passed]
            if refused and not override:
                raise gates.refusal(refused[0])
            return self._admitted(who, found, override if refused else "", detail)

        return admit

    def _admitted(self, who: Principal, found: list[GateReport], override: str, more: Mapping[str, str]) -> Admitted:
        missing = ", ".join(sorted({name for one in found for name in one.not_passed}))
        evidence = f"OVERRIDE ({override}); not passed: {missing}" if override else found[0].evidence
        detail = {**more, "gates": f"not passed: {missing}" if missing else "passed", "override": override}

        def keep(tx: Tx, move: Move) -> None:
            for one in found:
                data = msgspec.json.encode(one)
                approvals.keep_report(tx, approvals.GateReport(move.seq, move.app, one.release, override, data))
                if override:
                    said = {"env": move.env, "release": one.release, "not_passed": missing, "why": override}
                    audited(tx, who, Action.GATE_OVERRIDE, move.app, said, move.at_us)

        return Admitted(evidence, detail, keep)

    def _report(self, tx: Tx, app: str, wanted: str, env: str) -> GateReport:
        stored = self._resolved(tx, wanted, app)
        record = releases.get_spec(tx, stored.spec)
        brought = parse_spec(record.bytes).environments if record is not None else ()
        names = tuple(dict.fromkeys((*gates.in_force(tx, app).environments, *brought)))
        if env not in names:
            raise Refused(f'App "{app}" has no environment "{env[:70]}". It has: {", ".join(names)}.', 404)
        return gates.report(tx, stored, env, self._clock_us())

    def _say(self, tx: Tx, who: Principal, kind: str, found: GateReport, note: str, whose: str = "") -> None:
        now = self._clock_us()
        said = Approval(
            app=found.app, env=found.env, release=found.release, kind="approve" if kind == "approve" else "revoke",
            person=whose or who.person, who=who.name, key_id=who.key_id, shown=found.shown,
            evidence=found.record.encode(), note=note.strip()[:LONGEST_NOTE], at_us=now,
        )  # fmt: skip
        approvals.add(tx, said)
        detail = {"env": found.env, "kind": kind, "person": said.person, "shown": found.shown, "note": said.note}
        audited(tx, who, Action.ROLLOUT_APPROVE, found.release, detail, now)


def _may_be_approved(found: GateReport, who: Principal, shown: str) -> None:
    """Raises Refused."""
    release, env = short(found.release), found.env
    if not any(gate.name == "approval" for gate in found.gates):
        text = (
            f'"{env}" of app "{found.app}" asks for no approval. Declare it: [environments.{env}] requires in app.toml.'
        )
        raise Refused(text)
    if who.person == person_id(found.author):
        text = f"Release {release} was built by {found.author}, and {who.name} is the same person: ask somebody else."
        raise Refused(text, 403)
    if not found.ready:
        lines = [f'Release {release} cannot be approved for "{env}" before the other gates are passed.']
        raise Refused("\n".join((*lines, *gates.told(found))))
    if not shown:
        text = "Say what you approve: `shown` of the gates' report (GET /api/apps/APP/gates?release=...&env=...)."
        raise Refused(text, 400)
    if shown != found.shown:
        raise Refused(
            f"What the gates say of {release} has changed since you looked. Look again before you approve: "
            f"waterline gates {found.app} {release} --to {env}"
        )
    if any(one.person == who.person and one.holds for one in found.approvals):
        raise Refused(f'{who.name} has approved {release} for "{env}" already. Nothing was changed.')
