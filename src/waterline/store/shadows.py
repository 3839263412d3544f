"""Shadow traffic: what ran, what its pairs add up to, and the pairs. SQL: sql/shadows.sql."""

import msgspec
from msgspec import Struct

from waterline.store.db import Tx


class ShadowRow(Struct, frozen=True):
    """`sums`: bytes of evals.shadow_pairs.Sums. Of the requests that were drawn (`offered`), `dropped` did not fit."""

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
    sums: bytes


class PairRow(Struct, frozen=True):
    n: int
    at_us: int
    live: str  # traces
    copy: str
    pair: bytes


def add(tx: Tx, row: ShadowRow) -> None:
    """Raises StoreConflict if the app has one already."""
    tx.run("shadows.add", **msgspec.structs.asdict(row))


def get(tx: Tx, shadow: str) -> ShadowRow | None:
    row = tx.one("shadows.get", id=shadow)
    return None if row is None else ShadowRow(**row)


def list_of(tx: Tx, app: str | None = None, limit: int = 50) -> list[ShadowRow]:
    """Newest first."""
    return [ShadowRow(**row) for row in tx.all("shadows.list", app=app, limit=limit)]


def under_way(tx: Tx, app: str | None = None) -> list[ShadowRow]:
    return [ShadowRow(**row) for row in tx.all("shadows.under_way", app=app)]


def count(tx: Tx, shadow: str, offered: int, dropped: int, over_budget: int) -> None:
    tx.run("shadows.count", id=shadow, offered=offered, dropped=dropped, over_budget=over_budget)


def set_sums(tx: Tx, shadow: str, sums: bytes) -> None:
    tx.run("shadows.set_sums", id=shadow, sums=sums)


def end(tx: Tx, shadow: str, at_us: int, reason: str) -> int:
    """Returns how many it ended: 0 if it had ended already."""
    return tx.run("shadows.end", id=shadow, ended_us=at_us, reason=reason)


def add_pair(
    tx: Tx, shadow: str, at_us: int, live: str, copy: str, *, failed: bool, differs: bool, pair: bytes
) -> None:
    values = {"at_us": at_us, "live": live, "copy": copy, "failed": int(failed), "differs": int(differs)}
    tx.run("shadows.add_pair", shadow=shadow, pair=pair, **values)


def pairs(
    tx: Tx, shadow: str, limit: int, before: int | None = None, *, failed: bool = False, differs: bool = False
) -> list[PairRow]:
    """Newest first. `failed`: only where the copy did and the live one did not; `differs`: not word for word."""
    only = {"failed": 1 if failed else None, "differs": 1 if differs else None}
    return [PairRow(**row) for row in tx.all("shadows.pairs", shadow=shadow, limit=limit, before=before, **only)]
