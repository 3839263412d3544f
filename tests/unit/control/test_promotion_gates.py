"""Gates at a promotion, over a real store: what lets a release through, and every way around that we thought of."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from waterline.access import audit
from waterline.access.roles import Principal, Role
from waterline.access.stored import AuditRows
from waterline.control.gates import GateReport, in_force, record_stays
from waterline.control.incidents import IncidentBody, IncidentDesk, opened
from waterline.control.promotion import Gatekeeper
from waterline.core.app_spec import AppSpec, Objectives, Quality, encode_spec
from waterline.core.case import Case, Expect, case_set_id
from waterline.core.errors import PermissionDenied, Refused
from waterline.core.gates import GATE_NAMES, Gates
from waterline.core.ids import sha256_hex
from waterline.core.release import Release, Route, StoredRelease, encode_release, release_id
from waterline.core.rollout import Move
from waterline.core.verdict import Estimate, Outcome
from waterline.evals.experiment import Plan, Result
from waterline.rollout.live import Live
from waterline.rollout.moves import Moves, parse_weight
from waterline.store import approvals, audit_log, cases, experiments, keys, load_lines, releases, rollouts
from waterline.store.db import Store, Tx
from waterline.trials.load_line import objectives_id

ENV = "production"
DAY_US = 86_400_000_000
OBJECTIVES = Objectives(availability=0.99, quality=Quality(score_min=0.8, regression_max=0.05))
ALL = Gates(GATE_NAMES, load_line_days=14)
ANA = Principal("wl-00000001", "person", "Ana", role=Role.OWNER)  # builds
BOB = Principal("wl-00000002", "person", "Bob", role=Role.OPERATOR)
EVE = Principal("wl-00000003", "person", "Eve", role=Role.DEVELOPER)
VIC = Principal("wl-00000004", "person", "Vic", role=Role.VIEWER)


class Harbour:
    def __init__(self, path: Path, gates: dict[str, Gates] | None = None) -> None:
        self.now_us = 1_795_000_000_000_000
        self.store = Store.open(path)
        self.live = Live.load(self.store)
        self.moves = Moves(self.store, self.live, self.clock)
        self.keeper = Gatekeeper(self.store, self.clock, self.resolved)
        self.incidents = IncidentDesk(self.store, self.clock, lambda app: ("staging", ENV) if app == "school" else None)
        self.spec = AppSpec("school", environments=("staging", ENV), objectives=OBJECTIVES,
                            gates={ENV: ALL} if gates is None else gates)  # fmt: skip
        self.put(self.spec)
        self.a = self.add("a")
        asyncio.run(self.promote(self.a, override="the first"))
        self.b = self.add("b")

    def clock(self) -> int:
        self.now_us += 1_000_000
        return self.now_us

    @staticmethod
    def resolved(tx: Tx, wanted: str, app: str | None) -> StoredRelease:
        found = releases.get(tx, wanted)
        if found is None:
            raise Refused(f"no release {wanted}", 404)
        return found

    def put(self, spec: AppSpec) -> str:
        def write(tx: Tx) -> str:
            made = releases.add_spec(tx, "school", encode_spec(spec), 1, "Ana")
            releases.set_current_spec(tx, "school", made, 1, "Ana")
            return made

        return self.store.write_sync(write)

    def add(self, model: str, by: Principal = ANA, spec: AppSpec | None = None, provider: str = "openai") -> str:
        data = encode_release(Release("school", routes={"main": Route(provider, model)}))  # type: ignore[arg-type]
        made = release_id(data)

        def write(tx: Tx) -> None:
            record = releases.add_spec(tx, "school", encode_spec(spec or self.spec), 1, by.name)
            releases.add(tx, StoredRelease(made, "school", data, 1, by.name, "", record, by.owned_by))

        self.store.write_sync(write)
        return made

    def sail(self, release: str, exit_status: int = 0, *, objectives: Objectives = OBJECTIVES, days: float = 0.0,
             document: dict[str, Any] | None = None) -> str:  # fmt: skip
        data = msgspec.json.encode({"release": release, "n": self.clock(), **(document or {})})
        line = load_lines.LoadLine(
            id=sha256_hex(data), app="school", release=release, spec=objectives_id(objectives), exit_status=exit_status,
            at_us=int(self.now_us - days * DAY_US), expires_us=None, signature="", who="Ana", json=data, html=b"",
        )  # fmt: skip
        self.store.write_sync(lambda tx: load_lines.add(tx, line))
        return line.id

    def compare(self, release: str, against: str, word: str = "non-inferior", *, margin: float | None = 0.05,
                days: float = 0.0, provider: str = "real", case_set: str = "c" * 64,
                score_min: float | None = None) -> str:  # fmt: skip
        made = sha256_hex(str(self.clock()).encode())[:16]
        plan = Plan("school", release, case_set, 200, 2, "1", against, margin if against else None, score_min)
        outcomes = {"worse": Outcome.FAIL, "failed": Outcome.FAIL, "unknown": Outcome.INCONCLUSIVE}
        outcome = outcomes.get(word, Outcome.PASS)
        result = Result(plan, word, outcome, "as it is", 90 if word == "unknown" else None,  # type: ignore[arg-type]
                        Estimate(0.01, -0.02, 0.04, 200), None, None, {}, None, None, 1, 2, 197, (), 0,
                        provider)  # type: ignore[arg-type]  # fmt: skip
        one = experiments.Experiment(made, "school", release, against, word, outcome.value, 200, 2,
                                     int(self.now_us - days * DAY_US), "Ana", msgspec.json.encode(result))  # fmt: skip
        self.store.write_sync(lambda tx: experiments.add(tx, one))
        return made

    def report(self, release: str, env: str = ENV) -> GateReport:
        return asyncio.run(self.keeper.report(BOB, "school", release, env))

    def state(self, release: str, gate: str) -> tuple[str, str]:
        found = next(g for g in self.report(release).gates if g.name == gate)
        return found.state, found.says

    def approve(self, who: Principal, release: str, shown: str = "") -> GateReport:
        looked = shown or self.report(release).shown
        return asyncio.run(self.keeper.approve(who, "school", release, ENV, looked, "looked at it"))

    async def promote(
        self, release: str, weight: str = "100%", *, override: str = "", who: Principal = BOB, env: str = ENV
    ) -> Move:
        admit = self.keeper.admit(who, "school", env, None, "", override)
        return await self.moves.promote(
            who, app="school", env=env, release=release, weight_bp=parse_weight(weight), why="because", admit=admit
        )

    def ready(self, release: str, against: str = "") -> None:
        """Everything but approvals."""
        self.sail(release)
        self.compare(release, against or self.a)

    def entries(self) -> list[audit.Entry]:
        rows = self.store.read_sync(lambda tx: [AuditRows.read(r) for r in audit_log.entries(tx)])
        assert audit.verify(rows) == []
        return [row.entry for row in rows]

    def live_now(self) -> dict[str, int]:
        return {s.release: s.weight_bp for s in self.live.state("school", ENV)[0]}


@pytest.fixture
def harbour(tmp_path: Path) -> Iterator[Harbour]:
    made = Harbour(tmp_path / "waterline.db")
    yield made
    made.store.close()


def test_one_error_says_every_gate_and_the_next_command(harbour: Harbour) -> None:
    with pytest.raises(Refused) as refused:
        asyncio.run(harbour.promote(harbour.b))
    said = str(refused.value)
    for gate in GATE_NAMES:
        assert f"\n  {gate}: " in said
    b, a = harbour.b[:12], harbour.a[:12]
    assert "load_line: NOT PASSED: it has not been to sea" in said
    assert f"next: waterline trial school --release {b}" in said
    assert f"next: waterline eval school --release {b} --cases APP_DIR/cases --against {a} --margin 0.05" in said
    assert "no_open_incident: passed" in said
    assert f"next: waterline approve school {b} --to production" in said
    assert "--override REASON" in said
    assert harbour.live_now() == {harbour.a: 10_000}


def test_a_release_that_passes_goes_live_and_its_evidence_is_kept_with_the_move(harbour: Harbour) -> None:
    harbour.ready(harbour.b)
    harbour.approve(EVE, harbour.b)
    move = asyncio.run(harbour.promote(harbour.b))
    assert move.evidence.startswith("load_line ")
    assert "approval eve" in move.evidence
    kept = asyncio.run(harbour.keeper.past(BOB, harbour.b))[0]
    assert (kept.move, kept.override, kept.report.passed) == (move.seq, "", True)
    assert harbour.entries()[-1].detail["gates"] == "passed"


@pytest.mark.parametrize("gate", ["load_line", "evaluation", "approval"])
def test_each_gate_alone_keeps_a_release_out(harbour: Harbour, gate: str) -> None:
    if gate != "load_line":
        harbour.sail(harbour.b)
    if gate != "evaluation":
        harbour.compare(harbour.b, harbour.a)
    if gate == "approval":
        assert harbour.report(harbour.b).not_passed == ["approval"]
    with pytest.raises(Refused, match=f"{gate}: NOT PASSED"):
        asyncio.run(harbour.promote(harbour.b))


# --- the load line -------------------------------------------------------------------------------------------------


def test_a_load_line_of_another_release_does_not_count(harbour: Harbour) -> None:
    harbour.sail(harbour.a)
    assert harbour.state(harbour.b, "load_line") == ("not_passed", "it has not been to sea")


def test_a_load_line_that_says_no_keeps_it_out_whatever_an_older_one_said(harbour: Harbour) -> None:
    harbour.sail(harbour.b, 0)
    harbour.sail(harbour.b, 1)
    state, says = harbour.state(harbour.b, "load_line")
    assert state == "not_passed"
    assert "may not sail" in says


def test_an_inconclusive_load_line_is_no_evidence_either_way(harbour: Harbour) -> None:
    harbour.sail(harbour.b, 2)
    assert "could not tell" in harbour.state(harbour.b, "load_line")[1]
    harbour.sail(harbour.b, 0)
    harbour.sail(harbour.b, 2)
    assert harbour.state(harbour.b, "load_line")[0] == "passed"


def test_an_expired_load_line_does_not_count(harbour: Harbour) -> None:
    harbour.sail(harbour.b, days=13.9)
    assert harbour.state(harbour.b, "load_line")[0] == "passed"
    harbour.now_us += DAY_US
    state, says = harbour.state(harbour.b, "load_line")
    assert (state, "expired" in says, "may be 14" in says) == ("not_passed", True, True)


def test_a_load_line_measured_under_other_objectives_does_not_count(harbour: Harbour) -> None:
    harbour.sail(harbour.b, objectives=Objectives(availability=0.5))
    state, says = harbour.state(harbour.b, "load_line")
    assert (state, "other objectives" in says) == ("not_passed", True)


def test_a_load_line_is_held_to_what_its_own_document_says(harbour: Harbour) -> None:
    """The row says the objectives in force when it was recorded, the document those of the trial."""
    harbour.sail(harbour.b, document={"objectives_id": objectives_id(Objectives(availability=0.5))})
    assert "other objectives" in harbour.state(harbour.b, "load_line")[1]


def test_objectives_that_change_void_the_load_line(harbour: Harbour) -> None:
    harbour.sail(harbour.b)
    assert harbour.state(harbour.b, "load_line")[0] == "passed"
    harbour.put(msgspec.structs.replace(harbour.spec, objectives=Objectives(availability=0.999)))
    assert harbour.state(harbour.b, "load_line")[0] == "not_passed"


# --- the evaluation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["better", "non-inferior"])
def test_an_evaluation_against_what_is_live_counts(harbour: Harbour, word: str) -> None:
    harbour.compare(harbour.b, harbour.a, word)
    state, says = harbour.state(harbour.b, "evaluation")
    assert state == "passed"
    assert "+1.0 [-2.0, +4.0] points on 200 cases x 2" in says


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"word": "worse"}, "worse than"),
        ({"word": "unknown"}, "about 90 more cases"),
        ({"days": 31}, "older than 30 days"),
        ({"margin": 0.2}, "margin of 0.2, and 0.05 is allowed"),
        ({"provider": "simulated"}, "says nothing of quality"),
    ],
)
def test_an_evaluation_that_shows_nothing_does_not_count(harbour: Harbour, how: dict[str, Any], says: str) -> None:
    harbour.compare(harbour.b, harbour.a, **how)
    state, said = harbour.state(harbour.b, "evaluation")
    assert state == "not_passed"
    assert says in said


def test_a_simulated_app_is_evaluated_with_its_simulated_provider(harbour: Harbour) -> None:
    made = harbour.add("s", provider="simulated")
    harbour.compare(made, harbour.a, provider="simulated")
    assert harbour.state(made, "evaluation")[0] == "passed"


def test_an_evaluation_against_another_release_than_the_live_one_does_not_count(harbour: Harbour) -> None:
    other = harbour.add("other")
    harbour.compare(harbour.b, other)
    assert "no evaluation of it against" in harbour.state(harbour.b, "evaluation")[1]


def test_what_is_newest_decides_and_how_many_there_were_is_said(harbour: Harbour) -> None:
    """Whoever evaluates until it passes is seen to have done so."""
    for word in ("worse", "worse", "unknown", "non-inferior"):
        harbour.compare(harbour.b, harbour.a, word)
    state, says = harbour.state(harbour.b, "evaluation")
    assert state == "passed"
    assert "the newest of 4" in says
    harbour.compare(harbour.b, harbour.a, "worse")
    assert harbour.state(harbour.b, "evaluation")[0] == "not_passed"


def test_only_the_declared_cases_count(harbour: Harbour) -> None:
    harbour.put(msgspec.structs.replace(harbour.spec, gates={ENV: Gates(("evaluation",), evaluation_cases="d" * 12)}))
    harbour.compare(harbour.b, harbour.a)
    assert "asked case set cccccccccccc" in harbour.state(harbour.b, "evaluation")[1]
    harbour.compare(harbour.b, harbour.a, case_set="d" * 64)
    assert harbour.state(harbour.b, "evaluation")[0] == "passed"


def test_a_case_that_was_added_voids_evaluations_that_did_not_ask_it(harbour: Harbour) -> None:
    """What fails in production becomes a case, and blocks the next release until it was asked."""

    def grow(*ids: str) -> str:
        new = [
            Case(id=i, input=i, expect=Expect(contains=("x",)), split="held_out" if i == "c" else "tuning") for i in ids
        ]
        made = harbour.store.write_sync(lambda tx: cases.add_version(tx, "school", "front", new, (), "Ana", "", 1))
        assert made is not None
        return made.digest

    first = grow("a", "b")
    gates = Gates(("evaluation",), evaluation_cases="front")
    harbour.put(msgspec.structs.replace(harbour.spec, gates={ENV: gates}))
    harbour.compare(harbour.b, harbour.a, case_set=first)
    assert harbour.state(harbour.b, "evaluation")[0] == "passed"
    second = grow("c")
    assert 'the newest "front"' in harbour.state(harbour.b, "evaluation")[1]
    assert "--cases front --against" in harbour.report(harbour.b).gates[0].next
    harbour.compare(harbour.b, harbour.a, case_set=second)
    assert harbour.state(harbour.b, "evaluation")[0] == "passed"

    side = msgspec.structs.replace(gates, evaluation_cases="front:held_out")
    harbour.put(msgspec.structs.replace(harbour.spec, gates={ENV: side}))
    assert "--cases front --split held_out" in harbour.report(harbour.b).gates[0].next
    held_out = case_set_id([Case(id="c", input="c", expect=Expect(contains=("x",)), split="held_out")])
    harbour.compare(harbour.b, harbour.a, case_set=held_out)
    assert harbour.state(harbour.b, "evaluation")[0] == "passed"
    nowhere = msgspec.structs.replace(gates, evaluation_cases="back")
    harbour.put(msgspec.structs.replace(harbour.spec, gates={ENV: nowhere}))
    assert harbour.state(harbour.b, "evaluation") == ("not_passed", 'the app has no case set "back"')


def test_cases_that_must_pass_hold_a_release_that_is_no_worse_as_a_whole(harbour: Harbour) -> None:
    gates = Gates(("evaluation",), evaluation_must_pass=("regression",))
    harbour.put(msgspec.structs.replace(harbour.spec, gates={ENV: gates}))

    def record(passed: int, tag: str = "regression", rows: int = 200) -> str:
        made = harbour.compare(harbour.b, harbour.a)
        tags = {n: (tag,) if n < 3 else () for n in range(rows)}
        items = [experiments.ItemRow(n, f"c{n}", tags[n], "same", passed if n == 0 else 1, b"{}") for n in range(rows)]
        harbour.store.write_sync(lambda tx: experiments.add_items(tx, made, items))
        return harbour.state(harbour.b, "evaluation")[1]

    assert record(0).endswith('1 of its cases with the tag "regression" did not pass')
    assert record(1, tag="price").endswith('none of its cases has the tag "regression"')
    assert record(1, rows=9).endswith("its cases are not all on record")
    record(1)
    assert harbour.state(harbour.b, "evaluation")[0] == "passed"


def test_a_threshold_can_be_the_measure(harbour: Harbour) -> None:
    harbour.put(
        msgspec.structs.replace(harbour.spec, gates={ENV: Gates(("evaluation",), evaluation_against="score_min")})
    )
    harbour.compare(harbour.b, "", "passed", score_min=0.7)
    assert "held to score_min 0.7, and 0.8 is in force" in harbour.state(harbour.b, "evaluation")[1]
    harbour.compare(harbour.b, "", "passed", score_min=0.8)
    assert harbour.state(harbour.b, "evaluation")[0] == "passed"


def test_a_named_release_can_be_the_measure(harbour: Harbour) -> None:
    old = harbour.add("old")
    harbour.put(msgspec.structs.replace(harbour.spec, gates={ENV: Gates(("evaluation",), evaluation_against=old[:16],
                                                                        evaluation_margin=0.1)}))  # fmt: skip
    harbour.compare(harbour.b, old, margin=0.1)
    assert harbour.state(harbour.b, "evaluation")[0] == "passed"
    assert harbour.state(old, "evaluation")[0] == "does_not_apply"


def test_where_nothing_is_live_an_evaluation_does_not_apply_and_that_is_said(tmp_path: Path) -> None:
    harbour = Harbour(tmp_path / "w.db", {"staging": Gates(("evaluation",), evaluation_margin=0.05)})
    found = harbour.report(harbour.b, "staging")
    assert [(g.state, "nothing else is live" in g.says) for g in found.gates] == [("does_not_apply", True)]
    move = asyncio.run(harbour.promote(harbour.b, env="staging"))
    assert move.evidence == "evaluation does not apply"
    harbour.store.close()


# --- incidents -----------------------------------------------------------------------------------------------------


def test_an_open_blocking_incident_keeps_releases_out_but_not_a_rollback(harbour: Harbour) -> None:
    harbour.ready(harbour.b)
    harbour.approve(EVE, harbour.b)
    asyncio.run(harbour.promote(harbour.b))
    one = asyncio.run(harbour.incidents.open(EVE, IncidentBody("school", "It says nonsense", release=harbour.b)))
    c = harbour.add("c")
    harbour.ready(c, harbour.b)
    with pytest.raises(Refused, match=one.id):
        asyncio.run(harbour.promote(c))
    asyncio.run(harbour.moves.rollback(BOB, app="school", env=ENV))
    assert harbour.live_now() == {harbour.a: 10_000}


def test_an_incident_of_another_environment_or_one_that_does_not_block_keeps_nothing_out(harbour: Harbour) -> None:
    asyncio.run(harbour.incidents.open(EVE, IncidentBody("school", "Only there", env="staging")))
    asyncio.run(harbour.incidents.open(EVE, IncidentBody("school", "A typo", blocking=False)))
    assert harbour.state(harbour.b, "no_open_incident") == ("passed", "none that blocks is open (2 other are)")


def test_who_builds_may_open_an_incident_and_not_close_it(harbour: Harbour) -> None:
    one = asyncio.run(harbour.incidents.open(EVE, IncidentBody("school", "It is slow")))
    with pytest.raises(PermissionDenied):
        asyncio.run(harbour.incidents.close(EVE, one.id, "it is not"))
    with pytest.raises(PermissionDenied):
        asyncio.run(harbour.incidents.open(VIC, IncidentBody("school", "no")))
    with pytest.raises(Refused, match="how it was resolved"):
        asyncio.run(harbour.incidents.close(BOB, one.id, " "))
    done = asyncio.run(harbour.incidents.close(BOB, one.id, "rolled back"))
    assert (done.state, done.closed_by, done.resolution) == ("closed", "Bob", "rolled back")
    with pytest.raises(Refused, match="closed already"):
        asyncio.run(harbour.incidents.close(BOB, one.id, "again"))
    assert [e.action for e in harbour.entries()][-2:] == ["incident.open", "incident.close"]


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (IncidentBody("school", "  "), "needs a title"),
        (IncidentBody("school", "x", severity="awful"), "A severity is"),
        (IncidentBody("school", "x", env="moon"), "no environment"),
        (IncidentBody("nowhere", "x"), "no app"),
        (IncidentBody("school", "x", release="ffff"), "0 releases"),
        (IncidentBody("school", "x", links=[{"kind": "rumour", "id": "1"}]), "A link is"),
    ],
)
def test_an_incident_that_says_too_little_is_not_opened(harbour: Harbour, said: IncidentBody, says: str) -> None:
    said = msgspec.convert(msgspec.to_builtins(said), IncidentBody)
    with pytest.raises(Refused, match=says):
        asyncio.run(harbour.incidents.open(BOB, said))


# --- the second person ---------------------------------------------------------------------------------------------


def test_the_author_cannot_approve_with_any_key(harbour: Harbour) -> None:
    harbour.ready(harbour.b)
    again = Principal("wl-00000009", "person", "Ana", role=Role.OPERATOR)
    spelt = Principal("wl-00000010", "person", "  ANA ", role=Role.OPERATOR)
    labelled = Principal("wl-00000011", "person", "laptop", role=Role.OWNER, owned_by="ana")
    wide = Principal("wl-00000012", "person", "\uff21na", role=Role.OWNER)  # a full-width A
    for who in (ANA, again, spelt, labelled, wide):
        with pytest.raises(Refused, match="the same person") as refused:
            harbour.approve(who, harbour.b)
        assert refused.value.status == 403
    assert harbour.report(harbour.b).not_passed == ["approval"]


def test_two_keys_of_one_person_are_one_approval(harbour: Harbour) -> None:
    harbour.put(msgspec.structs.replace(harbour.spec, gates={ENV: Gates(("approval",), approvals=2)}))
    harbour.approve(EVE, harbour.b)
    with pytest.raises(Refused, match="already"):
        harbour.approve(Principal("wl-00000009", "person", "second key", role=Role.OWNER, owned_by="Eve"), harbour.b)
    assert harbour.state(harbour.b, "approval")[1].startswith("1 of 2: Eve")
    assert harbour.approve(BOB, harbour.b).passed


def test_who_may_not_approve_does_not(harbour: Harbour) -> None:
    harbour.ready(harbour.b)
    app = Principal("wl-00000009", "app", "bot", "school", ENV)
    for who in (VIC, app):
        with pytest.raises(PermissionDenied):
            harbour.approve(who, harbour.b)


def test_an_approval_of_one_release_is_none_of_another(harbour: Harbour) -> None:
    c = harbour.add("c")
    harbour.ready(harbour.b)
    harbour.ready(c)
    shown = harbour.report(harbour.b).shown
    with pytest.raises(Refused, match="changed since you looked"):
        harbour.approve(EVE, c, shown)
    harbour.approve(EVE, harbour.b)
    with pytest.raises(Refused, match="approval: NOT PASSED"):
        asyncio.run(harbour.promote(c))


def test_an_approval_for_one_environment_is_none_for_another(tmp_path: Path) -> None:
    harbour = Harbour(tmp_path / "w.db", {e: Gates(("approval",)) for e in ("staging", ENV)})
    harbour.approve(EVE, harbour.b)
    with pytest.raises(Refused, match="approval: NOT PASSED"):
        asyncio.run(harbour.promote(harbour.b, env="staging"))
    asyncio.run(harbour.promote(harbour.b))
    harbour.store.close()


def test_nothing_is_approved_unseen_nor_before_its_evidence_is_there(harbour: Harbour) -> None:
    with pytest.raises(Refused, match="before the other gates are passed"):
        harbour.approve(EVE, harbour.b)
    harbour.ready(harbour.b)
    with pytest.raises(Refused, match="Say what you approve"):
        asyncio.run(harbour.keeper.approve(EVE, "school", harbour.b, ENV, ""))


def test_an_approval_ends_when_the_evidence_changes(harbour: Harbour) -> None:
    harbour.ready(harbour.b)
    harbour.approve(EVE, harbour.b)
    assert harbour.report(harbour.b).passed
    harbour.sail(harbour.b)  # a newer load line, which nobody has approved
    state, says = harbour.state(harbour.b, "approval")
    assert state == "not_passed"
    assert "given on other evidence" in says
    assert harbour.approve(EVE, harbour.b).passed


def test_an_approval_does_not_outlive_a_rollback(harbour: Harbour) -> None:
    harbour.ready(harbour.b)
    harbour.approve(EVE, harbour.b)
    asyncio.run(harbour.promote(harbour.b))
    asyncio.run(harbour.moves.rollback(BOB, app="school", env=ENV))
    with pytest.raises(Refused, match="rolled back since"):
        asyncio.run(harbour.promote(harbour.b))


def test_an_approval_ends_with_the_release_that_it_was_to_replace(harbour: Harbour) -> None:
    harbour.put(msgspec.structs.replace(harbour.spec, gates={ENV: Gates(("approval",))}))
    harbour.approve(EVE, harbour.b)
    c = harbour.add("c")
    harbour.approve(EVE, c)
    asyncio.run(harbour.promote(c))
    with pytest.raises(Refused, match="approval: NOT PASSED"):
        asyncio.run(harbour.promote(harbour.b))


def test_an_approval_is_taken_back_by_who_gave_it_or_by_an_operator(harbour: Harbour) -> None:
    harbour.put(msgspec.structs.replace(harbour.spec, gates={ENV: Gates(("approval",))}))
    harbour.approve(EVE, harbour.b)
    dan = Principal("wl-00000009", "person", "Dan", role=Role.DEVELOPER)
    with pytest.raises(PermissionDenied):
        asyncio.run(harbour.keeper.withdraw(dan, "school", harbour.b, ENV, "eve"))
    asyncio.run(harbour.keeper.withdraw(EVE, "school", harbour.b, ENV))
    assert harbour.report(harbour.b).not_passed == ["approval"]
    with pytest.raises(Refused, match="has not approved"):
        asyncio.run(harbour.keeper.withdraw(EVE, "school", harbour.b, ENV))
    harbour.approve(EVE, harbour.b)
    asyncio.run(harbour.keeper.withdraw(BOB, "school", harbour.b, ENV, "eve"))
    assert harbour.report(harbour.b).not_passed == ["approval"]


def test_an_approval_ends_with_the_key_that_gave_it(harbour: Harbour) -> None:
    harbour.put(msgspec.structs.replace(harbour.spec, gates={ENV: Gates(("approval",))}))
    row = keys.KeyRow(EVE.key_id, "d" * 64, "person", "Eve", "", "", "developer", False, 1, "Ana")
    harbour.store.write_sync(lambda tx: keys.add(tx, row))
    assert harbour.approve(EVE, harbour.b).passed
    harbour.store.write_sync(lambda tx: keys.revoke(tx, EVE.key_id, 2))
    assert "revoked since" in harbour.state(harbour.b, "approval")[1]


def test_an_approval_with_a_key_that_the_author_made_is_said_to_be_one(harbour: Harbour) -> None:
    """It counts: in a small house the owner makes all keys. Whoever promotes looks twice."""
    harbour.put(msgspec.structs.replace(harbour.spec, gates={ENV: Gates(("approval",))}))
    row = keys.KeyRow(EVE.key_id, "d" * 64, "person", "Eve", "", "", "developer", False, 1, "Ana")
    harbour.store.write_sync(lambda tx: keys.add(tx, row))
    found = harbour.approve(EVE, harbour.b)
    assert found.passed
    assert found.approvals[0].key_by_author
    assert "with a key that the author made" in found.gates[0].says


# --- at the same moment ---------------------------------------------------------------------------------------------


def test_what_happens_before_the_promotion_is_written_decides(harbour: Harbour) -> None:
    """An approval taken back, an incident opened: the check and the move are one transaction, so none slips between."""
    harbour.ready(harbour.b)
    harbour.approve(EVE, harbour.b)

    async def at_once() -> list[Any]:
        takes = harbour.keeper.withdraw(EVE, "school", harbour.b, ENV)
        return await asyncio.gather(takes, harbour.promote(harbour.b), return_exceptions=True)

    taken, moved = asyncio.run(at_once())
    assert isinstance(taken, GateReport)
    assert isinstance(moved, Refused)
    assert harbour.live_now() == {harbour.a: 10_000}

    harbour.approve(EVE, harbour.b)

    async def meanwhile() -> list[Any]:
        opens = harbour.incidents.open(EVE, IncidentBody("school", "It burns"))
        return await asyncio.gather(opens, harbour.promote(harbour.b), return_exceptions=True)

    one, moved = asyncio.run(meanwhile())
    assert isinstance(moved, Refused)
    assert one.id in str(moved)


def test_of_two_promotions_at_once_the_second_is_asked_against_the_first(harbour: Harbour) -> None:
    c = harbour.add("c")
    for release in (harbour.b, c):
        harbour.ready(release)
        harbour.approve(EVE, release)

    async def both() -> list[Any]:
        return await asyncio.gather(harbour.promote(harbour.b), harbour.promote(c), return_exceptions=True)

    first, second = asyncio.run(both())
    assert isinstance(first, Move)
    assert isinstance(second, Refused), "it was compared with what is live no more"
    assert harbour.live_now() == {harbour.b: 10_000}


def test_a_refused_promotion_leaves_nothing_behind(harbour: Harbour) -> None:
    before = len(harbour.entries())
    with pytest.raises(Refused):
        asyncio.run(harbour.promote(harbour.b))
    assert len(harbour.entries()) == before
    assert harbour.store.read_sync(lambda tx: approvals.reports(tx, harbour.b)) == []
    assert len(harbour.store.read_sync(lambda tx: rollouts.history(tx, "school", ENV))) == 1


# --- ways around ----------------------------------------------------------------------------------------------------


def test_a_share_of_the_traffic_is_asked_for_like_all_of_it(harbour: Harbour) -> None:
    with pytest.raises(Refused, match="NOT PASSED"):
        asyncio.run(harbour.promote(harbour.b, "0.01%"))


def test_every_raise_is_asked_again_and_a_lowering_is_not(harbour: Harbour) -> None:
    harbour.ready(harbour.b)
    harbour.approve(EVE, harbour.b)
    asyncio.run(harbour.promote(harbour.b, "10%"))
    asyncio.run(harbour.promote(harbour.b, "20%"))
    asyncio.run(harbour.incidents.open(EVE, IncidentBody("school", "It is odd")))
    with pytest.raises(Refused, match="It is odd"):
        asyncio.run(harbour.promote(harbour.b, "50%"))
    asyncio.run(harbour.promote(harbour.b, "5%"))
    assert harbour.live_now() == {harbour.b: 500, harbour.a: 9500}
    asyncio.run(harbour.promote(harbour.a))  # back to what had all of it
    assert harbour.live_now() == {harbour.a: 10_000}


def test_lowering_the_old_release_does_not_raise_the_new_one_unasked(harbour: Harbour) -> None:
    harbour.ready(harbour.b)
    harbour.approve(EVE, harbour.b)
    asyncio.run(harbour.promote(harbour.b, "1%"))
    asyncio.run(harbour.incidents.open(EVE, IncidentBody("school", "It is odd")))
    with pytest.raises(Refused, match="It is odd"):
        asyncio.run(harbour.promote(harbour.a, "1%"))


def test_a_rollback_goes_back_and_never_forth(harbour: Harbour) -> None:
    """`rollback --to` a release that never had the traffic would be a promotion that no gate sees."""
    with pytest.raises(Refused, match="never had all the traffic"):
        asyncio.run(harbour.moves.rollback(BOB, app="school", env=ENV, to=harbour.b))


def test_a_session_is_not_pinned_to_what_did_not_pass(harbour: Harbour) -> None:
    with pytest.raises(Refused, match="was never live"):
        asyncio.run(harbour.moves.pin(BOB, app="school", env=ENV, session="s", release=harbour.b))
    asyncio.run(harbour.moves.pin(BOB, app="school", env=ENV, session="s", release=harbour.a))


def test_the_gates_in_force_are_asked_not_those_that_the_release_brings(harbour: Harbour) -> None:
    none = msgspec.structs.replace(harbour.spec, gates={})
    made = harbour.add("sly", spec=none)
    assert harbour.report(made).not_passed == ["load_line", "evaluation", "approval"]
    assert "asks less" in record_stays(harbour.spec, none)
    admit = harbour.keeper.admit(BOB, "school", "staging", none, "", "")
    with pytest.raises(Refused, match="changed at this moment"):  # the plane would have kept the record in force
        harbour.store.write_sync(lambda tx: admit(tx, (made,)))
    assert harbour.store.read_sync(lambda tx: in_force(tx, "school")).gates == {ENV: ALL}


# --- overrides ------------------------------------------------------------------------------------------------------


def test_an_override_is_on_record_with_what_was_not_passed(harbour: Harbour) -> None:
    move = asyncio.run(harbour.promote(harbour.b, override="the old one leaks", who=ANA))
    assert move.evidence == "OVERRIDE (the old one leaks); not passed: approval, evaluation, load_line"
    kept = asyncio.run(harbour.keeper.past(BOB, harbour.b))[0]
    assert (kept.override, kept.report.passed) == ("the old one leaks", False)
    promote, override = harbour.entries()[-2:]
    assert promote.detail["override"] == "the old one leaks"
    assert (override.action, override.detail["release"]) == ("gate.override", harbour.b)


def test_an_override_that_was_not_needed_is_none(harbour: Harbour) -> None:
    harbour.ready(harbour.b)
    harbour.approve(EVE, harbour.b)
    move = asyncio.run(harbour.promote(harbour.b, override="just in case", who=ANA))
    assert "OVERRIDE" not in move.evidence
    assert harbour.entries()[-1].action == "rollout.promote"


def test_the_machinery_can_open_an_incident_together_with_its_move(harbour: Harbour) -> None:
    said = IncidentBody("school", "Canary rolled back", release=harbour.b, env=ENV)

    def fails(tx: Tx) -> None:
        opened(tx, BOB, said, harbour.clock())
        raise ValueError("the rest did not work")

    with pytest.raises(ValueError, match="did not work"):
        harbour.store.write_sync(fails)
    assert asyncio.run(harbour.incidents.page(BOB, None, "", None, 10)).rows == []
    harbour.store.write_sync(lambda tx: opened(tx, BOB, said, harbour.clock()))
    assert len(asyncio.run(harbour.incidents.page(BOB, "school", "open", None, 10)).rows) == 1
