"""What bench/volume.py calls wrong."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import volume_leads
from volume_leads import Lead, People
from volume_state import Keeper, State

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


def begin(keeper: Keeper, people: People, n: int) -> Lead:
    one = Lead("100", f"351{n}", n)
    people.leads[one.wa_id] = one
    keeper.state.next = n + 1
    keeper.note("B", n, one.number, one.wa_id)
    return one


def say(keeper: Keeper, people: People, one: Lead, text: str) -> None:
    one.says(text, f"id.{text}", 7)
    keeper.note("S", one.wa_id, text, f"id.{text}", 7)
    people.messages += 1


def show(keeper: Keeper, people: People, one: Lead, text: str) -> None:
    keeper.note("H", 50.0, one.number, one.wa_id, f"out.{text}", f"key.{text}", text)
    people.heard(one.wa_id, text)


@pytest.mark.parametrize("saved", range(6))
def test_a_bench_that_was_killed_knows_what_was_said_and_heard(tmp_path: Path, saved: int) -> None:
    """Whenever the state was written, and with half a line at the journal's end."""
    keeper, people = Keeper(tmp_path, State(3, 1.0, 1)), People()
    keeper.save(people, 50.0)
    first, second = begin(keeper, people, 0), begin(keeper, people, 1)
    steps = [
        lambda: say(keeper, people, first, "a"),
        lambda: show(keeper, people, first, "a"),
        lambda: (show(keeper, people, first, "visit done"), say(keeper, people, second, "b")),
        lambda: (keeper.note("D", first.wa_id), people.judge(people.leads.pop(first.wa_id))),
        lambda: say(keeper, people, second, "c"),
        lambda: show(keeper, people, second, "b"),
    ]
    for n, step in enumerate(steps):
        step()
        if n == saved:
            keeper.save(people, 51.0)
    journal = tmp_path / keeper.state.journal
    journal.write_bytes(journal.read_bytes() + b'["S","351')

    again, now = Keeper.load(tmp_path), People()
    again.restore(now)
    assert (now.finished, now.messages, now.replies, dict(now.wrong)) == (1, 3, 3, {})
    assert list(now.leads) == ["3511"]
    left = now.leads["3511"]
    assert (left.said, left.ids, left.heard, left.told) == (["b", "c"], ["id.b", "id.c"], ["b"], 0)
    assert again.state.next == 2
    assert [shown.key for shown in again.shown] == ["key.a", "key.visit done", "key.b"]
    again.save(now, 60.0)
    assert [file.name for file in tmp_path.iterdir() if "journal" in file.name] == [again.state.journal]
