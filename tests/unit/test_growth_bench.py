"""What bench/growth.py calls growth."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
growth = pytest.importorskip("growth")


def curve(after: float) -> list[tuple[int, float]]:
    return [(n, 60.0 if not n else 90.0 + max(0, n - 40_000) * after / 200_000) for n in range(0, 240_001, 10_000)]


def test_memory_that_goes_on_growing_is_found_and_what_fills_up_at_first_is_not():
    assert growth.growth_mb(curve(0.0)) == 0.0
    assert growth.growth_mb(curve(12.0)) == pytest.approx(12.0)
    assert "within the bound" in growth.said(curve(2.0))
    assert "**beyond** the bound" in growth.said(curve(12.0))


def test_the_page_has_every_point_and_the_drawing_a_line():
    made = curve(2.0)
    assert growth.page(made).count("\n| ") == len(made) + 2
    assert growth.drawing(made).count("<polyline") == 1
