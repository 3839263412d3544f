"""The page of the providers: what the gateway knows about each is shown while it happens, as HTML and as JSON."""

import msgspec
import pytest
from whole_app import Limits, Server, send

from waterline.providers.simulated_script import Answer, Fault, Target

GOOD = Target(answer=Answer(text="ok"))
DOWN = Target(faults=(Fault("http", status=503),))
LIMITED = Target(faults=(Fault("http", status=429, retry_after_s=40),))


def page(server: Server, app: str, key: str = "") -> str:
    headers = {"authorization": f"Bearer {key or server.key}", "accept": "text/html"}
    reply = send(server.url, "GET", f"/providers?app={app}", None, headers)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return reply.body.decode()


def targets(server: Server, app: str) -> dict:
    (found,) = server.ask("GET", "/api/providers", app=app)
    return {target["routes"][0]["name"]: target for target in found["targets"]}


def test_a_provider_that_was_never_asked_says_so(server, make_app):
    app = make_app(fallback=True)
    both = targets(server, app.name)
    assert {name: t["health"]["state"] for name, t in both.items()} == {"main": "unknown", "backup": "unknown"}
    assert both["main"]["routes"][0]["fallbacks"] == ["backup"]
    assert both["main"]["health"]["first_byte_ms_p50"] is None
    shown = page(server, app.name)
    assert shown.count("Not asked yet.") == 2
    assert "Last error" not in shown


def test_a_dead_provider_is_open_with_its_last_error_and_its_fallback_is_closed(server, sim, make_app):
    app = make_app(fallback=True)
    sim.play(main=DOWN, backup=GOOD)
    assert app.chat().text == "ok"
    assert app.chat(stream=True).text == "ok"
    seen = targets(server, app.name)
    main, backup = seen["main"]["health"], seen["backup"]["health"]
    assert (main["state"], backup["state"]) == ("open", "well")
    assert main["last_error"].startswith("unavailable: ")
    assert main["attempts"] == main["failed"] == sum(m["failed"] for m in main["minutes"]) == sim.asked("main")
    assert main["fell_back"] == 2
    assert main["first_byte_ms_p50"] is None  # a quick refusal is no quick answer
    assert backup["succeeded"] == 2
    assert backup["first_byte_ms_p50"] > 0
    shown = page(server, app.name)
    assert main["last_error"].split(":")[0] in shown
    assert "left alone for" in shown or "the next request is the probe" in shown
    assert "It answers; requests go through." in shown


def test_a_rate_limit_is_a_pause_with_its_end(server, sim, make_app):
    app = make_app()
    sim.play(main=LIMITED)
    assert app.chat().status == 429
    health = targets(server, app.name)["main"]["health"]
    assert (health["state"], health["limited"]) == ("limited", 1)
    assert 0 < health["wait_s"] <= 40
    assert "It asked for a pause of" in page(server, app.name)


def test_a_promotion_forgets_nothing_and_the_app_s_own_limits_are_beside_it(server, sim, make_app):
    app = make_app(limits=Limits(rpm=30, max_concurrency=4))
    sim.play(main=GOOD)
    assert app.chat().status == 200
    (found,) = server.ask("GET", "/api/providers", app=app.name)
    assert [(u["name"], u["limit"]) for u in found["limits"]] == [("rpm", 30), ("tpm", None), ("max_concurrency", 4)]
    shown = page(server, app.name)
    assert "Requests a minute" in shown
    assert "Tokens a minute" not in shown
    app.install(msgspec.structs.replace(app.release, purpose="the same routes"))
    (target,) = server.ask("GET", "/api/providers", app=app.name)[0]["targets"]
    assert target["health"]["succeeded"] == 1


def test_a_caller_s_own_mistake_is_no_error_of_the_provider(server, sim, make_app):
    app = make_app()
    sim.play(main=Target(faults=(Fault("context_length"),)))
    assert app.chat().status == 400
    health = targets(server, app.name)["main"]["health"]
    assert (health["failed"], health["last_error"]) == (0, None)


@pytest.mark.parametrize("role", ["viewer", "operator", "developer"])
def test_the_page_is_for_people_and_works_without_a_script(server, make_app, role):
    app = make_app()
    key = server.ask("POST", "/api/keys", {"kind": "person", "role": role, "name": role})["key"]
    assert 'data-refresh="5"' in page(server, app.name, key)
    stranger = send(server.url, "GET", "/api/providers", None, {"authorization": f"Bearer {app.key}"})
    assert stranger.status == 403
    missing = send(server.url, "GET", "/api/providers?app=nobody", None, {"authorization": f"Bearer {key}"})
    assert missing.status == 404
