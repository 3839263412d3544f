"""More than a provider takes: shed early and by priority, or to a fallback; never a queue."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from whole_app import App, Server, eventually, send

from waterline.core.app_spec import Limits
from waterline.core.release import Route
from waterline.providers.simulated_script import Answer, Target

SLOW = Target(answer=Answer(text="At last."), first_token_ms=4000.0)
ADAPTIVE = Limits(adaptive_concurrency=True)
TWO = {"first_token_s": 20.0, "total_s": 30.0}


def at_once(app, count, **headers):
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: app.chat(headers=headers), range(count)))


def warm(app, sim):
    """It is known to answer: what comes next is not held back until the first news."""
    sim.play()
    assert app.chat().status == 200


def test_beyond_the_learned_limit_callers_are_shed_at_once_with_retry_after(make_app, sim):
    app = make_app(main=TWO, limits=ADAPTIVE)
    warm(app, sim)
    sim.play(main=SLOW)
    replies = at_once(app, 40)
    assert {r.status for r in replies} == {200, 503}
    shed = [r for r in replies if r.status == 503]
    assert all((r.code, r.headers["retry-after"]) == ("overloaded", "1") for r in shed)
    assert sim.stats("main")["max_in_flight"] >= 1
    assert sim.asked("main") == len(replies) - len(shed) <= 20
    assert all(app.trace_of(r)["row"]["attempts"] == 0 for r in shed[:3])


def test_with_a_fallback_nobody_is_shed(make_app, sim):
    app = make_app(fallback=True, main=TWO, limits=ADAPTIVE)
    warm(app, sim)
    sim.play(main=SLOW)
    assert {r.status for r in at_once(app, 30)} == {200}
    assert sim.asked("main") < 30


def test_low_priority_is_shed_first(make_app, sim):
    app = make_app(main=TWO, limits=ADAPTIVE)
    warm(app, sim)
    sim.play(main=SLOW)
    low = at_once(app, 30, x_waterline_priority="low")
    assert sum(r.status == 200 for r in low) == 14  # 70 % of 20
    high = at_once(app, 30, x_waterline_priority="high")
    assert sum(r.status == 200 for r in high) > 14


def test_without_it_nothing_is_shed(make_app, sim):
    app = make_app(main=TWO)
    warm(app, sim)
    sim.play(main=SLOW)
    assert {r.status for r in at_once(app, 30)} == {200}


def test_an_unknown_priority_is_refused_by_name(make_app):
    reply = make_app().chat(headers={"x_waterline_priority": "urgent"})
    assert (reply.status, reply.code) == (400, "invalid_request")


def test_a_request_cannot_raise_its_key_s_priority(make_app, sim):
    app = make_app(main=TWO, limits=ADAPTIVE)
    app.key = app.make_key(priority="low")["key"]
    warm(app, sim)
    sim.play(main=SLOW)
    replies = at_once(app, 30, x_waterline_priority="high")
    assert sum(r.status == 200 for r in replies) == 14
    (target,) = app.server.ask("GET", "/api/providers", app=app.name)[0]["targets"]
    assert target["health"]["shed"] == 16
    assert {s["app"]: s["requests"] for s in app.server.ask("GET", "/api/status")["shed"]}[app.name] == 16


def test_a_priority_that_is_none_is_refused_when_the_key_is_made(make_app):
    app = make_app()
    with pytest.raises(AssertionError, match=r"400 .*priority is"):
        app.make_key(priority="urgent")
    keys = {k["id"]: k for k in app.server.ask("GET", "/api/keys")}
    made = app.make_key(priority="high")
    assert (made["priority"], keys[app.key[:11]]["priority"]) == ("high", "")


@contextmanager
def held_up(server):
    """The process is stopped again and again, as on a machine with far too much to do."""
    done = threading.Event()

    def stop_and_go():
        while not done.is_set():
            os.kill(server.child.pid, signal.SIGSTOP)
            time.sleep(0.25)
            os.kill(server.child.pid, signal.SIGCONT)
            time.sleep(0.02)

    thread = threading.Thread(target=stop_and_go)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_late_server_refuses_the_least_important_on_the_head_alone_and_recovers(sim, tmp_path):
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}", WATERLINE_SHED_LAG_MS="60")
    try:
        route = Route(provider="simulated", model="small", first_token_s=20.0, total_s=30.0)
        app = App(server, "late", {"main": route})
        low = app.make_key(priority="low")["key"]
        sim.play()

        def as_low(body=None):
            headers = {"authorization": f"Bearer {low}", "content-type": "application/json"}
            sent = body or b'{"model": "main", "messages": [{"role": "user", "content": "hello"}]}'
            return send(server.url, "POST", "/v1/chat/completions", sent, headers)

        assert eventually(lambda: as_low().status == 200)
        with held_up(server):
            refused = eventually(lambda: (r := as_low()).status == 503 and r)
            assert (refused.code, refused.headers["retry-after"]) == ("overloaded", "5")
            assert "x-waterline-trace" not in refused.headers
            # Its body is not read: it would be refused as no JSON.
            assert eventually(lambda: as_low(b"{" * 300_000).status == 503)
        assert eventually(lambda: as_low().status == 200)
        status = server.ask("GET", "/api/status")
        assert {(s["why"], s["priority"]) for s in status["shed"]} >= {("event_loop", "low")}
        page = send(server.url, "GET", "/", None, {"authorization": f"Bearer {server.key}", "accept": "text/html"})
        assert "because this server was late" in page.body.decode()
        assert "because this server was late" in send(
            server.url, "GET", "/providers", None, {"authorization": f"Bearer {server.key}", "accept": "text/html"}
        ).body.decode()  # fmt: skip
    finally:
        assert server.stop() == 0
