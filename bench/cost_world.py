"""What the bench of the bill compares: prices, levers, and what was measured. See cost.py."""

import sys
import time
from dataclasses import dataclass, replace

from cost_month import Assumed, Bill, Levers, Month, bill

from waterline.core.money import Price
from waterline.core.savings import History
from waterline.core.verdict import Estimate
from waterline.evals.routing import Trained
from waterline.rollout.check import built_in_prices

BASE, DEAR, CHEAP = 5304, ("anthropic", "claude-sonnet-4-6"), ("anthropic", "claude-haiku-5-5")
TARGET = 800
MARGIN = 0.05  # quality that may be lost by routing, as a share of cases; declared before anything was measured
ASSUMED_ROUTED = 0.8  # what published calculations take; only an app's own cases can show it
ROUTED_ENDS = (0.5, 0.9)
HISTORY = History(max_tokens=800, keep_last=2)  # declared: the last exchange whole, a note of at most 200 tokens
ANSWER_CAP = 120  # tokens, about ninety words: a phone's screen; the school declares 64
OTHERS = (("anthropic", "claude-haiku-4-5"), ("openai", "gpt-5-nano"), ("google", "gemini-2.5-flash-lite"))
SUCCESSOR = ("anthropic", "claude-sonnet-5-5")


@dataclass(frozen=True)
class Routed:
    """What the learned router did on the cases. `asked`: of the small model; `escalated`: then of the large one too."""

    who: str
    n: int
    small: Estimate
    large: Estimate | None  # None: assumed to be right
    asked: float
    escalated: float
    loss: Estimate | None
    proved: float  # share for which the loss is shown to be within the margin
    trained: Trained


@dataclass(frozen=True)
class Shorter:
    """Answers of the school's prompt (`n`) and of one without its rule of short answers (`paired`)."""

    n: int
    mean: float
    cut: int  # that ran into the school's limit
    paired: int
    free: float
    short: float
    difference: Estimate | None  # of quality, short less free


def prices() -> dict[tuple[str, str], Price]:
    table, now = built_in_prices(), int(time.time() * 1e6)
    found = {}
    for who in (DEAR, CHEAP, *OTHERS, SUCCESSOR):
        price = table.find(*who, now)
        if price is None:
            sys.exit(f"bench/cost.py: no published price of {who[1]} in core/prices.toml")
        found[who] = price
    return found


@dataclass
class World:
    month: Month
    large: Price
    small: Price
    assumed: Assumed

    def usd(
        self, levers: Levers, assumed: Assumed | None = None, large: Price | None = None, small: Price | None = None
    ) -> Bill:
        """With caching on, the cheaper of off and on, as an operator would choose who reads this."""
        a = assumed or self.assumed
        modes = ("", levers.caching) if levers.caching else ("",)
        bills = [
            bill(self.month, replace(levers, caching=m), a, large or self.large, small or self.small) for m in modes
        ]
        return min(bills, key=lambda b: b.usd)

    def one(self, levers: Levers, assumed: Assumed) -> Bill:
        return bill(self.month, levers, assumed, self.large, self.small)


def without(levers: Levers, names: tuple[str, ...]) -> Levers:
    off = Levers()
    return replace(levers, **{name: getattr(off, name) for name in names})


def only(levers: Levers, names: tuple[str, ...]) -> Levers:
    return replace(Levers(), **{name: getattr(levers, name) for name in names})


# The flow is not among these: it is another kind of app, and has a part of the page of its own (cost_flow.py).
LEVERS = (
    ("routing, small first", ("routed", "escalated")),
    ("shorter answers", ("answer_cap",)),
    ("history shortened", ("history",)),
    ("semantic cache", ("semantic",)),
    ("exact cache", ("exact",)),
    ("prompt-cache shaping", ("caching",)),
)


def cumulative(world: World, levers: Levers) -> list[tuple[str, float]]:
    on: tuple[str, ...] = ()
    found = []
    for name, fields in LEVERS:
        on = (*on, *fields)
        found.append((name, world.usd(only(levers, on)).usd))
    return found
