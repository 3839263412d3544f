"""The runner: drills in order, each with its own data and time, and the load line that they end in."""

import asyncio
import os
import platform
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from waterline import __version__
from waterline.core.app_spec import AppSpec, Limits, encode_spec, parse_spec, plain, spec_id
from waterline.core.case import Case, case_set_id
from waterline.core.errors import Refused, WaterlineError
from waterline.core.release import parse_release, release_id
from waterline.core.verdict import Outcome, Verdict
from waterline.evals.cases import load_cases
from waterline.trials import DRILLS, IMPLEMENTED
from waterline.trials.asking import RealModel
from waterline.trials.busy import Busy, crowded
from waterline.trials.drills import DRILL
from waterline.trials.instance import Instance
from waterline.trials.load_line import ANSWERS, LoadLine, Machine, Section, exit_status, objectives_id
from waterline.trials.progress import Teller, teller
from waterline.trials.rows import nine_rows
from waterline.trials.sea import FULL, SHORT, Pace, Sea
from waterline.trials.team_app import TeamApp

WORDS = {Outcome.PASS: "pass", Outcome.FAIL: "FAIL", Outcome.INCONCLUSIVE: "inconclusive", Outcome.NOT_RUN: "not run"}
COLOURS = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.INCONCLUSIVE: "yellow", Outcome.NOT_RUN: "dim"}
TELLING_CHARS = 160
PLAIN_COLUMNS = 150  # of the table in a log


class Order(Struct, frozen=True):
    """What is to be tried. `folder` has the cases; None: an app of the server, whose cases are not at hand."""

    app: str
    manifest: bytes
    spec: bytes
    folder: Path | None = None


async def run_trial(
    order: Order, drills: Sequence[str] = (), short: bool = False, quiet: bool = False, pace: Pace | None = None
) -> LoadLine:
    """Raises Refused for an unknown drill, AppFolderError for cases with mistakes; whatever else goes wrong in a drill
    is "could not run" in the load line."""
    began, load_average, busy = time.monotonic(), os.getloadavg()[0], Busy()
    spec, release = parse_spec(order.spec), parse_release(order.manifest)
    for name in drills:
        if name not in DRILLS:
            raise Refused(f'There is no drill "{name}". Drills: {", ".join(DRILLS)}.')
    cases = _cases(order.folder)
    with tempfile.TemporaryDirectory(prefix="waterline-trial-") as folder:
        real = RealModel(
            Instance(Path(folder) / "real"), release, order.manifest, _for_real(spec), spec.environments[0],
            TeamApp(spec.app, order.folder, Path(folder) / "team.log") if spec.app.url else None,
        )  # fmt: skip

        def sea(drill: str, tell: Teller) -> Sea:
            return Sea(
                release_id=release_id(order.manifest), release=release, manifest=order.manifest, spec=spec,
                cases=cases, has_cases=order.folder is not None, seed=spec.trial.seed, short=short,
                pace=pace or (SHORT if short else FULL), folder=Path(folder) / drill, teller=tell, real=real,
            )  # fmt: skip

        try:
            sections = await _run_all(spec, plan(spec, drills), sea, real, short, teller(quiet))
        finally:
            await real.close()
    status, others = exit_status(sections), busy.others()
    line = LoadLine(
        app=order.app,
        release=release_id(order.manifest),
        spec_id=spec_id(order.spec),
        objectives_id=objectives_id(spec.objectives),
        owner=spec.owner,
        purpose=spec.purpose or release.purpose,
        short=short,
        seed=spec.trial.seed,
        cases=len(cases),
        case_set=case_set_id(cases) if cases else "",
        made_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=time.monotonic() - began,
        machine=_machine(load_average, others),
        versions={"waterline": __version__, "python": platform.python_version()},
        exit_status=status,
        answer=ANSWERS[status],
        because=_because(sections, status) + crowded(status, others),
        sections=sections,
        rows=nine_rows(sections, spec),
        declared=plain(spec),
        manifest=order.manifest.decode(),
        spec=order.spec.decode(),
        models=[f"{n}: {r.provider} {r.model}" for n, r in sorted(release.routes.items())],
    )
    if not quiet:
        console = Console(highlight=False)
        show(line, console if console.is_terminal else Console(highlight=False, width=PLAIN_COLUMNS))
    return line


def plan(spec: AppSpec, named: Sequence[str]) -> list[tuple[str, bool, bool]]:
    """(drill, required, to be run) in order. What the app requires and was not asked for is shown as NOT RUN, and
    keeps the answer open; an app that requires nothing gets everything that there is for an app like it."""
    required = spec.trial.drills or tuple(d for d in IMPLEMENTED if not DRILL[d].not_applicable(spec))
    wanted = tuple(named) or required
    return [(d, d in required, d in wanted) for d in DRILLS]


async def _run_all(
    spec: AppSpec,
    planned: list[tuple[str, bool, bool]],
    sea: Callable[[str, Teller], Sea],
    real: RealModel,
    short: bool,
    tell: Teller,
) -> list[Section]:
    sections: list[Section] = []
    at = 0 if short else 1
    todo = [d for d, _, run in planned if run]
    left = {d: DRILL[d].usual_s[at] for d in todo if d in DRILL}
    for name, required, run in planned:
        if not run:
            said = "required by the app, but left out of this run" if required else "not required by the app"
            if not required and name in DRILL:
                said = DRILL[name].not_applicable(spec) or said
            sections.append(Section(name, required=required, state="not_run", reason=said))
            continue
        tell.begin(name, todo.index(name) + 1, len(todo), sum(left.values()))
        if name not in DRILL:
            said = f"This version of Waterline does not have the drill {name}. Take it out of app.toml [trial] drills."
            section = Section(name, state="could_not_run", reason=said)
        else:
            if not DRILL[name].real:
                await real.close()
            calls = real.calls
            section = await run_one(name, sea(name, tell), DRILL[name].most_s[at])
            section.calls_real = real.calls - calls
        section.required = required
        left.pop(name, None)
        sections.append(section)
        tell.end(told(section))
    return sections


async def run_one(name: str, sea: Sea, most_s: float) -> Section:
    """A drill that ends in an error, expected or not, could not run: that is never a pass."""
    began = time.monotonic()
    task = asyncio.ensure_future(DRILL[name].run(sea))
    try:
        await asyncio.wait({task}, timeout=most_s)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.cancelled():
        section = Section(name, state="could_not_run", reason=f"It did not end within {most_s:g} s, so it was stopped.")
    elif (error := _first(task.exception())) is not None:
        said = str(error) if isinstance(error, WaterlineError) else f"It broke off: {type(error).__name__}: {error}"
        detail = "" if isinstance(error, WaterlineError) else "".join(traceback.format_exception(error))[-4000:]
        section = Section(name, state="could_not_run", reason=said, detail=detail)
    else:
        section = task.result()
    section.seconds = time.monotonic() - began
    return section


def _first(error: BaseException | None) -> BaseException | None:
    """The cause, where a group of tasks failed."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def told(section: Section) -> str:
    """One line on a drill."""
    if section.state != "ran":
        return f"{'COULD NOT RUN' if section.state == 'could_not_run' else 'not run'}: {section.reason}"
    worst = worst_of(section)
    counts = f"{sum(v.outcome is Outcome.PASS for v in section.verdicts)} of {len(section.verdicts)} verdicts pass"
    if worst is None or worst.outcome is Outcome.PASS:
        return f"{WORDS[section.outcome]} ({counts}, {section.seconds:.0f} s)"
    return f"{WORDS[section.outcome]} ({counts}, {section.seconds:.0f} s). {worst.name}: {worst.reason}"


def worst_of(section: Section) -> Verdict | None:
    order = (Outcome.FAIL, Outcome.NOT_RUN, Outcome.INCONCLUSIVE, Outcome.PASS)
    return min(section.verdicts, key=lambda v: order.index(v.outcome), default=None)


def show(line: LoadLine, console: Console) -> None:
    """The table at the end."""
    table = RichTable(box=None, pad_edge=False, header_style="dim")
    for column in ("drill", "outcome", "verdict", "figure", "provider"):
        table.add_column(column, overflow="fold")
    for section in line.sections:
        if section.state == "could_not_run":
            table.add_row(section.drill, "COULD NOT RUN", "", escape(_cut(section.reason)), "")
        for place, verdict in enumerate(section.verdicts):
            word = WORDS[verdict.outcome]
            colour = COLOURS[verdict.outcome]
            table.add_row(
                section.drill if not place else "", f"[{colour}]{word}[/]", escape(verdict.name),
                escape(_cut(verdict.reason)), verdict.provider,
            )  # fmt: skip
    console.print(table)
    console.print(f"\n{line.answer}: {line.because}", markup=False, soft_wrap=True)


def _cut(text: str) -> str:
    return text if len(text) <= TELLING_CHARS else f"{text[: TELLING_CHARS - 3]}..."


def _because(sections: list[Section], status: int) -> str:
    """The sentence under the answer."""
    match status:
        case 0:
            ran = [s.drill for s in sections if s.state == "ran"]
            return f"all {len(ran)} drills passed"
        case 1:
            failed = [s for s in sections if s.outcome is Outcome.FAIL]
            worst = worst_of(failed[0])
            names = ", ".join(s.drill for s in failed)
            return f"{names} failed" + (f". {worst.name}: {worst.reason}" if worst is not None else "")
        case 3:
            stuck = [s for s in sections if s.state == "could_not_run"]
            return f"{', '.join(s.drill for s in stuck)} could not run. {stuck[0].reason}"
        case _:
            open_ = [s for s in sections if s.outcome is Outcome.INCONCLUSIVE]
            left_out = [s.drill for s in sections if s.required and s.state == "not_run"]
            said = []
            if open_:
                worst = worst_of(open_[0])
                said.append(f"{', '.join(s.drill for s in open_)} {'is' if len(open_) == 1 else 'are'} inconclusive")
                said += [f"{worst.name}: {worst.reason}"] if worst is not None else []
            if left_out:
                said.append(f"{', '.join(left_out)}: required by the app, but left out of this run")
            return ". ".join(said) or "no drill ran"


def _cases(folder: Path | None) -> tuple[Case, ...]:
    if folder is None or not (folder / "cases").is_dir():
        return ()
    return load_cases(folder / "cases")


def _for_real(spec: AppSpec) -> bytes:
    """For the real model: limits of rate lifted, those of money kept, since this money is spent."""
    kept = spec.limits
    limits = Limits(
        nano_usd_per_day=kept.nano_usd_per_day, nano_usd_per_month=kept.nano_usd_per_month, timezone=kept.timezone
    )
    return encode_spec(msgspec.structs.replace(spec, limits=limits))


def _machine(load_average: float, others: float | None) -> Machine:
    name, memory = platform.processor() or platform.machine(), 0.0
    try:
        for row in Path("/proc/cpuinfo").read_text().splitlines():
            if row.startswith("model name"):
                name = row.partition(":")[2].strip()
                break
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, ValueError):
        pass
    return Machine(os.cpu_count() or 1, name, round(memory, 1), f"{platform.system()} {platform.release()}",
                   round(load_average, 2), None if others is None else round(others, 3))  # fmt: skip
