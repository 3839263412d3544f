"""Agent frameworks as they are, through Waterline: one tool call, plain and streamed."""

import asyncio
import json
from typing import Any

import pytest

from waterline.providers.simulated_script import Answer, Target, Tool

PROVIDERS = {
    "openai shape": {"provider": "simulated", "model": "small"},
    "anthropic shape": {"provider": "anthropic", "model": "claude-haiku-4-5", "max_tokens": 256},
    "gemini shape": {"provider": "gemini", "model": "gemini-2.5-flash", "max_tokens": 256},
}


@pytest.mark.parametrize("shape", list(PROVIDERS))
@pytest.mark.parametrize("chained", [False, True], ids=["whole history", "chained by id"])
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_pydantic_ai_calls_a_tool_over_responses(make_app, sim, shape, chained, streamed):
    pytest.importorskip("pydantic_ai")
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
    from pydantic_ai.providers.openai import OpenAIProvider

    # The first question is answered with a call; once a result is in, the same words get a text.
    call = Answer(match="weather", tool=Tool(name="weather", arguments={"city": "Rome"}))
    sim.play(default=Target(rules=(call,)))
    app = make_app(main=PROVIDERS[shape])
    asked: list[str] = []

    async def run() -> tuple[str, list[Any]]:
        model = OpenAIResponsesModel("main", provider=OpenAIProvider(base_url=app.server.url + "/v1", api_key=app.key))
        settings = OpenAIResponsesModelSettings(openai_previous_response_id="auto") if chained else None
        agent = Agent(model, instructions="Use the tool.", model_settings=settings)

        @agent.tool_plain
        def weather(city: str) -> str:
            asked.append(city)
            sim.play()  # from now on it says a text
            return "sunny"

        if streamed:
            async with agent.run_stream("the weather in Rome?") as stream:
                said = await stream.get_output()
                return said, stream.all_messages()
        done = await agent.run("the weather in Rome?")
        return done.output, done.all_messages()

    said, messages = asyncio.run(run())
    assert said == "This is a simulated answer. No model was asked."
    assert asked == ["Rome"]
    assert len(messages) == 4  # question, call, result, answer
    rows = app.server.traces(app=app.name)
    assert [row["outcome"] for row in rows] == ["answered", "answered"]
    last = json.loads(app.server.trace(rows[0]["id"])["request"])
    assert (last.get("previous_response_id") is not None) == chained
