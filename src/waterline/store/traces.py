"""Traces: summary rows, their events and bodies, and the figures of the overview.

Percentiles come from a `GROUP BY` over log-spaced buckets, which every database can do: see `latency_bucket`.
"""

import math
import threading
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import msgspec
import zstandard
from msgspec import Struct
from msgspec.structs import astuple

from waterline.core.money import Usage
from waterline.core.trace import Event, Purpose, TraceRow, decode_events, encode_events
from waterline.store import costs, spending
from waterline.store.db import Row, Tx

BodyKind = Literal["request", "answer"]
HOUR_US = 3_600_000_000
UNFINISHED = ("open", "interrupted")
LARGEST = 10**15  # a million USD: nine thousand such rows can be summed in 64 bits
LARGEST_PAGE = 1000

RAW, ZSTD, BOTH = 0, 1, 2  # codecs. BOTH: zstd of the request's length as eight hex digits, request, answer
ZSTD_LEVEL = 1
TOO_SMALL = 128  # bytes; below it zstd gains nothing
LARGEST_BODY = 256 * 1024 * 1024  # bytes, as a guard when decompressing

# A bucket spans a factor of 1.1, and is shown as its geometric middle: at most sqrt(1.1) - 1 = 4.9 % off.
BUCKET_RATIO = 1.1
_USAGE = TraceRow.__struct_fields__.index("usage")  # then come the cost and what was reserved
_PER_OCTAVE = 1 / math.log(BUCKET_RATIO)


def latency_bucket(us: int) -> int:
    """Number of the bucket of a duration: 0 for up to 1 us, 145 for 1 s, 230 for an hour."""
    return int(math.log(us) * _PER_OCTAVE) if us > 1 else 0


def bucket_us(bucket: int) -> float:
    """The duration that stands for a bucket; at most 4.9 % from any duration in it."""
    return float(BUCKET_RATIO ** (bucket + 0.5))


def percentile_us(histogram: dict[int, int], share: float) -> float | None:
    """The duration that `share` (0..1) of the counted requests did not pass (nearest rank), to 4.9 %.

    `histogram`: bucket -> requests. None where there are none."""
    total = sum(histogram.values())
    if total == 0:
        return None
    rank = max(1, math.ceil(share * total))
    for bucket in sorted(histogram):
        rank -= histogram[bucket]
        if rank <= 0:
            return bucket_us(bucket)
    raise AssertionError("a rank is never above the total")


class Cursor(Struct, frozen=True):
    """Where a page ends: the next one starts before this."""

    started_us: int
    id: str

    def __str__(self) -> str:
        return f"{self.started_us}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises ValueError."""
        started, dash, trace_id = text.partition("-")
        if not dash or not trace_id or not (started.isascii() and started.isdigit()) or len(started) > 18:
            raise ValueError(f"{text!r} is no cursor of a page of traces")
        return cls(int(started), trace_id)


class TraceFilter(Struct, frozen=True):
    """What to show. None: everything. `text` is what a person typed into the search box."""

    app: str | None = None
    env: str | None = None
    release: str | None = None
    outcome: str | None = None
    route: str | None = None
    provider: str | None = None
    model: str | None = None
    purpose: str | None = None
    session: str | None = None
    subject: str | None = None
    key: str | None = None
    code: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    min_cost_nano_usd: int | None = None
    min_duration_us: int | None = None
    text: str | None = None


class Page(Struct, frozen=True):
    rows: list[TraceRow]  # newest first
    next: Cursor | None  # None: there are no more


class Figures(Struct, frozen=True):
    """What happened in one time bucket (`at_us`; 0 for the whole span) under one release ("" for all of them).

    Latencies are of answered requests, in microseconds, None where there were none."""

    at_us: int
    release: str
    requests: int
    outcomes: dict[str, int]
    cost_nano_usd: int
    unpriced: int  # requests without a known price; not in the cost
    tokens_in: int
    tokens_out: int
    p50_us: float | None
    p95_us: float | None
    p99_us: float | None
    ttft_p50_us: float | None
    ttft_p95_us: float | None
    ttft_p99_us: float | None

    @property
    def failed(self) -> int:
        return self.outcomes.get("failed", 0) + self.outcomes.get("interrupted", 0)


class Overview(Struct, frozen=True):
    """`points`: by time, then release; buckets without a request are left out. `releases` and `total`: the span."""

    since_us: int
    until_us: int
    step_us: int
    points: list[Figures]
    times: list[Figures]  # by time, all releases together
    releases: list[Figures]
    total: Figures


# --- writing -----------------------------------------------------------------------------------------------------


class TraceWrite(Struct, frozen=True):
    """One trace for the store. `events`: JSON of a list of events."""

    row: TraceRow
    events: bytes


class Stored(NamedTuple):
    """A trace that has just been added or replaced, and its number."""

    n: int
    row: TraceRow


def write_of(row: TraceRow, events: list[Event]) -> TraceWrite:
    return TraceWrite(row, encode_events(events))


def insert_batch(tx: Tx, writes: Iterable[TraceWrite]) -> dict[str, int]:
    """Idempotent: an outcome replaces an open row, an open row one of fewer attempts, nothing an outcome.

    Returns the numbers, by id, of the traces added or replaced: where their bodies and their text go."""
    rows = {write.row.id: write for write in writes}
    at = dict(tx.insert("traces.insert", [_values(write.row, write.events) for write in rows.values()]))
    ended = [rows[i].row for i in at if rows[i].row.outcome not in UNFINISHED]  # each comes to an outcome once
    spending.add(tx, ended, LARGEST)
    costs.add(tx, ended, LARGEST)
    return at


def insert_bodies(tx: Tx, bodies: Iterable[tuple[int, bytes, bytes]]) -> None:
    """(the trace's number, request, answer); empty: not known now. A body that is there already stays.

    A request and its answer that come together are stored in one piece, which takes a third less work than two."""
    rows = []
    for n, request, answer in bodies:
        if request and answer:
            rows.append((n * 2, BOTH, _compressor().compress(b"%08x%b%b" % (len(request), request, answer))))
        elif request:
            rows.append((n * 2, *_packed(request)))
        elif answer:
            rows.append((n * 2 + 1, *_packed(answer)))
    tx.insert("traces.insert_body", rows)


def _values(row: TraceRow, events: bytes) -> tuple[Any, ...]:
    fields = astuple(row)
    cost, reserved = row.cost_nano_usd, row.reserved_nano_usd
    started, ttft = row.started_us, row.first_token_us
    return (
        *fields[:_USAGE], *astuple(row.usage),
        None if cost is None else min(cost, LARGEST), min(reserved, LARGEST), *fields[_USAGE + 3 :],
        started // HOUR_US, latency_bucket(row.duration_us), None if ttft is None else latency_bucket(ttft), events,
    )  # fmt: skip


_ZSTD = threading.local()  # a compressor is not for two threads, and costs far more to make than to use


def _compressor() -> zstandard.ZstdCompressor:
    compressor: zstandard.ZstdCompressor | None = getattr(_ZSTD, "compressor", None)
    if compressor is None:
        compressor = _ZSTD.compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    return compressor


def _packed(data: bytes) -> tuple[int, bytes]:
    if len(data) < TOO_SMALL:
        return RAW, data
    packed = _compressor().compress(data)
    return (ZSTD, packed) if len(packed) < len(data) else (RAW, data)


# --- reading -----------------------------------------------------------------------------------------------------


def get(tx: Tx, trace_id: str) -> tuple[TraceRow, list[Event]] | None:
    found = tx.one("traces.get", id=trace_id)
    return None if found is None else (_row(found), decode_events(found["events"]))


def page(tx: Tx, where: TraceFilter, *, before: Cursor | None = None, limit: int = 50) -> Page:
    """Newest first. A cursor stays right while new traces arrive: it names a place, not an offset."""
    limit = max(1, min(limit, LARGEST_PAGE))
    params = _params(tx, where)
    if params is None:
        return Page([], None)
    if before is not None:
        params |= {"before_us": before.started_us, "before_id": before.id}
    rows = [_row(r) for r in tx.all("traces.page", **params, limit=limit + 1)]
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]
    return Page(rows[:limit], Cursor(last.started_us, last.id))


def count(tx: Tx, where: TraceFilter) -> int:
    params = _params(tx, where)
    found = None if params is None else tx.one("traces.count", **params)
    return int(found["n"]) if found else 0


def body(tx: Tx, trace_id: str, kind: BodyKind) -> bytes | None:
    """The caller's request, or the answer as the caller got it. None: not stored, or its time is over."""
    for found in tx.all("traces.bodies", trace_id=trace_id):
        codec, data = found["codec"], bytes(found["bytes"])
        if codec == BOTH:
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=2 * LARGEST_BODY)
            end = 8 + int(data[:8], 16)
            return data[8:end] if kind == "request" else data[end:]
        if found["is_answer"] == (kind == "answer"):
            if codec == ZSTD:
                return zstandard.ZstdDecompressor().decompress(data, max_output_size=LARGEST_BODY)
            return data
    return None


def answered_once(
    tx: Tx, app: str, env: str, key_id: str, idempotency_key: str, since_us: int
) -> tuple[str, str, bool, int, list[Event]] | None:
    """The first answer under an Idempotency-Key: trace, release, streamed or not, when it was asked (us), events."""
    found = tx.one(
        "traces.answered_once", app=app, env=env, key_id=key_id, idempotency_key=idempotency_key, since_us=since_us
    )
    if found is None:
        return None
    return found["id"], found["release"], bool(found["stream"]), found["started_us"], decode_events(found["events"])


def apps(tx: Tx) -> list[str]:
    """Every app that has a trace."""
    return [row["app"] for row in tx.all("traces.apps")]


def spent(tx: Tx, app: str, since_us: int, env: str | None = None, purpose: Purpose = "live") -> int:
    """Nano-USD of the app's traces since then; open and interrupted ones count with their reservation."""
    found = tx.one("traces.spent", app=app, since_us=since_us, env=env, purpose=purpose)
    return int(found["nano_usd"]) if found else 0


def spent_by(
    tx: Tx, app: str, scope: str, since_us: int, most: int, without: Callable[[], Iterable[str]],
    purpose: Purpose = "live",
) -> dict[str, int]:  # fmt: skip
    """Nano-USD by branch, key or subject ("app": in all) since then, the largest first, `most` of them; open and
    interrupted traces count with their reservation. `without`: ids of traces to leave out, asked once the rows that
    are counted are fixed."""
    params = {"app": app, "scope": scope, "since_us": since_us, "purpose": purpose}
    if scope == "subject":  # sums by person would be as many as traces
        rows = tx.all("traces.spent_by_subject", app=app, since_us=since_us, purpose=purpose, limit=most)
    else:
        rows = spending.by(tx, scope, since_us, app=app, purpose=purpose, limit=most)
    found = {r["who"]: int(r["nano_usd"]) for r in rows}
    for trace_id in without():
        row = tx.one("traces.spent_in", **params, id=trace_id)
        if row is not None and row["who"] in found:
            found[row["who"]] -= row["nano_usd"]
    return {who: nano for who, nano in found.items() if who and nano}


def interrupt_other_boots(tx: Tx, boot: str) -> "list[Stored]":
    """Marks them interrupted. Their cost becomes the worst case that was reserved; without a price it is unknown."""
    return [Stored(r["n"], _row(r)) for r in tx.all("traces.interrupt", boot=boot)]


def _params(tx: Tx, where: TraceFilter) -> dict[str, Any] | None:
    """None: the search has no word in it, so nothing matches."""
    params = msgspec.structs.asdict(where)
    if where.text is not None and where.text.strip():
        query = tx.dialect.text_query(where.text)
        if query is None:
            return None
        params["text"] = query
    else:
        params["text"] = None
    return params


def _row(r: Row) -> TraceRow:
    usage = Usage(
        r["input"], r["cached_input"], r["cache_write"], r["output"], r["reasoning"], r["audio_input"],
        r["audio_output"], bool(r["estimated"]), r["cache_write_1h"],
    )  # fmt: skip
    return TraceRow(
        r["id"], r["app"], r["env"], r["purpose"], r["release"], r["route"], r["provider"], r["model"], r["key_id"],
        r["session"], r["subject"], r["tags"], bool(r["stream"]), r["started_us"], r["first_token_us"],
        r["duration_us"], r["outcome"], r["status"], r["code"], r["attempts"], usage, r["cost_nano_usd"],
        r["reserved_nano_usd"], r["price_version"], r["boot"], r["idempotency_key"], r["branch"],
    )  # fmt: skip


# --- the overview ------------------------------------------------------------------------------------------------


class _Sum:
    """Adds up rows of the three queries; a merge of histograms is exact, so any grouping can be made from them."""

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.cost = self.unpriced = self.tokens_in = self.tokens_out = 0
        self.latency: dict[int, int] = {}
        self.ttft: dict[int, int] = {}

    def add(self, r: Row) -> None:
        self.outcomes[r["outcome"]] = self.outcomes.get(r["outcome"], 0) + r["requests"]
        self.cost += r["cost_nano_usd"]
        self.unpriced += r["unpriced"]
        self.tokens_in += r["tokens_in"]
        self.tokens_out += r["tokens_out"]

    def figures(self, at_us: int, release: str) -> Figures:
        return Figures(
            at_us, release, sum(self.outcomes.values()), self.outcomes, self.cost, self.unpriced, self.tokens_in,
            self.tokens_out, *(percentile_us(self.latency, s) for s in (0.5, 0.95, 0.99)),
            *(percentile_us(self.ttft, s) for s in (0.5, 0.95, 0.99)),
        )  # fmt: skip


def overview(
    tx: Tx, app: str | None, since_us: int, until_us: int, step_us: int, *, env: str | None = None,
    purpose: str = "live",
) -> Overview:  # fmt: skip
    """Figures by time and by release. Buckets start at multiples of `step_us` since the epoch."""
    params = {"app": app, "env": env, "since_us": since_us, "until_us": until_us, "step_us": step_us}
    sums: dict[tuple[int, str], _Sum] = {}

    def places(r: Row) -> list[_Sum]:
        at, release = r["at_us"], r["release"]
        keys = {(at, release), (at, ""), (0, release), (0, "")}
        return [sums.setdefault(key, _Sum()) for key in keys]

    for r in tx.all("traces.overview_counts", **params, purpose=purpose):
        for place in places(r):
            place.add(r)
    for r in tx.all("traces.overview_latency", **params, purpose=purpose):
        for place in places(r):
            place.latency[r["bucket"]] = place.latency.get(r["bucket"], 0) + r["requests"]
    for r in tx.all("traces.overview_ttft", **params, purpose=purpose):
        for place in places(r):
            place.ttft[r["bucket"]] = place.ttft.get(r["bucket"], 0) + r["requests"]

    figures = {key: sums[key].figures(*key) for key in sorted(sums)}
    return Overview(
        since_us, until_us, step_us,
        points=[f for (at, release), f in figures.items() if at and release],
        times=[f for (at, release), f in figures.items() if at and not release],
        releases=[f for (at, release), f in figures.items() if not at and release],
        total=figures.get((0, "")) or _Sum().figures(0, ""),
    )  # fmt: skip
