"""`make story-evidence`, to its end: every step of it raises if Waterline does not do what the story needs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_failure_in_production_becomes_a_case_and_a_release_that_earns_its_place() -> None:
    done = subprocess.run(
        [sys.executable, "examples/story/evidence.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = (ROOT / "out" / "story" / "evidence.md").read_text()
    assert re.search(r'of its cases with the tag "regression" did not pass', told)
    assert re.search(r"regression +\d+ +0% +100%", told)
    assert "promoted, step 2 of 2" in told
    assert "rolled back, step 1 of 2" in told
    assert "open, blocks" in told
    assert "The audit log is intact" in told
