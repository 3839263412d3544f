"""Sums of cost over traces: by what, purpose, provider and model. SQL: sql/cost.sql."""

from typing import Literal

from msgspec import Struct

from waterline.core.money import Usage
from waterline.store.db import Tx

By = Literal["model", "route", "release", "key", "branch", "day"]
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
    """Of calls that went to a provider. `since_us` included, `until_us` not."""
    rows = tx.all("cost.sums", by=by, app=app, since_us=since_us, until_us=until_us)
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


def conversations(tx: Tx, app: str, since_us: int, until_us: int) -> tuple[int, int]:
    """Live sessions, and the requests in them (those that named a session)."""
    found = tx.one("cost.conversations", app=app, since_us=since_us, until_us=until_us)
    return (0, 0) if found is None else (found["sessions"], found["requests"])
