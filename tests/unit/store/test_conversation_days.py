"""Sums by day say exactly what the rows say, whatever the span, also after a fee changed or a person was erased."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from waterline.core.conversation import Alias
from waterline.store import channels, conversation_days, conversations, identities
from waterline.store.channels import FeeRow
from waterline.store.conversation_days import DAY_US, NOTHING_SPENT, Asked
from waterline.store.db import Store, Tx

DAYS, MADE = 6, 120
START = 20_000 * DAY_US


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store.open(tmp_path_factory.mktemp("days") / "waterline.db")
    store.write_sync(fill)
    yield store
    store.close()


def fill(tx: Tx) -> None:
    rng = random.Random(1)
    for n in range(MADE):
        name, at_us = f"c{n}", START + rng.randrange(DAYS * DAY_US)
        who = identities.resolve(tx, "school", (Alias("phone", name),), at_us, lambda name=name: name)  # type: ignore[misc]
        conversations.add(
            tx, id=name, app="school", env="production", branch=f"b{n % 3}", channel="whatsapp", address="100",
            sender=name, identity=who, now_us=at_us,
        )  # fmt: skip
        at = conversations.get(tx, name)
        assert at is not None
        for stage in rng.sample(["asked", "offered", "booked"], rng.randrange(4)):
            for _ in range(2):  # the second time counts nothing
                conversations.add_stage(tx, at, stage, at_us + rng.randrange(3 * DAY_US))
        values: dict[str, Any] = {"state": b"", "stage": "", "language": "", "slots": "{}", "wake_us": 0, "release": ""}
        for turn in range(1, rng.randrange(1, 4)):
            assert conversations.turned(tx, name, turn, 0, **values, now_us=at_us) == 0
        if n % 10 == 0:
            conversations.take(tx, name, "ana", at_us)
        fee = FeeRow("whatsapp", name, "school", f"b{n % 3}", "100", "c", "PT", "service", 0, rng.choice([None, 5, 7]),
                     "v", "2024-10", at_us)  # fmt: skip
        channels.reserve_fee(tx, fee)
        if n % 4 == 0:
            channels.settle_fee(tx, "whatsapp", name, "failed" if n % 8 else "sent", "m")
        if n % 5 == 0:
            channels.bill_fee(tx, "whatsapp", name, state="sent", billed=True, category="service", nano_usd=11)
        if n % 12 == 0:  # tried again on another day
            channels.reserve_fee(tx, msgspec.structs.replace(fee, at_us=at_us + DAY_US))
    for n in range(0, MADE, 17):
        at = conversations.get(tx, f"c{n}")
        assert at is not None
        conversations.erase(tx, at.identity, START)


def raw(tx: Tx, asked: Asked) -> tuple[Any, Any]:
    """By the rows alone."""
    at = asked.params(asked.since_us, asked.until_us)
    rows = tx.all("conversations.funnel", **at)
    by = {row.pop("branch"): {**row, **NOTHING_SPENT} for row in tx.all("conversations.figures", **at)}
    for row in tx.all("conversations.fees_by_branch", **at):
        if row["branch"] in by:
            by[row.pop("branch")].update(row)
    return sorted((r["branch"], r["stage"], r["conversations"], r["after_us"]) for r in rows), by


@pytest.mark.parametrize("branch", [None, "b1"])
@pytest.mark.parametrize("app", [None, "school", "nobody"])
def test_whatever_the_span_the_sums_and_the_rows_agree(store: Store, app: str | None, branch: str | None) -> None:
    rng = random.Random(2)
    spans = [(0, 2**62), (START, START + DAY_US), (START + 5, START + 9), (START, START + DAYS * DAY_US)]
    spans += [sorted((START + rng.randrange(8 * DAY_US), START + rng.randrange(8 * DAY_US))) for _ in range(20)]  # type: ignore[misc]
    for since, until in spans:
        asked = Asked(app, "production" if rng.random() < 0.5 else None, branch, since, until)
        rows, by = store.read_sync(lambda tx, a=asked: raw(tx, a))  # type: ignore[misc]
        summed = store.read_sync(lambda tx, a=asked: conversation_days.funnel(tx, a))  # type: ignore[misc]
        assert sorted((r.branch, r.stage, r.conversations, r.after_us) for r in summed) == rows
        assert store.read_sync(lambda tx, a=asked: conversation_days.figures(tx, a)) == by  # type: ignore[misc]


def test_the_fees_of_a_month_are_those_of_its_rows(store: Store) -> None:
    at = {"app": "school", "month": "2024-10"}
    rows = store.read_sync(lambda tx: tx.all("channels.report_of_rows", **at))
    assert store.read_sync(lambda tx: tx.all("channels.report", **at)) == rows
    assert sum(row["different"] for row in rows) > 0
    days = store.read_sync(lambda tx: channels.fees_by_day(tx, "school", START))
    assert sum(messages for _, messages, _ in days) == sum(row["messages"] for row in rows)
    assert sum(nano for _, _, nano in days) == sum(row["spent_nano_usd"] for row in rows)


def test_what_a_start_reads_of_a_month_is_what_its_rows_say(tmp_path: Path) -> None:
    """Tried again at another number, as another category, in another month; left or not; billed otherwise."""
    store, chance = Store.open(tmp_path / "waterline.db"), random.Random(3)
    for _ in range(400):
        key = f"k{chance.randrange(40)}"
        row = FeeRow("whatsapp", key, "school", f"b{chance.randrange(2)}", f"n{chance.randrange(2)}", "c", "PT",
                     chance.choice(("service", "utility")), 0, chance.choice((None, 5, 7)), "v",
                     chance.choice(("2024-10", "2024-11")), START)  # fmt: skip
        acts: tuple[Callable[[Tx], object], ...] = (
            lambda tx, row=row: channels.reserve_fee(tx, row),  # type: ignore[misc]
            lambda tx, key=key: channels.settle_fee(tx, "whatsapp", key, chance.choice(("sent", "failed")), "m"),  # type: ignore[misc]
            lambda tx, key=key: channels.bill_fee(  # type: ignore[misc]
                tx, "whatsapp", key, state=chance.choice(("sent", "failed")), billed=True, category="service",
                nano_usd=chance.choice((None, 11)),
            ),
            lambda tx: tx.run("erasure.blank_fees", contact="c"),
        )  # fmt: skip
        store.write_sync(chance.choice(acts))
    for month in ("2024-10", "2024-11"):
        spent, replies = {}, {}
        for branch, address, category, nano_usd, billed in store.read_sync(
            lambda tx, month=month: tx._connection.execute(  # type: ignore[misc]
                "SELECT branch, address, category, nano_usd, billed_nano_usd FROM channel_fees "
                "WHERE month = ? AND state <> 'failed'", (month,)
            ).fetchall()
        ):  # fmt: skip
            spent["school", branch] = spent.get(("school", branch), 0) + ((nano_usd if billed is None else billed) or 0)
            replies[address] = replies.get(address, 0) + (category == "service")
        assert len(spent) == len(replies) == 2
        assert store.read_sync(lambda tx, month=month: channels.spent_in_month(tx, month)) == spent  # type: ignore[misc]
        assert store.read_sync(lambda tx, month=month: channels.replies_of_month(tx, month)) == replies  # type: ignore[misc]
    store.close()
