"""The history of every rollout. Rows are only ever added (triggers forbid the rest); the newest one is the state."""

import msgspec

from waterline.core.rollout import Move, Share
from waterline.store.db import Row, Tx

_decode_shares = msgspec.json.Decoder(tuple[Share, ...]).decode


def append(tx: Tx, move: Move) -> int:
    """Returns the number the move was given. `move.seq` is not looked at."""
    row = tx.one(
        "rollouts.append",
        app=move.app,
        env=move.env,
        kind=move.kind,
        shares=msgspec.json.encode(move.shares),
        salt=move.salt,
        who=move.who,
        why=move.why,
        evidence=move.evidence,
        at_us=move.at_us,
        session=move.session,
    )
    assert row is not None  # an INSERT ... RETURNING has a row
    return int(row["seq"])


def history(tx: Tx, app: str, env: str | None = None, limit: int = 100, before: int | None = None) -> list[Move]:
    """Newest first; `before`: only moves with a smaller number."""
    return [_move(r) for r in tx.all("rollouts.history", app=app, env=env, limit=limit, before=before)]


def latest(tx: Tx, app: str, env: str) -> Move | None:
    """The last promotion or rollback: its shares and salt are what is live. Pins are in `pins`."""
    row = tx.one("rollouts.latest", app=app, env=env)
    return None if row is None else _move(row)


def latest_all(tx: Tx, app: str | None = None) -> list[Move]:
    """The same for every app and environment, in that order."""
    return [_move(r) for r in tx.all("rollouts.latest", app=app)]


def pins(tx: Tx, app: str, env: str) -> list[Move]:
    """The pin in force of each pinned session. A rollback ended every earlier one."""
    return [_move(r) for r in tx.all("rollouts.pins", app=app, env=env)]


def _move(r: Row) -> Move:
    return Move(
        app=r["app"],
        env=r["env"],
        kind=r["kind"],
        shares=_decode_shares(r["shares"]),
        salt=r["salt"],
        who=r["who"],
        why=r["why"],
        evidence=r["evidence"],
        at_us=r["at_us"],
        session=r["session"],
        seq=r["seq"],
    )
