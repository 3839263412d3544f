"""Canaries, the sessions that they count, and their looks. SQL: sql/canaries.sql. `plan` and `sums` are bytes here."""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from waterline.core.rollout import Move, Share
from waterline.core.verdict import Outcome, Verdict
from waterline.store.db import Row, Tx

State = Literal["running", "held", "promoted", "rolled back", "stopped", "ended"]
MOST_OF_A_SESSION = 500  # requests, and verdicts, that are looked at
_decode_verdict = msgspec.json.Decoder(Verdict).decode
_decode_shares = msgspec.json.Decoder(tuple[Share, ...]).decode


class CanaryHead(Struct, frozen=True):
    """`held`: it waited too long and stays at its weight. `stopped`: by a person. `ended`: by somebody's move."""

    id: str
    app: str
    env: str
    candidate: str
    baseline: str
    state: State
    step: int  # from 0
    who: str
    why: str
    started_us: int
    step_us: int  # when the step began
    ended_us: int | None
    reason: str
    looked: int  # sessions of the smaller side when a look was kept last
    looks: int


class CanaryRow(CanaryHead, frozen=True):
    plan: bytes
    sums: bytes


class Unit(Struct, frozen=True):
    """A session. `session` "": it has none, and `unit` is its trace."""

    unit: str
    session: str
    candidate: bool
    begun_us: int


class LookRow(Struct, frozen=True):
    number: int
    at_us: int
    step: int
    decision: str
    sums: bytes


def add(tx: Tx, row: CanaryRow) -> None:
    """Raises StoreConflict if one is under way for the app and environment."""
    tx.run("canaries.add", **msgspec.structs.asdict(row))


def get(tx: Tx, canary: str) -> CanaryRow | None:
    row = tx.one("canaries.get", id=canary)
    return None if row is None else CanaryRow(**row)


def update(tx: Tx, row: CanaryRow) -> None:
    tx.run("canaries.update", **msgspec.structs.asdict(row))


def under_way(tx: Tx, app: str | None = None, env: str | None = None) -> list[CanaryHead]:
    return [CanaryHead(**row) for row in tx.all("canaries.under_way", app=app, env=env)]


def list_of(tx: Tx, app: str | None, limit: int, before: CanaryHead | None = None) -> list[CanaryHead]:
    """Newest first. `before`: the last one of the page before."""
    params: dict[str, Any] = {"before": before.id, "before_us": before.started_us} if before else {"before": None}
    return [CanaryHead(**row) for row in tx.all("canaries.list", app=app, limit=limit, **params)]


def add_units(tx: Tx, canary: str, units: list[Unit]) -> None:
    tx.many("canaries.add_unit", [{"canary": canary, **msgspec.structs.asdict(unit)} for unit in units])


def due(tx: Tx, canary: str, stage: int, until_us: int, limit: int) -> list[Unit]:
    """Those of a stage that began by then, the oldest first."""
    rows = tx.all("canaries.due", canary=canary, stage=stage, until_us=until_us, limit=limit)
    return [Unit(r["unit"], r["session"], bool(r["candidate"]), r["begun_us"]) for r in rows]


def settle(tx: Tx, canary: str, units: list[str], stage: int) -> None:
    tx.many("canaries.settle", [{"canary": canary, "unit": unit, "stage": stage} for unit in units])


def waiting(tx: Tx, canary: str) -> int:
    """Sessions that were seen and are not counted yet."""
    row = tx.one("canaries.waiting", canary=canary)
    return int(row["n"]) if row else 0


def forget_units(tx: Tx, canary: str) -> None:
    tx.run("canaries.forget_units", canary=canary)


def asked(tx: Tx, unit: Unit, until_us: int, where: dict[str, str]) -> list[Row]:
    """A session's requests from its first one until then. `where`: app, env, release, purpose."""
    if not unit.session:
        return tx.all("canaries.asked_once", id=unit.unit)
    span = {"since_us": unit.begun_us, "until_us": until_us, "limit": MOST_OF_A_SESSION}
    return tx.all("canaries.asked_in_session", session=unit.session, **span, **where)


def said(tx: Tx, unit: Unit, until_us: int, said_us: int, where: dict[str, str]) -> list[tuple[str, float]]:
    """Name and value (0..1) of the verdicts on them that were there by `said_us`."""
    if unit.session:
        span = {"since_us": unit.begun_us, "until_us": until_us, "said_us": said_us, "limit": MOST_OF_A_SESSION}
        rows = tx.all("canaries.said_in_session", session=unit.session, **span, **where)
    else:
        rows = tx.all("canaries.said_once", id=unit.unit, said_us=said_us, limit=MOST_OF_A_SESSION)
    return [(r["name"], v) for r in rows if (v := value_of(r["verdict"])) is not None]


def value_of(encoded: bytes) -> float | None:
    """0..1; a verdict without a figure counts as it passed or failed. None: it says neither."""
    verdict = _decode_verdict(encoded)
    if verdict.value is not None:
        return verdict.value.value
    return {Outcome.PASS: 1.0, Outcome.FAIL: 0.0}.get(verdict.outcome)


def add_look(tx: Tx, canary: str, look: LookRow) -> None:
    tx.run("canaries.add_look", canary=canary, **msgspec.structs.asdict(look))


def looks(tx: Tx, canary: str) -> list[LookRow]:
    """Oldest first."""
    return [LookRow(**row) for row in tx.all("canaries.looks", canary=canary)]


def moves(tx: Tx, head: CanaryHead, limit: int = 100) -> list[Move]:
    """The promotions and rollbacks while it ran, oldest first."""
    params = {"app": head.app, "env": head.env, "since_us": head.started_us, "until_us": head.ended_us}
    return [
        Move(**{**row, "shares": _decode_shares(row["shares"])})
        for row in tx.all("canaries.moves", **params, limit=limit)
    ]


def recorded(tx: Tx, where: dict[str, str], since_us: int, limit: int) -> list[Row]:
    """Requests that a release answered, newest first, for A/A runs."""
    return tx.all("canaries.recorded", **where, since_us=since_us, limit=limit)


def recorded_verdicts(tx: Tx, where: dict[str, str], since_us: int, limit: int) -> list[tuple[str, str, float]]:
    """Trace, name and value of the verdicts on them."""
    rows = tx.all("canaries.recorded_verdicts", **where, since_us=since_us, limit=limit)
    return [(r["id"], r["name"], v) for r in rows if (v := value_of(r["verdict"])) is not None]
