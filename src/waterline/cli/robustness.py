"""`waterline robustness`: what messy inputs, or the prompts in another form, cost."""

import asyncio
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from waterline.cli.building import built_or_die
from waterline.cli.ci import could_not_run
from waterline.cli.client import die, out, print_json
from waterline.core.errors import WaterlineError
from waterline.core.verdict import Outcome


class What(StrEnum):
    inputs = "inputs"
    prompts = "prompts"


def robustness(
    folder: Annotated[Path, typer.Argument(metavar="APP_DIR")],
    of: Annotated[What, typer.Option("--of", help="Change what users write, or the form of the prompts.")],
    kinds: Annotated[list[str] | None, typer.Option("--kind", help="Only this operator; may be repeated.")] = None,
    cases: Annotated[Path | None, typer.Option("--cases", help="A file or folder; else the app's cases/.")] = None,
    drop_max: Annotated[
        float | None, typer.Option("--drop-max", min=0, max=1, help="How much may be lost; else robustness_drop_max.")
    ] = None,
    at_once: Annotated[int, typer.Option("--at-once", min=0, max=1024, help="Questions at a time; 0: chosen.")] = 0,
    seed: Annotated[int, typer.Option("--seed")] = 1,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Ask every case as it is and changed, and say what is lost, in pairs.

    Exit 0: at most --drop-max is lost. 1: more. 2: inconclusive, or nothing declared. 3: could not run."""
    from waterline.core.app_spec import parse_spec
    from waterline.evals.cases import load_cases
    from waterline.evals.experiment import EXIT
    from waterline.evals.statistics import non_inferiority
    from waterline.trials.brittleness import Look, look
    from waterline.trials.progress import teller

    if not folder.is_dir():
        die(f"{folder} is not an app folder.", 3)
    with could_not_run():
        built = built_or_die(folder)
    spec = parse_spec(built.spec)
    most = drop_max if drop_max is not None else spec.objectives.quality.robustness_drop_max
    wanted = Look(of.value, tuple(kinds or ()), seed, at_once, os.environ.get("WATERLINE_REDIRECT_PROVIDERS", ""))
    try:
        asked = load_cases(cases or folder / "cases")
        found = asyncio.run(look(built.manifest, spec, asked, wanted, teller(json)))
    except WaterlineError as error:
        die(str(error), 3)
    whole = found.robustness.all
    gate = non_inferiority(whole.drop if whole is not None else None, most) if most is not None else None
    if gate is not None and whole is not None and not whole.before:
        reason = "nothing passes as it is, so nothing can be lost: mend the cases or the app first"
        gate = msgspec.structs.replace(gate, outcome=Outcome.INCONCLUSIVE, reason=reason)
    status = EXIT[gate.outcome] if gate is not None else 2
    if json:
        told = {"exit_status": status, "reason": gate.reason if gate is not None else "", "drop_max": most}
        print_json({**told, **msgspec.to_builtins(found)})
    else:
        _show(found, gate)
    raise SystemExit(status)


def _show(found: Any, gate: Any) -> None:
    table = Table(
        "kind", "pairs", "before", "after", "change, points", "lost", "won", "flips beyond", "p (Holm)", box=None
    )
    rows = [*found.robustness.kinds, *([found.robustness.all] if found.robustness.all is not None else [])]
    for kind in rows:
        table.add_row(
            escape(kind.name), str(kind.n), f"{kind.before:.0%}", f"{kind.after:.0%}", _points(kind.drop),
            str(kind.lost), str(kind.won), _points(kind.beyond), f"{kind.p:.3f}",
        )  # fmt: skip
    out.print(table)
    if found.robustness.baseline is not None:
        same = found.robustness.baseline
        out.print(f"asked twice as they are, {100 * same.value:.1f} % of {same.n} verdicts changed", markup=False)
    if found.robustness.worst:
        out.print(f"worst: {found.robustness.worst}", markup=False)
    if found.unchanged:
        out.print(f"nothing to change for: {', '.join(found.unchanged)}", markup=False)
    if found.left_out:
        said = "cases expect a judge, a tool call, a time, a price or a function, and were left out"
        out.print(f"{found.left_out} {said}", markup=False)
    if found.unanswered:
        out.print(f"{found.unanswered} of {found.asked} answers never came, and count as failed", markup=False)
    if found.simulated:
        out.print("the simulated provider answered: this says nothing of quality", markup=False)
    if gate is None:
        out.print("nothing is declared to judge by: write [objectives.quality] robustness_drop_max", markup=False)
    else:
        out.print(gate.reason, markup=False, soft_wrap=True)


def _points(found: Any) -> str:
    if found is None:
        return "-"
    return f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
