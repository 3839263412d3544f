"""`waterline cache calibrate`."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from waterline.cli.building import checked_or_die
from waterline.cli.client import die, out, print_json
from waterline.core.case import case_set_id
from waterline.core.verdict import Outcome

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The semantic cache: which questions may share an answer."""


@app.command()
def calibrate(
    folder: Annotated[Path, typer.Argument(help="The app folder.")],
    max_false: Annotated[
        float, typer.Option("--max-false", min=0.001, max=0.5, help="Largest share of false hits among the hits.")
    ] = 0.05,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Find the similarity from which on two of the app's questions share an answer, and write semantic.json.

    Exit 0: written. 1: mistakes in the folder. 2: inconclusive, nothing written. 3: the extra `semantic` is missing."""
    from waterline.evals import semantic
    from waterline.providers.embedder import NoEmbedder, load
    from waterline.rollout.savings import SEMANTIC_FILE

    checked = checked_or_die(folder, json, learned=False)
    try:
        embedder = load()
    except (NoEmbedder, ImportError) as error:
        die(str(error), 3)
    found = semantic.calibrate(
        checked.cases, embedder.embed, max_false, embedder=embedder.digest, case_set=case_set_id(checked.cases)
    )
    if found.semantic is not None:
        written = msgspec.json.format(msgspec.json.encode(found.semantic), indent=2)
        (folder / SEMANTIC_FILE).write_bytes(written + b"\n")
    if json:
        print_json(msgspec.to_builtins(found))
        raise SystemExit(0 if found.outcome is Outcome.PASS else 2)
    table = Table("threshold", "hits", "hit rate", "false hits", "at most", "the most similar false pair")
    for level in found.levels:
        table.add_row(
            f"{level.threshold:g}",
            str(level.hits),
            f"{level.hits / found.questions:.0%}" if found.questions else "?",
            str(level.false_hits),
            f"{level.false_upper:.1%}",
            " / ".join(level.worst) if level.worst is not None else "",
        )
    out.print(table)
    out.print(found.reason, markup=False)
    if found.semantic is not None:
        out.print(f"written: {folder / SEMANTIC_FILE}. Build a release, and send it to sea.", markup=False)
    raise SystemExit(0 if found.outcome is Outcome.PASS else 2)
