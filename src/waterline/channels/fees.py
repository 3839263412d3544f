"""What a channel bills, kept as money is kept here: reserved and on disk before a message leaves, never over a hard
budget, reconciled with what the statuses say."""

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from msgspec import Struct

from waterline.channels.base import SendFault, Withheld
from waterline.core.channel_prices import MessagePrice, MessagePrices, month_of
from waterline.core.channels import WhatsAppPolicy
from waterline.core.conversation import Status
from waterline.store import channels as rows
from waterline.store.channels import FeeRow
from waterline.store.db import Store, Tx


class Wanted(Struct, frozen=True):
    """A message that is about to be sent. `contact`: a keyed hash of who gets it."""

    key: str
    app: str
    branch: str
    address: str
    to: str
    contact: str
    category: str
    begun: bool


class Fees:
    """`policy`: of an app. Counts of the running month are in memory; `restore` reads them."""

    def __init__(
        self,
        store: Store,
        clock_us: Callable[[], int],
        policy: Callable[[str], WhatsAppPolicy],
        prices: Callable[[str], MessagePrices],
    ) -> None:
        self._store = store
        self._clock_us = clock_us
        self._policy = policy
        self._prices = prices
        self._month = ""
        self._apps: dict[str, int] = {}
        self._branches: dict[tuple[str, str], int] = {}
        self._service: dict[str, int] = {}  # number -> free-form replies this month

    def restore(self) -> None:
        """Blocks for a moment: at the start, before anything is sent."""
        month = month_of(self._clock_us())
        spent, replies = self._store.read_sync(
            lambda tx: (rows.spent_in_month(tx, month), rows.replies_of_month(tx, month))
        )
        self._roll(month)
        for (app, branch), nano in spent.items():
            self._add(app, branch, nano)
        self._service.update(replies)

    def spent(self, app: str, branch: str = "") -> int:
        """This month, what is reserved included. Nano-USD."""
        self._roll(month_of(self._clock_us()))
        return self._branches.get((app, branch), 0) if branch else self._apps.get(app, 0)

    async def reserve(self, wanted: Wanted, leaving: Callable[[Tx], bool] = lambda tx: True) -> MessagePrice:
        """On disk when this returns, with what `leaving` writes. Raises SendFault over a budget, and under one without
        a price; Withheld when `leaving` says no."""
        now = self._clock_us()
        month = month_of(now)
        self._roll(month)
        price = self._prices(wanted.app).of(wanted.category, wanted.to, now, self._service.get(wanted.address, 0))
        self._fits(wanted, price, month)
        self._add(wanted.app, wanted.branch, price.nano_usd or 0)
        if wanted.category == "service":
            self._service[wanted.address] = self._service.get(wanted.address, 0) + 1
        row = FeeRow(
            "whatsapp", wanted.key, wanted.app, wanted.branch, wanted.address, wanted.contact, price.country,
            wanted.category, int(wanted.begun), price.nano_usd, price.version, month, now,
        )  # fmt: skip

        def reserve(tx: Tx) -> tuple[bool, dict[str, Any] | None]:
            return (True, rows.reserve_fee(tx, row)) if leaving(tx) else (False, None)

        try:
            leaves, before = await self._store.write(reserve, repeats=True)
        except BaseException:
            self._take_back(wanted, price)
            raise
        if not leaves:
            self._take_back(wanted, price)
            raise Withheld
        if before is not None and before["state"] != "failed" and before["month"] == month:
            self._take_back(wanted, MessagePrice(before["nano_usd"], before["category"], "", ""))  # counted before
        return price

    async def settle(
        self, wanted: Wanted, price: MessagePrice, message_id: str, left: Callable[[Tx, str], None] | None = None
    ) -> None:
        """It left, and this is its name; "": it did not leave. On disk when this returns, with what `left` writes."""
        state = "sent" if message_id else "failed"
        if not message_id:
            self._take_back(wanted, price)

        def settle(tx: Tx) -> None:
            rows.settle_fee(tx, "whatsapp", wanted.key, state, message_id)
            if left is not None:
                left(tx, message_id)

        await self._store.write(settle, repeats=True)

    async def statuses(self, statuses: list[Status]) -> None:
        """What the channel says that it bills: the budget then counts that."""
        if any(status.billable is not None or status.state == "failed" for status in statuses):
            for app, branch, month, change in await self._store.write(
                lambda tx: self._billed(tx, statuses), repeats=True
            ):
                if month == self._month:
                    self._add(app, branch, change)

    def _billed(self, tx: Tx, statuses: list[Status]) -> list[tuple[str, str, str, int]]:
        changes = []
        for status in statuses:
            if status.billable is None and status.state != "failed":
                continue
            key = status.key or rows.fee_of_message(tx, "whatsapp", status.message_id)
            fee = rows.fee(tx, "whatsapp", key) if key else None
            if fee is None:
                continue
            nano, billed = self._nano(fee, status), bool(status.billable)
            if fee["billed"] is not None and fee["state"] == "sent" and status.state != "failed":
                continue  # sent and delivered say the same
            before = 0 if fee["state"] == "failed" else fee["nano_usd"] or 0
            state = "failed" if status.state == "failed" else "sent"
            rows.bill_fee(
                tx, "whatsapp", key, state=state, billed=billed, category=status.category or fee["category"],
                nano_usd=nano, before=fee,
            )  # fmt: skip
            changes.append((fee["app"], fee["branch"], fee["month"], (nano or 0) - before))
        return changes

    def _nano(self, fee: Mapping[str, Any], status: Status) -> int | None:
        if not status.billable:
            return 0
        table = self._prices(fee["app"])
        category = status.category or fee["category"]
        return table.of(category, fee["country"], fee["at_us"], table.free_service).nano_usd

    def _fits(self, wanted: Wanted, price: MessagePrice, month: str) -> None:
        policy = self._policy(wanted.app)
        limits = (
            (policy.nano_usd_per_month, self._apps.get(wanted.app, 0), f'App "{wanted.app}"', "usd_per_month"),
            (policy.nano_usd_per_branch_month, self._branches.get((wanted.app, wanted.branch), 0),
             f'Branch "{wanted.branch}"', "usd_per_branch_month"),
        )  # fmt: skip
        for limit, spent, who, key in limits:
            if limit is None:
                continue
            if price.nano_usd is None:
                raise SendFault(
                    "never",
                    f"A {wanted.category} message to this country has no price, and {who} has a budget. Add its price "
                    "to [channels.whatsapp.prices].",
                )  # fmt: skip
            if spent + price.nano_usd > limit:
                raise SendFault(
                    "later",
                    f"{who} has spent {spent / 1e9:.2f} of {limit / 1e9:.2f} USD for WhatsApp in {month}. Raise {key} "
                    "in [channels.whatsapp] of app.toml, or wait for the next month.",
                    retry_after_s=3600,
                )  # fmt: skip

    def _take_back(self, wanted: Wanted, price: MessagePrice) -> None:
        self._add(wanted.app, wanted.branch, -(price.nano_usd or 0))
        if price.category == "service" and self._service.get(wanted.address, 0) > 0:
            self._service[wanted.address] -= 1

    def _add(self, app: str, branch: str, nano: int) -> None:
        self._apps[app] = self._apps.get(app, 0) + nano
        self._branches[app, branch] = self._branches.get((app, branch), 0) + nano

    def _roll(self, month: str) -> None:
        if month != self._month:
            self._month = month
            self._apps, self._branches, self._service = {}, {}, {}


def list_prices() -> str:
    """The table that we ship."""
    return resources.files("waterline.core").joinpath("channel_prices.toml").read_text(encoding="utf-8")
