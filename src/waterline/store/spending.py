"""What was spent, kept as sums by quarter of an hour: a budget knows its month at a start without reading a month of
traces. Every time zone's day begins with a quarter of an hour. Nano-USD."""

from collections.abc import Iterable
from typing import Any

from waterline.core.trace import TraceRow
from waterline.store.db import Row, Tx

QUARTER_US = 900_000_000
MONTH_US = 32 * 86_400_000_000  # a budget's longest period, and a day for time zones


def add(tx: Tx, rows: Iterable[TraceRow], largest: int) -> None:
    """Of traces that came to their outcome, in the transaction that stores it. At most `largest` each."""
    sums: dict[tuple[str, str, int, str, str], int] = {}
    for row in rows:
        if row.cost_nano_usd:
            at = (row.app, row.purpose, row.started_us - row.started_us % QUARTER_US, row.branch, row.key)
            sums[at] = sums.get(at, 0) + min(row.cost_nano_usd, largest)
    tx.many(
        "spending.add",
        [
            {"app": a, "purpose": p, "quarter_us": q, "branch": b, "key_id": k, "nano_usd": n}
            for (a, p, q, b, k), n in sums.items()
        ],
    )


def by(tx: Tx, scope: str, since_us: int, **params: Any) -> list[Row]:
    """By app, branch or key since the quarter of an hour that has `since_us`; traces without an outcome with their
    reservation."""
    quarter_us = since_us - since_us % QUARTER_US
    return tx.all("spending.by", scope=scope, since_us=since_us, quarter_us=quarter_us, **params)


def sweep(tx: Tx, app: str, before_us: int) -> None:
    """Forgets quarters whose month is over for every budget, `before_us` or not."""
    tx.run("spending.delete", app=app, before_us=before_us - MONTH_US)
