"""PostgreSQL: a cluster of its own."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from realservers.process import answers, folder_of, free_port, program, run_as, running, unprivileged

USER, PASSWORD, DATABASE = "waterline", "correct-horse", "school"
SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=40")


class Postgres:
    def __init__(self, port: int) -> None:
        self.port = port

    def sql(self, statement: str, *values: Any, user: str = "postgres", database: str = DATABASE) -> list[Any]:
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user=user, password=PASSWORD, dbname=database, autocommit=True
        ) as connection:
            done = connection.execute(statement, values or None)  # type: ignore[arg-type]
            return done.fetchall() if done.description else []


@contextmanager
def postgres() -> Iterator[Postgres]:
    folders = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    initdb, server = (program(name, "postgresql", *folders) for name in ("initdb", "postgres"))
    user, port = unprivileged("postgres"), free_port()
    with folder_of(user, "postgres") as folder:
        (folder / "pw").write_text(PASSWORD)
        (folder / "pw").chmod(0o644)
        make = [str(Path(initdb).resolve()), "-D", str(folder / "data"), "-U", "postgres", "-A", "scram-sha-256"]
        run_as(user, [*make, "--pwfile", str(folder / "pw"), "-E", "UTF8", "--locale=C", "--no-sync"], folder)
        command = [str(Path(server).resolve()), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder)]
        command += ["-h", "127.0.0.1", *(part for setting in SETTINGS for part in ("-c", setting))]
        with running(command, lambda: _ready(port), folder / "log", user=user, stop=signal.SIGINT):
            made = Postgres(port)
            made.sql(f"CREATE DATABASE {DATABASE}", database="postgres")
            made.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
            yield made


def _ready(port: int) -> bool:
    if not answers(port):
        return False
    try:
        psycopg.connect(host="127.0.0.1", port=port, user="postgres", password=PASSWORD, dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True
