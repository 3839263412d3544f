"""A provider's invoice as CSV, and ours against theirs. Pure.

What is read (docs/reference/invoice.md): our own columns (day, model, usd), the Cost exports of OpenAI and Anthropic,
and what spreadsheets make of them: a BOM, UTF-16, semicolons or tabs, decimal commas, quotes. A line that cannot be
read is named with its number and what is wrong with it; it is never counted as zero in silence.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal

from msgspec import Struct

from waterline.core.money import NANO
from waterline.core.prices import SNAPSHOT

MAX_BYTES = 8 << 20
MAX_LINES = 200_000
MOST_BAD = 50  # listed; the rest are counted
LARGEST_USD = 10**9

Kind = Literal["openai", "anthropic", "plain"]
# Names under which a column goes, the first that is there wins. Lower case, spaces as underscores.
DAY = ("day", "date", "usage_date_utc", "start_time_iso", "start_time")
MODEL = ("model", "model_version", "line_item")
USD = ("usd", "cost_usd", "amount_value", "amount_usd", "amount", "cost")
CURRENCY = ("currency", "amount_currency")
_TOKENS = ("usage_input_tokens_no_cache", "usage_output_tokens", "input_tokens", "n_context_tokens_total")
_TOTALS = frozenset({"total", "subtotal", "sub-total", "grand total", "sum"})
_NOISE = re.compile(r"[\s\u00a0\u202f$]|USD|US", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d[\d.,']*|[.,]\d+)(e[+-]?\d+)?\Z", re.IGNORECASE)


class InvoiceError(ValueError):
    """The file as a whole cannot be read: what is wrong, and what to do."""


class Line(Struct, frozen=True):
    """`nano_usd` may be negative (a credit). `day`: YYYY-MM-DD in UTC, "" where the invoice says none."""

    line: int
    day: str
    model: str
    nano_usd: int


class BadLine(Struct, frozen=True):
    line: int
    problem: str


class Invoice(Struct, frozen=True):
    """`bad_count` may be more than what `bad` lists. `empty`: lines without an amount (a day on which nothing was
    used). `totals`: lines that add up others, left out."""

    kind: Kind
    lines: list[Line]
    bad: list[BadLine]
    bad_count: int
    empty: int
    totals: int
    first_day: str
    last_day: str


class Ours(Struct, frozen=True):
    """What the books say of one model."""

    provider: str
    model: str
    requests: int
    nano_usd: int
    unpriced: int = 0
    estimated: int = 0


class Match(Struct, frozen=True):
    """One model on both sides. None: that side knows nothing of it. `error` is ours less theirs; `share` is of
    theirs (0.02: we counted 2 % too much)."""

    model: str
    requests: int
    ours_nano_usd: int | None
    invoice_nano_usd: int | None
    error_nano_usd: int | None
    share: float | None
    unpriced: int
    estimated: int
    said: str


def read_invoice(data: bytes) -> Invoice:
    """Raises InvoiceError for a file that is none. Bad lines are in the answer."""
    if len(data) > MAX_BYTES:
        raise InvoiceError(
            f"the invoice has {len(data):,} bytes; at most {MAX_BYTES:,} are read. Export one month, by day and model"
        )
    text = _decoded(data)
    if not text.strip():
        raise InvoiceError("the invoice is empty. Export it again from the provider's Cost page")
    delimiter, text, skipped = _delimiter(text)
    rows = _rows(text, delimiter)
    header = rows.pop(0)[1]
    names = [re.sub(r"\s+", "_", name.strip().lower()) for name in header]
    columns = _columns(names)
    cells, bad = _cells(rows, columns, len(names), skipped)
    return _read(_kind(names), cells, bad, columns)


def reconcile(ours: Sequence[Ours], lines: Sequence[Line]) -> tuple[list[Match], Match]:
    """By model, dearest first, and the total. Names are compared without snapshots, case and punctuation."""
    theirs: Counter[str] = Counter()
    shown: dict[str, str] = {}
    for line in lines:
        key = canonical(line.model)
        theirs[key] += line.nano_usd
        shown.setdefault(key, line.model)
    books: dict[str, list[Ours]] = {}
    for one in ours:
        books.setdefault(canonical(one.model), []).append(one)
        shown[canonical(one.model)] = one.model
    found = [_match(shown[key], books.get(key), theirs.get(key)) for key in {**books, **theirs}]
    found.sort(key=lambda m: (-max(m.invoice_nano_usd or 0, m.ours_nano_usd or 0), m.model))
    total = _match("", list(ours) or None, sum(theirs.values()) if lines else None)
    return found, total


def canonical(model: str) -> str:
    """One name for what is billed as one: `gpt-4o-mini-2024-07-18` is `gpt-4o-mini`, `Claude Haiku 4.5` is
    `claude-haiku-4-5`, `claude-3-7-sonnet` is `Claude Sonnet 3.7`."""
    name = SNAPSHOT.sub("", model.strip().lower().rpartition("/")[2])
    name = re.sub(r"-latest\Z", "", name)
    if not name.startswith("claude"):
        return re.sub(r"\s+", "-", name)
    parts = [p for p in re.split(r"[^a-z0-9]+", name) if p and p != "claude"]
    words = sorted(p for p in parts if not p.isdigit())
    return "-".join(["claude", *words, *(p for p in parts if p.isdigit())])


# --- the file ----------------------------------------------------------------------------------------------------


def _decoded(data: bytes) -> str:
    if data[:2] == b"PK":
        raise InvoiceError("this is a spreadsheet (or another zip), not CSV. Save it as CSV")
    if data[:5] == b"%PDF-":
        raise InvoiceError("this is a PDF, not CSV. Export the costs as CSV from the provider's Cost page")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")  # what older spreadsheets write
    if "\0" in text:
        raise InvoiceError("this is no text file. Export the costs as CSV")
    return text


def _delimiter(text: str) -> tuple[str, str, int]:
    """The separator, the text from its header on, and how many lines were before it (Excel's `sep=;`)."""
    kept = text.lstrip("\r\n")
    skipped = text[: len(text) - len(kept)].count("\n")
    first, _, rest = kept.partition("\n")
    if said := re.fullmatch(r'"?sep=(.)"?', first.strip()):
        return said[1], rest, skipped + 1
    counts = {d: first.count(d) for d in ",;\t|"}
    best = max(counts, key=lambda d: counts[d])
    if counts[best] == 0:
        raise InvoiceError(
            f"its first line has no separator: {first.strip()[:80]!r}. Write a header: day,model,usd (also ; or tab)"
        )
    return best, kept, skipped


def _rows(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Each row with the line that it starts on; a quoted cell may span lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found: list[tuple[int, list[str]]] = []
    while len(found) <= MAX_LINES:
        start = reader.line_num + 1
        try:
            found.append((start, next(reader)))
        except StopIteration:
            return found
        except csv.Error as error:
            raise InvoiceError(f"line {start}: {error}") from None
    raise InvoiceError(f"the invoice has more than {MAX_LINES:,} lines. Export it by day and model")


class _Columns(Struct, frozen=True):
    day: int | None
    model: int | None
    usd: int
    currency: int | None
    usd_name: str


def _columns(names: list[str]) -> _Columns:
    def place(wanted: tuple[str, ...]) -> int | None:
        return next((names.index(name) for name in wanted if name in names), None)

    usd = place(USD)
    if usd is None:
        there = ", ".join(n for n in names if n)[:200]
        if any(t in names for t in _TOKENS):
            raise InvoiceError(f"this is a usage export: tokens, no money ({there}). Export the Cost page instead")
        raise InvoiceError(f"no column has an amount. Wanted: one of {', '.join(USD)}. There are: {there}")
    return _Columns(place(DAY), place(MODEL), usd, place(CURRENCY), names[usd])


def _kind(names: list[str]) -> Kind:
    if "amount_value" in names and "amount_currency" in names:
        return "openai"
    if "cost_usd" in names and "token_type" in names:
        return "anthropic"
    return "plain"


class _Cell(Struct, frozen=True):
    line: int
    day: str
    model: str
    usd: str
    currency: str


def _cells(
    rows: Iterable[tuple[int, list[str]]], at: _Columns, width: int, skipped: int
) -> tuple[list[_Cell], list[BadLine]]:
    cells, bad = [], []
    for number, row in rows:
        line = number + skipped
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != width:
            bad.append(BadLine(line, f"has {len(row)} columns, the header has {width}"))
            continue

        def cell(index: int | None, row: list[str] = row) -> str:
            return row[index].strip() if index is not None else ""

        cells.append(_Cell(line, cell(at.day), cell(at.model), cell(at.usd), cell(at.currency)))
    return cells, bad


def _read(kind: Kind, cells: list[_Cell], bad: list[BadLine], at: _Columns) -> Invoice:
    decimal = _decimal_mark([c.usd for c in cells])
    lines: list[Line] = []
    empty = totals = 0
    for c in cells:
        if c.model.lower().rstrip(":") in _TOTALS or c.day.lower().rstrip(":") in _TOTALS:
            totals += 1
        elif not c.usd:
            empty += 1
        else:
            try:
                lines.append(_line(c, decimal))
            except ValueError as error:
                bad.append(BadLine(c.line, str(error)))
    if not lines and not bad and not empty:
        raise InvoiceError("the invoice has a header and no lines. Export it again for the month that you compare")
    days = sorted(x.day for x in lines if x.day)
    bad.sort(key=lambda b: b.line)
    return Invoice(
        kind, lines, bad[:MOST_BAD], len(bad), empty, totals, days[0] if days else "", days[-1] if days else ""
    )


def _line(c: _Cell, decimal: str) -> Line:
    if c.currency and c.currency.strip().lower() not in ("usd", "us$", "$"):
        raise ValueError(f"is in {c.currency[:20]}; only USD can be compared. Convert it, or export in USD")
    # OpenAI's line items are "gpt-4o-mini-2024-07-18, input".
    return Line(c.line, _day(c.day), c.model.partition(",")[0].strip(), _nano(c.usd, decimal))


def _day(text: str) -> str:
    if not text:
        return ""
    if text.isascii() and text.isdigit() and len(text) == 10:
        return datetime.fromtimestamp(int(text), UTC).date().isoformat()
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise ValueError(f"{text[:30]!r} is no day. Write YYYY-MM-DD") from None


def _decimal_mark(amounts: Iterable[str]) -> str:
    """The one decimal mark of the file: "." or ",", or "" where no line tells (1,234 alone could be either)."""
    votes: Counter[str] = Counter()
    dots = False
    for amount in amounts:
        found = re.search(r"(.*)([.,])(\d*)", amount)
        if found is None:
            continue
        before, mark, digits = found[1], found[2], len(found[3])
        dots = dots or mark == "."
        other = "," if mark == "." else "."
        zero_first = not before.strip(" $+-(").lstrip("0")
        if other in before or (mark not in before and (digits != 3 or zero_first)):
            votes[mark] += 1
    if votes["."] or votes[","]:
        return "." if votes["."] >= votes[","] else ","
    return "." if dots else ""


def _nano(text: str, decimal: str) -> int:
    bare = _NOISE.sub("", text).replace("\u2212", "-")
    negative = bare.startswith("(") and bare.endswith(")")
    bare = bare.strip("()")
    if not _NUMBER.match(bare):
        raise ValueError(f"{text[:30]!r} is no amount of USD")
    mark = decimal or ("," if "," in bare else ".")
    if not decimal and "," in bare:
        raise ValueError(f"{text[:30]!r} could be a thousand or a fraction. Write it without the comma, as 1234.00")
    thousands = "," if mark == "." else "."
    whole, _, fraction = bare.partition(mark)
    if thousands in fraction or mark in fraction or not _grouped(whole, thousands):
        raise ValueError(f"{text[:30]!r} is no amount with the decimal mark {mark!r} that the other lines have")
    plain = whole.replace(thousands, "").replace("'", "") + (f".{fraction}" if fraction else "")
    try:
        amount = Decimal(plain)
    except InvalidOperation:
        raise ValueError(f"{text[:30]!r} is no amount of USD") from None
    if not amount.is_finite() or abs(amount) > LARGEST_USD:
        raise ValueError(f"{text[:30]!r} is beyond {LARGEST_USD:,} USD")
    nano = int((amount * NANO).to_integral_value())
    return -nano if negative else nano


def _grouped(whole: str, mark: str) -> bool:
    """1,234,567 or 1234567, not 12,34."""
    first, *groups = whole.lstrip("+-").split(mark)
    return not groups or (1 <= len(first) <= 3 and all(len(g) == 3 for g in groups))


# --- both sides --------------------------------------------------------------------------------------------------


def _match(model: str, ours: list[Ours] | None, theirs: int | None) -> Match:
    if ours is None:
        said = "only on the invoice" if model else "the invoice names no model here"
        return Match(model, 0, None, theirs, None if theirs is None else -theirs, _share(0, theirs), 0, 0, said)
    cost = sum(o.nano_usd for o in ours)
    unpriced, estimated = sum(o.unpriced for o in ours), sum(o.estimated for o in ours)
    requests = sum(o.requests for o in ours)
    notes = ["only in our books"] if theirs is None else []
    if unpriced:
        notes.append(f"{unpriced:,} requests unpriced: ours is too low")
    if estimated:
        notes.append(f"{estimated:,} requests with estimated tokens")
    return Match(
        model, requests, cost, theirs, cost - (theirs or 0), _share(cost, theirs), unpriced, estimated,
        "; ".join(notes),
    )  # fmt: skip


def _share(ours: int, theirs: int | None) -> float | None:
    return (ours - theirs) / abs(theirs) if theirs else None
