"""The audit log: every privileged act, each entry chained to the one before it.

    hash = SHA-256(prev || entry)      prev: 64 hex digits of the entry before (64 zeros for the first)
                                       entry: deterministic JSON of every field but the hash

so that anyone can check an entry with `printf %s%s "$prev" "$entry" | sha256sum`. `verify` is pure and offline. Whoever
can write the whole log can also chain it anew; what they cannot do is agree with a checkpoint (count and head hash)
that was published before, on paper or in another system. Compare: Crosby and Wallach, "Efficient Data Structures for
Tamper-Evident Logging", USENIX Security 2009.

Exported, the log is JSONL: one entry a line, the hash as its last field, every line ended by a newline.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta, Struct

from waterline.access.roles import Principal
from waterline.core.errors import Refused
from waterline.core.ids import sha256_hex

GENESIS = "0" * 64
CHECKPOINT_FORMAT = "waterline-audit v1"


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """One act. Fields are hashed under these names: a new one needs a new format, never a change here."""

    seq: int  # 1, 2, 3 ...
    at_us: int
    who: str  # name and key id, "Ana (wl-1a2b3c4d)"
    role: str
    action: str
    target: str
    detail: dict[str, str]
    prev: str


class SealedEntry(Struct, frozen=True):
    entry: Entry
    hash: str  # 64 hex digits, as stored


class FindingKind(StrEnum):
    EDIT = "edit"
    DELETION = "deletion"
    REORDERING = "reordering"
    INSERTION = "insertion"
    TRUNCATION = "truncation"
    FORK = "fork"


class Finding(Struct, frozen=True):
    """One thing that is wrong with a log, and where: `seq` of the entry, 0 for the log as a whole."""

    kind: FindingKind
    seq: int
    message: str

    def __str__(self) -> str:
        return f"{self.kind.upper()}: {self.message}"


class Checkpoint(Struct, frozen=True):
    count: int
    head: str
    at: str  # UTC time of the head entry; "-" for an empty log

    def __str__(self) -> str:
        return f"{CHECKPOINT_FORMAT} {self.count} {self.head} {self.at}"


class AuditRows(Protocol):
    """The rows, inside the transaction of the act. `stored.AuditRows(tx)` is one."""

    def head(self) -> SealedEntry | None: ...

    def add(self, sealed: SealedEntry) -> None: ...


def seal(entry: Entry) -> SealedEntry:
    return SealedEntry(entry, _hash(entry))


def encode(entry: Entry) -> bytes:
    """The bytes that are hashed and stored."""
    return msgspec.json.encode(entry, order="deterministic")


def _hash(entry: Entry) -> str:
    return sha256_hex(entry.prev.encode() + encode(entry))


def append(
    rows: AuditRows, *, at_us: int, by: Principal, action: str, target: str, detail: dict[str, str] | None = None
) -> SealedEntry:
    """Add one act to the log. Call it in the transaction of the act, so that neither is kept without the other."""
    head = rows.head()
    sealed = seal(
        Entry(
            seq=head.entry.seq + 1 if head else 1,
            at_us=at_us,
            who=f"{by.name} ({by.key_id})" if by.key_id else by.name,
            role=by.acts_as or "none",
            action=action,
            target=target,
            detail=detail or {},
            prev=head.hash if head else GENESIS,
        )
    )
    rows.add(sealed)
    return sealed


# --- export and checkpoints --------------------------------------------------------------------------------------


def export_line(sealed: SealedEntry) -> bytes:
    return encode(sealed.entry)[:-1] + b',"hash":' + msgspec.json.encode(sealed.hash) + b"}\n"


class _Line(Struct, frozen=True, forbid_unknown_fields=True):
    seq: Annotated[int, Meta(ge=1, le=2**53)]
    at_us: Annotated[int, Meta(ge=0, le=2**53)]
    who: str
    role: str
    action: str
    target: str
    detail: dict[str, str]
    prev: str
    hash: str


def read_export(data: bytes) -> tuple[list[SealedEntry], list[Finding]]:
    """The entries of an export, and what cannot be read or is not written as an export writes it."""
    entries: list[SealedEntry] = []
    findings: list[Finding] = []
    *lines, rest = data.split(b"\n")
    if rest:
        findings.append(Finding(FindingKind.EDIT, 0, "the last line does not end with a newline"))
        lines.append(rest)
    for number, line in enumerate(lines, 1):
        try:
            read = msgspec.json.decode(line, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            findings.append(Finding(FindingKind.EDIT, 0, f"line {number} is not an entry: {error}"))
            continue
        fields = msgspec.structs.asdict(read)
        sealed = SealedEntry(hash=fields.pop("hash"), entry=Entry(**fields))
        entries.append(sealed)
        if export_line(sealed)[:-1] != line:
            what = f"line {number} (entry {read.seq}) is not written as an export writes it"
            findings.append(Finding(FindingKind.EDIT, read.seq, what))
    return entries, findings


def verify_export(data: bytes, checkpoint: Checkpoint | str | None = None) -> list[Finding]:
    """Check an exported log, offline. An empty list: nothing wrong was found."""
    entries, findings = read_export(data)
    return findings + verify(entries, checkpoint)


def checkpoint(entries: Sequence[SealedEntry]) -> Checkpoint:
    """What to publish: `str()` of it is one line. Raises Refused for a log that does not verify."""
    findings = verify(entries)
    if findings:
        raise Refused(f"The audit log does not verify, so no checkpoint is made of it. {findings[0]}")
    if not entries:
        return Checkpoint(0, GENESIS, "-")
    head = entries[-1]
    at = datetime.fromtimestamp(head.entry.at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Checkpoint(head.entry.seq, head.hash, at)


def parse_checkpoint(line: str) -> Checkpoint:
    """Read one published line. Raises Refused if it is none."""
    found = re.fullmatch(
        rf"{CHECKPOINT_FORMAT} (0|[1-9][0-9]{{0,17}}) ([0-9a-f]{{64}}) ([0-9TZ:-]{{1,32}})", line.strip()
    )
    if not found:
        raise Refused(f'Not a checkpoint. It is one line: "{CHECKPOINT_FORMAT} <count> <head hash> <time>".', 400)
    return Checkpoint(int(found[1]), found[2], found[3])


# --- verification ------------------------------------------------------------------------------------------------


def verify(entries: Iterable[SealedEntry], checkpoint: Checkpoint | str | None = None) -> list[Finding]:
    """Check a log in the order in which it is kept. An empty list: nothing wrong was found.

    Without a checkpoint, a cut tail and a log that was chained anew as a whole cannot be seen. Entries after the
    checkpoint are protected by the chain only, until the next checkpoint is published. Raises Refused if
    `checkpoint` is a text that is none."""
    published = parse_checkpoint(checkpoint) if isinstance(checkpoint, str) else checkpoint
    log = [_Placed(sealed.entry.seq, sealed, sealed.hash != _hash(sealed.entry)) for sealed in entries]
    findings = [
        Finding(FindingKind.EDIT, p.seq, f"entry {p.seq} was changed: its hash does not fit its content")
        for p in log
        if p.edited
    ]
    kept, inserted = _split_inserted(log)
    findings += [
        Finding(FindingKind.INSERTION, p.seq, f"an entry numbered {p.seq} was put in: it is not in the chain")
        for p in inserted
    ]
    findings += _reordered(kept)
    chain = sorted(kept, key=lambda p: p.seq)
    findings += _gaps_and_links(chain)
    if published is not None:
        findings += _against(published, chain)
    return findings


class _Placed(Struct, frozen=True, eq=False):
    """An entry at its place in the file. Compared by identity: a copy of an entry is another thing."""

    seq: int
    sealed: SealedEntry
    edited: bool


def _split_inserted(log: list[_Placed]) -> tuple[list[_Placed], list[_Placed]]:
    """Of several entries with one number, the one that its neighbours refer to is kept; the others were put in."""
    by_seq: dict[int, list[_Placed]] = {}
    for placed in log:
        by_seq.setdefault(placed.seq, []).append(placed)
    genuine = {seq: same[0] if len(same) == 1 else _genuine(same, by_seq) for seq, same in by_seq.items() if seq >= 1}
    kept = [placed for placed in log if genuine.get(placed.seq) is placed]
    return kept, [placed for placed in log if genuine.get(placed.seq) is not placed]


def _genuine(same: list[_Placed], by_seq: dict[int, list[_Placed]]) -> _Placed:
    seq = same[0].seq
    after = {p.sealed.entry.prev for p in by_seq.get(seq + 1, [])}
    before = {p.sealed.hash for p in by_seq.get(seq - 1, [])} if seq > 1 else {GENESIS}
    return max(same, key=lambda p: (p.sealed.hash in after, p.sealed.entry.prev in before, not p.edited))


def _reordered(kept: list[_Placed]) -> list[Finding]:
    return [
        Finding(
            FindingKind.REORDERING,
            there.seq,
            f"entry {there.seq} stands after entry {here.seq}: the order was changed",
        )
        for here, there in pairwise(kept)
        if there.seq < here.seq
    ]


def _gaps_and_links(chain: list[_Placed]) -> list[Finding]:
    findings: list[Finding] = []
    seq, head, edited = 0, GENESIS, False  # of the entry before
    for placed in chain:
        if placed.seq > seq + 1:
            missing = f"entry {seq + 1} is" if placed.seq == seq + 2 else f"entries {seq + 1} to {placed.seq - 1} are"
            findings.append(Finding(FindingKind.DELETION, seq + 1, f"{missing} missing"))
        elif placed.sealed.entry.prev != head and not placed.edited and not edited:
            what = f"entry {placed.seq} does not follow entry {seq}: one of them was changed and sealed anew"
            findings.append(Finding(FindingKind.EDIT, max(seq, 1), what))
        seq, head, edited = placed.seq, placed.sealed.hash, placed.edited
    return findings


def _against(checkpoint: Checkpoint, chain: list[_Placed]) -> list[Finding]:
    last = chain[-1].seq if chain else 0
    if last < checkpoint.count:
        what = f"the end was cut off: the checkpoint of {checkpoint.at} has {checkpoint.count} entries, the log {last}"
        return [Finding(FindingKind.TRUNCATION, last, what)]
    heads = [p.sealed.hash for p in chain if p.seq == checkpoint.count] if checkpoint.count else [GENESIS]
    if heads and heads[0] != checkpoint.head:  # none: its deletion is found already
        what = (
            f"entry {checkpoint.count} has another hash than in the checkpoint of {checkpoint.at}: "
            "this log and the one that was published part before it"
        )
        return [Finding(FindingKind.FORK, checkpoint.count, what)]
    return []
