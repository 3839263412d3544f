"""What happens between requests: the spool is drained by itself, and a database in trouble loses nothing."""

import sqlite3
import time
from pathlib import Path

import msgspec
import pytest

from waterline.core.money import Usage
from waterline.core.trace import Ended, OutcomeRecord, SpooledRow, encode_record
from waterline.store import traces
from waterline.store.db import Store
from waterline.store.drain import Drainer
from waterline.store.spool import Spool
from waterline.worker import Worker

ROW = SpooledRow(
    "", "school", "production", "live", "r", "main", "openai", "m", "wl-1", "", "", "", False, 1, None, 5, "answered",
    200, "", 1, Usage(), 0, 0, "", "b1",
)  # fmt: skip


def outcome(trace_id: str) -> bytes:
    return encode_record(OutcomeRecord(msgspec.structs.replace(ROW, id=trace_id), [Ended(5, "answered")], ""))


def stored(store: Store) -> int:
    return store.read_sync(lambda tx: traces.count(tx, traces.TraceFilter()))


def wait_for(check, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def spool(tmp_path: Path):
    made = Spool.open(tmp_path / "spool", "b1", 0)
    yield made
    made.close()


def test_traces_are_stored_within_a_moment_and_a_stop_leaves_nothing_behind(tmp_path: Path, spool: Spool) -> None:
    store = Store.open(tmp_path / "waterline.db")
    worker = Worker(Drainer(store, tmp_path / "spool", "b1", spool=spool), lambda: False)
    worker.start()
    spool.outcome(outcome("t1"), b"")
    assert wait_for(lambda: stored(store) == 1, 30.0)
    for n in range(500):
        spool.outcome(outcome(f"x{n}"), b"")
    worker.stop()
    assert stored(store) == 501
    store.close()


def test_a_locked_database_loses_nothing_and_says_what_is_wrong(
    tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waterline.store.db.BUSY_S", 0.01)
    store = Store.open(tmp_path / "waterline.db")
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    worker = Worker(Drainer(store, tmp_path / "spool", "b1", spool=spool), lambda: False)
    worker.start()
    spool.outcome(outcome("t1"), b"")
    assert wait_for(lambda: worker.trouble != "", 30.0)
    other.execute("ROLLBACK")
    other.close()
    assert wait_for(lambda: stored(store) == 1 and worker.trouble == "", 30.0)
    worker.stop()
    store.close()


def test_the_last_attempt_says_what_an_interrupted_request_is_billed(tmp_path: Path) -> None:
    from waterline.core.trace import AdmittedRecord

    store = Store.open(tmp_path / "waterline.db")
    spool = Spool.open(tmp_path / "spool", "b1", 0)
    for attempts, reserved in ((1, 100), (2, 250), (3, 180)):  # what was spent until then, and what it holds
        row = msgspec.structs.replace(
            ROW, id="t", outcome="open", attempts=attempts, reserved_nano_usd=reserved, price_version="p"
        )
        spool.admit(encode_record(AdmittedRecord(row, [])), b"{}")
    spool.close()
    Drainer(store, tmp_path / "spool", "b2").recover()
    found = store.read_sync(lambda tx: traces.get(tx, "t"))
    assert found is not None
    assert (found[0].outcome, found[0].cost_nano_usd) == ("interrupted", 180)
    store.close()


def test_a_trace_that_no_database_takes_is_counted_as_lost_and_stops_nothing(tmp_path: Path, spool: Spool) -> None:
    store = Store.open(tmp_path / "waterline.db")
    drainer = Drainer(store, tmp_path / "spool", "b1", spool=spool)
    spool.outcome(outcome("before"), b"")
    poison = OutcomeRecord(msgspec.structs.replace(ROW, id="poison", attempts=2**70), [Ended(5, "answered")], "")
    spool.outcome(encode_record(poison), b"")
    spool.outcome(outcome("after"), b"")
    drainer.drain_all()
    assert stored(store) == 2
    account = drainer.accounting()
    assert (account.stored, account.lost, account.waiting) == (2, 1, 0)
    assert account.balanced
    store.close()
