"""Store: one SQLite file, one writing connection on its own thread, reading connections on a few threads.

All work is a plain function over a `Tx`, which knows statements only by name:

    await store.write(lambda tx: releases.add(tx, release))
    row = await store.read(lambda tx: traces.get(tx, trace_id))
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from waterline.core.errors import WaterlineError
from waterline.store import named_sql
from waterline.store.dialect import Dialect, SqliteDialect, connect
from waterline.store.migrate import MigrationFailed, migrate

T = TypeVar("T")
Row = dict[str, Any]

READERS = 4
BUSY_S = 5.0  # how long to wait for another writer (a backup, a person with sqlite3)
READ_S = 15.0  # the longest a read may take
REWRITE_S = 30.0  # how long to wait for readers of the old log
MOST_WAITING = 2000  # writes that may queue
MOST_TOGETHER = 64  # of those that wait, in one transaction: the disk is asked to be sure once for all of them
ROWS_AT_ONCE = 64  # in one statement


class StoreUnavailable(WaterlineError):
    """The database cannot be opened, read or written now. The message names the file and the next step."""


class StoreTimeout(StoreUnavailable):
    """A read took longer than it may."""


class StoreConflict(WaterlineError):
    """A constraint forbids the change: it exists already, names something that does not exist, or is append-only."""


class Tx:
    """One transaction. Statements are known by name ("traces.page"); parameters are given by name."""

    def __init__(self, connection: sqlite3.Connection, statements: "Statements") -> None:
        self._connection = connection
        self._statements = statements
        self.dialect = statements.dialect

    def run(self, name: str, /, **params: Any) -> int:
        """Returns the number of rows changed."""
        return self._connection.execute(self._statements.sql(name, params), params).rowcount

    def all(self, name: str, /, **params: Any) -> list[Row]:
        cursor = self._connection.execute(self._statements.sql(name, params), params)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, values, strict=True)) for values in cursor]

    def one(self, name: str, /, **params: Any) -> Row | None:
        """The first row, or None."""
        cursor = self._connection.execute(self._statements.sql(name, params), params)
        values = cursor.fetchone()
        if values is None:
            return None
        row = {column[0]: value for column, value in zip(cursor.description, values, strict=True)}
        cursor.fetchall()  # ends the statement; a RETURNING must run to its end
        return row

    def many(self, name: str, rows: Iterable[Mapping[str, Any]]) -> int:
        """The statement once for each row. Returns the number of rows changed."""
        return self._connection.executemany(self._statements.sql(name, {}), rows).rowcount

    def insert(self, name: str, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Many rows at once, each with its values in the order in which the statement names its parameters. Returns
        what the statement says it returns, in any order.

        A statement for each row would hand the interpreter's lock back and forth as often."""
        found: list[tuple[Any, ...]] = []
        left = iter(rows)
        while part := list(islice(left, ROWS_AT_ONCE)):
            for some in _halved(part):
                sql = self._statements.for_rows(name, len(some))
                found += self._connection.execute(sql, list(chain.from_iterable(some))).fetchall()
        return found


def _halved(rows: list[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    """In parts of 64, 32, 16 ... rows: a prepared statement for each number up to 64 would hold 10 MB of memory."""
    at, size = 0, ROWS_AT_ONCE
    while at < len(rows):
        if size <= len(rows) - at:
            yield rows[at : at + size]
            at += size
        else:
            size //= 2


class Statements:
    """The named statements, expanded for one dialect and kept."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.named = named_sql.load()
        self._texts: dict[tuple[str, tuple[str, ...]], str] = {}
        self._for_rows: dict[tuple[str, int], str] = {}

    def sql(self, name: str, params: Mapping[str, Any]) -> str:
        statement = self.named[name]
        given = statement.given(params) if statement.optional else ()
        text = self._texts.get((name, given))
        if text is None:
            text = self._texts[name, given] = self.dialect.expand(statement.text(given))
        return text

    def for_rows(self, name: str, n: int) -> str:
        text = self._for_rows.get((name, n))
        if text is None:
            text = self._for_rows[name, n] = self.dialect.for_rows(self.sql(name, {}), n)
        return text


class _Job(NamedTuple):
    """A write that waits. `alone`: nobody else's hangs on how long it takes. `fn` None: the last of all."""

    fn: Callable[[Tx], Any] | None
    future: "asyncio.Future[Any] | Future[Any]"
    alone: bool = False
    repeats: bool = False
    outside: Callable[[], Any] | None = None  # instead: not in a transaction


class _Result(NamedTuple):
    future: "asyncio.Future[Any] | Future[Any]"
    value: Any
    failure: BaseException | None


class Store:
    """Open one with `Store.open`. Close it: `close` waits for what is queued."""

    def __init__(self, path: Path, writer: sqlite3.Connection, lock: int, on_error: Callable[[str], None]) -> None:
        self.path = path
        self.on_error = on_error
        self.statements = Statements(SqliteDialect())
        self._writer = writer
        self._lock = lock
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._held: _Job | None = None  # taken from the queue, and next
        self._gate = threading.Lock()
        self._write_thread = threading.Thread(target=self._write_for_ever, name="store-write", daemon=True)
        self._write_thread.start()
        self._read_threads = ThreadPoolExecutor(READERS, "store-read")
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._readers_lock = threading.Lock()
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, on_error: Callable[[str], None] | None = None) -> "Store":
        """Opens or creates the database file and migrates it forward.

        `on_error` is told of trouble that no caller waits for. Raises StoreUnavailable: an unwritable folder, a
        file that is no database, a schema from a newer Waterline, a failed migration, another process in charge."""
        lock = _take_lock(path)
        connection: sqlite3.Connection | None = None
        try:
            connection = connect(path, read_only=False, timeout_s=BUSY_S)
            path.chmod(0o600)
            migrate(connection, SqliteDialect(), time.time_ns() // 1000)
        except MigrationFailed as failure:
            _abandon(connection, lock)
            raise StoreUnavailable(f"{path}: {failure}") from failure
        except (sqlite3.Error, OSError) as failure:
            _abandon(connection, lock)
            raise StoreUnavailable(_explain(path, failure)) from failure
        return cls(path, connection, lock, on_error or _ignore)

    async def write(self, fn: Callable[[Tx], T], *, repeats: bool = False) -> T:
        """Runs `fn` on the writer thread, in a transaction. When this returns, it is on disk.

        What waits at the same time shares a transaction; each is kept or not by itself. Raises what `fn` raises
        (nothing is kept then), StoreConflict, StoreUnavailable. `repeats`: `fn` changes rows and nothing else, so it
        may be run anew when one that shared the transaction failed; that spares two statements each."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._submit(_Job(fn, future, repeats=repeats))
        return await future

    def write_sync(self, fn: Callable[[Tx], T]) -> T:
        """The same, blocking, and in a transaction of its own: it may take longer. For threads and for start-up; never
        from the writer thread itself."""
        if threading.current_thread().name.startswith("store-write"):
            raise RuntimeError("a write inside a write: pass the Tx on")
        future: Future[T] = Future()
        self._submit(_Job(fn, future, alone=True))
        return future.result()

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Runs `fn` on a read-only connection, over one snapshot. Raises what `fn` raises, StoreUnavailable."""
        return await asyncio.get_running_loop().run_in_executor(self._read_threads, self._read, fn)

    def glance(self, fn: Callable[[Tx], T]) -> T:
        """The same on the thread that asks, which waits: for a few rows by their key, written just now, so that they
        are in memory. It costs a fifth of a `read`, and holds up the event loop for some 50 µs."""
        return self._read(fn)

    def read_sync(self, fn: Callable[[Tx], T]) -> T:
        return self._read_threads.submit(self._read, fn).result()

    async def rewrite(self) -> bool:
        """Writes the file anew, so that it holds nothing of what was deleted; nothing else is written meanwhile. False:
        it could not be (no room, say), or somebody reads the old log for too long; `on_error` is told."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._submit(_Job(None, future, alone=True, outside=self._rewrite))
        return await future

    def _rewrite(self) -> bool:
        dialect = self.statements.dialect
        try:
            for statement in dialect.rewrite:
                self._writer.execute(statement).fetchall()
            end = time.monotonic() + REWRITE_S
            while self._writer.execute(dialect.shorten_log).fetchone()[0]:
                if time.monotonic() > end:
                    self.on_error(f"{self.path}: somebody reads the write-ahead log; it still holds deleted rows")
                    return False
                time.sleep(0.05)
        except sqlite3.Error as failure:
            self.on_error(_explain(self.path, failure))
            return False
        return True

    def close(self) -> None:
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(_Job(None, Future(), alone=True))
        self._write_thread.join()
        self._read_threads.shutdown(wait=True)
        for connection in self._readers:
            connection.close()
        try:
            self._writer.execute("PRAGMA optimize")
        except sqlite3.Error as failure:
            self.on_error(_explain(self.path, failure))
        self._writer.close()
        os.close(self._lock)

    def _submit(self, job: _Job) -> None:
        if self._jobs.qsize() >= MOST_WAITING:
            raise StoreUnavailable(f"{self.path}: {MOST_WAITING} writes are waiting already; the disk is too slow.")
        with self._gate:  # whoever waits before the last one is served
            if self._closed:
                raise RuntimeError(f"{self.path} is closed")
            self._jobs.put(job)

    def _write_for_ever(self) -> None:
        while jobs := self._next_jobs():
            first = jobs[0]
            if first.fn is None:
                if first.outside is None:
                    return
                _deliver([_outside(first)])
                continue
            jobs = [job for job in jobs if _wanted(job.future)]
            if jobs:
                _deliver(self._write(jobs))

    def _next_jobs(self) -> list[_Job]:
        """What waits now and may share a transaction; at least one."""
        jobs = [self._held or self._jobs.get()]
        self._held = None
        while not jobs[0].alone and len(jobs) < MOST_TOGETHER:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job.alone:
                self._held = job
                break
            jobs.append(job)
        return jobs

    def _write(self, jobs: list[_Job], *, each: bool = False) -> list[_Result]:
        """One transaction. Each is kept or not by itself: by a savepoint of its own, or, where all may be run anew, in
        a second transaction once one has failed (`each`)."""
        connection, done, failed = self._writer, list[_Result](), list[_Result]()
        savepoints = len(jobs) > 1 and (each or not all(job.repeats for job in jobs))
        anew = False
        try:
            connection.execute(self.statements.dialect.begin_write)
            for job in jobs:
                if savepoints:
                    connection.execute("SAVEPOINT job")
                try:
                    assert job.fn is not None
                    result = job.fn(Tx(connection, self.statements))
                except BaseException as failure:
                    if not savepoints or not connection.in_transaction:  # the database has undone all of it
                        anew = len(jobs) > 1 and not savepoints
                        raise
                    connection.execute("ROLLBACK TO SAVEPOINT job")
                    failed.append(_Result(job.future, None, self._told(failure)))
                else:
                    done.append(_Result(job.future, result, None))
                if savepoints:
                    connection.execute("RELEASE SAVEPOINT job")
            connection.execute("COMMIT")
        except BaseException as failure:  # noqa: BLE001
            # Whatever happened, the one writing connection must not stay inside a transaction.
            self._roll_back()
            if anew:
                return self._write(jobs, each=True)
            told, known = self._told(failure), {id(result.future) for result in failed}
            return failed + [_Result(job.future, None, told) for job in jobs if id(job.future) not in known]
        return done + failed

    def _told(self, failure: BaseException) -> BaseException:
        """What whoever asked is told."""
        if not isinstance(failure, sqlite3.Error):
            return failure
        try:
            told: BaseException = _translated(self.path, failure)
        except sqlite3.Error:
            return failure  # our mistake
        told.__cause__ = failure
        return told

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            try:
                self._writer.execute("ROLLBACK")
            except sqlite3.Error as failure:
                self.on_error(_explain(self.path, failure))

    def _read(self, fn: Callable[[Tx], T]) -> T:
        connection = self._reader()
        deadline = time.monotonic() + READ_S
        connection.set_progress_handler(lambda: time.monotonic() > deadline, 20_000)
        try:
            connection.execute(self.statements.dialect.begin_read)
            try:
                return fn(Tx(connection, self.statements))
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.Error as failure:
            if getattr(failure, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY:
                raise  # a write asked for as a read: our mistake, crash
            raise _translated(self.path, failure) from failure
        finally:
            connection.set_progress_handler(None, 0)

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            try:
                connection = connect(self.path, read_only=True, timeout_s=BUSY_S)
            except sqlite3.Error as failure:
                raise _translated(self.path, failure) from failure
            self._local.connection = connection
            with self._readers_lock:
                self._readers.append(connection)
        return connection


def _outside(job: _Job) -> _Result:
    try:
        assert job.outside is not None
        return _Result(job.future, job.outside(), None)
    except BaseException as failure:  # noqa: BLE001  whoever asked is told
        return _Result(job.future, None, failure)


def _wanted(future: "asyncio.Future[Any] | Future[Any]") -> bool:
    """Whether anybody waits for it still; from now on it happens."""
    return future.set_running_or_notify_cancel() if isinstance(future, Future) else not future.cancelled()


def _deliver(results: list[_Result]) -> None:
    """To whoever waits: an event loop is woken once for all that is for it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Result]] = {}
    for result in results:
        if isinstance(result.future, Future):
            _set(result)
        else:
            by_loop.setdefault(result.future.get_loop(), []).append(result)
    for loop, part in by_loop.items():
        with contextlib.suppress(RuntimeError):  # it was closed: nobody waits
            loop.call_soon_threadsafe(_set_all, part)


def _set_all(results: list[_Result]) -> None:
    for result in results:
        _set(result)


def _set(result: _Result) -> None:
    if result.future.done():
        return  # it was cancelled meanwhile
    if result.failure is None:
        result.future.set_result(result.value)
    else:
        result.future.set_exception(result.failure)


def _ignore(_: str) -> None:
    """For whoever does not want to know."""


def _take_lock(path: Path) -> int:
    """One Waterline a database: a second one would drain, and delete, the spool of the first."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as failure:
        raise StoreUnavailable(_explain(path, failure)) from failure
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as failure:
        os.close(lock)
        raise StoreUnavailable(
            f"{path}: another Waterline uses this data folder. Stop it first, or give this one its own --data."
        ) from failure
    return lock


def _abandon(connection: sqlite3.Connection | None, lock: int) -> None:
    if connection is not None:
        connection.close()
    os.close(lock)


def _translated(path: Path, failure: sqlite3.Error) -> WaterlineError:
    if isinstance(failure, sqlite3.IntegrityError):
        return StoreConflict(str(failure))
    if isinstance(failure, sqlite3.ProgrammingError | sqlite3.InterfaceError):
        raise failure  # our mistake: crash
    if isinstance(failure, sqlite3.OperationalError):
        if failure.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return StoreTimeout(f"{path}: a query took longer than {READ_S:.0f} s. Ask for less: a shorter time span.")
        if failure.sqlite_errorcode == sqlite3.SQLITE_ERROR:
            raise failure  # bad SQL: our mistake, crash
    return StoreUnavailable(_explain(path, failure))


def _explain(path: Path, failure: sqlite3.Error | OSError) -> str:
    """The file, what is wrong with it, what to do."""
    folder = path.parent
    if isinstance(failure, OSError):
        if failure.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"{path}: the folder {folder} cannot be written ({failure.strerror}). {_permit(folder)}"
        if failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return f"{path}: {_full(folder)}"
        return f"{path}: {failure.strerror or failure}. Check that {folder} is a folder on a local disk."
    code = getattr(failure, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_FULL:
            return f"{path}: {_full(folder)}"
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return (
                f"{path}: this file is not a database that can be read ({failure}). Move it aside and restore a "
                f"backup (docs/howto/install.md); do not delete it, and keep {folder / 'spool'}: what it holds "
                "is stored at the next start."
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return f"{path}: the database or its folder {folder} cannot be written ({failure}). {_permit(folder)}"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"{path}: another program holds the database. Close it (a sqlite3 shell, a backup), then try again."
        case sqlite3.SQLITE_IOERR:
            return f"{path}: the disk reports an error, or is full ({failure}). Check the disk under {folder}."
        case _:
            return f"{path}: {failure}. Check the disk under {folder}."


def _permit(folder: Path) -> str:
    return f"Give uid {os.geteuid()} the right to write there, or choose another folder with --data."


def _full(folder: Path) -> str:
    return f"no room left on the disk of {folder}. Free some space; nothing that was answered is lost until then."
