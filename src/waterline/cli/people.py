"""`waterline people list|apply`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from waterline.cli.client import Server, die, out, print_json

app = typer.Typer(no_args_is_help=True)
App = Annotated[str, typer.Argument(metavar="APP")]
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]
MOST_BRANCHES = 4


@app.command("list")
def list_(name: App, json: Json = False, data: Data = None) -> None:
    """Who the sheet of the branches names, what their keys open, and what applying it would change."""
    found = Server.find(data).ask("GET", f"/api/apps/{name}/people")
    if json:
        print_json(found)
    else:
        _show(found)


@app.command()
def apply(
    name: App,
    yes: Annotated[bool, typer.Option("--yes", help="Without being asked.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Give everybody in the sheet what it says, and nobody else anything. New keys are shown once."""
    server = Server.find(data)
    plan = server.ask("GET", f"/api/apps/{name}/people")
    if not json:
        _show(plan)
    if plan["waiting"] and not yes and not typer.confirm(f"Apply these {plan['waiting']}?", err=True):
        die("nothing was changed.")
    done = server.ask("POST", f"/api/apps/{name}/people", {"plan": plan["plan"]})
    if json:
        print_json(done)
        return
    made = [line for line in done["people"] if line["key"]]
    for line in made:
        out.print(f"{line['email']}  {line['key']}", markup=False, soft_wrap=True)
    if made:
        out.print("They are shown this once; only their hashes are kept. Hand each to its person alone.", style="dim")


def _show(found: dict[str, Any]) -> None:
    table = Table("person", "in the sheet", "their key opens", "to do")
    for line in found["people"]:
        if line["state"] != "same":
            named = f"{line['name']} <{line['email']}>" if line["name"] else line["email"]
            table.add_row(named, _roles(line["branches"]), _roles(line["now"]), line["state"])
    if found["waiting"]:
        out.print(table)
    out.print(f"{found['waiting']} of {len(found['people'])} people differ from the sheet in force")


def _roles(of: dict[str, str]) -> str:
    named = [f"{branch} {role}" for branch, role in sorted(of.items())]
    return ", ".join(named[:MOST_BRANCHES]) + (
        f" and {len(named) - MOST_BRANCHES} more" if named[MOST_BRANCHES:] else ""
    )
