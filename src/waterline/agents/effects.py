"""Performs what turns planned: in order within a lane, at least once, each under a key that makes a repeat harmless.

The row says "sending" before anything leaves. Who finds a row in that state after a crash does it again under the same
key, or, where a channel cannot tell a repeat, first waits for the channel to say that the message had left."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, Protocol

import msgspec

from waterline.agents.handoff import asked, reopened, summary
from waterline.agents.inbox import put_outcome
from waterline.agents.places import Place, Places
from waterline.agents.tools import Systems, scope_of
from waterline.connectors.base import PERMANENT, ConnectorFault
from waterline.connectors.fair import Fair
from waterline.core.conversation import Alias, Effect, Handoff, Outbound, Outcome
from waterline.store import conversations, effects, identities
from waterline.store.conversations import Conversation
from waterline.store.db import Store, StoreUnavailable, Tx
from waterline.store.effects import REPLY, EffectRow

log = logging.getLogger("waterline.conversations")

REPLIES_AT_ONCE = 64
ACTS_AT_ONCE = 32
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 300.0
STOPPED_PAUSE_S = 300.0  # our own number is stopped: people must act
SEND_S = 60.0  # the longest one message may take


class NotSent(Exception):
    """Why a channel did not send: as channels/base.py has it."""

    def __init__(
        self,
        kind: Literal["later", "window_closed", "never", "number_stopped", "opted_out", "template"],
        message: str,
        retry_after_s: float | None = None,
        code: int = 0,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after_s = retry_after_s
        self.code = code


class Entry:
    """A message that is to leave, and what is written down of it: `leaving` in the transaction right before, `left` in
    the one right after."""

    def __init__(self, row: EffectRow, conversation: Conversation, message: Outbound, clock_us: Callable[[], int]):
        self._row = row
        self._clock_us = clock_us
        open_until = conversation.window_until_us
        self.channel, self.address, self.to = conversation.channel, conversation.address, conversation.sender
        self.message = message
        self.key = row.key
        self.window_open = open_until == 0 or clock_us() < open_until
        self.sent = False
        self.more = True  # what waits behind it in its lane

    def leaving(self, tx: Tx) -> bool:
        """False: it must not leave any more."""
        return _leave(tx, self._row, self._clock_us())

    def left(self, tx: Tx, message_id: str) -> None:
        now, row = self._clock_us(), self._row
        effects.left(tx, row, self.channel, self.address, message_id, now)
        conversations.said(tx, row.conversation, now, moves=bool(row.author))
        self.sent, self.more = True, effects.head(tx, row.conversation, row.lane) is not None


class Sends(Protocol):
    """A channel, as far as we need it."""

    sends_once: bool
    echo_s: float

    async def deliver(self, entry: Entry, store: Store) -> None:
        """`send`, and what is written down before and after it. Raises as `send` does."""
        if await store.write(entry.leaving):
            sent = await self.send(entry.address, entry.to, entry.message, entry.key, entry.window_open)
            await store.write(lambda tx: entry.left(tx, sent))

    async def send(self, address: str, to: str, message: Outbound, key: str, window_open: bool) -> str:
        """The channel's id of the message. Raises NotSent; anything else means that nobody knows."""
        ...


class Performer:
    """One task a lane of a conversation, as long as there is something to do in it."""

    def __init__(
        self,
        *,
        store: Store,
        channels: Mapping[str, Sends],
        systems: Callable[[str], Systems | None],
        places: Callable[[], Places],
        clock_us: Callable[[], int],
        wake: Callable[[str], None],
        count: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        late: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._channels = channels
        self._systems = systems
        self._places = places
        self._clock_us = clock_us
        self._wake = wake
        self._count = count
        self._sleep = sleep
        self._begun_us = clock_us()
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._again: set[tuple[str, str]] = set()
        self._replies = Fair(REPLIES_AT_ONCE, late)
        self._acts = Fair(ACTS_AT_ONCE)

    def kick(self, conversation: str, lane: str, first: tuple[EffectRow, Conversation] | None = None) -> None:
        """There is something to do in this lane. `first`: what, where it was read just now."""
        at = (conversation, lane)
        if at in self._tasks:
            self._again.add(at)
        else:
            self._tasks[at] = asyncio.get_running_loop().create_task(self._lane(conversation, lane, first))

    async def stop(self) -> None:
        """What is under way is left where it is: the next start finds it."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _lane(self, conversation: str, lane: str, first: tuple[EffectRow, Conversation] | None) -> None:
        at = (conversation, lane)
        row: EffectRow | None
        of: Conversation | None
        try:
            while True:
                self._again.discard(at)
                if first is not None:
                    (row, of), first = first, None
                else:
                    row, of = self._store.glance(
                        lambda tx: (effects.head(tx, conversation, lane), conversations.get(tx, conversation))
                    )
                more = row is not None and await self._step(row, of)
                if not more and at not in self._again:
                    return
        except StoreUnavailable as error:
            log.error("effects of %s wait: %s", conversation, error)
        except Exception:
            log.exception("effects of %s stopped for a reason that is ours; they are tried again", conversation)
            await self._sleep(FIRST_PAUSE_S)
        finally:
            self._tasks.pop(at, None)
            self._again.discard(at)

    async def _step(self, row: EffectRow, conversation: Conversation | None) -> bool:
        """The first of a lane. False: its time has not come, or nothing is behind it."""
        now = self._clock_us()
        if row.next_us > now:
            return False
        if conversation is None:
            await self._store.write(lambda tx: effects.drop(tx, row.n, now, "its conversation is gone"))
            return True
        place = self._places().of(conversation.app, conversation.env, conversation.branch)
        if place is None:  # the branch is not declared now; it may be again
            await self._store.write(lambda tx: effects.hold(tx, row, now + int(LONGEST_PAUSE_S * 1e6)))
            return False
        branch = f"{conversation.app}/{conversation.branch}"
        if row.lane == REPLY:
            async with self._replies.place(branch):
                return await self._reply(row, conversation, place)
        async with self._acts.place(branch):
            return await self._act(row, conversation, place)

    # --- replies ---------------------------------------------------------------------------------------------------

    async def _reply(self, row: EffectRow, conversation: Conversation, place: Place) -> bool:
        channel = self._channels.get(conversation.channel)
        message = row.effect.message
        if channel is None or message is None:
            await self._lost(row, conversation, place, f"there is no channel {conversation.channel} any more")
            return True
        if row.state == "sending" and not channel.sends_once and await self._may_have_left(row, channel.echo_s):
            return True
        entry = Entry(row, conversation, message, self._clock_us)
        try:
            async with asyncio.timeout(SEND_S):
                await channel.deliver(entry, self._store)
        except NotSent as fault:
            await self._not_sent(row, conversation, place, fault)
        except Exception as error:  # nobody knows whether it left
            log.warning("whether a message of %s left is not known: %s", conversation.id, error, exc_info=True)
            pause_s = channel.echo_s if not channel.sends_once else _pause_s(row.attempts)
            await self._store.write(lambda tx: effects.wait(tx, row.n, self._clock_us() + int(pause_s * 1e6)))
        if entry.sent:
            self._count("replies_sent")
        return entry.more

    async def _may_have_left(self, row: EffectRow, echo_s: float) -> bool:
        """After a crash while sending: the channel is given time to tell us so (counted from when we can hear it)."""
        until = max(row.sending_us, self._begun_us) + int(echo_s * 1e6)
        if self._clock_us() >= until:
            return False
        await self._store.write(lambda tx: effects.wait(tx, row.n, until))
        return True

    async def _not_sent(self, row: EffectRow, conversation: Conversation, place: Place, fault: NotSent) -> None:
        now = self._clock_us()
        self._count(f"replies_{fault.kind}")
        given_up = now - row.planned_us > place.rules.give_up_s * 1e6
        match fault.kind:
            case "later" | "number_stopped" if not given_up:
                least = STOPPED_PAUSE_S if fault.kind == "number_stopped" else 0.0
                pause_s = max(fault.retry_after_s or 0.0, _pause_s(row.attempts), least)
                at = now + int(pause_s * 1e6)
                await self._store.write(lambda tx: _send_again(tx, row, at, fault.message, now))
            case "opted_out":  # they do not want to hear from us: that is no trouble
                await self._store.write(lambda tx: effects.finish(tx, row.n, "refused", now, reason=fault.message))
            case "window_closed" if await self._store.write(
                lambda tx: reopened(tx, conversation, place, row, fault.message, now)
            ):
                pass
            case _:
                await self._lost(row, conversation, place, fault.message)

    async def _lost(self, row: EffectRow, conversation: Conversation, place: Place, why: str) -> None:
        """The user will not get it: a person is told. The agent is not, or it would answer its own silence."""
        now = self._clock_us()

        def end(tx: Tx) -> None:
            if effects.finish(tx, row.n, "failed", now, reason=why):
                asked(tx, conversation, place, Handoff("failed_effect", summary(row.effect, why)), now)

        await self._store.write(end)

    # --- acts in connected systems -----------------------------------------------------------------------------------

    async def _act(self, row: EffectRow, conversation: Conversation, place: Place) -> bool:
        now = self._clock_us()
        if not await self._store.write(lambda tx: effects.start(tx, row.n, now), repeats=True):
            return True
        effect = row.effect
        calling = asyncio.ensure_future(self._call(effect, row, place))
        try:
            if not effect.quiet and not row.late_us:
                patience_s = place.rules.late_s - (now - row.planned_us) / 1e6
                await asyncio.wait({calling}, timeout=max(patience_s, 0.01))
                if not calling.done():
                    await self._late(row)
            result = await calling
        except ConnectorFault as fault:
            await self._not_done(row, conversation, place, fault)
        except Exception as error:
            log.exception("%s.%s failed for a reason that is ours", effect.connector, effect.operation)
            await self._not_done(row, conversation, place, ConnectorFault("slow", f"a mistake of ours: {error!r}"))
        else:
            return await self._ended(row, Outcome(effect.name, "done", result))
        finally:
            calling.cancel()
        return True

    async def _call(self, effect: Effect, row: EffectRow, place: Place) -> dict[str, object]:
        systems = self._systems(row.app)
        if systems is None:
            raise ConnectorFault("invalid", f'There is no connector "{effect.connector}" in app "{row.app}".')
        scope = scope_of(place.branch, effect.connector)
        return await systems.call(effect.connector, effect.operation, effect.arguments, row.key, scope)

    async def _late(self, row: EffectRow) -> None:
        now = self._clock_us()

        def tell(tx: Tx) -> bool:
            return _told_late(tx, row, now)

        if await self._store.write(tell):
            self._wake(row.conversation)

    async def _not_done(self, row: EffectRow, conversation: Conversation, place: Place, fault: ConnectorFault) -> None:
        now, effect = self._clock_us(), row.effect
        if fault.kind == "refused":
            await self._ended(row, Outcome(effect.name, "refused", reason=fault.message))
            return
        if fault.kind in PERMANENT or now - row.planned_us > place.rules.give_up_s * 1e6:
            handoff = Handoff("failed_effect", summary(effect, fault.message))
            await self._ended(row, Outcome(effect.name, "failed", reason=fault.message), (conversation, place, handoff))
            return
        pause_s = max(fault.retry_after_s or 0.0, _pause_s(row.attempts))
        at = now + int(pause_s * 1e6)
        is_late = at - row.planned_us > place.rules.late_s * 1e6

        def later(tx: Tx) -> bool:
            effects.again(tx, row, at, fault.message)
            return is_late and _told_late(tx, row, now)

        if await self._store.write(later):
            self._wake(row.conversation)

    async def _ended(
        self, row: EffectRow, outcome: Outcome, handoff: tuple[Conversation, Place, Handoff] | None = None
    ) -> bool:
        """The result and the message that tells of it, in one transaction. True: there is more in the lane."""
        now, quiet = self._clock_us(), bool(row.quiet)
        result = msgspec.json.encode(outcome.result).decode()

        def end(tx: Tx) -> tuple[bool, bool]:
            told = effects.finish(tx, row.n, outcome.state, now, result=result, reason=outcome.reason)  # type: ignore[arg-type]
            if told and handoff is not None:
                asked(tx, *handoff, now)
            if told and quiet and outcome.state == "done":  # the agent does not hear of it
                _note_record(tx, row, outcome, now)
                told = False
            if told:
                put_outcome(tx, row, outcome, now)
            return told, effects.head(tx, row.conversation, row.lane) is not None

        self._count(f"acts_{outcome.state}")
        told, more = await self._store.write(end, repeats=True)
        if told:
            self._wake(row.conversation)
        return more


def _told_late(tx: Tx, row: EffectRow, now_us: int) -> bool:
    """Once: that it takes longer."""
    if not effects.late(tx, row.n, now_us):
        return False
    put_outcome(tx, row, Outcome(row.name, "late"), now_us)
    return True


def _note_record(tx: Tx, row: EffectRow, outcome: Outcome, now_us: int) -> None:
    """The number of a record in a connected system is a name of the person, which joins them with nobody."""
    record = str(outcome.result.get("number") or outcome.result.get("id") or "")
    of = conversations.get(tx, row.conversation) if record else None
    if of is not None:
        identities.claim(tx, row.app, of.identity, Alias("crm", record), now_us)


def _leave(tx: Tx, row: EffectRow, now_us: int) -> bool:
    """The last look before a message leaves: a person who has taken over is never answered over."""
    mode = conversations.mode(tx, row.conversation)
    if mode is None or (mode == "person" and not row.author):
        effects.drop(tx, row.n, now_us, "a person took over before it left")
        return False
    return effects.start(tx, row.n, now_us)


def _send_again(tx: Tx, row: EffectRow, at_us: int, why: str, now_us: int) -> None:
    now = conversations.get(tx, row.conversation)
    if now is not None and now.mode == "person" and not row.author:
        effects.drop(tx, row.n, now_us, "a person took over before it left")
    else:
        effects.again(tx, row, at_us, why)


def _pause_s(attempts: int) -> float:
    return min(FIRST_PAUSE_S * 2.0 ** min(attempts, 12), LONGEST_PAUSE_S)
