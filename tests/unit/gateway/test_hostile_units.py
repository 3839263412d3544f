"""Clocks that go back, limits declared late, answers of several choices, records that no database takes: each promise
on its smallest part."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from waterline.core.app_spec import Limits
from waterline.core.errors import BudgetExceeded, RateLimited
from waterline.core.money import Price, Usage
from waterline.core.trace import AdmittedRecord, Ended, OutcomeRecord, SpooledRow, encode_record
from waterline.gateway.budget import Budget, Reservation
from waterline.gateway.faults import fault_of
from waterline.gateway.limits import AppLimits
from waterline.providers.openai_wire import OpenAIStream
from waterline.providers.upstream import PoolBusy
from waterline.store.db import Store
from waterline.store.drain import Drainer
from waterline.store.spool import Spool

PRICE = Price(3 * 10**9, 15 * 10**9, 3 * 10**8, 375 * 10**7, 15 * 10**9, 3 * 10**9, 15 * 10**9, "t")
NOON_US = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp() * 1e6)
DAY_US = 86_400_000_000


# --- declared limits ---------------------------------------------------------------------------------------------


def test_a_clock_set_back_an_hour_locks_no_app_out():
    limits = AppLimits("a", Limits(rpm=10))
    for _ in range(10):
        limits.admit(1_000_000.0, 0)
    back = 1_000_000.0 - 3600
    for _ in range(10):
        limits.admit(back, 0)  # a minute of another time
    with pytest.raises(RateLimited) as caught:
        limits.admit(back + 1, 0)
    assert caught.value.retry_after_s is not None
    assert 1 <= caught.value.retry_after_s <= 60
    limits.admit(back + 1 + caught.value.retry_after_s, 0)


def test_a_clock_set_back_a_few_seconds_gives_no_second_allowance():
    limits = AppLimits("a", Limits(rpm=10))
    for _ in range(10):
        limits.admit(1_000_000.0, 0)
    with pytest.raises(RateLimited):
        limits.admit(1_000_000.0 - 5, 0)


def test_tokens_given_back_late_are_not_given_twice():
    limits = AppLimits("a", Limits(tpm=10_000))
    limits.admit(1000.0, 9_000)
    limits.release(1055.0, 9_000, 100, 1000.0)  # a minute after its admission the 9,000 have left the window anyway
    for _ in range(10):
        limits.admit(1061.0, 1_000)
        limits.release(1061.0, 1_000, 1_000, 1061.0)
    with pytest.raises(RateLimited, match="tpm"):
        limits.admit(1061.0, 1_000)


def test_a_token_limit_declared_in_flight_never_counts_below_nothing():
    limits = AppLimits("a", Limits())
    limits.admit(1000.0, 5_000)
    limits.update(Limits(tpm=1000))
    limits.release(1001.0, 5_000, 100, 1000.0)
    assert limits.tokens.total >= 0


# --- the hard budget ---------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_a_day_ahead_and_back_spends_the_day_once():
    budget = Budget("a", Limits(nano_usd_per_day=10**9))

    def reserve(at_us: int) -> Reservation:
        return budget.reserve(budget.open(f"t{at_us}", at_us, "", "wl-1", ""), PRICE, "m", 10, 60_000, 1, 64)

    reserve(NOON_US).settle(900_000_000)
    budget.roll(NOON_US + DAY_US)
    clamped = reserve(NOON_US + 1)
    assert clamped.amount <= 100_000_000
    clamped.settle(clamped.amount)
    with pytest.raises(BudgetExceeded):
        reserve(NOON_US + 2)


# --- providers ---------------------------------------------------------------------------------------------------


def said(index: int, finish: str | None) -> bytes:
    choice = {"index": index, "delta": {"content": "a"}, "finish_reason": finish}
    return b"data: " + msgspec.json.encode({"choices": [choice]}) + b"\n\n"


def test_one_of_two_choices_is_not_the_whole_answer():
    reader = OpenAIStream(forward_usage=True, choices=2)
    reader.feed(said(0, "stop"))
    assert not reader.finished
    reader.feed(said(1, None))
    assert not reader.finished
    reader.feed(said(1, "stop"))
    assert reader.finished


def test_our_own_full_pool_is_not_the_providers_failure():
    assert fault_of(PoolBusy("all 512 connections stayed busy")).kind == "busy"


# --- records -----------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "w.db")
    yield store
    store.close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool.open(tmp_path / "spool", "b1", 0)
    yield spool
    spool.close()


def row(number: int) -> SpooledRow:
    return SpooledRow(
        id=f"{number:024x}", app="a", env="production", purpose="live", release="r", route="main", provider="s",
        model="m", key="k", session="", subject="", tags="", stream=False, started_us=1000 + number,
        first_token_us=None, duration_us=5, outcome="open", status=0, code="", attempts=1, usage=Usage(),
        cost_nano_usd=0, reserved_nano_usd=40, price_version="", boot="b1",
    )  # fmt: skip


def test_a_record_that_no_database_takes_is_counted_as_lost_and_stops_no_other(tmp_path, store, spool):
    told: list[str] = []
    drainer = Drainer(store, tmp_path / "spool", "b1", spool=spool, on_error=told.append)
    for number in range(5):
        spool.admit(encode_record(AdmittedRecord(row(number), [])), b"question")
        tokens = 10**30 if number == 2 else 7
        done = msgspec.structs.replace(row(number), outcome="answered", usage=Usage(input=tokens))
        spool.outcome(encode_record(OutcomeRecord(done, [Ended(9, "answered")], "text")), b"answer")
    drainer.drain_all()
    books = drainer.accounting()
    assert (books.stored, books.lost, books.waiting, books.balanced) == (9, 1, 0, True)
    assert any("cannot be stored" in line for line in told)
