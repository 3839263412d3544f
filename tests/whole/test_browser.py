"""A person with a browser: sign in, look, promote, roll back, replay; every page wide and narrow, nothing sticks out.

Drives the real Chromium over WebDriver (W3C), so what is tested is what is drawn."""

import base64
import http.client
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from made_experiments import record
from whole_app import App, Release, Route, Server, eventually

from waterline.core.app_spec import AppSpec, encode_spec
from waterline.core.gates import Gates
from waterline.core.release import encode_release
from waterline.providers.simulated_script import Answer, Fault, Target, When

DRIVER, CHROMIUM = shutil.which("chromedriver"), shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(
        not (DRIVER and CHROMIUM), reason="needs chromium and chromedriver (apt install chromium-driver)"
    ),
]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the W3C's name for a reference to an element
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--disable-quic"]  # fmt: skip


class Browser:
    def __init__(self, folder: Path) -> None:
        self.driver = subprocess.Popen([str(DRIVER), "--port=0"], stdout=subprocess.PIPE, text=True)
        assert self.driver.stdout is not None
        for line in self.driver.stdout:
            if "successfully on port" in line and line.strip().rstrip(".").split()[-1].isdigit():
                self.port = int(line.strip().rstrip(".").split()[-1])
                break
        options = {"binary": CHROMIUM, "args": [*ARGUMENTS, f"--user-data-dir={folder}"]}
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self.session = made["sessionId"]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, json.dumps(body if body is not None else {}) if method == "POST" else None)
        answer = json.loads(connection.getresponse().read())["value"]
        connection.close()
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def do(self, method: str, path: str, body: Any = None) -> Any:
        return self.call(method, f"/session/{self.session}{path}", body)

    def go(self, url: str) -> None:
        self.do("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        return self.do("POST", "/execute/sync", {"script": script, "args": []})

    def find(self, selector: str) -> str:
        return str(self.do("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT])

    def type(self, selector: str, text: str) -> None:
        self.do("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        self.do("POST", f"/element/{self.find(selector)}/click", {})

    def width(self, pixels: int) -> None:
        parameters = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": pixels < 600}
        self.do("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": parameters})

    @property
    def text(self) -> str:
        return str(self.run("return document.body.innerText"))

    def shot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.do("GET", "/screenshot")))

    def close(self) -> None:
        self.call("DELETE", f"/session/{self.session}")
        self.driver.kill()
        self.driver.wait()


@pytest.fixture(scope="module")
def world(sim, tmp_path_factory):
    sim.play(main=Target(answer=Answer(text="See you on Tuesday."), first_token_ms=20.0,
                         faults=(Fault("http", status=503, when=When(every=7)),)))  # fmt: skip
    server = Server(tmp_path_factory.mktemp("browser") / "d", f"{sim.address}/{{route}}")
    app = App(server, "school", {"main": Route(provider="openai", model="gpt-4o-mini", retries=0)})
    second = app.build(Release(app="school", routes={"main": Route(provider="openai", model="gpt-4o", retries=0)}))
    for n in range(30):
        app.chat(f"When can we visit? <script>alert({n})</script>", stream=n % 2 == 0)
    server.experiments = (
        record(server, "school", second, app.id), record(server, "school", second, cases=30, repeats=1, seed=2),
        record(server, "school", second, app.id, cases=25, worse_by=0.0, seed=3, send_items=False),
    )  # fmt: skip
    yield server, app, second
    server.stop()


@pytest.fixture(scope="module")
def browser(world, tmp_path_factory):
    made = Browser(tmp_path_factory.mktemp("chromium"))
    yield made
    made.close()


def test_a_person_signs_in_promotes_and_rolls_back_by_hand(world, browser):
    server, app, second = world
    browser.width(1280)
    browser.go(server.url + "/")
    assert "Sign in" in browser.text
    browser.type("#key", "wl-12345678" + "A" * 43)
    browser.click("form button")
    assert eventually(lambda: "not known" in browser.text)
    browser.type("#key", server.key)
    browser.click("form button")
    assert eventually(lambda: "What is live" in browser.text), browser.text
    assert "experimental" in browser.text

    browser.go(f"{server.url}/releases/{second}")
    browser.run("document.querySelector('form[action$=promotion] [name=weight]').value = '30%'")
    browser.type("form[action$=promotion] [name=reason]", "try it")
    browser.click("form[action$=promotion] button")
    assert eventually(lambda: live(server) == {second: 3000, app.id: 7000})

    browser.go(f"{server.url}/releases?app=school")
    assert "30" in browser.text
    browser.type("form[action$=rollback] [name=reason]", "worse")
    browser.click("form[action$=rollback] button")
    assert eventually(lambda: live(server) == {app.id: 10_000})
    history = server.ask("GET", "/api/apps/school/rollout", env="production")["history"]
    assert [h["why"] for h in history[:2]] == ["worse", "try it"]


def live(server: Server) -> dict[str, int]:
    shares = server.ask("GET", "/api/apps/school/rollout", env="production")["shares"]
    return {s["release"]: s["weight_bp"] for s in shares}


def pages(server: Server, app: App, second: str) -> list[str]:
    trace = server.traces(app="school")[0]["id"]
    full, alone, unsent = server.experiments
    inside = ("", "?change=lost", "?tag=nothing", "/cases/10", "/cases/17", "/cases/9999")
    evaluations = ["/experiments", "/experiments?app=nobody", *(f"/experiments/{full}{path}" for path in inside),
                   f"/experiments/{alone}", f"/experiments/{alone}/cases/1", f"/experiments/{unsent}",
                   "/experiments/nothing", "/judges", "/judges/nobody/nothing"]  # fmt: skip
    return [*evaluations, "/", "/?app=school&span=1h",
            "/traces", "/traces?outcome=failed", "/traces?app=nobody", f"/traces/{trace}",
            "/releases", f"/releases/{second}", f"/releases/{app.id}/diff/{second}", "/load-lines",
            "/forecast?app=school", "/behaviour", "/behaviour?days=1", "/behaviour/off-rails",
            "/providers", "/budgets", "/channels", "/channels/fees?app=school",
            "/keys", "/people", "/audit", "/traces/nothing"]  # fmt: skip


@pytest.mark.parametrize("width", [1280, 400])
def test_no_page_is_wider_than_the_window_or_shows_a_script_of_a_users_text(world, browser, width, tmp_path):
    server, app, second = world
    browser.go(server.url + "/")
    if "Sign in" in browser.text:
        browser.type("#key", server.key)
        browser.click("form button")
    browser.width(width)
    keep = os.environ.get("SHOTS")
    for n, page in enumerate(pages(server, app, second)):
        browser.go(server.url + page)
        assert browser.run("return document.documentElement.scrollWidth") <= width + 1, page
        assert browser.run("return document.scripts.length") <= 1, page
        assert "Traceback" not in browser.text
        if keep:
            browser.shot(Path(keep) / f"{width}-{n:02}.png")


def test_a_second_person_approves_and_promotes_by_hand(world, browser):
    """The checklist of a gated release wide and narrow, with an incident open, and to the end."""
    server, _, _ = world
    app = App(server, "gated", {"main": Route(provider="openai", model="gpt-4o-mini", retries=0)})
    app.spec = AppSpec("gated", gates={"production": Gates(("no_open_incident", "approval"))})
    server.ask("POST", "/api/environment-records", {"spec": encode_spec(app.spec).decode(), "reason": "gates"})
    dev = server.ask("POST", "/api/keys", {"kind": "person", "role": "developer", "name": "Dev"})["key"]
    release = Release(app="gated", routes={"main": Route(provider="openai", model="gpt-4o", retries=0)})
    body = {"manifest": encode_release(release).decode(), "spec": encode_spec(app.spec).decode(), "message": "<b>x</b>"}
    made = server.ask("POST", "/api/releases", body, key=dev)["id"]
    said = {"app": "gated", "title": "<script>alert(1)</script> " + "long " * 30, "release": app.id,
            "links": [{"kind": "trace", "id": "0" * 24}], "notes": "word " * 200}  # fmt: skip
    incident = server.ask("POST", "/api/incidents", said, key=dev)["id"]
    for width in (1280, 400):
        browser.width(width)
        for page in ("/incidents", f"/incidents/{incident}", "/incidents?state=closed", f"/releases/{made}",
                     "/incidents/nothing", "/releases?app=gated"):  # fmt: skip
            browser.go(server.url + page)
            assert browser.run("return document.documentElement.scrollWidth") <= width + 1, page
            assert browser.run("return document.scripts.length") <= 1, page
    assert "a blocking incident is open" in browser.text

    browser.width(1280)
    browser.go(f"{server.url}/releases/{made}")
    assert "once the other gates are passed" in browser.text
    browser.type("form[action$=promotion] [name=reason]", "now")
    browser.click("form[action$=promotion] button")
    assert eventually(lambda: "may not be promoted" in browser.text)
    browser.go(f"{server.url}/incidents/{incident}")
    browser.type("form[action$=closure] [name=resolution]", "it was nothing")
    browser.click("form[action$=closure] button")
    assert eventually(lambda: "It keeps nothing out any more" in browser.text)
    browser.go(f"{server.url}/releases/{made}")
    browser.type("form.approve [name=note]", "read it")
    browser.click("form.approve button")
    assert eventually(lambda: "yes: every gate is passed" in browser.text)
    browser.type("form[action$=promotion] [name=reason]", "now")
    browser.click("form[action$=promotion] button")
    assert eventually(lambda: "it is live there" in browser.text)
