"""What users did with answers, sent by the app or by a page: stored once, joined to its trace, counted by release."""

import json
import time
from typing import Any

import pytest
from whole_app import App, Server, eventually, send

from waterline.core.app_spec import Funnel
from waterline.core.ids import trace_id
from waterline.core.release import Route
from waterline.providers.simulated_script import Answer, Target

ANSWER = "The school opens at nine on Monday."


@pytest.fixture(scope="module")
def app(sim: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    sim.play(main=Target(answer=Answer(text=ANSWER)))
    server = Server(tmp_path_factory.mktemp("feedback") / "d", f"{sim.address}/{{route}}")
    routes = {"main": Route(provider="simulated", model="small")}
    yield App(server, "school", routes, funnel=Funnel(("asked", "offered", "booked")))
    assert server.stop() == 0


def give(app: App, status: int = 201, **said: Any) -> Any:
    reply = app.post(said, "/v1/feedback")
    assert reply.status == status, reply.body
    return reply.json


def verdicts(app: App, trace: str) -> list[tuple[str, Any]]:
    found = app.server.trace(trace)["verdicts"]
    return [(v["name"], v["value"] and round(v["value"]["value"], 3)) for v in found]


@pytest.mark.parametrize("kind", ["accepted", "copied", "rejected", "retried", "abandoned"])
def test_every_kind_is_a_verdict_of_the_trace(app: App, kind: str) -> None:
    trace = app.chat().trace
    made = give(app, trace=trace, kind=kind, comment="call me at 912 345 678", time_ms=5300)
    assert made["state"] == "stored"
    assert verdicts(app, trace) == [(f"feedback.{kind}", 1.0 if kind in ("accepted", "copied") else 0.0)]
    assert app.server.trace(trace)["verdicts"][0]["reason"] == "call me at [number]"


def test_an_edit_says_how_much_of_the_answer_was_changed(app: App) -> None:
    whole, streamed, part = app.chat().trace, app.chat(stream=True).trace, app.chat().trace
    give(app, trace=whole, kind="edited", edit=ANSWER.replace("nine", "ten"))
    give(app, trace=streamed, edit=ANSWER)
    give(app, trace=part, kind="edited", suggested="one two three four", edit="one two three")
    assert verdicts(app, whole) == [("feedback.edited", round(1 - 1 / 7, 3))]
    assert verdicts(app, streamed) == [("feedback.edited", 1.0)]
    assert app.server.trace(streamed)["verdicts"][0]["outcome"] == "pass"
    assert verdicts(app, part) == [("feedback.edited", 0.75)]


def test_thumbs_and_scores_are_understood_as_well(app: App) -> None:
    up, scored = app.chat().trace, app.chat().trace
    give(app, trace=up, thumbs="up")
    give(app, trace=scored, score=0.4, comment="so so")
    assert verdicts(app, up) == [("feedback.accepted", 1.0)]
    assert verdicts(app, scored) == [("feedback.rating", 0.4)]
    for wrong in ({"score": 1.5}, {}, {"kind": "loved"}, {"kind": "accepted", "time_ms": -1}, {"step": "nowhere"}):
        give(app, 400, trace=up, **wrong)
    give(app, 400, step="asked")
    give(app, 400, trace="zz", kind="accepted")


def test_the_same_event_sent_again_is_the_same_feedback(app: App) -> None:
    trace = app.chat().trace
    first = give(app, trace=trace, kind="copied", event="e1")
    again = give(app, trace=trace, kind="copied", event="e1")
    assert (again["id"], again["state"]) == (first["id"], "known")
    give(app, trace=trace, kind="copied", event="e2")
    assert len(verdicts(app, trace)) == 2


def test_in_a_batch_one_that_does_not_fit_keeps_no_other_back(app: App) -> None:
    one, two = app.chat().trace, app.chat().trace
    said = ((one, "accepted"), (one, "loved"), ("f" * 24, "copied"), (two, "rejected"))
    events = [{"trace": trace, "kind": kind} for trace, kind in said]
    reply = app.post({"events": events}, "/v1/feedback")
    assert reply.status == 200
    results = reply.json["results"]
    assert [r.get("state") or r["error"]["status"] for r in results] == ["stored", 400, 404, "stored"]
    assert verdicts(app, one) == [("feedback.accepted", 1.0)]
    assert verdicts(app, two) == [("feedback.rejected", 0.0)]


def test_feedback_on_a_trace_that_is_not_here_waits_for_it(app: App) -> None:
    unknown = trace_id(time.time_ns() // 1_000_000, 1, 2)
    assert give(app, 202, trace=unknown, kind="accepted", event="early")["state"] == "waiting"
    assert give(app, 201, trace=unknown, kind="accepted", event="early")["state"] == "known"


def token(app: App, trace: str, **more: Any) -> str:
    reply = app.post({"traces": [trace], **more}, "/v1/feedback/tokens")
    assert reply.status == 201, reply.body
    return str(reply.json["tokens"][trace])


def page(app: App, body: Any, origin: str = "https://shop.example") -> Any:
    return send(app.server.url, "POST", "/feedback/events", json.dumps(body).encode(),
                {"content-type": "text/plain", "origin": origin})  # fmt: skip


def test_a_page_may_speak_of_one_trace_with_its_token_and_of_nothing_else(app: App) -> None:
    mine, other = app.chat().trace, app.chat().trace
    held = token(app, mine)
    reply = page(app, {"token": held, "events": [{"kind": "accepted", "trace": other}]})
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, "*")
    assert verdicts(app, mine) == [("feedback.accepted", 1.0)]
    assert verdicts(app, other) == []
    assert page(app, {"token": held[:-1] + ("A" if held[-1] != "A" else "B"), "events": []}).status == 401
    assert page(app, {"token": "", "events": []}).status == 401
    assert page(app, {"events": []}).status == 400
    assert send(app.server.url, "GET", "/v1/models", headers={"authorization": f"Bearer {held}"}).status == 401


def test_a_token_holds_for_its_page_its_time_and_as_long_as_its_key(app: App) -> None:
    trace = app.chat().trace
    bound = token(app, trace, origin="https://shop.example")
    assert page(app, {"token": bound, "events": []}, origin="https://evil.example").status == 401
    assert page(app, {"token": bound, "events": []}).status == 200
    short = token(app, trace, hours=0.0001)
    assert eventually(lambda: page(app, {"token": short, "events": []}).status == 401)
    extra, kept = app.make_key(), app.key
    app.key = extra["key"]
    held = token(app, trace)
    app.key = kept
    app.server.ask("POST", f"/api/keys/{extra['id']}/revocation")
    assert page(app, {"token": held, "events": []}).status == 401


def test_the_script_is_small_and_any_page_may_load_it(app: App) -> None:
    reply = send(app.server.url, "GET", "/v1/feedback.js")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/javascript")
    assert len(reply.body) < 4096
