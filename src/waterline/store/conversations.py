"""Conversations, what came in for them, their turns and the stages that they came to. Why it is so: ADR 7.

Times are Unix microseconds; 0 where it has not happened."""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from waterline.core.conversation import Inbound
from waterline.core.ids import sha256_hex
from waterline.store import conversation_days, effects, handoffs, identities
from waterline.store.conversation_days import NOTHING_SPENT, STAGE, Asked, FunnelRow
from waterline.store.db import Tx

Mode = Literal["bot", "person"]
BY_PERSON = -1  # `turn` of a message that a person answered
MOST_EXPORTED = 100_000  # rows of one table
_decode = msgspec.json.Decoder(Inbound).decode


class Conversation(Struct, frozen=True):
    id: str
    app: str
    env: str
    branch: str
    channel: str
    address: str  # where the last message came in, so where a reply leaves from
    sender: str
    identity: str
    name: str
    mode: Mode
    taken_by: str
    state: bytes
    turn: int  # turns so far
    sequence: int  # of the newest message
    waiting: int  # messages that no turn has read
    window_until_us: int  # when a free text may no longer be sent; 0: the channel knows no such end
    stage: str
    language: str
    slots: str  # JSON
    wake_us: int
    release: str  # of the last turn
    created_us: int
    updated_us: int
    last_in_us: int
    last_out_us: int
    retry_us: int  # not before, after a turn that failed
    tries: int
    failing_us: int  # since when
    excused: int
    trouble: str


class Waiting(Struct, frozen=True):
    sequence: int
    received_us: int
    message: Inbound


class Message(Struct, frozen=True):
    """A message of the inbox. `turn`: the one that read it, 0 none yet, -1 a person answered."""

    sequence: int
    received_us: int
    turn: int
    message: Inbound


class TurnRow(Struct, frozen=True):
    turn: int
    started_us: int
    ended_us: int
    release: str
    stage: str
    model_calls: int
    traces: tuple[str, ...]


class Cursor(Struct, frozen=True):
    """Where a page ends: the next one starts before this."""

    updated_us: int
    id: str

    def __str__(self) -> str:
        return f"{self.updated_us}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises ValueError."""
        updated, dash, conversation = text.partition("-")
        if not dash or not conversation or not (updated.isascii() and updated.isdigit()) or len(updated) > 18:
            raise ValueError(f"{text!r} is no cursor of a page of conversations")
        return cls(int(updated), conversation)


class Filter(Struct, frozen=True):
    """None: all."""

    app: str | None = None
    env: str | None = None
    branch: str | None = None
    stage: str | None = None
    mode: str | None = None
    channel: str | None = None
    mine: str | None = None  # " porto braga ": of these branches only


def get(tx: Tx, conversation: str) -> Conversation | None:
    row = tx.one("conversations.get", id=conversation)
    return Conversation(**row) if row is not None else None


def mode(tx: Tx, conversation: str) -> Mode | None:
    """Who has it. None: it is gone."""
    row = tx.one("conversations.mode", id=conversation)
    return row["mode"] if row is not None else None


def page(tx: Tx, where: Filter, before: Cursor | None = None, limit: int = 50) -> tuple[list[Conversation], str]:
    """Those that moved last first, and the cursor of the next page ("": there is none)."""
    at = {"before_us": before.updated_us, "before_id": before.id} if before else {"before_us": None}
    rows = tx.all("conversations.page", **msgspec.structs.asdict(where), **at, limit=limit + 1)
    found = [Conversation(**row) for row in rows[:limit]]
    return found, str(Cursor(found[-1].updated_us, found[-1].id)) if len(rows) > limit else ""


def by_way(tx: Tx, channel: str, address: str, sender: str) -> str | None:
    row = tx.one("conversations.way", channel=channel, address=address, sender=sender)
    return row["conversation"] if row is not None else None


def add_way(tx: Tx, channel: str, address: str, sender: str, conversation: str) -> None:
    tx.run("conversations.add_way", channel=channel, address=address, sender=sender, conversation=conversation)


def of_person(tx: Tx, identity: str, channel: str, app: str, env: str, branch: str) -> str | None:
    row = tx.one("conversations.of_person", identity=identity, channel=channel, app=app, env=env, branch=branch)
    return row["id"] if row is not None else None


def add(tx: Tx, **values: Any) -> None:
    """id, app, env, branch, channel, address, sender, identity, now_us."""
    tx.run("conversations.add", **values, state=b"")
    conversation_days.add(tx, values["app"], values["env"], values["branch"], values["now_us"], "began")


def earlier_slots(tx: Tx, at: Conversation) -> dict[str, str]:
    """What the same person's latest other conversation with this app has come to know."""
    row = tx.one("conversations.earlier_slots", identity=at.identity, app=at.app, env=at.env, id=at.id)
    return msgspec.json.decode(row["slots"], type=dict[str, str]) if row is not None else {}


def knows(tx: Tx, message: Inbound) -> bool:
    """Whether this message came before, even if it was erased since."""
    known = tx.one(
        "conversations.knows", channel=message.channel, address=message.address, message_id=message.message_id,
        digest=sha256_hex(message.message_id.encode()),
    )  # fmt: skip
    return known is not None


def put(tx: Tx, conversation: str, message: Inbound, now_us: int) -> int:
    """Into the inbox, behind all others. Returns its sequence; 0: there is no such conversation any more.

    Raises StoreConflict if it is there already: ask `knows` first."""
    row = tx.one("conversations.next_sequence", id=conversation, now_us=now_us)
    if row is not None:
        _put(tx, conversation, row["sequence"], message, now_us)
    return row["sequence"] if row is not None else 0


def _put(tx: Tx, conversation: str, sequence: int, message: Inbound, now_us: int) -> None:
    tx.run(
        "conversations.put", conversation=conversation, channel=message.channel, address=message.address,
        message_id=message.message_id, sequence=sequence, at_us=message.at_us, received_us=now_us, kind=message.kind,
        body=msgspec.json.encode(message),
    )  # fmt: skip


def heard(tx: Tx, conversation: str, message: Inbound, now_us: int, window_until_us: int) -> None:
    """A user wrote: into the inbox as `put` does it, and replies go back the way that it came."""
    row = tx.one(
        "conversations.heard", id=conversation, address=message.address, sender=message.sender, name=message.name,
        now_us=now_us, window_until_us=window_until_us,
    )  # fmt: skip
    if row is not None:
        _put(tx, conversation, row["sequence"], message, now_us)


def said(tx: Tx, conversation: str, now_us: int, *, moves: bool) -> None:
    """A reply left. `moves`: nothing else did before it, so lists of what moved last should show it."""
    tx.run("conversations.said" if moves else "conversations.answered", id=conversation, now_us=now_us)


def waiting(tx: Tx, conversation: str, limit: int) -> list[Waiting]:
    """What no turn has read yet, oldest first."""
    rows = tx.all("conversations.waiting", conversation=conversation, limit=limit)
    return [Waiting(row["sequence"], row["received_us"], _decode(row["body"])) for row in rows]


def messages(tx: Tx, conversation: str, after: int = 0, limit: int = 500) -> list[Message]:
    """Oldest first, beginning behind the sequence `after`."""
    rows = tx.all("conversations.messages", conversation=conversation, after=after, limit=limit)
    return [Message(row["sequence"], row["received_us"], row["turn"], _decode(row["body"])) for row in rows]


def put_heard(tx: Tx, conversation: str, waiting: list[Waiting], said: dict[str, str]) -> None:
    """What voice notes say, by their message ids: people who look read it, and no recording is kept."""
    for one in waiting:
        if (text := said.get(one.message.message_id)) is not None:
            body = msgspec.json.encode(msgspec.structs.replace(one.message, text=text))
            tx.run("conversations.put_heard", conversation=conversation, sequence=one.sequence, body=body)


def turns(tx: Tx, conversation: str, limit: int = 500) -> list[TurnRow]:
    """Newest first."""
    rows = tx.all("conversations.turns", conversation=conversation, limit=limit)
    return [TurnRow(**{**row, "traces": tuple(t for t in row["traces"].split(" ") if t)}) for row in rows]


def due(tx: Tx, now_us: int, limit: int) -> list[str]:
    """Conversations in which messages wait for a turn."""
    return [row["id"] for row in tx.all("conversations.due", now_us=now_us, limit=limit)]


def to_wake(tx: Tx, now_us: int, limit: int) -> list[tuple[str, int]]:
    return [(row["id"], row["wake_us"]) for row in tx.all("conversations.to_wake", now_us=now_us, limit=limit)]


def woken(tx: Tx, conversation: str, wake_us: int) -> bool:
    """False: it was woken already, or wants another time."""
    return tx.run("conversations.woken", id=conversation, wake_us=wake_us) > 0


def turned(tx: Tx, conversation: str, turn: int, last: int, **values: Any) -> int | None:
    """A turn has read everything up to the sequence `last`: state, stage, language, slots, wake_us, release, now_us.
    Returns how many messages wait still.

    None, and nothing is changed: another turn came first, or a person has taken over."""
    row = tx.one("conversations.turned", id=conversation, turn=turn - 1, last=last, **values)
    if row is None:
        return None
    conversation_days.add(tx, row["app"], row["env"], row["branch"], row["created_us"], "turns")
    tx.run("conversations.read_by", conversation=conversation, turn=turn, last=last)
    waiting: int = row["waiting"]
    return waiting


def add_turn(tx: Tx, conversation: str, row: TurnRow) -> None:
    values = msgspec.structs.asdict(row) | {"traces": " ".join(row.traces)}
    tx.run("conversations.add_turn", conversation=conversation, **values)


def failed(tx: Tx, conversation: str, turn: int, trouble: str, now_us: int, retry_us: int) -> None:
    tx.run("conversations.failed", id=conversation, turn=turn, trouble=trouble, now_us=now_us, retry_us=retry_us)


def excuse(tx: Tx, conversation: str, turn: int) -> bool:
    """True once for every run of failures."""
    return tx.run("conversations.excuse", id=conversation, turn=turn) > 0


def take(tx: Tx, conversation: str, who: str, now_us: int) -> bool:
    """A person has it from now on. False: somebody has it already."""
    return tx.run("conversations.take", id=conversation, who=who, now_us=now_us) > 0


def give_back(tx: Tx, conversation: str, now_us: int) -> bool:
    return tx.run("conversations.give_back", id=conversation, now_us=now_us) > 0


def answered_by_person(tx: Tx, conversation: str) -> None:
    """What a user wrote until now needs no answer of the agent's any more."""
    read = tx.run("conversations.answered_by_person", conversation=conversation)
    tx.run("conversations.fewer_waiting", id=conversation, read=read)


def add_stage(tx: Tx, at: Conversation, stage: str, now_us: int) -> None:
    """Counted the first time only."""
    new = tx.run(
        "conversations.add_stage", conversation=at.id, stage=stage, app=at.app, env=at.env, branch=at.branch,
        channel=at.channel, at_us=now_us, began_us=at.created_us,
    )  # fmt: skip
    if new > 0:
        name, after = STAGE + stage, now_us - at.created_us
        conversation_days.add(
            tx, at.app, at.env, at.branch, at.created_us, name, amount=after, first_us=now_us
        )  # fmt: skip


def funnel(
    tx: Tx, app: str | None, env: str | None, branch: str | None, since_us: int, until_us: int
) -> list[FunnelRow]:
    return conversation_days.funnel(tx, Asked(app, env, branch, since_us, until_us))


def figures(
    tx: Tx, app: str | None, env: str | None, branch: str | None, since_us: int, until_us: int
) -> dict[str, dict[str, int]]:
    """See conversation_days.figures."""
    return conversation_days.figures(tx, Asked(app, env, branch, since_us, until_us))


def spent(tx: Tx, at: Conversation) -> dict[str, int]:
    """All of `NOTHING_SPENT`."""
    models = tx.one("conversations.spent", conversation=at.id) or {}
    return {**NOTHING_SPENT, **models, **(tx.one("conversations.fees", conversation=at.id, channel=at.channel) or {})}


# --- one person: everything, or nothing any more ---------------------------------------------------------------------


def export(tx: Tx, identity: str) -> dict[str, Any]:
    """Everything that is kept of one person, as JSON-able data."""
    out: dict[str, Any] = {"identities": [], "conversations": []}
    for one in identities.with_merged(tx, identity):
        out["identities"].append({"id": one, "aliases": identities.names(tx, one)})
        for conversation in _of(tx, one):
            kept = get(tx, conversation)
            assert kept is not None
            out["conversations"].append(
                {
                    "conversation": msgspec.to_builtins(kept),
                    "messages": msgspec.to_builtins(messages(tx, conversation, limit=MOST_EXPORTED)),
                    "turns": msgspec.to_builtins(turns(tx, conversation, MOST_EXPORTED)),
                    "effects": msgspec.to_builtins(effects.of(tx, conversation, MOST_EXPORTED)),
                    "sent": msgspec.to_builtins(effects.sent_of(tx, conversation, MOST_EXPORTED)),
                    "handoffs": msgspec.to_builtins(handoffs.of(tx, conversation, MOST_EXPORTED)),
                }
            )
    return out


_TABLES = ("inbox", "turns", "effects", "sent", "stages", "handoffs", "sessions", "session_steps", "ways")


def erase(tx: Tx, identity: str, now_us: int) -> list[str]:
    """Nothing of this person is left here, but digests of message ids, so that a late repeat brings nothing back.

    Returns the ids of the conversations, which name the traces that are to be erased too."""
    gone: list[str] = []
    for one in identities.with_merged(tx, identity):
        for conversation in _of(tx, one):
            _uncount(tx, conversation)
            ids = tx.all("conversations.message_ids", conversation=conversation)
            tx.many(
                "conversations.remember_erased",
                [
                    {
                        "channel": row["channel"],
                        "address": row["address"],
                        "digest": sha256_hex(row["message_id"].encode()),
                        "at_us": now_us,
                    }
                    for row in ids
                ],
            )
            for table in _TABLES:
                tx.run(f"conversations.erase_{table}", conversation=conversation)
            tx.run("conversations.erase", conversation=conversation)
            gone.append(conversation)
        identities.erase(tx, one)
    return gone


def _uncount(tx: Tx, conversation: str) -> None:
    at = get(tx, conversation)
    if at is None:
        return
    day = (at.app, at.env, at.branch, at.created_us)
    conversation_days.add(tx, *day, "began", n=-1)
    conversation_days.add(tx, *day, "turns", n=-at.turn)
    for row in tx.all("behaviour.stages", conversation=conversation):
        conversation_days.add(tx, *day, STAGE + row["stage"], n=-1, amount=at.created_us - row["at_us"])


def _of(tx: Tx, identity: str) -> list[str]:
    return [row["id"] for row in tx.all("conversations.ids_of_identity", identity=identity)]
