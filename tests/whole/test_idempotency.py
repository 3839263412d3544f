"""`Idempotency-Key`: the same request again gets the first answer, byte for byte, and costs nothing."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from whole_app import App, Server

from waterline.core.release import Route
from waterline.providers.simulated_script import Answer, Fault, Target, When

SLOW = Target(answer=Answer(text="An answer that takes a while."), first_token_ms=1500.0)
KEY = {"Idempotency_Key": "order-17"}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_same_request_gets_the_first_answer_byte_for_byte(make_app, sim, stream):
    app = make_app()
    sim.play()
    first = app.chat("hello", stream=stream, headers=KEY)
    again = app.chat("hello", stream=stream, headers=KEY)
    assert sim.asked("main") == 1
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.trace == first.trace
    assert again.headers["x-waterline-replayed"] == "true"
    assert float(again.headers["x-waterline-cost-usd"]) == 0
    assert "x-waterline-replayed" not in first.headers
    assert len(app.server.traces(app=app.name)) == 1


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses", "/v1/embeddings"])
def test_every_api_replays_in_its_own_words(make_app, sim, path):
    app = make_app()
    sim.play()
    body = {
        "/v1/messages": {"model": "main", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]},
        "/v1/responses": {"model": "main", "input": "hi"},
        "/v1/embeddings": {"model": "main", "input": "hi"},
    }[path]
    first, again = (app.post(body, path, **KEY) for _ in range(2))
    assert first.status == 200, first.body
    assert (again.status, again.body) == (200, first.body)
    assert sim.asked("main") == 1


def test_another_body_or_path_under_the_same_key_conflicts(make_app, sim):
    app = make_app()
    sim.play()
    app.chat("hello", headers=KEY)
    other = app.chat("goodbye", headers=KEY)
    assert (other.status, other.code) == (409, "idempotency_conflict")
    assert "retry-after" not in other.headers
    elsewhere = app.post({"model": "main", "input": "hello"}, "/v1/embeddings", **KEY)
    assert elsewhere.status == 409
    assert sim.asked("main") == 1


def test_while_the_first_is_under_way_a_repeat_is_told_to_come_back(make_app, sim):
    app = make_app(main={"first_token_s": 5.0})
    sim.play(main=SLOW)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(app.chat, "hello", headers=KEY)
        time.sleep(0.5)
        early = app.chat("hello", headers=KEY)
        assert (early.status, early.code) == (409, "idempotency_conflict")
        assert int(early.headers["retry-after"]) >= 1
        assert first.result().status == 200
    assert app.chat("hello", headers=KEY).body == first.result().body
    assert sim.asked("main") == 1


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_what_failed_is_not_kept(make_app, sim, stream):
    app = make_app(main={"retries": 0})
    fault = Fault("cut", after=2, when=When(first=1))
    sim.play(main=Target(answer=Answer(text="One two three four."), faults=(fault,), per_token_ms=5.0))
    broken = app.chat(stream=stream, headers=KEY)
    assert broken.status == 502 or broken.error_event
    again = app.chat(stream=stream, headers=KEY)
    assert (again.status, again.text) == (200, "One two three four.")


def test_keys_of_different_callers_never_meet(make_app, sim):
    app = make_app()
    sim.play()
    mine = app.chat("hello", headers=KEY)
    app.key = app.make_key()["key"]
    theirs = app.chat("hello", headers=KEY)
    assert theirs.trace != mine.trace
    assert sim.asked("main") == 2


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_replay_survives_a_restart_even_kill_9(sim, tmp_path, stream):
    sim.play()
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    try:
        app = App(server, "once", {"main": Route(provider="simulated", model="small")})
        first = app.chat("hello", stream=stream, headers=KEY)
        server.kill9()
        server.start()
        again = app.chat("hello", stream=stream, headers=KEY)
        assert (again.status, again.body, again.trace) == (200, first.body, first.trace)
        assert again.headers["x-waterline-replayed"] == "true"
        assert app.chat("goodbye", headers=KEY).status == 409
        assert sim.asked("main") == 1
    finally:
        server.stop()


BODIES = {
    "/v1/messages": {"model": "main", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"model": "main", "input": "hi", "instructions": "Be brief.", "store": False},
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("path", BODIES)
def test_after_a_restart_a_translated_api_says_it_again_in_its_own_words(sim, tmp_path, path, stream):
    """To the byte: with the first one's id and time."""
    sim.play(main=Target(answer=Answer(text="Said once."), thinking="A moment."))
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    try:
        app = App(server, "once", {"main": Route(provider="simulated", model="small")})
        body = {**BODIES[path], "stream": stream}
        first = app.post(body, path, **KEY)
        assert b"Said" in first.body
        server.kill9()
        server.start()
        time.sleep(1.1)  # the second is another one
        again = app.post(body, path, **KEY)
        assert (again.status, again.body, again.trace) == (200, first.body, first.trace)
        assert again.headers["x-waterline-replayed"] == "true"
        assert app.post({**body, "model": "other"}, path, **KEY).status == 409
        assert sim.asked("main") == 1
    finally:
        server.stop()
