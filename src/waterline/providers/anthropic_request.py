"""A chat completion request in the words of Anthropic's Messages API.

What Anthropic cannot express is an error that names the field, never dropped in silence; what neither API is known to
have passes through. Only hints about the provider's cache are dropped: they cannot change an answer.
The key `anthropic` holds what a Messages request said beyond chat completions (`core/messages.py`); it is put back.
Source: https://platform.claude.com/docs/en/api/messages, and the types of the `anthropic` package 2.11.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from waterline.core.release import Route
from waterline.providers.base import Fields, ProviderFault, data_url

IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
EFFORTS = ("low", "medium", "high", "xhigh", "max")
_DROPPED = ("stream_options", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options")
# What is decided elsewhere (the length by a budget) is never taken from the key `anthropic`.
UNDECLARED_TOKENS = 4096  # the most that the smallest Claude takes
_OURS = ("model", "max_tokens", "messages", "system", "stream", "tools", "tool_choice", "stop_sequences")
# Fields without a counterpart, and the values that ask for nothing and may therefore be left out.
_INEXPRESSIBLE: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "seed": (),
    "audio": (),
    "modalities": (["text"],),
    "prediction": (),
    "functions": ([],),
    "function_call": ("none",),
    "web_search_options": (),
    "store": (False,),
    "verbosity": (),
    "moderation": (),
}


class _Said(Struct):
    """One message of the request."""

    role: str
    content: Any = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    thinking_blocks: list[dict[str, Any]] | None = None
    anthropic: "_Beyond | None" = None


class _Beyond(Struct):
    """What a Messages request said of this message."""

    joins: bool = False  # it belongs to the turn before
    in_place: bool = False  # a system message that stays where it is
    block: dict[str, Any] = {}  # other keys of a tool's result


_NOTHING = _Beyond()
_RESULT = ("type", "tool_use_id", "content")
_PLACE_OF_CALL = {"type": "tool_use"}
_decode_said = msgspec.json.Decoder(list[_Said]).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _invalid(message: str) -> ProviderFault:
    return ProviderFault("invalid", message, status=400)


def messages_request(fields: Fields, route: Route) -> dict[str, Any]:
    """The Messages request, in an order that depends on the fields alone."""
    try:
        given = {name: msgspec.json.decode(raw) for name, raw in fields.items() if name != "messages"}
        said = _decode_said(fields["messages"]) if "messages" in fields else []
    except _UNREADABLE as error:
        raise _invalid(f"the request cannot be read: {error}") from error
    given = {name: value for name, value in given.items() if value is not None}
    for name, harmless in _INEXPRESSIBLE.items():
        if name in given and given.pop(name) not in harmless:
            raise _invalid(f"Anthropic has no counterpart of {name}. Remove it, or use a route to another provider.")
    for name in _DROPPED:
        given.pop(name, None)
    beyond = given.pop("anthropic", None)
    if isinstance(beyond, dict):
        given.update({name: value for name, value in beyond.items() if name not in _OURS})
    bounds = [given.pop(name) for name in ("max_tokens", "max_completion_tokens") if name in given]
    if not all(isinstance(bound, int) for bound in bounds):
        raise _invalid("max_tokens is not a whole number.")
    out: dict[str, Any] = {
        "model": given.pop("model", None) or route.model,
        "max_tokens": min(bounds, default=route.max_tokens or _length(given.get("thinking"))),
    }
    system, out["messages"] = _messages(said)
    if system:
        out["system"] = system
    _tools(given, out)
    _sampling(given, out)
    _output(given, out)
    return {**given, **out}


def _length(thinking: Any) -> int:
    """Anthropic insists on a length where OpenAI has none: what every Claude can say, and what it may think before."""
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    return UNDECLARED_TOKENS + (budget if isinstance(budget, int) and budget > 0 else 0)


def _messages(said: list[_Said]) -> tuple[list[dict[str, Any]] | str, list[dict[str, Any]]]:
    """The system prompt and the turns. Results of consecutive tool calls become one user turn."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    after_tool = False
    for i, message in enumerate(said):
        where = f"messages[{i}]"
        beyond = message.anthropic or _NOTHING
        match message.role:
            case "system" | "developer" if not beyond.in_place:
                system += list(_parts(message.content, where))
                continue
            case "system":
                turns.append({"role": "system", "content": _texts(message, where)})
            case "user" if beyond.joins and turns:
                turns[-1]["content"] += _parts(message.content, where)
            case "user":
                turns.append({"role": "user", "content": _texts(message, where)})
            case "assistant":
                turns.append({"role": "assistant", "content": list(_assistant(message, where))})
            case "tool":
                result = _tool_result(message, where)
                if after_tool or (beyond.joins and turns):
                    turns[-1]["content"].append(result)
                else:
                    turns.append({"role": "user", "content": [result]})
            case _:
                raise _invalid(f"{where} has the role {message.role!r}, which Anthropic does not have.")
        if not turns[-1]["content"]:
            raise _invalid(f"{where} has no content. Anthropic wants some in every message.")
        after_tool = message.role == "tool"
    if not turns:
        raise _invalid("messages has no user message. Anthropic wants at least one.")
    if len(system) == 1 and set(system[0]) == {"type", "text"}:
        return system[0]["text"], turns
    return system, turns


def _texts(message: _Said, where: str) -> Any:
    return message.content if isinstance(message.content, str) else list(_parts(message.content, where))


def _parts(content: Any, where: str) -> Iterator[dict[str, Any]]:
    """Content blocks; empty texts are left out, because Anthropic refuses them."""
    if content is None:
        return
    if isinstance(content, str):
        if content:
            yield {"type": "text", "text": content}
        return
    if not isinstance(content, list):
        raise _invalid(f"{where}.content is neither a text nor a list of parts.")
    for j, part in enumerate(content):
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        if not isinstance(part, dict):
            raise _invalid(f"{where}.content[{j}] is not an object.")
        match part.get("type"):
            case "text":
                if part.get("text"):
                    yield _text(part)
            case "refusal":
                yield {"type": "text", "text": str(part.get("refusal") or "(refused)")}
            case "image_url":
                yield _image(part, f"{where}.content[{j}]")
            case "file":
                yield _file(part, f"{where}.content[{j}]")
            case "input_audio":
                raise _invalid(f"{where}.content[{j}] is audio, which Anthropic does not take.")
            case "anthropic" if isinstance(part.get("anthropic"), dict):
                yield part["anthropic"]
            case _:
                yield part  # a block of Anthropic's own


def _text(part: dict[str, Any]) -> dict[str, Any]:
    if "anthropic" not in part:
        return part
    beyond = _beyond(part, "source", "text")
    if beyond.get("type") == "document":
        return {**beyond, "source": {"type": "text", "media_type": "text/plain", "data": part["text"]}}
    return {"type": "text", "text": part["text"], **_beyond(part, "type", "text")}


def _image(part: dict[str, Any], where: str) -> dict[str, Any]:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise _invalid(f"{where}.image_url has no url.")
    if url.startswith("data:"):
        read = data_url(url)
        if read is None or read[0] not in IMAGE_TYPES:
            raise _invalid(f"{where} is an image that Anthropic does not take. Use base64 of {', '.join(IMAGE_TYPES)}.")
        source = {"type": "base64", "media_type": read[0], "data": read[1]}
    elif url.startswith(("https://", "http://")):
        source = {"type": "url", "url": url}
    else:
        raise _invalid(f"{where}.image_url.url is neither data: nor http(s).")
    return {"type": "image", "source": source, **_cache_control(part), **_beyond(part, "type", "source")}


def _file(part: dict[str, Any], where: str) -> dict[str, Any]:
    file = part.get("file")
    data = file.get("file_data") if isinstance(file, dict) else None
    read = data_url(data) if isinstance(data, str) else None
    if not isinstance(file, dict) or read is None or read[0] != "application/pdf":
        raise _invalid(f"{where} is a file that Anthropic does not take. Use file_data with base64 of application/pdf.")
    source = {"type": "base64", "media_type": read[0], "data": read[1]}
    title = {"title": file["filename"]} if isinstance(file.get("filename"), str) else {}
    return {"type": "document", "source": source, **title, **_cache_control(part), **_beyond(part, "type", "source")}


def _cache_control(part: dict[str, Any]) -> dict[str, Any]:
    return {"cache_control": part["cache_control"]} if "cache_control" in part else {}


def _beyond(part: dict[str, Any], *ours: str) -> dict[str, Any]:
    """What the key `anthropic` adds. It never replaces what has been translated: budgets have counted that."""
    found = part.get("anthropic")
    return {name: value for name, value in found.items() if name not in ours} if isinstance(found, dict) else {}


def _assistant(message: _Said, where: str) -> Iterator[dict[str, Any]]:
    calls = _calls(message, where)
    yield from message.thinking_blocks or ()  # Anthropic wants them back, unchanged, before a tool's result
    for part in _parts(message.content, where):
        yield next(calls, part) if part == _PLACE_OF_CALL else part
    if message.refusal:
        yield {"type": "text", "text": message.refusal}
    yield from calls


def _calls(message: _Said, where: str) -> Iterator[dict[str, Any]]:
    for k, call in enumerate(message.tool_calls or ()):
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise _invalid(f"{where}.tool_calls[{k}] is not a call of a function.")
        arguments = function.get("arguments") or "{}"
        try:
            value = msgspec.json.decode(arguments, type=dict[str, Any])
        except (*_UNREADABLE, TypeError) as error:
            raise _invalid(f"{where}.tool_calls[{k}].function.arguments is not a JSON object.") from error
        block = {"type": "tool_use", "id": call.get("id") or "", "name": function["name"], "input": value}
        yield {**block, **_beyond(call, *block)}


def _tool_result(message: _Said, where: str) -> dict[str, Any]:
    if not message.tool_call_id:
        raise _invalid(f"{where} has no tool_call_id.")
    content = message.content if isinstance(message.content, str) else list(_parts(message.content, where))
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": message.tool_call_id}
    if content:
        result["content"] = content
    if message.anthropic is not None:
        result |= {name: value for name, value in message.anthropic.block.items() if name not in _RESULT}
    return result


def _tools(given: dict[str, Any], out: dict[str, Any]) -> None:
    tools, choice, parallel = (given.pop(name, None) for name in ("tools", "tool_choice", "parallel_tool_calls"))
    if tools:
        if not isinstance(tools, list):
            raise _invalid("tools is not a list.")
        out["tools"] = [_tool(tool, i) for i, tool in enumerate(tools)]
    if choice is not None:
        out["tool_choice"] = _tool_choice(choice)
    if parallel is False and tools:
        chosen = out.setdefault("tool_choice", {"type": "auto"})
        if chosen.get("type") != "none":
            chosen["disable_parallel_tool_use"] = True


def _tool(tool: Any, i: int) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        if isinstance(tool, dict) and tool.get("type") == "anthropic" and _beyond(tool):
            return _beyond(tool)
        if isinstance(tool, dict) and tool.get("type") not in ("function", "custom", None):
            return tool  # one of Anthropic's own, such as web search
        raise _invalid(f"tools[{i}] is not a function.")
    out: dict[str, Any] = {"name": function.get("name")}
    if function.get("description"):
        out["description"] = function["description"]
    out["input_schema"] = function.get("parameters") or {"type": "object", "properties": {}}
    if function.get("strict"):
        out["strict"] = True
    return {**out, **_cache_control(tool), **_beyond(tool, *out)}


def _tool_choice(choice: Any) -> dict[str, Any]:
    match choice:
        case "auto" | "none":
            return {"type": choice}
        case "required":
            return {"type": "any"}
        case {"type": "function", "function": {"name": str(name)}}:
            return {"type": "tool", "name": name}
        case {"type": "auto" | "any" | "tool" | "none"}:
            return dict(choice)
        case _:
            raise _invalid("tool_choice is none of auto, none, required and a named function.")


def _sampling(given: dict[str, Any], out: dict[str, Any]) -> None:
    temperature = given.get("temperature")
    if isinstance(temperature, int | float) and temperature > 1:
        raise _invalid(f"temperature {temperature} is too high: Anthropic takes 0 to 1, OpenAI 0 to 2.")
    stop = given.pop("stop", None)
    if stop:
        out["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    users = [given.pop(name, None) for name in ("user", "safety_identifier")]
    metadata = given.pop("metadata", None) or {}
    if not isinstance(metadata, dict) or set(metadata) - {"user_id"}:
        raise _invalid("metadata: Anthropic only takes user_id. Remove the other keys.")
    user = metadata.get("user_id") or users[0] or users[1]
    if user:
        out["metadata"] = {"user_id": user}
    match given.get("service_tier"):
        case None | "auto" | "standard_only":
            pass
        case "default":
            given["service_tier"] = "standard_only"
        case tier:
            raise _invalid(f"service_tier {tier!r} is not Anthropic's. Use auto or standard_only.")


def _output(given: dict[str, Any], out: dict[str, Any]) -> None:
    """`response_format` and `reasoning_effort` are both parts of `output_config`."""
    config = given.pop("output_config", None) or {}
    form, effort = given.pop("response_format", None), given.pop("reasoning_effort", None)
    if effort is not None:
        if effort not in EFFORTS:
            raise _invalid(f"reasoning_effort {effort!r} is not Anthropic's. Use one of {', '.join(EFFORTS)}.")
        config = {**config, "effort": effort}
    match form:
        case None | {"type": "text"}:
            pass
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            config = {**config, "format": {"type": "json_schema", "schema": schema}}
        case {"type": "json_object"}:
            raise _invalid("response_format json_object: Anthropic has no JSON without a schema. Use json_schema.")
        case _:
            raise _invalid("response_format is neither text nor json_schema with a schema.")
    if config:
        out["output_config"] = config
