"""`waterline incident open|close|list|show`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from waterline.cli.client import Server, die, out, print_json
from waterline.cli.times import when

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]


@app.command("open")
def open_(
    name: Annotated[str, typer.Argument(metavar="APP")],
    title: str,
    severity: Annotated[str, typer.Option("--severity", help="low, medium, high or critical.")] = "high",
    blocking: Annotated[
        bool,
        typer.Option("--blocking/--not-blocking", help="Nothing is promoted while it is open, where that is a gate."),
    ] = True,
    env: Annotated[str, typer.Option("--env", help="Only in this environment.")] = "",
    release: Annotated[str, typer.Option("--release", help="The release that it happened with.")] = "",
    trace: Annotated[list[str] | None, typer.Option("--trace", help="A trace of it; may be repeated.")] = None,
    link: Annotated[
        list[str] | None, typer.Option("--link", metavar="KIND:ID", help="verdict, experiment, load_line or canary.")
    ] = None,
    notes: Annotated[str, typer.Option("--notes")] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Say that something is wrong. A blocking one keeps new releases out; going back always is possible."""
    links = [{"kind": "trace", "id": t} for t in trace or []]
    for text in link or []:
        kind, colon, id_ = text.partition(":")
        if not colon:
            die(f'"{text}" is no link. Write KIND:ID, such as experiment:1a2b3c4d.', 2)
        links.append({"kind": kind, "id": id_})
    body = {"app": name, "title": title, "severity": severity, "blocking": blocking, "env": env, "release": release,
            "links": links, "notes": notes}  # fmt: skip
    made = Server.find(data).ask("POST", "/api/incidents", body)
    if json:
        print_json(made)
        return
    out.print(f"{made['id']} is open{', and blocks promotions' if made['blocking'] else ''}", markup=False)


@app.command()
def close(
    incident: Annotated[str, typer.Argument(help="As inc-1a2b3c4d.")],
    resolution: Annotated[str, typer.Option("--resolution", help="How it was resolved; it is kept.")] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """End an incident."""
    found = Server.find(data).ask("POST", f"/api/incidents/{incident}/closure", {"resolution": resolution})
    if json:
        print_json(found)
        return
    out.print(f"{found['id']} is closed", markup=False)


@app.command("list")
def list_(
    name: Annotated[str, typer.Argument(metavar="[APP]")] = "",
    state: Annotated[str, typer.Option("--state", help="open or closed; else both.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 50,
    json: Json = False,
    data: Data = None,
) -> None:
    """Newest first."""
    page = Server.find(data).ask("GET", "/api/incidents", app=name, state=state, limit=limit)
    if json:
        print_json(page)
        return
    table = Table("id", "app", "severity", "state", "opened", "by", "title", box=None)
    for one in page["rows"]:
        said = f"{one['state']}{', blocks' if one['blocking'] and one['state'] == 'open' else ''}"
        where = one["app"] + (f"/{one['env']}" if one["env"] else "")
        table.add_row(one["id"], where, one["severity"], said, when(one["opened_us"]), one["opened_by"],
                      escape(one["title"]))  # fmt: skip
    out.print(table)
    if page["next"]:
        out.print("there are older ones: --limit, or the console", markup=False)


@app.command()
def show(incident: str, data: Data = None) -> None:
    """All that is known of one, as JSON."""
    found: Any = Server.find(data).ask("GET", f"/api/incidents/{incident}")
    print_json(found)
