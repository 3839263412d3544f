"""Budgets as people see them, and the record of those that filled up."""

import asyncio
import logging
from collections.abc import Callable

import msgspec
from msgspec import Struct

from waterline.core.errors import WaterlineError
from waterline.core.money import usd
from waterline.gateway.budget import Alert, Line
from waterline.store import budgets
from waterline.store.budgets import AlertRow
from waterline.store.db import Store, Tx

log = logging.getLogger("waterline.budgets")

MOST_WAITING = 10_000


class Raised(Struct, frozen=True):
    """`level`: % of the limit; 100: a call was refused, or nothing was left."""

    level: int
    at_us: int


class BudgetView(Struct, frozen=True):
    """Amounts in nano-USD, times in Unix microseconds. `left` None: no limit. `spent_at_most`: `spent` is a bound,
    because the name was out of memory meanwhile."""

    app: str
    scope: str  # app, branch, key, subject (by its keyed hash)
    name: str
    period: str  # day, month
    limit_nano_usd: int | None
    spent_nano_usd: int
    reserved_nano_usd: int
    left_nano_usd: int | None
    renews_us: int
    timezone: str
    spent_at_most: bool
    alerts: list[Raised]


class Alerts:
    """What budgets say when they fill up: a log line, a metric, and a row that is only ever added."""

    def __init__(self, store: Store, clock_us: Callable[[], int], count: Callable[[str], None]) -> None:
        self._store = store
        self._clock_us = clock_us
        self._count = count
        self._waiting: list[AlertRow] = []
        self._writing: asyncio.Task[None] | None = None

    def put(self, alert: Alert) -> None:
        self._count(f"budget_alert_{alert.level}")
        if alert.scope != "subject":  # there may be very many, and each is in the table
            log.warning(
                "%s %s of app %s has spent %s of %s USD of its %s (%d %%)", alert.scope, alert.name, alert.app,
                usd(alert.spent_nano_usd, 4), usd(alert.limit_nano_usd, 4), alert.period, alert.level,
            )  # fmt: skip
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(AlertRow(**msgspec.structs.asdict(alert), at_us=self._clock_us()))
        if self._writing is None or self._writing.done():
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return  # the server is being built; `write_now` follows
            self._writing = loop.create_task(self._write())

    def write_now(self) -> None:
        """Before there is an event loop."""
        rows, self._waiting = self._waiting, []
        if rows:
            self._store.write_sync(lambda tx: budgets.add_alerts(tx, map(msgspec.structs.asdict, rows)))

    async def close(self) -> None:
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        while rows := self._waiting:
            self._waiting = []
            try:
                await self._store.write(
                    lambda tx, rows=rows: budgets.add_alerts(tx, map(msgspec.structs.asdict, rows))  # type: ignore[misc]
                )
            except WaterlineError as error:
                log.error("%d alerts of budgets could not be stored: %s", len(rows), error)


def budget_views(tx: Tx, lines: list[tuple[str, Line]], app: str | None) -> list[BudgetView]:
    """`lines`: by app."""
    since = min((line.start_us for _, line in lines), default=0)
    raised: dict[tuple[str, ...], list[Raised]] = {}
    for row in budgets.alerts(tx, app, since):
        raised.setdefault(_key(row), []).append(Raised(row.level, row.at_us))
    return [_view(name, line, raised) for name, line in lines]


def _key(row: AlertRow) -> tuple[str, ...]:
    return row.app, row.scope, row.name, row.period, str(row.start_us), str(row.limit_nano_usd)


def _view(app: str, line: Line, raised: dict[tuple[str, ...], list[Raised]]) -> BudgetView:
    left = None if line.limit is None else line.limit - line.spent - line.reserved
    said = raised.get((app, line.scope, line.name, line.period, str(line.start_us), str(line.limit)), [])
    return BudgetView(
        app, line.scope, line.name, line.period, line.limit, line.spent, line.reserved, left, line.renews_us,
        line.timezone, line.at_most, sorted(said, key=lambda r: r.level),
    )  # fmt: skip
