"""Keys, and the audit log of what was done with them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import msgspec

from waterline.access import audit
from waterline.access.keys import KeyRing, StoredKey
from waterline.access.roles import PERSON_ROLES, Action, Principal, Role, require
from waterline.access.stored import AuditRows
from waterline.control.views import KeyView
from waterline.core.app_spec import UNLIMITED, Priority, Spending
from waterline.core.errors import Refused
from waterline.gateway.deps import App
from waterline.store import audit_log
from waterline.store.db import Store, Tx


class AccessDesk:
    def __init__(
        self, store: Store, ring: KeyRing, apps: Mapping[str, App], clock_us: Callable[[], int],
        known: Callable[[str], App], budgets_changed: Callable[[str], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._store = store
        self._ring = ring
        self._apps = apps
        self._clock_us = clock_us
        self._known = known
        self._budgets_changed = budgets_changed

    async def keys(self, who: Principal) -> list[KeyView]:
        require(who, Action.KEY_READ)
        return [_key_view(k) for k in self._ring.list()]

    async def create_key(
        self, who: Principal, kind: str, name: str, app: str, env: str, role: str, hours: int, assert_identity: bool,
        branch: str = "", budget: Spending = UNLIMITED, priority: str = "", person: str = "",
    ) -> KeyView:  # fmt: skip
        """The key itself is in the answer, this once."""
        require(who, Action.KEY_CREATE_PERSON if kind == "person" else Action.KEY_CREATE_APP)
        expires_us = self._clock_us() + hours * 3_600_000_000 if hours else None
        if kind == "person":
            if role not in PERSON_ROLES:
                raise Refused(f'"{role}" is no role. Roles: {", ".join(PERSON_ROLES)}.', 400)
            if branch and all(branch != b.id for a in self._apps.values() for b in a.spec.branches):
                raise Refused(
                    f'No app has a branch "{branch}". Branches are declared in branches.toml or a sheet.', 404
                )
            made = await self._ring.create_personal_key(
                who, name=name, role=Role(role), expires_us=expires_us, branch=branch, person=person
            )
        else:
            spec = self._known(app).spec
            if env not in spec.environments:
                raise Refused(f'App "{app}" has no environment "{env}". It has: {", ".join(spec.environments)}.', 404)
            made = await self._ring.create_app_key(
                who, name=name, app=app, env=env, assert_identity=assert_identity, expires_us=expires_us,
                branch=branch, budget=budget, priority=_priority(priority),
            )  # fmt: skip
            if budget != UNLIMITED:
                await self._budgets_changed(app)
        return msgspec.structs.replace(_key_view(made.stored), key=made.text)

    async def revoke_key(self, who: Principal, key_id: str, why: str) -> KeyView:
        require(who, Action.KEY_REVOKE)
        return _key_view(await self._ring.revoke(who, key_id, why))

    async def audit_entries(self, who: Principal, limit: int, before: int | None = None) -> list[audit.SealedEntry]:
        """Newest first."""
        require(who, Action.AUDIT_READ)
        rows = await self._store.read(lambda tx: audit_log.newest(tx, limit, before))
        return [AuditRows.read(r) for r in rows]

    async def audit_export(self, who: Principal) -> bytes:
        require(who, Action.AUDIT_READ)

        def read(tx: Tx) -> bytes:
            return b"".join(audit.export_line(AuditRows.read(r)) for r in audit_log.entries(tx))

        return await self._store.read(read)

    async def audit_checkpoint(self, who: Principal) -> str:
        require(who, Action.AUDIT_READ)
        return await self._store.read(
            lambda tx: str(audit.checkpoint([AuditRows.read(r) for r in audit_log.entries(tx)]))
        )


def _priority(said: str) -> Priority | Literal[""]:
    match said:
        case "" | "low" | "normal" | "high":
            return said
        case _:
            raise Refused(f'A priority is "low", "normal" or "high", not "{said[:40]}".', 400)


def _key_view(k: StoredKey) -> KeyView:
    return KeyView(
        k.id, k.kind, k.name, k.app, k.env, k.role or "", k.assert_identity, k.created_us, k.created_by,
        k.expires_us, k.revoked_us, branch=k.branch, grants=k.grants, nano_usd_per_day=k.nano_usd_per_day,
        nano_usd_per_month=k.nano_usd_per_month, priority=k.priority, person=k.person,
    )  # fmt: skip
