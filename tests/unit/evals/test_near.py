"""Which texts are the same question, which cases speak of what was asked."""

import random

import pytest

from waterline.evals.near import Index, embedder

EMBED = [None, pytest.param("wordllama", marks=pytest.mark.skipif(embedder() is None, reason="needs semantic"))]
ASKED = [
    "When do you open on weekdays?",
    "What does the third grade cost per month?",
    "Is there a bus from the north side of town?",
]


def index(texts: list[str], how: str | None) -> Index:
    return Index(texts, embedder() if how else None)


@pytest.mark.parametrize("how", EMBED)
def test_the_same_question_with_other_case_accents_and_punctuation_is_the_same(how: str | None) -> None:
    found = index([*ASKED, "Olá, há vagas?"], how)
    assert found.same("ola ha vagas")[0].row == 3
    assert found.same("WHEN do you open, on weekdays")[0].row == 0
    assert found.same("Do you sell uniforms?") == []


@pytest.mark.parametrize("how", EMBED)
def test_the_nearest_text_is_found_and_nothing_is_near_an_empty_index(how: str | None) -> None:
    assert index([], how).nearest(["anything"]) == [None]
    hits = index(ASKED, how).nearest(["is there a bus from the north", "what does grade three cost a month"])
    assert [hit.row for hit in hits if hit] == [2, 1]


@pytest.mark.parametrize("how", EMBED)
def test_a_crowd_of_one_template_is_one_cluster_and_others_are_not_in_it(how: str | None) -> None:
    crowd = [f"What is the price of the yearly ticket for person number {n}" for n in range(120)]
    groups = index([*crowd, *ASKED], how).clusters()
    assert groups[0] == list(range(120))
    assert len(groups) == 4


def test_the_very_same_text_is_found_in_any_crowd() -> None:
    crowd = [f"Ticket {n} for the evening boat to the island of birds" for n in range(3000)]
    index = Index([*crowd, "where is the lift", *crowd[:300][::-1], "Where is the LIFT?"])
    rows = next(rows for rows in index.clusters() if 3000 in rows)
    assert 3301 in rows
    assert [hit.row for hit in index.same("where is the lift")][:1] == [3000]


def test_texts_that_share_three_quarters_of_their_shingles_are_nearly_always_found() -> None:
    draw = random.Random(7)
    words = [f"{draw.choice('bcdfglmnprst')}{draw.choice('aeiou')}{draw.choice('bdlmnrst')}{n}" for n in range(400)]
    texts = [" ".join(draw.sample(words, 30)) for _ in range(200)]
    found = Index(texts)
    changed = [text.rsplit(" ", 3)[0] + " and some more" for text in texts]
    assert sum(bool(found.same(text)) for text in changed) >= 198
