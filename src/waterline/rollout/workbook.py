"""What an Excel file says that the fast reader (python-calamine) takes for empty cells, so that it is told, not lost:
#REF! and the like, formulas that nobody has computed, and cells that are merged with others."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

Odd = dict[int, dict[int, tuple[str, str]]]  # row as Excel counts -> column from 0 -> what is wrong, what to do


def odd_cells(path: Path, below: int = 1) -> Odd:
    """Of the first sheet, below its header row. Empty of what is no workbook: who reads its rows tells that."""
    found: Odd = {}
    for row, column, problem, remedy in (*_merged(path), *_not_computed(path)):
        if row > below:
            found.setdefault(row, {})[column] = (problem, remedy)
    return found


def _merged(path: Path) -> Iterator[tuple[int, int, str, str]]:
    import python_calamine as calamine

    try:
        ranges = calamine.CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).merged_cell_ranges or ()
    except (calamine.CalamineError, OSError, ValueError, IndexError):
        return
    for (top, left), (bottom, right) in ranges:
        several = f"rows {top + 1} to {bottom + 1}" if bottom > top else f"{right - left + 1} columns"
        yield top + 1, left, f"the cell is merged over {several}, and only the first has its value", "Unmerge it"


def _not_computed(path: Path) -> Iterator[tuple[int, int, str, str]]:
    try:
        with zipfile.ZipFile(path) as book:
            parts = [book.read(name) for name in book.namelist() if name.startswith("xl/worksheets/")]
    except (zipfile.BadZipFile, OSError):
        return
    if not any(b't="e"' in part or b"<f" in part for part in parts):
        return
    import openpyxl

    computed, written = (openpyxl.load_workbook(path, read_only=True, data_only=only) for only in (True, False))
    sheets = (computed.worksheets[0].iter_rows(), written.worksheets[0].iter_rows())
    try:
        for row, (values, formulas) in enumerate(zip(*sheets, strict=True), 1):
            for column, (value, formula) in enumerate(zip(values, formulas, strict=True)):
                if value.data_type == "e":
                    yield row, column, f"the cell is {value.value}", "Correct its formula"
                elif formula.data_type == "f" and value.value is None and value.data_type == "n":
                    problem = f"the formula {str(formula.value)[:60]} has no value yet"
                    yield row, column, problem, "Open the file in Excel, save it, and try again"
    finally:
        computed.close()
        written.close()
