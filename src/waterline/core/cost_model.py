"""What a conversation costs, from what it sends and gets. Pure arithmetic, shared by forecast, drill and bench.

A turn t of a conversation sends the fixed part (system prompt, tools: S; retrieved text: K), the history H_t (earlier
questions and answers) and the new question u, and gets an answer o, in c provider calls:

    in = c (S + K + H_t + u)    cached = h c (S + H_t)    written = w c (S + H_t)    out = c o
    turn = (in - cached - written) p_in + cached p_cached + written p_write + out p_out

blended over the share of turns that each model takes. Tokens are means, so they are floats; money here is a forecast,
in nano-USD as a float. The books (`core/money.py`) stay whole numbers.
"""

import msgspec
from msgspec import Struct

from waterline.core.money import MILLION, Price, Usage


class Conversation(Struct, frozen=True):
    """Means, in tokens. `cached` and `written`: shares (0..1, together at most 1) of prompt and history that the
    provider reads from its cache, or writes to it."""

    turns: float
    fixed: float
    question: float
    answer: float
    retrieved: float = 0.0
    calls: float = 1.0
    cached: float = 0.0
    written: float = 0.0


class Tokens(Struct, frozen=True):
    """Of one turn, in buckets that exclude each other."""

    new: float
    cached: float
    written: float
    out: float


class Share(Struct, frozen=True):
    """The part of the turns (0..1) that a model answers."""

    price: Price
    share: float = 1.0


def mean_history(turns: float, each: float) -> float:
    """Mean of H_t over the turns of a conversation where every turn adds `each` tokens: 0, each, 2 each ..."""
    return max(0.0, turns - 1.0) / 2.0 * each


def turn_tokens(c: Conversation) -> Tokens:
    """The mean turn."""
    history = mean_history(c.turns, c.question + c.answer)
    shaped = c.calls * (c.fixed + history)
    cached, written = c.cached * shaped, c.written * shaped
    everything = c.calls * (c.fixed + c.retrieved + history + c.question)
    return Tokens(everything - cached - written, cached, written, c.calls * c.answer)


def priced(tokens: Tokens, price: Price) -> float:
    """Nano-USD."""
    return (
        tokens.new * price.input
        + tokens.cached * price.cached_input
        + tokens.written * price.cache_write
        + tokens.out * price.output
    ) / MILLION


def conversation_nano_usd(c: Conversation, shares: list[Share]) -> float:
    tokens = turn_tokens(c)
    return c.turns * sum(s.share * priced(tokens, s.price) for s in shares)


def with_cached_share(usage: Usage, share: float) -> Usage:
    """The same tokens if `share` (0..1) of the text read had come from the provider's cache."""
    read = usage.input + usage.cached_input
    cached = round(read * share)
    return msgspec.structs.replace(usage, input=read - cached, cached_input=cached)
