"""`make demo TRIAL=short` ends with the trial's exit status, and only with that."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(("ended", "told"), [(1, 3), (130, 130)])
def test_a_server_that_does_not_start_is_no_failed_drill(monkeypatch, ended, told):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    spec = importlib.util.spec_from_file_location("demo_of_the_school", EXAMPLES / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    command = [sys.executable, "-c", f"raise SystemExit({ended})"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert demo.serve(server, "short", Path("nowhere"), "") == told
