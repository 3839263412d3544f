"""`waterline judge list|show|sample|import|label|run|calibrate|compare`: models that judge, beside people's labels."""

import csv
import io
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from waterline.cli.client import Server, die, out, print_json
from waterline.cli.times import when

app = typer.Typer(no_args_is_help=True)
App = Annotated[str, typer.Argument(metavar="APP")]
Name = Annotated[str, typer.Argument(metavar="JUDGE", help="The name of its file in judges/.")]
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]
ITEMS_A_REQUEST = 200
RUN_A_REQUEST = 20
COLUMNS = ("answer", "asked", "expected", "context", "source", "label", "labeller")
KEYS = {"p": "pass", "f": "fail", "u": "unsure"}


def _at(name: str, judge: str, *rest: str) -> str:
    return "/".join((f"/api/apps/{name}/judges/{judge}", *rest))


@app.command("list")
def list_(name: App, json: Json = False, data: Data = None) -> None:
    """The judges of an app, and whether their word counts."""
    rows = Server.find(data).ask("GET", f"/api/apps/{name}/judges")
    if json:
        print_json(rows)
        return
    if not rows:
        out.print(f'app "{name}" declares no judges; see docs/howto/judges.md', markup=False)
        return
    table = Table("judge", "model", "id", "labels", "may gate", "why not", box=None)
    for row in rows:
        standing = row["standing"]
        table.add_row(
            row["name"], escape(row["model"]), row["id"][:12], str(sum(row["labelled_by"].values())),
            "yes" if standing.get("may_gate") else "no", escape(_why(standing)),
        )  # fmt: skip
    out.print(table)


@app.command()
def show(name: App, judge: Name, json: Json = False, data: Data = None) -> None:
    """What is known of one judge, the last look at it and what is missing. Exit 0: it may gate; 2: it may not."""
    _tell(Server.find(data).ask("GET", _at(name, judge)), json)


@app.command()
def sample(
    name: App,
    judge: Name,
    count: Annotated[int, typer.Option("--count", min=1, max=500)] = 50,
    experiment: Annotated[str, typer.Option("--experiment", help="Of this evaluation, instead of live traffic.")] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Take answers to label from live traffic or from an evaluation that asked this judge."""
    body = {"count": count, "experiment": experiment}
    found = Server.find(data).ask("POST", _at(name, judge, "samples"), body)
    _counts(found, json)


@app.command("import")
def import_(
    name: App,
    judge: Name,
    file: Annotated[Path, typer.Argument(help="CSV or JSON Lines with answer, asked, expected, context, label.")],
    labeller: Annotated[str, typer.Option("--labeller", help="Whose labels they are, where a line does not say.")] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Answers to label, and labels that people gave elsewhere (pass, fail, unsure)."""
    rows = _rows(file)
    for row in rows:
        if row.get("label"):
            row.setdefault("labeller", labeller)
        row.setdefault("source", file.name)
    server, total = Server.find(data), {"given": 0, "new": 0, "labels": 0}
    for at in range(0, len(rows), ITEMS_A_REQUEST):
        made = server.ask("POST", _at(name, judge, "items"), {"items": rows[at : at + ITEMS_A_REQUEST]})
        total = {key: total[key] + made[key] for key in total}
    _counts(total, json)


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        die(f"{file} cannot be read: {error}", 1)
    rows: list[dict[str, str]] = []
    if file.suffix.lower() == ".csv":
        for number, found in enumerate(csv.DictReader(io.StringIO(text)), 2):
            rows.append(_row(file, number, {k: v for k, v in found.items() if v}))
        return rows
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(_row(file, number, msgspec.json.decode(line, type=dict[str, str])))
            except (msgspec.DecodeError, UnicodeError) as error:
                die(f"{file}:{number}: not a JSON object of texts: {error}", 1)
    return rows


def _row(file: Path, number: int, found: dict[Any, Any]) -> dict[str, str]:
    if strange := [str(key) for key in found if key not in COLUMNS]:
        die(f'{file}:{number}: unknown column "{strange[0][:40]}". Known: {", ".join(COLUMNS)}', 1)
    if not found.get("answer"):
        die(f"{file}:{number}: there is no answer. Write the column answer.", 1)
    return found


@app.command()
def label(
    name: App,
    judge: Name,
    data: Data = None,
) -> None:
    """Label answers one after the other: p pass, f fail, u unsure, q the end. What the judge says is not shown."""
    server = Server.find(data)
    question = server.ask("GET", _at(name, judge))["question"]
    done = 0
    while True:
        rows = server.ask("GET", _at(name, judge, "next"))
        item = rows["item"]
        if item is None:
            out.print(f"nothing is left to label; {done} labelled now, {rows['mine']} in all", markup=False)
            return
        for title in ("asked", "expected", "context", "answer"):
            if item[title]:
                out.print(f"[bold]{title}[/bold]")
                out.print(item[title], markup=False, soft_wrap=True)
        key = ""
        while key not in (*KEYS, "q"):
            key = str(typer.prompt(f"{question} [p/f/u/q]")).strip().lower()[:1]
        if key == "q":
            return
        server.ask("POST", _at(name, judge, "labels"), {"item": item["id"], "label": KEYS[key]})
        done += 1


@app.command()
def run(name: App, judge: Name, json: Json = False, data: Data = None) -> None:
    """Ask the judge about every labelled answer that it has not been asked about."""
    server, asked, none, changed = Server.find(data), 0, 0, ""
    while True:
        made = server.ask("POST", _at(name, judge, "runs"), {"limit": RUN_A_REQUEST})
        asked, none, changed = asked + made["asked"], none + made["no_verdict"], changed or made["changed"]
        if made["stopped"] or not made["left"] or not made["asked"]:
            break
    if json:
        print_json({"asked": asked, "no_verdict": none, "changed": changed, "left": made["left"],
                    "stopped": made["stopped"]})  # fmt: skip
    else:
        out.print(f"{asked} asked, {none} without a verdict", markup=False)
    if made["stopped"]:
        _cannot_ask(made)
    if changed and not json:
        out.print(f"the provider answered as {changed}, not as the pinned model: it may not gate", markup=False)


def _cannot_ask(made: dict[str, Any]) -> NoReturn:
    """What is left is left unasked, not without a verdict."""
    die(f"{made['left']} left: the judge cannot be asked now. {made['stopped']} Run this again then.")


@app.command()
def calibrate(name: App, judge: Name, json: Json = False, data: Data = None) -> None:
    """Ask what is left, then look at judge and people side by side, and record it. Exit 0: it may gate; 2: not yet."""
    server = Server.find(data)
    while (made := server.ask("POST", _at(name, judge, "runs"), {"limit": RUN_A_REQUEST}))["left"]:
        if made["stopped"]:
            _cannot_ask(made)
    _tell(server.ask("POST", _at(name, judge, "calibrations")), json)


@app.command()
def compare(
    name: App,
    judge: Name,
    experiment: Annotated[str, typer.Argument(help="A recorded comparison of two releases.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=50, help="Pairs that are asked.")] = 20,
    json: Json = False,
    data: Data = None,
) -> None:
    """A judge of pairs on two releases' answers, in both orders; a verdict that follows the place is a tie."""
    body = {"experiment": experiment, "limit": limit}
    found = Server.find(data).ask("POST", _at(name, judge, "comparisons"), body)
    if json:
        print_json(found)
        return
    out.print(
        f"{found['n']} pairs: {found['second']} for the new one, {found['first']} for the one before, "
        f"{found['ties']} ties, {found['failed']} without a verdict", markup=False,
    )  # fmt: skip
    if found["swayed"]:
        said = _interval(found["swayed"])
        out.print(f"the place decided in {said} ({found['front']} front, {found['back']} back)", markup=False)
    out.print("judges of pairs gate nothing", markup=False)


def _tell(view: dict[str, Any], json: bool) -> None:
    standing = view["standing"]
    status = 0 if standing.get("may_gate") else 2
    if json:
        print_json(view)
        raise SystemExit(status)
    out.print(f"{view['name']}: {view['question']}", markup=False)
    out.print(f"{view['provider']} {view['model']}, id {view['id'][:12]}", markup=False)
    labels = ", ".join(f"{who}: {n}" for who, n in view["labelled_by"].items()) or "nobody"
    out.print(f"{view['items']} answers to label; labelled by {labels}", markup=False)
    mine = [look for look in view["looks"] if look["this_judge"]]
    if mine:
        _calibration(mine[-1])
    out.print("may gate" if status == 0 else f"may not gate: {_why(standing)}", markup=False, soft_wrap=True)
    raise SystemExit(status)


def _calibration(look: dict[str, Any]) -> None:
    found = look["calibration"]
    table = Table("", "judge: yes", "judge: no", box=None)
    table.add_row("people: pass", str(found["both"]), str(found["people_only"]))
    table.add_row("people: fail", str(found["judge_only"]), str(found["neither"]))
    out.print(table)
    agreement = found["agreement"]
    for title in ("kappa", "sensitivity", "specificity"):
        out.print(f"{title}: {_interval(agreement[title], rate=title != 'kappa')}", markup=False)
    if found["between_people"] is not None:
        out.print(f"people among themselves: alpha {found['between_people']:.2f}", markup=False)
    out.print(
        f"look {found['look']}, {when(look['at_us'])}: {found['reason']}; {found['unsettled']} unsettled among people, "
        f"{found['gave_none']} without a verdict", markup=False, soft_wrap=True,
    )  # fmt: skip


def _interval(estimate: dict[str, Any] | None, rate: bool = True) -> str:
    if estimate is None:
        return "not known"
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if rate:
        return f"{100 * value:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _why(standing: dict[str, Any]) -> str:
    from waterline.evals.judged import Standing

    return str(standing.get("why", "" if standing.get("may_gate") else Standing("", "").why))


def _counts(found: dict[str, int], json: bool) -> None:
    if json:
        print_json(found)
        return
    out.print(f"{found['given']} answers, {found['new']} of them new; {found['labels']} labels", markup=False)
