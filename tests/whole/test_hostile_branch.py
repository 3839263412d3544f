"""One branch floods, spends and hangs; the others do not notice. bench/hostile_branch.py does it with three hundred."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
bench = pytest.importorskip("hostile_branch")


@pytest.mark.slow
def test_no_other_branch_misses_its_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SPREAD_S", 8.0)
    monkeypatch.setattr(bench, "FLOOD_S", 8.0)
    found = asyncio.run(bench.drill(tmp_path, 12, 2, 300, objective_s=30.0))
    assert found.flooded == 300
    assert len(found.took_s) == 11
    assert found.missed() == [], bench.figures(found)
