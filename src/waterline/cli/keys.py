"""`waterline key create|list|revoke`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from waterline.cli.client import Server, die, out, print_json
from waterline.cli.times import when

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]


@app.command()
def create(
    name: Annotated[str, typer.Option("--name", help="Who or what will use it.")] = "",
    app_name: Annotated[str, typer.Option("--app", help="An app's key: the data plane of this app.")] = "",
    env: Annotated[str, typer.Option("--env")] = "production",
    role: Annotated[str, typer.Option("--role", help="A person's key: owner, developer, operator or viewer.")] = "",
    days: Annotated[int, typer.Option("--days", help="Valid for; 0: until revoked.")] = 0,
    assert_identity: Annotated[bool, typer.Option("--assert-identity", help="May say whom it speaks for.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Create a key, shown once: for an app (--app) or for a person (--role and --name)."""
    if bool(app_name) == bool(role):
        die("say for whom: --app APP for a program, or --role ROLE --name NAME for a person.", 2)
    body = {
        "kind": "app" if app_name else "person",
        "app": app_name,
        "env": env,
        "role": role,
        "name": name or app_name,
        "hours": days * 24,
        "assert_identity": assert_identity,
    }
    made = Server.find(data).ask("POST", "/api/keys", body)
    if json:
        print_json(made)
        return
    out.print(made["key"], markup=False)
    out.print("It is shown this once; only its hash is kept.", style="dim")


@app.command("list")
def list_(json: Json = False, data: Data = None) -> None:
    """Every key: its id, never its secret."""
    rows = Server.find(data).ask("GET", "/api/keys")
    if json:
        print_json(rows)
        return
    table = Table("id", "for", "name", "rights", "created", "state")
    for r in rows:
        whose = f"{r['app']}/{r['env']}" if r["kind"] == "app" else r["role"]
        state = f"revoked {when(r['revoked_us'])}" if r["revoked_us"] else "valid"
        if r["expires_us"] and not r["revoked_us"]:
            state = f"until {when(r['expires_us'])}"
        table.add_row(
            r["id"], r["kind"], r["name"], whose + (" +identity" if r["assert_identity"] else ""),
            when(r["created_us"]), state,
        )  # fmt: skip
    out.print(table)


@app.command()
def revoke(key: Annotated[str, typer.Argument(help="The id, as wl-1a2b3c4d.")], data: Data = None) -> None:
    """End a key now."""
    Server.find(data).ask("POST", f"/api/keys/{key}/revocation")
    out.print(f"{key} is revoked.", markup=False)
