"""Shadow traffic in the whole app: the caller never sees it, waits for it or fails by it."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from whole_app import App, Release, Server, eventually, send

from waterline.core.app_spec import PriceOverride
from waterline.core.canary import Shadow
from waterline.core.release import Route
from waterline.providers.simulated_script import Answer, Fault, Target

PRICE = PriceOverride(model="new", provider="simulated", input=10**12, output=10**12)


def routes(name: str) -> dict[str, Route]:
    return {name: Route(provider="simulated", model=name, answers_to=("main",), retries=0, total_s=30.0)}


@pytest.fixture
def own(sim: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that may be killed."""
    made = Server(tmp_path_factory.mktemp("shadow") / "d", f"{sim.address}/{{route}}")
    yield made
    assert made.stop() == 0, made.log()[-3000:]


def app_with(server: Server, name: str, sim: Any, new: Target, **spec: Any) -> tuple[App, str]:
    sim.play(good=Target(answer=Answer(text="the same old answer")), new=new)
    app = App(server, name, routes("good"), **spec)
    return app, app.build(Release(app=name, routes=routes("new")))


def begin(app: App, release: str, share: str = "100%") -> dict[str, Any]:
    found: dict[str, Any] = app.server.ask(
        "POST", "/api/shadows", {"app": app.name, "release": release, "share": share}
    )
    return found


def status(app: App) -> dict[str, Any]:
    found: dict[str, Any] = app.server.ask("GET", f"/api/apps/{app.name}/shadow")
    return found


def page(server: Server, path: str) -> str:
    reply = send(server.url, "GET", path, None, {"authorization": f"Bearer {server.key}", "accept": "text/html"})
    assert reply.status == 200, reply.body
    return reply.body.decode()


def test_a_copy_is_answered_by_the_candidate_and_compared_and_the_caller_gets_the_live_answer(
    server: Server, sim: Any
) -> None:
    app, new = app_with(server, "shadowed", sim, Target(answer=Answer(text="the same new answer, said longer")))
    begun = begin(app, new)
    said = {app.chat(stream=n % 2 == 0, headers={"x-waterline-session": "s"}).text for n in range(8)}
    assert said == {"the same old answer"}
    assert eventually(lambda: status(app)["head"]["pairs"] == 8), status(app)
    found = status(app)
    assert (found["head"]["offered"], found["head"]["dropped"], found["same"]) == (8, 0, 0)
    assert found["alike"] == pytest.approx(2 * 3 / 10)  # the, same, answer of four and six words
    measured = {m["name"]: m for m in found["measured"]}
    assert (measured["failed"]["live"], measured["failed"]["copy"]) == (0.0, 0.0)
    assert (measured["characters"]["live"], measured["characters"]["copy"]) == (19.0, 32.0)
    assert "duration_us" in measured
    copies = server.traces(app=app.name, purpose="shadow")
    assert {row["release"] for row in copies} == {new}
    assert len(copies) == 8
    live = {row["id"] for row in server.traces(app=app.name, purpose="live")}
    assert {row["tags"].removeprefix("shadow-of:") for row in copies} == live
    seen = page(server, f"/shadows/{begun['head']['id']}")
    assert copies[0]["id"] in seen
    assert "60 % of the words" in seen
    ended = server.ask("POST", f"/api/shadows/{begun['head']['id']}/end", {"reason": "seen enough"})
    assert ended["head"]["ended_us"]
    app.chat()
    assert status(app)["head"]["offered"] == 8


def test_a_failing_silent_candidate_neither_fails_nor_delays_the_caller_and_too_many_copies_are_dropped(
    server: Server, sim: Any
) -> None:
    slow = Target(first_token_ms=4000.0)
    app, new = app_with(server, "slowshadow", sim, slow, shadow=Shadow(max_concurrency=1, queue=2))
    begin(app, new)
    replies = [app.chat() for _ in range(12)]
    assert [r.status for r in replies] == [200] * 12
    head = status(app)["head"]
    assert (head["offered"], head["pairs"]) == (12, 0)  # all twelve were answered before one copy was
    assert head["dropped"] == 9  # one under way, two wait
    server.ask("POST", f"/api/shadows/{head['id']}/end", {})
    assert status(app)["head"]["dropped"] == 11


def test_a_candidate_that_fails_is_counted_and_leaves_the_live_provider_alone(server: Server, sim: Any) -> None:
    app, new = app_with(server, "badshadow", sim, Target(faults=(Fault("http"),)))
    begin(app, new)
    assert {app.chat().status for _ in range(6)} == {200}
    assert eventually(lambda: status(app)["head"]["pairs"] == 6), status(app)
    failed = next(m for m in status(app)["measured"] if m["name"] == "failed")
    assert (failed["live"], failed["copy"]) == (0.0, 1.0)
    found = server.ask("GET", "/api/providers", app=app.name)
    assert {t["health"]["state"] for t in found[0]["targets"]} == {"well"}


def test_copies_have_a_budget_of_their_own_and_none_of_the_apps(server: Server, sim: Any) -> None:
    app, new = app_with(
        server, "dearshadow", sim, Target(), shadow=Shadow(nano_usd_per_day=1_000_000, max_concurrency=1),
        prices=(PRICE,),
    )  # fmt: skip
    begin(app, new)
    assert {app.chat().status for _ in range(5)} == {200}
    assert eventually(lambda: status(app)["head"]["over_budget"] > 0), status(app)
    spent = server.ask("GET", "/api/apps")
    assert next(a for a in spent if a["name"] == app.name)["spent_today_nano_usd"] == 0


def test_a_second_one_and_a_share_that_is_none_are_refused(server: Server, sim: Any) -> None:
    app, new = app_with(server, "twoshadows", sim, Target())
    begin(app, new)
    body = b'{"app": "twoshadows", "release": "%s"}' % new.encode()
    reply = send(server.url, "POST", "/api/shadows", body, {"authorization": f"Bearer {server.key}"})
    assert (reply.status, "runs already" in reply.json["error"]["message"]) == (409, True)


@pytest.mark.slow
def test_shadow_traffic_goes_on_after_a_restart_and_many_callers_at_once_feel_nothing(own: Server, sim: Any) -> None:
    app, new = app_with(own, "longshadow", sim, Target())
    begin(app, new, share="50%")
    own.kill9()
    own.start()
    bad: list[int] = []

    def some() -> None:
        bad.extend(s for s in (app.chat().status for _ in range(40)) if s != 200)

    threads = [threading.Thread(target=some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not bad

    def settled() -> bool:
        head = status(app)["head"]
        return bool(head["offered"] and head["offered"] == head["pairs"] + head["dropped"])

    assert eventually(settled), status(app)
    assert 40 < status(app)["head"]["offered"] < 120
