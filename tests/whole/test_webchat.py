"""The web chat in the whole app: by post and long poll, by the page's form without a script, and in a real browser."""

import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from phones import until
from test_browser import Browser
from test_whatsapp import QUICK
from whole_app import App, Reply, Server, send

from waterline.channels.webchat import NEW_AN_HOUR
from waterline.core.branch import Branch
from waterline.core.channels import Channels, WebchatPolicy
from waterline.core.release import Route

SCHOOL = "https://school.example"
JSON = {"content-type": "application/json"}
BRANCHES = (Branch("lisbon", "Lisbon", addresses={"webchat": ("lisbon",)}),)


class Site:
    """Somebody's web site, with our one line in it. `page` is set later."""

    def __init__(self) -> None:
        site = self
        self.page = ""

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(site.page.encode())

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()


@pytest.fixture(scope="module")
def server(sim: Any, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("webchat"), f"{sim.address}/{{route}}")
    policy = WebchatPolicy(
        origins=(SCHOOL, site.url), title="Riverside", greeting="How can we help?", messages_per_minute=8
    )
    App(
        made, "school", {"main": Route(provider="simulated", model="small", total_s=30.0)}, branches=BRANCHES,
        conversations=QUICK, channels=Channels(webchat=policy),
    )  # fmt: skip
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def default_answers(sim: Any) -> None:
    """Other tests share the simulated provider, and script it."""
    sim.play()


def say(server: Server, text: str, token: str = "", ident: str = "", **headers: str) -> Reply:
    body = json.dumps({"token": token, "text": text, "id": ident}).encode()
    return send(server.url, "POST", "/chat/lisbon/messages", body, JSON | headers)


def begin(server: Server, text: str, ident: str = "") -> str:
    reply = say(server, text, ident=ident)
    assert reply.status == 200, reply.body
    return str(json.loads(reply.body)["token"])


def lines(server: Server, token: str, query: str = "all=1") -> list[dict[str, Any]]:
    reply = send(server.url, "GET", f"/chat/lisbon/lines?{query}", None, {"x-chat-token": token})
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = json.loads(reply.body)["lines"]
    return found


def test_a_visitor_is_answered_and_a_poll_brings_only_what_is_new(server: Server) -> None:
    token = begin(server, "Is there a place?")
    [reply] = lines(server, token, "after=0")  # waits for it
    assert reply["ours"]
    assert [line["ours"] for line in lines(server, token)] == [False, True]
    assert say(server, "And in grade 4?", token).status == 200
    [second] = lines(server, token, f"after={reply['n']}")
    assert second["n"] > reply["n"]


def test_the_same_message_posted_again_is_one_message_of_one_visitor(server: Server) -> None:
    """PEERS: duplicate deliveries answered twice (chatwoot 11901). The page repeats what it got no answer to."""
    ident = "a-random-id-of-the-page"
    tokens = {begin(server, "hello", ident) for _ in range(3)}
    assert len(tokens) == 1
    [token] = tokens
    assert until(lambda: len(lines(server, token)) == 2)
    say(server, "once more", token, "second")
    say(server, "once more", token, "second")
    assert until(lambda: len(lines(server, token)) == 4)


def test_nobody_reads_the_conversation_of_another(server: Server) -> None:
    token = begin(server, "my secret")
    visitor, _, signature = token.partition(".")
    for wrong in ("", visitor, f"{visitor}.", f"{visitor}.{signature[:-1]}0", f"a{visitor[1:]}.{signature}"):
        if wrong != token:
            reply = send(server.url, "GET", "/chat/lisbon/lines?all=1", None, {"x-chat-token": wrong})
            assert reply.status == 403
    assert say(server, "hello", f"{visitor}.forged").status == 403


def test_only_declared_pages_may_show_the_chat(server: Server) -> None:
    assert say(server, "hi", origin="https://evil.example").status == 403
    shared = say(server, "hi", origin=SCHOOL)
    assert shared.headers["access-control-allow-origin"] == SCHOOL
    page = send(server.url, "GET", "/chat/lisbon", None, {})
    assert f"frame-ancestors 'self' {SCHOOL} " in page.headers["content-security-policy"]
    assert send(server.url, "GET", "/chat/porto", None, {}).status == 404


def test_who_writes_too_much_is_asked_to_wait(server: Server) -> None:
    token = begin(server, "1")
    statuses = [say(server, str(n), token).status for n in range(12)]
    assert statuses[:7] == [200] * 7
    assert statuses[-1] == 429
    assert say(server, "x" * 5000, begin(server, "hello")).status == 413


def test_visitors_behind_a_proxy_are_counted_by_their_own_address(server: Server) -> None:
    """One address may begin so many conversations in an hour; all of a proxy's visitors are not one."""
    for n in range(NEW_AN_HOUR + 5):
        assert say(server, "hi", **{"x-forwarded-for": f"1.2.3.4, 203.0.113.{n}"}).status == 200
    many = [say(server, "hi", **{"x-forwarded-for": "198.51.100.7"}).status for n in range(NEW_AN_HOUR + 1)]
    assert many == [200] * NEW_AN_HOUR + [429]


def test_the_page_works_without_a_script_and_shows_no_markup_of_users(server: Server) -> None:
    page = send(server.url, "GET", "/chat/lisbon", None, {}).body.decode()
    assert "How can we help?" in page
    form = {"text": "<img src=x onerror=alert(1)>", "id": re.findall(r'name="id" value="(\w+)"', page)[0], "token": ""}
    typed = {"content-type": "application/x-www-form-urlencoded"}
    shown = send(server.url, "POST", "/chat/lisbon", urlencode(form).encode(), typed).body.decode()
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown
    assert "<img" not in shown
    [token] = set(re.findall(r'name="token" value="([^"]+)"', shown))
    again = urlencode({"token": token, "text": "", "id": ""}).encode()

    def answered() -> bool:
        return "simulated answer" in send(server.url, "POST", "/chat/lisbon", again, typed).body.decode()

    assert until(answered)


def test_a_restart_keeps_the_conversation(server: Server) -> None:
    token = begin(server, "before the restart")
    assert until(lambda: len(lines(server, token)) == 2)
    server.kill9()
    server.start()
    assert len(lines(server, token)) == 2
    say(server, "after it", token)
    assert until(lambda: [line["ours"] for line in lines(server, token)] == [False, True, False, True])


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(
    not (shutil.which("chromedriver") and shutil.which("chromium")), reason="needs chromium and chromedriver"
)
@pytest.mark.parametrize("width", [1280, 400])
def test_a_visitor_chats_in_a_browser_and_finds_it_again(server: Server, tmp_path: Path, width: int) -> None:
    browser = Browser(tmp_path / "chromium")
    try:
        browser.width(width)
        browser.go(f"{server.url}/chat/lisbon")
        assert "How can we help?" in browser.text
        browser.type("form.write input[name=text]", "Is there a place in grade 3?")
        browser.click("form.write button")
        assert until(lambda: "simulated answer" in browser.text), browser.text
        assert browser.text.count("Is there a place in grade 3?") == 1
        assert browser.run("return document.documentElement.scrollWidth") <= width + 1
        browser.shot(tmp_path / "chat.png")
        browser.go(f"{server.url}/chat/lisbon")  # the page again: the same conversation
        assert until(lambda: "simulated answer" in browser.text)
        assert browser.text.count("Is there a place in grade 3?") == 1
    finally:
        browser.close()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(
    not (shutil.which("chromedriver") and shutil.which("chromium")), reason="needs chromium and chromedriver"
)
def test_one_line_puts_the_chat_on_another_page(server: Server, site: Site, tmp_path: Path) -> None:
    browser = Browser(tmp_path / "chromium")
    line = f'<script src="{server.url}/chat/lisbon/snippet.js" async></script>'
    site.page = f'<meta name="viewport" content="width=device-width"><h1>Our school</h1>{line}'
    try:
        browser.width(400)
        browser.go(site.url)
        assert until(lambda: browser.run("return document.querySelectorAll('button[aria-label=Chat]').length") == 1)
        browser.click("button[aria-label=Chat]")
        shown = browser.run("const f=document.querySelector('iframe').getBoundingClientRect();return [f.width,f.left]")
        assert 300 < shown[0] <= 380
        assert shown[1] >= 0
        source = browser.run("return document.querySelector('iframe').src")
        assert source == f"{server.url}/chat/lisbon"
        browser.do("POST", "/frame", {"id": 0})
        assert until(lambda: "How can we help?" in browser.text)
        browser.type("form.write input[name=text]", "hello from the site")
        browser.click("form.write button")
        assert until(lambda: "simulated answer" in browser.text)
    finally:
        browser.close()
