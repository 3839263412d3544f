"""Excel and CSV files on disk: looked up by declared key columns, and appended to, once per key.

The first look-up reads the file and keeps its rows by key; they are read again when the file has changed.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from waterline.connectors.base import Config, ConnectorFault, Manifest, Operation, Scope
from waterline.connectors.sheet_append import append
from waterline.connectors.sheet_file import Layout, Row, open_rows, os_fault, same
from waterline.connectors.threads import Threads

_MOST_ROWS = 50
_MOST_FILES = 64  # whose rows are kept


class Options(Layout, frozen=True, kw_only=True, forbid_unknown_fields=True):
    file: str = ""  # in the folder; a branch's own (`Scope.place`) comes first
    key: tuple[str, ...] = ()  # columns that rows are looked up by
    writes: tuple[str, ...] = ()  # columns that an appended row may fill; none: nothing is appended
    key_column: str = "key"  # holds the key of an appended row
    lock_wait_s: float = 5.0


def manifest(options: Options) -> Manifest:
    text = {"type": ["string", "number", "boolean", "null"]}
    found: list[Operation] = []
    if options.key:
        found.append(
            Operation(
                "look_up",
                "read",
                f"Rows whose {' and '.join(options.key)} are as given; capitals and blanks do not count.",
                {
                    "type": "object",
                    "properties": {name: {"type": ["string", "number"]} for name in options.key},
                    "required": list(options.key),
                    "additionalProperties": False,
                },
            )
        )
    whole = {"type": "integer", "minimum": 0}
    found.append(
        Operation(
            "rows",
            "read",
            f"Rows in the order of the file, at most {_MOST_ROWS} at once.",
            {"type": "object", "properties": {"offset": whole, "limit": whole}, "additionalProperties": False},
        )
    )
    if options.writes:
        found.append(
            Operation(
                "append",
                "write",
                "Adds one row at the end.",
                {
                    "type": "object",
                    "properties": dict.fromkeys(options.writes, text),
                    "additionalProperties": False,
                },
                once="lookup",
                personal=options.writes,
                timeout_s=20.0,
            )
        )
    return Manifest(
        kind="sheet",
        title="Excel and CSV files",
        settings=("folder",),
        secrets=(),
        operations=tuple(found),
        branch_scope="name of the branch's own file in the folder",
    )


class _Kept(Struct):
    identity: tuple[int, ...]
    names: list[str]
    rows: list[Row]
    by_key: dict[tuple[str, ...], list[int]]  # -> places in rows


_TEXTS = {"type": "array", "items": {"type": "string", "minLength": 1}}
_COUNT = {"type": "integer", "minimum": 1, "maximum": 100}


class Sheet:
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            **{name: {"type": "string"} for name in ("file", "sheet", "encoding", "delimiter", "key_column")},
            **dict.fromkeys(("columns", "date_columns", "key", "writes"), _TEXTS),
            **dict.fromkeys(("header_row", "header_rows"), _COUNT),
            "day_first": {"type": "boolean"},
            "lock_wait_s": {"type": "number", "minimum": 0, "maximum": 60},
        },
    }

    def __init__(self, config: Config) -> None:
        self.options = msgspec.convert(dict(config.parameters), Options)
        self.manifest = manifest(self.options)
        self._threads = Threads(config.name, 2)
        self.folder = config.settings.get("folder", "")
        self._kept: dict[Path, _Kept] = {}
        self._reading = threading.Lock()

    @staticmethod
    def describe(parameters: Mapping[str, Any], files: Mapping[str, str]) -> Manifest:
        return manifest(msgspec.convert(dict(parameters), Options))

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        self.manifest.operation(operation)
        path = self._path(scope)
        if operation == "append":
            o = self.options
            number = await self._threads.run(append, path, o, o.key_column, key, dict(arguments), o.lock_wait_s)
            return {"row": number}
        kept = await self._threads.run(self._read, path)
        if operation == "look_up":
            wanted = tuple(same(arguments[name]) for name in self.options.key)
            return self._answer(path, kept, [kept.rows[at] for at in kept.by_key.get(wanted, ())])
        first = int(arguments.get("offset", 0))
        rows = kept.rows[first : first + min(int(arguments.get("limit", _MOST_ROWS)), _MOST_ROWS)]
        return {"rows": [_object(kept.names, row) for row in rows if not row.wrong], "total": len(kept.rows),
                "unreadable": [f"row {row.number}: {row.wrong}" for row in rows if row.wrong]}  # fmt: skip

    async def close(self) -> None:
        self._kept.clear()
        self._threads.close()

    def _answer(self, path: Path, kept: _Kept, rows: list[Row]) -> dict[str, Any]:
        for row in rows:
            if row.wrong:
                raise ConnectorFault("data", f"{path.name} row {row.number}: {row.wrong}. Correct it there.")
        return {"rows": [_object(kept.names, row) for row in rows[:_MOST_ROWS]], "found": len(rows)}

    def _path(self, scope: Scope) -> Path:
        name = scope.place or self.options.file
        if not name:
            raise ConnectorFault("invalid", f'No file is declared for the branch "{scope.branch}". Write file = "...".')
        folder = Path(self.folder).resolve()
        path = (folder / name).resolve()
        if path.parent != folder and not path.is_relative_to(folder):
            raise ConnectorFault("invalid", f'"{name}" leads out of the folder of this connector.')
        return path

    def _read(self, path: Path) -> _Kept:
        with self._reading:
            for _ in range(3):
                try:
                    before = _identity(path)
                    kept = self._kept.get(path)
                    if kept is not None and kept.identity == before:
                        return kept
                    self._kept.pop(path, None)
                    kept = self._load(path, before)
                    if _identity(path) == before:
                        break
                except OSError as error:
                    raise os_fault(path, error) from None
            else:
                raise ConnectorFault("down", f"{path.name} is being written; tried again.", retry_after_s=1)
            while len(self._kept) >= _MOST_FILES:
                self._kept.pop(next(iter(self._kept)))
            self._kept[path] = kept
            return kept

    def _load(self, path: Path, identity: tuple[int, ...]) -> _Kept:
        names, rows = open_rows(path, self.options)
        absent = [name for name in self.options.key if name not in names]
        if absent:
            raise ConnectorFault("schema", f'{path.name} has no key column "{absent[0]}". It has: {", ".join(names)}')
        at = [names.index(name) for name in self.options.key]
        kept = _Kept(identity, names, [], {})
        for row in rows:
            if at:
                kept.by_key.setdefault(tuple(same(row.cells[i]) for i in at), []).append(len(kept.rows))
            kept.rows.append(row)
        return kept


def _identity(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _object(names: list[str], row: Row) -> dict[str, Any]:
    return {name: value for name, value in zip(names, row.cells, strict=True) if name}
