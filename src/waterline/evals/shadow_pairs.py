"""What pairs of live and shadow answers add up to. Pure.

Shares (failed, is JSON) are compared by two bounded sequences, amounts by the mean of the differences within a pair, so
that a dear question is dear on both sides. Both hold at every look; the latter is asymptotic and begins with 20 pairs.
"""

import re
from collections import Counter

import msgspec
from msgspec import Struct

from waterline.core.verdict import Estimate
from waterline.evals.statistics import bounded_sequence, difference_sequence, mean_sequence

SHARES = ("failed", "json")
AMOUNTS = ("duration_us", "first_token_us", "cost_nano_usd", "characters")
LEAST = 20
MOST_WORDS = 2000
_WORD = re.compile(r"\w+", re.UNICODE)


class Sum(Struct):
    """Of n pairs: the live figures, the copies', and the squares of the differences, added up."""

    n: int = 0
    live: float = 0.0
    copy: float = 0.0
    squares: float = 0.0

    def add(self, live: float, copy: float) -> None:
        self.n += 1
        self.live += live
        self.copy += copy
        self.squares += (copy - live) ** 2


class Sums(Struct):
    """`alike`: the words that both answers share, 0..1; `same`: word for word."""

    pairs: int = 0
    same: int = 0
    same_finish: int = 0
    alike: Sum = msgspec.field(default_factory=Sum)
    of: dict[str, Sum] = {}

    def add(self, name: str, live: float | None, copy: float | None) -> None:
        if live is not None and copy is not None:
            self.of.setdefault(name, Sum()).add(live, copy)


class Measured(Struct, frozen=True):
    """One figure: means of both sides over the same pairs. `difference`: copy minus live; None: too few pairs."""

    name: str
    n: int
    live: float
    copy: float
    difference: Estimate | None


def is_json(text: str) -> bool:
    said = text.strip()
    if not said.startswith(("{", "[")):
        return False
    try:
        msgspec.json.decode(said)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def alike(a: str, b: str) -> float:
    """The share of words that both have (Dice over the two bags of words): 1 the same words, 0 none in common."""
    first, second = (Counter(_WORD.findall(text.lower())[:MOST_WORDS]) for text in (a, b))
    total = first.total() + second.total()
    return 2 * (first & second).total() / total if total else 1.0


def measured(sums: Sums) -> list[Measured]:
    found = []
    for name in (*SHARES, *AMOUNTS):
        s = sums.of.get(name)
        if s is None or not s.n:
            continue
        difference = _of_shares(s) if name in SHARES else _of_amounts(s)
        found.append(Measured(name, s.n, s.live / s.n, s.copy / s.n, difference))
    return found


def _of_shares(s: Sum) -> Estimate | None:
    return difference_sequence(bounded_sequence(s.live, s.n, 0.975), bounded_sequence(s.copy, s.n, 0.975))


def _of_amounts(s: Sum) -> Estimate | None:
    if s.n < LEAST:
        return None
    mean = (s.copy - s.live) / s.n
    variance = max(0.0, (s.squares - s.n * mean * mean) / (s.n - 1))
    return mean_sequence(s.n, mean, variance)
