"""Declared queries over an old MariaDB or MySQL: latin1, MyISAM without transactions, dates that never were.

A write's key stands in a unique column (`INSERT ... ON DUPLICATE KEY UPDATE id = id`;
`IGNORE` would also swallow what does not fit), for MyISAM undoes nothing; `look_up` says what is there. Text is
read as bytes and decoded here: a column that says latin1 often holds UTF-8 that another program put there (mojibake),
and where that is beyond doubt it is read as UTF-8. A date that is none is null and told as unreadable, never guessed.
"""

import datetime as dt
import re
import socket
import ssl
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from waterline.connectors import queries
from waterline.connectors.base import Config, ConnectorFault, Scope
from waterline.connectors.dial import dial

CONNECT_S = 5
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.\d+)?)?\Z")


class MariaDb(queries.Database):
    KIND, TITLE = "mariadb", "MariaDB or MySQL"
    SETTINGS = ("host", "port", "socket", "database", "user", "password")
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "queries": {"type": "object", "additionalProperties": queries.QUERY},
            "charset": {"type": "string", "enum": ["latin1", "utf8mb4"], "description": "of the tables; else utf8mb4"},
            "tls": {"type": "boolean"},
        },
        "required": ["queries"],
    }

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._charset = str(config.parameters.get("charset", "utf8mb4"))

    def _do(self, name: str, arguments: dict[str, Any], key: str, scope: Scope, timeout_s: float) -> dict[str, Any]:
        import pymysql

        try:
            connection = self._connect(timeout_s)
            try:
                if name == "ping":
                    connection.cursor().execute("SELECT 1")
                    return {"ok": True}
                query = self._queries[name]
                if query.effect == "read":
                    cursor = connection.cursor()
                    cursor.execute("SET SESSION TRANSACTION READ ONLY")
                    # The driver takes all rows before it gives the first; an old table has millions.
                    cursor.execute("SET SESSION sql_select_limit = %s", (queries.MAX_ROWS + 1,))
                return queries.perform(
                    query,
                    self._queries.get(query.look_up),
                    lambda one: queries.values(one, arguments, key, scope.place),
                    partial(self._rows, connection),
                    partial(self._write, connection),
                )
            finally:
                connection.close()
        except (pymysql.Error, OSError) as error:
            raise _fault(error) from None
        except UnicodeEncodeError:
            raise ConnectorFault(
                "data", f"A text holds characters that {self._charset} has not. Leave them out, or change the table."
            ) from None

    def _write(self, connection: Any, query: queries.Query, given: dict[str, Any]) -> int:
        with connection.cursor() as cursor:
            changed: int = cursor.execute(queries.bound(query, _style), given)
        connection.commit()
        return changed

    def _rows(self, connection: Any, query: queries.Query, given: dict[str, Any]) -> dict[str, Any]:
        with connection.cursor() as cursor:
            cursor.execute(queries.bound(query, _style), given)
            names = [column[0] for column in cursor.description or ()]
            kinds = [column[1] for column in cursor.description or ()]
            dirty: set[str] = set()
            found = []
            for row in cursor.fetchmany(queries.MAX_ROWS + 1):
                one = {}
                for name, kind, value in zip(names, kinds, row, strict=True):
                    one[name], good = _read(value, kind)
                    if not good:
                        dirty.add(name)
                found.append(one)
        shown = queries.rows(found)
        return {**shown, "unreadable": sorted({*shown["unreadable"], *dirty})}

    def _connect(self, timeout_s: float) -> Any:
        import pymysql
        from pymysql.constants import FIELD_TYPE
        from pymysql.converters import encoders

        settings = self._required("database", "user")
        # Dates and texts come as bytes; what is in them is judged in `_read`.
        numbers = (FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG)
        readers: dict[Any, Any] = {
            **dict.fromkeys((*numbers, FIELD_TYPE.YEAR), int),
            **dict.fromkeys((FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE), float),
        }
        host, port = settings.get("host") or "localhost", int(settings.get("port") or 3306)
        where = {"unix_socket": settings["socket"]} if settings.get("socket") else {"host": host, "port": port}
        connection = pymysql.connect(
            **where,
            defer_connect=True,
            database=settings["database"],
            user=settings["user"],
            password=settings.get("password", ""),
            charset=self._charset,
            connect_timeout=CONNECT_S,
            read_timeout=timeout_s,
            write_timeout=timeout_s,
            local_infile=False,
            ssl=ssl.create_default_context() if self._config.parameters.get("tls") else None,
            conv={**encoders, **readers},
            use_unicode=False,
        )
        connection.connect(None if settings.get("socket") else _dialled(host, port))
        with connection.cursor() as cursor:
            # What does not fit is an error, not a cut; and the server stops what nobody waits for any more.
            cursor.execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")
            with suppress(pymysql.OperationalError):  # MySQL has no such variable
                cursor.execute("SET SESSION max_statement_time = %s", (timeout_s,))
        return connection


def _dialled(host: str, port: int) -> socket.socket:
    """As the library opens one."""
    made = dial(host, port, CONNECT_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made


def _style(name: str) -> str:
    return f"%({name})s"


def _read(value: Any, kind: int) -> tuple[Any, bool]:
    """A value as it is meant, and whether it could be understood."""
    from pymysql.constants import FIELD_TYPE

    if not isinstance(value, bytes | str):
        return value, True
    text, good = (value, True) if isinstance(value, str) else _text(value)
    if kind in (FIELD_TYPE.DATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP):
        found = _DATE.match(text)
        try:
            parts = [int(part) for part in found.groups() if part is not None] if found else []
            if len(parts) == 3:
                return dt.date(*parts).isoformat(), True
            return dt.datetime(*parts).isoformat(), True  # type: ignore[arg-type]
        except (ValueError, TypeError):
            return None, False
    return text, good


def _text(value: bytes) -> tuple[str, bool]:
    """UTF-8 where it can be nothing else, else Windows' latin1, which every old program meant by that name."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("cp1252", "replace"), True
    # Encoded twice (SÃ£o): taking one layer off gives UTF-8 again.
    try:
        return (text.encode("cp1252").decode("utf-8"), True) if not text.isascii() else (text, True)
    except UnicodeError:
        return text, True


def _fault(error: Any) -> ConnectorFault:
    """By the error's number (MariaDB error codes). Its message holds values, so it is not told."""
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if number in (1044, 1045, 1142, 1143, 1227, 1698, 1370):
        return ConnectorFault("credentials", f"MariaDB refuses our user, password or rights ({number}). Set new ones.")
    if number in (1049, 1054, 1146, 1064, 1305, 1109, 1136, 1364):
        return ConnectorFault("schema", f"A table or column is not what the query says ({number}). Correct one.")
    if number in (1048, 1062, 1169, 1216, 1217, 1451, 1452, 3819, 4025):
        return ConnectorFault("refused", f"MariaDB refuses the record ({number}).")
    if number in (1264, 1265, 1292, 1366, 1406, 1411, 1525):
        return ConnectorFault("data", f"A value is not what the column holds ({number}).")
    if number == 1792:
        return ConnectorFault("schema", "A query that is declared as a read writes (1792). Declare it as a write.")
    if isinstance(error, TimeoutError) or number in (1205, 1317, 1969, 3024) or "timed out" in str(error):
        return ConnectorFault("slow", "MariaDB gave no answer in time; whether it happened is not known.")
    if number in (1040, 1203, 1213, 1053, 2002, 2003, 2006, 2013, 2055) or isinstance(error, OSError) or not number:
        return ConnectorFault("down", "MariaDB cannot be reached or broke off.")
    return ConnectorFault("data", f"MariaDB says {number}.")
