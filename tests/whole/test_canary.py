"""A canary in the whole app: requests over HTTP, the worker watches, a kill -9 in between."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from whole_app import App, Release, Server, eventually, send

from waterline.core.canary import Canary
from waterline.core.release import Route
from waterline.providers.simulated_script import Fault, Target

QUICK = Canary(steps=("50%", "100%"), least_sessions=20, session_s=0, late_s=0, error_margin=0.3)


def routes(name: str) -> dict[str, Route]:
    """The simulated provider's target is the route's name."""
    return {name: Route(provider="simulated", model=name, answers_to=("main",), retries=0, total_s=30.0)}


@pytest.fixture
def own(sim: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that may be killed."""
    made = Server(tmp_path_factory.mktemp("canary") / "d", f"{sim.address}/{{route}}")
    yield made
    assert made.stop() == 0, made.log()[-3000:]


def app_with(server: Server, name: str, sim: Any, **targets: Target) -> tuple[App, str]:
    """Live is the release that asks "good"; the other asks "new"."""
    sim.play(**targets)
    app = App(server, name, routes("good"), canary=QUICK)
    return app, app.build(Release(app=name, routes=routes("new")))


def ask(app: App, count: int) -> list[str]:
    """Sessions of one request each, four at a time; which release answered each."""
    seen: list[str] = []

    def some(first: int) -> None:
        for n in range(first, count, 4):
            reply = app.chat(headers={"x-waterline-session": f"{len(seen)}-{n}"})
            seen.append(reply.headers["x-waterline-release"])

    threads = [threading.Thread(target=some, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def status(app: App) -> dict[str, Any]:
    found: dict[str, Any] = app.server.ask("GET", f"/api/apps/{app.name}/canary")
    return found


def waterline(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "WATERLINE_URL": server.url, "WATERLINE_KEY": server.key}
    command = [sys.executable, "-m", "waterline", "canary", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environ, check=False)


def read(server: Server, path: str) -> str:
    reply = send(server.url, "GET", path, None, {"authorization": f"Bearer {server.key}", "accept": "text/html"})
    assert reply.status == 200, reply.body
    return reply.body.decode()


def counted(app: App, sessions: int) -> bool:
    found = status(app)
    return found["head"]["ended_us"] is not None or (sum(found["now"]["sessions"]) >= sessions)


def begin(app: App, release: str, **more: Any) -> dict[str, Any]:
    body = {"app": app.name, "release": release, **more}
    found: dict[str, Any] = app.server.ask("POST", "/api/canaries", body)
    return found


def refused(app: App, release: str, **more: Any) -> str:
    body = json.dumps({"app": app.name, "release": release, **more}).encode()
    reply = send(app.server.url, "POST", "/api/canaries", body, {"authorization": f"Bearer {app.server.key}"})
    assert reply.status in (400, 404, 409), reply.body
    return str(reply.json["error"]["message"])


def test_a_bad_release_is_rolled_back_by_itself_and_the_next_request_is_on_the_old_one(
    server: Server, sim: Any
) -> None:
    app, bad = app_with(server, "badcanary", sim, new=Target(faults=(Fault("http"),)))
    begun = begin(app, bad)
    assert begun["head"]["state"] == "running"
    ask(app, 80)
    assert eventually(lambda: status(app)["head"]["state"] == "rolled back"), status(app)
    assert set(ask(app, 8)) == {app.id}
    last = app.server.ask("GET", f"/api/apps/{app.name}/rollout")["history"][0]
    assert (last["kind"], last["who"], last["evidence"]) == ("rollback", "canary", begun["head"]["id"])
    page = read(server, f"/canaries/{begun['head']['id']}")
    assert "it is worse, by" in page
    assert '<polygon class="band s1"' in page
    assert "Harm was shown at 50 % of the sessions" in page
    assert "rolled back" in read(server, f"/canaries?app={app.name}")


@pytest.mark.slow
def test_a_kill_in_between_loses_and_repeats_no_session(own: Server, sim: Any) -> None:
    app, bad = app_with(own, "killcanary", sim, new=Target(faults=(Fault("http"),)))
    done = waterline(own, "start", "killcanary", bad, "--reason", "try it")
    assert done.returncode == 0, done.stderr
    assert "step 1 of 2" in done.stdout
    ask(app, 16)
    own.kill9()  # wherever the sixteen are: in the spool, stored, counted
    own.start()
    assert eventually(lambda: counted(app, 16))
    assert sum(status(app)["now"]["sessions"]) == 16
    own.kill9()
    own.start()
    assert sum(status(app)["now"]["sessions"]) == 16
    ask(app, 80)
    assert eventually(lambda: status(app)["head"]["state"] == "rolled back"), status(app)
    told = waterline(own, "status", "killcanary")
    assert "rolled back" in told.stdout
    assert "it is worse, by" in told.stdout
    assert "killcanary" in waterline(own, "list").stdout


@pytest.mark.slow
def test_a_good_release_gets_all_of_the_traffic_by_itself(server: Server, sim: Any) -> None:
    app, good = app_with(server, "goodcanary", sim)
    assert waterline(server, "start", "goodcanary", good).returncode == 0

    def sail() -> bool:
        ask(app, 40)
        return bool(status(app)["head"]["ended_us"])

    assert eventually(sail, 120)
    assert status(app)["head"]["state"] == "promoted"
    assert set(ask(app, 4)) == {good}


@pytest.mark.slow
def test_an_a_a_run_says_how_often_it_would_have_been_wrong(server: Server, sim: Any) -> None:
    app, _ = app_with(server, "aacanary", sim)
    ask(app, 24)
    assert eventually(lambda: len(server.ask("GET", "/api/apps/aacanary/recorded-sessions")["sessions"]) == 24)
    done = waterline(server, "aa", "aacanary", "--runs", "20", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["runs"], found["sessions"], found["rolled_back"]["value"], found["alpha"]) == (20, 24, 0.0, 0.05)


def test_what_cannot_be_started_says_why(server: Server, sim: Any) -> None:
    app, new = app_with(server, "twocanaries", sim)
    assert "live for all" in refused(app, app.id)
    assert "no share" in refused(app, new, weight="a lot")
    assert "less than all" in refused(app, new, weight="100%")
    assert "No canary yet" in read(server, "/canaries?app=twocanaries")
    made = begin(app, new, weight="10%")
    assert "It waits for 20 more sessions" in read(server, f"/canaries/{made['head']['id']}")
    assert "2 releases are live" in refused(app, new)
    ended = server.ask("POST", f"/api/canaries/{made['head']['id']}/end", {"reason": "enough"})
    assert (ended["head"]["state"], ended["head"]["reason"]) == ("stopped", "enough")
