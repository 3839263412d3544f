"""A canonical request without what only Anthropic understands (`core/messages.py`), for every other provider.

Hints (cache control, thinking, effort, top_k) are left out; content and tools that would be missing are an error.
"""

from typing import Any

import msgspec

from waterline.providers.base import Fields, ProviderFault

EXTENSION = "anthropic"
_SILENT = ("thinking", "redacted_thinking", "tool_use")  # its own thoughts; a call's place (the call is elsewhere)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[dict[str, Any]]).decode


def plain(fields: Fields) -> Fields:
    """Raises ProviderFault("invalid") for what the request cannot do without."""
    try:
        return _plain(fields)
    except (msgspec.DecodeError, RecursionError) as error:  # in a value that nobody has read until now
        raise ProviderFault("invalid", f"the request cannot be read: {error}") from error


def _plain(fields: Fields) -> Fields:
    out = {name: raw for name, raw in fields.items() if name != EXTENSION}
    messages = [_message(m, f"messages[{i}]") for i, m in enumerate(_decode(out["messages"]))]
    out["messages"] = msgspec.Raw(_encode([m for m in messages if m is not None]))
    if "tools" in out:
        tools = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(_decode(out["tools"]))]
        out["tools"] = msgspec.Raw(_encode(tools))
    return out


def _message(message: dict[str, Any], where: str) -> dict[str, Any] | None:
    """None: nothing is left of it."""
    message.pop(EXTENSION, None)
    message.pop("thinking_blocks", None)
    for call in message.get("tool_calls", ()):
        call.pop(EXTENSION, None)
    content = message.get("content")
    if isinstance(content, list):
        message["content"] = _content(content, message, where)
        if message["content"] is None and "tool_calls" not in message:
            return None
    return message


def _content(parts: list[dict[str, Any]], message: dict[str, Any], where: str) -> Any:
    kept = []
    for j, part in enumerate(parts):
        own = part.pop(EXTENSION, None)
        if part["type"] != EXTENSION:
            kept.append(part)
        elif own["type"] not in _SILENT:
            raise _only_anthropic(f"{where}.content[{j}] of type {own['type']!r}")
    if message["role"] == "tool" and any(part["type"] != "text" for part in kept):
        raise _only_anthropic(f"{where}, a tool's result that is not text,")
    if len(kept) == 1 and kept[0]["type"] == "text":
        return kept[0]["text"]  # some servers take no list of parts from every role
    return kept or None


def _tool(tool: dict[str, Any], where: str) -> dict[str, Any]:
    own = tool.pop(EXTENSION, None)
    if tool["type"] == EXTENSION:
        raise _only_anthropic(f"{where} of type {own['type']!r}")
    return tool


def _only_anthropic(what: str) -> ProviderFault:
    return ProviderFault("invalid", f"{what} can only be sent to Anthropic. Leave it out, or use such a route.")
