"""CI skips no server: a test that wants to be skipped because a server is not installed fails there."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

SAYS = "apt-get install"  # in the reason of every such skip; the packages stand in .ci/run


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    made: Any = yield
    report = made.get_result()
    in_ci = os.environ.get("CI", "").lower() in ("1", "true")
    if in_ci and report.skipped and isinstance(report.longrepr, tuple) and SAYS in report.longrepr[2]:
        report.outcome = "failed"
        report.longrepr = f"{report.longrepr[2]}; CI skips no server"
