"""`/api/releases`, and what is live: `/api/apps/{app}/rollout`, its moves, the environment records."""

from typing import Any

import msgspec

from waterline.api.ask import Ask, Resource
from waterline.core.errors import Refused


class ReleaseBody(msgspec.Struct, forbid_unknown_fields=True):
    manifest: str
    spec: str
    message: str = ""


class RecordBody(msgspec.Struct, forbid_unknown_fields=True):
    spec: str
    reason: str = ""


class MoveBody(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    env: str = "production"
    release: str = ""
    weight: str = "100%"
    reason: str = ""
    session: str = ""
    evidence: str = ""
    override: str = ""


async def add_release(ask: Ask) -> Any:
    body = await ask.body(ReleaseBody)
    return await ask.plane.add_release(ask.who, body.manifest.encode(), body.spec.encode(), body.message)


async def release(ask: Ask) -> Any:
    view, parsed, _ = await ask.plane.release(ask.who, ask.path("release"))
    return {"release": view, "manifest": parsed}


async def stored(ask: Ask) -> Any:
    manifest, spec = await ask.plane.stored(ask.who, ask.path("release"))
    return {"manifest": manifest.decode(), "spec": spec.decode()}


async def diff(ask: Ask) -> Any:
    return await ask.plane.diff(ask.who, ask.path("a"), ask.path("b"))


async def rollout(ask: Ask) -> Any:
    return await ask.plane.rollout(ask.who, ask.path("app"), ask.query("env") or "production")


async def move(ask: Ask) -> Any:
    app, body = ask.path("app"), await ask.body(MoveBody)
    match body.kind:
        case "promote":
            return await ask.plane.promote(
                ask.who, app, body.release, body.env, body.weight, body.reason, body.evidence, body.override
            )
        case "rollback":
            return await ask.plane.rollback(ask.who, app, body.release, body.env, body.reason)
        case "pin" | "unpin":
            wanted = body.release if body.kind == "pin" else ""
            return await ask.plane.pin(ask.who, app, wanted, body.env, body.session, body.reason)
        case _:
            raise Refused(f'"{body.kind[:40]}" is no move. It is promote, rollback, pin or unpin.', 400)


async def put_into_force(ask: Ask) -> Any:
    body = await ask.body(RecordBody)
    return await ask.plane.put_into_force(ask.who, body.spec.encode(), body.reason)


RESOURCES = [
    Resource("GET", "/releases", lambda ask: ask.plane.releases(ask.who, ask.query("app") or None)),
    Resource("POST", "/releases", add_release, 201),
    Resource("GET", "/releases/{release}", release),
    Resource("GET", "/releases/{release}/stored", stored),
    Resource("GET", "/releases/{a}/diff/{b}", diff),
    Resource("GET", "/apps/{app}/rollout", rollout),
    Resource("POST", "/apps/{app}/moves", move, 201),
    Resource("POST", "/environment-records", put_into_force, 201),
]
