"""The simulated provider's Gemini dialect, driven by Google's own client: if that reads it, the shape is true."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from waterline.providers.simulated import SimulatedInProcess
from waterline.providers.simulated_script import Answer, Fault, Limits, Script, Target, Tool

MODEL = "gemini-3.8-flash"
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(name="weather", parameters_json_schema={"type": "object", "properties": {}})
    ]
)


@pytest.fixture
async def simulated() -> AsyncIterator[SimulatedInProcess]:
    said = Answer(text="one two three")
    rule = Answer(match="weather", tool=Tool("weather", {"city": "Porto"}))
    targets = {
        "thinks": Target(answer=said, rules=(rule,), cached_share=0.25, reasoning_tokens=7),
        "keyed": Target(answer=said, api_key="right"),
        "slow_down": Target(answer=said, limits=Limits(rpm=1, retry_after_s=30)),
        "down": Target(answer=said, faults=(Fault("http", status=503),)),
        "small": Target(answer=said, context_tokens=5),
        "filtered": Target(answer=said, faults=(Fault("content_filter", after=1),)),
        "cut": Target(answer=said, faults=(Fault("missing_done"),)),
    }
    async with SimulatedInProcess(Script(default=Target(answer=said, rules=(rule,)), targets=targets)) as server:
        yield server


@pytest.fixture
def client(simulated: SimulatedInProcess) -> Callable[..., Any]:
    def make(target: str = "", key: str = "right") -> Any:
        options = types.HttpOptions(base_url=f"{simulated.address}/{target}".rstrip("/"))
        return genai.Client(api_key=key, http_options=options).aio.models

    return make


async def test_a_plain_answer_and_its_usage(client: Any) -> None:
    answer = await client("thinks").generate_content(model=MODEL, contents="hello")
    assert answer.text == "one two three"
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    usage = answer.usage_metadata
    assert (usage.candidates_token_count, usage.thoughts_token_count) == (3, 7)
    assert usage.total_token_count == usage.prompt_token_count + 10
    assert 0 < usage.cached_content_token_count < usage.prompt_token_count
    assert (answer.model_version, bool(answer.response_id)) == (MODEL, True)


async def test_a_stream_ends_with_a_finish_reason_and_the_usage(client: Any) -> None:
    chunks = [c async for c in await client().generate_content_stream(model=MODEL, contents="hello")]
    assert "".join(chunk.text or "" for chunk in chunks) == "one two three"
    assert [c.candidates[0].finish_reason for c in chunks] == [None, None, None, types.FinishReason.STOP]
    assert chunks[-1].usage_metadata.candidates_token_count == 3
    cut = [c async for c in await client("cut").generate_content_stream(model=MODEL, contents="hello")]
    assert all(chunk.candidates[0].finish_reason is None for chunk in cut)


async def test_a_tool_loop_with_signatures(client: Any) -> None:
    config = types.GenerateContentConfig(tools=[WEATHER])
    models = client("thinks")
    contents: list[Any] = [types.Content(role="user", parts=[types.Part(text="the weather?")])]
    first = await models.generate_content(model=MODEL, contents=contents, config=config)
    call = first.function_calls[0]
    assert (call.name, call.args) == ("weather", {"city": "Porto"})
    result = types.Part.from_function_response(name="weather", response={"sky": "blue"})
    thanks = types.Content(role="user", parts=[types.Part(text="thanks")])  # the last text decides what is said
    contents += [first.candidates[0].content, types.Content(role="user", parts=[result]), thanks]
    second = await models.generate_content(model=MODEL, contents=contents, config=config)
    assert second.text == "one two three"
    first.candidates[0].content.parts[0].thought_signature = None
    with pytest.raises(errors.ClientError, match="thought_signature"):
        await models.generate_content(model=MODEL, contents=contents, config=config)
    with pytest.raises(errors.ClientError, match="number of function response parts"):
        await client().generate_content(model=MODEL, contents=contents[:2] + contents[:1], config=config)


async def test_tool_config_and_stops_and_bounds(client: Any) -> None:
    calling = types.ToolConfig(
        function_calling_config=types.FunctionCallingConfig(
            mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["weather"]
        )
    )
    forced = types.GenerateContentConfig(tools=[WEATHER], tool_config=calling)
    answer = await client().generate_content(model=MODEL, contents="hello", config=forced)
    assert answer.function_calls[0].name == "weather"
    short = types.GenerateContentConfig(max_output_tokens=2, system_instruction="be brief", candidate_count=2)
    answer = await client().generate_content(model=MODEL, contents="hello", config=short)
    assert [c.finish_reason for c in answer.candidates] == [types.FinishReason.MAX_TOKENS] * 2
    stopped = types.GenerateContentConfig(stop_sequences=["two"])
    assert (await client().generate_content(model=MODEL, contents="hello", config=stopped)).text == "one "


class City(BaseModel):
    name: str
    people: int


async def test_a_schema_is_satisfied_in_both_of_its_spellings(client: Any) -> None:
    for asked in ({"response_schema": City}, {"response_json_schema": City.model_json_schema()}):
        config = types.GenerateContentConfig(response_mime_type="application/json", **asked)
        answer = await client().generate_content(model=MODEL, contents="hello", config=config)
        assert City.model_validate_json(answer.text).people == 1


async def test_faults_in_the_service_s_own_shape(client: Any) -> None:
    async def fails(target: str, code: int, status: str, **more: Any) -> Any:
        with pytest.raises(errors.APIError) as error:
            await client(target, **more).generate_content(model=MODEL, contents="hello, how are you today?")
        assert (error.value.code, error.value.status) == (code, status)
        return error.value

    await fails("down", 503, "UNAVAILABLE")
    assert "token count" in str(await fails("small", 400, "INVALID_ARGUMENT"))
    assert "API_KEY_INVALID" in str((await fails("keyed", 400, "INVALID_ARGUMENT", key="wrong")).details)
    await client("slow_down").generate_content(model=MODEL, contents="hello")
    assert "'retryDelay': '30s'" in str((await fails("slow_down", 429, "RESOURCE_EXHAUSTED")).details)
    filtered = await client("filtered").generate_content(model=MODEL, contents="hello")
    assert filtered.candidates[0].finish_reason == types.FinishReason.SAFETY


async def test_embeddings(client: Any) -> None:
    config = types.EmbedContentConfig(output_dimensionality=4)
    answer = await client().embed_content(model="gemini-embedding-001", contents=["a", "b"], config=config)
    assert [len(one.values) for one in answer.embeddings] == [4, 4]
    assert answer.embeddings[0].values != answer.embeddings[1].values
