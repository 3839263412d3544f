"""The price of one message on WhatsApp, in nano-USD, from a dated table. Unknown is None, never zero."""

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from msgspec import Struct

from waterline.core.money import nano_from_usd

DAY_US = 86_400_000_000

CATEGORIES = ("service", "utility", "marketing", "authentication")
# The first letters of a business-scoped user id are a country; a telephone number begins with its calling code.
CALLING = {
    "PT": "351", "BR": "55", "ES": "34", "MX": "52", "US": "1", "CA": "1", "GB": "44", "DE": "49", "IT": "39",
    "FR": "33", "AR": "54", "CO": "57", "CL": "56", "PE": "51", "IN": "91",
}  # fmt: skip


class MessagePrice(Struct, frozen=True):
    """`nano_usd` None: no price is known. `free`: within the number's free replies of the month."""

    nano_usd: int | None
    category: str
    country: str  # the calling code that was matched, or ""
    version: str
    free: bool = False


class _Entry(Struct, frozen=True):
    from_us: int
    group: str
    nano: Mapping[str, int]


class MessagePrices:
    """`own`: "55/utility" -> nano-USD, an app's figures; they win at any time."""

    def __init__(self, text: str, own: Mapping[str, int] | None = None) -> None:
        table = tomllib.loads(text, parse_float=Decimal)
        self.version: str = table["version"]
        self.free_service: int = table["free_service"]
        self.service_from_us = _day_us(table["service_billed_from"])
        self.own = dict(own or {})
        self._by_code: dict[str, list[_Entry]] = {}
        for row in table["price"]:
            nano = {c: nano_from_usd(row[c]) for c in CATEGORIES if c in row}
            entry = _Entry(_day_us(row["valid_from"]), row["group"], nano)
            for code in row["countries"]:
                self._by_code.setdefault(code, []).append(entry)
        for entries in self._by_code.values():
            entries.sort(key=lambda e: e.from_us)

    def of(self, category: str, to: str, at_us: int, sent_free: int = 0) -> MessagePrice:
        """`to`: a telephone number or a business-scoped id. `sent_free`: replies that this number has had for nothing
        this month."""
        code = self.country(to)
        if category == "service":
            if at_us < self.service_from_us or sent_free < self.free_service:
                return MessagePrice(0, category, code, self.version, free=True)
            if f"{code}/service" not in self.own:
                return MessagePrice(self._nano("utility", code, at_us), category, code, self.version)
        return MessagePrice(self._nano(category, code, at_us), category, code, self.version)

    def country(self, to: str) -> str:
        """The longest calling code that the table or the app's own figures know; "" if none fits."""
        digits = CALLING[to[:2]] if to[:2] in CALLING and to[2:3] == "." else to.lstrip("+")
        known = {*self._by_code, *(key.partition("/")[0] for key in self.own)}
        return next((digits[:n] for n in (4, 3, 2, 1) if digits[:n] in known), "")

    def _nano(self, category: str, code: str, at_us: int) -> int | None:
        mine = self.own.get(f"{code}/{category}")
        if mine is not None:
            return mine
        entries: list[_Entry] = self._by_code.get(code) or self._by_code.get("*", [])
        valid = [e for e in entries if e.from_us <= at_us and category in e.nano]
        return valid[-1].nano[category] if valid else None


def month_of(at_us: int) -> str:
    """WhatsApp's free replies, and our budgets of fees, count by the calendar month in UTC."""
    return _month_of_day(at_us // DAY_US)


@lru_cache(maxsize=64)
def _month_of_day(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m")


def _day_us(text: Any) -> int:
    return int(datetime.fromisoformat(str(text)).replace(tzinfo=UTC).timestamp() * 1e6)
