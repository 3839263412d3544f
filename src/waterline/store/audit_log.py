"""Rows of the audit log: bytes in a chain. The database forbids changing them; `access/audit.py` finds who did."""

from collections.abc import Iterator

from msgspec import Struct

from waterline.store.db import Tx

AT_ONCE = 1000


class AuditRow(Struct, frozen=True):
    seq: int  # 1, 2, 3 ...
    entry: bytes
    prev: str
    hash: str


def append(tx: Tx, entry: bytes, prev: str, hash: str) -> int:
    """Returns its number. Raises StoreConflict if another entry already follows `prev` (a fork)."""
    row = tx.one("audit_log.append", entry=entry, prev=prev, hash=hash)
    assert row is not None  # an INSERT ... RETURNING has a row
    return int(row["seq"])


def head(tx: Tx) -> AuditRow | None:
    row = tx.one("audit_log.head")
    return None if row is None else AuditRow(**row)


def entries(tx: Tx) -> Iterator[AuditRow]:
    """All of them in order, oldest first, read in pages. Use it up inside the transaction."""
    after = 0
    while rows := tx.all("audit_log.all", after=after, limit=AT_ONCE):
        for row in rows:
            yield AuditRow(**row)
        after = rows[-1]["seq"]


def newest(tx: Tx, limit: int = 100, before: int | None = None) -> list[AuditRow]:
    """Newest first, for a page; `before`: only entries with a smaller number."""
    return [AuditRow(**row) for row in tx.all("audit_log.newest", limit=limit, before=before)]
