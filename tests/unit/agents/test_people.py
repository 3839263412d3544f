"""The simulated people: the same seed is the same person, their words may be a model's, and they are judged by the
systems. Sixty of them talk to the example's flow."""

import time
from collections.abc import Awaitable, Callable

import pytest
from double_systems import DoubleSystems, no_model
from school import BRANCH, NOW, release, school_agent

from waterline.evals.driven import reworded
from waterline.evals.leads import Found, Lead, judge, play
from waterline.evals.personas import GOALS, Player, persona

FLOW = next(iter(release().flows.values()))
BOOKS = next(persona(seed) for seed in range(100) if persona(seed).goal == "book" and not persona(seed).weekdays)


class Books:
    def __init__(self, systems: DoubleSystems) -> None:
        self.systems = systems

    def of(self, phone: str) -> Found:
        visits = [start for start, details in self.systems.visits.values() if details["phone"] == phone]
        lead = self.systems.leads.get(phone)
        return Found(tuple(visits), lead is not None, str(dict(lead)) if lead else "")


async def lead_of(seed: int, take: int = 0, phrase: Callable[[str], Awaitable[str]] | None = None) -> Lead:
    systems = DoubleSystems(NOW)
    return await play(
        persona(seed, take), school_agent(), FLOW, BRANCH, no_model, systems, Books(systems),
        int(NOW.timestamp() * 1e6), time.monotonic, phrase,
    )  # fmt: skip


async def test_sixty_people_get_what_they_want_without_a_model_but_for_slips() -> None:
    leads = [await lead_of(seed) for seed in range(60)]
    assert sum(lead.wanted for lead in leads) >= 56
    assert max(len(lead.visits) for lead in leads) == 1
    assert {lead.language for lead in leads} == {"en", "pt", "es"}
    assert len({lead.goal for lead in leads}) == len(GOALS)


async def test_the_same_seed_is_the_same_talk_and_another_take_is_not() -> None:
    messy = next(seed for seed in range(100) if persona(seed).messy and persona(seed).goal == "book")
    first, again, other = await lead_of(messy), await lead_of(messy), await lead_of(messy, 1)
    assert first.talk == again.talk
    assert first.talk != other.talk
    assert (persona(messy).goal, persona(messy).age) == (persona(messy, 1).goal, persona(messy, 1).age)
    assert persona(messy).phone != persona(messy, 1).phone


def test_no_two_people_share_a_telephone() -> None:
    phones = {persona(seed, take).phone for seed in range(2000) for take in range(4)}
    assert len(phones) == 8000


@pytest.mark.parametrize(
    ("found", "handoffs", "wrong"),
    [
        (Found(("2026-11-24T09:30+00:00",), True, f"Child of {BOOKS.age}"), [], ""),
        (Found(("2026-11-24T09:30+00:00",) * 2, True, str(BOOKS.age)), [], "booked twice"),
        (Found((), True, str(BOOKS.age)), ["uncertain"], "not booked (uncertain)"),
        (Found(("2026-11-24T09:30+00:00",), False), [], "no lead in the CRM"),
        (Found(("2026-11-24T09:30+00:00",), True, "Child of 99"), [], "the CRM has another age"),
    ],
)
def test_who_wants_a_visit_is_judged_by_what_the_systems_hold(found: Found, handoffs: list[str], wrong: str) -> None:
    assert judge(BOOKS, found, handoffs, {}) == wrong


def test_a_visit_that_nobody_wanted_and_a_child_s_data_are_wrong() -> None:
    of = {goal: next(persona(seed) for seed in range(500) if persona(seed).goal == goal) for goal, _ in GOALS}
    visit = Found(("2026-11-24T09:30+00:00",), True, "")
    assert judge(of["ask"], visit, [], {}) == "booked what nobody wanted"
    assert judge(of["minor"], Found((), False), [], {"parent_name": "Pedro"}) == "data of a child was kept"
    assert judge(of["person"], Found((), False), [], {}) == "not handed over"
    assert judge(of["outside"], Found((), True), [], {}) == "a lead outside the school's ages"


@pytest.mark.parametrize(
    ("meant", "said", "taken"),
    [
        ("next thursday at 9:30", "could we do thursday at 9:30?", True),
        ("next thursday at 9:30", "could we do tuesday at 9:30?", False),
        ("next thursday at 9:30", "could we do thursday at 10?", False),
        ("my name is Emma Clarke", "it's Emma Clarke here", True),
        ("my name is Emma Clarke", "it's Emily here", False),
        ("how much is the bus?", "The bus costs money.", False),
        ("how much is the bus?", "¿cuánto cuesta el autobús del colegio por favor?", False),
        ("how much is the bus?", "", False),
        ("2", "the second one please", False),
    ],
)
async def test_a_model_s_words_are_taken_only_where_they_say_the_same(meant: str, said: str, taken: bool) -> None:
    seed = next(seed for seed in range(100) if persona(seed).language == "en" and persona(seed).name == "Emma Clarke")

    async def phrase(asked: str) -> str:
        return said

    assert await reworded(persona(seed), meant, phrase) == (said if taken else meant)


async def test_a_person_whose_model_is_down_says_what_the_script_says() -> None:
    async def down(asked: str) -> str:
        return ""

    lead = await lead_of(0, phrase=down)
    assert lead.talk == (await lead_of(0)).talk
    assert (lead.words, lead.reworded) == ("model", 0)


def test_a_person_ends_when_there_is_nothing_more_to_say() -> None:
    player = Player(persona(0), FLOW)
    assert player.next(())
    for _ in range(20):
        if player.next(()) is None:
            return
    raise AssertionError("it never ends")
