"""Every answer is counted as it is stored. Between requests, what a user says next is listened to for signs that the
answer before it was no good; each trace once: what is found, and that it was listened to, is one transaction."""

from collections.abc import Callable, Mapping

from waterline.core.conversation import Inbound
from waterline.core.said import user_texts
from waterline.core.signal import POINTS, Signal
from waterline.core.verdict import Estimate, JudgeRef, Outcome, Ref, Verdict
from waterline.gateway.deps import App
from waterline.store import behaviour, conversation_days, conversations, traces, verdicts
from waterline.store.behaviour import OFF_RAILS, Counts, Place, Session, Unread, day_of
from waterline.store.conversations import Conversation, Message, TurnRow
from waterline.store.db import Store, Tx
from waterline.store.traces import Stored

TRACES_AT_ONCE = 100  # their texts are read
CONVERSATIONS_AT_ONCE = 100
QUIET_AT_ONCE = 100
LISTENED_BACK = 3  # messages
SETTLED_US = 2_000_000  # a conversation that moved just now may move again
MOST_MESSAGES = 500
CONVERSATIONS_KEY = "conversations"  # what the model calls of conversations name as their key
JUDGE = JudgeRef("signals", "1")
REJECTED = "rejected"
REJECTED_POINTS = 2


def note_traces(tx: Tx, stored: list[Stored]) -> None:
    """As traces are stored, in the same transaction: each ends once, so here answers are counted and what conversations
    cost is added up. A request that names a session is put in line, to be listened to."""
    counts, line = Counts(), []
    spent: dict[tuple[str, str, str, int], list[int]] = {}  # calls, their cost, those without a price
    for n, row in stored:
        if row.outcome == "open":
            continue
        if row.purpose == "live":
            if row.outcome == "answered":
                counts.add(Place(row.app, row.env, day_of(row.started_us), row.release), "answers")
            if row.session and row.key != CONVERSATIONS_KEY:
                line.append(n)
        if row.key == CONVERSATIONS_KEY:
            sums = spent.setdefault((row.app, row.env, row.branch, day_of(row.started_us)), [0, 0, 0])
            sums[0] += 1
            sums[1] += row.cost_nano_usd or 0
            sums[2] += row.cost_nano_usd is None
    counts.write(tx)
    behaviour.put_in_line(tx, line)
    for at, (calls, cost, unpriced) in spent.items():
        conversation_days.add(tx, *at, "models", calls, cost, unpriced)


class Listener:
    """`look` is called from the worker's thread."""

    def __init__(self, store: Store, apps: Mapping[str, App], clock_us: Callable[[], int]) -> None:
        self._store = store
        self._apps = apps
        self._clock_us = clock_us

    def look(self) -> bool:
        """A bounded batch of what is new. True: there may be more."""
        return any([self._look_at_traces(), self._look_at_conversations(), self._look_at_quiet()])

    def _look_at_traces(self) -> bool:
        read, heard = self._store.read_sync(_hear_traces)
        if read:

            def write(tx: Tx) -> None:
                heard.write(tx)
                behaviour.listened(tx, read)

            self._store.write_sync(write)
        return len(read) == TRACES_AT_ONCE

    def _look_at_conversations(self) -> bool:
        before = self._clock_us() - SETTLED_US
        moved, ear = self._store.read_sync(lambda tx: self._hear_conversations(tx, before))
        if moved:

            def write(tx: Tx) -> None:
                ear.write(tx)
                behaviour.move_conversations_to(tx, moved[-1][1], moved[-1][0])

            self._store.write_sync(write)
        return len(moved) >= CONVERSATIONS_AT_ONCE

    def _hear_conversations(self, tx: Tx, before_us: int) -> tuple[list[tuple[str, int]], "Ear"]:
        moved = behaviour.moved_conversations(tx, before_us, CONVERSATIONS_AT_ONCE)
        ear = Ear(tx)
        for name, _ in moved:
            at = conversations.get(tx, name)
            if at is not None:
                ear.conversation(at)
        return moved, ear

    def _look_at_quiet(self) -> bool:
        more = False
        for name, app in list(self._apps.items()):
            before = self._clock_us() - int(app.spec.funnel.quiet_minutes * 60e6)
            steps = app.spec.funnel.steps
            ear = self._store.read_sync(lambda tx, n=name, b=before, s=steps: _hear_quiet(tx, n, b, s))  # type: ignore[misc]
            if ear.sessions:
                self._store.write_sync(ear.write)
            more = more or len(ear.sessions) >= QUIET_AT_ONCE
        return more


class Ear:
    """What was heard in a batch, until it is written. Only the worker writes sessions, so none changes meanwhile."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self.sessions: dict[tuple[str, str, str], Session] = {}
        self._verdicts: list[tuple[Verdict, int]] = []
        self._counts = Counts()
        self._steps: list[tuple[Session, str, int]] = []

    # --- requests that name a session ------------------------------------------------------------------------------

    def trace(self, one: Unread) -> None:
        at = self._session(one.app, one.env, one.session, one.release, one.started_us)
        said = user_texts(traces.body(self._tx, one.id, "request") or b"")
        if said:
            before = said[:-1] or self._earlier(at.recent)
            self._listen(at, said[-1], before, one.started_us)
            at.recent = (*at.recent, one.id)[-LISTENED_BACK:]
        if one.outcome == "answered":
            at.trace, at.answers = one.id, at.answers + 1
        at.last_us, at.judged = max(at.last_us, one.started_us), 0

    def _earlier(self, recent: tuple[str, ...]) -> list[str]:
        bodies = [traces.body(self._tx, trace, "request") for trace in recent]
        return [said[-1] for body in bodies if body and (said := user_texts(body))]

    # --- conversations ---------------------------------------------------------------------------------------------

    def conversation(self, at: Conversation) -> None:
        turns = sorted(conversations.turns(self._tx, at.id), key=lambda turn: turn.turn)
        if not turns:
            return  # it moves again when it is answered
        one = self._session(at.app, at.env, at.id, turns[0].release, at.created_us)
        one.answers, one.last_us, one.judged = len(turns), at.updated_us, 1
        kept = conversations.messages(self._tx, at.id, max(0, one.said - 4 * LISTENED_BACK), MOST_MESSAGES)
        earlier: list[str] = []
        for message in kept:
            text = _spoken(message.message)
            if message.sequence > one.said:
                one.said = message.sequence
                answer = _answer_before(message, turns)
                if text and answer is not None:
                    one.trace = answer.traces[-1] if answer.traces else ""
                    self._listen(one, text, earlier[-LISTENED_BACK:], message.received_us, answered=True)
            if text:
                earlier.append(text)
        self._steps += [(one, stage, at_us) for stage, at_us in behaviour.stages(self._tx, at.id)]

    # --- both ------------------------------------------------------------------------------------------------------

    def _session(self, app: str, env: str, name: str, release: str, at_us: int) -> Session:
        key = (app, env, name)
        found = self.sessions.get(key) or behaviour.session(self._tx, app, env, name)
        if found is None:
            found = Session(app, env, name, release, at_us, at_us)
            self._counts.add(found.place, "sessions")
        self.sessions[key] = found
        return found

    def _listen(self, at: Session, text: str, before: list[str], now_us: int, answered: bool = False) -> None:
        """Nothing is said of an answer where there was none."""
        from waterline.evals.signals import hear  # its patterns take a while to compile: not before somebody speaks

        heard = hear(text, before, at.language)
        if at.trace or answered:
            for name in heard.signals:
                self.seen(at, name, now_us)
        at.language = heard.language or at.language

    def seen(self, at: Session, name: Signal, now_us: int) -> None:
        points = POINTS[name]
        if at.trace:
            outcome = Outcome.FAIL if points else Outcome.INCONCLUSIVE
            verdict = Verdict(
                Ref("trace", at.trace), f"signal.{name}", outcome, Estimate(1, 1, 1, 1, method="observed"),
                f"in session {at.session}", JUDGE,
            )  # fmt: skip
            self._verdicts.append((verdict, now_us))
        self.mark(at, name, points)

    def mark(self, at: Session, name: str, points: int) -> None:
        """A session counts once for each sign, and once when it goes off the rails."""
        if name not in at.signals:
            at.signals = (*at.signals, name)
            if name != REJECTED:
                self._counts.add(at.place, f"signal.{name}")
        if at.points < OFF_RAILS <= at.points + points:
            self._counts.add(at.place, "off_rails")
        at.points += points

    def write(self, tx: Tx) -> None:
        for one in self.sessions.values():
            behaviour.put_session(tx, one)
        for at, step, at_us in self._steps:
            if behaviour.add_step(tx, at.app, at.env, at.session, step, at.release, at_us):
                self._counts.add(at.place, f"step.{step}")
        for verdict, at_us in self._verdicts:
            verdicts.add(tx, verdict, at_us)
        self._counts.write(tx)


def _hear_traces(tx: Tx) -> tuple[list[Unread], Ear]:
    read, ear = behaviour.in_line(tx, TRACES_AT_ONCE), Ear(tx)
    for one in read:
        ear.trace(one)
    return read, ear


def _hear_quiet(tx: Tx, app: str, before_us: int, steps: tuple[str, ...]) -> Ear:
    """Sessions that have ended, as far as one can tell."""
    ear = Ear(tx)
    for at in behaviour.quiet_sessions(tx, app, before_us, QUIET_AT_ONCE):
        ear.sessions[at.app, at.env, at.session] = at
        kinds = {kind for trace in {*at.recent, at.trace} if trace for kind in verdicts.feedback_kinds(tx, trace)}
        if REJECTED in kinds and REJECTED not in at.signals:
            ear.mark(at, REJECTED, REJECTED_POINTS)
        ended_well = not steps or steps[-1] in behaviour.steps(tx, at.app, at.env, at.session)
        if at.trace and not ended_well and not kinds & {"accepted", "copied"} and "abandoned" not in at.signals:
            ear.seen(at, "abandoned", at.last_us)
        at.judged = 1
    return ear


def _spoken(message: Inbound) -> str:
    """What the user wrote by hand; "" for buttons, outcomes and ticks."""
    return message.text.strip() if message.kind == "text" and message.channel not in ("outcome", "clock") else ""


def _answer_before(message: Message, turns: list[TurnRow]) -> TurnRow | None:
    """The turn whose answer the user had before their eyes. None: nothing was answered yet, or a person did."""
    if message.turn == conversations.BY_PERSON:
        return None
    return next((turn for turn in reversed(turns) if turn.ended_us <= message.received_us), None)
