"""The drill `integrations` fails where a connector lies, loses or doubles; where nothing was tried it shows no pass."""

import math
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest
from made_lines import SPEC

from waterline.core.app_spec import Connection, parse_spec
from waterline.core.branch import Branch
from waterline.core.flow import Action, Flow, Lookup
from waterline.core.verdict import Outcome
from waterline.trials.asking import CouldNotRun
from waterline.trials.drills import integrations as drill
from waterline.trials.drills.integrations import not_applicable, planned
from waterline.trials.drills.integrations_found import EFFECTS, Tried, facts, judged, met_with
from waterline.trials.integration_people import Cell, names_in
from waterline.trials.load_line import Section
from waterline.trials.played import PLAYED
from waterline.trials.played.base import Record
from waterline.trials.played.server import POINTS, STATES, Armed, State
from waterline.trials.rows import nine_rows
from waterline.trials.sea import FULL, SHORT, Sea
from waterline.trials.starved import Turn

CONNECTORS = {"calendar": Connection("caldav"), "crm": Connection("tryton")}
TEXTS = {"booked": "Done! Your visit is booked for {when}.", "failed": "I could not book it.", "late": "It is slow.",
         "handover": "I am passing you on.", "confirm": "Shall I book {when}?"}  # fmt: skip
FLOW = Flow(
    "visit", ("en",), {"en": TEXTS}, lookup=Lookup("calendar", "free_slots"),
    actions=(Action("lead", "crm", "upsert_lead", "known", quiet=True), Action("book", "calendar", "book")),
)  # fmt: skip
USED = msgspec.structs.replace(SPEC, connectors=CONNECTORS, branches=(Branch("b", "B", visit_hours=(cast(Any, 0),)),))
KILL = Armed("PUT", "done, not answered")


def act(system: str, operation: str, state: str = "done", key: str = "k") -> dict[str, Any]:
    return {"system": system, "operation": operation, "state": state, "key": f"{operation}/{key}", "arguments": {}}


def cell(connector: str = "calendar", state: State = "healthy", **changes: Any) -> Cell:
    """Somebody for whom all went well."""
    acts = [act("crm", "upsert_lead"), act("calendar", "book")]
    records = {"crm": [Record("upsert_lead", "WL-1", 90.0)], "calendar": [Record("book", "mark", 95.0)]}
    made = Cell(connector, state, "1000", Branch("1000", "B"), "351", took_s=[0.5] * 7, said=7, confirmed=True,
                claims=[100.0], met=3, acts=acts, records=records)  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def tried(*cells: Cell, **changes: Any) -> Tried:
    made = Tried(USED, FLOW, ["calendar", "crm"], {"calendar": ("book",), "crm": ("upsert_lead", "note")}, list(cells))
    return msgspec.structs.replace(made, **changes)


def everybody() -> list[Cell]:
    kills = [cell(c, armed=Armed("PUT", point), kills=1) for c in CONNECTORS for point in POINTS]
    return [cell(c, state) for c in CONNECTORS for state in STATES] + kills


def outcomes(found: Tried) -> dict[str, Outcome]:
    return {v.name: v.outcome for v in judged(found)}


def test_systems_that_did_everything_once_pass_and_are_counted() -> None:
    found = tried(*everybody())
    assert set(outcomes(found).values()) == {Outcome.PASS}
    names = list(outcomes(found))
    assert names[:9] == [f"calendar: {s}" for s in STATES] + [f"calendar: kill -9 {p}" for p in POINTS]
    effects = next(v for v in judged(found) if v.name == EFFECTS)
    assert effects.value is not None
    assert effects.value.n == 36  # eighteen people, a lead and a visit each
    assert "6 while an effect was under way, 6 meant" in [f.text for f in facts(found)]
    assert {row[-1] for row in met_with(found).rows} == {"1 good"}


def doubled(c: Cell) -> None:
    c.records["calendar"].append(Record("book", "mark", 96.0))


def doubled_under_another_name(c: Cell) -> None:
    c.records["calendar"].append(Record("book", "another mark", 96.0))


def lost(c: Cell) -> None:
    c.records["crm"].clear()


def said_too_early(c: Cell) -> None:
    c.claims = [94.0]


def said_and_never_done(c: Cell) -> None:
    c.records["calendar"].clear()
    c.acts[1]["state"] = "failed"
    c.handed = True


def failed_and_nobody_knows(c: Cell) -> None:
    c.acts[0]["state"] = "failed"


def never_done(c: Cell) -> None:
    c.acts[0]["state"] = "planned"


def unanswered(c: Cell) -> None:
    c.unanswered = "hello"


def left_hanging(c: Cell) -> None:
    c.claims = []


@pytest.mark.parametrize(
    ("hurt", "why"),
    [
        (doubled, "calendar has book 2 times"),
        (doubled_under_another_name, "calendar has 2 of book, 1 asked for"),
        (lost, "crm lost upsert_lead: 0 of 1 are there"),
        (said_too_early, "it was said to be done, and calendar does not have it"),
        (said_and_never_done, "it was said to be done, and calendar does not have it"),
        (failed_and_nobody_knows, "crm.upsert_lead failed, and no person was told"),
        (never_done, "crm.upsert_lead was neither done nor given to a person"),
        (unanswered, 'nobody answered "hello"'),
        (left_hanging, "nobody said what became of it"),
    ],
)
def test_what_went_wrong_for_one_person_fails_its_verdict_and_is_named(hurt: Callable[[Cell], None], why: str) -> None:
    cells = everybody()
    hurt(cells[1])
    found = tried(*cells)
    assert outcomes(found)["calendar: slow"] is Outcome.FAIL
    assert outcomes(found)["calendar: down"] is Outcome.PASS
    assert why in next(v.reason for v in judged(found) if v.name == "calendar: slow")
    assert why in met_with(found).rows[1][-1]


def test_an_effect_that_is_there_twice_fails_the_count_of_effects() -> None:
    for hurt in (doubled, doubled_under_another_name, lost):
        cells = everybody()
        hurt(cells[1])
        assert outcomes(tried(*cells))[EFFECTS] is Outcome.FAIL


def test_work_that_a_person_was_given_is_not_lost() -> None:
    acts = [act("crm", "upsert_lead"), act("calendar", "book", "failed")]
    handed = cell(state="changed schema", acts=acts, records={"crm": [Record("upsert_lead", "WL-1", 90.0)]}, claims=[],
                  told=["failed"], handed=True)  # fmt: skip
    assert tried(handed).wrong(handed) == ""


def test_a_healthy_system_that_books_nothing_fails_though_a_person_was_told_nothing_untrue() -> None:
    nothing = cell(acts=[], records={}, claims=[], told=["handover"])
    assert "nothing was in its way" in tried(nothing).wrong(nothing)


def test_a_lead_that_was_written_twice_under_its_one_name_is_one() -> None:
    twice = [{**act("crm", "upsert_lead", key=str(n)), "arguments": {"lead": "lead/7"}} for n in range(2)]
    one = cell(acts=[*twice, act("calendar", "book")])
    assert tried(one).wrong(one) == ""


def test_a_state_that_nothing_met_proves_nothing() -> None:
    found = tried(cell(state="down", met=0), cell(armed=KILL, kills=0))
    assert outcomes(found)["calendar: down"] is Outcome.INCONCLUSIVE
    assert outcomes(found)["calendar: kill -9 done, not answered"] is Outcome.INCONCLUSIVE


def test_a_connector_that_cannot_be_played_or_that_no_flow_asks_is_inconclusive_never_passed() -> None:
    spec = msgspec.structs.replace(USED, connectors={**CONNECTORS, "erp": Connection("soap")})
    found = tried(*[c for c in everybody() if c.connector == "calendar"], spec=spec)
    said = outcomes(found)
    assert said["erp: not played"] is Outcome.INCONCLUSIVE
    assert said["crm"] is Outcome.INCONCLUSIVE
    assert Section("integrations", verdicts=judged(found)).outcome is Outcome.INCONCLUSIVE


def test_late_replies_fail_unless_the_drill_itself_was_starved() -> None:
    slow = [cell(state=s, took_s=[0.5] * 6 + [30.0]) for s in STATES]
    name = next(n for n in outcomes(tried(*slow)) if n.startswith("replies within 8 s"))
    assert outcomes(tried(*slow))[name] is Outcome.FAIL
    assert outcomes(tried(*slow, turn=Turn([0.01] * 200, 0.9)))[name] is Outcome.FAIL
    assert outcomes(tried(*slow, turn=Turn([0.01] * 190 + [0.8] * 10, 0.9)))[name] is Outcome.INCONCLUSIVE


def test_a_message_that_nobody_answered_is_no_quick_one() -> None:
    cells = [cell(took_s=[], unanswered="hello") for _ in range(20)]
    last = judged(tried(*cells))[-1]
    assert last.outcome is Outcome.FAIL
    assert last.value is not None
    assert math.isclose(last.value.value, 0.0)


def test_what_was_said_is_known_by_the_flows_own_texts() -> None:
    assert names_in(FLOW, "Well. Done! Your visit is booked for Tuesday.", ("booked", "failed")) == ["booked"]


# --------------------------------------------------------------------------------------------------- what is planned


def plan(short: bool = True, **changes: Any) -> list[list[Cell]]:
    spec = msgspec.structs.replace(USED, **changes)
    sea = msgspec.structs.replace(cast(Sea, SEA), spec=spec, short=short, pace=SHORT if short else FULL)
    return planned(sea, FLOW, {n: PLAYED[c.kind](c) for n, c in spec.connectors.items()})


SEA = Sea("", cast(Any, None), b"", USED, (), False, 1, True, SHORT, cast(Any, None), cast(Any, None), cast(Any, None))


def test_each_connector_meets_each_state_and_wrong_credentials_meet_nobody_else() -> None:
    together, kills, *alone = plan()
    met = {(c.connector, c.state, c.acting) for wave in (together, *alone) for c in wave}
    assert met == {("crm", s, False) for s in STATES} | {("calendar", s, False) for s in STATES} | {
        ("calendar", s, True) for s in STATES if s != "healthy"
    }
    assert all(len(wave) == 1 and wave[0].state == "wrong credentials" for wave in alone)
    assert not any(c.state == "wrong credentials" for c in together)
    assert {(c.connector, c.armed.wire, c.armed.point) for c in kills if c.armed} == {
        (n, w, p) for n, w in (("calendar", "PUT"), ("crm", "model.sale.opportunity.create")) for p in POINTS
    }
    cells = [c for wave in (together, kills, *alone) for c in wave]
    for unique in ({c.place for c in cells}, {c.who for c in cells}, {c.branch.addresses["whatsapp"] for c in cells}):
        assert len(unique) == len(cells)


def test_a_system_that_says_not_whose_part_a_request_is_about_is_tried_by_one_person_at_a_time() -> None:
    class Nobodys(PLAYED["caldav"]):  # type: ignore[misc, name-defined]
        scoped = False

    sea = msgspec.structs.replace(SEA, spec=USED)
    waves = planned(
        sea, FLOW, {"calendar": Nobodys(CONNECTORS["calendar"]), "crm": PLAYED["tryton"](CONNECTORS["crm"])}
    )
    assert {len(w) for w in waves if any(c.connector == "calendar" for c in w)} == {1}
    assert sum(c.connector == "crm" for c in waves[0]) == len(STATES) - 1


def test_books_that_do_not_say_whose_they_are_accuse_nobody() -> None:
    one = cell("crm")
    del one.records["calendar"]
    assert tried(one).wrong(one) == ""


def test_a_full_trial_kills_at_every_write_and_more_often() -> None:
    kills = plan(short=False)[1]
    wires = {c.armed.wire for c in kills if c.armed}
    assert wires == {"PUT", "model.party.party.create", "model.sale.opportunity.create"}
    assert len(kills) == len(wires) * len(POINTS) * FULL.people


def test_the_drills_copy_of_the_app_has_no_system_that_is_not_played() -> None:
    """What an instance declares and is given settings for is all that it can reach."""
    spec = msgspec.structs.replace(USED, connectors={**CONNECTORS, "erp": Connection("soap")}, offered=("erp.find",))
    sea = msgspec.structs.replace(SEA, spec=spec)
    made = parse_spec(drill._spec(sea, [cell()], {"calendar": PLAYED["caldav"](CONNECTORS["calendar"])}))
    assert list(made.connectors) == ["calendar"]
    assert not made.offered
    assert [b.id for b in made.branches] == ["1000"]
    assert made.limits.nano_usd_per_month is None


def test_an_app_without_connectors_or_branches_is_not_asked_to() -> None:
    assert "no connector" in not_applicable(msgspec.structs.replace(USED, connectors={}))
    assert "no branch" in not_applicable(msgspec.structs.replace(USED, branches=()))
    assert not not_applicable(USED)


def test_a_branch_without_visit_hours_cannot_be_tried() -> None:
    with pytest.raises(CouldNotRun, match="visit hours"):
        plan(branches=(Branch("b", "B"),))


def test_page_one_shows_connected_systems() -> None:
    found = tried(*everybody())
    section = Section("integrations", verdicts=judged(found), facts=facts(found))
    row = next(r for r in nine_rows([section], USED) if r.name == "connected systems")
    assert row.figure.startswith("18 of 18 states and kills of calendar (caldav), crm (tryton) passed; 0 of 36 effects")
    assert (row.evidence, row.outcome, row.provider) == ("drill integrations", Outcome.PASS, "simulated")
    empty = next(r for r in nine_rows([], USED) if r.name == "connected systems")
    assert (empty.figure, empty.excludes) == ("not shown", "the drill integrations did not run")
