"""Migrations go forward only, each in a transaction of its own, recorded with the SHA-256 of its file.

A database that has seen a migration this Waterline does not know, or knows with other bytes, is refused: guessing would
risk the data. A migration that fails is undone and stops the start.
"""

import re
import sqlite3
from importlib import resources

from msgspec import Struct

from waterline.core.errors import WaterlineError
from waterline.core.ids import sha256_hex
from waterline.store.dialect import Dialect

_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")

# The one table that no migration makes.
_OWN_TABLE = """CREATE TABLE IF NOT EXISTS schema_migrations (
    number BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    at_us BIGINT NOT NULL
)"""


class MigrationFailed(WaterlineError):
    """Why the schema is not what this Waterline needs, and what to do."""


class Migration(Struct, frozen=True):
    number: int
    name: str
    script: str
    sha256: str


def known() -> list[Migration]:
    """The migrations of this package, in order. Numbers start at 1 and have no gaps."""
    found = []
    for file in resources.files(__package__).joinpath("migrations").iterdir():
        if match := _FILE.fullmatch(file.name):
            data = file.read_bytes()
            found.append(Migration(int(match[1]), file.name, data.decode(), sha256_hex(data)))
    found.sort(key=lambda m: m.number)
    if [m.number for m in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations are not numbered 1, 2, 3 ...: {[m.name for m in found]}")
    return found


def migrate(
    connection: sqlite3.Connection, dialect: Dialect, at_us: int, migrations: list[Migration] | None = None
) -> int:
    """Applies what is missing; returns how many. Raises MigrationFailed."""
    migrations = known() if migrations is None else migrations
    connection.execute(_OWN_TABLE)
    rows = connection.execute("SELECT number, name, sha256 FROM schema_migrations ORDER BY number").fetchall()
    for (number, name, sha256), mine in zip(rows, migrations, strict=False):
        if (number, sha256) != (mine.number, mine.sha256):
            raise MigrationFailed(
                f"migration {number} was applied from another file than this Waterline has ({name} {sha256[:12]}, here "
                f"{mine.name} {mine.sha256[:12]}). Start the Waterline that wrote this database, or restore a backup."
            )
    if len(rows) > len(migrations):
        raise MigrationFailed(
            f"the database was written by a newer Waterline (schema {rows[-1][0]}; this one knows {len(migrations)}). "
            "Install that version or a later one, or restore a backup made before the upgrade."
        )
    missing = migrations[len(rows) :]
    for migration in missing:
        _apply(connection, dialect, migration, at_us)
    return len(missing)


def _apply(connection: sqlite3.Connection, dialect: Dialect, migration: Migration, at_us: int) -> None:
    connection.execute(dialect.begin_write)
    statement = ""
    try:
        for statement in dialect.statements(dialect.expand(_without_comments(migration.script))):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO schema_migrations (number, name, sha256, at_us) VALUES (?, ?, ?, ?)",
            (migration.number, migration.name, migration.sha256, at_us),
        )
        connection.execute("COMMIT")
    except sqlite3.Error as failure:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise MigrationFailed(
            f"migration {migration.name} failed and was undone ({failure}, in {' '.join(statement.split())[:120]!r}). "
            "The database is as it was before; keep a copy of it and report this with the message."
        ) from failure


def _without_comments(script: str) -> str:
    """Comments may speak of {macros} without meaning them."""
    return "\n".join(line for line in script.splitlines() if not line.lstrip().startswith("--"))
