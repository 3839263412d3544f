"""POST /v1/messages with the official `anthropic` package, unchanged, against every kind of provider."""

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import anthropic
import pytest
from whole_app import App, Limits, Reply, Route, send

from waterline.core.errors import Refused
from waterline.providers import models
from waterline.providers.simulated_script import Answer, Fault, Target, Tool, When

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
WEATHER: Any = {
    "name": "weather",
    "description": "Weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOP_K: Any = {"extra_body": {"top_k": 3}}
ENABLED: Any = {"type": "enabled", "budget_tokens": 1024}
CALLS = Target(
    rules=(Answer(match="weather", tool=Tool(name="weather", arguments={"city": "Évora", "days": 2})),),
    answer=Answer(text="Sunny, 21 degrees."),
)
THINKS = Target(
    rules=CALLS.rules, answer=CALLS.answer, thinking="The city is in Portugal.", redacted_thinking="c2VjcmV0"
)


def client(app: App, **more: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=app.server.url, api_key=app.key, max_retries=0, **more)


@pytest.fixture(params=["simulated", "anthropic", pytest.param("gemini", marks=pytest.mark.slow)])
def shape(request) -> str:
    """What the simulated provider speaks: OpenAI's chat completions, Messages, or Gemini's API."""
    return request.param


@pytest.fixture
def app(make_app, shape) -> App:
    return make_app(main={"provider": shape, "retries": 0})


def ask(app: App, **more: Any) -> Any:
    return client(app).messages.create(**{"model": "main", "max_tokens": 200, "messages": HELLO, **more})


def streamed(app: App, **more: Any) -> Any:
    with client(app).messages.stream(**{"model": "main", "max_tokens": 200, "messages": HELLO, **more}) as stream:
        return stream.get_final_message()


def either(app: App, stream: bool, **more: Any) -> Any:
    return streamed(app, **more) if stream else ask(app, **more)


def raw(app: App, **more: Any) -> Reply:
    return app.post({"model": "main", "max_tokens": 200, "messages": HELLO, **more}, "/v1/messages")


def names(reply: Reply) -> list[str]:
    return [part.split("\n")[0].removeprefix("event: ") for part in reply.body.decode().strip().split("\n\n")]


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_message_is_answered_and_its_usage_is_what_the_trace_booked(app, sim, stream):
    sim.play(main=Target(answer=Answer(text="Good morning to you."), cached_share=0.5))
    message = either(app, stream)
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert [b.text for b in message.content] == ["Good morning to you."]
    (row,) = app.server.traces(app=app.name)
    assert (row["outcome"], row["stream"]) == ("answered", stream)
    usage = app.server.trace(row["id"])["row"]["usage"]
    assert message.usage.cache_read_input_tokens == usage["cached_input"] > 0
    assert message.usage.input_tokens == usage["input"] > 0
    assert message.usage.output_tokens == row["tokens_out"] > 0


def test_cache_writes_and_reads_of_anthropic_reach_the_caller_apart(make_app, sim):
    app = make_app(main={"provider": "anthropic"})
    sim.play(main=Target(cached_share=0.25, cache_write_share=0.5))
    plain, stream = ask(app).usage, streamed(app).usage
    for usage in (plain, stream):
        assert usage.cache_creation_input_tokens > usage.cache_read_input_tokens > 0
        assert usage.input_tokens > 0
    assert plain == stream.model_copy(update={"service_tier": None})


def test_a_streamed_message_has_the_events_of_the_protocol_in_order(app, sim):
    sim.play(main=Target(answer=Answer(text="One two")))
    reply = raw(app, stream=True)
    assert names(reply) == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    for part in reply.body.decode().strip().split("\n\n"):
        name, data = part.split("\n")
        assert json.loads(data.removeprefix("data: "))["type"] == name.removeprefix("event: ")


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_is_understood(app, sim, stream):
    sim.play(main=CALLS)
    turns: list[Any] = [{"role": "user", "content": "What is the weather in Évora?"}]
    first = either(app, stream, messages=turns, tools=[WEATHER])
    assert first.stop_reason == "tool_use"
    (call,) = first.content
    assert (call.type, call.name, call.input) == ("tool_use", "weather", {"city": "Évora", "days": 2})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees", "is_error": False}
    turns += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = either(app, stream, messages=turns, tools=[WEATHER])
    assert (second.stop_reason, second.content[0].text) == ("end_turn", "Sunny, 21 degrees.")


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_and_its_signature_come_back_unchanged_with_a_tools_result(make_app, sim, stream):
    """The provider checks every signature, as Anthropic does; a letter changed anywhere is a 400."""
    app = make_app(main={"provider": "anthropic", "retries": 0})
    sim.play(main=THINKS)
    more: Any = {"tools": [WEATHER], "thinking": ENABLED}
    turns: list[Any] = [{"role": "user", "content": "What is the weather in Évora?"}]
    first = either(app, stream, messages=turns, **more)
    assert [b.type for b in first.content] == ["thinking", "redacted_thinking", "tool_use"]
    assert first.content[0].thinking == THINKS.thinking
    assert first.content[0].signature
    assert first.content[1].data == THINKS.redacted_thinking
    result = {"type": "tool_result", "tool_use_id": first.content[2].id, "content": "21 degrees"}
    turns += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = either(app, stream, messages=turns, **more)
    assert second.content[-1].text == "Sunny, 21 degrees."
    forged = turns[1]["content"][0].model_copy(update={"thinking": "The city is in Spain."})
    turns[1]["content"] = [forged, *first.content[1:]]
    with pytest.raises(anthropic.BadRequestError, match="signature"):
        either(app, stream, messages=turns, **more)


@pytest.mark.parametrize("stream", [False, True])
def test_the_reasoning_of_a_compatible_server_is_a_thinking_block_without_a_signature(make_app, sim, stream):
    app = make_app()
    sim.play(main=THINKS)
    message = either(app, stream)
    assert [b.type for b in message.content] == ["thinking", "text"]
    assert (message.content[0].thinking, message.content[0].signature) == (THINKS.thinking, "")
    turns: list[Any] = [*HELLO, {"role": "assistant", "content": message.content}, *HELLO]
    assert either(app, stream, messages=turns).content[-1].text == "Sunny, 21 degrees."


def test_a_conversation_begun_with_anthropic_goes_on_with_another_provider(make_app, sim):
    """Its thoughts and signatures are dropped there, its tool calls are not."""
    app = make_app(main={"provider": "anthropic", "retries": 0}, fallback=True)
    sim.play(main=THINKS, backup=CALLS)
    turns: list[Any] = [{"role": "user", "content": "What is the weather in Évora?"}]
    first = ask(app, messages=turns, tools=[WEATHER], thinking=ENABLED)
    sim.play(main=Target(faults=(Fault("http", status=529),)), backup=CALLS)
    result = {"type": "tool_result", "tool_use_id": first.content[-1].id, "content": "21 degrees"}
    turns += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = ask(app, messages=turns, tools=[WEATHER], thinking=ENABLED)
    assert second.content[0].text == "Sunny, 21 degrees."
    assert sim.asked("backup") == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_sequence_is_named_where_the_provider_says_it(app, sim, shape, stream):
    sim.play(main=Target(answer=Answer(text="One two END three")))
    message = either(app, stream, stop_sequences=["END"])
    assert message.content[0].text == "One two "
    if shape == "anthropic":
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")
    else:  # chat completions do not say which one
        assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_cut_at_max_tokens_says_so(app, sim, stream):
    sim.play(main=Target(answer=Answer(text="One two three four five")))
    message = either(app, stream, max_tokens=2)
    assert (message.stop_reason, message.content[0].text) == ("max_tokens", "One two")


@pytest.mark.parametrize("stream", [False, True])
def test_a_content_filter_is_a_refusal(app, sim, stream):
    sim.play(main=Target(answer=Answer(text="One two three"), faults=(Fault("content_filter", after=2),)))
    assert either(app, stream).stop_reason == "refusal"


def test_system_blocks_images_and_cache_control_are_taken(app, sim):
    sim.play(main=Target(answer=Answer(echo=True)))
    image = {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}
    content = [
        {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
        {"type": "image", "source": image},
    ]
    message = ask(
        app,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[{"role": "user", "content": content}],
        metadata={"user_id": "u-1"},
        **TOP_K,
    )
    assert message.content[0].text == "What is this?"


def test_structured_output_is_asked_for_in_the_providers_words(app, sim):
    sim.play(main=Target())
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    message = ask(app, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(message.content[0].text) == {"n": 1}


def test_a_native_trace_is_replayed_to_the_byte(app, sim):
    sim.play(main=THINKS)
    more: Any = {"tools": [WEATHER], "messages": [{"role": "user", "content": "The weather?"}]}
    for stream in (False, True):
        message = either(app, stream, **more)
        assert message.stop_reason == "tool_use"
    rows = app.server.traces(app=app.name)
    assert len(rows) == 2
    for row in rows:
        shown = app.server.ask("POST", f"/api/traces/{row['id']}/replay", {})
        assert [a["same"] for a in shown["attempts"]] == [True], shown


def test_the_trace_keeps_the_callers_own_request_and_request_id_names_the_trace(app, sim):
    sim.play(main=Target(answer=Answer(text="ok")))
    message = ask(app, system="Be brief.")
    trace = app.server.trace(message._request_id)
    kept = json.loads(trace["request"])
    assert kept["system"] == "Be brief."
    assert kept["messages"] == HELLO
    assert "ok" in trace["answer"]


# --- errors ----------------------------------------------------------------------------------------------------------


def shaped(reply: Reply) -> tuple[int, str, str]:
    body = reply.json
    assert body["type"] == "error"
    assert body["error"]["message"]
    return reply.status, body["error"]["type"], body["error"]["code"]


def test_x_api_key_and_bearer_are_both_taken_and_a_wrong_one_is_anthropics_401(app, sim):
    sim.play(main=Target())
    assert ask(app).type == "message"
    bearer = anthropic.Anthropic(base_url=app.server.url, auth_token=app.key, api_key=None, max_retries=0)
    assert bearer.messages.create(model="main", max_tokens=9, messages=HELLO).type == "message"
    with pytest.raises(anthropic.AuthenticationError) as error:
        anthropic.Anthropic(base_url=app.server.url, api_key="wl-nonsense", max_retries=0).messages.create(
            model="main", max_tokens=9, messages=HELLO
        )
    assert error.value.body["error"]["code"] == "invalid_api_key"
    assert error.value.body["error"]["type"] == "authentication_error"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model": "nobody"}, (404, "not_found_error", "unknown_model")),
        ({"max_tokens": 0}, (400, "invalid_request_error", "invalid_request")),
        ({"messages": []}, (400, "invalid_request_error", "invalid_request")),
        ({"messages": [{"role": "robot", "content": "x"}]}, (400, "invalid_request_error", "invalid_request")),
        ({"stream": "yes"}, (400, "invalid_request_error", "invalid_request")),
    ],
)
def test_a_bad_request_is_refused_in_anthropics_shape_with_our_code_and_leaves_a_trace(app, sim, change, expected):
    sim.play(main=Target())
    reply = raw(app, **change)
    assert shaped(reply) == expected
    assert app.trace_of(reply)["row"]["outcome"] == "refused"
    assert sim.asked("main") == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("http", status=429, retry_after_s=30.0), (429, "rate_limit_error", "rate_limited")),
        (Fault("http", status=500), (502, "api_error", "provider_unavailable")),
        (Fault("unauthorized"), (502, "api_error", "provider_unavailable")),
        (Fault("reset_before_headers"), (502, "api_error", "provider_unavailable")),
        (Fault("silence"), (504, "timeout_error", "provider_timeout")),
        (Fault("garbage"), (502, "api_error", "provider_unavailable")),
        (Fault("context_length"), (400, "invalid_request_error", "context_length_exceeded")),
    ],
    ids=lambda v: v.kind if isinstance(v, Fault) else "",
)
def test_a_failing_provider_is_an_honest_error(make_app, sim, shape, stream, fault, expected):
    app = make_app(main={"provider": shape, "retries": 0, "first_token_s": 0.5, "total_s": 3.0})
    sim.play(main=Target(faults=(fault,)))
    reply = raw(app, stream=stream)
    assert shaped(reply) == expected
    if expected[0] == 429:
        assert int(reply.headers["retry-after"]) == 30


def test_a_rate_limit_and_an_outage_are_retried_and_nobody_notices(make_app, sim, shape):
    app = make_app(main={"provider": shape, "retries": 2})
    sim.play(main=Target(answer=Answer(text="ok"), faults=(Fault("http", status=503, when=When(first=1)),)))
    assert ask(app).content[0].text == "ok"
    sim.play(main=Target(answer=Answer(text="ok"), faults=(Fault("error_event", after=0, when=When(first=1)),)))
    assert streamed(app).content[0].text == "ok"


@pytest.mark.parametrize("kind", ["cut", "malformed_event", "error_event", "stall", "missing_done"])
def test_a_stream_that_breaks_off_ends_with_an_error_event_never_with_message_stop(make_app, sim, shape, kind):
    app = make_app(main={"provider": shape, "retries": 0, "idle_s": 0.5})
    text = " ".join(f"word{i}" for i in range(20))
    sim.play(main=Target(answer=Answer(text=text), per_token_ms=20.0, faults=(Fault(kind, after=4),)))
    reply = raw(app, stream=True)
    if (
        kind == "missing_done" and shape != "gemini"
    ):  # the whole answer, with its reason to end: only the farewell is missing
        assert names(reply)[-1] == "message_stop"
        return
    assert reply.status == 200
    assert names(reply)[-1] == "error"
    assert "message_stop" not in names(reply)
    assert "message_delta" not in names(reply)
    last = json.loads(reply.body.decode().strip().split("\n\n")[-1].split("data: ")[1])
    assert last["type"] == "error"
    assert last["error"]["code"] in ("provider_unavailable", "provider_timeout", "rate_limited")
    assert app.trace_of(reply)["row"]["outcome"] == "failed"
    sim.play(main=Target(answer=Answer(text=text), per_token_ms=20.0, faults=(Fault(kind, after=4),)))
    with pytest.raises(anthropic.APIStatusError):
        streamed(app)


def test_a_broken_message_is_finished_by_another_route_as_one_message(make_app, sim, shape):
    said = "The visit is on Tuesday at ten, in room four."
    app = make_app(fallback=True, main={"provider": shape, "on_broken_stream": "continue", "retries": 0})
    routes = {**app.release.routes, "backup": Route(provider="simulated", model="other", prefill=True)}
    app.install(type(app.release)(app=app.name, routes=routes))
    breaks = Target(answer=Answer(text=said), per_token_ms=5.0, faults=(Fault("cut", after=3),))
    goes_on = Target(answer=Answer(text=said), prefill="continue")
    sim.play(main=breaks, backup=goes_on)
    message = streamed(app)
    assert [b.text for b in message.content] == [said]
    assert message.stop_reason == "end_turn"
    sim.play(main=breaks, backup=goes_on)
    reply = raw(app, stream=True)
    told = [json.loads(e.split("data: ")[1]) for e in reply.body.decode().split("\n\n") if e]
    (label,) = [e["waterline"] for e in told if "waterline" in e]
    assert (label["event"], label["route"]) == ("continued", "backup")
    assert names(reply).count("message_start") == names(reply).count("message_stop") == 1


def test_a_message_is_never_begun_again_because_the_api_has_no_word_for_it(app, sim):
    sim.play(main=Target())
    body = {"model": "main", "max_tokens": 99, "messages": HELLO, "stream": True}
    assert shaped(app.post(body, "/v1/messages", **{"x-waterline-delivery": "restartable"}))[0] == 400


def test_a_spent_budget_is_anthropics_billing_error_which_the_sdk_does_not_retry(make_app, sim):
    sim.play(main=Target())
    app = make_app(main={"provider": "anthropic", "model": "claude-sonnet-4-5"}, limits=Limits(nano_usd_per_day=1000))
    reply = raw(app)
    assert shaped(reply) == (402, "billing_error", "budget_exceeded")
    assert sim.asked("main") == 0


def test_thoughts_and_tools_that_come_back_are_not_reserved_as_if_they_were_files(make_app, sim):
    """A caller far from the limit is never blocked by what the conversation is made of."""
    app = make_app(
        main={"provider": "anthropic", "model": "claude-sonnet-4-5", "retries": 0},
        limits=Limits(nano_usd_per_day=50_000_000),
    )
    sim.play(main=THINKS)
    turns: list[Any] = [{"role": "user", "content": "What is the weather in Évora?"}]
    first = ask(app, messages=turns, tools=[WEATHER], thinking=ENABLED)
    result = {"type": "tool_result", "tool_use_id": first.content[2].id, "content": "21 degrees"}
    turns += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = ask(app, messages=turns, tools=[WEATHER], thinking=ENABLED)
    assert second.content[-1].text == "Sunny, 21 degrees."
    row = app.server.trace(second._request_id)["row"]
    assert row["reserved_nano_usd"] < 20_000_000


def test_our_own_limit_says_when_to_come_back(make_app, sim):
    sim.play(main=Target())
    app = make_app(limits=Limits(rpm=1))
    ask(app)
    reply = raw(app)
    assert shaped(reply) == (429, "rate_limit_error", "rate_limited")
    assert int(reply.headers["retry-after"]) >= 1


def test_what_is_not_there_is_a_404_in_anthropics_shape(app, sim):
    headers = {"authorization": f"Bearer {app.key}"}
    assert shaped(send(app.server.url, "GET", "/v1/messages", None, headers))[:2] == (405, "invalid_request_error")
    assert shaped(send(app.server.url, "POST", "/v1/messages/batches", b"{}", headers))[:2] == (404, "not_found_error")


def test_a_body_that_is_too_large_is_anthropics_413(app):
    reply = send(app.server.url, "POST", "/v1/messages", b"{}", {"x-api-key": app.key, "content-length": str(50 << 20)})
    assert shaped(reply)[:2] == (413, "request_too_large")


# --- other clients ---------------------------------------------------------------------------------------------------

PROGRAM = """
import anthropic
client = anthropic.Anthropic(max_retries=0)
asked = {"model": "main", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}
print(client.messages.create(**asked).content[0].text)
with client.messages.stream(**asked) as stream:
    print("".join(stream.text_stream))
"""


def test_waterline_run_runs_an_unchanged_program_of_the_anthropic_package(app, sim, tmp_path):
    sim.play(main=Target(answer=Answer(text="Good morning.")))
    (tmp_path / "program.py").write_text(PROGRAM)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WATERLINE_", "ANTHROPIC_", "OPENAI_"))}
    done = subprocess.run(
        [sys.executable, "-m", "waterline", "run", "--app", app.name, "--data", str(app.server.data), "--",
         sys.executable, str(tmp_path / "program.py")],
        capture_output=True, text=True, env=clean, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout == "Good morning.\nGood morning.\n", done.stderr


@pytest.mark.parametrize("stream", [False, True])
def test_an_agent_of_pydantic_ai_calls_its_tool_through_the_gateway(app, sim, shape, stream):
    import asyncio

    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    sim.play(main=THINKS)
    provider = AnthropicProvider(base_url=app.server.url, api_key=app.key)
    agent = Agent(
        AnthropicModel("main", provider=provider),
        system_prompt="Be brief.",
        model_settings={"anthropic_thinking": ENABLED, "max_tokens": 2000},
    )
    asked: list[str] = []

    @agent.tool_plain
    def weather(city: str, days: int) -> str:
        asked.append(f"{city} {days}")
        return "21 degrees"

    async def run() -> str:
        if not stream:
            return (await agent.run("What is the weather in Évora?")).output
        async with agent.run_stream("What is the weather in Évora?") as result:
            return await result.get_output()

    assert asyncio.run(run()) == "Sunny, 21 degrees."
    assert asked == ["Évora 2"]
    rows = app.server.traces(app=app.name)
    assert [r["outcome"] for r in rows] == ["answered"] * 2
    assert all(r["tokens_in"] > 0 for r in rows)


def test_a_compatible_server_gets_plain_chat_and_no_field_that_it_does_not_know(make_app, sim):
    """The very bytes: the simulated provider tells the digest of each body it got."""
    app = make_app(main={"provider": "openai", "model": "gpt-x", "base_url": sim.address + "/main/v1"})
    sim.play(main=Target())
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    ask(app, thinking=ENABLED, system=system, tools=[{**WEATHER, "cache_control": {"type": "ephemeral"}}], **TOP_K)
    tool = {"name": "weather", "description": WEATHER["description"], "parameters": WEATHER["input_schema"]}
    sent = {
        "model": "gpt-x",
        "messages": [{"role": "system", "content": "Be brief."}, *HELLO],
        "tools": [{"type": "function", "function": tool}],
        "max_tokens": 200,
    }
    digest = hashlib.sha256(json.dumps(sent, separators=(",", ":")).encode()).hexdigest()
    assert digest == sim.stats("main")["bodies"][-1]


@pytest.mark.model
def test_a_local_model_answers_messages(server):
    pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
    try:
        models.resolve("smollm2-135m", models.models_dir(os.environ))
    except Refused as refused:
        pytest.skip(str(refused))
    route = Route(
        provider="local", model="smollm2-135m", max_tokens=24, reproducible=True, first_token_s=60, total_s=90
    )
    app = App(server, "local-messages", {"main": route})
    asked: Any = {
        "model": "main",
        "max_tokens": 24,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Write one sentence about the sea."}]}],
        "thinking": ENABLED,
    }
    made = client(app, timeout=120).messages.create(**asked)
    assert made.content[0].text
    assert made.stop_reason in ("end_turn", "max_tokens")
    assert made.usage.input_tokens + made.usage.cache_read_input_tokens > 0
    with client(app, timeout=120).messages.stream(**asked) as stream:
        assert stream.get_final_message().content[0].text == made.content[0].text
    assert app.server.ask("POST", f"/api/traces/{made._request_id}/replay", {})["same"] is True  # the answer too
    schema = {"type": "object", "properties": {"mood": {"enum": ["calm", "rough"]}}, "required": ["mood"],
              "additionalProperties": False}  # fmt: skip
    shaped_answer = client(app, timeout=120).messages.create(
        **asked, output_config={"format": {"type": "json_schema", "schema": schema}}
    )
    assert json.loads(shaped_answer.content[0].text)["mood"] in ("calm", "rough")
