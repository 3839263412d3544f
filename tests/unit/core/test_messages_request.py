"""A Messages request survives the way through the canonical form to Anthropic; other providers get plain chat."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waterline.core.errors import InvalidRequest
from waterline.core.messages import decode_messages
from waterline.core.release import Release, Route
from waterline.core.request import Request, decode_request
from waterline.gateway.render import render
from waterline.providers.anthropic import Anthropic
from waterline.providers.base import ProviderFault
from waterline.providers.openai import OpenAI

EPHEMERAL = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
PNG = {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "aGVsbG8="}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"}
REDACTED = {"type": "redacted_thinking", "data": "c2VjcmV0"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Évora", "days": 2, "x": 1.5}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "21 degrees"}
TOOL = {"name": "weather", "description": "Weather.", "input_schema": {"type": "object", "properties": {}}}
WHOLE: dict[str, Any] = {
    "model": "main",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Long.", **EPHEMERAL}],
    "messages": [
        {"role": "user", "content": [
            {"type": "text", "text": "What is this?", **EPHEMERAL},
            {"type": "image", "source": PNG, **EPHEMERAL},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            {"type": "document", "source": PDF, "title": "t.pdf", "citations": {"enabled": True}, **EPHEMERAL},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Notes"}, "title": "n"},
        ]},
        {"role": "assistant", "content": [
            THOUGHT, REDACTED, {"type": "text", "text": "Let me see."}, CALL,
            {"type": "text", "text": "And again."}, {**CALL, "id": "toolu_2", **EPHEMERAL},
        ]},
        {"role": "user", "content": [
            {**RESULT, "is_error": True, **EPHEMERAL},
            {**RESULT, "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "rain"}]},
            {"type": "text", "text": "And tomorrow?"},
        ]},
        {"role": "system", "content": [{"type": "text", "text": "From now on, rhyme."}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Tomorrow"}]},
    ],
    "stop_sequences": ["END"],
    "temperature": 0.5,
    "top_k": 40,
    "top_p": 0.9,
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "tools": [{**TOOL, "strict": True, **EPHEMERAL}, {"type": "web_search_20250305", "name": "web_search"}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "metadata": {"user_id": "u-1"},
    "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "service_tier": "auto",
    "inference_geo": "eu",
}  # fmt: skip


def decoded(body: Any) -> Request:
    return decode_messages("/v1/messages", json.dumps(body).encode(), 0)


def to_anthropic(body: Any) -> Any:
    route = Route(provider="anthropic", model="claude-x")
    request = decoded(body)
    return json.loads(render(request, Release(app="a"), route, Anthropic(lambda: 0), {}, request.max_tokens))


def to_openai(body: Any, base_url: str = "") -> Any:
    route = Route(provider="openai", model="gpt-x", base_url=base_url)
    request = decoded(body)
    return json.loads(render(request, Release(app="a"), route, OpenAI(), {}, request.max_tokens))


def test_thinking_signatures_tool_ids_cache_control_and_unknown_fields_survive_to_anthropic():
    assert to_anthropic(WHOLE) == {**WHOLE, "model": "claude-x"}


def test_rendering_is_the_same_bytes_every_time():
    body = json.dumps(WHOLE).encode()
    route, provider = Route(provider="anthropic", model="claude-x"), Anthropic(lambda: 0)
    made = {
        render(decode_messages("/v1/messages", body, n), Release(app="a"), route, provider, {}, 50) for n in range(3)
    }
    assert len(made) == 1


def for_others() -> Any:
    """The same, without what only Anthropic could answer."""
    body = json.loads(json.dumps(WHOLE))
    del body["tools"][1]
    return body


def test_another_provider_gets_plain_chat_and_no_key_of_anthropics():
    sent = to_openai(for_others())
    assert "anthropic" not in json.dumps(sent)
    assert "cache_control" not in json.dumps(sent)
    assert "signature" not in json.dumps(sent)
    assert set(sent) == {
        "model", "messages", "temperature", "top_p", "stop", "tools", "tool_choice", "parallel_tool_calls", "user",
        "response_format", "max_completion_tokens",
    }  # fmt: skip
    assert [m["role"] for m in sent["messages"]] == [
        "system", "user", "assistant", "tool", "tool", "user", "system", "assistant"
    ]  # fmt: skip
    asked, called, result = sent["messages"][1:4]
    assert [p["type"] for p in asked["content"]] == ["text", "image_url", "image_url", "file", "text"]
    assert asked["content"][1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
    assert called["content"] == [{"type": "text", "text": "Let me see."}, {"type": "text", "text": "And again."}]
    assert [c["id"] for c in called["tool_calls"]] == ["toolu_1", "toolu_2"]
    assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == CALL["input"]
    assert result == {"role": "tool", "tool_call_id": "toolu_1", "content": "21 degrees"}
    assert sent["tools"] == [
        {"type": "function", "function": {"name": "weather", "description": "Weather.",
                                          "parameters": TOOL["input_schema"], "strict": True}}
    ]  # fmt: skip
    assert (sent["stop"], sent["user"], sent["tool_choice"]) == (["END"], "u-1", "auto")
    assert sent["parallel_tool_calls"] is False


def test_a_compatible_server_gets_the_old_name_of_the_bound():
    assert to_openai({**for_others(), "tools": []}, "http://localhost:1/v1")["max_tokens"] == 100


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
        ({"messages": [{"role": "user", "content": [
            {"type": "document", "source": {"type": "file", "file_id": "f"}}]}]}, "document"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]},
         "image"),
        ({"messages": [{"role": "user", "content": [{**RESULT, "content": [{"type": "image", "source": PNG}]}]}]},
         "tool's result"),
    ],
)  # fmt: skip
def test_content_that_another_provider_cannot_be_given_is_refused_never_dropped(change, says):
    with pytest.raises(ProviderFault, match=says) as refused:
        to_openai({**for_others(), "tools": [], **change})
    assert refused.value.kind == "invalid"
    to_anthropic({**WHOLE, **change})


def test_a_thought_without_a_signature_is_nobodys_and_goes_nowhere():
    body = {**WHOLE, "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [{**THOUGHT, "signature": ""}, {"type": "text", "text": "Hello."}]},
        {"role": "user", "content": "more"},
    ]}  # fmt: skip
    assert to_anthropic(body)["messages"][1]["content"] == [{"type": "text", "text": "Hello."}]


def test_the_prompt_of_the_release_comes_before_the_callers_system_prompt():
    from waterline.core.release import Prompt

    release = Release(app="a", prompts={"p": Prompt(text="We are a school.")})
    request = decoded(WHOLE)
    for provider, route in (
        (Anthropic(lambda: 0), Route(provider="anthropic", model="m", prompt="p")),
        (OpenAI(), Route(provider="openai", model="m", prompt="p")),
    ):
        if route.provider == "openai":
            request = decoded(for_others())
        sent = json.loads(render(request, release, route, provider, {}, 10))
        texts = json.dumps(sent.get("system") or sent["messages"][:2])
        assert texts.index("We are a school.") < texts.index("Be brief.")


BLOCKS = st.sampled_from(
    [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", **EPHEMERAL},
        {"type": "image", "source": PNG},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "document", "source": PDF},
        {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]},
        RESULT,
        {**RESULT, "content": [{"type": "text", "text": "x", **EPHEMERAL}, {"type": "image", "source": PNG}]},
    ]
)
SPOKEN = st.sampled_from(
    [
        THOUGHT,
        REDACTED,
        {"type": "text", "text": "a", "citations": [{"type": "char_location"}]},
        CALL,
        {**CALL, "input": {}},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
    ]
)
TURNS = st.lists(
    st.builds(lambda c: {"role": "user", "content": c}, st.lists(BLOCKS, min_size=1, max_size=5))
    | st.builds(lambda c: {"role": "assistant", "content": c}, st.lists(SPOKEN, min_size=1, max_size=6)),
    min_size=1,
    max_size=5,
)


def merged(turns: list[Any]) -> list[Any]:
    """Anthropic combines consecutive turns of one role, so they say the same."""
    out: list[Any] = []
    for turn in turns:
        if out and out[-1]["role"] == turn["role"]:
            out[-1] = {"role": turn["role"], "content": out[-1]["content"] + turn["content"]}
        else:
            out.append(turn)
    return out


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(TURNS)
def test_any_conversation_comes_back_block_for_block(turns):
    sent = to_anthropic({"model": "main", "max_tokens": 5, "messages": turns})
    assert merged(sent["messages"]) == merged(turns)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "source", "content", "tool_use_id", "id", "name", "input", "data", "signature"]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
KINDS = st.sampled_from(["text", "image", "document", "tool_use", "tool_result", "thinking", "base64", "url", "custom"])


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(sorted(WHOLE)), JSON, max_size=6), JSON, KINDS, JSON)
def test_any_json_is_decoded_or_refused_and_rendered_or_refused(change, block, kind, value):
    content = [{**(block if isinstance(block, dict) else {"text": block}), "type": kind, "source": value}]
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": content}], **change}
    with contextlib.suppress(InvalidRequest):  # anything else is a mistake of ours
        request = decoded(body)
        for provider, route in (
            (OpenAI(), Route(provider="openai", model="m")),
            (Anthropic(lambda: 0), Route(provider="anthropic", model="m")),
        ):
            with contextlib.suppress(ProviderFault):
                sent = json.loads(render(request, Release(app="a"), route, provider, {}, 5))
                assert route.provider == "anthropic" or "anthropic" not in sent


def test_the_key_anthropic_never_replaces_what_a_budget_has_counted():
    """A caller of chat completions may write it too; it adds, it does not override."""
    url = {"type": "url", "url": "https://example.com/large.pdf"}
    more = {"type": "document", "source": url}
    body = {
        "model": "main",
        "max_tokens": 5,
        "anthropic": {"max_tokens": 10**6, "messages": [], "system": "s", "stream": True, "model": "dear", "top_k": 3},
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "x", "anthropic": {**more, "text": "y", "type": "image"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}, "anthropic": more}]},
            {"role": "assistant", "tool_calls": [{"id": "t", "type": "function", "anthropic": {"input": {"a": 1}},
                                                  "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "t", "content": "r", "anthropic": {"block": {"content": [more]}}},
        ],
    }  # fmt: skip
    request = decode_request("chat", "/v1/chat/completions", json.dumps(body).encode(), 0)
    route = Route(provider="anthropic", model="m")
    sent = json.loads(render(request, Release(app="a"), route, Anthropic(lambda: 0), {}, 4))
    assert (sent["max_tokens"], sent["model"], sent["top_k"]) == (4, "m", 3)
    assert "system" not in sent
    assert "stream" not in sent
    assert [b["type"] for b in sent["messages"][0]["content"]] == ["text", "image"]
    assert "large.pdf" not in json.dumps(sent["messages"][1:])
    assert sent["messages"][1]["content"][0]["input"] == {}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        ({"messages": [{"role": "assistant", "content": [{**CALL, "input": []}]}]}, "messages[0].content[0].input"),
        ({"system": 3}, "system"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"tool_choice": {"type": "some"}}, "tool_choice"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
    ],
)
def test_a_mistake_is_named_by_its_place(change, param):
    with pytest.raises(InvalidRequest) as refused:
        decoded({**WHOLE, **change})
    assert refused.value.param == param, refused.value.message
