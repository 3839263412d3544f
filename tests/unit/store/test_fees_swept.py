"""What messages cost goes with the other rows that are past their time; what budgets and reports need of it stays."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from waterline.store import channels, retention
from waterline.store.channels import FeeReport, FeeRow
from waterline.store.conversation_days import DAY_US
from waterline.store.db import Store, Tx


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Four messages a day in October and November, of two branches, to ten people."""
    store = Store.open(tmp_path / "w.db")

    def fill(tx: Tx) -> None:
        for month, days in (("2026-10", 31), ("2026-11", 30)):
            for n in range(4 * days):
                when = at(f"{month}-{n // 4 + 1:02d}T12:00")
                channels.reserve_fee(tx, fee(f"{month}-{n}", month, when, "porto" if n % 2 else "faro", f"p{n % 10}"))
        channels.reserve_fee(tx, fee("other", "2026-10", at("2026-10-01T12:00"), "porto", "p1", app="shop"))

    store.write_sync(fill)
    yield store
    store.close()


def fee(key: str, month: str, when: int, branch: str, contact: str, app: str = "school") -> FeeRow:
    return FeeRow(
        "whatsapp", key, app, branch, "n1", contact, "351", "utility", int(when % DAY_US == 0), 17_100_000, "v", month,
        when,
    )  # fmt: skip


def sweep(store: Store, before: str) -> None:
    """Two rounds of the worker."""
    while store.write_sync(lambda tx: retention.sweep(tx, "school", 0, at(before))).more:
        pass
    store.write_sync(lambda tx: retention.sweep(tx, "school", 0, at(before)))


def rows(store: Store, app: str, month: str) -> int:
    found = store.read_sync(lambda tx: tx.all("channels.report_of_rows", app=app, month=month))
    return sum(row["messages"] for row in found)


def figures(store: Store, month: str) -> tuple[list[FeeReport], dict[str, int]]:
    return store.read_sync(lambda tx: (channels.report(tx, "school", month), channels.people(tx, "school", month)))


def test_fees_of_a_month_that_is_past_its_time_go_and_its_sums_and_people_stay(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 7)  # many batches, in the midst of a month too
    before = figures(store, "2026-10")
    assert sum(r.messages for r in before[0]) == 124
    assert before[1] == {"faro": 5, "porto": 5}
    days = store.read_sync(lambda tx: channels.fees_by_day(tx, "school", 0))
    sweep(store, "2026-11-15T00:00")
    assert rows(store, "school", "2026-10") == 0
    assert figures(store, "2026-10") == before
    assert store.read_sync(lambda tx: channels.fees_by_day(tx, "school", 0)) == days


def test_a_month_that_has_not_ended_by_then_stays_whole_for_the_budgets(store: Store) -> None:
    sweep(store, "2026-11-30T23:00")
    assert rows(store, "school", "2026-11") == 120
    spent = store.read_sync(lambda tx: channels.spent_in_month(tx, "2026-11"))
    assert spent == {("school", "faro"): 60 * 17_100_000, ("school", "porto"): 60 * 17_100_000}


def test_fees_of_other_apps_and_what_is_not_past_its_time_stay(store: Store) -> None:
    sweep(store, "2026-10-31T23:00")
    assert rows(store, "school", "2026-10") == 124
    sweep(store, "2026-12-01T00:00")
    assert (rows(store, "school", "2026-11"), rows(store, "shop", "2026-10")) == (0, 1)


def test_a_status_that_comes_long_after_changes_no_sum(store: Store) -> None:
    before = figures(store, "2026-10")
    sweep(store, "2026-11-15T00:00")
    store.write_sync(
        lambda tx: channels.bill_fee(
            tx, "whatsapp", "2026-10-3", state="sent", billed=True, category="utility", nano_usd=1
        )
    )
    assert figures(store, "2026-10") == before
