"""The drill `branches` fails where a branch is hurt, and shows no pass where nothing was proved."""

import asyncio
import http.client
import json
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from made_lines import SPEC

from waterline.connectors.base import ConnectorFault, Scope
from waterline.connectors.systems import Systems as ConnectedSystems
from waterline.core.app_spec import Connection
from waterline.core.branch import Branch
from waterline.core.flow import Flow, Slot
from waterline.core.verdict import Outcome
from waterline.trials import branch_systems
from waterline.trials.branch_systems import Systems
from waterline.trials.drills.branches import not_applicable
from waterline.trials.drills.branches_found import Tried, classes, facts, judged, worst_branches
from waterline.trials.runner import plan
from waterline.trials.starved import Turn
from waterline.trials.telephones import Person, answer

HOSTILE = Branch("bad", "Bad")


def tried(**changes: Any) -> Tried:
    """Thirty branches, two people each, who were answered within two seconds and had done what they asked for."""
    branches = [Branch(f"b{n}", f"B {n}") for n in range(30)]
    people = [Person(b, f"{b.id}-{m}", [1.5, 2.0], 2, "", True) for b in branches for m in range(2)]
    made = Tried(10_000.0, HOSTILE, people, flood=500, hung=3, acts={b.id: 2 for b in branches}, each=1, budget=1000,
                 spent={"bad": 900}, ran_out={"bad"}, seconds=20.0)  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def outcomes(found: Tried) -> dict[str, Outcome]:
    return {v.name: v.outcome for v in judged(found, declared=True)}


def test_a_drill_in_which_nobody_was_hurt_passes() -> None:
    found = tried()
    assert set(outcomes(found).values()) == {Outcome.PASS}
    first = judged(found, declared=True)[0].value
    assert first is not None
    assert (first.n, first.low) == (30, 0.0)
    assert first.high == pytest.approx(1 - 0.05 ** (1 / 30))  # the exact one-sided bound for none of thirty
    assert facts(found)[0].text == "30 of 30 (100.0 %, at least 91.7 % with 95 % confidence)"


def slow(found: Tried) -> Tried:
    found.people[4].took_s = [1.0, 30.0]
    return found


def unanswered(found: Tried) -> Tried:
    found.people[4].unanswered = "hello"
    return found


def doubled(found: Tried) -> Tried:
    found.acts["b2"] = 3
    return found


def lost(found: Tried) -> Tried:
    found.acts["b2"] = 1
    return found


def starved(found: Tried) -> Tried:
    found.ran_out.add("b2")
    return found


@pytest.mark.parametrize("hurt", [slow, unanswered, doubled, lost, starved])
def test_one_branch_that_is_hurt_fails_the_drill_and_is_named(hurt: Callable[[Tried], Tried]) -> None:
    found = hurt(tried())
    assert outcomes(found)["other branches that missed their objective"] is Outcome.FAIL
    assert list(found.missed()) == ["b2"]
    assert worst_branches(found).rows[0][0] == "b2"
    assert "b2" in judged(found, declared=True)[0].reason


@pytest.mark.parametrize(("hurt", "outcome"), [(slow, Outcome.INCONCLUSIVE), (doubled, Outcome.FAIL),
                                               (unanswered, Outcome.FAIL)])  # fmt: skip
def test_on_a_starved_machine_a_late_branch_fails_nothing_and_a_hurt_one_still_does(
    hurt: Callable[[Tried], Tried], outcome: Outcome
) -> None:
    found = msgspec.structs.replace(hurt(tried()), turn=Turn([2.0] * 50, 0.5))
    first = judged(found, declared=True)[0]
    assert first.outcome is outcome
    assert ("starved" in first.reason) == (outcome is Outcome.INCONCLUSIVE)


def test_acts_lost_and_doubled_have_a_verdict_of_their_own() -> None:
    for hurt in (doubled, lost):
        assert outcomes(hurt(tried()))["acts of the other branches lost or doubled"] is Outcome.FAIL


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"flood": 10}, "that is no flood"),
        ({"ran_out": set()}, "did not use up its budget"),
        ({"hung": 0}, "never met its broken systems"),
    ],
)
def test_a_hostile_branch_that_was_not_hostile_proves_nothing(changes: dict[str, Any], why: str) -> None:
    found = tried(**changes)
    last = judged(found, declared=True)[-1]
    assert last.outcome is Outcome.INCONCLUSIVE
    assert why in last.reason


def test_a_hostile_branch_that_spent_more_than_its_budget_fails() -> None:
    assert outcomes(tried(spent={"bad": 1001}))["the hostile branch's budget held"] is Outcome.FAIL


def test_nobody_who_said_yes_proves_nothing_of_acts() -> None:
    found = tried(acts={})
    for person in found.people:
        person.confirmed = False
    assert outcomes(found)["acts of the other branches lost or doubled"] is Outcome.INCONCLUSIVE


def test_a_lost_message_is_no_quick_one() -> None:
    found = unanswered(tried())
    assert found.p95_ms("b2") == math.inf
    assert classes(found).rows[1][7] == "no answer"


def test_the_default_objective_says_that_it_is_one() -> None:
    assert "a default: app.toml declares no answer_ms_p95" in judged(tried(), declared=False)[0].reason


# ------------------------------------------------------------------------------------------------------- where it runs


def with_branches(count: int) -> Any:
    branches = tuple(Branch(f"b{n}", f"B {n}", addresses={"webchat": (f"b{n}",)}) for n in range(count))
    trial = msgspec.structs.replace(SPEC.trial, drills=())
    return msgspec.structs.replace(SPEC, branches=branches, trial=trial)


def test_an_app_that_requires_no_drill_gets_this_one_only_where_it_says_something() -> None:
    assert ("branches", True, True) in plan(with_branches(2), ())
    assert ("branches", False, False) in plan(with_branches(1), ())
    assert not not_applicable(with_branches(2))
    assert "1 branch" in not_applicable(with_branches(1))
    assert "no branch" in not_applicable(with_branches(0))


# ---------------------------------------------------------------------------------------------------- people, systems

TEXTS = {
    "confirm": "I will book {when} for {name}. Is that right?", "offer": "These times are free. Which one?",
    "offer_near": "That is taken. The nearest:", "yes": "Yes", "ask_age": "How old is the child?",
    "ask_name": "What is your name, please?", "ask_who": "Which school is it about?", "who_north": "The north",
}  # fmt: skip
SLOTS = (Slot("age", "age", low=2, high=4), Slot("who", "choice", options=("north",)), Slot("name", "name"))
FLOW = Flow("visit", ("en",), {"en": TEXTS}, slots=SLOTS)


def test_a_person_answers_what_the_flow_asks() -> None:
    def said(heard: str) -> tuple[str, bool] | None:
        found = answer(FLOW, heard)
        return (found.text, found.confirms) if found is not None else None

    assert said("Hello! How old is the child?") == ("4", False)  # within what the flow takes
    assert said("Which school is it about?") == ("The north", False)
    assert said("I will book Monday for Ana. Is that right?") == ("Yes", True)
    assert said("These times are free. Which one? 1) Monday") == ("1", False)
    assert said("Welcome to the school.") is None


def post(url: str, **told: Any) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("POST", "/", json.dumps(told))
    response = connection.getresponse()
    return response.status, json.loads(response.read())


async def test_played_systems_do_a_write_once_for_its_key_and_count_by_branch() -> None:
    asked = {"connector": "calendar", "operation": "book", "arguments": {"start": "x"}, "branch": "b1", "place": ""}
    async with Systems("bad") as systems:
        for key in ("k1", "k1", "k2"):
            status, result = await asyncio.to_thread(post, systems.url, **asked, key=key)
            assert (status, result["uid"], result["start"]) == (200, key, "x")
    assert systems.done("b1", "calendar.book") == 2
    assert systems.repeated == 1


async def test_every_system_of_an_app_is_played_where_the_server_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own operations, checks and breaker, and without its settings; the hostile branch's part hangs."""
    monkeypatch.setattr(branch_systems, "HANGS_S", 0.0)
    booking = {
        "visits": {"hours": [[0, 540, 720]], "minutes": 45}, "start": "2027-01-04T09:00:00+00:00", "title": "Visit",
        "name": "Ana", "phone": "+351912345678",
    }  # fmt: skip
    async with Systems("bad") as systems:
        connected = ConnectedSystems(
            {"calendar": Connection("caldav")}, lambda name, wanted: {}, redirect=systems.url
        )  # fmt: skip
        done = await connected.call("calendar", "book", booking, "visit/1", Scope("b1", "visits/b1"))
        assert done["uid"] == "visit/1"
        with pytest.raises(ConnectorFault, match="visits is missing"):
            await connected.call("calendar", "book", {"nothing": 1}, "visit/2", Scope("b1"))
        with pytest.raises(ConnectorFault) as caught:
            await connected.call("calendar", "book", booking, "visit/3", Scope("bad"))
        assert caught.value.kind == "down"
        assert systems.hung >= 1
        await connected.close()
    assert systems.done("b1", "calendar.book") == 1
