"""`waterline eval`: is this release good enough, or at least no worse than that one?"""

import asyncio
import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from waterline.cli.building import built_or_die
from waterline.cli.case_leaks import warn_of_prompts
from waterline.cli.cases import load_set
from waterline.cli.ci import JUnit, Markdown, Sarif, could_not_run, recorded, write_reports
from waterline.cli.client import SERVER_FILE, Server, data_folder, die, err, out, print_json
from waterline.core.case import SPLITS, Case
from waterline.core.errors import WaterlineError

ITEMS_A_REQUEST = 200
REQUEST_BYTES = 4 << 20
SET = re.compile(r"[a-z0-9][a-z0-9_-]*(@[0-9a-f]+)?\Z")  # a name of a case set, perhaps with its version


def evaluate(
    target: Annotated[str, typer.Argument(metavar="APP_DIR|APP", help="An app folder, or an app of the server.")],
    cases: Annotated[
        str, typer.Option("--cases", help="A file, a folder, or SET[@VERSION] of the server; else the app's cases/.")
    ] = "",
    split: Annotated[str, typer.Option("--split", help="Only these cases: tuning or held_out.")] = "",
    repeats: Annotated[int, typer.Option("--repeats", min=1, max=1000, help="How often each case is asked.")] = 1,
    against: Annotated[str, typer.Option("--against", help="The release to compare with; needs a server.")] = "",
    release: Annotated[str, typer.Option("--release", help="With APP: which one; else the newest.")] = "",
    margin: Annotated[
        float | None, typer.Option("--margin", min=0, max=1, help="How much worse it may be; else regression_max.")
    ] = None,
    at_once: Annotated[int, typer.Option("--at-once", min=0, max=1024, help="Questions at a time; 0: chosen.")] = 0,
    folder_out: Annotated[Path, typer.Option("--out", help="Where the answers are kept.")] = Path("out/eval"),
    plan_only: Annotated[
        bool, typer.Option("--plan", help="Say what these cases could show, and ask nothing.")
    ] = False,
    junit: JUnit = None,
    sarif: Sarif = None,
    markdown: Markdown = None,
    json: Annotated[bool, typer.Option("--json")] = False,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")] = None,
) -> None:
    """Ask the cases and judge the answers. Killed, it goes on where it stopped when it is started again.

    Exit 0: good enough, or no worse than the margin allows. 1: failed, or worse. 2: inconclusive. 3: could not run."""
    from waterline.trials.ci_report import checks_of_result, markdown_of_result
    from waterline.trials.evaluation import Work
    from waterline.trials.evaluation import evaluate as run
    from waterline.trials.progress import teller

    here = Path(target)
    if split not in SPLITS:
        die(f'--split is tuning or held_out, not "{split}".', 3)
    stored = bool(cases) and not Path(cases).exists() and SET.match(cases) is not None
    with could_not_run():
        server = Server.find(data) if against or stored or not here.is_dir() else None
        app, manifest, spec = _subject(here, target, release, server)
        other = _stored(server, app, against)[0] if server is not None and against else None
        with _dying():
            asked, told = _asked(here, cases, split, app, server if stored else None)
            quality = spec.objectives.quality
            work = Work(
                manifest=manifest, spec=spec, cases=asked, cases_from=told, against=other, repeats=repeats,
                at_once=at_once, margin=margin if margin is not None else quality.regression_max,
                score_min=quality.score_min, seed=spec.trial.seed, scorers=here / "scorers" if here.is_dir() else None,
                redirect=os.environ.get("WATERLINE_REDIRECT_PROVIDERS", ""),
                standings=_standings(app, spec, server, data),
            )  # fmt: skip
            warn_of_prompts(work.cases, [manifest] if other is None else [manifest, other])
            if plan_only:
                _foresee(work.plan(), json)
                return
            done = asyncio.run(run(work, folder_out, teller(json)))
    address = ""
    if (data_folder(data) / SERVER_FILE).exists() or server is not None:
        with recorded("evaluation"):
            address = _record(server or Server.find(data), done, work)
    result = done.result
    suite = f"waterline eval {result.plan.app}"
    write_reports(suite, checks_of_result(result), markdown_of_result(result, address), junit, sarif, markdown)
    if json:
        _show_json(done, address)
    else:
        _show(done, address)
    raise SystemExit(result.exit_status)


@contextlib.contextmanager
def _dying() -> Iterator[None]:
    """What Waterline knows how to say ends the command, also out of a group of tasks."""
    try:
        yield
    except WaterlineError as error:
        die(str(error), 3)
    except BaseExceptionGroup as group:
        first = _first(group)
        if isinstance(first, WaterlineError):
            die(str(first), 3)
        raise


def _asked(here: Path, cases: str, split: str, app: str, server: Server | None) -> tuple[tuple[Case, ...], str]:
    """The cases, and where they are from. `server`: of a set that it keeps."""
    from waterline.evals.cases import load_cases

    if server is not None:
        return load_set(server, app, cases, split)
    folder = Path(cases) if cases else here / "cases" if here.is_dir() else None
    if folder is None:
        die("Name the cases: --cases FILE, or --cases SET (waterline cases list shows the server's sets).", 3)
    return tuple(c for c in load_cases(folder) if split in ("", c.split)), split


def _standings(app: str, spec: Any, server: Server | None, data: Path | None) -> dict[str, Any]:
    """Which judges the server knows to be calibrated; without a server, or before it knows the app, none is."""
    from waterline.evals.judged import Standing

    if not spec.judges or (server is None and not (data_folder(data) / SERVER_FILE).exists()):
        return {}
    server = server or Server.find(data)
    if all(known["name"] != app for known in server.ask("GET", "/api/apps")):
        return {}
    rows = server.ask("GET", f"/api/apps/{app}/judges")
    return {row["name"]: msgspec.convert(row["standing"], Standing) for row in rows}


def _foresee(plan: Any, as_json: bool) -> None:
    from waterline.evals.foresight import foresee

    told = foresee(plan)
    if as_json:
        print_json({"plan": msgspec.to_builtins(plan), "foresight": msgspec.to_builtins(told)})
        return
    repeats = f" x {plan.repeats}" if plan.repeats > 1 else ""
    out.print(
        f"{plan.calls} calls: {plan.cases} cases{repeats}{', two releases' if plan.against else ''}", markup=False
    )
    if not told:
        die("Nothing is declared to judge by. Write [objectives.quality] score_min below 1, or compare: --against.", 3)
    heads = ("if so many cases change", "finds, points") if plan.against else ("if the true score is", "")
    table = Table(heads[0], "chance to pass", "cases for 80 %", *([heads[1]] if plan.against else []), box=None)
    for one in told:
        needed = f"{one.cases_needed:,}" if one.cases_needed is not None else "never"
        found = [f"{100 * one.smallest:.1f}" if one.smallest is not None else "-"] if plan.against else []
        table.add_row(f"{one.assumed:.1%}", f"{one.chance:.0%}", needed, *found)
    out.print(table)
    said = (
        f"chance to pass: to be shown at most {100 * plan.margin:.1f} points worse, when it is not worse at all"
        if plan.against
        else f"chance to pass: that at least {plan.score_min:.1%} is shown"
    )
    out.print(said, markup=False, soft_wrap=True)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _subject(here: Path, target: str, release: str, server: Server | None) -> tuple[str, bytes, Any]:
    from waterline.core.app_spec import parse_spec

    if here.is_dir():
        built = built_or_die(here)
        return built.app, built.manifest, parse_spec(built.spec)
    assert server is not None
    rows = server.ask("GET", "/api/releases", app=target)
    if not rows:
        die(f'"{target}" is neither a folder nor an app of {server.url}.', 3)
    manifest, spec = _stored(server, target, release or rows[0]["id"])
    return target, manifest, parse_spec(spec)


def _stored(server: Server, app: str, release: str) -> tuple[bytes, bytes]:
    stored = server.ask("GET", f"/api/releases/{release}/stored")
    return stored["manifest"].encode(), stored["spec"].encode()


def _record(server: Server, done: Any, work: Any) -> str:
    """The running server keeps the experiment, every answer of it; a release that it does not know is stored first."""
    from waterline.trials.items import items_of

    plan = done.result.plan
    if not any(row["id"] == plan.release for row in server.ask("GET", "/api/releases", app=plan.app)):
        from waterline.core.app_spec import encode_spec

        body = {
            "manifest": work.manifest.decode(),
            "spec": encode_spec(work.spec).decode(),
            "message": "waterline eval",
        }
        server.ask("POST", "/api/releases", body)
    result = msgspec.json.encode(done.result).decode()
    server.ask("POST", "/api/experiments", {"id": done.run, "result": result})
    batch: list[Any] = []
    size = 0
    for item in items_of(done.journal, plan, work.cases):
        row = msgspec.to_builtins(item)
        batch.append(row)
        size += len(msgspec.json.encode(row))
        if len(batch) >= ITEMS_A_REQUEST or size >= REQUEST_BYTES:
            server.ask("POST", f"/api/experiments/{done.run}/items", {"items": batch})
            batch, size = [], 0
    if batch:
        server.ask("POST", f"/api/experiments/{done.run}/items", {"items": batch})
    return f"{server.url}/experiments/{done.run}"


def _show_json(done: Any, address: str) -> None:
    said = {"run": done.run, "journal": str(done.journal), "asked_now": done.asked_now, "address": address,
            "exit_status": done.result.exit_status, **msgspec.to_builtins(done.result)}  # fmt: skip
    print_json(said)


def _show(done: Any, address: str) -> None:
    from waterline.trials.ci_report import beside, p_value, points, share

    result = done.result
    if result.plan.cases_from:
        out.print(f"cases: {result.plan.cases_from}", markup=False)
    table = Table("", "score", f"pass^{result.plan.repeats}", "missing", "cost, USD", "p50", "p95", box=None)
    for name, arm in result.arms.items():
        table.add_row(
            f"{'before' if name == 'first' else 'after' if result.plan.against else ''} {arm.release[:12]}",
            share(arm.score), share(arm.pass_hat_k), str(arm.missing),
            f"{arm.cost_nano_usd / 1e9:.4f}" if arm.cost_nano_usd is not None else f"{arm.unpriced} unpriced",
            f"{arm.ms_p50.value:,.0f} ms" if arm.ms_p50 is not None else "-",
            f"{arm.ms_p95:,.0f} ms" if arm.ms_p95 is not None else "-",
        )  # fmt: skip
    out.print(table)
    if result.plan.against and result.slices:
        slices = Table("slice", "cases", "before", "after", "change, points", "p (Holm)", box=None)
        for one in result.slices[:12]:
            slices.add_row(escape(one.tag), str(one.cases), f"{one.first:.0%}", f"{one.second:.0%}",
                           points(one.difference), p_value(one.p))  # fmt: skip
        out.print(slices)
    for sentence in beside(result):
        out.print(sentence, markup=False)
    if result.smallest is not None:
        out.print(f"this run would find a difference of {100 * result.smallest:.1f} points (80 % power)", markup=False)
    for use in result.judges:
        counts = f"{use.asked} asked, {use.passed} yes, {use.no_verdict} without a verdict"
        gates = "calibrated" if use.standing.may_gate else "may not gate"
        out.print(f"judge {use.standing.name}: {counts}; {gates}", markup=False)
    if result.provider == "simulated":
        out.print("the simulated provider answered: this says nothing of quality", markup=False)
    out.print(f"{result.word}: {result.reason}", markup=False, soft_wrap=True)
    if result.more_cases is not None and "would settle" not in result.reason:
        out.print(f"about {result.more_cases} more cases would settle it", markup=False)
    out.print(f"answers: {done.journal}", markup=False, soft_wrap=True)
    if address:
        err.print(f"recorded at {address}", markup=False, soft_wrap=True)
