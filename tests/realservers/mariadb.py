"""MariaDB as an old application left it: latin1, MyISAM, dates of all kinds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql

from realservers.process import answers, folder_of, free_port, program, run_as, running, unprivileged

USER, PASSWORD, DATABASE = "waterline", "correct-horse", "enrolment"


class Maria:
    def __init__(self, port: int) -> None:
        self.port = port

    def sql(self, statement: str, *values: Any, database: str | None = DATABASE) -> list[Any]:
        connection = pymysql.connect(
            host="127.0.0.1", port=self.port, user="tests", password=PASSWORD, database=database, charset="latin1",
            sql_mode="", autocommit=True,
        )  # fmt: skip
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())


@contextmanager
def mariadb() -> Iterator[Maria]:
    server = program("mariadbd", "mariadb-server")
    install = program("mariadb-install-db", "mariadb-server")
    user, port = unprivileged("mysql"), free_port()
    with folder_of(user, "mariadb") as folder:
        data = f"--datadir={folder}/data"
        run_as(
            user, [install, "--no-defaults", data, "--skip-test-db", "--auth-root-authentication-method=normal"], folder
        )
        first = folder / "first.sql"
        first.write_text(
            f"CREATE DATABASE {DATABASE} CHARACTER SET latin1;\n"
            f"CREATE USER tests@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO tests@'127.0.0.1';\n"
            f"CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {DATABASE}.* TO {USER}@'127.0.0.1';\n"
        )
        first.chmod(0o644)
        command = [server, "--no-defaults", data, f"--port={port}", "--bind-address=127.0.0.1", f"--init-file={first}"]
        command += [f"--socket={folder}/s", f"--pid-file={folder}/pid", "--skip-name-resolve", "--skip-log-bin"]
        command += ["--innodb-buffer-pool-size=8M", "--key-buffer-size=1M", "--performance-schema=OFF"]
        with running(command, lambda: _ready(port), folder / "log", user=user):
            yield Maria(port)


def _ready(port: int) -> bool:
    if not answers(port):
        return False
    try:
        Maria(port).sql("SELECT 1")
    except pymysql.Error:
        return False
    return True
