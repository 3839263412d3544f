"""Drainer: moves what the spool holds into the database, in batches, each once.

The rows of a batch and the offset up to which the segment was read are one transaction, so a crash between them cannot
be. A database that is slow, locked or full loses nothing: the batch is tried again, the spool keeps it.

Loss accounting, over records (a request leaves two: admitted and outcome):

    emitted = stored + rejected + waiting + lost

rejected: the spool refused it, and the caller knew. waiting: in the spool, not yet in the database. lost: the disk
damaged it after it was accepted; 0 on a disk that works. The figures survive restarts (`counters`).
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from waterline.core.trace import SpooledRow, admitted_id
from waterline.store import text_search, traces
from waterline.store.db import Store, StoreConflict, Tx
from waterline.store.spool import Segment, SegmentReader, Spool, SpoolRecord, segments
from waterline.store.traces import Stored, TraceWrite

BATCH_RECORDS = 2000  # a write transaction of about a tenth of a second
BATCH_BYTES = 8 * 1024 * 1024


class _Admitted(Struct, frozen=True, tag="a", array_like=True, gc=False):
    """core.trace.AdmittedRecord, with its events left as the bytes they are."""

    row: SpooledRow
    events: Raw


class _Outcome(Struct, frozen=True, tag="o", array_like=True, gc=False):
    row: SpooledRow
    events: Raw
    text: str


_decode: Callable[[bytes], _Admitted | _Outcome] = msgspec.json.Decoder(_Admitted | _Outcome).decode


class Accounting(Struct, frozen=True):
    emitted: int
    stored: int
    rejected: int
    waiting: int
    lost: int

    @property
    def balanced(self) -> bool:
        return self.emitted == self.stored + self.rejected + self.waiting + self.lost


class Recovered(Struct, frozen=True):
    """What a start found left behind by earlier processes."""

    records: int
    interrupted: int


class _Batch:
    """What one transaction will write. A pair of admitted and outcome becomes one row."""

    def __init__(self) -> None:
        self.rows: dict[str, TraceWrite] = {}
        self.admitted: list[tuple[str, bytes]] = []  # id, head
        self.requests: dict[str, bytes] = {}
        self.answers: dict[str, bytes] = {}
        self.texts: list[tuple[str, str, str, str]] = []
        self.stored = 0
        self.lost = 0
        self.last_seq = 0
        self.rejected = 0
        self.unreadable = 0

    def add(self, record: SpoolRecord) -> None:
        number = record.number
        if number != self.last_seq + 1:
            self.lost += max(0, number - self.last_seq - 1)
        self.last_seq = max(self.last_seq, number)
        self.rejected = record.rejected
        trace_id = admitted_id(record.head)
        if trace_id is not None:  # its outcome is likely to be here too, and says all that this one does
            self.stored += 1
            self._admit(trace_id, record)
            return
        decoded = self._decoded(record.head)
        if decoded is None:
            return
        self.stored += 1
        trace_id = decoded.row.id
        if isinstance(decoded, _Admitted):
            self._admit(trace_id, record)
        elif trace_id not in self.rows:
            row = decoded.row
            self.rows[trace_id] = TraceWrite(row, bytes(decoded.events))
            self.answers[trace_id] = record.body
            self.texts.append((trace_id, decoded.text, row.session, row.tags))

    def _admit(self, trace_id: str, record: SpoolRecord) -> None:
        self.admitted.append((trace_id, record.head))
        self.requests.setdefault(trace_id, record.body)

    def close(self) -> None:
        """What was admitted and has not ended gets a row too; of several attempts the last one says it."""
        for trace_id, head in self.admitted:
            earlier = self.rows.get(trace_id)
            if earlier is not None and earlier.row.outcome != "open":
                continue
            decoded = self._decoded(head)
            if decoded is None:
                self.stored -= 1
            elif earlier is None or decoded.row.attempts > earlier.row.attempts:
                self.rows[trace_id] = TraceWrite(decoded.row, bytes(decoded.events))
        self.admitted.clear()

    def _decoded(self, head: bytes) -> _Admitted | _Outcome | None:
        try:
            return _decode(head)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.lost += 1
            self.unreadable += 1
            return None

    def give_up(self) -> None:
        """Count what is in here as lost."""
        self.lost += self.stored
        self.stored = 0
        self.rows.clear()
        self.requests.clear()
        self.answers.clear()
        self.texts.clear()


class Drainer:
    """One a database. Call `recover` at the start; `worker.py` calls `drain_once` from its thread, again and again."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        boot: str,
        *,
        spool: Spool | None = None,
        on_error: Callable[[str], None] | None = None,
    ) -> None:
        """`spool`: the writing end of this process, for its count of rejected records."""
        self.store = store
        self.folder = folder
        self.boot = boot
        self.spool = spool
        self._on_error = on_error or store.on_error
        self._offsets: dict[str, int] = {}
        self._damaged: dict[str, int] = {}
        self._last_seq: dict[str, int] = {}
        self._rejected = 0
        self._done: list[str] = []  # segments deleted, whose offsets can be forgotten
        self._loaded = False
        self._one = threading.Lock()
        self.watchers: list[Callable[[Tx, list[Stored]], None]] = []  # told of what is stored, in its transaction

    def recover(self) -> Recovered:
        """Stores everything earlier processes left in the spool, then marks their open traces as interrupted.

        Raises StoreUnavailable, OSError (a segment that cannot be read)."""
        records = 0
        while done := self._drain(BATCH_RECORDS, lambda s: s.boot != self.boot):
            records += done
        return Recovered(records, len(self.store.write_sync(self._interrupt)))

    def drain_once(self, max_records: int = BATCH_RECORDS) -> int:
        """One batch. Returns how many records it handled; 0: nothing was waiting.

        Raises StoreUnavailable, OSError; then nothing has changed, and calling again is right."""
        return self._drain(max_records, lambda _: True)

    def drain_all(self) -> int:
        """What is in the spool now; what comes meanwhile is the next round's, so this ends under any load."""
        upto = self.spool.stats.accepted if self.spool is not None else None
        total = 0
        while done := self.drain_once():
            total += done
            if upto is not None and self._last_seq.get(self.boot, 0) >= upto:
                break
        with self._one:
            self._note_rejected()
        return total

    def accounting(self) -> Accounting:
        """Of every process that ever wrote here. Balanced at any moment."""
        rows = self.store.read_sync(lambda tx: tx.all("drain.counters"))
        live = self.spool.stats if self.spool is not None else None
        emitted = stored = rejected = lost = 0
        live_seq = 0
        for row in rows:
            stored += row["stored"]
            lost += row["lost"]
            if live is not None and row["boot"] == self.boot:
                live_seq = row["last_seq"]
            else:
                rejected += row["rejected"]
                emitted += row["last_seq"] + row["rejected"]
        if live is None:
            return Accounting(emitted, stored, rejected, 0, lost)
        return Accounting(
            emitted + live.emitted, stored, rejected + live.rejected, live.accepted - live_seq, lost
        )  # fmt: skip

    def _drain(self, max_records: int, wanted: Callable[[Segment], bool]) -> int:
        with self._one:
            if not self._loaded:
                self.store.read_sync(self._load)
                self._loaded = True
            found = segments(self.folder)
            newest = {s.boot: s.number for s in found}
            for segment in found:
                if wanted(segment):
                    last = segment.number == newest[segment.boot]
                    done = self._drain_segment(segment, max_records, last, final=segment.boot != self.boot or not last)
                    if done:
                        return done
            self._note_rejected()
            return 0

    def _load(self, tx: Tx) -> None:
        here = {s.path.name for s in segments(self.folder)}
        for row in tx.all("drain.offsets"):
            self._offsets[row["segment"]] = row["bytes"]
            self._damaged[row["segment"]] = row["damaged"]
            if row["segment"] not in here:
                self._done.append(row["segment"])
        self._last_seq = {row["boot"]: row["last_seq"] for row in tx.all("drain.counters")}

    def _drain_segment(self, segment: Segment, max_records: int, last: bool, *, final: bool) -> int:
        """Returns the number of records handled, 0 if there was nothing to commit."""
        name = segment.path.name
        reader = SegmentReader(segment.path, self._offsets.get(name, 0), final=final)
        begun_at = reader.offset
        batch = _Batch()
        batch.last_seq = self._last_seq.get(segment.boot, 0)
        handled, size, ended = 0, 0, True
        for record in reader.records():
            batch.add(record)
            handled += 1
            size += len(record.body)
            if handled >= max_records or size >= BATCH_BYTES:
                ended = False
                break
        batch.close()
        if reader.damaged_end and last:
            batch.lost += 1  # at least one; no later number tells how many
            batch.last_seq += 1
        if reader.offset != begun_at:
            damaged = reader.damaged + batch.unreadable
            try:
                self.store.write_sync(lambda tx: self._write(tx, segment, batch, reader.offset, damaged))
            except (OverflowError, ValueError, TypeError, StoreConflict) as failure:
                # A record that no database takes must not stop the others: find it, count it, go on.
                if handled > 1:
                    return self._drain_segment(segment, 1, last, final=False)
                self._on_error(f"{segment.path}: a trace that cannot be stored is counted as lost: {failure}")
                batch.give_up()
                damaged += 1
                self.store.write_sync(lambda tx: self._write(tx, segment, batch, reader.offset, damaged))
            self._offsets[name] = reader.offset
            self._damaged[name] = self._damaged.get(name, 0) + damaged
            self._last_seq[segment.boot] = batch.last_seq
            self._done.clear()
            if damaged:
                self._on_error(f"{segment.path}: {batch.lost} traces cannot be read (damaged on the disk)")
        if final and ended:
            self._finish(segment)
        return handled

    def _write(self, tx: Tx, segment: Segment, batch: _Batch, offset: int, damaged: int) -> None:
        at = traces.insert_batch(tx, batch.rows.values())
        requests, answers = batch.requests, batch.answers
        traces.insert_bodies(tx, [(n, requests.get(i, b""), answers.get(i, b"")) for i, n in at.items()])
        text_search.index_batch(tx, [(at[i], text, session, tags) for i, text, session, tags in batch.texts if i in at])
        self._tell(tx, [Stored(n, batch.rows[i].row) for i, n in at.items()])
        name = segment.path.name
        tx.run("drain.set_offset", segment=name, boot=segment.boot, bytes=offset, damaged=damaged)
        self._count(tx, segment.boot, batch.last_seq, batch.stored, batch.rejected, batch.lost)
        tx.many("drain.forget_offset", [{"segment": done} for done in self._done])

    def _interrupt(self, tx: Tx) -> list[Stored]:
        stored = traces.interrupt_other_boots(tx, self.boot)
        self._tell(tx, stored)
        return stored

    def _tell(self, tx: Tx, stored: list[Stored]) -> None:
        for watch in self.watchers:
            watch(tx, stored)

    def _count(self, tx: Tx, boot: str, last_seq: int, stored: int, rejected: int, lost: int) -> None:
        values: dict[str, Any] = {"last_seq": last_seq, "stored": stored, "rejected": rejected, "lost": lost}
        tx.run("drain.add_counters", boot=boot, **values)

    def _note_rejected(self) -> None:
        """When the spool refuses everything, no record carries the count."""
        if self.spool is None:
            return
        rejected = self.spool.stats.rejected
        if rejected > self._rejected:
            self.store.write_sync(lambda tx: self._count(tx, self.boot, 0, 0, rejected, 0))
            self._rejected = rejected

    def _finish(self, segment: Segment) -> None:
        """The offset is committed: the segment may go. A damaged one is kept aside, for whoever wants to look."""
        name = segment.path.name
        if self._damaged.get(name):
            segment.path.rename(segment.path.with_suffix(".damaged"))
        else:
            segment.path.unlink(missing_ok=True)
        self._offsets.pop(name, None)
        self._done.append(name)
