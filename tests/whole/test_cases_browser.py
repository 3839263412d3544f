"""The pages of cases in a real browser: nothing sticks out, wide and narrow, full, empty and in error; keys work."""

import json

import pytest
from test_browser import Browser, pytestmark
from whole_app import App, Route, Server, eventually

from waterline.providers.simulated_script import Answer, Target

__all__ = ["pytestmark"]
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def world(sim, tmp_path_factory):
    sim.play(main=Target(answer=Answer(text="See you on Tuesday.")))
    server = Server(tmp_path_factory.mktemp("cases-browser") / "d", f"{sim.address}/{{route}}")
    app = App(server, "school", {"main": Route(provider="simulated", model="small")})
    for text in ("Where do I sign up for the choir?", "How late is the pool open?", "Who repairs the old piano?",
                 "Are dogs welcome on the roof?", "My invoice is wrong by nine euros!"):  # fmt: skip
        app.chat(f"{text} {EVIL} I am Ana Costa, {text[:6] * 40} ana@x.pt")
    made = [
        {
            "id": f"{'long-name-' * (n % 5)}{n}", "input": f"Case {n} {EVIL} {'please ' * (n % 30)}",
            "tags": ["en", f"t{n % 7}"], "split": ("", "tuning", "held_out")[n % 3],
            "expect": {"contains": ["x" * (n % 200 + 1)]},
        }
        for n in range(120)
    ]  # fmt: skip
    server.ask("POST", "/api/apps/school/case-sets/main/versions", {"cases": made, "why": EVIL})
    server.ask("POST", "/api/apps/school/case-sets/main/versions", {"cases": made[:1], "removed": [made[1]["id"]]})
    server.ask("POST", "/api/apps/school/harvest", {"by": ["filter"], "basis": "consent"})
    server.ask("POST", "/api/apps/school/case-sets/main/coverage", {})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser(world, tmp_path_factory):
    made = Browser(tmp_path_factory.mktemp("chromium-cases"))
    made.go(world.url + "/login")
    made.type("#key", world.key)
    made.click("form button")
    yield made
    made.close()


@pytest.mark.parametrize("width", [1280, 400])
def test_no_page_of_cases_is_wider_than_the_window_or_runs_what_users_wrote(world, browser, width) -> None:
    rows = world.ask("GET", "/api/apps/school/case-sets/main/cases")["rows"]
    n = world.ask("GET", "/api/candidates")["rows"][0]["n"]
    browser.width(width)
    for page in (
        "/cases", "/cases?app=nobody", "/cases/school/main", "/cases/school/main?q=nothing",
        "/cases/school/main?tag=t3",
        "/cases/school/main?version=1", f"/cases/school/main/{rows[5]['digest']}", "/cases/school/main/diff/1/2",
        "/cases/school/nothing", "/review", "/review?state=rejected", f"/review/{n}", "/review/99999",
        "/coverage?app=school", "/coverage?app=school&set=other",
    ):  # fmt: skip
        browser.go(world.url + page)
        assert browser.run("return document.documentElement.scrollWidth") <= width + 1, page
        assert browser.run("return document.scripts.length") <= 1, page
        assert "Traceback" not in browser.text


def test_candidates_are_reviewed_with_keys_alone(world, browser) -> None:
    browser.width(1280)
    browser.go(world.url + "/review")
    browser.click("form[action='/review/next'] button")
    here = "return document.readyState == 'complete' ? location.pathname : ''"
    assert eventually(lambda: browser.run(here).startswith("/review/"))
    first = browser.run(here)
    browser.run("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 's', bubbles: true}))")
    assert eventually(lambda: browser.run(here) not in ("", first))
    second = int(browser.run(here).rpartition("/")[2])
    browser.type("textarea[name=contains]", "Tuesday")
    key = json.dumps({"key": "Enter", "ctrlKey": True, "bubbles": True})
    browser.run(f"document.querySelector('textarea[name=contains]').dispatchEvent(new KeyboardEvent('keydown', {key}))")
    assert eventually(lambda: world.ask("GET", f"/api/candidates/{second}")["state"] == "accepted")
    assert world.ask("GET", "/api/apps/school/case-sets/main")["version"]["version"] == 3
