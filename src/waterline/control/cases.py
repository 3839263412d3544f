"""Case sets for people and programs: which there are, what is in a version, a new version, what changed."""

import asyncio
import re
from collections.abc import Callable

import msgspec
from msgspec import Struct

from waterline.access import audit
from waterline.access.roles import Action, Principal, require
from waterline.access.stored import AuditRows
from waterline.core.case import Case
from waterline.core.errors import Refused
from waterline.evals.cases import wrong_with
from waterline.store import cases
from waterline.store.cases import Change, Filter, Stored, Version
from waterline.store.db import Store, Tx

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
MOST_AT_ONCE = 5000  # cases of one request
LARGEST_CASE = 256 << 10  # bytes
MOST_CHANGES = 1000
MOST_GROUPED = 64  # versions whose counts are kept
_DIGEST = re.compile(r"[0-9a-f]{6,64}\Z")


class VersionBody(Struct, forbid_unknown_fields=True):
    """`cases` are put in or replace those of the same id; the ids in `removed` are taken out. `parent`: the number of
    the version that this was made from; None: whatever is the newest."""

    cases: list[Case] = []
    removed: list[str] = []
    why: str = ""
    parent: int | None = None


class SetView(Struct, frozen=True):
    """`groups`: how many cases by "split", "found" and "tag"."""

    head: Version
    version: Version
    erased: int
    groups: dict[str, dict[str, int]]
    versions: list[Version]  # newest first


class CasePage(Struct, frozen=True):
    """`total`: how many fit the filter, `erased` of them without words. `next`: what `after` takes; "" at the end."""

    version: Version
    total: int
    erased: int
    rows: list[Stored]
    next: str


class Wording(Struct, frozen=True):
    """A case as it was from one version to before another; `until` 0: it still is."""

    digest: str
    since: int
    until: int


class CaseView(Struct, frozen=True):
    app: str
    set_name: str
    stored: Stored
    wordings: list[Wording]  # newest first


class DiffPage(Struct, frozen=True):
    first: Version
    second: Version
    changes: list[Change]
    more: bool


class CaseDesk:
    def __init__(self, store: Store, clock_us: Callable[[], int], known: Callable[[str], object]) -> None:
        """`known(app)` raises Refused for an app that is not there."""
        self._store = store
        self._clock_us = clock_us
        self._known = known
        self._groups: dict[tuple[str, str, int], tuple[int, dict[str, dict[str, int]]]] = {}

    def forget(self) -> None:
        """Somebody was erased: a version has fewer cases with words."""
        self._groups.clear()

    async def sets(self, who: Principal, app: str | None) -> list[Version]:
        require(who, Action.CASE_LIST)
        return await self._store.read(lambda tx: cases.heads(tx, app))

    async def one_set(
        self, who: Principal, app: str, name: str, wanted: str = "", before: int | None = None
    ) -> SetView:
        """`wanted`: a version's number or the first digits of its digest; "": the newest."""
        require(who, Action.CASE_LIST)

        def read(tx: Tx) -> SetView:
            version = found(tx, app, name, wanted)
            head = cases.head(tx, app, name)
            assert head is not None  # or `found` had refused
            erased, groups = self._grouped(tx, version)
            return SetView(head, version, erased, groups, cases.versions(tx, app, name, 50, before))

        return await self._store.read(read)

    async def page(
        self, who: Principal, app: str, name: str, wanted: str, where: Filter, after: str, limit: int
    ) -> CasePage:
        require(who, Action.CASE_READ)

        def read(tx: Tx) -> CasePage:
            version = found(tx, app, name, wanted)
            if where == Filter():  # known without counting
                total, erased = version.cases, self._grouped(tx, version)[0]
            else:
                total, erased = cases.count(tx, app, name, version.version, where)
            rows = cases.page(tx, app, name, version.version, where, after, limit + 1)
            return CasePage(version, total, erased, rows[:limit], rows[limit - 1].name if len(rows) > limit else "")

        return await self._store.read(read)

    def _grouped(self, tx: Tx, version: Version) -> tuple[int, dict[str, dict[str, int]]]:
        """How many were erased, and how many there are of each kind: counted once, because a version stays."""
        key = (version.app, version.name, version.version)
        found = self._groups.get(key)
        if found is None:
            _, erased = cases.count(tx, *key, Filter())
            found = (erased, cases.groups(tx, *key))
            while len(self._groups) >= MOST_GROUPED:
                self._groups.pop(next(iter(self._groups)), None)
            self._groups[key] = found
        return found

    async def case(self, who: Principal, app: str, name: str, digest: str) -> CaseView:
        """By its whole digest."""
        require(who, Action.CASE_READ)

        def read(tx: Tx) -> CaseView:
            stored = cases.get(tx, digest)
            if stored is None or not cases.memberships(tx, app, name, digest):
                raise Refused(f'The set "{name[:64]}" of "{app[:70]}" has no case {digest[:12]}.', 404)
            said = [
                Wording(one, since, until if until < cases.OPEN else 0)
                for one, since, until in cases.history(tx, app, name, stored.name)
            ]
            return CaseView(app, name, stored, said)

        return await self._store.read(read)

    async def diff(self, who: Principal, app: str, name: str, a: str, b: str) -> DiffPage:
        require(who, Action.CASE_LIST)

        def read(tx: Tx) -> DiffPage:
            first, second = found(tx, app, name, a), found(tx, app, name, b)
            rows = cases.diff(tx, app, name, first.version, second.version, MOST_CHANGES + 1)
            return DiffPage(first, second, rows[:MOST_CHANGES], len(rows) > MOST_CHANGES)

        return await self._store.read(read)

    async def add_version(self, who: Principal, app: str, name: str, said: VersionBody) -> Version:
        """A new version; the newest one again if nothing would change. Raises Refused with the first mistakes."""
        require(who, Action.CASE_REVIEW)
        self._known(app)
        await asyncio.to_thread(checked, name, said.cases, said.removed)

        def write(tx: Tx) -> Version:
            return self.put(tx, who, app, name, said)

        return await self._store.write(write)

    def put(self, tx: Tx, who: Principal, app: str, name: str, said: VersionBody) -> Version:
        """The same inside a transaction, with its audit entry; the cases were checked."""
        head = cases.head(tx, app, name)
        if said.parent is not None and said.parent != (head.version if head else 0):
            now = head.version if head else 0
            raise Refused(f'The set "{name}" is at version {now}, not {said.parent}. Read it again and repeat.', 409)
        now_us = self._clock_us()
        made = cases.add_version(tx, app, name, said.cases, said.removed, who.name, said.why[:500], now_us)
        if made is None:
            if head is None:
                raise Refused("A set begins with at least one case.", 400)
            return head
        detail = {"app": app, "digest": made.digest, "added": str(made.added), "removed": str(made.removed)}
        audit.append(
            AuditRows(tx), at_us=now_us, by=who, action=Action.CASE_REVIEW.value,
            target=f"{name}@{made.version}", detail=detail,
        )  # fmt: skip
        return made


def found(tx: Tx, app: str, name: str, wanted: str = "") -> Version:
    """A version by number or by the first digits of its digest; "": the newest. Raises Refused."""
    number: int | None = None
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 6:
        number = int(wanted)
    elif _DIGEST.match(wanted):
        number = cases.of_digest(tx, app, name, wanted)
    elif wanted:
        raise Refused(f'"{wanted[:40]}" is no version: write its number, or six digits of its digest or more.', 400)
    version = cases.head(tx, app, name) if not wanted else cases.version(tx, app, name, number) if number else None
    if version is None:
        which = f" version {wanted} of the" if wanted else ""
        raise Refused(
            f'App "{app[:70]}" has no{which} case set "{name[:64]}". List them: waterline cases list {app[:70]}.', 404
        )
    return version


def checked(name: str, given: list[Case], removed: list[str]) -> None:
    """Raises Refused with the first mistakes."""
    if not NAME.match(name):
        raise Refused(f'"{name[:70]}" is no name of a set: a to z, 0 to 9, "-" and "_", at most 64.', 400)
    if len(given) > MOST_AT_ONCE:
        raise Refused(f"At most {MOST_AT_ONCE:,} cases a request, not {len(given):,}.", 413)
    wrong = [f'case "{case.id[:60]}": {what}. {how}' for case in given for what, how in wrong_with(case)[:1]]
    wrong += [
        f'case "{case.id[:60]}" is larger than {LARGEST_CASE:,} bytes.'
        for case in given
        if len(msgspec.json.encode(case)) > LARGEST_CASE
    ]
    ids = {case.id for case in given}
    if len(ids) < len(given):
        wrong.append("two cases have the same id. Give every case an id of its own.")
    if both := ids & set(removed):
        wrong.append(f'case "{min(both)[:60]}" is both put in and taken out.')
    if wrong:
        more = f" And {len(wrong) - 5} more." if len(wrong) > 5 else ""
        raise Refused(f"{' '.join(wrong[:5])}{more}", 400)
