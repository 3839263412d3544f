"""A chat completion (or embeddings) request in the words of Google's Gemini API.

What Gemini cannot express is an error that names the field, never dropped in silence; what neither API is known to
have passes through (`safetySettings`, more of `generationConfig`). What would be billed and cannot be bounded before
it is sent is refused: a budget is a promise. Only hints that cannot change an answer are dropped.
Source: https://ai.google.dev/api/generate-content, and the types of the `google-genai` package 3.4.
"""

import mimetypes
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from waterline.core.release import Route
from waterline.providers.base import Fields, ProviderFault, data_url
from waterline.providers.gemini_logprobs import ask_logprobs

# https://ai.google.dev/gemini-api/docs/thought-signatures: what takes the place of a signature for a call that Gemini
# itself did not make (it came from another provider) or that a client kept without it.
NO_SIGNATURE = "skip_thought_signature_validator"
_BEFORE_SIGNATURES = re.compile(r"(models/)?gemini-[12]\b")
_THINKS_BY_BUDGET = re.compile(r"(models/)?gemini-2\b")
EFFORT_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}  # as Google maps them
EFFORT_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "XHIGH"}
_DROPPED = (
    "model",  # it is in the address
    "stream",  # so is this
    "stream_options",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
)
# Fields without a counterpart, and the values that ask for nothing and may therefore be left out.
_INEXPRESSIBLE: dict[str, tuple[Any, ...]] = {
    "logit_bias": ({},),
    "audio": (),
    "modalities": (["text"],),
    "prediction": (),
    "functions": ([],),
    "function_call": ("none",),
    "parallel_tool_calls": (True,),
    "web_search_options": (),
    "store": (False,),
    "metadata": ({},),
    "verbosity": (),
    "moderation": (),
    "service_tier": ("auto", "default"),
}
_RENAMED = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "n": "candidateCount",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mp3"}


class _Said(Struct):
    """One message of the request."""

    role: str
    content: Any = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    extra_content: Any = None


_decode_said = msgspec.json.Decoder(list[_Said]).decode
_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _invalid(message: str) -> ProviderFault:
    return ProviderFault("invalid", message, status=400)


def generate_request(fields: Fields, route: Route) -> dict[str, Any]:
    """The body of generateContent, in an order that depends on the fields alone."""
    given = _given(fields)
    try:
        said = _decode_said(fields["messages"])
    except _UNREADABLE as error:
        raise _invalid(f"messages cannot be read: {error}") from error
    given.pop("messages", None)
    for name, harmless in _INEXPRESSIBLE.items():
        if name in given and given.pop(name) not in harmless:
            raise _invalid(f"Gemini has no counterpart of {name}. Remove it, or use a route to another provider.")
    if "cachedContent" in given:
        raise _invalid("cachedContent is billed, and its tokens cannot be bounded beforehand. Send the content itself.")
    for name in _DROPPED:
        given.pop(name, None)
    out: dict[str, Any] = {}
    system, out["contents"] = _contents(said, signed=_BEFORE_SIGNATURES.match(route.model) is None)
    if system:
        out["systemInstruction"] = {"parts": system}
    _tools(given, out)
    generation = _generation(given, route)
    if generation:
        out["generationConfig"] = generation
    return {**given, **out}


def embed_request(fields: Fields, route: Route) -> dict[str, Any]:
    """The body of batchEmbedContents: one request a text."""
    given = _given(fields)
    texts = given.get("input")
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise _invalid("input: Gemini embeds a text or a list of texts, not tokens.")
    more: dict[str, Any] = {}
    if "dimensions" in given:
        more["outputDimensionality"] = given["dimensions"]
    known = ("model", "input", "dimensions", "encoding_format", "user")
    more.update({name: value for name, value in given.items() if name not in known})  # taskType, title
    return {
        "requests": [{"model": f"models/{route.model}", "content": {"parts": [{"text": t}]}, **more} for t in texts]
    }


def _given(fields: Fields) -> dict[str, Any]:
    try:
        given = {name: msgspec.json.decode(raw) for name, raw in fields.items() if name != "messages"}
    except _UNREADABLE as error:
        raise _invalid(f"the request cannot be read: {error}") from error
    return {name: value for name, value in given.items() if value is not None}


# --- messages ---------------------------------------------------------------------------------------------------


def _contents(said: list[_Said], *, signed: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The parts of the system instruction, and the turns. Results of consecutive tool calls become one turn.

    `signed`: the model insists on the signatures of its tool calls."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # of the functions, by the id of the call
    after_tool = False
    for i, message in enumerate(said):
        where = f"messages[{i}]"
        match message.role:
            case "system" | "developer":
                system += _parts(message.content, where)
                continue
            case "user":
                turns.append({"role": "user", "parts": list(_parts(message.content, where))})
            case "assistant":
                turns.append({"role": "model", "parts": _assistant(message, where, names, signed)})
            case "tool":
                result = _tool_result(message, where, names)
                if after_tool:
                    turns[-1]["parts"].append(result)
                else:
                    turns.append({"role": "user", "parts": [result]})
            case _:
                raise _invalid(f"{where} has the role {message.role!r}, which Gemini does not have.")
        if not turns[-1]["parts"]:
            raise _invalid(f"{where} has no content. Gemini wants some in every message.")
        after_tool = message.role == "tool"
    if not turns:
        raise _invalid("messages has no user message. Gemini wants at least one.")
    return system, turns


def _parts(content: Any, where: str) -> Iterator[dict[str, Any]]:
    """The parts of one message; empty texts are left out, because Gemini refuses them."""
    if content is None:
        return
    if isinstance(content, str):
        if content:
            yield {"text": content}
        return
    if not isinstance(content, list):
        raise _invalid(f"{where}.content is neither a text nor a list of parts.")
    for j, part in enumerate(content):
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        at = f"{where}.content[{j}]"
        match part:
            case {"type": "text"}:
                if part.get("text"):
                    yield {"text": part["text"]}
            case {"type": "refusal"}:
                yield {"text": str(part.get("refusal") or "(refused)")}
            case {"type": "image_url"}:
                yield _image(part, at)
            case {"type": "input_audio", "input_audio": {"data": str(data), "format": "wav" | "mp3" as form}}:
                yield _inline(_AUDIO_TYPES[form], data)
            case {"type": "file", "file": {"file_data": str(data)}} if (read := data_url(data)) is not None:
                yield _inline(*read)
            case {"type": "file"}:
                raise _invalid(f"{at} is a file without file_data. Send it inline: data:application/pdf;base64,...")
            case _:
                kind = part.get("type") if isinstance(part, dict) else type(part).__name__
                raise _invalid(f"{at} is of type {kind!r}, which Gemini's chat does not take from us.")


def _inline(media_type: str, base64: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": media_type, "data": base64}}


def _image(part: dict[str, Any], where: str) -> dict[str, Any]:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise _invalid(f"{where}.image_url has no url.")
    if url.startswith("data:"):
        read = data_url(url)
        if read is None or not read[0].startswith("image/"):
            raise _invalid(f"{where} is not an image in base64: data:image/png;base64,...")
        return _inline(*read)
    if not url.startswith(("https://", "http://", "gs://")):
        raise _invalid(f"{where}.image_url.url is none of data:, http(s): and gs:.")
    file: dict[str, Any] = {"fileUri": url}
    media_type = mimetypes.guess_type(url.split("?")[0])[0]
    if media_type is not None:
        if not media_type.startswith("image/"):  # a film or a book may have any number of tokens
            raise _invalid(f"{where} names {media_type}; only an image may be given by its address.")
        file["mimeType"] = media_type
    return {"fileData": file}


def _signature(extra: Any) -> str:
    """As Google's own OpenAI-compatible API spells it: extra_content.google.thought_signature."""
    match extra:
        case {"google": {"thought_signature": str(signature)}}:
            return signature
        case _:
            return ""


def _assistant(message: _Said, where: str, names: dict[str, str], signed: bool) -> list[dict[str, Any]]:
    parts = list(_parts(message.content, where))
    if message.refusal and not parts:
        parts.append({"text": message.refusal})
    if signature := _signature(message.extra_content):
        if not parts:
            parts.append({"text": ""})
        parts[-1]["thoughtSignature"] = signature
    calls = [_call(call, f"{where}.tool_calls[{k}]", names) for k, call in enumerate(message.tool_calls or ())]
    if signed and calls and not any("thoughtSignature" in call for call in calls):
        calls[0]["thoughtSignature"] = NO_SIGNATURE
    return parts + calls


def _call(call: dict[str, Any], where: str, names: dict[str, str]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _invalid(f"{where} is not a call of a function.")
    arguments = function.get("arguments") or "{}"
    try:
        _decode_object(arguments)
    except (*_UNREADABLE, TypeError) as error:
        raise _invalid(f"{where}.function.arguments is not a JSON object.") from error
    out: dict[str, Any] = {"name": function["name"], "args": Raw(arguments.encode())}
    if isinstance(call.get("id"), str) and call["id"]:
        names[call["id"]] = out["name"]
        out = {"id": call["id"], **out}
    signature = _signature(call.get("extra_content"))
    return {"functionCall": out, **({"thoughtSignature": signature} if signature else {})}


def _tool_result(message: _Said, where: str, names: dict[str, str]) -> dict[str, Any]:
    """Gemini wants the function's name and an object; a result that is not one is put into `result`."""
    called = message.tool_call_id or ""
    if called not in names:
        raise _invalid(f"{where}.tool_call_id {called!r} is of no call before it. Gemini wants each result's call.")
    content = message.content
    if not isinstance(content, str):
        parts = list(_parts(content, where))
        if any("text" not in part for part in parts):
            raise _invalid(f"{where} is a tool's result with more than text, which Gemini does not take from us.")
        content = "".join(part["text"] for part in parts)
    response: Any = {"result": content}
    if content.lstrip().startswith("{"):
        try:
            _decode_object(content)
        except _UNREADABLE:
            pass  # text that begins with a brace is still a result
        else:
            response = Raw(content.encode())
    return {"functionResponse": {"id": called, "name": names[called], "response": response}}


# --- tools and schemas ------------------------------------------------------------------------------------------


def _tools(given: dict[str, Any], out: dict[str, Any]) -> None:
    tools, choice = given.pop("tools", None), given.pop("tool_choice", None)
    strict = False
    if tools:
        if not isinstance(tools, list):
            raise _invalid("tools is not a list.")
        out["tools"] = [{"functionDeclarations": [_declaration(tool, i) for i, tool in enumerate(tools)]}]
        strict = any(tool["function"].get("strict") for tool in tools)
    config = _calling(choice, strict)
    if config:
        out["toolConfig"] = {"functionCallingConfig": config}


def _declaration(tool: Any, i: int) -> dict[str, Any]:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _invalid(f"tools[{i}] is not a function. Gemini's own tools add a cost that no price here covers.")
    out: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        out["description"] = function["description"]
    if function.get("parameters"):
        out["parametersJsonSchema"] = in_dialect(function["parameters"])
    return out


def _calling(choice: Any, strict: bool) -> dict[str, Any]:
    """`strict` arguments are what Gemini calls the mode VALIDATED; ANY keeps to the schema anyway."""
    match choice:
        case None | "auto":
            return {"mode": "VALIDATED"} if strict else ({"mode": "AUTO"} if choice else {})
        case "none":
            return {"mode": "NONE"}
        case "required":
            return {"mode": "ANY"}
        case {"type": "function", "function": {"name": str(name)}}:
            return {"mode": "ANY", "allowedFunctionNames": [name]}
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(allowed)}}:
            functions = [tool.get("function") for tool in allowed if isinstance(tool, dict)]
            names = [one["name"] for one in functions if isinstance(one, dict) and "name" in one]
            return {"mode": "ANY" if mode == "required" else "VALIDATED", "allowedFunctionNames": names}
        case _:
            raise _invalid("tool_choice is none of auto, none, required, a named function and allowed_tools.")


def in_dialect(schema: Any) -> Any:
    """A JSON Schema with the words that Gemini knows: `const` is an enum of one, a `$ref` stands alone, an exclusive
    bound of a whole number is the next one. Words without a counterpart stay: the provider judges them."""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        schema = {key: value for key, value in schema.items() if key.startswith("$")}
    only = schema.get("allOf")
    if isinstance(only, list) and len(only) == 1 and isinstance(only[0], dict):
        schema = {**only[0], **{key: value for key, value in schema.items() if key != "allOf"}}
    out: dict[str, Any] = {}
    for key, value in schema.items():
        match key:
            case "$schema":
                pass
            case "const":
                out["enum"] = [value]
            case "properties" | "$defs" | "definitions" if isinstance(value, dict):
                out[key] = {name: in_dialect(inner) for name, inner in value.items()}
            case "items" | "additionalProperties":
                out[key] = in_dialect(value)
            case "anyOf" | "oneOf" | "allOf" | "prefixItems" if isinstance(value, list):
                out[key] = [in_dialect(inner) for inner in value]
            case "exclusiveMinimum" if schema.get("type") == "integer" and isinstance(value, int):
                out["minimum"] = max(value + 1, schema.get("minimum", value + 1))
            case "exclusiveMaximum" if schema.get("type") == "integer" and isinstance(value, int):
                out["maximum"] = min(value - 1, schema.get("maximum", value - 1))
            case _:
                out.setdefault(key, value)
    return out


# --- how to answer ----------------------------------------------------------------------------------------------


def _generation(given: dict[str, Any], route: Route) -> dict[str, Any]:
    own = given.pop("generationConfig", None) or {}
    if not isinstance(own, dict):
        raise _invalid("generationConfig is not an object.")
    for native, ours in (("maxOutputTokens", "max_tokens"), ("candidateCount", "n")):
        if native in own:  # the budget is reserved from our names
            raise _invalid(f"generationConfig.{native} is said by {ours}. Use {ours}.")
    out = dict(own)
    bounds = [given.pop(name) for name in ("max_tokens", "max_completion_tokens") if name in given]
    if not all(isinstance(bound, int) for bound in bounds):
        raise _invalid("max_tokens is not a whole number.")
    if bounds:
        out["maxOutputTokens"] = min(bounds)
    for name, renamed in _RENAMED.items():
        if name in given:
            out[renamed] = given.pop(name)
    stop = given.pop("stop", None)
    if stop:
        out["stopSequences"] = [stop] if isinstance(stop, str) else stop
    ask_logprobs(given, out)
    _form(given.pop("response_format", None), out)
    thinking = _thinking(given.pop("reasoning_effort", None), given.pop("thinking", None), route.model)
    if thinking:
        told = out.get("thinkingConfig")
        out["thinkingConfig"] = {**told, **thinking} if isinstance(told, dict) else thinking
    return out


def _form(form: Any, out: dict[str, Any]) -> None:
    match form:
        case None | {"type": "text"}:
            pass
        case {"type": "json_object"}:
            out["responseMimeType"] = "application/json"
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            out["responseMimeType"] = "application/json"
            out["responseJsonSchema"] = in_dialect(schema)
        case _:
            raise _invalid("response_format is none of text, json_object and json_schema with a schema.")


def _thinking(effort: Any, thinking: Any, model: str) -> dict[str, Any]:
    """OpenAI's reasoning_effort, or `thinking` as Anthropic writes it."""
    out: dict[str, Any] = {}
    if effort is not None:
        by_budget = _THINKS_BY_BUDGET.match(model) is not None
        known: dict[str, Any] = EFFORT_BUDGETS if by_budget else EFFORT_LEVELS
        if not isinstance(effort, str) or effort not in known:
            raise _invalid(f"reasoning_effort {effort!r} is not one of {model}. Use one of {', '.join(known)}.")
        out["thinkingBudget" if by_budget else "thinkingLevel"] = known[effort]
    match thinking:
        case None:
            pass
        case {"type": "enabled", "budget_tokens": int(budget)}:
            out = {"thinkingBudget": budget, "includeThoughts": True}
        case {"type": "adaptive"}:
            out["includeThoughts"] = True
        case {"type": "disabled"}:
            out = {"thinkingBudget": 0}
        case _:
            raise _invalid("thinking is none of enabled with budget_tokens, adaptive and disabled.")
    return out
