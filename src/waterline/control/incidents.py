"""Incidents: what went wrong, said by people or by the machinery. While a blocking one is open, nothing is promoted
where the gate `no_open_incident` is required; going back always is possible."""

import secrets
from collections.abc import Callable

from msgspec import Struct

from waterline.access.roles import Action, Principal, require
from waterline.access.stored import audited
from waterline.core.errors import Refused
from waterline.core.ids import short
from waterline.core.rollout import Move
from waterline.store import incidents, releases
from waterline.store.canaries import CanaryHead
from waterline.store.db import Store, Tx
from waterline.store.incidents import Incident, Link

SEVERITIES = ("low", "medium", "high", "critical")
LINKS = ("trace", "verdict", "experiment", "load_line", "release", "canary")
STATES = ("open", "closed")
LONGEST_TITLE = 200
LONGEST_NOTES = 4000
MOST_LINKS = 50


class IncidentBody(Struct, forbid_unknown_fields=True):
    """`env` "": it concerns all environments of the app."""

    app: str
    title: str
    severity: str = "high"
    blocking: bool = True
    env: str = ""
    notes: str = ""
    release: str = ""
    links: list[Link] = []


class ClosureBody(Struct, forbid_unknown_fields=True):
    resolution: str


class IncidentPage(Struct, frozen=True):
    """`next`: what `before` takes for the page after this one; 0 on the last."""

    rows: list[Incident]
    next: int
    open: int  # of all, whatever the page shows


class IncidentDesk:
    """What people do with incidents. `environments`: those of an app, None for an app that is not known."""

    def __init__(
        self, store: Store, clock_us: Callable[[], int], environments: Callable[[str], tuple[str, ...] | None]
    ) -> None:
        self._store = store
        self._clock_us = clock_us
        self._environments = environments

    async def page(self, who: Principal, app: str | None, state: str, before: int | None, limit: int) -> IncidentPage:
        """Newest first."""
        require(who, Action.INCIDENT_READ)
        if state and state not in STATES:
            raise Refused(f"An incident is open or closed, not {state[:40]!r}.", 400)

        def read(tx: Tx) -> IncidentPage:
            rows = incidents.list_of(tx, app, state or None, limit + 1, before)
            more = rows[limit - 1].seq if len(rows) > limit else 0
            return IncidentPage(rows[:limit], more, incidents.count(tx, app, "open"))

        return await self._store.read(read)

    async def one(self, who: Principal, incident: str) -> Incident:
        require(who, Action.INCIDENT_READ)
        return await self._store.read(lambda tx: _found(tx, incident))

    async def open(self, who: Principal, said: IncidentBody) -> Incident:
        require(who, Action.INCIDENT_OPEN)
        known = self._environments(said.app)
        if known is None:
            raise Refused(f'There is no app "{said.app[:70]}".', 404)
        if said.env and said.env not in known:
            raise Refused(f'App "{said.app}" has no environment "{said.env[:70]}". It has: {", ".join(known)}.', 404)

        def write(tx: Tx) -> Incident:
            if said.release:
                found = releases.find(tx, said.release.strip().lower(), said.app)
                if len(found) != 1:
                    raise Refused(f'"{said.release[:70]}" is {len(found)} releases of app "{said.app}".', 404)
                said.release = found[0]
            return opened(tx, who, said, self._clock_us())

        return await self._store.write(write)

    async def close(self, who: Principal, incident: str, resolution: str) -> Incident:
        require(who, Action.INCIDENT_CLOSE)
        if not resolution.strip():
            raise Refused("Say how it was resolved (--resolution): whoever reads this later was not there.", 400)
        if len(resolution) > LONGEST_NOTES:
            raise Refused(f"A resolution has at most {LONGEST_NOTES:,} characters.", 400)
        return await self._store.write(lambda tx: closed(tx, who, incident, resolution.strip(), self._clock_us()))


def opened(tx: Tx, by: Principal, said: IncidentBody, at_us: int) -> Incident:
    """In the caller's transaction, with its audit entry: a canary opens one together with its rollback. Raises Refused
    where something said does not fit; who may do it is the caller's to ask."""
    title = " ".join(said.title.split())
    if not title or len(title) > LONGEST_TITLE:
        raise Refused(f"An incident needs a title of 1 to {LONGEST_TITLE} characters.", 400)
    if said.severity not in SEVERITIES:
        raise Refused(f"A severity is {', '.join(SEVERITIES)}; not {said.severity[:40]!r}.", 400)
    if len(said.notes) > LONGEST_NOTES or len(said.links) > MOST_LINKS:
        raise Refused(f"Notes have at most {LONGEST_NOTES:,} characters; at most {MOST_LINKS} things are linked.", 400)
    for link in said.links:
        if link.kind not in LINKS or not 0 < len(link.id) <= 128:
            raise Refused(f"A link is one of {', '.join(LINKS)} with an id, not {link.kind[:40]!r}.", 400)
    incident = Incident(
        id=f"inc-{secrets.token_hex(4)}", app=said.app, env=said.env, title=title, severity=said.severity,
        blocking=said.blocking, notes=said.notes.strip(), release=said.release, links=tuple(said.links), state="open",
        opened_us=at_us, opened_by=by.name,
    )  # fmt: skip
    incidents.add(tx, incident)
    detail = {"app": said.app, "env": said.env, "title": title, "severity": said.severity,
              "blocking": "yes" if said.blocking else "no", "release": said.release}  # fmt: skip
    audited(tx, by, Action.INCIDENT_OPEN, incident.id, detail, at_us)
    return _found(tx, incident.id)


def canary_rolled_back(tx: Tx, by: Principal, canary: CanaryHead, move: Move) -> None:
    """Together with the rollback. It blocks: what a canary found is looked at by somebody before the next release."""
    said = IncidentBody(
        canary.app, f"Canary {canary.id} rolled {short(canary.candidate)} back", "high", True, canary.env,
        move.why[:LONGEST_NOTES], canary.candidate, [Link("canary", canary.id)],
    )  # fmt: skip
    opened(tx, by, said, move.at_us)


def closed(tx: Tx, by: Principal, incident: str, resolution: str, at_us: int) -> Incident:
    found = _found(tx, incident)
    if not incidents.close(tx, incident, at_us, by.name, resolution):
        raise Refused(f"Incident {incident} was closed already, by {found.closed_by}. Nothing was changed.")
    audited(tx, by, Action.INCIDENT_CLOSE, incident, {"app": found.app, "resolution": resolution[:500]}, at_us)
    return _found(tx, incident)


def _found(tx: Tx, incident: str) -> Incident:
    found = incidents.get(tx, incident)
    if found is None:
        raise Refused(f"There is no incident {incident[:40]!r}. List them: waterline incident list.", 404)
    return found
