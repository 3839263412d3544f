"""Incidents: opened once, closed once. SQL: sql/incidents.sql."""

import msgspec
from msgspec import Struct

from waterline.store.db import Row, Tx


class Link(Struct, frozen=True, forbid_unknown_fields=True):
    """What it is about. `kind`: "trace", "verdict", "experiment", "load_line", "release" or "canary"."""

    kind: str
    id: str


class Incident(Struct, frozen=True):
    """Times are Unix microseconds. `env` "": of all environments. `release` "": of none in particular."""

    id: str
    app: str
    env: str
    title: str
    severity: str
    blocking: bool  # nothing is promoted while it is open
    notes: str
    release: str
    links: tuple[Link, ...]
    state: str  # "open" or "closed"
    opened_us: int
    opened_by: str
    closed_us: int | None = None
    closed_by: str = ""
    resolution: str = ""
    seq: int = 0  # given by the store


_links = msgspec.json.Decoder(tuple[Link, ...])


def add(tx: Tx, incident: Incident) -> None:
    """`seq` is not looked at. Raises StoreConflict if the id is there already."""
    fields = msgspec.structs.asdict(incident) | {"links": msgspec.json.encode(incident.links)}
    del fields["seq"]
    tx.run("incidents.add", **fields | {"blocking": int(incident.blocking)})


def get(tx: Tx, incident: str) -> Incident | None:
    row = tx.one("incidents.get", id=incident)
    return None if row is None else _incident(row)


def list_of(
    tx: Tx, app: str | None = None, state: str | None = None, limit: int = 50, before: int | None = None
) -> list[Incident]:
    """Newest first; `before`: only those with a smaller number."""
    return [_incident(row) for row in tx.all("incidents.list", app=app, state=state, limit=limit, before=before)]


def count(tx: Tx, app: str | None = None, state: str | None = None) -> int:
    row = tx.one("incidents.count", app=app, state=state)
    return int(row["n"]) if row is not None else 0


def blocking(tx: Tx, app: str, env: str, limit: int = 20) -> list[Incident]:
    """Open ones that keep releases from this environment, newest first."""
    return [_incident(row) for row in tx.all("incidents.blocking", app=app, env=env, limit=limit)]


def close(tx: Tx, incident: str, at_us: int, who: str, resolution: str) -> bool:
    """False if it is not open."""
    return tx.run("incidents.close", id=incident, closed_us=at_us, closed_by=who, resolution=resolution) > 0


def _incident(row: Row) -> Incident:
    return Incident(**row | {"links": _links.decode(row["links"]), "blocking": bool(row["blocking"])})
