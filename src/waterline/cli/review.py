"""`waterline review list|show|accept|reject|skip`: the queue of candidates, without the console."""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from waterline.cli.client import Server, die, out, print_json
from waterline.cli.times import when

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]
Number = Annotated[int, typer.Argument(metavar="N", help="The candidate's number.")]
Texts = list[str] | None


@app.command("list")
def list_(
    name: Annotated[str, typer.Argument(metavar="APP")],
    wanted: Annotated[str, typer.Option("--set")] = "",
    state: Annotated[str, typer.Option("--state", help="waiting, accepted or rejected")] = "waiting",
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 50,
    json: Json = False,
    data: Data = None,
) -> None:
    """What waits to become a case, oldest first."""
    page = Server.find(data).ask("GET", "/api/candidates", app=name, set=wanted, state=state, limit=limit)
    if json:
        print_json(page)
        return
    table = Table("n", "set", "found by", "why", "alike", "asked")
    for row in page["rows"]:
        said = _asked(row["case"]) if row["case"] else row["reason"]
        table.add_row(str(row["n"]), row["set_name"], row["found"], row["why"], str(row["alike"] or "-"), said[:100])
    out.print(table)
    counts = ", ".join(f"{n:,} {one}" for one, n in page["counts"].items())
    out.print(f"{len(page['rows']):,} shown; in all {counts}", markup=False)


@app.command()
def show(n: Number, json: Json = False, data: Data = None) -> None:
    """One candidate: the case as it is proposed."""
    one = Server.find(data).ask("GET", f"/api/candidates/{n}")
    if json:
        print_json(one)
        return
    out.print(f"{n}  {one['app']}, {one['set_name']}  {one['state']}  {one['found']}: {one['why']}", markup=False)
    if one["case"] is None:
        out.print(f"{one['state']} {when(one['decided_us'])} by {one['decided_by']}: {one['reason']}", markup=False)
        return
    out.print(f"taken out: {one['redacted'] or 'nothing was found'}; names of people stay in", markup=False)
    print_json(one["case"])


@app.command()
def accept(
    n: Number,
    case: Annotated[str, typer.Option("--case", help="The case as JSON, a file or -; else as it is proposed.")] = "",
    contains: Annotated[Texts, typer.Option("--contains", help="A good answer has this; may be repeated.")] = None,
    not_contains: Annotated[Texts, typer.Option("--not-contains")] = None,
    tags: Annotated[Texts, typer.Option("--tag", help="Instead of its tags; may be repeated.")] = None,
    split: Annotated[str, typer.Option("--split", help="auto, tuning, held_out or none")] = "auto",
    wanted: Annotated[str, typer.Option("--set", help="Into another set.")] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Make it a case: a new version of its set."""
    if split not in ("auto", "tuning", "held_out", "none"):
        die(f'--split is auto, tuning, held_out or none, not "{split}".', 2)
    server = Server.find(data)
    one = server.ask("GET", f"/api/candidates/{n}")
    if one["case"] is None:
        die(f"{one['decided_by']} has {one['state']} it already.")
    made = _read(case) if case else one["case"]
    expect = made.setdefault("expect", {})
    for name, texts in (("contains", contains), ("not_contains", not_contains)):
        if texts:
            expect[name] = texts
    if tags:
        made["tags"] = tags
    if split != "auto":
        made["split"] = "" if split == "none" else split
    body = {"case": made, "auto_side": split == "auto", "set": wanted}
    done = _decide(server, one, "accept", **body)
    if json:
        print_json(done)
        return
    version = done["version"]
    out.print(f"{version['name']}@{version['version']}  {version['digest']}  {version['cases']:,} cases", markup=False)


@app.command()
def reject(n: Number, why: Annotated[str, typer.Option("--reason")], data: Data = None) -> None:
    """It makes no case: its words are not kept, and it does not come back."""
    server = Server.find(data)
    _decide(server, server.ask("GET", f"/api/candidates/{n}"), "reject", reason=why)


@app.command()
def skip(n: Number, data: Data = None) -> None:
    """Leave it for later: it comes last."""
    server = Server.find(data)
    _decide(server, server.ask("GET", f"/api/candidates/{n}"), "skip")


def _decide(server: Server, one: Any, decision: str, **more: Any) -> Any:
    body = {"decision": decision, "revision": one["revision"], **more}
    return server.ask("POST", f"/api/candidates/{one['n']}/decision", body)


def _read(source: str) -> dict[str, Any]:
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return msgspec.json.decode(data, type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        die(f"{source} is no case: {error}", 2)


def _asked(case: dict[str, Any]) -> str:
    return str(case.get("input") or case["messages"][-1]["content"])
