"""What was said when a budget filled up: append-only."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from waterline.store.db import Tx


class AlertRow(Struct, frozen=True):
    """`level`: % of the limit that was reached. Amounts in nano-USD; times are Unix microseconds."""

    app: str
    scope: str  # app, branch, key, subject
    name: str
    period: str  # day, month
    start_us: int
    level: int
    limit_nano_usd: int
    spent_nano_usd: int
    at_us: int


def add_alerts(tx: Tx, rows: Iterable[dict[str, Any]]) -> None:
    """Said once a budget, period, level and limit: a restart that says it again changes nothing."""
    tx.many("budgets.add_alert", rows)


def alerts(tx: Tx, app: str | None, since_us: int, limit: int = 1000) -> list[AlertRow]:
    """The newest first."""
    return [AlertRow(**row) for row in tx.all("budgets.alerts", app=app, since_us=since_us, limit=limit)]
