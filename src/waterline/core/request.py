"""What a caller asked, decoded strictly and once. Unknown fields are kept exactly as they were written."""

import re
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from waterline.core.app_spec import Priority
from waterline.core.errors import InvalidRequest

Kind = Literal["chat", "embeddings", "transcription"]
Delivery = Literal["live", "whole", "restartable"]  # whole: held back until complete; restartable: see gateway/mend.py
CacheWish = Literal["", "bypass", "refresh"]  # bypass: neither read nor keep; refresh: ask anew and keep
MAX_CHOICES = 16
MAX_TOKENS = 10_000_000


class Recording(Struct, frozen=True):
    """Speech that is to be written down. Only its digest is kept."""

    data: bytes
    mime: str
    seconds: float  # at most
    boundary: str  # between the parts of the upstream body: nobody who speaks may guess it
    language: str = ""  # ISO 639-1, where it is known beforehand


class Request(Struct):
    """One call on the data plane. `fields` is the top level of its JSON body, every value as the caller wrote it."""

    kind: Kind
    path: str
    body: bytes
    fields: dict[str, Raw]
    model: str
    received_us: int
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    choices: int = 1
    variables: dict[str, str] = {}
    last_text: str = ""  # the last message's text, for search
    session: str = ""
    subject: str = ""  # keyed hash
    groups: tuple[str, ...] = ()
    tags: str = ""
    deadline_ms: int | None = None
    idempotency_key: str = ""
    cache: CacheWish = ""
    summary: str = ""  # of the older turns, by a model; the shortened messages have it
    shortened: bytes = b""  # the messages as the release's history policy makes them; empty: not made yet
    delivery: Delivery = "live"
    priority: Priority | None = None
    betas: tuple[str, ...] = ()  # of the header anthropic-beta
    trace_id: str = ""  # empty: the trace makes its own
    extended: bool = False  # `fields` hold what chat completions has no name for, under the key `anthropic`
    recording: Recording | None = None  # of kind "transcription"


class _Envelope(Struct):
    """The fields that we act on; everything else passes through."""

    model: str
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stream_options: "_StreamOptions | None" = None
    waterline: "Extra | None" = None


class _StreamOptions(Struct):
    include_usage: bool | None = None


class Extra(Struct, forbid_unknown_fields=True):
    """`waterline` in the body (`extra_body` in the SDK): never sent upstream."""

    variables: dict[str, str] = {}


class _Message(Struct):
    role: str
    content: Raw = Raw()


class _ChatEnvelope(_Envelope):
    messages: list[_Message] = msgspec.field(default_factory=list)


class _EmbeddingsEnvelope(_Envelope):
    input: Raw = Raw()


class _Part(Struct):
    text: str = ""


# A \\u escape of a surrogate without its other half; one behind an escaped backslash is text.
_HALF_PAIR = re.compile(
    rb"(?<!\\)(?:\\\\)*(\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2}))"
)
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_chat = msgspec.json.Decoder(_ChatEnvelope).decode
_decode_embeddings = msgspec.json.Decoder(_EmbeddingsEnvelope).decode
_decode_text = msgspec.json.Decoder(str | list[_Part] | None).decode


def decode_request(kind: Kind, path: str, body: bytes, received_us: int) -> Request:
    """Raises InvalidRequest naming the field and what is wrong with it."""
    try:
        if not body.isascii():
            body.decode()  # raw values are not checked by the decoder
        fields = _decode_fields(body)
        envelope: Any = _decode_chat(body) if kind == "chat" else _decode_embeddings(body)
    except (UnicodeDecodeError, RecursionError, msgspec.DecodeError) as error:
        raise invalid_body(error, body) from None
    last = ""
    if kind == "chat":
        if not envelope.messages:
            raise InvalidRequest("`messages` is missing or empty. Send at least one message.", param="messages")
        last = _text(envelope.messages[-1].content)
    elif bytes(envelope.input) in (b"", b"null"):
        raise InvalidRequest("`input` is missing. Send a text or a list of texts.", param="input")
    asked = envelope.max_completion_tokens if envelope.max_completion_tokens is not None else envelope.max_tokens
    if asked is not None and not 1 <= asked <= MAX_TOKENS:
        raise InvalidRequest(f"`max_tokens` must be between 1 and {MAX_TOKENS}.", param="max_tokens")
    choices = 1 if envelope.n is None else envelope.n
    if not 1 <= choices <= MAX_CHOICES:
        raise InvalidRequest(f"`n` must be between 1 and {MAX_CHOICES}.", param="n")
    options = envelope.stream_options
    return Request(  # by position, which is five times as quick
        kind, path, body, fields, envelope.model, received_us, kind == "chat" and bool(envelope.stream),
        bool(options and options.include_usage), asked, choices,
        envelope.waterline.variables if envelope.waterline else {}, last,
    )  # fmt: skip


def invalid_body(error: UnicodeDecodeError | RecursionError | msgspec.DecodeError, body: bytes) -> InvalidRequest:
    """What is wrong with a body that could not be decoded."""
    match error:
        case UnicodeDecodeError():
            return InvalidRequest(f"The body is not UTF-8 (byte {error.start}). Send JSON encoded as UTF-8.")
        case RecursionError():
            return InvalidRequest("The body is nested too deeply. Flatten it.")
        case msgspec.ValidationError():
            return InvalidRequest(f"The body does not fit: {error}.", param=_param(str(error)))
        case _:
            half = _HALF_PAIR.search(body)  # what the decoder calls "truncated" where the string ends with it
            if half is not None:
                return InvalidRequest(
                    f"The body is not valid JSON: {half[1].decode()} (byte {half.start(1)}) is one half of a surrogate "
                    "pair. Send both halves, or the character as UTF-8."
                )
            return InvalidRequest(f"The body is not valid JSON: {error}.")


def _text(content: Raw) -> str:
    if not bytes(content):
        return ""
    try:
        read = _decode_text(content)
    except msgspec.ValidationError:
        return ""  # content of a shape that only the provider knows
    if isinstance(read, str):
        return read
    return " ".join(part.text for part in read if part.text) if read else ""


def _param(message: str) -> str | None:
    """The field that msgspec names at the end of its message: "... - at `$.messages[0].role`"."""
    at = message.rfind("`$.")
    return message[at + 3 : -1] if at >= 0 and message.endswith("`") else None
