"""`waterline shadow start|status|stop`: a candidate answers a copy of live requests, never the user."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from waterline.cli.client import Server, die, out, print_json
from waterline.core.ids import short

app = typer.Typer(no_args_is_help=True)
App = Annotated[str, typer.Argument(metavar="APP")]
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit log.")]
NAMES = {
    "failed": ("failed", 100.0, "%"), "json": ("is JSON", 100.0, "%"), "duration_us": ("answer", 1e-3, "ms"),
    "first_token_us": ("first token", 1e-3, "ms"), "cost_nano_usd": ("cost", 1e-9, "USD"),
    "characters": ("length", 1.0, "characters"),
}  # fmt: skip


@app.command()
def start(
    name: App,
    release: Annotated[str, typer.Argument(help="The candidate.")],
    share: Annotated[str, typer.Option("--share", help="Of the live requests.")] = "5%",
    to: Annotated[str, typer.Option("--to", help="Environment.")] = "production",
    reason: Reason = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Begin: from the next request on, a share of them is answered by the candidate too. Nobody sees its answers."""
    body = {"app": name, "release": release, "env": to, "share": share, "reason": reason}
    _tell(Server.find(data).ask("POST", "/api/shadows", body), json)


@app.command()
def status(name: App, json: Json = False, data: Data = None) -> None:
    """What the pairs of answers add up to."""
    _tell(Server.find(data).ask("GET", f"/api/apps/{name}/shadow"), json)


@app.command()
def stop(name: App, reason: Reason = "", json: Json = False, data: Data = None) -> None:
    """End it."""
    server = Server.find(data)
    found = server.ask("GET", f"/api/apps/{name}/shadow")
    if found["head"]["ended_us"] is not None:
        die(f'no shadow traffic of app "{name}" runs')
    _tell(server.ask("POST", f"/api/shadows/{found['head']['id']}/end", {"reason": reason}), json)


def _tell(found: dict[str, Any], json: bool) -> None:
    if json:
        print_json(found)
        return
    h = found["head"]
    state = "runs" if h["ended_us"] is None else "has ended"
    out.print(
        f"shadow {h['id']} of {h['app']} in {h['env']} {state}: {short(h['release'])} answers a copy of "
        f"{h['share_bp'] / 100:g} % of the requests; {h['offered']:,} drawn, {h['pairs']:,} answered, "
        f"{h['dropped']:,} dropped, {h['over_budget']:,} over its budget",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    if not h["pairs"]:
        return
    table = Table("in pairs", "live", "copy", "difference, 95 % at every look", "pairs")
    for m in found["measured"]:
        name, factor, unit = NAMES[m["name"]]
        d = m["difference"]
        between = f"{factor * d['low']:+.4g} to {factor * d['high']:+.4g} {unit}" if d else "too few pairs"
        table.add_row(
            name, f"{factor * m['live']:.4g} {unit}", f"{factor * m['copy']:.4g} {unit}", between, f"{m['n']:,}"
        )
    out.print(table)
    alike = f"{100 * found['alike']:.0f} %" if found["alike"] is not None else "–"
    out.print(f"{found['same']:,} answers are the same word for word; {alike} of the words in common", markup=False)
