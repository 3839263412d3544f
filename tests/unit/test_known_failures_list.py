"""tests/KNOWN_FAILURES.md names tests that exist, one at least for each failure."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROWS = [
    line for line in (TESTS / "KNOWN_FAILURES.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| failure |", "| rule |"))
]  # fmt: skip


def test_each_known_failure_names_a_test_that_exists() -> None:
    assert len(ROWS) > 50
    for row in ROWS:
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row)
        assert named, f"no test: {row}"
        for path, name in named:
            assert re.search(rf"^(async )?def {name}\(", (TESTS / path).read_text(encoding="utf-8"), re.MULTILINE), name


def test_no_failure_is_told_twice() -> None:
    told = [row.split("|")[1].strip() for row in ROWS]
    assert sorted(set(told)) == sorted(told)
