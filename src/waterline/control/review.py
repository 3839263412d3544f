"""The queue of candidates: look at one, save it, accept it into its set, reject it, leave it for later.

Whoever opens one has it for ten minutes; whoever decides says which revision they saw. So two people at once never
overwrite each other: the second is told who was first.
"""

from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct

from waterline.access import audit
from waterline.access.roles import Action, Principal, require
from waterline.access.stored import AuditRows
from waterline.control.cases import CaseDesk, VersionBody, checked
from waterline.control.sides import Sides
from waterline.core.case import Case, Split
from waterline.core.errors import Refused
from waterline.store import candidates, cases
from waterline.store.candidates import Candidate, State, Where
from waterline.store.cases import Version
from waterline.store.db import Store, Tx

CLAIM_US = 600_000_000
Decision = Literal["accept", "reject", "skip", "save"]


class DecisionBody(Struct, forbid_unknown_fields=True):
    """`revision`: of the candidate as it was seen. `case`: as it is to be; None: as it is. Rejecting needs a reason."""

    decision: Decision
    revision: int
    case: Case | None = None
    reason: str = ""
    set: str = ""  # to accept it into another set
    auto_side: bool = False  # accepted on the side of the cases that ask the same, else on one by chance


class Queue(Struct, frozen=True):
    """`counts`: by state, of all that fit. `next`: what `after` takes; 0 at the end."""

    rows: list[Candidate]
    counts: dict[State, int]
    next: int


class Decided(Struct, frozen=True):
    """`version`: that the case is in now. `next`: another candidate to look at; 0: none."""

    candidate: Candidate
    version: Version | None
    next: int


class Review:
    def __init__(self, store: Store, clock_us: Callable[[], int], cases: CaseDesk, sides: Sides) -> None:
        self._store = store
        self._clock_us = clock_us
        self._cases = cases
        self._sides = sides

    async def queue(self, who: Principal, where: Where, state: State, after: int, limit: int) -> Queue:
        require(who, Action.CASE_READ)
        if state not in candidates.STATES:
            raise Refused(f"state is one of {', '.join(candidates.STATES)}, not {str(state)[:40]!r}.", 400)

        def read(tx: Tx) -> Queue:
            rows = candidates.page(tx, where, state, after, limit + 1)
            more = len(rows) > limit
            return Queue(rows[:limit], candidates.counts(tx, where), rows[limit - 1].n if more else 0)

        return await self._store.read(read)

    async def one(self, who: Principal, n: int) -> Candidate:
        require(who, Action.CASE_READ)
        return await self._store.read(lambda tx: _found(tx, n))

    async def next_one(self, who: Principal, where: Where) -> int:
        """0: there is none that nobody else looks at."""
        require(who, Action.CASE_REVIEW)
        return await self._store.read(lambda tx: self._next(tx, who, where, 0))

    async def claim(self, who: Principal, n: int) -> Candidate:
        """It is this person's for ten minutes, or until they decide. Raises Refused if it is another's."""
        require(who, Action.CASE_REVIEW)

        def write(tx: Tx) -> Candidate:
            now = self._clock_us()
            was = _found(tx, n)
            if was.state == "waiting" and not candidates.claim(tx, n, person(who), now, now - CLAIM_US):
                raise Refused(_taken(was), 409)
            return _found(tx, n)

        return await self._store.write(write)

    async def decide(self, who: Principal, n: int, said: DecisionBody) -> Decided:
        """Raises Refused: not as it was seen, decided before, another's, no reason, or no case yet."""
        require(who, Action.CASE_REVIEW)
        side: Split = ""
        version = 0
        if said.decision == "accept":
            was = await self.one(who, n)
            if was.case is not None:
                name, given = said.set or was.set_name, said.case or was.case
                side, version = await self._sides.of(was.app, name, given, said.auto_side)

        def write(tx: Tx) -> Decided:
            now = self._clock_us()
            was = _found(tx, n)
            self._seen(was, said, who, now)
            case = said.case or was.case
            assert case is not None  # it waits, so it has its words
            made = None
            match said.decision:
                case "accept":
                    made = self._accept(tx, who, was, msgspec.structs.replace(case, split=side), said, version)
                    self._change(tx, was, None, "accepted", who, f"{made.name}@{made.version}", now)
                case "reject":
                    if not said.reason.strip():
                        raise Refused("Say why it makes no case.", 400)
                    self._change(tx, was, None, "rejected", who, said.reason.strip(), now)
                case "skip":
                    self._change(tx, was, was.case, "waiting", who, "", now)
                case "save":
                    _kept_from(was, case)
                    self._change(tx, was, case, "waiting", who, "", now, keep=True)
            self._audit(tx, who, was, said, now)
            at = n if said.decision == "save" else self._next(tx, who, Where(was.app, was.set_name), n)
            return Decided(_found(tx, n), made, at)

        return await self._store.write(write)

    def _seen(self, was: Candidate, said: DecisionBody, who: Principal, now: int) -> None:
        if was.state != "waiting":
            raise Refused(f"{was.decided_by} has {was.state} it already.", 409)
        if was.claimed_by not in ("", person(who)) and was.claimed_us >= now - CLAIM_US:
            raise Refused(_taken(was), 409)
        if was.revision != said.revision:
            raise Refused("Somebody has changed it since you opened it. Open it again, and repeat the act.", 409)

    def _accept(self, tx: Tx, who: Principal, was: Candidate, case: Case, said: DecisionBody, version: int) -> Version:
        _kept_from(was, case)
        name = said.set or was.set_name
        checked(name, [case], [])
        if cases.has(tx, was.app, name, case.id):
            raise Refused(f'The set "{name}" has a case "{case.id[:80]}" already. Give this one an id of its own.', 409)
        body = VersionBody([case], [], f"review of candidate {was.n}", version)  # the side is right for that one
        return self._cases.put(tx, who, was.app, name, body)

    def _change(
        self, tx: Tx, was: Candidate, case: Case | None, state: State, who: Principal, why: str, now: int,
        *, keep: bool = False,
    ) -> None:  # fmt: skip
        if not candidates.change(tx, was, case, state, person(who), why, now, now - CLAIM_US, keep=keep):
            raise Refused("Somebody was quicker. Open it again.", 409)  # unreachable while there is one writer

    def _next(self, tx: Tx, who: Principal, where: Where, but: int) -> int:
        return candidates.next_one(tx, where, person(who), self._clock_us() - CLAIM_US, but) or 0

    def _audit(self, tx: Tx, who: Principal, was: Candidate, said: DecisionBody, now: int) -> None:
        if said.decision in ("accept", "reject"):
            detail = {"app": was.app, "set": said.set or was.set_name, "trace": was.trace, "decision": said.decision}
            audit.append(
                AuditRows(tx), at_us=now, by=who, action=Action.CASE_REVIEW.value, target=f"candidate {was.n}",
                detail=detail,
            )  # fmt: skip


def person(who: Principal) -> str:
    """Two people may have the same name."""
    return f"{who.name} ({who.key_id})"


def _found(tx: Tx, n: int) -> Candidate:
    one = candidates.get(tx, n)
    if one is None:
        raise Refused(f"There is no candidate {n}; it may have been erased.", 404)
    return one


def _taken(was: Candidate) -> str:
    if was.state != "waiting":
        return f"{was.decided_by} has {was.state} it already."
    return f"{was.claimed_by} looks at it. Take another, or come back in ten minutes."


def _kept_from(was: Candidate, case: Case) -> None:
    """Where a case comes from is not edited: erasing a person looks for it."""
    if was.case is not None and (case.origin, case.basis == "") != (was.case.origin, False):
        raise Refused("The origin of a case stays, and it needs a lawful basis.", 400)
