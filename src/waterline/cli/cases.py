"""`waterline cases list|show|import|export|diff`: sets of cases that the server keeps, version by version."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from waterline.cli.client import Server, die, err, out, print_json
from waterline.cli.times import when
from waterline.core.errors import AppFolderError

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]
Wanted = Annotated[str, typer.Argument(metavar="SET[@VERSION]", help="A version's number or first digits.")]

CASES_A_REQUEST = 2000
REQUEST_BYTES = 8 << 20
PAGE = 1000


@app.command("list")
def list_(name: Annotated[str, typer.Argument(metavar="APP")], json: Json = False, data: Data = None) -> None:
    """The case sets of an app, each at its newest version."""
    rows = Server.find(data).ask("GET", f"/api/apps/{name}/case-sets")
    if json:
        print_json(rows)
        return
    table = Table("set", "version", "digest", "cases", "when", "by", "why")
    for r in rows:
        table.add_row(
            r["name"], str(r["version"]), r["digest"][:12], f"{r['cases']:,}", when(r["at_us"]), r["who"], r["why"]
        )
    out.print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="APP")],
    wanted: Wanted,
    words: Annotated[str, typer.Option("--search", help="Words that follow one another in the question.")] = "",
    tag: Annotated[str, typer.Option("--tag")] = "",
    split: Annotated[str, typer.Option("--split", help="tuning or held_out")] = "",
    found: Annotated[str, typer.Option("--found", help="How it was found: failure, feedback, far, file ...")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=PAGE)] = 20,
    json: Json = False,
    data: Data = None,
) -> None:
    """One set: its versions, and the first cases that fit."""
    server = Server.find(data)
    place, version = place_of(name, wanted)
    one = server.ask("GET", place, version=version)
    page = server.ask("GET", f"{place}/cases", version=version, q=words, tag=tag, split=split, found=found, limit=limit)
    if json:
        print_json({**one, "page": page})
        return
    v = one["version"]
    out.print(
        f"{v['name']}@{v['version']}  {v['digest']}  {v['cases']:,} cases, {one['erased']:,} erased", markup=False
    )
    for kind, counts in one["groups"].items():
        if counts:
            told = ", ".join(f"{key or 'none'} {n:,}" for key, n in list(counts.items())[:12])
            out.print(f"{kind}: {told}{f', and {len(counts) - 12:,} more' if len(counts) > 12 else ''}", markup=False)
    table = Table("case", "asked", "split", "found", "tags")
    for row in page["rows"]:
        case = row["case"]
        said = "(erased)" if case is None else case.get("input") or case["messages"][-1]["content"]
        tags = ", ".join(case.get("tags", ())) if case else ""
        table.add_row(row["name"], said[:100], row["split"] or "-", row["found"], tags)
    out.print(table)
    out.print(f"{len(page['rows']):,} of {page['total']:,} that fit", markup=False)
    for old in one["versions"][:10]:
        out.print(
            f"version {old['version']}: +{old['added']:,} -{old['removed']:,}, {when(old['at_us'])}, {old['who']}: "
            f"{old['why']}", markup=False,
        )  # fmt: skip


@app.command("import")
def import_(
    name: Annotated[str, typer.Argument(metavar="APP")],
    wanted: Annotated[str, typer.Argument(metavar="SET")],
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A .jsonl file, or a folder of them.")],
    why: Annotated[str, typer.Option("--reason")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Take out what the file does not have.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Put the cases of a file into a set, replacing those of the same id. The same file again changes nothing.

    A large file becomes several versions, one a part; if it stops half-way, run it again."""
    from waterline.evals.cases import load_cases

    server = Server.find(data)
    try:
        given = load_cases(source)
    except AppFolderError as error:
        die(str(error), 3)
    if not given:
        die(f"{source} has no cases.", 3)
    place = f"/api/apps/{name}/case-sets/{wanted}"
    made = send_cases(server, place, given, why or f"import of {source.name}")
    if replace:
        kept = {case.id for case in given}
        gone = [row["name"] for row in _rows(server, place, made["version"], "") if row["name"] not in kept]
        if gone:
            body = {"removed": gone, "why": why or f"not in {source.name}", "parent": made["version"]}
            made = server.ask("POST", f"{place}/versions", body)
    if json:
        print_json(made)
    else:
        if len({case.split for case in given if case.split}) == 2:
            err.print(f"it has both sides; look for leaks: waterline cases check {name} {wanted}", markup=False)
        out.print(f"{wanted}@{made['version']}  {made['digest']}  {made['cases']:,} cases", markup=False)


@app.command()
def export(
    name: Annotated[str, typer.Argument(metavar="APP")],
    wanted: Wanted,
    to: Annotated[Path | None, typer.Option("--to", help="A .jsonl file; else it is printed.")] = None,
    split: Annotated[str, typer.Option("--split", help="tuning or held_out")] = "",
    data: Data = None,
) -> None:
    """Write a version as cases/*.jsonl has them. Read again, it has the same digest."""
    server = Server.find(data)
    place, version = place_of(name, wanted)
    head = server.ask("GET", place, version=version)["version"]
    written = erased = 0
    target = to.open("w", encoding="utf-8") if to is not None else sys.stdout
    try:
        for row in _rows(server, place, head["version"], split):
            if row["case"] is None:
                erased += 1
            else:
                target.write(msgspec.json.encode(row["case"]).decode() + "\n")
                written += 1
    finally:
        if to is not None:
            target.close()
    told = f", {erased:,} were erased" if erased else ""
    err.print(f"{head['name']}@{head['version']} {head['digest'][:12]}: {written:,} cases{told}", markup=False)


@app.command()
def diff(
    name: Annotated[str, typer.Argument(metavar="APP")],
    wanted: Annotated[str, typer.Argument(metavar="SET")],
    first: Annotated[str, typer.Argument(metavar="VERSION")],
    second: Annotated[str, typer.Argument(metavar="VERSION")],
    json: Json = False,
    data: Data = None,
) -> None:
    """What the second version has and the first has not, and the other way round."""
    found = Server.find(data).ask("GET", f"/api/apps/{name}/case-sets/{wanted}/diff/{first}/{second}")
    if json:
        print_json(found)
        return
    for change in found["changes"]:
        word = "+" if not change["first"] else "-" if not change["second"] else "~"
        out.print(f"{word} {change['name']}  {change['first'][:12]} {change['second'][:12]}".rstrip(), markup=False)
    if not found["changes"]:
        out.print("the same cases", markup=False)
    if found["more"]:
        out.print(f"and more: only the first {len(found['changes']):,} are shown", markup=False)


def place_of(app: str, wanted: str) -> tuple[str, str]:
    """The address of a set, and the version that was asked for, "" for the newest."""
    name, _, version = wanted.partition("@")
    return f"/api/apps/{app}/case-sets/{name}", version


def load_set(server: Server, app: str, wanted: str, split: str) -> tuple[tuple[Any, ...], str]:
    """The cases of a set of the server, and what a report calls it: "front@3 3b8a45e9f0c1, held_out"."""
    from waterline.core.case import Case

    place, version = place_of(app, wanted)
    head = server.ask("GET", place, version=version)["version"]
    rows = list(_rows(server, place, head["version"], split))
    given = tuple(msgspec.convert(row["case"], Case) for row in rows if row["case"] is not None)
    erased = len(rows) - len(given)
    told = [f"{head['name']}@{head['version']} {head['digest'][:12]}", split, f"{erased} erased" if erased else ""]
    return given, ", ".join(filter(None, told))


def send_cases(server: Server, place: str, given: Any, why: str) -> Any:
    """Put in by as many requests as it takes. Returns the version after the last."""
    made: Any = None
    parts = list(_parts(msgspec.to_builtins(given)))
    for number, part in enumerate(parts, 1):
        body = {"cases": part, "why": why if len(parts) == 1 else f"{why}, part {number} of {len(parts)}"}
        made = server.ask("POST", f"{place}/versions", body)
    return made


def _rows(server: Server, place: str, version: int, split: str) -> Iterator[dict[str, Any]]:
    after = ""
    while True:
        page = server.ask("GET", f"{place}/cases", version=version, split=split, after=after, limit=PAGE)
        yield from page["rows"]
        after = page["next"]
        if not after:
            return


def _parts(given: list[Any]) -> Iterator[list[Any]]:
    part: list[Any] = []
    size = 0
    for case in given:
        size += len(msgspec.json.encode(case))
        if part and (len(part) >= CASES_A_REQUEST or size > REQUEST_BYTES):
            yield part
            part, size = [], 0
        part.append(case)
    if part:
        yield part
