"""`make demo`: ends with the trial's exit status, and only with that; its page of the office always looks again."""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"{name}_of_the_school", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("ended", "told"), [(1, 3), (130, 130)])
def test_a_server_that_does_not_start_is_no_failed_drill(monkeypatch, ended, told):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    demo = loaded("demo")
    command = [sys.executable, "-c", f"raise SystemExit({ended})"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert demo.serve(server, "short", Path("nowhere"), "") == told


def test_an_office_that_cannot_be_read_is_looked_at_again(monkeypatch, tmp_path):
    monkeypatch.setenv("BOARD_USER", "office")
    monkeypatch.setenv("BOARD_PASSWORD", "x")
    closed = "http://127.0.0.1:1/office/visits/"
    given = argparse.Namespace(calendar=closed, crm=str(tmp_path / "crm"), timezone="Europe/Lisbon", console="")
    status, page = loaded("board").office(given)
    assert status == 503
    assert 'http-equiv="refresh"' in page, "a page that stops would stay so when the calendar is back"


def test_the_office_says_what_to_write_and_where_people_answer(monkeypatch):
    board = loaded("board")
    monkeypatch.setattr(board, "visits", lambda *given: [])
    monkeypatch.setattr(board, "leads", lambda file: [])
    monkeypatch.setenv("BOARD_USER", "office")
    monkeypatch.setenv("BOARD_PASSWORD", "x")
    given = argparse.Namespace(calendar="", crm="", timezone="Europe/Lisbon", console="http://127.0.0.1:8400")
    status, page = board.office(given)
    assert (status, "Write as a parent would" in page) == (200, True)
    assert 'href="http://127.0.0.1:8400/handoffs"' in page
