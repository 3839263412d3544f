"""Hard budgets: spent + reserved <= limit at every instant (invariant 3), for an app and each branch, key and subject.

Each attempt reserves its worst case against every budget that applies, all or none, before the first byte leaves. If
that does not fit, the length of the answer is clamped to what the tightest one leaves, and the call is refused only
below the learned p99 of the route's answer length: so a caller far from its limits is never blocked. Exact within one
process; crashes are covered because an admitted request is spooled with its reservation, and an interrupted one counts
with its worst case. Nothing here awaits, so what is checked is still true when it is taken.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from waterline.core.app_spec import Limits, Spending
from waterline.core.errors import BudgetExceeded
from waterline.core.money import Price, affordable_output_tokens, usd, worst_case_nano_usd
from waterline.gateway.ledger import ALERTS, KINDS, NEVER, SCOPES, Cell, Kind, Ledger, Scope

UNDECLARED_MAX_TOKENS = 4096  # what an answer may take under a hard budget where nobody declared its length
CLOCK_SLACK_US = 3_600_000_000
NO_KEYS: Mapping[str, Spending] = {}
Names = tuple[str, str, str, str]  # app, branch, key, subject; "": none, and no budget of that scope applies


class Alert(Struct, frozen=True):
    """A budget has reached `level` % of its limit. At 100 nothing more fits."""

    app: str
    scope: Scope
    name: str
    period: Kind
    start_us: int
    level: int
    limit_nano_usd: int
    spent_nano_usd: int


class Line(Struct, frozen=True):
    """One budget, for people. `renews_us`: when its next period begins."""

    scope: Scope
    name: str
    period: Kind
    limit: int | None
    spent: int
    reserved: int
    start_us: int
    renews_us: int
    timezone: str
    at_most: bool  # `spent` may be less: the name was dropped from memory meanwhile


class Tab:
    """What one request draws on, from its first attempt to its end."""

    __slots__ = ("at_us", "budget", "cells", "held", "id", "names", "open", "spent")

    def __init__(self, budget: "Budget", trace_id: str, at_us: int, names: Names, cells: list[Cell]) -> None:
        self.budget = budget
        self.id = trace_id
        self.at_us = at_us
        self.names = names
        self.cells = cells
        self.held = 0
        self.spent = 0
        self.open = True

    @property
    def worst(self) -> int:
        """What the request may have cost when nobody hears of it again."""
        return self.spent + self.held

    @property
    def hard(self) -> bool:
        return any(cell.limit is not None for cell in self.cells)

    def join(self, cell: Cell) -> None:
        """Draw on this one too, with what was held and spent so far."""
        cell.tabs += 1
        cell.reserved += self.held
        cell.spent += self.spent
        self.cells.append(cell)

    def close(self) -> None:
        """The request has ended; what an attempt still holds is settled by it."""
        self.open = False
        if not self.held:
            self._leave()

    def _leave(self) -> None:
        if self.budget.tabs.pop(self.id, None) is not None:
            for cell in self.cells:
                cell.tabs -= 1


class Reservation:
    """Held by one attempt until it is settled."""

    __slots__ = ("amount", "clamped_from", "max_tokens", "media", "tab", "whole_if_aborted")

    def __init__(
        self, tab: Tab, price: Price | None, amount: int, max_tokens: int | None, clamped_from: int | None
    ) -> None:
        self.tab = tab
        self.whole_if_aborted = price is not None and price.whole_if_aborted
        self.amount = amount
        self.max_tokens = max_tokens
        self.clamped_from = clamped_from
        self.media = 0  # input tokens at most of a prompt that is not text alone; its bytes say nothing of them
        tab.held += amount
        for cell in tab.cells:
            cell.reserved += amount

    def settle(self, cost_nano_usd: int) -> int:
        """Give the reservation back and book the cost. Returns the overshoot beyond the worst case (0, or a bug)."""
        tab, amount = self.tab, self.amount
        self.amount = 0
        tab.held -= amount
        tab.spent += cost_nano_usd
        for cell in tab.cells:
            cell.reserved -= amount
            cell.spent += cost_nano_usd
            if cell.spent >= cell.alert_at:
                tab.budget.note(cell)
        if not tab.open and not tab.held:
            tab.close()
        return cost_nano_usd - amount if cost_nano_usd > amount else 0


class Preparation:
    """The ledgers that new limits need. Those in force go on counting for it, even if others replace them meanwhile;
    the fresh ones count already, and wait for what the store says was spent before them."""

    def __init__(self, ledgers: list[Ledger], fresh: list[Ledger], running: Iterable[str]) -> None:
        self.ledgers = ledgers
        self.asked = [(ledger, ledger.window) for ledger in fresh]
        self.ids = set(running)  # requests that these ledgers count by themselves: the store's account leaves them out

    def restore(self, spent: list[dict[str, int]]) -> None:
        """`spent`, for each ledger that asks: nano-USD by name since its window's start, the largest first, of
        requests that are not in `ids`."""
        for (ledger, window), found in zip(self.asked, spent, strict=True):
            now, ledger.window = ledger.window, window  # midnight may have come meanwhile
            for name, nano in found.items():
                if name in window.cells or len(window.cells) < ledger.most_names:
                    ledger.cell(name).spent += nano
                else:
                    window.floor = max(window.floor, nano)
            ledger.window = now
            ledger.known = True


class Budget:
    """The hard budgets of one app."""

    def __init__(
        self, app: str, limits: Limits, keys: Mapping[str, Spending] = NO_KEYS,
        alert: Callable[[Alert], None] = lambda alert: None,
    ) -> None:  # fmt: skip
        """`keys`: the budgets that keys carry, by key id. `alert` is called once a level and period."""
        self.app = app
        self.ledgers: list[Ledger] = []
        self.tabs: dict[str, Tab] = {}
        self._alert = alert
        self._preparing: list[Preparation] = []
        self._counting: list[Ledger] = []
        self._start_us = self._end_us = self._latest_us = 0
        self.configure(limits, keys)

    # --- one request

    def open(self, trace_id: str, at_us: int, branch: str, key: str, subject: str) -> Tab:
        """`at_us`: when the request came; it is booked in the periods of that moment. Call `close` at its end."""
        if not self._start_us <= at_us < self._end_us:
            self.roll(at_us)
        if at_us > self._latest_us:
            self._latest_us = at_us
        names = (self.app, branch, key, subject)
        cells = []
        for ledger in self._counting:
            if name := names[ledger.at]:
                cell = ledger.window.cells.get(name) or ledger.cell(name)
                cell.tabs += 1
                cells.append(cell)
        tab = self.tabs[trace_id] = Tab(self, trace_id, at_us, names, cells)
        if self._preparing:
            for preparation in self._preparing:
                preparation.ids.add(trace_id)
        return tab

    def reserve(
        self,
        tab: Tab,
        price: Price | None,
        model: str,
        input_tokens: int,
        max_tokens: int | None,
        choices: int,
        p99: int,
    ) -> Reservation:
        """Take the worst case of one attempt. `max_tokens`: what the caller or the route wants; None: not said.

        `max_tokens` of the result is what may be sent upstream. Raises BudgetExceeded."""
        tight: Cell | None = None
        room = NEVER
        for cell in tab.cells:
            limit = cell.limit
            if limit is not None and (left := limit - cell.spent - cell.reserved) < room:
                tight, room = cell, left
        if tight is None:
            amount = worst_case_nano_usd(price, input_tokens, (max_tokens or 0) * choices) if price else 0
            return Reservation(tab, price, amount, max_tokens, None)
        if price is None:
            raise BudgetExceeded(
                f'{self._whose(tight)} has a hard budget, but model "{model}" has no price. '
                f"Add a [[price]] for it to prices.toml, or remove the limit: {_declared(tight)}."
            )
        wanted = max_tokens if max_tokens is not None else UNDECLARED_MAX_TOKENS
        amount = worst_case_nano_usd(price, input_tokens, wanted * choices)
        if amount <= room:
            return Reservation(tab, price, amount, wanted, None)
        fits = affordable_output_tokens(price, input_tokens, max(0, room))
        fits = wanted if fits is None else fits // choices
        if fits < min(p99, wanted) or fits < 1:
            self._exhausted(tight)
            raise self._exceeded(tight, price, input_tokens)
        amount = worst_case_nano_usd(price, input_tokens, fits * choices)
        return Reservation(tab, price, amount, fits, wanted)

    def note(self, cell: Cell) -> None:
        """`spent` has passed a level of its limit, or more than one."""
        while cell.spent >= cell.alert_at:
            self._raise(cell, cell.next_level())

    # --- periods and limits

    def roll(self, now_us: int) -> None:
        """Begin new periods where one has ended. A running request settles in the periods it came in."""
        for ledger in self._counting:
            ledger.roll(now_us)
        self._start_us = max(ledger.window.start_us for ledger in self._counting)
        self._end_us = min(ledger.window.end_us for ledger in self._counting)

    def configure(
        self, limits: Limits, keys: Mapping[str, Spending] = NO_KEYS, made: Preparation | None = None
    ) -> None:
        """Put limits into force; what is spent and reserved in a running period stays. What is counted for the first
        time comes from `made`, where it was restored; without it, from nothing but the requests under way."""
        ready = {ledger.key: ledger for ledger in (*self.ledgers, *(made.ledgers if made else ()))}
        before, self.ledgers, fresh = self.ledgers, [], []
        for need in _needs(limits, keys):
            ledger = ready.get((need.scope, need.kind, limits.timezone))
            if ledger is None:
                ledger = Ledger(need.scope, need.kind, ZoneInfo(limits.timezone))
                fresh.append(ledger)
            ledger.put_limits(need.default, need.named)
            self.ledgers.append(ledger)
        for ledger in before:
            if ledger not in self.ledgers:
                ledger.put_limits(None, {})  # somebody who prepares may still count on it
        self._recount(fresh)
        for ledger in self.ledgers:
            for cell in ledger.window.cells.values():
                self.note(cell)

    def prepare(self, limits: Limits, keys: Mapping[str, Spending], now_us: int) -> Preparation:
        """Begin to count what `limits` need and what is not wholly known yet. `drop` it in the end, used or not."""
        if 0 < self._latest_us - now_us < CLOCK_SLACK_US:
            now_us = self._latest_us  # the clock was set back a little: what was booked since is not of tomorrow
        known = {ledger.key: ledger for ledger in self.ledgers if ledger.known}
        zone = ZoneInfo(limits.timezone)
        wanted = [Ledger(need.scope, need.kind, zone) for need in _needs(limits, keys)]
        fresh = [ledger for ledger in wanted if ledger.key not in known]
        for ledger in fresh:
            ledger.roll(now_us)
        made = Preparation([known.get(ledger.key, ledger) for ledger in wanted], fresh, self.tabs)
        self._preparing.append(made)
        self._recount(fresh)
        return made

    def drop(self, made: Preparation) -> None:
        self._preparing.remove(made)
        self._recount([])

    def _recount(self, fresh: list[Ledger]) -> None:
        """What is in force and what is prepared counts; a request under way joins what is fresh, and leaves what no
        longer counts."""
        self._counting = list(
            dict.fromkeys([*self.ledgers, *(ledger for p in self._preparing for ledger in p.ledgers)])
        )
        self._start_us = self._end_us = 0
        counting = set(self._counting)
        for tab in self.tabs.values():
            for cell in [cell for cell in tab.cells if cell.ledger not in counting]:
                tab.cells.remove(cell)
                cell.tabs -= 1
            for ledger in fresh:
                ledger.roll(tab.at_us)
                if (name := tab.names[ledger.at]) and ledger.window.start_us <= tab.at_us < ledger.window.end_us:
                    tab.join(ledger.cell(name))

    # --- what people are told

    def of_app(self, kind: Kind) -> Cell:
        """The app's own day or month; its limit may be None."""
        ledger = next(ledger for ledger in self.ledgers if ledger.scope == "app" and ledger.kind == kind)
        return ledger.cell(self.app)

    def lines(self, most: int = 100) -> list[Line]:
        """Every budget with a limit, and the app's own; of the names without a limit of their own, the `most` that
        have used the largest share."""
        found: list[Line] = []
        for ledger in self.ledgers:
            cells = ledger.window.cells.values()
            shown = [cell for cell in cells if cell.limit is not None or ledger.scope == "app"]
            shown.sort(key=lambda cell: (cell.name not in ledger.named, -cell.spent))
            there = {cell.name for cell in shown}
            always = {*ledger.named, *((self.app,) if ledger.scope == "app" else ())}
            idle = [Cell(ledger, ledger.window, name, 0) for name in sorted(always) if name not in there]
            found += [_line(cell) for cell in (*shown[: most + len(ledger.named)], *idle)]
        return found

    # --- parts

    def _raise(self, cell: Cell, level: int) -> None:
        ledger = cell.ledger
        self._alert(
            Alert(
                self.app, ledger.scope, cell.name, ledger.kind, cell.window.start_us, level, cell.limit or 0, cell.spent
            )
        )

    def _exhausted(self, cell: Cell) -> None:
        while cell.alerted < ALERTS[-1]:
            self._raise(cell, cell.next_level())

    def _exceeded(self, cell: Cell, price: Price, input_tokens: int) -> BudgetExceeded:
        ledger = cell.ledger
        until = datetime.fromtimestamp(cell.window.end_us / 1e6, ledger.zone).strftime("%Y-%m-%d %H:%M %Z")
        word = "today" if ledger.kind == "day" else "this month"
        held = f" (and {usd(cell.reserved, 4)} is reserved by calls in flight)" if cell.reserved else ""
        return BudgetExceeded(
            f"{self._whose(cell)} has spent {usd(cell.spent, 4)} of {usd(cell.limit, 4)} USD {word}{held}; this call "
            f"needs up to {usd(worst_case_nano_usd(price, input_tokens, 1), 6)} USD for its prompt alone. "
            f"Raise {_declared(cell)}, or wait until {until}."
        )

    def _whose(self, cell: Cell) -> str:
        match cell.ledger.scope:
            case "app":
                return f'App "{self.app}"'
            case "branch":
                return f'Branch "{cell.name}" of app "{self.app}"'
            case "key":
                return f'Key {cell.name} of app "{self.app}"'
            case "subject":
                return f'This subject of app "{self.app}"'


class _Need(Struct):
    scope: Scope
    kind: Kind
    default: int | None
    named: dict[str, int]


def _needs(limits: Limits, keys: Mapping[str, Spending]) -> Iterator[_Need]:
    """The ledgers that limits need. The app's own are always counted, for people to see."""
    own = Spending(limits.nano_usd_per_day, limits.nano_usd_per_month)
    declared: Mapping[Scope, tuple[Spending, Mapping[str, Spending]]] = {
        "app": (own, {}),
        "branch": (limits.branch, limits.branches),
        "key": (limits.key, keys),
        "subject": (limits.subject, {}),
    }
    for scope in SCOPES:
        default, named = declared[scope]
        for kind in KINDS:
            amounts = {name: nano for name, one in named.items() if (nano := _amount(one, kind)) is not None}
            if scope == "app" or amounts or _amount(default, kind) is not None:
                yield _Need(scope, kind, _amount(default, kind), amounts)


def _amount(spending: Spending, kind: Kind) -> int | None:
    return spending.nano_usd_per_day if kind == "day" else spending.nano_usd_per_month


def _declared(cell: Cell) -> str:
    """Where the limit is written."""
    ledger = cell.ledger
    key = f"usd_per_{ledger.kind}"
    if ledger.scope == "app":
        return f"{key} in app.toml [limits]"
    if cell.name not in ledger.named:
        return f"{key} in app.toml [limits.{ledger.scope}]"
    if ledger.scope == "branch":
        return f"{key} in app.toml [limits.branches.{cell.name}]"
    return f"the key's own budget (waterline key create --usd-per-{ledger.kind})"


def _line(cell: Cell) -> Line:
    ledger, window = cell.ledger, cell.window
    return Line(
        ledger.scope, cell.name, ledger.kind, cell.limit, cell.spent, cell.reserved, window.start_us, window.end_us,
        ledger.zone.key, window.floor > 0,
    )  # fmt: skip
