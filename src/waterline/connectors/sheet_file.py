"""Reads the rows of one Excel, OpenDocument or CSV file, as people leave them: merged headers over several rows,
semicolons, three encodings, numbers kept as text, dates in whatever way.

Rows come one at a time; nothing here holds them all.
"""

import csv
import datetime
import io
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from waterline.connectors.base import ConnectorFault

EXCEL = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
TEXT = (".csv", ".tsv", ".txt")
_SNIFFED = 64 * 1024
_ERRORS = re.compile(r"#(?:REF!|VALUE!|N/A|NAME\?|DIV/0!|NUM!|NULL!)\Z")
_ISO = re.compile(r"\d{4}-\d\d-\d\d\Z")
# Blanks, and marks that nobody sees: telephone numbers copied from a list of contacts are set between some of them.
_AROUND = " \t\r\n\u00a0\ufeff\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060"


class Layout(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the table is in the file, and what its columns are."""

    sheet: str = ""  # "": the first
    header_row: int = 1  # as Excel counts
    header_rows: int = 1  # more: a merged cell stands over several columns; the parts are joined with " / "
    columns: tuple[str, ...] = ()  # that must be there
    date_columns: tuple[str, ...] = ()
    day_first: bool = True  # 03/04/2027 in a text is the 3rd of April
    encoding: str = ""  # of a text file; "": UTF-8 if it is, else Windows-1252
    delimiter: str = ""  # "": found out from the first lines


class Dialect(Struct, frozen=True):
    """How a text file is written."""

    encoding: str
    delimiter: str
    newline: str


class Row(Struct, frozen=True):
    number: int  # as Excel counts
    cells: tuple[Any, ...]
    wrong: str = ""  # what in it cannot be understood
    unnamed: str = ""  # the first that stands in no named column


def open_rows(path: Path, layout: Layout) -> tuple[list[str], Iterator[Row]]:
    """The names of the columns, and the rows below them. Raises ConnectorFault."""
    raw = _excel(path, layout) if path.suffix.lower() in EXCEL else _text(path, layout)
    top: list[list[Any]] = []
    for number, cells in raw:
        if number >= layout.header_row:
            top.append(list(cells))
        if len(top) == layout.header_rows:
            break
    if len(top) < layout.header_rows:
        raise ConnectorFault("schema", f"{path.name} ends before its header row {layout.header_row}. Check header_row.")
    names = _names(top)
    missing = [c for c in (*layout.columns, *layout.date_columns) if c not in names]
    if missing:
        there = ", ".join(n for n in names if n)[:300]
        raise ConnectorFault(
            "schema",
            f'{path.name} has no column "{missing[0]}" any more. It has: {there}. Rename it back, or declare it.',
        )
    dates = frozenset(names.index(c) for c in layout.date_columns)
    return names, _rows(raw, names, dates, layout.day_first)


def _rows(
    raw: Iterator[tuple[int, list[Any]]], names: list[str], dates: frozenset[int], day_first: bool
) -> Iterator[Row]:
    width = len(names)
    nameless = [index for index, name in enumerate(names) if not name]
    for number, cells in raw:
        made, wrong = [], ""
        for index in range(width):
            value = cells[index] if index < len(cells) else None
            if index in dates and value not in (None, ""):
                day = as_day(value, day_first)
                if day is None and not wrong:
                    wrong = f'"{names[index]}" is no date: {value!r}'
                value = day
            else:
                value = plain(value)
                if not wrong and isinstance(value, str) and value[:1] == "#" and _ERRORS.match(value):
                    wrong = f'"{names[index]}" is {value}'
            made.append(value)
        unnamed = ""
        if nameless or len(cells) > width:
            beyond = (*(made[index] for index in nameless), *map(plain, cells[width:]))
            unnamed = next((str(value)[:60] for value in beyond if value is not None), "")
        if wrong or any(v is not None for v in made):
            yield Row(number, tuple(made), wrong, unnamed)


def _names(top: list[list[Any]]) -> list[str]:
    """A cell merged over several columns has its text in the first of them only."""
    width = max(len(row) for row in top)
    parts: list[list[str]] = [[] for _ in range(width)]
    for level, row in enumerate(top):
        carried = ""
        for index in range(width):
            text = header_text(row[index] if index < len(row) else None)
            if text:
                carried = text
            elif level == len(top) - 1:
                carried = ""  # the lowest row names single columns
            if carried and carried not in parts[index]:
                parts[index].append(carried)
    names: list[str] = []
    for found in parts:
        name = " / ".join(found)
        again = 2
        while name and name in names:  # two columns of one name: the second is told apart
            name = f"{' / '.join(found)} {again}"
            again += 1
        names.append(name)
    while names and not names[-1]:
        names.pop()
    return names


def header_text(value: Any) -> str:
    value = plain(value)
    return "" if value is None else " ".join(str(value).split())


def plain(value: Any) -> Any:
    """A cell as JSON has it: "" is None, 3.0 is 3, dates are ISO 8601, text is NFC and without blanks around it."""
    if isinstance(value, str):
        text = value.strip(_AROUND)
        return (text if text.isascii() else unicodedata.normalize("NFC", text)) or None
    if isinstance(value, float) and not isinstance(value, bool):
        if value != value or value in (float("inf"), float("-inf")):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        return value.date().isoformat() if midnight else value.isoformat(timespec="seconds")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return int(value.total_seconds())
    return value


def as_day(value: Any, day_first: bool) -> str | None:
    """YYYY-MM-DD of what stands in a date column (a date, a text, Excel's day number), or None."""
    if isinstance(value, datetime.datetime):
        return value.date().isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Excel counts from 1899-12-30 (and believes in 1900-02-29: days before March 1900 are not to be trusted).
        if not 61 <= value < 2_958_466:
            return None
        return (datetime.date(1899, 12, 30) + datetime.timedelta(days=int(value))).isoformat()
    text = str(value).strip().split("T")[0].split(" ")[0]
    try:
        if _ISO.match(text):
            return datetime.date.fromisoformat(text).isoformat()
        first, second, third = (int(p) for p in re.split(r"[./-]", text))
        if first > 31:
            year, month, day = first, second, third
        else:
            day, month, year = (first, second, third) if day_first else (second, first, third)
        year += 2000 if year < 70 else 1900 if year < 100 else 0
        return datetime.date(year, month, day).isoformat()
    except ValueError:
        return None


def same(value: Any) -> str:
    """What two cells are compared by: 42, 42.0 and "42" are one; "0042" is another; "São  Paulo" is "são paulo"."""
    value = plain(value)
    return "" if value is None else " ".join(str(value).split()).casefold()


# --- Excel ---------------------------------------------------------------------------------------------------------


def _excel(path: Path, layout: Layout) -> Iterator[tuple[int, list[Any]]]:
    import python_calamine as calamine

    try:
        book = calamine.CalamineWorkbook.from_path(str(path))
        sheet = book.get_sheet_by_name(layout.sheet) if layout.sheet else book.get_sheet_by_index(0)
    except calamine.PasswordError:
        raise ConnectorFault(
            "credentials", f"{path.name} is protected with a password. Save it without one, or name another file."
        ) from None
    except (calamine.WorksheetNotFound, IndexError):
        there = ", ".join(book.sheet_names)[:200]
        raise ConnectorFault("schema", f'{path.name} has no sheet "{layout.sheet}". It has: {there}.') from None
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise os_fault(path, error) from None
    return enumerate(sheet.iter_rows(), 1)


def os_fault(path: Path, error: Exception) -> ConnectorFault:
    if isinstance(error, PermissionError):
        return ConnectorFault("credentials", f"This process may not read or write {path.name}. Check its permissions.")
    if isinstance(error, OSError):
        return ConnectorFault("down", f"{path.name} cannot be read ({error.strerror}). Check that the folder is there.")
    return ConnectorFault(
        "data", f"{path.name} is not a workbook that can be read ({error}). Open it, repair it, and save it again."
    )


# --- text ----------------------------------------------------------------------------------------------------------


def dialect_of(path: Path, layout: Layout) -> Dialect:
    """How a text file is written, found out from its beginning. Raises ConnectorFault."""
    try:
        with path.open("rb") as opened:
            head = opened.read(_SNIFFED)
            encoding = layout.encoding or _encoding(opened, head)
    except OSError as error:
        raise os_fault(path, error) from None
    if b"\0" in head and not encoding.startswith("utf-16"):
        raise ConnectorFault("data", f"{path.name} is not a text file. Save it again as CSV.")
    text = head.decode(encoding, "replace")
    newline = "\r\n" if "\r\n" in text else "\n"
    return Dialect(encoding, layout.delimiter or _delimiter(text), newline)


def _encoding(opened: Any, head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if head.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    opened.seek(0)
    decoder = io.TextIOWrapper(opened, "utf-8")
    try:
        while decoder.read(1 << 20):
            pass
        return "utf-8"
    except UnicodeDecodeError:
        return "cp1252"
    finally:
        decoder.detach()


def _delimiter(text: str) -> str:
    """The one that cuts the first lines into the most equal number of cells."""
    lines = text.splitlines()[:50]
    if len(text) >= _SNIFFED:
        lines = lines[:-1]
    best, best_score = ",", (0.0, 0)
    for mark in ";,\t|":
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=mark) if row]
        except csv.Error:
            continue
        if not widths:
            continue
        usual = max(set(widths), key=widths.count)
        score = (widths.count(usual) / len(widths) if usual > 1 else 0.0, usual)
        if score > best_score:
            best, best_score = mark, score
    return best


def _text(path: Path, layout: Layout) -> Iterator[tuple[int, list[Any]]]:
    dialect = dialect_of(path, layout)
    number = 0
    try:
        # cp1252 leaves five bytes undefined; they are read as latin-1 reads them rather than losing the file.
        codec = "latin-1" if dialect.encoding == "cp1252" and _undefined(path) else dialect.encoding
        with path.open("r", encoding=codec, newline="") as opened:
            lines: list[str] = []  # of this row
            for row in csv.reader(_noted(opened, lines), delimiter=dialect.delimiter):
                number += 1
                if _unclosed(lines, dialect.delimiter):
                    text = f"{path.name} row {number}: a quotation mark is opened there and never closed."
                    raise ConnectorFault("data", f"{text} Close it, or remove it: what follows would be one cell.")
                lines.clear()
                yield number, list(row)
    except OSError as error:
        raise os_fault(path, error) from None
    except (UnicodeDecodeError, LookupError) as error:
        raise ConnectorFault("data", f"{path.name} is not {dialect.encoding} text ({error}). Check encoding.") from None
    except csv.Error as error:
        raise ConnectorFault("data", f"{path.name} row {number + 1}: {error}. Save it again as CSV.") from None


def _noted(opened: Iterator[str], lines: list[str]) -> Iterator[str]:
    for line in opened:
        lines.append(line)
        yield line


def _unclosed(lines: list[str], delimiter: str) -> bool:
    """Only the last row of a file can be so; the reader takes all that follows the mark for its cell."""
    if not sum(line.count('"') for line in lines) % 2:
        return False
    try:
        list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _undefined(path: Path) -> bool:
    with path.open("rb") as opened:
        while block := opened.read(1 << 20):
            if block.translate(None, b"\x81\x8d\x8f\x90\x9d") != block:
                return True
    return False
