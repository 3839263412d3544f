"""The words of a stored answer, of whichever API, streamed or not. Nothing here fails on a strange body."""

from typing import Any

import msgspec

LONGEST = 1 << 20  # bytes of an answer that are read


def answer_text(body: bytes) -> str:
    """What the caller read; "" where there is nothing to read."""
    body = body[:LONGEST]
    if body.lstrip()[:6].startswith((b"data:", b"event:", b":")):
        lines = [line[5:].strip() for line in body.split(b"\n") if line.startswith(b"data:")]
        return "".join(_piece(_read(line)) for line in lines)
    return _whole(_read(body))


def _whole(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    parts = [_message(choice.get("message")) for choice in _dicts(value.get("choices"))]
    parts += [str(part["text"]) for part in _dicts(value.get("content")) if isinstance(part.get("text"), str)]
    for item in _dicts(value.get("output")):
        parts += [str(part["text"]) for part in _dicts(item.get("content")) if isinstance(part.get("text"), str)]
    return "\n".join(filter(None, parts))


def _message(message: Any) -> str:
    if not isinstance(message, dict):
        return ""
    return "\n".join(text for text in (message.get("content"), message.get("refusal")) if isinstance(text, str))


def _piece(value: Any) -> str:
    """Of one event of a stream."""
    if not isinstance(value, dict):
        return ""
    found = [choice["delta"].get("content") for choice in _dicts(value.get("choices"))
             if isinstance(choice.get("delta"), dict)]  # fmt: skip
    delta = value.get("delta")
    if isinstance(delta, dict):
        found.append(delta.get("text"))
    elif value.get("type") == "response.output_text.delta":
        found.append(delta)
    return "".join(text for text in found if isinstance(text, str))


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _read(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
