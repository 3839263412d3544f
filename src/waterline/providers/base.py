"""What the gateway asks of a provider: how to say a request, and how to read an answer.

A provider is pure translation: no sockets (the gateway owns those), no clock, no state between requests. The common
form is OpenAI's chat completion, because that is what callers of `/v1/chat/completions` send and expect.
A new provider is one file with a class of this shape and one line in `providers/__init__.py`.
"""

from collections.abc import Mapping, Sequence
from email.utils import mktime_tz, parsedate_tz
from typing import Literal, Protocol

from msgspec import Raw, Struct

from waterline.core.money import Usage
from waterline.core.release import ProviderKind, Route

Fields = dict[str, Raw]  # the top level of a chat completion request; every value as the caller wrote it
Headers = Sequence[tuple[bytes, bytes]]  # lower-case names

FaultKind = Literal[
    "rate_limited",  # 429, 529: may be retried after `retry_after_s`
    "unavailable",  # 5xx, an error event in a stream
    "refused_key",  # 401, 403: our secret is wrong; never the caller's fault
    "invalid",  # 400, 404, 413, 422: the request itself; never retried, passed on to the caller
    "context_length",  # the prompt does not fit; never retried unchanged
    "silent",  # a deadline passed, ours or (504) one before it; not asked again on the same route
    "busy",  # all of our own connections to it are in use
    "garbage",  # not what the protocol says
    "truncated",  # the answer ended before the provider said so
]


class ProviderFault(Exception):
    """The provider answered, but not with an answer. The message holds no secret."""

    def __init__(
        self,
        kind: FaultKind,
        message: str,
        *,
        status: int = 0,
        retry_after_s: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: FaultKind = kind
        self.message = message
        self.status = status
        self.retry_after_s = retry_after_s
        self.usage = usage  # what the provider bills for a failed call, where it says so


class Answer(Struct, frozen=True):
    """A complete plain answer, in the caller's form."""

    body: bytes  # chat completion (or embeddings) JSON
    usage: Usage | None  # None: the provider reported none (that is not zero)
    finish_reason: str = ""
    text: str = ""  # what was said, for search and for estimates


class StreamReader(Protocol):
    """Reads one streamed answer. Feed it bytes as they come, at any split; it returns whole events to forward."""

    began: bool  # the first content (text, tool call, refusal, reasoning) has been read
    finished: bool  # every choice has a finish reason
    done: bool  # the provider said that the stream is complete ([DONE], message_stop)
    finish_reason: str
    usage: Usage | None
    chunks: int  # events with content
    text: list[str]  # the pieces of text so far

    def feed(self, data: bytes) -> bytes:
        """Whole `data: {...}\\n\\n` events for the caller, without `[DONE]`; may be empty.

        Raises ProviderFault("unavailable" | "rate_limited") for an error event, ("garbage") for what cannot be read.
        Events read before the fault in the same call are not lost: they are in `pending`."""
        ...

    def end(self) -> bytes:
        """The body has ended. Events that could only be told now; usually none."""
        ...

    @property
    def pending(self) -> bytes:
        """Complete events read before a fault was raised, not yet returned."""
        ...


class Provider(Protocol):
    kind: ProviderKind
    default_base_url: str  # empty: there is none, the address comes from elsewhere
    default_key_env: str
    chat_path: str  # appended to the path of the base URL; in each path, {model} is the route's model
    stream_path: str  # for a streamed answer
    embeddings_path: str  # empty: not offered
    transcriptions_path: str  # OpenAI's; empty: not offered
    count_path: str  # says {"input_tokens": n} or {"totalTokens": n} of a prompt; empty: not offered

    def headers(self, secret: str) -> list[tuple[bytes, bytes]]:
        """Headers of every request, the secret among them; prebuilt once per address."""
        ...

    def request(self, fields: Fields, route: Route) -> bytes:
        """The upstream body. Deterministic: the same fields give the same bytes (replay depends on it).

        Raises ProviderFault("invalid") for what this provider cannot express."""
        ...

    def countable(self, body: bytes, model: str) -> bytes:
        """What `request` made for the model, as `count_path` wants it."""
        ...

    def answer(self, body: bytes) -> Answer:
        """Read a 200. Raises ProviderFault("garbage") if it is no answer."""
        ...

    def embeddings(self, body: bytes, asked: Fields, route: Route) -> Answer:
        """Read a 200. `asked`: the caller's fields."""
        ...

    def stream(self, *, forward_usage: bool, choices: int = 1) -> StreamReader:
        """`forward_usage`: whether the caller asked for the usage event (else it is read and stripped).

        `choices`: how many answers were asked for; the stream is finished when all of them are."""
        ...

    def fault(self, status: int, headers: Headers, body: bytes) -> ProviderFault:
        """Read an answer whose status is not 200."""
        ...


def line_feeds(data: bytes) -> tuple[bytes, bytes]:
    """Every line end of an event stream (CRLF, LF or CR) as LF; and a CR at the end, held back: it may be half of one.

    Only new bytes may be given, with what was held back before them, so that no split changes what is read."""
    held = b"\r" if data.endswith(b"\r") else b""
    return data.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n"), held


def data_url(url: str) -> tuple[str, str] | None:
    """Media type and base64 of a data: URL; None for any other."""
    head, found, data = url.partition(",")
    if not found or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    return head.removeprefix("data:").removesuffix(";base64").split(";")[0].lower(), data


def retry_after_s(headers: Headers) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after` (RFC 9110 10.2.3), else None. At most an hour. A date is taken
    against the answer's own `date`: whether our clock is right does not matter."""
    found: Mapping[bytes, bytes] = dict(headers)
    for name, scale in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        raw = found.get(name)
        if raw is not None:
            try:
                value = float(raw) * scale
            except ValueError:
                until, now = _unix_s(raw), _unix_s(found.get(b"date", b""))
                if until is None or now is None:
                    continue
                value = max(0.0, until - now)
            if 0 <= value <= 3600:
                return value
            return 3600.0 if value > 3600 else None
    return None


def _unix_s(date: bytes) -> float | None:
    """Of an HTTP date, any of its three forms (RFC 9110 5.6.7); None: it is none."""
    found = parsedate_tz(date.decode("latin-1"))
    if found is None:
        return None
    try:
        return float(mktime_tz(found))
    except (ValueError, OverflowError):
        return None


def fault_kind(status: int) -> FaultKind:
    """The meaning of a status where the body does not say more."""
    if status in (429, 529):
        return "rate_limited"
    if status in (401, 403):
        return "refused_key"
    if status in (400, 404, 405, 409, 413, 415, 422):
        return "invalid"
    if status in (504, 524):  # what stands before it has waited in vain, perhaps for long (524: Cloudflare's)
        return "silent"
    if status >= 500 or status == 408:
        return "unavailable"
    return "garbage"
