"""`waterline cost report|forecast|plan|budgets`."""

import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from waterline.cli.budgets import budgets
from waterline.cli.building import built_or_die
from waterline.cli.client import Server, die, out, print_json
from waterline.control.costs import budgets_of
from waterline.core.app_spec import parse_spec
from waterline.core.cost_plan import Item, Plan, PlanError, Total, read_plan
from waterline.core.invoice import MAX_BYTES
from waterline.core.money import NANO, usd
from waterline.core.release import parse_release
from waterline.evals.declared import NotDeclared, declared_of
from waterline.evals.forecast import declared_month
from waterline.rollout.check import built_in_prices

app = typer.Typer(no_args_is_help=True)
app.command()(budgets)
Json = Annotated[bool, typer.Option("--json")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server.")]
LARGEST_PLAN = 1 << 20


@app.callback()
def _group() -> None:
    """What it costs, what it will cost, and what the part below the water costs."""


@app.command()
def report(
    name: Annotated[str, typer.Argument(metavar="[APP]", help="The app; all of them without it.")] = "",
    month: Annotated[str, typer.Option(help="YYYY-MM, in UTC; this month without it.")] = "",
    since: Annotated[str, typer.Option("--from", help="YYYY-MM-DD, UTC.")] = "",
    until: Annotated[str, typer.Option("--to", help="YYYY-MM-DD, UTC, this day included.")] = "",
    by: Annotated[str, typer.Option(help="model, route, release, key, branch or day")] = "model",
    invoice: Annotated[Path | None, typer.Option(help="A provider's invoice as CSV, to compare with.")] = None,
    provider: Annotated[str, typer.Option(help="Whose invoice it is, where the file does not tell.")] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """What was spent, from the traces; what has no price is shown as unpriced, never as zero.

    With --invoice: exit 1 if a line of it could not be read."""
    server = Server.find(data)
    if invoice is not None:
        body = {"invoice": _csv(invoice), "app": name, "provider": provider, "month": month, "since": since,
                "until": until}  # fmt: skip
        found = server.ask("POST", "/api/cost/reconciliation", body)
        print_json(found) if json else _print_reconciliation(found)
        raise SystemExit(1 if found["bad_count"] else 0)
    query = {"app": name, "by": by, "month": month, "from": since, "to": until}
    found = server.ask("GET", "/api/cost/report", **query)
    print_json(found) if json else _print_report(found)


@app.command()
def forecast(
    name: Annotated[str, typer.Argument(metavar="APP_DIR|APP", help="A folder: as declared. An app: from traces.")],
    route: Annotated[str, typer.Option(help="Of a folder: the route that answers.")] = "",
    json: Json = False,
    data: Data = None,
) -> None:
    """The month with an interval, and what moves it. Exit 2: inconclusive, there is too little traffic."""
    if (Path(name) / "app.toml").is_file():
        found = _declared(Path(name), route)
    elif "/" in name or Path(name).is_dir():
        die(f"{name} has no app.toml. Name an app folder, or an app of the running server")
    else:
        found = Server.find(data).ask("GET", "/api/cost/forecast", app=name)
    print_json(found) if json else _print_forecast(found)
    raise SystemExit(0 if found["forecast"]["month"] is not None else 2)


@app.command()
def plan(
    folder: Annotated[Path, typer.Argument(metavar="APP_DIR|PLAN.toml", help="A folder with plan.toml, or the plan.")],
    json: Json = False,
) -> None:
    """What running it costs besides the model calls, from declared rates; unknown is never 0.

    Of a folder the forecast of the model calls is in it."""
    file = folder / "plan.toml" if folder.is_dir() else folder
    try:
        if file.stat().st_size > LARGEST_PLAN:
            die(f"{file} is larger than {LARGEST_PLAN:,} bytes")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        die(f"cannot read {file}: {error}. How to write one: docs/reference/plan.md")
    try:
        priced = read_plan(text, _model_calls(folder) if (folder / "app.toml").is_file() else None)
    except PlanError as error:
        die("\n".join(f"{file}: {line}" for line in str(error).splitlines()))
    print_json(msgspec.to_builtins(priced)) if json else _print_plan(priced)


# --- before the pilot --------------------------------------------------------------------------------------------


def _declared(folder: Path, route: str) -> dict[str, Any]:
    built = built_or_die(folder)
    release, spec = parse_release(built.manifest), parse_spec(built.spec)
    try:
        declared = declared_of(release, spec, built_in_prices(spec.prices), int(time.time() * 1e6), route)
    except NotDeclared as error:
        die(f"{folder}: {error}")
    made = declared_month(declared, budgets_of(spec))
    per_million = {k: getattr(declared.price, k) / NANO for k in ("input", "cached_input", "output")}
    return {"app": built.app, "month": "", "forecast": msgspec.to_builtins(made), "usd_per_million": per_million,
            "price_version": declared.price.version}  # fmt: skip


def _model_calls(folder: Path) -> Item:
    built = built_or_die(folder)
    release, spec = parse_release(built.manifest), parse_spec(built.spec)
    try:
        declared = declared_of(release, spec, built_in_prices(spec.prices), int(time.time() * 1e6))
    except NotDeclared as error:
        return Item("model", "model calls", None, 0, "", "waterline cost forecast", str(error))
    month = declared_month(declared).month
    assert month is not None
    said = f"90 % between {month.low:,.2f} and {month.high:,.2f} USD"
    return Item("model", "model calls", round(month.value * NANO), 0, said, "waterline cost forecast")


def _csv(file: Path) -> str:
    """The invoice as text; what it says is read by the server. Exits with a clear sentence."""
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            die(f"{file} has {size:,} bytes; at most {MAX_BYTES:,} are read. Export one month, by day and model")
        raw = file.read_bytes()
    except OSError as error:
        die(f"cannot read {file}: {error.strerror}")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


# --- tables ------------------------------------------------------------------------------------------------------


def _row(table: Table, *cells: str) -> None:
    """What comes from outside is text, never markup."""
    table.add_row(*(escape(cell) for cell in cells))


def _print_report(found: dict[str, Any]) -> None:
    by = found["by"]
    head = f"{found['app'] or 'all apps'}, {found['since_day']} to before {found['until_day']} (UTC), by {by}"
    out.print(head, markup=False)
    for total in found["totals"]:
        rows = [r for r in found["rows"] if r["purpose"] == total["purpose"]]
        table = Table(
            *([] if by == "model" else [by]), "model", "requests", "tokens in", "cached", "written", "tokens out",
            "reasoning", "USD", "unpriced", "estimated", title=total["purpose"], title_justify="left",
        )  # fmt: skip
        for r in rows:
            what = [] if by == "model" else [r["what"][:16]]
            _row(table, *what, f"{r['provider']} {r['model']}", *_figures(r))
        table.add_section()
        _row(table, *([] if by == "model" else ["total"]), "total" if by == "model" else "", *_figures(total))
        out.print(table)
    if not found["totals"]:
        out.print("No call to a provider in this span.")
    if retried := sum(t["retried"] for t in found["totals"]):
        out.print(
            f"{retried:,} requests took more than one attempt: all of their cost is under the model that answered.",
            markup=False,
        )


def _figures(r: dict[str, Any]) -> tuple[str, ...]:
    u = r["usage"]
    cost = usd(r["cost_nano_usd"], 6)
    if r["unpriced"]:
        cost = "unpriced" if r["unpriced"] == r["requests"] else f"at least {cost}"
    estimated = f"{r['estimated']:,} ({usd(r['estimated_nano_usd'], 6)} USD)" if r["estimated"] else "0"
    return (
        f"{r['requests']:,}", f"{u['input'] + u['audio_input']:,}", f"{u['cached_input']:,}",
        f"{u['cache_write'] + u['cache_write_1h']:,}",
        f"{u['output'] + u['audio_output']:,}", f"{u['reasoning']:,}", cost, f"{r['unpriced']:,}", estimated,
    )  # fmt: skip


def _print_reconciliation(found: dict[str, Any]) -> None:
    whose = found["provider"] or "every provider that bills"
    out.print(
        f"{found['app'] or 'all apps'} against an invoice ({found['kind']}) of {whose}, {found['since_day']} to before "
        f"{found['until_day']} (UTC)", markup=False,
    )  # fmt: skip
    table = Table("model", "requests", "ours, USD", "invoice, USD", "error, USD", "error", "")
    for m in found["matches"]:
        _row(table, m["model"] or "(no model named)", *_matched(m))
    table.add_section()
    _row(table, "total", *_matched(found["total"]))
    out.print(table)
    notes = [
        (found["outside"], "lines of the invoice are of other days and left out"),
        (found["totals_ignored"], "lines that add up others are left out"),
        (found["retried"], "of our requests took more than one attempt: their cost is under the model that answered"),
    ]
    for count, said in notes:
        if count:
            out.print(f"{count:,} {said}.", markup=False)
    if found["not_billed"]:
        out.print(f"Not billed by a provider, left out: {', '.join(found['not_billed'])}.", markup=False)
    for bad in found["bad"]:
        out.print(f"line {bad['line']}: {bad['problem']}", markup=False)
    if found["bad_count"]:
        out.print(
            f"{found['bad_count']:,} line(s) of the invoice could not be read: its sum is without them.", markup=False
        )


def _matched(m: dict[str, Any]) -> tuple[str, ...]:
    def money(nano: int | None) -> str:
        return "none" if nano is None else usd(nano, 6)

    error = "" if m["error_nano_usd"] is None else f"{m['error_nano_usd'] / NANO:+,.6f}"
    share = "" if m["share"] is None else f"{m['share']:+.2%}"
    return f"{m['requests']:,}", money(m["ours_nano_usd"]), money(m["invoice_nano_usd"]), error, share, m["said"]


def _print_forecast(found: dict[str, Any]) -> None:
    made = found["forecast"]
    month = made["month"]
    when = found["month"] or "a month, as declared"
    if month is None:
        out.print(f"{found['app']}, {when}: INCONCLUSIVE: {made['notes'][0]}", markup=False)
        return
    out.print(
        f"{found['app']}, {when}: {month['value']:,.2f} USD, 90 % between {month['low']:,.2f} and {month['high']:,.2f}"
        + (f"; {made['spent_usd']:,.2f} spent so far" if made["basis"] == "traces" else ""),
        markup=False,
    )
    for note in made["notes"]:
        out.print(f"  {note}", markup=False)
    if found.get("turns") is not None:
        out.print(
            f"  {found['conversations']:,} live sessions, {found['turns']:.1f} turns and "
            f"{found['per_conversation_usd']:.6f} USD each", markup=False,
        )  # fmt: skip
    for odds in made["odds"]:
        out.print(
            f"  {odds['name']}: {odds['limit_usd']:,.2f} USD, passed with probability {odds['probability']:.0%}",
            markup=False,
        )
    if made["assumptions"]:
        table = Table("assumption", "value", "within (90 %)", "from")
        for a in made["assumptions"]:
            _row(table, a["name"], f"{a['value']:,.4g} {a['unit']}", f"{a['within']:.0%}", a["source"])
        out.print(table)
    table = Table("if it were", "lower", "USD", "higher", "USD", title="What moves it", title_justify="left")
    for e in made["effects"]:
        _row(table, e["name"], e["low"], f"{e['low_usd']:,.2f}", e["high"], f"{e['high_usd']:,.2f}")
    out.print(table)
    if made["effects"] and not any(e["name"] == "routing" for e in made["effects"]):
        out.print("  routing is not in it: there is no other, cheaper model with a price", markup=False)


def _print_plan(found: Plan) -> None:
    table = Table("kind", "what", "USD a month", "USD once", "how", "source")
    for i in found.items:
        how = "; ".join(part for part in (i.how, i.unknown) if part)
        _row(table, i.kind, i.name, _known(i.month_nano_usd), _known(i.once_nano_usd), how, i.source)
    table.add_section()
    _row(table, "total", "", _sum(found.month), _sum(found.once), "", "")
    _row(table, "first year", "", _sum(found.first_year), "", "twelve months and what is paid once", "")
    out.print(table)
    if found.first_year.unknown:
        out.print(f"{found.first_year.unknown} item(s) are unknown: no total is complete.", markup=False)


def _known(nano: int | None) -> str:
    return "unknown" if nano is None else usd(nano)


def _sum(total: Total) -> str:
    return f"at least {usd(total.nano_usd)}" if total.at_least else usd(total.nano_usd)
