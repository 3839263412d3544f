"""What the simulated provider is told to do: the declaration, and how it is read from TOML or JSON.

A target that does not declare a key takes it from `[default]`; a path prefix without a section behaves as `[default]`.
The reference page is docs/reference/simulated-provider.md.
"""

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from waterline.core.errors import WaterlineError


class ScriptError(WaterlineError):
    """A script that cannot be played. The message names the key and what may be written there."""


@lru_cache(256)
def pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


def _check_pattern(text: str, key: str) -> None:
    try:
        pattern(text)
    except re.error as error:
        raise ValueError(f"{key} is not a regular expression: {error}") from error


class Lognormal(Struct, frozen=True, tag_field="kind", tag="lognormal", forbid_unknown_fields=True):
    """Skewed, as real latencies are. Both figures in the unit of the key that holds them."""

    median: float
    p95: float

    def __post_init__(self) -> None:
        if not 0 < self.median <= self.p95:
            raise ValueError("a lognormal needs 0 < median <= p95")


class Uniform(Struct, frozen=True, tag_field="kind", tag="uniform", forbid_unknown_fields=True):
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError("a uniform needs 0 <= low <= high")


Distribution = float | Lognormal | Uniform  # a number is a constant


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What the provider answers 429 beyond. Token buckets: a minute's worth at once, refilled steadily. 0: no limit."""

    rpm: float = 0
    tpm: float = 0  # prompt and answer, known when the request is admitted
    concurrency: int = 0
    burst: float = 0  # requests that may come at once; 0: a minute's worth
    retry_after: bool = True  # whether the 429 says when to come back
    retry_after_s: float | None = None  # None: when the bucket has room again


class Capacity(Struct, frozen=True, forbid_unknown_fields=True):
    """How many answers are produced at once; more wait in turn, so latency grows with the load. 0: no bound."""

    slots: int = 0
    queue: int = 0  # most that wait; beyond, 503 (Anthropic's dialect: 529). 0: no bound


class Tool(Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call as the answer, where the request offers that tool. Empty name: the first one offered."""

    name: str = ""
    arguments: dict[str, Any] | None = None  # None: built to satisfy the tool's schema


class Answer(Struct, frozen=True, forbid_unknown_fields=True):
    """What is said: exactly one of `text`, `choose`, `echo`, `tool`. `match` and `prompted` only count in a rule."""

    match: str = ""  # a regular expression searched in the last user message; empty: every message
    prompted: str = ""  # one searched in the system prompt too: what is said depends on what the model was told
    text: str | None = None
    choose: tuple[str, ...] = ()  # one of these, by seed
    echo: bool = False  # the last user message
    tool: Tool | None = None
    tokens: Distribution | None = None  # length of the answer; None: the target's

    def __post_init__(self) -> None:
        given = (self.text is not None) + bool(self.choose) + self.echo + (self.tool is not None)
        if given != 1:
            raise ValueError("an answer needs exactly one of text, choose, echo, tool")
        _check_pattern(self.match, "match")
        _check_pattern(self.prompted, "prompted")


FaultKind = Literal[
    "refuse_connection",  # the connection is closed before the body is read
    "reset_before_headers",  # the body is read, then the connection is reset
    "silence",  # nothing is ever said; the connection stays
    "http",  # an error answer: status, body, retry_after_s
    "unauthorized",  # 401
    "context_length",  # 400, as the provider says it when a prompt does not fit
    "html",  # the error page of a proxy: HTML, status (502)
    "garbage",  # 200, and a body that is not the protocol
    "wrong_content_length",  # more is promised than sent
    "slow_first_token",  # headers at once, the first event `ms` later
    "stall",  # after `after` content events nothing more comes; the connection stays
    "cut",  # after `after` content events the connection is reset
    "malformed_event",  # one event that is no JSON after `after` content events
    "error_event",  # an error event after `after` content events, and the end
    "missing_usage",
    "missing_done",  # the stream ends without [DONE] or message_stop
    "content_filter",  # the answer ends after `after` content events with that reason
]


class When(Struct, frozen=True, forbid_unknown_fields=True):
    """All that is given must hold. Counts are of requests to this target that fulfil the other conditions."""

    probability: float | None = None  # by seed: the same request numbers every time
    first: int | None = None  # the first N
    every: int | None = None  # the Nth, 2Nth ...
    from_s: float = 0.0  # seconds since the script was set
    until_s: float | None = None
    on_s: float | None = None  # flapping: on for on_s, then off for off_s, from `from_s`
    off_s: float = 0.0
    streamed: bool | None = None  # only streamed ones (true), only plain ones (false)
    path: str = ""  # how the path begins, the target's prefix included

    def __post_init__(self) -> None:
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError("probability is between 0 and 1")
        if self.every is not None and self.every < 1:
            raise ValueError("every is at least 1")
        if self.on_s is not None and (self.on_s < 0 or self.off_s <= 0):
            raise ValueError("flapping needs on_s >= 0 and off_s > 0")


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """One way to fail. The first fault of the list whose `when` holds is played."""

    kind: FaultKind
    when: When = When()
    after: int = 1  # content events before it happens; a plain answer is cut in the middle
    status: int = 0  # http: 500 if not given; html: 502; garbage: 200
    body: str | None = None  # None: what the provider would say with this status
    retry_after_s: float | None = None
    ms: float = 5000.0  # slow_first_token

    def __post_init__(self) -> None:
        if self.status and not 100 <= self.status <= 599:
            raise ValueError("status is between 100 and 599")


class Target(Struct, frozen=True, forbid_unknown_fields=True):
    """One provider that the server plays."""

    models: tuple[str, ...] = ("simulated-small",)  # what /v1/models lists; other names are answered too
    only_models: bool = False  # answer 404 for a model that is not listed
    api_key: str = ""  # if given, any other key is refused with 401
    first_token_ms: Distribution = 0.0
    per_token_ms: float = 0.0
    burst: int = 0  # content events in one write; 0: one where per_token_ms is given, else all
    tokens: Distribution | None = None  # length of an answer; None: as long as its text
    prefill: Literal["ignore", "continue", "refuse"] = "ignore"  # what a last message of the assistant does
    context_tokens: int = 0  # a longer prompt is refused; 0: no bound
    cached_share: float = 0.0  # share of the prompt reported as read from the cache
    cache_write_share: float = 0.0  # share reported as written to it (Anthropic's dialect)
    hour_share: float = 0.0  # share of what is written that is reported as kept for an hour
    reasoning_tokens: int = 0  # billed beyond the visible answer
    thinking: str = ""  # thought before an answer; Anthropic's dialect: if the request asks for thinking
    redacted_thinking: str = ""  # Anthropic's dialect: data of a second thought, that nobody may read
    dimensions: int = 64  # of embeddings
    limits: Limits = Limits()
    capacity: Capacity = Capacity()
    answer: Answer = Answer(text="This is a simulated answer. No model was asked.")
    rules: tuple[Answer, ...] = ()  # the first whose `match` and `prompted` are found wins; else `answer`
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if not (
            self.cached_share >= 0 and self.cache_write_share >= 0 and self.cached_share + self.cache_write_share <= 1
        ):
            raise ValueError("cached_share and cache_write_share are shares of one prompt: together at most 1")
        if not 0 <= self.hour_share <= 1:
            raise ValueError("hour_share is a share: 0 to 1")
        if self.per_token_ms < 0 or self.burst < 0:
            raise ValueError("per_token_ms and burst are not negative")


class Script(Struct, frozen=True, forbid_unknown_fields=True):
    seed: int = 1
    default: Target = Target()
    targets: dict[str, Target] = {}  # by path prefix: "main" answers /main/v1/chat/completions


def load_script(path: Path) -> Script:
    """Read a script from a file: JSON if its name ends so, else TOML. Raises ScriptError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScriptError(f"{path}: cannot be read ({error.strerror}). Name a TOML or JSON file.") from error
    return parse_script(data, str(path))


def parse_script(data: bytes, name: str = "script") -> Script:
    """Read TOML, or JSON where the first character is `{`. Raises ScriptError."""
    try:
        text = data.decode()
        raw: Any = msgspec.json.decode(data) if text.lstrip().startswith("{") else tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ScriptError(f"{name}: is not UTF-8. Save it as UTF-8.") from error
    except (msgspec.DecodeError, tomllib.TOMLDecodeError) as error:
        raise ScriptError(f"{name}: is neither TOML nor JSON: {error}.") from error
    except RecursionError as error:
        raise ScriptError(f"{name}: is nested too deeply.") from error
    default, targets = raw.get("default"), raw.get("targets")
    if isinstance(default, dict) and isinstance(targets, dict):
        raw["targets"] = {key: {**default, **own} if isinstance(own, dict) else own for key, own in targets.items()}
    try:
        return msgspec.convert(raw, Script)
    except msgspec.ValidationError as error:
        raise ScriptError(f"{name}: {_explain(str(error))}") from error


def encode_script(script: Script) -> bytes:
    """JSON that `parse_script` reads back to the same script."""
    return msgspec.json.encode(script)


def _explain(message: str) -> str:
    """The validation error, with the path as it is written in a file, and the keys that may stand there."""
    problem, _, where = message.partition(" - at `$")
    where = where.rstrip("`").lstrip(".")
    known = ""
    if "unknown field" in problem or "missing required field" in problem:
        known = f" Keys there: {', '.join(_keys_at(where))}."
    elif "enum value" in problem and where.endswith(".kind"):
        known = f" Kinds of fault: {', '.join(get_args(FaultKind))}."
    elif "Invalid value" in problem and where.endswith(".kind"):
        known = " A distribution is a number, or has kind lognormal (median, p95) or uniform (low, high)."
    return f"{problem}{f' at `{where}`' if where else ''}.{known}"


def _keys_at(where: str) -> list[str]:
    found: msgspec.inspect.Type = msgspec.inspect.type_info(Script)
    for step in re.findall(r"[^.\[\]]+|\[[^\]]*\]", where):
        found = _step(found, step)
    found = _struct_in(found)
    return [field.encode_name for field in found.fields] if isinstance(found, msgspec.inspect.StructType) else []


def _struct_in(found: msgspec.inspect.Type) -> msgspec.inspect.Type:
    if isinstance(found, msgspec.inspect.UnionType):
        return next((t for t in found.types if isinstance(t, msgspec.inspect.StructType)), found)
    return found


def _step(found: msgspec.inspect.Type, step: str) -> msgspec.inspect.Type:
    found = _struct_in(found)
    if step.startswith("["):
        if isinstance(found, msgspec.inspect.DictType):
            return found.value_type
        return found.item_type if isinstance(found, msgspec.inspect.VarTupleType) else found
    if isinstance(found, msgspec.inspect.StructType):
        return next((field.type for field in found.fields if field.encode_name == step), found)
    return found
