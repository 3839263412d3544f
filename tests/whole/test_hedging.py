"""Hedging: when the first route is silent for a while a second one is asked; one answer, both on the books."""

import pytest
from whole_app import App, Server, eventually

from waterline.core.app_spec import Limits, PriceOverride
from waterline.core.release import Release, Route
from waterline.providers.simulated_script import Answer, Fault, Target

MAIN, BACKUP = "Said by the route itself.", "Said by the other one."
SLOW = Target(answer=Answer(text=MAIN), first_token_ms=4000.0)
QUICK = Target(answer=Answer(text=BACKUP))
USD = 1_000_000_000
PRICES = tuple(PriceOverride(model=m, provider="simulated", input=USD, output=10 * USD) for m in ("small", "other"))
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@pytest.fixture
def app(make_app):
    made = make_app(prices=PRICES)
    main = Route(provider="simulated", model="small", fallbacks=("backup",), hedge_ms=300, first_token_s=8.0,
                 total_s=20.0, max_tokens=40)  # fmt: skip
    backup = Route(provider="simulated", model="other", total_s=20.0, max_tokens=40)
    made.install(Release(app=made.name, routes={"main": main, "backup": backup}))
    return made


def attempts(app, reply):
    return [e for e in app.trace_of(reply)["events"] if e["type"] == "attempted"]


@STREAMED
def test_a_silent_route_is_hedged_and_the_losers_cost_is_on_the_books(app, sim, stream):
    sim.play(main=SLOW, backup=QUICK)
    reply = app.chat(stream=stream)
    assert reply.text == BACKUP
    row = app.trace_of(reply)["row"]
    assert (row["outcome"], row["model"], row["attempts"]) == ("answered", "other", 2)
    lost = next(a for a in attempts(app, reply) if a.get("error"))
    assert lost["route"] == "main"
    assert "another route was quicker" in lost["error"]
    books = sim.counted("backup")
    assert row["usage"]["input"] > books["input_tokens"]  # the loser's prompt too
    assert row["usage"]["estimated"]
    assert row["cost_nano_usd"] > books["input_tokens"] * 1000 + books["output_tokens"] * 10_000
    assert row["reserved_nano_usd"] >= row["cost_nano_usd"]


@STREAMED
def test_a_route_that_answers_in_time_is_not_hedged(app, sim, stream):
    sim.play(main=Target(answer=Answer(text=MAIN)), backup=QUICK)
    reply = app.chat(stream=stream)
    assert reply.text == MAIN
    assert sim.asked("backup") == 0


@STREAMED
def test_the_first_route_may_still_win(app, sim, stream):
    sim.play(main=Target(answer=Answer(text=MAIN), first_token_ms=1200.0), backup=Target(first_token_ms=9000.0))
    reply = app.chat(stream=stream)
    assert reply.text == MAIN
    assert app.trace_of(reply)["row"]["model"] == "small"
    assert eventually(lambda: sim.stats("backup")["in_flight"] == 0), "the loser was not cancelled upstream"


@STREAMED
def test_a_hedge_that_fails_leaves_the_first_route_its_time(app, sim, stream):
    sim.play(
        main=Target(answer=Answer(text=MAIN), first_token_ms=1200.0), backup=Target(faults=(Fault("http", status=400),))
    )
    assert app.chat(stream=stream).text == MAIN


def test_a_400_of_the_first_route_is_not_hedged_around(app, sim):
    sim.play(main=Target(faults=(Fault("http", status=400),)), backup=QUICK)
    assert app.chat().status == 400
    assert sim.asked("backup") == 0


@STREAMED
def test_when_both_fail_the_first_failure_is_told(app, sim, stream):
    sim.play(main=Target(faults=(Fault("http", status=503),)), backup=Target(faults=(Fault("http", status=400),)))
    reply = app.chat(stream=stream)
    assert (reply.status, reply.code) == (502, "provider_unavailable")


def test_a_stream_that_breaks_after_it_has_won_is_an_error_not_a_second_answer(app, sim):
    broken = Target(answer=Answer(text=BACKUP), faults=(Fault("cut", after=2),), per_token_ms=5.0)
    sim.play(main=SLOW, backup=broken)
    reply = app.chat(stream=True)
    assert "[DONE]" not in reply.events
    assert reply.error_event is not None
    assert sim.asked("main") == 1


def test_both_attempts_are_reserved_in_a_hard_budget(app, sim):
    """With room for one alone the second is refused, and the first goes on."""
    app.spec = type(app.spec)(name=app.name, prices=PRICES, limits=Limits(nano_usd_per_day=600_000))
    app.install(Release(app=app.name, routes=app.release.routes, purpose="budget"))
    routes = {
        "main": Route(provider="simulated", model="small", fallbacks=("backup",), hedge_ms=300, total_s=20.0,
                      first_token_s=8.0, max_tokens=40),
        "backup": Route(provider="simulated", model="other", total_s=20.0, max_tokens=40),
    }  # fmt: skip
    app.install(Release(app=app.name, routes=routes, purpose="budget"))
    sim.play(main=Target(answer=Answer(text=MAIN), first_token_ms=1200.0), backup=QUICK)
    reply = app.chat()
    assert reply.text == MAIN
    assert sim.asked("backup") == 0
    assert app.trace_of(reply)["row"]["cost_nano_usd"] <= 600_000


def test_the_time_that_is_left_is_passed_on_to_another_waterline(sim, tmp_path):
    """The inner one gives up by itself, before the outer one has to."""
    sim.play(default=Target(first_token_ms=9000.0))
    inner = Server(tmp_path / "inner", f"{sim.address}/{{route}}")
    slow = Route(provider="simulated", model="small", first_token_s=30.0, total_s=60.0)
    there = App(inner, "there", {"main": slow})
    outer = Server(tmp_path / "outer", HERE_API_KEY=there.key)
    try:
        route = Route(provider="openai", model="main", base_url=f"{inner.url}/v1", api_key_env="HERE_API_KEY",
                      forward_deadline=True, total_s=30.0)  # fmt: skip
        here = App(outer, "here", {"main": route})
        reply = here.chat(headers={"x_waterline_deadline_ms": "1500"})
        assert reply.status in (502, 504)  # whose clock is first
        rows = eventually(lambda: inner.traces(app="there"))
        for row in rows:
            received = next(e for e in inner.trace(row["id"])["events"] if e["type"] == "received")
            assert 0 < received["deadline_ms"] <= 1500
    finally:
        outer.stop()
        inner.stop()
