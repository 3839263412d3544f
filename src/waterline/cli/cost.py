"""`waterline cost report`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from waterline.cli.client import Server, out, print_json
from waterline.cli.times import since
from waterline.core.money import usd

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """What it costs."""


@app.command()
def report(
    name: Annotated[str, typer.Option("--app")] = "",
    last: Annotated[str, typer.Option("--since", help="As 30d.")] = "30d",
    json: Annotated[bool, typer.Option("--json")] = False,
    data: Annotated[Path | None, typer.Option("--data")] = None,
) -> None:
    """Cost by app, route and model; what has no price is shown as unpriced, never as zero."""
    rows = Server.find(data).ask("GET", "/api/cost", app=name, since=since(last))
    if json:
        print_json(rows)
        return
    table = Table("app", "route", "provider", "model", "requests", "tokens in", "tokens out", "USD", "unpriced")
    for r in rows:
        cells = (r["app"], r["route"], r["provider"], r["model"], f"{r['requests']:,}")
        table.add_row(
            *cells, f"{r['tokens_in']:,}", f"{r['tokens_out']:,}", usd(r["cost_nano_usd"], 6), f"{r['unpriced']:,}"
        )
    out.print(table)
