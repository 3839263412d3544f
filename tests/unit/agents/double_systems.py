"""A calendar and a CRM in memory, and a model that is down."""

import datetime as dt
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from waterline.connectors.base import ConnectorFault
from waterline.connectors.visits import slots


async def no_model(route: str, messages: Any, schema: Any, max_tokens: int) -> None:
    """A model that is down."""


class DoubleSystems:
    """With the connectors' operations and faults."""

    def __init__(self, now: dt.datetime) -> None:
        self.now = now
        self.visits: dict[str, tuple[str, Mapping[str, Any]]] = {}  # key -> start, details
        self.leads: dict[str, Mapping[str, Any]] = {}  # phone -> what is known
        self.notes: dict[str, dict[str, str]] = {}  # lead -> key -> text
        self.taken: set[str] = set()  # starts that others have
        self.down: dict[str, ConnectorFault] = {}  # connector -> what it raises
        self.calls: list[tuple[str, str, str]] = []

    async def call(self, connector: str, operation: str, arguments: dict[str, Any], key: str) -> dict[str, Any]:
        self.calls.append((connector, operation, key))
        if connector in self.down:
            raise self.down[connector]
        if connector == "crm" and operation == "note":
            if not any(lead.get("lead") == arguments["lead"] for lead in self.leads.values()):
                raise ConnectorFault("refused", "There is no such lead. Make it first (upsert_lead).")
            self.notes.setdefault(arguments["lead"], {})[key] = arguments["text"]
            return {"noted": True}
        if connector == "crm":
            self.leads[arguments["phone"]] = arguments
            return {"lead": arguments.get("lead", key), "again": False}
        match operation:
            case "free_slots":
                zone = self.now.tzinfo
                assert isinstance(zone, ZoneInfo)
                found = slots(arguments["visits"], dt.date.fromisoformat(arguments["from"]), arguments["days"], zone)
                starts = [at.astimezone(zone).isoformat(timespec="minutes") for at in found]
                busy = {start for start, _ in self.visits.values()} | self.taken
                return {"slots": [{"start": s, "end": s, "left": 1} for s in starts if s not in busy]}
            case "book":
                return self._book(arguments, key)
            case "move":
                if arguments["booking"] not in self.visits:
                    raise ConnectorFault("refused", "There is no such visit")
                details = self.visits[arguments["booking"]][1]
                self._free(arguments["start"])
                self.visits[arguments["booking"]] = (_minutes(arguments["start"]), details)
                return {"start": arguments["start"]}
            case "cancel":
                return {"cancelled": True, "found": self.visits.pop(arguments["booking"], None) is not None}
        raise ConnectorFault("invalid", f"no operation {operation}")

    def _book(self, arguments: dict[str, Any], key: str) -> dict[str, Any]:
        if key not in self.visits:
            self._free(arguments["start"])
            self.visits[key] = (_minutes(arguments["start"]), arguments)
        return {"start": arguments["start"], "uid": key}

    def _free(self, start: str) -> None:
        start = _minutes(start)
        if start in self.taken or any(start == other for other, _ in self.visits.values()):
            raise ConnectorFault("refused", "No place is left at this time. Offer another.")


def _minutes(start: str) -> str:
    return dt.datetime.fromisoformat(start).isoformat(timespec="minutes")
