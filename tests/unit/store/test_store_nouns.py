"""Releases, environment records, rollouts, keys, sessions, the audit log, verdicts and load lines in the database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from waterline.core.ids import sha256_hex
from waterline.core.release import StoredRelease
from waterline.core.rollout import Move, MoveKind, Share
from waterline.core.verdict import Estimate, JudgeRef, Outcome, Ref, Verdict
from waterline.store import audit_log, keys, load_lines, releases, rollouts, verdicts
from waterline.store.db import Store, StoreConflict


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "waterline.db")
    yield store
    store.close()


def release(manifest: bytes, app: str = "school", at_us: int = 1) -> StoredRelease:
    return StoredRelease(sha256_hex(manifest), app, manifest, at_us, "ana", "first", "spec")


def move(kind: MoveKind, name: str, session: str = "", app: str = "school", env: str = "production") -> Move:
    return Move(app, env, kind, (Share(name, 10_000),), "salt", "ana", "because", "experimental", 1, session)


def test_a_release_is_stored_once_and_its_bytes_never_change(store: Store) -> None:
    one = release(b'{"a": 1}')
    assert store.write_sync(lambda tx: releases.add(tx, one))
    assert not store.write_sync(lambda tx: releases.add(tx, one))
    assert store.read_sync(lambda tx: releases.get(tx, one.id)) == one
    assert store.read_sync(lambda tx: releases.get(tx, "none")) is None


def test_a_release_under_another_id_than_its_sha256_is_not_stored(store: Store) -> None:
    wrong = StoredRelease("0" * 64, "school", b"{}", 1, "ana", "", "")
    with pytest.raises(ValueError, match="not the SHA-256"):
        store.write_sync(lambda tx: releases.add(tx, wrong))


def test_releases_are_listed_newest_first_and_found_by_their_first_digits(store: Store) -> None:
    some = [release(b"%d" % n, at_us=n) for n in range(5)]
    for each in [*some, release(b"x", app="other")]:
        store.write_sync(lambda tx, r=each: releases.add(tx, r))  # type: ignore[misc]
    assert store.read_sync(lambda tx: releases.list_of(tx, "school")) == some[::-1]
    assert len(store.read_sync(lambda tx: releases.list_of(tx))) == 6
    assert store.read_sync(lambda tx: releases.find(tx, some[2].id[:12], "school")) == [some[2].id]
    assert store.read_sync(lambda tx: releases.find(tx, some[2].id, "other")) == []


def test_the_current_environment_record_is_the_one_set_last(store: Store) -> None:
    first = store.write_sync(lambda tx: releases.add_spec(tx, "school", b"1", 1, "ana"))
    second = store.write_sync(lambda tx: releases.add_spec(tx, "school", b"2", 2, "ana"))
    assert store.write_sync(lambda tx: releases.add_spec(tx, "school", b"2", 3, "bob")) == second
    assert store.read_sync(lambda tx: releases.current_spec(tx, "school")) is None
    for spec in (second, first):
        store.write_sync(lambda tx, s=spec: releases.set_current_spec(tx, "school", s, 4, "ana"))  # type: ignore[misc]
    current = store.read_sync(lambda tx: releases.current_spec(tx, "school"))
    assert current == releases.StoredSpec(first, "school", b"1", 1, "ana")
    assert store.read_sync(releases.current_specs) == [current]


def test_the_newest_promotion_or_rollback_is_the_state_and_history_is_whole(store: Store) -> None:
    moves = [move("promote", "r1"), move("promote", "r2"), move("pin", "r1", "s1"), move("promote", "r9", app="x")]
    seqs = [store.write_sync(lambda tx, m=m: rollouts.append(tx, m)) for m in moves]  # type: ignore[misc]
    assert seqs == [1, 2, 3, 4]
    latest = store.read_sync(lambda tx: rollouts.latest(tx, "school", "production"))
    assert latest is not None
    assert (latest.seq, latest.shares, latest.salt) == (2, (Share("r2", 10_000),), "salt")
    assert store.read_sync(lambda tx: rollouts.latest(tx, "school", "staging")) is None
    assert [m.seq for m in store.read_sync(rollouts.latest_all)] == [2, 4]
    history = store.read_sync(lambda tx: rollouts.history(tx, "school", "production", limit=2))
    assert [m.seq for m in history] == [3, 2]
    older = store.read_sync(lambda tx: rollouts.history(tx, "school", before=2))
    assert [m.seq for m in older] == [1]


def test_a_pin_survives_promotions_but_never_a_rollback(store: Store) -> None:
    def pinned() -> dict[str, str]:
        found = store.read_sync(lambda tx: rollouts.pins(tx, "school", "production"))
        return {m.session: m.shares[0].release for m in found}

    def go(m: Move) -> None:
        store.write_sync(lambda tx: rollouts.append(tx, m))

    go(move("pin", "r1", "s1"))
    go(move("pin", "r1", "s2"))
    go(move("pin", "r1", "s3", env="staging"))
    go(move("promote", "r2"))
    go(move("pin", "r2", "s1"))
    go(move("unpin", "", "s2"))
    assert pinned() == {"s1": "r2"}
    go(move("rollback", "r1"))
    assert pinned() == {}
    go(move("pin", "r3", "s2"))
    assert pinned() == {"s2": "r3"}


def test_keys_and_their_sessions(store: Store) -> None:
    key = keys.KeyRow("wl-1", "d" * 64, "person", "Ana", "", "", "owner", False, 1, "system", expires_us=9)
    app_key = keys.KeyRow("wl-2", "e" * 64, "app", "bot", "school", "production", None, True, 2, "Ana")
    for each in (key, app_key):
        store.write_sync(lambda tx, k=each: keys.add(tx, k))  # type: ignore[misc]
    assert store.read_sync(keys.all_keys) == [key, app_key]
    with pytest.raises(StoreConflict):
        store.write_sync(lambda tx: keys.add(tx, key))
    session = keys.SessionRow("s" * 64, "wl-1", "csrf", 10, 10, 100)
    store.write_sync(lambda tx: keys.add_session(tx, session))
    store.write_sync(lambda tx: keys.touch_session(tx, session.digest, 50))
    seen = store.read_sync(lambda tx: keys.get_session(tx, session.digest))
    assert seen is not None
    assert seen.seen_us == 50
    assert store.write_sync(lambda tx: keys.revoke(tx, "wl-1", 60))
    assert not store.write_sync(lambda tx: keys.revoke(tx, "wl-1", 70))
    assert store.read_sync(lambda tx: keys.get_session(tx, session.digest)) is None
    revoked = store.read_sync(lambda tx: keys.get(tx, "wl-1"))
    assert revoked is not None
    assert revoked.revoked_us == 60


def test_sessions_end_when_expired_or_idle(store: Store) -> None:
    key = keys.KeyRow("wl-1", "d" * 64, "person", "Ana", "", "", "owner", False, 1, "system")
    store.write_sync(lambda tx: keys.add(tx, key))
    for n, (seen, expires) in enumerate([(50, 100), (50, 60), (20, 100)]):
        row = keys.SessionRow(f"s{n}", "wl-1", "csrf", 10, seen, expires)
        store.write_sync(lambda tx, r=row: keys.add_session(tx, r))  # type: ignore[misc]
    assert store.write_sync(lambda tx: keys.end_expired_sessions(tx, 60, 30)) == 2
    assert [s.digest for s in store.read_sync(keys.all_sessions)] == ["s0"]
    assert store.write_sync(lambda tx: keys.end_session(tx, "s0"))


def test_the_audit_log_is_a_chain_that_cannot_fork(store: Store) -> None:
    assert store.read_sync(audit_log.head) is None
    for n in range(1, 6):
        args = (b"entry %d" % n, f"hash {n - 1}", f"hash {n}")
        assert store.write_sync(lambda tx, a=args: audit_log.append(tx, *a)) == n  # type: ignore[misc]
    with pytest.raises(StoreConflict):
        store.write_sync(lambda tx: audit_log.append(tx, b"fork", "hash 2", "hash x"))
    rows = store.read_sync(lambda tx: list(audit_log.entries(tx)))
    assert [(r.seq, r.entry) for r in rows] == [(n, b"entry %d" % n) for n in range(1, 6)]
    assert store.read_sync(audit_log.head) == rows[-1]
    assert store.read_sync(lambda tx: audit_log.newest(tx, 2, before=5)) == [rows[3], rows[2]]


def test_the_whole_audit_log_is_read_in_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "AT_ONCE", 2)
    for n in range(1, 6):
        store.write_sync(lambda tx, n=n: audit_log.append(tx, b"", str(n - 1), str(n)))  # type: ignore[misc]
    assert [r.seq for r in store.read_sync(lambda tx: list(audit_log.entries(tx)))] == [1, 2, 3, 4, 5]


def test_verdicts_come_back_whole_and_feedback_is_a_verdict_of_the_user(store: Store) -> None:
    scored = Verdict(
        Ref("trace", "t1"), "score", Outcome.PASS, Estimate(0.5, 0.4, 0.6, 30), "fine", JudgeRef("contains", "2")
    )
    said = Verdict(Ref("trace", "t1"), "thumb", Outcome.FAIL, None, "wrong price", JudgeRef("user"))
    feedback = verdicts.Feedback("t1", "edit", "wrong price", "It costs 5.", "ana", 7, said)
    store.write_sync(lambda tx: verdicts.add(tx, scored, 5))
    store.write_sync(lambda tx: verdicts.add_feedback(tx, feedback))
    both = store.read_sync(lambda tx: verdicts.of(tx, "trace", "t1"))
    assert [(v.at_us, v.verdict) for v in both] == [(5, scored), (7, said)]
    assert [v.verdict for v in store.read_sync(lambda tx: verdicts.of(tx, "trace", "t1", "user"))] == [said]
    assert store.read_sync(lambda tx: verdicts.feedback_of(tx, "t1")) == [feedback]
    wrong = verdicts.Feedback("t1", "edit", "", "", "ana", 7, scored)
    with pytest.raises(ValueError, match="judge 'user'"):
        store.write_sync(lambda tx: verdicts.add_feedback(tx, wrong))


def test_a_load_line_is_known_by_its_json(store: Store) -> None:
    line = load_lines.LoadLine(sha256_hex(b"{}"), "school", "r1", "s1", 2, 5, None, "sig", "ana", b"{}", b"<p>")
    store.write_sync(lambda tx: load_lines.add(tx, line))
    assert store.read_sync(lambda tx: load_lines.get(tx, line.id)) == line
    heads = store.read_sync(lambda tx: load_lines.list_of(tx, "school", "r1"))
    assert [(h.id, h.exit_status) for h in heads] == [(line.id, 2)]
    assert store.read_sync(lambda tx: load_lines.list_of(tx, "school", "r2")) == []
    other = load_lines.LoadLine("0", "school", "r1", "s1", 2, 5, None, "sig", "ana", b"{}", b"<p>")
    with pytest.raises(ValueError, match="SHA-256"):
        store.write_sync(lambda tx: load_lines.add(tx, other))
