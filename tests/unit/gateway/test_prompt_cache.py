"""What a provider is told about the unchanging part of a request."""

import json
from typing import Any

import pytest

from waterline.core.release import Prompt, Release, Route
from waterline.core.request import decode_request
from waterline.gateway.prompt_cache import stable_length
from waterline.gateway.render import fill, render
from waterline.providers.anthropic import Anthropic
from waterline.providers.openai import OpenAI

TEXT = "You answer parents.\nRules.\nToday is {{today}}. Contact {{who}}."
PROMPTS = {
    "agent": Prompt(text=TEXT, variables=("today", "who")),
    "late": Prompt(text="{{today}}", variables=("today",)),
}
VALUES = {"today": "2026-11-21", "who": "us"}
TOOLS = [{"type": "function", "function": {"name": n, "parameters": {"type": "object"}}} for n in "ab"]


def rendered(provider: Any, route: Route, **more: Any) -> dict[str, Any]:
    asked = {"model": "main", "messages": [{"role": "user", "content": "hi"}], **more}
    request = decode_request("chat", "/v1/chat/completions", json.dumps(asked).encode(), 0)
    body = render(request, Release(app="school", prompts=PROMPTS), route, provider, VALUES, 50)
    found: dict[str, Any] = json.loads(body)
    return found


def claude(prompt: str = "agent", cached: bool = True) -> Route:
    return Route(provider="anthropic", model="claude", prompt=prompt, prompt_cache=cached)


def test_anthropic_is_told_where_the_unchanging_part_of_the_prompt_ends() -> None:
    system = rendered(Anthropic(lambda: 0), claude())["system"]
    assert [part["text"] for part in system] == ["You answer parents.\nRules.\n", "Today is 2026-11-21. Contact us."]
    assert [part.get("cache_control") for part in system] == [{"type": "ephemeral"}, None]


def test_what_the_model_reads_is_the_same_with_and_without() -> None:
    system = rendered(Anthropic(lambda: 0), claude())["system"]
    assert "".join(part["text"] for part in system) == fill(PROMPTS["agent"], VALUES)
    plain = rendered(Anthropic(lambda: 0), claude(cached=False))
    assert plain["system"] == fill(PROMPTS["agent"], VALUES)
    assert "cache_control" not in json.dumps(plain)


def test_where_the_prompt_begins_with_a_variable_the_tools_are_marked() -> None:
    found = rendered(Anthropic(lambda: 0), claude("late"), tools=TOOLS)
    assert [tool.get("cache_control") for tool in found["tools"]] == [None, {"type": "ephemeral"}]
    assert found["system"] == "2026-11-21"


def test_a_prompt_in_the_callers_own_code_is_marked_whole() -> None:
    own = [{"role": "system", "content": "Mine."}, {"role": "user", "content": "hi"}]
    assert rendered(Anthropic(lambda: 0), claude(""), messages=own)["system"] == [
        {"type": "text", "text": "Mine.", "cache_control": {"type": "ephemeral"}}
    ]


def test_a_caller_who_sets_marks_keeps_its_own() -> None:
    part = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    found = rendered(Anthropic(lambda: 0), claude(), messages=[{"role": "user", "content": [part]}])
    assert json.dumps(found).count("cache_control") == 1
    assert found["messages"][0]["content"][0]["cache_control"]["ttl"] == "1h"


def test_openai_gets_one_key_for_an_app_and_its_prompt() -> None:
    route = Route(provider="openai", model="gpt", prompt="agent", prompt_cache=True)
    one, two = rendered(OpenAI(), route), rendered(OpenAI(), route, user="another")
    assert one["prompt_cache_key"] == two["prompt_cache_key"]
    assert one["prompt_cache_key"].startswith("school-")
    assert one["messages"][0]["content"] == fill(PROMPTS["agent"], VALUES)
    late = rendered(OpenAI(), Route(provider="openai", model="gpt", prompt="late", prompt_cache=True))
    assert late["prompt_cache_key"] != one["prompt_cache_key"]
    assert rendered(OpenAI(), route, prompt_cache_key="mine")["prompt_cache_key"] == "mine"
    assert "prompt_cache_key" not in rendered(OpenAI(), Route(provider="openai", model="gpt", prompt="agent"))


@pytest.mark.parametrize(
    ("text", "expected"), [("abc", 3), ("ab {{x}}", 3), ("a\nb {{x}} c", 2), ("{{x}}", 0), ("a {{ not }", 10)]
)
def test_the_unchanging_part_ends_at_the_line_before_the_first_variable(text: str, expected: int) -> None:
    assert stable_length(text) == expected
