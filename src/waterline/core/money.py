"""Money is an integer: nano-USD (1 USD = 1_000_000_000). Prices are nano-USD per million tokens.

Token buckets exclude each other: a token is billed in exactly one of them. Providers report overlapping
counts (OpenAI's `prompt_tokens` include cached ones); each provider module turns its own report into `Usage`.
"""

from decimal import Decimal, InvalidOperation

from msgspec import Struct

NANO = 1_000_000_000
MILLION = 1_000_000


class Usage(Struct, frozen=True):
    """Tokens of one attempt, in buckets that exclude each other. Unit: tokens."""

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    estimated: bool = False  # counted here (an aborted stream, a provider that reported nothing)
    cache_write_1h: int = 0  # what `cache_write` does not count: kept for an hour, and dearer

    @property
    def total_input(self) -> int:
        return self.input + self.cached_input + self.cache_write + self.audio_input + self.cache_write_1h

    @property
    def total_output(self) -> int:
        return self.output + self.reasoning + self.audio_output


def add_usage(a: Usage, b: Usage) -> Usage:
    return Usage(
        input=a.input + b.input,
        cached_input=a.cached_input + b.cached_input,
        cache_write=a.cache_write + b.cache_write,
        output=a.output + b.output,
        reasoning=a.reasoning + b.reasoning,
        audio_input=a.audio_input + b.audio_input,
        audio_output=a.audio_output + b.audio_output,
        estimated=a.estimated or b.estimated,
        cache_write_1h=a.cache_write_1h + b.cache_write_1h,
    )


def kept_for(written: int, hour: int) -> dict[str, int]:
    """What a prompt cache was given, by how long it keeps it, in Anthropic's words."""
    return {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour}


class Price(Struct, frozen=True):
    """Nano-USD per million tokens, one figure a bucket. `version` names the table and date it came from."""

    input: int
    output: int
    cached_input: int
    cache_write: int
    reasoning: int
    audio_input: int
    audio_output: int
    version: str
    whole_if_aborted: bool = False  # an answer that nobody waits for any more is made, and billed, to its end
    cache_write_1h: int | None = None  # None: as `hour_write` says
    by_second: bool = False  # a model that writes down recordings: `audio_input` counts their seconds, no tokens

    @property
    def hour_write(self) -> int:
        """Of what the provider's cache keeps for an hour. Anthropic asks twice the input's price, of every model."""
        return max(2 * self.input, self.cache_write) if self.cache_write_1h is None else self.cache_write_1h


def cost_nano_usd(usage: Usage, price: Price) -> int:
    """Price of `usage` in nano-USD, rounded up once, on the sum of all buckets."""
    total = (
        usage.input * price.input
        + usage.cached_input * price.cached_input
        + usage.cache_write * price.cache_write
        + usage.output * price.output
        + usage.reasoning * price.reasoning
        + usage.audio_input * price.audio_input
        + usage.audio_output * price.audio_output
    )
    if usage.cache_write_1h:
        total += usage.cache_write_1h * price.hour_write
    return -(-total // MILLION)


def worst_case_nano_usd(price: Price, input_tokens: int, output_tokens: int) -> int:
    """Upper bound for a call with at most these tokens, whichever bucket they fall into. A prompt that is kept for an
    hour is bounded by the price that `PriceTable.find` gives for it."""
    dearest_in = max(price.input, price.cached_input, price.cache_write, price.audio_input)
    dearest_out = max(price.output, price.reasoning, price.audio_output)
    return -(-(input_tokens * dearest_in + output_tokens * dearest_out) // MILLION)


def affordable_output_tokens(price: Price, input_tokens: int, nano_usd: int) -> int | None:
    """Most output tokens for which `worst_case_nano_usd` stays within `nano_usd`; None: no bound (free output)."""
    dearest_in = max(price.input, price.cached_input, price.cache_write, price.audio_input)
    dearest_out = max(price.output, price.reasoning, price.audio_output)
    left = nano_usd * MILLION - input_tokens * dearest_in
    if left < 0:
        return 0
    return None if dearest_out == 0 else left // dearest_out


def nano_from_usd(text: str | int | float | Decimal) -> int:
    """Exact nano-USD of a decimal amount of USD. Raises ValueError if finer than a nano-USD or not a number."""
    try:
        nano = Decimal(str(text)) * NANO
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is not an amount of USD") from error
    if not nano.is_finite() or nano != nano.to_integral_value():
        raise ValueError(f"{text!r} USD is not a whole number of nano-USD")
    return int(nano)


def usd(nano: int | None, places: int = 2) -> str:
    """For people: `usd(1_234_500_000)` is "1.23"; None (no price known) is "unpriced"."""
    if nano is None:
        return "unpriced"
    return f"{Decimal(nano) / NANO:,.{places}f}"
