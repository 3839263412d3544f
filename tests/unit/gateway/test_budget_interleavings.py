"""Invariant 3 under a random scheduler: budgets of every scope, a virtual clock, crashes, changes of the limits.

The other account is kept by this file: a list of requests, as the store would have them, added up anew at each step by
another calendar (local dates) than the one that is tested. `WATERLINE_INTERLEAVINGS=20000` runs more of them.
"""

import os
import random
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from msgspec import Struct, field

from waterline.core.app_spec import Limits, Spending
from waterline.core.errors import BudgetExceeded
from waterline.core.money import Price, affordable_output_tokens, worst_case_nano_usd
from waterline.gateway import budget as module
from waterline.gateway.budget import Budget, Preparation, Reservation, Tab
from waterline.gateway.ledger import SCOPES, Ledger

INTERLEAVINGS = int(os.environ.get("WATERLINE_INTERLEAVINGS", "1500"))
STEPS = 60
CHEAP = Price(150, 600, 75, 150, 600, 150, 600, "cheap")
DEAR = Price(3 * 10**9, 15 * 10**9, 3 * 10**8, 375 * 10**7, 15 * 10**9, 3 * 10**9, 15 * 10**9, "dear")
FREE_OUT = Price(10**9, 0, 10**9, 10**9, 0, 10**9, 0, "free answers")
ZONES = ("UTC", "Europe/Lisbon", "Atlantic/Azores", "America/Havana", "Pacific/Auckland")
# The eve of a month, of a change of the clock at midnight, of a new year.
STARTS = (
    datetime(2026, 11, 30, 20, tzinfo=UTC),
    datetime(2026, 10, 24, 22, tzinfo=UTC),
    datetime(2026, 3, 28, 22, tzinfo=UTC),
    datetime(2027, 12, 31, 18, tzinfo=UTC),
    datetime(2028, 2, 29, 12, tzinfo=UTC),
)
P99 = 50


class Asked(Struct):
    """A request as the books have it. `admitted`: its worst case as last written before an attempt."""

    id: str
    names: tuple[str, str, str, str]
    at_us: int
    tab: Tab | None
    spent: int = 0
    holds: list[tuple[Reservation, int]] = field(default_factory=list)  # and what was reserved
    admitted: int = 0
    ended: bool = False
    drained: bool = True

    @property
    def held(self) -> int:
        return sum(amount for _, amount in self.holds)

    @property
    def stored(self) -> int:
        """What the store would count: an open one with its worst case."""
        return self.spent if self.ended else max(self.admitted, self.spent)


@lru_cache(maxsize=100_000)
def period_of(kind: str, at_us: int, zone: str) -> tuple[int, ...]:
    day = datetime.fromtimestamp(at_us // 1_000_000, ZoneInfo(zone))
    return (day.year, day.month, day.day) if kind == "day" else (day.year, day.month)


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_us = int(self.random.choice(STARTS).timestamp() * 1e6)
        self.limits = self.some_limits()
        self.keys = {"wl-1": Spending(nano_usd_per_day=self.amount())} if self.random.random() < 0.5 else {}
        self.asked: list[Asked] = []
        self.pending: list[tuple[Preparation, Limits]] = []
        self.excused: dict[tuple[object, ...], int] = {}
        self.counts: dict[str, int] = {}
        self.changed_us = self.since_us = self.now_us
        self.budget = Budget("school", self.limits)
        self.restart()

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def amount(self) -> int:
        return self.random.choice((10**5, 10**7, 10**8, 10**9))

    def spending(self) -> Spending:
        some = [self.amount() if self.random.random() < 0.4 else None for _ in range(2)]
        return Spending(*some)

    def some_limits(self) -> Limits:
        own = self.spending()
        branches = {"porto": self.spending()} if self.random.random() < 0.4 else {}
        return Limits(
            nano_usd_per_day=own.nano_usd_per_day, nano_usd_per_month=own.nano_usd_per_month,
            timezone=self.random.choice(ZONES), branch=self.spending(), key=self.spending(), subject=self.spending(),
            branches=branches,
        )  # fmt: skip

    # --- the other account

    def limit_of(self, scope: str, kind: str, name: str) -> int | None:
        def of(spending: Spending) -> int | None:
            return spending.nano_usd_per_day if kind == "day" else spending.nano_usd_per_month

        if scope == "app":
            return self.limits.nano_usd_per_day if kind == "day" else self.limits.nano_usd_per_month
        own = {"branch": self.limits.branches, "key": self.keys}.get(scope, {}).get(name)
        if own is not None and of(own) is not None:
            return of(own)
        return of(getattr(self.limits, scope))

    def books(self, scope: str, kind: str, name: str, at_us: int) -> tuple[int, int]:
        """Spent and held in the period of that moment."""
        at, zone = SCOPES.index(scope), self.limits.timezone
        mine = [a for a in self.asked if a.names[at] == name and
                period_of(kind, a.at_us, zone) == period_of(kind, at_us, zone)]  # fmt: skip
        return sum(a.spent for a in mine), sum(a.held for a in mine)

    def of_before(self, asked: Asked) -> bool:
        """Whether its period was over when the limits of now came into force: they are not about it."""
        return any(self.over(kind, asked) for kind in ("day", "month"))

    def over(self, kind: str, asked: Asked) -> bool:
        zone = self.limits.timezone
        here = period_of(kind, asked.at_us, zone) == period_of(kind, self.changed_us, zone)
        return asked.at_us < self.changed_us and not here

    def budgets_of(self, asked: Asked) -> list[tuple[str, str, str, int]]:
        found = []
        for scope, name in zip(SCOPES, asked.names, strict=True):
            for kind in ("day", "month"):
                limit = self.limit_of(scope, kind, name) if name else None
                if limit is not None and not self.over(kind, asked):
                    found.append((scope, kind, name, limit))
        return found

    def check(self, excuse: bool = False) -> None:
        """The two accounts agree, and no limit is passed that was not passed before. `excuse`: now it may be."""
        looked_at = self.asked if excuse else self.asked[-12:]
        for asked in {(a.names, a.at_us): a for a in looked_at}.values():
            for scope, kind, name, limit in self.budgets_of(asked):
                spent, held = self.books(scope, kind, name, asked.at_us)
                place = (scope, kind, name, period_of(kind, asked.at_us, self.limits.timezone), self.limits.timezone)
                if excuse:
                    self.excused[place] = max(spent + held, limit)
                assert spent + held <= max(limit, self.excused.get(place, 0)), place
        for ledger in self.budget.ledgers:
            self.same(ledger)

    def same(self, ledger: Ledger) -> None:
        window = ledger.window
        if window.end_us <= self.changed_us:
            return
        for cell in window.cells.values():
            assert (cell.spent, cell.reserved) == self.books(ledger.scope, ledger.kind, cell.name, window.start_us), (
                ledger.key, cell.name
            )  # fmt: skip

    # --- what may happen

    def step(self) -> None:
        acts = [self.ask] * 4 + [self.attempt] * 5 + [self.settle] * 5 + [self.end] * 3 + [self.wait] * 2
        acts += [self.crash, self.prepare, self.decide]
        self.random.choice(acts)()

    def wait(self) -> None:
        self.count("waits")
        self.now_us += self.random.choice((1, 10**6, 600 * 10**6, 3600 * 10**6, 9 * 3600 * 10**6, -5 * 10**6))

    def ask(self) -> None:
        pick = self.random.choice
        names = ("school", pick(("", "porto", "lisbon")), pick(("wl-1", "wl-2")), pick(("", "a", "b", "c")))
        late = self.random.choice((0, 0, 0, 3 * 10**6))  # the body was long
        at_us = max(self.now_us - late, self.since_us)
        tab = self.budget.open(f"t{len(self.asked)}", at_us, *names[1:])
        self.asked.append(Asked(tab.id, names, at_us, tab))
        for made, _ in self.pending:
            assert tab.id in made.ids

    def open(self) -> Asked | None:
        found = [a for a in self.asked if not a.ended]
        return self.random.choice(found) if found else None

    def attempt(self) -> None:
        asked = self.open()
        if asked is None or asked.tab is None:
            return
        price = self.random.choice((CHEAP, DEAR, DEAR, FREE_OUT, None))
        prompt, wanted = self.random.choice((1, 200, 5000)), self.random.choice((None, 1, 40, 400, 4000))
        choices = self.random.choice((1, 1, 1, 3))
        limits = self.budgets_of(asked)
        if self.of_before(asked):
            return
        rooms = [limit - sum(self.books(scope, kind, name, asked.at_us)) for scope, kind, name, limit in limits]
        room = min(rooms, default=None)
        try:
            hold = self.budget.reserve(asked.tab, price, "m", prompt, wanted, choices, P99)
        except BudgetExceeded:
            self.count("refused")
            assert room is not None
            if price is not None:
                full = wanted if wanted is not None else module.UNDECLARED_MAX_TOKENS
                assert worst_case_nano_usd(price, prompt, full * choices) > room, "a caller far from it was blocked"
                fits = affordable_output_tokens(price, prompt, max(0, room))
                assert fits is not None
                assert fits // choices < min(P99, full) or fits // choices < 1
            return self.check()
        asked.holds.append((hold, hold.amount))
        asked.admitted = asked.spent + asked.held
        if room is not None:
            assert price is not None
            assert hold.amount <= room
            if hold.clamped_from is None:
                self.count("admitted in full")
            else:
                self.count("clamped")
                assert hold.max_tokens is not None
                one_more = worst_case_nano_usd(price, prompt, (hold.max_tokens + 1) * choices)
                assert one_more > room, "clamped to less than there is"
        else:
            self.count("admitted without a limit")
        self.check()

    def settle(self) -> None:
        asked = self.open()
        if asked is None or not asked.holds:
            return
        hold, amount = asked.holds.pop(self.random.randrange(len(asked.holds)))
        share = self.random.choice((0, 0.1, 0.7, 1, 1, 2 if self.random.random() < 0.1 else 1))
        cost = int(amount * share)
        assert hold.settle(cost) == max(0, cost - amount)
        asked.spent += cost
        self.count("settled" if cost else "cancelled before anything was billed")
        if cost > amount:
            self.count("billed more than the worst case (declared)")
        self.check(excuse=cost > amount)

    def end(self) -> None:
        asked = self.open()
        if asked is None or asked.holds or asked.tab is None:
            return
        asked.tab.close()
        asked.ended = True
        self.check()

    def crash(self) -> None:
        """Everything in memory is gone; the store counts what was open with its worst case."""
        if self.random.random() < 0.5 or any(asked.at_us > self.now_us for asked in self.asked):
            return  # a start with a clock that is behind the books is another story: it counts too much
        self.count("crashes")
        for asked in self.asked:
            if not asked.ended:
                asked.spent, asked.holds, asked.ended, asked.tab = asked.stored, [], True, None
        self.pending = []
        self.restart()
        self.check(excuse=True)  # an attempt that was settled, but not written, counts with its worst case again

    def restart(self) -> None:
        self.changed_us = self.since_us = self.now_us
        self.budget = Budget("school", self.limits, self.keys)
        made = self.budget.prepare(self.limits, self.keys, self.now_us)
        made.restore(self.stored(made))
        self.budget.configure(self.limits, self.keys, made)
        self.budget.drop(made)

    def stored(self, made: Preparation) -> list[dict[str, int]]:
        """As `traces.spent_by` answers."""
        found = []
        for ledger, window in made.asked:
            sums: dict[str, int] = {}
            for asked in self.asked:
                name = asked.names[ledger.at]
                if name and asked.at_us >= window.start_us and asked.id not in made.ids and asked.stored:
                    sums[name] = sums.get(name, 0) + asked.stored
            found.append(dict(sorted(sums.items(), key=lambda item: -item[1])))
        return found

    def prepare(self) -> None:
        """Other limits are on their way; what happens meanwhile must be in them."""
        if len(self.pending) < 2:
            limits = self.some_limits()
            self.since_us = max(self.since_us, self.now_us, *(asked.at_us for asked in self.asked))
            self.pending.append((self.budget.prepare(limits, self.keys, self.now_us), limits))

    def decide(self) -> None:
        if not self.pending:
            return
        made, limits = self.pending.pop(0)
        if self.random.random() < 0.25:
            self.count("changes of the limits given up")
            self.budget.drop(made)
            return self.check()
        self.count("changes of the limits")
        made.restore(self.stored(made))
        self.limits = limits
        self.changed_us = max(self.now_us, self.since_us)
        self.budget.configure(limits, self.keys, made)
        self.budget.drop(made)
        self.check(excuse=True)


def played(seeds: range) -> tuple[str, dict[str, int]]:
    """What happened in them, for people and for a test."""
    total: dict[str, int] = {}
    for seed in seeds:
        world = World(seed)
        try:
            for _ in range(STEPS):
                world.step()
        except AssertionError as failure:
            raise AssertionError(f"seed {seed}: {failure}") from failure
        for what, n in world.counts.items():
            total[what] = total.get(what, 0) + n
    told = ", ".join(f"{n:,} {what}" for what, n in sorted(total.items(), key=lambda item: -item[1]))
    return f"\n{len(seeds):,} interleavings of {STEPS} steps: {told}", total


def test_no_limit_is_passed_and_nobody_is_blocked_early_in_thousands_of_interleavings(capsys):
    told, total = played(range(INTERLEAVINGS))
    with capsys.disabled():
        print(told)
    for what in ("refused", "clamped", "admitted in full", "crashes", "changes of the limits", "settled"):
        assert total[what] > INTERLEAVINGS / 10, what


@pytest.mark.slow
def test_nor_in_twenty_thousand_more(capsys):
    told, _ = played(range(1_000_000, 1_020_000))
    with capsys.disabled():
        print(told)


@pytest.mark.parametrize("seed", range(20))
def test_names_that_were_dropped_from_memory_are_never_given_their_limit_again(seed):
    """Memory for 8 names, 40 subjects: what is booked for one may be too much, never too little."""
    chance, limit = random.Random(seed), 10**8
    budget = Budget("school", Limits(subject=Spending(nano_usd_per_day=limit)))
    ledger = next(one for one in budget.ledgers if one.scope == "subject")
    ledger.most_names = 8
    now_us = int(STARTS[0].timestamp() * 1e6)
    true: dict[str, int] = {}
    running: list[tuple[str, Tab, Reservation]] = []
    admitted = 0
    for number in range(600):
        who = f"s{int(chance.paretovariate(1)) % 40}"
        tab = budget.open(f"t{number}", now_us, "", "wl-1", who)
        try:
            running.append((who, tab, budget.reserve(tab, DEAR, "m", 100, 100, 1, P99)))
            admitted += 1
        except BudgetExceeded:
            tab.close()
        while len(running) > chance.randrange(4):
            name, tab, hold = running.pop(chance.randrange(len(running)))
            cost = int(hold.amount * chance.random())
            hold.settle(cost)
            tab.close()
            true[name] = true.get(name, 0) + cost
            assert true[name] <= limit
        for name, cell in ledger.window.cells.items():
            assert cell.spent >= true.get(name, 0)
        assert len(ledger.window.cells) <= 8 + 4
    assert ledger.window.floor <= sum(true.values()) // 2
    assert admitted > 40
