"""Money under hostile callers and providers: nothing is spent unseen, nothing is given back, no record is poison."""

import json
import threading
from base64 import b64encode

import pytest
from whole_app import App, Limits, Route, Server, eventually, send

from waterline.core.app_spec import AppSpec
from waterline.core.release import Release
from waterline.providers.simulated_script import Answer, Fault, Target, Tool

GOOD = Target(answer=Answer(text="ok"))
PRICED = {"provider": "openai", "model": "gpt-4o-mini"}


def test_a_call_refused_for_want_of_its_trace_holds_none_of_the_budget(tmp_path, sim):
    sim.play(main=GOOD)
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}", WATERLINE_MIN_FREE_MB="1000000")
    try:
        limits = Limits(nano_usd_per_day=2_000_000)  # six worst cases of 500 tokens
        app = App(server, "careful", {"main": Route(**PRICED, max_tokens=500)}, limits=limits)
        assert [app.chat().status for _ in range(12)] == [503] * 12
    finally:
        server.stop()


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("asked", [2 * 10**16, 10**18, 2**63, 10**30, -1])
def test_a_length_that_no_answer_has_is_a_400(make_app, sim, field, asked):
    sim.play(main=GOOD)
    reply = make_app(main=PRICED).chat(**{field: asked})
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert sim.asked("main") == 0


def test_after_absurd_lengths_traces_are_still_stored_and_the_next_start_is_clean(tmp_path, sim):
    sim.play(main=GOOD)
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    app = App(server, "a", {"main": Route(**PRICED)})
    for asked in (2 * 10**16, 10**18, 10**30):
        app.chat(max_tokens=asked)
    good = app.chat()
    assert good.status == 200
    assert eventually(lambda: server.ask("GET", "/api/status")["waiting"] == 0)
    assert send(server.url, "GET", "/readyz").status == 200
    assert server.stop() == 0
    server.start()
    assert server.trace(good.trace)["row"]["outcome"] == "answered"
    assert server.ask("GET", "/api/status")["lost"] == 0
    assert server.stop() == 0


def test_a_plain_call_that_timed_out_is_booked_with_the_answer_it_may_have_made(make_app, sim):
    """The provider worked for the whole time, and will bill for it."""
    main = {**PRICED, "total_s": 1.0, "max_tokens": 500}
    app = make_app(main=main, limits=Limits(nano_usd_per_day=10**9))
    sim.play(main=Target(answer=Answer(text="word " * 400), first_token_ms=3000.0))
    reply = app.chat()
    assert reply.status == 504
    row = app.trace_of(reply)["row"]
    assert row["usage"]["estimated"]
    assert row["reserved_nano_usd"] // 2 <= row["cost_nano_usd"] <= row["reserved_nano_usd"]


def test_choices_asked_for_by_the_route_are_in_the_reservation(make_app, sim):
    main = {**PRICED, "max_tokens": 100, "params": {"n": 8}}
    app = make_app(main=main, limits=Limits(nano_usd_per_day=10**9))
    sim.play(main=Target(answer=Answer(text="word " * 100)))
    row = app.trace_of(app.chat())["row"]
    assert row["usage"]["output"] > 100
    assert 0 < row["cost_nano_usd"] <= row["reserved_nano_usd"]


def test_negative_usage_gives_no_money_back(make_app, sim):
    app = make_app(main=PRICED, limits=Limits(nano_usd_per_day=10**9))
    said = {
        "choices": [{"message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": -1_000_000, "completion_tokens": -1_000_000},
    }
    sim.play(main=Target(faults=(Fault("garbage", body=json.dumps(said)),)))
    row = app.trace_of(app.chat())["row"]
    assert row["cost_nano_usd"] > 0
    assert row["usage"]["estimated"]


def test_a_budget_declared_while_calls_are_in_flight_counts_them(make_app, sim):
    app = make_app(main={**PRICED, "total_s": 20.0, "max_tokens": 400})
    sim.play(main=Target(answer=Answer(text="word " * 400), first_token_ms=1200.0))
    threads = [threading.Thread(target=app.chat) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: sim.asked("main") == 4)
    app.spec = AppSpec(name=app.name, limits=Limits(nano_usd_per_day=10**9))
    app.install(Release(app=app.name, routes=app.release.routes, purpose="with a budget"))
    assert any(thread.is_alive() for thread in threads)
    for thread in threads:
        thread.join()
    spent = sum(row["cost_nano_usd"] for row in app.server.traces(app=app.name))
    view = next(a for a in app.server.ask("GET", "/api/apps") if a["name"] == app.name)
    assert view["spent_today_nano_usd"] == spent > 0


# --- replay ------------------------------------------------------------------------------------------------------


def test_a_replay_never_asks_a_provider_that_bills(make_app, sim):
    app = make_app(main={**PRICED, "reproducible": True, "max_tokens": 50}, limits=Limits(nano_usd_per_day=10**9))
    sim.play(main=GOOD)
    trace = app.chat().trace
    for _ in range(3):
        replayed = app.server.ask("POST", f"/api/traces/{trace}/replay", {})
        assert replayed["same"]
        assert "asking again costs nothing" in replayed["answer"]
    assert sim.asked("main") == len(app.server.traces(app=app.name)) == 1


def test_a_replay_of_a_tool_call_is_never_called_the_same_answer(make_app, sim):
    """Only texts are compared: two calls with other arguments have the same, empty text."""
    app = make_app(main={"reproducible": True})
    tools = [{"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {}}}}]
    sim.play(main=Target(answer=Answer(tool=Tool("book", {"day": "Tuesday"}))))
    trace = app.chat(tools=tools).trace
    sim.play(main=Target(answer=Answer(tool=Tool("book", {"day": "Friday"}))))
    replayed = app.server.ask("POST", f"/api/traces/{trace}/replay", {})
    assert not replayed["same"]
    assert replayed["answer"].startswith("INCONCLUSIVE")
    assert sim.asked("main") == 1


def test_an_image_behind_json_escapes_is_reserved_like_any_other(make_app, sim):
    sim.play(main=GOOD)
    app = make_app(main={**PRICED, "max_tokens": 10}, limits=Limits(nano_usd_per_day=10**9))
    text, image = '{"type":"text","text":"x"}', '{"type":"image_url","image_url":{"url":"https://example.com/x"}}'
    reserved = {}
    for name, part in {"text": text, "image": image, "escaped": image.replace("image_url", "image\\u005furl")}.items():
        reply = app.post(f'{{"model":"main","messages":[{{"role":"user","content":[{part}]}}]}}'.encode())
        reserved[name] = app.trace_of(reply)["row"]["reserved_nano_usd"]
    assert reserved["text"] < reserved["image"] // 20
    assert reserved["escaped"] >= reserved["image"]


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x64\0\0\0\x64\x08\x02\0\0\0" + bytes(90_000)


@pytest.mark.parametrize("api", ["chat/completions", "responses", "messages"])
def test_an_inline_image_is_reserved_by_its_size_in_every_api(make_app, sim, api):
    sim.play(main=GOOD)
    app = make_app(main={**PRICED, "max_tokens": 10}, limits=Limits(nano_usd_per_day=10**9))
    data = b64encode(PNG).decode()
    part = {
        "chat/completions": {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        "responses": {"type": "input_image", "image_url": f"data:image/png;base64,{data}"},
        "messages": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
    }[api]
    said = {"input" if api == "responses" else "messages": [{"role": "user", "content": [part]}]}
    reply = app.post({"model": "main", **said, **({"max_tokens": 10} if api == "messages" else {})}, f"/v1/{api}")
    assert reply.status == 200, reply.body
    tokens = app.trace_of(reply)["row"]["reserved_nano_usd"] / 150  # 0.15 USD a million
    assert 2_833 + 4 * 5_667 <= tokens < 2_833 + 4 * 5_667 + 1_000


def test_a_cut_stream_about_an_image_is_booked_with_the_image(make_app, sim):
    """Its address has few bytes: an estimate by them would leave the provider's bill above the budget."""
    sim.play(main=Target(answer=Answer(text="a b c d e f"), faults=(Fault("cut", after=2),), per_token_ms=5.0))
    app = make_app(main={**PRICED, "max_tokens": 10, "retries": 0}, limits=Limits(nano_usd_per_day=10**9))
    image = {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}
    reply = app.post({"model": "main", "stream": True, "messages": [{"role": "user", "content": [image]}]})
    row = app.trace_of(reply)["row"]
    assert row["usage"]["estimated"]
    assert row["usage"]["input"] >= 48_169
    assert row["cost_nano_usd"] <= row["reserved_nano_usd"]
