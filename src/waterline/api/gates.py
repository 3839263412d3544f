"""`/api/apps/{app}/gates` and its neighbours: what keeps a release from an environment, approvals and incidents."""

from typing import Any

import msgspec

from waterline.api.ask import Ask, Resource
from waterline.control.incidents import ClosureBody, IncidentBody


class ApprovalBody(msgspec.Struct, forbid_unknown_fields=True):
    """`shown`: of the report that was looked at."""

    release: str
    shown: str = ""
    env: str = "production"
    note: str = ""


class WithdrawalBody(msgspec.Struct, forbid_unknown_fields=True):
    """`person` "": one's own approval."""

    release: str
    env: str = "production"
    person: str = ""
    note: str = ""


async def gates(ask: Ask) -> Any:
    env = ask.query("env") or "production"
    return await ask.plane.gates.report(ask.who, ask.path("app"), ask.query("release"), env)


async def approve(ask: Ask) -> Any:
    said = await ask.body(ApprovalBody)
    return await ask.plane.gates.approve(ask.who, ask.path("app"), said.release, said.env, said.shown, said.note)


async def withdraw(ask: Ask) -> Any:
    said = await ask.body(WithdrawalBody)
    return await ask.plane.gates.withdraw(ask.who, ask.path("app"), said.release, said.env, said.person, said.note)


async def incidents(ask: Ask) -> Any:
    limit = min(ask.whole("limit") or 50, 200)
    before = ask.whole("before")
    return await ask.plane.incidents.page(ask.who, ask.query("app") or None, ask.query("state"), before, limit)


async def open_(ask: Ask) -> Any:
    return await ask.plane.incidents.open(ask.who, await ask.body(IncidentBody))


async def close(ask: Ask) -> Any:
    said = await ask.body(ClosureBody)
    return await ask.plane.incidents.close(ask.who, ask.path("incident"), said.resolution)


RESOURCES = [
    Resource("GET", "/apps/{app}/gates", gates),
    Resource("POST", "/apps/{app}/approvals", approve, 201),
    Resource("POST", "/apps/{app}/approvals/withdrawal", withdraw, 201),
    Resource("GET", "/releases/{release}/gates", lambda ask: ask.plane.gates.past(ask.who, ask.path("release"))),
    Resource("GET", "/incidents", incidents),
    Resource("POST", "/incidents", open_, 201),
    Resource("GET", "/incidents/{incident}", lambda ask: ask.plane.incidents.one(ask.who, ask.path("incident"))),
    Resource("POST", "/incidents/{incident}/closure", close),
]
