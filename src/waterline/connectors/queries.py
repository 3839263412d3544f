"""Named queries that an app declares over a database of its own; the two SQL connectors share what is here.

    [connectors.legacy.queries.find_child]
    sql = "SELECT id, name, born FROM child WHERE phone = :phone"
    parameters = { phone = { type = "string" } }

A caller names a query and gives values; it never gives SQL. Values are bound by the driver. `:key` is the act's key: a
write has it in a column of its own that is unique, and says how a repeat finds what the first did (`look_up`, a read).
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Struct

from waterline.connectors.base import BadParameter, Config, ConnectorFault, Manifest, Operation, Scope
from waterline.connectors.once import safe_key
from waterline.connectors.threads import Threads

MAX_ROWS = 200
MAX_KEY_CHARACTERS = 190  # of a unique index of MyISAM in utf8mb4
_NAMED = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")
_TEXTS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/", re.DOTALL)
_READ = re.compile(r"\s*(select|with|show|values)\b", re.IGNORECASE)
_WRITE = re.compile(r"\s*(insert|update|delete)\b", re.IGNORECASE)

Rows: TypeAlias = Callable[["Query", dict[str, Any]], dict[str, Any]]
Changed: TypeAlias = Callable[["Query", dict[str, Any]], int]
QUERY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "sql": {"type": "string", "minLength": 1},
        "description": {"type": "string"},
        "effect": {"type": "string", "enum": ["read", "write", "irreversible"]},
        "parameters": {"type": "object", "additionalProperties": {}},
        "optional": {"type": "array", "items": {"type": "string"}},
        "look_up": {"type": "string"},
        "personal": {"type": "array", "items": {"type": "string"}},
        "confirm": {"type": "boolean"},
        "timeout_s": {"type": "number", "minimum": 0.1, "maximum": 120},
    },
    "required": ["sql"],
}


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    sql: str
    description: str = ""
    effect: Literal["read", "write", "irreversible"] = "read"
    parameters: dict[str, dict[str, Any]] = {}
    optional: tuple[str, ...] = ()  # parameters that may be missing; they are then NULL
    look_up: str = ""  # writes: the query that finds what the key did; "" for one that changes nothing when repeated
    personal: tuple[str, ...] = ()
    confirm: bool = False
    timeout_s: float = 8.0


class Database:
    """A connector of declared queries. The kind says how one call is done, in a thread, on a connection of its own."""

    KIND: ClassVar[str]
    TITLE: ClassVar[str]
    SETTINGS: ClassVar[tuple[str, ...]]

    def __init__(self, config: Config) -> None:
        self._config = config
        self._queries = read(config.parameters)
        self.manifest = self.describe(config.parameters, config.files)
        self._threads = Threads(config.name)

    @classmethod
    def describe(cls, parameters: Mapping[str, Any], files: Mapping[str, str]) -> Manifest:
        declared = operations(read(parameters))
        return Manifest(cls.KIND, cls.TITLE, cls.SETTINGS, ("password",), declared, "what the queries have as :place")

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        timeout_s = self.manifest.operation(operation).timeout_s
        return await self._threads.run(self._do, operation, dict(arguments), key, scope, timeout_s)

    async def close(self) -> None:
        self._threads.close()

    def _do(self, name: str, arguments: dict[str, Any], key: str, scope: Scope, timeout_s: float) -> dict[str, Any]:
        raise NotImplementedError

    def _required(self, *names: str) -> Mapping[str, str]:
        """The settings. Raises ConnectorFault where one of these is missing."""
        for name in names:
            if not self._config.settings.get(name):
                raise ConnectorFault("invalid", f"The setting {name} is not set.")
        return self._config.settings


def read(parameters: Mapping[str, Any]) -> dict[str, Query]:
    """The declared queries. Raises BadParameter for one that cannot be what it says."""
    try:
        found = msgspec.convert(dict(parameters.get("queries", {})), dict[str, Query])
    except msgspec.ValidationError as error:
        raise BadParameter("queries", str(error), "See docs/reference/connectors.md") from None
    if not found:
        raise BadParameter("queries", "no query is declared", "Write [connectors.<name>.queries.<query>] with sql")
    for name, query in found.items():
        _check(name, query, found)
    return found


def _check(name: str, query: Query, all_of_them: Mapping[str, Query]) -> None:
    bare = _TEXTS.sub("''", query.sql)
    if ";" in bare.rstrip().rstrip(";"):
        raise BadParameter("queries", f"{name} is more than one statement", "Declare each as a query of its own")
    if query.effect == "read" and not _READ.match(bare):
        raise BadParameter("queries", f"{name} is declared as a read and is none", 'Write effect = "write"')
    if query.effect != "read" and not _WRITE.match(bare):
        raise BadParameter("queries", f"{name} is no INSERT, UPDATE or DELETE", "Declare it as a read, or change it")
    used = set(_NAMED.findall(bare))
    known = {*query.parameters, "key", "place"}
    if unknown := used - known:
        raise BadParameter("queries", f"{name} uses :{min(unknown)}, which is no parameter", "Declare it in parameters")
    if unused := set(query.parameters) - used:
        raise BadParameter("queries", f"{name} does not use its parameter {min(unused)}", "Use it, or remove it")
    if query.effect == "read":
        return
    if query.look_up and (query.look_up not in all_of_them or all_of_them[query.look_up].effect != "read"):
        raise BadParameter("queries", f"{name}: look_up is no read that is declared", "Name a query with effect read")
    if query.look_up and "key" not in _NAMED.findall(_TEXTS.sub("''", all_of_them[query.look_up].sql)):
        raise BadParameter("queries", f"{name}: {query.look_up} does not look for :key", "Write WHERE ... = :key")
    if re.match(r"\s*insert\b", bare, re.IGNORECASE) and not (query.look_up and "key" in used):
        raise BadParameter(
            "queries",
            f"{name} would insert again when it is repeated",
            "Store :key in a unique column, and add look_up",
        )


def operations(queries: Mapping[str, Query]) -> tuple[Operation, ...]:
    ping = Operation("ping", "read", "Whether the database answers", {"type": "object", "properties": {}})
    return (*[_operation(name, query) for name, query in queries.items()], ping)


def _operation(name: str, query: Query) -> Operation:
    return Operation(
        name,
        query.effect,
        query.description or name.replace("_", " "),
        {
            "type": "object",
            "properties": dict(query.parameters),
            "required": [one for one in query.parameters if one not in query.optional],
        },
        once="" if query.effect == "read" else "lookup" if query.look_up else "condition",
        confirm=query.confirm,
        personal=query.personal,
        timeout_s=query.timeout_s,
    )


def bound(query: Query, style: Callable[[str], str]) -> str:
    """The SQL with the driver's placeholders; what stands in quotes and comments is left alone."""
    pieces, at = [], 0
    for quoted in _TEXTS.finditer(query.sql):
        pieces += [_NAMED.sub(lambda m: style(m[1]), query.sql[at : quoted.start()].replace("%", "%%"))]
        pieces += [quoted[0].replace("%", "%%")]
        at = quoted.end()
    return "".join([*pieces, _NAMED.sub(lambda m: style(m[1]), query.sql[at:].replace("%", "%%"))])


def values(query: Query, arguments: Mapping[str, Any], key: str, place: str) -> dict[str, Any]:
    """What is bound. A query that asks for the branch's place gets none but its own."""
    bare = _NAMED.findall(_TEXTS.sub("''", query.sql))
    if "place" in bare and not place:
        raise ConnectorFault("invalid", "The query asks for :place, and the branch has no scope here. Declare it.")
    return {**{name: arguments.get(name) for name in query.parameters}, "key": _fitting(key), "place": place}


def _fitting(key: str) -> str:
    return key if len(key) <= MAX_KEY_CHARACTERS else safe_key(key)


def perform(
    query: Query, look_up: Query | None, given: Callable[[Query], dict[str, Any]], rows_of: Rows, changed_by: Changed
) -> dict[str, Any]:
    """A read's rows, or what a write changed: nothing where its look-up finds that an earlier try of the same key did.
    Raises ConnectorFault."""
    if query.effect == "read":
        return rows_of(query, given(query))
    if look_up is None:
        changed = changed_by(query, given(query))
        return {"changed": changed, "again": changed == 0}
    before = rows_of(look_up, given(look_up))
    if before["rows"]:
        return {**before, "changed": 0, "again": True}
    changed = changed_by(query, given(query))
    after = rows_of(look_up, given(look_up))
    if not after["rows"]:
        raise ConnectorFault("refused", "The database did not store it: another record stands in its place.")
    return {**after, "changed": changed, "again": changed == 0}


def rows(found: list[dict[str, Any]], mend: Callable[[str], str] = str) -> dict[str, Any]:
    """JSON-able rows. `unreadable`: columns in which a value was not what its type says; they are null."""
    unreadable: set[str] = set()
    shown = []
    for row in found[:MAX_ROWS]:
        one: dict[str, Any] = {}
        for name, value in row.items():
            one[name], good = _plain(value, mend)
            if not good:
                unreadable.add(name)
        shown.append(one)
    return {"rows": shown, "more": len(found) > MAX_ROWS, "unreadable": sorted(unreadable)}


def _plain(value: Any, mend: Callable[[str], str]) -> tuple[Any, bool]:
    match value:
        case None | bool() | int():
            return value, True
        case float():
            return (value, True) if value == value and abs(value) != float("inf") else (None, False)
        case str():
            return mend(value), True
        case Decimal():
            return (str(value), True) if value.is_finite() else (None, False)
        case datetime() | date() | time():
            return value.isoformat(), True
        case timedelta():
            return value.total_seconds(), True
        case bytes() | bytearray() | memoryview():
            return None, False
        case list() | tuple():
            return [_plain(one, mend)[0] for one in value], True
        case _:
            return str(value), True
