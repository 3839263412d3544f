"""Views over the books: what was spent, whether the provider's invoice agrees, what the month will cost."""

import calendar
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec
from msgspec import Struct

from waterline.core.app_spec import AppSpec
from waterline.core.cost_model import with_cached_share
from waterline.core.errors import Refused
from waterline.core.invoice import Invoice, InvoiceError, Match, Ours, read_invoice, reconcile
from waterline.core.money import NANO, Price, Usage, add_usage, cost_nano_usd
from waterline.core.prices import DAY_US, FREE, PriceTable
from waterline.evals.declared import NotDeclared, declared_of
from waterline.evals.forecast import LONGEST_DAYS, Budgets, Day, Effect, Forecast, declared_month, from_days
from waterline.rollout.live import Live
from waterline.store import costs
from waterline.store.costs import BY, By, CostSum
from waterline.store.db import Tx

LIVE = "live"


class Totals(Struct, frozen=True):
    """`cost_nano_usd` leaves out `unpriced` requests, so with any of them it is "at least"."""

    purpose: str
    requests: int
    usage: Usage
    cost_nano_usd: int
    unpriced: int
    estimated: int
    estimated_nano_usd: int
    retried: int


class CostReport(Struct, frozen=True):
    """Days are UTC, `until_day` is not in it. Rows of purpose live first; totals by purpose, live first."""

    app: str
    by: By
    since_day: str
    until_day: str
    rows: list[CostSum]
    totals: list[Totals]


class Reconciliation(Struct, frozen=True):
    """Both sides by model; `total` compares their sums. Our side has every purpose: a trial's calls are billed too."""

    app: str
    provider: str
    since_day: str
    until_day: str
    kind: str
    matches: list[Match]
    total: Match
    lines: int
    outside: int  # lines of other days, left out
    empty: int
    totals_ignored: int
    bad: list[dict[str, str | int]]
    bad_count: int
    invoice_days: str
    retried: int
    not_billed: list[str]  # models of ours that no provider bills


def period(month: str, since: str, until: str, now_us: int) -> tuple[date, date]:
    """The first day, and the one after the last. Without anything: this month. Raises Refused."""
    if month and (since or until):
        raise Refused("Give a month or from and to, not both.", 400)
    if month:
        first = _day(f"{month}-01", "month", "YYYY-MM")
        return first, (first + timedelta(days=32)).replace(day=1)
    today = datetime.fromtimestamp(now_us / 1e6, UTC).date()
    begin = _day(since, "from") if since else today.replace(day=1)
    end = _day(until, "to") + timedelta(days=1) if until else max(today, begin) + timedelta(days=1)
    if begin >= end:
        raise Refused(f"from ({begin}) is after to ({until}).", 400)
    return begin, end


def _day(text: str, name: str, form: str = "YYYY-MM-DD") -> date:
    try:
        return date(*(int(p) for p in text.split("-", 2)))
    except (ValueError, TypeError, OverflowError):
        raise Refused(f"{name} is {text[:20]!r}; write {form}.", 400) from None


def _us(day: date) -> int:
    return calendar.timegm(day.timetuple()) * 1_000_000


def by_of(text: str) -> By:
    for by in BY:
        if by == text:
            return by
    raise Refused(f'by is "{text[:20]}"; it is one of {", ".join(BY)}.', 400)


# --- the report --------------------------------------------------------------------------------------------------


def report(tx: Tx, app: str | None, by: By, days: tuple[date, date]) -> CostReport:
    rows = costs.sums(tx, by, app, _us(days[0]), _us(days[1]))
    rows.sort(key=lambda r: (r.purpose != LIVE, r.purpose))
    if by == "day":
        rows = [_with_date(r) for r in rows]
        rows.sort(key=lambda r: (r.purpose != LIVE, r.purpose, r.what))
    purposes = list(dict.fromkeys([r.purpose for r in rows]))
    totals = [_totals(p, [r for r in rows if r.purpose == p]) for p in purposes]
    return CostReport(app or "", by, str(days[0]), str(days[1]), rows, totals)


def _with_date(row: CostSum) -> CostSum:
    return msgspec.structs.replace(row, what=(date(1970, 1, 1) + timedelta(days=int(row.what))).isoformat())


def _totals(purpose: str, rows: Sequence[CostSum]) -> Totals:
    usage = Usage()
    for row in rows:
        usage = add_usage(usage, row.usage)
    return Totals(
        purpose, sum(r.requests for r in rows), usage, sum(r.cost_nano_usd for r in rows),
        sum(r.unpriced for r in rows), sum(r.estimated for r in rows), sum(r.estimated_nano_usd for r in rows),
        sum(r.retried for r in rows),
    )  # fmt: skip


# --- the invoice -------------------------------------------------------------------------------------------------


def parsed(data: str) -> Invoice:
    try:
        return read_invoice(data.encode())
    except InvoiceError as error:
        raise Refused(f"The invoice cannot be read: {error}.", 400) from None


def span_of(invoice: Invoice) -> tuple[date, date] | None:
    """The days that the invoice is about, where it says them."""
    if not invoice.first_day:
        return None
    return date.fromisoformat(invoice.first_day), date.fromisoformat(invoice.last_day) + timedelta(days=1)


def reconciliation(
    tx: Tx, app: str | None, provider: str, invoice: Invoice, days: tuple[date, date]
) -> Reconciliation:  # fmt: skip
    """`provider` "": the one whose export it is; of a plain invoice every provider that bills."""
    whose = provider or (invoice.kind if invoice.kind != "plain" else "")
    sums = costs.sums(tx, "model", app, _us(days[0]), _us(days[1]))
    wanted = [s for s in sums if (not whose or s.provider == whose) and (s.provider not in FREE or s.provider == whose)]
    ours = [Ours(s.provider, s.model, s.requests, s.cost_nano_usd, s.unpriced, s.estimated) for s in wanted]
    first, after = str(days[0]), str(days[1])
    lines = [x for x in invoice.lines if not x.day or first <= x.day < after]
    matches, total = reconcile(ours, lines)
    return Reconciliation(
        app or "", whose, first, after, invoice.kind, matches, total, len(lines), len(invoice.lines) - len(lines),
        invoice.empty, invoice.totals, [{"line": b.line, "problem": b.problem} for b in invoice.bad],
        invoice.bad_count, f"{invoice.first_day}..{invoice.last_day}" if invoice.first_day else "",
        sum(s.retried for s in wanted),
        sorted({f"{s.provider} {s.model}" for s in sums if s.provider in FREE and s.provider != whose}),
    )  # fmt: skip


# --- the forecast ------------------------------------------------------------------------------------------------


class AppForecast(Struct, frozen=True):
    """`per_conversation_usd` and `turns`: of live sessions, None where callers name none."""

    app: str
    month: str
    forecast: Forecast
    unpriced: int
    conversations: int
    turns: float | None
    per_conversation_usd: float | None


def budgets_of(spec: AppSpec) -> Budgets:
    named = [
        ("limit (usd_per_month of [limits])", spec.limits.nano_usd_per_month),
        ("objective (usd_per_month of [objectives])", spec.objectives.nano_usd_per_month),
    ]
    return [(name, limit / NANO) for name, limit in named if limit is not None]


def declared_forecast(spec: AppSpec, prices: PriceTable, live: Live, now_us: int) -> Forecast | str:
    """Of the heaviest live release. A text: what is missing, and where to write it."""
    shares = [share for env in live.environments(spec.name).values() for share in env]
    release = live.release(max(shares, key=lambda s: s.weight_bp).release) if shares else None
    if release is None:
        return f"nothing of {spec.name} is live"
    try:
        return declared_month(declared_of(release, spec, prices, now_us), budgets_of(spec))
    except NotDeclared as error:
        return str(error)


def app_forecast(tx: Tx, spec: AppSpec, prices: PriceTable, now_us: int) -> AppForecast:
    """The month of `now_us` (UTC) from the live traffic of whole days before today."""
    rows = [r for r in costs.sums(tx, "day", spec.name, seen_from(now_us), now_us) if r.purpose == LIVE]
    spent: dict[int, int] = {}
    for r in rows:
        spent[int(r.what)] = spent.get(int(r.what), 0) + r.cost_nano_usd
    found = from_spent(spent, now_us, budgets_of(spec), _effects(rows, prices, now_us))
    unpriced = sum(r.unpriced for r in rows)
    if unpriced:
        found.notes.append(f"at least: {unpriced:,} requests have no price and are not in it")
    sessions, requests = costs.conversations(tx, spec.name, seen_from(now_us), now_us)
    all_requests = sum(r.requests for r in rows)
    turns = requests / sessions if sessions else None
    each = None
    if turns is not None and all_requests:
        each = sum(r.cost_nano_usd for r in rows) / NANO / all_requests * turns
    month = f"{datetime.fromtimestamp(now_us / 1e6, UTC):%Y-%m}"
    return AppForecast(spec.name, month, found, unpriced, sessions, turns, each)


def seen_from(now_us: int) -> int:
    """Where the days begin that a forecast looks at."""
    return min(now_us // DAY_US - LONGEST_DAYS, _month_first(now_us)) * DAY_US


def _month_first(now_us: int) -> int:
    return _us(datetime.fromtimestamp(now_us / 1e6, UTC).date().replace(day=1)) // DAY_US


def from_spent(
    spent: Mapping[int, int], now_us: int, budgets: Budgets, effects: Callable[[float], list[Effect]] = lambda usd: []
) -> Forecast:
    """`spent`: day since the epoch -> nano-USD, today's so far included. The month of `now_us`, in UTC."""
    today, month_first = now_us // DAY_US, _month_first(now_us)
    now = time.gmtime(now_us / 1e6)
    length = calendar.monthrange(now.tm_year, now.tm_mon)[1]
    first = max(min(spent, default=today), today - LONGEST_DAYS)
    days = [Day(d, spent.get(d, 0) / NANO) for d in range(first, today)]
    rest_of_today = 1.0 - (now_us - today * DAY_US) / DAY_US
    left = [(today, rest_of_today), *((d, 1.0) for d in range(today + 1, month_first + length))]
    so_far = sum(usd for d, usd in spent.items() if d >= month_first) / NANO
    return from_days(days, left, so_far, budgets, effects)


def _effects(rows: Sequence[CostSum], prices: PriceTable, now_us: int) -> Callable[[float], list[Effect]]:
    """The tornado of a month that costs so much, from how the bill of `rows` changes."""
    models: dict[tuple[str, str], Usage] = {}
    for r in rows:
        if r.unpriced < r.requests:
            key = (r.provider, r.model)
            models[key] = add_usage(models.get(key, Usage()), r.usage)
    known = {key: price for key in models if (price := prices.find(*key, now_us)) is not None}

    def bill(cached: float | None = None) -> int:
        return sum(
            cost_nano_usd(u if cached is None else with_cached_share(u, cached), known[key])
            for key, u in models.items()
            if key in known
        )

    def effects(month: float) -> list[Effect]:
        found = [
            Effect("price", "-20 %", month * 0.8, "+20 %", month * 1.2),
            # Later turns carry the longer history, so turns weigh at least in proportion.
            Effect("turns a conversation", "-25 %", month * 0.75, "+25 % (at least)", month * 1.25),
            Effect("conversations", "-25 %", month * 0.75, "+25 %", month * 1.25),
        ]
        base = bill()
        if base <= 0:
            return found
        read = sum(u.input + u.cached_input for u in models.values())
        share = sum(u.cached_input for u in models.values()) / read if read else 0.0
        low, high = max(0.0, share - 0.2), min(1.0, share + 0.2)
        found.append(
            Effect(
                "cache hit rate", f"{low:.0%}", month * bill(low) / base, f"{high:.0%} (now {share:.0%})",
                month * bill(high) / base,
            )
        )  # fmt: skip
        if routed := _routing(models, known, base, month):
            found.append(routed)
        return found

    return effects


def _routing(
    models: dict[tuple[str, str], Usage], known: dict[tuple[str, str], Price], base: int, month: float
) -> Effect | None:
    """A fifth of the dearest model's work given to the cheapest in use, or the other way. None: only one is in use."""
    costs_of = {key: cost_nano_usd(models[key], known[key]) for key in known}
    if len(costs_of) < 2:
        return None
    per_token = {k: costs_of[k] / max(1, models[k].total_input + models[k].total_output) for k in costs_of}
    dear, cheap = max(per_token, key=lambda k: per_token[k]), min(per_token, key=lambda k: per_token[k])
    moved = 0.2 * (costs_of[dear] - cost_nano_usd(models[dear], known[cheap]))
    back = 0.2 * (cost_nano_usd(models[cheap], known[dear]) - costs_of[cheap])
    return Effect(
        "routing", f"a fifth of {dear[1]} to {cheap[1]}", month * (1 - moved / base),
        f"a fifth of {cheap[1]} to {dear[1]}", month * (1 + back / base),
    )  # fmt: skip
