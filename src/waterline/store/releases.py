"""Releases and environment records: bytes that are hashed, stored and never rewritten."""

from msgspec import Struct

from waterline.core.app_spec import spec_id
from waterline.core.errors import Refused
from waterline.core.release import StoredRelease, release_id
from waterline.store.db import Tx


class StoredSpec(Struct, frozen=True):
    """An environment record. `id` is the SHA-256 of `bytes`."""

    id: str
    app: str
    bytes: bytes
    at_us: int
    who: str


def add(tx: Tx, release: StoredRelease) -> bool:
    """True if it is new. The same release again changes nothing. Raises ValueError if the id is not its SHA-256."""
    if release_id(release.manifest) != release.id:
        raise ValueError(f"release {release.id[:12]} is not the SHA-256 of its manifest")
    return (
        tx.run(
            "releases.add",
            id=release.id,
            app=release.app,
            manifest=release.manifest,
            at_us=release.at_us,
            who=release.who,
            message=release.message,
            spec=release.spec,
            person=release.person,
        )
        > 0
    )


def get(tx: Tx, release: str) -> StoredRelease | None:
    """Raises Refused if the stored bytes are not what was hashed (a damaged or edited database)."""
    row = tx.one("releases.get", id=release)
    if row is None:
        return None
    if release_id(row["manifest"]) != release:
        raise Refused(
            f"Release {release[:12]} in the database is not what was built: its bytes have another SHA-256. "
            "Restore a backup, or build the release again from its folder.",
            status=500,
        )
    return StoredRelease(**row)


def list_of(tx: Tx, app: str | None = None, limit: int = 1000) -> list[StoredRelease]:
    """Newest first; of all apps without `app`."""
    return [StoredRelease(**row) for row in tx.all("releases.list", app=app, limit=limit)]


def find(tx: Tx, prefix: str, app: str | None = None) -> list[str]:
    """At most ten ids that begin with `prefix`, so that a person can type the first digits, as with git."""
    return [row["id"] for row in tx.all("releases.find", prefix=prefix, after=prefix + "g", app=app)]


def add_spec(tx: Tx, app: str, record: bytes, at_us: int, who: str) -> str:
    """Returns the id, the SHA-256 of the bytes. Idempotent."""
    spec = spec_id(record)
    tx.run("releases.add_spec", id=spec, app=app, bytes=record, at_us=at_us, who=who)
    return spec


def get_spec(tx: Tx, spec: str) -> StoredSpec | None:
    row = tx.one("releases.get_spec", id=spec)
    return None if row is None else StoredSpec(**row)


def set_current_spec(tx: Tx, app: str, spec: str, at_us: int, who: str) -> None:
    """Raises StoreConflict if there is no such record."""
    tx.run("releases.set_current_spec", app=app, spec=spec, at_us=at_us, who=who)


def current_spec(tx: Tx, app: str) -> StoredSpec | None:
    """The limits, prices and objectives that hold for the app now."""
    row = tx.one("releases.current_spec", app=app)
    return None if row is None else StoredSpec(**row)


def current_specs(tx: Tx) -> list[StoredSpec]:
    """Of every app that has one, by app."""
    return [StoredSpec(**row) for row in tx.all("releases.current_specs")]
