"""Excel and CSV: read as people leave them, appended once, nobody's work lost."""

import asyncio
import codecs
import contextlib
import csv
import datetime
import fcntl
import multiprocessing
import os
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from waterline.connectors.base import Config, ConnectorFault, Scope
from waterline.connectors.sheet import Sheet

PORTO = Scope("porto")


def sheet(folder: Path, file: str, **more: Any) -> Sheet:
    return Sheet(Config("files", {"folder": str(folder)}, {"file": file, **more}))


def book(path: Path, rows: list[list[Any]], first_row: int = 1, merge: str = "") -> Path:
    made = openpyxl.Workbook()
    page = made.active
    assert page is not None
    for number, row in enumerate(rows, first_row):
        for column, value in enumerate(row, 1):
            page.cell(row=number, column=column).value = value
    if merge:
        page.merge_cells(merge)
    made.save(path)
    return path


async def look(connector: Sheet, **arguments: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await connector.call("look_up", arguments, "", PORTO))["rows"]
    return found


async def fault(connector: Sheet, operation: str = "look_up", key: str = "", **arguments: Any) -> ConnectorFault:
    with pytest.raises(ConnectorFault) as caught:
        await connector.call(operation, arguments, key, PORTO)
    return caught.value


async def test_numbers_kept_as_text_dates_and_blanks_are_read_as_they_are_meant(tmp_path: Path) -> None:
    book(tmp_path / "fees.xlsx", [
        ["Grade", "Code", "Fee", "From"],
        ["5th  grade", "0042", 310.0, datetime.date(2027, 9, 1)],
        ["São João", 42, 310.5, "01/10/2027"],
        [None, None, None, None],
        ["6th grade", "42 ", None, 46997],
    ])  # fmt: skip
    fees = sheet(tmp_path, "fees.xlsx", key=["Code"], date_columns=["From"])
    assert await look(fees, Code="0042") == [{"Grade": "5th  grade", "Code": "0042", "Fee": 310, "From": "2027-09-01"}]
    assert [row["Grade"] for row in await look(fees, Code=42)] == ["São João", "6th grade"]
    assert [row["From"] for row in await look(fees, Code="42")] == ["2027-10-01", "2028-09-01"]
    by_grade = sheet(tmp_path, "fees.xlsx", key=["Grade"])
    assert len(await look(by_grade, Grade="são joão")) == 1


async def test_headers_merged_over_two_rows_below_a_title_name_each_column(tmp_path: Path) -> None:
    rows = [["Prices 2027", None, None], ["Grade", "Fee", None], [None, "Half day", "Full day"], ["5th", 200, 310]]
    book(tmp_path / "p.xlsx", rows, first_row=2, merge="B3:C3")
    prices = sheet(tmp_path, "p.xlsx", key=["Grade"], header_row=3, header_rows=2)
    assert await look(prices, Grade="5TH") == [{"Grade": "5th", "Fee / Half day": 200, "Fee / Full day": 310}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "latin-1", "utf-16"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
async def test_a_text_file_is_read_in_the_encoding_and_with_the_delimiter_it_has(
    tmp_path: Path, encoding: str, delimiter: str
) -> None:
    lines = [["Nome", "Observação", "Início"], ["João", "quer; saber, já", "31.12.2026"], ["Zoë", 'diz "olá"', ""]]
    with (tmp_path / "l.csv").open("w", encoding=encoding, newline="") as opened:
        csv.writer(opened, delimiter=delimiter).writerows(lines)
    leads = sheet(tmp_path, "l.csv", key=["Nome"], date_columns=["Início"])
    assert await look(leads, Nome="joão") == [{"Nome": "João", "Observação": "quer; saber, já", "Início": "2026-12-31"}]
    assert (await look(leads, Nome="Zoë"))[0]["Observação"] == 'diz "olá"'


async def test_a_hundred_thousand_rows_are_not_held_twice(tmp_path: Path) -> None:
    with (tmp_path / "big.csv").open("w", newline="") as opened:
        out = csv.writer(opened)
        out.writerow(["id", "name", "city"])
        out.writerows([f"k{n}", f"name {n}", f"city {n % 300}"] for n in range(100_000))
    big = sheet(tmp_path, "big.csv", key=["id"])
    tracemalloc.start()
    try:
        assert (await look(big, id="K99999"))[0]["name"] == "name 99999"
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.4 * held, (held, peak)


async def test_a_file_changed_by_the_office_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("grade,fee\n5,310\n")
    fees = sheet(tmp_path, "l.csv", key=["grade"])
    assert (await look(fees, grade=5))[0]["fee"] == "310"
    path.write_text("grade,fee\n5,3200\n")
    assert (await look(fees, grade=5))[0]["fee"] == "3200"


async def test_a_branch_has_its_own_file_and_never_reads_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "porto.csv").write_text("grade,fee\n5,1\n")
    (tmp_path / "secret.csv").write_text("grade,fee\n5,2\n")
    (tmp_path / "f" / "link.csv").symlink_to(tmp_path / "secret.csv")
    fees = Sheet(Config("files", {"folder": str(tmp_path / "f")}, {"key": ["grade"]}))
    found = await fees.call("look_up", {"grade": 5}, "", Scope("porto", "porto.csv"))
    assert found["rows"] == [{"grade": "5", "fee": "1"}]
    for place in ("../secret.csv", "link.csv", str(tmp_path / "secret.csv")):
        with pytest.raises(ConnectorFault, match="out of the folder"):
            await fees.call("look_up", {"grade": 5}, "", Scope("evil", place))


# --- append --------------------------------------------------------------------------------------------------------

WRITES = {"key_column": "ref", "writes": ["name", "phone"], "lock_wait_s": 0.3}


def leads(folder: Path, kind: str) -> tuple[Sheet, Path]:
    if kind == "xlsx":
        path = book(folder / "leads.xlsx", [["name", "phone", "ref"], ["Ana", "0042", "a/1"]])
    else:
        path = folder / "leads.csv"
        path.write_text("name;phone;ref\nAna;0042;a/1")  # no newline at the end
    return sheet(folder, path.name, key=["ref"], **WRITES), path


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
async def test_a_row_is_appended_once_however_often_it_is_asked_for(tmp_path: Path, kind: str) -> None:
    made, path = leads(tmp_path, kind)
    row = {"name": "João", "phone": "+351 912 345 678"}
    results = [await made.call("append", row, "c1/4/lead", PORTO) for _ in range(3)]
    assert results == [{"row": 3}] * 3
    again = sheet(tmp_path, path.name, key=["ref"], **WRITES)  # after a crash: another process
    assert await again.call("append", row, "c1/4/lead", PORTO) == {"row": 3}
    assert await look(again, ref="c1/4/lead") == [{"name": "João", "phone": "+351 912 345 678", "ref": "c1/4/lead"}]
    assert (await again.call("rows", {}, "", PORTO))["total"] == 2
    assert (await look(again, ref="a/1"))[0]["phone"] == "0042"
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith("new")] == []


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
async def test_what_a_user_writes_never_becomes_a_formula(tmp_path: Path, kind: str) -> None:
    made, path = leads(tmp_path, kind)
    await made.call("append", {"name": '=HYPERLINK("http://evil")', "phone": "@SUM(A1)"}, "k", PORTO)
    if kind == "xlsx":
        page = openpyxl.load_workbook(path).active
        assert page is not None
        assert [page.cell(3, c).data_type for c in (1, 2)] == ["s", "s"]
    else:
        assert path.read_text().splitlines()[2].startswith("\"'=HYPERLINK")


def _append(folder: str, file: str, first: int) -> None:
    async def run() -> None:
        made = sheet(Path(folder), file, key_column="ref", writes=["name"], lock_wait_s=60)
        for number in range(first, first + 10):
            await made.call("append", {"name": f"n{number}"}, f"k{number}", PORTO)

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
async def test_processes_that_append_at_once_lose_and_double_nothing(tmp_path: Path, kind: str) -> None:
    made, path = leads(tmp_path, kind)
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_append, args=(str(tmp_path), path.name, first)) for first in (0, 5, 10)]
    for child in children:
        child.start()
    for child in children:
        await asyncio.to_thread(child.join)
    rows = (await made.call("rows", {}, "", PORTO))["rows"]
    assert sorted(row["ref"] for row in rows) == sorted(["a/1", *(f"k{n}" for n in range(20))])


@pytest.mark.parametrize("lock", [".~lock.leads.xlsx#", "~$leads.xlsx", "~$ads.xlsx"])
async def test_a_file_that_somebody_has_open_is_left_alone(tmp_path: Path, lock: str) -> None:
    made, path = leads(tmp_path, "xlsx")
    before = path.read_bytes()
    (tmp_path / lock).touch()
    found = await fault(made, "append", "k", name="x")
    assert found.kind == "down"
    assert found.retry_after_s
    assert path.read_bytes() == before
    (tmp_path / lock).unlink()
    assert await made.call("append", {"name": "x"}, "k", PORTO) == {"row": 3}


async def test_a_file_saved_by_somebody_while_ours_is_written_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, path = leads(tmp_path, "csv")
    from waterline.connectors import sheet_append

    write = sheet_append._text

    def meanwhile(*given: Any) -> int:
        number = write(*given)
        path.write_text("name;phone;ref\nSomebody's;work;x")
        return number

    monkeypatch.setattr(sheet_append, "_text", meanwhile)
    assert (await fault(made, "append", "k", name="x")).kind == "down"
    assert path.read_text().endswith("work;x")


async def test_a_workbook_with_formulas_is_refused_before_its_values_are_lost(tmp_path: Path) -> None:
    book(tmp_path / "f.xlsx", [["name", "ref"], ["=1+1", "a"]])
    made = sheet(tmp_path, "f.xlsx", key_column="ref", writes=["name"])
    assert "formulas" in (await fault(made, "append", "k", name="x")).message


async def test_a_letter_that_the_file_cannot_hold_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_bytes("name;ref\nJoão;1\n".encode("cp1252"))
    made = sheet(tmp_path, "leads.csv", key_column="ref", writes=["name"])
    before = path.read_bytes()
    assert (await fault(made, "append", "k", name="Łukasz")).kind == "data"
    assert path.read_bytes() == before


async def test_a_name_never_becomes_a_row_of_its_own(tmp_path: Path) -> None:
    made, _ = leads(tmp_path, "csv")
    await made.call("append", {"name": "Ana\rEve;1;c9/1/lead\r\nMallory", "phone": "a\0b"}, "k", PORTO)
    assert (await made.call("rows", {}, "", PORTO))["total"] == 2
    assert await look(made, ref="c9/1/lead") == []
    assert await look(made, ref="k") == [{"name": "Ana\nEve;1;c9/1/lead\nMallory", "phone": "ab", "ref": "k"}]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        (codecs.BOM_UTF16_BE + "name;ref\nJoão;a\n".encode("utf-16-be"), 3),
        (codecs.BOM_UTF16_LE + "name;ref\nJoão;a\n".encode("utf-16-le"), 3),
        ("\ufeffname;ref\nJoão;a".encode(), 3),
        (b"name,ref\nAna,a\n,\n,\n", 5),  # the office left empty rows
        (b"name,ref\r\nAna,a\n", 4),  # and two programs ended the lines
    ],
)
async def test_the_number_of_a_row_is_the_same_at_each_repeat_however_the_file_is_written(
    tmp_path: Path, text: bytes, row: int
) -> None:
    path = tmp_path / "leads.csv"
    path.write_bytes(text)
    made = sheet(tmp_path, "leads.csv", key=["ref"], key_column="ref", writes=["name"])
    assert [await made.call("append", {"name": "Zoë"}, "k", PORTO) for _ in range(3)] == [{"row": row}] * 3
    assert await look(made, ref="k") == [{"name": "Zoë", "ref": "k"}]


async def test_a_quotation_mark_that_is_never_closed_swallows_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text('name,ref\nAna,a\n"Rui,b\nEva,c\n')
    made = sheet(tmp_path, "leads.csv", key=["ref"], key_column="ref", writes=["name"])
    for operation, arguments in (("look_up", {"ref": "a"}), ("append", {"name": "x"})):
        found = await fault(made, operation, "k", **arguments)
        assert (found.kind, "row 3: a quotation mark" in found.message) == ("data", True)
    path.write_text('name,ref\nAna,a\n"Rui\nSousa",b\n5" pipe,c\n"x"y"z,d\n')  # odd, and closed
    assert [row["ref"] for row in (await made.call("rows", {}, "", PORTO))["rows"]] == ["a", "b", "c", "d"]


async def test_a_workbook_with_what_we_cannot_write_again_is_left_as_it_is(tmp_path: Path) -> None:
    path = book(tmp_path / "leads.xlsx", [["name", "ref"], ["Ana", "a"]])
    with zipfile.ZipFile(path, "a") as parts:
        parts.writestr("xl/media/image1.png", b"the school's logo")
    before = path.read_bytes()
    made = sheet(tmp_path, path.name, key_column="ref", writes=["name"])
    found = await fault(made, "append", "k", name="x")
    assert (found.kind, "media" in found.message, path.read_bytes() == before) == ("schema", True, True)


# --- five faults -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def slow(folder: Path, path: Path) -> Iterator[None]:
    with (folder / f".{path.name}.waterline-lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def down(folder: Path, path: Path) -> Iterator[None]:
    path.rename(folder / "away")
    yield
    (folder / "away").rename(path)


@contextlib.contextmanager
def credentials(folder: Path, path: Path) -> Iterator[None]:
    path.chmod(0)
    was = os.geteuid()
    if was == 0:
        folder.chmod(0o755)
        os.seteuid(65534)
    try:
        yield
    finally:
        if was == 0:
            os.seteuid(0)
        path.chmod(0o600)


@contextlib.contextmanager
def schema(folder: Path, path: Path) -> Iterator[None]:
    text = path.read_text()
    path.write_text(text.replace("phone", "telefone"))
    yield
    path.write_text(text)


@contextlib.contextmanager
def data(folder: Path, path: Path) -> Iterator[None]:
    text = path.read_text()
    path.write_text(text.replace("2027-01-01", "31.02.2027"))
    yield
    path.write_text(text)


@pytest.mark.parametrize(
    ("kind", "breaking", "operation"),
    [
        ("slow", slow, "append"),
        ("down", down, "look_up"),
        ("credentials", credentials, "look_up"),
        ("schema", schema, "look_up"),
        ("data", data, "look_up"),
    ],
)
async def test_a_fault_has_its_name_and_is_over_when_its_cause_is(
    tmp_path: Path, kind: str, breaking: Any, operation: str
) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("name,phone,from,ref\nAna,1,2027-01-01,a\n")
    made = sheet(
        tmp_path, path.name, key=["ref"], columns=["phone"], date_columns=["from"], key_column="ref",
        writes=["name"], lock_wait_s=0.2,
    )  # fmt: skip
    arguments = {"name": "x"} if operation == "append" else {"ref": "a"}
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    with breaking(tmp_path, path):
        found = await fault(made, operation, "k", **arguments)
    assert found.kind == kind, found.message
    assert path.name in found.message
    result = await made.call(operation, arguments, "k", PORTO)
    assert result
