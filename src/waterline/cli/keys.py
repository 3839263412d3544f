"""`waterline key create|list|revoke`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from waterline.cli.client import Server, die, out, print_json
from waterline.cli.times import when
from waterline.core.money import nano_from_usd, usd

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]


@app.command()
def create(
    name: Annotated[str, typer.Option("--name", help="Who or what will use it.")] = "",
    app_name: Annotated[str, typer.Option("--app", help="An app's key: the data plane of this app.")] = "",
    env: Annotated[str, typer.Option("--env")] = "production",
    role: Annotated[
        str, typer.Option("--role", help="A person's key: owner, developer, operator, viewer or desk.")
    ] = "",
    days: Annotated[int, typer.Option("--days", help="Valid for; 0: until revoked.")] = 0,
    assert_identity: Annotated[bool, typer.Option("--assert-identity", help="May say whom it speaks for.")] = False,
    branch: Annotated[
        str,
        typer.Option(
            "--branch", help="The branch of the organisation that uses it; with --role desk: all that this person sees."
        ),
    ] = "",
    person: Annotated[
        str, typer.Option("--person", help="Whose it is, where --name does not say: all keys of a person count as one.")
    ] = "",
    usd_per_day: Annotated[str, typer.Option("--usd-per-day", help="A hard budget of its own, as 2.50.")] = "",
    usd_per_month: Annotated[str, typer.Option("--usd-per-month", help="A hard budget of its own, as 20.")] = "",
    priority: Annotated[
        str, typer.Option("--priority", help="high, normal or low: who is refused last, and first.")
    ] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Create a key, shown once: for an app (--app) or for a person (--role and --name)."""
    if bool(app_name) == bool(role):
        die("say for whom: --app APP for a program, or --role ROLE --name NAME for a person.", 2)
    if role and (usd_per_day or usd_per_month or priority):
        die("a budget and a priority are of an app's key (--app): a person's key asks no models.", 2)
    if app_name and person:
        die("--person is of a person's key (--role).", 2)
    body = {
        "kind": "app" if app_name else "person",
        "app": app_name,
        "env": env,
        "role": role,
        "name": name or app_name,
        "hours": days * 24,
        "assert_identity": assert_identity,
        "branch": branch,
        "nano_usd_per_day": _nano(usd_per_day),
        "nano_usd_per_month": _nano(usd_per_month),
        "priority": priority,
        "person": person,
    }
    made = Server.find(data).ask("POST", "/api/keys", body)
    if json:
        print_json(made)
        return
    out.print(made["key"], markup=False)
    out.print("It is shown this once; only its hash is kept.", style="dim")


def _nano(amount: str) -> int | None:
    try:
        return nano_from_usd(amount) if amount else None
    except ValueError as error:
        die(f"{error}. Write a budget as 20 or 2.50.", 2)


@app.command("list")
def list_(json: Json = False, data: Data = None) -> None:
    """Every key: its id, never its secret."""
    rows = Server.find(data).ask("GET", "/api/keys")
    if json:
        print_json(rows)
        return
    table = Table("id", "for", "name", "rights", "branch", "priority", "budget, USD", "created", "state")
    for r in rows:
        whose = f"{r['app']}/{r['env']}" if r["kind"] == "app" else r["role"]
        state = f"revoked {when(r['revoked_us'])}" if r["revoked_us"] else "valid"
        if r["expires_us"] and not r["revoked_us"]:
            state = f"until {when(r['expires_us'])}"
        named = r["name"] + (f" ({r['person']})" if r["person"] else "")
        table.add_row(
            r["id"], r["kind"], named, whose + (" +identity" if r["assert_identity"] else ""), _branches(r),
            r["priority"], _budget(r), when(r["created_us"]), state,
        )  # fmt: skip
    out.print(table)


def _branches(key: dict[str, Any]) -> str:
    """One by hand, or those that the sheet of an app gave."""
    given = key["grants"]
    return str(key["branch"]) if given is None else f"{', '.join(sorted(given)[:3])} ({len(given)} of {key['app']})"


def _budget(key: dict[str, Any]) -> str:
    amounts = {"day": key["nano_usd_per_day"], "month": key["nano_usd_per_month"]}
    return ", ".join(f"{usd(nano)} a {period}" for period, nano in amounts.items() if nano is not None)


@app.command()
def revoke(key: Annotated[str, typer.Argument(help="The id, as wl-1a2b3c4d.")], data: Data = None) -> None:
    """End a key now."""
    Server.find(data).ask("POST", f"/api/keys/{key}/revocation")
    out.print(f"{key} is revoked.", markup=False)
