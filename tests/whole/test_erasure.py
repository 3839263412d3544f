"""Erasing a person: no byte of their words is left in the database or the spool; what must be explained still is."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from whole_app import App, Route, Server, Sim, eventually, send

from waterline.core.case import Case, Expect
from waterline.evals.experiment import Answer as Asked
from waterline.evals.experiment import Item
from waterline.providers.simulated_script import Answer, Target

WORDS = ("zanzibarquilt", "Quetzalcoatlina", "marmaladefjord", "xylophonegrave")  # asked, a name, edited, expected
SET = "grown"


@pytest.fixture(scope="module")
def place(sim: Sim, tmp_path_factory: pytest.TempPathFactory) -> Any:
    sim.play(main=Target(answer=Answer(echo=True)))
    server = Server(tmp_path_factory.mktemp("erasure") / "d", f"{sim.address}/{{route}}")
    app = App(server, "forgetful", {"main": Route(provider="simulated", model="small")})
    key = app.make_key(assert_identity=True)["key"]
    yield server, app, key
    assert server.stop() == 0, server.log()[-2000:]


def everywhere(data: Path) -> dict[str, list[str]]:
    """The files of the data folder that have each of the words, in plain."""
    files = [file for file in data.rglob("*") if file.is_file() and file.name != "server.log"]
    return {word: [file.name for file in files if word.lower().encode() in file.read_bytes().lower()] for word in WORDS}


def ask(app: App, key: str, text: str, subject: str, **more: Any) -> str:
    body = {"model": "main", "messages": [{"role": "user", "content": text}], **more}
    headers = {"authorization": f"Bearer {key}", "x-waterline-subject": subject, "x-waterline-session": f"s-{subject}"}
    reply = send(app.server.url, "POST", "/v1/chat/completions", json.dumps(body).encode(), headers)
    assert reply.status == 200
    return reply.trace


def accepted(server: Server, app: App, trace: str, expect: str) -> dict[str, Any]:
    one = next(row for row in server.ask("GET", "/api/candidates", app=app.name)["rows"] if row["trace"] == trace)
    case = {**one["case"], "expect": {"contains": [expect]}}
    body = {"decision": "accept", "revision": one["revision"], "case": case}
    made: dict[str, Any] = server.ask("POST", f"/api/candidates/{one['n']}/decision", body)
    return made["version"]


def evaluated(server: Server, app: App, case: str) -> str:
    """An evaluation that has asked the case, as `waterline eval` records one."""
    from made_experiments import record

    run = record(server, app.name, app.id, cases=2, send_items=False)
    told = Asked(case=case, arm="second", repeat=0, passed=True, text=f"of the {WORDS[0]}", reason=WORDS[3])
    item = Item(
        1, case, ("en",), f"Where is my {WORDS[0]}", f'{{"contains":["{WORDS[3]}"]}}', None, 1.0, "same", (told,)
    )
    server.ask("POST", f"/api/experiments/{run}/items", {"items": [json.loads(msgspec.json.encode(item))]})
    return run


def test_no_byte_of_an_erased_person_is_left_and_the_versions_that_had_them_can_still_be_explained(place: Any) -> None:
    server, app, key = place
    other = Case(id="other", input="When do you open?", expect=Expect(contains=("8",)))
    sets = f"/api/apps/{app.name}/case-sets/{SET}"
    server.ask("POST", f"{sets}/versions", {"cases": [json.loads(msgspec.json.encode(other))]})
    hers = ask(app, key, f"Where is my {WORDS[0]}? I am {WORDS[1]}", "ana")
    ask(app, key, f"Do you sell tickets for the opera in the park? It is for {WORDS[1]}", "ana")
    his = ask(app, key, "Where is my umbrella", "bob")
    send(server.url, "POST", "/v1/feedback", json.dumps({"trace": hers, "kind": "edited", "edit": WORDS[2]}).encode(),
         {"authorization": f"Bearer {key}"})  # fmt: skip
    server.ask("POST", f"/api/apps/{app.name}/harvest", {"by": ["filter"], "basis": "consent", "set": SET})
    with_her = accepted(server, app, hers, WORDS[3])
    run = evaluated(server, app, f"live-{hers}")
    before = everywhere(server.data)
    assert all("waterline.db" in "".join(files) for files in before.values()), before

    done = server.ask("POST", "/api/subjects/erasure", {"subject": "ana", "why": "she asked"})
    assert done["rewritten"]
    count = done["count"]
    assert (count["traces"], count["cases"], count["case_sets"], count["experiment_items"]) == (2, 1, 1, 1)
    assert count["candidates"] == 2
    assert everywhere(server.data) == {word: [] for word in WORDS}

    old = server.ask("GET", sets, version=with_her["version"])
    assert (old["version"]["digest"], old["erased"]) == (with_her["digest"], 1)
    rows = server.ask("GET", f"{sets}/cases", version=with_her["version"])["rows"]
    assert [row["case"] is None for row in rows] == [True, False]
    newest = server.ask("GET", sets)
    assert (newest["version"]["cases"], newest["erased"]) == (1, 0)
    assert server.ask("GET", f"/api/experiments/{run}/items")["items"][0]["asked"] == "(erased)"
    trace = server.ask("GET", f"/api/traces/{hers}")
    assert (trace["request"], trace["events"], trace["row"]["subject"], trace["row"]["session"]) == (None, [], "", "")
    assert trace["row"]["usage"]["output"] > 0  # what it cost is not theirs
    assert server.ask("GET", f"/api/traces/{his}")["request"]
    entry = server.ask("GET", "/api/audit")[0]
    assert (entry["action"], entry["target"]) == ("subject.erase", done["reference"])


def test_the_words_of_a_person_are_found_again_neither_by_search_nor_by_harvest(place: Any) -> None:
    server, app, key = place
    ask(app, key, "Is the gazebo heated in winter", "cleo")
    assert eventually(lambda: server.ask("GET", "/api/traces", q="gazebo")["rows"])
    server.ask("POST", "/api/subjects/erasure", {"subject": "cleo"})
    assert server.ask("GET", "/api/traces", q="gazebo")["rows"] == []
    made = server.ask("POST", f"/api/apps/{app.name}/harvest", {"by": ["filter"], "basis": "consent", "text": "gazebo"})
    assert made["looked_at"] == 0


def test_the_very_same_case_does_not_come_back_by_an_import(place: Any) -> None:
    server, app, key = place
    sets = f"/api/apps/{app.name}/case-sets/back"
    trace = ask(app, key, "Does the funicular take prams", "dora")
    server.ask("POST", f"/api/apps/{app.name}/harvest", {"by": ["filter"], "basis": "consent", "set": "back",
                                                         "text": "funicular"})  # fmt: skip
    accepted(server, app, trace, "yes")
    kept = server.ask("GET", f"{sets}/cases")["rows"][0]["case"]
    server.ask("POST", "/api/subjects/erasure", {"subject": "dora"})
    server.ask("POST", f"{sets}/versions", {"cases": [kept]})
    assert server.ask("GET", sets)["version"]["cases"] == 0


def test_what_is_kept_of_a_person_is_handed_over_whole_and_of_nobody_else(place: Any) -> None:
    server, app, key = place
    for n in range(103):  # more than a page
        ask(app, key, f"question {n} of mine", "exported@example.org")
    theirs = ask(app, key, "somebody else's question", "other@example.org")
    liked = ask(app, key, "the last of mine", "exported@example.org")
    app.post({"trace": liked, "kind": "accepted", "comment": "thank you"}, "/v1/feedback")
    found = server.ask("POST", "/api/subjects/export", {"subject": "exported@example.org"})
    assert len(found["requests"]) == 100
    rest = server.ask("POST", "/api/subjects/export", {"subject": "exported@example.org", "after": found["next"]})
    assert rest["next"] == 0
    told = [*found["requests"], *rest["requests"]]
    assert [json.loads(one["request"])["messages"][0]["content"] for one in told] == [
        *(f"question {n} of mine" for n in range(103)), "the last of mine",
    ]  # fmt: skip
    assert "the last of mine" in told[-1]["answer"]
    assert told[-1]["feedback"] == [{"kind": "accepted", "comment": "thank you", "edit": ""}]
    assert theirs not in [one["summary"]["id"] for one in told]


def test_nobody_by_that_name_is_an_answer_and_who_may_not_is_told(place: Any) -> None:
    server, _, _ = place
    done = server.ask("POST", "/api/subjects/erasure", {"subject": "nobody at all"})
    assert not any(done["count"].values())
    key = server.ask("POST", "/api/keys", {"kind": "person", "role": "developer", "name": "Dev"})["key"]
    body = json.dumps({"subject": "ana"}).encode()
    reply = send(server.url, "POST", "/api/subjects/erasure", body, {"authorization": f"Bearer {key}"})
    assert reply.status == 403
