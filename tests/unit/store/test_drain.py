"""The drainer: every acknowledged outcome exactly once, whatever dies and whenever; and the books balance."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waterline.core.money import Usage
from waterline.core.trace import Admitted, AdmittedRecord, Ended, OutcomeRecord, Received, SpooledRow, encode_record
from waterline.store import spool as spool_module
from waterline.store import traces
from waterline.store.db import Store
from waterline.store.drain import Drainer, Recovered
from waterline.store.spool import SegmentReader, Spool, SpoolUnavailable, segments
from waterline.store.traces import TraceFilter


def row(trace_id: str, boot: str = "b1") -> SpooledRow:
    return SpooledRow(
        id=trace_id, app="school", env="production", purpose="live", release="r1", route="main", provider="openai",
        model="m", key="wl-1", session="s1", subject="", tags="", stream=False, started_us=1000, first_token_us=None,
        duration_us=0, outcome="open", status=0, code="", attempts=0, usage=Usage(), cost_nano_usd=0,
        reserved_nano_usd=40, price_version="", boot=boot,
    )  # fmt: skip


def admitted(trace_id: str, boot: str = "b1") -> bytes:
    return encode_record(AdmittedRecord(row(trace_id, boot), [Received(0, "/v1", 3), Admitted(1, "main")]))


def outcome(trace_id: str, boot: str = "b1", text: str = "some text") -> bytes:
    done = msgspec.structs.replace(row(trace_id, boot), outcome="answered", duration_us=9, cost_nano_usd=7)
    return encode_record(OutcomeRecord(done, [Received(0, "/v1", 3), Ended(9, "answered")], text))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "waterline.db")
    yield store
    store.close()


@pytest.fixture
def spool(folder: Path) -> Iterator[Spool]:
    spool = Spool.open(folder, "b1", 0)
    yield spool
    spool.close()


def outcomes(store: Store) -> dict[str, str]:
    found = store.read_sync(lambda tx: traces.page(tx, TraceFilter(), limit=1000))
    assert len({r.id for r in found.rows}) == len(found.rows)
    return {r.id: r.outcome for r in found.rows}


# --- the way of a trace ----------------------------------------------------------------------------------------------


def test_a_pair_becomes_one_answered_trace_with_both_bodies_and_its_text(
    store: Store, folder: Path, spool: Spool
) -> None:
    drainer = Drainer(store, folder, "b1", spool=spool)
    spool.admit(admitted("t1"), b"request")
    spool.outcome(outcome("t1", text="Matrícula aberta"), b"answer")
    assert drainer.drain_once() == 2
    assert drainer.drain_once() == 0
    found = store.read_sync(lambda tx: traces.get(tx, "t1"))
    assert found is not None
    assert found[0].outcome == "answered"
    assert found[1] == [Received(0, "/v1", 3), Ended(9, "answered")]
    assert store.read_sync(lambda tx: traces.body(tx, "t1", "request")) == b"request"
    assert store.read_sync(lambda tx: traces.body(tx, "t1", "answer")) == b"answer"
    assert store.read_sync(lambda tx: traces.count(tx, TraceFilter(text="matricula"))) == 1


@pytest.mark.parametrize("batch", [1, 100])
def test_an_open_trace_is_replaced_by_its_outcome_and_never_the_reverse(
    store: Store, folder: Path, spool: Spool, batch: int
) -> None:
    drainer = Drainer(store, folder, "b1", spool=spool)
    spool.admit(admitted("t1"), b"")
    drainer.drain_once()
    assert outcomes(store) == {"t1": "open"}
    spool.outcome(outcome("t1"), b"")
    spool.outcome(outcome("t2"), b"")
    spool.admit(admitted("t2"), b"")
    while drainer.drain_once(batch):
        pass
    assert outcomes(store) == {"t1": "answered", "t2": "answered"}


def test_what_waits_for_a_slow_database_waits_on_the_disk_and_is_read_in_bounded_parts(
    store: Store, folder: Path, spool: Spool
) -> None:
    drainer = Drainer(store, folder, "b1", spool=spool)
    for n in range(12):
        spool.outcome(outcome(f"t{n}"), os.urandom(3 << 20))
    tracemalloc.start()
    moved = [drainer.drain_once() for _ in range(5)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert moved == [3, 3, 3, 3, 0]
    assert peak < 30 << 20, "of 36 MB that wait, not all are in memory"


def test_finished_segments_are_deleted_and_the_one_being_written_stays(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 2000)
    spool = Spool.open(folder, "b1", 0)
    for n in range(20):
        spool.outcome(outcome(f"t{n}"), b"")
    assert len(segments(folder)) > 3
    drainer = Drainer(store, folder, "b1", spool=spool)
    assert drainer.drain_all() == 20
    drainer.drain_once()
    (left,) = segments(folder)
    spool.outcome(outcome("last"), b"")
    assert drainer.drain_all() == 1
    assert len(outcomes(store)) == 21
    spool.close()
    after = Drainer(store, folder, "b2")
    assert after.recover() == Recovered(0, 0)
    assert not left.path.exists()
    assert len(store.read_sync(lambda tx: tx.all("drain.offsets"))) <= 1


def test_a_start_stores_what_was_left_and_marks_the_rest_interrupted(store: Store, folder: Path) -> None:
    first = Spool.open(folder, "b1", 0)
    first.admit(admitted("done"), b"")
    first.admit(admitted("cut"), b"")
    first.outcome(outcome("done"), b"")
    first.close()
    second = Spool.open(folder, "b2", 0)
    second.admit(admitted("mine", "b2"), b"")
    drainer = Drainer(store, folder, "b2", spool=second)
    assert drainer.recover() == Recovered(records=3, interrupted=1)
    assert outcomes(store) == {"done": "answered", "cut": "interrupted"}
    found = store.read_sync(lambda tx: traces.get(tx, "cut"))
    assert found is not None
    assert found[0].cost_nano_usd == 40
    drainer.drain_all()
    assert outcomes(store)["mine"] == "open"
    assert drainer.recover() == Recovered(0, 0)
    second.close()


# --- accounting ------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), acts=st.lists(st.sampled_from("aorRdx"), max_size=40))
def test_emitted_is_stored_plus_rejected_plus_waiting_under_random_rejects(seed: int, acts: str) -> None:
    """a: admit, o: outcome, r: the disk refuses, R: no room, d: drain, x: a new process."""
    rnd = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        folder, boot = Path(place) / "spool", 1
        store = Store.open(Path(place) / "waterline.db")
        spool = Spool.open(folder, "b1", 0)
        drainer = Drainer(store, folder, "b1", spool=spool)
        emitted = accepted = rejected = 0
        for n, act in enumerate(acts):
            if act in "ao":
                (spool.admit if act == "a" else spool.outcome)(
                    (admitted if act == "a" else outcome)(f"t{n}", spool.boot), b"x" * rnd.randrange(50)
                )
                emitted, accepted = emitted + 1, accepted + 1
            elif act in "rR":
                emitted, rejected = emitted + 1, rejected + 1
                real, part = os.write, rnd.randrange(30)
                with pytest.MonkeyPatch.context() as patch:
                    if act == "R":
                        patch.setattr(spool, "min_free_bytes", 2**62)
                        patch.setattr(spool, "_free_checked", -1e9)
                    else:
                        patch.setattr(spool_module.os, "write", lambda fd, data, k=part, w=real: w(fd, data[:k]))
                    with pytest.raises(SpoolUnavailable):
                        spool.admit(admitted(f"t{n}", spool.boot), b"")
            elif act == "d":
                drainer.drain_once(rnd.randrange(1, 6))
            else:
                drainer.drain_all()  # notes the rejected ones; after a kill -9 those since the last drain are not known
                spool.close()
                boot += 1
                spool = Spool.open(folder, f"b{boot}", 0)
                drainer = Drainer(store, folder, f"b{boot}", spool=spool)
                drainer.recover()
            books = drainer.accounting()
            waiting = waiting_in_files(store, folder)
            assert (books.emitted, books.rejected, books.lost) == (emitted, rejected, 0), acts
            assert (books.stored, books.waiting) == (accepted - waiting, waiting)
            assert books.balanced
        drainer.drain_all()
        spool.close()
        store.close()
        again = Store.open(Path(place) / "waterline.db")
        books = Drainer(again, folder, "later").accounting()
        again.close()
        assert (books.emitted, books.stored, books.rejected, books.waiting) == (emitted, accepted, rejected, 0)


def waiting_in_files(store: Store, folder: Path) -> int:
    offsets = {r["segment"]: r["bytes"] for r in store.read_sync(lambda tx: tx.all("drain.offsets"))}
    return sum(
        1 for s in segments(folder) for _ in SegmentReader(s.path, offsets.get(s.path.name, 0), final=True).records()
    )


@pytest.mark.parametrize("victim", [1, 3, 5])
def test_a_damaged_record_is_counted_as_lost_and_its_segment_kept_aside(
    tmp_path: Path, folder: Path, victim: int
) -> None:
    told: list[str] = []
    spool = Spool.open(folder, "b1", 0)
    for n in range(1, 6):
        spool.outcome(outcome(f"t{n}"), b"body")
    spool.close()
    (segment,) = segments(folder)
    data = bytearray(segment.path.read_bytes())
    data[len(data) // 5 * (victim - 1) + 60] ^= 0xFF
    segment.path.write_bytes(data)
    store = Store.open(tmp_path / "waterline.db", on_error=told.append)
    drainer = Drainer(store, folder, "b2")
    assert drainer.recover().records == 4
    books = drainer.accounting()
    assert (books.emitted, books.stored, books.lost, books.waiting) == (5, 4, 1, 0)
    assert books.balanced
    assert segment.path.with_suffix(".damaged").read_bytes() == bytes(data)
    assert any("1 traces cannot be read" in message for message in told)
    store.close()


def test_a_record_that_this_version_cannot_read_does_not_stop_the_others(
    store: Store, folder: Path, spool: Spool
) -> None:
    spool.outcome(b'{"type":"from the future"}', b"")
    spool.outcome(b"\xff not JSON", b"")
    spool.outcome(outcome("t1"), b"")
    drainer = Drainer(store, folder, "b1", spool=spool, on_error=lambda _: None)
    drainer.drain_all()
    books = drainer.accounting()
    assert (books.stored, books.lost, books.balanced) == (1, 2, True)
    assert outcomes(store) == {"t1": "answered"}


# --- crashes ---------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(
    script=st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=25),
    cut=st.floats(0, 1),
    drained=st.integers(0, 20),
    batch=st.integers(1, 7),
)
def test_a_kill_at_any_byte_keeps_every_acknowledged_outcome_exactly_once(
    script: list[tuple[int, bool]], cut: float, drained: int, batch: int
) -> None:
    """A kill in the middle of a write leaves the file cut off at any byte; records before it were acknowledged."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "spool"
        store = Store.open(Path(place) / "waterline.db")
        spool = Spool.open(folder, "b1", 0)
        ends: list[tuple[int, str, bool]] = []
        (segment,) = segments(folder)
        for name, ended in script:
            (spool.outcome if ended else spool.admit)((outcome if ended else admitted)(f"t{name}"), b"body")
            ends.append((segment.path.stat().st_size, f"t{name}", ended))
        spool.close()
        drainer = Drainer(store, folder, "b1")
        drainer.drain_once(max(1, drained))
        seen = store.read_sync(lambda tx: tx.all("drain.offsets"))
        safe = seen[0]["bytes"] if seen else 0
        size = ends[-1][0] if ends else 0
        kept = safe + int((size - safe) * cut)  # what the drainer has seen was there
        os.truncate(segment.path, kept)

        after = Drainer(store, folder, "b2")
        while after.drain_once(batch):
            pass
        after.recover()
        acknowledged = [(name, ended) for end, name, ended in ends if end <= kept]
        expected = {name: "interrupted" for name, _ in acknowledged}
        expected |= {name: "answered" for name, ended in acknowledged if ended}
        assert outcomes(store) == expected
        assert Drainer(store, folder, "b3").recover() == Recovered(0, 0)
        assert outcomes(store) == expected
        books = after.accounting()
        assert (books.emitted, books.stored, books.lost) == (len(acknowledged), len(acknowledged), 0)
        store.close()


def test_a_spool_that_is_read_a_second_time_changes_nothing(store: Store, folder: Path) -> None:
    """As after a restore of an older spool folder: the offsets are forgotten, the records come again."""
    spool = Spool.open(folder, "b1", 0)
    for n in range(5):
        spool.admit(admitted(f"t{n}"), b"q")
        spool.outcome(outcome(f"t{n}"), b"a")
    Drainer(store, folder, "b1").drain_all()
    spool.close()
    before = store.read_sync(lambda tx: (traces.get(tx, "t3"), tx.all("traces.count", text='"some"')))
    store.write_sync(lambda tx: [tx.run("drain.forget_offset", segment=s.path.name) for s in segments(folder)])
    assert Drainer(store, folder, "b2").recover().records == 10
    assert store.read_sync(lambda tx: (traces.get(tx, "t3"), tx.all("traces.count", text='"some"'))) == before
    assert set(outcomes(store).values()) == {"answered"}


WRITER = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
import test_drain
from waterline.store.spool import Spool
import waterline.store.spool as module
module.SEGMENT_BYTES = 200_000
boot = sys.argv[2]
spool = Spool.open(Path(sys.argv[1]), boot, 0)
n = 0
while True:
    n += 1
    trace = f"{boot}-{n}"
    spool.admit(test_drain.admitted(trace, boot), b"request " * 100)
    sys.stdout.write(f"a {trace}\\n"); sys.stdout.flush()
    spool.outcome(test_drain.outcome(trace, boot), b"answer " * 50)
    sys.stdout.write(f"o {trace}\\n"); sys.stdout.flush()
"""


def test_kill_9_while_another_process_drains_loses_no_acknowledged_record(tmp_path: Path, folder: Path) -> None:
    """The writer says what it was told is safe; all of that must be there, once, after it is killed."""
    store = Store.open(tmp_path / "waterline.db")
    for attempt in range(3):
        boot = f"w{attempt}"
        said = tmp_path / f"{boot}.txt"
        with said.open("wb") as out:
            command = [sys.executable, "-c", WRITER, str(folder), boot, str(Path(__file__).parent)]
            writer = subprocess.Popen(command, stdout=out)
        drainer = Drainer(store, folder, boot)  # as if in the writer's process: it may not finish its last segment
        deadline = time.monotonic() + 60
        while said.stat().st_size < 20_000 and time.monotonic() < deadline:
            drainer.drain_once(50)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        lines = [line.split() for line in said.read_text().splitlines(keepends=True) if line.endswith("\n")]
        assert len(lines) > 100
        after = Drainer(store, folder, f"after{attempt}")
        after.recover()
        states = {}
        for act, trace in lines:
            found = store.read_sync(lambda tx, t=trace: traces.get(tx, t))  # type: ignore[misc]
            assert found is not None, trace
            states[trace] = found[0].outcome
            if act == "o":
                assert found[0].outcome == "answered"
        assert segments(folder) == []
        books = after.accounting()
        assert books.balanced
        assert books.lost == 0
        left_open = store.read_sync(lambda tx: traces.page(tx, TraceFilter(outcome="open"), limit=1000)).rows
        assert [row.id for row in left_open if row.boot != boot] == []
    integrity = store.read_sync(lambda tx: tx._connection.execute("PRAGMA integrity_check").fetchall())
    assert integrity == [("ok",)]
    store.close()


FULL = """
import os, resource, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import test_drain
from waterline.store.db import Store, StoreUnavailable
from waterline.store.drain import Drainer
from waterline.store.spool import Spool
place = Path(sys.argv[1])
store = Store.open(place / "waterline.db")
spool = Spool.open(place / "spool", "b1", 0)
drainer = Drainer(store, place / "spool", "b1", spool=spool)
for n in range(300):
    spool.outcome(test_drain.outcome(f"t{n}"), os.urandom(5000))
resource.setrlimit(resource.RLIMIT_FSIZE, (900_000, resource.RLIM_INFINITY))
try:
    drainer.drain_all()
    sys.exit("the disk was not full")
except StoreUnavailable as error:
    print(error)
assert drainer.accounting().balanced
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
drainer.drain_all()
assert drainer.accounting().stored == 300
assert len(test_drain.outcomes(store)) == 300
"""


def test_a_database_on_a_full_disk_takes_everything_once_there_is_room(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(Path(__file__).parent)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "waterline.db" in done.stdout
