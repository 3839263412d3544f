"""`/api/keys` and `/api/audit`: who has access, and what was done with it."""

from typing import Any

import msgspec
from starlette.responses import Response

from waterline.access.audit import SealedEntry
from waterline.api.ask import Ask, Resource
from waterline.core.app_spec import Spending


class KeyBody(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    name: str
    app: str = ""
    env: str = "production"
    role: str = ""
    hours: int = 0
    assert_identity: bool = False
    branch: str = ""
    nano_usd_per_day: int | None = None
    nano_usd_per_month: int | None = None
    priority: str = ""
    person: str = ""


async def add_key(ask: Ask) -> Any:
    b = await ask.body(KeyBody)
    budget = Spending(b.nano_usd_per_day, b.nano_usd_per_month)
    return await ask.plane.access.create_key(
        ask.who, b.kind, b.name, b.app, b.env, b.role, b.hours, b.assert_identity, b.branch, budget,
        b.priority, b.person,
    )  # fmt: skip


async def revoke_key(ask: Ask) -> Any:
    return await ask.plane.access.revoke_key(ask.who, ask.path("key"), ask.query("reason"))


async def audit(ask: Ask) -> Any:
    limit = min(ask.whole("limit") or 100, 1000)
    before = ask.whole("before")
    return [_flat(e) for e in await ask.plane.access.audit_entries(ask.who, limit, before)]


async def audit_export(ask: Ask) -> Any:
    return Response(await ask.plane.access.audit_export(ask.who), media_type="application/x-ndjson")


async def checkpoint(ask: Ask) -> Any:
    return {"checkpoint": await ask.plane.access.audit_checkpoint(ask.who)}


def _flat(sealed: SealedEntry) -> dict[str, Any]:
    return {**msgspec.structs.asdict(sealed.entry), "hash": sealed.hash}


class PlanBody(msgspec.Struct, forbid_unknown_fields=True):
    plan: str


async def apply_people(ask: Ask) -> Any:
    said = await ask.body(PlanBody)
    return await ask.plane.people.apply(ask.who, ask.path("app"), said.plan)


RESOURCES = [
    Resource("GET", "/keys", lambda ask: ask.plane.access.keys(ask.who)),
    Resource("POST", "/keys", add_key, 201),
    Resource("POST", "/keys/{key}/revocation", revoke_key),
    Resource("GET", "/apps/{app}/people", lambda ask: ask.plane.people.people(ask.who, ask.path("app"))),
    Resource("POST", "/apps/{app}/people", apply_people),
    Resource("GET", "/audit", audit),
    Resource("GET", "/audit/export", audit_export),
    Resource("GET", "/audit/checkpoint", checkpoint),
]
