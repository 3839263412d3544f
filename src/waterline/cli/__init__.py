"""The command line; thin. One file a noun; every command that prints data takes --json."""

import typer

from waterline.cli import (
    app_folder,
    audit,
    cache,
    canary,
    case_coverage,
    case_leaks,
    cases,
    cost,
    evaluate,
    gates,
    harvest,
    incidents,
    judge,
    keys,
    mcp,
    models,
    people,
    releases,
    review,
    robustness,
    router,
    run,
    sessions,
    shadow,
    simulate,
    subject,
    traces,
    trial,
    up,
)

app = typer.Typer(
    name="waterline",
    help="Takes an AI application from a demo to a product that may be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("up")(up.up)
app.command(
    "run",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False},
)(run.run)
app.command("check")(app_folder.check)
app.add_typer(releases.app, name="release", help="Build, list, show and compare releases.")
app.command("promote")(releases.promote)
app.command("rollback")(releases.rollback)
app.command("gates")(gates.gates)
app.command("approve")(gates.approve)
app.add_typer(incidents.app, name="incident", help="What went wrong: open, list and close.")
app.command("pin")(releases.pin)
app.add_typer(shadow.app, name="shadow", help="A candidate answers a copy of live requests, never the user.")
app.add_typer(canary.app, name="canary", help="A release takes over step by step, and its figures decide.")
app.command("limits")(releases.limits)
app.command("replay")(traces.replay)
app.command("trial")(trial.trial)
app.command("eval")(evaluate.evaluate)
app.command("harvest")(harvest.harvest)
app.command("robustness")(robustness.robustness)
app.add_typer(traces.app, name="traces", help="List, show, search and follow traces.")
cases.app.command("check")(case_leaks.check)
cases.app.command("coverage")(case_coverage.coverage)
cases.app.command("split")(case_leaks.split)
app.add_typer(cases.app, name="cases", help="Sets of cases: list, show, import, export, compare.")
app.add_typer(sessions.app, name="sessions", help="How sessions went: off the rails, and how far they came.")
app.add_typer(cost.app, name="cost", help="What it costs.")
app.add_typer(keys.app, name="key", help="Create, list and revoke keys.")
app.add_typer(people.app, name="people", help="Who may do what in a branch, as its sheet says.")
app.add_typer(router.app, name="router", help="The learned router: train it on the app's cases.")
app.add_typer(cache.app, name="cache", help="The semantic cache: calibrate it on the app's cases.")
app.add_typer(judge.app, name="judge", help="Models that judge answers: label, calibrate, compare.")
app.add_typer(models.app, name="model", help="Local models: pull and list.")
app.add_typer(mcp.app, name="mcp", help="Tools of an MCP server: look at them and accept them.")
app.add_typer(review.app, name="review", help="What may become a case: list, show, accept, reject.")
app.add_typer(subject.app, name="subject", help="What is kept of a person: export, erase.")
app.add_typer(audit.app, name="audit", help="The audit log: show, export, verify.")
app.command("simulate")(simulate.simulate)
