"""Declared queries over PostgreSQL (psycopg 3). Reads run in read-only transactions, with the server's own time-out.

A write's key is stored in a unique column (`INSERT ... ON CONFLICT DO NOTHING`), so that of two who do the same at once
one does it; `look_up` says what was done. The connection goes to the configured host only.
"""

import contextlib
import re
from functools import partial
from itertools import islice
from typing import Any, ClassVar

from waterline.connectors import queries
from waterline.connectors.base import ConnectorFault, Scope
from waterline.connectors.dial import addresses_of

CONNECT_S = 5
_NAME = re.compile(r"[\w.-]{1,128}")


class PostgreSql(queries.Database):
    KIND, TITLE = "postgresql", "PostgreSQL"
    SETTINGS = ("host", "port", "database", "user", "password")
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "queries": {"type": "object", "additionalProperties": queries.QUERY},
            "tls": {"type": "string", "enum": ["require", "verify-full", "prefer"]},
        },
        "required": ["queries"],
    }

    def _do(self, name: str, arguments: dict[str, Any], key: str, scope: Scope, timeout_s: float) -> dict[str, Any]:
        import psycopg

        try:
            with self._connect(timeout_s) as connection:
                if name == "ping":
                    connection.execute("SELECT 1")
                    return {"ok": True}
                query = self._queries[name]
                if query.effect == "read":
                    connection.read_only = True
                return queries.perform(
                    query,
                    self._queries.get(query.look_up),
                    lambda one: queries.values(one, arguments, key, scope.place),
                    partial(self._rows, connection),
                    partial(self._write, connection),
                )
        except psycopg.Error as error:
            raise _fault(error) from None

    def _write(self, connection: Any, query: queries.Query, given: dict[str, Any]) -> int:
        changed: int = connection.execute(queries.bound(query, _style), given).rowcount
        connection.commit()
        return max(0, changed)

    def _rows(self, connection: Any, query: queries.Query, given: dict[str, Any]) -> dict[str, Any]:
        from psycopg.rows import dict_row

        with connection.cursor(row_factory=dict_row) as cursor:
            # Row by row: otherwise the driver takes all of them before it gives the first.
            coming = cursor.stream(queries.bound(query, _style), given)
            with contextlib.closing(coming):
                found = list(islice(coming, queries.MAX_ROWS + 1))
        if len(found) > queries.MAX_ROWS:
            connection.rollback()  # the rest was called off, and with it what had been read
        return queries.rows(found)

    def _connect(self, timeout_s: float) -> Any:
        import psycopg
        from psycopg.adapt import Loader

        settings = self._required("host", "database", "user")
        if "," in settings["host"]:
            raise ConnectorFault("invalid", "The setting host is more than one host. Name one.")
        host, port = settings["host"], settings.get("port") or "5432"
        # libpq tries pairs of a name, which is for the certificate, and an address. A path is a socket of this machine.
        addresses = [] if host.startswith(("/", "@")) else _addresses(host)
        connection = psycopg.connect(
            host=",".join([host] * max(1, len(addresses))),
            hostaddr=",".join(addresses) or None,
            port=port,
            dbname=settings["database"],
            user=settings["user"],
            password=settings.get("password") or None,
            connect_timeout=CONNECT_S,
            sslmode=self._config.parameters.get("tls", "prefer"),
            application_name="waterline",
            options=f"-c statement_timeout={int(timeout_s * 1000)} -c idle_in_transaction_session_timeout=30000",
            tcp_user_timeout=int(timeout_s * 1000),
        )

        class AsText(Loader):
            """Dates that Python has not (infinity, BC, year 20026) are given as PostgreSQL writes them."""

            def load(self, data: Any) -> str:
                return bytes(data).decode()

        for name in ("date", "timestamp", "timestamptz", "interval"):
            connection.adapters.register_loader(name, AsText)
        return connection


def _addresses(host: str) -> list[str]:
    try:
        return addresses_of(host)
    except OSError:
        raise ConnectorFault("down", "PostgreSQL cannot be reached: its name is not known.") from None


def _style(name: str) -> str:
    return f"%({name})s"


def _fault(error: Any) -> ConnectorFault:
    """By SQLSTATE (PostgreSQL manual, appendix A). Only the class is told: messages hold values."""
    state = error.sqlstate or ""
    match state[:2]:
        case "28":
            return ConnectorFault("credentials", f"PostgreSQL refuses our user or password ({state}). Set new ones.")
        case "3D" | "42" if state != "42501":
            return ConnectorFault("schema", f"A table or column is not what the query says ({state}). Correct one.")
        case "42":
            return ConnectorFault("credentials", "Our user lacks a right in PostgreSQL (42501). Grant it.")
        case "23":
            return ConnectorFault("refused", f"PostgreSQL refuses the record ({state}: {_constraint(error)}).")
        case "22":
            return ConnectorFault("data", f"A value is not what the column holds ({state}).")
        case "25":
            return ConnectorFault(
                "schema", f"A query that is declared as a read writes ({state}). Declare it as a write."
            )
        case "40" | "53" | "57" | "58" | "08" if state != "57014":
            return ConnectorFault("down", f"PostgreSQL cannot do it now ({state}).")
    if state == "57014" or isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return ConnectorFault("slow", "PostgreSQL did not end in time; the statement was stopped.")
    if not state and "timeout" in str(error).lower():
        return ConnectorFault("slow", "PostgreSQL gave no answer in time.")
    if not state:
        # libpq does not give a SQLSTATE for what happens while connecting
        said = str(error).lower()
        if "password" in said or "authentication" in said or "role" in said:
            return ConnectorFault("credentials", "PostgreSQL refuses our user or password. Set new ones.")
        if "database" in said and "does not exist" in said:
            return ConnectorFault("schema", "There is no such database in PostgreSQL.")
        return ConnectorFault("down", "PostgreSQL cannot be reached or broke off.")
    return ConnectorFault("data", f"PostgreSQL says {state}.")


def _constraint(error: Any) -> str:
    name = getattr(error.diag, "constraint_name", None) or getattr(error.diag, "column_name", None) or "a rule"
    return name if _NAME.fullmatch(name) else "a rule"
