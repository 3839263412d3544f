"""Gemini behind Waterline, as the unmodified OpenAI client sees it: plain, streamed, tools, schemas, faults, money."""

from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel
from whole_app import App, Limits, Route, Server

from waterline.providers.simulated_script import Answer, Fault, Target, Tool

SAID = "The visit is on Tuesday at ten."
MODEL = "gemini-3.8-flash"
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
WEATHER = Answer(match="weather", tool=Tool("weather", {"city": "Porto"}))
ALL_TEXT = Target(answer=Answer(text=SAID), rules=(WEATHER,), reasoning_tokens=50, cached_share=0.5)
"""A model that thinks, so the simulated service insists on signatures, as Gemini 3 and later do."""


def hello(text: str = "hello") -> Any:
    return [{"role": "user", "content": text}]


@pytest.fixture
def gemini(server, make_app):
    """A route on Gemini and, if asked, one on another provider behind it."""

    def make(*, fallback: bool = False, **spec: Any) -> App:
        given = {
            "provider": "gemini",
            "model": MODEL,
            "retries": 1,
            "first_token_s": 1.0,
            "idle_s": 1.0,
            "total_s": 8.0,
        }
        return make_app(fallback=fallback, main=given, **spec)

    return make


@pytest.fixture
def client_of():
    made = []

    def make(app: App) -> openai.OpenAI:
        made.append(openai.OpenAI(base_url=f"{app.server.url}/v1", api_key=app.key, max_retries=0))
        return made[-1]

    yield make
    for client in made:
        client.close()


def usage_row(app: App, trace: str) -> dict[str, Any]:
    row: dict[str, Any] = app.server.trace(trace)["row"]
    return row


def test_a_plain_and_a_streamed_answer_cost_what_the_table_says(gemini, sim, client_of):
    app = gemini()
    sim.play(main=ALL_TEXT)
    client = client_of(app)
    plain = client.chat.completions.with_raw_response.create(model="main", messages=hello())
    read = plain.parse()
    assert (read.choices[0].message.content, read.choices[0].finish_reason) == (SAID, "stop")
    assert read.usage.completion_tokens_details.reasoning_tokens == 50
    spoken = read.usage.completion_tokens - 50
    row = usage_row(app, plain.headers["x-waterline-trace"])
    # 0.75 USD a million in, 0.075 cached, 3.75 out; thoughts are billed as output
    cached = read.usage.prompt_tokens_details.cached_tokens
    fresh = read.usage.prompt_tokens - cached
    assert row["cost_nano_usd"] == fresh * 750 + cached * 75 + (spoken + 50) * 3750
    stream = client.chat.completions.create(
        model="main", messages=hello(), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == SAID
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage == read.usage
    assert chunks[-1].choices == []
    rows = app.server.traces(app=app.name)
    assert [r["cost_nano_usd"] for r in rows] == [row["cost_nano_usd"]] * 2
    assert all(r["provider"] == "gemini" and r["outcome"] == "answered" for r in rows)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_tool_loop_keeps_the_signatures_that_the_model_insists_on(gemini, sim, client_of, stream):
    app = gemini()
    sim.play(main=ALL_TEXT)
    client = client_of(app)
    messages = hello("the weather?")
    if stream:
        with client.chat.completions.stream(model="main", messages=messages, tools=TOOLS) as events:
            first = events.get_final_completion()
    else:
        first = client.chat.completions.create(model="main", messages=messages, tools=TOOLS)
    call = first.choices[0].message.tool_calls[0]
    assert (first.choices[0].finish_reason, call.function.name) == ("tool_calls", "weather")
    assert call.function.arguments.replace(" ", "") == '{"city":"Porto"}'
    turn = {"role": "assistant", "content": None, "tool_calls": [call.model_dump(exclude_none=True, exclude={"index"})]}
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    second = client.chat.completions.create(
        model="main", messages=[*messages, turn, result, *hello("thanks")], tools=TOOLS
    )
    assert second.choices[0].message.content == SAID
    turn["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": "dGFtcGVyZWQ="}}
    with pytest.raises(openai.BadRequestError, match="thought_signature"):  # so it does insist
        client.chat.completions.create(model="main", messages=[*messages, turn, result, *hello("thanks")], tools=TOOLS)
    del turn["tool_calls"][0]["extra_content"]  # a client that kept only what OpenAI knows is served too
    third = client.chat.completions.create(
        model="main", messages=[*messages, turn, result, *hello("thanks")], tools=TOOLS
    )
    assert third.choices[0].message.content == SAID


class City(BaseModel):
    name: str
    people: int


def test_a_schema_is_kept(gemini, sim, client_of):
    app = gemini()
    sim.play(main=ALL_TEXT)
    read = client_of(app).chat.completions.parse(model="main", messages=hello(), response_format=City)
    assert read.choices[0].message.parsed == City(name="simulated", people=1)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_log_probabilities_are_told_in_every_api(gemini, sim, client_of, stream):
    app = gemini()
    sim.play(main=Target(answer=Answer(text=SAID)))
    asked: Any = {"model": "main", "logprobs": True, "top_logprobs": 2, "messages": hello(), "stream": stream}
    with client_of(app) as client:
        made = client.chat.completions.create(**asked)
        chunks = list(made) if stream else [made]
        tokens = [t for c in chunks for choice in c.choices if choice.logprobs for t in choice.logprobs.content]
        assert "".join(t.token for t in tokens) == SAID
        assert all(t.logprob <= 0 and len(t.top_logprobs) == 2 and bytes(t.bytes).decode() == t.token for t in tokens)
        wanted: Any = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
        if stream:
            with client.responses.stream(model="main", input="hello", **wanted) as events:
                read = events.get_final_response()
        else:
            read = client.responses.create(model="main", input="hello", **wanted)
        told = read.output[0].content[0].logprobs
        assert "".join(t.token for t in told) == SAID


def test_a_blocked_answer_is_a_content_filter_not_a_success(gemini, sim, client_of):
    app = gemini()
    sim.play(main=Target(answer=Answer(text=SAID), faults=(Fault("content_filter", after=2),)))
    client = client_of(app)
    assert client.chat.completions.create(model="main", messages=hello()).choices[0].finish_reason == "content_filter"
    last = list(client.chat.completions.create(model="main", messages=hello(), stream=True))[-1]
    assert last.choices[0].finish_reason == "content_filter"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("http", status=503), openai.InternalServerError),
        (Fault("http", status=429, retry_after_s=30), openai.RateLimitError),
        (Fault("unauthorized"), openai.InternalServerError),  # our key, never the caller's fault
        (Fault("context_length"), openai.BadRequestError),
        (Fault("reset_before_headers"), openai.InternalServerError),
        (Fault("garbage"), openai.InternalServerError),
    ],
    ids=["503", "429", "wrong key", "context length", "reset", "garbage"],
)
def test_what_the_caller_hears_when_gemini_fails(gemini, sim, client_of, fault, error, stream):
    app = gemini()
    sim.play(main=Target(answer=Answer(text=SAID), faults=(fault,)))
    with pytest.raises(error) as heard:
        client_of(app).chat.completions.create(model="main", messages=hello(), stream=stream)
    if fault.status == 429:
        assert heard.value.response.headers["retry-after"] == "30"
        assert sim.asked("main") == 1  # the delay that Gemini names in the body is kept
    if fault.kind == "context_length":
        assert heard.value.code == "context_length_exceeded"
        assert sim.asked("main") == 1


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    "fault", [Fault("http", status=503), Fault("silence"), Fault("cut", after=0)], ids=lambda f: f.kind
)
def test_the_fallback_answers_when_gemini_cannot(gemini, sim, client_of, fault, stream):
    app = gemini(fallback=True)
    sim.play(main=Target(answer=Answer(text=SAID), faults=(fault,)), backup=Target(answer=Answer(text=SAID)))
    got = client_of(app).chat.completions.create(model="main", messages=hello(), stream=stream)
    if stream:
        assert "".join(c.choices[0].delta.content or "" for c in got if c.choices) == SAID
    else:
        assert got.choices[0].message.content == SAID


@pytest.mark.parametrize("kind", ["missing_done", "cut", "stall", "error_event", "malformed_event"])
def test_a_stream_without_its_end_is_never_a_success(gemini, sim, client_of, kind):
    """`missing_done`: the body ends cleanly, but no event had a finishReason."""
    app = gemini()
    sim.play(main=Target(answer=Answer(text=SAID), per_token_ms=20, faults=(Fault(kind, after=3),)))
    got: list[Any] = []
    stream = client_of(app).chat.completions.create(model="main", messages=hello(), stream=True)
    with pytest.raises(openai.APIError):
        got.extend(chunk.choices[0] for chunk in stream)
    assert SAID.startswith("".join(choice.delta.content or "" for choice in got))
    assert not any(choice.finish_reason for choice in got)
    assert all(row["outcome"] != "answered" for row in app.server.traces(app=app.name))


def test_a_hard_budget_clamps_the_length_that_gemini_may_take(gemini, sim, client_of):
    app = gemini(limits=Limits(nano_usd_per_day=2_000_000))  # 0.002 USD: about 500 tokens out
    sim.play(main=Target(tokens=5000, answer=Answer(text=SAID)))
    read = client_of(app).chat.completions.create(model="main", messages=hello(), max_tokens=100_000)
    assert read.choices[0].finish_reason == "length"
    assert 0 < read.usage.completion_tokens < 540
    assert app.server.traces(app=app.name)[0]["cost_nano_usd"] <= 2_000_000


def test_embeddings_of_gemini(server, sim, client_of):
    sim.play()
    routes = {"vectors": Route(provider="gemini", model="gemini-embedding-001", embeddings=True)}
    client = client_of(App(server, "gemini-vectors", routes))
    for form in ({}, {"encoding_format": "float"}):
        read = client.embeddings.create(model="vectors", input=["a", "b"], dimensions=8, **form)
        assert [len(one.embedding) for one in read.data] == [8, 8]
        assert read.data[0].embedding != read.data[1].embedding
        assert read.usage.prompt_tokens > 0
    assert server.traces(app="gemini-vectors")[0]["outcome"] == "answered"


def test_routes_of_two_models_of_one_account_are_asked_each_for_its_own(server, sim, client_of):
    routes = {name: Route(provider="gemini", model=f"gemini-{name}") for name in ("small", "large")}
    app = App(server, "two-geminis", routes)
    sim.play(small=Target(models=("gemini-small",), only_models=True, answer=Answer(text="s")),
             large=Target(models=("gemini-large",), only_models=True, answer=Answer(text="l")))  # fmt: skip
    client = client_of(app)
    for name in routes:
        assert client.chat.completions.create(model=name, messages=hello()).choices[0].message.content == name[0]


def test_the_key_travels_in_a_header_and_is_found_nowhere_else(tmp_path, sim):
    """A provider that is not redirected: the route's own address, and the key of the server's environment."""
    secret = "AIza-not-a-real-key-0123456789"
    sim.play(direct=Target(answer=Answer(text=SAID), api_key=secret), other=Target(api_key="another"))
    server = Server(tmp_path / "d", GEMINI_API_KEY=secret)
    try:
        routes = {
            name: Route(provider="gemini", model=MODEL, base_url=f"{sim.address}/{name}/v1beta")
            for name in ("direct", "other")
        }
        app = App(server, "keyed", routes)
        assert app.post({"model": "direct", "messages": hello()}).text == SAID
        refused = app.post({"model": "other", "messages": hello()})
        assert (refused.status, refused.code) == (502, "provider_unavailable")
        assert "GEMINI_API_KEY" in refused.json["error"]["message"]
        assert secret not in refused.body.decode()
        assert [row["outcome"] for row in server.traces()][::-1][0] == "answered"
    finally:
        server.stop()
    for file in server.data.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_tool_loop_of_the_anthropic_client_is_answered_by_gemini(gemini, sim, stream):
    """Its blocks have no place for Gemini's signatures: the calls come back without one, and are taken all the same."""
    app = gemini()
    sim.play(main=ALL_TEXT)
    with anthropic.Anthropic(base_url=app.server.url, api_key=app.key, max_retries=0) as client:
        tools: Any = [{"name": "weather", "input_schema": {"type": "object"}}]
        asked: Any = {"model": "main", "max_tokens": 500, "tools": tools}
        if stream:
            with client.messages.stream(**asked, messages=hello("the weather?")) as events:
                first = events.get_final_message()
        else:
            first = client.messages.create(**asked, messages=hello("the weather?"))
        call = next(block for block in first.content if block.type == "tool_use")
        assert (first.stop_reason, call.name, call.input) == ("tool_use", "weather", {"city": "Porto"})
        assert first.usage.cache_read_input_tokens > 0
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
        turns: Any = [
            *hello("the weather?"),
            {"role": "assistant", "content": [block.model_dump() for block in first.content]},
            {"role": "user", "content": [result]},
            {"role": "user", "content": "thanks"},
        ]
        second = client.messages.create(**asked, messages=turns)
        assert (second.content[0].text, second.stop_reason) == (SAID, "end_turn")


def test_a_response_is_answered_by_gemini(gemini, sim, client_of):
    app = gemini()
    sim.play(main=ALL_TEXT)
    read = client_of(app).responses.create(model="main", input="hello")
    assert (read.output_text, read.status) == (SAID, "completed")
    assert read.usage.output_tokens_details.reasoning_tokens == 50
