"""A person at the desk, with a browser: finds who waits, takes over, writes, gives back; every page wide and narrow."""

from collections.abc import Iterator

import pytest
import test_browser
from test_browser import Browser
from test_desk import Desk, desk  # noqa: F401  the fixture
from whole_app import eventually

pytestmark = test_browser.pytestmark


@pytest.fixture(scope="module")
def browser(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:  # noqa: F811
    made = Browser(tmp_path_factory.mktemp("chromium"))
    made.width(1280)
    made.go(desk.world.url + "/")
    made.type("#key", desk.keys["Ana"])
    made.click("form button")
    assert eventually(lambda: "Sign out" in made.text)
    yield made
    made.close()


def test_taken_over_answered_and_given_back_by_hand(desk: Desk, browser: Browser) -> None:  # noqa: F811
    who = "351940001"
    browser.width(1280)
    desk.says(who, "can I talk to a real person please? <script>alert(1)</script>")
    desk.hears(who, 1)
    assert eventually(lambda: desk.waiting(who))
    browser.go(desk.world.url + "/handoffs")
    assert who in browser.text
    browser.click("form[action$=takeover] button")
    assert eventually(lambda: "You have this conversation" in browser.text)
    assert browser.run("return document.scripts.length") <= 1, "what a user writes is text"
    browser.type("textarea[name=text]", "Ana here, good morning!")
    browser.click("form[action$=replies] button")
    assert desk.hears(who, 2)[-1] == "Ana here, good morning!"
    assert eventually(lambda: "Ana here, good morning!" in browser.text)
    browser.click("form[action$=resumption] button")
    assert eventually(lambda: "You have this conversation" not in browser.text)
    desk.hears(who, 2)
    browser.go(desk.world.url + "/handoffs")
    assert "How long people waited" in browser.text


@pytest.mark.parametrize("width", [1280, 400])
def test_no_page_is_wider_than_the_window(desk: Desk, browser: Browser, width: int) -> None:  # noqa: F811
    browser.width(width)
    who = f"35194{width:04}"
    desk.says(who, "hello, is there a place in grade 3?")
    desk.hears(who, 1)
    one = desk.of(who)
    for page in ("/conversations", f"/conversations/{one}", "/conversations?branch=nowhere", "/handoffs", "/funnel",
                 "/funnel?days=1&branch=nowhere", "/bookings", "/bookings?state=failed"):  # fmt: skip
        browser.go(desk.world.url + page)
        assert browser.run("return document.documentElement.scrollWidth") <= width + 1, page
        assert "Traceback" not in browser.text
        assert "Conversations" in browser.text
