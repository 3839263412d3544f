"""What was spent, beside the provider's invoice, and what the month will cost: over the running server."""

import json
import os
import subprocess
import sys
import time

import msgspec
import pytest
from whole_app import Limits

from waterline.core.app_spec import Objectives, PriceOverride
from waterline.core.invoice import MAX_BYTES
from waterline.core.money import NANO
from waterline.core.savings import Cache

PRICES = tuple(
    PriceOverride(model, "simulated", 3 * NANO, 15 * NANO, cached_input=300_000_000) for model in ("small", "other")
)
TODAY = time.strftime("%Y-%m-%d", time.gmtime())


def command(server, *words: str, code: int = 0) -> str:
    environ = {**os.environ, "WATERLINE_URL": server.url, "WATERLINE_KEY": server.key}
    done = subprocess.run(
        [sys.executable, "-m", "waterline", "cost", *words], capture_output=True, text=True, env=environ, check=False
    )
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def app(sim, make_app):
    sim.play()
    made = make_app(prices=PRICES, objectives=Objectives(nano_usd_per_month=60 * NANO), limits=Limits())
    for n in range(4):
        made.chat(f"question {n}", headers={"x_waterline_session": f"s{n % 2}"})
    return made


def test_the_report_adds_up_to_what_each_trace_says(app):
    rows = app.server.traces(app=app.name)
    spent = sum(r["cost_nano_usd"] for r in rows)
    assert spent > 0
    for by in ("model", "route", "release", "key", "day"):
        found = app.server.ask("GET", "/api/cost/report", app=app.name, by=by)
        assert sum(r["cost_nano_usd"] for r in found["rows"]) == spent, by
        assert found["totals"][0]["requests"] == 4
    day = app.server.ask("GET", "/api/cost/report", app=app.name, by="day")["rows"]
    assert {r["what"] for r in day} <= {TODAY, time.strftime("%Y-%m-%d", time.gmtime())}


def test_what_has_no_price_is_shown_as_unpriced_never_as_zero(sim, make_app):
    sim.play()
    bare = make_app(main={"provider": "openai", "model": "nobody-knows-it"})
    bare.chat()
    found = bare.server.ask("GET", "/api/cost/report", app=bare.name)
    assert found["totals"][0]["unpriced"] == 1
    said = command(bare.server, "report", bare.name)
    assert "unpriced" in said
    assert "at least" not in said


def test_an_invoice_is_compared_by_model_with_what_only_one_side_knows(app, tmp_path):
    ours = app.server.ask("GET", "/api/cost/report", app=app.name)["totals"][0]["cost_nano_usd"]
    theirs = ours * 2
    file = tmp_path / "invoice.csv"
    file.write_text(f"\ufeffday;model;usd\n{TODAY};small;{theirs / NANO:.9f}\n{TODAY};ghost;1.50\n".replace(".", ","))
    found = json.loads(
        command(app.server, "report", app.name, "--invoice", str(file), "--provider", "simulated", "--json")
    )
    by_model = {m["model"]: m for m in found["matches"]}
    assert by_model["small"]["ours_nano_usd"] == ours
    assert by_model["small"]["invoice_nano_usd"] == theirs
    assert by_model["small"]["share"] == -0.5
    assert by_model["ghost"]["said"] == "only on the invoice"
    table = command(app.server, "report", app.name, "--invoice", str(file), "--provider", "simulated")
    assert "-50.00%" in table
    assert "ghost" in table


def test_a_bad_line_is_named_and_the_exit_status_says_so(app, tmp_path):
    file = tmp_path / "invoice.csv"
    file.write_text(f"day,model,usd\n{TODAY},small,1.00\n{TODAY},small,lots\n")
    said = command(app.server, "report", app.name, "--invoice", str(file), "--provider", "simulated", code=1)
    assert "line 3: 'lots' is no amount of USD" in said


def test_a_large_invoice_is_refused_by_the_command_and_by_the_server(app, tmp_path):
    file = tmp_path / "invoice.csv"
    with file.open("wb") as f:
        f.truncate(50_000_000)
    assert f"at most {MAX_BYTES:,} are read" in command(app.server, "report", "--invoice", str(file), code=1)
    body = json.dumps({"invoice": "x" * (MAX_BYTES + 1)}).encode()
    reply = app.post(body, "/api/cost/reconciliation", authorization=f"Bearer {app.server.key}")
    assert reply.status == 400
    assert "at most" in reply.json["error"]["message"]


def test_a_wrong_span_or_grouping_is_refused_with_what_to_write(app):
    for words, said in (
        (["--month", "November"], "write YYYY-MM"),
        (["--from", "2026-11-09", "--to", "2026-11-01"], "is after to"),
        (["--month", "2026-11", "--from", "2026-11-01"], "not both"),
        (["--by", "colour"], "one of model, route"),
    ):
        assert said in command(app.server, "report", app.name, *words, code=1)


def test_a_forecast_from_one_day_is_inconclusive_and_says_how_many_more(app):
    found = app.server.ask("GET", "/api/cost/forecast", app=app.name)
    assert found["forecast"]["month"] is None
    assert found["forecast"]["more_days"] == 7
    assert (found["conversations"], found["turns"]) == (2, 2.0)
    assert "INCONCLUSIVE" in command(app.server, "forecast", app.name, code=2)


def test_the_example_is_forecast_and_planned_without_a_server(tmp_path):
    environ = {k: v for k, v in os.environ.items() if not k.startswith("WATERLINE_")}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "waterline", "cost", *words], capture_output=True, text=True, env=environ, check=True
        )
        return done.stdout

    made = json.loads(run("forecast", "examples/school", "--json"))["forecast"]
    assert made["month"]["low"] < made["month"]["value"] < made["month"]["high"]
    assert len(made["assumptions"]) == 5
    told = run("forecast", "examples/school")
    assert "[objectives]" in told
    assert "routing is not in it" in told
    plan = json.loads(run("plan", "examples/school", "--json"))
    assert plan["items"][0]["kind"] == "model"
    assert plan["first_year"]["at_least"]
    assert "unknown" in run("plan", "examples/school")


def test_an_answer_from_our_own_cache_costs_nothing_and_is_no_call_in_the_books(sim, make_app):
    sim.play()
    app = make_app(prices=PRICES)
    app.release = msgspec.structs.replace(app.release, cache=Cache(exact=True))
    app.install(app.release)
    first, again = app.chat("the same"), app.chat("the same")
    assert again.headers["x-waterline-cache"] == "hit"
    found = app.server.ask("GET", "/api/cost/report", app=app.name)["totals"][0]
    assert found["requests"] == 1
    assert found["cost_nano_usd"] == app.trace_of(first)["row"]["cost_nano_usd"]
