"""One answer, asked for through each API, from each kind of provider, streamed and plain: the same words, the same
call, the same end, the same usage, and what the provider has in its books."""

import json
from typing import Any

import anthropic
import openai
import pytest
from msgspec import Struct
from whole_app import App, Route

from waterline.providers.simulated_script import Answer, Fault, Target, Tool

PROVIDERS = {"simulated": "small", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}
SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ODD = 'Olá 👩‍👩‍👧 "quotes" \\ back\\slash\n\n\ttab \u2028 <b>&amp;</b> ﷽ data: [DONE]\r\nend'
CALLED = {"city": "Évora ☂", "days": 2, "deep": {"a": [1, None, True, "x\ny"]}}
SCENES: dict[str, Target] = {
    "words": Target(answer=Answer(text="The visit is on Tuesday at ten.")),
    "odd words": Target(answer=Answer(text=ODD)),
    "a call": Target(answer=Answer(tool=Tool("weather", CALLED))),
    "too long": Target(answer=Answer(text="word " * 400)),
    "filtered": Target(answer=Answer(text="one two three four five"), faults=(Fault("content_filter", after=2),)),
    "cached": Target(answer=Answer(text="Short."), cached_share=0.5, reasoning_tokens=7),
}
LENGTH = 50


class Heard(Struct, frozen=True):
    """What a program learns. `end`: stop, call, length or filter."""

    text: str
    call: tuple[str, Any] | None
    end: str
    usage: tuple[int, int, int]  # input, of that read from a cache, output


@pytest.fixture(scope="module")
def apps(server, sim) -> dict[str, App]:
    return {
        kind: App(server, f"every-{kind}", {"main": Route(provider=kind, model=model, retries=0)})  # type: ignore[arg-type]
        for kind, model in PROVIDERS.items()
    }


def by_chat(app: App, stream: bool) -> Heard:
    with openai.OpenAI(base_url=f"{app.server.url}/v1", api_key=app.key, max_retries=0) as client:
        tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
        asked: Any = {"model": "main", "messages": [{"role": "user", "content": "hello"}], "tools": tools,
                      "max_tokens": LENGTH}  # fmt: skip
        if stream:
            with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
                try:
                    made: Any = events.get_final_completion()
                except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError):
                    made = events.current_completion_snapshot
        else:
            made = client.chat.completions.create(**asked)
    choice = made.choices[0]
    calls = choice.message.tool_calls or []
    call = (calls[0].function.name, json.loads(calls[0].function.arguments)) if calls else None
    end = {"stop": "stop", "tool_calls": "call", "length": "length", "content_filter": "filter"}[choice.finish_reason]
    cached = made.usage.prompt_tokens_details.cached_tokens
    return Heard(
        choice.message.content or "", call, end, (made.usage.prompt_tokens, cached, made.usage.completion_tokens)
    )


def by_responses(app: App, stream: bool) -> Heard:
    with openai.OpenAI(base_url=f"{app.server.url}/v1", api_key=app.key, max_retries=0) as client:
        tools: Any = [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]
        asked: Any = {"model": "main", "input": "hello", "tools": tools, "max_output_tokens": LENGTH}
        if stream:
            *_, last = client.responses.create(**asked, stream=True)
            made: Any = last.response
        else:
            made = client.responses.create(**asked)
    call = next(((i.name, json.loads(i.arguments)) for i in made.output if i.type == "function_call"), None)
    end = "call" if call else "stop"
    if made.status == "incomplete":
        end = {"max_output_tokens": "length", "content_filter": "filter"}[made.incomplete_details.reason]
    cached = made.usage.input_tokens_details.cached_tokens
    return Heard(made.output_text, call, end, (made.usage.input_tokens, cached, made.usage.output_tokens))


def by_messages(app: App, stream: bool) -> Heard:
    with anthropic.Anthropic(base_url=app.server.url, api_key=app.key, max_retries=0) as client:
        tools: Any = [{"name": "weather", "input_schema": SCHEMA}]
        asked: Any = {"model": "main", "messages": [{"role": "user", "content": "hello"}], "tools": tools,
                      "max_tokens": LENGTH}  # fmt: skip
        if stream:
            with client.messages.stream(**asked) as events:
                made: Any = events.get_final_message()
        else:
            made = client.messages.create(**asked)
    text = "".join(block.text for block in made.content if block.type == "text")
    call = next(((b.name, b.input) for b in made.content if b.type == "tool_use"), None)
    end = {"end_turn": "stop", "tool_use": "call", "max_tokens": "length", "refusal": "filter"}[made.stop_reason]
    cached = made.usage.cache_read_input_tokens or 0
    return Heard(text, call, end, (made.usage.input_tokens + cached, cached, made.usage.output_tokens))


@pytest.mark.parametrize("scene", list(SCENES))
@pytest.mark.parametrize("kind", list(PROVIDERS))
def test_every_api_says_the_same_of_the_same_answer(apps, sim, kind, scene):
    app, target = apps[kind], SCENES[scene]
    heard = {}
    for ask in (by_chat, by_responses, by_messages):
        for stream in (False, True):
            sim.play(main=target)
            found = heard[f"{ask.__name__}, {'streamed' if stream else 'plain'}"] = ask(app, stream)
            books = sim.counted("main")
            assert found.usage[0] == books["input_tokens"], (ask, stream)
            assert found.usage[2] == books["output_tokens"], (ask, stream)
    first = heard["by_chat, plain"]
    same = {name: (one.text, one.call, one.end) for name, one in heard.items()}
    assert set(map(repr, same.values())) == {repr((first.text, first.call, first.end))}, same
    match scene:
        case "words" | "cached":
            assert (first.text, first.end) == (target.answer.text, "stop")
        case "odd words":
            assert first.text == ODD
        case "a call":
            assert (first.call, first.end) == (("weather", CALLED), "call")
        case "too long":
            assert first.end == "length"
            assert 0 < len(first.text) < 2_000
        case "filtered":
            assert first.end == "filter"
    assert (first.usage[1] > 0) is (scene == "cached")
