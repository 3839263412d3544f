"""The command line; thin. One file a noun; every command that prints data takes --json."""

from importlib import import_module
from typing import Any

import typer

# name: its file (and those that add to it), what in it, of a group its help. Only what is called gets loaded.
COMMANDS = {
    "up": ("up", "up"),
    "run": ("run", "run"),
    "check": ("app_folder", "check"),
    "release": ("releases", "app", "Build, list, show and compare releases."),
    "promote": ("releases", "promote"),
    "rollback": ("releases", "rollback"),
    "gates": ("gates", "gates"),
    "approve": ("gates", "approve"),
    "incident": ("incidents", "app", "What went wrong: open, list and close."),
    "pin": ("releases", "pin"),
    "shadow": ("shadow", "app", "A candidate answers a copy of live requests, never the user."),
    "canary": ("canary", "app", "A release takes over step by step, and its figures decide."),
    "limits": ("releases", "limits"),
    "replay": ("traces", "replay"),
    "trial": ("trial", "trial"),
    "eval": ("evaluate", "evaluate"),
    "harvest": ("harvest", "harvest"),
    "robustness": ("robustness", "robustness"),
    "traces": ("traces", "app", "List, show, search and follow traces."),
    "cases": ("cases case_coverage case_leaks", "app", "Sets of cases: list, show, import, export, compare."),
    "sessions": ("sessions", "app", "How sessions went: off the rails, and how far they came."),
    "cost": ("cost", "app", "What it costs."),
    "key": ("keys", "app", "Create, list and revoke keys."),
    "people": ("people", "app", "Who may do what in a branch, as its sheet says."),
    "router": ("router", "app", "The learned router: train it on the app's cases."),
    "cache": ("cache", "app", "The semantic cache: calibrate it on the app's cases."),
    "judge": ("judge", "app", "Models that judge answers: label, calibrate, compare."),
    "model": ("models", "app", "Local models: pull and list."),
    "mcp": ("mcp", "app", "Tools of an MCP server: look at them and accept them."),
    "review": ("review", "app", "What may become a case: list, show, accept, reject."),
    "subject": ("subject", "app", "What is kept of a person: export, erase."),
    "audit": ("audit", "app", "The audit log: show, export, verify."),
    "simulate": ("simulate", "simulate"),
}
PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False}


def commands(called: str = "") -> typer.Typer:
    """The command that is called, or all of them where that is none."""
    app = typer.Typer(
        name="waterline",
        help="Takes an AI application from a demo to a product that may be trusted.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(lambda: None)  # one command alone would lose its name
    for name in [called] if called in COMMANDS else COMMANDS:
        files, attribute, *told = COMMANDS[name]
        first, *_ = (import_module(f"waterline.cli.{file}") for file in files.split())
        found: Any = getattr(first, attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, help=told[0])
        else:
            app.command(name, context_settings=PASSED_ON if name == "run" else None)(found)
    return app
