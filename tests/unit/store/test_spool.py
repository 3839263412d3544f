"""The spool: one write a record, nothing acknowledged is lost, refusals are honest."""

import os
import resource
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.store import spool as spool_module
from waterline.store.spool import HEADER_BYTES, SegmentReader, Spool, SpoolUnavailable, seed_of, segments


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool.open(tmp_path / "spool", "b1", 0)
    yield spool
    spool.close()


def only(spool: Spool) -> Path:
    (segment,) = segments(spool.folder)
    return segment.path


def read(path: Path, offset: int = 0, *, final: bool = False) -> tuple[list[tuple[bytes, bytes]], SegmentReader]:
    reader = SegmentReader(path, offset, final=final)
    return [(r.head, r.body) for r in reader.records()], reader


# --- writing ---------------------------------------------------------------------------------------------------------


def test_what_was_appended_can_be_read_at_once(spool: Spool) -> None:
    spool.admit(b"head", b"body")
    spool.outcome(b"other", b"")
    records, reader = read(only(spool))
    assert records == [(b"head", b"body"), (b"other", b"")]
    assert reader.offset == only(spool).stat().st_size
    spool.outcome(b"later", b"x" * 3_000_000)
    assert read(only(spool), reader.offset)[0] == [(b"later", b"x" * 3_000_000)]


def test_a_record_is_one_write(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    real = os.write

    def counted(fd: int, data: bytes) -> int:
        writes.append(len(data))
        return real(fd, data)

    monkeypatch.setattr(spool_module.os, "write", counted)
    spool.admit(b"head", b"body")
    spool.outcome(b"head", b"x" * 1_000_000)
    assert writes == [HEADER_BYTES + 8, HEADER_BYTES + 1_000_004]


@pytest.mark.parametrize("taken", [0, 1, HEADER_BYTES, HEADER_BYTES + 5])
def test_a_short_write_is_undone_and_refused(spool: Spool, monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
    real = os.write
    spool.outcome(b"before", b"")
    size = only(spool).stat().st_size
    with monkeypatch.context() as patch:
        patch.setattr(spool_module.os, "write", lambda fd, data: real(fd, data[:taken]) if taken else 0)
        with pytest.raises(SpoolUnavailable, match=f"took {taken} of"):
            spool.outcome(b"refused", b"refused")
    assert only(spool).stat().st_size == size
    spool.outcome(b"after", b"")
    assert read(only(spool))[0] == [(b"before", b""), (b"after", b"")]
    assert (spool.stats.emitted, spool.stats.accepted, spool.stats.rejected) == (3, 2, 1)


def test_a_short_write_that_cannot_be_undone_costs_no_later_record(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    spool.outcome(b"before", b"")

    def refuse(fd: int, size: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(spool_module.os, "write", lambda fd, data: real(fd, data[:30]))
        patch.setattr(spool_module.os, "ftruncate", refuse)
        with pytest.raises(SpoolUnavailable):
            spool.outcome(b"refused", b"")
    spool.outcome(b"after", b"")
    first, second = segments(spool.folder)
    assert read(first.path, final=True)[0] == [(b"before", b"")]
    assert read(second.path)[0] == [(b"after", b"")]


def test_a_reader_is_not_fooled_by_a_write_that_was_undone_under_it(spool: Spool) -> None:
    """It may have seen half a record that was then cut off and overwritten by another one."""
    spool.outcome(b"a", b"")
    path = only(spool)
    whole = path.read_bytes()
    reader = SegmentReader(path)
    stream = reader.records()
    with path.open("ab") as file:
        file.write(whole[:20])
    assert next(stream).head == b"a"
    os.truncate(path, len(whole))
    spool.outcome(b"b", b"")
    assert [r.head for r in stream] == [b"b"]
    assert reader.damaged == 0


def test_segments_rotate_and_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 200)
    spool = Spool.open(tmp_path, "b1", 0)
    for n in range(20):
        spool.outcome(b"%d" % n, b"x" * 50)
    spool.close()
    found = segments(tmp_path)
    assert len(found) > 4
    heads = [head for segment in found for head, _ in read(segment.path, final=True)[0]]
    assert heads == [b"%d" % n for n in range(20)]


def test_several_threads_may_write(spool: Spool) -> None:
    def write(name: int) -> None:
        for n in range(200):
            spool.outcome(b"%d-%d" % (name, n), b"x" * n)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = list(SegmentReader(only(spool)).records())
    assert [r.number for r in records] == list(range(1, 801))
    assert len({r.head for r in records}) == 800


def test_everything_is_synced_within_a_moment_without_anyone_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = threading.Event()
    real = os.fdatasync

    def seen(fd: int) -> None:
        real(fd)
        if os.fstat(fd).st_size == 200 + HEADER_BYTES:
            synced.set()

    monkeypatch.setattr(spool_module.os, "fdatasync", seen)
    spool = Spool.open(tmp_path, "b1", 0)
    spool.outcome(b"", b"x" * 200)
    assert synced.wait(30)
    spool.close()


def test_a_failing_sync_is_told_and_writing_goes_on_in_a_fresh_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()

    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    spool = Spool.open(tmp_path, "b1", 0, on_error=lambda message: told.set())
    with monkeypatch.context() as patch:
        patch.setattr(spool_module.os, "fdatasync", fail)
        spool.outcome(b"a", b"")
        assert told.wait(30)
    spool.outcome(b"b", b"")
    assert spool.stats.sync_failures >= 1
    assert len(segments(tmp_path)) == 2
    spool.close()


def test_nothing_can_be_appended_after_close(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, "b1", 0)
    spool.close()
    spool.close()
    with pytest.raises(SpoolUnavailable, match="closed"):
        spool.outcome(b"a", b"")


# --- refusals --------------------------------------------------------------------------------------------------------


def test_below_the_reserve_admissions_are_refused_and_outcomes_are_kept(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, "b1", 2**62)
    with pytest.raises(SpoolUnavailable, match=r"MiB left of the .* kept free \(min_free_mb\)"):
        spool.admit(b"a", b"")
    spool.outcome(b"o", b"")
    assert (spool.stats.emitted, spool.stats.rejected) == (2, 1)
    assert [head for head, _ in read(only(spool))[0]] == [b"o"]
    spool.close()


def test_free_space_is_looked_at_once_a_second_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, looks = [100.0], [0]
    real = os.statvfs

    def counted(path: Path) -> os.statvfs_result:
        looks[0] += 1
        return real(path)

    monkeypatch.setattr(spool_module.os, "statvfs", counted)
    spool = Spool.open(tmp_path, "b1", 1, clock=lambda: now[0])
    for _ in range(50):
        spool.admit(b"a", b"")
    assert looks[0] == 1
    now[0] += 1.0
    spool.admit(b"a", b"")
    assert looks[0] == 2
    spool.close()


def test_a_folder_that_cannot_be_written_is_named_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolUnavailable, match=r"file/spool cannot be written .*--data"):
        Spool.open(tmp_path / "file" / "spool", "b1", 0)


def test_a_boot_is_used_once(spool: Spool) -> None:
    with pytest.raises(ValueError, match="used"):
        Spool.open(spool.folder, "b1", 0)
    with pytest.raises(ValueError, match="no name for a boot"):
        Spool.open(spool.folder, "../b", 0)


FILL = """
import resource, sys
from pathlib import Path
from waterline.store.spool import Spool, SpoolUnavailable
spool = Spool.open(Path(sys.argv[1]), "b1", 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
accepted = refused = 0
for n in range(200):
    try:
        spool.outcome(b"%d" % n, b"x" * 1000)
        accepted += 1
    except SpoolUnavailable as error:
        refused += 1
        assert sys.argv[1] in str(error), error
stats = spool.stats
assert (stats.accepted, stats.rejected, stats.emitted) == (accepted, refused, 200), stats
assert refused > 50, refused
print(accepted)
"""


def test_a_full_disk_refuses_and_keeps_every_accepted_record(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FILL, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    records = [r for segment in segments(tmp_path) for r in SegmentReader(segment.path, final=True).records()]
    assert [r.head for r in records] == [b"%d" % n for n in range(int(done.stdout))]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


# --- reading what is damaged -----------------------------------------------------------------------------------------


def written(folder: Path, count: int, *, body: bytes = b"body") -> Path:
    spool = Spool.open(folder, "b1", 0)
    for n in range(1, count + 1):
        spool.outcome(b"head %d" % n, body)
    spool.close()
    return only(spool)


def test_a_write_that_was_cut_off_is_awaited_while_the_writer_lives_and_skipped_afterwards(tmp_path: Path) -> None:
    path = written(tmp_path, 3)
    whole = path.read_bytes()
    size = len(whole) // 3
    for cut in range(size * 2, size * 3):
        path.write_bytes(whole[:cut])
        live, reader = read(path)
        assert len(live) == 2
        assert (reader.offset, reader.damaged) == (size * 2, 0)
        left, reader = read(path, final=True)
        assert len(left) == 2
        assert (reader.offset, reader.damaged) == (cut, 0)


@pytest.fixture(scope="module")
def three_records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = written(tmp_path_factory.mktemp("spool"), 3)
    return path, path.read_bytes()


def test_any_damaged_byte_costs_at_most_its_own_record(three_records: tuple[Path, bytes]) -> None:
    path, whole = three_records
    size = len(whole) // 3
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 0xFF
        path.write_bytes(data)
        reader = SegmentReader(path, final=True)
        numbers = [r.number for r in reader.records()]
        assert numbers == [n for n in (1, 2, 3) if n != at // size + 1], at
        assert reader.offset == len(whole)
        assert reader.damaged == 1 or at >= size * 2


@given(st.data())
def test_no_garbage_makes_the_reader_fail_or_invent(three_records: tuple[Path, bytes], data: st.DataObject) -> None:
    path, whole = three_records
    mixed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mixed)))
        mixed[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    path.write_bytes(mixed)
    for final in (False, True):
        reader = SegmentReader(path, final=final)
        heads = [r.head for r in reader.records()]
        assert set(heads) <= {b"head 1", b"head 2", b"head 3"}
        assert reader.offset == len(mixed) or not final


def test_a_record_inside_a_callers_body_is_never_taken_for_a_record(tmp_path: Path) -> None:
    """Not even when the record around it is damaged: its checksum would have to know the file's random name."""
    other = written(tmp_path / "other", 1)
    evil = other.read_bytes()
    path = written(tmp_path / "mine", 2, body=b"x" * 50 + evil + b"x" * 50)
    whole = bytearray(path.read_bytes())
    whole[2] ^= 0xFF
    path.write_bytes(whole)
    records, _ = read(path, final=True)
    assert [head for head, _ in records] == [b"head 2"]
    assert seed_of(path.name) != seed_of(other.name)
    assert zlib.crc32(path.name.encode()) == seed_of(path.name)
