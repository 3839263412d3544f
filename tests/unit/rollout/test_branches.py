"""branches.toml, branches.csv and branches.xlsx: what they declare, and every mistake with its row."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from app_folders import DIGESTS, DRILLS, GOOD, write

from waterline.core.app_spec import encode_spec, parse_spec
from waterline.core.branch import Branch, Hours
from waterline.core.errors import AppFolderError
from waterline.rollout.check import Checked, check
from waterline.rollout.hours import parse_hours

EXAMPLE = Path(__file__).parents[3] / "examples" / "branches.py"
CONNECTED = GOOD["app.toml"]  # scope.* needs connectors: they are declared by the test that uses them


def folder(tmp_path: Path, **files: str) -> Path:
    made = write(tmp_path, GOOD | {name.replace("__", "."): text for name, text in files.items()})
    assert isinstance(made, Path)
    return made


def checked(path: Path) -> Checked:
    return check(path, model_digests=DIGESTS, known_drills=DRILLS)


def mistakes(path: Path) -> list[str]:
    with pytest.raises(AppFolderError) as caught:
        checked(path)
    return [f"{m.file}:{m.line}: {m.problem}" for m in caught.value.mistakes]


def book(path: Path, rows: list[list[Any]]) -> None:
    made = openpyxl.Workbook()
    page = made.active
    assert page is not None
    for row in rows:
        page.append(row)
    made.save(path)


PORTO = Branch(
    id="porto",
    name="Colégio Porto",
    timezone="Europe/Lisbon",
    languages=("pt", "en"),
    addresses={"whatsapp": ("123456789012345", "123456789012346"), "webchat": ("porto",)},
    office_hours=(Hours(0, 510, 750), Hours(0, 840, 1080), Hours(5, 540, 720)),
    visit_minutes=30,
    closed=("2027-04-25", "2027-12-25"),
    facts={"street": "Rua das Flores 7", "phone": "+351 220 000 000"},
    team=("ana@school.example", "rui"),
)
TOML = """
[[branch]]
id = "porto"
name = "Colégio Porto"
timezone = "Europe/Lisbon"
languages = ["pt", "en"]
office_hours = "Mon 08:30-12:30 14:00-18:00; Sat 09:00-12:00"
visit_minutes = 30
closed = ["2027-04-25", "2027-12-25"]
team = ["ana@school.example", "rui"]
[branch.addresses]
whatsapp = ["123456789012345", "123456789012346"]
webchat = "porto"
[branch.facts]
street = "Rua das Flores 7"
phone = "+351 220 000 000"
"""
COLUMNS = ["name", "id", "timezone", "languages", "address.whatsapp", "address.webchat", "office_hours",
           "visit_minutes", "closed", "fact.street", "fact.phone", "team"]  # fmt: skip
ROW = ["Colégio Porto", "porto", "Europe/Lisbon", "pt, en", "123456789012345 123456789012346", "porto",
       "Seg 08:30-12:30, 14:00-18:00; Sáb 9:00-12:00", 30, "2027-04-25 2027-12-25", "Rua das Flores 7",
       "+351 220 000 000", "ana@school.example; rui"]  # fmt: skip


@pytest.mark.parametrize("kind", ["toml", "csv", "xlsx"])
def test_the_three_ways_to_write_a_branch_are_one(tmp_path: Path, kind: str) -> None:
    path = folder(tmp_path)
    if kind == "toml":
        (path / "branches.toml").write_text(TOML)
    elif kind == "xlsx":
        book(path / "branches.xlsx", [COLUMNS, ROW])
    else:
        lines = ["\t".join(map(str, row)) for row in (COLUMNS, ROW)]
        (path / "branches.csv").write_bytes("\n".join(lines).encode("cp1252"))
    spec = checked(path).spec
    assert spec.branches == (PORTO,)
    assert parse_spec(encode_spec(spec)).branches == (PORTO,)


def test_branches_do_not_change_the_release(tmp_path: Path) -> None:
    before = checked(folder(tmp_path / "a")).release
    assert checked(folder(tmp_path / "b", branches__toml=TOML)).release == before


SPOILED = [  # column, value, what is said
    ("id", "Porto 1", "not a good id"),
    ("id", None, "id: is empty"),
    ("name", None, "name: is empty"),
    ("timezone", "Europe/Porto", 'no time zone "Europe/Porto"'),
    ("languages", "portuguese", '"portuguese" is not a language'),
    ("address.whatsapp", "+351 912", "no phone number id"),
    ("office_hours", "Mon-Fri", "has no time"),
    ("office_hours", "Mon 12:00-08:00", "does not end after it begins"),
    ("office_hours", "Mon 08:00-12:00 11:00-13:00", "overlap"),
    ("office_hours", "Mun 08:00-12:00", '"Mun" is no day'),
    ("office_hours", "08:00-12:00", "it names no day"),
    ("office_hours", "Mon 08:00-12:00 and later", '"and later" is no time'),
    ("visit_minutes", 2, "not from 5 to 480"),
    ("visit_minutes", "half an hour", "no whole number"),
    ("closed", "25.12.2027", "no day"),
    ("fact.street", "#REF!", "#REF!"),
]


@pytest.mark.parametrize(("column", "value", "said"), SPOILED)
def test_a_mistake_is_told_with_its_row(tmp_path: Path, column: str, value: Any, said: str) -> None:
    spoiled = [value if name == column else cell for name, cell in zip(COLUMNS, ROW, strict=True)]
    good = ["lisboa" if n in ("id", "address.webchat") else None if n == "address.whatsapp" else c
            for n, c in zip(COLUMNS, ROW, strict=True)]  # fmt: skip
    path = folder(tmp_path)
    book(path / "branches.xlsx", [COLUMNS, good, spoiled])
    found = mistakes(path)
    assert all(m.startswith("branches.xlsx:3: ") for m in found), found
    assert any(said in m for m in found), found


def test_all_mistakes_of_a_spreadsheet_are_told_at_once(tmp_path: Path) -> None:
    path = folder(tmp_path)
    rows = [[f"B{n}", f"b{n}", "Nowhere/City" if n % 2 else "UTC"] for n in range(10)]
    book(path / "branches.xlsx", [["name", "id", "timezone"], *rows])
    assert [m.split(":")[1] for m in mistakes(path)] == ["3", "5", "7", "9", "11"]


def test_an_id_and_an_address_belong_to_one_branch(tmp_path: Path) -> None:
    path = folder(tmp_path)
    rows = [["A", "a", "111"], ["B", "b", "222"], ["B", "b", "333"], ["C", "c", "111"]]
    book(path / "branches.xlsx", [["name", "id", "address.whatsapp"], *rows])
    found = mistakes(path)
    assert len(found) == 2
    assert 'branches.xlsx:4: the branch "b" is there already (row 3)' in found[0]
    assert 'branches.xlsx:5: whatsapp 111 belongs to the branch "a" already' in found[1]


def test_a_number_longer_than_excel_keeps_is_refused_rather_than_sent_to_a_stranger(tmp_path: Path) -> None:
    path = folder(tmp_path)
    book(path / "branches.xlsx", [["name", "id", "address.whatsapp"], ["A", "a", 1234567890123456]])
    assert "more digits than Excel keeps" in mistakes(path)[0]
    book(path / "branches.xlsx", [["name", "id", "address.whatsapp"], ["A", "a", 123456789012345]])
    assert checked(path).spec.branches[0].addresses == {"whatsapp": ("123456789012345",)}


def merged(path: Path, rows: list[list[Any]], cells: str) -> None:
    made = openpyxl.Workbook()
    page = made.active
    assert page is not None
    for row in rows:
        page.append(row)
    page.merge_cells(cells)
    made.save(path)


@pytest.mark.parametrize(
    ("rows", "cells", "said"),
    [
        # Each of these was read as if the cell were empty: a school in the wrong time zone, without its number.
        ([["id", "name", "timezone"], ["a", "A", '="Europe/"&"Lisbon"']], "E9", "2: timezone: the formula ="),
        ([["id", "name", "address.whatsapp"], ["a", "A", "=1+1"]], "E9", "2: address.whatsapp: the formula =1+1"),
        (
            [["id", "name", "timezone"], ["a", "A", "UTC"], ["b", "B"]],
            "C2:C3",
            "2: timezone: the cell is merged",
        ),
        ([["id", "name", None, "timezone"], ["a", "A", "Mo", "UTC"]], "E9", '2: "Mo" stands in no named column'),
    ],
)
def test_no_cell_is_passed_over_in_silence(tmp_path: Path, rows: list[list[Any]], cells: str, said: str) -> None:
    path = folder(tmp_path)
    merged(path / "branches.xlsx", rows, cells)
    [found] = mistakes(path)
    assert said in found


def test_a_header_that_is_merged_disturbs_nobody(tmp_path: Path) -> None:
    path = folder(tmp_path)
    merged(path / "branches.xlsx", [["id", "name"], ["a", "A"]], "B1:D1")
    assert [b.id for b in checked(path).spec.branches] == ["a"]


def test_ten_thousand_rows_are_read_at_once_and_not_all_their_mistakes_are_told(tmp_path: Path) -> None:
    good = "".join(f"b{n},B,Europe/Lisbon\n" for n in range(10_000))
    began = time.process_time()
    [found] = mistakes(folder(tmp_path / "a", branches__csv=f"id,name,timezone\n{good}"))
    assert "more than 5000 branches" in found
    found = mistakes(folder(tmp_path / "b", branches__csv="id,name,timezone\n" + good.replace("Lisbon", "Porto")))[-1]
    assert "branches.csv:202: the rows from here on were not read" in found
    assert time.process_time() - began < 15, "the processor's time; it was three minutes"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"branches.csv": 'id,name,timezone\na,"A,UTC\nb,B,UTC\nc,C,UTC\n'}, "branches.csv row 2: a quotation mark"),
        ({"branches.csv": "id,name,closed\na,A,2027-01-01,2027-04-25\n"}, '2: "2027-04-25" stands in no named column'),
        ({"branches.csv": "id,name,fact.fee,fact.fee\na,A,1,2\n"}, 'the column "fact.fee" is there twice'),
        ({"branches.csv": 'id,name\na,"A\nB"\n'}, "name: is not one short line"),
        ({"branches.csv": "id,name,address.email\na,A,in@x.example\nb,B,In@X.example\n"}, "belongs to the branch"),
        ({"branches.toml": TOML, "branches.csv": "id,name\na,A\n"}, "declared in branches.toml, too"),
        ({"branches.csv": "id,nam\na,A\n"}, 'no column "name"'),
        ({"branches.csv": "id,name,adress.whatsapp\na,A,1\n"}, "unknown column"),
        ({"branches.csv": "id,name\n"}, "declares no branch"),
        ({"branches.csv": "id,name,scope.calendar\na,A,x\n"}, 'no connector "calendar"'),
        ({"branches.csv": "id,name,address.fax\na,A,1\n"}, 'no channel "fax"'),
        ({"branches.csv": "id,name,handbook\na,A,x\n", "knowledge/porto.md": "Hi"}, "no knowledge/x.md"),
        ({"branches.csv": "id,name,handbook\na,A,x\n"}, "no knowledge/x.md"),
        ({"branches.toml": '[[branch]]\nid = "a"\n'}, 'has no "name"'),
        ({"branches.toml": '[[branch]]\nid = "a"\nname = "A"\nnmae = "B"\n'}, "unknown key"),
        ({"branches.toml": "[[branches]]\n"}, 'unknown key "branches"'),
        ({"branches.xlsx": "not a workbook"}, "not a workbook"),
    ],
)
def test_a_file_that_cannot_be_meant_is_told(tmp_path: Path, files: dict[str, str], said: str) -> None:
    path = write(tmp_path, GOOD | files)
    assert any(said in m for m in mistakes(path)), mistakes(path)


def test_an_address_of_mail_is_found_however_it_is_written(tmp_path: Path) -> None:
    rows = "id,name,address.email,team\na,A,Info@Porto.Example,\u202aana@x.example\u202c\n"
    [branch] = checked(folder(tmp_path, branches__csv=rows)).spec.branches
    assert branch.addresses == {"email": ("info@porto.example",)}, "letters are received for it in small letters"
    assert branch.team == ("ana@x.example",), "marks that nobody sees come with a copy from a list of contacts"


def test_a_handbook_in_several_languages_is_one(tmp_path: Path) -> None:
    rows = "id,name,handbook\na,A,porto\nb,B,porto.pt\nc,C,\n"
    known = {"knowledge/porto.pt.md": "## Preço\n290\n", "knowledge/porto.en.md": "## Price\n290\n"}
    branches = checked(write(tmp_path, GOOD | known | {"branches.csv": rows})).spec.branches
    assert [b.handbook for b in branches] == ["porto", "porto.pt", ""]


def test_hours_are_read_in_three_languages_and_over_the_weekend() -> None:
    assert parse_hours("Sex-Dom 10:00-12:00") == tuple(Hours(day, 600, 720) for day in (4, 5, 6))
    assert parse_hours("sáb–lun 10h00 a 12h00") == tuple(Hours(day, 600, 720) for day in (0, 5, 6))
    assert len(parse_hours("daily 00:00-24:00")) == 7
    assert parse_hours("") == ()


@pytest.mark.parametrize("suffix", ["xlsx", "csv"])
def test_the_example_writes_three_hundred_good_branches(tmp_path: Path, suffix: str) -> None:
    path = folder(tmp_path)
    out = path / f"branches.{suffix}"
    for _ in range(2):
        subprocess.run([sys.executable, str(EXAMPLE), str(out), "--no-scopes"], check=True, capture_output=True)
    branches = checked(path).spec.branches
    assert len({b.id for b in branches}) == 300
    assert len({b.addresses["whatsapp"] for b in branches}) == 300
    assert len({b.timezone for b in branches}) > 10
    assert all(b.visit_hours and b.office_hours and b.facts for b in branches)


def test_the_example_writes_the_handbook_of_each_group_in_its_languages(tmp_path: Path) -> None:
    path = folder(tmp_path)
    command = [sys.executable, str(EXAMPLE), str(path / "branches.xlsx"), "--no-scopes", "--handbooks"]
    subprocess.run(command, check=True, capture_output=True)
    found = checked(path)
    handbooks = {b.handbook for b in found.spec.branches}
    assert len(handbooks) > 5
    for branch in found.spec.branches:
        for language in branch.languages:
            assert f"{branch.handbook}.{language}" in found.release.handbooks
