"""`waterline model pull|list`: local models, known by their digest."""

import os
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from waterline.cli.client import die, err, out, print_json
from waterline.core.errors import WaterlineError
from waterline.providers import models

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Known models, and which of them are on this machine."""
    folder = models.models_dir(os.environ)
    rows = [
        {
            "name": spec.name,
            "present": models.is_present(spec, folder),
            "bytes": spec.size_bytes,
            "licence": spec.licence,
            "sha256": spec.sha256,
        }
        for spec in models.known().values()
    ]
    if json:
        print_json(rows)
        return
    table = Table("name", "here", "MB", "licence", "sha256")
    for row in rows:
        size = f"{row['bytes'] / 1e6:,.0f}"  # type: ignore[operator]
        table.add_row(
            str(row["name"]), "yes" if row["present"] else "no", size, str(row["licence"]), str(row["sha256"])[:12]
        )
    out.print(table)
    out.print(f"in {folder}", markup=False)


@app.command()
def pull(name: Annotated[str, typer.Argument(help="A name from `waterline model list`.")]) -> None:
    """Fetch a model: resumable, verified by its SHA-256, cached for every app."""
    spec = models.known().get(name)
    if spec is None:
        die(f'no model "{name}" is known. Known: {", ".join(models.known())}.', 2)
    folder = models.models_dir(os.environ)
    if models.is_present(spec, folder):
        out.print(f"{name} is here already: {models.path_of(spec, folder)}", markup=False)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=err.console) as bar:
        task = bar.add_task(name, total=spec.size_bytes)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{name} ({what})")

        try:
            path = models.pull(spec, folder, progress)
        except WaterlineError as error:
            bar.stop()
            die(str(error))
    out.print(f"{name}: {path}", markup=False)
