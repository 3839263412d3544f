"""No question is on both sides, whatever its wording; a case whose words are in a prompt is named."""

import pytest

from waterline.core.case import Case, Expect, Split
from waterline.evals.leaks import Bridged, assigned, by_hash, find, side_of
from waterline.evals.near import Index, embedder

EMBED = embedder()
TOPICS = ["ferry", "harbour", "museum", "lighthouse", "sailmaker", "anchor", "tide", "compass"]
QUESTIONS = [f"{how} {topic} {what}" for topic in TOPICS for how, what in (
    ("How much does the", "cost for a family of five in August?"), ("Where do I find the", "on the map of the island?"),
    ("Who repairs a broken", "over the weekend near here?"))]  # fmt: skip


def case(name: str, text: str, split: Split = "") -> Case:
    return Case(id=name, input=text, expect=Expect(contains=("x",)), split=split)


def worded_twice() -> list[Case]:
    out = []
    for n, text in enumerate(QUESTIONS):
        out += [case(f"{n}a", text), case(f"{n}b", text.upper().replace("?", " please??"))]
    return out


def test_cases_that_ask_the_same_get_the_same_side_and_both_sides_are_used() -> None:
    cases = worded_twice()
    split = {c.id: c.split for c in assigned(cases, EMBED)}
    assert set(split) == {c.id for c in cases}
    assert all(split[f"{n}a"] == split[f"{n}b"] for n in range(len(QUESTIONS)))
    assert set(split.values()) == {"tuning", "held_out"}
    with_sides = assigned(cases, EMBED)
    assert assigned(with_sides, EMBED) == []  # a second time changes nothing
    assert find(with_sides, {}, EMBED).crossings == ()


def test_the_share_that_is_held_out_is_about_what_was_asked_for() -> None:
    sides = [by_hash(f"question {n}", 0.25) for n in range(2000)]
    assert 420 < sides.count("held_out") < 580


def test_a_question_on_both_sides_is_found_in_other_words_and_goes_to_tuning() -> None:
    cases = [case("a", QUESTIONS[0], "tuning"), case("b", QUESTIONS[0].lower(), "held_out"),
             case("c", QUESTIONS[1], "held_out")]  # fmt: skip
    found = find(cases, {}, EMBED)
    assert [(c.tuning, c.held_out) for c in found.crossings] == [(("a",), ("b",))]
    repaired = assigned(cases, EMBED)
    assert [(c.id, c.split) for c in repaired] == [("b", "tuning")]  # what tuning has seen is never held out


@pytest.mark.skipif(EMBED is None, reason="needs semantic")
def test_another_wording_of_the_same_question_is_the_same_question() -> None:
    index = Index(["When do you open on Monday?"], EMBED)
    assert side_of("When do you open on a Monday?", index, ["held_out"]) == "held_out"


def test_a_question_between_one_of_each_side_has_none() -> None:
    text = "What is the price of the yearly ticket for a person"
    index = Index([f"{text} of nine years", f"{text} of thirty years"], None)
    with pytest.raises(Bridged) as found:
        side_of(f"{text} of ten years", index, ["tuning", "held_out"])
    assert (found.value.tuning, found.value.held_out) == (0, 1)


def test_a_question_in_a_prompt_is_a_leak_whatever_the_punctuation_and_a_short_one_is_not() -> None:
    prompts = {
        "main": "Answer kindly.\nQ: how much does the FERRY cost, for a family of five in august\nA: 4 EUR. Yes."
    }
    found = find([case("long", QUESTIONS[0]), case("short", "yes"), case("other", QUESTIONS[1])], prompts, None)
    assert [(q.case, q.prompt) for q in found.quoted] == [("long", "main")]
