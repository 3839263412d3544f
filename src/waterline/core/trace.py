"""A Trace: one request as a short list of typed events in a closed union, plus a summary row.

Times are Unix microseconds; `offset_us` counts from the moment the request was received.
"""

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from waterline.core.money import Usage

Purpose = Literal["live", "trial", "eval", "judge", "shadow"]
PURPOSES: tuple[Purpose, ...] = ("live", "trial", "eval", "judge", "shadow")
TraceOutcome = Literal["open", "answered", "refused", "failed", "cancelled", "interrupted"]
# open: admitted, not ended. answered: complete. refused: by us (limit, budget, bad input). failed: no route could
# answer. cancelled: the caller left. interrupted: this process died; the cost is its worst case.


class Received(Struct, frozen=True, tag="received", omit_defaults=True):
    offset_us: int
    path: str
    body_bytes: int
    stream: bool = False
    deadline_ms: int | None = None


class Admitted(Struct, frozen=True, tag="admitted", omit_defaults=True):
    offset_us: int
    route: str
    clock: dict[str, str] = {}  # today, weekday, now, as the prompts saw them


class Attempted(Struct, frozen=True, tag="attempted", omit_defaults=True):
    """One call to a provider: every rendering input, a keyed digest of the bytes sent, and how it went."""

    offset_us: int
    route: str
    provider: str
    model: str
    number: int  # 1-based, over all routes
    renderer: int  # version of the renderer that made the bytes
    body_digest: str
    max_tokens: int | None = None  # as sent, after a budget clamped it
    reserved_nano_usd: int | None = None
    status: int | None = None
    first_byte_us: int | None = None  # after the attempt began
    ended_us: int | None = None  # after the attempt began
    error: str = ""
    retry_after_s: float | None = None
    prefill_characters: int | None = None  # of the broken answer before it, sent for the model to go on with


class Routed(Struct, frozen=True, tag="routed", omit_defaults=True):
    """Which route was chosen for a request, and why."""

    offset_us: int
    source: str  # the route that was asked for
    to: str
    rule: int | None = None  # 1-based; None: no rule fitted
    score: float | None = None  # the learned difficulty; below the threshold the small model is asked
    threshold: float | None = None


class Escalated(Struct, frozen=True, tag="escalated", omit_defaults=True):
    """The small model's answer was not good enough to be given."""

    offset_us: int
    source: str
    to: str
    reason: str


class Shortened(Struct, frozen=True, tag="shortened", omit_defaults=True):
    """Older turns were sent as a note; replay makes the same one."""

    offset_us: int
    bytes_before: int  # of the messages
    bytes_after: int
    summary: str = ""  # the trace in which a model told them in fewer words; "": sentences were only chosen


class FellBack(Struct, frozen=True, tag="fell_back", omit_defaults=True):
    offset_us: int
    source: str
    to: str
    reason: str


class CacheHit(Struct, frozen=True, tag="cache_hit", omit_defaults=True):
    """Answered from the cache: nothing was sent upstream."""

    offset_us: int
    key: str  # keyed digest of everything the answer depends on
    age_us: int
    source: str  # the trace whose answer it was
    similarity: float | None = None  # of the two questions; None: it was the same one


class Answered(Struct, frozen=True, tag="answered", omit_defaults=True):
    offset_us: int
    status: int
    body_bytes: int
    finish_reason: str = ""
    chunks: int = 0
    note: str = ""  # "finish reason without [DONE]", ...


class Settled(Struct, frozen=True, tag="settled", omit_defaults=True):
    """Money. `cost_nano_usd` None: no price is known. Every attempt that the provider bills is in it."""

    offset_us: int
    usage: Usage
    cost_nano_usd: int | None
    price_version: str
    clamped_from: int | None = None


class Ended(Struct, frozen=True, tag="ended", omit_defaults=True):
    offset_us: int
    outcome: TraceOutcome
    code: str = ""
    message: str = ""


class Resumed(Struct, frozen=True, tag="resumed", omit_defaults=True):
    """A stream broke after content, and another route finished the answer: the rest of it, or all of it anew."""

    offset_us: int
    mode: Literal["continued", "restarted"]
    route: str
    after_characters: int = 0


Event: TypeAlias = (
    Received
    | Admitted
    | Attempted
    | FellBack
    | Answered
    | Settled
    | Ended
    | CacheHit
    | Routed
    | Escalated
    | Shortened
    | Resumed
)


class TraceRow(Struct, frozen=True):
    """The summary of a trace; one row in the store. Field order is the column order."""

    id: str
    app: str
    env: str
    purpose: Purpose
    release: str
    route: str
    provider: str
    model: str
    key: str  # id of the API key, never the key
    session: str
    subject: str  # keyed hash
    tags: str  # comma-separated
    stream: bool
    started_us: int
    first_token_us: int | None  # after started_us
    duration_us: int
    outcome: TraceOutcome
    status: int
    code: str
    attempts: int
    usage: Usage
    cost_nano_usd: int | None
    reserved_nano_usd: int
    price_version: str
    boot: str  # the process that served it
    idempotency_key: str = ""
    branch: str = ""  # of the organisation, as the key says


class SpooledRow(TraceRow, frozen=True, array_like=True, gc=False):
    """A row on its way to the store: its values in the order of the fields, without their names."""


class AdmittedRecord(Struct, frozen=True, tag="a", array_like=True):
    """Spooled before the first upstream byte. Its body is the caller's request."""

    row: SpooledRow  # outcome "open"
    events: list[Event]


class OutcomeRecord(Struct, frozen=True, tag="o", array_like=True):
    """Spooled before the caller's last byte. Its body is the answer as the caller got it."""

    row: SpooledRow
    events: list[Event]
    text: str  # searchable, redacted


SpoolRecord: TypeAlias = AdmittedRecord | OutcomeRecord

_ADMITTED = b'["a",["'


def admitted_id(head: bytes) -> str | None:
    """The trace's id, if these are the bytes of an AdmittedRecord; without decoding the rest."""
    if not head.startswith(_ADMITTED):
        return None
    found = head[len(_ADMITTED) : head.find(b'"', len(_ADMITTED))]
    return None if b"\\" in found or not found.isascii() else found.decode("ascii")


encode_events = msgspec.json.Encoder().encode
decode_events = msgspec.json.Decoder(list[Event]).decode
encode_record = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(SpoolRecord).decode
