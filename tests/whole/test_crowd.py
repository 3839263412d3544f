"""The published failure at a smaller size: the bench with its three sizes of a crowd is bench/crowd.py."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import crowd


@pytest.mark.slow
async def test_a_crowd_that_a_rate_limit_sheds_is_answered_through_the_fallback(tmp_path: Path) -> None:
    """Sixty users where the provider's limit is made for twenty."""
    found = {seen.way: seen for seen in await crowd.measure([60], 4, tmp_path) if seen.users == 60}
    plain, ours = found["plain SDK"], found["through Waterline"]
    assert len(plain.seconds) < 0.9 * plain.calls, "the provider sheds nobody, so nothing is shown"
    assert len(ours.seconds) >= 0.99 * ours.calls, ours.lost
    assert ours.quantile(0.5) < 2 * crowd.ALONE_S
