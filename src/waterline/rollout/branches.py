"""branches.toml for one or a few, branches.csv or branches.xlsx for many: the units of the organisation.

A spreadsheet has a row for each branch and the same names as columns; what is of one kind has columns of its own:
`address.whatsapp`, `fact.street`, `scope.calendar`, `role.desk`. Every mistake is told with its row.
"""

import datetime
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import available_timezones

from msgspec import Struct

from waterline.access.roles import BRANCH_ROLES
from waterline.connectors.base import ConnectorFault
from waterline.connectors.sheet_file import Layout, open_rows
from waterline.core.branch import Branch
from waterline.rollout.folder import MAX_FILE_BYTES, Folder
from waterline.rollout.hours import parse_hours
from waterline.rollout.keys import BRANCH
from waterline.rollout.people import read_people, split_people, unknown_role
from waterline.rollout.reading import Place, did_you_mean, read_table
from waterline.rollout.routes import NAME, NAME_RULE
from waterline.rollout.workbook import odd_cells

FILES = ("branches.toml", "branches.csv", "branches.xlsx")
# Of columns -> tables of branches.toml.
KINDS = {"address": "addresses", "fact": "facts", "scope": "scope", "role": "roles"}
CHANNELS = ("whatsapp", "webchat", "email")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?\Z")
_MOST = 5_000
_MOST_PEOPLE = 5_000
_MOST_TOLD = 200  # rows with mistakes
_LONGEST_NAME = 200
_LISTS = ("languages", "closed", "team")
_DIGITS = 15  # that Excel keeps of a number

Wrong = Callable[[str, str, str], None]  # column, problem, remedy


class Known(Struct, frozen=True):
    """What branches may refer to."""

    connectors: frozenset[str]
    handbooks: frozenset[str]  # with and without their language: "porto.pt" and "porto"


def read_branches(folder: Folder, connectors: frozenset[str]) -> tuple[Branch, ...]:
    """Empty if no file declares any. Mistakes go to the folder."""
    there = [file for file in FILES if folder.has(file)]
    if not there:
        return ()
    if len(there) > 1:
        folder.wrong(there[1], 0, f"branches are declared in {there[0]}, too", "Keep one of the files")
        return ()
    names = [f.removeprefix("knowledge/").removesuffix(".md") for f in folder.files("knowledge") if f.endswith(".md")]
    known = Known(connectors, frozenset([*names, *(name.partition(".")[0] for name in names)]))
    read = _from_toml if there[0].endswith(".toml") else _from_sheet
    mistakes = len(folder.mistakes)
    found = read(folder, there[0], known)
    if not found and len(folder.mistakes) == mistakes:
        folder.wrong(there[0], 0, "declares no branch", "Write one, or remove the file")
    people = len({person.email for _, branch in found for person in branch.people})
    if people > _MOST_PEOPLE:
        folder.wrong(there[0], 0, f"declares {people} people, more than {_MOST_PEOPLE}", "Split the app")
    if len(found) > _MOST:
        folder.wrong(there[0], 0, f"declares more than {_MOST} branches", "Split the app")
    _unique(folder, there[0], found)
    return tuple(branch for _, branch in found)


def _unique(folder: Folder, file: str, found: list[tuple[int, Branch]]) -> None:
    ids: dict[str, int] = {}
    owners: dict[tuple[str, str], str] = {}
    called: dict[str, tuple[str, int]] = {}
    for line, branch in found:
        if branch.id in ids:
            folder.wrong(file, line, f'the branch "{branch.id}" is there already (row {ids[branch.id]})', "Rename one")
        ids.setdefault(branch.id, line)
        for person in branch.people:
            name, row = called.setdefault(person.email, (person.name, line))
            if person.name and name and person.name != name:
                problem = f'role.{person.role}: {person.email} is "{person.name}" here and "{name}" in row {row}'
                folder.wrong(file, line, problem, "One person has one address: correct one of the two")
            called[person.email] = (name or person.name, row if name else line)
        for channel, addresses in branch.addresses.items():
            for address in addresses:
                owner = owners.setdefault((channel, address), branch.id)
                if owner != branch.id:
                    problem = f'{channel} {address} belongs to the branch "{owner}" already'
                    folder.wrong(file, line, problem, "An address leads to one branch: correct one of the two")


# --- branches.toml -------------------------------------------------------------------------------------------------


def _from_toml(folder: Folder, file: str, known: Known) -> list[tuple[int, Branch]]:
    text = folder.text(file)
    parsed = folder.toml(file, text) if text is not None else None
    if parsed is None:
        return []
    table, lines = parsed
    for name in table:
        if name != "branch":
            folder.wrong(file, lines.line_of(name), f'unknown key "{name}"', "Write one [[branch]] table for each")
    rows = table.get("branch", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        folder.wrong(file, lines.line_of("branch"), '"branch" is not a list of tables', "Write [[branch]]")
        return []
    found = []
    for number, row in enumerate(rows):

        def line_of(key: str, at: int = number) -> int:
            return lines.line_of("branch", at, *([key] if key else []))

        place = Place(folder, file, "[[branch]]", line_of)
        values = read_table(place, row, BRANCH, also=tuple(KINDS.values()))
        for kind in KINDS.values():
            inner = row.get(kind, {})
            if not isinstance(inner, dict):
                place.wrong(kind, f'"{kind}" is not a table', f"Write [branch.{kind}]")
                continue
            values[kind] = {key: _texts(value) for key, value in inner.items()}
        made = _branch(values, place.wrong, known)
        if made is not None:
            found.append((lines.line_of("branch", number), made))
    return found


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(v) for v in value) if isinstance(value, list) else (str(value),)


# --- a spreadsheet -------------------------------------------------------------------------------------------------


def _from_sheet(folder: Folder, file: str, known: Known) -> list[tuple[int, Branch]]:
    if folder.read(file, MAX_FILE_BYTES) is None:
        return []
    try:
        names, rows = open_rows(folder.root / file, Layout(columns=("id", "name")))
        if not _columns(folder, file, names):
            return []
        found: list[tuple[int, Branch]] = []
        odd = odd_cells(folder.root / file) if file.endswith(".xlsx") else {}
        spoiled: set[int] = set()
        for row in rows:
            if len(found) > _MOST:
                break
            if len(spoiled) == _MOST_TOLD:
                folder.wrong(file, row.number, "the rows from here on were not read", "Correct those above first")
                break

            def wrong(column: str, problem: str, remedy: str, at: int = row.number) -> None:
                folder.wrong(file, at, f"{column}: {problem}" if column else problem, remedy)
                spoiled.add(at)

            if row.wrong:
                wrong("", row.wrong, "Correct the cell")
                continue
            for at, (problem, remedy) in odd.get(row.number, {}).items():
                wrong(names[at] if at < len(names) else "", problem, remedy)
            if row.unnamed:
                wrong("", f'"{row.unnamed}" stands in no named column', "Name it in the first row, or quote the cell")
            made = _branch(_row(names, row.cells, wrong), wrong, known)
            if made is not None:
                found.append((row.number, made))
        return found
    except ConnectorFault as fault:
        folder.wrong(file, 1, fault.message, "The first row names the columns: id, name, timezone ...")
        return []
    except ImportError:
        folder.wrong(
            file, 0, "cannot be read: the reader of Excel files is not installed", "pip install 'waterline[connectors]'"
        )
        return []


def _columns(folder: Folder, file: str, names: list[str]) -> bool:
    good = True
    for name in filter(None, names):
        kind, dot, rest = name.partition(".")
        if not (name in BRANCH or (dot and kind in KINDS and rest)):
            known = {*BRANCH, *(f"{kind}.<name>" for kind in KINDS)}
            folder.wrong(file, 1, f'unknown column "{name}"', did_you_mean(name, known))
            good = False
        elif kind == "role" and rest not in BRANCH_ROLES:
            problem, remedy = unknown_role(rest)
            folder.wrong(file, 1, f"{name}: {problem}", remedy)
            good = False
        twice, _, number = name.rpartition(" ")
        if number.isdecimal() and twice in names:  # so the reader of tables tells them apart
            folder.wrong(file, 1, f'the column "{twice}" is there twice', "Keep one of them")
            good = False
    return good


def _row(names: list[str], cells: tuple[Any, ...], wrong: Wrong) -> dict[str, Any]:
    """The cells of a row, as branches.toml would have them."""
    values: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        if cell is None or not name:
            continue
        if isinstance(cell, int) and not isinstance(cell, bool) and len(str(cell)) > _DIGITS:
            wrong(name, f"{cell} has more digits than Excel keeps", "Format the cell as text and write it again")
            continue
        kind, dot, rest = name.partition(".")
        text = str(cell)
        if dot:
            table = values.setdefault(KINDS[kind], {})
            match kind:
                case "address":
                    table[rest] = tuple(_split(text))
                case "role":
                    table[rest] = split_people(text)
                case _:
                    table[rest] = (text,)
        elif name in _LISTS:
            values[name] = tuple(_split(text))
        elif BRANCH[name].type == "whole":
            if not text.isdecimal():
                wrong(name, f'"{text}" is no whole number', f"Write {int(BRANCH[name].low or 1)}, say")
                continue
            values[name] = int(text)
        else:
            values[name] = text
    return values


def _split(text: str) -> list[str]:
    return [part for part in re.split(r"[,;\s]+", text) if part]


# --- one branch, however it was written ------------------------------------------------------------------------------


def _branch(values: Mapping[str, Any], wrong: Wrong, known: Known) -> Branch | None:
    mistakes = 0

    def bad(column: str, problem: str, remedy: str) -> None:
        nonlocal mistakes
        mistakes += 1
        wrong(column, problem, remedy)

    made: dict[str, Any] = {key: value for key, value in values.items() if key not in KINDS.values()}
    for key in ("id", "name"):
        if not made.get(key):
            bad(key, "is empty", "Every branch has an id and a name")
    if len(made.get("name") or "") > _LONGEST_NAME or not (made.get("name") or "-").isprintable():
        bad("name", "is not one short line", f"Write at most {_LONGEST_NAME} characters, without a line break")
    if made.get("id") and not NAME.match(made["id"]):
        bad("id", f'"{made["id"]}" is not a good id for a branch', NAME_RULE)
    zone = made.get("timezone", "UTC")
    if zone not in _zones():
        bad("timezone", f'there is no time zone "{zone}"', _like_zone(zone))
    for language in made.get("languages", ()):
        if not _LANGUAGE.match(language):
            bad("languages", f'"{language}" is not a language', "Write en, pt or pt-BR, the usual one first")
    for key in ("office_hours", "visit_hours"):
        if key in made:
            try:
                made[key] = parse_hours(made[key])
            except ValueError as error:
                bad(key, str(error), "Write Mon-Fri 08:30-12:30 14:00-18:00; Sat 09:00-12:00")
    for key in ("visit_minutes", "visits_at_once"):
        low, high = int(BRANCH[key].low or 0), int(BRANCH[key].high or 0)
        if key in made and not low <= made[key] <= high:
            bad(key, f"{made[key]} is not from {low} to {high}", f"Write {low} to {high}")
    for day in made.get("closed", ()):
        if not _is_day(day):
            bad("closed", f'"{day}" is no day', "Write 2027-12-25")
    handbook = made.get("handbook")
    if handbook and handbook not in known.handbooks:
        remedy = did_you_mean(handbook, known.handbooks) if known.handbooks else f"Write knowledge/{handbook}.md"
        bad("handbook", f"there is no knowledge/{handbook}.md", remedy)
    _tables(values, made, bad, known)
    return Branch(**made) if not mistakes else None


def _tables(values: Mapping[str, Any], made: dict[str, Any], bad: Wrong, known: Known) -> None:
    for channel, addresses in values.get("addresses", {}).items():
        if channel not in CHANNELS:
            bad(f"address.{channel}", f'there is no channel "{channel}"', did_you_mean(channel, CHANNELS))
        if channel == "whatsapp":
            for address in addresses:
                if not (address.isascii() and address.isdigit()):
                    remedy = "Write the phone number id (digits only) that Meta shows beside the number"
                    bad("address.whatsapp", f'"{address}" is no phone number id', remedy)
    for connector in values.get("scope", {}):
        if connector not in known.connectors:
            remedy = did_you_mean(connector, known.connectors) if known.connectors else "Declare [connectors.<name>]"
            bad(f"scope.{connector}", f'app.toml declares no connector "{connector}"', remedy)
    made["addresses"] = {
        channel: tuple(a.lower() for a in addresses) if channel == "email" else addresses  # as letters are received
        for channel, addresses in values.get("addresses", {}).items()
    }
    for key in ("facts", "scope"):
        made[key] = {name: " ".join(texts) for name, texts in values.get(key, {}).items()}
    made["people"] = read_people(values.get("roles", {}), bad)


@functools.cache
def _zones() -> set[str]:
    return available_timezones()  # walks through folders


@functools.lru_cache(256)
def _like_zone(zone: str) -> str:
    return did_you_mean(zone, _zones())


def _is_day(text: str) -> bool:
    try:
        return len(text) == 10 and bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False
