"""Routing and escalation through the whole app; learning on cases with simulated models."""

import json
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from whole_app import App, Release, Server, Sim, eventually

from waterline.core.app_spec import PriceOverride
from waterline.core.difficulty import NAMES, VERSION, Difficulty
from waterline.core.release import Route
from waterline.core.savings import Cache, Routing, Rule
from waterline.providers.simulated_script import Answer, Fault, Target, Tool

PRICES = tuple(
    PriceOverride(model=model, provider="simulated", input=price, output=price)
    for model, price in (("large", 3_000_000_000), ("little", 150_000_000))
)
NUMBERS = count()  # each test has an app of its own: providers are known by app
LEARNED = Difficulty(VERSION, tuple(1.0 if n == "words" else 0.0 for n in NAMES), -2.0, 0.5)  # seven words are hard


@pytest.fixture
def routed(server: Server, sim: Sim) -> Any:
    sim.play(
        main=Target(answer=Answer(text="Said by the large one.")),
        small=Target(answer=Answer(text="Said by the small.")),
    )

    def make(routing: Routing, cache: Cache | None = None, **small: Any) -> App:
        routes = {
            "main": Route(provider="simulated", model="large", retries=0, total_s=8.0),
            "small": Route(provider="simulated", model="little", retries=0, total_s=8.0, **small),
        }
        app = App(server, f"routed{next(NUMBERS)}", routes, prices=PRICES)
        app.install(Release(app=app.name, routes=routes, routing=routing, cache=cache or Cache()))
        return app

    return make


def events(app: App, reply: Any, kind: str) -> list[dict[str, Any]]:
    app.server.traces(app=app.name)
    return [e for e in app.trace_of(reply)["events"] if e["type"] == kind]


@pytest.mark.parametrize("stream", [False, True])
def test_a_rule_sends_a_request_to_another_route_and_the_trace_says_which(routed: Any, stream: bool) -> None:
    app = routed(Routing(rules=(Rule("small", max_chars=20),)))
    short, long = app.chat("hello", stream=stream), app.chat("hello " * 10, stream=stream)
    assert short.text == "Said by the small."
    assert long.text == "Said by the large one."
    (event,) = events(app, short, "routed")
    assert (event["source"], event["to"], event["rule"]) == ("main", "small", 1)
    (event,) = events(app, long, "routed")
    assert (event["to"], event.get("rule")) == ("main", None)


def test_the_learned_score_sends_easy_questions_to_the_small_model(routed: Any) -> None:
    app = routed(Routing(small="small", learned=LEARNED))
    easy, hard = app.chat("opening hours?"), app.chat("one two three four five six seven eight nine")
    assert (easy.text, hard.text) == ("Said by the small.", "Said by the large one.")
    (event,) = events(app, hard, "routed")
    assert event["score"] > event["threshold"] == 0.5
    assert float(easy.headers["x-waterline-cost-usd"]) < float(hard.headers["x-waterline-cost-usd"]) / 10


def test_only_requests_for_the_routed_route_are_routed(routed: Any) -> None:
    app = routed(Routing(rules=(Rule("main", max_chars=1000),), route="small"))
    assert app.chat("hello").text == "Said by the large one."
    assert not events(app, app.chat("hello"), "routed")
    assert app.chat("hello", model="small").text == "Said by the large one."


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (Target(answer=Answer(text=" ")), "empty"),
        (Target(answer=Answer(text="I am sorry, I do not know.")), "refusal"),
        (Target(answer=Answer(text="one two three four five six"), tokens=100), "length"),
    ],
)
def test_a_doubtful_plain_answer_is_asked_again_of_the_large_model_and_both_are_paid(
    routed: Any, sim: Sim, target: Target, why: str
) -> None:
    app = routed(Routing(rules=(Rule("small", max_chars=99),), refusals=("i do not know",)))
    sim.play(main=Target(answer=Answer(text="Said.")), small=target)
    reply = app.chat("hello", **({"max_tokens": 2} if why == "length" else {}))
    assert reply.text == "Said."
    (event,) = events(app, reply, "escalated")
    assert (event["source"], event["to"]) == ("small", "main")
    assert event["reason"].startswith(why)
    attempts = events(app, reply, "attempted")
    assert [a["route"] for a in attempts] == ["small", "main"]
    assert app.trace_of(reply)["row"]["model"] == "large"
    alone = float(app.chat("hello", model="small").headers["x-waterline-cost-usd"])
    assert float(reply.headers["x-waterline-cost-usd"]) > alone > 0
    replayed = app.server.ask("POST", f"/api/traces/{reply.trace}/replay", {})
    assert [a["route"] for a in replayed["attempts"]] == ["small", "main"]
    assert replayed["same"] is True


def test_when_the_large_model_fails_too_the_first_answer_is_given(routed: Any, sim: Sim) -> None:
    app = routed(Routing(rules=(Rule("small", max_chars=99),), refusals=("not know",)))
    down = Target(faults=(Fault(kind="http", status=503),))
    sim.play(main=down, small=Target(answer=Answer(text="I do not know.")))
    reply = app.chat("hello")
    assert (reply.status, reply.text) == (200, "I do not know.")


def test_a_streamed_answer_that_has_left_is_never_taken_back(routed: Any, sim: Sim) -> None:
    app = routed(Routing(rules=(Rule("small", max_chars=99),), refusals=("not know",)))
    sim.play(main=Target(answer=Answer(text="Said.")), small=Target(answer=Answer(text="I do not know.")))
    assert app.chat("hello", stream=True).text == "I do not know."
    assert sim.asked("main") == 0


JUDGED = Routing(rules=(Rule("small", max_chars=99),), refusals=("not know",), escalate_streams=True)
NOT_KNOWN = Target(answer=Answer(text="I do not know."))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_where_declared_a_doubtful_stream_is_asked_again_and_nothing_of_it_has_left(
    routed: Any, sim: Sim, path: str
) -> None:
    app = routed(JUDGED)
    sim.play(main=Target(answer=Answer(text="Said.")), small=NOT_KNOWN)
    said: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 50}
    asked = {"input": "hello"} if path == "/v1/responses" else said
    reply = app.post({"model": "main", "stream": True, **asked}, path=path)
    assert reply.status == 200
    assert b'"Said.' in reply.body
    assert b"know" not in reply.body
    (event,) = events(app, reply, "escalated")
    assert (event["source"], event["to"], event["reason"][:7]) == ("small", "main", "refusal")
    row = app.trace_of(reply)["row"]
    assert (row["model"], row["attempts"]) == ("large", 2)
    assert app.server.ask("POST", f"/api/traces/{reply.trace}/replay", {})["same"] is True


@pytest.mark.parametrize("keep_alive_s", [0.0, 0.2])
def test_a_judged_stream_that_is_good_is_given_as_it_is_and_only_once_paid(
    routed: Any, sim: Sim, keep_alive_s: float
) -> None:
    app = routed(JUDGED, keep_alive_s=keep_alive_s)
    sim.play(small=Target(answer=Answer(text="Said by the small."), per_token_ms=200.0))
    reply = app.chat("hello", stream=True)
    beats = reply.body.count(b": keep-alive\n\n")
    reply.body = reply.body.replace(b": keep-alive\n\n", b"")
    assert (reply.text, reply.events[-1], beats > 0) == ("Said by the small.", "[DONE]", keep_alive_s > 0)
    assert (sim.asked("small"), sim.asked("main")) == (1, 0)
    assert app.trace_of(reply)["row"]["first_token_us"] >= 400_000


def test_a_judged_stream_that_calls_a_tool_is_no_doubt(routed: Any, sim: Sim) -> None:
    app = routed(JUDGED)
    sim.play(main=Target(answer=Answer(text="Said.")), small=Target(answer=Answer(tool=Tool("look"))))
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    reply = app.chat("hello", stream=True, tools=tools)
    assert b'"look"' in reply.body
    assert sim.asked("main") == 0


@pytest.mark.parametrize("small", ["cut", "http"])
def test_a_judged_stream_that_breaks_has_not_begun_for_the_caller(routed: Any, sim: Sim, small: str) -> None:
    app = routed(JUDGED)
    broken = Target(answer=Answer(text="one two three four five six"), faults=(Fault(kind=small, after=2, status=503),))
    sim.play(main=Target(answer=Answer(text="Said.")), small=broken)
    reply = app.chat("hello", stream=True)
    assert (reply.text, reply.events[-1], reply.error_event) == ("Said.", "[DONE]", None)


@pytest.mark.parametrize("fault", [Fault(kind="http", status=503), Fault(kind="cut", after=0)], ids=["down", "cut"])
def test_a_doubtful_stream_is_given_when_the_large_model_fails_before_it_says_anything(
    routed: Any, sim: Sim, fault: Fault
) -> None:
    app = routed(JUDGED)
    sim.play(main=Target(faults=(fault,)), small=NOT_KNOWN)
    reply = app.chat("hello", stream=True)
    assert reply.status == 200, app.trace_of(reply)["events"]
    assert (reply.text, reply.events[-1]) == ("I do not know.", "[DONE]")
    assert app.trace_of(reply)["row"]["model"] == "little"


@pytest.mark.parametrize("stream", [False, True])
def test_behind_a_small_route_that_is_down_stands_the_one_that_was_asked_for(
    routed: Any, sim: Sim, stream: bool
) -> None:
    app = routed(Routing(rules=(Rule("small", max_chars=99),)))
    down = Target(faults=(Fault(kind="http", status=503),))
    sim.play(main=Target(answer=Answer(text="Said.")), small=down)
    assert app.chat("hello", stream=stream).text == "Said."


def test_an_escalated_answer_is_cached_for_who_asked_for_the_large_model_only(routed: Any, sim: Sim) -> None:
    app = routed(Routing(rules=(Rule("small", max_chars=99),), refusals=("not know",)), Cache(exact=True))
    sim.play(main=Target(answer=Answer(text="Said.")), small=Target(answer=Answer(text="I do not know.")))
    app.chat("hello")
    assert app.chat("hello").headers["x-waterline-cache"] == "hit"
    assert "x-waterline-cache" not in app.chat("hello", model="small").headers


def test_a_doubtful_answer_given_for_want_of_a_better_one_is_not_kept(routed: Any, sim: Sim) -> None:
    app = routed(Routing(rules=(Rule("small", max_chars=99),), refusals=("not know",)), Cache(exact=True))
    down = Target(faults=(Fault(kind="http", status=503),))
    sim.play(main=down, small=Target(answer=Answer(text="I do not know.")))
    assert app.chat("hello").text == "I do not know."
    sim.play(main=Target(answer=Answer(text="Said.")), small=Target(answer=Answer(text="I do not know.")))
    assert eventually(lambda: app.chat("hello").text == "Said.", 40)  # once the large route is tried again


def test_a_stream_that_two_routes_finished_together_is_not_kept(routed: Any, sim: Sim) -> None:
    rules = Routing(rules=(Rule("small", max_chars=99),))
    app = routed(rules, Cache(exact=True), on_broken_stream="restart")
    said = Answer(text="The visit is on Tuesday at ten, in room four.")
    cut = Target(answer=said, per_token_ms=5.0, faults=(Fault(kind="cut", after=3),))
    sim.play(main=Target(answer=said), small=cut)
    headers = {"x_waterline_delivery": "restartable"}
    first = app.chat("hello", stream=True, headers=headers)
    assert first.events[-1] == "[DONE]"
    assert [e["to"] for e in events(app, first, "fell_back")] == ["main"]
    assert "x-waterline-cache" not in app.chat("hello", stream=True, headers=headers).headers


def test_a_release_whose_routing_names_no_route_is_refused(routed: Any, server: Server) -> None:
    with pytest.raises(AssertionError, match="which is no route"):
        routed(Routing(rules=(Rule("smal", max_chars=99),)))


APP = """\
name = "learner"
[models.main]
provider = "simulated"
model = "large"
base_url = "{address}/main/v1"
fallbacks = ["small"]
[models.small]
provider = "simulated"
model = "little"
base_url = "{address}/small/v1"
[routing]
small = "small"
"""
PRICE = '[[price]]\nprovider = "simulated"\nmodel = "{0}"\ninput = {1}\noutput = {1}\n'


def waterline(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "waterline", *arguments], capture_output=True, text=True, timeout=300)


def test_training_asks_both_models_and_the_next_release_routes_by_what_was_learned(tmp_path: Path, sim: Sim) -> None:
    """Long questions are too hard for the small model. Few cases claim nothing."""
    right, wrong = Answer(text="The answer is 42."), Answer(match="detail", text="Who knows.")
    sim.play(main=Target(answer=right), small=Target(answer=right, rules=(wrong,)))
    folder = tmp_path / "learner"
    (folder / "cases").mkdir(parents=True)
    (folder / "app.toml").write_text(APP.format(address=sim.address))
    (folder / "prices.toml").write_text(PRICE.format("large", 3) + PRICE.format("little", 0.15))

    def write_cases(n: int) -> None:
        easy = [f"what is number {i}" for i in range(n // 2)]
        hard = [
            f"tell me in every detail, and with reasons, what number {i} has been for all of us" for i in range(n // 2)
        ]
        lines = [json.dumps({"id": t, "input": t, "expect": {"contains": ["42"]}}) for t in easy + hard]
        (folder / "cases" / "c.jsonl").write_text("\n".join(lines))

    write_cases(20)
    few = waterline("router", "train", str(folder), "--json")
    assert few.returncode == 2, few.stderr
    assert not (folder / "router.json").exists()
    write_cases(140)
    done = waterline("router", "train", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["small_quality"], found["large_quality"]) == (
        0.5,
        1.0,
    )  # its fallback would have hidden the difference
    assert found["chosen"]["share"] == 0.5
    assert found["chosen"]["loss"]["high"] < 0.05
    assert 0.4 < found["chosen"]["cost"] < 0.7
    checked = waterline("check", str(folder))
    assert checked.returncode == 0, checked.stderr
    assert "nothing is learned yet" not in checked.stdout
