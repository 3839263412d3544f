"""What things cost, have cost and will cost: for the console, the command line and whoever gets the bill."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from waterline.access.roles import Action, Principal, require
from waterline.control import costs
from waterline.control.budgets import BudgetView, budget_views
from waterline.control.channels import FeesView, fees_view
from waterline.control.views import CostRow
from waterline.core.channel_prices import month_of
from waterline.evals.forecast import Forecast
from waterline.gateway.deps import App
from waterline.rollout.live import Live
from waterline.store import costs as books
from waterline.store.db import Store


class MoneyDesk:
    def __init__(
        self, store: Store, apps: Mapping[str, App], live: Live, clock_us: Callable[[], int],
        drain: Callable[[], Awaitable[None]], known: Callable[[str], App],
    ) -> None:  # fmt: skip
        """`known` raises Refused for an app that is not there; `drain`: what was answered is in the books after it."""
        self._store = store
        self._apps = apps
        self._live = live
        self._clock_us = clock_us
        self._drain = drain
        self._known = known

    async def channel_fees(self, who: Principal, app: str, month: str) -> FeesView:
        """What messages cost in a month, this one unless told otherwise."""
        require(who, Action.OVERVIEW_READ)
        spec, now_us = self._known(app).spec, self._clock_us()
        costs.period(month, "", "", now_us)
        return await self._store.read(lambda tx: fees_view(tx, spec, month or month_of(now_us), now_us))

    async def by_route(self, who: Principal, app: str | None, since_us: int | None) -> list[CostRow]:
        require(who, Action.OVERVIEW_READ)
        rows = await self._store.read(lambda tx: books.by_route(tx, app, since_us or 0))
        return [CostRow(**row) for row in rows]

    async def report(
        self, who: Principal, app: str | None, by: str, month: str, since: str, until: str
    ) -> costs.CostReport:
        """What was spent in a span of UTC days, this month unless told otherwise."""
        require(who, Action.OVERVIEW_READ)
        wanted, days = costs.by_of(by), costs.period(month, since, until, self._clock_us())
        if app:
            self._known(app)
        await self._drain()
        return await self._store.read(lambda tx: costs.report(tx, app, wanted, days))

    async def reconciliation(
        self, who: Principal, app: str | None, invoice: str, provider: str, month: str, since: str, until: str
    ) -> costs.Reconciliation:
        """Our books beside a provider's invoice, over the days that were asked for, else those of the invoice."""
        require(who, Action.OVERVIEW_READ)
        read = costs.parsed(invoice)
        named = bool(month or since or until)
        span = None if named else costs.span_of(read)
        days = span or costs.period(month, since, until, self._clock_us())
        if app:
            self._known(app)
        await self._drain()
        return await self._store.read(lambda tx: costs.reconciliation(tx, app, provider, read, days))

    async def forecast(self, who: Principal, app: str) -> costs.AppForecast:
        """This month, from the live traffic so far."""
        require(who, Action.OVERVIEW_READ)
        known, now = self._known(app), self._clock_us()
        await self._drain()
        return await self._store.read(lambda tx: costs.app_forecast(tx, known.spec, known.prices, now))

    async def declared_forecast(self, who: Principal, app: str) -> Forecast | str:
        """A whole month as the release that is live and its environment record declare it; else what is missing."""
        require(who, Action.OVERVIEW_READ)
        known = self._known(app)
        return await asyncio.to_thread(costs.declared_forecast, known.spec, known.prices, self._live, self._clock_us())

    async def budgets(self, who: Principal, app: str | None) -> list[BudgetView]:
        """Every budget: of the apps and of their branches, keys and subjects (those that used most of theirs)."""
        require(who, Action.OVERVIEW_READ)
        found = [known.budget for name, known in sorted(self._apps.items()) if app in (None, name)]
        for budget in found:
            budget.roll(self._clock_us())
        lines = [(budget.app, line) for budget in found for line in budget.lines()]
        return await self._store.read(lambda tx: budget_views(tx, lines, app))
