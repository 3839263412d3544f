"""Load lines: the signed report of a trial, as it was written. Rows are only ever added."""

import msgspec
from msgspec import Struct

from waterline.core.ids import sha256_hex
from waterline.store.db import Tx


class LoadLineHead(Struct, frozen=True):
    """What a list shows. `id` is the SHA-256 of the JSON; `exit_status` as `waterline trial` ended."""

    id: str
    app: str
    release: str
    spec: str
    exit_status: int
    at_us: int
    expires_us: int | None
    signature: str
    who: str


class LoadLine(LoadLineHead, frozen=True):
    json: bytes
    html: bytes


def add(tx: Tx, line: LoadLine) -> None:
    """Raises ValueError if the id is not the SHA-256 of the JSON, StoreConflict if it is there already."""
    if sha256_hex(line.json) != line.id:
        raise ValueError(f"load line {line.id[:12]} is not the SHA-256 of its JSON")
    tx.run("load_lines.add", **msgspec.structs.asdict(line))


def get(tx: Tx, line: str) -> LoadLine | None:
    row = tx.one("load_lines.get", id=line)
    return None if row is None else LoadLine(**row)


def list_of(tx: Tx, app: str | None = None, release: str | None = None, limit: int = 200) -> list[LoadLineHead]:
    """Newest first, without the report itself."""
    return [LoadLineHead(**row) for row in tx.all("load_lines.list", app=app, release=release, limit=limit)]
