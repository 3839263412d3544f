"""The same people read by code and by a model, in pairs: whose loss is whose (bench/leads_paired.py)."""

import sys
from pathlib import Path

import pytest

from waterline.evals.leads import Lead

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import leads_paired


def leads(wanted: str) -> list[Lead]:
    """One for each sign: "1" got what they wanted."""
    return [
        Lead(seed, "en", "book", "booked", one == "1", "", 5, 1, 1, 0, 1.0, facts=2, facts_right=int(one))
        for seed, one in enumerate(wanted)
    ]


def test_who_only_a_model_in_each_turn_served_is_lost_by_the_flow() -> None:
    found = leads_paired.loss({"model": leads("1111111111"), "code": leads("1111111100")})
    assert found is not None
    assert found.value == pytest.approx(0.2)


def test_who_only_the_flow_served_is_gained() -> None:
    found = leads_paired.loss({"model": leads("0000011111"), "code": leads("1111111111")})
    assert found is not None
    assert found.value == pytest.approx(-0.5)
    assert found.high < 0.0


def test_people_whom_one_of_the_two_never_met_are_no_pair() -> None:
    theirs, ours = leads_paired._pairs(leads("111"), leads("11111"))
    assert [lead.seed for lead in theirs] == [lead.seed for lead in ours] == [0, 1, 2]


def test_without_the_other_reader_nothing_is_said() -> None:
    assert leads_paired.loss({"code": leads("11")}) is None
