"""`waterline trial`: send a release to sea."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from waterline.cli.building import built_or_die
from waterline.cli.ci import JUnit, Markdown, Sarif, could_not_run, recorded, write_reports
from waterline.cli.client import SERVER_FILE, Server, data_folder, die, err, out, print_json
from waterline.core.errors import WaterlineError


def trial(
    target: Annotated[str, typer.Argument(metavar="APP_DIR|APP", help="An app folder, or an app of the server.")],
    release: Annotated[str, typer.Option("--release", help="With APP: which one; else the newest.")] = "",
    drill: Annotated[list[str] | None, typer.Option("--drill", help="Only this one; may be repeated.")] = None,
    short: Annotated[bool, typer.Option("--short", help="Sampled cases and short loads: minutes.")] = False,
    folder_out: Annotated[Path, typer.Option("--out", help="Where the load line is written.")] = Path("out/trial"),
    junit: JUnit = None,
    sarif: Sarif = None,
    markdown: Markdown = None,
    json: Annotated[bool, typer.Option("--json")] = False,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")] = None,
) -> None:
    """Run the drills that the app requires, and write the load line: may this release leave port?

    Exit 0: may sail. 1: a drill failed. 2: inconclusive. 3: could not run."""
    from waterline.trials.ci_report import checks_of_line, markdown_of_line
    from waterline.trials.report import write
    from waterline.trials.runner import Order, run_trial

    with could_not_run():
        here = Path(target).is_dir()
        order = _from_folder(Path(target), Order) if here else _from_server(target, release, data, Order)
        try:
            line = asyncio.run(run_trial(order, drills=tuple(drill or ()), short=short, quiet=json))
        except WaterlineError as error:
            die(str(error), 3)
    paths = write(line, folder_out)
    write_reports(f"waterline trial {line.app}", checks_of_line(line), markdown_of_line(line), junit, sarif, markdown)
    if (data_folder(data) / SERVER_FILE).exists():
        with recorded("load line"):
            _record(Server.find(data), line, paths)
    if json:
        print_json({**line.summary(), "html": str(paths.html), "json": str(paths.json)})
    else:
        out.print(f"load line: {paths.html}", markup=False, soft_wrap=True)
    raise SystemExit(line.exit_status)


def _from_folder(folder: Path, make: Any) -> Any:
    built = built_or_die(folder)
    return make(app=built.app, manifest=built.manifest, spec=built.spec, folder=folder)


def _from_server(app: str, wanted: str, data: Path | None, make: Any) -> Any:
    server = Server.find(data)
    rows = server.ask("GET", "/api/releases", app=app)
    if not rows:
        die(f'"{app}" is neither a folder nor an app of {server.url}.', 3)
    chosen = wanted or rows[0]["id"]
    stored = server.ask("GET", f"/api/releases/{chosen}/stored")
    return make(app=app, manifest=stored["manifest"].encode(), spec=stored["spec"].encode(), folder=None)


def _record(server: Server, line: Any, paths: Any) -> None:
    """The running server keeps the load line; a release that it does not know is stored first."""
    body = {"manifest": line.manifest, "spec": line.spec, "message": "waterline trial"}
    server.ask("POST", "/api/releases", body)
    said = {
        "app": line.app,
        "release": line.release,
        "exit_status": line.exit_status,
        "json": paths.json.read_text(encoding="utf-8"),
        "html": paths.html.read_text(encoding="utf-8"),
    }
    server.ask("POST", "/api/load-lines", said)
    err.print(f"recorded at {server.url}/load-lines", markup=False)
