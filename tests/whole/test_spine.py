"""The main job, end to end: an unchanged program is traced and priced; a prompt is changed, released, watched, rolled
back; a trace is replayed to the byte."""

import json
import time

import anthropic
import msgspec
import openai
import pytest
from whole_app import App, Prompt, Release, Route, Server, eventually, send

from waterline.core.app_spec import AppSpec, Limits, encode_spec
from waterline.core.release import encode_release
from waterline.providers.simulated_script import Answer, Fault, Target, Tool

GOOD = Target(answer=Answer(text="Olá, visit us on Tuesday."))
FOREVER = 10**9


def sdk(app: App) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{app.server.url}/v1", api_key=app.key, max_retries=0)


# --- an unchanged program ----------------------------------------------------------------------------------------


def test_the_official_sdk_works_unchanged_and_its_trace_is_there_within_moments(make_app, sim):
    sim.play(main=GOOD)
    app = make_app(main={"provider": "openai", "model": "gpt-4o-mini", "answers_to": ("gpt-4o-mini",)})
    asked = [{"role": "user", "content": "When can we visit?"}]
    plain = sdk(app).chat.completions.create(model="gpt-4o-mini", messages=asked)
    assert plain.choices[0].message.content == "Olá, visit us on Tuesday."
    streamed = list(sdk(app).chat.completions.create(model="gpt-4o-mini", messages=asked, stream=True))
    said = "".join(c.choices[0].delta.content or "" for c in streamed if c.choices)
    assert said == "Olá, visit us on Tuesday."
    rows = eventually(lambda: r if len(r := app.server.traces(app=app.name)) == 2 else None)
    assert rows
    for row in rows:
        assert row["tokens_in"] > 0
        assert row["tokens_out"] > 0
        assert row["cost_nano_usd"] > 0
        assert row["duration_us"] > 0
        assert row["release"] == app.id


def test_tools_json_schema_logprobs_and_unknown_fields_pass_through(make_app, sim):
    app = make_app()
    sim.play(main=Target(answer=Answer(tool=Tool("book", {"day": "Tuesday"}))))
    tools = [{"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {}}}}]
    asked = [{"role": "user", "content": "Book"}]
    called = sdk(app).chat.completions.create(model="main", messages=asked, tools=tools)
    assert called.choices[0].finish_reason == "tool_calls"
    assert json.loads(called.choices[0].message.tool_calls[0].function.arguments) == {"day": "Tuesday"}
    chunks = list(sdk(app).chat.completions.create(model="main", messages=asked, tools=tools, stream=True))
    pieces = [t.function.arguments or "" for c in chunks if c.choices for t in c.choices[0].delta.tool_calls or []]
    assert json.loads("".join(pieces)) == {"day": "Tuesday"}

    sim.play(main=GOOD)
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    fmt = {"type": "json_schema", "json_schema": {"name": "lead", "schema": schema}}
    shaped = sdk(app).chat.completions.create(model="main", messages=asked, response_format=fmt)
    assert isinstance(json.loads(shaped.choices[0].message.content)["age"], int)
    probable = sdk(app).chat.completions.create(model="main", messages=asked, logprobs=True, top_logprobs=1)
    assert probable.choices[0].logprobs.content

    trace = app.post({"model": "main", "messages": asked, "x_new_field": {"a": [1, 2.50, "é"]}, "seed": 7}).trace
    replayed = app.server.ask("POST", f"/api/traces/{trace}/replay", {})
    assert replayed["same"]


def test_embeddings_models_and_feedback(make_app, sim):
    sim.play(main=GOOD)
    app = make_app()
    vectors = sdk(app).embeddings.create(model="main", input=["a", "b"], encoding_format="float")
    assert len(vectors.data) == 2
    assert [m.id for m in sdk(app).models.list().data] == ["main"]
    trace = app.chat().trace
    reply = app.post({"trace": trace, "kind": "edited", "edit": "better", "comment": "too long"}, "/v1/feedback")
    assert reply.status == 201
    (verdict,) = app.server.trace(trace)["verdicts"]
    assert (verdict["name"], verdict["judge"]["name"], verdict["outcome"]) == ("feedback.edited", "user", "fail")
    assert app.post({"trace": "f" * 24, "kind": "accepted"}, "/v1/feedback").status == 404
    assert app.post({"trace": trace, "kind": "loved"}, "/v1/feedback").status == 400


def test_a_model_is_found_by_its_name_in_the_words_of_each_sdk(make_app, sim):
    sim.play(main=GOOD)
    app = make_app(main={"answers_to": ("vendor/model-1",)})
    ours, theirs = sdk(app), anthropic.Anthropic(base_url=app.server.url, api_key=app.key, max_retries=0)
    for name in ("main", "vendor/model-1"):
        found = ours.models.retrieve(name)
        assert (found.id, found.object, found.owned_by) == (name, "model", "simulated")
        as_anthropic = theirs.models.retrieve(name)
        assert (as_anthropic.id, as_anthropic.type, as_anthropic.display_name) == (name, "model", name)
    listed = theirs.models.list()
    assert [(m.id, m.type, m.created_at.year) for m in listed] == [("main", "model", 1970),
                                                                  ("vendor/model-1", "model", 1970)]  # fmt: skip
    assert (listed.has_more, listed.first_id, listed.last_id) == (False, "main", "vendor/model-1")
    with pytest.raises(openai.NotFoundError) as unknown:
        ours.models.retrieve("nope")
    assert unknown.value.code == "unknown_model"
    with pytest.raises(anthropic.NotFoundError) as unknown_too:
        theirs.models.retrieve("nope")
    assert unknown_too.value.body["error"]["type"] == "not_found_error"
    for method, path, status in (("DELETE", "/v1/models/main", 405), ("GET", "/v1/models/", 404),
                                 ("GET", "/v1/modelsx", 404), ("POST", "/v1/models", 405)):  # fmt: skip
        assert send(app.server.url, method, path, headers={"authorization": f"Bearer {app.key}"}).status == status
    assert send(app.server.url, "GET", "/v1/models/main").status == 401


def test_an_error_that_the_openai_sdk_raises_names_the_trace(make_app, sim):
    sim.play(main=Target(faults=(Fault("http", status=400),)))
    app = make_app()
    with pytest.raises(openai.BadRequestError) as refused:
        sdk(app).chat.completions.create(model="main", messages=[{"role": "user", "content": "hello"}])
    assert refused.value.request_id
    assert app.server.trace(refused.value.request_id)["row"]["outcome"] == "failed"


def test_an_unchanged_openai_program_says_no_length_and_an_anthropic_route_answers_it(make_app, sim):
    sim.play(main=GOOD)
    app = make_app(main={"provider": "anthropic", "model": "claude-haiku-4-5"})
    made = sdk(app).chat.completions.create(model="main", messages=[{"role": "user", "content": "hello"}])
    assert made.choices[0].finish_reason == "stop"
    assert sdk(app).responses.create(model="main", input="hello").status == "completed"


def test_health_metrics_and_readiness(make_app, sim, server):
    sim.play(main=GOOD)
    app = make_app()
    app.chat()
    assert send(server.url, "GET", "/healthz").status == 200
    assert send(server.url, "GET", "/readyz").status == 200
    assert send(server.url, "GET", "/metrics").status == 401
    text = send(server.url, "GET", "/metrics", headers={"authorization": f"Bearer {server.key}"}).body.decode()
    assert f'waterline_requests_total{{app="{app.name}",route="main",outcome="answered",code=""}} 1' in text
    for line in text.splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2
        if not line.startswith("#"):
            float(line.rsplit(" ", 1)[1])


def test_answers_carry_trace_release_status_and_cost(make_app, sim):
    sim.play(main=GOOD)
    app = make_app(main={"provider": "openai", "model": "gpt-4o-mini"})
    reply = app.chat()
    assert reply.headers["x-waterline-release"] == app.id
    assert reply.headers["x-waterline-status"] == "experimental"
    row = app.trace_of(reply)["row"]
    assert float(reply.headers["x-waterline-cost-usd"]) == row["cost_nano_usd"] / 1e9


def test_anthropic_is_spoken_to_in_its_own_words(make_app, sim):
    sim.play(main=GOOD)
    app = make_app(main={"provider": "anthropic", "model": "claude-haiku-4-5", "max_tokens": 64})
    for stream in (False, True):
        reply = app.chat(stream=stream)
        assert reply.status == 200, reply.body
        assert reply.text == "Olá, visit us on Tuesday."
        assert app.trace_of(reply)["row"]["cost_nano_usd"] > 0


def test_embeddings_from_a_provider_that_has_none_are_an_honest_400(make_app):
    app = make_app(main={"provider": "anthropic", "model": "claude-haiku-4-5"})
    reply = app.post({"model": "main", "input": "x"}, "/v1/embeddings")
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert "no embeddings" in reply.json["error"]["message"]


# --- prompts -----------------------------------------------------------------------------------------------------


def with_prompt(text: str, **more) -> Release:
    return Release(
        app="",
        routes={"main": Route(provider="simulated", model="small", prompt="agent", **more)},
        prompts={"agent": Prompt(text=text, variables=("today", "branch"), defaults={"branch": "Lisbon"})},
    )


@pytest.fixture
def prompted(server, sim, make_app):
    sim.play(main=GOOD)
    app = make_app()
    first = msgspec.structs.replace(with_prompt("You are kind. Today is {{today}}. Branch {{branch}}."), app=app.name)
    app.release = first
    app.id = app.install(first)
    return app


def test_a_prompt_is_filled_from_the_caller_the_clock_and_its_defaults(prompted):
    trace = prompted.chat(waterline={"variables": {"branch": "Porto {{today}}"}}).trace
    again = prompted.server.ask("POST", f"/api/traces/{trace}/replay", {})
    assert again["same"]
    view = prompted.server.trace(trace)
    admitted = next(e for e in view["events"] if e["type"] == "admitted")
    assert admitted["clock"]["today"] == time.strftime("%Y-%m-%d", time.gmtime())


def test_a_variable_without_a_value_is_a_400_that_names_it(make_app, sim):
    app = make_app()
    prompt = Prompt(text="Hi {{name}}", variables=("name",))
    app.install(Release(app=app.name, routes={"main": Route(provider="simulated", model="m", prompt="p")},
                        prompts={"p": prompt}))  # fmt: skip
    reply = app.chat()
    assert reply.status == 400
    assert "name" in reply.json["error"]["message"]


# --- release, watch, roll back, replay ---------------------------------------------------------------------------


def second_of(app: App) -> str:
    changed = msgspec.structs.replace(with_prompt("You are brief. {{today}} {{branch}}"), app=app.name)
    return app.build(changed)


def test_a_weighted_release_takes_its_share_and_sessions_stick(prompted):
    new = second_of(prompted)
    prompted.move("promote", new, weight="30%", reason="try")
    seen = {f"s{i}": prompted.chat(headers={"x_waterline_session": f"s{i}"}).headers["x-waterline-release"]
            for i in range(60)}  # fmt: skip
    share = sum(r == new for r in seen.values()) / len(seen)
    assert 0.1 < share < 0.55
    for session, release in list(seen.items())[:10]:
        again = prompted.chat(headers={"x_waterline_session": session})
        assert again.headers["x-waterline-release"] == release


def test_traces_of_a_release_are_found_by_its_first_digits_as_everywhere(prompted):
    new = second_of(prompted)
    prompted.move("promote", new)
    trace = prompted.chat().trace
    assert [r["id"] for r in prompted.server.traces(app=prompted.name, release=new[:12])] == [trace]


def test_rollback_takes_effect_on_the_next_request(prompted):
    new = second_of(prompted)
    prompted.move("promote", new)
    assert prompted.chat().headers["x-waterline-release"] == new
    prompted.move("rollback", reason="worse")
    assert prompted.chat().headers["x-waterline-release"] == prompted.id


def test_pins_survive_promotions_never_a_rollback(prompted):
    new = second_of(prompted)
    prompted.move("pin", prompted.id, session="vip")
    prompted.move("promote", new)
    headers = {"x_waterline_session": "vip"}
    assert prompted.chat(headers=headers).headers["x-waterline-release"] == prompted.id
    third = prompted.build(msgspec.structs.replace(with_prompt("third {{today}} {{branch}}"), app=prompted.name))
    prompted.move("promote", third)
    prompted.move("rollback")
    assert prompted.chat(headers=headers).headers["x-waterline-release"] == new


def test_history_says_who_and_why_and_the_diff_shows_the_prompt(prompted):
    new = second_of(prompted)
    prompted.move("promote", new, weight="10%", reason="shorter answers")
    history = prompted.server.ask("GET", f"/api/apps/{prompted.name}/rollout", env="production")["history"]
    assert history[0]["why"] == "shorter answers"
    assert history[0]["who"] == "operator"
    lines = [line for d in prompted.server.ask("GET", f"/api/releases/{prompted.id}/diff/{new}") for line in d["lines"]]
    assert any(line.startswith("-") and "kind" in line for line in lines)
    assert any(line.startswith("+") and "brief" in line for line in lines)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_replay_is_byte_identical_and_tells_another_release_apart(prompted, stream):
    trace = prompted.chat("hello", stream=stream).trace
    same = prompted.server.ask("POST", f"/api/traces/{trace}/replay", {})
    assert same["same"]
    assert same["attempts"][0]["digest"] == same["attempts"][0]["sealed_digest"]
    other = prompted.server.ask("POST", f"/api/traces/{trace}/replay", {"release": second_of(prompted)})
    assert not other["same"]


def test_replay_covers_every_attempt_of_a_fallback(make_app, sim):
    app = make_app(fallback=True)
    sim.play(main=Target(faults=(Fault("http", status=503),)), backup=GOOD)
    trace = app.chat().trace
    replayed = app.server.ask("POST", f"/api/traces/{trace}/replay", {})
    assert replayed["same"]
    assert len(replayed["attempts"]) >= 2


def test_replay_says_why_when_it_cannot(make_app):
    app = make_app()
    trace = app.post({"model": "nope", "messages": [{"role": "user", "content": "x"}]}).trace
    replayed = app.server.ask("POST", f"/api/traces/{trace}/replay", {})
    assert replayed["not_replayable"].startswith("NOT REPLAYABLE")


def test_on_a_reproducible_route_the_answer_is_compared_too(make_app, sim):
    sim.play(main=GOOD)
    app = make_app(main={"reproducible": True})
    trace = app.chat().trace
    assert "same, byte for byte" in app.server.ask("POST", f"/api/traces/{trace}/replay", {})["answer"]
    sim.play(main=Target(answer=Answer(text="something else")))
    changed = app.server.ask("POST", f"/api/traces/{trace}/replay", {})
    assert not changed["same"]
    assert "DIFFERS" in changed["answer"]


def test_a_rollback_never_brings_an_old_budget_back(prompted):
    tight = AppSpec(name=prompted.name, limits=Limits(rpm=1))
    changed = msgspec.structs.replace(with_prompt("v2 {{today}} {{branch}}"), app=prompted.name)
    body = {"manifest": encode_release(changed).decode(), "spec": encode_spec(tight).decode()}
    new = prompted.server.ask("POST", "/api/releases", body)["id"]
    prompted.move("promote", new)
    prompted.move("rollback")
    assert [prompted.chat().status for _ in range(2)] == [200, 429]


def test_limits_change_on_their_own_and_at_once(prompted):
    record = encode_spec(AppSpec(name=prompted.name, limits=Limits(rpm=1))).decode()
    prompted.server.ask("POST", "/api/environment-records", {"spec": record, "reason": "a runaway client"})
    replies = [prompted.chat() for _ in range(2)]
    assert [r.status for r in replies] == [200, 429]
    assert replies[0].headers["x-waterline-release"] == prompted.id


def test_everything_privileged_is_in_the_audit_log_and_it_verifies(prompted, tmp_path):
    from waterline.access.audit import parse_checkpoint, verify_export

    prompted.move("promote", second_of(prompted), weight="10%", reason="because")
    prompted.make_key()
    server = prompted.server
    headers = {"authorization": f"Bearer {server.key}"}
    log = send(server.url, "GET", "/api/audit/export", headers=headers).body
    checkpoint = server.ask("GET", "/api/audit/checkpoint")["checkpoint"]
    actions = {json.loads(line)["action"] for line in log.splitlines()}
    assert {"release.build", "rollout.promote", "key.create_app", "key.create_person"} <= actions
    assert verify_export(log, parse_checkpoint(checkpoint)) == []
    assert verify_export(log.replace(b"because", b"becausE"), parse_checkpoint(checkpoint))
    assert verify_export(b"".join(log.splitlines(keepends=True)[:-1]), parse_checkpoint(checkpoint))


def test_state_survives_a_restart(tmp_path, sim):
    sim.play(main=GOOD)
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    app = App(server, "lasting", {"main": Route(provider="simulated", model="small")})
    changed = Release(app="lasting", routes={"main": Route(provider="simulated", model="large")})
    new = app.build(changed)
    app.move("promote", new, weight="40%")
    before = {
        s: app.chat(headers={"x_waterline_session": s}).headers["x-waterline-release"] for s in map(str, range(20))
    }
    assert server.stop() == 0
    server.start()
    after = {
        s: app.chat(headers={"x_waterline_session": s}).headers["x-waterline-release"] for s in map(str, range(20))
    }
    assert after == before
    assert server.stop() == 0
