"""A month of 100,000 leads, eight turns each, with the token counts of a production trace; what each lever does to it.

A trace row is one call: tokens read and tokens written. The eight turns of a lead are eight rows in the order of what
they read, because the context of a conversation only grows. So every turn has token counts that were really seen, and
the sum over the month is the trace's own mean times 800,000. What the trace does not say (how much of a context is the
fixed prompt, how long people take to answer) is in `Assumed`, each with its range.
"""

import csv
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np

from waterline.core.cost_model import Tokens, priced
from waterline.core.money import NANO, Price
from waterline.core.savings import History
from waterline.gateway.history import NOTE_SHARE

LEADS, TURNS, SEED = 100_000, 8, 1
MONTH_S = 30 * 86_400
WHOLE = History()  # never shortened
NOTE_HEAD = 15.0  # tokens of a note's own words


@dataclass(frozen=True)
class Assumed:
    """`fixed`: tokens of the system prompt; the rest of a context is history and the question."""

    fixed: float
    question: float
    gap_median_s: float = 600.0
    gap_sigma: float = 1.5
    cacheable_min: int = 2048  # tokens; a shorter prefix is not cached by the provider
    note_ratio: float = 0.5  # tokens of a note, of what it stands for, before its limit
    short_first: bool = False  # the small model gets the shortest contexts, so it saves least


@dataclass(frozen=True)
class Levers:
    """All off is the baseline. `caching`: "", "prompt" (the fixed prompt alone), "5m" or "1h" (history too, and how
    long the provider keeps it)."""

    caching: str = ""
    exact: float = 0.0  # share of first questions answered from the exact cache
    semantic: float = 0.0  # share of first questions, in addition
    routed: float = 0.0  # share of turns that the small model is asked
    escalated: float = 0.0  # share of turns whose small answer is doubtful, so that the large model is asked as well
    history: History = WHOLE  # the gateway's own setting
    answer_cap: float = 1e9  # tokens; longer answers are asked to be this short
    flow: float = 0.0  # share of turns that code reads and a flow answers, so that no model is asked


@dataclass(frozen=True)
class Month:
    """Tokens read and written by (lead, turn), and standard normal and uniform draws that no lever changes."""

    read: np.ndarray
    written: np.ndarray
    gap_z: np.ndarray
    route_u: np.ndarray
    hit_u: np.ndarray
    doubt_u: np.ndarray
    flow_u: np.ndarray


@dataclass
class Used:
    """Tokens of a month at one model; `calls` are those to its provider."""

    new: float = 0.0
    cached: float = 0.0
    write: float = 0.0
    out: float = 0.0
    calls: float = 0.0

    def add(self, new, cached, write, out) -> None:  # type: ignore[no-untyped-def]
        self.new += float(new.sum())
        self.cached += float(cached.sum())
        self.write += float(write.sum())
        self.out += float(out.sum())
        self.calls += len(out)

    def usd(self, price: Price) -> float:
        return priced(Tokens(self.new, self.cached, self.write, self.out), price) / NANO


@dataclass(frozen=True)
class Bill:
    usd: float
    large: Used
    small: Used
    shortened: int  # turns sent with a note in place of older ones
    local: int  # turns answered without a call
    cached_share: float  # of all tokens read by the large model


def read_trace(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Tokens read and written by each call. Raises ValueError for a file that is no trace."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"ContextTokens", "GeneratedTokens"} <= set(rows[0]):
        raise ValueError(f"{path} has no columns ContextTokens and GeneratedTokens")
    read = np.array([int(r["ContextTokens"]) for r in rows], dtype=np.float64)
    return read, np.array([int(r["GeneratedTokens"]) for r in rows], dtype=np.float64)


def arrival_gaps(path: Path) -> tuple[float, float]:
    """Longest and mean pause between two calls, in seconds, at the month's rate: the trace's own, stretched."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        at = [datetime.fromisoformat(r["TIMESTAMP"][:26]).timestamp() for r in csv.DictReader(file)]
    gaps = np.diff(np.sort(np.array(at)))
    mean = MONTH_S / (LEADS * TURNS)
    return float(gaps.max() / gaps.mean() * mean), mean


def month_of(read: np.ndarray, written: np.ndarray) -> Month:
    """Every row of the trace as often as every other (one more or less), dealt out with a fixed seed."""
    rng = np.random.default_rng(SEED)
    turns = LEADS * TURNS
    whole, rest = divmod(turns, len(read))
    picked = np.concatenate([np.tile(np.arange(len(read)), whole), rng.choice(len(read), rest, replace=False)])
    picked = rng.permutation(picked).reshape(LEADS, TURNS)
    order = np.argsort(read[picked], axis=1, kind="stable")
    picked = np.take_along_axis(picked, order, axis=1)
    shape = (LEADS, TURNS)
    return Month(
        read[picked], written[picked],
        rng.standard_normal(shape), rng.random(shape), rng.random(LEADS), rng.random(shape), rng.random(shape),
    )  # fmt: skip


def derived_fixed(month: Month, question: float) -> float:
    """The prompt that is left of the mean context, once a conversation's own questions and answers are taken out."""
    history = (TURNS - 1) / 2 * (float(month.written.mean()) + question)
    return max(0.0, float(month.read.mean()) - history - question)


def bill(month: Month, levers: Levers, assumed: Assumed, large: Price, small: Price, hour_write_x: float = 2.0) -> Bill:
    """What the month costs. The small model's prompts are never cached: at its price it is not worth a write."""
    one, two = Used(), Used()
    lead = _Lead(month, assumed, levers)
    doubted = levers.escalated / levers.routed if levers.routed else 0.0
    local = shortened = 0
    for t in range(TURNS):
        history, short = lead.begin(t)
        shortened += int(short.sum())
        fixed, question, out = lead.fixed[:, t], lead.question[:, t], lead.out[:, t]
        answered = (month.hit_u < levers.exact + levers.semantic) if t == 0 else np.zeros(LEADS, dtype=bool)
        answered |= month.flow_u[:, t] < levers.flow
        routed = lead.routed[:, t] & ~answered
        to_large = ~answered & (~routed | (month.doubt_u[:, t] < doubted))
        local += int(answered.sum())
        everything = fixed + history + question
        cached, write = lead.provider_cache(t, to_large, everything)
        nothing = np.zeros(int(routed.sum()))
        two.add(everything[routed], nothing, nothing, out[routed])
        new = everything - cached - write
        one.add(new[to_large], cached[to_large], write[to_large], out[to_large])
    dear = _with_write(large, hour_write_x) if levers.caching == "1h" else large
    read = one.new + one.cached + one.write
    return Bill(one.usd(dear) + two.usd(small), one, two, shortened, local, one.cached / read if read else 0.0)


def _with_write(price: Price, times: float) -> Price:
    return msgspec.structs.replace(price, cache_write=round(price.input * times))


def left_out(t: int, declared: History) -> int:
    """Whole exchanges that a note stands for at turn t (0-based), where the conversation is long enough."""
    if not declared.max_tokens:
        return 0
    messages = 2 * t + 1
    return max(0, (messages - declared.keep_last) // declared.keep_last * declared.keep_last) // 2


def sent_history(month: Month, assumed: Assumed, levers: Levers, leads: int) -> float:
    """Tokens of history and questions of the first leads, as this model counts them."""
    lead = _Lead(month, assumed, levers)
    return sum(float((lead.begin(t)[0] + lead.question[:, t])[:leads].sum()) for t in range(TURNS))


def lead_sizes(month: Month, assumed: Assumed, answer_cap: float) -> np.ndarray:
    """Tokens of each exchange of each lead; the last one is never read again and is empty."""
    before = _Lead(month, assumed, Levers(answer_cap=answer_cap)).before
    return np.maximum(0.0, np.diff(before, axis=1, append=before[:, -1:]) + np.eye(1, TURNS)[0] * before[:, :1])


class _Lead:
    """The state of every lead, as arrays over leads: its history, its provider's cache."""

    def __init__(self, month: Month, assumed: Assumed, levers: Levers) -> None:
        self.assumed, self.levers = assumed, levers
        self.question = np.minimum(assumed.question, month.read)
        self.fixed = np.minimum(assumed.fixed, month.read - self.question)
        self.growth = np.diff(month.read - self.fixed - self.question, axis=1, prepend=0.0)
        self.out = np.minimum(month.written, levers.answer_cap)
        self.saved = month.written - self.out  # not said, so not read again
        # What each exchange adds; the first brings along what its question came with.
        grown = self.growth.copy()
        grown[:, 1:] = np.maximum(0.0, grown[:, 1:] - self.saved[:, :-1])
        self.before = np.cumsum(grown, axis=1)  # history at each turn, whole
        self.since = np.full(LEADS, np.inf)  # seconds since the large model last saw this lead
        self.prefix = np.zeros(LEADS)  # tokens of it that the provider has
        self.gap = np.exp(np.log(assumed.gap_median_s) + assumed.gap_sigma * month.gap_z)
        self.routed = self._routed(month)

    def _routed(self, month: Month) -> np.ndarray:
        if not self.assumed.short_first:
            return month.route_u < self.levers.routed
        order = np.argsort(month.read, axis=None, kind="stable")
        found = np.zeros(month.read.size, dtype=bool)
        found[order[: round(self.levers.routed * found.size)]] = True
        return found.reshape(month.read.shape)

    def begin(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """History that turn t sends, and where it is a note and the last exchanges: as `gateway/history.py` does."""
        if t:
            self.since = self.since + self.gap[:, t]
        whole, declared = self.before[:, t], self.levers.history
        out = left_out(t, declared)
        if not out:
            return whole, np.zeros(LEADS, dtype=bool)
        gone = self.before[:, out]  # the exchanges before number `out` are what turn `out` had as its history
        note = np.minimum(declared.max_tokens / NOTE_SHARE, NOTE_HEAD + self.assumed.note_ratio * gone)
        shorter = whole - gone + note
        short = (whole + self.question[:, t] > declared.max_tokens) & (shorter < whole)
        # The note stands at the beginning: the provider's copy of what it replaces is worth nothing.
        self.prefix = np.where(short, 0.0, self.prefix)
        return np.where(short, shorter, whole), short

    def provider_cache(self, t: int, asked: np.ndarray, everything: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens read from the provider's cache, and written to it, of the leads that ask the large model."""
        nothing, least = np.zeros(LEADS), self.assumed.cacheable_min
        if not self.levers.caching:
            return nothing, nothing
        # The prompt is the same for all leads: at a turn every few seconds its copy never grows cold.
        shared = np.where(asked, self.fixed[:, t] if self.assumed.fixed >= least else 0.0, 0.0)
        if self.levers.caching == "prompt":
            return shared, nothing
        ttl_s = {"5m": 300.0, "1h": 3600.0}[self.levers.caching]
        warm = asked & (self.since < ttl_s)
        cached = np.maximum(np.where(warm, np.minimum(self.prefix, everything), 0.0), shared)
        worth = asked & (everything >= least) & (t < TURNS - 1)  # after the last turn nobody reads it
        write = np.where(worth, everything - cached, 0.0)
        self.prefix = np.where(worth, everything, np.where(asked, 0.0, self.prefix))
        self.since = np.where(asked, 0.0, self.since)
        return cached, write
