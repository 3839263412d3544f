"""bench/volume.py in pieces: stopped and killed on the way, and all of it is checked at the end."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from whole_app import eventually

BENCH = Path(__file__).parents[2] / "bench" / "volume.py"


def piece(out: Path, *given: str) -> "subprocess.Popen[bytes]":
    with (out.parent / "told").open("ab") as told:
        return subprocess.Popen([sys.executable, BENCH, "--out", out, *given], stdout=told, stderr=told)


def looks(out: Path) -> int:
    return (out.parent / "told").read_text().count("leads done")


@pytest.mark.slow
def test_a_month_that_is_stopped_and_killed_goes_on_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = piece(out, "--leads", "90", "--minutes", "0.6")
    assert eventually(lambda: looks(out) >= 1, 120.0)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 3, (tmp_path / "told").read_text()
    seen = looks(out)
    second = piece(out, "--resume")
    assert eventually(lambda: looks(out) > seen, 120.0)
    second.kill()
    second.wait(60)
    third = piece(out, "--resume")
    told = tmp_path / "told"
    assert third.wait(240) == 0, told.read_text()
    page = told.read_text()
    assert "| pieces | 3: " in page
    assert "| checked | nothing lost, nothing doubled, order kept |" in page
    assert "90 leads of a month" in page
