"""SOAP by WSDL against a real server (spyne): tools from a file, written once, faults by name."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from realservers.killing import kill_after
from realservers.soap import PASSWORD, USER, SoapServer
from realservers.wire import Wire
from waterline.connectors.arguments import unknown_keyword
from waterline.connectors.base import BadParameter, Config, ConnectorFault, Scope
from waterline.connectors.run import Ready, perform
from waterline.connectors.soap import Soap

LISBON = Scope("lisbon", "L1")
CHILD = {"child": {"name": "Ana Sousa", "born": "2019-05-04"}}
ENROL = {"once": "lookup", "look_up": "find", "by": "reference", "into": "child.reference"}
DECLARED: dict[str, Any] = {
    "wsdl": "enrolment.wsdl", "operations": ["find", "fee"], "writes": {"enrol": ENROL}, "branch": "school",
    "timeout_s": 30.0,
}  # fmt: skip


@pytest.fixture
def server() -> Iterator[SoapServer]:
    made = SoapServer()
    yield made
    made.stop()


def settings(server: SoapServer, **more: str) -> dict[str, str]:
    return {"url": server.url, "user": USER, "password": PASSWORD, **more}


def erp(server: SoapServer, parameters: dict[str, Any] | None = None, **more: str) -> Ready:
    config = Config("erp", settings(server, **more), {**DECLARED, **(parameters or {})}, {"wsdl": server.wsdl})
    return Ready(Soap(config), config)


async def do(ready: Ready, operation: str, key: str = "k", **arguments: Any) -> dict[str, Any]:
    return await perform(ready, operation, arguments, key, LISBON, confirmed=True)


async def fault(ready: Ready, operation: str = "find", **arguments: Any) -> ConnectorFault:
    with pytest.raises(ConnectorFault) as told:
        await do(ready, operation, **(arguments or {"reference": "r"}))
    return told.value


def test_a_wsdl_becomes_tools_with_closed_schemas(server: SoapServer) -> None:
    manifest = Soap.describe(DECLARED, {"wsdl": server.wsdl})
    assert [(o.name, o.effect, o.once) for o in manifest.operations] == [
        ("find", "read", ""), ("fee", "read", ""), ("enrol", "write", "lookup"),
    ]  # fmt: skip
    find, fee, enrol = manifest.operations
    assert set(find.parameters["properties"]) == {"reference"}  # the branch's own place is no argument
    assert fee.parameters["required"] == ["grade"]
    child = enrol.parameters["properties"]["child"]
    assert set(child["properties"]) == {"name", "born"}  # nor is the key
    assert child["properties"]["born"] == {"type": "string", "format": "date"}
    assert child["required"] == ["name"]
    assert [unknown_keyword(o.parameters) for o in manifest.operations] == ["", "", ""]


async def test_the_same_act_is_done_once_and_returns_the_same(server: SoapServer) -> None:
    first = await do(erp(server), "enrol", **CHILD)
    assert first == {**first, "number": 1, "name": "Ana Sousa", "born": "2019-05-04"}
    assert await do(erp(server), "enrol", **CHILD) == first
    assert len(server.records) == 1
    assert server.records[0]["school"] == "L1"
    assert (await do(erp(server), "find", reference=first["reference"])) == {"items": [first]}


async def test_money_is_no_float(server: SoapServer) -> None:
    assert await do(erp(server), "fee", grade=3) == {"value": "450.10"}


async def test_a_write_whose_answer_was_lost_is_done_once(server: SoapServer) -> None:
    server.how = "after"
    ready = erp(server)
    assert (await do(ready, "enrol", **CHILD))["number"] == 1
    assert len(server.records) == 1


@pytest.mark.slow
async def test_a_caller_killed_at_any_moment_and_started_again_enrols_one_child(
    server: SoapServer, wire_to: Callable[[int], Wire]
) -> None:
    wire = wire_to(server.port)
    through = {"url": f"http://127.0.0.1:{wire.port}/enrolment", "user": USER, "password": PASSWORD}
    config = {"name": "erp", "settings": through, "parameters": DECLARED, "files": {"wsdl": server.wsdl}}
    wrote = 0
    for answers in count():
        key = f"k{answers}"
        asked = {"config": config, "kind": "soap", "operation": "enrol", "key": key, "arguments": CHILD}
        killed = kill_after(wire, answers, {**asked, "scope": {"branch": "lisbon", "place": "L1"}})
        wrote += len(server.records) == answers + 1
        await do(erp(server), "enrol", key, **CHILD)
        assert len(server.records) == answers + 1, f"killed after {answers} answers"
        if not killed:
            break
    assert wrote >= 2, "some were killed after the server had written"


@pytest.mark.parametrize(
    ("how", "kind", "says"),
    [
        ("error", "down", "503"),
        ("fault", "down", "failed"),
        ("changed", "schema", "Get the new one"),
        ("dirty", "data", "born is no date"),
        ("garbage", "data", "no XML"),
        ("bomb", "data", "document type"),
    ],
)
async def test_faults_have_names_and_no_secrets(server: SoapServer, how: str, kind: str, says: str) -> None:
    ready = erp(server)
    made = await do(ready, "enrol", **CHILD)
    server.how = how
    told = await fault(ready, reference=made["reference"])
    assert (told.kind, says in told.message) == (kind, True), told.message
    for hidden in (PASSWORD, "Ana Sousa", "2019"):
        assert hidden not in told.message


async def test_slow_down_and_wrong_credentials_are_told_apart(server: SoapServer) -> None:
    assert (await fault(erp(server, password="wrong-password"))).kind == "credentials"
    server.how = "slow"
    assert (await fault(erp(server, {"timeout_s": 0.3}))).kind == "slow"
    server.stop()
    assert (await fault(erp(server))).kind == "down"


async def test_what_the_system_refuses_is_told_in_its_words(server: SoapServer) -> None:
    told = await fault(erp(server), "enrol", child={"name": "Nobody"})
    assert (told.kind, told.message) == ("refused", "erp: enrol: The class is full")


async def test_a_system_that_changed_is_not_written_to(server: SoapServer) -> None:
    server.how = "changed"
    assert (await fault(erp(server), "enrol", **CHILD)).kind == "schema"
    assert server.records == []


async def test_a_signature_in_the_envelope_is_possible(server: SoapServer) -> None:
    made = erp(server, {"sign_in": "wsse"}).connector
    assert isinstance(made, Soap)
    body, _ = made.wsdl.envelope("fee", {"grade": 1}, made._signed)
    assert b"UsernameToken" in body
    assert PASSWORD.encode() not in body


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"operations": ["findd"]}, "no operation"),
        ({"port": "Other"}, "no port"),
        ({"writes": {"enrol": {**ENROL, "into": "child.born.x"}}}, "for the key"),
        ({"writes": {"enrol": {**ENROL, "look_up": ""}}}, "no lookup"),
        ({"writes": {"enrol": {**ENROL, "by": "name"}}}, "no lookup"),
        ({"operations": ["enrol"]}, "as a write, too"),
    ],
)
def test_what_the_wsdl_has_not_is_a_mistake_of_the_app(server: SoapServer, more: dict[str, Any], says: str) -> None:
    with pytest.raises(BadParameter, match=says):
        Soap.describe({**DECLARED, **more}, {"wsdl": server.wsdl})


@pytest.mark.parametrize(
    "text",
    ["", "hello", "<a/>", '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'],
)
def test_a_file_that_is_no_wsdl_is_refused(text: str) -> None:
    with pytest.raises(BadParameter, match="no WSDL"):
        Soap.describe(DECLARED, {"wsdl": text})


def test_nothing_is_fetched_for_a_wsdl(server: SoapServer) -> None:
    imported = '<xs:import namespace="urn:x" schemaLocation="http://127.0.0.1:1/x.xsd"/>'
    first = server.wsdl.index(">", server.wsdl.index("<xs:schema")) + 1
    with pytest.raises(BadParameter, match=r"it needs http://127\.0\.0\.1:1/x\.xsd"):
        Soap.describe(DECLARED, {"wsdl": server.wsdl[:first] + imported + server.wsdl[first:]})
