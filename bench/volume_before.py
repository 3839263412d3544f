"""The database of a month that is nearly over, for bench/volume.py --before: the rows of a small real run, copied until
they are those of so many leads, spread over thirty days. Only keys and times of the copies differ."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

SEED_LEADS = 400
DAYS_US = 30 * 86_400_000_000
# Of each table: the columns that name something of one lead; the numbers that count rows, and how many a row takes.
KEYS: dict[str, tuple[str, ...]] = {
    "identities": ("id",),
    "aliases": ("value", "identity"),
    "conversations": ("id", "sender", "identity"),
    "conversation_ways": ("sender", "conversation"),
    "conversation_stages": ("conversation",),
    "inbox": ("conversation", "message_id"),
    "turns": ("conversation",),
    "effects": ("key", "conversation", "message_id"),
    "sent_messages": ("message_id", "conversation", "key"),
    "channel_fees": ("key", "message_id", "contact"),
    "sessions": ("session",),
    "session_steps": ("session",),
    "traces": ("id", "session", "subject"),
    "bodies": (),
    "trace_text": ("session",),
}
NUMBERS = {"inbox": "n", "effects": "n", "traces": "n", "bodies": "place", "trace_text": "rowid"}
SUMS = {  # by day or month: the copies are added to what is there
    "conversation_days": ("n", "amount", "unpriced"),
    "channel_fee_months": (
        "messages", "unpriced", "expected_nano_usd", "spent_nano_usd", "billed_messages", "billed_nano_usd",
    ),
}  # fmt: skip


def prepare(work: Path, leads: int) -> None:
    """Leaves `app` and `data` in `work`, with the rows of about so many leads."""
    small = work / "small"
    bench = Path(__file__).with_name("volume.py")
    said(f"a real run of {SEED_LEADS} leads, whose rows are copied")
    command = [sys.executable, str(bench), "--leads", str(SEED_LEADS), "--minutes", "2", "--out", str(small)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    multiply(small / "data" / "waterline.db", max(1, leads // SEED_LEADS - 1))
    for name in ("app", "data"):
        (small / name).rename(work / name)


def multiply(database: Path, copies: int) -> None:
    """Each row of a lead `copies` times more, older by a step each. A crash leaves the file broken."""
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -4000000", "temp_store = FILE"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        db.execute("CREATE TEMP TABLE copies (j INTEGER PRIMARY KEY)")
        db.executemany("INSERT INTO copies VALUES (?)", [(j,) for j in range(1, copies + 1)])
        indices = db.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN "
            f"({', '.join('?' * len(KEYS))})", [*KEYS],
        ).fetchall()  # fmt: skip
        for name, _ in indices:
            db.execute(f"DROP INDEX {name}")
        for table, keys in KEYS.items():
            _copy(db, table, keys, DAYS_US // (copies + 1))
        for table, columns in SUMS.items():
            more = ", ".join(f"{column} = {column} * {copies + 1}" for column in columns)
            db.execute(f"UPDATE {table} SET {more}")
        for name, sql in indices:
            said(f"index {name}")
            db.execute(sql)
        db.execute("ANALYZE")
        db.execute("PRAGMA journal_mode = WAL").fetchall()


def _copy(db: sqlite3.Connection, table: str, keys: tuple[str, ...], step_us: int) -> None:
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    number = NUMBERS.get(table)
    if number == "rowid":
        columns.insert(0, "rowid")
    db.execute(f"CREATE TEMP TABLE few AS SELECT {', '.join(columns)} FROM {table}")
    rows = f"(SELECT MAX({number}) + 1 FROM few)" if number else ""
    if table in ("bodies", "trace_text"):  # they go by the number of their trace
        rows = "(SELECT MAX(n) + 1 FROM traces_few)" + (" * 2" if table == "bodies" else "")
    chosen = []
    for column in columns:
        if column == number:
            chosen.append(f"{column} + j * {rows}")
        elif column in keys:
            chosen.append(f"CASE {column} WHEN '' THEN '' ELSE printf('%07x.', j) || {column} END")
        elif column.endswith("_us"):
            chosen.append(f"CASE WHEN {column} > 0 THEN {column} - j * {step_us} ELSE {column} END")
        elif column == "hour":
            chosen.append(f"{column} - j * {step_us} / 3600000000")
        else:
            chosen.append(column)
    if table == "traces":
        db.execute("CREATE TEMP TABLE traces_few AS SELECT n FROM traces")
    began = time.monotonic()
    db.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(chosen)} FROM copies CROSS JOIN few")
    db.execute("DROP TABLE few")
    said(f"{table}: {db.execute('SELECT changes()').fetchone()[0]:,} rows more, {time.monotonic() - began:.0f} s")


def said(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
