"""Options for build servers, shared by `waterline trial` and `waterline eval`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

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
