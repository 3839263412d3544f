"""What a user said and what was answered, read from the bodies of a trace, whichever API they are of.

Nothing here fails on a strange body: what cannot be read was not said."""

from collections.abc import Iterator
from typing import Any

import msgspec

MOST_BYTES = 4 << 20  # a larger body is not read


def user_texts(body: bytes) -> list[str]:
    """What the user wrote, oldest first, of a request of /v1/chat/completions, /v1/messages or /v1/responses. Empty if
    the last turn is not the user's (a tool's result, say): then nothing new was said."""
    value = _read(body)
    if not isinstance(value, dict):
        return []
    said = value.get("messages", value.get("input"))
    if isinstance(said, str):
        return [said]
    if not isinstance(said, list) or not said:
        return []
    texts = [text for one in said if (text := _of_user(one))]
    return texts if _of_user(said[-1]) else []


def answer_text(body: bytes) -> str:
    """The text of an answer, streamed or not; of several choices the first."""
    if body[:6].lstrip().startswith((b"data:", b"event", b":")):
        return "".join(_deltas(body))
    value = _read(body)
    if not isinstance(value, dict):
        return ""
    for choice in _list(value.get("choices")):
        if isinstance(choice, dict) and isinstance(choice.get("message"), dict):
            return _text(choice["message"].get("content"))
    if isinstance(value.get("content"), list):
        return _text(value["content"])
    messages = [o for o in _list(value.get("output")) if isinstance(o, dict) and o.get("type") == "message"]
    return "".join(_text(message.get("content")) for message in messages)


def _of_user(message: Any) -> str:
    if not isinstance(message, dict) or message.get("role") != "user":
        return ""
    return _text(message.get("content")).strip()


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in _list(content) if isinstance(part, dict)]
    return "".join(part for part in parts if isinstance(part, str))


def _deltas(body: bytes) -> Iterator[str]:
    for line in body[:MOST_BYTES].splitlines():
        if not line.startswith(b"data:"):
            continue
        value = _read(line[5:])
        if not isinstance(value, dict):
            continue
        for choice in _list(value.get("choices")):
            if isinstance(choice, dict) and not choice.get("index") and isinstance(choice.get("delta"), dict):
                yield _text(choice["delta"].get("content"))
        delta = value.get("delta")
        if isinstance(delta, dict) and isinstance(delta.get("text"), str):
            yield delta["text"]
        elif isinstance(delta, str) and value.get("type") == "response.output_text.delta":
            yield delta


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if len(body) <= MOST_BYTES else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
