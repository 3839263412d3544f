"""`waterline audit show|export|verify`. Verification is offline: it needs the export and a checkpoint, no server."""

import time
from pathlib import Path
from typing import Annotated

import typer

from waterline.cli.client import Server, die, out, print_json

app = typer.Typer(no_args_is_help=True)
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]


@app.command()
def show(
    limit: Annotated[int, typer.Option(help="Newest entries to show.")] = 50,
    json: Annotated[bool, typer.Option("--json")] = False,
    data: Data = None,
) -> None:
    """The newest privileged acts: when, who, what, on what."""
    entries = Server.find(data).ask("GET", "/api/audit", limit=limit)
    if json:
        print_json(entries)
        return
    for e in entries:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(e["at_us"] / 1e6))
        out.print(
            f"{e['seq']:>6}  {when}Z  {e['who']:<20} {e['action']:<20} {e['target']}  {e['detail']}", markup=False
        )


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write the log (JSON lines).")],
    data: Data = None,
) -> None:
    """Write the whole log to a file, and print a checkpoint to publish."""
    server = Server.find(data)
    status, log = server.raw("GET", "/api/audit/export")
    if status != 200:
        die(f"the server refused the export (status {status}).")
    file.write_bytes(log)
    out.print(server.ask("GET", "/api/audit/checkpoint")["checkpoint"], markup=False)


@app.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help="An exported log; without it, the running server's.")] = None,
    checkpoint: Annotated[str, typer.Option(help="A published checkpoint (the text, or a file).")] = "",
    json: Annotated[bool, typer.Option("--json")] = False,
    data: Data = None,
) -> None:
    """Find any edit, deletion, reordering, insertion, truncation or fork. Exit 1 if there is one."""
    from waterline.access.audit import parse_checkpoint, verify_export
    from waterline.core.errors import Refused

    if file is None:
        _, log = Server.find(data).raw("GET", "/api/audit/export")
    else:
        try:
            log = file.read_bytes()
        except OSError as error:
            die(f"cannot read {file}: {error.strerror}", 2)
    if checkpoint and Path(checkpoint).is_file():
        checkpoint = Path(checkpoint).read_text().strip()
    try:
        findings = verify_export(log, parse_checkpoint(checkpoint) if checkpoint else None)
    except Refused as error:
        die(str(error), 2)
    if json:
        print_json({"findings": [str(f) for f in findings], "intact": not findings})
    else:
        for finding in findings:
            out.print(str(finding), markup=False)
        if not findings:
            seen = "against the checkpoint" if checkpoint else "without a checkpoint (a cut-off end cannot be seen)"
            out.print(f"The audit log is intact, {seen}.", markup=False)
    raise SystemExit(1 if findings else 0)
