"""How our numbers are: what WhatsApp says of them slows, pauses, stops or reroutes them, and people hear of it."""

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from waterline.channels.base import SendFault
from waterline.channels.pacing import Begins, Lane, Pairs
from waterline.channels.whatsapp_errors import RULES
from waterline.channels.whatsapp_parse import AccountEvent
from waterline.control.channels import Pace
from waterline.store.channels import EventRow, NumberRow

log = logging.getLogger("waterline.whatsapp")
Level = Literal["info", "warning", "critical"]
TIERS = {"TIER_50": 50, "TIER_250": 250, "TIER_1K": 1000, "TIER_2K": 2000, "TIER_10K": 10_000, "TIER_100K": 100_000}
PAUSE_US = 3600 * 1_000_000
RETRY_STOPPED_US = 600 * 1_000_000  # an error stops a number for so long; a ban, until it is lifted
HARD = ("BANNED", "DISABLED", "UNLINKED", "DELETED", "MIGRATED")
PATIENCE_S = 30.0  # how long a message waits for its number's turn
CAREFUL = {"YELLOW": 1 / 8, "RED": 1 / 40}  # this part of the pace, for templates
SAY = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


class Told(Struct, frozen=True):
    """What an event came to: rows to keep."""

    numbers: tuple[NumberRow, ...] = ()
    events: tuple[EventRow, ...] = ()


class Numbers:
    """In memory; what it returns as `Told` is to be kept by the caller. `limit`: the portfolio's, 0 while unknown."""

    def __init__(
        self,
        rate: float,
        clock_us: Callable[[], int],
        count: Callable[[str], None],
        reserve: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._rate = rate
        self._clock_us = clock_us
        self._count = count
        self._reserve = reserve
        self.rows: dict[str, NumberRow] = {}
        self.begins = Begins(0)
        self.pairs = Pairs()
        self._lanes: dict[str, Lane] = {}
        self._careful: dict[tuple[str, str], Lane] = {}  # number, quality: what we begin there

    def restore(self, rows: list[NumberRow]) -> None:
        self.rows = {row.number: row for row in rows}
        self._set_limit()

    def lane(self, number: str) -> Lane:
        lane = self._lanes.get(number)
        if lane is None:
            lane = self._lanes[number] = Lane(self._rate)
        return lane

    def lanes(self, number: str, *, begins: bool) -> list[Lane]:
        """Whose turns a message waits for. Templates of a number with a falling rating go slowly, answers do not: users
        report what they did not ask for."""
        row = self.rows.get(number)
        part = CAREFUL.get(row.quality) if row is not None and begins else None
        if row is None or part is None:
            return [self.lane(number)]
        careful = self._careful.get((number, row.quality))
        if careful is None:
            careful = self._careful[number, row.quality] = Lane(max(0.1, self._rate * part))
        return [careful, self.lane(number)]

    def paces(self) -> dict[str, Pace]:
        return {number: Pace(lane.most, round(lane.rate, 1), lane.waiting) for number, lane in self._lanes.items()}

    # --- before sending ------------------------------------------------------------------------------------------

    def route(self, number: str, *, begins: bool, marketing: bool) -> str:
        """The number to send from: itself, or the one that stands in for it where a template is sent (a reply cannot
        move: the user's 24-hour window is with the number that they wrote to). Raises SendFault."""
        seen = [number]
        while True:
            row = self.rows.get(seen[-1])
            fault = _trouble(row, seen[-1], begins, marketing, self._clock_us()) if row is not None else None
            if fault is None:
                return seen[-1]
            other = self._reserve().get(seen[-1], "")
            if not begins or not other or other in seen:
                raise fault
            seen.append(other)

    # --- what came of it -----------------------------------------------------------------------------------------

    def went_well(self, number: str) -> None:
        self.lane(number).went_well()

    def failed(self, number: str, to: str, fault: SendFault) -> Told:
        """An error code, from an answer or from a status."""
        rule = RULES.get(fault.code)
        now = self._clock_us()
        row = self.rows.get(number) or NumberRow(number)
        if fault.kind == "number_stopped":
            return self._changed(
                replace(row, stopped=fault.message, updated_us=now), "critical", "stopped", fault.message
            )
        if rule is None:
            return Told()
        match rule.slows:
            case "number":
                self.lane(number).too_fast()
                self._count("whatsapp_slowed")
            case "pair":
                self.pairs.too_fast(number, to, now / 1e6, fault.retry_after_s or 6.0)
            case "campaign" | "portfolio":
                if row.paused_until_us > now:
                    return Told()
                until = now + max(PAUSE_US, int((fault.retry_after_s or 0) * 1e6))
                return self._changed(
                    replace(row, paused_until_us=until, updated_us=now), "warning", "paused", fault.message
                )
        return Told()

    def event(self, event: AccountEvent) -> Told:
        """Of WhatsApp's web hooks phone_number_quality_update, account_update, account_alerts and their like."""
        value = event.value
        what = str(value.get("event", ""))
        row = self._of_display(str(value.get("display_phone_number") or value.get("phone_number") or ""))
        match event.field:
            case "phone_number_quality_update":
                return self._quality(event, row, what)
            case "business_capability_update":
                most = value.get("max_daily_conversations_per_business") or value.get(
                    "max_daily_conversation_per_phone"
                )
                tier = f"TIER_{most}"
                return self._limit(event, tier)
            case "account_update":
                return self._account(event, row, what)
            case "account_review_update" | "phone_number_name_update":
                said = str(value.get("decision", ""))
                return self._told(event, row, "info" if said == "APPROVED" else "warning", f"{event.field}: {said}")
            case "account_alerts" | "security":
                said = str(value.get("alert_description") or value.get("event") or value.get("alert_type") or "")
                level: Level = "critical" if value.get("alert_severity") == "CRITICAL" else "warning"
                return self._told(event, row, level, said or event.field)
        return Told()

    def synced(self, account: str, found: list[Mapping[str, Any]]) -> Told:
        """What the API says of the account's numbers now. A stop that it does not confirm ends."""
        rows, events = [], []
        for told in found:
            number = str(told.get("id", ""))
            before = self.rows.get(number) or NumberRow(number)
            status, quality = str(told.get("status", "")), str(told.get("quality_rating", "")) or before.quality
            stopped = f"WhatsApp says {status}" if status in HARD else ""
            row = NumberRow(
                number, account, str(told.get("display_phone_number", "")), str(told.get("verified_name", "")), quality,
                status, str(told.get("messaging_limit_tier", "")) or before.tier, stopped, before.paused_until_us,
                self._clock_us(),
            )  # fmt: skip
            self.rows[number] = row
            rows.append(row)
            if stopped and not before.stopped:
                events.append(self._event(number, "critical", "stopped", stopped))
            if quality != before.quality and quality in ("YELLOW", "RED"):
                events.append(self._event(number, _level(quality), "quality", _QUALITY[quality]))
        self._set_limit()
        return Told(tuple(rows), tuple(events))

    # --- one kind of event each ----------------------------------------------------------------------------------

    def _quality(self, event: AccountEvent, row: NumberRow | None, what: str) -> Told:
        now, tier = self._clock_us(), str(event.value.get("current_limit", ""))
        if row is None:
            return self._told(event, None, "warning", f"quality: {what}")
        quality = {"FLAGGED": "RED", "DOWNGRADE": "YELLOW", "UNFLAGGED": "GREEN"}.get(what, row.quality)
        row = replace(row, quality=quality, tier=tier or row.tier, updated_us=now)
        self.rows[row.number] = row
        self._set_limit()
        text = _QUALITY.get(quality, "The quality rating is good.") + (f" Messaging limit: {tier}." if tier else "")
        return self._changed(row, _level(quality), f"quality {what}", text, event.at_us)

    def _limit(self, event: AccountEvent, tier: str) -> Told:
        rows = tuple(replace(row, tier=tier) for row in self.rows.values() if row.account in ("", event.account))
        self.rows |= {row.number: row for row in rows}
        self._set_limit()
        events = (self._event(event.account, "info", "limit", f"The messaging limit is {tier}.", event.at_us),)
        return Told(rows, events)

    def _account(self, event: AccountEvent, row: NumberRow | None, what: str) -> Told:
        ban = str(_table(event.value.get("ban_info")).get("waba_ban_state", ""))
        concerned = [row] if row is not None else [r for r in self.rows.values() if r.account in ("", event.account)]
        if what == "DISABLED_UPDATE" and ban == "SCHEDULE_FOR_DISABLE":
            text = "WhatsApp will ban this account. Stop marketing, see Business Support Home, appeal now."
            return self._each(event, concerned, "critical", "ban announced", text, paused_us=30 * 24 * PAUSE_US)
        if what in ("DISABLED_UPDATE", "ACCOUNT_DELETED", "PHONE_NUMBER_REMOVED") and ban != "REINSTATE":
            return self._each(event, concerned, "critical", "stopped", f"WhatsApp says {ban or what}.", stop=True)
        if ban == "REINSTATE":
            return self._each(event, concerned, "info", "reinstated", "The account may send again.", start=True)
        if what == "ACCOUNT_RESTRICTION":
            kinds = [str(r.get("restriction_type", "")) for r in event.value.get("restriction_info") or []]
            text = f"WhatsApp restricts this account: {', '.join(kinds)}."
            stop = any("CUSTOMER_INITIATED" in kind for kind in kinds)
            return self._each(event, concerned, "critical", "restricted", text, stop=stop, paused_us=24 * PAUSE_US)
        if what == "ACCOUNT_VIOLATION":
            said = str(_table(event.value.get("violation_info")).get("violation_type", ""))
            return self._told(
                event, row, "critical", f"WhatsApp reports a violation of policy: {said}. A ban may follow."
            )
        return self._told(event, row, "info", f"account: {what}")

    def _each(
        self,
        event: AccountEvent,
        rows: list[NumberRow],
        level: Level,
        what: str,
        text: str,
        *,
        stop: bool = False,
        start: bool = False,
        paused_us: int = 0,
    ) -> Told:
        now, changed, events = self._clock_us(), [], []
        for row in rows:
            stopped = text if stop else "" if start else row.stopped
            until = 0 if start else max(row.paused_until_us, now + paused_us if paused_us else 0)
            status = "DISABLED" if stop else "CONNECTED" if start else row.status
            new = replace(row, stopped=stopped, status=status, paused_until_us=until, updated_us=now)
            self.rows[row.number] = new
            changed.append(new)
            events.append(self._event(row.number, level, what, text, event.at_us))
        if not rows:
            events.append(self._event(event.account, level, what, text, event.at_us))
        return Told(tuple(changed), tuple(events))

    def _changed(self, row: NumberRow, level: Level, what: str, text: str, at_us: int = 0) -> Told:
        self.rows[row.number] = row
        return Told((row,), (self._event(row.number, level, what, text, at_us),))

    def _told(self, event: AccountEvent, row: NumberRow | None, level: Level, text: str) -> Told:
        address = row.number if row is not None else event.account
        return Told((), (self._event(address, level, event.field, text, event.at_us),))

    def _event(self, address: str, level: Level, what: str, text: str, at_us: int = 0) -> EventRow:
        log.log(SAY[level], "number %s: %s. %s", address, what, text)
        self._count(f"whatsapp_{level}")
        return EventRow(at_us or self._clock_us(), "whatsapp", address, level, what, text[:500])

    def _of_display(self, display: str) -> NumberRow | None:
        digits = re.sub(r"\D", "", display)
        return next((r for r in self.rows.values() if digits and re.sub(r"\D", "", r.display) == digits), None)

    def _set_limit(self) -> None:
        """One limit for the portfolio: WhatsApp tells it of each number, and they agree; if not, the larger is new."""
        known = [_limit_of(row.tier) for row in self.rows.values() if row.tier]
        self.begins.limit = 0 if not known or 0 in known else max(known)


_QUALITY = {
    "YELLOW": "The quality rating fell: users block or report this number. Send less marketing, and only to who asked "
    "for it.",
    "RED": "The quality rating is low; WhatsApp may lower the limit or ban the number. Marketing from it is stopped "
    "here until it is better.",
}


def _trouble(row: NumberRow, number: str, begins: bool, marketing: bool, now_us: int) -> SendFault | None:
    if row.stopped and (row.status in HARD or now_us - row.updated_us < RETRY_STOPPED_US):
        return SendFault("number_stopped", f"Number {row.display or number} is stopped: {row.stopped}")
    if marketing and row.quality == "RED":
        return SendFault("later", f"Number {row.display or number}: {_QUALITY['RED']}", retry_after_s=6 * 3600.0)
    if begins and row.paused_until_us > now_us:
        wait = (row.paused_until_us - now_us) / 1e6
        return SendFault("later", f"Number {row.display or number} begins no conversations now.", retry_after_s=wait)
    return None


def _level(quality: str) -> Level:
    return "critical" if quality == "RED" else "warning" if quality == "YELLOW" else "info"


def _limit_of(tier: str) -> int:
    if tier in TIERS:
        return TIERS[tier]
    digits = re.sub(r"\D", "", tier)
    return int(digits) if digits else 0


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
