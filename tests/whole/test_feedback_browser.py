"""The script for pages, in a real Chromium: what people do with an answer arrives, also when they close the page."""

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import test_browser
from test_browser import Browser
from whole_app import App, Server, eventually

from waterline.core.app_spec import Funnel
from waterline.core.release import Route
from waterline.providers.simulated_script import Answer, Target

pytestmark = test_browser.pytestmark
ANSWER = "The school opens at nine on Monday."
POLICY = "default-src 'none'; script-src {url}; connect-src {url}; form-action 'self'"


class Shop:
    """Somebody's own site, with a strict policy of its own and our script in its pages."""

    def __init__(self) -> None:
        self.page, self.policy = "", ""
        shop = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-security-policy", shop.policy)
                self.end_headers()
                self.wfile.write((shop.page if self.path.startswith("/answer") else "<p>elsewhere</p>").encode())

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def app(sim: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    sim.play(main=Target(answer=Answer(text=ANSWER)))
    server = Server(tmp_path_factory.mktemp("feedback") / "d", f"{sim.address}/{{route}}")
    yield App(server, "school", {"main": Route(provider="simulated", model="small")}, funnel=Funnel(("read", "sent")))
    server.stop()


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.server.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    made = Browser(tmp_path_factory.mktemp("chromium"))
    yield made
    made.close()


def shown(app: App, shop: Shop, browser: Browser, inside: str = "") -> str:
    """A page with a fresh answer; returns its trace."""
    trace = app.chat(headers={"x-waterline-session": "s1"}).trace
    held = app.post({"traces": [trace], "origin": shop.url}, "/v1/feedback/tokens").json["tokens"][trace]
    shop.policy = POLICY.format(url=app.server.url)
    shop.page = (
        f'<!doctype html><script src="{app.server.url}/v1/feedback.js" defer></script><div id="a" '
        f'data-waterline="{held}"><p id="text">{ANSWER}</p>{inside}'
        '<button type="button" id="yes" data-waterline-do="accept">Good</button>'
        '<button type="button" id="no" data-waterline-do="reject">Bad</button>'
        '<button type="button" id="again" data-waterline-do="retry">Again</button></div>'
    )
    browser.go(f"{shop.url}/answer")
    assert eventually(lambda: browser.run("return !!window.waterline"))
    return trace


def told(app: App, trace: str, count: int = 1) -> list[str]:
    assert eventually(lambda: len(app.server.trace(trace)["verdicts"]) >= count), app.server.trace(trace)
    return [v["name"] for v in app.server.trace(trace)["verdicts"]]


@pytest.mark.parametrize(
    ("button", "name"), [("yes", "feedback.accepted"), ("no", "feedback.rejected"), ("again", "feedback.retried")]
)
def test_a_button_says_what_the_user_thinks(app: App, shop: Shop, browser: Browser, button: str, name: str) -> None:
    trace = shown(app, shop, browser)
    browser.click(f"#{button}")
    assert told(app, trace) == [name]
    browser.go(f"{shop.url}/elsewhere")
    assert told(app, trace) == [name], "who has decided has not abandoned"


def test_a_copy_is_told_once(app: App, shop: Shop, browser: Browser) -> None:
    trace = shown(app, shop, browser)
    for _ in range(3):
        browser.run(
            "getSelection().selectAllChildren(document.getElementById('text'));"
            "document.getElementById('text').dispatchEvent(new ClipboardEvent('copy', {bubbles: true}))"
        )
    browser.click("#yes")
    assert told(app, trace, 2) == ["feedback.copied", "feedback.accepted"]


FORM = f'<form action="/sent"><textarea name="t">{ANSWER}</textarea><button id="send">Send</button></form>'


def test_what_was_made_of_a_suggestion_is_told_when_it_is_sent(app: App, shop: Shop, browser: Browser) -> None:
    trace = shown(app, shop, browser, FORM)
    browser.run(f"document.querySelector('textarea').value = {ANSWER.replace('nine', 'ten')!r}")
    browser.click("#send")
    assert told(app, trace) == ["feedback.edited"]
    (verdict,) = app.server.trace(trace)["verdicts"]
    assert verdict["value"]["value"] == pytest.approx(1 - 1 / 7)
    unchanged = shown(app, shop, browser, FORM)
    browser.click("#send")
    assert told(app, unchanged) == ["feedback.accepted"]


def test_closing_the_page_without_a_word_is_told_by_a_beacon(app: App, shop: Shop, browser: Browser) -> None:
    trace = shown(app, shop, browser)
    browser.do("POST", "/window/new", {"type": "tab"})
    browser.do("DELETE", "/window")  # the tab with the answer is closed
    browser.do("POST", "/window", {"handle": browser.do("GET", "/window/handles")[0]})
    assert told(app, trace) == ["feedback.abandoned"]


def test_steps_and_more_can_be_told_by_the_pages_own_script(app: App, shop: Shop, browser: Browser) -> None:
    trace = shown(app, shop, browser)
    browser.run("waterline.watch(document.getElementById('a')).step('read')")
    browser.run("waterline.watch(document.getElementById('a')).say('rejected', {comment: 'wrong hour'})")
    assert told(app, trace) == ["feedback.rejected"]
    assert app.server.trace(trace)["verdicts"][0]["reason"] == "wrong hour"
