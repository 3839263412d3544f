"""`waterline release build|list|show|diff`, `promote`, `rollback`, `pin`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from waterline.cli.building import built_or_die
from waterline.cli.client import Server, die, out, print_json
from waterline.cli.times import when
from waterline.core.ids import short

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the history and the audit log.")]
Env = Annotated[str, typer.Option("--env")]


@app.command()
def build(
    folder: Annotated[Path, typer.Argument(help="The app folder.")],
    message: Annotated[str, typer.Option("--message", "-m")] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Build a release from a folder and store it on the server. Nothing goes live."""
    built = built_or_die(folder, json)
    body = {"manifest": built.manifest.decode(), "spec": built.spec.decode(), "message": message}
    stored = Server.find(data).ask("POST", "/api/releases", body)
    if json:
        print_json(stored)
        return
    for warning in built.warnings:
        out.print(f"warning: {warning}", markup=False)
    out.print(f"release {short(stored['id'])} of {stored['app']} ({'new' if stored['new'] else 'known already'})")
    out.print(f"next: waterline promote {stored['app']} {short(stored['id'])} --to production --weight 10%")


@app.command("list")
def list_(name: Annotated[str, typer.Argument(help="The app.")], json: Json = False, data: Data = None) -> None:
    """Every release of an app, newest first, and where it is live."""
    rows = Server.find(data).ask("GET", "/api/releases", app=name)
    if json:
        print_json(rows)
        return
    table = Table("release", "built", "by", "live", "status", "message")
    for r in rows:
        live = ", ".join(f"{s['env']} {s['weight_bp'] / 100:g} %" for s in r["live"])
        table.add_row(short(r["id"]), when(r["at_us"]), r["who"], live, r["status"], r["message"])
    out.print(table)


@app.command()
def show(release: str, json: Json = False, data: Data = None) -> None:
    """The manifest of a release: everything that can change an answer."""
    print_json(Server.find(data).ask("GET", f"/api/releases/{release}"))


@app.command()
def diff(a: str, b: str, json: Json = False, data: Data = None) -> None:
    """What differs between two releases."""
    found = Server.find(data).ask("GET", f"/api/releases/{a}/diff/{b}")
    if json:
        print_json(found)
        return
    for change in found:
        out.print(f"{change['path']}", style="bold", markup=False)
        for line in change["lines"]:
            style = "green" if line.startswith("+") else "red" if line.startswith("-") else None
            out.print(f"    {line}", style=style, markup=False)
    if not found:
        out.print("The two releases behave the same.")


def limits(
    folder: Annotated[Path, typer.Argument(help="The app folder.")],
    reason: Reason = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Put the limits, prices and objectives of a folder into force; the live release stays as it is."""
    built = built_or_die(folder, json)
    body = {"spec": built.spec.decode(), "reason": reason}
    spec = Server.find(data).ask("POST", "/api/environment-records", body)
    if json:
        print_json(spec)
        return
    out.print(f"limits, prices and objectives of {built.app} are in force", markup=False)


def promote(
    name: Annotated[str, typer.Argument(metavar="APP")],
    release: str,
    to: Annotated[str, typer.Option("--to", help="Environment.")],
    weight: Annotated[str, typer.Option("--weight", help="Share of the sessions, as 10%.")] = "100%",
    reason: Reason = "",
    override: Annotated[
        str, typer.Option("--override", metavar="REASON", help="Past gates that it does not pass; an owner may.")
    ] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Make a release live: wholly, or for a share of the sessions. What its environment requires must be passed."""
    body = {"kind": "promote", "env": to, "release": release, "weight": weight, "reason": reason, "override": override}
    _moved(Server.find(data).ask("POST", f"/api/apps/{name}/moves", body), json)


def rollback(
    name: Annotated[str, typer.Argument(metavar="APP")],
    to: Annotated[str, typer.Option("--to", help="A release; without it, the one before.")] = "",
    env: Env = "production",
    reason: Reason = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Go back. When this returns, the next request is on the old release."""
    body = {"kind": "rollback", "env": env, "release": to, "reason": reason}
    _moved(Server.find(data).ask("POST", f"/api/apps/{name}/moves", body), json)


def pin(
    name: Annotated[str, typer.Argument(metavar="APP")],
    session: str,
    release: Annotated[str, typer.Argument(help="Left out: unpin.")] = "",
    env: Env = "production",
    reason: Reason = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Keep a session on a release. Survives promotions, never a rollback."""
    kind = "pin" if release else "unpin"
    body = {"kind": kind, "env": env, "release": release, "session": session, "reason": reason}
    _moved(Server.find(data).ask("POST", f"/api/apps/{name}/moves", body), json)


def _moved(move: dict[str, Any], json: bool) -> None:
    if json:
        print_json(move)
        return
    shares = ", ".join(f"{short(s['release'])} {s['weight_bp'] / 100:g} %" for s in move["shares"])
    if not shares:
        die("nothing is live now")
    out.print(f"{move['kind']}: {move['app']} in {move['env']} is now on {shares}", markup=False)
    if move["kind"] == "promote":
        out.print(f"evidence: {move['evidence']}", markup=False, soft_wrap=True)
