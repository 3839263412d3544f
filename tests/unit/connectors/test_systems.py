"""The connected systems of an app: declared, set, made when first called."""

import subprocess
import sys
from pathlib import Path

import pytest

from waterline.agents.tools import Systems as Used
from waterline.connectors import registry
from waterline.connectors.arguments import unknown_keyword
from waterline.connectors.base import ConnectorFault, Scope
from waterline.connectors.reference import described, kinds, operations
from waterline.connectors.systems import Systems
from waterline.core.app_spec import Connection
from waterline.settings import Settings, load
from waterline.settings.problems import SettingsError

PAGE = Path(__file__).parents[3] / "docs/reference/connectors.md"
DECLARED = {"my-crm": Connection("tryton"), "old": Connection("no-such-kind")}


def settings(folder: Path, **environ: str) -> Settings:
    return load({"HOME": str(folder), **environ}, folder)


def test_settings_come_from_variables_then_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "waterline.toml"
    file.write_text('[connectors.my-crm]\nurl = "http://crm"\nuser = "office"\npassword = "hunter22"\n')
    file.chmod(0o600)
    found = settings(tmp_path, WATERLINE_CONNECTOR_MY_CRM_USER="other")
    assert found.connector("my-crm", ("url", "database", "user", "password")) == {
        "url": "http://crm",
        "user": "other",
        "password": "hunter22",
    }
    assert "hunter22" not in repr(found)
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="others may read the secrets"):
        settings(tmp_path)


def test_the_agents_can_use_them(tmp_path: Path) -> None:
    used: Used = Systems(DECLARED, settings(tmp_path).connector)  # checked by the type checker
    assert used


async def test_what_is_not_declared_or_not_set_is_told(tmp_path: Path) -> None:
    systems = Systems(DECLARED, settings(tmp_path).connector)
    for name, says in (
        ("erp", 'no connector "erp". Declared: my-crm, old'),
        ("old", 'no connector of the kind "no-such-kind"'),
        ("my-crm", "Set WATERLINE_CONNECTOR_MY_CRM_URL"),
    ):
        with pytest.raises(ConnectorFault, match=says):
            await systems.call(name, "find", {}, "", Scope("lisbon"))


async def test_reads_are_told_from_writes(tmp_path: Path) -> None:
    systems = Systems(DECLARED, settings(tmp_path, WATERLINE_CONNECTOR_MY_CRM_URL="http://127.0.0.1:1").connector)
    assert systems.reads("my-crm", "find")
    assert not systems.reads("my-crm", "upsert_lead")
    with pytest.raises(ConnectorFault, match="only reading is allowed"):
        await systems.call("my-crm", "upsert_lead", {"name": "Ana"}, "k", Scope("lisbon"), reads_only=True)
    with pytest.raises(ConnectorFault, match="It has: upsert_lead, find"):
        systems.reads("my-crm", "find_all")
    assert systems.ready("my-crm") is systems.ready("my-crm"), "one breaker a system"
    await systems.close()


def test_no_client_library_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys; from waterline.connectors import registry\n"
        "for name in registry.KINDS: registry.kind(name)\n"
        "heavy = {'zeep', 'lxml', 'icalendar', 'pymysql', 'psycopg', 'ldap3', 'mcp', 'openpyxl', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(registry.KINDS))
def test_a_kind_says_only_what_is_checked(name: str) -> None:
    assert unknown_keyword(registry.kind(name).PARAMETERS) == ""
    manifest = described(name)
    if manifest is None:
        return
    assert manifest.kind == name
    assert set(manifest.secrets) <= set(manifest.settings)
    for operation in manifest.operations:
        assert unknown_keyword(operation.parameters) == "", operation.name
        assert bool(operation.once) == (operation.effect != "read"), "a write says how a repeat does nothing"


def test_the_reference_page_says_what_the_kinds_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert kinds() in page, "copy waterline.connectors.reference.kinds() into docs/reference/connectors.md"
    for name in registry.KINDS:
        assert f"\n## {name}: " in page
        manifest = described(name)
        if manifest is not None and "queries" not in registry.kind(name).PARAMETERS["properties"]:
            assert operations(manifest) in page, f"copy reference.operations of {name} into the page"
