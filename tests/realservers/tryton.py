"""Tryton with the modules party and sale_opportunity, on a SQLite file.

Its initialised database takes half a minute to make: it is made once a machine and version, and copied.
"""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from realservers.process import answers, free_port, running

DATABASE, USER, PASSWORD = "school", "office", "correct-horse-9"
FILL = Path(__file__).parents[2] / "examples" / "office_crm.py"  # the demo's
LAYOUT = 1  # of what that fills in; another number makes a new file


class Tryton:
    def __init__(self, port: int, file: Path) -> None:
        self.port, self.file = port, file
        self.url = f"http://127.0.0.1:{port}"

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Straight into its database, past Tryton."""
        connection = sqlite3.connect(self.file, timeout=30)
        try:
            with connection:
                return connection.execute(statement, values).fetchall()
        finally:
            connection.close()


def _config(folder: Path, port: int) -> Path:
    file = folder / "trytond.conf"
    file.write_text(f"[database]\nuri = sqlite://\npath = {folder}\n[web]\nlisten = 127.0.0.1:{port}\n")
    return file


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _made(folder: Path) -> Path:
    """The initialised database, from the cache."""
    names = ("trytond", "trytond-party", "trytond-sale-opportunity")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waterline-tests"
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"tryton-{'-'.join(map(version, names))}-{LAYOUT}.sqlite"
    with (cache / "tryton.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            making = folder / "making"
            making.mkdir()
            config = _config(making, 0)
            (making / f"{DATABASE}.sqlite").touch()
            (making / "pw").write_text(PASSWORD)
            environment = {**os.environ, "TRYTONPASSFILE": str(making / "pw")}
            admin = [_program("trytond-admin"), "-c", str(config), "-d", DATABASE, "-u", "sale_opportunity"]
            subprocess.run([*admin, "--activate-dependencies", "--email", "a@example.org"], env=environment, check=True)
            fill = [sys.executable, str(FILL), str(config)]
            subprocess.run([*fill, DATABASE, USER, PASSWORD], check=True)
            shutil.move(making / f"{DATABASE}.sqlite", kept.with_suffix(".new"))
            kept.with_suffix(".new").rename(kept)
    return kept


@contextmanager
def tryton(folder: Path) -> Iterator[Tryton]:
    port = free_port()
    file = folder / f"{DATABASE}.sqlite"
    shutil.copy(_made(folder), file)
    command = [_program("trytond"), "-c", str(_config(folder, port)), "-d", DATABASE]
    with running(command, lambda: answers(port), folder / "log"):
        yield Tryton(port, file)
