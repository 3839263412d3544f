"""What was asked and answered, for reading: a conversation where the body is one, else the JSON itself.

Nothing here may fail on a strange body: whoever looks at a trace often looks because something was strange.
"""

from typing import Any

import msgspec
from msgspec import Struct

SHOWN_CHARS = 20_000  # of one text; the whole is one link away
SHOWN_TURNS = 200
READ_BYTES = 4 << 20  # larger bodies are not taken apart, only their beginning is shown


class Turn(Struct, frozen=True):
    """One message. `cut`: how many characters are not shown."""

    role: str
    text: str
    cut: int = 0
    note: str = ""  # finish reason, a tool call's id


class Body(Struct, frozen=True):
    """`raw` is the body as it was, or JSON indented; `turns` is empty where it is no conversation."""

    turns: list[Turn]
    turns_cut: int
    raw: str
    raw_cut: int
    bytes: int
    streamed: bool = False
    note: str = ""


def request_of(text: str) -> Body:
    value = _read(text)
    turns: list[Turn] = []
    if isinstance(value, dict):
        if isinstance(value.get("instructions"), str):
            turns.append(_made("instructions", value["instructions"]))
        turns += [_turn(m, "message") for m in _list(value.get("messages"))]
        if "input" in value:
            given = value["input"]
            turns += [_item(t) for t in (given if isinstance(given, list) else [given])]
    return _body(text, value, turns)


def answer_of(text: str) -> Body:
    if text.lstrip()[:6].startswith(("data:", "event:", ":")):
        return _streamed(text)
    value = _read(text)
    turns: list[Turn] = []
    note = ""
    if isinstance(value, dict):
        for choice in _list(value.get("choices")):
            if isinstance(choice, dict):
                turns.append(_turn(choice.get("message"), "assistant", str(choice.get("finish_reason") or "")))
        error = value.get("error")
        if isinstance(error, dict):
            turns.append(_made("error", str(error.get("message", "")), str(error.get("code") or "")))
        vectors = [d for d in _list(value.get("data")) if isinstance(d, dict) and "embedding" in d]
        if vectors:
            first = vectors[0]["embedding"]
            long = f" of {len(first)} numbers" if isinstance(first, list) else ""
            note = f"{len(vectors)} embedding{'s' if len(vectors) > 1 else ''}{long}."
    return _body(text, value, turns, note=note)


def _streamed(text: str) -> Body:
    """Server-sent events, put together to the text that a reader of the stream ended up with."""
    if len(text) > READ_BYTES:
        return _body(text, None, [], streamed=True, note="Too long to be put together here; the whole stream is below.")
    said: dict[int, list[str]] = {}
    tools: dict[int, list[str]] = {}
    reasons: dict[int, str] = {}
    errors: list[Turn] = []
    events, done = 0, False
    for line in text.splitlines():
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            done = True
            continue
        events += 1
        value = _read(data)
        if not isinstance(value, dict):
            continue
        if isinstance(value.get("error"), dict):
            errors.append(_made("error", str(value["error"].get("message", "")), str(value["error"].get("code") or "")))
        for choice in _list(value.get("choices")):
            if isinstance(choice, dict):
                _add_delta(choice, said, tools, reasons)
    turns = []
    for index in sorted(said.keys() | tools.keys() | reasons.keys()):
        text_of = "".join(said.get(index, [])) + "".join(tools.get(index, []))
        turns.append(_made("assistant", text_of, reasons.get(index, "")))
    ending = "ended with [DONE]" if done else "without [DONE]"
    note = f"Put together from a stream of {events:,} event{'' if events == 1 else 's'}, {ending}."
    return _body(text, None, turns + errors, streamed=True, note=note)


def _add_delta(
    choice: dict[str, Any], said: dict[int, list[str]], tools: dict[int, list[str]], ends: dict[int, str]
) -> None:
    index = choice.get("index") if isinstance(choice.get("index"), int) else 0
    assert isinstance(index, int)
    delta = choice.get("delta")
    if isinstance(delta, dict):
        if isinstance(delta.get("content"), str):
            said.setdefault(index, []).append(delta["content"])
        for call in _list(delta.get("tool_calls")):
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                if function.get("name"):
                    tools.setdefault(index, []).append(f"\n→ {function['name']} ")
                tools.setdefault(index, []).append(str(function.get("arguments") or ""))
    if choice.get("finish_reason"):
        ends[index] = str(choice["finish_reason"])


def _turn(message: Any, role: str, note: str = "") -> Turn:
    if not isinstance(message, dict):
        return _made(role, _text(message), note)
    text = _text(message.get("content"))
    for call in _list(message.get("tool_calls")):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            text += f"\n→ {function.get('name', '')} {function.get('arguments', '')}"
    if message.get("refusal"):
        text += f"\n{message['refusal']}"
    return _made(str(message.get("role") or role), text.strip("\n"), note or str(message.get("tool_call_id") or ""))


def _item(given: Any) -> Turn:
    """One input: a text to embed, or an item of the Responses API."""
    if isinstance(given, dict) and "role" in given:
        return _turn(given, "message")
    if isinstance(given, dict) and given.get("type") == "function_call":
        return _made(
            "assistant", f"→ {given.get('name', '')} {given.get('arguments', '')}", str(given.get("call_id") or "")
        )
    if isinstance(given, dict) and given.get("type") == "function_call_output":
        return _made("tool", _text(given.get("output")), str(given.get("call_id") or ""))
    return _made("input", _text(given))


def _text(content: Any) -> str:
    """The text of a message's content; parts that are no text are named."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = []
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                parts.append(part["text"])
            elif isinstance(part, dict):
                parts.append(f"[{part.get('type', 'part')}]")
            else:
                parts.append(str(part))
        return "\n".join(parts)
    return msgspec.json.encode(content).decode()


def _made(role: str, text: str, note: str = "") -> Turn:
    return Turn(role[:40], text[:SHOWN_CHARS], max(0, len(text) - SHOWN_CHARS), note[:200])


def _body(text: str, value: Any, turns: list[Turn], *, streamed: bool = False, note: str = "") -> Body:
    raw = text
    if value is not None:
        try:
            raw = msgspec.json.format(text, indent=2)  # numbers stay as they were written
        except (msgspec.DecodeError, RecursionError):
            raw = text
    return Body(
        turns[:SHOWN_TURNS], max(0, len(turns) - SHOWN_TURNS), raw[:SHOWN_CHARS], max(0, len(raw) - SHOWN_CHARS),
        len(text.encode()), streamed, note,
    )  # fmt: skip


def _read(text: str) -> Any:
    """None where it is no JSON, or too much of it."""
    if len(text) > READ_BYTES:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
