"""`waterline cases check|split`: the same question on both sides, and sides on which nothing leaks."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from waterline.cli.building import built_or_die
from waterline.cli.cases import Data, Json, app, load_set, place_of, send_cases
from waterline.cli.client import Server, die, err, out, print_json

SHOWN = 20


@app.command()
def check(
    target: Annotated[str, typer.Argument(metavar="APP_DIR|APP")],
    wanted: Annotated[str, typer.Argument(metavar="[SET[@VERSION]]", help="With APP: which set.")] = "",
    release: Annotated[str, typer.Option("--release", help="With APP: whose prompts; else the newest.")] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Find questions that are on both sides, in whatever words, and cases whose words are in a prompt.

    Exit 0: none. 1: there are some. 3: could not look. All cases are compared with all: 100,000 take minutes."""
    import msgspec

    from waterline.core.release import parse_release
    from waterline.evals.cases import load_cases
    from waterline.evals.leaks import find
    from waterline.evals.near import embedder

    here = Path(target)
    if here.is_dir():
        prompts = parse_release(built_or_die(here).manifest).prompts
        cases: Any = load_cases(here / "cases")
    else:
        server = Server.find(data)
        if not wanted:
            die(f"Name the set: waterline cases list {target} shows them.", 3)
        cases, _ = load_set(server, target, wanted, "")
        prompts = _prompts(server, target, release)
    found = find(cases, {name: prompt.text for name, prompt in prompts.items()}, embedder())
    if json:
        print_json(msgspec.to_builtins(found))
    else:
        out.print(f"{found.cases:,} cases: {found.tuning:,} tuning, {found.held_out:,} held out", markup=False)
        for one in found.crossings[:SHOWN]:
            out.print(f"on both sides: {_ids(one.tuning)} | {_ids(one.held_out)}: {one.asked[:100]}", markup=False)
        for quote in found.quoted[:SHOWN]:
            out.print(f"in the prompt {quote.prompt}, word for word: {quote.case}", markup=False)
        for rows, name in ((found.crossings, "questions on both sides"), (found.quoted, "cases in prompts")):
            out.print(f"{len(rows):,} {name}{f', {SHOWN} shown (--json has all)' if len(rows) > SHOWN else ''}")
        if not found.by_meaning:
            out.print('other wordings were not looked for: pip install "waterline[semantic]"', markup=False)
    raise SystemExit(1 if found.crossings or found.quoted else 0)


@app.command()
def split(
    name: Annotated[str, typer.Argument(metavar="APP")],
    wanted: Annotated[str, typer.Argument(metavar="SET")],
    share: Annotated[float, typer.Option("--held-out", min=0, max=1, help="Of the questions without a side.")] = 0.5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change.")] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """Give every case a side, all that ask the same the same one: a new version of the set.

    A question that is on both sides goes to tuning: what tuning has seen is never held out."""
    from collections import Counter

    from waterline.evals.leaks import assigned
    from waterline.evals.near import embedder

    server = Server.find(data)
    cases, told = load_set(server, name, wanted, "")
    changed = assigned(cases, embedder(), share)
    sides = Counter(case.split for case in changed)
    made = None
    if changed and not dry_run:
        place, _ = place_of(name, wanted)
        made = send_cases(server, place, changed, "sides on which nothing leaks")
    if json:
        print_json({"of": told, "changed": dict(sides), "version": made})
        return
    to = ", ".join(f"{n:,} to {side}" for side, n in sides.items()) or "nothing changes"
    out.print(f"{told}: {to}", markup=False)
    if made is not None:
        out.print(f"{wanted}@{made['version']}  {made['digest']}", markup=False)


def warn_of_prompts(cases: Any, manifests: list[bytes]) -> None:
    """An evaluation says so when a release has the questions in its prompts."""
    from waterline.core.release import parse_release
    from waterline.evals.leaks import quoted

    for manifest in manifests:
        release = parse_release(manifest)
        found = quoted(cases, {name: prompt.text for name, prompt in release.prompts.items()})
        if found:
            ids = sorted({one.case for one in found})
            err.print(
                f"warning: {len(ids)} of the cases are in the prompts of the release, word for word, and say little "
                f"of it: {escape(_ids(tuple(ids)))}", soft_wrap=True,
            )  # fmt: skip


def _prompts(server: Server, app: str, release: str) -> Any:
    from waterline.core.release import parse_release

    rows = server.ask("GET", "/api/releases", app=app)
    if not rows:
        return {}
    stored = server.ask("GET", f"/api/releases/{release or rows[0]['id']}/stored")
    return parse_release(stored["manifest"].encode()).prompts


def _ids(ids: tuple[str, ...]) -> str:
    return f"{', '.join(ids[:3])}{f' and {len(ids) - 3:,} more' if len(ids) > 3 else ''}"
