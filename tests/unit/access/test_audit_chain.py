"""The audit log: what is done to it is found, offline, and named."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from waterline.access import audit
from waterline.access.audit import GENESIS, Checkpoint, Entry, FindingKind, SealedEntry, append, seal, verify
from waterline.access.keys import SYSTEM
from waterline.access.roles import Principal, Role
from waterline.access.stored import AuditRows
from waterline.core.errors import Refused
from waterline.store import audit_log
from waterline.store.db import Store, StoreConflict, Tx

ANA = Principal("wl-0a1b2c3d", "person", "Ana", role=Role.OPERATOR)
Log = list[SealedEntry]


class Rows:
    def __init__(self) -> None:
        self.log: Log = []

    def head(self) -> SealedEntry | None:
        return self.log[-1] if self.log else None

    def add(self, sealed: SealedEntry) -> None:
        self.log.append(sealed)


def made(count: int, word: str = "ok") -> Log:
    rows = Rows()
    for n in range(count):
        append(
            rows, at_us=1_800_000_000_000_000 + n, by=ANA, action="rollout.promote", target=f"school {n}",
            detail={"weight": f"{n} %", "reason": f'{word} "é" {n}'},
        )  # fmt: skip
    return rows.log


def rechained(log: Log, start: int = 0) -> Log:
    """What a forger with the whole log does: number and seal everything again from `start`."""
    new = log[:start]
    for sealed in log[start:]:
        prev = new[-1].hash if new else GENESIS
        new.append(seal(replace(sealed.entry, seq=len(new) + 1, prev=prev)))
    return new


def with_entry(log: Log, at: int, **changes: object) -> Log:
    return [*log[:at], replace(log[at], entry=replace(log[at].entry, **changes)), *log[at + 1 :]]


def kinds(log: Log, checkpoint: Checkpoint | None = None) -> set[FindingKind]:
    return {finding.kind for finding in verify(log, checkpoint)}


LOG = made(10)
PUBLISHED = audit.checkpoint(LOG)


@pytest.mark.parametrize("count", [0, 1, 2, 10])
def test_an_untouched_log_verifies_with_and_without_its_checkpoint(count: int) -> None:
    log = made(count)
    assert verify(log) == []
    assert verify(log, audit.checkpoint(log)) == []


def test_a_log_that_grew_verifies_against_an_older_checkpoint() -> None:
    for count in range(10):
        assert verify(LOG, audit.checkpoint(LOG[:count])) == []


def test_an_edit_is_found_and_named() -> None:
    for changes in ({"who": "Bo (wl-0a1b2c3d)"}, {"at_us": 5}, {"detail": {}}, {"action": "x"}, {"prev": "f" * 64}):
        (finding,) = verify(with_entry(LOG, 4, **changes))
        assert (finding.kind, finding.seq) == (FindingKind.EDIT, 5)


def test_an_edit_that_was_sealed_anew_is_found_by_its_neighbour() -> None:
    forged = [*LOG[:4], seal(replace(LOG[4].entry, who="Bo")), *LOG[5:]]
    (finding,) = verify(forged)
    assert (finding.kind, finding.seq) == (FindingKind.EDIT, 5)


def test_a_deletion_is_found_and_named() -> None:
    (finding,) = verify([*LOG[:4], *LOG[7:]])
    assert (finding.kind, finding.seq) == (FindingKind.DELETION, 5)
    assert "5 to 7" in finding.message
    assert kinds(LOG[1:]) == {FindingKind.DELETION}


def test_a_reordering_is_found_and_named() -> None:
    swapped = [*LOG[:3], LOG[4], LOG[3], *LOG[5:]]
    (finding,) = verify(swapped)
    assert (finding.kind, finding.seq) == (FindingKind.REORDERING, 4)
    assert kinds(LOG[::-1], PUBLISHED) == {FindingKind.REORDERING}


@pytest.mark.parametrize("where", [4, 5])
def test_an_insertion_is_found_and_named(where: int) -> None:
    forged = seal(replace(LOG[4].entry, action="key.create_person", target="wl-eeeeeeee"))
    (finding,) = verify([*LOG[:where], forged, *LOG[where:]])
    assert (finding.kind, finding.seq) == (FindingKind.INSERTION, 5)
    assert kinds([*LOG[:4], LOG[4], LOG[4], *LOG[5:]]) == {FindingKind.INSERTION}


def test_a_truncation_is_found_against_a_checkpoint() -> None:
    for left in range(10):
        (finding,) = verify(LOG[:left], PUBLISHED)
        assert (finding.kind, finding.seq) == (FindingKind.TRUNCATION, left)
    assert verify(LOG[:9]) == []  # stated: without a checkpoint a cut tail cannot be seen


@pytest.mark.parametrize("parts", range(10))
def test_a_fork_is_found_against_a_checkpoint(parts: int) -> None:
    other = rechained([*LOG[:parts], *made(10, "another history")[parts:], *made(5)], parts)
    assert verify(other) == []
    (finding,) = verify(other, PUBLISHED)
    assert (finding.kind, finding.seq) == (FindingKind.FORK, 10)


@pytest.mark.parametrize(
    ("forge", "kind"),
    [
        (lambda log: rechained(with_entry(log, 3, who="Bo")), FindingKind.FORK),
        (lambda log: rechained([*log[:3], log[3], *log[3:]]), FindingKind.FORK),
        (lambda log: rechained([*log[:3], log[4], log[3], *log[5:]]), FindingKind.FORK),
        (lambda log: rechained([*log[:3], *log[4:]]), FindingKind.TRUNCATION),
        (lambda log: rechained([*log[:3], *log[4:], *made(3)]), FindingKind.FORK),
    ],
)
def test_a_forger_who_seals_the_whole_log_again_is_found_by_the_checkpoint(
    forge: Callable[[Log], Log], kind: FindingKind
) -> None:
    assert verify(forge(LOG)) == []
    assert kinds(forge(LOG), PUBLISHED) == {kind}


EXPORT = b"".join(map(audit.export_line, LOG))


def test_an_export_reads_back_and_verifies_offline() -> None:
    assert audit.read_export(EXPORT) == (LOG, [])
    assert audit.verify_export(EXPORT, str(PUBLISHED)) == []
    assert audit.verify_export(b"", audit.checkpoint([])) == []


@settings(max_examples=600)
@given(st.integers(0, len(EXPORT) - 1), st.integers(1, 255))
def test_any_single_byte_change_of_an_export_is_found(at: int, flip: int) -> None:
    changed = EXPORT[:at] + bytes([EXPORT[at] ^ flip]) + EXPORT[at + 1 :]
    assert audit.verify_export(changed, PUBLISHED)


@settings(max_examples=200)
@given(st.integers(0, len(EXPORT)), st.integers(0, 12), st.binary(max_size=12))
def test_any_cut_or_added_bytes_in_an_export_are_found(at: int, cut: int, added: bytes) -> None:
    changed = EXPORT[:at] + added + EXPORT[at + cut :]
    if changed != EXPORT:
        assert audit.verify_export(changed, PUBLISHED)


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda s: s.encode("utf-8", "surrogatepass"))))
def test_an_arbitrary_file_is_reported_and_never_crashes(data: bytes) -> None:
    assert audit.verify_export(data, PUBLISHED)


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b'{"seq":' + b"9" * 5000 + b"}", b'{"who":"\\ud800"}', b"\xff", b"null"]
)
def test_a_hostile_line_is_an_edit(line: bytes) -> None:
    assert kinds_of(audit.verify_export(line + b"\n" + EXPORT)) == {FindingKind.EDIT}


def kinds_of(findings: list[audit.Finding]) -> set[FindingKind]:
    return {finding.kind for finding in findings}


def test_a_checkpoint_is_one_line_that_reads_back() -> None:
    line = str(PUBLISHED)
    assert line == f"waterline-audit v1 10 {LOG[-1].hash} 2027-01-15T08:00:00Z"
    assert audit.parse_checkpoint(line + "\n") == PUBLISHED
    assert audit.parse_checkpoint(str(audit.checkpoint([]))) == Checkpoint(0, GENESIS, "-")


@pytest.mark.parametrize(
    "line", ["", "waterline-audit v2 1 x", "waterline-audit v1 -1 " + "0" * 64 + " -", str(PUBLISHED)[:-60]]
)
def test_what_is_no_checkpoint_is_refused_and_not_taken_for_good(line: str) -> None:
    with pytest.raises(Refused, match="Not a checkpoint"):
        verify(LOG, line)


def test_no_checkpoint_is_made_of_a_broken_log() -> None:
    with pytest.raises(Refused, match="does not verify"):
        audit.checkpoint(with_entry(LOG, 4, who="Bo"))


def test_the_hash_of_an_entry_is_the_same_for_ever() -> None:
    """Golden: changing how an entry is encoded would break every log that exists. Recomputed here by hand."""
    entry = Entry(1, 2, "Ana (wl-0a1b2c3d)", "owner", "key.revoke", "wl-ffffffff", {"b": "2", "a": "é"}, GENESIS)
    written = (
        '{"seq":1,"at_us":2,"who":"Ana (wl-0a1b2c3d)","role":"owner","action":"key.revoke","target":"wl-ffffffff",'
        f'"detail":{{"a":"é","b":"2"}},"prev":"{GENESIS}"}}'
    ).encode()
    assert audit.encode(entry) == written
    assert seal(entry).hash == hashlib.sha256(GENESIS.encode() + written).hexdigest()
    assert msgspec.json.decode(audit.export_line(seal(entry)))["hash"] == seal(entry).hash


def test_in_the_real_store_the_log_is_append_only_and_part_of_the_act(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "waterline.db")

    def act(tx: Tx) -> None:
        append(AuditRows(tx), at_us=1, by=SYSTEM, action="x", target="y")

    def failing_act(tx: Tx) -> None:
        act(tx)
        raise Refused("the act failed after its entry")

    for _ in range(3):
        store.write_sync(act)
    with pytest.raises(Refused):
        store.write_sync(failing_act)
    log = store.read_sync(lambda tx: [AuditRows.read(row) for row in audit_log.entries(tx)])
    assert [s.entry.seq for s in log] == [1, 2, 3]
    assert log[0].entry.who == "waterline"
    assert verify(log, audit.checkpoint(log)) == []
    forged = seal(replace(log[2].entry, who="Bo"))
    with pytest.raises(StoreConflict):
        store.write_sync(lambda tx: AuditRows(tx).add(forged))  # the database itself refuses a fork
    store.close()
