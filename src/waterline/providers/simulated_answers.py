"""What the simulated provider says: pure functions from a request and a declaration. In which dialect:
`simulated_openai.py`, `simulated_messages.py` (Anthropic's) and `simulated_gemini.py`.

Tokens, so that anyone can count them: a prompt has ceil(bytes / 4), the bytes being the JSON values of `messages`,
`tools`, `functions`, `system` and `input` (Gemini's `contents`, `tools`, `systemInstruction`) as they were sent. An
answer has as many as it has pieces, each a run of white space and at most twelve other characters (`cut`); streamed,
every piece is one event (Gemini sends a tool call whole).
"""

import hashlib
import math
import re
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct, structs

from waterline.providers.simulated_script import Answer, Distribution, Lognormal, Target, Uniform, pattern

_PIECE = re.compile(r"\s*\S{1,12}|\s+")
_MASK = (1 << 64) - 1
_normal = NormalDist()
Finish = Literal["stop", "length", "tool_calls", "content_filter"]
encode = msgspec.json.Encoder().encode


class StreamOptions(Struct):
    include_usage: bool = False


class Ask(Struct):
    """What the server reads of a request, either dialect; the rest is ignored."""

    model: str = ""
    messages: Raw = Raw()
    system: Raw = Raw()
    input: Raw = Raw()
    tools: Raw = Raw()
    functions: Raw = Raw()
    tool_choice: Any = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    stop_sequences: list[str] | None = None
    response_format: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    dimensions: int | None = None
    encoding_format: str | None = None


class Message(Struct):
    role: str
    content: Any = None
    tool_calls: Any = None


class Call(Struct, frozen=True):
    name: str
    arguments: str  # JSON


class Said(Struct, frozen=True):
    """One choice of an answer."""

    pieces: tuple[str, ...]
    finish: Finish
    call: Call | None = None  # then the pieces are those of its arguments
    thinking: str = ""  # before it
    redacted: str = ""  # Anthropic's dialect: data of a thought that nobody may read
    stopped: str = ""  # the stop sequence that ended it

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class Bill(Struct, frozen=True):
    """Tokens as the provider counts them. `output` includes `reasoning`."""

    prompt: int
    output: int
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0  # of `cache_write`
    reasoning: int = 0


decode_ask = msgspec.json.Decoder(Ask).decode
decode_messages = msgspec.json.Decoder(list[Message]).decode


def uniform(*parts: int) -> float:
    """A number in (0, 1) that depends on nothing but `parts` (splitmix64)."""
    x = 0
    for part in parts:
        x = (x ^ (part & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _MASK
        x ^= x >> 31
    return ((x >> 12) + 0.5) / (1 << 52)


def draw(distribution: Distribution, u: float) -> float:
    """The value of `distribution` at quantile `u`."""
    match distribution:
        case Lognormal(median, p95):
            return median * math.exp(math.log(p95 / median) * _normal.inv_cdf(u) / _normal.inv_cdf(0.95))
        case Uniform(low, high):
            return low + (high - low) * u
        case _:
            return distribution


def prompt_tokens(ask: Ask) -> int:
    sent = (ask.messages, ask.system, ask.tools, ask.functions, ask.input)
    return -(-sum(len(bytes(raw)) for raw in sent) // 4)


@lru_cache(1024)
def cut(text: str) -> tuple[str, ...]:
    """The pieces (tokens) of an answer; joined they are the text."""
    return tuple(_PIECE.findall(text))


@lru_cache(1024)
def _stretched(text: str, length: int) -> tuple[str, ...]:
    """The text repeated or cut to `length` pieces."""
    pieces = cut(text)
    if not pieces or length <= len(pieces):
        return pieces[:length]
    again = (" " + pieces[0], *pieces[1:])
    times = -(-(length - len(pieces)) // len(pieces))
    return (pieces + again * times)[:length]


def last_user_text(messages: list[Message]) -> str:
    for message in reversed(messages):
        if message.role == "user" and not _has_results(message):
            return _text_of(message.content)
    return ""


def _told(ask: Ask, messages: list[Message], what: str) -> bool:
    """Whether it is in the system prompt, in any dialect."""
    said = [_text_of(m.content) for m in messages if m.role in ("system", "developer")]
    if bytes(ask.system):
        said.append(bytes(ask.system).decode("utf-8", "replace"))
    return pattern(what).search("\n".join(said)) is not None


def _has_results(message: Message) -> bool:
    """Whether it holds results of tools, in either dialect."""
    content = message.content
    if message.role == "tool":
        return True
    return isinstance(content, list) and any(isinstance(p, dict) and p.get("type") == "tool_result" for p in content)


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [p.get("text") for p in content if isinstance(p, dict) and isinstance(p.get("text"), str)]
        return "\n".join(parts)  # type: ignore[arg-type]
    return ""


def tools_of(ask: Ask) -> dict[str, Any]:
    """Name -> JSON schema of the tools that a request offers, in any dialect."""
    if not bytes(ask.tools):
        return {}
    try:
        tools = msgspec.json.decode(ask.tools, type=list[dict[str, Any]])
    except msgspec.DecodeError:
        return {}
    found: dict[str, Any] = {}
    tools = [one for tool in tools for one in tool.get("functionDeclarations", [tool])]
    for tool in tools:
        inner = tool.get("function")
        own = inner if isinstance(inner, dict) else tool
        if isinstance(own.get("name"), str):
            names = ("parameters", "input_schema", "parametersJsonSchema", "parameters_json_schema")
            found[own["name"]] = next((own[name] for name in names if own.get(name)), {})
    return found


def say(ask: Ask, target: Target, messages: list[Message], u: float, choice: int = 0) -> Said:
    """One choice. `u` in (0, 1) decides what is left to chance. After the result of a tool none is called again."""
    user = last_user_text(messages)
    tools = tools_of(ask) if not messages or not _has_results(messages[-1]) else {}
    chosen = target.answer
    forced = _forced_tool(ask.tool_choice, tools)
    for rule in target.rules:
        if rule.tool is not None and _offered(rule.tool.name, tools) is None:
            continue
        if pattern(rule.match).search(user) and (not rule.prompted or _told(ask, messages, rule.prompted)):
            chosen = rule
            break
    if chosen.tool is not None or forced is not None:
        name = forced or _offered(chosen.tool.name if chosen.tool else "", tools)
        if name is not None:
            given = chosen.tool.arguments if chosen.tool is not None else None
            arguments = encode(given if given is not None else fulfil(tools[name])).decode()
            return Said(cut(arguments), "tool_calls", Call(name, arguments))
    text = _plain_text(chosen, user, u, choice)
    if (schema := _schema_asked(ask)) is not None:
        return _limited(ask, cut(_as_json(text, schema)))
    if target.prefill == "continue" and messages and messages[-1].role == "assistant":
        text = text.removeprefix(_text_of(messages[-1].content))
    length = chosen.tokens if chosen.tokens is not None else target.tokens
    pieces = cut(text) if length is None else _stretched(text, max(1, round(draw(length, u))))
    return _limited(ask, pieces)


def _plain_text(answer: Answer, user: str, u: float, choice: int) -> str:
    if answer.choose:
        return answer.choose[(int(u * len(answer.choose)) + choice) % len(answer.choose)]
    if answer.echo:
        return user
    return answer.text or ""


def _offered(name: str, tools: dict[str, Any]) -> str | None:
    if name:
        return name if name in tools else None
    return next(iter(tools), None)


def _forced_tool(choice: Any, tools: dict[str, Any]) -> str | None:
    """The tool that `tool_choice` demands; None: the answer may be text."""
    if choice == "required":
        return _offered("", tools)
    if isinstance(choice, dict):
        if choice.get("type") == "any":
            return _offered("", tools)
        inner = choice.get("function") if choice.get("type") == "function" else choice
        if choice.get("type") in ("function", "tool") and isinstance(inner, dict):
            return _offered(str(inner.get("name") or ""), tools)
    return None


def _limited(ask: Ask, pieces: tuple[str, ...]) -> Said:
    """Apply stop sequences and the bound of the request."""
    stops = [ask.stop] if isinstance(ask.stop, str) else (ask.stop or ask.stop_sequences or [])
    if stops:
        text = "".join(pieces)
        at = min((i for s in stops if s and (i := text.find(s)) >= 0), default=-1)
        if at >= 0:
            ended = next(s for s in stops if s and text.startswith(s, at))
            return structs.replace(_bounded(ask, cut(text[:at])), stopped=ended)
    return _bounded(ask, pieces)


def _bounded(ask: Ask, pieces: tuple[str, ...]) -> Said:
    bound = ask.max_completion_tokens if ask.max_completion_tokens is not None else ask.max_tokens
    if bound is not None and len(pieces) > bound:
        return Said(pieces[: max(0, bound)], "length")
    return Said(pieces, "stop")


def _schema_asked(ask: Ask) -> Any | None:
    """The JSON schema that the answer has to satisfy; {} for any object; None: text."""
    asked = ask.response_format
    if asked is not None and asked.get("type") == "json_object":
        return {}
    if asked is not None and asked.get("type") == "json_schema":
        inner = asked.get("json_schema")
        return (inner.get("schema") or {}) if isinstance(inner, dict) else {}
    form = (ask.output_config or {}).get("format")
    return (form.get("schema") or {}) if isinstance(form, dict) else None


def _as_json(text: str, schema: Any) -> str:
    """A declared answer that is JSON stays as it is; else one is built."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return encode(fulfil(schema) if schema else {"answer": text}).decode()
    return text


def fulfil(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """The simplest value that satisfies a simple JSON schema (no patterns, no conditions)."""
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > 24:
        return None
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    if isinstance(ref := schema.get("$ref"), str):
        return fulfil(_resolve(ref, root), root, depth + 1)
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list) and schema[key]:
            return fulfil(schema[key][0], root, depth + 1)
    if isinstance(schema.get("allOf"), list):
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            value = fulfil(part, root, depth + 1)
            merged |= value if isinstance(value, dict) else {}
        return merged
    kind = schema.get("type", "object" if "properties" in schema else "string")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            properties = schema.get("properties")
            return (
                {k: fulfil(v, root, depth + 1) for k, v in properties.items()} if isinstance(properties, dict) else {}
            )
        case "array":
            count = max(int(schema.get("minItems", 0)), 0 if depth > 8 else 1)
            return [fulfil(schema.get("items", {}), root, depth + 1) for _ in range(min(count, 64))]
        case "integer":
            return math.floor(_least(schema, 1)) if schema.get("maximum", 1) >= 1 else math.floor(schema["maximum"])
        case "number":
            return float(_least(schema, 0.5)) if schema.get("maximum", 1) >= 0.5 else float(schema["maximum"])
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _string(schema)


def _least(schema: dict[str, Any], otherwise: float) -> float:
    if "exclusiveMinimum" in schema:
        return float(schema["exclusiveMinimum"]) + 1
    return math.ceil(max(float(schema.get("minimum", otherwise)), otherwise)) if "minimum" in schema else otherwise


def _string(schema: dict[str, Any]) -> str:
    formats = {"date": "2026-01-15", "date-time": "2026-01-15T09:00:00Z", "email": "someone@example.com"}
    text = formats.get(str(schema.get("format")), "simulated")
    text = text.ljust(int(schema.get("minLength", 0)), "x")
    return text[: int(schema.get("maxLength", len(text)))]


def _resolve(ref: str, root: Any) -> Any:
    found = root
    for step in ref.removeprefix("#").strip("/").split("/"):
        found = found.get(step) if isinstance(found, dict) and step else found
    return found


def thinks(ask: Ask) -> bool:
    """Whether a request of Anthropic's dialect asks for thinking."""
    return (ask.thinking or {}).get("type") in ("enabled", "adaptive")


def bill(prompt: int, target: Target, said: list[Said]) -> Bill:
    reasoning = target.reasoning_tokens + sum(len(cut(s.thinking)) for s in said)
    return Bill(
        prompt=prompt,
        output=sum(len(s.pieces) for s in said) + reasoning,
        cached=math.floor(prompt * target.cached_share),
        cache_write=math.floor(prompt * target.cache_write_share),
        cache_write_1h=math.floor(math.floor(prompt * target.cache_write_share) * target.hour_share),
        reasoning=reasoning,
    )


class Head(Struct, frozen=True):
    """What every event of one answer repeats."""

    id: str
    created: int
    model: str


class Events(Struct):
    """A streamed answer: what goes before the content, the content, what goes after it."""

    begin: bytes
    content: list[bytes]
    end: list[bytes]  # finish, usage
    done: bytes
    beyond: int = 0  # tokens of the content beyond one an event


def embedding(text: str, dimensions: int) -> list[float]:
    """A unit vector that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    values = [2 * uniform(seed, i) - 1 for i in range(dimensions)]
    norm = math.sqrt(sum(v * v for v in values)) or 1.0
    return [v / norm for v in values]
