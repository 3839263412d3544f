"""Tokens are counted by whoever would answer, and a beta is passed on where it is declared, or refused by name."""

import json
import os

import anthropic
import pytest
from whole_app import App, Limits, Prompt, Route, Server, request

from waterline.core.errors import Refused
from waterline.providers import models
from waterline.providers.simulated_script import Fault, Target, When

HELLO = [{"role": "user", "content": "hello, what is the weather in Lisbon?"}]
BETA = "context-1m-2025-08-07"
TOOL = {"name": "weather", "description": "Weather.", "input_schema": {"type": "object", "properties": {}}}


def client(app):
    return anthropic.Anthropic(base_url=app.server.url, api_key=app.key, max_retries=0)


def counted(app, **more):
    return client(app).messages.count_tokens(model="main", messages=HELLO, **more).input_tokens


def answered(app, **more):
    asked = {"model": "main", "max_tokens": 9, "messages": HELLO, **more}
    return client(app).messages.create(**asked).usage.input_tokens


@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
def test_the_provider_counts_what_the_answer_will_be_billed_for(make_app, sim, kind):
    app = make_app(main={"provider": kind, "model": "models-of/odd name" if kind == "gemini" else "small"})
    sim.play()
    assert counted(app) == answered(app)
    assert counted(app, system="You are brief.", tools=[TOOL]) == answered(app, system="You are brief.", tools=[TOOL])


def test_the_release_s_own_prompt_is_counted_too(make_app, sim):
    sim.play()
    plain = counted(make_app(main={"provider": "anthropic"}))
    prompt = Prompt(text="You work for a school in Lisbon. Today is {{today}}.", variables=("today",))
    app = make_app(main={"provider": "anthropic", "prompt": "agent"}, prompts={"agent": prompt})
    assert counted(app) == answered(app) > plain


def test_the_local_model_counts_exactly(tmp_path):
    pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
    try:
        models.resolve("smollm2-135m", models.models_dir(os.environ))
    except Refused as why:
        pytest.skip(str(why))
    server = Server(tmp_path / "d")
    try:
        route = Route(provider="local", model="smollm2-135m", first_token_s=60.0, total_s=120.0)
        app = App(server, "counted", {"main": route})
        assert counted(app, system="You are brief.") == answered(app, system="You are brief.") > 10
    finally:
        server.stop()


def test_where_nobody_can_count_it_is_a_404_that_says_who_could(make_app, sim):
    app = make_app()
    sim.play()
    with pytest.raises(anthropic.NotFoundError, match="route of Anthropic, Gemini or a local model"):
        counted(app)
    assert sim.asked("main") == 0


def test_counting_leaves_no_trace_costs_nothing_and_counts_as_a_request(make_app, sim):
    app = make_app(main={"provider": "anthropic"}, limits=Limits(rpm=2))
    sim.play()
    counted(app)
    counted(app)
    with pytest.raises(anthropic.RateLimitError):
        counted(app)
    assert app.server.traces(app=app.name) == []


def test_a_dead_provider_is_not_asked_for_counts_either(make_app, sim):
    app = make_app(main={"provider": "anthropic"})
    sim.play(main=Target(faults=(Fault("http", status=500),)))
    for _ in range(12):
        with pytest.raises(anthropic.InternalServerError):
            counted(app)
    assert sim.asked("main") <= 3


def test_a_mistake_in_the_request_is_the_caller_s(make_app, sim):
    app = make_app(main={"provider": "anthropic"})
    sim.play()
    for body in (b"[]", b"{", b'{"model": "main", "messages": []}', b'{"model": "main"}'):
        reply = app.post(body, path="/v1/messages/count_tokens")
        assert (reply.status, reply.json["type"]) == (400, "error")
    assert sim.asked("main") == 0


# --- betas -----------------------------------------------------------------------------------------------------------


def test_a_declared_beta_reaches_anthropic_and_only_there(make_app, sim):
    sim.play(main=Target(faults=(Fault("http", status=500, when=When(first=1)),)))
    app = make_app(main={"provider": "anthropic", "betas": (BETA, "other-1"), "retries": 0}, fallback=True)
    reply = client(app).beta.messages.create(model="main", max_tokens=9, messages=HELLO, betas=[BETA])
    assert reply.stop_reason in ("end_turn", "max_tokens")
    assert (sim.stats("main")["betas"], sim.stats("backup")["betas"]) == (BETA, "")
    client(app).beta.messages.create(model="main", max_tokens=9, messages=HELLO, betas=[BETA, "other-1"])
    client(app).messages.count_tokens(model="main", messages=HELLO, extra_headers={"anthropic-beta": BETA})
    assert sim.stats("main")["betas"] == BETA


def test_another_beta_is_a_400_that_names_the_line_to_write(make_app, sim):
    app = make_app(main={"provider": "anthropic", "betas": (BETA,)})
    sim.play()
    asked, beta = {"model": "main", "messages": HELLO, "betas": [BETA, "files-api-2025-04-14"]}, client(app).beta
    remedy = r'betas = \["files-api-2025-04-14"\] in \[models.main\]'
    with pytest.raises(anthropic.BadRequestError, match=remedy):
        beta.messages.create(max_tokens=9, **asked)
    with pytest.raises(anthropic.BadRequestError, match=remedy):
        beta.messages.count_tokens(**asked)
    assert sim.asked("main") == 0
    (row,) = app.server.traces(app=app.name)
    assert (row["outcome"], row["code"]) == ("refused", "invalid_request")


def test_a_provider_without_betas_says_so_rather_than_answer_without_it(make_app, sim):
    app = make_app()
    sim.play()
    with pytest.raises(anthropic.BadRequestError, match="betas are Anthropic"):
        client(app).beta.messages.create(model="main", max_tokens=9, messages=HELLO, betas=[BETA])
    assert client(app).messages.create(model="main", max_tokens=9, messages=HELLO).content


def test_a_beta_s_name_cannot_smuggle_a_header(make_app, sim):
    app = make_app(main={"provider": "anthropic", "betas": (BETA,)})
    body = json.dumps({"model": "main", "max_tokens": 9, "messages": HELLO}).encode()
    headers = {"x-api-key": app.key, "anthropic-beta": f"{BETA}; x"}
    assert request(app.server.url, "POST", "/v1/messages", body, headers)[0] == 400
