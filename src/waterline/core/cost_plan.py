"""What running the app costs besides its model calls: plan.toml, priced. Pure.

Each item is money, or hours at a declared rate, a month and once. What nobody has declared is unknown, which is never
0: it is printed as such, and every total that leaves one out says "at least". Format: docs/reference/plan.md.
"""

import tomllib
from decimal import Decimal
from typing import Any

from msgspec import Struct

from waterline.core.money import NANO

UNKNOWN = "unknown"
LARGEST_USD = 10**9
# The part below the water: what a plan without it has left out, rather than what costs nothing.
EXPECTED = ("observability", "on_call", "integration", "model_migration", "audit", "security", "evaluation", "support")
_KINDS = frozenset((*EXPECTED, "channel", "hosting", "model", "other"))
_ITEM = frozenset(
    {"kind", "name", "count", "usd_per_month", "usd_once", "hours_per_month", "hours_once", "rate", "units_per_month",
     "usd_per_unit", "source"}
)  # fmt: skip


class PlanError(ValueError):
    """Every mistake, one a line."""


class Item(Struct, frozen=True):
    """Nano-USD; None: unknown. `unknown` says what is missing."""

    kind: str
    name: str
    month_nano_usd: int | None
    once_nano_usd: int | None
    how: str
    source: str
    unknown: str = ""


class Total(Struct, frozen=True):
    """`at_least`: something in it is unknown."""

    nano_usd: int
    at_least: bool
    unknown: int


class Plan(Struct, frozen=True):
    items: list[Item]
    month: Total
    once: Total
    first_year: Total


def read_plan(text: str, model: Item | None = None) -> Plan:
    """`model`: the forecast of the model calls, which the plan itself does not hold. Raises PlanError."""
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PlanError(f"TOML syntax: {error}") from None
    wrong: list[str] = []
    for name in sorted(set(data) - {"rates", "item"}):
        wrong.append(f'unknown key "{name}". A plan has [rates] and [[item]]')
    rates = _rates(data.get("rates", {}), wrong)
    rows = data.get("item", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise PlanError('"item" is not a list of tables. Write [[item]]')
    items = [_item(row, number, rates, wrong) for number, row in enumerate(rows, 1)]
    if wrong:
        raise PlanError("\n".join(wrong))
    if model is not None:
        items.insert(0, model)
    there = {item.kind for item in items}
    items += [_undeclared(kind) for kind in EXPECTED if kind not in there]
    month, once = _total([i.month_nano_usd for i in items]), _total([i.once_nano_usd for i in items])
    year = Total(
        12 * month.nano_usd + once.nano_usd, month.at_least or once.at_least,
        sum(i.month_nano_usd is None or i.once_nano_usd is None for i in items),
    )  # fmt: skip
    return Plan(items, month, once, year)


def _undeclared(kind: str) -> Item:
    return Item(kind, kind.replace("_", " "), None, None, "", "", f'not in the plan; write kind = "{kind}"')


def _total(amounts: list[int | None]) -> Total:
    unknown = sum(a is None for a in amounts)
    return Total(sum(a for a in amounts if a is not None), unknown > 0, unknown)


def _rates(table: Any, wrong: list[str]) -> dict[str, int | None]:
    """Nano-USD an hour, by name."""
    if not isinstance(table, dict):
        wrong.append("[rates] is not a table. Write [rates] and engineer = 60")
        return {}
    return {name: _amount(value, f"[rates] {name}", wrong) for name, value in table.items()}


def _amount(value: Any, where: str, wrong: list[str]) -> int | None:
    """Nano-USD of an amount of USD; None: unknown, or a mistake."""
    number = _number(value, where, wrong)
    return None if number is None else int((number * NANO).to_integral_value())


def _number(value: Any, where: str, wrong: list[str]) -> Decimal | None:
    if value == UNKNOWN:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        wrong.append(f'{where}: {str(value)[:40]!r} is no number. Write a number, or "{UNKNOWN}"')
        return None
    number = Decimal(value)
    if not number.is_finite() or number < 0 or number > LARGEST_USD:
        wrong.append(f"{where}: {value} is not between 0 and {LARGEST_USD:,}")
        return None
    return number


def _item(row: dict[str, Any], number: int, rates: dict[str, int | None], wrong: list[str]) -> Item:
    name = str(row.get("name", "") or row.get("kind", ""))
    where = f"[[item]] {number} ({name[:40]})"
    for key in sorted(set(row) - _ITEM):
        wrong.append(f'{where}: unknown key "{key}". It may have {", ".join(sorted(_ITEM))}')
    kind = row.get("kind", "other")
    if kind not in _KINDS:
        wrong.append(f'{where}: there is no kind "{kind}". Kinds: {", ".join(sorted(_KINDS))}')
    if not name:
        wrong.append(f"{where}: has no name and no kind")
    parts = _Parts(row, where, rates, wrong)
    parts.money("usd_per_month", "usd_once")
    parts.hours()
    parts.units()
    if not parts.said:
        parts.unknown.append("no figure is declared")
    month, once = parts.sums()
    return Item(
        str(kind), name, month, once, "; ".join(parts.how), str(row.get("source", "")), "; ".join(parts.unknown)
    )


class _Parts:
    """Adds up what one item declares; a single unknown makes its side unknown."""

    def __init__(self, row: dict[str, Any], where: str, rates: dict[str, int | None], wrong: list[str]) -> None:
        self.row, self.where, self.rates, self.wrong = row, where, rates, wrong
        self.month: list[int | None] = []
        self.once: list[int | None] = []
        self.how: list[str] = []
        self.unknown: list[str] = []
        self.said = False

    def _get(self, key: str) -> Decimal | None:
        return _number(self.row[key], f"{self.where}: {key}", self.wrong)

    def _put(self, side: list[int | None], usd: Decimal | None, missing: str) -> None:
        self.said = True
        side.append(None if usd is None else int((usd * NANO).to_integral_value()))
        if usd is None and missing not in self.unknown:
            self.unknown.append(missing)

    def money(self, month: str, once: str) -> None:
        for key, side in ((month, self.month), (once, self.once)):
            if key in self.row:
                self._put(side, self._get(key), f"{key} is unknown")

    def hours(self) -> None:
        for key, side in (("hours_per_month", self.month), ("hours_once", self.once)):
            if key not in self.row:
                continue
            name = self.row.get("rate")
            if name not in self.rates:
                known = ", ".join(self.rates) or "none"
                self.wrong.append(f'{self.where}: {key} needs rate = one of [rates]: {known}; got "{name}"')
                continue
            hours, rate = self._get(key), self.rates[str(name)]
            cost = None if hours is None or rate is None else hours * Decimal(rate) / NANO
            self._put(side, cost, f"{key} is unknown" if hours is None else f"the rate {name} is unknown")
            if cost is not None and rate is not None:
                self.how.append(f"{hours:g} h at {Decimal(rate) / NANO:g} USD")

    def units(self) -> None:
        if ("units_per_month" in self.row) != ("usd_per_unit" in self.row):
            self.wrong.append(f"{self.where}: units_per_month and usd_per_unit belong together")
        elif "units_per_month" in self.row:
            units, each = self._get("units_per_month"), self._get("usd_per_unit")
            cost = None if units is None or each is None else units * each
            self._put(self.month, cost, "units_per_month or usd_per_unit is unknown")
            if cost is not None:
                self.how.append(f"{units:,} x {each} USD")

    def sums(self) -> tuple[int | None, int | None]:
        """A month and once, for all of `count`. A side that is not declared beside one that is costs nothing."""
        count = self._get("count") if "count" in self.row else Decimal(1)
        if count is None:
            self.unknown.append("count is unknown")
        elif count != 1:
            self.how.append(f"x {count:g}")

        def total(parts: list[int | None]) -> int | None:
            if not self.said or (parts and count is None) or any(p is None for p in parts):
                return None
            return int(sum(p for p in parts if p is not None) * (count or 0))

        return total(self.month), total(self.once)
