"""`waterline canary start|status|stop|list|aa`: a release takes over step by step, and its figures decide."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from waterline.cli.client import Server, die, out, print_json
from waterline.cli.times import when
from waterline.core.ids import short

app = typer.Typer(no_args_is_help=True)
App = Annotated[str, typer.Argument(metavar="APP")]
Env = Annotated[str, typer.Option("--env", help="Environment.")]
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the history and the audit log.")]


@app.command()
def start(
    name: App,
    release: Annotated[str, typer.Argument(help="The candidate.")],
    to: Annotated[str, typer.Option("--to", help="Environment.")] = "production",
    weight: Annotated[str, typer.Option("--weight", help="The first step, instead of the declared one.")] = "",
    reason: Reason = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Give a release the first of its steps. From then on it goes on, waits or goes back by itself."""
    body = {"app": name, "release": release, "env": to, "weight": weight, "reason": reason}
    _tell(Server.find(data).ask("POST", "/api/canaries", body), json)


@app.command()
def status(name: App, env: Env = "production", json: Json = False, data: Data = None) -> None:
    """What the canary that runs knows, or how the last one ended."""
    _tell(Server.find(data).ask("GET", f"/api/apps/{name}/canary", env=env), json)


@app.command()
def stop(
    name: App,
    env: Env = "production",
    keep: Annotated[bool, typer.Option("--keep", help="Leave the weights as they are; nobody watches them.")] = False,
    reason: Reason = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """End the canary that runs: all traffic returns to the release before it."""
    server = Server.find(data)
    found = server.ask("GET", f"/api/apps/{name}/canary", env=env)
    if found["head"]["ended_us"] is not None:
        die(f'no canary of app "{name}" runs in "{env}"; the last one: {found["head"]["state"]}')
    body = {"keep": keep, "reason": reason}
    _tell(server.ask("POST", f"/api/canaries/{found['head']['id']}/end", body), json)


@app.command("list")
def list_(name: Annotated[str, typer.Argument(metavar="[APP]")] = "", json: Json = False, data: Data = None) -> None:
    """Canaries, newest first."""
    found = Server.find(data).ask("GET", "/api/canaries", app=name)
    if json:
        print_json(found)
        return
    table = Table("canary", "app", "env", "candidate", "baseline", "state", "began", "by", "why it ended")
    for c in found["rows"]:
        table.add_row(
            c["id"], c["app"], c["env"], short(c["candidate"]), short(c["baseline"]), c["state"],
            when(c["started_us"]), c["who"], c["reason"][:80],
        )  # fmt: skip
    out.print(table)


@app.command()
def aa(
    name: App,
    env: Env = "production",
    runs: Annotated[int, typer.Option("--runs", min=1, max=100_000)] = 200,
    hours: Annotated[int, typer.Option("--hours", min=1, help="Of recorded traffic.")] = 24,
    seed: Annotated[int, typer.Option("--seed")] = 1,
    json: Json = False,
    data: Data = None,
) -> None:
    """How often the machinery would roll back a release that is equal: two labels of the live one, drawn anew each run
    over its recorded sessions."""
    from waterline.evals.canary import Plan
    from waterline.evals.canary_replay import false_alarms

    found = Server.find(data).ask("GET", f"/api/apps/{name}/recorded-sessions", env=env, hours=hours)
    if not found["sessions"]:
        die(f'app "{name}" has no recorded session in "{env}" in the last {hours} hours. Ask for more: --hours')
    plan = msgspec.convert(found["plan"], Plan)
    result = false_alarms(plan, found["sessions"], runs, seed)
    if json:
        print_json({"release": found["release"], "requests": found["requests"], **msgspec.to_builtins(result)})
        return
    rate = result.rolled_back
    out.print(
        f"{result.runs} A/A runs over {result.sessions:,} sessions of {short(found['release'])}: "
        f"{round(rate.value * result.runs)} rolled back = {100 * rate.value:.1f} % "
        f"(95 % interval {100 * rate.low:.1f} to {100 * rate.high:.1f} %); declared: at most {100 * result.alpha:g} %",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    out.print(f"{result.promoted} would have been promoted, {result.unknown} stayed unknown", markup=False)


def _tell(found: dict[str, Any], json: bool) -> None:
    if json:
        print_json(found)
        return
    head, plan, now = found["head"], found["plan"], found["now"]
    steps = ", ".join(f"{bp / 100:g} %" for bp in plan["steps_bp"])
    out.print(
        f"canary {head['id']} of {head['app']} in {head['env']}: {short(head['candidate'])} against "
        f"{short(head['baseline'])}: {head['state']}, step {head['step'] + 1} of {len(plan['steps_bp'])} ({steps})",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    if head["reason"]:
        out.print(head["reason"], markup=False, soft_wrap=True)
    baseline, candidate = now["sessions"]
    out.print(
        f"sessions at this step: {candidate:,} of the candidate, {baseline:,} of the baseline (at least "
        f"{plan['least_sessions']:,} of each); {found['waiting']:,} not counted yet",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    for line in found["sentences"]:
        out.print(f"  {line}", markup=False, soft_wrap=True)
