"""`waterline check` names the cases whose questions the prompts give away."""

from pathlib import Path

from app_folders import checked, good


def test_a_case_whose_question_is_in_a_prompt_is_named_as_a_warning(tmp_path: Path) -> None:
    line = '{"id": "bus", "input": "Is there a bus from the north side?", "expect": {"contains": ["no"]}}\n'
    book = "Grade 3 costs 790 EUR.\n\nQ: is there a BUS from the north side\nA: No.\n"
    found = checked(good(tmp_path, **{"cases/bus.jsonl": line, "prompts/handbook.md": book}))
    told = [warning for warning in found.warnings if "has the words of bus" in warning]
    assert len(told) >= 1
    assert "prompts/" in told[0]


def test_a_prompt_without_examples_has_no_such_warning(tmp_path: Path) -> None:
    assert not [warning for warning in checked(good(tmp_path)).warnings if "has the words of" in warning]
