"""The simulated provider in Gemini's dialect: what it reads of a request, what it refuses, what it says.

As strict as the service where a translation could go wrong: unknown names, roles, results without a call, and a model
that reasons (`reasoning_tokens`) insists on the signature of each turn's first tool call.
"""

import base64
from typing import Any

import msgspec
from msgspec import Raw, Struct

from waterline.providers.simulated_answers import Ask, Bill, Call, Events, Head, Message, Said, encode, uniform

FINISH: dict[str, str] = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
SKIP = "skip_thought_signature_validator"
_MODES = {"AUTO": "auto", "NONE": "none", "ANY": "required", "VALIDATED": "auto"}


class _Strict(Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """The service refuses names it does not know."""


class _Config(_Strict, frozen=True):
    candidate_count: int | None = None
    max_output_tokens: int | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: dict[str, Any] | None = None
    response_modalities: list[str] | None = None
    thinking_config: dict[str, Any] | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None


class _Calling(_Strict, frozen=True):
    mode: str = "AUTO"
    allowed_function_names: list[str] = []


class _ToolConfig(_Strict, frozen=True):
    function_calling_config: _Calling = _Calling()


class _Named(Struct, rename="camel"):
    id: str = ""
    name: str = ""
    args: dict[str, Any] | None = None
    response: dict[str, Any] | None = None


class _Part(_Strict, frozen=True):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _Named | None = None
    function_response: _Named | None = None
    inline_data: dict[str, Any] | None = None
    file_data: dict[str, Any] | None = None


class _Content(_Strict, frozen=True):
    parts: list[_Part] = []
    role: str = ""


class _Declaration(_Strict, frozen=True):
    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None
    parameters_json_schema: dict[str, Any] | None = None
    as_google_s_client_spells_it: dict[str, Any] | None = msgspec.field(name="parameters_json_schema", default=None)


class _Tool(_Strict, frozen=True):
    function_declarations: list[_Declaration] = []


class _Generate(_Strict, frozen=True):
    contents: list[_Content] = []
    system_instruction: _Content | None = None
    generation_config: _Config = _Config()
    tools: list[_Tool] = []
    tool_config: _ToolConfig = _ToolConfig()
    safety_settings: list[dict[str, Any]] = []


class _Embed(_Strict, frozen=True):
    content: _Content
    model: str = ""
    output_dimensionality: int | None = None
    task_type: str | None = None
    title: str | None = None


class _EmbedBatch(_Strict, frozen=True):
    requests: list[_Embed] = []


class _Sizes(Struct, rename="camel"):
    """The values whose bytes count as the prompt."""

    contents: Raw = Raw()
    system_instruction: Raw = Raw()
    tools: Raw = Raw()


_decode = msgspec.json.Decoder(_Generate).decode
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_sizes = msgspec.json.Decoder(_Sizes).decode
_decode_embed = msgspec.json.Decoder(_Embed).decode
_decode_batch = msgspec.json.Decoder(_EmbedBatch).decode


class Wrong(Exception):
    """The request is refused with 400 INVALID_ARGUMENT."""


def read_ask(model: str, action: str, body: bytes, *, thinks: bool) -> tuple[Ask, list[Message]]:
    """The request in the server's own words. Raises msgspec.DecodeError, Wrong."""
    if action in ("embedContent", "batchEmbedContents"):
        wanted = _decode_batch(body).requests if action == "batchEmbedContents" else [_decode_embed(body)]
        texts = ["".join(part.text or "" for part in one.content.parts) for one in wanted]
        size = wanted[0].output_dimensionality if wanted else None
        return Ask(model=model, input=Raw(encode(texts)) if texts else Raw(), dimensions=size), []
    if action == "countTokens":
        body = _to_count(body, model)
    read, sizes, config = _decode(body), _decode_sizes(body), _decode(body).generation_config
    _check(read, thinks)
    choice: Any = _MODES.get(read.tool_config.function_calling_config.mode)
    allowed = read.tool_config.function_calling_config.allowed_function_names
    if choice == "required" and allowed:
        choice = {"type": "function", "function": {"name": allowed[0]}}
    schema = config.response_json_schema or in_lower_case(config.response_schema)
    form: dict[str, Any] | None = None
    if config.response_mime_type == "application/json":
        form = {"type": "json_schema", "json_schema": {"schema": schema}} if schema else {"type": "json_object"}
    ask = Ask(
        model=model,
        messages=sizes.contents,
        system=sizes.system_instruction,
        tools=sizes.tools,
        tool_choice=choice,
        stream=action == "streamGenerateContent",
        max_tokens=config.max_output_tokens,
        n=config.candidate_count,
        stop=config.stop_sequences,
        response_format=form,
        logprobs=config.response_logprobs,
        top_logprobs=config.logprobs,
    )
    return ask, [_message(content) for content in read.contents]


def _to_count(body: bytes, model: str) -> bytes:
    """The request that is to be counted; it names its model again."""
    asked = _decode_fields(_decode_fields(body).get("generateContentRequest", Raw(b"{}")))
    named = msgspec.json.decode(asked.pop("model", Raw(b"null")))
    if named != f"models/{model}":
        raise Wrong("* CountTokensRequest.generate_content_request.model: it is not the model of the address")
    return encode(asked)


def in_lower_case(schema: Any) -> Any:
    """Gemini's own Schema as a JSON Schema: its types are in capitals."""
    if isinstance(schema, list):
        return [in_lower_case(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: v.lower() if k == "type" and isinstance(v, str) else in_lower_case(v) for k, v in schema.items()}


def _message(content: _Content) -> Message:
    if any(part.function_response is not None for part in content.parts):
        return Message("tool")
    role = "assistant" if content.role == "model" else "user"
    return Message(role, [{"type": "text", "text": part.text} for part in content.parts if part.text is not None])


def _check(read: _Generate, thinks: bool) -> None:
    """What the service says about contents that do not fit together."""
    if not read.contents:
        raise Wrong("* GenerateContentRequest.contents: contents is not specified")
    config = read.generation_config
    if (config.response_schema or config.response_json_schema) and not config.response_mime_type:
        raise Wrong("Function calling or a response schema needs response mime type: 'application/json'")
    if config.logprobs is not None and not config.response_logprobs:
        raise Wrong("Logprobs is set but response_logprobs is not.")
    if config.max_output_tokens is not None and config.max_output_tokens < 1:
        raise Wrong("max_output_tokens must be positive.")
    called: list[str] = []
    for i, content in enumerate(read.contents):
        if content.role not in ("user", "model", "function", ""):
            raise Wrong("Please use a valid role: user, model.")
        if not content.parts:
            raise Wrong(f"* GenerateContentRequest.contents[{i}].parts: contents.parts must not be empty.")
        results = [part.function_response for part in content.parts if part.function_response is not None]
        if len(results) != len(called) or any(one.name not in called for one in results):
            raise Wrong(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        calls = [part for part in content.parts if part.function_call is not None]
        called = [part.function_call.name for part in calls if part.function_call is not None]
        if thinks and calls and calls[0].thought_signature not in (SKIP, signature(called[0])):
            raise Wrong(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                f"work correctly. Additional data, function call `default_api:{called[0]}`, position {i + 1}."
            )


def signature(seed: str) -> str:
    """What a model that thinks signs a part with."""
    return base64.b64encode(b"simulated thought about " + seed.encode()).decode()


def _usage(b: Bill) -> dict[str, Any]:
    out = {
        "promptTokenCount": b.prompt,
        "candidatesTokenCount": b.output - b.reasoning,
        "totalTokenCount": b.prompt + b.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": b.prompt}],
    }
    if b.cached:
        out["cachedContentTokenCount"] = b.cached
        out["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": b.cached}]
    if b.reasoning:
        out["thoughtsTokenCount"] = b.reasoning
    return out


def _call_part(call: Call, thinks: bool) -> dict[str, Any]:
    part: dict[str, Any] = {"functionCall": {"name": call.name, "args": Raw(call.arguments.encode())}}
    return {**part, "thoughtSignature": signature(call.name)} if thinks else part


def _response(head: Head, candidates: list[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
    out: dict[str, Any] = {"candidates": candidates}
    if usage is not None:
        out["usageMetadata"] = usage
    return {**out, "modelVersion": head.model, "responseId": head.id}


def _candidate(index: int, parts: list[dict[str, Any]], finish: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {"content": {"parts": parts, "role": "model"}}
    return {**out, **({"finishReason": finish} if finish else {}), "index": index}


def _logprobs(ask: Ask, one: Said, pieces: tuple[str, ...]) -> dict[str, Any]:
    if not ask.logprobs or one.call is not None:
        return {}

    def token(piece: str, less: float = 0.0) -> dict[str, Any]:
        return {"token": piece, "tokenId": len(piece), "logProbability": -uniform(*piece.encode()) - less}

    tops = [{"candidates": [token(piece, float(i)) for i in range(ask.top_logprobs or 0)]} for piece in pieces]
    found: dict[str, Any] = {"chosenCandidates": [token(piece) for piece in pieces]}
    return {"logprobsResult": {**found, "topCandidates": tops} if ask.top_logprobs else found}


def plain(head: Head, ask: Ask, said: list[Said], usage: Bill | None, *, thinks: bool) -> bytes:
    candidates = []
    for index, one in enumerate(said):
        text: dict[str, Any] = {"text": one.text}
        if thinks:
            text["thoughtSignature"] = signature(head.id)
        parts = [_call_part(one.call, thinks)] if one.call is not None else [text]
        candidates.append({**_candidate(index, parts, FINISH[one.finish]), **_logprobs(ask, one, one.pieces)})
    return encode(_response(head, candidates, _usage(usage) if usage is not None else None))


def events(head: Head, ask: Ask, said: list[Said], usage: Bill | None, *, thinks: bool) -> Events:
    """One event a piece, a call whole in one; the last event has the finish reasons and the usage, and there is no
    [DONE]. (A stream that misses its `done` lacks that last event.)"""

    def event(data: dict[str, Any]) -> bytes:
        return b"data: " + encode(data) + b"\r\n\r\n"

    so_far = {"promptTokenCount": usage.prompt, "totalTokenCount": usage.prompt} if usage is not None else None
    content = []
    for index, one in enumerate(said):
        parts = [_call_part(one.call, thinks)] if one.call is not None else [{"text": piece} for piece in one.pieces]
        told = [_logprobs(ask, one, (piece,)) for piece in one.pieces] if one.call is None else [{}]
        content += [
            event(_response(head, [{**_candidate(index, [part]), **more}], so_far))
            for part, more in zip(parts, told, strict=True)
        ]
    last: dict[str, Any] = {"text": "", "thoughtSignature": signature(head.id)} if thinks else {"text": ""}
    ends = [
        _candidate(index, [] if one.call is not None else [last], FINISH[one.finish]) for index, one in enumerate(said)
    ]
    done = event(_response(head, ends, _usage(usage) if usage is not None else None))
    return Events(b"", content, [], done, sum(len(one.pieces) - 1 for one in said if one.call is not None))


def embeddings(vectors: list[list[float]], action: str, usage: Bill | None) -> bytes:
    values = [{"values": vector} for vector in vectors]
    out: dict[str, Any] = {"embeddings": values} if action == "batchEmbedContents" else {"embedding": values[0]}
    if usage is not None:
        out["usageMetadata"] = {"promptTokenCount": usage.prompt, "totalTokenCount": usage.prompt}
    return encode(out)


_ERRORS: dict[int, tuple[str, str]] = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    403: ("PERMISSION_DENIED", "The caller does not have permission."),
    404: ("NOT_FOUND", "The model is not found for API version v1beta, or is not supported for generateContent."),
    429: ("RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
}
BAD_KEY = "API key not valid. Please pass a valid API key."


def error(status: int, message: str = "", retry_s: float | None = None) -> bytes:
    """A wrong key is a 400 here, told apart by its reason; the delay of a 429 is in the body, not in a header."""
    name, usual = _ERRORS.get(status, ("INTERNAL", "An internal error has occurred."))
    out: dict[str, Any] = {"code": status, "message": message or usual, "status": name}
    details: list[dict[str, Any]] = []
    if message == BAD_KEY:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        details.append({"@type": kind, "reason": "API_KEY_INVALID", "domain": "googleapis.com"})
    if retry_s is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{retry_s:g}s"})
    return encode({"error": {**out, "details": details} if details else out})
