"""Rows of keys and of console sessions. Only digests are kept; what they mean is in `access/`."""

from typing import Any

import msgspec
from msgspec import Struct

from waterline.store.db import Tx


class KeyRow(Struct, frozen=True):
    """Times are Unix microseconds. `id` is the part of the key that may be shown ("wl-1a2b3c4d")."""

    id: str
    digest: str  # SHA-256 of the whole key, 64 hex digits
    kind: str  # "app" or "person"
    name: str
    app: str
    env: str
    role: str | None
    assert_identity: bool
    created_us: int
    created_by: str
    expires_us: int | None = None
    revoked_us: int | None = None
    branch: str = ""  # of the organisation; "": none
    nano_usd_per_day: int | None = None  # the key's own hard budget
    nano_usd_per_month: int | None = None
    priority: str = ""  # who is refused first; "": none of its own
    person: str = ""  # who it belongs to; "": who it is named after
    grants: str = ""  # JSON, branch -> role; "": not by branch


class SessionRow(Struct, frozen=True):
    digest: str  # SHA-256 of the cookie
    key_id: str
    csrf: str
    created_us: int
    seen_us: int
    expires_us: int


def add(tx: Tx, key: KeyRow) -> None:
    """Raises StoreConflict if the id or the digest is there already."""
    tx.run("keys.add", **msgspec.structs.asdict(key))


def all_keys(tx: Tx) -> list[KeyRow]:
    """Oldest first; revoked and expired ones too."""
    return [_key(row) for row in tx.all("keys.all")]


def get(tx: Tx, key_id: str) -> KeyRow | None:
    row = tx.one("keys.get", id=key_id)
    return None if row is None else _key(row)


def change_grants(tx: Tx, key_id: str, role: str, grants: str) -> bool:
    """False if there is no such key, or it was revoked before."""
    return tx.run("keys.change_grants", id=key_id, role=role, grants=grants) > 0


def revoke(tx: Tx, key_id: str, at_us: int) -> bool:
    """Ends its console sessions too. False if there is no such key, or it was revoked before."""
    revoked = tx.run("keys.revoke", id=key_id, at_us=at_us) > 0
    tx.run("keys.end_sessions_of_key", key_id=key_id)
    return revoked


def add_session(tx: Tx, session: SessionRow) -> None:
    """Raises StoreConflict if the key does not exist."""
    tx.run("keys.add_session", **msgspec.structs.asdict(session))


def get_session(tx: Tx, digest: str) -> SessionRow | None:
    """As stored: whether it has expired is for the caller to judge."""
    row = tx.one("keys.get_session", digest=digest)
    return None if row is None else SessionRow(**row)


def all_sessions(tx: Tx) -> list[SessionRow]:
    return [SessionRow(**row) for row in tx.all("keys.all_sessions")]


def touch_session(tx: Tx, digest: str, seen_us: int) -> None:
    tx.run("keys.touch_session", digest=digest, seen_us=seen_us)


def end_session(tx: Tx, digest: str) -> bool:
    return tx.run("keys.end_session", digest=digest) > 0


def end_sessions_of_key(tx: Tx, key_id: str) -> int:
    return tx.run("keys.end_sessions_of_key", key_id=key_id)


def end_expired_sessions(tx: Tx, now_us: int, idle_since_us: int = 0) -> int:
    """Those past their end, and those not seen since `idle_since_us`."""
    return tx.run("keys.end_expired_sessions", now_us=now_us, idle_since_us=idle_since_us)


def _key(row: dict[str, Any]) -> KeyRow:
    return KeyRow(**{**row, "assert_identity": bool(row["assert_identity"])})
