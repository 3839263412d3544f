"""Who may do what in a branch, as the sheet says it; and every mistake with its row, its column and what to write."""

from pathlib import Path
from typing import Any

import openpyxl
import pytest

from waterline.core.branch import Branch, Person
from waterline.rollout.branches import read_branches
from waterline.rollout.folder import Folder

ANA = "Ana Souza <Ana@school.example>"


def read(folder: Path, rows: list[list[Any]]) -> tuple[tuple[Branch, ...], list[str]]:
    made = openpyxl.Workbook()
    page = made.active
    assert page is not None
    for row in rows:
        page.append(row)
    made.save(folder / "branches.xlsx")
    found = Folder(folder)
    branches = read_branches(found, frozenset())
    return branches, [f"{m.file}:{m.line}: {m.problem}. {m.remedy}" for m in found.mistakes]


def test_people_are_columns_of_the_sheet(tmp_path: Path) -> None:
    rows = [
        ["id", "name", "role.desk", "role.viewer"],
        ["porto", "Porto", f"{ANA}; rui@school.example", "head@school.example"],
        ["braga", "Braga", "rui@school.example\nbea@school.example", "ana@school.example"],
        ["faro", "Faro", None, None],
    ]
    branches, mistakes = read(tmp_path, rows)
    assert not mistakes
    assert [branch.people for branch in branches] == [
        (
            Person("ana@school.example", "desk", "Ana Souza"),
            Person("rui@school.example", "desk"),
            Person("head@school.example", "viewer"),
        ),
        (
            Person("rui@school.example", "desk"),
            Person("bea@school.example", "desk"),
            Person("ana@school.example", "viewer"),
        ),
        (),
    ]


def test_a_table_says_the_same(tmp_path: Path) -> None:
    text = (
        f'[[branch]]\nid = "porto"\nname = "Porto"\n[branch.roles]\ndesk = ["{ANA}"]\nviewer = "head@school.example"\n'
    )
    (tmp_path / "branches.toml").write_text(text)
    found = Folder(tmp_path)
    [branch] = read_branches(found, frozenset())
    assert not found.mistakes
    assert [(p.email, p.role, p.name) for p in branch.people] == [
        ("ana@school.example", "desk", "Ana Souza"),
        ("head@school.example", "viewer", ""),
    ]


WRONG = [  # column, cell, problem, remedy
    ("role.desk", "ana@school", '"ana@school" is no e-mail address', "Write Ana Souza <ana@school.example>"),
    ("role.desk", "Ana Souza", '"Ana Souza" is no e-mail address', "Write Ana Souza <ana@school.example>"),
    ("role.desk", "Ana <ana@school.example", "is no e-mail address", "Write Ana Souza"),
    ("role.desk", "a@b@school.example", "is no e-mail address", "Write Ana Souza"),
    ("role.desk", "ana@school.example rui@school.example", "is no e-mail address", "after a semicolon"),
    ("role.desk", "ana@school.example; ANA@school.example", "ana@school.example is there already, as desk", "One role"),
    ("role.desk", "bea@school.example; vera@school.example", "vera@school.example is there already", "One role"),
    ("role.desk", f"{'a' * 81} <ana@school.example>", "the name of ana@school.example is not one", "at most 80"),
    ("role.desk", f"{'a' * 60}@{'b' * 30}.example", "no e-mail address of at most 80 characters", "Write Ana"),
    (
        "role.desk",
        "; ".join(f"p{n}@school.example" for n in range(51)),
        "52 people, and a branch has at most 50",
        "Name",
    ),
    ("role.desk", "Bea <ana@school.example>", 'is "Bea" here and "Ana Souza" in row 2', "correct one of the two"),
]


@pytest.mark.parametrize(("column", "cell", "problem", "remedy"), WRONG)
def test_a_mistake_names_row_column_limit_and_remedy(
    tmp_path: Path, column: str, cell: str, problem: str, remedy: str
) -> None:
    rows = [["id", "name", column, "role.viewer"], ["a", "A", ANA, None], ["b", "B", cell, "vera@school.example"]]
    _, mistakes = read(tmp_path, rows)
    assert len(mistakes) == 1, mistakes
    assert mistakes[0].startswith("branches.xlsx:3: role")
    assert problem in mistakes[0]
    assert remedy in mistakes[0]


@pytest.mark.parametrize(
    ("role", "problem", "remedy"),
    [
        ("dsek", 'there is no role "dsek" in a branch; there are desk, viewer', "desk"),
        ("owner", '"owner" is a role in all branches, not in one', "waterline key create --role owner"),
        ("app", 'there is no role "app" in a branch', "desk, viewer"),
    ],
)
def test_no_sheet_names_a_role_that_is_not_of_a_branch(tmp_path: Path, role: str, problem: str, remedy: str) -> None:
    _, [mistake] = read(tmp_path, [["id", "name", f"role.{role}"], ["a", "A", ANA]])
    assert mistake.startswith(f"branches.xlsx:1: role.{role}: ")
    assert problem in mistake
    assert remedy in mistake
    (tmp_path / "branches.xlsx").unlink()
    (tmp_path / "branches.toml").write_text(f'[[branch]]\nid = "a"\nname = "A"\n[branch.roles]\n{role} = ["{ANA}"]\n')
    found = Folder(tmp_path)
    read_branches(found, frozenset())
    assert [problem in m.problem for m in found.mistakes] == [True]


def test_a_sheet_names_at_most_five_thousand_people(tmp_path: Path) -> None:
    people = ["; ".join(f"p{b}-{n}@school.example" for n in range(50)) for b in range(101)]
    text = "id,name,role.desk\n" + "".join(f'b{n},B,"{cell}"\n' for n, cell in enumerate(people))
    (tmp_path / "branches.csv").write_text(text)
    found = Folder(tmp_path)
    read_branches(found, frozenset())
    assert [m.problem for m in found.mistakes] == ["declares 5050 people, more than 5000"]
