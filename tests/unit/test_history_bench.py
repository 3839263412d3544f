"""The cases by which a shortened history is measured, and what is kept of the measurement."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
cases = pytest.importorskip("history_cases")
answers = pytest.importorskip("history_answers")
page = pytest.importorskip("history_page")
KEPT = json.loads(answers.ANSWERS.read_text(encoding="utf-8"))


def test_there_are_sixty_cases_of_three_languages_that_need_an_early_turn_and_thirty_that_do_not():
    talks = cases.talks()
    assert {talk.language for talk in talks} == {"en", "pt", "es"}
    assert sum(len(talk.early) for talk in talks) == 60
    assert sum(len(talk.recent) for talk in talks) == 30
    for talk in talks:
        said = [m.content for m in talk.messages]
        for case in (*talk.early, *talk.recent):
            (wanted,) = case.expect.contains
            at = max(n for n, text in enumerate(said) if wanted in text)
            assert (at >= len(said) - 2) == (case in talk.recent)
            assert wanted not in case.asked


def test_every_case_was_asked_both_ways_and_what_was_sent_is_kept():
    ids = {case.id for talk in cases.talks() for case in (*talk.early, *talk.recent)}
    assert set(KEPT["answers"]["whole"]) == set(KEPT["answers"]["summary"]) == ids
    for talk in cases.talks():
        case = talk.early[0]
        summary = KEPT["summaries"][talk.id]["text"].strip()
        assert answers.sent(case.turns(), "summary", summary)[:-1] == KEPT["answers"]["summary"][case.id]["sent"]


def test_the_page_says_what_is_lost_with_its_interval():
    text = page.history_part()
    assert "| the whole conversation |" in text
    assert text.count(" of 60, ") == 3
    assert "one author" in text
