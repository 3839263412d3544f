"""`waterline check APP_DIR`."""

from pathlib import Path
from typing import Annotated

import typer

from waterline.cli.building import built_or_die
from waterline.cli.client import out, print_json
from waterline.core.ids import short
from waterline.core.release import parse_release
from waterline.core.savings import told


def check(
    folder: Annotated[Path, typer.Argument(help="The app folder.")],
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Validate an app folder: file, line, what is wrong, what to write instead. Exit 1 if anything is wrong."""
    built = built_or_die(folder, json)
    if json:
        print_json({"app": built.app, "release": built.release_id, "warnings": built.warnings, "mistakes": []})
        return
    for warning in built.warnings:
        out.print(f"warning: {warning}", markup=False)
    release = parse_release(built.manifest)
    for line in told(release.cache, release.routing, release.history):
        out.print(line, markup=False)
    out.print(f'App "{built.app}" is in order. It would be release {short(built.release_id)}.', markup=False)
