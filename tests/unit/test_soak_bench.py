"""What bench/soak.py calls wrong."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
soak = pytest.importorskip("soak")
import soak_page  # noqa: E402

GOOD = {"emitted": 2, "stored": 2, "rejected": 0, "lost": 0, "waiting": 0}


def run(growth_mb: float, warm_mb: float = 0.0):
    made = soak.Run(minutes=10, rate=1, status=GOOD)
    for n in range(61):
        at_s = n * 10.0
        rss = 60 + (warm_mb * min(1.0, at_s / 100) + growth_mb * max(0.0, at_s - 120) / 480)
        made.samples.append(soak.Sample(at_s, rss, 40, 20, 6, 1.0, 9.0, 3))
    return made


IDLE = soak.Sample(0, 60, 21, 4, 6, 0.0, 1.0, 0)


def test_memory_that_grows_after_the_warm_up_is_found_and_a_warm_up_is_not():
    assert run(0.0, warm_mb=40).findings(16, IDLE, IDLE) == []
    assert abs(run(40.0).growth_mb - 36) < 3
    assert ["memory grew" in one for one in run(40.0).findings(16, IDLE, IDLE)] == [True]


@pytest.mark.parametrize(
    "after",
    [
        soak.Sample(700, 60, 300, 4, 6, 0, 1, 0),
        soak.Sample(700, 60, 21, 200, 6, 0, 1, 0),
        soak.Sample(700, 60, 21, 4, 30, 0, 1, 0),
        soak.Sample(700, 60, 21, 4, 6, 0, 1, 2),
    ],
    ids=["files", "sockets", "threads", "requests"],
)
def test_what_stays_behind_is_found(after):
    assert len(run(0.0).findings(16, IDLE, after)) == 1


def test_a_lost_trace_is_found():
    made = run(0.0)
    made.status = {**GOOD, "lost": 1}
    assert made.findings(16, IDLE, IDLE)


def test_the_page_says_what_was_wrong_and_the_drawing_has_a_line_for_each_quantity():
    made = run(40.0)
    assert "**memory grew" in soak_page.page(made, IDLE, IDLE, 16, made.findings(16, IDLE, IDLE))
    assert "Nothing stayed behind." in soak_page.page(run(0.0), IDLE, IDLE, 16, [])
    assert soak_page.drawing(made).count("<polyline") == len(soak_page.LINES)
