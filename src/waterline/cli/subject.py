"""`waterline subject export|erase`: what is kept of a person; they leave traces, conversations and cases."""

import os
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from waterline.cli.client import Server, die, out, print_json

app = typer.Typer(no_args_is_help=True)
LONG_S = 3600.0

PLACES = {
    "traces": "traces: without words, session and events; what they cost stays",
    "bodies": "stored requests and answers",
    "feedback": "ratings and comments",
    "candidates": "candidates for cases",
    "cases": "cases, out of every version; their digests stay",
    "case_sets": "case sets with a new version",
    "experiment_items": "cases of evaluations: their words; the figures stay",
    "judge_items": "answers to label: their words; labels and verdicts stay",
    "conversations": "conversations",
}


@app.callback()
def subject() -> None:
    """What is known of a person."""


@app.command()
def export(
    who: Annotated[str, typer.Argument(metavar="SUBJECT", help="As the app sends it, its hash, a phone number ...")],
    to: Annotated[Path | None, typer.Option("--to", help="A file; else it is printed.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")] = None,
) -> None:
    """All that is kept of a person, as JSON: requests and answers, feedback, conversations, contacts, cases.

    SUBJECT as for `erase`; what that reaches is what is here. It is audited. Exit 0 also where there is nothing."""
    server = Server.find(data)
    whole: dict[str, Any] = server.ask("POST", "/api/subjects/export", {"subject": who})
    after = whole.pop("next")
    while after:
        page = server.ask("POST", "/api/subjects/export", {"subject": who, "after": after})
        whole["requests"] += page["requests"]
        after = page["next"]
    if to is None:
        print_json(whole)
        return
    try:
        with open(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(dumps(whole, ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        die(f"{to} cannot be written ({error.strerror}): name a file that is not there yet")
    out.print(
        f"{len(whole['requests']):,} requests, {len(whole['conversations']):,} conversations and "
        f"{len(whole['cases']):,} cases are in {to}; audit reference {whole['reference']}",
        markup=False,
    )


@app.command()
def erase(
    who: Annotated[str, typer.Argument(metavar="SUBJECT", help="As the app sends it, its hash, a phone number ...")],
    why: Annotated[str, typer.Option("--reason")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json")] = False,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")] = None,
) -> None:
    """Erase a person, for good: there is no way back.

    SUBJECT is what the app sends as x-waterline-subject, its keyed hash, a proven phone number or address, or the id
    of a conversation. The database file is written anew, which takes minutes if it is large.

    Exit 0: erased. 1: erased, but the file could not be written anew, or requests are still open."""
    if not yes and not typer.confirm("Their words leave every trace, conversation and case. Go on?"):
        die("nothing was erased")
    server = Server.find(data)
    server.timeout_s = LONG_S
    done = server.ask("POST", "/api/subjects/erasure", {"subject": who, "why": why})
    count = done["count"]
    if json:
        print_json(done)
    else:
        for name, told in PLACES.items():
            if count[name]:
                out.print(f"{count[name]:>8,}  {told}", markup=False)
        if not any(count[name] for name in PLACES):
            out.print("Nothing of this person is here.", markup=False)
        if count["open_traces"]:
            out.print(f"{count['open_traces']:,} requests are still open: erase again when they have ended.")
        if not done["rewritten"]:
            out.print("The database file could not be written anew (see the log): freed pages may still hold words.")
        out.print(f"audit reference {done['reference']}", markup=False)
    raise SystemExit(0 if done["rewritten"] and not count["open_traces"] else 1)
