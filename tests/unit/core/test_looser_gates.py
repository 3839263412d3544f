"""What counts as asking less of a release than before."""

import pytest
from msgspec.structs import replace

from waterline.core.app_spec import AppSpec, Objectives, Quality, asks_less
from waterline.core.gates import GATE_NAMES, Gates, loosened, named_cases

NOW = Gates(GATE_NAMES, load_line_days=14, evaluation_days=14, evaluation_margin=0.05, evaluation_cases="ab" * 8,
            evaluation_must_pass=("regression",), approvals=2)  # fmt: skip


def test_the_same_and_the_stricter_are_not_looser() -> None:
    assert loosened({"production": NOW}, {"production": NOW}) == []
    stricter = replace(NOW, load_line_days=1, evaluation_days=1, evaluation_margin=0.0, approvals=3,
                       evaluation_cases="ab" * 9)  # fmt: skip
    assert loosened({"production": NOW}, {"production": stricter, "staging": NOW}) == []
    assert loosened({}, {"production": NOW}) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"requires": GATE_NAMES[1:]}, "no longer requires load_line"),
        ({"requires": GATE_NAMES[:3]}, "no longer requires approval"),
        ({"load_line_days": 15}, "load_line_days 14 -> 15"),
        ({"evaluation_days": 15}, "evaluation_days 14 -> 15"),
        ({"evaluation_margin": 0.06}, "evaluation_margin 0.05 -> 0.06"),
        ({"evaluation_against": "score_min"}, "evaluation_against"),
        ({"evaluation_cases": ""}, '-> "any"'),
        ({"evaluation_cases": "ab" * 7}, "evaluation_cases"),
        ({"evaluation_cases": "front"}, "evaluation_cases"),
        ({"evaluation_must_pass": ("price",)}, 'evaluation_must_pass without "regression"'),
        ({"approvals": 1}, "approvals 2 -> 1"),
    ],
)
def test_what_is_asked_less_is_named(change: dict[str, object], says: str) -> None:
    found = loosened({"production": NOW}, {"production": replace(NOW, **change)})
    assert len(found) == 1
    assert says in found[0]


def test_an_environment_left_out_asks_for_nothing() -> None:
    assert len(loosened({"production": NOW}, {"staging": NOW})) == len(GATE_NAMES)


def test_options_of_a_gate_that_is_not_required_do_not_count() -> None:
    only = Gates(("no_open_incident",), load_line_days=1)
    assert loosened({"production": only}, {"production": replace(only, load_line_days=99, approvals=1)}) == []


def test_the_margin_is_that_of_the_objectives_unless_it_is_said() -> None:
    gates = {"production": Gates(("evaluation",)), "beta": Gates(("evaluation",), evaluation_margin=0.1)}
    spec = AppSpec("a", gates=gates, objectives=Objectives(quality=Quality(regression_max=0.02)))
    assert {env: gates.evaluation_margin for env, gates in spec.all_gates.items()} == {"production": 0.02, "beta": 0.1}


def test_a_lower_score_is_less_where_the_score_is_the_gate() -> None:
    def declared(score: float, against: str) -> AppSpec:
        gates = {"production": Gates(("evaluation",), evaluation_against=against)}
        return AppSpec("a", gates=gates, objectives=Objectives(quality=Quality(score_min=score, regression_max=0.05)))

    assert asks_less(declared(0.8, "score_min"), declared(0.7, "score_min")) == ['"production": score_min 0.8 -> 0.7']
    assert asks_less(declared(0.8, "score_min"), declared(0.9, "score_min")) == []
    assert asks_less(declared(0.8, "live"), declared(0.7, "live")) == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("front", ("", "front", "")),
        ("front:held_out", ("", "front", "held_out")),
        ("3b8a45e9", ("3b8a45e9", "", "")),
        ("front:all", None),
        ("cases/front.jsonl", None),
        ("", None),
    ],
)
def test_cases_are_named_by_set_or_by_digest(text: str, named: tuple[str, str, str] | None) -> None:
    found = named_cases(text)
    assert (None if found is None else (found.digest, found.name, found.split)) == named
