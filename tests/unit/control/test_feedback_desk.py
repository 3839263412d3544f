"""Feedback that comes before its trace is joined when the trace is there; counts are by day, release and first word."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from waterline.access.roles import Principal
from waterline.control.feedback import LATE_US, MOST_OF_A_TRACE, FeedbackBody, FeedbackDesk
from waterline.core.app_spec import AppSpec, Funnel
from waterline.core.errors import Refused
from waterline.core.ids import trace_id
from waterline.core.money import Usage
from waterline.core.trace import TraceRow
from waterline.gateway.deps import App
from waterline.store import behaviour, traces, verdicts
from waterline.store.behaviour import DAY_US
from waterline.store.db import Store

NOW = 20_000 * DAY_US + 5
TRACE, OTHER = trace_id(NOW // 1000, 1, 1), trace_id(NOW // 1000, 2, 1)
WHO = Principal("wl-1", "app", "test", "school", "production")
ROW = TraceRow(
    TRACE, "school", "production", "live", "r1", "main", "openai", "m", "wl-1", "s1", "", "", False, NOW, None, 5,
    "answered", 200, "", 1, Usage(), 0, 0, "", "b1",
)  # fmt: skip


class Known:
    def __init__(self) -> None:
        self.spec = AppSpec(name="school", funnel=Funnel(("asked", "booked")))


class Desk:
    def __init__(self, folder: Path) -> None:
        self.store = Store.open(folder / "waterline.db")
        self.now = NOW
        apps = cast(dict[str, App], {"school": Known()})
        self.desk = FeedbackDesk(self.store, apps, lambda: self.now, self.drained, lambda *session: "r9")

    async def drained(self) -> None:
        pass

    def give(self, **said: Any) -> Any:
        return asyncio.run(self.desk.take(WHO, FeedbackBody(**{"trace": TRACE, **said})))

    def put(self, **changes: Any) -> None:
        row = msgspec.structs.replace(ROW, **changes)
        self.store.write_sync(lambda tx: traces.insert_batch(tx, [traces.TraceWrite(row, b"[]")]))

    def names(self, trace: str = TRACE) -> list[str]:
        return [v.verdict.name for v in self.store.read_sync(lambda tx: verdicts.of(tx, "trace", trace))]

    def counts(self) -> Counter[tuple[str, str]]:
        rows = self.store.read_sync(lambda tx: behaviour.counts(tx, "school", 0, NOW + DAY_US))
        return Counter({(row.release, row.name): row.n for row in rows})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.store.close()


def test_late_feedback_is_joined_when_its_trace_arrives_and_counted_once(desk: Desk) -> None:
    assert desk.give(kind="accepted", event="e").state == "waiting"
    assert desk.give(kind="accepted", event="e").state == "known"
    desk.now += 2_000_000
    desk.desk.join_waiting()
    assert desk.names() == []
    desk.put()
    desk.now += 2_000_000
    desk.desk.join_waiting()
    desk.desk.join_waiting()
    assert desk.names() == ["feedback.accepted"]
    assert desk.counts() == {("r1", "feedback.accepted"): 1, ("r1", "decided.accepted"): 1}
    assert desk.give(kind="accepted", event="e").state == "known"
    assert desk.store.read_sync(lambda tx: behaviour.waiting_count(tx, "school", NOW)) == (0, 0)


def test_a_trace_that_never_comes_is_reported_and_kept(desk: Desk) -> None:
    desk.give(kind="accepted")
    for _ in range(50):
        desk.now += 10 * 60_000_000
        desk.desk.join_waiting()
    assert desk.store.read_sync(lambda tx: behaviour.waiting_count(tx, "school", desk.now - LATE_US)) == (1, 1)


def test_a_late_trace_of_another_app_takes_no_feedback(desk: Desk) -> None:
    desk.give(kind="rejected")
    desk.put(app="bank")
    desk.now += 2_000_000
    desk.desk.join_waiting()
    assert desk.names() == []
    assert desk.store.read_sync(lambda tx: behaviour.waiting_count(tx, "school", NOW)) == (0, 0)


def test_an_answer_counts_once_for_each_kind_and_once_for_its_first_decision(desk: Desk) -> None:
    desk.put()
    for kind in ("copied", "copied", "rejected", "accepted", "rejected"):
        desk.give(kind=kind)
    assert desk.counts() == {
        ("r1", "feedback.copied"): 1, ("r1", "feedback.rejected"): 1, ("r1", "feedback.accepted"): 1,
        ("r1", "decided.rejected"): 1,
    }  # fmt: skip


def test_trials_and_evaluations_are_not_counted_as_users(desk: Desk) -> None:
    desk.put(purpose="eval")
    desk.give(kind="accepted")
    assert desk.names() == ["feedback.accepted"]
    assert not desk.counts()


def test_a_session_comes_to_a_step_once_with_or_without_a_trace(desk: Desk) -> None:
    desk.put()
    assert desk.give(step="asked").kind == "step"
    desk.give(kind="accepted", step="asked")
    assert desk.give(trace="", session="s1", step="asked").state == "known"
    assert desk.give(trace="", session="s2", step="booked").state == "stored"
    counted = {key: n for key, n in desk.counts().items() if key[1].startswith("step.")}
    assert counted == {("r1", "step.asked"): 1, ("r9", "step.asked"): 1, ("r9", "step.booked"): 1}
    with pytest.raises(Refused, match="Declared: asked, booked"):
        desk.give(step="paid")


def test_one_trace_takes_a_bounded_number(desk: Desk) -> None:
    desk.put()
    for _ in range(MOST_OF_A_TRACE):
        desk.give(kind="copied")
    with pytest.raises(Refused, match="takes no more"):
        desk.give(kind="copied")
