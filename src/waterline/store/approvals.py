"""Approvals and what the gates said of each move. Rows are only ever added."""

from typing import Literal

import msgspec
from msgspec import Struct

from waterline.store.db import Tx


class Approval(Struct, frozen=True):
    """Somebody's yes to a release in an environment, or its withdrawal. `person` is who counts, `who` how the key is
    called; `shown` the SHA-256 of `evidence`, the JSON of what it was said of."""

    app: str
    env: str
    release: str
    kind: Literal["approve", "revoke"]
    person: str
    who: str
    key_id: str
    shown: str
    evidence: bytes
    note: str
    at_us: int
    seq: int = 0  # given by the store


class GateReport(Struct, frozen=True):
    """`report`: JSON of what the gates said when this move was made; `override`: why it was made all the same."""

    move: int
    app: str
    release: str
    override: str
    report: bytes


def add(tx: Tx, approval: Approval) -> int:
    """Returns its number. `approval.seq` is not looked at."""
    fields = msgspec.structs.asdict(approval)
    del fields["seq"]
    row = tx.one("approvals.add", **fields)
    assert row is not None  # an INSERT ... RETURNING has a row
    return int(row["seq"])


def latest(tx: Tx, app: str, env: str, release: str) -> list[Approval]:
    """What each person said last, oldest first; withdrawals too."""
    return [Approval(**row) for row in tx.all("approvals.latest", app=app, env=env, release=release)]


def history(tx: Tx, release: str, limit: int = 100) -> list[Approval]:
    """Newest first, of all environments."""
    return [Approval(**row) for row in tx.all("approvals.history", release=release, limit=limit)]


def keep_report(tx: Tx, report: GateReport) -> None:
    tx.run("gate_reports.add", **msgspec.structs.asdict(report))


def reports(tx: Tx, release: str, limit: int = 100) -> list[GateReport]:
    """Newest first."""
    return [GateReport(**row) for row in tx.all("gate_reports.of_release", release=release, limit=limit)]
