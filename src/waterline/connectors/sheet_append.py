"""Appends one row to an Excel or CSV file, once per key, and never over somebody else's work.

A lock file keeps other processes of ours out; a person who has the file open is seen by the lock file of Excel or
LibreOffice; whoever changed it meanwhile otherwise is seen by its date, size and inode just before the new file takes
its place. The new file is written beside the old one, flushed to disk and renamed, so a crash leaves either the old or
the new one. Between that last look and the rename (microseconds) a program that ignores all locks is not seen.
"""

import contextlib
import csv
import fcntl
import io
import os
import re
import shutil
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from waterline.connectors.base import ConnectorFault
from waterline.connectors.sheet_file import Layout, dialect_of, header_text, open_rows, os_fault, same

WRITABLE = (".xlsx", ".csv", ".tsv")
_MADE_ANEW = ("_rels", "calcChain", "metadata", "printerSettings", "sharedStrings", "styles", "theme", "worksheets")


def append(path: Path, layout: Layout, key_column: str, key: str, row: Mapping[str, Any], wait_s: float) -> int:
    """The number of the row that has the key, new or not. Raises ConnectorFault."""
    if path.suffix.lower() not in WRITABLE:
        raise ConnectorFault("invalid", f"Rows are appended to {', '.join(WRITABLE)} only, not to {path.name}.")
    try:
        there = path.is_file()
    except OSError as error:  # the folder may not be entered
        raise os_fault(path, error) from None
    if not there:
        raise ConnectorFault("down", f"There is no file {path.name}. Check the folder that the settings name.")
    with _locked(path, wait_s):
        _not_open(path)
        before = _identity(path)
        names, rows = open_rows(path, layout)
        unknown = [name for name in row if name not in names]
        if key_column not in names or unknown:
            missing = key_column if key_column not in names else unknown[0]
            raise ConnectorFault("schema", f'{path.name} has no column "{missing}". Add it to the header row.')
        at, last = names.index(key_column), layout.header_row + layout.header_rows - 1
        for found in rows:
            if same(found.cells[at]) == same(key):
                return found.number
            last = found.number
        values = [key if name == key_column else row.get(name) for name in names]
        write = _xlsx if path.suffix.lower() == ".xlsx" else _text
        new = path.with_name(f".{path.stem}.waterline-new{path.suffix}")
        try:
            with contextlib.ExitStack() as undo:
                undo.callback(new.unlink, missing_ok=True)
                write(path, new, layout, names, values, last)
                number = _written(path, new, layout, at, key)
                _replace(path, new, before)
        except OSError as error:
            raise os_fault(path, error) from None
        return number


def _written(path: Path, new: Path, layout: Layout, at: int, key: str) -> int:
    """The number of the row in the new file. What cannot be read there would be written again at each repeat."""
    for row in open_rows(new, layout)[1]:
        if same(row.cells[at]) == same(key):
            return row.number
    raise ConnectorFault("data", f"A row written to {path.name} could not be read again; the file was left as it is.")


def _replace(path: Path, new: Path, before: tuple[int, ...]) -> None:
    shutil.copymode(path, new)
    with new.open("rb") as written:
        os.fsync(written.fileno())
    _not_open(path)
    if _identity(path) != before:
        raise ConnectorFault("down", f"{path.name} was changed meanwhile; nothing was written.", retry_after_s=2)
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _identity(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError as error:
        raise os_fault(path, error) from None
    return found.st_ino, found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def _locked(path: Path, wait_s: float) -> Iterator[None]:
    """A lock that the kernel gives back when its holder dies. Waits in a thread, not on the event loop."""
    try:
        lock = os.open(path.with_name(f".{path.name}.waterline-lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise os_fault(path, error) from None
    try:
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > end:
                    raise ConnectorFault(
                        "slow", f"Another process has been writing {path.name} for {wait_s:g} s; nothing was written."
                    ) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(lock)


def _not_open(path: Path) -> None:
    """https://wiki.documentfoundation.org/Documentation/HowTo/Lock_files; Excel's owner file begins with ~$."""
    for name in (f".~lock.{path.name}#", f"~${path.name}", f"~${path.name[2:]}"):
        if path.with_name(name).exists():
            raise ConnectorFault(
                "down", f"Somebody has {path.name} open; tried again when it is closed.", retry_after_s=60
            )


def _xlsx(path: Path, new: Path, layout: Layout, names: list[str], values: list[Any], last: int) -> None:
    import openpyxl
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = openpyxl.load_workbook(path)
    try:
        for other in book.worksheets:
            if any(cell.data_type == "f" for cells in other.iter_rows() for cell in cells):
                # openpyxl keeps formulas and drops their values: readers would find nothing until Excel computes again.
                raise ConnectorFault(
                    "schema", f"{path.name} has formulas, whose values would be lost. Append to a workbook without any."
                )
        sheet = book[layout.sheet] if layout.sheet else book.worksheets[0]
        number = last + 1
        for column, name in _columns(sheet, layout, names):
            value = values[names.index(name)]
            if value is None:
                continue
            if not isinstance(value, str | int | float | bool):
                value = str(value)
            text = ILLEGAL_CHARACTERS_RE.sub("", value) if isinstance(value, str) else value
            cell = sheet.cell(row=number, column=column)
            cell.value = text
            if isinstance(text, str):
                cell.data_type = "s"  # never a formula, whatever a user wrote
        book.save(new)
        if lost := _parts(path) - _parts(new):
            what = ", ".join(sorted(lost))
            raise ConnectorFault(
                "schema", f"{path.name} has {what}, which would be lost. Append to a workbook without them."
            )
    finally:
        book.close()


def _parts(path: Path) -> Counter[str]:
    """Pictures, charts, slicers ...: how many of each the workbook has. What Excel makes anew by itself is left out."""
    with zipfile.ZipFile(path) as book:
        names = [name.split("/")[1] for name in book.namelist() if name.startswith("xl/")]
    kinds = (re.sub(r"\d*\.(?:xml|bin)\Z", "", name) for name in names)
    return Counter(kind for kind in kinds if kind not in _MADE_ANEW)


def _columns(sheet: Any, layout: Layout, names: list[str]) -> Iterator[tuple[int, str]]:
    """Which column of the sheet is which. Names count from the first column that is used, as they were read."""
    first = sheet.min_column
    for index, name in enumerate(names):
        lowest = header_text(sheet.cell(row=layout.header_row + layout.header_rows - 1, column=first + index).value)
        if lowest not in name:  # read and written by two libraries: they must agree on what stands where
            raise ConnectorFault(
                "schema", f'The columns of {sheet.title} are unclear at "{name}". Begin it in column A.'
            )
        if name:
            yield first + index, name


def _text(path: Path, new: Path, layout: Layout, names: list[str], values: list[Any], last: int) -> None:
    dialect = dialect_of(path, layout)
    line = io.StringIO()
    csv.writer(line, delimiter=dialect.delimiter, lineterminator=dialect.newline).writerow([_cell(v) for v in values])
    encoding = {"utf-8-sig": "utf-8", "utf-16": _utf_16(path)}.get(dialect.encoding, dialect.encoding)
    try:
        row = line.getvalue().encode(encoding)
    except UnicodeEncodeError as error:
        letter = error.object[error.start]
        raise ConnectorFault(
            "data", f'{path.name} is {encoding} text, which has no "{letter}". Save it as UTF-8.'
        ) from None
    shutil.copyfile(path, new)
    with new.open("r+b") as opened:
        opened.seek(0, os.SEEK_END)
        end = dialect.newline.encode(encoding)
        if opened.tell() >= len(end):
            opened.seek(-len(end), os.SEEK_END)
            if opened.read() != end:
                opened.write(end)
        opened.write(row)


def _utf_16(path: Path) -> str:
    """Which of the two, so that no second mark of the order is written in the middle."""
    with path.open("rb") as opened:
        return "utf-16-be" if opened.read(2) == b"\xfe\xff" else "utf-16-le"


def _cell(value: Any) -> Any:
    """Spreadsheet programs run what begins with = in a text file, too; a quote before it keeps it a text.
    https://owasp.org/www-community/attacks/CSV_Injection"""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if not isinstance(value, str):
        return "" if value is None else value
    # A lone \r ends a row and the writer does not quote it: a name must not become a row of its own.
    value = value.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    harmless = value[:1] in "+-" and all(c.isdigit() or c in "+-. ()" for c in value)
    return "'" + value if value[:1] in tuple("=+-@\t\n＝＋－＠") and not harmless else value
