"""Tests against real servers install what they need, or fail in CI; elsewhere they say what they skip."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
CI = (TESTS.parent / ".ci/run").read_text("utf-8")
PLUGINS = ("-p", "realservers.ci", "-p", "no:cacheprovider")
SERVERS = {"mariadb-server", "postgresql", "slapd", "ldap-utils", "dovecot-imapd"}
SKIPS = """
import pytest
@pytest.mark.skipif(True, reason="nosuchd is not installed: apt-get install nosuchd")
def test_by_mark(): pass
def test_by_hand(): pytest.skip("nosuchd is not here: apt-get install nosuchd")
def test_other(): pytest.skip("not on this platform")
"""


def ran(folder: Path, ci: str) -> str:
    (folder / "test_skips.py").write_text(SKIPS)
    command = [sys.executable, "-m", "pytest", *PLUGINS, "-q", "test_skips.py"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stdout


@pytest.mark.parametrize(("ci", "counted"), [("true", "1 failed, 1 skipped, 1 error"), ("", "3 skipped")])
def test_a_server_that_is_not_there_is_a_skip_here_and_a_failure_in_ci(tmp_path: Path, ci: str, counted: str) -> None:
    assert counted in ran(tmp_path, ci)


def test_ci_says_that_it_is_ci() -> None:
    assert re.search(r'^export CI="\$\{CI:-true\}"', CI, re.MULTILINE), "on any machine, or nothing would fail there"


def test_every_server_that_a_test_would_skip_for_is_installed_in_ci() -> None:
    wanted: set[str] = set()
    for file in TESTS.rglob("*.py"):
        if file == Path(__file__):
            continue
        text = file.read_text("utf-8")
        for packages in re.findall(r"apt-get install((?: [a-z-]+)+)", text):
            wanted |= {name for name in packages.split() if not name.startswith("--")}
        wanted |= set(re.findall(r'program\([^,]+, "([a-z][a-z-]+)"', text))
    assert wanted >= SERVERS, "this looks for the wrong words"
    assert {name for name in wanted if not re.search(rf"missing\+=\([^)]*\b{name}\b", CI)} == set()
