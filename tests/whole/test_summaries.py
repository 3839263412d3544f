"""Older turns told by a model: once for the same beginning, on the books, and never losing the next step."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from whole_app import App, Limits, Release, Route, Server

from waterline.core.app_spec import PriceOverride
from waterline.core.errors import Refused
from waterline.core.savings import History
from waterline.gateway.history import shorten
from waterline.providers import models
from waterline.providers.simulated_script import Answer, Fault, Target

STEP = "I will send you the price list of the summer camp tomorrow."
QUESTION = "Do you have a swimming pool?"
TURN = [
    {"role": "user", "content": "Thank you, that is very kind of you and good to know."},
    {"role": "assistant", "content": "You are welcome, any time, truly."},
]
LONG = [
    {"role": "user", "content": QUESTION},
    {"role": "assistant", "content": STEP},
    *(TURN * 20),
    {"role": "user", "content": "Good."},
]
POLICY = History(max_tokens=300, keep_last=4, summary_route="small")
USD = 1_000_000_000
PRICES = tuple(PriceOverride(model=m, provider="simulated", input=USD, output=10 * USD) for m in ("large", "tiny"))
MAIN = Target(answer=Answer(echo=True))
SMALL = Target(answer=Answer(text="A parent asked about the school and was polite."))


@pytest.fixture
def app(make_app, sim):
    made = make_app(prices=PRICES)
    routes = {"main": Route(provider="simulated", model="large", total_s=30.0),
              "small": Route(provider="simulated", model="tiny", total_s=30.0)}  # fmt: skip
    made.install(Release(app=made.name, routes=routes, history=POLICY))
    sim.play(main=MAIN, small=SMALL)
    return made


def ask(app, messages=LONG, **more):
    return app.post({"model": "main", "messages": messages, **more})


def shortened(app, reply):
    (event,) = [e for e in app.trace_of(reply)["events"] if e["type"] == "shortened"]
    return event


def sent(app, reply):
    """The upstream request, as replay renders it (the simulated provider echoes only its last message)."""
    return app.server.ask("POST", f"/api/traces/{reply.trace}/replay", {})


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_summary_is_made_by_the_named_route_and_sent_in_place_of_the_older_turns(app, sim, stream):
    reply = ask(app, stream=stream)
    assert reply.status == 200
    event = shortened(app, reply)
    assert event["bytes_after"] < event["bytes_before"] / 2
    assert (sim.asked("main"), sim.asked("small")) == (1, 1)
    made = app.server.trace(event["summary"])
    assert (made["row"]["outcome"], made["row"]["model"], made["row"]["tags"]) == (
        "answered",
        "tiny",
        "waterline-summary",
    )
    assert made["row"]["cost_nano_usd"] > 0
    assert STEP in made["request"]


def test_what_was_promised_is_sent_although_the_summary_does_not_say_it(app, sim):
    """A summary drops the next step (deepagents 346): here it cannot. What is sent is rendered again, byte for byte."""
    reply = ask(app)
    replayed = sent(app, reply)
    assert (replayed["same"], STEP in SMALL.answer.text) == (True, False)
    note = shorten(json.dumps(LONG).encode(), POLICY, SMALL.answer.text).decode()
    assert replayed["attempts"][0]["bytes"] >= len(note)
    assert note.index(SMALL.answer.text) < note.index("Promised:") < note.index(STEP)


def test_the_same_beginning_is_summarised_once_whoever_comes_meanwhile(app, sim):
    sim.play(main=MAIN, small=Target(answer=SMALL.answer, first_token_ms=1500.0))
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda n: ask(app, [*LONG[:-1], {"role": "user", "content": f"Good {n}."}]), range(4)))
    assert {r.status for r in replies} == {200}
    assert sim.asked("small") == 1
    assert ask(app).status == 200
    assert sim.asked("small") == 1
    assert len({shortened(app, r)["summary"] for r in replies}) == 1


def test_replay_reads_the_summary_where_it_was_made(app, sim):
    reply = ask(app)
    app.server.traces(app=app.name)
    replayed = sent(app, reply)
    assert replayed["same"] is True, replayed


@pytest.mark.parametrize(
    "small",
    [
        Target(faults=(Fault("http", status=400),)),
        Target(faults=(Fault("http", status=503),)),
        Target(answer=Answer(text="")),
    ],
    ids=["refused", "down", "empty"],
)
def test_without_a_summary_the_note_is_made_without_a_model(app, sim, small):
    sim.play(main=MAIN, small=small)
    reply = ask(app)
    assert reply.status == 200
    event = shortened(app, reply)
    assert "summary" not in event
    assert event["bytes_after"] < event["bytes_before"] / 2
    app.server.traces(app=app.name)
    assert sent(app, reply)["same"] is True


def test_a_hurried_caller_does_not_wait_for_a_slow_summary(app, sim):
    sim.play(main=MAIN, small=Target(faults=(Fault("silence"),)))
    reply = app.post({"model": "main", "messages": LONG}, x_waterline_deadline_ms="6000")
    assert reply.status == 200
    assert "summary" not in shortened(app, reply)


def test_a_short_conversation_asks_nobody(app, sim):
    assert app.chat("hello").status == 200
    assert sim.asked("small") == 0


def test_another_caller_s_same_words_are_summarised_apart(app, sim):
    assert ask(app).status == 200
    app.key = app.make_key()["key"]
    assert ask(app).status == 200
    assert sim.asked("small") == 2


def test_the_summary_counts_against_the_app_s_hard_budget(make_app, sim):
    made = make_app(prices=PRICES, limits=Limits(nano_usd_per_day=10 * USD))
    routes = {"main": Route(provider="simulated", model="large", max_tokens=50),
              "small": Route(provider="simulated", model="tiny")}  # fmt: skip
    made.install(Release(app=made.name, routes=routes, history=POLICY))
    sim.play(main=MAIN, small=SMALL)
    reply = ask(made)
    rows = made.server.traces(app=made.name)
    (day,) = [b for b in made.server.ask("GET", "/api/budgets", app=made.name) if b["period"] == "day"]
    assert len(rows) == 2
    assert day["spent_nano_usd"] == sum(r["cost_nano_usd"] for r in rows) > made.trace_of(reply)["row"]["cost_nano_usd"]


@pytest.mark.slow
def test_a_real_model_summarises_and_the_promise_is_still_there(tmp_path):
    pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
    try:
        models.resolve("smollm2-135m", models.models_dir(os.environ))
    except Refused as why:
        pytest.skip(str(why))
    server = Server(tmp_path / "d")
    try:
        route = Route(provider="local", model="smollm2-135m", first_token_s=90.0, total_s=180.0, max_tokens=20)
        made = App(server, "real", {"main": route, "small": route})
        made.install(Release(app="real", routes={"main": route, "small": route}, history=POLICY))
        for _ in range(6):  # a machine that is busy may need longer than a caller waits for a summary
            reply = ask(made)
            assert reply.status == 200
            event = shortened(made, reply)
            if "summary" in event:
                break
        summary = server.trace(event["summary"])
        assert summary["row"]["provider"] == "local"
        assert summary["row"]["outcome"] == "answered"
        server.traces(app="real")
        assert sent(made, reply)["attempts"][0]["same"] is True
    finally:
        server.stop()
