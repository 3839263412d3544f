"""Whatever comes is read the same at every split, or refused by a declared error. More: `python tests/fuzz/fuzz.py`."""

import asyncio

import pytest

from fuzz import run


def test_twenty_thousand_mutated_inputs_are_read_alike_or_refused() -> None:
    counts = asyncio.run(run(20_000))
    assert sum(counts.values()) >= 20_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_mutated_inputs_are_read_alike_or_refused() -> None:
    counts = asyncio.run(run(1_000_000, seed=1))
    print(counts)
    assert sum(counts.values()) >= 1_000_000
