"""`waterline gates`, `waterline approve`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from waterline.cli.client import Server, err, out, print_json
from waterline.cli.times import when
from waterline.core.ids import short

App = Annotated[str, typer.Argument(metavar="APP")]
To = Annotated[str, typer.Option("--to", help="Environment.")]
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]
MARKS = {"passed": "passed", "not_passed": "NOT PASSED", "does_not_apply": "does not apply"}


def gates(name: App, release: str, to: To, json: Json = False, data: Data = None) -> None:
    """What keeps a release from an environment: every gate, by which evidence, and the next command.

    Exit 0: all are passed. 1: one is not."""
    found = _report(Server.find(data), name, release, to)
    if json:
        print_json(found)
    else:
        _show(found)
    raise SystemExit(0 if found["passed"] else 1)


def approve(
    name: App,
    release: str,
    to: To,
    note: Annotated[str, typer.Option("--note", help="What you looked at; it is kept.")] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Take an approval back: your own.")] = False,
    of: Annotated[str, typer.Option("--of", metavar="PERSON", help="With --revoke: that person's.")] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Say yes to a release that somebody else built, on the evidence that is shown; or take that back."""
    server = Server.find(data)
    if revoke:
        body = {"release": release, "env": to, "person": of, "note": note}
        after = server.ask("POST", f"/api/apps/{name}/approvals/withdrawal", body)
    else:
        found = _report(server, name, release, to)
        if not json:
            _show(found)
        body = {"release": found["release"], "env": to, "shown": found["shown"], "note": note}
        after = server.ask("POST", f"/api/apps/{name}/approvals", body)
    if json:
        print_json(after)
        return
    gate = next((g for g in after["gates"] if g["name"] == "approval"), None)
    said = "taken back" if revoke else "approved"
    out.print(f"{said}: {short(after['release'])} for {to}; approvals {gate['says'] if gate else ''}", markup=False)
    if after["passed"]:
        out.print(f"next: waterline promote {name} {short(after['release'])} --to {to}", markup=False)


def _report(server: Server, name: str, release: str, to: str) -> Any:
    return server.ask("GET", f"/api/apps/{name}/gates", release=release, env=to)


def _show(found: Any) -> None:
    replaced = f", in place of {short(found['against'])}" if found["against"] else ", where nothing else is live"
    out.print(
        f"release {short(found['release'])} of {found['app']} for {found['env']}{replaced}; built by {found['author']}",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    if not found["gates"]:
        out.print(f"{found['env']} requires nothing: it may be promoted", markup=False)
    for gate in found["gates"]:
        out.print(f"  {gate['name']}: {MARKS[gate['state']]}: {gate['says']}", markup=False, soft_wrap=True)
        if gate["next"]:
            out.print(f"      next: {gate['next']}", markup=False, soft_wrap=True)
    for one in found["approvals"]:
        if not one["holds"]:
            err.print(f"  {one['who']}, {when(one['at_us'])}: {one['why_not']}", markup=False, soft_wrap=True)
