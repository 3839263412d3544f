"""The one way in: what channels hear, and what we tell ourselves, becomes rows of the inbox, once and in order."""

import logging
from collections.abc import Callable, Iterable, Sequence

from waterline.agents.handoff import asked, reopened
from waterline.agents.places import Place, Places
from waterline.core.conversation import Alias, Handoff, Inbound, Outcome, Status
from waterline.store import conversations, effects, identities
from waterline.store.db import Store, Tx

log = logging.getLogger("waterline.conversations")

FIRST_STAGE = "first_message"
WINDOW_US = {"whatsapp": 24 * 3600 * 1_000_000}  # for so long after a user's message a free text may be sent
HELD_US = 3 * 24 * 3600 * 1_000_000  # what was to be said so long ago is not said any more
WINDOW_CLOSED = 131047
SETTLED_BY_USERS = (131049, 131050)  # WhatsApp: the user's own choice; nobody in the office can do anything


class Desk:
    """What channels hand in. Each method returns when it is on disk, and may be called again with the same."""

    def __init__(
        self,
        store: Store,
        places: Callable[[], Places],
        clock_us: Callable[[], int],
        new_id: Callable[[], str],
        wake: Callable[[str, float], None],
    ) -> None:
        """`wake`: a conversation, and for how many seconds its user should be silent first."""
        self._store = store
        self._places = places
        self._clock_us = clock_us
        self._new_id = new_id
        self._wake = wake

    async def inbound(self, messages: Sequence[Inbound]) -> None:
        """Raises StoreUnavailable: then nothing of the batch is kept, and the channel must not say that it arrived."""
        now = self._clock_us()
        woken = await self._store.write(
            lambda tx: receive(tx, messages, self._places(), now, self._new_id), repeats=True
        )
        for conversation, quiet_s in woken.items():
            self._wake(conversation, quiet_s)

    async def statuses(self, statuses: Sequence[Status]) -> None:
        now = self._clock_us()

        def note(tx: Tx) -> None:
            for status in statuses:
                _status(tx, status, self._places(), now)

        await self._store.write(note, repeats=True)

    async def joined(self, people: Sequence[tuple[Alias, ...]]) -> None:
        """A channel says that these are names of one person."""
        now, apps = self._clock_us(), list(self._places().apps())

        def join(tx: Tx) -> None:
            for app in apps:
                for names in people:
                    if any(identities.find(tx, app, alias) for alias in names):
                        identities.resolve(tx, app, names, now, self._new_id)

        await self._store.write(join)


def receive(
    tx: Tx, messages: Iterable[Inbound], places: Places, now_us: int, new_id: Callable[[], str]
) -> dict[str, float]:
    """Those that are new, into the inbox. Returns the conversations that have something to do, each with the seconds
    for which its user should be silent first."""
    woken: dict[str, float] = {}
    for message in messages:
        place = places.at(message.channel, message.address)
        if place is None:
            log.error(
                "a message came in on %s %s, which no branch of any app has: it is dropped. Declare the address "
                "(branches, addresses) and promote.", message.channel, message.address,
            )  # fmt: skip
            continue
        if conversations.knows(tx, message):
            continue
        conversation = _conversation(tx, place, message, now_us, new_id)
        window = WINDOW_US.get(message.channel, 0)
        conversations.heard(tx, conversation, message, now_us, message.at_us + window if window else 0)
        effects.heard(tx, conversation, now_us - HELD_US, now_us)
        woken[conversation] = place.rules.quiet_s
    return woken


def _conversation(tx: Tx, place: Place, message: Inbound, now_us: int, new_id: Callable[[], str]) -> str:
    """The one that this message belongs to: by the way it came, else by who wrote it."""
    names = message.aliases or (Alias(message.channel, message.sender),)
    who = identities.resolve(tx, place.app, names, now_us, new_id)
    way = (message.channel, message.address, message.sender)
    known = conversations.by_way(tx, *way)
    if known is not None:
        return known
    found = conversations.of_person(tx, who, message.channel, place.app, place.env, place.branch.id)
    if found is None:
        found = new_id()
        conversations.add(
            tx, id=found, app=place.app, env=place.env, branch=place.branch.id, channel=message.channel,
            address=message.address, sender=message.sender, identity=who, now_us=now_us,
        )  # fmt: skip
        made = conversations.get(tx, found)
        assert made is not None
        conversations.add_stage(tx, made, FIRST_STAGE, now_us)
    conversations.add_way(tx, *way, found)
    return found


def put_outcome(tx: Tx, row: effects.EffectRow, outcome: Outcome, now_us: int, again: int = 0) -> None:
    """How an effect ended, into its conversation's inbox. `again`: the turn that asks for what was done before."""
    mark = f"{row.key}/{row.turn}/{outcome.state}" + (f"/{again}" if again else "")
    message = Inbound("outcome", row.conversation, mark, "", now_us, "outcome", outcome=outcome)
    if not conversations.knows(tx, message):
        conversations.put(tx, row.conversation, message, now_us)


def put_tick(tx: Tx, conversation: str, wake_us: int, now_us: int) -> bool:
    """The time that the agent asked for has come. False: it was told already."""
    if not conversations.woken(tx, conversation, wake_us):
        return False
    conversations.put(tx, conversation, Inbound("clock", conversation, f"tick/{wake_us}", "", now_us, "tick"), now_us)
    return True


def _status(tx: Tx, status: Status, places: Places, now_us: int) -> None:
    """A status that carries a key also says that the message left, if we died before we could write that down."""
    place = places.at(status.channel, status.address)
    row, known = None, effects.sent(tx, status.channel, status.address, status.message_id)
    if place is not None and status.key and (known is None or not known.conversation):
        row = effects.by_key(tx, place.app, place.env, status.key)
        if row is not None and row.state in ("planned", "sending"):
            effects.left(tx, row, status.channel, status.address, status.message_id, now_us)
            conversations.said(tx, row.conversation, now_us, moves=bool(row.author))
            known = effects.sent(tx, status.channel, status.address, status.message_id)
    about = row.conversation if row is not None else known.conversation if known is not None else ""
    news = effects.note(tx, status, about, status.key, known)
    if status.state != "failed" or not news or not about or status.code in SETTLED_BY_USERS:
        return
    conversation = conversations.get(tx, about)
    if conversation is None or place is None:
        return
    row = row or effects.by_key(tx, place.app, place.env, known.key if known is not None else "")
    late = status.code == WINDOW_CLOSED  # it looked open when the message left
    if late and row is not None and reopened(tx, conversation, place, row, status.reason, now_us):
        return
    why = f"{status.reason} (code {status.code})" if status.code else status.reason
    asked(tx, conversation, place, Handoff("failed_effect", f"A message did not reach the user: {why}"), now_us)


def in_order(waiting: Sequence[conversations.Waiting]) -> tuple[Inbound, ...]:
    """As they were sent, where a channel delivered them in disorder."""
    return tuple(w.message for w in sorted(waiting, key=lambda w: (w.message.at_us, w.sequence)))
