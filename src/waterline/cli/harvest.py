"""`waterline harvest APP`: candidates for cases, from what people really asked."""

from pathlib import Path
from typing import Annotated

import typer

from waterline.cli.client import Server, die, out, print_json
from waterline.cli.times import since

LONG_S = 600.0


def harvest(
    name: Annotated[str, typer.Argument(metavar="APP")],
    by: Annotated[
        list[str], typer.Option("--by", help="feedback, score, failure, far, random or filter; may be repeated.")
    ],
    basis: Annotated[
        str, typer.Option("--basis", help="Why the words may be kept: consent, contract, legitimate_interest ...")
    ] = "",
    to: Annotated[str, typer.Option("--set", help="The case set that they are for.")] = "main",
    release: Annotated[str, typer.Option("--release")] = "",
    route: Annotated[str, typer.Option("--route")] = "",
    tag: Annotated[str, typer.Option("--tag")] = "",
    search: Annotated[str, typer.Option("--search", help="Words of the (redacted) text.")] = "",
    last: Annotated[str, typer.Option("--since", help="As 24h.")] = "",
    below: Annotated[float, typer.Option("--below", help="With score: what is low.")] = 0.5,
    score: Annotated[list[str] | None, typer.Option("--score", help="With score: which one; else all.")] = None,
    share: Annotated[float, typer.Option("--share", help="With random: 0.01 is one in a hundred.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed")] = 1,
    far_below: Annotated[
        float | None, typer.Option("--far-below", help="With far: no case is nearer than this; else 0.6.")
    ] = None,
    look_at: Annotated[int, typer.Option("--look-at", help="The newest so many traces that fit.")] = 5000,
    most: Annotated[int, typer.Option("--most", help="Candidates at most.")] = 200,
    keep_originals: Annotated[
        bool, typer.Option("--keep-originals", help="Do not take e-mail addresses and numbers out. It is audited.")
    ] = False,
    json: Annotated[bool, typer.Option("--json")] = False,
    data: Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")] = None,
) -> None:
    """Look at live traces and put what is worth a case into the review queue; a person decides there.

    E-mail addresses and long numbers are taken out first. Names of people are not: whoever reviews it does that."""
    if not by:
        die("Say how to find cases: --by failure --by feedback ...", 3)
    server = Server.find(data)
    server.timeout_s = LONG_S
    body = {
        "by": by, "basis": basis, "set": to, "release": release, "route": route, "tag": tag, "text": search,
        "since_us": since(last) or None, "below": below, "scores": score or [], "share": share, "seed": seed,
        "far_below": far_below, "look_at": look_at, "most": most, "redact": not keep_originals,
    }  # fmt: skip
    done = server.ask("POST", f"/api/apps/{name}/harvest", body)
    if json:
        print_json(done)
        return
    out.print(f"{done['looked_at']:,} traces looked at, {done['left']:,} that fit were not (--look-at)", markup=False)
    ways = ", ".join(f"{way} {n:,}" for way, n in done["found"].items())
    out.print(f"{done['made']:,} candidates{f': {ways}' if ways else ''}", markup=False)
    for count, told in (
        ("not_wanted", "were not found in any of these ways"),
        ("known", "were candidates before"),
        ("like_a_case", "are like a case of the set"),
        ("like_another", "are like another candidate"),
        ("too_many", "more would be candidates (--most)"),
        ("no_text", "have no text: it was not kept, or its time is over"),
    ):
        if done[count]:
            out.print(f"  {done[count]:,} {told}", markup=False)
    for reason, n in done["no_case"].items():
        out.print(f"  {n:,} make no case: {reason}", markup=False)
    if done["redacted"]:
        out.print(f"  something was taken out of {done['redacted']:,}; names of people stay in", markup=False)
    if not done["by_meaning"]:
        out.print(
            'likeness is of what is written, not of what is meant: pip install "waterline[semantic]"', markup=False
        )
    out.print(f"review them: {server.url}/review?app={name}&set={to}", markup=False)
