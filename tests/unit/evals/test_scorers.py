import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.core.case import Case, Expect
from waterline.evals.scorers import fold, score

LONG_FRENCH = "L'école ouvre à huit heures et vous pouvez nous rendre visite avec votre enfant dans la journée."


def case(**expect: object) -> Case:
    return Case(id="a", input="hi", expect=Expect(**expect))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expect", "answer", "passed"),
    [
        ({"contains": ("MANHA",)}, "Abrimos pela manhã.", True),
        ({"contains": ("manhã",)}, "ABRIMOS PELA MANHA", True),
        ({"contains": ("manh\u0061\u0303",)}, "pela manh\u00e3", True),
        ({"contains": ("eight o'clock",)}, "at eight\n  o’clock", True),
        ({"contains": ("after-school",)}, "the after\u2011school club", True),
        ({"contains": ("680 EUR",)}, "680\u00a0EUR", True),
        ({"contains": ("680", "EUR")}, "680 USD", False),
        ({"contains": ("strasse",)}, "Straße", True),
        ({"contains": ("1.500",)}, "1,500", False),  # numbers compare as written
        ({"contains": ("8:30",)}, "às 8h30", False),
        ({"contains_any": ("8:30", "8h30")}, "às 8h30", True),
        ({"contains_any": ("8:30", "8h30")}, "às 9h", False),
        ({"not_contains": ("sorry",)}, "Sorry!", False),
        ({"not_contains": ("sorry",)}, "Sure!", True),
        ({"regex": r"\b\d{3} EUR\b"}, "It is 680 EUR.", True),
        ({"regex": r"\b\d{3} eur\b"}, "It is 680 EUR.", False),  # a regex is exact
        ({"regex": r"(?i)\b\d{3} eur\b"}, "It is 680 EUR.", True),
        ({"max_words": 3}, "one two three", True),
        ({"max_words": 3}, "one two three four", False),
        ({"language": "pt"}, "Abrimos às oito da manhã, você pode nos visitar.", True),
        ({"language": "es"}, "Abrimos às oito da manhã, você pode nos visitar.", False),
        ({"language": "en"}, LONG_FRENCH, False),
        ({"language": "de"}, "Hallo", False),
        ({"contains": ("680",), "language": "en"}, "The fee is 680 EUR and you can pay by month.", True),
        ({"contains": ("680",), "language": "en"}, "La mensualidad es de 680 EUR y usted puede pagar.", False),
    ],
)
def test_an_answer_is_held_to_what_its_case_expects(expect: dict[str, object], answer: str, passed: bool) -> None:
    found = score(case(**expect), answer, "stop")
    assert found.passed is passed
    assert bool(found.reason) is not passed


@pytest.mark.parametrize("answer", [None, "", "  \n\t"])
def test_a_missing_or_empty_answer_fails_even_where_nothing_would_forbid_it(answer: str | None) -> None:
    found = score(case(not_contains=("x",)), answer, "stop")
    assert not found.passed
    assert "answer" in found.reason


@pytest.mark.parametrize("finish_reason", [None, "", "error", "content_filter", "timeout"])
def test_an_answer_whose_end_never_came_fails(finish_reason: str | None) -> None:
    found = score(case(contains=("yes",)), "yes", finish_reason)
    assert not found.passed
    assert "did not end properly" in found.reason


def test_a_text_that_ran_into_its_limit_is_judged_by_what_is_there() -> None:
    assert score(case(contains=("680",)), "It is 680 EUR and", "length").passed
    assert not score(case(contains=("790",)), "It is 680 EUR and", "length").passed


def test_an_unsure_language_on_a_short_answer_counts_neither_way() -> None:
    found = score(case(language="pt", contains=("680",)), "680 EUR", "stop")
    assert found.passed
    assert [part.passed for part in found.parts] == [True, None]


def test_every_expectation_has_its_part_and_the_first_failure_is_the_reason() -> None:
    found = score(case(contains=("a", "zz"), not_contains=("b",), max_words=1), "a b", "stop")
    assert [(part.name, part.passed) for part in found.parts] == [
        ("contains", True),
        ("contains", False),
        ("not_contains", False),
        ("max_words", False),
    ]
    assert found.reason == "contains: 'zz' is missing"


WANTED = {"intent": "visit", "child": {"age": 4}, "days": ["tuesday", 2], "urgent": False, "note": None}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, None),
        ({"intent": "VISIT", "more": 1}, None),
        ({"child": {"age": 4.0, "name": "Ana"}}, None),
        ({"intent": "price"}, "intent is 'price', expected 'visit'"),
        ({"child": {"age": "4"}}, "child.age is '4', expected 4"),
        ({"child": None}, "child is None, expected an object"),
        ({"child": {}}, "child.age is missing"),
        ({"days": ["tuesday"]}, "expected a list of 2"),
        ({"days": [2, "tuesday"]}, "days[0] is 2"),
        ({"urgent": 0}, "urgent is 0, expected False"),
        ({"note": ""}, "note is '', expected None"),
    ],
)
def test_json_holds_at_least_the_expected_fields(changes: dict[str, object], says: str | None) -> None:
    found = score(case(json=WANTED), f" {json.dumps({**WANTED, **changes})}\n", "stop")
    assert found.passed is (says is None)
    assert (says or "") in found.reason


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ('Here it is: {"a": 1}', "not a JSON object"),
        ('{"a": 1} Anything else?', "not a JSON object"),
        ('{"a": 1', "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("{'a': 1}", "not a JSON object"),
        ('{"a": NaN}', "not a JSON object"),
        ('{"a": "\ud800"}', "not a JSON object"),
        ('{"a": ' + "[" * 100_000, "not a JSON object"),
        ('```json\n{"a": 1}\n```', "fenced: JSON inside ```"),
        ('```\n{"a": 2}```', "fenced: JSON inside ```"),
        ("```json\nsorry\n```", "fenced, and not a JSON object"),
    ],
)
def test_json_is_the_whole_answer_and_nothing_else(answer: str, says: str) -> None:
    found = score(case(json={"a": 1}), answer, "stop")
    assert not found.passed
    assert found.reason == f"json: {says}"


@pytest.mark.parametrize("finish_reason", ["length", "max_tokens"])
def test_json_that_ran_into_its_limit_fails_even_where_it_parses(finish_reason: str) -> None:
    found = score(case(json={"a": 1}), '{"a": 1}', finish_reason)
    assert not found.passed
    assert "truncated" in found.reason


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(), st.text(min_size=1))
def test_no_answer_crashes_the_scorer(answer: str, wanted: str) -> None:
    everything = case(
        contains=(wanted,),
        not_contains=(wanted,),
        contains_any=(wanted,),
        language="en",
        json={"a": wanted},
        max_words=3,
    )
    assert not score(everything, answer, "stop").passed
