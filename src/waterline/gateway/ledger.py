"""What each name of a scope (an app, its branches, keys or subjects) has spent in the running day or month.

All amounts are nano-USD. A ledger knows only the running period: what is past is in the store.
"""

from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Scope = Literal["app", "branch", "key", "subject"]
Kind = Literal["day", "month"]
SCOPES: tuple[Scope, ...] = ("app", "branch", "key", "subject")
KINDS: tuple[Kind, ...] = ("day", "month")

NEVER = 2**62  # an amount that nobody spends
MOST_NAMES = 100_000  # a ledger's names in memory
MOST_LEFT = 4  # periods that a clock may come back to
ALERTS = (50, 80, 100)  # % of the limit; 100 is also a call that was refused


class Cell:
    """One name in one period. `limit` None: counted, not enforced. spent + reserved <= limit at every instant."""

    __slots__ = ("alert_at", "alerted", "ledger", "limit", "name", "reserved", "spent", "tabs", "window")

    def __init__(self, ledger: "Ledger", window: "Window", name: str, spent: int) -> None:
        self.ledger = ledger
        self.window = window
        self.name = name
        self.spent = spent
        self.reserved = 0
        self.tabs = 0  # requests under way that draw on it
        self.limit: int | None = None
        self.alerted = 0  # the highest of ALERTS that was raised
        self.alert_at = NEVER
        self.put_limit(ledger.limit_of(name))

    @property
    def left(self) -> int:
        return NEVER if self.limit is None else self.limit - self.spent - self.reserved

    def put_limit(self, limit: int | None) -> None:
        if limit != self.limit:
            self.limit = limit
            self.alerted = 0
            self.alert_at = self._next_alert()

    def next_level(self) -> int:
        """The level that `spent` has now passed; called while `spent >= alert_at`."""
        self.alerted = next(level for level in ALERTS if level > self.alerted)
        self.alert_at = self._next_alert()
        return self.alerted

    def _next_alert(self) -> int:
        level = next((level for level in ALERTS if level > self.alerted), None)
        return NEVER if self.limit is None or level is None else -(-self.limit * level // 100)


class Window:
    """One day or month, from `start_us` up to `end_us` (not included). `floor`: what a name that is not here may have
    spent at most."""

    __slots__ = ("cells", "end_us", "floor", "start_us")

    def __init__(self, start_us: int, end_us: int) -> None:
        self.start_us = start_us
        self.end_us = end_us
        self.cells: dict[str, Cell] = {}
        self.floor = 0


class Ledger:
    """The running day (or month) of one scope, in one time zone."""

    def __init__(self, scope: Scope, kind: Kind, zone: ZoneInfo, most_names: int = MOST_NAMES) -> None:
        self.scope = scope
        self.kind: Kind = kind
        self.zone = zone
        self.at = SCOPES.index(scope)  # where a request's names have the one that this ledger is about
        self.default: int | None = None
        self.named: dict[str, int] = {}
        self.known = False  # what was spent in this period before this ledger began is in it
        self.window = Window(0, 0)
        self._left: dict[int, Window] = {}
        self.most_names = most_names

    @property
    def key(self) -> tuple[Scope, Kind, str]:
        """Two ledgers of one key count the same."""
        return self.scope, self.kind, self.zone.key

    @property
    def limited(self) -> bool:
        return self.default is not None or bool(self.named)

    def limit_of(self, name: str) -> int | None:
        return self.named.get(name, self.default)

    def put_limits(self, default: int | None, named: dict[str, int]) -> None:
        if (default, named) != (self.default, self.named):
            self.default, self.named = default, named
            for cell in self.window.cells.values():
                cell.put_limit(self.limit_of(cell.name))
            if not self.limited:  # nor are those bound by it that came in a period before and are still under way
                for window in self._left.values():
                    for cell in window.cells.values():
                        cell.put_limit(None)

    def cell(self, name: str) -> Cell:
        window = self.window
        found = window.cells.get(name)
        if found is None:
            if len(window.cells) >= self.most_names:
                self._forget()
            found = window.cells[name] = Cell(self, window, name, window.floor)
        return found

    def roll(self, now_us: int) -> None:
        """Begin the period that holds `now_us`. A clock that is set forth and back finds the old period again; one that
        goes back to before all that is known here stays in the oldest."""
        window = self.window
        if window.start_us <= now_us < window.end_us:
            return
        start, end = bounds(self.kind, now_us, self.zone)
        found = self._left.get(start)
        if found is None:
            oldest = min(self._left.values(), key=lambda w: w.start_us, default=window)
            if window.end_us and start < oldest.start_us:
                found = oldest if oldest.start_us < window.start_us else window
            else:
                found = Window(start, end)
        if found is window:
            return
        self._left.pop(found.start_us, None)
        if window.end_us:
            self._left[window.start_us] = window
            for gone in sorted(self._left)[:-MOST_LEFT]:
                del self._left[gone]
        self.window = found
        for cell in found.cells.values():
            cell.put_limit(self.limit_of(cell.name))

    def _forget(self) -> None:
        """Drop half of the names that nobody uses now, those that spent least. A name that comes back is taken to have
        spent as much as any that was dropped: too much, never too little, and at most (all that was spent) / (names
        kept). Source: the Space-Saving summary, Metwally, Agrawal, El Abbadi 2005."""
        window = self.window
        idle = sorted((cell for cell in window.cells.values() if not cell.tabs), key=lambda cell: cell.spent)
        for cell in idle[: max(1, self.most_names // 2)]:
            del window.cells[cell.name]
            window.floor = max(window.floor, cell.spent)


def bounds(kind: Kind, now_us: int, zone: ZoneInfo) -> tuple[int, int]:
    """Start and end of the running day or month in `zone`, in Unix microseconds (days of 23 and 25 h included)."""
    now = datetime.fromtimestamp(now_us // 1_000_000, zone)
    # fold=0: where midnight comes twice, the day begins with the first one, whichever of them `now` comes after.
    start = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if kind == "day":
        following = start.date() + timedelta(days=1)
    else:
        start = start.replace(day=1)
        following = (start.date().replace(day=28) + timedelta(days=4)).replace(day=1)
    end = datetime(following.year, following.month, following.day, tzinfo=zone)
    return int(start.timestamp()) * 1_000_000, int(end.timestamp()) * 1_000_000
