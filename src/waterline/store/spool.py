"""Spool: where a trace goes first. Append-only segment files, one `write(2)` a record.

A record is in the kernel's page cache when `admit` or `outcome` returns, so a `kill -9` of this process loses
nothing. A thread calls fdatasync every 100 ms, so a power cut loses at most what came in the last 100 ms. The drainer
(drain.py) moves records to the database and deletes segments that are done.

    segment   <dir>/<boot>-<number>-<salt>.spool
    record    magic "WLS", version, head length, body length, number, rejected so far, CRC-32 of these;
              CRC-32 of everything, seeded with the file's name; head; body

`number` counts the accepted records of a boot from 1, so a lost one leaves a gap that can be counted. `rejected`
carries the count of refused ones through a crash. The seed, of which the salt is random, makes sure that bytes inside
a caller's body can never pass for a record, whatever the caller knows.
"""

import os
import re
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

from msgspec import Struct

from waterline.core.errors import WaterlineError

SEGMENT_BYTES = 64 * 1024 * 1024
SYNC_S = 0.1
FREE_CHECK_S = 1.0
LARGEST_RECORD = 512 * 1024 * 1024  # bytes; a length above it is damage

VERSION = 1
MAGIC = b"WLS" + bytes([VERSION])
_FIELDS = struct.Struct("<4sIIQQ")  # magic and version, head length, body length, number, rejected
_CRCS = struct.Struct("<II")  # of the fields; of fields, head and body, seeded
_HEADER = struct.Struct("<4sIIQQII")  # both
HEADER_BYTES = _HEADER.size
_SEGMENT = re.compile(r"(?P<boot>[A-Za-z0-9_]+)-(?P<number>\d{8})-[0-9a-f]{8}\.spool")
_CHUNK = 1024 * 1024


class SpoolUnavailable(WaterlineError):
    """A trace cannot be written now: no room, or the folder cannot be written. Nothing of it was kept."""


class SpoolStats(Struct, frozen=True):
    """emitted = accepted + rejected. `free_bytes` is -1 until it was looked at."""

    emitted: int
    accepted: int
    rejected: int
    free_bytes: int
    sync_failures: int


class Segment(Struct, frozen=True):
    path: Path
    boot: str
    number: int


class SpoolRecord(Struct, frozen=True, gc=False):
    """One record as read. `number` and `rejected` as in the header; `end` is the offset after it."""

    end: int
    number: int
    rejected: int
    head: bytes
    body: bytes


class Spool:
    """The writing end; one a process. Safe to call from several threads. Make it with `Spool.open`."""

    def __init__(
        self, folder: Path, boot: str, min_free_bytes: int, clock: Callable[[], float], on_error: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.boot = boot
        self.min_free_bytes = min_free_bytes
        self._clock = clock
        self._on_error = on_error
        self._lock = threading.Lock()
        self._accepted = 0
        self._rejected = 0
        self._free = -1
        self._free_checked = -1e9
        self._sync_failures = 0
        self._segment = 0
        self._fd = -1
        self._size = 0
        self._seed = 0
        self._unsynced = False
        self._retired: list[int] = []  # full segments, to be synced and closed
        self._broken = False  # the end of the segment is not what we think; begin another
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_syncing, name="spool-sync", daemon=True)

    @classmethod
    def open(
        cls,
        folder: Path,
        boot: str,
        min_free_bytes: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_error: Callable[[str], None] = lambda _: None,
    ) -> "Spool":
        """`boot` names this run of the process: letters, digits and _ only, new at each start.

        `on_error` is told of a failing sync, from a thread. Raises SpoolUnavailable if nothing can be written there."""
        if not re.fullmatch(r"[A-Za-z0-9_]+", boot):
            raise ValueError(f"{boot!r} is no name for a boot: letters, digits and _ only")
        spool = cls(folder, boot, min_free_bytes, clock, on_error)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if any(s.boot == boot for s in segments(folder)):
                raise ValueError(f"boot {boot!r} has been used in {folder} before")
            spool._next_segment()
        except OSError as failure:
            raise SpoolUnavailable(
                f"the spool folder {folder} cannot be written ({failure.strerror}). Give uid {os.geteuid()} the right "
                "to write there, or choose another data folder with --data"
            ) from failure
        spool._thread.start()
        return spool

    def admit(self, head: bytes, body: bytes) -> None:
        """Append what a request is about to do. Raises SpoolUnavailable, also while the disk has less room than the
        reserve: the reserve is for the outcomes of requests that were admitted before."""
        now = self._clock()
        if now - self._free_checked >= FREE_CHECK_S:
            self._look_at_free_space(now)
        if self._free < self.min_free_bytes:
            with self._lock:
                self._rejected += 1
            raise SpoolUnavailable(
                f"the disk of {self.folder} has {self._free // 2**20} MiB left of the {self.min_free_bytes // 2**20} "
                "MiB kept free (min_free_mb)"
            )
        self._append(head, body)

    def outcome(self, head: bytes, body: bytes) -> None:
        """Append how a request ended. Raises SpoolUnavailable only if the system refuses the write."""
        self._append(head, body)

    @property
    def stats(self) -> SpoolStats:
        with self._lock:
            return SpoolStats(
                emitted=self._accepted + self._rejected,
                accepted=self._accepted,
                rejected=self._rejected,
                free_bytes=self._free,
                sync_failures=self._sync_failures,
            )

    def sync(self) -> None:
        """Everything appended so far is on the disk when this returns. Raises OSError."""
        with self._lock:
            retired, self._retired = self._retired, []
            fd, unsynced = self._fd, self._unsynced
            self._unsynced = False
            if unsynced:
                fd = os.dup(fd)
        try:
            for full in retired:
                os.fdatasync(full)
            if unsynced:
                os.fdatasync(fd)
        finally:
            for full in retired:
                os.close(full)
            if unsynced:
                os.close(fd)

    def close(self) -> None:
        """Syncs and closes. The last segment stays for the drainer."""
        if self._fd < 0:
            return
        self._ended.set()
        self._thread.join()
        self._sync_or_tell()
        with self._lock:
            os.close(self._fd)
            self._fd = -1

    def _append(self, head: bytes, body: bytes) -> None:
        with self._lock:
            try:
                if self._fd < 0:
                    raise OSError(0, "the spool is closed")
                if self._size >= SEGMENT_BYTES or self._broken:
                    self._next_segment()
                fields = _FIELDS.pack(MAGIC, len(head), len(body), self._accepted + 1, self._rejected)
                checks = _CRCS.pack(crc32(fields), crc32(body, crc32(head, crc32(fields, self._seed))))
                record = b"".join((fields, checks, head, body))
                size, written = len(record), os.write(self._fd, record)
            except OSError as failure:
                self._reject()
                raise SpoolUnavailable(f"{self.folder} cannot be written ({failure.strerror})") from failure
            if written != size:
                self._reject()
                raise SpoolUnavailable(f"{self.folder}: the disk took {written} of {size} bytes (full)")
            self._accepted += 1
            self._size += size
            self._unsynced = True

    def next_segment(self) -> None:
        """What was written so far may be moved away and deleted: what comes from now on is in another file."""
        with self._lock:
            if self._fd >= 0 and self._size:
                self._next_segment()

    def _reject(self) -> None:
        """Undo whatever part of the record was written, so that the next one begins where it should."""
        self._rejected += 1
        if self._fd < 0 or self._broken:
            return
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._broken = True  # the reader skips the torn end of a segment that is followed by another

    def _next_segment(self) -> None:
        self._segment += 1
        name = f"{self.boot}-{self._segment:08d}-{os.urandom(4).hex()}.spool"
        fd = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._fd >= 0:
            self._retired.append(self._fd)
        self._fd, self._size, self._seed, self._broken = fd, 0, seed_of(name), False
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._retired.append(folder)  # synced and closed with the others: the name must survive a power cut too

    def _look_at_free_space(self, now: float) -> None:
        self._free_checked = now
        try:
            disk = os.statvfs(self.folder)
        except OSError as failure:
            self._free = 0
            self._on_error(f"{self.folder}: {failure.strerror}")
            return
        self._free = disk.f_bavail * disk.f_frsize

    def _keep_syncing(self) -> None:
        while not self._ended.wait(SYNC_S):
            self._sync_or_tell()

    def _sync_or_tell(self) -> None:
        try:
            self.sync()
        except OSError as failure:
            # The kernel may have dropped the pages: what is lost shows as a gap. Go on in a fresh segment.
            with self._lock:
                self._sync_failures += 1
                self._broken = True
            self._on_error(f"{self.folder}: traces of the last {SYNC_S:g} s may be lost ({failure.strerror})")


# --- reading -----------------------------------------------------------------------------------------------------


def seed_of(name: str) -> int:
    return crc32(name.encode())


def segments(folder: Path) -> list[Segment]:
    """Every segment there is, by boot, in the order of writing."""
    found = []
    if folder.is_dir():
        for path in folder.iterdir():
            if match := _SEGMENT.fullmatch(path.name):
                found.append(Segment(path, match["boot"], int(match["number"])))
    return sorted(found, key=lambda s: (s.boot, s.number))


class SegmentReader:
    """Reads the records of a segment from an offset, and says where it stopped and what it could not read.

    `final`: nothing more will be written (a later segment exists, or the process is gone), so an incomplete record at
    the end is a write that was cut off, never acknowledged, and is skipped. Else reading stops before it, to go on
    later. After a damaged record it goes on at the next one whose checks are right; `damaged` counts the damaged
    places, `damaged_end` says that one of them reaches to the end.
    """

    def __init__(self, path: Path, offset: int = 0, *, final: bool = False) -> None:
        self.path = path
        self.offset = offset  # everything before it is read, or given up
        self.final = final
        self.damaged = 0
        self.damaged_end = False
        self._seed = seed_of(path.name)

    def records(self) -> Iterator[SpoolRecord]:
        """Raises OSError if the file cannot be read. The caller may stop at any record."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield from self._records(fd)
        finally:
            os.close(fd)

    def _records(self, fd: int) -> Iterator[SpoolRecord]:
        chunk, start = b"", self.offset  # chunk holds the file from `start`
        while True:
            at = self.offset - start
            record = self._parse(chunk, at, self.offset)
            if not isinstance(record, SpoolRecord):
                # Not whole in this chunk, or wrong. Look again at the file itself: a write that was undone may have
                # been half in what was read before.
                start, at = self.offset, 0
                chunk = os.pread(fd, _CHUNK, start)
                record = self._parse(chunk, 0, start)
                if isinstance(record, int) and record > len(chunk):
                    chunk = os.pread(fd, record, start)
                    record = self._parse(chunk, 0, start)
            if isinstance(record, SpoolRecord):
                self.offset = record.end
                yield record
                continue
            if isinstance(record, int) and not self.final:
                return
            found = self._resynchronise(fd)  # also after an incomplete one: its length may be a lie
            if isinstance(record, int) and found is None:
                self.offset = os.fstat(fd).st_size
                return
            if found is None:
                if self.final:
                    self.damaged += 1
                    self.damaged_end = True
                    self.offset = os.fstat(fd).st_size
                return
            self.damaged += 1
            self.offset = found

    def _parse(self, chunk: bytes, at: int, offset: int) -> SpoolRecord | int | None:
        """The record at `at`; the bytes that it needs, if there are too few; None if it is damaged."""
        have = len(chunk) - at
        if have < HEADER_BYTES:
            return HEADER_BYTES
        magic, head_bytes, body_bytes, number, rejected, fields_crc, all_crc = _HEADER.unpack_from(chunk, at)
        fields = chunk[at : at + _FIELDS.size]
        total = HEADER_BYTES + head_bytes + body_bytes
        if magic != MAGIC or crc32(fields) != fields_crc or total > LARGEST_RECORD:
            return None
        if have < total:
            return int(total)
        begin = at + HEADER_BYTES
        head, body = chunk[begin : begin + head_bytes], chunk[begin + head_bytes : at + total]
        if crc32(body, crc32(head, crc32(fields, self._seed))) != all_crc:
            return None
        return SpoolRecord(offset + total, number, rejected, head, body)

    def _resynchronise(self, fd: int) -> int | None:
        """The offset of the next record that is right, after the one at `self.offset`."""
        start = self.offset + 1
        while chunk := os.pread(fd, _CHUNK, start):
            at = chunk.find(MAGIC)
            while at >= 0:
                if self._is_record(fd, start + at):
                    return start + at
                at = chunk.find(MAGIC, at + 1)
            if len(chunk) < _CHUNK:
                return None
            start += len(chunk) - len(MAGIC) + 1
        return None

    def _is_record(self, fd: int, offset: int) -> bool:
        record = self._parse(os.pread(fd, HEADER_BYTES, offset), 0, offset)
        if isinstance(record, int):
            record = self._parse(os.pread(fd, record, offset), 0, offset)
        return isinstance(record, SpoolRecord)
