"""Absurd figures from a provider, and acts done twice: nothing overflows, nothing ends in a 500."""

import json

import msgspec
import pytest
from whole_app import App, Limits, Route, Server, send

from waterline.core.money import Usage
from waterline.core.trace import AdmittedRecord, SpooledRow, encode_record
from waterline.providers.simulated_script import Fault, Target
from waterline.store import traces
from waterline.store.db import Store
from waterline.store.drain import Drainer
from waterline.store.spool import Spool

PRICED = {"provider": "openai", "model": "gpt-4o-mini"}


def row(number: int) -> SpooledRow:
    return SpooledRow(
        id=f"{number:024x}", app="a", env="production", purpose="live", release="r", route="main", provider="s",
        model="m", key="k", session="", subject="", tags="", stream=False, started_us=1000 + number,
        first_token_us=None, duration_us=5, outcome="open", status=0, code="", attempts=1, usage=Usage(),
        cost_nano_usd=0, reserved_nano_usd=40, price_version="", boot="b1",
    )  # fmt: skip


def test_drain_all_ends_while_traces_keep_coming(tmp_path, monkeypatch):
    store = Store.open(tmp_path / "w.db")
    spool = Spool.open(tmp_path / "spool", "b1", 0)
    drainer = Drainer(store, tmp_path / "spool", "b1", spool=spool)
    numbers = iter(range(500))
    drain_once = drainer.drain_once

    def one_comes_meanwhile() -> int:
        done = drain_once()
        spool.admit(encode_record(AdmittedRecord(row(next(numbers)), [])), b"x")  # StopIteration: it does not end
        return done

    monkeypatch.setattr(drainer, "drain_once", one_comes_meanwhile)
    spool.admit(encode_record(AdmittedRecord(row(1000), [])), b"x")
    try:
        assert drainer.drain_all() < 10
    finally:
        spool.close()
        store.close()


@pytest.mark.parametrize(
    "details",
    [
        {"prompt_tokens_details": {"cached_tokens": 10**30}},
        {"completion_tokens_details": {"reasoning_tokens": 10**30}},
        {"completion_tokens_details": {"reasoning_tokens": -(10**9)}},
        {"prompt_tokens_details": {"cached_tokens": -(10**9)}},
        {"prompt_tokens_details": {"cached_tokens": 10**9}},
    ],
)
def test_details_of_usage_beyond_their_total_are_not_believed(make_app, sim, details):
    app = make_app(main=PRICED, limits=Limits(nano_usd_per_day=10**9))
    said = {
        "choices": [{"message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 10, **details},
    }
    sim.play(main=Target(faults=(Fault("garbage", body=json.dumps(said)),)))
    reply = app.chat()
    trace = app.trace_of(reply)["row"]
    assert trace["outcome"] == "answered"
    assert 0 < trace["cost_nano_usd"] <= trace["reserved_nano_usd"]
    assert min(v for v in trace["usage"].values()) >= 0
    assert app.server.ask("GET", "/api/status")["lost"] == 0


def test_absurd_usage_of_a_provider_does_not_stop_the_next_start(tmp_path, sim):
    """Two rows at LARGEST: SUM overflows, GET /api/apps and /api/cost fail, and the server never starts again."""
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    app = App(server, "a", {"main": Route(**PRICED)})
    said = {
        "choices": [{"message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 10**18}},
    }
    sim.play(main=Target(faults=(Fault("garbage", body=json.dumps(said)),)))
    assert [app.chat().status for _ in range(3)] == [200] * 3
    assert server.ask("GET", "/api/cost") is not None
    assert server.stop() == 0
    server.start()
    assert server.stop() == 0


def test_sums_over_the_dearest_rows_do_not_overflow(tmp_path):
    store = Store.open(tmp_path / "w.db")
    try:
        dear = [msgspec.structs.replace(row(n), outcome="answered", cost_nano_usd=10**30) for n in range(3)]
        store.write_sync(lambda tx: traces.insert_batch(tx, [traces.TraceWrite(r, b"[]") for r in dear]))
        assert store.read_sync(lambda tx: traces.spent(tx, "a", 0, purpose="live")) > 0
    finally:
        store.close()


def test_a_report_handed_in_twice_or_for_another_app_is_no_mistake_of_ours(make_app):
    """StoreConflict of load_lines.add becomes a 500."""
    one, two = make_app(), make_app()
    for app in (one, one, two):
        line = {"app": app.name, "release": app.id, "exit_status": 0, "json": '{"same": 1}', "html": ""}
        headers = {"authorization": f"Bearer {app.server.key}"}
        reply = send(app.server.url, "POST", "/api/load-lines", json.dumps(line).encode(), headers)
        assert reply.status in (201, 409), (reply.status, reply.body)
