"""`waterline sessions off-rails|funnel`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from waterline.cli.client import Server, die, out, print_json
from waterline.cli.times import since, when
from waterline.core.ids import short

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]
App = Annotated[str, typer.Argument(metavar="[APP]", help="The app; it may be left out where there is one.")]
Env = Annotated[str, typer.Option("--env")]


@app.callback()
def _group() -> None:
    """How sessions and conversations went."""


@app.command("off-rails")
def off_rails(
    name: App = "",
    last: Annotated[str, typer.Option("--since", help="As 7d; from the beginning of that UTC day on.")] = "7d",
    release: Annotated[str, typer.Option()] = "",
    env: Env = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=500)] = 20,
    json: Json = False,
    data: Data = None,
) -> None:
    """How many sessions went off the rails, of how many, by release; and the newest of them."""
    server = Server.find(data)
    found = server.ask(
        "GET", "/api/sessions/off-rails", app=_app(server, name), since=since(last), release=release, env=env,
        limit=limit,
    )  # fmt: skip
    if json:
        print_json(found)
        return
    out.print(f"{_said(found['share'])} sessions off the rails since {when(found['since_us'])} (app {found['app']})")
    for of, share in found["releases"].items():
        out.print(f"  release {short(of)}: {_said(share)}")
    if not found["rows"]:
        return
    table = Table("began", "session", "release", "answers", "signs", "last answer")
    for r in found["rows"]:
        table.add_row(
            when(r["first_us"]), r["session"], short(r["release"]), str(r["answers"]), ", ".join(r["signals"]),
            r["trace"],
        )  # fmt: skip
    out.print(table)
    if found["next"]:
        out.print(f"These are the newest {limit}; --limit shows more.")


@app.command()
def funnel(
    name: App = "",
    last: Annotated[str, typer.Option("--since", help="As 30d; from the beginning of that UTC day on.")] = "30d",
    env: Env = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """How far sessions came, by release, with what was lost at each step."""
    server = Server.find(data)
    found = server.ask("GET", "/api/behaviour", app=_app(server, name), since=since(last), env=env)
    if json:
        print_json({"steps": found["steps"], "total": found["total"], "releases": found["releases"]})
        return
    table = Table("release", "step", "sessions", "of all", "of the step before", "lost")
    for one in [found["total"], *found["releases"]]:
        for step in one["funnel"]:
            table.add_row(
                short(one["release"]) or "all", step["step"], f"{step['sessions']:,}", _said(step["of_all"]),
                _said(step["of_before"]), f"{step['lost']:,}",
            )  # fmt: skip
    if table.row_count:
        out.print(table)
    else:
        out.print("No session came to a step. Declare [funnel] steps in app.toml and report them with feedback.")


def _said(share: dict[str, Any]) -> str:
    e = share["estimate"]
    interval = f" = {e['value']:.1%} ({e['low']:.1%} to {e['high']:.1%})" if e else ""
    return f"{share['k']:,} of {share['n']:,}{interval}"


def _app(server: Server, name: str) -> str:
    if name:
        return name
    known = [one["name"] for one in server.ask("GET", "/api/apps")]
    if len(known) != 1:
        die(f"Name the app: {', '.join(known) or 'there is none yet'}.", 2)
    return str(known[0])
