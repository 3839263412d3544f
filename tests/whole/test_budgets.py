"""Budgets of branches, keys and subjects in the whole app: who draws on what, what a refusal says, what survives."""

import json
import os
import subprocess
import sys
from base64 import b64encode

import pytest
from whole_app import App, Limits, Retention, Route, Server, eventually

from waterline.core.app_spec import AppSpec, PriceOverride, Spending, encode_spec
from waterline.providers.simulated_script import Answer, Fault, Target

GOOD = Target(answer=Answer(text="word " * 30))
PRICED = {"provider": "openai", "model": "gpt-4o-mini", "max_tokens": 200}
ROOMY = 10**9
NOTHING = 1_000  # nano-USD: not a single call


def budgets(server: Server, app: App, scope: str) -> dict[str, dict[str, object]]:
    """By name; of days."""
    rows = server.ask("GET", "/api/budgets", app=app.name)
    return {r["name"]: r for r in rows if r["scope"] == scope and r["period"] == "day"}


def with_key(app: App, **more: object) -> App:
    """The same app, called with another key."""
    other = object.__new__(App)
    other.__dict__.update(app.__dict__)
    other.key = app.make_key(**more)["key"]
    return other


def put_into_force(app: App, limits: Limits) -> None:
    record = encode_spec(AppSpec(name=app.name, limits=limits)).decode()
    app.server.ask("POST", "/api/environment-records", {"spec": record, "reason": "a test"})


def test_a_branch_without_room_is_refused_and_the_others_are_not(make_app, sim):
    sim.play(main=GOOD)
    limits = Limits(branch=Spending(nano_usd_per_day=ROOMY), branches={"porto": Spending(NOTHING)})
    app = make_app(main=PRICED, limits=limits)
    porto, lisbon = with_key(app, branch="porto"), with_key(app, branch="lisbon")
    refused = porto.chat()
    assert (refused.status, refused.code) == (402, "budget_exceeded")
    said = refused.json["error"]["message"]
    assert 'Branch "porto"' in said
    assert "[limits.branches.porto]" in said
    assert "wait until" in said
    assert lisbon.chat().status == app.chat().status == 200
    rows = app.server.traces(app=app.name)
    lisbon_cost = next(r["cost_nano_usd"] for r in rows if app.server.trace(r["id"])["row"]["branch"] == "lisbon")
    shown = budgets(app.server, app, "branch")
    assert shown["lisbon"]["spent_nano_usd"] == lisbon_cost > 0
    assert [a["level"] for a in shown["porto"]["alerts"]] == [50, 80, 100]


def test_a_key_carries_a_budget_of_its_own_that_holds_after_a_restart(tmp_path, sim):
    sim.play(main=GOOD)
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    try:
        app = App(server, "a", {"main": Route(**PRICED)})
        small = with_key(app, name="small", nano_usd_per_day=400_000)
        answered = 0
        while (reply := small.chat()).status == 200:
            answered += 1
            assert answered < 100
        assert (reply.status, reply.code) == (402, "budget_exceeded")
        assert "the key's own budget" in reply.json["error"]["message"]
        assert answered > 0
        assert app.chat().status == 200
        before = budgets(server, app, "key")
        assert server.stop() == 0
        server.start()
        after = budgets(server, app, "key")
        spent = {name: row["spent_nano_usd"] for name, row in before.items()}
        assert {name: row["spent_nano_usd"] for name, row in after.items()} == spent
        assert small.chat().status == 402
        assert app.chat().status == 200
    finally:
        server.stop()


def test_each_subject_has_its_own_day_and_who_names_nobody_has_none(make_app, sim):
    sim.play(main=GOOD)
    limits = Limits(subject=Spending(nano_usd_per_day=300_000))
    app = with_key(make_app(main=PRICED, limits=limits), assert_identity=True)
    answered = 0
    while app.chat(headers={"x-waterline-subject": "ana"}).status == 200:
        answered += 1
        assert answered < 100
    assert answered > 0
    assert app.chat(headers={"x-waterline-subject": "bia"}).status == 200
    assert app.chat().status == 200
    shown = budgets(app.server, app, "subject")
    assert len(shown) == 2
    assert "ana" not in json.dumps(shown)


def test_a_budget_declared_late_counts_what_was_spent_before_it(make_app, sim):
    sim.play(main=GOOD)
    app = make_app(main=PRICED)
    porto = with_key(app, branch="porto")
    for _ in range(3):
        assert porto.chat().status == 200
    spent = sum(r["cost_nano_usd"] for r in app.server.traces(app=app.name))
    put_into_force(app, Limits(branch=Spending(nano_usd_per_day=ROOMY)))
    assert budgets(app.server, app, "branch")["porto"]["spent_nano_usd"] == spent > 0
    assert porto.chat().status == 200
    put_into_force(app, Limits(branch=Spending(nano_usd_per_day=spent)))
    assert porto.chat().status == 402


def test_alerts_are_kept_counted_and_said_once(tmp_path, sim):
    sim.play(main=GOOD)
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    try:
        app = App(server, "a", {"main": Route(**PRICED)}, limits=Limits(nano_usd_per_day=400_000))
        while app.chat().status == 200:
            pass
        assert eventually(lambda: len(budgets(server, app, "app")["a"]["alerts"]) == 3)
        said = budgets(server, app, "app")["a"]["alerts"]
        assert server.stop() == 0
        assert "(80 %)" in server.log()
        server.start()
        assert app.chat().status == 402
        assert budgets(server, app, "app")["a"]["alerts"] == said
    finally:
        server.stop()


def test_a_call_that_cannot_be_traced_is_refused_under_a_hard_budget_whatever_is_declared(tmp_path, sim):
    """A restart would forget it."""
    sim.play(main=GOOD)
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}", WATERLINE_MIN_FREE_MB="1000000")
    try:
        answers = Retention(on_trace_failure="answer")
        free = App(server, "free", {"main": Route(**PRICED)}, retention=answers)
        hard = App(
            server, "hard", {"main": Route(**PRICED)}, retention=answers, limits=Limits(nano_usd_per_month=ROOMY)
        )
        assert free.chat().status == 200
        refused = hard.chat()
        assert (refused.status, refused.code) == (503, "overloaded")
        assert "hard budget" in refused.json["error"]["message"]
        assert sim.asked("main") == 1
    finally:
        server.stop()


def test_what_has_no_price_is_refused_under_a_hard_budget_also_a_tier_or_a_search(make_app, sim):
    sim.play(main=GOOD)
    app = make_app(main=PRICED, limits=Limits(nano_usd_per_day=ROOMY))
    for unpriced in ({"service_tier": "priority"}, {"web_search_options": {}}):
        reply = app.chat(**unpriced)
        assert (reply.status, reply.code) == (402, "budget_exceeded"), unpriced
        assert "has no price" in reply.json["error"]["message"]
    assert app.chat(service_tier="auto").status == 200
    free = make_app(main=PRICED)
    row = free.trace_of(free.chat(service_tier="flex"))["row"]
    assert row["cost_nano_usd"] is None


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_prompt_cached_for_an_hour_is_answered_under_a_hard_budget_and_booked_by_what_was_kept(make_app, sim, stream):
    sim.play(main=Target(answer=Answer(text="Yes."), cache_write_share=0.8, hour_share=0.5))
    prices = (PriceOverride("claude-x", "anthropic", 1_000_000_000, 5_000_000_000, cache_write=1_250_000_000),)
    route = {"provider": "anthropic", "model": "claude-x", "max_tokens": 20}
    app = make_app(main=route, limits=Limits(nano_usd_per_day=100_000_000), prices=prices)
    kept = {"type": "ephemeral", "ttl": "1h"}
    text = {"type": "text", "text": "The rules of the school. " * 40, "cache_control": kept}
    body = {"model": "main", "max_tokens": 20, "stream": stream, "messages": [{"role": "user", "content": [text]}]}
    reply = app.post(body, path="/v1/messages", anthropic_version="2023-06-01")
    assert reply.status == 200, reply.body
    row = app.trace_of(reply)["row"]
    usage = row["usage"]
    assert b'"ephemeral_1h_input_tokens":%d' % usage["cache_write_1h"] in reply.body.replace(b": ", b":")
    assert usage["cache_write_1h"] > 0
    assert abs(usage["cache_write_1h"] - usage["cache_write"]) <= 1
    price = {"input": 1000, "cache_write": 1250, "cache_write_1h": 2000, "output": 5000}
    assert row["cost_nano_usd"] == sum(usage.get(name, 0) * nano for name, nano in price.items())
    assert row["reserved_nano_usd"] >= row["cost_nano_usd"]
    (day,) = [r for r in app.server.ask("GET", "/api/budgets", app=app.name) if r["period"] == "day"]
    assert day["spent_nano_usd"] == row["cost_nano_usd"]
    listed = next(r for r in app.server.traces(app=app.name) if r["id"] == reply.trace)
    assert listed["tokens_in"] == usage["input"] + usage["cache_write"] + usage["cache_write_1h"]


def test_the_command_line_lists_every_budget(tmp_path, sim):
    sim.play(main=GOOD)
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    try:
        limits = Limits(nano_usd_per_month=2 * ROOMY, branches={"porto": Spending(nano_usd_per_day=ROOMY)})
        app = App(server, "cli", {"main": Route(**PRICED)}, limits=limits)
        run = [sys.executable, "-m", "waterline", "key", "create", "--app", "cli", "--branch", "porto",
               "--usd-per-month", "20", "--data", str(server.data), "--json"]  # fmt: skip
        made = json.loads(subprocess.run(run, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout)
        assert (made["branch"], made["nano_usd_per_month"]) == ("porto", 20 * 10**9)
        app.key = made["key"]
        assert app.chat().status == 200
        shown = subprocess.run(
            [sys.executable, "-m", "waterline", "cost", "budgets", "--data", str(server.data)],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for word in ("branch porto", f"key {made['id']}", "month", "20.00", "2.00", "1.00", "(UTC)"):
            assert word in shown, shown
        rows = {(b["scope"], b["period"]): b for b in server.ask("GET", "/api/budgets", app="cli")}
        spent = {rows[place]["spent_nano_usd"] for place in (("app", "month"), ("branch", "day"), ("key", "month"))}
        assert len(spent) == 1
        assert spent != {0}
    finally:
        server.stop()


def test_the_bytes_of_an_image_do_not_use_up_the_tokens_of_a_minute(make_app, sim):
    """400 kB of base64 were 100,000 tokens; its 512 by 512 pixels are a few hundred."""
    sim.play(main=Target(faults=(Fault("missing_usage"),)))  # its own books count the base64
    app = make_app(main={"provider": "openai", "model": "gpt-4o", "max_tokens": 50}, limits=Limits(tpm=20_000))
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (512).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0" + bytes(300_000)
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + b64encode(png).decode()}}
    asked = {"model": "main", "messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, image]}]}
    assert [app.post(asked).status for _ in range(3)] == [200, 200, 200]
    text = {"model": "main", "messages": [{"role": "user", "content": "word " * 20_000}]}
    refused = app.post(text)
    assert (refused.status, refused.code) == (429, "rate_limited")
