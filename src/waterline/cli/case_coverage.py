"""`waterline cases coverage APP`: how much of what people ask has a case near it."""

from typing import Annotated

import typer
from rich.table import Table

from waterline.cli.cases import Data, Json, app
from waterline.cli.client import Server, out, print_json
from waterline.cli.times import since

LONG_S = 600.0


@app.command()
def coverage(
    name: Annotated[str, typer.Argument(metavar="APP")],
    wanted: Annotated[str, typer.Option("--set", help="The case set.")] = "main",
    requests: Annotated[int, typer.Option("--requests", help="How many are compared at most.")] = 1000,
    look_at: Annotated[int, typer.Option("--look-at", help="The newest so many live traces.")] = 10_000,
    threshold: Annotated[float | None, typer.Option("--near", help="From which likeness on a case is near.")] = None,
    last: Annotated[str, typer.Option("--since", help="As 7d.")] = "",
    seed: Annotated[int, typer.Option("--seed")] = 1,
    json: Json = False,
    data: Data = None,
) -> None:
    """The share of what people asked lately that no case is near, with its interval, and what the rest is about."""
    body = {"requests": requests, "look_at": look_at, "threshold": threshold, "since_us": since(last), "seed": seed}
    server = Server.find(data)
    server.timeout_s = LONG_S
    made = server.ask("POST", f"/api/apps/{name}/case-sets/{wanted}/coverage", body)
    if json:
        print_json(made)
        return
    found = made["coverage"]
    out.print(
        f"{made['of']}: the newest {made['looked_at']:,} of {made['traces']:,} live traces, {made['sessions']:,} "
        f"sessions, {found['requests']:,} requests compared with {found['cases']:,} cases", markup=False,
    )  # fmt: skip
    share = found["uncovered"]
    if share is None:
        out.print("Nobody has asked anything yet: there is nothing to say.", markup=False)
        return
    how = "by meaning" if found["by_meaning"] else 'by what is written (pip install "waterline[semantic]")'
    out.print(
        f"{share['value']:.1%} have no case of likeness {found['threshold']:g} or more, {how} "
        f"(95 % interval {share['low']:.1%} to {share['high']:.1%}, Wilson)", markup=False,
    )  # fmt: skip
    if found["groups"]:
        table = Table("requests", "words", "for example")
        for group in found["groups"]:
            table.add_row(f"{group['requests']:,}", group["name"], group["example"][:100])
        out.print(table)
    left = f"{found['left']:,} smaller groups and " if found["left"] else ""
    out.print(f"{left}{found['alone']:,} requests of their own kind are not shown", markup=False)
    out.print(f"{server.url}/coverage?app={name}&set={wanted}", markup=False)
