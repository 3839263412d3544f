"""Leads in a Tryton ERP (JSON-RPC, modules party and sale_opportunity; tested with trytond 8.2).

A lead is an opportunity whose reference holds a digest of its key; the person is a party, found by telephone or e-mail,
or made with a code that Tryton keeps unique, so that two at once make one. Tryton has no unique field for
opportunities: after making one we look again, and whoever sees two of the same key keeps the older and removes the
other, so all come to the same.
"""

import asyncio
import base64
import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

import msgspec

from waterline.connectors.base import Config, ConnectorFault, Manifest, Operation, Scope
from waterline.connectors.http import judge, send, site_of
from waterline.connectors.threads import Threads

TIMEOUT_S = 8.0
_LINE = {"type": "string", "maxLength": 300}
_TEXT = {"type": "string", "maxLength": 4000}
_LEAD = {"type": "string", "minLength": 1, "maxLength": 300, "description": "The key of upsert_lead, or its `lead`"}
_PERSONAL = ("name", "phone", "email", "comment", "text", "description")

MANIFEST = Manifest(
    kind="tryton",
    title="ERP and CRM (Tryton)",
    settings=("url", "database", "user", "password"),
    secrets=("password",),
    branch_scope="id of the branch's company in Tryton",
    operations=(
        Operation(
            "upsert_lead",
            "write",
            "Makes a lead of a person, or adds what is new to the one that is there",
            {
                "type": "object",
                "properties": {
                    "name": {**_LINE, "minLength": 1},
                    "phone": _LINE,
                    "email": _LINE,
                    "description": {**_LINE, "description": "What it is about, in a line: Grade 3, autumn"},
                    "comment": _TEXT,
                    "lead": {**_LEAD, "description": "Which lead; the call's own key if it is not said"},
                },
                "required": ["name"],
            },
            once="lookup",
            personal=_PERSONAL,
            timeout_s=20.0,
        ),
        Operation(
            "find",
            "read",
            "A lead: its number, state and person",
            {"type": "object", "properties": {"lead": _LEAD}, "required": ["lead"]},
            personal=_PERSONAL,
        ),
        Operation(
            "note",
            "write",
            "Adds a note to a lead",
            {"type": "object", "properties": {"lead": _LEAD, "text": _TEXT}, "required": ["lead", "text"]},
            once="lookup",
            personal=_PERSONAL,
        ),
        Operation(
            "close",
            "write",
            "Closes a lead that came to nothing",
            {
                "type": "object",
                "properties": {
                    "lead": _LEAD,
                    "outcome": {"type": "string", "enum": ["lost", "cancelled"]},
                    "reason": _TEXT,
                },
                "required": ["lead", "outcome"],
            },
            once="condition",
            confirm=True,
        ),
        Operation("ping", "read", "Whether Tryton answers and knows us", {"type": "object", "properties": {}}),
    ),
)

_FIELDS = [
    "id", "number", "state", "description", "comment", "party", "party.name", "party.phone", "party.email",
    "create_uid", "write_uid", "_timestamp",
]  # fmt: skip
_PARTY, _OPPORTUNITY, _NOTE = "model.party.party", "model.sale.opportunity", "model.ir.note"
_UNKNOWN = re.compile(r"\A'[\w.]+'\Z|no such (column|table)|does not exist|has no (field|attribute)|UndefinedColumn")
_GONE = re.compile(r"that don't exist\.\Z")  # ir.msg_read_error
_BUSY = re.compile(r"database is locked|could not serialize|deadlock|connection")


class Refusal(ConnectorFault):
    """Tryton's own validation said no."""


class Gone(Refusal):
    """What Tryton had found was not there any more when it read it."""


class Tryton:
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"company": {"type": "integer", "minimum": 1, "description": "of branches without a `scope`"}},
    }
    manifest = MANIFEST

    def __init__(self, config: Config) -> None:
        self._config = config
        self._threads = Threads(config.name)
        self._session = ""
        self._user = 0
        self._company = 0  # of the user's preferences
        self._login = asyncio.Lock()

    @staticmethod
    def describe(parameters: Mapping[str, Any], files: Mapping[str, str]) -> Manifest:
        return MANIFEST

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        company = await self._company_of(scope)
        match operation:
            case "upsert_lead":
                return await self._upsert(arguments, str(arguments.get("lead", key)), company)
            case "find":
                found = await self._leads(arguments["lead"], company)
                return {"found": True, **_shown(found[0])} if found else {"found": False}
            case "note":
                return await self._note(await self._lead(arguments["lead"], company), arguments["text"], key, company)
            case "close":
                return await self._close(await self._lead(arguments["lead"], company), arguments, company)
            case _:
                return {"ok": True, "company": company}

    async def close(self) -> None:
        self._threads.close()

    # --- leads -----------------------------------------------------------------------------------------------------

    async def _upsert(self, given: Mapping[str, Any], lead: str, company: int) -> dict[str, Any]:
        found = await self._leads(lead, company)
        again = bool(found)
        if not found:
            party = await self._party(given, lead, company)
            values = {
                "party": party,
                "reference": _reference(lead),
                "company": company,
                "description": given.get("description") or None,
                "comment": given.get("comment") or None,
            }
            await self._rpc(f"{_OPPORTUNITY}.create", [values], company=company)
            found = await self._leads(lead, company)
            if not found:
                raise ConnectorFault("schema", "A new opportunity cannot be found. See the rules in Tryton.")
        kept, *surplus = found
        for one in surplus:
            await self._remove(one["id"], company)
        if again:
            await self._add_news(kept, given, lead, company)
        return {**_shown(kept), "again": again}

    async def _add_news(self, lead: dict[str, Any], given: Mapping[str, Any], key: str, company: int) -> None:
        """What was learned or corrected since. What people wrote is never replaced: from the first time that somebody
        else has written in the lead, we write notes beneath it."""
        told = ("description", "comment")
        news = {name: given[name] for name in told if given.get(name) and given[name] != lead.get(name)}
        if news and lead["state"] in ("lead", "opportunity"):
            if (lead.get("write_uid") or lead.get("create_uid")) == self._user:
                seen = {f"sale.opportunity,{lead['id']}": lead["_timestamp"]}  # who writes meanwhile is not overwritten
                await self._rpc(f"{_OPPORTUNITY}.write", [lead["id"]], news, company=company, _timestamp=seen)
            else:
                text = "\n".join(str(value) for value in news.values())
                await self._note(lead, text, f"{key}/news/{_digest(text)}", company)
        party = lead.get("party")
        ways = _ways(given)
        if party and ways:
            known = await self._search(
                "model.party.contact_mechanism", [["party", "=", party]], ["value", "value_compact"], company
            )
            values = {str(value) for one in known for value in (one.get("value"), one.get("value_compact"))}
            if new := [way for way in ways if way["value"] not in values]:
                await self._with_ways(
                    lambda made: self._rpc(
                        f"{_PARTY}.write", [party], {"contact_mechanisms": [["create", made]]}, company=company
                    ),
                    new,
                )

    async def _party(self, given: Mapping[str, Any], lead: str, company: int) -> int:
        """The person: known by telephone or e-mail, or new."""
        ways = _ways(given)
        values = [way["value"] for way in ways]
        if values:
            domain = ["OR", ["value", "in", values], ["value_compact", "in", values]]
            known = await self._search("model.party.contact_mechanism", [domain], ["party"], company)
            if parties := sorted(int(one["party"]) for one in known if one.get("party")):
                return parties[0]
        code = f"WL-{_digest(values[0] if values else lead)[:16]}"
        try:
            made = await self._with_ways(
                lambda some: self._rpc(
                    f"{_PARTY}.create",
                    [{"name": given["name"], "code": code, "contact_mechanisms": [["create", some]]}],
                    company=company,
                ),
                ways,
            )
            return int(made[0])
        except Refusal:  # the code is taken: somebody made this person a moment ago
            found = await self._search(_PARTY, [["code", "=", code]], ["id"], company)
            if not found:
                raise
            return int(found[0]["id"])

    async def _with_ways(self, do: Any, ways: list[dict[str, str]]) -> Any:
        """A telephone number that Tryton finds wrong is kept as text: a lead is not lost for a digit."""
        try:
            return await do(ways)
        except Refusal:
            if not ways:
                raise
            return await do([{**way, "type": "other"} for way in ways])

    async def _note(self, lead: dict[str, Any], text: str, key: str, company: int) -> dict[str, Any]:
        mark = f"[{_digest(key)[:16]}]"
        resource = f"sale.opportunity,{lead['id']}"
        domain = [["resource", "=", resource], ["message", "like", f"%{mark}"]]
        notes = await self._search(_NOTE, domain, ["id"], company)
        again = bool(notes)
        if not notes:
            await self._rpc(f"{_NOTE}.create", [{"resource": resource, "message": f"{text}\n{mark}"}], company=company)
            notes = await self._search(_NOTE, domain, ["id"], company)
        for one in notes[1:]:
            await self._delete(_NOTE, one["id"], [["id", "=", one["id"]], *domain], company)
        return {"noted": True, "again": again}

    async def _close(self, lead: dict[str, Any], given: Mapping[str, Any], company: int) -> dict[str, Any]:
        outcome = given["outcome"]
        if lead["state"] == outcome:
            return {"closed": True, "again": True}
        if lead["state"] not in ("lead", "opportunity"):
            raise ConnectorFault("refused", f"Lead {lead['number']} is {lead['state']} already. A person must decide.")
        if outcome == "lost" and given.get("reason"):
            await self._rpc(f"{_OPPORTUNITY}.write", [lead["id"]], {"lost_reason": given["reason"]}, company=company)
        button = "cancel" if outcome == "cancelled" else "lost"
        await self._rpc(f"{_OPPORTUNITY}.{button}", [lead["id"]], company=company)
        return {"closed": True, "again": False}

    async def _lead(self, lead: str, company: int) -> dict[str, Any]:
        found = await self._leads(lead, company)
        if not found:
            raise ConnectorFault("refused", "There is no such lead. Make it first (upsert_lead).")
        return found[0]

    async def _leads(self, lead: str, company: int) -> list[dict[str, Any]]:
        """The opportunities of a key, oldest first: one, but for the moment in which two callers make it."""
        domain = [["reference", "=", _reference(lead)], ["company", "=", company]]
        return await self._search(_OPPORTUNITY, domain, _FIELDS, company)

    async def _remove(self, number: int, company: int) -> None:
        with suppress(Refusal):  # another caller removes it just now, or it is cancelled
            await self._rpc(f"{_OPPORTUNITY}.cancel", [number], company=company)
        await self._delete(_OPPORTUNITY, number, [["id", "=", number]], company)

    async def _delete(self, model: str, number: int, still_there: list[Any], company: int) -> None:
        try:
            await self._rpc(f"{model}.delete", [number], company=company)
        except Refusal:
            if await self._search(model, still_there, ["id"], company):
                raise

    # --- JSON-RPC --------------------------------------------------------------------------------------------------

    async def _company_of(self, scope: Scope) -> int:
        if scope.place:
            if not scope.place.isdigit():
                raise ConnectorFault("invalid", "The branch's scope is no company id. Write the number of its company.")
            return int(scope.place)
        if declared := self._config.parameters.get("company"):
            return int(declared)
        if not self._company:
            preferences = await self._rpc("model.res.user.get_preferences", True)
            self._company = int((preferences or {}).get("company") or 0)
            if not self._company:
                raise ConnectorFault("schema", "Our user in Tryton has no company. Give it one, or declare `company`.")
        return self._company

    async def _search(self, model: str, domain: list[Any], fields: list[str], company: int) -> list[dict[str, Any]]:
        given = (f"{model}.search_read", domain, 0, 50, [["id", "ASC"]], fields)
        try:
            found = await self._rpc(*given, company=company)
        except Gone:  # another caller's second record, which that one has removed meanwhile
            found = await self._rpc(*given, company=company)
        if not isinstance(found, list):
            raise ConnectorFault("schema", "Tryton answered a search with what is no list.")
        return [one for one in found if isinstance(one, dict)]

    async def _rpc(self, method: str, *parameters: Any, company: int = 0, **context: Any) -> Any:
        context["language"] = "en"  # of what it says to us
        if company:
            context["company"] = company
        session = self._session or await self._new_session("")
        status, answer = await self._post(method, [*parameters, context], session)
        if status == 401:  # sessions end, and with the server's memory all of them
            session = await self._new_session(session)
            status, answer = await self._post(method, [*parameters, context], session)
        if status == 401:
            raise ConnectorFault("credentials", "Tryton does not accept our session. Check the user's rights.")
        return answer

    async def _new_session(self, old: str) -> str:
        async with self._login:
            if self._session != old:  # another call was here first
                return self._session
            settings = self._config.settings
            user = settings.get("user", "")
            status, answer = await self._post("common.db.login", [user, {"password": settings.get("password", "")}], "")
            if status in (401, 403) or not isinstance(answer, list) or len(answer) < 2:
                raise ConnectorFault("credentials", "Tryton refuses our user or password. Set new ones.")
            self._user = int(answer[0])
            text = f"{user}:{answer[0]}:{answer[1]}"
            self._session = "Session " + base64.b64encode(text.encode()).decode()
            return self._session

    async def _post(self, method: str, parameters: list[Any], session: str) -> tuple[int, Any]:
        """HTTP status (200 or 401) and result. Raises ConnectorFault for everything else."""
        site = site_of(self._config.settings.get("url", ""))
        body = msgspec.json.encode({"id": 1, "method": method, "params": parameters})
        headers = {"content-type": "application/json", **({"authorization": session} if session else {})}
        database = self._config.settings.get("database", "")
        if not re.fullmatch(r"[\w-]{1,63}", database):
            raise ConnectorFault("invalid", "The setting database is no name of a database.")
        reply = await send(self._threads, site, "POST", f"/{database}/rpc/", headers, body, TIMEOUT_S)
        if reply.status == 401:
            return 401, None
        if reply.status == 503 and _UNKNOWN.search(reply.body.decode("utf-8", "replace")):  # what its database said
            raise ConnectorFault("schema", f"Tryton's database has not what {method} needs. Was a module changed?")
        judge(reply, f"Tryton at {site}")
        try:
            answer = msgspec.json.decode(reply.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or not {"result", "error"} & set(answer):
            raise ConnectorFault("schema", f"{site} answers, but not as Tryton does. Correct url.")
        if answer.get("error") is not None:
            raise _fault(answer["error"], method)
        return 200, answer.get("result")


def _fault(error: Any, method: str) -> ConnectorFault:
    """Tryton's errors: [class, [message, ...]] of its own, [text, traceback] of what crashed."""
    kind, what = (str(error[0]), error[1]) if isinstance(error, list) and len(error) > 1 else (str(error), "")
    said = str(what[0]) if isinstance(what, list) and what else ""
    called = method.removeprefix("model.")
    match kind:
        case "UserError" | "UserWarning":
            kind_of = Gone if _GONE.search(said) else Refusal
            return kind_of("refused", f"Tryton says no to {called}: {said[:200]}")
        case "ConcurrencyException":
            return ConnectorFault("down", f"Somebody changed the same record during {called}. Try again.")
        case "LoginException":
            return ConnectorFault("credentials", "Tryton asks for another way to log in. Use a user with a password.")
        case "RateLimitException" | "TimeOutException":
            return ConnectorFault("down", f"Tryton is busy ({kind}).", retry_after_s=5.0)
    if _UNKNOWN.search(kind):
        return ConnectorFault("schema", f"Tryton does not know what {called} needs: {kind[:80]}. Was a module changed?")
    if _BUSY.search(kind):
        return ConnectorFault("down", f"Tryton could not do {called} just now.")
    return ConnectorFault("data", f"Tryton failed within {called}. See its log.")


def _ways(given: Mapping[str, Any]) -> list[dict[str, str]]:
    """Contact mechanisms. What does not look like one is kept as text."""
    found = []
    phone = re.sub(r"[\s().-]", "", str(given.get("phone") or ""))
    if phone:
        found.append({"type": "mobile" if re.fullmatch(r"\+\d{8,15}", phone) else "other", "value": phone})
    if email := str(given.get("email") or "").strip().lower():
        good = re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email)
        found.append({"type": "email" if good else "other", "value": email})
    return found


def _shown(lead: dict[str, Any]) -> dict[str, Any]:
    party = lead.get("party.") or {}
    return {
        "number": str(lead.get("number") or ""),
        "state": str(lead.get("state") or ""),
        "description": str(lead.get("description") or ""),
        "name": str(party.get("name") or ""),
        "phone": str(party.get("phone") or ""),
        "email": str(party.get("email") or ""),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _reference(lead: str) -> str:
    """What people see in Tryton; the key itself may hold a telephone number."""
    return f"WL-{_digest(lead)[:24]}"
