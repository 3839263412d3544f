"""Telling a provider which part of a request stays the same, so that it is billed as read from its cache.

OpenAI finds equal prefixes itself and takes `prompt_cache_key` to send them to the same machine; Anthropic caches
what stands before a `cache_control` mark, in the order tools, system, messages. Only routes that declare
`prompt_cache = true` get either. Sources: https://platform.openai.com/docs/guides/prompt-caching,
https://platform.claude.com/docs/en/build-with-claude/prompt-caching
"""

import re
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw, Struct

from waterline.core.ids import sha256_hex
from waterline.core.release import Prompt, Release, Route
from waterline.providers.base import Fields

MARK = {"type": "ephemeral"}
_VARIABLE = re.compile(r"\{\{\s*[A-Za-z_][A-Za-z0-9_]*\s*\}\}")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Raw]).decode


class _Message(Struct):
    role: str
    content: Any = None


_read = msgspec.json.Decoder(_Message).decode


@lru_cache(256)
def stable_length(text: str) -> int:
    """Characters of a template before its first variable, cut where a line ends, if one does."""
    first = _VARIABLE.search(text)
    if first is None:
        return len(text)
    line = text.rfind("\n", 0, first.start()) + 1
    return line or first.start()


@lru_cache(256)
def cache_key(app: str, prompt: str) -> str:
    """The same for every request with the same beginning, whoever asks; a new prompt gets a new one."""
    return f"{app[:40]}-{sha256_hex(prompt.encode())[:16]}"


def steer(fields: Fields, release: Release, route: Route) -> None:
    """Put in what the provider wants to be told. A caller who does so already is left alone."""
    prompt = release.prompts.get(route.prompt)
    if route.provider == "openai":
        fields.setdefault("prompt_cache_key", Raw(_encode(cache_key(release.app, prompt.text if prompt else ""))))
    if route.provider != "anthropic" or any(b'"cache_control"' in bytes(raw) for raw in fields.values()):
        return
    if not _mark_system(fields, prompt):
        _mark_tools(fields)


def _mark_system(fields: Fields, prompt: Prompt | None) -> bool:
    """The mark after what stays the same of the first system message. Tools stand before it: they are cached too."""
    messages = _decode(fields["messages"])
    first = _read(messages[0])
    if first.role not in ("system", "developer") or not isinstance(first.content, str):
        return False
    # Before its first variable a template is what it will be, so the length holds for the filled prompt too.
    stable = len(first.content) if prompt is None else stable_length(prompt.text)
    if not first.content[:stable].strip():
        return False
    parts: list[dict[str, Any]] = [{"type": "text", "text": first.content[:stable], "cache_control": MARK}]
    if first.content[stable:]:
        parts.append({"type": "text", "text": first.content[stable:]})
    fields_of_it = msgspec.json.decode(messages[0], type=dict[str, Raw])
    marked = _encode({**fields_of_it, "content": Raw(_encode(parts))})
    fields["messages"] = Raw(_encode([Raw(marked), *messages[1:]]))
    return True


def _mark_tools(fields: Fields) -> None:
    tools = msgspec.json.decode(fields.get("tools", b"null"))
    if isinstance(tools, list) and tools and isinstance(tools[-1], dict):
        tools[-1] = {**tools[-1], "cache_control": MARK}
        fields["tools"] = Raw(_encode(tools))
