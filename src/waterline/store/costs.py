"""Sums of cost over traces: by what, purpose, provider and model, kept by day as traces come to their outcome. SQL:
sql/cost.sql."""

from collections.abc import Iterable
from operator import add as plus
from typing import Literal

from msgspec import Struct

from waterline.core.money import Usage
from waterline.core.trace import TraceRow
from waterline.store.db import Row, Tx

By = Literal["model", "route", "release", "key", "branch", "day"]
DAY_US = 86_400_000_000
TWO_YEARS_US = 731 * DAY_US
NEWEST = 50_000  # requests
SUMMED = (
    "requests", "input", "cached_input", "cache_write", "cache_write_1h", "output", "reasoning", "audio_input",
    "audio_output", "cost_nano_usd", "unpriced", "estimated", "estimated_nano_usd", "retried",
)  # fmt: skip
DIMENSIONS = ("app", "day", "purpose", "provider", "model", "route", "release", "key_id", "branch")
BY: tuple[By, ...] = ("model", "route", "release", "key", "branch", "day")


class CostSum(Struct, frozen=True):
    """`what`: a route, a release, a key's id, a branch, or the number of a day since 1970-01-01 UTC; "" by model.

    `cost_nano_usd` leaves out `unpriced` requests; `estimated` ones (an aborted stream, a provider that reported
    nothing) are in it, with what they cost. `retried` had more than one attempt: their whole cost is under the model
    that answered."""

    purpose: str
    provider: str
    model: str
    what: str
    requests: int
    usage: Usage
    cost_nano_usd: int
    unpriced: int
    estimated: int
    estimated_nano_usd: int
    retried: int


def sums(tx: Tx, by: By, app: str | None, since_us: int | None, until_us: int | None) -> list[CostSum]:
    """Of calls that went to a provider, by whole days (UTC): that of `since_us` included, so is the one that `until_us`
    is in, but not a day that begins with it."""
    since_day = None if since_us is None else since_us // DAY_US
    until_day = None if until_us is None else -(-until_us // DAY_US)
    rows = tx.all("cost.sums", by=by, app=app, since_day=since_day, until_day=until_day)
    return [
        CostSum(
            r["purpose"], r["provider"], r["model"], r["what"], r["requests"],
            Usage(
                r["input"], r["cached_input"], r["cache_write"], r["output"], r["reasoning"], r["audio_input"],
                r["audio_output"], bool(r["estimated"]), r["cache_write_1h"],
            ),
            r["cost_nano_usd"], r["unpriced"], r["estimated"], r["estimated_nano_usd"], r["retried"],
        )
        for r in rows
    ]  # fmt: skip


def by_route(tx: Tx, app: str | None, since_us: int) -> list[Row]:
    """By app, route, provider and model, the dearest first. Traces that were swept stay in the sums of whole days."""
    day = -(-since_us // DAY_US)
    return tx.all("cost.by_route", app=app, since_us=since_us, whole_from_day=day, whole_from_us=day * DAY_US)


def conversations(tx: Tx, app: str, since_us: int, until_us: int) -> tuple[int, int]:
    """Live sessions, and the requests in them (those that named a session), of the newest requests of a span."""
    found = tx.one("cost.conversations", app=app, since_us=since_us, until_us=until_us, most=NEWEST)
    return (0, 0) if found is None else (found["sessions"], found["requests"])


def add(tx: Tx, rows: Iterable[TraceRow], largest: int) -> None:
    """Of traces that came to their outcome, in the transaction that stores it. A cost is at most `largest`."""
    found: dict[tuple[str | int, ...], list[int]] = {}
    for row in rows:
        if row.attempts <= 0:
            continue
        usage, cost, rough = row.usage, min(row.cost_nano_usd or 0, largest), int(row.usage.estimated)
        at = (
            row.app, row.started_us // DAY_US, row.purpose, row.provider, row.model, row.route, row.release, row.key,
            row.branch,
        )  # fmt: skip
        new = (
            1, usage.input, usage.cached_input, usage.cache_write, usage.cache_write_1h, usage.output, usage.reasoning,
            usage.audio_input, usage.audio_output, cost, int(row.cost_nano_usd is None), rough, cost if rough else 0,
            int(row.attempts > 1),
        )  # fmt: skip
        sums = found.get(at)
        found[at] = list(new) if sums is None else list(map(plus, sums, new))
    tx.many(
        "cost.add",
        [dict(zip((*DIMENSIONS, *SUMMED), (*at, *sums), strict=True)) for at, sums in found.items()],
    )


def sweep(tx: Tx, app: str, before_us: int) -> None:
    """Forgets days that ended two years before the oldest trace that is kept."""
    tx.run("cost.delete", app=app, before_day=(before_us - TWO_YEARS_US) // DAY_US)
