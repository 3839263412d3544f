"""A canary over a real store, its moves and a clock of our own: sessions are fed, nothing sleeps."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from waterline.access.roles import Principal, Role
from waterline.access.stored import AuditRows
from waterline.control.canaries import MOST_LOOKS, Canaries, CanaryBody, CanaryView, EndBody, spread
from waterline.control.canary_watch import CanaryWatch, note_sessions
from waterline.control.incidents import canary_rolled_back
from waterline.core.app_spec import AppSpec, Objectives, encode_spec
from waterline.core.canary import Canary
from waterline.core.errors import PermissionDenied, Refused
from waterline.core.judge import Judge
from waterline.core.money import Usage
from waterline.core.release import Release, Route, StoredRelease, encode_release, release_id
from waterline.core.trace import TraceRow
from waterline.core.verdict import Estimate, JudgeRef, Outcome, Ref, Verdict
from waterline.evals.canary import Plan
from waterline.evals.judged import Standing
from waterline.rollout.live import Live
from waterline.rollout.moves import Admitted, Moves, parse_weight
from waterline.store import audit_log, incidents, releases, rollouts, traces, verdicts
from waterline.store.canaries import LookRow
from waterline.store.db import Store, Tx

ANA = Principal(key_id="wl-1a2b3c4d", kind="person", name="ana", role=Role.OWNER)
DEV = Principal(key_id="wl-1a2b3c4e", kind="person", name="dev", role=Role.DEVELOPER)
ENV = "production"
DECLARED = Canary(
    steps=("20%", "50%", "100%"), least_sessions=40, session_s=10, late_s=5, quality_s=30, error_margin=0.08,
    slow_margin=0.08, quality_margin=0.1, cost_margin=0.2,
)  # fmt: skip


class Ship:
    """An app with two releases, and sessions that say what each of them does."""

    def __init__(self, path: Path, declared: Canary = DECLARED, objectives: Objectives | None = None) -> None:
        self.path, self.now_us = path, 1_795_000_000_000_000
        self.loop = asyncio.new_event_loop()
        self.spec = AppSpec("school", canary=declared, objectives=objectives or Objectives())
        self.draw = random.Random(11)
        self.number = 0
        self.open()
        self.old, self.new, self.third = (self.add(model) for model in ("old", "new", "third"))
        self.run(self.moves.promote(ANA, app="school", env=ENV, release=self.old))
        self.now_us += 1_000_000

    def open(self) -> None:
        self.store = Store.open(self.path)
        self.live = Live.load(self.store)
        self.moves = Moves(self.store, self.live, lambda: self.now_us)
        self.canaries = Canaries(
            store=self.store, moves=self.moves, live=self.live, clock_us=lambda: self.now_us, purpose="live",
            promote=self.promote, resolve=lambda tx, release, app: self.found(tx, release),
            spec_of=lambda app: self.spec,
        )  # fmt: skip
        self.watch: CanaryWatch = self.canaries.watch
        self.watch.begin(self.loop)

    def close(self) -> None:
        self.store.close()
        self.loop.close()

    def run(self, step: Any) -> Any:
        return self.loop.run_until_complete(step)

    async def promote(
        self, who: Principal, app: str, release: str, env: str, weight: str, why: str, evidence: str = ""
    ) -> Any:
        return await self.moves.promote(
            who, app=app, env=env, release=release, weight_bp=parse_weight(weight), why=why, evidence=evidence
        )

    def found(self, tx: Tx, release: str) -> StoredRelease:
        stored = releases.get(tx, release)
        assert stored is not None
        return stored

    def add(self, model: str) -> str:
        data = encode_release(Release("school", routes={"main": Route("openai", model)}))
        made, record = release_id(data), encode_spec(self.spec)

        def write(tx: Tx) -> None:
            spec = releases.add_spec(tx, "school", record, 1, "ana")
            releases.add(tx, StoredRelease(made, "school", data, 1, "ana", "", spec))

        self.store.write_sync(write)
        return made

    def start(self, weight: str = "") -> CanaryView:
        return self.run(self.canaries.start(ANA, CanaryBody("school", self.new, ENV, weight)))

    def view(self) -> CanaryView:
        return self.run(self.canaries.of(ANA, "school", ENV))

    def row(self, session: str, release: str, **more: Any) -> TraceRow:
        self.number += 1
        said: dict[str, Any] = {
            "outcome": "answered", "first_token_us": None, "duration_us": 100_000, "cost_nano_usd": 1000,
            "started_us": self.now_us, "stream": False, "purpose": "live", **more,
        }  # fmt: skip
        return TraceRow(
            id=f"{self.number:024x}", app="school", env=ENV, release=release, route="main", provider="openai",
            model="m", key="wl-1", session=session, subject="", tags="", status=200, code="", attempts=1,
            usage=Usage(), reserved_nano_usd=0, price_version="", boot="b", **said,
        )  # fmt: skip

    def store_rows(self, rows: list[TraceRow]) -> None:
        def write(tx: Tx) -> None:
            traces.insert_batch(tx, [traces.write_of(row, []) for row in rows])
            note_sessions(tx, [traces.Stored(0, row) for row in rows], "live")

        self.store.write_sync(write)

    def sessions(self, count: int, of: Any, requests: int = 1) -> list[TraceRow]:
        """`of(release)`: how a request of it goes. Each session is drawn as a request would be."""
        rows = []
        for _ in range(count):
            session = f"s{self.draw.random()}"
            picked = self.live.pick("school", ENV, session, "")
            assert picked is not None
            rows += [self.row(session, picked.id, **of(picked.id)) for _ in range(requests)]
        self.store_rows(rows)
        return rows

    def pass_time(self, seconds: float = 60.0) -> None:
        """... and let the worker look."""
        self.now_us += round(seconds * 1e6)

        async def look() -> None:
            while await asyncio.to_thread(self.watch.round):
                pass

        self.run(look())

    def sail(self, of: Any, rounds: int = 30, each: int = 200) -> CanaryView:
        for _ in range(rounds):
            self.sessions(each, of)
            self.pass_time()
            seen = self.view()
            if seen.head.ended_us is not None:
                break
        return seen

    def history(self) -> list[Any]:
        return self.store.read_sync(lambda tx: rollouts.history(tx, "school", ENV))[::-1]


@pytest.fixture
def ship(tmp_path: Path) -> Iterator[Ship]:
    made = Ship(tmp_path / "waterline.db")
    yield made
    made.close()


def fails(ship: Ship, release: str, share: float) -> Any:
    return lambda of: {"outcome": "failed"} if of == release and ship.draw.random() < share else {}


def test_a_good_release_gets_to_all_of_the_traffic_step_by_step(ship: Ship) -> None:
    begun = ship.start()
    assert begun.head.state == "running"
    ended = ship.sail(fails(ship, "nobody", 0.0))
    assert ended.head.state == "promoted"
    assert [s.weight_bp for s in ship.live.state("school", ENV)[0]] == [10_000]
    assert [(m.who, m.kind, m.shares[0].weight_bp, m.evidence == begun.head.id) for m in ship.history()[1:]] == [
        ("ana", "promote", 2000, True), ("canary", "promote", 5000, True), ("canary", "promote", 10_000, True),
    ]  # fmt: skip
    assert [m.shares[0].weight_bp for m in ended.moves] == [2000, 5000, 10_000]


def test_a_release_that_fails_is_rolled_back_by_itself_with_its_evidence_in_the_history_and_the_audit(
    ship: Ship,
) -> None:
    begun = ship.start()
    ship.watch.rolled_back = canary_rolled_back
    ended = ship.sail(fails(ship, ship.new, 0.4))
    assert ended.head.state == "rolled back"
    assert "Failed requests" in ended.head.reason
    assert ship.live.state("school", ENV)[0][0].release == ship.old
    move = ship.history()[-1]
    assert (move.kind, move.who, move.evidence) == ("rollback", "canary", begun.head.id)
    incident = ship.store.read_sync(lambda tx: incidents.blocking(tx, "school", ENV))[0]
    assert (incident.release, incident.opened_by) == (ship.new, "canary")
    assert incident.links == (incidents.Link("canary", begun.head.id),)
    newest = ship.store.read_sync(lambda tx: audit_log.newest(tx, 2, None))
    assert [AuditRows.read(row).entry.action for row in newest] == ["rollout.rollback", "incident.open"]
    entry = AuditRows.read(newest[0]).entry
    assert entry.who.startswith("canary")
    assert (entry.detail["kind"], entry.detail["evidence"]) == ("rollback", begun.head.id)


def test_a_slow_release_is_rolled_back(tmp_path: Path) -> None:
    ship = Ship(tmp_path / "d.db", objectives=Objectives(answer_ms_p95=500))
    ship.start()
    ended = ship.sail(lambda of: {"duration_us": 900_000} if of == ship.new and ship.draw.random() < 0.5 else {})
    assert ended.head.state == "rolled back"
    assert "slower than declared" in ended.head.reason
    ship.close()


def test_a_release_that_is_late_to_begin_is_rolled_back(tmp_path: Path) -> None:
    ship = Ship(tmp_path / "d.db", objectives=Objectives(ttft_ms_p95=300))
    ship.start()
    ended = ship.sail(lambda of: {"stream": True, "first_token_us": 700_000 if of == ship.new else 100_000})
    assert ended.head.state == "rolled back"
    assert "First tokens" in ended.head.reason
    ship.close()


def test_a_dear_release_is_rolled_back(tmp_path: Path) -> None:
    declared = Canary(**{f: getattr(DECLARED, f) for f in DECLARED.__struct_fields__} | {"nano_usd_per_request": 4000})
    ship = Ship(tmp_path / "d.db", declared)
    ship.start()
    ended = ship.sail(lambda of: {"cost_nano_usd": 3000 if of == ship.new else 1000})
    assert ended.head.state == "rolled back"
    assert "Cost" in ended.head.reason
    ship.close()


def test_worse_answers_by_the_verdicts_of_users_are_rolled_back(tmp_path: Path) -> None:
    declared = Canary(**{f: getattr(DECLARED, f) for f in DECLARED.__struct_fields__} | {"quality": ("feedback",)})
    ship = Ship(tmp_path / "d.db", declared)
    ship.start()
    for _ in range(10):
        rows = ship.sessions(150, lambda of: {})
        ship.now_us += 5_000_000

        def judge(tx: Tx, rows: list[TraceRow] = rows) -> None:
            for row in rows:
                good = ship.draw.random() < (0.3 if row.release == ship.new else 0.9)
                value = Estimate(float(good), float(good), float(good), 1)
                name = "feedback.accepted" if good else "feedback.rejected"
                said = Verdict(
                    Ref("trace", row.id), name, Outcome.PASS if good else Outcome.FAIL, value, "", JudgeRef("user")
                )
                verdicts.add(tx, said, ship.now_us)

        ship.store.write_sync(judge)
        ship.pass_time(60)
        if ship.view().head.ended_us is not None:
            break
    ended = ship.view()
    assert ended.head.state == "rolled back"
    assert "feedback" in ended.head.reason.lower()
    ship.close()


def test_an_equal_release_is_not_rolled_back(ship: Ship) -> None:
    ship.start()
    both = lambda of: {"outcome": "failed"} if ship.draw.random() < 0.1 else {}  # noqa: E731
    assert ship.sail(both, rounds=8).head.state in ("running", "promoted")


def test_requests_of_one_session_count_once(ship: Ship) -> None:
    """Twelve failures of one person are one observation, not twelve."""
    ship.start()
    ship.sessions(300, lambda of: {})
    ship.pass_time()
    rows = [ship.row("one", ship.new, outcome="failed") for _ in range(12)]
    ship.store_rows(rows)
    before = ship.view().now.sessions
    ship.pass_time()
    found = ship.view()
    assert sum(found.now.sessions) == sum(before) + 1
    assert found.head.state == "running"


def test_a_session_that_goes_on_after_it_was_counted_counts_once(ship: Ship) -> None:
    ship.start()
    ship.store_rows([ship.row("long", ship.old)])
    ship.pass_time()
    assert ship.view().now.sessions == (1, 0)
    ship.store_rows([ship.row("long", ship.old, outcome="failed")])
    ship.pass_time()
    found = ship.view()
    assert found.now.sessions == (1, 0)
    assert found.now.compared[0].baseline.value == 0.0


def test_what_was_asked_before_the_step_or_of_another_release_or_by_a_trial_does_not_count(ship: Ship) -> None:
    early = ship.row("early", ship.old)
    ship.now_us += 1_000_000
    ship.start()
    ship.store_rows(
        [early, ship.row("other", ship.third), ship.row("trial", ship.old, purpose="trial")],
    )
    ship.pass_time()
    assert ship.view().now.sessions == (0, 0)


def test_a_pinned_session_was_not_drawn_and_does_not_count(ship: Ship) -> None:
    ship.start()
    ship.run(ship.moves.pin(ANA, app="school", env=ENV, session="vip", release=ship.new))
    ship.store_rows([ship.row("vip", ship.new)])
    ship.pass_time()
    assert ship.view().now.sessions == (0, 0)


def test_a_request_still_open_when_its_session_is_looked_at_was_slow(tmp_path: Path) -> None:
    ship = Ship(tmp_path / "d.db", objectives=Objectives(answer_ms_p95=500))
    ship.start()
    ship.store_rows([ship.row("s", ship.old, outcome="open", duration_us=0)])
    ship.pass_time()
    slow = next(c for c in ship.view().now.compared if c.signal == "slow")
    assert (slow.baseline.n, slow.baseline.value) == (1, 1.0)
    ship.close()


def test_a_restart_at_any_moment_goes_on_with_the_same_sums(ship: Ship) -> None:
    ship.start()
    ship.sessions(50, fails(ship, ship.new, 0.1))
    ship.pass_time()
    ship.sessions(50, fails(ship, ship.new, 0.1))  # seen, not counted yet
    before = ship.view()
    ship.store.close()
    ship.open()
    after = ship.view()
    assert after == before
    assert after.waiting == 50
    ship.pass_time()
    assert sum(ship.view().now.sessions) == 100
    assert ship.sail(fails(ship, ship.new, 0.5)).head.state == "rolled back"


def test_two_canaries_of_one_environment_are_refused(ship: Ship) -> None:
    first = ship.start()
    with pytest.raises(Refused, match="2 releases are live"):
        ship.start()
    # ... and a row that is there already is refused by its own transaction, too.
    ship.run(ship.moves.pin(ANA, app="school", env=ENV, session="x", release=ship.new))
    assert ship.view().head.id == first.head.id


def test_who_may_not_promote_may_not_start_one(ship: Ship) -> None:
    with pytest.raises(PermissionDenied):
        ship.run(ship.canaries.start(DEV, CanaryBody("school", ship.new)))


def test_a_judge_that_is_not_calibrated_cannot_guard_one(ship: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge("Is it polite?", "Polite? {{answer}}", Route("openai", "j"), sample=0.5)
    declared = Canary(**{f: getattr(DECLARED, f) for f in DECLARED.__struct_fields__} | {"quality": ("judge.tone",)})
    ship.spec = AppSpec("school", canary=declared, judges={"tone": judge})
    ship.new = ship.add("judged")
    with pytest.raises(Refused, match="may not gate: nobody has labelled"):
        ship.start()
    calibrated = lambda tx, app, name, judge: Standing(name, "j1", may_gate=True)  # noqa: E731
    monkeypatch.setattr("waterline.control.canary_watch.standing", calibrated)
    ship.start()
    changed = lambda tx, app, name, judge: Standing(name, "j1", why="the provider answered as another model")  # noqa: E731
    monkeypatch.setattr("waterline.control.canary_watch.standing", changed)
    seen = ship.sail(lambda of: {}, rounds=3)
    assert seen.head.state == "running"
    assert "answered as another model" in seen.head.reason


@pytest.mark.parametrize("kind", ["promote", "rollback"])
def test_a_manual_move_ends_it_and_says_so(ship: Ship, kind: str) -> None:
    ship.start()
    if kind == "promote":
        ship.run(ship.moves.promote(ANA, app="school", env=ENV, release=ship.third, why="hurry"))
    else:
        ship.run(ship.moves.rollback(ANA, app="school", env=ENV, why="hurry"))
    ended = ship.view().head
    assert ended.state == "ended"
    assert ended.reason.startswith("ana ")
    assert "hurry" in ended.reason
    ship.sessions(50, lambda of: {})
    ship.pass_time()
    assert ship.view().head == ended


def test_a_person_stops_it_and_the_traffic_returns(ship: Ship) -> None:
    begun = ship.start()
    ended = ship.run(ship.canaries.end(ANA, begun.head.id, EndBody(reason="enough")))
    assert (ended.head.state, ended.head.reason) == ("stopped", "enough")
    assert ship.live.state("school", ENV)[0][0].release == ship.old
    with pytest.raises(Refused, match="ended already"):
        ship.run(ship.canaries.end(ANA, begun.head.id, EndBody()))


def test_a_person_may_stop_watching_and_leave_the_weights(ship: Ship) -> None:
    begun = ship.start(weight="10%")
    ended = ship.run(ship.canaries.end(ANA, begun.head.id, EndBody(keep=True)))
    assert ended.head.state == "stopped"
    assert [s.weight_bp for s in ship.live.state("school", ENV)[0]] == [1000, 9000]
    assert ended.plan.steps_bp == (1000, 2000, 5000, 10_000)


def unsettled(ship: Ship) -> None:
    ship.start()
    for _ in range(3):
        ship.sessions(30, lambda of: {"outcome": "failed"} if ship.draw.random() < 0.3 else {})
        ship.pass_time(13 * 3600)


def test_after_the_longest_wait_it_says_unknown_and_holds_but_still_looks_for_harm(tmp_path: Path) -> None:
    declared = Canary(**{f: getattr(DECLARED, f) for f in DECLARED.__struct_fields__} | {"longest_wait_h": 24.0})
    ship = Ship(tmp_path / "d.db", declared)
    unsettled(ship)
    held = ship.view()
    assert held.head.state == "held"
    assert held.head.reason.startswith("Unknown")
    assert [s.weight_bp for s in ship.live.state("school", ENV)[0]] == [2000, 8000]
    assert ship.sail(fails(ship, ship.new, 0.9)).head.state == "rolled back"
    ship.close()


def test_after_the_longest_wait_it_goes_back_where_that_is_declared(tmp_path: Path) -> None:
    more = {"longest_wait_h": 24.0, "on_unknown": "rollback"}
    declared = Canary(**{f: getattr(DECLARED, f) for f in DECLARED.__struct_fields__} | more)
    ship = Ship(tmp_path / "d.db", declared)
    unsettled(ship)
    ended = ship.view()
    assert ended.head.state == "rolled back"
    assert ended.head.reason.startswith("Unknown")
    ship.close()


def test_a_gate_that_refuses_a_step_is_told_and_the_weight_stays(ship: Ship) -> None:
    def closed(tx: Tx, rising: tuple[str, ...]) -> Admitted:
        assert rising == (ship.new,)
        raise Refused("an incident is open")

    ship.watch.admit = lambda who, app, env: closed
    ship.start()
    seen = ship.sail(lambda of: {}, rounds=6)
    assert seen.head.state == "running"
    assert seen.head.reason == "an incident is open"
    assert ship.live.state("school", ENV)[0][0].weight_bp == 2000


def test_each_kept_look_gives_the_same_decision_again_and_there_are_few_of_them(ship: Ship) -> None:
    ship.start()
    ended = ship.sail(fails(ship, ship.new, 0.3), each=20)
    assert ended.looks[-1].decision == "roll back"
    assert {one.decision for one in ended.looks[:-1]} == {"wait"}
    assert ended.looks[-1].compared == ended.now.compared
    assert len(ended.looks) < 60


def test_of_very_many_looks_a_view_shows_some_with_the_last_of_each_step() -> None:
    looks = [LookRow(n, n, n // 1000, "wait", b"") for n in range(2500)]
    shown = spread(looks)
    assert len(shown) <= MOST_LOOKS + 3
    assert {999, 1999, 2499} <= {look.number for look in shown}
    assert spread(looks[:100]) == looks[:100]


def test_the_sessions_of_an_a_a_run_are_figures_of_the_live_release(ship: Ship) -> None:
    ship.sessions(30, lambda of: {"outcome": "failed"} if ship.draw.random() < 0.5 else {}, requests=2)
    found = ship.run(ship.canaries.recorded(ANA, "school", ENV, 24))
    assert len(found.sessions) == 30
    assert found.requests == 60
    assert {v for s in found.sessions for v in s.values()} <= {0.0, 0.5, 1.0}
    assert isinstance(found.plan, Plan)
