"""The console as a browser sees it: the whole app in this process, asked over ASGI."""

import asyncio
import json
import re
import time
from html import unescape
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from starlette.routing import Mount, Route

import waterline.app
from waterline.access.keys import SYSTEM
from waterline.access.roles import PERSON_ROLES, Action, Role, allowed
from waterline.app import Waterline
from waterline.console import pages
from waterline.control.load_lines import LoadLineBody
from waterline.core import trace as t
from waterline.core.app_spec import AppSpec, Limits, Objectives, encode_spec
from waterline.core.ids import trace_id
from waterline.core.money import Usage
from waterline.core.release import Prompt, Release, encode_release
from waterline.core.release import Route as ModelRoute
from waterline.settings import Settings
from waterline.store import traces
from waterline.store.db import StoreUnavailable

HOST = "console.test"
EVIL = "<script>alert('x')</script>"
HTML = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
JSON = {"accept": "application/json"}


class Answer:
    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.status = status
        self.headers = {k.decode().lower(): v.decode() for k, v in headers}
        self.text = body.decode()

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def to(self) -> str:
        return self.headers.get("location", "")


class Browser:
    """Keeps the session's cookie and reads the CSRF token off a page, as a person's browser does."""

    def __init__(self, app, address: str = "192.0.2.1") -> None:
        self.app = app
        self.address = address
        self.cookie = ""

    async def ask(self, method: str, url: str, body: bytes = b"", **headers: str) -> Answer:
        path, _, query = url.partition("?")
        sent = {"host": HOST, **HTML, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if self.cookie:
            sent["cookie"] = f"waterline_session={self.cookie}"
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(k.encode(), v.encode()) for k, v in sent.items()],
            "client": (self.address, 5000), "server": (HOST, 80),
        }  # fmt: skip
        got: dict = {"body": b""}

        bodies = [body]

        async def receive():
            if not bodies:
                await asyncio.Event().wait()  # the browser stays
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}

        async def send(message):
            if message["type"] == "http.response.start":
                got.update(status=message["status"], headers=message["headers"])
            else:
                got["body"] += message.get("body", b"")

        try:
            await self.app(scope, receive, send)
        except ZeroDivisionError:  # planted by the test of the page for our own mistakes
            pass
        answer = Answer(got["status"], got["headers"], got["body"])
        if "set-cookie" in answer.headers:
            self.cookie = re.match(r"waterline_session=([^;]*)", answer.headers["set-cookie"])[1]
        return answer

    async def get(self, url: str, **headers: str) -> Answer:
        return await self.ask("GET", url, **headers)

    async def post(self, url: str, form: dict | None = None, csrf: str | None = None, **headers: str) -> Answer:
        if csrf is None:
            csrf = await self.csrf()
        body = urlencode({**(form or {}), "csrf": csrf}).encode()
        sent = {"content_type": "application/x-www-form-urlencoded", "origin": f"http://{HOST}", **headers}
        return await self.ask("POST", url, body, **sent)

    async def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', (await self.get("/")).text)
        return found[1] if found else ""

    async def login(self, key: str) -> Answer:
        return await self.post("/login", {"key": key}, csrf="")


class Site:
    """A running console with one app, two releases and a few keys."""

    def __init__(self, folder: Path) -> None:
        self.late_us = 0
        self.app = Waterline(Settings(data=folder, master_key=b"k" * 32, models_dir=folder / "models"), {})
        self.console = self.app.gate._otherwise
        self.plane = self.app.plane
        self.keys: dict[Role, str] = {}
        self.releases: list[str] = []
        self.made = 0

    async def fill(self) -> None:
        spec = AppSpec(
            name="school", purpose=EVIL, environments=("production", "staging"),
            limits=Limits(nano_usd_per_day=5_000_000_000),
        )  # fmt: skip
        for text in ("Be kind.", f"Be kind and brief. {EVIL}"):
            route = ModelRoute(provider="openai", model="gpt-4o-mini", prompt="agent")
            release = Release(app="school", routes={"main": route}, prompts={"agent": Prompt(text)})
            view = await self.plane.add_release(SYSTEM, encode_release(release), encode_spec(spec), EVIL)
            self.releases.append(view.id)
        await self.plane.promote(SYSTEM, "school", self.releases[0], "production", "100%", "first")

    async def add_keys(self) -> None:
        for role in PERSON_ROLES:
            made = await self.plane.access.create_key(SYSTEM, "person", f"A {role}", "", "", role, 0, False)
            self.keys[role] = made.key

    async def browser(self, role: Role) -> Browser:
        browser = Browser(self.console)
        assert (await browser.login(self.keys[role])).status == 303
        return browser

    async def add_traces(
        self, n: int, release: str = "", request: bytes = b"", answer: bytes = b"", **more
    ) -> list[str]:
        writes, ids = [], []
        for _ in range(n):
            self.made += 1
            started = time.time_ns() // 1000 - 60_000_000 - self.made * 1000
            row = t.TraceRow(
                **{
                    "id": trace_id(started // 1000, self.made, 7), "app": "school", "env": "production",
                    "purpose": "live", "release": release or self.releases[0], "route": "main", "provider": "openai",
                    "model": "gpt-4o-mini", "key": "wl-1a2b3c4d", "session": "s1", "subject": "", "tags": "",
                    "stream": False, "started_us": started, "first_token_us": 200_000, "duration_us": 900_000,
                    "outcome": "answered", "status": 200, "code": "", "attempts": 1, "usage": Usage(100, output=20),
                    "cost_nano_usd": 27_000, "reserved_nano_usd": 0, "price_version": "built-in", "boot": "b",
                    **more,
                }
            )  # fmt: skip
            events: list[t.Event] = [
                t.Received(0, "/v1/chat/completions", 10),
                t.Attempted(500, "main", "openai", "gpt-4o-mini", 1, 1, "ab" * 16, status=200, ended_us=800_000),
                t.Settled(890_000, row.usage, row.cost_nano_usd, row.price_version),
                t.Ended(900_000, row.outcome, row.code, EVIL),
            ]
            writes.append(traces.write_of(row, events))
            ids.append(row.id)

        def write(tx):
            for n in traces.insert_batch(tx, writes).values():
                traces.insert_bodies(tx, [(n, request, answer)])

        await self.app.store.write(write)
        return ids


@pytest.fixture
async def empty(tmp_path, monkeypatch):
    late = [0]
    monkeypatch.setattr(waterline.app, "clock_us", lambda: time.time_ns() // 1000 + late[0])
    site = Site(tmp_path)
    site.late = late
    await site.add_keys()
    yield site
    site.app.spool.close()
    site.app.store.close()


@pytest.fixture
async def site(empty):
    await empty.fill()
    return empty


# --- signing in ----------------------------------------------------------------------------------------------------


async def test_a_stranger_is_led_to_the_login_and_back_and_json_is_told_401(site):
    stranger = Browser(site.console)
    for page in ("/", "/traces", "/nothing-here", "/keys"):
        answer = await stranger.get(page)
        assert (answer.status, answer.to.split("?")[0]) == (303, "/login")
        assert (await stranger.get(page, **JSON)).status == 401
    assert (await stranger.get("/traces?outcome=failed")).to == "/login?next=%2Ftraces%3Foutcome%3Dfailed"
    body = urlencode({"key": site.keys[Role.VIEWER], "next": "/traces?outcome=failed"}).encode()
    assert (await stranger.ask("POST", "/login", body)).to == "/traces?outcome=failed"
    assert (await stranger.get("/traces")).status == 200


@pytest.mark.parametrize("next_", ["//evil.test", "https://evil.test", "/\\evil.test", "javascript:alert(1)", "\n//x"])
async def test_a_login_never_leads_to_another_site(site, next_):
    body = urlencode({"key": site.keys[Role.VIEWER], "next": next_}).encode()
    assert (await Browser(site.console).ask("POST", "/login", body)).to == "/"


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(site):
    answer = await Browser(site.console).login(site.keys[Role.OWNER])
    assert answer.status == 303
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=Lax" in answer.headers["set-cookie"]


async def test_an_app_key_and_a_wrong_key_are_refused_with_a_reason_and_never_repeated(site):
    made = await site.plane.access.create_key(SYSTEM, "app", "website", "school", "production", "", 0, False)
    for key, status, says in ((made.key, 403, "personal key"), ("wl-nonsense", 401, "malformed"), ("", 401, "Paste")):
        answer = await Browser(site.console).login(key)
        assert answer.status == status
        assert says in answer.text
        assert not key or key not in answer.text
        assert "set-cookie" not in answer.headers


async def test_too_many_wrong_keys_are_throttled_and_a_login_from_another_site_is_refused(site):
    browser = Browser(site.console)
    statuses = [(await browser.login("wl-00000000" + "a" * 43)).status for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    answer = await browser.login(site.keys[Role.OWNER])
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) > 0
    elsewhere = Browser(site.console, "198.51.100.7")
    refused = await elsewhere.post("/login", {"key": site.keys[Role.OWNER]}, csrf="", origin="https://evil.test")
    assert refused.status == 403
    assert elsewhere.cookie == ""


async def test_after_logout_the_cookie_opens_nothing(site):
    browser = await site.browser(Role.OWNER)
    old = browser.cookie
    assert (await browser.post("/logout")).to == "/login"
    browser.cookie = old
    assert (await browser.get("/")).to == "/login"


async def test_a_logout_without_the_token_ends_nothing(site):
    browser = await site.browser(Role.OWNER)
    assert (await browser.post("/logout", csrf="00")).status == 403
    assert (await browser.get("/")).status == 200


async def test_a_session_ends_by_time_and_the_login_page_says_why(site):
    browser = await site.browser(Role.VIEWER)
    site.late[0] = 3 * 3_600_000_000
    assert (await browser.get("/")).to == "/login"
    assert "2 hours unused" in (await browser.get("/login")).text


async def test_revoking_the_key_ends_its_session_at_once(site):
    browser = await site.browser(Role.DEVELOPER)
    await site.plane.access.revoke_key(SYSTEM, site.keys[Role.DEVELOPER][:11], "left the team")
    assert (await browser.get("/traces", **JSON)).status == 401


# --- rights --------------------------------------------------------------------------------------------------------


def _path(page: pages.Page, trace: str, release: str, line: str, app: str = "school") -> str:
    values = {"trace": trace, "release": release, "a": release, "b": release, "line": line, "app": app}
    return re.sub(r"{(\w+)}", lambda m: values.get(m[1], "wl-00000000"), page.path)


async def _line(site) -> str:
    said = LoadLineBody("school", site.releases[0], 0, json.dumps({"may": "sail"}), f"<h1>MAY SAIL</h1>{EVIL}")
    return (await site.plane.load_lines.add(SYSTEM, said)).id


@pytest.mark.parametrize("role", PERSON_ROLES)
async def test_every_page_is_open_to_the_roles_that_its_action_names_and_to_nobody_else(site, role):
    (trace,) = await site.add_traces(1, request=b"{}", answer=b"{}")
    line = await _line(site)
    browser = await site.browser(role)
    csrf = await browser.csrf()
    seen = {}
    for page in pages.PAGES:
        url = _path(page, trace, site.releases[0], line)
        ask = browser.get(url) if page.method == "GET" else browser.post(url, csrf=csrf)
        answer = await ask
        may = allowed(role, page.action)
        seen[page.path] = answer.status
        assert (answer.status == 403) == (not may), (page, answer.status, answer.text[:300])
        assert answer.status < 500
        if not may:
            assert "may not do" in answer.text
            assert "Ask someone with the role" in answer.text
            assert (await browser.ask(page.method, url, b"csrf=" + csrf.encode(), **JSON)).json["error"]["code"]
    if role is Role.VIEWER:
        assert {seen[p] for p in ("/traces/{trace}/request", "/keys", "/audit", "/releases/{release}")} == {403}
    if role is Role.OPERATOR:
        assert seen["/traces/{trace}/answer"] == seen["/keys/personal"] == 403


def test_every_route_is_declared_with_an_action_or_known_to_be_open(tmp_path):
    site = Site(tmp_path)
    console = site.console
    declared = {(page.method, page.path) for page in pages.PAGES}
    for route in console.routes:
        assert isinstance(route, Route | Mount)
        if route.path.startswith("/api") or route.path in pages.OPEN:
            continue
        assert isinstance(route, Route)
        for method in route.methods - {"HEAD"}:
            assert (method, route.path) in declared
    assert all(isinstance(page.action, Action) for page in pages.PAGES)
    assert len(declared) == len(pages.PAGES)
    site.app.spool.close()
    site.app.store.close()


async def test_every_act_needs_its_token_and_our_own_origin(site):
    (trace,) = await site.add_traces(1, request=b"{}")
    browser = await site.browser(Role.OWNER)
    csrf = await browser.csrf()
    other = await (await site.browser(Role.OWNER)).csrf()
    acts = [page for page in pages.PAGES if page.method == "POST"]
    assert len(acts) >= 8
    for page in acts:
        url = _path(page, trace, site.releases[1], "x")
        form = {"env": "production", "reason": "r", "name": "n", "role": "viewer", "app": "school", "session": "s"}
        for refused in (
            await browser.post(url, form, csrf=""),
            await browser.post(url, form, csrf=other),
            await browser.post(url, form, csrf=csrf, origin="https://evil.test"),
            await browser.post(url, form, csrf=csrf, sec_fetch_site="cross-site"),
        ):
            assert refused.status == 403, page
    assert len((await site.plane.rollout(SYSTEM, "school", "production")).history) == 1
    assert len(site.app.keys.list()) == len(PERSON_ROLES)


async def test_what_a_role_may_not_do_is_no_button(site):
    (trace,) = await site.add_traces(1, request=b'{"messages":[{"role":"user","content":"my secret"}]}', answer=b"{}")
    viewer, operator = await site.browser(Role.VIEWER), await site.browser(Role.OPERATOR)
    page = (await viewer.get(f"/traces/{trace}")).text
    assert "my secret" not in page
    assert "/replay" not in page
    assert "without their text" in page
    assert "rollback" not in (await viewer.get("/releases?app=school")).text
    assert 'href="/keys"' not in page
    assert "/rollback" in (await operator.get("/releases?app=school")).text
    assert "/keys/personal" not in (await operator.get("/keys")).text
    assert 'name="q"' not in (await operator.get("/traces")).text
    assert (await operator.get("/traces?q=secret")).status == 403


async def test_every_answer_carries_the_headers_that_keep_a_page_to_itself(site):
    browser = await site.browser(Role.OWNER)
    for url in ("/", "/nothing", "/traces", "/api/status", "/login"):
        headers = (await browser.get(url)).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "same-origin"
    for url in ("/", "/traces", "/releases", "/keys", "/audit"):
        page = (await browser.get(url)).text
        assert "style=" not in page
        assert "<style" not in page
        assert not re.search(r"<script(?! src=\"/static/)", page)
        assert not re.search(r"(src|href)=\"(https?:)?//", page)
    style = await Browser(site.console).get("/static/console.css")
    assert (style.status, style.headers["cache-control"]) == (200, "no-cache")


# --- pages ---------------------------------------------------------------------------------------------------------


async def test_what_users_and_apps_write_is_shown_as_text_on_every_page(site):
    said = json.dumps({"model": EVIL, "messages": [{"role": EVIL, "content": EVIL}]}).encode()
    answer = json.dumps({"choices": [{"message": {"content": EVIL}, "finish_reason": EVIL}]}).encode()
    (trace,) = await site.add_traces(
        1, request=said, answer=answer, session=EVIL, model=EVIL, code=EVIL, tags=EVIL, route=EVIL, outcome="failed"
    )
    await site.plane.pin(SYSTEM, "school", site.releases[1], "production", EVIL, EVIL)
    line = await _line(site)
    a, b = site.releases
    browser = await site.browser(Role.OWNER)
    for url in (
        "/", "/traces", f"/traces/{trace}", "/releases?app=school", f"/releases/{b}", f"/releases/{a}/diff/{b}",
        "/load-lines", f"/load-lines/{line}", "/keys", "/audit", "/traces?" + urlencode({"session": EVIL, "q": EVIL}),
        "/login?" + urlencode({"next": f"/{EVIL}"}), "/" + EVIL,
    ):  # fmt: skip
        page = (await browser.get(url)).text
        assert EVIL not in page, url
        assert "alert('x')" not in page, url
    assert "&lt;script&gt;" in (await browser.get(f"/traces/{trace}")).text


async def test_paging_reaches_every_trace_once_and_says_how_many_there_are(site):
    ids = await site.add_traces(173)
    browser, url, seen = await site.browser(Role.VIEWER), "/traces", []
    while url:
        page = (await browser.get(url)).text
        assert "173 in all" in page
        seen += re.findall(r'class="nowrap two"><a href="/traces/([0-9a-f]{24})"', page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        url = unescape(older[1]) if older else ""
    assert sorted(seen) == sorted(ids)
    assert len(seen) == 173
    assert "That was the oldest" in page


async def test_the_filter_keeps_to_what_it_was_asked_and_is_carried_from_page_to_page(site):
    await site.add_traces(60, outcome="failed", code="provider_timeout", status=504)
    await site.add_traces(5)
    browser = await site.browser(Role.DEVELOPER)
    page = (await browser.get("/traces?outcome=failed&code=provider_timeout")).text
    assert "60 match" in page
    older = unescape(re.search(r'rel="next" href="([^"]+)"', page)[1])
    assert "outcome=failed" in older
    assert (await browser.get(older)).text.count('class="outcome failed"') == 10
    for query, status, n in (
        ("outcome=refused", 200, 0), ("model=gpt-4o-mini", 200, 65), ("since=2031-01-01T00:00", 200, 0),
        ("until=2031-01-01T00:00", 200, 65), (f"release={site.releases[0]}", 200, 65), ("session=s1", 200, 65),
    ):  # fmt: skip
        answer = await browser.get(f"/traces?{query}", **JSON)
        assert (answer.status, answer.json["total"]) == (status, n), query
    assert (await browser.get("/traces?since=tomorrow")).status == 400
    assert (await browser.get("/traces?before=nonsense")).status == 400


async def test_one_trace_shows_its_events_money_and_bodies_and_names_what_it_does_not_show(site):
    long = "word " * 20_000
    stream = "".join(
        f'data: {{"choices":[{{"index":0,"delta":{{"content":"{w} "}}}}]}}\n\n' for w in ("Good", "morning,", "Ana.")
    )
    (trace,) = await site.add_traces(
        1, request=json.dumps({"messages": [{"role": "user", "content": long}]}).encode(),
        answer=(stream + "data: [DONE]\n\n").encode(), cost_nano_usd=None, price_version="", stream=True,
    )  # fmt: skip
    browser = await site.browser(Role.DEVELOPER)
    page = (await browser.get(f"/traces/{trace}")).text
    for part in ("attempt 1", "settled", "unpriced", "no price is known", "Good morning, Ana.", "ended with [DONE]"):
        assert part in page
    assert "80,000 more characters are not shown here" in page
    whole = await browser.get(f"/traces/{trace}/request")
    assert whole.headers["content-type"].startswith("text/plain")
    assert whole.headers["content-disposition"].startswith("attachment")
    assert json.loads(whole.text)["messages"][0]["content"] == long


async def test_a_trace_without_bodies_and_a_trace_that_is_not_there(site):
    (trace,) = await site.add_traces(1)
    browser = await site.browser(Role.DEVELOPER)
    assert "Not kept" in (await browser.get(f"/traces/{trace}")).text
    assert (await browser.get(f"/traces/{trace}/answer")).status == 404
    for missing in ("0" * 24, "nonsense"):
        answer = await browser.get(f"/traces/{missing}")
        assert answer.status == 404
        assert "Not found" in answer.text


async def test_a_replay_that_cannot_be_made_says_why(site):
    (trace,) = await site.add_traces(1)
    browser = await site.browser(Role.DEVELOPER)
    answer = await browser.post(f"/traces/{trace}/replay")
    assert answer.status == 200
    assert "Not replayable" in answer.text


async def test_the_two_live_releases_stand_side_by_side_and_unpriced_is_not_zero(site):
    a, b = site.releases
    await site.plane.promote(SYSTEM, "school", b, "production", "10%", "a tenth")
    await site.add_traces(30, a)
    await site.add_traces(10, b, duration_us=1_800_000, cost_nano_usd=None)
    page = (await (await site.browser(Role.VIEWER)).get("/?app=school&span=1h")).text
    assert page.count('<svg class="chart"') == 5  # nothing failed, so that chart says "none"
    assert f"against {a[:12]}" in page
    assert "+900 ms" in page or re.search(r"\+\d+ ms", page)
    assert "unpriced" in page
    assert "without 10 unpriced requests" in page
    assert "0.000810" in page  # 30 x 27,000 nano-USD
    assert "10 %" in page
    assert "90 %" in page


async def test_promotion_rollback_and_pins_from_the_pages_are_recorded_with_who_and_why(site):
    a, b = site.releases
    browser = await site.browser(Role.OPERATOR)
    done = await browser.post(
        f"/releases/{b}/promotion", {"env": "production", "weight": "10%", "reason": "try the brief prompt"}
    )
    assert done.status == 303
    page = (await browser.get(done.to)).text
    assert "Done." in page
    assert "try the brief prompt" in page
    assert "A operator" in page
    pinned = await browser.post(
        "/apps/school/pins", {"env": "production", "session": "wa-55", "release": b, "reason": "the head asked"}
    )
    assert "wa-55" in (await browser.get(pinned.to)).text
    assert (await browser.post("/apps/school/pins", {"env": "production", "session": "wa-55"})).status == 400
    gone = await browser.post("/apps/school/pins/removal", {"env": "production", "session": "wa-55"})
    assert gone.status == 303
    back = await browser.post("/apps/school/rollback", {"env": "production", "reason": "worse answers"})
    assert "Done." in (await browser.get(back.to)).text
    live = await site.plane.rollout(SYSTEM, "school", "production")
    assert [(s.release, s.weight_bp) for s in live.shares] == [(a, 10_000)]
    assert [(m.kind, m.who) for m in live.history][:4] == [
        ("rollback", "A operator"), ("unpin", "A operator"), ("pin", "A operator"), ("promote", "A operator"),
    ]  # fmt: skip


async def test_a_refused_act_is_a_page_that_says_why_and_nothing_moves(site):
    browser = await site.browser(Role.OWNER)
    answer = await browser.post("/apps/school/rollback", {"env": "production", "reason": "x"})
    assert answer.status == 409
    assert "nothing to roll back to" in unescape(answer.text)
    for referer, link in ((f"http://{HOST}/releases?app=school", True), ("https://evil.test/releases", False)):
        answer = await browser.post("/apps/school/rollback", {"env": "production", "reason": "x"}, referer=referer)
        assert ('<a href="/releases?app=school">Back</a>' in answer.text) == link
        assert "evil" not in answer.text
    for weight in ("200%", "lots", "-1"):
        form = {"env": "production", "weight": weight, "reason": "x"}
        assert (await browser.post(f"/releases/{site.releases[1]}/promotion", form)).status == 400
    assert len((await site.plane.rollout(SYSTEM, "school", "production")).history) == 1


async def test_the_diff_shows_both_sides(site):
    a, b = site.releases
    browser = await site.browser(Role.DEVELOPER)
    page = (await browser.get(f"/releases/{a}/diff/{b}")).text
    assert '<span class="minus">-Be kind.</span>' in page
    assert '<span class="plus">+Be kind and brief.' in page
    assert (await browser.get(f"/releases/{b[:8]}/diff?with={a[:8]}")).to == f"/releases/{a}/diff/{b}"
    assert "both behave the same" in (await browser.get(f"/releases/{a}/diff/{a}")).text


async def test_a_new_key_is_shown_once_and_works_and_a_revoked_one_does_not(site):
    browser = await site.browser(Role.OWNER)
    made = await browser.post("/keys/personal", {"name": "Ana", "role": "viewer"})
    assert made.status == 201
    key = re.search(r'value="(wl-[^"]+)"', made.text)[1]
    assert key not in (await browser.get("/keys")).text
    ana = Browser(site.console)
    assert (await ana.login(key)).status == 303
    gone = await browser.post(f"/keys/{key[:11]}/revocation", {"reason": "test"})
    assert "Revoked." in (await browser.get(gone.to)).text
    assert (await ana.get("/")).to == "/login"
    app_key = await browser.post("/keys/app", {"name": "web", "app": "school", "env": "production", "hours": "1"})
    assert app_key.status == 201
    assert (await browser.post("/keys/app", {"name": "web", "app": "school", "env": "mars"})).status == 404
    assert (await browser.post("/keys/personal", {"name": "x", "role": "king"})).status == 400
    assert (await browser.post("/keys/personal", {"name": "x", "role": "viewer", "hours": "soon"})).status == 400


async def test_an_operator_may_not_let_an_app_key_assert_identity(site):
    browser = await site.browser(Role.OPERATOR)
    form = {"name": "web", "app": "school", "env": "production", "assert_identity": "yes"}
    assert (await browser.post("/keys/app", form)).status == 403


async def test_the_audit_page_says_whether_the_chain_holds_and_reaches_the_first_entry(site):
    for i in range(120):
        await site.plane.pin(SYSTEM, "school", site.releases[0], "production", f"s{i}", "")
    browser, url, seen = await site.browser(Role.OPERATOR), "/audit", []
    while url:
        page = (await browser.get(url)).text
        assert ("The chain holds" in page) == (url == "/audit")
        seen += [int(n) for n in re.findall(r'<tr><td class="num">(\d+)</td>', page)]
        older = re.search(r'rel="next" href="([^"]+)"', page)
        url = unescape(older[1]) if older else ""
    assert seen == list(range(max(seen), 0, -1))
    export = await browser.get("/audit/export")
    assert len(export.text.splitlines()) == max(seen)


async def test_a_load_line_is_shown_in_a_frame_that_can_run_nothing(site):
    line = await _line(site)
    browser = await site.browser(Role.VIEWER)
    page = (await browser.get(f"/load-lines/{line}")).text
    assert "<iframe" in page
    assert " sandbox " in page
    report = await browser.get(f"/load-lines/{line}/report")
    policy = report.headers["content-security-policy"]
    assert policy.startswith("sandbox;")
    assert "script-src" not in policy
    assert "default-src 'none'" in policy
    assert (await browser.get(f"/load-lines/{line}/json")).json == {"may": "sail"}
    assert (await browser.get("/load-lines/none")).status == 404


async def test_the_same_address_answers_json(site):
    (trace,) = await site.add_traces(1, request=b"{}", answer=b"{}")
    await _line(site)
    browser = await site.browser(Role.OWNER)
    views = {
        "/": "overview", "/traces": "rows", f"/traces/{trace}": "events", "/releases": "releases",
        f"/releases/{site.releases[0]}": "manifest", "/audit": "entries", "/budgets?app=school": "budgets",
    }  # fmt: skip
    for url, part in views.items():
        answer = await browser.get(url, **JSON)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json[part], url
    for url in ("/keys", "/load-lines", "/providers"):
        assert isinstance((await browser.get(url, **JSON)).json, list)
    promoted = await browser.post(
        f"/releases/{site.releases[1]}/promotion", {"env": "production", "weight": "10%", "reason": "x"}, **JSON
    )
    assert (promoted.status, promoted.json["kind"]) == (201, "promote")
    assert (await browser.get("/nothing", **JSON)).status == 404
    by_key = Browser(site.console)
    rows = await by_key.get("/traces", **JSON, authorization=f"Bearer {site.keys[Role.VIEWER]}")
    assert rows.json["rows"][0]["id"] == trace


@pytest.mark.parametrize("role", [Role.OWNER, Role.VIEWER])
async def test_an_empty_server_says_on_every_page_how_to_begin(empty, role):
    browser = await empty.browser(role)
    assert "waterline up APP_DIR" in (await browser.get("/")).text
    assert "waterline run" in (await browser.get("/traces")).text
    assert "waterline up APP_DIR" in (await browser.get("/providers")).text
    assert "waterline up APP_DIR" in (await browser.get("/budgets")).text
    assert "waterline up APP_DIR" in (await browser.get("/channels")).text
    assert "waterline up APP_DIR" in (await browser.get("/channels/fees")).text
    assert "waterline cost forecast APP_DIR" in (await browser.get("/forecast")).text
    assert "waterline release build APP_DIR" in (await browser.get("/releases")).text
    assert "waterline trial" in (await browser.get("/load-lines")).text
    if role is Role.OWNER:
        assert (await browser.get("/keys")).status == 200


async def test_no_traffic_yet_comes_with_the_command_that_makes_some(site):
    page = (await (await site.browser(Role.VIEWER)).get("/")).text
    assert "No traffic in the last 24 hours" in page
    assert "waterline run --app school" in page
    filtered = await (await site.browser(Role.VIEWER)).get("/traces?outcome=failed")
    assert "Nothing matches" in filtered.text


async def test_errors_are_pages_in_the_same_style_and_ours_name_no_internals(site, monkeypatch):
    browser = await site.browser(Role.OWNER)
    for method, url, status in (
        ("GET", "/nothing", 404), ("GET", "/releases/ffffffff", 404), ("POST", "/traces", 405),
        ("GET", "/releases/zz", 404), ("GET", "/apps/school/rollback", 405),
    ):  # fmt: skip
        answer = await browser.ask(method, url)
        assert answer.status == status, url
        assert 'class="failure card"' in answer.text
    too_large = await browser.ask("POST", "/logout", b"x" * (70 << 10), origin=f"http://{HOST}")
    assert too_large.status == 413

    async def broken(*_, **__):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(site.plane, "apps", broken)
    answer = await browser.get("/")
    assert answer.status == 500
    assert "on our side" in answer.text
    assert "secret detail" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")


async def test_a_full_disk_is_said_with_the_way_out_not_a_mistake_of_ours(site, monkeypatch):
    browser = await site.browser(Role.OWNER)

    async def full(*_, **__):
        raise StoreUnavailable("waterline.db: no room left on the disk. Free some space.")

    monkeypatch.setattr(site.plane, "apps", full)
    answer = await browser.get("/")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "Free some space" in answer.text
    as_json = await browser.get("/", accept="application/json")
    assert as_json.json["error"]["code"] == "overloaded"


async def test_every_link_of_every_page_leads_somewhere(site):
    (trace,) = await site.add_traces(1, request=b"{}", answer=b"{}")
    await _line(site)
    await site.plane.promote(SYSTEM, "school", site.releases[1], "production", "10%", "x")
    browser = await site.browser(Role.OWNER)
    queue, seen = ["/", f"/traces/{trace}"], set()
    while queue:
        url = queue.pop()
        if url in seen:
            continue
        seen.add(url)
        answer = await browser.get(url)
        assert answer.status in (200, 303), (url, answer.status)
        if answer.headers["content-type"].startswith("text/html"):
            found = [unescape(u).partition("#")[0] for u in re.findall(r'(?:href|src)="(/[^"]*)"', answer.text)]
            queue += [u for u in found if urlsplit(u).path == u or len(seen) < 60]
    assert len(seen) > 15


async def _days(site: Site, days: int) -> None:
    for day in range(1, days + 1):
        started = site.app.deps.clock_us() - day * 86_400_000_000
        await site.add_traces(1, started_us=started, cost_nano_usd=2_000_000_000 + day % 5 * 100_000_000)


async def test_the_forecast_draws_the_month_and_what_would_change_it(site):
    await _days(site, 20)
    browser = await site.browser(Role.VIEWER)
    page = (await browser.get("/forecast?app=school")).text
    assert "by the end of the month, between" in page
    found = (await browser.get("/forecast?app=school", **JSON)).json
    effects = found["forecast"]["forecast"]["effects"]
    assert len(effects) >= 4
    drawn = [e["name"] for e in sorted(effects, key=lambda e: -abs(e["high_usd"] - e["low_usd"]))]
    places = [page.index(f"<li><strong>{name}</strong>") for name in drawn]
    assert places == sorted(places), "the widest bar comes first"
    assert "monthly_conversations under [objectives]" in page  # nothing is declared, and it says where to write it
    assert found["declared"].startswith("app.toml declares no volume")


async def test_the_forecast_shows_what_was_declared_beside_what_is_seen(site):
    spec = AppSpec(name="school", environments=("production", "staging"), objectives=Objectives(
        monthly_conversations=10_000, turns_per_conversation=6.0, nano_usd_per_month=50_000_000_000))  # fmt: skip
    await site.plane.put_into_force(SYSTEM, encode_spec(spec), "a pilot")
    browser = await site.browser(Role.VIEWER)
    page = (await browser.get("/forecast?app=school")).text
    assert "Inconclusive" in page  # no traffic: nothing green
    assert "As declared, a whole month" in page
    assert "Chance to pass the objective" in page
    assert "10,000".replace(",", "") in page.replace(",", "").replace("e+04", "0000")
    declared = (await browser.get("/forecast?app=school", **JSON)).json["declared"]
    assert declared["basis"] == "declared"
    assert declared["month"]["low"] < declared["month"]["value"] < declared["month"]["high"]


async def test_a_forecast_of_an_app_that_is_not_there_is_a_404(site):
    assert (await (await site.browser(Role.VIEWER)).get("/forecast?app=nobody")).status == 404


async def test_an_app_that_was_never_called_has_its_budgets(site):
    browser = await site.browser(Role.VIEWER)
    found = (await browser.get("/budgets?app=school", **JSON)).json["budgets"]
    assert {(b["scope"], b["period"], b["limit_nano_usd"], b["spent_nano_usd"]) for b in found} == {
        ("app", "day", 5_000_000_000, 0),
        ("app", "month", None, 0),
    }
    page = (await browser.get("/budgets?app=school")).text
    assert "The app, today" in page
    assert "The app, this month" in page
