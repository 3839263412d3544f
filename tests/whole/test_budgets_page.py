"""The page of the budgets: bars and the month, as they are at this moment."""

import re
import threading

from whole_app import App, Limits, Route, Server, eventually, send

from waterline.core.app_spec import Spending
from waterline.providers.simulated_script import Answer, Target

PRICED = Route(provider="openai", model="gpt-4o-mini", total_s=20, first_token_s=20)


def page(server: Server, app: str = "", key: str = "") -> str:
    headers = {"authorization": f"Bearer {key or server.key}", "accept": "text/html"}
    reply = send(server.url, "GET", f"/budgets?app={app}", None, headers)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return reply.body.decode()


def bar(shown: str, title: str) -> tuple[int, int, int]:
    """Shares of a bar in words, as a screen reader says them: spent, reserved, left."""
    found = re.search(rf'aria-label="{title}: (\d+) % spent, (\d+) % reserved, (\d+) % left"', shown)
    assert found is not None, shown
    return int(found[1]), int(found[2]), int(found[3])


def test_a_bar_shows_what_is_spent_reserved_by_a_call_under_way_and_left(server, sim):
    app = App(server, "bars", {"main": PRICED}, limits=Limits(nano_usd_per_day=1_000_000))
    sim.play(main=Target(answer=Answer(text="ok"), first_token_ms=6_000))
    waiting = threading.Thread(target=lambda: app.chat(max_tokens=1000), daemon=True)
    waiting.start()  # holds 0.0006 USD and a little for its prompt
    assert eventually(lambda: any(b["reserved_nano_usd"] for b in server.ask("GET", "/api/budgets", app="bars")))
    spent, held, left = bar(page(server, "bars"), "The app, today")
    assert spent == 0
    assert 59 <= held <= 65
    assert spent + held + left in (99, 100, 101)
    sim.play(main=Target(tokens=400, answer=Answer(text="ok")))
    waiting.join()
    assert app.chat(max_tokens=400).status == 200
    spent, held, left = bar(page(server, "bars"), "The app, today")
    assert spent >= 24
    assert held == 0
    shown = page(server, "bars")
    assert "The app, this month" in shown
    assert "and no limit" in shown  # counted, not enforced


def test_branches_and_keys_have_bars_of_their_own_nearest_to_the_limit_first(server, sim):
    limits = Limits(branch=Spending(nano_usd_per_month=4_000_000), key=Spending(nano_usd_per_day=1_000_000))
    app = App(server, "scopes", {"main": PRICED}, limits=limits)
    app.key = app.make_key(branch="porto")["key"]
    sim.play(main=Target(tokens=500, answer=Answer(text="ok")))
    assert app.chat(max_tokens=500).status == 200
    shown = page(server, "scopes")
    assert bar(shown, "Branch porto, this month")[0] >= 7
    key = re.search(r"Key [^,<]+, today", shown)
    assert key is not None
    assert shown.index(key[0]) < shown.index("Branch porto, this month")  # 30 % of its limit against 7 %


def test_the_month_says_what_was_spent_and_that_a_projection_needs_more_days(server, sim):
    app = App(server, "month", {"main": PRICED}, limits=Limits(nano_usd_per_month=1_000_000_000))
    sim.play(main=Target(tokens=500, answer=Answer(text="ok")))
    assert "nothing was spent this month" in page(server, "month")
    assert app.chat(max_tokens=500).status == 200
    server.traces(app="month")
    shown = page(server, "month")
    assert "No projection yet" in shown
    assert "more days of live traffic are needed" in shown
    assert "spent so far" in shown
    assert "limit of the app" in shown
    accept = {"accept": "application/json", "authorization": f"Bearer {server.key}"}
    seen = send(server.url, "GET", "/budgets?app=month", None, accept).json
    assert seen["forecast"]["forecast"]["month"] is None
    assert {b["period"] for b in seen["budgets"]} == {"day", "month"}


def test_the_page_is_for_people_and_an_unknown_app_is_a_404(server, make_app):
    app = make_app()
    key = server.ask("POST", "/api/keys", {"kind": "person", "role": "viewer", "name": "v"})["key"]
    assert 'data-refresh="15"' in page(server, app.name, key)
    assert app.name in page(server, "", key)
    for who, path, status in ((key, "/budgets?app=nobody", 404), (app.key, "/budgets", 403)):
        accept = {"accept": "application/json", "authorization": f"Bearer {who}"}
        assert send(server.url, "GET", path, None, accept).status == status
