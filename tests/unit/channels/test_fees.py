"""What WhatsApp bills: reserved on disk before a message leaves, never over a hard budget, reconciled with statuses."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from waterline.channels.base import SendFault
from waterline.channels.fees import Fees, Wanted, list_prices
from waterline.core.channel_prices import MessagePrices, month_of
from waterline.core.channels import WhatsAppPolicy
from waterline.core.conversation import Status
from waterline.store import channels as rows
from waterline.store.db import Store

NOVEMBER = 1_795_262_872_000_000  # 21 November 2026
JUNE = 1_781_000_000_000_000
UTILITY = 17_100_000  # Portugal
PRICES = MessagePrices(list_prices())


def wanted(key: str, category: str = "utility", branch: str = "porto", to: str = "351911") -> Wanted:
    return Wanted(key, "school", branch, "n1", to, "hash", category, False)


def run(
    tmp_path: Path,
    act: Callable[[Fees, Store], Awaitable[None]],
    policy: WhatsAppPolicy | None = None,
    now: int = NOVEMBER,
) -> None:
    async def main() -> None:
        store = Store.open(tmp_path / "w.db")
        fees = Fees(store, lambda: now, lambda app: policy or WhatsAppPolicy(), lambda app: PRICES)
        fees.restore()
        try:
            await act(fees, store)
        finally:
            store.close()

    asyncio.run(main())


# --- the table ---------------------------------------------------------------------------------------------------


def test_free_form_replies_cost_the_utility_rate_since_october_and_nothing_before() -> None:
    assert PRICES.of("service", "351911", JUNE, 5000).nano_usd == 0
    assert PRICES.of("service", "351911", NOVEMBER, 5000).nano_usd == UTILITY
    assert PRICES.of("service", "351911", NOVEMBER, 999).nano_usd == 0  # the first 1,000 of a number and month
    assert PRICES.of("service", "351911", NOVEMBER, 999).free


def test_a_country_that_the_table_does_not_know_has_no_price_and_that_is_not_zero() -> None:
    price = PRICES.of("utility", "999123", NOVEMBER)
    assert price.nano_usd is None
    own = MessagePrices(list_prices(), {"99/utility": 5, "351/service": 7})
    assert own.of("utility", "999123", NOVEMBER).nano_usd == 5
    assert own.of("service", "351911", NOVEMBER, 1000).nano_usd == 7


def test_the_longest_calling_code_counts_and_a_scoped_id_names_its_country() -> None:
    assert PRICES.country("+351911") == "351"
    assert PRICES.country("15550001") == "1"
    assert PRICES.country("PT.123") == "351"
    assert PRICES.country("ZZ.123") == ""


def test_marketing_costs_several_times_a_reply() -> None:
    for code in ("55", "351", "1"):
        marketing, reply = (PRICES.of(c, code, NOVEMBER, 1000).nano_usd for c in ("marketing", "service"))
        assert marketing is not None
        assert reply is not None
        assert marketing > 3 * reply


# --- the budget --------------------------------------------------------------------------------------------------


def test_a_hard_budget_is_never_passed_however_many_send_at_once(tmp_path: Path) -> None:
    async def act(fees: Fees, store: Store) -> None:
        found = await asyncio.gather(*(fees.reserve(wanted(f"k{n}")) for n in range(50)), return_exceptions=True)
        assert sum(not isinstance(f, BaseException) for f in found) == 10
        refused = [f for f in found if isinstance(f, SendFault)]
        assert len(refused) == 40
        assert refused[0].kind == "later"
        assert "usd_per_month" in refused[0].message
        assert fees.spent("school") == 10 * UTILITY

    run(tmp_path, act, WhatsAppPolicy(nano_usd_per_month=10 * UTILITY + 5))


def test_a_branch_that_spends_does_not_take_anothers_budget(tmp_path: Path) -> None:
    async def act(fees: Fees, store: Store) -> None:
        for n in range(3):
            await fees.reserve(wanted(f"p{n}"))
        with pytest.raises(SendFault, match="porto"):
            await fees.reserve(wanted("p4"))
        await fees.reserve(wanted("l1", branch="lisboa"))

    run(tmp_path, act, WhatsAppPolicy(nano_usd_per_branch_month=3 * UTILITY))


def test_what_has_no_price_is_refused_under_a_budget_and_counted_as_unpriced_without(tmp_path: Path) -> None:
    async def strict(fees: Fees, store: Store) -> None:
        with pytest.raises(SendFault, match="no price"):
            await fees.reserve(wanted("k", to="999123"))

    async def free(fees: Fees, store: Store) -> None:
        await fees.reserve(wanted("k", to="999123"))
        [row] = await store.read(lambda tx: rows.report(tx, "school", month_of(NOVEMBER)))
        assert (row.unpriced, row.expected_nano_usd) == (1, 0)

    run(tmp_path, strict, WhatsAppPolicy(nano_usd_per_month=10**12))
    run(tmp_path, free)


def test_what_was_reserved_when_we_died_is_still_counted_after_a_restart(tmp_path: Path) -> None:
    """kill -9 between the reservation and the answer: whether it left is unknown, so it costs."""

    async def before(fees: Fees, store: Store) -> None:
        await fees.reserve(wanted("k1"))

    async def after(fees: Fees, store: Store) -> None:
        assert fees.spent("school", "porto") == UTILITY
        price = await fees.reserve(wanted("k1"))  # the same message again
        assert fees.spent("school", "porto") == UTILITY
        await fees.settle(wanted("k1"), price, "wamid.1")
        assert fees.spent("school", "porto") == UTILITY

    run(tmp_path, before)
    run(tmp_path, after)


def test_a_message_that_was_refused_costs_nothing(tmp_path: Path) -> None:
    async def act(fees: Fees, store: Store) -> None:
        price = await fees.reserve(wanted("k1"))
        await fees.settle(wanted("k1"), price, "")
        assert fees.spent("school") == 0
        fees.restore()
        assert fees.spent("school") == 0

    run(tmp_path, act)


def status(state: str, key: str = "k1", billable: bool | None = True, category: str = "utility") -> Status:
    return Status("whatsapp", "n1", "wamid.1", state, NOVEMBER, key=key, billable=billable, category=category)  # type: ignore[arg-type]


def test_statuses_correct_the_books_once_however_often_they_come(tmp_path: Path) -> None:
    async def act(fees: Fees, store: Store) -> None:
        await fees.settle(wanted("k1"), await fees.reserve(wanted("k1")), "wamid.1")
        await fees.statuses([status("sent", billable=False), status("delivered", billable=False)])
        await fees.statuses([status("delivered", billable=False)])
        assert fees.spent("school") == 0
        [row] = await store.read(lambda tx: rows.report(tx, "school", month_of(NOVEMBER)))
        assert (row.messages, row.different, row.unconfirmed) == (1, 1, 0)
        assert (row.expected_nano_usd, row.billed_nano_usd) == (UTILITY, 0)

    run(tmp_path, act)


def test_a_status_that_names_only_the_message_is_found_and_another_category_is_a_difference(tmp_path: Path) -> None:
    async def act(fees: Fees, store: Store) -> None:
        await fees.settle(wanted("k1"), await fees.reserve(wanted("k1")), "wamid.1")
        await fees.statuses([status("sent", key="", category="marketing")])
        [row] = await store.read(lambda tx: rows.report(tx, "school", month_of(NOVEMBER)))
        assert (row.different, row.billed_nano_usd) == (1, 59_200_000)
        assert fees.spent("school") == 59_200_000

    run(tmp_path, act)


def test_a_message_that_failed_on_the_way_is_not_billed(tmp_path: Path) -> None:
    async def act(fees: Fees, store: Store) -> None:
        await fees.settle(wanted("k1"), await fees.reserve(wanted("k1")), "wamid.1")
        await fees.statuses([status("failed", billable=None)])
        assert fees.spent("school") == 0

    run(tmp_path, act)


def test_the_thousand_free_replies_are_counted_by_number_and_survive_a_restart(tmp_path: Path) -> None:
    few = MessagePrices(list_prices().replace("free_service = 1000", "free_service = 3"))

    async def main() -> None:
        store = Store.open(tmp_path / "w.db")
        for n in range(5):
            fees = Fees(store, lambda: NOVEMBER, lambda app: WhatsAppPolicy(), lambda app: few)
            fees.restore()
            price = await fees.reserve(wanted(f"k{n}", "service"))
            assert price.nano_usd == (0 if n < 3 else UTILITY)
        store.close()

    asyncio.run(main())
