"""Leads in a real Tryton: one a key, whoever asks and however often."""

import asyncio
import random
from collections.abc import Callable
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from realservers.killing import kill_after
from realservers.patient import patient
from realservers.tryton import DATABASE, PASSWORD, USER, Tryton
from realservers.wire import Wire
from waterline.connectors import tryton as connector
from waterline.connectors.base import Config, ConnectorFault, Scope
from waterline.connectors.run import Ready, perform

pytestmark = pytest.mark.timeout(600)  # the first time on a machine, a database is initialised


class Crm:
    def __init__(self, server: Tryton) -> None:
        self.server = server
        self.settings = {"url": server.url, "database": DATABASE, "user": USER, "password": PASSWORD}
        self.key = f"lead/{uuid4().hex}"
        self.phone = f"+3519{random.choice('1236')}{random.randrange(10**7):07d}"
        self.ready = self.again()
        self.written = False

    def again(self, **settings: str) -> Ready:
        config = Config("crm", {**self.settings, **settings})
        return patient("tryton", config)

    async def do(self, operation: str, key: str = "", ready: Ready | None = None, **arguments: Any) -> dict[str, Any]:
        given = (ready or self.ready, operation, arguments, key or self.key, Scope("lisbon"))
        return await perform(*given, confirmed=True)

    async def lead(self, key: str = "", ready: Ready | None = None, **more: Any) -> dict[str, Any]:
        return await self.do("upsert_lead", key, ready, **{"name": "Ana Sousa", "phone": self.phone, **more})

    def leads(self, key: str = "") -> list[tuple[Any, ...]]:
        """What is really in the database."""
        reference = connector._reference(key or self.key)
        return self.server.sql("SELECT id, state, party FROM sale_opportunity WHERE reference = ?", reference)

    def stored(self) -> list[tuple[Any, ...]]:
        reference = connector._reference(self.key)
        return self.server.sql("SELECT description, comment FROM sale_opportunity WHERE reference = ?", reference)

    def notes(self) -> list[str]:
        """Without the mark in their last line."""
        ((number, _, _),) = self.leads()
        found = self.server.sql("SELECT message FROM ir_note WHERE resource = ?", f"sale.opportunity,{number}")
        return sorted(str(text).rpartition("\n")[0] for (text,) in found)

    async def person_writes(self, **values: str) -> None:
        """As another user of Tryton."""
        self.written = True
        ((number, _, _),) = self.leads()
        person = connector.Tryton(Config("crm", {**self.settings, "user": "admin"}))
        ((company,),) = self.server.sql("SELECT company FROM sale_opportunity WHERE id = ?", str(number))
        await person._rpc("model.res.user.get_preferences", True)
        mine = {"companies": [["add", [company]]], "company": company}
        await person._rpc("model.res.user.write", [person._user], mine)
        await person._rpc("model.sale.opportunity.write", [number], values, company=int(str(company)))
        await person.close()

    def parties(self, phone: str = "") -> set[Any]:
        value = phone or self.phone
        found = self.server.sql(
            "SELECT party FROM party_contact_mechanism WHERE value = ? OR value_compact = ?", value, value
        )
        return {party for (party,) in found}


@pytest.fixture
def crm(tryton: Tryton) -> Crm:
    return Crm(tryton)


async def test_a_lead_is_made_with_its_person_and_a_repeat_makes_nothing(crm: Crm) -> None:
    first = await crm.lead(email="Ana@Example.org", description="Grade 3", comment="asked for the fees")
    assert (first["state"], first["name"], first["again"]) == ("lead", "Ana Sousa", False)
    again = await crm.lead(email="Ana@Example.org", description="Grade 3")
    assert (again["number"], again["again"]) == (first["number"], True)
    assert len(crm.leads()) == 1
    assert len(crm.parties()) == 1
    found = await crm.do("find", lead=crm.key)
    assert found["found"]
    assert (found["email"], found["description"]) == ("ana@example.org", "Grade 3")
    assert (await crm.do("find", lead="nobody")) == {"found": False}


async def test_what_is_learned_later_is_added(crm: Crm) -> None:
    await crm.lead(description="Grade 3")
    await crm.lead(email=f"{uuid4().hex}@example.org", description="Grade 3", comment="two children")
    found = await crm.do("find", lead=crm.key)
    assert found["email"].endswith("@example.org")
    assert crm.stored() == [("Grade 3", "two children")]


async def test_a_child_s_age_that_is_corrected_later_is_corrected_in_the_lead(crm: Crm) -> None:
    """Each correction is the same act, however often it is asked for."""
    await crm.lead(description="Child of 6, Grade 1")
    for description in ("Child of 7, Grade 2", "Child of 8, Grade 3"):
        for _ in range(2):
            again = await crm.lead(description=description, ready=crm.again())
            assert again["again"]
        assert [one for one, _ in crm.stored()] == [description]
    assert crm.notes() == []


async def test_from_when_somebody_else_wrote_in_a_lead_a_correction_is_a_note_beneath(crm: Crm) -> None:
    await crm.lead(description="Grade 3")
    await crm.person_writes(description="Grade 3, brother in 5B")
    for _ in range(2):
        await crm.lead(description="Grade 4", comment="two children")
        await crm.lead(description="Grade 4", comment="two children", ready=crm.again())
    assert crm.stored() == [("Grade 3, brother in 5B", None)]
    assert crm.notes() == ["Grade 4\ntwo children"]


async def test_what_somebody_writes_in_the_same_moment_is_not_overwritten(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crm.lead(description="Grade 3")
    ours = connector.Tryton(Config("crm", crm.settings))
    looked = ours._leads

    async def then_a_person_writes(lead: str, company: int) -> list[dict[str, Any]]:
        found = await looked(lead, company)
        if not crm.written:
            await crm.person_writes(description="Grade 3, brother in 5B")
        return found

    monkeypatch.setattr(ours, "_leads", then_a_person_writes)
    given = {"name": "Ana Sousa", "phone": crm.phone, "description": "Grade 4"}
    with pytest.raises(ConnectorFault) as told:
        await ours.call("upsert_lead", given, crm.key, Scope("lisbon"))
    assert told.value.kind == "down"  # so it is tried again, and sees it
    await ours.call("upsert_lead", given, crm.key, Scope("lisbon"))
    await ours.close()
    assert crm.stored() == [("Grade 3, brother in 5B", None)]
    assert crm.notes() == ["Grade 4"]


async def test_a_record_that_is_gone_is_told_from_one_that_may_not_be_read(crm: Crm) -> None:
    """Only the first is looked for again: another caller took its second record back."""
    ours = connector.Tryton(Config("crm", crm.settings))
    with pytest.raises(connector.Gone):
        await ours._rpc("model.sale.opportunity.read", [10**6], ["state"])
    await crm.lead()
    ((number, _, _),) = crm.leads()
    ((company,),) = crm.server.sql("SELECT company FROM sale_opportunity WHERE id = ?", str(number))
    crm.server.sql("UPDATE sale_opportunity SET company = NULL WHERE id = ?", str(number))
    with pytest.raises(connector.Refusal) as told:
        await ours._rpc("model.sale.opportunity.read", [number], ["state"])
    crm.server.sql("UPDATE sale_opportunity SET company = ? WHERE id = ?", str(company), str(number))
    assert not isinstance(told.value, connector.Gone)
    await ours.close()


async def test_a_person_who_comes_back_is_the_same_person(crm: Crm) -> None:
    await crm.lead()
    await crm.lead(key=f"{crm.key}/next year", phone=crm.phone.replace("+351", "+351 "))
    assert len(crm.parties()) == 1
    assert crm.leads()[0][2] == crm.leads(f"{crm.key}/next year")[0][2]


async def test_two_callers_with_the_same_key_at_once_make_one_lead(crm: Crm) -> None:
    results = await asyncio.gather(*[crm.lead(ready=crm.again()) for _ in range(3)])
    assert len(crm.leads()) == 1
    assert len(crm.parties()) == 1
    assert (await crm.do("find", lead=crm.key))["number"] in {result["number"] for result in results}


async def test_two_leads_of_a_new_person_at_once_make_one_person(crm: Crm) -> None:
    keys = [f"{crm.key}/{number}" for number in range(4)]
    await asyncio.gather(*[crm.lead(key, crm.again()) for key in keys])
    assert [len(crm.leads(key)) for key in keys] == [1] * 4
    assert len(crm.parties()) == 1


@pytest.mark.parametrize("phone", ["12", "call me", "+351000000000", "９１２３４５６７８"])
async def test_a_telephone_number_that_is_none_does_not_lose_the_lead(crm: Crm, phone: str) -> None:
    await crm.lead(phone=f"{phone} {uuid4().hex[:6]}", email="no address")
    assert len(crm.leads()) == 1


async def test_dirty_records_of_people_can_be_read(crm: Crm) -> None:
    await crm.lead()
    ((_, _, party),) = crm.leads()
    crm.server.sql("UPDATE party_party SET name = NULL WHERE id = ?", party)
    crm.server.sql("UPDATE sale_opportunity SET description = ? WHERE party = ?", "SÃ£o JoÃ£o \x01\n", party)
    crm.server.sql("UPDATE party_contact_mechanism SET value = '' WHERE party = ?", party)
    found = await crm.do("find", lead=crm.key)
    assert (found["name"], found["found"]) == ("", True)


async def test_a_note_is_added_once(crm: Crm) -> None:
    await crm.lead()
    for _ in range(2):
        await crm.do("note", "note/1", lead=crm.key, text="Visit on Monday")
    await asyncio.gather(*[crm.do("note", "note/2", crm.again(), lead=crm.key, text="100 % sure") for _ in range(3)])
    ((number, _, _),) = crm.leads()
    notes = crm.server.sql("SELECT message FROM ir_note WHERE resource = ?", f"sale.opportunity,{number}")
    assert sorted(str(text).split("\n")[0] for (text,) in notes) == ["100 % sure", "Visit on Monday"]
    with pytest.raises(ConnectorFault, match="no such lead"):
        await crm.do("note", "note/3", lead="nobody", text="x")


@pytest.mark.parametrize("outcome", ["lost", "cancelled"])
async def test_a_lead_is_closed_once_and_not_reopened_by_another_outcome(crm: Crm, outcome: str) -> None:
    await crm.lead()
    assert (await crm.do("close", lead=crm.key, outcome=outcome, reason="too far"))["again"] is False
    assert (await crm.do("close", lead=crm.key, outcome=outcome))["again"] is True
    assert crm.leads()[0][1] == outcome
    other = {"lost": "cancelled", "cancelled": "lost"}[outcome]
    with pytest.raises(ConnectorFault) as told:
        await crm.do("close", lead=crm.key, outcome=other)
    assert told.value.kind == "refused"


async def test_a_session_that_the_server_forgot_is_renewed_once(crm: Crm) -> None:
    await crm.lead()
    crm.server.sql("DELETE FROM ir_session")
    await asyncio.gather(*[crm.do("find", lead=crm.key) for _ in range(3)])
    assert len(crm.server.sql("SELECT id FROM ir_session")) == 1


async def test_another_company_s_leads_are_not_seen(crm: Crm) -> None:
    await crm.lead()
    with pytest.raises(ConnectorFault):
        await perform(crm.ready, "find", {"lead": crm.key}, "", Scope("porto", "two"))
    other = await perform(crm.ready, "find", {"lead": crm.key}, "", Scope("porto", "77"))
    assert other == {"found": False}


@pytest.mark.parametrize("operation", ["upsert_lead", "find", "note"])
@pytest.mark.parametrize("fault", ["slow", "down", "credentials", "schema"])
async def test_each_fault_is_named_and_holds_no_secret(
    crm: Crm, wire_to: Callable[[int], Wire], fault: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crm.lead()
    wire = wire_to(crm.server.port)
    ready = crm.again(url=f"http://127.0.0.1:{wire.port}")
    if fault == "slow":
        monkeypatch.setattr("waterline.connectors.tryton.TIMEOUT_S", 0.3)
        wire.silent = True
    elif fault == "down":
        wire.close()
    elif fault == "credentials":
        ready = crm.again(password="wrong-password")
    else:
        crm.server.sql("ALTER TABLE sale_opportunity RENAME COLUMN reference TO old_reference")
    given = {
        "upsert_lead": {"name": "Ana Sousa", "phone": crm.phone},
        "find": {"lead": crm.key},
        "note": {"lead": crm.key, "text": "Ana Sousa called"},
    }[operation]
    try:
        with pytest.raises(ConnectorFault) as told:
            await crm.do(operation, ready=ready, **given)
    finally:
        if fault == "schema":
            crm.server.sql("ALTER TABLE sale_opportunity RENAME COLUMN old_reference TO reference")
    assert told.value.kind == fault, told.value.message
    for hidden in ("wrong-password", PASSWORD, "Ana Sousa", crm.phone):
        assert hidden not in told.value.message


@pytest.mark.slow
async def test_a_caller_killed_at_any_moment_and_started_again_makes_one_lead(
    crm: Crm, wire_to: Callable[[int], Wire]
) -> None:
    """kill -9 after each of the server's answers; the same act again; one lead, one person, each time."""
    wire = wire_to(crm.server.port)
    config = {"name": "crm", "settings": {**crm.settings, "url": f"http://127.0.0.1:{wire.port}"}}
    for answers in count():
        fresh = Crm(crm.server)
        arguments = {"name": "Ana Sousa", "phone": fresh.phone}
        asked = {"config": config, "kind": "tryton", "operation": "upsert_lead", "arguments": arguments}
        killed = kill_after(wire, answers, {**asked, "key": fresh.key, "scope": {"branch": "lisbon"}})
        await fresh.lead()
        assert len(fresh.leads()) == 1, f"killed after {answers} answers"
        assert len(fresh.parties()) == 1, f"killed after {answers} answers"
        if not killed:
            break
    assert answers > 3
