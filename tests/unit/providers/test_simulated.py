"""The simulated provider: real SDKs read it, and it fails exactly as declared."""

import asyncio
import base64
import hashlib
import json
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anthropic
import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.providers.simulated import ScriptError, SimulatedInProcess, SimulatedProcess, load_script
from waterline.providers.simulated_answers import cut, draw, fulfil, uniform
from waterline.providers.simulated_play import Play
from waterline.providers.simulated_script import (
    Answer,
    Capacity,
    Fault,
    Limits,
    Lognormal,
    Script,
    Target,
    Tool,
    Uniform,
    When,
    encode_script,
    parse_script,
)

HI: list[Any] = [{"role": "user", "content": "hello there"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
async def simulated() -> AsyncIterator[SimulatedInProcess]:
    async with SimulatedInProcess() as server:
        yield server


CLIENTS: list[openai.AsyncOpenAI | anthropic.AsyncAnthropic] = []


@pytest.fixture(autouse=True)
async def closed_clients() -> AsyncIterator[None]:
    yield
    while CLIENTS:
        await CLIENTS.pop().close()


def openai_client(
    server: SimulatedInProcess | SimulatedProcess, target: str = "", key: str = "k"
) -> openai.AsyncOpenAI:
    client = openai.AsyncOpenAI(base_url=server.base_url(target), api_key=key, max_retries=0, timeout=60)
    CLIENTS.append(client)
    return client


def anthropic_client(server: SimulatedInProcess) -> anthropic.AsyncAnthropic:
    client = anthropic.AsyncAnthropic(base_url=server.address, api_key="k", max_retries=0, timeout=60)
    CLIENTS.append(client)
    return client


async def ask(
    server: SimulatedInProcess,
    *,
    stream: bool = False,
    path: str = "/v1/chat/completions",
    wait_s: float = 30.0,
    **more: Any,
) -> tuple[int, bytes, bytes, str]:
    """Status, head, body, and how it ended: "complete", "closed", "reset" or "silent"."""
    parts = urlsplit(server.address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    body = json.dumps({"model": "m", "messages": HI, "stream": stream, **more}).encode()
    writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    got, end = b"", "closed"
    try:
        async with asyncio.timeout(wait_s):
            while part := await reader.read(1 << 16):
                got += part
                if _complete(got):
                    end = "complete"
                    break
    except TimeoutError:
        end = "silent"
    except ConnectionResetError:
        end = "reset"
    writer.close()
    head, _, rest = got.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head:
        rest = _unchunk(rest)
    return (int(head.split(b" ")[1]) if head else 0), head, rest, end


def _complete(got: bytes) -> bool:
    head, found, rest = got.partition(b"\r\n\r\n")
    if not found:
        return False
    if b"transfer-encoding: chunked" in head:
        return rest.endswith(b"0\r\n\r\n")
    return len(rest) >= int(head.split(b"content-length: ")[1].split(b"\r\n")[0])


def _unchunk(rest: bytes) -> bytes:
    out = b""
    while b"\r\n" in rest:
        size, _, rest = rest.partition(b"\r\n")
        out, rest = out + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return out


async def play(server: SimulatedInProcess, **target: Any) -> None:
    await server.set_script(Script(default=Target(**target)))


# --- what it says -----------------------------------------------------------------------------------------------


async def test_the_openai_sdk_reads_a_plain_answer_with_exact_usage(simulated: SimulatedInProcess) -> None:
    await play(simulated, answer=Answer(text="one two three"), cached_share=0.5, reasoning_tokens=7)
    got = await openai_client(simulated).chat.completions.create(model="any", messages=HI)
    assert got.choices[0].message.content == "one two three"
    assert got.choices[0].finish_reason == "stop"
    assert got.usage is not None
    assert got.usage.prompt_tokens_details is not None
    sent = len(json.dumps(HI, separators=(",", ":")))
    assert got.usage.prompt_tokens == -(-sent // 4)
    assert got.usage.completion_tokens == 3 + 7
    assert got.usage.prompt_tokens_details.cached_tokens == got.usage.prompt_tokens // 2


async def test_the_openai_sdk_reads_a_stream_and_usage_comes_once_at_the_end(simulated: SimulatedInProcess) -> None:
    await play(simulated, answer=Answer(text="one two three"))
    client = openai_client(simulated)
    stream = await client.chat.completions.create(
        model="any", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two three"
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    bare = await client.chat.completions.create(model="any", messages=HI, stream=True)
    assert all(c.usage is None and c.choices for c in [chunk async for chunk in bare])


async def test_usage_is_null_on_other_chunks_only_when_it_was_asked_for(simulated: SimulatedInProcess) -> None:
    _, _, with_usage, _ = await ask(simulated, stream=True, stream_options={"include_usage": True})
    _, _, without, _ = await ask(simulated, stream=True)
    assert with_usage.count(b'"usage":null') == with_usage.count(b"data: {") - 1
    assert b'"usage"' not in without
    assert without.endswith(b"data: [DONE]\n\n")


async def test_the_anthropic_sdk_reads_plain_and_streamed_answers(simulated: SimulatedInProcess) -> None:
    await play(simulated, answer=Answer(text="one two three"), cached_share=0.25)
    client = anthropic_client(simulated)
    plain = await client.messages.create(model="any", max_tokens=50, system="be brief", messages=HI)
    async with client.messages.stream(model="any", max_tokens=50, system="be brief", messages=HI) as stream:
        kinds = [event.type async for event in stream if event.type not in ("text",)]
        streamed = await stream.get_final_message()
    for message in (plain, streamed):
        assert [b.type for b in message.content] == ["text"]
        assert getattr(message.content[0], "text", "") == "one two three"
        assert message.stop_reason == "end_turn"
        assert message.usage.output_tokens == 3
        total = message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
        assert message.usage.cache_read_input_tokens == total // 4
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_anthropic_wants_its_version_header_and_max_tokens(simulated: SimulatedInProcess) -> None:
    status, _, body, _ = await ask(simulated, path="/v1/messages", max_tokens=5)
    assert status == 400
    assert b"anthropic-version" in body
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        await anthropic_client(simulated).messages.create(model="any", max_tokens=0, messages=HI)


async def test_a_rule_answers_with_a_tool_call_where_the_tool_is_offered(simulated: SimulatedInProcess) -> None:
    rule = Answer(match="rain|sun", tool=Tool("weather", {"city": "Porto"}))
    await play(simulated, rules=(rule,))
    client = openai_client(simulated)
    asked: list[Any] = [{"role": "user", "content": "Will it rain?"}]
    tools: list[Any] = [WEATHER]
    got = await client.chat.completions.create(model="m", messages=asked, tools=tools)
    assert got.choices[0].finish_reason == "tool_calls"
    assert got.choices[0].message.tool_calls
    assert json.loads(got.choices[0].message.tool_calls[0].function.arguments) == {"city": "Porto"}  # type: ignore[union-attr]
    without = await client.chat.completions.create(model="m", messages=asked)
    assert without.choices[0].finish_reason == "stop"
    async with client.chat.completions.stream(model="m", messages=asked, tools=tools) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.tool_calls
    assert json.loads(final.choices[0].message.tool_calls[0].function.arguments) == {"city": "Porto"}
    own: list[Any] = [{"name": "weather", "input_schema": {"type": "object"}}]
    message = await anthropic_client(simulated).messages.create(model="m", max_tokens=99, messages=asked, tools=own)
    assert message.stop_reason == "tool_use"
    assert getattr(message.content[0], "input", None) == {"city": "Porto"}


async def test_a_forced_tool_is_called_with_arguments_of_its_schema(simulated: SimulatedInProcess) -> None:
    tools: list[Any] = [WEATHER]
    got = await openai_client(simulated).chat.completions.create(
        model="m", messages=HI, tools=tools, tool_choice="required"
    )
    assert got.choices[0].message.tool_calls
    assert json.loads(got.choices[0].message.tool_calls[0].function.arguments) == {"city": "simulated"}  # type: ignore[union-attr]


async def test_rules_echo_choice_and_length_are_as_declared(simulated: SimulatedInProcess) -> None:
    rules = (
        Answer(match="^echo", echo=True),
        Answer(match="long", text="a b", tokens=5),
        Answer(match="dice", choose=("1", "2")),
    )
    await play(simulated, rules=rules)
    client = openai_client(simulated)

    async def said(text: str, **more: Any) -> tuple[str | None, str]:
        got = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}], **more)
        return got.choices[0].message.content, got.choices[0].finish_reason

    assert await said("Echo me") == ("Echo me", "stop")
    assert await said("long") == ("a b a b a", "stop")
    assert await said("long", max_tokens=2) == ("a b", "length")
    assert await said("Echo one STOP two", stop=["STOP"]) == ("Echo one ", "stop")
    await play(simulated, rules=rules)
    first = [(await said("dice"))[0] for _ in range(12)]
    await play(simulated, rules=rules)
    assert [(await said("dice"))[0] for _ in range(12)] == first
    assert set(first) == {"1", "2"}


async def test_json_is_answered_when_it_is_asked_for(simulated: SimulatedInProcess) -> None:
    class Lead(msgspec.Struct):
        name: str
        age: int
        tags: list[str]
        level: str

    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 3},
            "age": {"type": "integer", "minimum": 18, "maximum": 99},
            "tags": {"type": "array", "items": {"type": "string"}},
            "level": {"enum": ["A1", "B2"]},
        },
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "lead", "schema": schema}}
    got = await openai_client(simulated).chat.completions.create(model="m", messages=HI, response_format=form)
    lead = msgspec.json.decode(got.choices[0].message.content or "", type=Lead)
    assert lead.age == 18
    assert lead.level == "A1"
    assert len(lead.name) >= 3
    await play(simulated, answer=Answer(text='{"mine": 1}'))
    got = await openai_client(simulated).chat.completions.create(model="m", messages=HI, response_format=form)
    assert got.choices[0].message.content == '{"mine": 1}'


async def test_several_choices_and_logprobs(simulated: SimulatedInProcess) -> None:
    client = openai_client(simulated)
    got = await client.chat.completions.create(model="m", messages=HI, n=3, logprobs=True, top_logprobs=2)
    assert [c.index for c in got.choices] == [0, 1, 2]
    logprobs = got.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    assert "".join(t.token for t in logprobs.content) == got.choices[0].message.content
    assert len(logprobs.content[0].top_logprobs) == 2
    stream = await client.chat.completions.create(model="m", messages=HI, n=2, stream=True)
    texts = {0: "", 1: ""}
    async for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts[0] == texts[1] == got.choices[0].message.content


async def test_embeddings_depend_on_the_text_alone(simulated: SimulatedInProcess) -> None:
    client = openai_client(simulated)
    got = await client.embeddings.create(model="e", input=["a", "b", "a"])
    one, two, three = (item.embedding for item in got.data)
    assert one == three != two
    assert len(one) == 64
    assert sum(v * v for v in one) == pytest.approx(1, abs=1e-5)
    plain = await client.embeddings.create(model="e", input="a", encoding_format="float", dimensions=64)
    assert plain.data[0].embedding == pytest.approx(one, abs=1e-6)
    _, _, raw, _ = await ask(simulated, path="/v1/embeddings", input="a", encoding_format="base64")
    packed = base64.b64decode(json.loads(raw)["data"][0]["embedding"])
    assert list(struct.unpack("<64f", packed)) == pytest.approx(one, abs=1e-6)


async def test_models_are_listed_and_can_be_the_only_ones(simulated: SimulatedInProcess) -> None:
    await play(simulated, models=("small", "large"), only_models=True, api_key="right")
    client = openai_client(simulated, key="right")
    assert [m.id async for m in client.models.list()] == ["small", "large"]
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="other", messages=HI)
    with pytest.raises(openai.AuthenticationError):
        await openai_client(simulated, key="wrong").chat.completions.create(model="small", messages=HI)


async def test_a_prompt_that_does_not_fit_is_refused_as_each_provider_says_it(simulated: SimulatedInProcess) -> None:
    await play(simulated, context_tokens=5)
    with pytest.raises(openai.BadRequestError) as error:
        await openai_client(simulated).chat.completions.create(model="m", messages=HI)
    assert error.value.code == "context_length_exceeded"
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        await anthropic_client(simulated).messages.create(model="m", max_tokens=5, messages=HI)


@pytest.mark.parametrize(
    "body", [b"", b"[", b"\xff\xfe", b'{"model":1}', b"[" * 100_000, b'{"model":"m","messages":3}']
)
async def test_bad_requests_are_a_400_never_a_500(simulated: SimulatedInProcess, body: bytes) -> None:
    parts = urlsplit(simulated.address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    assert (await reader.read()).startswith(b"HTTP/1.1 400")
    writer.close()


# --- targets ----------------------------------------------------------------------------------------------------


async def test_one_server_plays_several_providers(simulated: SimulatedInProcess) -> None:
    main = Target(faults=(Fault("http", status=503),))
    await simulated.set_script(Script(targets={"main": main}, default=Target(answer=Answer(text="fine"))))
    with pytest.raises(openai.InternalServerError):
        await openai_client(simulated, "main").chat.completions.create(model="m", messages=HI)
    got = await openai_client(simulated, "backup").chat.completions.create(model="m", messages=HI)
    assert got.choices[0].message.content == "fine"
    stats = await simulated.stats()
    assert {name: t.statuses for name, t in stats.targets.items()} == {"main": {503: 1}, "backup": {200: 1}}
    assert (await ask(simulated, path="/backup/chat/completions"))[0] == 200  # /v1 may be left out


def test_a_target_takes_what_it_does_not_declare_from_default() -> None:
    script = parse_script(
        b'[default]\nper_token_ms = 3\nburst = 2\n[targets.main]\nburst = 4\n[targets.other.answer]\ntext="x"'
    )
    assert (script.targets["main"].per_token_ms, script.targets["main"].burst) == (3, 4)
    assert (script.targets["other"].burst, script.targets["other"].answer.text) == (2, "x")


# --- time, limits, capacity -------------------------------------------------------------------------------------


async def test_latency_is_as_declared_and_bursts_come_together(simulated: SimulatedInProcess) -> None:
    await play(simulated, first_token_ms=80, per_token_ms=50, burst=4, answer=Answer(text="x", tokens=12))
    spread = 10.0  # seconds between the tokens of the first burst, where the machine did not stop meanwhile
    for _ in range(10):
        began = time.monotonic()
        stream = await openai_client(simulated).chat.completions.create(model="m", messages=HI, stream=True)
        times = [time.monotonic() - began async for chunk in stream if chunk.choices and chunk.choices[0].delta.content]
        assert times[0] >= 0.08
        assert times[4] >= 0.08 + 0.2 - 0.005  # a loop's clock may tick in milliseconds
        assert times[8] >= 0.08 + 0.4 - 0.005
        spread = min(spread, times[3] - times[0])
        if spread < 0.05:
            break
    assert spread < 0.15
    began = time.monotonic()
    await ask(simulated)
    assert time.monotonic() - began >= 0.68 - 0.005


@pytest.mark.parametrize(
    ("limits", "header"), [(Limits(rpm=2), True), (Limits(rpm=2, retry_after=False), False), (Limits(tpm=60), True)]
)
async def test_beyond_the_limits_it_says_429_with_or_without_retry_after(
    simulated: SimulatedInProcess, limits: Limits, header: bool
) -> None:
    await play(simulated, limits=limits)
    answers = [await ask(simulated) for _ in range(6)]
    assert answers[0][0] == 200
    assert answers[-1][0] == 429
    assert (b"retry-after:" in answers[-1][1]) is header
    stats = (await simulated.stats()).targets["default"]
    assert stats.limited == sum(a[0] == 429 for a in answers) == stats.statuses[429]


async def test_concurrency_is_limited_and_capacity_makes_requests_wait(simulated: SimulatedInProcess) -> None:
    await play(simulated, first_token_ms=2000, limits=Limits(concurrency=2))
    statuses = [a[0] for a in await asyncio.gather(*[ask(simulated) for _ in range(5)])]
    assert sorted(statuses) == [200, 200, 429, 429, 429]
    await play(simulated, first_token_ms=100, capacity=Capacity(slots=2))
    began = time.monotonic()
    assert {a[0] for a in await asyncio.gather(*[ask(simulated) for _ in range(6)])} == {200}
    assert time.monotonic() - began >= 0.3
    await play(simulated, first_token_ms=1500, capacity=Capacity(slots=1, queue=2))
    assert sorted(a[0] for a in await asyncio.gather(*[ask(simulated) for _ in range(5)])) == [200] * 3 + [503] * 2


async def test_a_waiting_client_that_leaves_gives_its_turn_back(simulated: SimulatedInProcess) -> None:
    await play(simulated, first_token_ms=2000, capacity=Capacity(slots=1))
    leaving = [asyncio.create_task(ask(simulated, wait_s=0.05)) for _ in range(4)]
    await asyncio.gather(*leaving)
    assert (await ask(simulated))[0] == 200
    stats = (await simulated.stats()).targets["default"]
    assert stats.aborted == 4
    assert stats.in_flight == 0
    assert stats.answered == 1


# --- faults -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_connections_break_as_declared(simulated: SimulatedInProcess, stream: bool) -> None:
    ends = {}
    for kind in ("refuse_connection", "reset_before_headers", "silence"):
        await play(simulated, faults=(Fault(kind),))
        ends[kind] = (await ask(simulated, stream=stream, wait_s=0.2 if kind == "silence" else 30))[1:]
    assert ends == {
        "refuse_connection": (b"", b"", "closed"),
        "reset_before_headers": (b"", b"", "reset"),
        "silence": (b"", b"", "silent"),
    }


async def test_a_stream_stalls_or_is_cut_after_the_declared_events(simulated: SimulatedInProcess) -> None:
    for kind, end in (("stall", "silent"), ("cut", "closed")):
        for after in (0, 3):
            await play(simulated, faults=(Fault(kind, after=after),))  # type: ignore[arg-type]
            status, _, body, ended = await ask(simulated, stream=True, wait_s=1.5 if kind == "stall" else 30)
            assert (status, ended) == (200, end)
            assert body.count(b'"content":') == 1 + after  # the role event has an empty content
            assert b'finish_reason":"' not in body
            assert b"[DONE]" not in body
    await play(simulated, faults=(Fault("cut"),))
    status, _, body, ended = await ask(simulated)
    assert status == 200
    assert ended in ("closed", "reset")
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


async def test_bad_events_and_missing_ends(simulated: SimulatedInProcess) -> None:
    async def lines(kind: Any, after: int = 2) -> list[bytes]:
        await play(simulated, faults=(Fault(kind, after=after),))
        status, _, body, end = await ask(simulated, stream=True, stream_options={"include_usage": True})
        assert (status, end) == (200, "complete")
        return [line.removeprefix(b"data: ") for line in body.split(b"\n\n") if line]

    malformed = await lines("malformed_event")
    with pytest.raises(json.JSONDecodeError):
        json.loads(malformed[3])
    assert malformed[-1] == b"[DONE]"
    error = await lines("error_event")
    assert len(error) == 4
    assert "error" in json.loads(error[-1])
    assert json.loads((await lines("missing_usage"))[-2])["choices"][0]["finish_reason"] == "stop"
    assert b'"prompt_tokens"' in (await lines("missing_done"))[-1]
    filtered = await lines("content_filter")
    assert json.loads(filtered[-3])["choices"][0]["finish_reason"] == "content_filter"


async def test_error_answers_have_the_shape_of_the_provider(simulated: SimulatedInProcess) -> None:
    await play(simulated, faults=(Fault("http", status=529, retry_after_s=2.5),))
    with pytest.raises(anthropic.APIStatusError) as error:
        await anthropic_client(simulated).messages.create(model="m", max_tokens=5, messages=HI)
    assert error.value.status_code == 529
    assert error.value.response.headers["retry-after"] == "2.5"
    assert "overloaded_error" in str(error.value)
    await play(simulated, faults=(Fault("unauthorized"),))
    with pytest.raises(openai.AuthenticationError):
        await openai_client(simulated).chat.completions.create(model="m", messages=HI)
    await play(simulated, faults=(Fault("html"),))
    status, head, body, _ = await ask(simulated)
    assert status == 502
    assert b"text/html" in head
    assert body.startswith(b"<html>")
    await play(simulated, faults=(Fault("context_length"),))
    assert b"context_length_exceeded" in (await ask(simulated))[2]
    await play(simulated, faults=(Fault("garbage"),))
    status, _, body, _ = await ask(simulated)
    assert status == 200
    assert b"garbage" in body


async def test_an_anthropic_stream_can_fail_with_an_error_event(simulated: SimulatedInProcess) -> None:
    await play(simulated, faults=(Fault("error_event", after=2),))
    with pytest.raises(anthropic.APIStatusError, match="overloaded"):
        async with anthropic_client(simulated).messages.stream(model="m", max_tokens=50, messages=HI) as stream:
            await stream.get_final_message()


@pytest.mark.parametrize("stream", [False, True])
async def test_more_is_promised_than_sent(simulated: SimulatedInProcess, stream: bool) -> None:
    await play(simulated, faults=(Fault("wrong_content_length"),))
    status, head, body, end = await ask(simulated, stream=stream)
    assert status == 200
    assert end == "closed"
    assert len(body) < int(head.split(b"content-length: ")[1].split(b"\r\n")[0])


async def test_a_slow_first_token_comes_after_the_headers(simulated: SimulatedInProcess) -> None:
    await play(simulated, faults=(Fault("slow_first_token", ms=60_000),))
    status, _, body, end = await ask(simulated, stream=True, wait_s=1.5)
    assert (status, body, end) == (200, b"", "silent")
    await play(simulated, faults=(Fault("slow_first_token", ms=30),))
    assert (await ask(simulated, stream=True))[3] == "complete"


async def test_when_a_fault_happens(simulated: SimulatedInProcess) -> None:
    async def failed(when: When, count: int = 8, **more: Any) -> list[int]:
        await play(simulated, faults=(Fault("http", when=when),))
        return [i for i in range(count) if (await ask(simulated, **more))[0] == 500]

    assert await failed(When(first=3)) == [0, 1, 2]
    assert await failed(When(every=3)) == [2, 5]
    assert await failed(When(streamed=True)) == []
    assert await failed(When(streamed=True), 2, stream=True) == [0, 1]
    assert await failed(When(path="/elsewhere")) == []
    assert await failed(When(path="/v1/chat"), 2) == [0, 1]
    assert await failed(When(from_s=60)) == []
    assert await failed(When(on_s=0, off_s=60)) == []
    assert await failed(When(on_s=60, off_s=1), 2) == [0, 1]
    chance = await failed(When(probability=0.5), 40)
    assert chance == await failed(When(probability=0.5), 40)
    assert 8 < len(chance) < 32


def test_flapping_goes_off_and_on_again() -> None:
    play = Play(Target(faults=(Fault("http", when=When(on_s=0.3, off_s=0.3)),)), 0, "default", 100.0)
    failed = [play.fault("/v1", False, 100.0 + since) is not None for since in (0, 0.29, 0.31, 0.59, 0.61, 0.89, 0.91)]
    assert failed == [True, True, False, False, True, True, False]


# --- control ----------------------------------------------------------------------------------------------------


async def test_statistics_count_what_happened(simulated: SimulatedInProcess) -> None:
    await play(simulated, answer=Answer(text="one two three"))
    await ask(simulated)
    await ask(simulated, stream=True)
    await play(simulated, faults=(Fault("stall", after=2),))
    await ask(simulated, stream=True, wait_s=1.5)
    while (stats := (await simulated.stats()).targets["default"]).in_flight:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert (stats.requests, stats.streamed, stats.answered, stats.aborted) == (3, 2, 2, 1)
    assert stats.in_flight == 0
    assert stats.max_in_flight == 1
    assert stats.output_tokens == 3 + 3 + 2
    assert stats.faults == {"stall": 1}
    assert sum(stats.attempts_by_second.values()) == 3
    sent = json.dumps({"model": "m", "messages": HI, "stream": False}).encode()
    assert stats.bodies[0] == hashlib.sha256(sent).hexdigest()
    assert len(stats.bodies) == 3


async def test_a_bad_script_is_refused_and_the_old_one_stays(simulated: SimulatedInProcess) -> None:
    with pytest.raises(ScriptError, match="unknown field `speed`"):
        await simulated._control("POST", "/sim/script", b"[default]\nspeed = 3")
    assert (await ask(simulated))[0] == 200


async def test_a_process_starts_takes_a_script_and_stops() -> None:
    async with SimulatedProcess(Script(default=Target(answer=Answer(text="from afar")))) as provider:
        got = await openai_client(provider, "main").chat.completions.create(model="m", messages=HI)
        assert got.choices[0].message.content == "from afar"
        assert (await provider.stats()).targets["main"].requests == 1
        address = urlsplit(provider.address)
    with pytest.raises(OSError):
        await asyncio.open_connection(address.hostname, address.port)


async def test_stopping_does_not_wait_for_a_silent_answer() -> None:
    provider = SimulatedProcess(Script(default=Target(faults=(Fault("silence"),))))
    await provider.start()
    parts = urlsplit(provider.address)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await provider.stop()
    writer.close()
    assert time.monotonic() - began < 8


def test_the_command_line_says_when_it_is_ready_and_what_is_wrong(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[default]\nspeed = 3\n")
    command = [sys.executable, "-m", "waterline.providers.simulated"]
    refused = subprocess.run([*command, "--script", str(bad)], capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 2
    assert "speed" in refused.stderr
    assert "first_token_ms" in refused.stderr
    with subprocess.Popen([*command, "--until-stdin-closes"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["ready"] is True
        process.stdin.close()
        assert process.wait(60) == 0


# --- declaration and arithmetic ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[default]\nspeed = 3", ["speed", "`default`", "per_token_ms"]),
        ("[targets.main.limits]\nrpms = 3", ["rpms", "limits", "rpm, tpm"]),
        ('[[default.faults]]\nkind = "explode"', ["explode", "reset_before_headers"]),
        ('[default.first_token_ms]\nkind = "normal"', ["normal", "lognormal (median, p95)"]),
        ('[default.answer]\nmatch = "x"', ["exactly one of text, choose, echo, tool", "default.answer"]),
        ('[[default.rules]]\nmatch = "("\ntext = "x"', ["regular expression", "default.rules"]),
        ('[[default.faults]]\nkind = "http"\nwhen = {probability = 2}', ["probability", "between 0 and 1"]),
        ('[[default.faults]]\nkind = "http"\nwhen = {often = 2}', ["often", "probability, first, every"]),
        ("[default", ["neither TOML nor JSON"]),
        ("{", ["neither TOML nor JSON"]),
    ],
)
def test_a_mistake_in_a_script_names_the_key_and_the_remedy(text: str, named: list[str]) -> None:
    with pytest.raises(ScriptError) as error:
        parse_script(text.encode())
    for part in named:
        assert part in str(error.value), str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"none\.toml"):
        load_script(tmp_path / "none.toml")


def test_the_reference_page_is_a_script_and_names_every_key() -> None:
    page = (Path(__file__).parents[3] / "docs/reference/simulated-provider.md").read_text()
    parse_script(page.split("```toml\n")[1].split("```")[0].encode())
    for struct_type in (Script, Target, Answer, Tool, Limits, Capacity, Fault, When, Lognormal, Uniform):
        for name in struct_type.__struct_fields__:
            assert f"`{name}`" in page, f"{struct_type.__name__}.{name} is not on the page"
    for kind in msgspec.inspect.type_info(Fault).fields[0].type.values:  # type: ignore[attr-defined]
        assert f"`{kind}`" in page


def test_a_script_survives_encoding() -> None:
    own = Target(first_token_ms=Lognormal(100, 300), faults=(Fault("http", when=When(first=2)),), tokens=Uniform(1, 9))
    script = Script(seed=7, default=Target(burst=3), targets={"main": own})
    assert parse_script(encode_script(script)) == script


def test_draws_have_the_declared_quantiles() -> None:
    assert draw(Lognormal(100, 400), 0.5) == pytest.approx(100)
    assert draw(Lognormal(100, 400), 0.95) == pytest.approx(400)
    assert draw(Uniform(2, 4), 0.25) == 2.5
    values = [uniform(1, i) for i in range(4000)]
    assert abs(sum(values) / 4000 - 0.5) < 0.02
    assert 0 < min(values) < 0.01
    assert 0.99 < max(values) < 1


@given(st.text())
def test_the_pieces_of_an_answer_are_the_answer(text: str) -> None:
    assert "".join(cut(text)) == text


def test_schemas_are_satisfied() -> None:
    schema = {
        "$defs": {"p": {"type": "object", "properties": {"x": {"type": "number", "exclusiveMinimum": 3}}}},
        "type": "object",
        "properties": {
            "a": {"$ref": "#/$defs/p"},
            "b": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "c": {"type": ["boolean", "null"]},
            "d": {"type": "string", "format": "date"},
            "e": {"type": "array", "minItems": 3, "items": {"const": 4}},
            "f": {"type": "integer", "maximum": -5},
        },
    }
    assert fulfil(schema) == {"a": {"x": 4.0}, "b": None, "c": True, "d": "2026-01-15", "e": [4, 4, 4], "f": -5}
    loop: dict[str, Any] = {"type": "object", "properties": {"again": {"$ref": "#"}}}
    json.dumps(fulfil(loop))  # ends


async def test_what_is_said_can_depend_on_what_the_prompt_says(simulated: SimulatedInProcess) -> None:
    """In every dialect: a model knows what it is told."""
    rules = (
        Answer(match="open", prompted="nine to six", text="From nine to six."),
        Answer(match="open", text="No idea."),
    )
    await play(simulated, rules=rules)
    asked: list[Any] = [{"role": "user", "content": "Are you open?"}]
    client = openai_client(simulated)
    for told, said in (("We work from nine to six.", "From nine to six."), ("We sell shoes.", "No idea.")):
        messages = [{"role": "system", "content": told}, *asked]
        got = await client.chat.completions.create(model="m", messages=messages)
        assert got.choices[0].message.content == said
        other = await anthropic_client(simulated).messages.create(model="m", max_tokens=50, system=told, messages=asked)
        assert other.content[0].text == said  # type: ignore[union-attr]
