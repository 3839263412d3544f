"""`waterline traces list|show|search|tail` and `waterline replay`."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from waterline.cli.client import Server, out, print_json
from waterline.cli.times import ms, since, when
from waterline.core.ids import short
from waterline.core.money import usd
from waterline.providers.base import ProviderFault
from waterline.providers.openai_wire import OpenAIStream

app = typer.Typer(no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]
App = Annotated[str, typer.Option("--app")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000)]


@app.command("list")
def list_(
    name: App = "",
    outcome: Annotated[str, typer.Option(help="answered, refused, failed, cancelled, interrupted")] = "",
    release: Annotated[str, typer.Option(help="Its id, or the first digits.")] = "",
    session: Annotated[str, typer.Option()] = "",
    last: Annotated[str, typer.Option("--since", help="As 24h.")] = "",
    limit: Limit = 20,
    json: Json = False,
    data: Data = None,
) -> None:
    """The newest traces."""
    page = Server.find(data).ask(
        "GET",
        "/api/traces",
        app=name,
        outcome=outcome,
        release=release,
        session=session,
        since=since(last),
        limit=limit,
    )
    _print(page["rows"], json)


@app.command()
def search(words: str, name: App = "", limit: Limit = 20, json: Json = False, data: Data = None) -> None:
    """Traces whose (redacted) text has these words."""
    _print(Server.find(data).ask("GET", "/api/traces", app=name, q=words, limit=limit)["rows"], json)


@app.command()
def show(trace: str, json: Json = False, data: Data = None) -> None:
    """One trace: its events, what it cost, what was asked and answered."""
    found = Server.find(data).ask("GET", f"/api/traces/{trace}")
    if json:
        print_json(found)
        return
    row = found["row"]
    cost = "unpriced" if row["cost_nano_usd"] is None else f"{usd(row['cost_nano_usd'], 6)} USD"
    out.print(f"{row['id']}  {row['app']}/{row['env']}  {row['outcome']} {row['code']}  {cost}", markup=False)
    out.print(f"release {short(row['release'])}  route {row['route']}  model {row['model']}", markup=False)
    for event in found["events"]:
        rest = {k: v for k, v in event.items() if k not in ("type", "offset_us")}
        line = f"{event['offset_us'] / 1000:>10.1f} ms  {event['type']:<10} {in_words(rest)}"
        out.print(line, markup=False, soft_wrap=True, highlight=False)
    for name in ("request", "answer"):
        if found.get(name):
            out.print(f"--- {name}", markup=False)
            out.print(said(found[name]), markup=False, soft_wrap=True)


@app.command()
def tail(name: App = "", data: Data = None) -> None:
    """Follow new traces until Ctrl-C."""
    server = Server.find(data)
    seen: dict[str, None] = {}
    start = int(time.time() * 1e6)
    while True:
        rows = server.ask("GET", "/api/traces", app=name, since=start - 60_000_000, limit=200)["rows"]
        for row in reversed(rows):
            if row["id"] not in seen and row["started_us"] >= start:
                seen[row["id"]] = None
                out.print(_line(row), markup=False)
        for old in list(seen)[:-5000]:
            del seen[old]
        time.sleep(0.5)


def replay(
    trace: str,
    release: Annotated[str, typer.Option("--release", help="Another release, to see what would change.")] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """Render the upstream request again and compare, byte for byte; on a reproducible route the answer too.

    Exit 0: the same. 1: different. 3: NOT REPLAYABLE, with the reason."""
    found = Server.find(data).ask("POST", f"/api/traces/{trace}/replay", {"release": release})
    if json:
        print_json(found)
    else:
        if found["not_replayable"]:
            out.print(found["not_replayable"], markup=False)
        for attempt in found["attempts"]:
            word = "byte-identical" if attempt["same"] else "DIFFERENT"
            out.print(
                f"attempt {attempt['number']} on route {attempt['route']} ({attempt['model']}): request {word} "
                f"({attempt['bytes']} bytes, digest {attempt['digest'][:12]}, sealed {attempt['sealed_digest'][:12]})",
                markup=False,
            )
        out.print(found["answer"], markup=False)
    raise SystemExit(3 if found["not_replayable"] else 0 if found["same"] else 1)


def in_words(values: dict[str, Any]) -> str:
    """What an event holds, on one line; what is empty or none is left out, what has no price is not."""
    told = []
    for name, value in values.items():
        word = name.removesuffix("_nano_usd").removesuffix("_us").replace("_", " ")
        if name.endswith("_nano_usd"):
            told.append(f"{word} unpriced" if value is None else f"{word} {usd(value, 6)} USD")
        elif isinstance(value, dict):
            told.append(f"{word} ({in_words(value)})")
        elif value is True:
            told.append(word)
        elif value:
            told.append(f"{word} {ms(value)}" if name.endswith("_us") else f"{word} {value}")
    return ", ".join(told)


def said(body: str) -> str:
    """A streamed answer as the text that it makes; any other body as it is (--json has the bytes)."""
    if not body.startswith("data: "):
        return body
    reader = OpenAIStream(forward_usage=True)
    try:
        reader.feed(body.encode())
    except ProviderFault as fault:
        return f"{''.join(reader.text)}\n[the stream ended with an error: {fault.message}]"
    return "".join(reader.text) or body


def _print(rows: list[dict[str, Any]], json: bool) -> None:
    if json:
        print_json(rows)
        return
    table = Table("trace", "when", "app", "release", "route", "outcome", "time", "tokens in+out", "USD")
    for r in rows:
        tokens = f"{r['tokens_in']}+{r['tokens_out']}"
        state = f"{r['outcome']} {r['code']}".strip()
        cells = (r["id"], when(r["started_us"]), r["app"], short(r["release"]), r["route"], state)
        table.add_row(*cells, ms(r["duration_us"]), tokens, usd(r["cost_nano_usd"], 6))
    out.print(table)


def _line(r: dict[str, Any]) -> str:
    state = f"{r['outcome']} {r['code']}".strip()
    return (
        f"{when(r['started_us'])}  {r['id']}  {r['app']:<12} {r['route']:<10} {state:<24} "
        f"{ms(r['duration_us']):>10}  {usd(r['cost_nano_usd'], 6)}"
    )
