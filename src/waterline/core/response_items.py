"""Items of the Responses API as messages of a chat completion.

Consecutive pieces of one assistant's turn (reasoning, text, function calls) become one message. Reasoning is fed back
only where its `encrypted_content` is ours: Anthropic's thinking blocks, which its models want back unchanged.
"""

from base64 import b64decode, b64encode
from typing import Any

import msgspec

Item = dict[str, Any]
SEALED = "wl1."  # how our `encrypted_content` begins
_ROLES = {"user": "user", "system": "system", "developer": "system", "assistant": "assistant"}


class NotSupported(Exception):
    """What cannot be said in a chat completion, and where it stands."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


def seal_thinking(blocks: list[dict[str, Any]]) -> str:
    return SEALED + b64encode(msgspec.json.encode(blocks)).decode()


def _unseal_thinking(text: str, where: str) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(b64decode(text.removeprefix(SEALED), validate=True), type=list[dict[str, Any]])
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise NotSupported(f"{where}.encrypted_content is damaged. Send it as you got it.", where) from None


def listed(given: str | list[Item] | None) -> list[Item]:
    """The input as items, each with its type."""
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    return [{"type": "message", **item} if "role" in item else item for item in given or ()]


def chat_messages(items: list[Item]) -> list[dict[str, Any]]:
    """Raises NotSupported."""
    out: list[dict[str, Any]] = []
    turn: dict[str, Any] | None = None  # the assistant's, while its pieces follow one another
    thinking: list[dict[str, Any]] = []
    for i, item in enumerate(items):
        where = f"input[{i}]"
        kind = item.get("type")
        if kind == "reasoning":
            sealed = item.get("encrypted_content")
            if isinstance(sealed, str) and sealed.startswith(SEALED):
                thinking += _unseal_thinking(sealed, where)
            continue
        if kind == "function_call" or (kind == "message" and item.get("role") == "assistant"):
            said = _call(item, where) if kind == "function_call" else _assistant(item, where)
            if turn is None or (said["content"] is not None and turn["content"] is not None):
                turn = {"role": "assistant", "content": None}
                out.append(turn)
            _join(turn, said, thinking)
            thinking = []
            continue
        turn, thinking = None, []
        if kind == "message":
            out.append(_message(item, where))
        elif kind == "function_call_output":
            out.append(_result(item, where))
        else:
            raise NotSupported(
                f"{where} is {str(kind)[:60]!r}; this gateway takes message, function_call, function_call_output and "
                "reasoning items.",
                where,
            )
    return out


def _join(turn: dict[str, Any], said: dict[str, Any], thinking: list[dict[str, Any]]) -> None:
    if said["content"] is not None:
        turn["content"] = said["content"]
    if said.get("refusal"):
        turn["refusal"] = said["refusal"]
    if thinking:
        turn["thinking_blocks"] = turn.get("thinking_blocks", []) + thinking
    if "tool_calls" in said:
        turn["tool_calls"] = turn.get("tool_calls", []) + said["tool_calls"]


def _message(item: Item, where: str) -> dict[str, Any]:
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise NotSupported(f"{where}.role is none of {', '.join(_ROLES)}.", f"{where}.role")
    return {"role": _ROLES[role], "content": _content(item.get("content"), f"{where}.content")}


def _content(content: Any, where: str) -> Any:
    """A text where it is one text; else parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise NotSupported(f"{where} is neither a text nor a list of parts.", where)
    parts = [_part(part, f"{where}[{j}]") for j, part in enumerate(content)]
    if len(parts) == 1 and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts


def _part(part: Any, where: str) -> dict[str, Any]:
    match part:
        case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "input_image", "image_url": str(url)}:
            detail = {"detail": part["detail"]} if isinstance(part.get("detail"), str) else {}
            return {"type": "image_url", "image_url": {"url": url, **detail}}
        case {"type": "input_file", "file_data": str(data)}:
            name = part.get("filename")
            return {"type": "file", "file": {**({"filename": name} if name else {}), "file_data": data}}
        case {"type": "input_audio", "input_audio": dict(audio)}:
            return {"type": "input_audio", "input_audio": audio}
        case {"type": "input_image" | "input_file"}:
            raise NotSupported(
                f"{where} refers to a file that OpenAI keeps (file_id) or is to be fetched (file_url). Send image_url, "
                "or file_data as a base64 data URL.",
                where,
            )
        case {"type": kind}:
            raise NotSupported(f"{where} is {str(kind)[:60]!r}, without what this type needs, or not offered.", where)
        case _:
            raise NotSupported(f"{where} has no type.", where)


def _assistant(item: Item, where: str) -> dict[str, Any]:
    content = item.get("content")
    if isinstance(content, str):
        return {"content": content}
    if not isinstance(content, list):
        raise NotSupported(f"{where}.content is neither a text nor a list of parts.", f"{where}.content")
    texts: list[str] = []
    refusals: list[str] = []
    for j, part in enumerate(content):
        match part:
            case {"type": "output_text" | "input_text" | "text", "text": str(text)}:
                texts.append(text)
            case {"type": "refusal", "refusal": str(text)}:
                refusals.append(text)
            case _:
                raise NotSupported(f"{where}.content[{j}] is neither output_text nor refusal.", f"{where}.content[{j}]")
    said: dict[str, Any] = {"content": "".join(texts) if texts or not refusals else None}
    return {**said, "refusal": "".join(refusals)} if refusals else said


def _call(item: Item, where: str) -> dict[str, Any]:
    call_id, name, arguments = item.get("call_id"), item.get("name"), item.get("arguments")
    if not (isinstance(call_id, str) and isinstance(name, str) and isinstance(arguments, str)):
        raise NotSupported(f"{where} needs call_id, name and arguments (a JSON text).", where)
    function = {"name": name, "arguments": arguments}
    return {"content": None, "tool_calls": [{"id": call_id, "type": "function", "function": function}]}


def _result(item: Item, where: str) -> dict[str, Any]:
    call_id = item.get("call_id")
    if not isinstance(call_id, str) or not call_id:
        raise NotSupported(f"{where} has no call_id: which call does it answer?", f"{where}.call_id")
    return {"role": "tool", "tool_call_id": call_id, "content": _content(item.get("output"), f"{where}.output")}
