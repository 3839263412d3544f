"""`waterline cost budgets`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from waterline.cli.client import Server, out, print_json
from waterline.cli.times import when
from waterline.core.money import usd


def budgets(
    name: Annotated[str, typer.Option("--app")] = "",
    json: Annotated[bool, typer.Option("--json")] = False,
    data: Annotated[Path | None, typer.Option("--data")] = None,
) -> None:
    """Every hard budget: its limit, what is spent, reserved and left of it, when it renews, and its alerts."""
    rows = Server.find(data).ask("GET", "/api/budgets", app=name)
    if json:
        print_json(rows)
        return
    table = Table("app", "of", "period", "limit USD", "spent", "reserved", "left", "renews", "alerts")
    for r in rows:
        whose = r["scope"] if r["scope"] == "app" else f"{r['scope']} {r['name']}"
        limit = "none" if r["limit_nano_usd"] is None else usd(r["limit_nano_usd"])
        left = "" if r["left_nano_usd"] is None else usd(r["left_nano_usd"], 6)
        spent = ("at most " if r["spent_at_most"] else "") + usd(r["spent_nano_usd"], 6)
        raised = ", ".join(f"{a['level']} % {when(a['at_us'])}" for a in r["alerts"])
        table.add_row(
            r["app"], whose, r["period"], limit, spent, usd(r["reserved_nano_usd"], 6), left,
            f"{when(r['renews_us'])} ({r['timezone']})", raised,
        )  # fmt: skip
    out.print(table)
