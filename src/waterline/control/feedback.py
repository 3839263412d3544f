"""What became of an answer, as the app or its page says: a Verdict by the judge "user", counted by day and release.

Feedback may come before its trace has left the spool: then it waits, and is joined when the trace is there."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import msgspec
from msgspec import Struct

from waterline.access.roles import Action, Principal, require
from waterline.core.edit_distance import Changed, changed
from waterline.core.errors import Refused, UnknownModel
from waterline.core.ids import is_trace_id
from waterline.core.redact import redact
from waterline.core.said import answer_text
from waterline.core.trace import TraceRow
from waterline.core.verdict import Estimate, JudgeRef, Outcome, Ref, Verdict
from waterline.gateway.deps import App
from waterline.store import behaviour, traces, verdicts
from waterline.store.behaviour import Counts, Late, Place, day_of
from waterline.store.db import Store, Tx

log = logging.getLogger("waterline.feedback")

Kind = Literal["accepted", "edited", "rejected", "copied", "retried", "abandoned", "rating"]
DECISIVE = ("accepted", "edited", "rejected")
VALUES = {"accepted": 1.0, "copied": 1.0, "rejected": 0.0, "retried": 0.0, "abandoned": 0.0}
PASSES = {"accepted": Outcome.PASS, "copied": Outcome.PASS, "edited": Outcome.FAIL, "rejected": Outcome.FAIL}
LONGEST_COMMENT = 2000
LONGEST_NAME = 200  # of a session, a step, an event
LONGEST_MS = 7 * 86_400_000
MOST_OF_A_TRACE = 100
AHEAD_US = 60_000_000  # how far the clock of another process may be ahead
LATE_US = 3_600_000_000  # what waits longer is reported
MOST_JOINED = 200
PAUSES_US = (1_000_000, 60_000_000, 3_600_000_000)  # the first minute, the first hour, later


class FeedbackBody(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """`edit`: the text that the user made of the answer. `suggested`: what they began with, where it is not the whole
    answer. `event`: the client's own name of this; sent again, it is the same. `step`: of the app's funnel."""

    trace: str = ""
    kind: Kind | None = None
    comment: str = ""
    edit: str = ""
    suggested: str = ""
    event: str = ""
    thumbs: Literal["", "up", "down"] = ""
    score: float | None = None  # 0..1
    time_ms: int | None = None
    step: str = ""
    session: str = ""


class Taken(Struct, frozen=True, omit_defaults=True):
    """`state`: stored; known (it was here before); waiting (its trace is not here yet)."""

    id: str
    trace: str
    kind: str
    state: Literal["stored", "known", "waiting"]


class FeedbackDesk:
    """`release_of`: the release that a session of an app and environment gets now."""

    def __init__(
        self,
        store: Store,
        apps: Mapping[str, App],
        clock_us: Callable[[], int],
        drain: Callable[[], Awaitable[None]],
        release_of: Callable[[str, str, str], str],
    ) -> None:
        self._store = store
        self._apps = apps
        self._clock_us = clock_us
        self._drain = drain
        self._release_of = release_of

    async def take(self, who: Principal, said: FeedbackBody) -> Taken:
        """Raises Refused: 400 what does not fit, 404 a trace that is not this app's, 429 too much on one trace."""
        require(who, Action.DATA_FEEDBACK)
        kind = self._checked(who.app, said)
        now = self._clock_us()
        if not said.trace:
            return await self._store.write(lambda tx: self._stepped(tx, who, said, now))
        found = await self._store.read(lambda tx: traces.get(tx, said.trace))
        if found is None or found[0].outcome == "open":
            await self._drain()
        change = await self._store.read(lambda tx: _change(tx, said))

        def write(tx: Tx) -> Taken:
            made = self._write(tx, who.app, who.key_id, said, kind, change, now)
            if made is not None:
                return made
            late = Late(0, who.app, who.env, who.key_id, said.trace, msgspec.json.encode(said), now)
            first = behaviour.wait(tx, late, kind, said.event or f"at {now}", now + PAUSES_US[0])
            return Taken("", said.trace, kind, "waiting" if first else "known")

        return await self._store.write(write)

    def join_waiting(self) -> bool:
        """What waited for a trace that is here now; blocking. True: there may be more."""
        now = self._clock_us()
        due = self._store.read_sync(lambda tx: behaviour.waiting(tx, now, MOST_JOINED))
        if due:
            self._store.write_sync(lambda tx: self._join_all(tx, due, now))
        return len(due) == MOST_JOINED

    def _join_all(self, tx: Tx, due: list[Late], now: int) -> None:
        for late in due:
            self._join(tx, late, now)

    def _join(self, tx: Tx, late: Late, now: int) -> None:
        said = msgspec.json.decode(late.said, type=FeedbackBody)
        try:
            made = self._write(tx, late.app, late.key_id, said, kind_of(said), _change(tx, said), late.at_us)
        except Refused as error:
            log.warning("feedback on trace %s by key %s is dropped: %s", late.trace_id, late.key_id, error)
            behaviour.waited(tx, late.seq)
            return
        if made is not None:
            behaviour.waited(tx, late.seq)
            return
        age = now - late.at_us
        pause = PAUSES_US[0] if age < PAUSES_US[1] else PAUSES_US[1] if age < LATE_US else PAUSES_US[2]
        behaviour.wait_more(tx, late.seq, now + pause)

    def _checked(self, app: str, said: FeedbackBody) -> str:
        kind = kind_of(said)
        if said.trace and not is_trace_id(said.trace):
            raise Refused("`trace` is the id from the x-waterline-trace header (24 hex digits).", 400)
        if said.trace and int(said.trace[:12], 16) * 1000 > self._clock_us() + AHEAD_US:
            raise Refused(f'App "{app}" has no trace {said.trace}: its time has not come.', 404)
        if not said.trace and not (said.step and said.session):
            raise Refused("Name the `trace` of the answer; or a `step`, with its `session`.", 400)
        if said.score is not None and not 0 <= said.score <= 1:
            raise Refused(f"`score` is from 0 to 1, not {said.score:g}.", 400)
        if said.time_ms is not None and not 0 <= said.time_ms <= LONGEST_MS:
            raise Refused(f"`time_ms` is from 0 to {LONGEST_MS:,} (a week), not {said.time_ms}.", 400)
        for name in ("event", "step", "session"):
            if len(getattr(said, name)) > LONGEST_NAME:
                raise Refused(f"`{name}` is longer than {LONGEST_NAME} characters.", 400)
        if said.step:
            self._check_step(app, said.step)
        return kind

    def _check_step(self, app: str, step: str) -> None:
        known = self._apps.get(app)
        steps = known.spec.funnel.steps if known is not None else ()
        if step not in steps:
            told = f"Declared: {', '.join(steps)}." if steps else "Declare it in app.toml: [funnel] steps = [...]."
            raise Refused(f'App "{app}" has no step "{step[:60]}" in its funnel. {told}', 400)

    # --- in a transaction ----------------------------------------------------------------------------------------

    def _write(
        self, tx: Tx, app: str, key_id: str, said: FeedbackBody, kind: str, change: Changed | None, at_us: int
    ) -> Taken | None:
        """None: the trace is not here."""
        found = traces.get(tx, said.trace)
        if found is None:
            return None
        row = found[0]
        if row.app != app:
            raise Refused(f'App "{app}" has no trace {said.trace}.', 404)
        counts = Counts()
        if said.step and row.session and said.step in self._apps[app].spec.funnel.steps:
            self._step(tx, counts, row.app, row.env, row.session, said.step, row.release, at_us)
        if kind == "step":
            counts.write(tx)
            return Taken("", said.trace, kind, "stored")
        known = verdicts.known_feedback(tx, said.trace, kind, said.event)
        if known is not None:
            return Taken(str(known), said.trace, kind, "known")
        before = verdicts.feedback_kinds(tx, said.trace)
        if len(before) >= MOST_OF_A_TRACE:
            raise Refused(f"Trace {said.trace} has {MOST_OF_A_TRACE} pieces of feedback; it takes no more.", 429)
        made = verdicts.add_feedback(tx, self._feedback(said, kind, change, key_id, at_us, app))
        if row.purpose == "live":
            _count(counts, row, kind, before, change, said.time_ms)
        counts.write(tx)
        return Taken(str(made), said.trace, kind, "stored")

    def _feedback(
        self, said: FeedbackBody, kind: str, change: Changed | None, key_id: str, at_us: int, app: str
    ) -> verdicts.Feedback:
        comment = redact(said.comment[:LONGEST_COMMENT])
        value, passes = VALUES.get(kind), PASSES.get(kind, Outcome.INCONCLUSIVE)
        if kind == "edited" and change is not None:
            value = 1 - change.words
            passes = Outcome.PASS if change.words == 0 else Outcome.FAIL
        if kind == "rating":
            value = said.score
        estimate = None if value is None else Estimate(value, value, value, 1, method="observed")
        verdict = Verdict(
            Ref("trace", said.trace), f"feedback.{kind}", passes, estimate, comment, JudgeRef(verdicts.USER)
        )
        known = self._apps.get(app)
        keeps = known is not None and known.spec.retention.bodies_days > 0
        return verdicts.Feedback(
            said.trace, kind, comment, redact(said.edit) if keeps else "", key_id, at_us, verdict, app, said.event,
            said.time_ms, _bp(change.words if change else None), _bp(change.characters if change else None),
        )  # fmt: skip

    def _stepped(self, tx: Tx, who: Principal, said: FeedbackBody, now: int) -> Taken:
        """A step alone: of a session that may have no answer yet, so its release is asked of the rollout."""
        counts = Counts()
        known = behaviour.session(tx, who.app, who.env, said.session)
        release = known.release if known is not None else self._released(who, said.session)
        new = self._step(tx, counts, who.app, who.env, said.session, said.step, release, now)
        counts.write(tx)
        return Taken("", "", "step", "stored" if new else "known")

    def _released(self, who: Principal, session: str) -> str:
        try:
            return self._release_of(who.app, who.env, session)
        except UnknownModel as error:
            raise Refused(str(error), 404) from None

    def _step(
        self, tx: Tx, counts: Counts, app: str, env: str, session: str, step: str, release: str, now: int
    ) -> bool:
        """Counted under the session's own release and first day, where they are known already. Who comes to a step
        has come to those before it, also if nobody said so."""
        known = behaviour.session(tx, app, env, session)
        place = known.place if known is not None else Place(app, env, day_of(now), release)
        declared = self._apps[app].spec.funnel.steps
        new = False
        for one in declared[: declared.index(step) + 1]:
            new = behaviour.add_step(tx, app, env, session, one, place.release, now)
            if new:
                counts.add(place, f"step.{one}")
        return new


def kind_of(said: FeedbackBody) -> str:
    """Raises Refused: nothing is said."""
    if said.kind is not None:
        return said.kind
    if said.thumbs:
        return "accepted" if said.thumbs == "up" else "rejected"
    if said.edit:
        return "edited"
    if said.score is not None or said.comment:
        return "rating"
    if said.step:
        return "step"
    raise Refused("The feedback says nothing: give `kind`, `thumbs`, `score`, `edit`, `comment` or `step`.", 400)


def _change(tx: Tx, said: FeedbackBody) -> Changed | None:
    """What the user changed of the answer. None: nothing, or the answer is not kept."""
    if not said.edit:
        return None
    answer = traces.body(tx, said.trace, "answer") if not said.suggested else None
    before = said.suggested or (answer_text(answer) if answer else "")
    return changed(before, said.edit) if before else None


def _count(
    counts: Counts, row: TraceRow, kind: str, before: list[str], change: Changed | None, time_ms: int | None
) -> None:
    """An answer counts once for each kind, and once for its first decision."""
    place = Place(row.app, row.env, day_of(row.started_us), row.release)
    if kind not in before:
        counts.add(place, f"feedback.{kind}")
        if kind == "edited" and change is not None:
            counts.add(place, f"edit.{min(9, int(change.words * 10))}")
    if kind in DECISIVE and not any(one in DECISIVE for one in before):
        counts.add(place, f"decided.{kind}")
    if time_ms is not None and not before:
        counts.add(place, f"time.{traces.latency_bucket(time_ms * 1000)}")


def _bp(share: float | None) -> int | None:
    return None if share is None else round(share * 10_000)
