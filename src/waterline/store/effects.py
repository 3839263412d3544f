"""What is to happen in the world and what came of it, and what became of the messages that were sent."""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from waterline.core.conversation import Effect, Status
from waterline.store.db import Tx

# held: a text that may leave when the user writes again
State = Literal["planned", "sending", "held", "done", "refused", "failed", "dropped"]
REPLY = "reply"  # the lane of everything that is said to a user
RANK = {"sent": 1, "delivered": 2, "read": 3, "failed": 9}


class EffectRow(Struct, frozen=True):
    """Times are Unix microseconds, 0 where it has not happened. Effects of one lane happen in the order of `n`."""

    n: int
    app: str
    env: str
    key: str
    conversation: str
    turn: int
    name: str
    lane: str  # "reply", or the connector's name
    author: str  # "": the agent
    quiet: int
    body: bytes  # the Effect
    state: State
    attempts: int
    planned_us: int
    sending_us: int
    next_us: int
    late_us: int
    ended_us: int
    result: str  # JSON
    reason: str
    message_id: str
    branch: str

    @property
    def effect(self) -> Effect:
        return msgspec.json.decode(self.body, type=Effect)


class SentRow(Struct, frozen=True):
    channel: str
    address: str
    message_id: str
    conversation: str  # "": not known yet
    key: str
    state: str
    rank: int
    at_us: int
    code: int
    reason: str
    billable: int | None
    category: str
    pricing_model: str


def lane_of(effect: Effect) -> str:
    return REPLY if effect.message is not None else effect.connector


def plan(
    tx: Tx, app: str, env: str, conversation: str, turn: int, effect: Effect, now_us: int, author: str = ""
) -> EffectRow | None:
    """To be performed. None: it is on its way already, or is now; else the row of the one that ended well before,
    which is not done a second time. One that was refused or failed is tried anew."""
    key = effect.key or f"{conversation}/{turn}/{effect.name}"
    values: dict[str, Any] = {
        "conversation": conversation,
        "turn": turn,
        "name": effect.name,
        "lane": lane_of(effect),
        "quiet": int(effect.quiet),
        "body": msgspec.json.encode(effect),
        "now_us": now_us,
    }
    if tx.run("effects.plan", app=app, env=env, key=key, author=author, **values):
        return None
    known = by_key(tx, app, env, key)
    assert known is not None
    tx.run("effects.plan_again", n=known.n, **values)
    return known if known.state == "done" else None


def by_key(tx: Tx, app: str, env: str, key: str) -> EffectRow | None:
    row = tx.one("effects.by_key", app=app, env=env, key=key)
    return EffectRow(**row) if row is not None else None


def due(tx: Tx, now_us: int, limit: int) -> list[tuple[str, str]]:
    """(conversation, lane) in which something is to be done."""
    rows = tx.all("effects.due", now_us=now_us, limit=limit)
    return list(dict.fromkeys((row["conversation"], row["lane"]) for row in rows))


def lanes(tx: Tx, conversation: str) -> list[str]:
    return [row["lane"] for row in tx.all("effects.lanes", conversation=conversation)]


def head(tx: Tx, conversation: str, lane: str) -> EffectRow | None:
    """What is next in a lane, whether or not its time has come."""
    row = tx.one("effects.head", conversation=conversation, lane=lane)
    return EffectRow(**row) if row is not None else None


def of(tx: Tx, conversation: str, limit: int = 500) -> list[EffectRow]:
    """Newest first."""
    return [EffectRow(**row) for row in tx.all("effects.of", conversation=conversation, limit=limit)]


def acts(
    tx: Tx, app: str | None, branch: str | None, state: str | None, before: int | None = None, limit: int = 50,
    mine: str | None = None,
) -> list[EffectRow]:  # fmt: skip
    """What was done, or not, in connected systems; newest first, before the number `before`."""
    at = {"app": app, "branch": branch, "mine": mine, "state": state, "before": before}
    rows = tx.all("effects.of_lane_kind", **at, limit=limit)
    return [EffectRow(**row) for row in rows]


def start(tx: Tx, n: int, now_us: int) -> bool:
    """It leaves now. False: it was dropped meanwhile, or erased."""
    return tx.run("effects.start", n=n, now_us=now_us) > 0


def wait(tx: Tx, n: int, next_us: int) -> None:
    """It may have left: look again then."""
    tx.run("effects.wait", n=n, next_us=next_us)


def finish(
    tx: Tx, n: int, state: State, now_us: int, *, result: str = "{}", reason: str = "", message_id: str = ""
) -> bool:
    """False: it ended before."""
    values = {"state": state, "result": result, "reason": reason[:500], "message_id": message_id}
    return tx.run("effects.finish", n=n, now_us=now_us, **values) > 0


def again(tx: Tx, row: EffectRow, next_us: int, reason: str) -> None:
    """It did not happen, or did not even begin, and is tried then; what waits behind it waits with it."""
    tx.run("effects.again", n=row.n, next_us=next_us, reason=reason[:500])
    tx.run("effects.hold_lane", conversation=row.conversation, lane=row.lane, next_us=next_us)


def hold(tx: Tx, row: EffectRow, next_us: int) -> None:
    """Nothing of its lane is tried before then."""
    tx.run("effects.postpone", n=row.n, next_us=next_us)
    tx.run("effects.hold_lane", conversation=row.conversation, lane=row.lane, next_us=next_us)


def until_heard(tx: Tx, row: EffectRow, reason: str) -> bool:
    """A reply that could not leave, or did not arrive, because its user was silent for too long: kept until they write.
    False: it is kept already, or gone."""
    return tx.run("effects.until_heard", n=row.n, reason=reason[:500]) > 0


def heard(tx: Tx, conversation: str, since_us: int, now_us: int) -> None:
    """The user wrote: what was kept for that leaves, unless it was planned before `since_us`."""
    tx.run("effects.heard", conversation=conversation, since_us=since_us, now_us=now_us)


def late(tx: Tx, n: int, now_us: int) -> bool:
    """True once: somebody should be told that it takes longer."""
    return tx.run("effects.late", n=n, now_us=now_us) > 0


def drop(tx: Tx, n: int, now_us: int, reason: str) -> None:
    tx.run("effects.drop", n=n, now_us=now_us, reason=reason)


def drop_replies(tx: Tx, conversation: str, now_us: int, reason: str) -> int:
    """Those of the agent that have not left. Returns how many."""
    return tx.run("effects.drop_replies", conversation=conversation, now_us=now_us, reason=reason)


def left(tx: Tx, row: EffectRow, channel: str, address: str, message_id: str, now_us: int) -> bool:
    """A reply was sent under this id. False: that was known."""
    if not finish(tx, row.n, "done", now_us, message_id=message_id):
        return False
    status = Status(channel, address, message_id, "sent", now_us)  # type: ignore[arg-type]
    if not note(tx, status, row.conversation, row.key):  # a status of it came before we could write that it left
        tx.run(
            "effects.know_sent", channel=channel, address=address, message_id=message_id,
            conversation=row.conversation, key=row.key,
        )  # fmt: skip
    return True


def note(tx: Tx, status: Status, conversation: str = "", key: str = "", known: SentRow | None = None) -> bool:
    """What a channel says of a message. True if it is news: a status never goes back. `known`: what `sent` says."""
    at = {"channel": status.channel, "address": status.address, "message_id": status.message_id}
    price = {
        "billable": None if status.billable is None else int(status.billable),
        "category": status.category,
        "pricing_model": status.pricing_model,
    }
    news = known is None or known.rank < RANK[status.state]
    news = news and tx.run(
        "effects.status", **at, **price, conversation=conversation, key=key or status.key, state=status.state,
        rank=RANK[status.state], at_us=status.at_us, code=status.code, reason=status.reason[:500],
    ) > 0  # fmt: skip
    if status.billable is not None and (known is None or known.billable is None):
        tx.run("effects.priced", **at, **price)
    return news


def sent(tx: Tx, channel: str, address: str, message_id: str) -> SentRow | None:
    row = tx.one("effects.sent", channel=channel, address=address, message_id=message_id)
    return SentRow(**row) if row is not None else None


def sent_of(tx: Tx, conversation: str, limit: int = 500) -> list[SentRow]:
    """Newest first."""
    return [SentRow(**row) for row in tx.all("effects.sent_of", conversation=conversation, limit=limit)]
