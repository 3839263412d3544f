"""People and groups, against a real directory (slapd)."""

from collections.abc import Iterator
from typing import Any

import pytest
from ldap_server import BASE, PASSWORD, Slapd

from waterline.connectors.arguments import unknown_keyword
from waterline.connectors.base import BadParameter, Config, ConnectorFault, Scope
from waterline.connectors.directory import Directory

ALL = Scope("")
PORTO = Scope("porto", f"ou=porto,{BASE}")

pytestmark = [
    pytest.mark.skipif(
        Slapd.program("slapd") is None, reason="slapd is not installed: apt-get install slapd ldap-utils"
    ),
    pytest.mark.filterwarnings("ignore:t.*Map is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    made = Slapd(tmp_path_factory.mktemp("ldap"))
    yield made
    made.stop()


def directory(slapd: Slapd, password: str = PASSWORD, **more: Any) -> Directory:
    settings = {"url": slapd.url, "user": f"cn=agent,{BASE}", "password": password}
    parameters = {"base": BASE, "ca_file": str(slapd.certificate), "timeout_s": 10, **more}
    return Directory(Config("staff", settings, parameters))


async def fault(connector: Directory, operation: str = "person", scope: Scope = ALL, **given: Any) -> ConnectorFault:
    with pytest.raises(ConnectorFault) as caught:
        await connector.call(operation, given or {"id": "ana"}, "", scope)
    return caught.value


ANA = {"id": "ana", "name": "Ana Sá", "email": "ana@school.example", "phone": None}


@pytest.mark.parametrize("tls", ["starttls", "none"])
async def test_people_are_found_by_what_is_declared(slapd: Slapd, tls: str) -> None:
    made = directory(slapd, tls=tls)
    assert await made.call("person", {"email": "ana@school.example"}, "", ALL) == {"people": [ANA], "found": 1}
    assert (await made.call("person", {"name": "ana sá"}, "", ALL))["people"] == [ANA]
    assert (await made.call("person", {"id": "nobody"}, "", ALL)) == {"people": [], "found": 0}
    assert (await made.call("groups", {"id": "ana"}, "", ALL)) == {"groups": ["teachers"]}
    members = await made.call("members", {"group": "teachers"}, "", PORTO)
    assert [person["id"] for person in members["people"]] == ["ana", "rui"]
    await made.close()


@pytest.mark.parametrize(
    "text",
    ["*", "a*", "ana)(uid=*", "*)(objectClass=*", "ana)(|(uid=rui", "\\2a", "ana\0", "x)(mail=*))(|(cn=*", "(&)", "é*"],
)
async def test_what_a_user_types_is_never_a_part_of_the_filter(slapd: Slapd, text: str) -> None:
    made = directory(slapd)
    for by in ("id", "name", "email"):
        assert (await made.call("person", {by: text}, "", ALL))["people"] == []
    assert (await fault(made, "members", group=text)).kind == "refused"


async def test_a_star_or_a_bracket_in_a_name_finds_that_name(slapd: Slapd) -> None:
    made = directory(slapd)
    assert [p["id"] for p in (await made.call("person", {"name": "Eva*"}, "", ALL))["people"]] == ["eva"]
    assert [p["id"] for p in (await made.call("person", {"name": "Rui (Porto)"}, "", ALL))["people"]] == ["rui"]


async def test_a_branch_sees_its_own_people_only(slapd: Slapd) -> None:
    made = directory(slapd)
    assert (await made.call("person", {"id": "eva"}, "", PORTO))["people"] == []
    slapd.change(
        f"dn: cn=teachers,ou=porto,{BASE}\nchangetype: modify\nadd: member\nmember: uid=eva,ou=lisboa,{BASE}\n"
    )
    members = [await made.call("members", {"group": "teachers"}, "", scope) for scope in (PORTO, ALL)]
    assert [[one["id"] for one in found["people"]] for found in members] == [
        ["ana", "rui"],
        ["ana", "rui", "eva", "eva"],
    ]
    assert members[0]["found"] < members[1]["found"], "how many there are elsewhere is not told, either"
    for place in ("dc=example", "ou=porto,dc=other,dc=example", "nonsense", f"ou=x,{BASE},dc=evil"):
        assert (await fault(made, scope=Scope("evil", place))).kind == "invalid"


async def test_a_name_without_a_password_is_not_taken_for_signed_in(slapd: Slapd) -> None:
    """RFC 4513, 5.1.2: such a bind succeeds, as nobody."""
    assert (await fault(directory(slapd, password=""))).kind == "credentials"


async def test_a_question_about_nobody_is_refused(slapd: Slapd) -> None:
    with pytest.raises(ConnectorFault, match="needs one of"):
        await directory(slapd).call("person", {}, "", ALL)
    assert (await fault(directory(slapd), id="  ")).kind == "invalid"


def change(slapd: Slapd, lines: str) -> None:
    slapd.change(f"dn: uid=ana,ou=porto,{BASE}\nchangetype: modify\n{lines}\n")


@pytest.mark.parametrize(
    ("how", "kind"),
    [("slow", "slow"), ("down", "down"), ("credentials", "credentials"), ("certificate", "credentials"),
     ("attribute", "schema"), ("moved", "schema"), ("binary", "data"), ("incomplete", "data")],
)  # fmt: skip
async def test_a_fault_has_its_name_and_is_over_when_its_cause_is(slapd: Slapd, how: str, kind: str) -> None:
    more: dict[str, Any] = {}
    match how:
        case "slow":
            more["timeout_s"] = 1
            slapd.freeze()
        case "down":
            slapd.stop()
        case "certificate":
            more["ca_file"] = ""
        case "attribute":
            more = {"attributes": {"id": "uid", "name": "cn", "code": "employeeCode"}, "by": ["code"]}
        case "moved":
            more["base"] = f"ou=gone,{BASE}"
        case "binary":
            change(slapd, "replace: jpegPhoto\njpegPhoto:: //4=")
            more = {"attributes": {"id": "uid", "name": "cn", "photo": "jpegPhoto"}, "by": ["id"]}
        case "incomplete":
            more = {"required": ["phone"]}
    made = directory(slapd, "wrong-secret" if how == "credentials" else PASSWORD, **more)
    found = await fault(made, **({"code": "7"} if how == "attribute" else {"id": "ana"}))
    assert found.kind == kind, found.message
    assert "secret" not in found.message
    if how == "slow":
        slapd.thaw()
    if how == "down":
        slapd.begin()
    assert (await directory(slapd).call("person", {"id": "ana"}, "", ALL))["people"] == [ANA]


def test_a_mistake_is_told_when_the_folder_is_checked() -> None:
    with pytest.raises(BadParameter, match="phon"):
        Directory.describe({"base": BASE, "by": ["phon"]}, {})
    manifest = Directory.describe({"base": BASE}, {})
    assert [unknown_keyword(o.parameters) for o in manifest.operations] == ["", "", ""]
    assert unknown_keyword(Directory.PARAMETERS) == ""
