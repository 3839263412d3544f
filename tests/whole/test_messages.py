"""POST /v1/messages with the official `anthropic` package, unchanged, against every kind of provider."""

import json

import anthropic
import pytest
from whole_app import App

from waterline.providers.simulated_script import Answer, Target

HELLO = [{"role": "user", "content": "hello"}]
WEATHER = {
    "name": "weather",
    "description": "Weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SHAPES = ["simulated", "anthropic"]  # what the simulated provider speaks: OpenAI's chat completions, or Messages


def client(app: App, **more) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=app.server.url, api_key=app.key, max_retries=0, **more)


@pytest.fixture(params=SHAPES)
def shape(request) -> str:
    return request.param


@pytest.fixture
def app(make_app, shape) -> App:
    return make_app(main={"provider": shape, "retries": 0})


def ask(app: App, **more):
    return client(app).messages.create(**{"model": "main", "max_tokens": 200, "messages": HELLO, **more})


def test_a_plain_message(app, sim):
    sim.play(main=Target(answer=Answer(text="Good morning."), cached_share=0.5))
    message = ask(app)
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert [b.text for b in message.content] == ["Good morning."]
    usage = message.usage
    assert usage.cache_read_input_tokens > 0
    row = app.server.trace(message._request_id)["row"]
    assert row["outcome"] == "answered"
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (
        row["usage"]["input"], row["usage"]["cached_input"]
    )  # fmt: skip
    assert usage.output_tokens == row["usage"]["output"] > 0


def test_a_streamed_message(app, sim):
    sim.play(main=Target(answer=Answer(text="One two three four."), cached_share=0.5, per_token_ms=1.0))
    with client(app).messages.stream(model="main", max_tokens=200, messages=HELLO) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 1
    assert message.content[0].text == "One two three four."
    assert message.stop_reason == "end_turn"
    assert message.usage.cache_read_input_tokens > 0
    assert message.usage.input_tokens > 0


def test_a_streamed_message_has_the_events_of_the_protocol_in_order(app, sim):
    sim.play(main=Target(answer=Answer(text="One two")))
    reply = app.post({"model": "main", "max_tokens": 9, "messages": HELLO, "stream": True}, "/v1/messages")
    events = [part.split("\n") for part in reply.body.decode().strip().split("\n\n")]
    names = [lines[0] for lines in events]
    assert names == [
        "event: message_start",
        "event: ping",
        "event: content_block_start",
        "event: content_block_delta",
        "event: content_block_delta",
        "event: content_block_stop",
        "event: message_delta",
        "event: message_stop",
    ]
    for name, data in events:
        assert json.loads(data.removeprefix("data: "))["type"] == name.removeprefix("event: ")
