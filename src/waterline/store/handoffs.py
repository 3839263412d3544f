"""Conversations that need a person: who waits, since when, who took it, when they replied."""

from msgspec import Struct

from waterline.core.conversation import Handoff
from waterline.store.db import Tx


class HandoffRow(Struct, frozen=True):
    """Times are Unix microseconds, 0 where it has not happened. A conversation has at most one that is open."""

    n: int
    app: str
    env: str
    branch: str
    conversation: str
    reason: str  # of core.conversation.Handoff; "taken": a person took it unasked
    summary: str
    urgent: int
    asked_us: int
    reminded_us: int
    taken_us: int
    taken_by: str
    replied_us: int
    closed_us: int


def ask(tx: Tx, app: str, env: str, branch: str, conversation: str, handoff: Handoff, now_us: int) -> bool:
    """True if this opens one. One that is open gets the newer summary."""
    said = {"conversation": conversation, "summary": handoff.summary, "urgent": int(handoff.urgent)}
    if tx.run("handoffs.ask", app=app, env=env, branch=branch, reason=handoff.reason, asked_us=now_us, **said):
        return True
    tx.run("handoffs.add_reason", **said)
    return False


def take(tx: Tx, app: str, env: str, branch: str, conversation: str, who: str, now_us: int) -> None:
    if not tx.run("handoffs.taken", conversation=conversation, who=who, now_us=now_us):
        at = {"app": app, "env": env, "branch": branch, "conversation": conversation}
        tx.run("handoffs.ask", **at, reason="taken", summary="", urgent=0, asked_us=now_us)
        tx.run("handoffs.taken", conversation=conversation, who=who, now_us=now_us)


def replied(tx: Tx, conversation: str, now_us: int) -> None:
    tx.run("handoffs.replied", conversation=conversation, now_us=now_us)


def close(tx: Tx, conversation: str, now_us: int) -> None:
    tx.run("handoffs.close", conversation=conversation, now_us=now_us)


def close_if_untaken(tx: Tx, conversation: str, reason: str, now_us: int) -> None:
    tx.run("handoffs.close_if_untaken", conversation=conversation, reason=reason, now_us=now_us)


def open_of(tx: Tx, conversation: str) -> HandoffRow | None:
    row = tx.one("handoffs.open_of", conversation=conversation)
    return HandoffRow(**row) if row is not None else None


def of(tx: Tx, conversation: str, limit: int = 100) -> list[HandoffRow]:
    return [HandoffRow(**row) for row in tx.all("handoffs.of", conversation=conversation, limit=limit)]


def queue(tx: Tx, app: str | None, branch: str | None, limit: int = 500, mine: str | None = None) -> list[HandoffRow]:
    """Open ones: urgent first, then who has waited longest. `mine`: as in conversations.Filter."""
    rows = tx.all("handoffs.queue", app=app, branch=branch, limit=limit, mine=mine)
    return [HandoffRow(**row) for row in rows]


def to_remind(tx: Tx, app: str | None, asked_before_us: int, limit: int = 100) -> list[HandoffRow]:
    """Nobody took them, and nobody was reminded."""
    rows = tx.all("handoffs.to_remind", app=app, asked_before_us=asked_before_us, limit=limit)
    return [HandoffRow(**row) for row in rows]


def reminded(tx: Tx, n: int, now_us: int) -> bool:
    return tx.run("handoffs.reminded", n=n, now_us=now_us) > 0


def waits_us(
    tx: Tx, app: str | None, branch: str | None, since_us: int, until_us: int, mine: str | None = None
) -> dict[str, list[int]]:
    """By branch: how long those who asked waited for a person's first reply, of those who got one (at most the newest
    10,000)."""
    found: dict[str, list[int]] = {}
    at = {"app": app, "branch": branch, "mine": mine, "since_us": since_us, "until_us": until_us}
    for row in tx.all("handoffs.times", **at, limit=10_000):
        if row["replied_us"]:
            found.setdefault(row["branch"], []).append(row["replied_us"] - row["asked_us"])
    return found
