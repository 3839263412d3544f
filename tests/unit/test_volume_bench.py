"""What bench/volume.py calls wrong."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import volume_leads
from volume_leads import Lead, People

ZONES = ["Europe/Lisbon", "America/Lima"]


def lead() -> Lead:
    said = [f"m{n}" for n in range(4)]
    return Lead("1", "351", said=said, second={text: n for n, text in enumerate(said)}, told=1)


@pytest.mark.parametrize(
    ("heard", "told", "wrong"),
    [
        (["m0", "m1", "m2", "m3"], 1, []),
        (["m0", "m1", "m3"], 1, ["lost"]),
        (["m0", "m1", "m1", "m2", "m3"], 1, ["answered twice"]),
        (["m0", "m2", "m1", "m3"], 1, ["out of order"]),
        (["m0", "m1", "m2", "m3", "x"], 1, ["what nobody said was answered"]),
        (["m0", "m1", "m2", "m3"], 2, ["told of the visit not once"]),
        (["m0", "m1", "m2", "m3"], 0, ["told of the visit not once"]),
    ],
)
def test_what_is_lost_doubled_or_out_of_order_is_found(heard: list[str], told: int, wrong: list[str]) -> None:
    people, one = People(), lead()
    one.heard, one.told = heard, told
    people.judge(one)
    assert list(people.wrong) == wrong


def test_messages_of_one_second_have_no_order_that_anybody_could_keep() -> None:
    people, one = People(), lead()
    one.second = dict.fromkeys(one.said, 1)
    one.heard = ["m1", "m0", "m2", "m3"]
    people.judge(one)
    assert (people.same_second, dict(people.wrong)) == (1, {})


def test_leads_come_in_the_shape_of_the_month_where_their_branch_is() -> None:
    due = volume_leads.arrivals(20_000, ZONES, [], seed=1)
    assert due == sorted(due)
    assert due == volume_leads.arrivals(20_000, ZONES, [], seed=1)
    assert 0 <= due[0][0] < due[-1][0] < volume_leads.DAYS * 86_400
    for branch, shift in ((0, 0), (1, -5)):
        hours = [int(at / 3600 + shift) % 24 for at, where in due if where == branch]
        evening = sum(19 <= h <= 21 for h in hours)
        assert evening > 5 * sum(2 <= h <= 4 for h in hours)
