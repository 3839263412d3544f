"""Turns: one at a time for a conversation, many conversations at once. What waits is read, the agent decides, and
what it decided is stored in one transaction; then its effects are performed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from waterline.agents import handoff, sentences
from waterline.agents.agent import Agent, AskFailed, Tools, TurnInput
from waterline.agents.effects import Performer
from waterline.agents.inbox import in_order, put_outcome, put_tick
from waterline.agents.places import Place, Places
from waterline.connectors.base import ConnectorFault
from waterline.connectors.fair import Fair
from waterline.core.conversation import Handoff, Outcome, Turn
from waterline.core.errors import RequestError
from waterline.store import conversations, effects, handoffs, identities
from waterline.store.conversations import Conversation, TurnRow, Waiting
from waterline.store.db import Store, StoreUnavailable, Tx
from waterline.store.effects import EffectRow

log = logging.getLogger("waterline.conversations")

TURNS_AT_ONCE = 32
MOST_TASKS = 10_000  # conversations looked after at once; the others are found by the next look
MOST_MESSAGES = 50  # in one turn
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 120.0
HOPELESS_PAUSE_S = 600.0  # the same question cannot succeed for a while: a budget that is spent
LOOK_EVERY_S = 1.0
LOOK_AT = 500


class Thinking(Protocol):
    """What a turn is thought with: the agent of the conversation's release, and its tools."""

    agent: Agent
    tools: Tools
    release: str
    subject: str
    traces: list[str]


Think = Callable[[Conversation, Place], Thinking]  # raises RequestError: nothing is live there


class Drain:
    def __init__(
        self,
        *,
        store: Store,
        places: Callable[[], Places],
        think: Think,
        performer: Performer,
        clock_us: Callable[[], int],
        count: Callable[[str], None],
        url: Callable[[str], str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        at_once: int = TURNS_AT_ONCE,
        late: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._places = places
        self._think = think
        self._performer = performer
        self._clock_us = clock_us
        self._count = count
        self._url = url
        self._sleep = sleep
        self._turns = Fair(at_once, late)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """What the process before us has left is taken up by the first look."""
        self._looking = asyncio.get_running_loop().create_task(self._look_for_ever())

    async def stop(self) -> None:
        tasks = [*self._tasks.values(), *([self._looking] if self._looking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._performer.stop()

    def wake(self, conversation: str, quiet_s: float = 0.0) -> None:
        """Something waits in it. `quiet_s`: its user is given that long to write more."""
        if conversation in self._tasks:
            self._again.add(conversation)
        elif len(self._tasks) < MOST_TASKS:
            self._tasks[conversation] = asyncio.get_running_loop().create_task(self._drain(conversation, quiet_s))

    # --- one conversation -------------------------------------------------------------------------------------------

    async def _drain(self, conversation: str, quiet_s: float) -> None:
        try:
            if quiet_s > 0:
                await self._sleep(quiet_s)
            while True:
                more, seen = False, await self._silence(conversation)
                if seen is not None:
                    async with self._turns.place(f"{seen.at.app}/{seen.at.branch}"):
                        more = await self._turn(seen)
                if not more and conversation not in self._again:
                    return
        except StoreUnavailable as error:
            log.error("conversation %s waits: %s", conversation, error)
        except Exception:
            log.exception("conversation %s stopped for a reason that is ours; it is tried again", conversation)
            await self._sleep(FIRST_PAUSE_S)
        finally:
            self._tasks.pop(conversation, None)
            self._again.discard(conversation)

    async def _silence(self, conversation: str) -> "_Seen | None":
        """Waits until the user has paused, for a declared time at most. None: nothing waits, or it is not ours."""
        while True:
            seen = self._look_at(conversation)
            if seen is None:
                return None
            now, ends = self._clock_us(), _quiet_until(seen)
            if now >= ends:
                return seen
            await self._sleep((ends - now) / 1e6)

    def _look_at(self, conversation: str) -> "_Seen | None":
        self._again.discard(conversation)
        at, waiting = self._store.glance(
            lambda tx: (conversations.get(tx, conversation), conversations.waiting(tx, conversation, MOST_MESSAGES))
        )
        place = self._places().of(at.app, at.env, at.branch) if at is not None else None
        if at is None or place is None or not waiting or at.mode != "bot" or at.retry_us > self._clock_us():
            return None
        return _Seen(at, place, waiting)

    async def _turn(self, seen: "_Seen") -> bool:
        """True: there may be more to do at once."""
        began = self._clock_us()
        if seen.at.id in self._again:  # while it waited for a place
            newer = self._look_at(seen.at.id)
            if newer is None:
                return False
            seen = newer
        at, place, waiting = seen.at, seen.place, seen.waiting
        thinking: Thinking | None = None
        try:
            thinking = self._think(at, place)
            given = TurnInput(
                at.id, at.channel, place.branch, at.state, in_order(waiting), began, thinking.subject,
                at.window_until_us == 0 or began < at.window_until_us,
                known={} if at.turn else self._store.glance(lambda tx: conversations.earlier_slots(tx, at)),
            )  # fmt: skip
            async with asyncio.timeout(place.rules.turn_s):
                turn = await thinking.agent.turn(given, thinking.tools)
        except (AskFailed, RequestError, ConnectorFault, TimeoutError) as error:
            await self._failed(at, place, error)
            return False
        except Exception as error:
            log.exception("the agent failed in conversation %s", at.id)
            await self._failed(at, place, error)
            return False
        now = self._clock_us()
        done = await self._store.write(
            lambda tx: _commit(tx, at, place, waiting, thinking, turn, began, now), repeats=True
        )
        self._count("turns" if done is not None else "turns_overtaken")
        if done is None:
            return True
        for head in done.heads:
            self._performer.kick(at.id, head.lane, (head, done.at))
        return done.waiting > 0

    async def _failed(self, at: Conversation, place: Place, error: Exception) -> None:
        """The messages wait. After a declared time the user hears so, once, and a person is told."""
        self._count("turns_failed")
        now, reason = self._clock_us(), str(error) or type(error).__name__
        hopeless = isinstance(error, AskFailed | RequestError) and not _again(error)
        excuse_at = (at.failing_us or now) + int(place.rules.excuse_s * 1e6)
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(at.tries, 10), LONGEST_PAUSE_S)
        pause_s = max(pause_s, getattr(error, "retry_after_s", None) or 0.0)
        retry = now + int((HOPELESS_PAUSE_S if hopeless else pause_s) * 1e6)
        if now < excuse_at < retry and not hopeless and not at.excused:
            retry = excuse_at

        def note(tx: Tx) -> bool:
            conversations.failed(tx, at.id, at.turn, reason[:500], now, retry)
            if not (hopeless or now >= excuse_at) or not conversations.excuse(tx, at.id, at.turn):
                return False
            said = sentences.trouble(handoff.language(at, place.branch))
            handoff.say(tx, at, f"trouble-{at.turn}-{at.failing_us or now}", said, now)
            handoff.asked(tx, at, place, Handoff("trouble", f"The agent cannot answer: {reason}", urgent=True), now)
            return True

        if await self._store.write(note):
            self._performer.kick(at.id, effects.REPLY)

    # --- all of them ------------------------------------------------------------------------------------------------

    async def _look_for_ever(self) -> None:
        while True:
            try:
                await self.look()
            except StoreUnavailable as error:
                log.error("conversations wait: %s", error)
            except Exception:
                log.exception("looking for conversations failed for a reason that is ours")
            await self._sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """What is due: turns, effects, times that agents asked for, reminders."""
        now = self._clock_us()
        due = await self._store.read(lambda tx: _due(tx, now))
        if due.to_wake:
            woken = await self._store.write(lambda tx: [c for c, at in due.to_wake if put_tick(tx, c, at, now)])
            due.turns.extend(woken)
        for conversation in due.turns:
            if conversation not in self._tasks:
                self.wake(conversation)
        for conversation, lane in due.effects:
            self._performer.kick(conversation, lane)
        for row in due.unanswered:
            place = self._places().of(row.app, row.env, row.branch)
            if place is None or now - row.asked_us < place.rules.remind_s * 1e6:
                continue
            news, lane = await self._store.write(
                lambda tx, row=row, place=place: handoff.remind(tx, row, place, self._url, now)  # type: ignore[misc]
            )
            if news:
                self._count("handoff_reminders")
                log.warning("conversation %s still waits for a person in %s", row.conversation, row.branch)
            if lane:
                self._performer.kick(row.conversation, lane)


class _Due(msgspec.Struct):
    turns: list[str]
    effects: list[tuple[str, str]]
    to_wake: list[tuple[str, int]]
    unanswered: list[handoffs.HandoffRow]


def _due(tx: Tx, now_us: int) -> _Due:
    return _Due(
        conversations.due(tx, now_us, LOOK_AT),
        effects.due(tx, now_us, LOOK_AT),
        conversations.to_wake(tx, now_us, LOOK_AT),
        handoffs.to_remind(tx, None, now_us),
    )


class _Seen(msgspec.Struct, frozen=True):
    """A conversation with what waits in it, as it was at one moment."""

    at: Conversation
    place: Place
    waiting: list[Waiting]


def _quiet_until(seen: _Seen) -> int:
    """Until when more may come from its user. 0: nobody need be waited for."""
    oldest, newest, rules = seen.waiting[0], seen.waiting[-1], seen.place.rules
    ours = newest.message.kind in ("outcome", "tick", "takeover")
    if ours or seen.at.tries or len(seen.waiting) >= MOST_MESSAGES:
        return 0
    return min(newest.received_us + int(rules.quiet_s * 1e6), oldest.received_us + int(rules.longest_quiet_s * 1e6))


class _Committed(msgspec.Struct, frozen=True):
    """What is to be done next: the first effect of each lane, and the conversation as it is now."""

    at: Conversation
    heads: list[EffectRow]
    waiting: int


def _commit(
    tx: Tx,
    at: Conversation,
    place: Place,
    waiting: list[Waiting],
    thinking: Thinking,
    turn: Turn,
    began_us: int,
    now_us: int,
) -> _Committed | None:
    """Rows read, state, effects, stage, handoff: all or nothing. None: a person took over meanwhile, or another process
    was quicker, and the turn never was."""
    number = at.turn + 1
    values: dict[str, Any] = {"state": turn.state, "stage": turn.stage, "language": turn.language}
    values |= {"slots": msgspec.json.encode(turn.slots).decode(), "wake_us": turn.wake_us}
    read = max(w.sequence for w in waiting)
    left = conversations.turned(tx, at.id, number, read, **values, release=thinking.release, now_us=now_us)
    if left is None:
        return None
    traces = tuple(turn.traces or thinking.traces)
    if turn.heard:
        conversations.put_heard(tx, at.id, waiting, turn.heard)
    calls = turn.model_calls or len(thinking.traces)
    conversations.add_turn(tx, at.id, TurnRow(number, began_us, now_us, thinking.release, turn.stage, calls, traces))
    lanes = {effects.REPLY}
    for effect in turn.effects:
        lanes.add(effects.lane_of(effect))
        known = effects.plan(tx, at.app, at.env, at.id, number, effect, now_us)
        if known is not None and effect.message is None and not effect.quiet:  # done before: the next turn tells
            result = msgspec.json.decode(known.result)
            here = msgspec.structs.replace(known, conversation=at.id)
            put_outcome(tx, here, Outcome(effect.name, "done", result), now_us, again=number)
    if turn.stage and turn.stage != at.stage:
        conversations.add_stage(tx, at, turn.stage, now_us)
    for alias in turn.aliases:
        identities.claim(tx, at.app, at.identity, alias, now_us)
    handoffs.close_if_untaken(tx, at.id, "trouble", now_us)
    if turn.handoff is not None:
        spoken = msgspec.structs.replace(at, language=turn.language or at.language)
        handoff.asked(tx, spoken, place, turn.handoff, now_us)
    now = conversations.get(tx, at.id)
    assert now is not None  # it was changed just now
    heads = [head for lane in sorted(lanes) if (head := effects.head(tx, at.id, lane)) is not None]
    return _Committed(now, heads, now.waiting)


def _again(error: AskFailed | RequestError) -> bool:
    return error.again if isinstance(error, AskFailed) else error.retryable
