"""What is known about a provider is known to everybody who asks it; a gateway time-out is a silence."""

import pytest
from whole_app import App, Route, Server

from waterline.providers.simulated_script import Answer, Fault, Target

DOWN = Target(faults=(Fault("http", status=503),))
LATE = Target(faults=(Fault("http", status=504),))
GOOD = Target(answer=Answer(text="Well again."))
STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@pytest.fixture(scope="module")
def unredirected(sim, tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("shared") / "d", OPENAI_API_KEY="sk-1", OTHER_API_KEY="sk-2")
    yield made
    assert made.stop() == 0


def route(sim, target: str, **more) -> Route:
    given = {"provider": "openai", "model": "m", "base_url": f"{sim.address}/{target}/v1", "retries": 1, **more}
    return Route(**given, first_token_s=10.0, total_s=20.0)


def test_two_apps_at_one_dead_provider_ask_it_no_more_often_than_one(unredirected, sim):
    routes = {"main": route(sim, "dead", fallbacks=("b",)), "b": route(sim, "live", model="b")}
    apps = [App(unredirected, name, routes) for name in ("one", "two", "three", "four")]
    sim.play(dead=DOWN, live=GOOD)
    for _ in range(20):
        assert {app.chat().text for app in apps} == {"Well again."}
    assert sim.asked("dead") <= 5
    for app in apps:
        seen = {t["model"]: t for t in app.server.ask("GET", "/api/providers", app=app.name)[0]["targets"]}
        assert seen["m"]["health"]["state"] == "open"
        assert seen["m"]["also"] == sorted(other.name for other in apps if other is not app)


def test_another_secret_or_another_model_there_is_another_matter(unredirected, sim):
    sim.play(part=DOWN)
    App(unredirected, "first", {"main": route(sim, "part")}).chat()
    sim.play(part=GOOD)
    assert App(unredirected, "second", {"main": route(sim, "part", api_key_env="OTHER_API_KEY")}).chat().status == 200
    assert App(unredirected, "third", {"main": route(sim, "part", model="n")}).chat().status == 200


@STREAMED
def test_a_504_is_not_retried_on_the_same_route(make_app, sim, stream):
    app = make_app(main={"retries": 3})
    sim.play(main=LATE)
    reply = app.chat(stream=stream)
    assert (reply.status, reply.code) == (504, "provider_timeout")
    assert sim.asked("main") == 1


@STREAMED
def test_a_504_falls_over_to_the_next_route(make_app, sim, stream):
    app = make_app(fallback=True, main={"retries": 3})
    sim.play(main=LATE, backup=GOOD)
    assert app.chat(stream=stream).text == "Well again."
    assert (sim.asked("main"), sim.asked("backup")) == (1, 1)


@STREAMED
def test_a_route_that_loses_every_hedge_in_silence_is_left_alone(make_app, sim, stream):
    app = make_app(fallback=True, main={"hedge_ms": 200, "first_token_s": 20.0})
    sim.play(main=Target(faults=(Fault("silence"),)), backup=GOOD)
    for _ in range(8):
        assert app.chat(stream=stream).text == "Well again."
    assert sim.asked("main") <= 5
    found = {t["model"]: t["health"] for t in app.server.ask("GET", "/api/providers", app=app.name)[0]["targets"]}
    assert found["small"]["state"] == "open"
    assert "silent: no byte in" in found["small"]["last_error"]


def test_one_that_answers_between_lost_hedges_keeps_its_good_name(make_app, sim):
    app = make_app(fallback=True, main={"hedge_ms": 500, "first_token_s": 20.0})
    slow, quick = Target(answer=Answer(text="m"), first_token_ms=9000.0), Target(answer=Answer(text="m"))
    for _ in range(3):
        sim.play(main=slow, backup=GOOD)
        assert [app.chat().text for _ in range(2)] == ["Well again."] * 2
        sim.play(main=quick, backup=GOOD)
        assert any(app.chat().text == "m" for _ in range(20))
    found = {t["model"]: t["health"] for t in app.server.ask("GET", "/api/providers", app=app.name)[0]["targets"]}
    assert (found["small"]["state"], found["small"]["failed"]) == ("well", 0)
