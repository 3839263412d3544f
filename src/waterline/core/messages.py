"""Anthropic's Messages request, decoded strictly into the canonical request: OpenAI's chat completion.

What chat completions has no name for is kept under the key `anthropic`, on the object it belongs to: other keys of a
block, a message or a tool; a whole block or tool as a part of type "anthropic"; other fields at the top. The Anthropic
provider puts it back where it was (`providers/anthropic_request.py`); for every other provider `gateway/plain.py`
takes it out. A pure function of the body: replay decodes a stored body again.
Source: https://platform.claude.com/docs/en/api/messages, and the types of the `anthropic` package 2.11.
"""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from waterline.core.errors import InvalidRequest
from waterline.core.request import MAX_TOKENS, Extra, Request, invalid_body

Block = dict[str, Raw]
Made = dict[str, Any]  # canonical, ready to be encoded; values may be Raw
_SAME = ("model", "stream", "temperature", "top_p", "waterline")  # the same in both APIs
_TRUE = Raw(b"true")
_TEXT = Raw(b'"text"')


class _Turn(Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class _Envelope(Struct):
    """The fields that are translated; others are the provider's own."""

    model: str
    max_tokens: int
    messages: list[_Turn]
    system: str | list[Block] | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    tools: list[Block] | None = None
    tool_choice: Block | None = None
    metadata: Block | None = None
    output_config: Block | None = None
    waterline: Extra | None = None


_TRANSLATED = (*_Envelope.__struct_fields__, *_SAME)
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode = msgspec.json.Decoder(_Envelope).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_object = msgspec.json.Decoder(Block).decode
_decode_blocks = msgspec.json.Decoder(str | list[Block] | None).decode
_encode = msgspec.json.Encoder().encode


def decode_messages(path: str, body: bytes, received_us: int) -> Request:
    """Raises InvalidRequest naming the field and what is wrong with it."""
    try:
        if not body.isascii():
            body.decode()
        given = _decode_fields(body)
        asked = _decode(body)
        fields = _fields(asked, given)
        last = _said(asked.messages[-1].content)
    except (UnicodeDecodeError, RecursionError, msgspec.DecodeError) as error:
        raise invalid_body(error, body) from None
    return Request(
        kind="chat",
        path=path,
        body=body,
        fields=fields,
        model=asked.model,
        received_us=received_us,
        stream=bool(asked.stream),
        include_usage=True,  # the events of a message tell it
        max_tokens=asked.max_tokens,
        variables=asked.waterline.variables if asked.waterline else {},
        last_text=last,
        extended=True,
    )


def _fields(asked: _Envelope, given: dict[str, Raw]) -> dict[str, Raw]:
    if not asked.messages:
        raise InvalidRequest("`messages` is empty. Send at least one message.", param="messages")
    if not 1 <= asked.max_tokens <= MAX_TOKENS:
        raise InvalidRequest(f"`max_tokens` must be between 1 and {MAX_TOKENS}.", param="max_tokens")
    messages = list(_system(asked.system))
    for i, turn in enumerate(asked.messages):
        messages += _turn(turn, f"messages[{i}]")
    made: Made = {name: given[name] for name in _SAME if name in given}
    made["messages"] = messages
    own: Made = {name: value for name, value in given.items() if name not in _TRANSLATED}
    if asked.stop_sequences:
        made["stop"] = asked.stop_sequences
    if asked.tools:
        made["tools"] = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(asked.tools)]
    if asked.tool_choice is not None:
        _choose(asked.tool_choice, made)
    if asked.metadata:
        _describe_user(asked.metadata, made, own)
    if asked.output_config:
        _form(asked.output_config, made, own)
    if own:
        made["anthropic"] = own
    return {name: value if isinstance(value, Raw) else Raw(_encode(value)) for name, value in made.items()}


# --- messages -----------------------------------------------------------------------------------------------------


def _system(system: str | list[Block] | None) -> Iterator[Made]:
    if system:
        content = system if isinstance(system, str) else [_part(b, f"system[{i}]") for i, b in enumerate(system)]
        yield {"role": "system", "content": content}


def _turn(turn: _Turn, where: str) -> list[Made]:
    if isinstance(turn.content, str):
        made: list[Made] = [{"role": turn.role, "content": turn.content}]
    elif turn.role == "assistant":
        made = [_assistant(turn.content, where)]
    elif turn.role == "user":
        made = _user(turn.content, where)
    else:
        made = [{"role": turn.role, "content": [_part(b, f"{where}.content[{j}]") for j, b in enumerate(turn.content)]}]
    if turn.role == "system":
        made[0]["anthropic"] = {"in_place": True}  # not hoisted to the top
    return made


def _user(blocks: list[Block], where: str) -> list[Made]:
    """Results of tools are messages of their own, and so is what is said before or after them."""
    made: list[Made] = []
    for j, block in enumerate(blocks):
        here = f"{where}.content[{j}]"
        if _type(block, here) == "tool_result":
            made.append(_tool_result(block, here))
        elif made and made[-1]["role"] == "user":
            made[-1]["content"].append(_part(block, here))
        else:
            made.append({"role": "user", "content": [_part(block, here)]})
    for message in made[1:]:
        message["anthropic"] = {**message.get("anthropic", {}), "joins": True}  # the turn of the message before
    if not made:
        raise InvalidRequest(f"{where}.content is empty. Say something.", param=f"{where}.content")
    return made


def _tool_result(block: Block, where: str) -> Made:
    content = _blocks(block, "content", where)
    parts = [_part(b, f"{where}.content[{k}]") for k, b in enumerate(content)] if isinstance(content, list) else content
    made: Made = {
        "role": "tool",
        "tool_call_id": _text(block, "tool_use_id", where),
        "content": parts or "",
    }
    rest = _rest(block, "type", "tool_use_id", "content")
    return {**made, "anthropic": {"block": rest}} if rest else made


def _assistant(blocks: list[Block], where: str) -> Made:
    parts: list[Made] = []
    calls: list[Made] = []
    for j, block in enumerate(blocks):
        here = f"{where}.content[{j}]"
        match _type(block, here):
            case "tool_use":
                calls.append(_tool_use(block, here))
                parts.append({"type": "anthropic", "anthropic": {"type": "tool_use"}})  # its place among the parts
            case "thinking" if not _text(block, "signature", here, ""):
                pass  # another provider's reasoning, as we gave it: nobody takes it back
            case _:
                parts.append(_part(block, here))
    made: Made = {"role": "assistant", "content": parts}
    return {**made, "tool_calls": calls} if calls else made


def _tool_use(block: Block, where: str) -> Made:
    arguments = bytes(block.get("input", Raw(b"{}")))
    if not arguments.startswith(b"{"):
        raise InvalidRequest(f"{where}.input is not an object.", param=f"{where}.input")
    function = {"name": _text(block, "name", where), "arguments": arguments.decode()}
    made: Made = {"id": _text(block, "id", where), "type": "function", "function": function}
    return _with(made, _rest(block, "type", "id", "name", "input"))


def _part(block: Block, where: str) -> Made:
    """A content block as a part. What has no counterpart is kept whole."""
    match _type(block, where):
        case "text":
            made: Made = {"type": "text", "text": _text(block, "text", where)}
            return _with(made, _rest(block, "type", "text"))
        case "image":
            url = _source_url(_object(block, "source", where), f"{where}.source")
            if url is not None:
                made = {"type": "image_url", "image_url": {"url": url}}
                return _with(made, _rest(block, "type", "source"))
        case "document":
            return _document(block, where)
        case _:
            pass
    return {"type": "anthropic", "anthropic": block}


def _source_url(source: Block, where: str) -> str | None:
    """A data: or http(s) URL; None where the source is neither (a file at Anthropic's, say)."""
    match _type(source, where):
        case "base64" if len(source) == 3:
            return f"data:{_text(source, 'media_type', where)};base64,{_text(source, 'data', where)}"
        case "url" if len(source) == 2:
            return _text(source, "url", where)
        case _:
            return None


def _document(block: Block, where: str) -> Made:
    source = _object(block, "source", where)
    here = f"{where}.source"
    match _type(source, here):
        case "base64" if (url := _source_url(source, here)) is not None:
            file = {"file_data": url}
            if "title" in block:
                file["filename"] = _text(block, "title", where, "")
            return _with({"type": "file", "file": file}, _rest(block, "type", "source", "title"))
        case "text" if len(source) == 3:
            made: Made = {"type": "text", "text": _text(source, "data", here)}
            return {**made, "anthropic": _rest(block, "source")}  # with the type: a document again at Anthropic's
        case _:
            return {"type": "anthropic", "anthropic": block}


# --- tools and options ----------------------------------------------------------------------------------------------


def _tool(tool: Block, where: str) -> Made:
    if _text(tool, "type", where, "custom") != "custom":
        return {"type": "anthropic", "anthropic": tool}  # one of the provider's own, such as web search
    function: Made = {"name": _text(tool, "name", where)}
    for ours, theirs in (("description", "description"), ("parameters", "input_schema"), ("strict", "strict")):
        if theirs in tool:
            function[ours] = tool[theirs]
    rest = _rest(tool, "name", "description", "input_schema", "strict")
    return _with({"type": "function", "function": function}, rest)


def _choose(choice: Block, made: Made) -> None:
    match _type(choice, "tool_choice"):
        case "auto" | "none" as same:
            made["tool_choice"] = same
        case "any":
            made["tool_choice"] = "required"
        case "tool":
            name = _text(choice, "name", "tool_choice")
            made["tool_choice"] = {"type": "function", "function": {"name": name}}
        case other:
            raise InvalidRequest(
                f'tool_choice is of type "{other[:40]}"; it may be auto, any, tool or none.', param="tool_choice"
            )
    if choice.get("disable_parallel_tool_use") == _TRUE and "tools" in made:
        made["parallel_tool_calls"] = False


def _describe_user(metadata: Block, made: Made, own: Made) -> None:
    if set(metadata) == {"user_id"} and bytes(metadata["user_id"]) != b"null":
        made["user"] = _text(metadata, "user_id", "metadata")
    else:
        own["metadata"] = metadata


def _form(config: Block, made: Made, own: Made) -> None:
    """A JSON schema has a counterpart; how much effort to make depends on the model, so it is the provider's own."""
    rest = dict(config)
    if "format" in rest and bytes(rest["format"]) != b"null":
        form = _object(rest, "format", "output_config")
        if _type(form, "output_config.format") == "json_schema" and set(form) == {"type", "schema"}:
            del rest["format"]
            made["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": form["schema"]},
            }
    if rest:
        own["output_config"] = rest


# --- reading a block --------------------------------------------------------------------------------------------------


def _with(made: Made, rest: Block) -> Made:
    return {**made, "anthropic": rest} if rest else made


def _rest(block: Block, *known: str) -> Block:
    return {name: value for name, value in block.items() if name not in known}


def _type(block: Block, where: str) -> str:
    return _text(block, "type", where)


def _text(block: Block, name: str, where: str, otherwise: str | None = None) -> str:
    raw = block.get(name)
    if raw is None or bytes(raw) == b"null":
        if otherwise is not None:
            return otherwise
        raise InvalidRequest(f"{where}.{name} is missing.", param=f"{where}.{name}")
    try:
        return _decode_text(raw)
    except msgspec.ValidationError:
        raise InvalidRequest(f"{where}.{name} is not a text.", param=f"{where}.{name}") from None


def _object(block: Block, name: str, where: str) -> Block:
    try:
        return _decode_object(block.get(name, Raw(b"null")))
    except msgspec.ValidationError:
        raise InvalidRequest(f"{where}.{name} is not an object.", param=f"{where}.{name}") from None


def _blocks(block: Block, name: str, where: str) -> str | list[Block] | None:
    try:
        found: str | list[Block] | None = _decode_blocks(block.get(name, Raw(b"null")))
    except msgspec.ValidationError:
        raise InvalidRequest(
            f"{where}.{name} is neither a text nor a list of blocks.", param=f"{where}.{name}"
        ) from None
    return found


def _said(content: str | list[Block]) -> str:
    """For search: the texts."""
    if isinstance(content, str):
        return content
    texts = (_text(block, "text", "", "") for block in content if block.get("type") == _TEXT)
    return " ".join(text for text in texts if text)
