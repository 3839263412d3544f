"""A call of POST /v1/responses, decoded strictly and once, into the same Request that a chat completion becomes.

What the Responses API has and a chat completion cannot say is an error that names the field, never dropped in silence.
Fields that neither has pass through, as in chat completions.
Source: https://platform.openai.com/docs/api-reference/responses
"""

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from waterline.core.errors import InvalidRequest
from waterline.core.request import MAX_TOKENS, Extra, Request, invalid_body
from waterline.core.response_items import NotSupported, chat_messages, listed

MAX_METADATA = 16


class _Format(Struct):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class _Text(Struct):
    format: _Format | None = None
    verbosity: str | None = None


class _Reasoning(Struct):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class _Envelope(Struct):
    model: str
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: _Text | None = None
    reasoning: _Reasoning | None = None
    metadata: dict[str, str] | None = None
    include: list[str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None
    context_management: Any = None
    moderation: Any = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    waterline: Extra | None = None


class Asked(Struct):
    """A call, understood. `request` has no messages before `complete` has put them in."""

    request: Request
    previous: str  # id of the response that it continues, or ""
    stored: bool  # whether it may be read and continued later
    instructions: str
    messages: list[dict[str, Any]]  # the input, as messages of a chat completion
    items: list[dict[str, Any]]  # the input, as items with a type
    echo: dict[str, Any]  # what every answer repeats of the call


_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_encode = msgspec.json.Encoder().encode

# Said in another way in a chat completion, or kept here. The rest passes through as the caller wrote it.
_TRANSLATED = frozenset(_Envelope.__struct_fields__) - {
    "model", "temperature", "top_p", "user", "safety_identifier", "prompt_cache_key", "service_tier", "stream",
    "waterline",
}  # fmt: skip
_MOVED = {
    "messages": "input", "max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format", "reasoning_effort": "reasoning.effort", "verbosity": "text.verbosity",
    "logprobs": "top_logprobs", "functions": "tools", "function_call": "tool_choice", "n": "one response a call",
}  # fmt: skip
_OF_OPENAI_ALONE = ("conversation", "prompt", "context_management", "moderation")
_ECHOED = ("user", "safety_identifier", "prompt_cache_key")


def decode_responses(path: str, body: bytes, received_us: int) -> Asked:
    """Raises InvalidRequest naming the field and what is wrong with it."""
    try:
        if not body.isascii():
            body.decode()
        fields = _decode_fields(body)
        said = _decode_envelope(body)
    except (UnicodeDecodeError, RecursionError, msgspec.DecodeError) as error:
        raise invalid_body(error, body) from None
    for name, here in _MOVED.items():
        if name in fields:
            raise InvalidRequest(f"`{name}` is a field of chat completions. In responses it is: {here}.", param=name)
    _refuse_what_is_not_here(said)
    _check_ranges(said)
    items = listed(said.input)
    try:
        messages = chat_messages(items)
        chat = {name: value for name, value in fields.items() if name not in _TRANSLATED and bytes(value) != b"null"}
        chat |= {name: Raw(_encode(value)) for name, value in _chat_fields(said).items()}
    except NotSupported as error:
        raise InvalidRequest(error.message, param=error.param) from None
    request = Request(
        kind="chat",
        path=path,
        body=body,
        fields=chat,
        model=said.model,
        received_us=received_us,
        stream=bool(said.stream),
        include_usage=True,
        max_tokens=said.max_output_tokens,
        variables=said.waterline.variables if said.waterline else {},
        last_text=_last_text(messages),
    )
    return Asked(
        request=request,
        previous=said.previous_response_id or "",
        stored=said.store is not False,
        instructions=said.instructions or "",
        messages=messages,
        items=items,
        echo=_echo(said),
    )


def complete(asked: Asked, history: list[dict[str, Any]]) -> Request:
    """The request with its messages: instructions, what went before, the input. Instructions are of one call alone."""
    first = [{"role": "system", "content": asked.instructions}] if asked.instructions else []
    fields = asked.request.fields
    messages = [*first, *history, *asked.messages]
    asked.request.fields = {"messages": Raw(_encode(messages)), **fields}
    asked.request.extended = any("thinking_blocks" in message for message in messages)
    return asked.request


def _refuse_what_is_not_here(said: _Envelope) -> None:
    for name in _OF_OPENAI_ALONE:
        if getattr(said, name) is not None:
            raise InvalidRequest(
                f"`{name}` is kept by OpenAI's own servers; this gateway has none. Remove it"
                + (", and continue with previous_response_id." if name == "conversation" else "."),
                param=name,
            )
    if said.background:
        raise InvalidRequest("`background` responses are not offered. Stream the response instead.", param="background")
    if said.truncation == "auto":
        raise InvalidRequest(
            "`truncation` auto is not offered: nothing is dropped unseen. Send less input, or start a new chain.",
            param="truncation",
        )


def _check_ranges(said: _Envelope) -> None:
    for name, low, high in (
        ("max_output_tokens", 1, MAX_TOKENS), ("temperature", 0, 2), ("top_p", 0, 1), ("top_logprobs", 0, 20)
    ):  # fmt: skip
        value = getattr(said, name)
        if value is not None and not low <= value <= high:
            raise InvalidRequest(f"`{name}` must be between {low} and {high}.", param=name)
    if not said.input:
        raise InvalidRequest("`input` is missing or empty. Send a text or a list of items.", param="input")
    pairs = said.metadata or {}
    if len(pairs) > MAX_METADATA or any(len(k) > 64 or len(v) > 512 for k, v in pairs.items()):
        raise InvalidRequest(
            f"`metadata` holds at most {MAX_METADATA} pairs, keys of 64 and values of 512 characters.", param="metadata"
        )


def _chat_fields(said: _Envelope) -> dict[str, Any]:
    """What a chat completion says in another way. Raises NotSupported."""
    out: dict[str, Any] = {}
    tools, choice = said.tools or [], said.tool_choice
    chat_tools = [_tool(tool, i) for i, tool in enumerate(tools)]
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        chat_tools, choice = _allowed(chat_tools, choice)
    if chat_tools:
        out["tools"] = chat_tools
        if said.parallel_tool_calls is not None:
            out["parallel_tool_calls"] = said.parallel_tool_calls
    if choice is not None:
        chosen = _choice(choice)
        if chat_tools:
            out["tool_choice"] = chosen
        elif chosen not in ("auto", "none"):
            raise NotSupported("`tool_choice` asks for a tool, but `tools` offers none.", "tool_choice")
    form = said.text.format if said.text is not None else None
    if form is not None and form.type != "text":
        out["response_format"] = _response_format(form)
    if said.text is not None and said.text.verbosity is not None:
        out["verbosity"] = said.text.verbosity
    if said.reasoning is not None and said.reasoning.effort is not None:
        out["reasoning_effort"] = said.reasoning.effort
    if said.top_logprobs or "message.output_text.logprobs" in (said.include or ()):
        out["logprobs"] = True
        if said.top_logprobs:
            out["top_logprobs"] = said.top_logprobs
    return out


def _tool(tool: dict[str, Any], i: int) -> dict[str, Any]:
    kind = tool.get("type")
    if kind != "function":
        raise NotSupported(
            f"tools[{i}] is {str(kind)[:60]!r}, a tool that runs on OpenAI's servers or in its clients; this gateway "
            'runs none. Offer a function of yours: {"type": "function", "name": ..., "parameters": {...}}.',
            f"tools[{i}]",
        )
    if not isinstance(tool.get("name"), str) or not tool["name"]:
        raise NotSupported(f"tools[{i}] has no name.", f"tools[{i}].name")
    if not isinstance(tool.get("parameters"), dict | None):
        raise NotSupported(f"tools[{i}].parameters is not a JSON Schema object.", f"tools[{i}].parameters")
    for name, kind_of, what in (("strict", bool, "true or false"), ("description", str, "a text")):
        if not isinstance(tool.get(name), kind_of | None):
            raise NotSupported(f"tools[{i}].{name} is not {what}.", f"tools[{i}].{name}")
    function = {"name": tool["name"]}
    for name in ("description", "parameters", "strict"):
        if tool.get(name) is not None:
            function[name] = tool[name]
    return {"type": "function", "function": function}


def _choice(choice: str | dict[str, Any]) -> Any:
    match choice:
        case "auto" | "none" | "required":
            return choice
        case {"type": "function", "name": str(name)}:
            return {"type": "function", "function": {"name": name}}
        case {"type": kind}:
            raise NotSupported(f"`tool_choice` {str(kind)[:60]!r} is none of this gateway's tools.", "tool_choice")
        case _:
            raise NotSupported("`tool_choice` is none of auto, none, required and a function.", "tool_choice")


def _allowed(tools: list[dict[str, Any]], choice: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]:
    """`allowed_tools` exists to spare a cache; for the model it is a shorter list."""
    given = choice.get("tools")
    named = {t.get("name") for t in given if isinstance(t, dict)} if isinstance(given, list) else set()
    kept = [tool for tool in tools if tool["function"]["name"] in named]
    if not kept or choice.get("mode") not in ("auto", "required"):
        raise NotSupported("`tool_choice` allowed_tools needs a mode and names of `tools`.", "tool_choice")
    return kept, choice["mode"]


def _response_format(form: _Format) -> dict[str, Any]:
    if form.type == "json_object":
        return {"type": "json_object"}
    if not form.name or form.schema is None:
        raise NotSupported("`text.format` json_schema needs a name and a schema.", "text.format")
    return {"type": "json_schema", "json_schema": _without_none(form, ("name", "description", "schema", "strict"))}


def _without_none(value: Struct, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names if getattr(value, name) is not None}


def _echo(said: _Envelope) -> dict[str, Any]:
    """What the answer repeats. A parameter that was not given stays null: the route decides, not a default of ours."""
    form = (said.text.format if said.text is not None else None) or _Format()
    text: dict[str, Any] = {"format": {"type": form.type}}
    if form.type == "json_schema":
        text["format"] |= _without_none(form, ("name", "description", "schema", "strict"))
    if said.text is not None and said.text.verbosity is not None:
        text["verbosity"] = said.text.verbosity
    reasoning = said.reasoning or _Reasoning()
    return {
        "background": False,
        "instructions": said.instructions,
        "max_output_tokens": said.max_output_tokens,
        "max_tool_calls": said.max_tool_calls,
        "metadata": said.metadata or {},
        "parallel_tool_calls": said.parallel_tool_calls is not False,
        "previous_response_id": said.previous_response_id,
        "reasoning": {"effort": reasoning.effort, "summary": reasoning.summary or reasoning.generate_summary},
        "store": said.store is not False,
        "temperature": said.temperature,
        "text": text,
        "tool_choice": "auto" if said.tool_choice is None else said.tool_choice,
        "tools": [{"strict": False, "parameters": None, **_given(tool)} for tool in said.tools or ()],
        "top_logprobs": said.top_logprobs or 0,
        "top_p": said.top_p,
        "truncation": "disabled",
        **{name: getattr(said, name) for name in _ECHOED if getattr(said, name) is not None},
    }


def _given(tool: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tool.items() if value is not None}


def _last_text(messages: list[dict[str, Any]]) -> str:
    content = messages[-1].get("content") if messages else None
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content or () if part.get("text"))
