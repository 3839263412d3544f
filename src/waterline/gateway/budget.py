"""A hard budget: spent + reserved <= limit at every instant (invariant 3).

Each attempt reserves its worst case before the first byte leaves. If that does not fit, the length of the answer is
clamped to what does, and the call is refused only below the learned p99 of the route's answer length: so a caller
far from the limit is never blocked. Exact within one process; crashes are covered because an admitted request is
spooled with its reservation, and an interrupted one counts with its worst case.
"""

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from waterline.core.app_spec import Limits
from waterline.core.errors import BudgetExceeded
from waterline.core.money import Price, affordable_output_tokens, usd, worst_case_nano_usd

UNDECLARED_MAX_TOKENS = 4096  # what an answer may take under a hard budget where nobody declared its length
FIRST_GUESS_P99 = 64
MOST_LEFT = 4  # periods that a clock may come back to
LEARN_FROM = 50


class AnswerLengths:
    """The learned p99 of a route's answer length, over its last 1,000 answers. Unit: tokens."""

    def __init__(self) -> None:
        self._recent: deque[int] = deque(maxlen=1000)
        self._p99 = FIRST_GUESS_P99
        self._since = 0

    def learn(self, tokens: int) -> None:
        self._recent.append(tokens)
        self._since += 1
        if self._since >= LEARN_FROM:
            self._since = 0
            ordered = sorted(self._recent)
            self._p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]

    @property
    def p99(self) -> int:
        return self._p99


UNLIMITED = 2**62


class Period:
    """What one day or month has spent. All amounts in nano-USD; `limit` None: counted, not enforced."""

    def __init__(self, kind: str, limit: int | None, zone: ZoneInfo) -> None:
        self.kind = kind  # "day" | "month"
        self.limit = limit
        self.zone = zone
        self.start_us = 0
        self.end_us = 0
        self.spent = 0
        self.reserved = 0
        self.restored = False  # `spent` holds what earlier processes spent in this period

    @property
    def room(self) -> int:
        return UNLIMITED if self.limit is None else self.limit - self.spent - self.reserved


class Reservation:
    """Held by one attempt until it is settled. `periods` are those it was taken from, even if they end meanwhile."""

    __slots__ = ("amount", "clamped_from", "max_tokens", "periods")

    def __init__(self, amount: int, max_tokens: int | None, clamped_from: int | None, periods: list[Period]) -> None:
        self.amount = amount
        self.max_tokens = max_tokens
        self.clamped_from = clamped_from
        self.periods = periods

    def settle(self, cost_nano_usd: int) -> int:
        """Give the reservation back and book the cost. Returns the overshoot beyond the worst case (0, or a bug)."""
        for period in self.periods:
            period.reserved -= self.amount
            period.spent += cost_nano_usd
        over = max(0, cost_nano_usd - self.amount)
        self.amount = 0
        self.periods = []
        return over


class Budget:
    """The hard budgets of one app."""

    def __init__(self, app: str, limits: Limits) -> None:
        self.app = app
        self.periods: list[Period] = []
        self._left: dict[tuple[str, str, int], Period] = {}
        self.configure(limits)

    def configure(self, limits: Limits) -> None:
        """Apply (new) limits; what is spent and reserved in a running period stays."""
        zone = ZoneInfo(limits.timezone)
        old = {p.kind: p for p in self.periods}
        self.periods = []
        for kind, limit in (("day", limits.nano_usd_per_day), ("month", limits.nano_usd_per_month)):
            period = old.get(kind)
            if period is None or period.zone != zone:
                period = Period(kind, limit, zone)
            period.limit = limit
            self.periods.append(period)

    @property
    def hard(self) -> bool:
        return any(p.limit is not None for p in self.periods)

    def roll(self, now_us: int) -> None:
        """Begin a new period where one has ended. A running reservation settles in the period it came from; a clock
        that is set forth and back finds the old period again, with what it had spent."""
        for at, period in enumerate(self.periods):
            if not period.start_us <= now_us < period.end_us:
                start, end = bounds(period.kind, now_us, period.zone)
                if period.end_us:
                    self._left[period.kind, period.zone.key, period.start_us] = period
                    for oldest in list(self._left)[:-MOST_LEFT]:
                        del self._left[oldest]
                fresh = self._left.pop((period.kind, period.zone.key, start), None)
                if fresh is None:
                    fresh = Period(period.kind, period.limit, period.zone)
                    fresh.start_us, fresh.end_us = start, end
                    fresh.restored = period.end_us != 0  # it begins now: nobody can have spent before
                fresh.limit = period.limit
                self.periods[at] = fresh

    def restore(self, now_us: int, spent_since: Callable[[int], int]) -> None:
        """After a start or a new limit: `spent_since(us)` is what the store says was spent since then, in nano-USD."""
        self.roll(now_us)
        for period in self.periods:
            if not period.restored:
                period.spent += spent_since(period.start_us)
                period.restored = True

    def reserve(
        self,
        now_us: int,
        price: Price | None,
        model: str,
        input_tokens: int,
        max_tokens: int | None,
        choices: int,
        p99: int,
    ) -> Reservation:
        """Take the worst case of one attempt. `max_tokens`: what the caller or the route wants; None: not said.

        `max_tokens` of the result is what may be sent upstream. Raises BudgetExceeded."""
        self.roll(now_us)
        if not self.hard:
            amount = worst_case_nano_usd(price, input_tokens, (max_tokens or 0) * choices) if price else 0
            return self._take(amount, max_tokens, None)
        if price is None:
            raise BudgetExceeded(
                f'App "{self.app}" has a hard budget, but model "{model}" has no price. '
                "Add a [[price]] for it to prices.toml, or remove the usd limits from app.toml [limits]."
            )
        wanted = max_tokens if max_tokens is not None else UNDECLARED_MAX_TOKENS
        amount = worst_case_nano_usd(price, input_tokens, wanted * choices)
        tight = min(self.periods, key=lambda p: p.room)
        if amount <= tight.room:
            return self._take(amount, wanted, None)
        fits = affordable_output_tokens(price, input_tokens, max(0, tight.room))
        fits = wanted if fits is None else fits // choices
        if fits < min(p99, wanted) or fits < 1:
            raise self._exceeded(tight, price, input_tokens)
        amount = worst_case_nano_usd(price, input_tokens, fits * choices)
        return self._take(amount, fits, wanted)

    def _take(self, amount: int, max_tokens: int | None, clamped_from: int | None) -> Reservation:
        for period in self.periods:
            period.reserved += amount
        return Reservation(amount, max_tokens, clamped_from, list(self.periods))

    def _exceeded(self, period: Period, price: Price, input_tokens: int) -> BudgetExceeded:
        until = datetime.fromtimestamp(period.end_us / 1e6, period.zone).strftime("%Y-%m-%d %H:%M %Z")
        word = "today" if period.kind == "day" else "this month"
        held = f" (and {usd(period.reserved, 4)} is reserved by calls in flight)" if period.reserved else ""
        return BudgetExceeded(
            f'App "{self.app}" has spent {usd(period.spent, 4)} of {usd(period.limit, 4)} USD {word}{held}; this call '
            f"needs up to {usd(worst_case_nano_usd(price, input_tokens, 1), 6)} USD for its prompt alone. "
            f"Raise usd_per_{period.kind} in app.toml [limits], or wait until {until}."
        )


def bounds(kind: str, now_us: int, zone: ZoneInfo) -> tuple[int, int]:
    """Start and end of the running day or month in `zone`, in Unix microseconds (days of 23 and 25 h included)."""
    now = datetime.fromtimestamp(now_us / 1e6, zone)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "day":
        following = start.date() + timedelta(days=1)
    else:
        start = start.replace(day=1)
        following = (start.date().replace(day=28) + timedelta(days=4)).replace(day=1)
    end = datetime(following.year, following.month, following.day, tzinfo=zone)
    return int(start.timestamp() * 1e6), int(end.timestamp() * 1e6)
