"""`waterline router train`."""

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from waterline.cli.building import checked_or_die
from waterline.cli.client import die, err, out, print_json
from waterline.core.errors import WaterlineError
from waterline.core.verdict import Outcome

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The learned router: which questions the small model may answer."""


@app.command()
def train(
    folder: Annotated[Path, typer.Argument(help="The app folder.")],
    max_loss: Annotated[
        float, typer.Option("--max-loss", min=0.001, max=0.5, help="Quality that may be lost, as a share of cases.")
    ] = 0.05,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Ask every case of the small and of the large route, and write router.json if the loss is shown to be small.

    Exit 0: written. 1: mistakes in the folder. 2: inconclusive, nothing written. 3: could not run."""
    from waterline.rollout.savings import ROUTER_FILE
    from waterline.trials.router import learn

    checked = checked_or_die(folder, json, learned=False)
    tell = (lambda said: None) if json else (lambda said: err.print(said, markup=False, end="\r"))
    try:
        found = asyncio.run(learn(checked.release, checked.spec, checked.cases, max_loss, tell))
    except WaterlineError as error:
        die(str(error), 3)
    if found.learned is not None:
        written = msgspec.json.format(msgspec.json.encode(found.learned), indent=2)
        (folder / ROUTER_FILE).write_bytes(written + b"\n")
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        table = Table("to the small model", "quality", "loss", "95 % interval", "cost of the large alone", "")
        for point in found.points:
            loss = point.loss
            table.add_row(
                f"{point.share:.0%}",
                f"{point.quality:.1%}",
                f"{loss.value:+.1%}" if loss else "?",
                f"{loss.low:+.1%} to {loss.high:+.1%}" if loss else "?",
                f"{point.cost:.0%}" if point.cost is not None else "unpriced",
                "chosen" if point is found.chosen else ("" if point.good else "not shown"),
            )
        out.print(table)
        out.print(f"alone: small {found.small_quality:.1%}, large {found.large_quality:.1%}", markup=False)
        out.print(found.reason, markup=False)
        if found.learned is not None:
            out.print(f"written: {folder / ROUTER_FILE}. Build a release, and send it to sea.", markup=False)
    raise SystemExit(0 if found.outcome is Outcome.PASS else 2)
