"""`/api/cost`, `/api/budgets`, `/api/channel-fees`: what was spent, an invoice against it, the forecast."""

from typing import Any

import msgspec

from waterline.api.ask import Ask, Resource


class InvoiceBody(msgspec.Struct, forbid_unknown_fields=True):
    """`invoice`: the CSV as text. Days as YYYY-MM-DD; without them, those of the invoice."""

    invoice: str
    app: str = ""
    provider: str = ""
    month: str = ""
    since: str = ""
    until: str = ""


async def cost(ask: Ask) -> Any:
    return await ask.plane.money.by_route(ask.who, ask.query("app") or None, ask.whole("since"))


async def cost_report(ask: Ask) -> Any:
    days = (ask.query("month"), ask.query("from"), ask.query("to"))
    return await ask.plane.money.report(ask.who, ask.query("app") or None, ask.query("by") or "model", *days)


async def cost_reconciliation(ask: Ask) -> Any:
    b = await ask.body(InvoiceBody)
    days = (b.month, b.since, b.until)
    return await ask.plane.money.reconciliation(ask.who, b.app or None, b.invoice, b.provider, *days)


async def cost_forecast(ask: Ask) -> Any:
    return await ask.plane.money.forecast(ask.who, ask.query("app"))


async def channel_fees(ask: Ask) -> Any:
    return await ask.plane.money.channel_fees(ask.who, ask.query("app"), ask.query("month"))


RESOURCES = [
    Resource("GET", "/cost", cost),
    Resource("GET", "/cost/report", cost_report),
    Resource("POST", "/cost/reconciliation", cost_reconciliation),
    Resource("GET", "/cost/forecast", cost_forecast),
    Resource("GET", "/budgets", lambda ask: ask.plane.money.budgets(ask.who, ask.query("app") or None)),
    Resource("GET", "/channel-fees", channel_fees),
]
