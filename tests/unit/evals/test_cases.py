import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterline.core.case import Case, Expect, Message, case_set_id
from waterline.core.errors import AppFolderError
from waterline.evals import cases as module
from waterline.evals.cases import load_cases, parse_cases, read_cases, sample, uncovered

GOOD = {"id": "a", "input": "When do you open?", "expect": {"contains": ["8:00"]}}


def lines(*cases: object) -> bytes:
    return b"\n".join(case if isinstance(case, bytes) else json.dumps(case).encode() for case in cases)


def made(number: int, *tags: str, route: str = "main") -> Case:
    return Case(id=f"c{number:04d}", input="hi", expect=Expect(contains=("x",)), tags=tags, route=route)


def test_cases_are_read_from_every_file_of_the_folder_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(lines({**GOOD, "id": "later"}))
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines(GOOD, b"", {**GOOD, "id": "b"}) + b"\r\n\n")
    (tmp_path / "notes.txt").write_text("not cases")
    assert [case.id for case in load_cases(tmp_path)] == ["a", "b", "later"]
    assert [case.id for case in load_cases(tmp_path / "b.jsonl")] == ["later"]


def test_a_case_may_be_a_conversation() -> None:
    found, wrong = parse_cases(
        lines({"id": "m", "messages": [{"role": "user", "content": "oi"}], "expect": {"language": "pt"}}), "x"
    )
    assert not wrong
    assert found[0][1].turns() == (Message(role="user", content="oi"),)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "not JSON"),
        (b'["a"]', "not a case"),
        (b'{"id": "a", "input": "\xff", "expect": {"contains": ["x"]}}', "byte 23 of the line is not UTF-8"),
        (b'{"id": "a", "expect": {"json": {"a": ' + b"[" * 100_000, "nested too deeply"),
        ({**GOOD, "inptu": "x"}, "unknown field `inptu`"),
        ({**GOOD, "expect": {"contain": ["x"]}}, "unknown field `contain`"),
        ({"id": "a", "input": "x"}, "missing required field `expect`"),
        ({**GOOD, "id": 7}, "Expected `str`, got `int`"),
        ({**GOOD, "id": " "}, "the id is empty"),
        ({**GOOD, "messages": [{"role": "user", "content": "x"}]}, "exactly one of input and messages"),
        ({"id": "a", "expect": {"contains": ["x"]}}, "exactly one of input and messages"),
        ({**GOOD, "input": " "}, "nothing to send"),
        ({"id": "a", "messages": [], "expect": {"contains": ["x"]}}, "nothing to send"),
        (
            {"id": "a", "messages": [{"role": "assistant", "content": "x"}], "expect": {"contains": ["x"]}},
            "last message is not the user's",
        ),
        ({**GOOD, "expect": {}}, "it cannot fail"),
        ({**GOOD, "expect": {"contains": [""]}}, "empty"),
        ({**GOOD, "expect": {"not_contains": [" \u0301 "]}}, "empty"),
        ({**GOOD, "expect": {"contains": ["Café"], "not_contains": ["CAFE"]}}, "no answer can hold both"),
        ({**GOOD, "expect": {"regex": "("}}, "regex does not compile"),
        ({**GOOD, "expect": {"language": "de"}}, 'language "de" cannot be told'),
        ({**GOOD, "expect": {"max_words": 0}}, "max_words is 0"),
        ({**GOOD, "tags": [""]}, "tag is empty"),
        ({**GOOD, "route": ""}, "route or a tag is empty"),
    ],
)
def test_a_mistake_names_its_file_and_line_and_what_to_write(line: object, says: str) -> None:
    found, wrong = parse_cases(lines({**GOOD, "id": "first"}, b"", line, {**GOOD, "id": "last"}), "cases/x.jsonl")
    assert [case.id for _, case in found] == ["first", "last"]
    assert len(wrong) == 1
    assert (wrong[0].file, wrong[0].line) == ("cases/x.jsonl", 3)
    assert says in wrong[0].problem
    assert wrong[0].remedy.endswith(".")


def test_all_mistakes_of_all_files_come_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(lines(GOOD, {**GOOD, "expect": {}}))
    (folder / "b.jsonl").write_bytes(lines(b"{", GOOD))
    with pytest.raises(AppFolderError) as caught:
        load_cases(folder)
    where = [(mistake.file, mistake.line) for mistake in caught.value.mistakes]
    assert where == [("cases/a.jsonl", 2), ("cases/b.jsonl", 1), ("cases/b.jsonl", 2)]
    assert 'the id "a" is taken by cases/a.jsonl:1' in str(caught.value)


def test_a_missing_folder_is_a_mistake_and_an_empty_one_has_no_cases(tmp_path: Path) -> None:
    with pytest.raises(AppFolderError, match="no such file or folder"):
        load_cases(tmp_path / "cases")
    assert load_cases(tmp_path) == ()


def test_a_file_that_cannot_be_read_or_is_huge_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 100)
    (tmp_path / "big.jsonl").write_bytes(b" " * 101)
    (tmp_path / "dir.jsonl").mkdir()
    found, wrong = read_cases(tmp_path)
    assert found == ()
    assert ["larger" in wrong[0].problem, "cannot be read" in wrong[1].problem] == [True, True]


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    found, wrong = parse_cases(data, "x")
    assert len(found) + len(wrong) <= data.count(b"\n") + 1


def test_a_set_is_named_by_its_content_and_not_by_its_order() -> None:
    cases = [made(number, "t") for number in range(10)]
    shuffled = cases[:]
    Random(1).shuffle(shuffled)
    assert case_set_id(cases) == case_set_id(shuffled)
    assert case_set_id(cases) != case_set_id(cases[1:])
    assert case_set_id(cases) != case_set_id([*cases[1:], made(0, "other")])
    assert len(case_set_id([])) == 64


def many(count: int = 150) -> list[Case]:
    rng = Random("cases")
    tags = [f"tag{number}" for number in range(18)]
    return [
        made(number, *{tags[int(18 * rng.random() ** 2)] for _ in range(3)}, route="main" if number % 9 else "qualify")
        for number in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_covers_every_tag_and_route(seed: int) -> None:
    cases = many()
    chosen = sample(cases, 24, seed)
    assert len(chosen) == len({case.id for case in chosen}) == 24
    assert uncovered(chosen, cases) == ()
    assert list(chosen) == sorted(chosen, key=lambda case: case.id)


def test_a_sample_too_small_for_every_tag_says_which_it_left_out() -> None:
    cases = [made(number, f"tag{number}") for number in range(6)]
    assert len(uncovered(sample(cases, 4, 1), cases)) == 2


def test_a_sample_is_the_same_for_a_seed_whatever_the_order_and_another_for_another_seed() -> None:
    cases = many()
    shuffled = cases[:]
    Random(2).shuffle(shuffled)
    assert sample(cases, 24, 1) == sample(shuffled, 24, 1)
    assert sample(cases, 24, 1) != sample(cases, 24, 2)
    assert [case.id for case in sample([made(n) for n in range(9)], 3, 1)] == ["c0002", "c0003", "c0006"]


def test_a_sample_larger_than_the_set_is_the_set() -> None:
    cases = many(10)
    assert list(sample(cases, 24, 1)) == cases
    assert sample(cases, 0, 1) == ()
    assert sample([], 5, 1) == ()


def test_a_case_more_changes_a_sample_little() -> None:
    cases = many()
    full = {case.id for case in sample(cases, 24, 1)}
    moved = [
        len(full - {case.id for case in sample(cases[:gone] + cases[gone + 1 :], 24, 1)} - {cases[gone].id})
        for gone in range(0, 150, 3)
    ]
    assert sum(moved) / len(moved) < 1.0
    assert sorted(moved)[len(moved) // 2] == 0


def test_untagged_cases_are_all_drawn_as_often() -> None:
    cases = [made(number) for number in range(20)]
    times = dict.fromkeys((case.id for case in cases), 0)
    for seed in range(1000):
        for case in sample(cases, 5, seed):
            times[case.id] += 1
    assert 190 < min(times.values()) <= max(times.values()) < 310
