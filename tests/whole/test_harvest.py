"""From production to cases: what went wrong is found, redacted, told apart, reviewed by a person, and then a case."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from typer.testing import CliRunner
from whole_app import App, Reply, Route, Server, Sim, send

from waterline.cli import commands
from waterline.providers.simulated_script import Answer, Target

SET = "grown"


@pytest.fixture(scope="module")
def shop(server: Server, sim: Sim) -> App:
    sim.play(main=Target(answer=Answer(echo=True)))
    return App(server, "harvest-shop", {"main": Route(provider="simulated", model="small")})


def harvest(app: App, *by: str, **more: Any) -> dict[str, Any]:
    body = {"by": list(by), "basis": "legitimate_interest", "set": SET, **more}
    made: dict[str, Any] = app.server.ask("POST", f"/api/apps/{app.name}/harvest", body)
    return made


def waiting(app: App, name: str = SET) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = app.server.ask("GET", "/api/candidates", app=app.name, set=name)["rows"]
    return rows


def of_trace(app: App, trace: str, name: str = SET) -> dict[str, Any]:
    return next(row for row in waiting(app, name) if row["trace"] == trace)


def decide(app: App, n: int, key: str = "", **said: Any) -> Reply:
    headers = {"authorization": f"Bearer {key or app.server.key}"}
    return send(app.server.url, "POST", f"/api/candidates/{n}/decision", json.dumps(said).encode(), headers)


def reviewer(app: App, name: str) -> str:
    return str(app.server.ask("POST", "/api/keys", {"kind": "person", "role": "developer", "name": name})["key"])


def feedback(app: App, trace: str, **said: str) -> None:
    assert app.post({"trace": trace, **said}, "/v1/feedback").status < 300


def test_an_edited_answer_becomes_a_candidate_with_what_was_asked_and_the_edit_as_its_expectation(shop: App) -> None:
    asked = "How much is the ferry for my bike? Write to ana@example.org or 912 345 678"
    edited = shop.chat(asked, headers={"x-waterline-tags": "ferry,en"}).trace
    shop.chat("Which harbour has a crane?")
    feedback(shop, edited, kind="edited", edit="The ferry takes bikes for 4 EUR.")
    done = harvest(shop, "feedback")
    assert (done["found"], done["made"], done["redacted"]) == ({"feedback": 1}, 1, 1)
    one = of_trace(shop, edited)
    case = one["case"]
    assert case["input"] == "How much is the ferry for my bike? Write to [email] or [number]"
    assert case["expect"] == {"contains": ["The ferry takes bikes for 4 EUR."]}
    assert (case["tags"], case["basis"]) == (["ferry", "en"], "legitimate_interest")
    assert case["origin"]["trace"] == edited
    assert case["origin"]["release"] == shop.id
    assert one["redacted"] == "1 e-mail address, 1 number"
    assert harvest(shop, "feedback")["known"] >= 1  # the same again makes nothing
    assert len([row for row in waiting(shop) if row["trace"] == edited]) == 1


def test_the_messages_and_variables_that_the_model_was_sent_are_kept(shop: App) -> None:
    said = [{"role": "user", "content": "I want to sail"}, {"role": "assistant", "content": "Where to?"},
            {"role": "user", "content": "Madeira, with eight people"}]  # fmt: skip
    trace = shop.post({"model": "main", "messages": said, "waterline": {"variables": {"tone": "kind"}}}).trace
    harvest(shop, "filter", text="Madeira eight")
    case = of_trace(shop, trace)["case"]
    assert [m["content"] for m in case["messages"]] == ["I want to sail", "Where to?", "Madeira, with eight people"]
    assert case["variables"] == {"tone": "kind"}
    assert case["expect"] == {}  # for the person to fill


def test_cut_answers_and_errors_are_found_as_failures_and_every_trace_is_accounted_for(sim: Sim, shop: App) -> None:
    cut = shop.chat("Tell me all about lighthouses and their keepers", max_tokens=2).trace
    done = harvest(shop, "failure", set="failures")
    found = of_trace(shop, cut, "failures")
    assert (found["found"], found["why"]) == ("failure", "the answer was cut: length")
    counted = sum(done[name] for name in ("made", "not_wanted", "known", "like_a_case", "like_another", "too_many",
                                          "no_text"))  # fmt: skip
    assert counted + sum(done["no_case"].values()) == done["looked_at"]


def test_near_duplicates_become_one_candidate_that_says_how_many_asked_the_same(shop: App) -> None:
    for text in ("When does the museum of boats open", "when does the Museum of Boats open?",
                 "When does the museum of boats open??"):  # fmt: skip
        shop.chat(text)
    done = harvest(shop, "filter", set="same", text="museum boats")
    assert (done["made"], done["like_another"]) == (1, 2)
    assert waiting(shop, "same")[0]["alike"] == 2


def test_what_no_case_speaks_of_is_found_by_its_distance(shop: App) -> None:
    case = {"id": "tides", "input": "What is the tide at noon tomorrow", "expect": {"contains": ["m"]}}
    shop.server.ask("POST", f"/api/apps/{shop.name}/case-sets/far/versions", {"cases": [case]})
    near = shop.chat("What is the tide tomorrow at noon please").trace
    far = shop.chat("Do you rent diving suits for children").trace
    harvest(shop, "far", set="far")
    found = {row["trace"]: row for row in waiting(shop, "far")}
    assert near not in found
    assert found[far]["found"] == "far"


def test_without_a_lawful_basis_nothing_is_harvested(shop: App) -> None:
    headers = {"authorization": f"Bearer {shop.server.key}"}
    body = json.dumps({"by": ["filter"]}).encode()
    reply = send(shop.server.url, "POST", f"/api/apps/{shop.name}/harvest", body, headers)
    assert reply.status == 400
    assert "--basis consent" in reply.json["error"]["message"]


# ------------------------------------------------------------------------------------------------------- the queue


def test_an_accepted_candidate_makes_a_new_version_of_its_set_and_its_words_leave_the_queue(shop: App) -> None:
    trace = shop.chat("Is there a slipway for a catamaran").trace
    harvest(shop, "filter", set="accepted", text="slipway catamaran")
    one = of_trace(shop, trace, "accepted")
    case = {**one["case"], "expect": {"contains": ["yes"]}, "split": "tuning", "tags": ["slipway"]}
    empty = decide(shop, one["n"], decision="accept", revision=1)
    assert empty.status == 400
    assert "expects nothing" in empty.json["error"]["message"]
    done = decide(shop, one["n"], decision="accept", revision=1, case=case).json
    assert (done["version"]["version"], done["version"]["cases"]) == (1, 1)
    assert done["candidate"]["state"] == "accepted"
    assert done["candidate"]["case"] is None
    page = shop.server.ask("GET", f"/api/apps/{shop.name}/case-sets/accepted/cases")
    assert page["rows"][0]["case"]["origin"]["trace"] == trace
    newest = shop.server.ask("GET", "/api/audit")
    assert {"action": "cases.review", "target": f"candidate {one['n']}"}.items() <= newest[0].items()
    assert newest[1]["target"] == "accepted@1"
    assert harvest(shop, "filter", set="accepted", text="slipway catamaran")["made"] == 0


def test_two_people_at_once_do_not_overwrite_each_other(shop: App) -> None:
    shop.chat("Can I leave a dinghy on the quay")
    harvest(shop, "filter", set="two", text="dinghy quay")
    one = waiting(shop, "two")[0]
    ana, bob = reviewer(shop, "Ana"), reviewer(shop, "Bob")
    shop.server.ask("POST", f"/api/candidates/{one['n']}/claim", key=ana)
    late = decide(shop, one["n"], bob, decision="reject", revision=1, reason="no")
    assert late.status == 409
    assert "Ana" in late.json["error"]["message"]
    saved = decide(shop, one["n"], ana, decision="save", revision=1, case={**one["case"], "tags": ["quay"]})
    assert saved.json["candidate"]["revision"] == 2
    stale = decide(shop, one["n"], ana, decision="reject", revision=1, reason="no")
    assert stale.status == 409
    assert "changed it since" in stale.json["error"]["message"]
    assert decide(shop, one["n"], ana, decision="skip", revision=2).status == 200
    done = decide(shop, one["n"], bob, decision="reject", revision=3, reason="a test")
    assert done.json["candidate"]["case"] is None  # a rejected one keeps no words
    assert "Bob" in decide(shop, one["n"], ana, decision="skip", revision=4).json["error"]["message"]
    assert harvest(shop, "filter", set="two", text="dinghy quay")["made"] == 0  # and does not come back


def test_an_accepted_candidate_never_replaces_a_case_of_the_same_id(shop: App) -> None:
    place = f"/api/apps/{shop.name}/case-sets/ids"
    old = {"id": "paint", "input": "Which paint lasts", "expect": {"contains": ["oil"]}}
    shop.server.ask("POST", f"{place}/versions", {"cases": [old]})
    shop.chat("How long does varnish need to dry")
    harvest(shop, "filter", set="ids", text="varnish dry")
    one = waiting(shop, "ids")[0]
    case = {**one["case"], "id": "paint", "expect": {"contains": ["day"]}}
    refused = decide(shop, one["n"], decision="accept", revision=1, case=case)
    assert refused.status == 409
    assert "id of its own" in refused.json["error"]["message"]
    assert shop.server.ask("GET", f"{place}/cases")["rows"][0]["case"]["input"] == "Which paint lasts"


def test_where_a_case_comes_from_is_not_edited(shop: App) -> None:
    shop.chat("Where is the pump for bilge water")
    harvest(shop, "filter", set="origin", text="pump bilge")
    one = waiting(shop, "origin")[0]
    case = {**one["case"], "expect": {"contains": ["x"]}}
    del case["origin"]
    assert decide(shop, one["n"], decision="accept", revision=1, case=case).status == 400


def test_accepted_candidates_never_put_one_question_on_both_sides(shop: App) -> None:
    place = f"/api/apps/{shop.name}/case-sets/sided"
    held = {"id": "held", "input": "When does the sauna open", "expect": {"contains": ["9"]}, "split": "held_out"}
    shop.server.ask("POST", f"{place}/versions", {"cases": [held]})
    for text in ("when does the sauna open, tell me", "Who cleans the old nets"):
        shop.chat(text)
    harvest(shop, "filter", set="sided", text="sauna tell")  # the same as a case: it is not even a candidate
    assert waiting(shop, "sided") == []
    harvest(shop, "filter", set="sided", text="cleans nets")
    one = waiting(shop, "sided")[0]
    case = {**one["case"], "input": "WHEN does the sauna open!", "expect": {"contains": ["9"]}, "split": "tuning"}
    refused = decide(shop, one["n"], decision="accept", revision=1, case=case)
    assert refused.status == 409
    assert "which is on the side held_out" in refused.json["error"]["message"]
    assert decide(shop, one["n"], decision="accept", revision=1, case=case, auto_side=True).status == 200
    rows = shop.server.ask("GET", f"{place}/cases")["rows"]
    assert [row["split"] for row in rows] == ["held_out", "held_out"]


def test_the_form_of_the_queue_accepts_edits_and_shows_what_was_taken_out(shop: App) -> None:
    trace = shop.chat("My name is Ana Costa, is there a berth for 12 m? Write to ana@example.org").trace
    harvest(shop, "filter", set="forms", text="berth")
    n = of_trace(shop, trace, "forms")["n"]
    headers = {"authorization": f"Bearer {shop.server.key}", "accept": "text/html"}
    page = send(shop.server.url, "GET", f"/review/{n}", headers=headers).body.decode()
    assert "Taken out: 1 e-mail address" in page
    assert "<strong>Ana Costa</strong>" in page
    assert "ana@example.org" not in page.partition("<h2>Answered</h2>")[0]
    form = {
        "revision": "1", "decision": "accept", "turn0": "Is there a berth\r\nfor 12 m?", "id": "berth", "set": "forms",
        "contains": "yes\r\n 12 m ", "similar": "Yes, we have one.", "least": "0.7", "not_contains": "", "equals": "",
        "tags": "berth, en", "split": "auto", "rest": '{"max_words": 50}',
    }  # fmt: skip
    done = send(shop.server.url, "POST", f"/review/{n}/decision", urlencode(form).encode(), headers)
    assert done.status == 303, done.body
    (row,) = shop.server.ask("GET", f"/api/apps/{shop.name}/case-sets/forms/cases")["rows"]
    case = row["case"]
    assert (case["id"], case["input"], case["tags"]) == ("berth", "Is there a berth\nfor 12 m?", ["berth", "en"])
    assert case["expect"] == {"contains": ["yes", "12 m"], "max_words": 50,
                              "similar": {"to": ["Yes, we have one."], "least": 0.7}}  # fmt: skip
    assert case["split"] in ("tuning", "held_out")
    assert case["origin"]["trace"] == trace


def test_coverage_looks_at_one_request_a_session_says_its_share_and_shows_a_picture(server: Server, sim: Sim) -> None:
    app = App(server, "covered-shop", {"main": Route(provider="simulated", model="small")})
    case = {"id": "hours", "input": "When do you open on weekdays", "expect": {"contains": ["8"]}}
    place = f"/api/apps/{app.name}/case-sets/main"
    server.ask("POST", f"{place}/versions", {"cases": [case]})
    headers = {"authorization": f"Bearer {server.key}", "accept": "text/html"}
    page = send(server.url, "GET", f"/coverage?app={app.name}", headers=headers).body.decode()
    assert "Not measured yet" in page
    for n in range(6):
        app.chat(f"Can I rent a sailing boat for {n} people", headers={"x-waterline-session": f"s{n % 3}"})
    app.chat("When do you open on weekdays?", headers={"x-waterline-session": "s4"})
    made = server.ask("POST", f"{place}/coverage", {})
    found = made["coverage"]
    assert (made["looked_at"], made["traces"], made["sessions"], found["requests"]) == (7, 7, 4, 4)
    assert (found["without_case"], found["uncovered"]["n"], found["uncovered"]["method"]) == (3, 4, "wilson")
    assert found["groups"][0]["requests"] == 3
    page = send(server.url, "GET", f"/coverage?app={app.name}", headers=headers).body.decode()
    assert "75.0 %" in page
    assert 'aria-label="3 of 4 requests' in page
    server.ask("POST", "/api/subjects/erasure", {"subject": "somebody"})
    assert server.ask("GET", f"{place}/coverage") is None  # an example may have been theirs


def test_the_queue_is_worked_through_on_the_command_line(shop: App) -> None:
    def run(*words: str, status: int = 0) -> str:
        environ = {"WATERLINE_URL": shop.server.url, "WATERLINE_KEY": shop.server.key}
        done = CliRunner().invoke(commands(), list(words), env=environ)
        assert done.exit_code == status, done.output
        return done.stdout

    shop.chat("Who paints the hull of a trawler")
    shop.chat("Where can I buy fresh squid")
    told = run(
        "harvest", shop.name, "--by", "filter", "--basis", "consent", "--set", "typed", "--search", "hull trawler"
    )
    assert "1 candidates: filter 1" in told
    run("harvest", shop.name, "--by", "filter", "--basis", "consent", "--set", "typed", "--search", "squid")
    first, second = (row["n"] for row in waiting(shop, "typed"))
    assert "hull of a trawler" in run("review", "list", shop.name, "--set", "typed")
    assert '"consent"' in run("review", "show", str(first))
    run("review", "skip", str(second))
    assert "typed@1" in run("review", "accept", str(first), "--contains", "the yard", "--tag", "yard")
    run("review", "reject", str(second), "--reason", "no question of ours")
    assert run("review", "show", str(second)).count("no question of ours") == 1
    (row,) = shop.server.ask("GET", f"/api/apps/{shop.name}/case-sets/typed/cases")["rows"]
    assert (row["case"]["expect"], row["case"]["tags"]) == ({"contains": ["the yard"]}, ["yard"])
    assert "have no case of likeness" in run("cases", "coverage", shop.name, "--set", "typed")
    assert "Nothing of this person is here" in run("subject", "erase", "nobody", "--yes")
