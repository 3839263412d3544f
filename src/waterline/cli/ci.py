"""What build servers give and read, shared by `waterline trial` and `waterline eval`: options and exit statuses."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from waterline.cli.client import err

JUnit = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here.")]
Sarif = Annotated[Path | None, typer.Option("--sarif", help="Write JSON shaped like SARIF here.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", help="Write a summary for a pull request here.")]


def write_reports(
    suite: str, checks: Any, markdown: str, junit_to: Path | None, sarif_to: Path | None, markdown_to: Path | None
) -> None:
    from waterline.trials.ci_report import junit, sarif

    if junit_to is not None:
        _write(junit_to, junit(suite, checks))
    if sarif_to is not None:
        _write(sarif_to, json.dumps(sarif(checks), indent=2, ensure_ascii=False) + "\n")
    if markdown_to is not None:
        _write(markdown_to, markdown + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@contextmanager
def could_not_run() -> Iterator[None]:
    """Where exit status 1 is a verdict, what keeps it from being reached (a mistake in the folder, no server) is 3."""
    try:
        yield
    except SystemExit as ended:
        raise SystemExit(3 if ended.code == 1 else ended.code) from None


@contextmanager
def recorded(what: str) -> Iterator[None]:
    """A server that cannot be told of a verdict does not change it."""
    try:
        yield
    except SystemExit:
        err.print(f"The {what} is not recorded there; what it says stands, and is in the files.", markup=False)
