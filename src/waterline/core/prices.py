"""What a token costs: a dated table of published list prices, and the app's own agreements over it.

The table is `prices.toml` beside this file; its text is passed in (this package does no I/O). All arithmetic is
exact: USD decimals become nano-USD per million tokens. A model that is not in the table is unpriced (None), which
is never the same as free. Local models cost nothing; a simulated one costs what the app's prices.toml declares.
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct, structs

from waterline.core.app_spec import PriceOverride
from waterline.core.ids import sha256_hex
from waterline.core.money import NANO, Price

DAY_US = 86_400_000_000
STANDARD_TIERS = ("", "auto", "default", "standard", "standard_only")
# A snapshot of a model: its id, then the date. "-2024-07-18" (OpenAI), "-20250514" (Anthropic).
SNAPSHOT = re.compile(r"-20\d\d(?:-\d\d-\d\d|\d\d\d\d)\Z")
# Google and Anthropic also answer OpenAI's wire format, so a route of kind "openai" may name their models. The table
# lists a seller (google), a route names an API (gemini); an app's prices.toml may say either.
SOLD_BY: Mapping[str, tuple[str, ...]] = {"openai": ("openai", "google", "anthropic"), "gemini": ("gemini", "google")}
FREE: Mapping[str, Price] = {
    "local": Price(0, 0, 0, 0, 0, 0, 0, version="local"),
    "simulated": Price(0, 0, 0, 0, 0, 0, 0, version="simulated"),
}
CACHED_ANSWERS = 4096

BUCKETS = (
    "input",
    "cached_input",
    "cache_write",
    "output",
    "reasoning",
    "audio_input",
    "audio_output",
    "cache_write_1h",
)
AUDIO_MINUTE = "audio_minute"  # USD of a minute of a recording; then nothing else is billed
CACHED_1H = "+cached_1h"  # after a model's name: asked to keep its prompt for an hour
ENTRY_KEYS = frozenset(
    {
        "provider",
        "model",
        "aliases",
        "valid_from",
        "source",
        "long_above",
        "long_input_x",
        "long_output_x",
        AUDIO_MINUTE,
        *BUCKETS,
    }
)


class PriceEntry(Struct, frozen=True):
    """One row of the table. Times are Unix microseconds; `first_day` counts days since 1970-01-01 UTC."""

    provider: str
    model: str
    aliases: tuple[str, ...]
    first_us: int
    price: Price
    long_above: int | None  # a prompt of more tokens than this is billed, whole, at `long_price`
    long_price: Price | None
    source: str

    @property
    def first_day(self) -> int:
        return self.first_us // DAY_US


class PriceTable:
    """Prices by provider, model and day. Make one with `parse`; `find` is cheap (one dictionary look-up once warm)."""

    def __init__(self, version: str, entries: tuple[PriceEntry, ...]) -> None:
        self.version = version
        self.entries = entries
        by_name: dict[tuple[str, str], list[PriceEntry]] = {}
        for entry in entries:
            for name in (entry.model, *entry.aliases):
                by_name.setdefault((entry.provider, name), []).append(entry)
        # Of two entries of one day the later in the list wins: the app's own come last.
        self._by_name = {key: sorted(found, key=lambda e: e.first_us) for key, found in by_name.items()}
        self._changes = sorted({entry.first_us for entry in entries})
        self._answers: dict[tuple[str, str, int], PriceEntry | None] = {}

    @classmethod
    def parse(cls, text: str, overrides: tuple[PriceOverride, ...] = ()) -> "PriceTable":
        """Read the table's TOML; `overrides` win over it from their own `valid_from` on (empty: always).

        Raises ValueError (tomllib.TOMLDecodeError is one) for a table that is not one."""
        data = tomllib.loads(text, parse_float=Decimal)
        version = data.get("version")
        if not isinstance(version, str) or not version:
            raise ValueError("a price table names its version")
        entries = [_entry(row, version) for row in data.get("price", [])]
        if not overrides:
            return cls(version, tuple(entries))
        mark = sha256_hex(repr(overrides).encode())[:8]
        own = [_own_entry(o, f"app-{mark}") for o in overrides]
        table = cls(f"{version}+app-{mark}", tuple(entries))
        table._put_over(own)
        return table

    def find(self, provider: str, model: str, at_us: int, prompt_tokens: int = 0) -> Price | None:
        """The price of a model (or `tiered` name) then; None: unpriced. `prompt_tokens`: long ones may cost more. With
        CACHED_1H it is a bound: every write costs what the dearest does."""
        key = (provider, model, bisect_right(self._changes, at_us))
        if key in self._answers:
            entry = self._answers[key]
        else:
            entry = self._search(provider, model, at_us)
            if len(self._answers) >= CACHED_ANSWERS:
                self._answers.clear()
            self._answers[key] = entry
        if entry is None:
            return FREE.get(provider)
        if entry.long_above is not None and prompt_tokens > entry.long_above:
            return entry.long_price
        return entry.price

    def _search(self, provider: str, model: str, at_us: int) -> PriceEntry | None:
        if model.endswith(CACHED_1H):
            found = self._search(provider, model.removesuffix(CACHED_1H), at_us)
            return _dearest_write(found) if found is not None else None
        for name in _names(model):
            for seller in SOLD_BY.get(provider, (provider,)):
                valid = [e for e in self._by_name.get((seller, name), ()) if e.first_us <= at_us]
                if valid:
                    return valid[-1]
        return None

    def _put_over(self, own: list[PriceEntry]) -> None:
        """An app's entry hides every built-in one of the same model from its first day on."""
        for entry in own:
            key = (entry.provider, entry.model)
            older = [e for e in self._by_name.get(key, []) if e.first_us < entry.first_us or e in own]
            self._by_name[key] = sorted([*older, entry], key=lambda e: e.first_us)
        self.entries = (*self.entries, *own)
        self._changes = sorted({entry.first_us for entry in self.entries})


def _dearest_write(entry: PriceEntry) -> PriceEntry:
    def bound(price: Price) -> Price:
        return structs.replace(price, cache_write=max(price.cache_write, price.hour_write))

    long_price = bound(entry.long_price) if entry.long_price is not None else None
    return structs.replace(entry, price=bound(entry.price), long_price=long_price)


def _names(model: str) -> tuple[str, ...]:
    """The ids under which a model may be listed, the most exact first."""
    plain, mark, tier = model.partition("#")
    base = SNAPSHOT.sub("", plain)
    return (model,) if base == plain else (model, base + mark + tier)


def tiered(model: str, tier: object) -> str:
    """The name under which a service tier of a model is priced: "gpt-6#flex". The standard tier is the model's own."""
    return model if tier is None or tier in STANDARD_TIERS else f"{model}#{tier}"


def first_us(text: str) -> int:
    """Unix microseconds of "YYYY-MM-DD" (00:00 UTC) or of a time, "YYYY-MM-DDTHH:MM" in UTC or with its offset; "" is
    the beginning of time. Raises ValueError."""
    if not text:
        return 0
    if len(text) <= 10:
        return (date.fromisoformat(text) - date(1970, 1, 1)).days * DAY_US
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()) * 1_000_000


def nano_per_million(value: object) -> int:
    """Nano-USD per million tokens of a price in USD per million tokens. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(f"{value!r} is not an amount of USD")
    amount = Decimal(value) * NANO
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{value} USD is not a price")
    if amount != amount.to_integral_value():
        raise ValueError(f"{value} USD is finer than a nano-USD")
    return int(amount)


def by_minute(nano_usd: int, version: str) -> Price:
    """Of a model that is billed by the minute of a recording: nano-USD per million seconds, rounded up."""
    return Price(0, 0, 0, 0, 0, -(-nano_usd * 1_000_000 // 60), 0, version, by_second=True)


def price_of(amounts: Mapping[str, int], version: str, whole_if_aborted: bool = False) -> Price:
    """Fill in the buckets that a provider does not name: an unnamed discount is no discount."""
    text_in, text_out = amounts["input"], amounts["output"]
    return Price(
        input=text_in,
        output=text_out,
        cached_input=amounts.get("cached_input", text_in),
        cache_write=amounts.get("cache_write", text_in),
        reasoning=amounts.get("reasoning", text_out),
        audio_input=amounts.get("audio_input", text_in),
        audio_output=amounts.get("audio_output", text_out),
        version=version,
        whole_if_aborted=whole_if_aborted,
        cache_write_1h=amounts.get("cache_write_1h"),
    )


def _times(price: Price, on_input: Decimal, on_output: Decimal) -> Price:
    def scaled(amount: int, factor: Decimal) -> int:
        exact = amount * factor
        if exact != exact.to_integral_value():
            raise ValueError(f"{amount} nano-USD times {factor} is finer than a nano-USD")
        return int(exact)

    return Price(
        input=scaled(price.input, on_input),
        cached_input=scaled(price.cached_input, on_input),
        cache_write=scaled(price.cache_write, on_input),
        audio_input=scaled(price.audio_input, on_input),
        output=scaled(price.output, on_output),
        reasoning=scaled(price.reasoning, on_output),
        audio_output=scaled(price.audio_output, on_output),
        version=price.version + ":long",
        whole_if_aborted=price.whole_if_aborted,
        cache_write_1h=None if price.cache_write_1h is None else scaled(price.cache_write_1h, on_input),
    )


def _entry(row: dict[str, Any], table_version: str) -> PriceEntry:
    unknown = set(row) - ENTRY_KEYS
    if unknown:
        raise ValueError(f"unknown keys in a price: {', '.join(sorted(unknown))}")
    amounts = {bucket: nano_per_million(row[bucket]) for bucket in BUCKETS if bucket in row}
    version = f"{table_version}@{row['valid_from']}"
    price = (
        price_of(amounts, version)
        if AUDIO_MINUTE not in row
        else by_minute(nano_per_million(row[AUDIO_MINUTE]), version)
    )
    long_above = row.get("long_above")
    long_price = None
    if long_above is not None:
        long_price = _times(price, Decimal(row["long_input_x"]), Decimal(row["long_output_x"]))
    return PriceEntry(
        provider=row["provider"],
        model=row["model"],
        aliases=tuple(row.get("aliases", ())),
        first_us=first_us(row["valid_from"]),
        price=price,
        long_above=long_above,
        long_price=long_price,
        source=row["source"],
    )


def _own_entry(override: PriceOverride, mark: str) -> PriceEntry:
    amounts = {b: value for b in BUCKETS if (value := getattr(override, b)) is not None}
    version = f"{mark}@{override.valid_from or 'always'}"
    price = (
        price_of(amounts, version, override.aborted == "whole")
        if override.audio_minute is None
        else by_minute(override.audio_minute, version)
    )
    return PriceEntry(
        provider=override.provider,
        model=tiered(override.model, override.tier),
        aliases=(),
        first_us=first_us(override.valid_from),
        price=price,
        long_above=None,
        long_price=None,
        source="prices.toml of the app",
    )
