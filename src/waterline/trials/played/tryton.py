"""Plays the leads of a Tryton (JSON-RPC), as far as connectors/tryton.py asks for them. A company is a place."""

import base64
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec

from waterline.core.app_spec import Connection
from waterline.trials.played.base import REFUSED, Record, Reply, Request

DATABASE, USER, PASSWORD, US, SESSION = "trial", "trial", "trial-password", 1, "trial-session"
AUTHORISED = "Session " + base64.b64encode(f"{USER}:{US}:{SESSION}".encode()).decode()
PARTY, WAY, OPPORTUNITY, NOTE = (
    "model.party.party", "model.party.contact_mechanism", "model.sale.opportunity", "model.ir.note",
)  # fmt: skip
TAKEN = ["UserError", ["The code of a party must be unique.", ""]]
STAMP = "1.000000"
Row = dict[str, Any]


class PlayedTryton:
    scoped = True

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.writes: dict[str, tuple[str, ...]] = {
            "upsert_lead": (f"{PARTY}.create", f"{OPPORTUNITY}.create"), "note": (f"{NOTE}.create",),
        }  # fmt: skip
        self.rows: dict[str, dict[str, list[Row]]] = {}  # place -> model -> its rows
        self._ids: Iterator[int] = count(1)

    def connection(self) -> Connection:
        return self._connection

    def settings(self, url: str) -> dict[str, str]:
        return {"url": url, "database": DATABASE, "user": USER, "password": PASSWORD}

    def place_of(self, request: Request) -> str:
        _, parameters = _asked(request)
        return str(parameters[-1].get("company") or "") if parameters and isinstance(parameters[-1], dict) else ""

    def wire(self, request: Request) -> str:
        method, _ = _asked(request)
        writes = method.rpartition(".")[2] in ("create", "write", "delete", "cancel", "lost")
        return method if writes and method.startswith("model.") else ""

    def answer(self, request: Request, place: str, dirty: bool) -> Reply:
        method, parameters = _asked(request)
        if method == "common.db.login":
            user, given = parameters[0], parameters[1]
            return _said([US, SESSION]) if (user, given.get("password")) == (USER, PASSWORD) else REFUSED
        if request.headers.get("authorization") != AUTHORISED:
            return REFUSED
        model, _, verb = method.rpartition(".")
        tables = self.rows.setdefault(place, {PARTY: [], WAY: [], OPPORTUNITY: [], NOTE: []})
        if method == "model.res.user.get_preferences":
            return _said({"company": 1})
        if model not in tables:
            return _failed([f"'{model}'", "Traceback"])
        match verb:
            case "search_read":
                found = [self._shown(tables, model, row) for row in tables[model] if _fits(row, parameters[0])]
                return _said(_soiled(model, found) if dirty else found)
            case "create":
                return self._create(tables, model, parameters[0])
            case "write":
                self._write(tables, model, *parameters[:2])
                return _said(None)
            case "delete":
                tables[model] = [row for row in tables[model] if row["id"] not in parameters[0]]
                return _said(None)
            case "cancel" | "lost":
                self._write(tables, model, parameters[0], {"state": "cancelled" if verb == "cancel" else "lost"})
                return _said(None)
        return _failed([f"'{method}'", "Traceback"])

    def changed(self, request: Request) -> Reply:
        """A module was updated: the field is called otherwise."""
        method, _ = _asked(request)
        return _said([US, SESSION]) if method == "common.db.login" else _failed(["'reference'", "Traceback"])

    def records(self, place: str) -> list[Record]:
        tables = self.rows.get(place, {})
        leads = [Record("upsert_lead", str(r.get("reference")), r["at_s"]) for r in tables.get(OPPORTUNITY, ())]
        notes = [Record("note", str(r["message"]).rpartition("\n")[2], r["at_s"]) for r in tables.get(NOTE, ())]
        return leads + notes

    def _create(self, tables: dict[str, list[Row]], model: str, given: list[Row]) -> Reply:
        made = []
        for values in given:
            if model == PARTY and any(row["code"] == values["code"] for row in tables[PARTY]):
                return _failed(TAKEN)
            row = {"id": next(self._ids), "at_s": time.time(), **values}
            if model == OPPORTUNITY:
                row |= {"number": str(row["id"]), "state": "lead"}
            tables[model].append(row)
            self._ways(tables, row)
            made.append(row["id"])
        return _said(made)

    def _write(self, tables: dict[str, list[Row]], model: str, ids: list[int], values: Row) -> None:
        for row in tables[model]:
            if row["id"] in ids:
                row.update(values)
                self._ways(tables, row)

    def _ways(self, tables: dict[str, list[Row]], row: Row) -> None:
        """What a party is reached by comes with it, as commands for another table."""
        for command, ways in row.pop("contact_mechanisms", ()):
            if command == "create":
                tables[WAY] += [
                    {"id": next(self._ids), "party": row["id"], "value_compact": w["value"], **w} for w in ways
                ]

    def _shown(self, tables: dict[str, list[Row]], model: str, row: Row) -> Row:
        if model != OPPORTUNITY:
            return row
        party = next((p for p in tables[PARTY] if p["id"] == row["party"]), {})
        ways = [w for w in tables[WAY] if w["party"] == row["party"]]
        reached = {kind: next((w["value"] for w in ways if (w["type"] == "email") == (kind == "email")), "")
                   for kind in ("phone", "email")}  # fmt: skip
        return {**row, "party.": {"name": party.get("name"), **reached}, "create_uid": US, "write_uid": None,
                "_timestamp": STAMP}  # fmt: skip


def _asked(request: Request) -> tuple[str, list[Any]]:
    try:
        said = msgspec.json.decode(request.body)
        return str(said["method"]), list(said["params"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return "", []


def _fits(row: Row, domain: list[Any]) -> bool:
    if domain and domain[0] == "OR":
        return any(_fits(row, [clause]) for clause in domain[1:])
    if domain and isinstance(domain[0], str):
        field, how, wanted = domain
        value = row.get(field)
        if how == "in":
            return value in wanted
        return str(value).endswith(wanted.lstrip("%")) if how == "like" else value == wanted
    return all(_fits(row, clause) for clause in domain)


def _soiled(model: str, found: list[Row]) -> list[Row]:
    """As years of work by hand leave it: people without a name, ways to nobody, texts that were pasted."""
    if model == WAY:
        return [{"id": 0, "party": None, "value": None}, *({**row, "value_compact": None} for row in found)]
    if model == OPPORTUNITY:
        pasted = "=HYPERLINK(\u202e)\u0000 <script>" + "x" * 20_000
        return [{**row, "party.": None, "number": None, "description": pasted, "comment": None} for row in found]
    return found


def _said(result: Any) -> Reply:
    return Reply(200, msgspec.json.encode({"id": 1, "result": result}), {"content-type": "application/json"})


def _failed(error: list[Any]) -> Reply:
    return Reply(200, msgspec.json.encode({"id": 1, "error": error}), {"content-type": "application/json"})
