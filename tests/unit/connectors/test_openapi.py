"""REST by OpenAPI against a real HTTP server: tools from a description, one host, written once, faults by name."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rest_server import SPEC, Rest

from waterline.connectors.arguments import unknown_keyword
from waterline.connectors.base import BadParameter, Config, ConnectorFault, Scope
from waterline.connectors.once import safe_key
from waterline.connectors.openapi import OpenApi
from waterline.connectors.run import Ready, perform
from waterline.connectors.sheet import Sheet

PORTO = Scope("porto", "school-7")
NATIVE = {"createLead": {"once": "native"}}
LOOKUP = {"createLead": {"once": "lookup", "look_up": "findLeads", "by": "ref", "into": "ref"}}
UID = {"putLead": {"once": "uid", "into": "id"}}


@pytest.fixture
def rest() -> Iterator[Rest]:
    made = Rest()
    yield made
    made.stop()


def crm(rest: Rest, spec: dict[str, Any] = SPEC, settings: dict[str, str] | None = None, **more: Any) -> OpenApi:
    parameters = {"spec": "crm.json", "operations": ["findLeads", "getLead"], "timeout_s": 0.6, **more}
    given = {"url": rest.url, "token": "right-token", **(settings or {})}
    return OpenApi(Config("crm", given, parameters, {"spec": json.dumps(spec)}))


def describe(spec: Any, **parameters: Any) -> Any:
    text = spec if isinstance(spec, str) else json.dumps(spec)
    return OpenApi.describe({"spec": "crm.json", **parameters}, {"spec": text})


async def fault(connector: OpenApi, operation: str = "findLeads", **arguments: Any) -> ConnectorFault:
    with pytest.raises(ConnectorFault) as caught:
        await connector.call(operation, arguments, "k", PORTO)
    return caught.value


def test_operations_named_by_the_app_become_tools_with_closed_schemas() -> None:
    manifest = describe(SPEC, operations=["findLeads"], writes=NATIVE, branch="school")
    assert [(o.name, o.effect, o.once) for o in manifest.operations] == [
        ("findLeads", "read", ""), ("createLead", "write", "native"),
    ]  # fmt: skip
    find, create = manifest.operations
    assert set(find.parameters["properties"]) == {"ref", "grade"}  # the branch's own place is no argument
    body = create.parameters["properties"]["body"]
    assert create.parameters["required"] == ["body"]
    assert set(body["properties"]) == {"name", "ref", "born", "siblings"}  # readOnly id is the system's
    assert body["required"] == ["name"]
    assert body["properties"]["born"] == {"type": ["string", "null"], "format": "date"}
    assert (manifest.settings, manifest.secrets) == (("url", "token"), ("token",))


def test_version_3_0_says_nullable_and_means_the_same() -> None:
    old = copy.deepcopy(SPEC) | {"openapi": "3.0.3"}
    old["components"]["schemas"]["Lead"]["allOf"][1]["properties"]["born"] = {
        "type": "string", "nullable": True, "format": "date",
    }  # fmt: skip
    assert describe(old, writes=NATIVE) == describe(SPEC, writes=NATIVE)


def _body_is(reference: str) -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    spec["components"]["requestBodies"]["Lead"] = {"$ref": reference}
    return spec


@pytest.mark.parametrize(
    ("spec", "parameters", "expected"),
    [
        ("{", {}, "not JSON"),
        ({"swagger": "2.0"}, {}, "3.0 or 3.1"),
        (SPEC, {"operations": ["nothing"]}, 'no "nothing"'),
        (SPEC, {"operations": ["createLead"]}, "how it is done once"),
        (SPEC, {"writes": {"createLead": {"once": "uid", "into": "id"}}}, "uid is for a PUT"),
        (SPEC, {"writes": {"createLead": LOOKUP["createLead"] | {"by": "x"}}}, "lookup"),
        (SPEC, {"writes": {"createLead": LOOKUP["createLead"] | {"into": "nope"}}}, "no field"),
        (_body_is("file:///etc/passwd"), {"writes": NATIVE}, "leads out of the file"),
        (_body_is("#/components/requestBodies/Lead"), {"writes": NATIVE}, "leads out of the file|nowhere"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_when_the_folder_is_checked(spec: Any, parameters: dict[str, Any], expected: str) -> None:
    with pytest.raises(BadParameter, match=expected) as caught:
        describe(spec, **parameters)
    assert caught.value.remedy


async def test_parameters_go_where_the_description_says_and_cannot_leave_their_place(rest: Rest) -> None:
    made = crm(rest)
    await made.call("findLeads", {"ref": "a&ref=b", "grade": [1, 2]}, "", PORTO)
    assert rest.requests[-1][1] == "/v1/leads?ref=a%26ref%3Db&grade=1&grade=2"
    assert (await fault(made, "getLead", id="../../admin?x=1#f", **{"x-trace": "t1"})).kind == "refused"
    _, path, headers, _ = rest.requests[-1]
    assert path == "/v1/leads/..%2F..%2Fadmin%3Fx%3D1%23f"
    assert headers["x-trace"] == "t1"
    asked = len(rest.requests)
    assert (await fault(made, "getLead", id="..")).kind == "invalid"
    assert (await fault(made, "getLead", id="a", **{"x-trace": "a\r\nauthorization: Bearer x"})).kind == "invalid"
    assert len(rest.requests) == asked


async def test_the_server_named_in_the_description_and_redirects_are_not_followed(rest: Rest) -> None:
    made = crm(rest)
    assert await made.call("findLeads", {}, "", PORTO) == {"items": []}  # the description says evil.example
    rest.how = "moved"
    assert (await fault(made)).kind == "schema"
    assert not any("elsewhere" in path for _, path, _, _ in rest.requests)


@pytest.mark.parametrize(
    ("scheme", "settings", "signed_in"),
    [
        ({"type": "http", "scheme": "basic"}, {"user": "ana", "password": "pé"},
         lambda h, q: h.get("authorization") == "Basic YW5hOnDDqQ=="),
        ({"type": "apiKey", "in": "header", "name": "X-Key"}, {"api_key": "s3"}, lambda h, q: h.get("x-key") == "s3"),
        ({"type": "apiKey", "in": "query", "name": "k"}, {"api_key": "s 3"}, lambda h, q: q.get("k") == ["s 3"]),
        ({"type": "apiKey", "in": "cookie", "name": "k"}, {"api_key": "s3"}, lambda h, q: h.get("cookie") == "k=s3"),
    ],
)  # fmt: skip
async def test_each_way_to_sign_in_is_spoken(
    rest: Rest, scheme: dict[str, str], settings: dict[str, str], signed_in: Callable[[Any, Any], bool]
) -> None:
    spec = copy.deepcopy(SPEC)
    spec["components"]["securitySchemes"]["token"] = scheme
    rest.signed_in = signed_in
    made = crm(rest, spec, settings)
    assert set(made.manifest.settings) == {"url", *settings}
    assert await made.call("findLeads", {}, "", PORTO) == {"items": []}


@pytest.mark.parametrize(("operation", "writes"), [("createLead", NATIVE), ("createLead", LOOKUP), ("putLead", UID)])
async def test_a_write_whose_answer_was_lost_is_done_once(rest: Rest, operation: str, writes: dict[str, Any]) -> None:
    made = crm(rest, writes=writes)
    rest.how = "after"
    body = {"body": {"name": "Ana", "born": "2019-05-01"}}
    with pytest.raises(ConnectorFault) as caught:
        await made.call(operation, body, "c1/4/lead", PORTO)
    assert caught.value.kind == "down"
    again = crm(rest, writes=writes)  # another process, after a crash
    first = await again.call(operation, body, "c1/4/lead", PORTO)
    assert await again.call(operation, body, "c1/4/lead", PORTO) == first
    assert len(rest.leads) == 1
    await again.call(operation, body, "c1/5/lead", PORTO)
    assert len(rest.leads) == 2


async def test_a_lookup_that_ignores_its_filter_writes_nothing(rest: Rest) -> None:
    made = crm(rest, writes=LOOKUP)
    rest.leads.append({"id": "x", "name": "Somebody else"})
    rest.answer, answer = lambda m, p, q, h, b: answer(m, p, {}, h, b), rest.answer  # type: ignore[method-assign]
    assert (await fault(made, "createLead", body={"name": "Ana"})).kind == "schema"
    assert len(rest.leads) == 1


async def test_the_branch_is_put_in_by_us_and_cannot_be_left_out(rest: Rest) -> None:
    made = crm(rest, branch="school")
    await made.call("findLeads", {}, "", PORTO)
    assert rest.requests[-1][1] == "/v1/leads?school=school-7"
    with pytest.raises(ConnectorFault, match="place of the branch"):
        await made.call("findLeads", {}, "", Scope("lisboa"))


async def test_a_no_of_the_system_is_told_apart_from_a_fault(rest: Rest) -> None:
    made = crm(rest, writes=NATIVE)
    assert (await fault(made, "createLead", body={"name": "Nobody"})).kind == "refused"
    assert (await fault(made, "getLead", id="none")).kind == "refused"
    moved = crm(rest, settings={"url": rest.url.replace("/v1", "/v2")})
    assert (await fault(moved)).kind == "schema"


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("slow", "slow"), ("error", "down"), ("gone", "down"), ("credentials", "credentials"), ("renamed", "schema"),
        ("html", "schema"), ("dirty", "data"), ("garbage", "data"), ("huge", "data"),
    ],
)  # fmt: skip
async def test_a_fault_has_its_name_holds_no_secret_and_is_over_when_its_cause_is(
    rest: Rest, how: str, kind: str
) -> None:
    rest.leads.append({"id": "l0", "name": "Ana", "born": "2019-02-01"})
    made = crm(rest, settings={"token": "wrong-token"}) if how == "credentials" else crm(rest)
    rest.how = how
    if how == "gone":
        rest.stop()
    found = await fault(made)
    assert found.kind == kind, found.message
    assert "token" not in found.message
    assert found.retry_after_s == (7.0 if how == "error" else None)
    rest.how = ""
    if how == "gone":
        rest.begin(rest.port)
    elif how == "credentials":
        made = crm(rest)
    # The slow answer still runs in the server; the next call is not in its way.
    slow = crm(rest, timeout_s=10.0) if how == "slow" else made
    assert (await slow.call("findLeads", {}, "", PORTO))["items"][0]["name"] == "Ana"
    await made.close()


def test_a_key_fits_every_place() -> None:
    assert safe_key("whatsapp:1/é/4/lead") != safe_key("whatsapp:1/é/5/lead")
    assert safe_key("a").isascii()
    assert len(safe_key("x" * 300)) < 64


def test_its_schemas_are_those_that_arguments_are_checked_by() -> None:
    manifest = describe(SPEC, operations=["findLeads", "getLead"], writes=NATIVE)
    assert [unknown_keyword(o.parameters) for o in manifest.operations] == ["", "", ""]
    assert unknown_keyword(OpenApi.PARAMETERS) == ""
    assert unknown_keyword(Sheet.PARAMETERS) == ""


async def test_performed_as_flows_do_it_the_same_act_is_done_once(rest: Rest) -> None:
    made = crm(rest, writes=NATIVE)
    ready = Ready(made, Config("crm", made.settings))
    rest.how = "after"  # the first try is lost on the way back; it is repeated with the same key
    body = {"body": {"name": "Ana"}}
    assert (await perform(ready, "createLead", body, "k1", PORTO))["name"] == "Ana"
    assert len(rest.leads) == 1
    with pytest.raises(ConnectorFault, match="full_name"):
        await perform(ready, "createLead", {"body": {"name": "Ana", "full_name": "x"}}, "k2", PORTO)
