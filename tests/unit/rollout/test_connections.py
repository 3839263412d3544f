"""What an app declares of its connected systems: checked with file, line and remedy; secrets stay outside."""

from pathlib import Path

import pytest
from app_folders import APP, checked, good, mistakes

from waterline.core.app_spec import Connection, encode_spec, parse_spec
from waterline.core.release import encode_release, parse_release

CALENDAR = '\n[connectors.calendar]\nkind = "caldav"\ncalendar = "visits/lisbon"\n'


def test_a_connector_is_in_the_environment_record_and_its_contract_in_the_release(tmp_path: Path) -> None:
    found = checked(good(tmp_path, **{"app.toml": APP + CALENDAR}))
    assert found.spec.connectors == {"calendar": Connection("caldav", {"calendar": "visits/lisbon"})}
    contract = found.release.connectors["calendar"]
    assert contract["operations"]["book"]["effect"] == "write"
    assert contract["operations"]["book"]["confirmation"] is True
    assert "start" in contract["operations"]["book"]["parameters"]["properties"]
    assert parse_spec(encode_spec(found.spec)) == found.spec
    assert parse_release(encode_release(found.release)).connectors == found.release.connectors


def test_a_folder_without_connectors_has_the_same_ids_as_before(tmp_path: Path) -> None:
    found = checked(good(tmp_path))
    assert b"connectors" not in encode_release(found.release)
    assert b"connectors" not in encode_spec(found.spec)


def test_a_parameter_changes_the_record_and_not_the_release(tmp_path: Path) -> None:
    first = checked(good(tmp_path / "a", **{"app.toml": APP + CALENDAR}))
    other = checked(good(tmp_path / "b", **{"app.toml": APP + CALENDAR.replace("lisbon", "porto")}))
    assert encode_release(first.release) == encode_release(other.release)
    assert encode_spec(first.spec) != encode_spec(other.spec)


@pytest.mark.parametrize(
    ("toml", "offset", "says", "remedy"),
    [
        ('[connectors.crm]\nkind = "trytan"', 1, 'no kind of connector "trytan"', 'Did you mean "tryton"?'),
        ("[connectors.crm]\ncompany = 1", 0, 'has no "kind"', "caldav"),
        ('[connectors.CRM]\nkind = "tryton"', 0, "not a good name", "lower-case"),
        ('[connectors.crm]\nkind = "tryton"\ncompany = "one"', 2, "company", "docs/reference/connectors.md"),
        ('[connectors.crm]\nkind = "tryton"\ncompany = 0', 2, "less than 1", "docs/reference/connectors.md"),
        ('[connectors.crm]\nkind = "tryton"\ncompeny = 1', 2, "unknown key", 'Did you mean "company"?'),
        (
            '[connectors.crm]\nkind = "tryton"\nurl = "http://x"',
            2,
            "setting of the server",
            "WATERLINE_CONNECTOR_CRM_URL",
        ),
        ('[connectors.my-crm]\nkind = "tryton"\npassword = "x"', 2, "setting", "WATERLINE_CONNECTOR_MY_CRM_PASSWORD"),
        ('[connectors.shop]\nkind = "openapi"\nspec = "../spec.json"', 2, "no file", "app folder"),
        ('[connectors.shop]\nkind = "openapi"', 0, 'has no "spec"', "docs/reference/connectors.md"),
        ("connectors = 1", 0, "is not a table", "[connectors.crm]"),
    ],
)
def test_each_mistake_is_told_with_its_line_and_remedy(
    tmp_path: Path, toml: str, offset: int, says: str, remedy: str
) -> None:
    text = f"{toml}\n{APP}" if toml.startswith("connectors") else f"{APP}\n{toml}\n"
    (found,) = mistakes(good(tmp_path, **{"app.toml": text}))
    begins = text.index(toml)
    assert (found.file, found.line) == ("app.toml", text.count("\n", 0, begins) + 1 + offset)
    assert says in found.problem
    assert remedy in found.remedy


OFFER = CALENDAR + '[mcp]\ntools = ["calendar.book", "calendar.book"]\n'


def test_what_is_offered_at_mcp_is_named_and_in_the_environment_record(tmp_path: Path) -> None:
    found = checked(good(tmp_path / "a", **{"app.toml": APP + OFFER}))
    assert found.spec.offered == ("calendar.book",)
    assert parse_spec(encode_spec(found.spec)) == found.spec
    assert checked(good(tmp_path / "b", **{"app.toml": APP + CALENDAR})).spec.offered == ()


@pytest.mark.parametrize("wrong", ["calendar.boook", "calendar", "crm.note"])
def test_an_operation_that_no_connector_has_is_not_offered(tmp_path: Path, wrong: str) -> None:
    toml = APP + CALENDAR + f'[mcp]\ntools = ["{wrong}"]\n'
    found = mistakes(good(tmp_path, **{"app.toml": toml}))
    assert any(f'no connector has the operation "{wrong}"' in str(m) for m in found), found
