"""Conversations for people: lists, one with all that was said and done, taking it over, the queue, the funnel.

Who has branches sees those only."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from waterline.access import audit
from waterline.access.roles import Action, Principal, require
from waterline.access.stored import AuditRows
from waterline.agents import handoff
from waterline.control.branch_roles import Sees, branches_of
from waterline.core.errors import Refused
from waterline.gateway.deps import App
from waterline.store import conversation_days, conversations, effects, handoffs, identities
from waterline.store.conversation_days import NOTHING_SPENT, Asked, FunnelRow
from waterline.store.conversations import Conversation, Cursor, Filter
from waterline.store.db import Store, Tx
from waterline.store.effects import REPLY, EffectRow
from waterline.store.handoffs import HandoffRow

DAY_US = 86_400_000_000
FUNNEL_DAYS = 30
LONGEST_REPLY = 4000  # characters
MOST_ROWS = 500
BOOKED = "booked"
SPENT = tuple(NOTHING_SPENT)


class Line(Struct, frozen=True):
    """A conversation in a list. Names are empty for who may not read what users write."""

    id: str
    app: str
    env: str
    branch: str
    channel: str
    name: str
    sender: str
    mode: str
    taken_by: str
    stage: str
    language: str
    turns: int
    waiting: int
    created_us: int
    updated_us: int
    trouble: str


class ConversationPage(Struct, frozen=True):
    rows: list[Line]  # those that moved last first
    next: str  # cursor; "": there are no more


class Bubble(Struct, frozen=True):
    """Something that was said. `who`: "user", "agent", "platform", or the person's name."""

    at_us: int
    who: str
    text: str
    kind: str
    turn: int
    state: str = ""  # of what we sent: planned, sending, held, sent, delivered, read, failed, dropped
    reason: str = ""


class Act(Struct, frozen=True):
    """Something done in a connected system. Arguments and results are None for who may not read them."""

    n: int
    key: str
    conversation: str
    branch: str
    turn: int
    name: str
    system: str
    operation: str
    state: str
    attempts: int
    planned_us: int
    late_us: int
    ended_us: int
    reason: str
    arguments: dict[str, Any] | None
    result: dict[str, Any] | None


class Spent(Struct, frozen=True):
    """Of models, and of the channel (as billed, else as expected)."""

    calls: int
    cost_nano_usd: int
    unpriced: int  # calls whose cost nobody knows
    messages: int
    fees_nano_usd: int
    unpriced_messages: int


class ConversationView(Struct, frozen=True):
    line: Line
    texts_hidden: bool
    said: list[Bubble]  # oldest first
    acts: list[Act]  # newest first
    turns: list[conversations.TurnRow]  # newest first
    slots: dict[str, str]
    names: list[dict[str, Any]]
    handoffs: list[HandoffRow]
    spent: Spent
    window_until_us: int


class Waits(Struct, frozen=True):
    """How long people waited for a person's first reply. Nearest rank."""

    branch: str
    answered: int
    median_us: int
    p95_us: int


class Waiting(Struct, frozen=True):
    """One that waits for a person or is with one. Empty, as far as who looks may not read what users write."""

    handoff: HandoffRow
    name: str
    sender: str
    channel: str
    stage: str
    slots: dict[str, str]  # what is known; "": not yet


class QueueView(Struct, frozen=True):
    rows: list[Waiting]
    waits: list[Waits]  # of the last 30 days
    now_us: int


class Step(Struct, frozen=True):
    stage: str
    conversations: int
    share: float  # of all that began
    mean_s: float  # from the first message


class BranchFunnel(Struct, frozen=True):
    branch: str  # "": all
    conversations: int
    turns: int
    with_person: int
    spent: Spent
    booked: int
    steps: list[Step]


class FunnelView(Struct, frozen=True):
    since_us: int
    until_us: int
    total: BranchFunnel
    branches: list[BranchFunnel]


class ConversationDesk:
    """`woken` is told of a conversation in which something is to be done now."""

    def __init__(
        self, store: Store, apps: Mapping[str, App], clock_us: Callable[[], int], woken: Callable[[str], None]
    ) -> None:
        self._store = store
        self._apps = apps
        self._clock_us = clock_us
        self._woken = woken

    # --- views -----------------------------------------------------------------------------------------------------

    async def page(self, who: Principal, where: Filter, before: str = "", limit: int = 50) -> ConversationPage:
        require(who, Action.CONVERSATION_LIST)
        try:
            cursor = Cursor.parse(before) if before else None
        except ValueError as error:
            raise Refused(f"{error}.", 400) from None
        if not 1 <= limit <= MOST_ROWS:
            raise Refused(f"A page has 1 to {MOST_ROWS} rows, not {limit}.", 400)
        sees = self._sees(who)
        app, branch = sees.asked(where.app, where.branch)
        where = msgspec.structs.replace(where, app=app, branch=branch, mine=sees.mine)
        found, after = await self._store.read(lambda tx: conversations.page(tx, where, cursor, limit))
        return ConversationPage([_line(c, sees.reads(c)) for c in found], after)

    async def one(self, who: Principal, conversation: str) -> ConversationView:
        require(who, Action.CONVERSATION_LIST)
        sees = self._sees(who)

        def read(tx: Tx) -> ConversationView:
            at = _found(tx, sees, conversation)
            return _view(tx, at, sees.reads(at))

        return await self._store.read(read)

    async def queue(self, who: Principal, app: str | None, branch: str | None) -> QueueView:
        """Those that wait for a person or are with one; urgent first, then the longest wait."""
        require(who, Action.CONVERSATION_LIST)
        now, sees = self._clock_us(), self._sees(who)
        theirs, wanted = sees.asked(app, branch)

        def read(tx: Tx) -> QueueView:
            found = handoffs.queue(tx, theirs, wanted, mine=sees.mine)
            rows = [_waiting(tx, row, sees.reads(row)) for row in found]
            times = handoffs.waits_us(tx, theirs, wanted, now - FUNNEL_DAYS * DAY_US, now + 1, sees.mine)
            waits = [Waits(b, len(t), _rank(sorted(t), 0.5), _rank(sorted(t), 0.95)) for b, t in sorted(times.items())]
            return QueueView(rows, waits, now)

        return await self._store.read(read)

    async def funnel(
        self, who: Principal, app: str | None, branch: str | None, since_us: int | None, until_us: int | None
    ) -> FunnelView:
        """Of the conversations that began in a span (30 days unless told otherwise): how far they came."""
        require(who, Action.CONVERSATION_LIST)
        until = until_us or self._clock_us() + 1
        since = since_us if since_us is not None else until - FUNNEL_DAYS * DAY_US
        sees = self._sees(who)
        theirs, wanted = sees.asked(app, branch)

        def read(tx: Tx) -> FunnelView:
            rows, figures = conversation_days.both(tx, Asked(theirs, None, wanted, since, until, sees.mine))
            return _funnel(rows, figures, since, until)

        return await self._store.read(read)

    async def acts(
        self, who: Principal, app: str | None, branch: str | None, state: str | None, before: int | None = None,
        limit: int = 50,
    ) -> list[Act]:  # fmt: skip
        """What was done, or not, in connected systems; newest first."""
        require(who, Action.CONVERSATION_LIST)
        if not 1 <= limit <= MOST_ROWS:
            raise Refused(f"A page has 1 to {MOST_ROWS} rows, not {limit}.", 400)

        sees = self._sees(who)
        theirs, wanted = sees.asked(app, branch)

        def read(tx: Tx) -> list[Act]:
            rows = effects.acts(tx, theirs, wanted, state, before, limit, sees.mine)
            return [_act(row, sees.reads(row)) for row in rows]

        return await self._store.read(read)

    # --- acts ------------------------------------------------------------------------------------------------------

    async def take(self, who: Principal, conversation: str) -> Line:
        """This person has it from now on; the agent is silent. 409 if somebody has it."""
        require(who, Action.CONVERSATION_TAKE)
        now, sees = self._clock_us(), self._sees(who)

        def write(tx: Tx) -> Line:
            at = sees.answers(_found(tx, sees, conversation))
            if at.mode == "person" and at.taken_by == who.name:
                return _line(at, sees.reads(at))
            if not handoff.take(tx, at, who.name, now):
                raise Refused(f"{at.taken_by} has this conversation already.", 409)
            self._audit(tx, who, "takeover", at)
            return _line(_found(tx, sees, conversation), sees.reads(at))

        return await self._store.write(write)

    async def reply(self, who: Principal, conversation: str, text: str, key: str) -> Line:
        """Says this to the user, through their channel. `key`: a repeat of the same one sends nothing more."""
        require(who, Action.CONVERSATION_TAKE)
        said, now, sees = text.strip(), self._clock_us(), self._sees(who)
        if not said or len(said) > LONGEST_REPLY:
            raise Refused(f"A reply has 1 to {LONGEST_REPLY} characters.", 400)
        if not key or len(key) > 100 or not key.isprintable():
            raise Refused("`key` names this reply, so that a repeat sends it once: 1 to 100 characters.", 400)

        def write(tx: Tx) -> Line:
            at = _with(sees.answers(_found(tx, sees, conversation)), who)
            handoff.reply(tx, at, who.name, said, key, now)
            self._audit(tx, who, "reply", at)
            return _line(_found(tx, sees, conversation), sees.reads(at))

        line = await self._store.write(write)
        self._woken(conversation)
        return line

    async def resume(self, who: Principal, conversation: str) -> Line:
        """Gives it back to the agent, which is told."""
        require(who, Action.CONVERSATION_TAKE)
        now, sees = self._clock_us(), self._sees(who)

        def write(tx: Tx) -> Line:
            at = sees.answers(_found(tx, sees, conversation))
            if not handoff.give_back(tx, at, now):
                raise Refused("The agent has this conversation already.", 409)
            self._audit(tx, who, "resume", at)
            return _line(_found(tx, sees, conversation), sees.reads(at))

        line = await self._store.write(write)
        self._woken(conversation)
        return line

    def _sees(self, who: Principal) -> Sees:
        return Sees(who, branches_of(who, self._apps))

    def _audit(self, tx: Tx, who: Principal, what: str, at: Conversation) -> None:
        audit.append(
            AuditRows(tx), at_us=self._clock_us(), by=who, action=Action.CONVERSATION_TAKE.value, target=at.id,
            detail={"what": what, "app": at.app, "branch": at.branch},
        )  # fmt: skip


def _found(tx: Tx, sees: Sees, conversation: str) -> Conversation:
    found = conversations.get(tx, conversation)
    if found is None or not sees.has(found):
        raise Refused(f"There is no conversation {conversation[:40]} here.", 404)
    return found


def _with(at: Conversation, who: Principal) -> Conversation:
    """One that this person has taken."""
    if at.mode != "person":
        raise Refused("The agent has this conversation. Take it over before you reply.", 409)
    if at.taken_by != who.name:
        raise Refused(f"{at.taken_by} has this conversation.", 409)
    return at


def _line(c: Conversation, readable: bool) -> Line:
    return Line(
        c.id, c.app, c.env, c.branch, c.channel, c.name if readable else "", c.sender if readable else "", c.mode,
        c.taken_by, c.stage, c.language, c.turn, c.waiting, c.created_us, c.updated_us, c.trouble,
    )  # fmt: skip


def _view(tx: Tx, at: Conversation, readable: bool) -> ConversationView:
    rows = effects.of(tx, at.id)
    spent = conversations.spent(tx, at)
    found = handoffs.of(tx, at.id)
    return ConversationView(
        _line(at, readable), not readable, _said(tx, at, rows) if readable else [],
        [_act(r, readable) for r in rows if r.lane != REPLY], conversations.turns(tx, at.id),
        msgspec.json.decode(at.slots, type=dict[str, str]) if readable else {},
        identities.names(tx, at.identity) if readable else [],
        found if readable else [msgspec.structs.replace(h, summary="") for h in found],
        Spent(**spent), at.window_until_us,
    )  # fmt: skip


def _waiting(tx: Tx, row: HandoffRow, readable: bool) -> Waiting:
    at = conversations.get(tx, row.conversation)
    if at is None or not readable:
        return Waiting(msgspec.structs.replace(row, summary=""), "", "", at.channel if at else "", "", {})
    return Waiting(row, at.name, at.sender, at.channel, at.stage, msgspec.json.decode(at.slots, type=dict[str, str]))


def _said(tx: Tx, at: Conversation, rows: list[EffectRow]) -> list[Bubble]:
    """The newest of what the user and we said, in the order of time."""
    said: list[Bubble] = []
    first = max(at.sequence - MOST_ROWS, 0)
    for kept in conversations.messages(tx, at.id, after=first, limit=MOST_ROWS):
        m = kept.message
        if m.channel == "outcome" or m.kind == "tick":
            continue
        who = "platform" if m.channel == "clock" else "user"
        words = m.text or m.choice or (f"({m.kind}{': ' + m.media.name if m.media and m.media.name else ''})")
        said.append(
            Bubble(kept.received_us, who, "given back to the agent" if who != "user" else words, m.kind, kept.turn)
        )
    states = {row.message_id: row for row in effects.sent_of(tx, at.id)}
    for row in rows:
        message = row.effect.message if row.lane == REPLY else None
        if message is None:
            continue
        sent = states.get(row.message_id)
        who = row.author or ("platform" if "/platform/" in row.key else "agent")
        state = sent.state if sent is not None else row.state
        why = row.reason or (sent.reason if sent is not None else "")
        said.append(Bubble(row.ended_us or row.planned_us, who, message.text, "text", row.turn, state, why))
    return sorted(said, key=lambda b: b.at_us)


def _act(row: EffectRow, readable: bool) -> Act:
    effect = row.effect
    return Act(
        row.n, row.key, row.conversation, row.branch, row.turn, row.name, row.lane, effect.operation, row.state,
        row.attempts, row.planned_us, row.late_us, row.ended_us, row.reason if readable else "",
        effect.arguments if readable else None, msgspec.json.decode(row.result) if readable else None,
    )  # fmt: skip


def _rank(ordered: list[int], share: float) -> int:
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]


def _funnel(rows: list[FunnelRow], figures: dict[str, dict[str, int]], since: int, until: int) -> FunnelView:
    of: dict[str, list[FunnelRow]] = {}
    for row in rows:
        of.setdefault(row.branch, []).append(row)
    branches = [_branch(name, of.get(name, []), [numbers]) for name, numbers in sorted(figures.items())]
    return FunnelView(since, until, _branch("", rows, list(figures.values())), branches)


def _branch(name: str, rows: list[FunnelRow], figures: list[dict[str, int]]) -> BranchFunnel:
    def total(what: str) -> int:
        return sum(f[what] for f in figures)

    began = total("conversations")
    counts: dict[str, int] = {}
    after: dict[str, int] = {}
    for row in rows:
        counts[row.stage] = counts.get(row.stage, 0) + row.conversations
        after[row.stage] = after.get(row.stage, 0) + row.after_us
    steps = [
        Step(stage, n, n / began if began else 0.0, after[stage] / n / 1e6)
        for stage, n in sorted(counts.items(), key=lambda item: (-item[1], after[item[0]] / item[1], item[0]))
    ]
    return BranchFunnel(
        name, began, total("turns"), total("with_person"), Spent(**{what: total(what) for what in SPENT}),
        counts.get(BOOKED, 0), steps,
    )  # fmt: skip
