"""What conversations and booked visits cost, by branch, and where the month of a channel's fees is going."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from waterline.access.roles import Principal
from waterline.console.conversation_pages import _each
from waterline.control.channels import fees_view
from waterline.control.conversations import ConversationDesk
from waterline.core.app_spec import AppSpec
from waterline.core.branch import Branch
from waterline.core.channels import Channels, WhatsAppPolicy
from waterline.core.conversation import Alias
from waterline.store import channels, conversation_days, conversations, identities
from waterline.store.channels import FeeRow
from waterline.store.conversation_days import DAY_US
from waterline.store.db import Store, Tx

NOW = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp() * 1e6)
OWNER = Principal("t", "person", "t", "", "", role="owner")
FEE, CALL = 17_000_000, 3_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "w.db")
    yield store
    store.close()


def conversation(tx: Tx, name: str, branch: str, at_us: int, *, booked: bool) -> None:
    who = identities.resolve(tx, "school", (Alias("phone", name),), at_us, lambda: name)
    conversations.add(
        tx, id=name, app="school", env="production", branch=branch, channel="whatsapp", address="1", sender=name,
        identity=who, now_us=at_us,
    )  # fmt: skip
    at = conversations.get(tx, name)
    assert at is not None
    for stage in ("first_message", "booked") if booked else ("first_message",):
        conversations.add_stage(tx, at, stage, at_us + 60_000_000)
    conversation_days.add(tx, "school", "production", branch, at_us, "models", n=2, amount=2 * CALL)
    fee(tx, name, branch, at_us)


def fee(tx: Tx, key: str, branch: str, at_us: int) -> None:
    month = datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m")
    row = FeeRow("whatsapp", key, "school", branch, "1", key, "351", "utility", 0, FEE, "v", month, at_us)
    channels.reserve_fee(tx, row)


async def test_models_and_channel_are_shared_out_to_conversations_and_booked_visits_by_branch(store: Store) -> None:
    def fill(tx: Tx) -> None:
        for n in range(6):
            conversation(tx, f"p{n}", "porto", NOW - 3 * DAY_US, booked=n < 2)
        conversation(tx, "f0", "faro", NOW - 2 * DAY_US, booked=False)

    store.write_sync(fill)
    found = await ConversationDesk(store, {}, lambda: NOW, lambda c: None).funnel(OWNER, "school", None, None, None)
    one = 2 * CALL + FEE
    by = {branch.branch: branch for branch in found.branches}
    assert (by["porto"].conversations, by["porto"].booked, by["faro"].booked) == (6, 2, 0)
    assert (_each(by["porto"], by["porto"].conversations), _each(by["porto"], by["porto"].booked)) == (one, 3 * one)
    assert _each(by["faro"], by["faro"].booked) is None  # nothing was booked: no price of a visit, not zero
    assert _each(found.total, found.total.booked) == 7 * one // 2
    assert [(s.stage, s.conversations) for s in found.total.steps] == [("first_message", 7), ("booked", 2)]


def test_the_month_of_the_channel_s_fees_is_forecast_from_its_days_and_held_to_its_budget(store: Store) -> None:
    limit = 400 * FEE
    spec = AppSpec(
        "school", branches=(Branch("porto", "Porto"),), channels=Channels(WhatsAppPolicy(nano_usd_per_month=limit))
    )

    def fill(tx: Tx) -> None:
        for day in range(1, 35):
            for n in range(10):
                fee(tx, f"{day}-{n}", "porto", NOW - day * DAY_US)

    store.write_sync(fill)
    view = store.read_sync(lambda tx: fees_view(tx, spec, "2026-11", NOW))
    assert view.spent_nano_usd == 20 * 10 * FEE
    assert view.forecast is not None
    month = view.forecast.month
    assert month is not None
    usd = 30 * 10 * FEE / 1e9  # ten a day, all month
    assert month.value == pytest.approx(usd, rel=0.05)
    assert [odds.name for odds in view.forecast.odds] == ["usd_per_month of [channels.whatsapp]"]
