"""Signs are put on the answer that provoked them, once; sessions are counted by the release that began them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from waterline.control import listening
from waterline.control.listening import Listener
from waterline.core.app_spec import AppSpec, Funnel
from waterline.core.conversation import Alias, Inbound
from waterline.core.money import Usage
from waterline.core.trace import TraceRow
from waterline.core.verdict import JudgeRef, Outcome, Ref, Verdict
from waterline.gateway.deps import App
from waterline.store import behaviour, conversations, identities, traces, verdicts
from waterline.store.behaviour import DAY_US, Session
from waterline.store.db import Store, Tx

NOW = 20_000 * DAY_US + 5
MINUTE_US = 60_000_000
ROW = TraceRow(
    "", "school", "production", "live", "r1", "main", "openai", "m", "wl-1", "s1", "", "", False, NOW, None, 5,
    "answered", 200, "", 1, Usage(), 0, 0, "", "b1",
)  # fmt: skip


class Known:
    def __init__(self, funnel: Funnel) -> None:
        self.spec = AppSpec(name="school", funnel=funnel)


class World:
    def __init__(self, folder: Path) -> None:
        self.store = Store.open(folder / "waterline.db")
        self.now, self.made = NOW, 0
        self.apps: dict[str, App] = {}
        self.funnel()
        self.listener = Listener(self.store, self.apps, lambda: self.now)

    def funnel(self, *steps: str) -> None:
        self.apps["school"] = cast(App, Known(Funnel(steps)))

    def says(self, *texts: str, trace: str = "", **changes: Any) -> str:
        """A request with the last of these as its question, the others as its history; answered."""
        self.made += 1
        self.now += MINUTE_US
        name = trace or f"{self.made:024x}"
        row = msgspec.structs.replace(ROW, **{"id": name, "started_us": self.now, **changes})
        body = msgspec.json.encode({"messages": [{"role": "user", "content": text} for text in texts]})

        def write(tx: Tx) -> None:
            at = traces.insert_batch(tx, [traces.TraceWrite(row, b"[]")])
            traces.insert_bodies(tx, [(at[name], body, b"")])
            listening.note_traces(tx, [traces.Stored(at[name], row)])

        self.store.write_sync(write)
        return name

    def look(self) -> None:
        while self.listener.look():
            pass

    def signs(self, trace: str) -> list[str]:
        return [v.verdict.name for v in self.store.read_sync(lambda tx: verdicts.of(tx, "trace", trace))]

    def session(self, name: str = "s1") -> Session:
        found = self.store.read_sync(lambda tx: behaviour.session(tx, "school", "production", name))
        assert found is not None
        return found

    def counts(self) -> dict[str, int]:
        rows = self.store.read_sync(lambda tx: behaviour.counts(tx, "school", 0, self.now + DAY_US))
        return {f"{row.release} {row.name}": row.n for row in rows}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


def test_a_sign_is_put_on_the_answer_that_provoked_it_once(world: World) -> None:
    first = world.says("what time do you open?")
    second = world.says("that's not what I asked")
    world.look()
    world.look()
    assert world.signs(first) == ["signal.not_what_i_asked"]
    assert world.signs(second) == []
    assert world.session().off_rails
    assert world.counts() == {"r1 answers": 2, "r1 sessions": 1, "r1 signal.not_what_i_asked": 1, "r1 off_rails": 1}


def test_history_in_the_request_and_earlier_requests_are_the_same_to_it(world: World) -> None:
    first = world.says("where can i park the car")
    world.says("where can i park the car", "so where do i park my car??")
    other = world.says("where can i park the car", session="s2")
    world.says("so where do i park my car??", session="s2")
    world.look()
    assert world.signs(first) == world.signs(other) == ["signal.rephrased"]
    assert not world.session().off_rails, "asked again once is no disaster"


def test_two_weak_signs_are_off_the_rails_and_a_session_counts_once(world: World) -> None:
    for text in ("how do i cancel my order", "how do i cancel my order", "how do i cancel my order please"):
        world.says(text)
    world.look()
    world.says("I want to speak to a human now")
    world.look()
    assert world.session().points == 4
    assert world.counts()["r1 off_rails"] == 1
    assert world.counts()["r1 signal.retried"] == 1


def test_who_comes_angry_was_not_made_angry_by_us(world: World) -> None:
    trace = world.says("this is ridiculous!!!")
    world.look()
    assert world.signs(trace) == []
    assert world.session().points == 0


def test_a_request_that_goes_on_after_a_tool_says_nothing_new(world: World) -> None:
    world.says("what time do you open?")
    world.look()
    before = world.session().recent
    world.says("what time do you open?", "")
    world.look()
    assert world.session().recent == before
    assert world.session().answers == 2


def test_trials_evaluations_and_requests_without_a_session_leave_no_session(world: World) -> None:
    world.says("hello", purpose="eval")
    world.says("hello", session="")
    world.look()
    assert world.counts() == {"r1 answers": 1}


def test_a_trace_that_was_open_is_read_when_it_has_ended(world: World) -> None:
    world.says("what time do you open?", trace="a" * 24, outcome="open")
    world.look()
    assert world.counts() == {}
    world.says("what time do you open?", trace="a" * 24)
    world.look()
    world.look()
    assert world.counts() == {"r1 answers": 1, "r1 sessions": 1}


def test_many_traces_are_heard_in_turns_and_each_counts_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "TRACES_AT_ONCE", 3)
    for n in range(23):
        world.says("hello", session="" if n % 3 else f"s{n}", outcome="open" if n % 7 == 6 else "answered")
    world.look()
    assert world.counts() == {"r1 answers": 20, "r1 sessions": 7}
    for n in range(23):
        if n % 7 == 6:
            world.says("hello", trace=f"{n + 1:024x}", session="" if n % 3 else f"s{n}")
    world.look()
    assert world.counts() == {"r1 answers": 23, "r1 sessions": 8}


def test_a_session_belongs_to_the_release_that_began_it(world: World) -> None:
    world.says("what time do you open?")
    world.says("that's not what I asked", release="r2")
    world.look()
    assert world.counts() == {
        "r1 answers": 1, "r2 answers": 1, "r1 sessions": 1, "r1 signal.not_what_i_asked": 1, "r1 off_rails": 1,
    }  # fmt: skip


def test_abandoned_only_where_a_next_step_was_expected_and_after_a_quiet_time(world: World) -> None:
    last = world.says("how much is it?")
    world.look()
    world.now += 40 * MINUTE_US
    world.look()
    assert world.signs(last) == [], "no funnel is declared"
    world.funnel("asked", "booked")
    last = world.says("how much is it for two?")
    world.look()
    assert world.signs(last) == []
    world.now += 40 * MINUTE_US
    world.look()
    world.look()
    assert world.signs(last) == ["signal.abandoned"]
    booked = world.says("book it", session="s2")
    world.store.write_sync(lambda tx: behaviour.add_step(tx, "school", "production", "s2", "booked", "r1", world.now))
    world.now += 40 * MINUTE_US
    world.look()
    assert world.signs(booked) == []


def test_a_rejected_answer_takes_its_session_off_the_rails(world: World) -> None:
    trace = world.says("how much is it?")
    world.look()
    verdict = Verdict(Ref("trace", trace), "feedback.rejected", Outcome.FAIL, None, "", JudgeRef("user"))
    said = verdicts.Feedback(trace, "rejected", "", "", "wl-1", NOW, verdict, "school")
    world.store.write_sync(lambda tx: verdicts.add_feedback(tx, said))
    world.now += 40 * MINUTE_US
    world.look()
    assert world.session().signals == ("rejected",)
    assert world.counts()["r1 off_rails"] == 1


# --- conversations -------------------------------------------------------------------------------------------------


class Talk:
    """A conversation: what the user writes, each answered by a turn with a model call."""

    def __init__(self, world: World, name: str = "c1") -> None:
        self.world, self.name, self.n = world, name, 0

        def begin(tx: Tx) -> None:
            who = identities.resolve(tx, "school", (Alias("phone", name),), world.now, lambda: name)
            conversations.add(
                tx, id=name, app="school", env="production", branch="lisbon", channel="whatsapp", address="100",
                sender=name, identity=who, now_us=world.now,
            )  # fmt: skip

        world.store.write_sync(begin)

    def says(self, text: str, stage: str = "", kind: Any = "text") -> str:
        self.n += 1
        trace, number, at = f"{self.name}-{self.n}", self.n, self.world.now
        message = Inbound("whatsapp", "100", f"{self.name}m{number}", self.name, at, kind, text=text)

        def write(tx: Tx) -> None:
            conversations.put(tx, self.name, message, at)
            values = {"state": b"", "stage": stage, "language": "en", "slots": "{}", "wake_us": 0, "release": "r1"}
            assert conversations.turned(tx, self.name, number, number, **values, now_us=at + 1) is not None
            row = conversations.TurnRow(number, at, at + 1, "r1", stage, 1, (trace,))
            conversations.add_turn(tx, self.name, row)
            found = conversations.get(tx, self.name)
            assert found is not None
            if stage:
                conversations.add_stage(tx, found, stage, at)

        self.world.store.write_sync(write)
        self.world.now += MINUTE_US
        return trace


def test_a_conversation_is_a_session_whose_messages_are_listened_to_once(world: World) -> None:
    talk = Talk(world)
    first = talk.says("what time do you open?", stage="asked")
    world.look()
    talk.says("that's not what I asked", stage="offered")
    talk.says("Talk to a human", kind="choice")
    world.look()
    world.look()
    assert world.signs(first) == ["signal.not_what_i_asked"], "a button's title is no word of the user's"
    assert world.session("c1").answers == 3
    assert world.counts() == {
        "r1 sessions": 1, "r1 signal.not_what_i_asked": 1, "r1 off_rails": 1, "r1 step.asked": 1, "r1 step.offered": 1,
    }  # fmt: skip


def test_the_model_calls_of_a_conversation_are_not_a_second_session(world: World) -> None:
    world.says("Asked before: nothing\nMessage: hello", session="c1", key="conversations")
    Talk(world).says("hello")
    world.look()
    assert world.counts() == {"r1 answers": 1, "r1 sessions": 1}


def test_an_erased_conversation_leaves_no_session(world: World) -> None:
    Talk(world).says("this is ridiculous", stage="asked")
    world.look()
    (who,) = world.store.read_sync(lambda tx: [conversations.get(tx, "c1")])
    assert who is not None
    world.store.write_sync(lambda tx: conversations.erase(tx, who.identity, world.now))
    assert world.store.read_sync(lambda tx: behaviour.session(tx, "school", "production", "c1")) is None
    assert world.store.read_sync(lambda tx: behaviour.steps(tx, "school", "production", "c1")) == []
