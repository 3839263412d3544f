"""Keys and the audit log in the store: each change of a key is one transaction with its audit entry."""

from collections.abc import Sequence
from typing import assert_never, get_args

import msgspec

from waterline.access import audit
from waterline.access.audit import SealedEntry
from waterline.access.keys import Act, Change, StoredKey
from waterline.access.roles import BRANCH_ROLES, Action, Principal, Role
from waterline.core.app_spec import Priority
from waterline.core.errors import Refused
from waterline.store import audit_log, keys
from waterline.store.audit_log import AuditRow
from waterline.store.db import Store, Tx


class AuditRows:
    """The audit log inside one transaction."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    @staticmethod
    def read(row: AuditRow) -> SealedEntry:
        """Bytes that are no entry any more become a stand-in, so that `verify` finds the edit and names the entry."""
        try:
            entry = msgspec.json.decode(row.entry, type=audit.Entry)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            entry = audit.Entry(row.seq, 0, "(unreadable)", "none", "(unreadable)", "", {}, row.prev)
        return SealedEntry(entry, row.hash)

    def head(self) -> SealedEntry | None:
        row = audit_log.head(self._tx)
        return None if row is None else self.read(row)

    def add(self, sealed: SealedEntry) -> None:
        entry = msgspec.json.encode(sealed.entry, order="deterministic")
        audit_log.append(self._tx, entry, sealed.entry.prev, sealed.hash)


def audited(tx: Tx, by: Principal, action: Action, target: str, detail: dict[str, str], at_us: int) -> None:
    """An act's entry, in the act's own transaction; details without a text are left out."""
    told = {key: text for key, text in detail.items() if text}
    audit.append(AuditRows(tx), at_us=at_us, by=by, action=action.value, target=target, detail=told)


class StoredKeys:
    """The KeyStore of a server."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self) -> list[StoredKey]:
        return [_key(row) for row in self._store.read_sync(keys.all_keys)]

    def add_now(self, key: StoredKey, act: Act) -> None:
        self._store.write_sync(lambda tx: _add(tx, key, act))

    async def add(self, key: StoredKey, act: Act) -> None:
        await self._store.write(lambda tx: _add(tx, key, act))

    async def revoke(self, key_id: str, at_us: int, act: Act) -> None:
        await self._store.write(lambda tx: _revoke(tx, key_id, at_us, act))

    async def settle(self, changes: Sequence[Change]) -> None:
        def write(tx: Tx) -> None:
            for change in changes:
                key = change.key
                match change.what:
                    case "new":
                        _add(tx, key, change.act)
                    case "changed":
                        if not keys.change_grants(tx, key.id, key.role or "", _row(key).grants):
                            raise _gone(key.id)
                        _note(tx, change.act)
                    case "gone":
                        _revoke(tx, key.id, change.act.at_us, change.act)
                    case _ as never:
                        assert_never(never)

        await self._store.write(write)


def _add(tx: Tx, key: StoredKey, act: Act) -> None:
    keys.add(tx, _row(key))
    _note(tx, act)


def _revoke(tx: Tx, key_id: str, at_us: int, act: Act) -> None:
    if not keys.revoke(tx, key_id, at_us):
        raise _gone(key_id)
    _note(tx, act)


def _gone(key_id: str) -> Refused:
    return Refused(f"Key {key_id} is not there any more, or was revoked already. Nothing was changed.")


def _row(key: StoredKey) -> keys.KeyRow:
    grants = "" if key.grants is None else msgspec.json.encode(key.grants, order="sorted").decode()
    return keys.KeyRow(**{**msgspec.structs.asdict(key), "grants": grants})


def _note(tx: Tx, act: Act) -> None:
    audit.append(AuditRows(tx), at_us=act.at_us, by=act.by, action=act.action, target=act.target, detail=act.detail)


def _key(row: keys.KeyRow) -> StoredKey:
    fields = msgspec.structs.asdict(row)
    fields["role"] = Role(row.role) if row.role in set(Role) else None  # a role of a later version may do nothing
    fields["priority"] = row.priority if row.priority in get_args(Priority) else ""
    fields["grants"] = _grants(row.grants) if row.grants else None
    return StoredKey(**fields)


def _grants(text: str) -> dict[str, Role]:
    """What a later version wrote, and this one does not know, gives no access."""
    try:
        said = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    return {branch: Role(role) for branch, role in said.items() if role in BRANCH_ROLES}
