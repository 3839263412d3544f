"""Channels as people see them: how the numbers are, which templates are approved, what messages cost."""

from collections.abc import Callable

from msgspec import Struct

from waterline.control.costs import from_spent, seen_from
from waterline.core.app_spec import AppSpec
from waterline.core.channel_prices import month_of
from waterline.core.channels import WhatsAppPolicy
from waterline.core.money import NANO
from waterline.evals.forecast import Forecast
from waterline.store import channels as rows
from waterline.store.channels import EventRow, NumberRow, TemplateRow
from waterline.store.db import Tx

MOST_EVENTS = 60
CALM = ("", "GREEN", "UNKNOWN", "NA")


class Pace(Struct, frozen=True):
    """Messages a second: as WhatsApp allows, and as we send now."""

    most: float
    now: float
    waiting: int = 0


class LineState(Struct, frozen=True):
    """What only the process that sends knows. `limit`: users a day with whom the portfolio may begin; 0: unlimited, or
    not known yet. `begun`: of them, by "app/branch". `mailbox`: why it cannot be read."""

    whatsapp: bool = False
    paces: dict[str, Pace] = {}
    limit: int = 0
    begun: dict[str, int] = {}
    mailbox: str = ""


class NumberView(Struct, frozen=True):
    """`state`: stopped, paused, careful (a falling rating), slow, well, unknown (WhatsApp has not said anything of it).
    `stands_in`: the number that sends its templates while it is in trouble."""

    number: str
    branch: str
    state: str
    display: str
    name: str
    quality: str
    status: str
    tier: str
    stopped: str
    paused_until_us: int
    updated_us: int
    pace: Pace | None
    stands_in: str


class ChannelsView(Struct, frozen=True):
    """Numbers in trouble first. `begun_here`: users with whom this app's branches began in 24 hours."""

    app: str
    now: LineState
    begun: int
    begun_here: dict[str, int]
    numbers: list[NumberView]
    templates: list[TemplateRow]
    events: list[EventRow]
    addresses: dict[str, int]  # channel -> how many addresses the app's branches have


class BranchFees(Struct, frozen=True):
    """Nano-USD. `expected`: reserved when the messages left; `billed`: what the statuses said since."""

    branch: str
    messages: int
    people: int
    spent_nano_usd: int
    expected_nano_usd: int
    billed_nano_usd: int
    unconfirmed: int
    different: int
    unpriced: int


class FeesView(Struct, frozen=True):
    """A month (UTC) of what the channels bill. Limits in nano-USD, None: none. `forecast`: of the running one."""

    app: str
    month: str
    spent_nano_usd: int
    limit_nano_usd: int | None
    branch_limit_nano_usd: int | None
    branches: list[BranchFees]
    kinds: list[BranchFees]  # the same by category of message; `branch` is the category, `people` 0
    days: list[tuple[int, int, int]]  # day since the epoch, messages, nano-USD: of this month
    forecast: Forecast | None


def channels_view(tx: Tx, spec: AppSpec, others: Callable[[str], bool], now: LineState, now_us: int) -> ChannelsView:
    """`others`: whether a number is another app's."""
    policy = spec.channels.whatsapp or WhatsAppPolicy()
    known = {row.number: row for row in rows.numbers(tx)}
    owner = {n: branch.id for branch in spec.branches for n in branch.addresses.get("whatsapp", ())}
    reserves = {n: "" for n in policy.reserve.values() if n not in owner}
    shown = [
        _number(known.get(n, NumberRow(n)), branch, now.paces.get(n), policy.reserve.get(n, ""), now_us)
        for n, branch in (owner | reserves).items()
    ]
    order = ("stopped", "paused", "careful", "slow", "unknown", "well")
    shown.sort(key=lambda n: (order.index(n.state), n.quality != "RED", n.branch, n.number))
    mine = owner.keys() | reserves.keys()
    events = [e for e in rows.events(tx, 10 * MOST_EVENTS) if e.address in mine or not others(e.address)]
    here = {b: n for who, n in now.begun.items() for app, _, b in [who.partition("/")] if app == spec.name}
    addresses: dict[str, int] = {}
    for branch in spec.branches:
        for kind, found in branch.addresses.items():
            addresses[kind] = addresses.get(kind, 0) + len(found)
    templates = rows.templates(tx) if mine else []
    return ChannelsView(
        spec.name, now, sum(now.begun.values()), here, shown, templates, events[:MOST_EVENTS], addresses
    )


def _number(row: NumberRow, branch: str, pace: Pace | None, stands_in: str, now_us: int) -> NumberView:
    if row.stopped:
        state = "stopped"
    elif row.paused_until_us > now_us:
        state = "paused"
    elif row.quality not in CALM:
        state = "careful"
    elif pace is not None and pace.now < pace.most:
        state = "slow"
    else:
        state = "well" if row.status else "unknown"
    return NumberView(
        row.number, branch, state, row.display, row.name, row.quality, row.status, row.tier, row.stopped,
        row.paused_until_us, row.updated_us, pace, stands_in,
    )  # fmt: skip


def fees_view(tx: Tx, spec: AppSpec, month: str, now_us: int) -> FeesView:
    policy = spec.channels.whatsapp or WhatsAppPolicy()
    found, people = rows.report(tx, spec.name, month), rows.people(tx, spec.name, month)
    by_branch, by_kind = _grouped(found, lambda r: r.branch), _grouped(found, lambda r: r.category)
    branches = [_added(branch, of_it, people.get(branch, 0)) for branch, of_it in by_branch.items()]
    kinds = [_added(kind, of_it, 0) for kind, of_it in by_kind.items()]
    branches.sort(key=lambda b: (-b.spent_nano_usd, -b.messages, b.branch))
    days = rows.fees_by_day(tx, spec.name, seen_from(now_us))
    forecast = None
    if month == month_of(now_us):
        limit = policy.nano_usd_per_month
        budgets = [("usd_per_month of [channels.whatsapp]", limit / NANO)] if limit is not None else []
        forecast = from_spent({day: nano for day, _, nano in days}, now_us, budgets)
    return FeesView(
        spec.name, month, sum(b.spent_nano_usd for b in branches), policy.nano_usd_per_month,
        policy.nano_usd_per_branch_month, branches, kinds,
        [d for d in days if month_of(d[0] * 86_400_000_000) == month], forecast,
    )  # fmt: skip


def _grouped(found: list[rows.FeeReport], by: Callable[[rows.FeeReport], str]) -> dict[str, list[rows.FeeReport]]:
    groups: dict[str, list[rows.FeeReport]] = {}
    for row in found:
        groups.setdefault(by(row), []).append(row)
    return groups


def _added(name: str, found: list[rows.FeeReport], people: int) -> BranchFees:
    return BranchFees(
        name, sum(r.messages for r in found), people, sum(r.spent_nano_usd for r in found),
        sum(r.expected_nano_usd for r in found), sum(r.billed_nano_usd for r in found),
        sum(r.unconfirmed for r in found), sum(r.different for r in found), sum(r.unpriced for r in found),
    )  # fmt: skip
