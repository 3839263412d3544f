"""The database file: migrations, transactions, refusals, and every named statement against the migrated schema."""

import asyncio
import os
import re
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest

from waterline.store import behaviour, migrate, named_sql, releases, traces
from waterline.store.db import Statements, Store, StoreConflict, StoreTimeout, StoreUnavailable, Tx
from waterline.store.dialect import SqliteDialect, connect


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "waterline.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store.open(path)
    yield store
    store.close()


def put_spec(tx: Tx, text: bytes = b"{}") -> str:
    return releases.add_spec(tx, "school", text, 1, "ana")


# --- statements ------------------------------------------------------------------------------------------------------


def every_variant() -> list[tuple[str, tuple[str, ...]]]:
    found = []
    for name, statement in named_sql.load().items():
        optional = statement.optional
        some: chain[tuple[str, ...]] = chain.from_iterable(combinations(optional, n) for n in (0, 1, 2))
        found += [(name, given) for given in {*some, optional}]
    return sorted(found)


def test_every_named_statement_is_valid_on_a_migrated_database(store: Store) -> None:
    variants = every_variant()
    assert len(variants) > 100
    connection = sqlite3.connect(store.path)
    for name, given in variants:
        sql = store.statements.sql(name, dict.fromkeys(given, 1))
        params = dict.fromkeys(named_sql.PARAMETER.findall(sql), 1)
        assert connection.execute(f"EXPLAIN {sql}", params).fetchall(), name
    connection.close()


def test_no_statement_uses_what_only_sqlite_understands() -> None:
    forbidden = re.compile(
        r"\b(rowid|strftime|julianday|unixepoch|ifnull|group_concat|total|json_|glob|match|replace into|or ignore|"
        r"or replace|datetime|printf|instr|last_insert_rowid|autoincrement|pragma|offset|nullif\(|max\([^()]*,)\b", re.I
    )  # fmt: skip
    for name, statement in named_sql.load().items():
        text = statement.text(statement.optional)
        assert not forbidden.search(text), name
        assert '"' not in text, name


@pytest.mark.parametrize(
    ("given", "index"),
    [((), "traces_by_time"), (("app",), "traces_by_app"), (("session",), "traces_by_session")],
)
def test_a_page_of_traces_is_read_from_an_index(store: Store, given: tuple[str, ...], index: str) -> None:
    sql = store.statements.sql("traces.page", dict.fromkeys(given, "x"))
    connection = sqlite3.connect(store.path)
    params = dict.fromkeys(named_sql.PARAMETER.findall(sql), 1)
    plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", params))
    connection.close()
    assert index in plan, plan


def test_a_name_used_twice_and_sql_without_a_name_are_mistakes() -> None:
    with pytest.raises(ValueError, match="twice"):
        named_sql.parse("x", "-- name: a\nSELECT 1\n-- name: a\nSELECT 2")
    with pytest.raises(ValueError, match="before its first"):
        named_sql.parse("x", "SELECT 1\n-- name: a\nSELECT 2")


def test_an_optional_line_stays_only_with_its_parameter() -> None:
    statement = named_sql.parse("x", "-- name: a\nSELECT 1\nWHERE 1 = 1\n  AND a = :a --? a\n  AND b = :b --? b")["x.a"]
    assert statement.optional == ("a", "b")
    assert ":a" in statement.text(statement.given({"a": 1, "b": None}))
    assert ":b" not in statement.text(statement.given({"a": 1, "b": None}))


def test_an_unknown_statement_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        Statements(SqliteDialect()).sql("traces.nonsense", {})


# --- migrations ------------------------------------------------------------------------------------------------------


def test_migrations_applied_twice_are_a_no_op(path: Path) -> None:
    Store.open(path).close()
    before = schema(path)
    Store.open(path).close()
    assert schema(path) == before
    connection = connect(path, read_only=False, timeout_s=30)
    assert migrate.migrate(connection, SqliteDialect(), 1) == 0
    connection.close()


def schema(path: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    found += connection.execute("SELECT number, name, sha256, at_us FROM schema_migrations").fetchall()
    connection.close()
    return found


def edit(path: Path, sql: str) -> None:
    Store.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


def test_traces_that_nobody_had_read_before_the_upgrade_are_counted_once_and_wait_to_be_heard(path: Path) -> None:
    path.parent.mkdir()
    old = connect(path, read_only=False, timeout_s=30)
    migrate.migrate(old, SqliteDialect(), 1, [m for m in migrate.known() if m.number < 24])
    zeros = {name: 0 for _, name, kind, *_ in old.execute("PRAGMA table_info(traces)") if kind == "BIGINT"}
    texts = {name: "" for _, name, kind, *_ in old.execute("PRAGMA table_info(traces)") if kind == "TEXT"}

    def trace(n: int, **values: Any) -> None:
        row = {**zeros, **texts, "n": n, "id": f"t{n}", "purpose": "live", "outcome": "answered", "events": b"[]"}
        row |= {"cost_nano_usd": 7, **values}
        old.execute(f"INSERT INTO traces ({', '.join(row)}) VALUES ({', '.join(':' + name for name in row)})", row)

    trace(1, session="read before")
    trace(2, session="was open when it was passed")
    trace(3)
    old.execute("INSERT INTO reading_later (n) VALUES (2)")
    old.execute("UPDATE reading_places SET n = 3 WHERE name = 'traces'")
    old.execute("INSERT INTO behaviour_days (app, env, day, release, name, n) VALUES ('', '', 0, '', 'answers', 2)")
    trace(4, session="s1")
    trace(5, session="c", key_id="conversations")
    trace(6, session="s2", outcome="open")
    old.commit()
    old.close()
    store = Store.open(path)
    assert [one.n for one in store.read_sync(lambda tx: behaviour.in_line(tx, 10))] == [2, 4]
    counts = store.read_sync(lambda tx: behaviour.counts(tx, "", 0, 1))
    assert [(count.name, count.n) for count in counts] == [("answers", 2 + 3)]
    spent = store.read_sync(
        lambda tx: tx.all("conversation_days.sums", app=None, env=None, branch=None, since_us=0, until_us=1)
    )
    assert [(row["name"], row["n"], row["amount"]) for row in spent] == [("models", 1, 7)]
    store.close()


def test_bodies_and_texts_of_an_older_waterline_are_there_after_its_database_is_migrated(path: Path) -> None:
    path.parent.mkdir()
    old = connect(path, read_only=False, timeout_s=30)
    before = [m for m in migrate.known() if m.number < 7]
    migrate.migrate(old, SqliteDialect(), 1, before)
    zeros = {name: 0 for _, name, kind, *_ in old.execute("PRAGMA table_info(traces)") if kind == "BIGINT"}
    texts = {name: "" for _, name, kind, *_ in old.execute("PRAGMA table_info(traces)") if kind == "TEXT"}
    for trace_id in ("t1", "t2"):
        row = {**zeros, **texts, "id": trace_id, "outcome": "answered", "events": b"[]"}
        old.execute(f"INSERT INTO traces ({', '.join(row)}) VALUES ({', '.join(':' + name for name in row)})", row)
        for kind in ("request", "answer"):
            old.execute("INSERT INTO bodies (trace_id, kind, codec, bytes) VALUES (?, ?, 0, ?)",
                        (trace_id, kind, f"{kind} of {trace_id}".encode()))  # fmt: skip
    old.execute("INSERT INTO trace_text (rowid, text, session, tags) SELECT n, 'needle', '', '' FROM traces LIMIT 1")
    old.commit()
    old.close()
    store = Store.open(path)
    for trace_id in ("t1", "t2"):
        for kind in ("request", "answer"):
            found = store.read_sync(lambda tx, i=trace_id, k=kind: traces.body(tx, i, k))  # type: ignore[misc]
            assert found == f"{kind} of {trace_id}".encode()
    page = store.read_sync(lambda tx: traces.page(tx, traces.TraceFilter(text="needle")))
    assert [row.id for row in page.rows] == ["t1"]
    store.close()


def test_a_database_of_a_newer_waterline_is_refused(path: Path) -> None:
    edit(path, "INSERT INTO schema_migrations VALUES (99, '0099_future.sql', 'abc', 1)")
    with pytest.raises(StoreUnavailable, match=r"waterline\.db: .*newer Waterline \(schema 99.*Install that version"):
        Store.open(path)


def test_a_database_migrated_from_an_edited_file_is_refused(path: Path) -> None:
    edit(path, "UPDATE schema_migrations SET sha256 = 'edited' WHERE number = 1")
    with pytest.raises(StoreUnavailable, match="migration 1 was applied from another file"):
        Store.open(path)


def test_a_failed_migration_is_undone_and_stops_the_start(path: Path) -> None:
    Store.open(path).close()
    before = schema(path)
    bad = migrate.Migration(2, "0002_bad.sql", "CREATE TABLE good (a TEXT);\nCREATE TABLE traces (a TEXT);\n", "abc")
    connection = connect(path, read_only=False, timeout_s=30)
    with pytest.raises(migrate.MigrationFailed, match=r"0002_bad\.sql failed and was undone .*traces already exists"):
        migrate.migrate(connection, SqliteDialect(), 1, [*migrate.known(), bad])
    connection.close()
    assert schema(path) == before


@pytest.mark.parametrize("table", ["releases", "specs", "rollout_moves", "audit", "load_lines"])
def test_append_only_tables_refuse_update_and_delete(store: Store, table: str) -> None:
    connection = sqlite3.connect(store.path)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    connection.execute(f"INSERT INTO {table} VALUES ({', '.join('1' for _ in columns)})")
    for sql in (f"UPDATE {table} SET {columns[1]} = 2", f"DELETE FROM {table}"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(sql)
    connection.close()


# --- transactions ----------------------------------------------------------------------------------------------------


async def test_a_write_that_fails_keeps_nothing(store: Store) -> None:
    def fail(tx: Tx) -> None:
        put_spec(tx)
        raise LookupError("changed my mind")

    with pytest.raises(LookupError):
        await store.write(fail)
    assert await store.read(lambda tx: tx.one("releases.get_spec", id=releases.spec_id(b"{}"))) is None
    assert await store.write(put_spec) == releases.spec_id(b"{}")


async def test_a_read_cannot_write(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await store.read(put_spec)


async def test_concurrent_writes_are_one_after_the_other(store: Store) -> None:
    def add(n: int) -> str:
        return store.write_sync(lambda tx: put_spec(tx, b"%d" % n))

    threads = [asyncio.to_thread(add, n) for n in range(50)]
    tasks = [store.write(lambda tx, n=n: put_spec(tx, b"%d" % n)) for n in range(50, 100)]  # type: ignore[misc]
    ids = await asyncio.gather(*threads, *tasks)
    assert len(set(ids)) == 100
    for spec in ids:
        assert await store.read(lambda tx, s=spec: releases.get_spec(tx, s)) is not None  # type: ignore[misc]


async def at_once(store: Store, *fns: Callable[[Tx], Any], repeats: bool = False) -> tuple[list[Any], int]:
    """What came of writes that wait while the writer is busy, and how many transactions it took."""
    busy, go = threading.Event(), threading.Event()

    def hold(tx: Tx) -> None:
        busy.set()
        go.wait(20)

    first = asyncio.ensure_future(store.write(hold))
    await asyncio.to_thread(busy.wait, 20)
    commits: list[str] = []
    store._writer.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    others = [asyncio.ensure_future(store.write(fn, repeats=repeats)) for fn in fns]
    await asyncio.sleep(0)  # they wait
    go.set()
    await first
    found = await asyncio.gather(*others, return_exceptions=True)
    store._writer.set_trace_callback(None)
    return found, len(commits) - 1


async def test_writes_that_wait_together_share_a_transaction_and_keep_their_order(store: Store) -> None:
    order: list[int] = []

    def note(number: int) -> Callable[[Tx], str]:
        def write(tx: Tx) -> str:
            order.append(number)
            return put_spec(tx, b'{"n": %d}' % number)

        return write

    found, transactions = await at_once(store, *[note(n) for n in range(10)])
    assert transactions == 1
    assert order == list(range(10))
    assert len(set(found)) == 10


async def test_writes_that_may_be_run_anew_need_no_savepoints(store: Store) -> None:
    said: list[str] = []

    def listen(tx: Tx) -> None:
        tx._connection.set_trace_callback(said.append)

    await store.write(listen)
    busy = threading.Event()
    first = asyncio.ensure_future(store.write(lambda tx: busy.wait(20), repeats=True))
    others = [asyncio.ensure_future(store.write(put_spec, repeats=True)) for _ in range(5)]
    await asyncio.sleep(0)  # they wait
    busy.set()
    await asyncio.gather(first, *others)
    assert said.count("COMMIT") <= 3
    assert not [sql for sql in said if "SAVEPOINT" in sql]


@pytest.mark.parametrize("repeats", [False, True])
async def test_one_that_fails_takes_none_of_the_others_with_it(store: Store, repeats: bool) -> None:
    def fail(tx: Tx) -> None:
        put_spec(tx, b'{"kept": false}')
        raise RuntimeError("no")

    def clash(tx: Tx) -> None:
        put_spec(tx, b'{"kept": false}')
        releases.set_current_spec(tx, "school", "no such record", 1, "ana")

    good = [lambda tx, n=n: put_spec(tx, b'{"n": %d}' % n) for n in range(3)]
    found, transactions = await at_once(store, good[0], fail, good[1], clash, good[2], repeats=repeats)
    assert transactions == 1
    assert [type(f) for f in found] == [str, RuntimeError, str, StoreConflict, str]
    kept = sqlite3.connect(store.path).execute("SELECT COUNT(*) FROM specs").fetchone()[0]
    assert kept == 3


@pytest.mark.parametrize("repeats", [False, True])
async def test_when_the_transaction_cannot_be_kept_everybody_in_it_is_told(store: Store, repeats: bool) -> None:
    def undo(tx: Tx) -> None:
        tx._connection.execute("ROLLBACK")
        raise RuntimeError("as a full disk does")

    found, _ = await at_once(store, put_spec, undo, lambda tx: put_spec(tx, b'{"n": 2}'), repeats=repeats)
    assert [isinstance(f, Exception) for f in found] == [True, True, True]
    assert sqlite3.connect(store.path).execute("SELECT COUNT(*) FROM specs").fetchone()[0] == 0
    assert await store.write(put_spec)


async def test_a_long_write_of_a_thread_has_a_transaction_of_its_own(store: Store) -> None:
    def slow(tx: Tx) -> str:
        return put_spec(tx, b'{"n": "slow"}')

    one = asyncio.to_thread(store.write_sync, slow)
    found = await asyncio.gather(store.write(put_spec), one, store.write(lambda tx: put_spec(tx, b'{"n": 3}')))
    assert len(set(found)) == 3


async def test_readers_see_a_snapshot_while_a_write_goes_on(store: Store) -> None:
    reading, written = threading.Event(), threading.Event()

    def look_twice(tx: Tx) -> tuple[object, object]:
        first = tx.one("releases.get_spec", id=releases.spec_id(b"{}"))
        reading.set()
        assert written.wait(5)
        return first, tx.one("releases.get_spec", id=releases.spec_id(b"{}"))

    look = asyncio.create_task(store.read(look_twice))
    await asyncio.to_thread(reading.wait, 5)
    await store.write(put_spec)
    written.set()
    assert await look == (None, None)


async def test_a_constraint_is_a_conflict_that_needs_no_driver_to_catch(store: Store) -> None:
    with pytest.raises(StoreConflict):
        await store.write(lambda tx: releases.set_current_spec(tx, "school", "no such record", 1, "ana"))


async def test_a_query_without_end_is_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waterline.store.db.READ_S", 0.05)
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT COUNT(*) FROM c"
    with pytest.raises(StoreTimeout, match="shorter time span"):
        await store.read(lambda tx: tx._connection.execute(endless).fetchall())


async def test_a_write_inside_a_write_is_refused_not_deadlocked(store: Store) -> None:
    with pytest.raises(RuntimeError, match="inside a write"):
        await store.write(lambda tx: store.write_sync(put_spec))


async def test_a_locked_database_is_reported_and_works_again_afterwards(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waterline.store.db.BUSY_S", 0.05)
    store = Store.open(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="another program holds the database"):
        await store.write(put_spec)
    other.execute("ROLLBACK")
    other.close()
    await store.write(put_spec)
    store.close()


# --- bad days --------------------------------------------------------------------------------------------------------


def test_two_waterlines_on_one_data_folder_are_refused(store: Store) -> None:
    with pytest.raises(StoreUnavailable, match="another Waterline uses this data folder"):
        Store.open(store.path)


def test_the_lock_ends_with_close(path: Path) -> None:
    Store.open(path).close()
    Store.open(path).close()


def test_a_file_that_is_no_database_is_named_with_the_next_step(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this was a database once" * 500)
    with pytest.raises(StoreUnavailable, match=r"waterline\.db: this file is not a database.*restore a backup"):
        Store.open(path)
    path.with_name("moved").write_bytes(path.read_bytes())
    path.unlink()
    Store.open(path).close()


def test_a_damaged_page_is_named_with_the_next_step(path: Path) -> None:
    store = Store.open(path)
    store.write_sync(lambda tx: [put_spec(tx, b"%d" % n * 1000) for n in range(100)])
    store.close()
    data = bytearray(path.read_bytes())
    data[4096 * 2 :] = os.urandom(len(data) - 4096 * 2)
    path.write_bytes(data)
    with pytest.raises(StoreUnavailable, match="this file is not a database that can be read"):
        look_at_all_specs(path)


def look_at_all_specs(path: Path) -> None:
    store = Store.open(path)
    try:
        for n in range(100):
            store.read_sync(lambda tx, n=n: releases.get_spec(tx, releases.spec_id(b"%d" % n * 1000)))  # type: ignore[misc]
    finally:
        store.close()


def test_a_folder_that_is_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(StoreUnavailable, match=r"data/waterline\.db: .*folder"):
        Store.open(tmp_path / "data" / "waterline.db")


OPEN_AS_NOBODY = """
import os, sys
from pathlib import Path
from waterline.store.db import Store, StoreUnavailable
import waterline.store.traces
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    Store.open(Path(sys.argv[1]))
except StoreUnavailable as error:
    print(error); sys.exit(3)
"""


@pytest.mark.parametrize("exists", [False, True])
def test_an_unwritable_folder_is_named_with_the_next_step(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "data"
    if exists:
        Store.open(folder / "waterline.db").close()
    folder.mkdir(exist_ok=True)
    folder.chmod(0o555)
    for parent in [tmp_path, *list(tmp_path.parents)[:2]]:
        parent.chmod(0o755)
    try:
        done = subprocess.run(
            [sys.executable, "-c", OPEN_AS_NOBODY, str(folder / "waterline.db")], capture_output=True, text=True
        )
    finally:
        folder.chmod(0o755)
    assert done.returncode == 3, done.stderr
    assert str(folder) in done.stdout
    assert "Give uid" in done.stdout
    assert "--data" in done.stdout


def test_rows_that_come_in_any_number_are_all_there_and_take_few_prepared_statements(store: Store) -> None:
    """One for each number of rows, kept by the connection, was 10 MB of memory that grew for hours."""
    put: list[tuple[int, str, str, str]] = []
    for n in range(1, 140):
        rows = [(len(put) + i, f"word{n}", "", "") for i in range(n)]
        put += rows
        store.write_sync(lambda tx, rows=rows: tx.insert("traces.insert_text", rows))
    assert len([name for name, _ in store.statements._for_rows if name == "traces.insert_text"]) == 7
    connection = sqlite3.connect(store.path)
    assert connection.execute("SELECT rowid, text, session, tags FROM trace_text ORDER BY rowid").fetchall() == put
    connection.close()


FILL = """
import resource, sys
from pathlib import Path
from waterline.store import releases
from waterline.store.db import Store, StoreUnavailable
store = Store.open(Path(sys.argv[1]))
store.write_sync(lambda tx: releases.add_spec(tx, "school", b"before", 1, "ana"))
resource.setrlimit(resource.RLIMIT_FSIZE, (900_000, 900_000))
try:
    for n in range(100):
        store.write_sync(lambda tx: releases.add_spec(tx, "school", b"%d" % n * 20_000, 1, "ana"))
except StoreUnavailable as error:
    print(error)
store.close()
"""


def test_a_full_disk_is_reported_and_what_was_written_before_stays(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FILL, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stdout
    assert re.search("Free some space|is full", done.stdout), done.stdout
    store = Store.open(path)
    assert store.read_sync(lambda tx: releases.get_spec(tx, releases.spec_id(b"before"))) is not None
    store.close()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
