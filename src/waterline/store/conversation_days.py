"""The funnel and what conversations cost: days that are over are read from sums kept by day, the rest from the rows.

Sums are written in the transaction that writes what they sum.
Times are Unix microseconds; a day begins at 00:00 UTC."""

from collections import defaultdict
from typing import Any

from msgspec import Struct

from waterline.store.db import Tx

DAY_US = 86_400_000_000
STAGE = "stage."
# Of models: calls, their cost, those without a price. Of the channel: messages, their fees, those without a price.
NOTHING_SPENT = dict.fromkeys(
    ("calls", "cost_nano_usd", "unpriced", "messages", "fees_nano_usd", "unpriced_messages"), 0
)


class FunnelRow(Struct, frozen=True):
    """Of the conversations of a branch that began in a span: how many came to a stage, and how long that took."""

    branch: str
    stage: str
    conversations: int
    first_us: int
    after_us: int  # the sum of all


class Sum(Struct):
    n: int = 0
    amount: int = 0
    unpriced: int = 0
    first_us: int = 0

    def add(self, n: int, amount: int, unpriced: int, first_us: int) -> None:
        self.n, self.amount, self.unpriced = self.n + n, self.amount + amount, self.unpriced + unpriced
        self.first_us = min(self.first_us or first_us, first_us or self.first_us)


def add(
    tx: Tx, app: str, env: str, branch: str, at_us: int, name: str, n: int = 1, amount: int = 0, unpriced: int = 0,
    first_us: int = 0,
) -> None:  # fmt: skip
    """To the day of `at_us`; with negative figures, what was added is taken back."""
    tx.run(
        "conversation_days.add", app=app, env=env, branch=branch, day=at_us - at_us % DAY_US, name=name, n=n,
        amount=amount, unpriced=unpriced, first_us=first_us,
    )  # fmt: skip


class Asked(Struct, frozen=True):
    """Whose figures, of which span. None: all."""

    app: str | None
    env: str | None
    branch: str | None
    since_us: int
    until_us: int
    mine: str | None = None  # as in conversations.Filter

    def params(self, since_us: int, until_us: int) -> dict[str, Any]:
        return {
            "app": self.app, "env": self.env, "branch": self.branch, "mine": self.mine, "since_us": since_us,
            "until_us": until_us,
        }  # fmt: skip

    @property
    def whole(self) -> tuple[int, int]:
        """The whole days inside; empty if there is none."""
        since, until = -(-self.since_us // DAY_US) * DAY_US, self.until_us - self.until_us % DAY_US
        return (since, until) if since < until else (self.since_us, self.since_us)

    @property
    def edges(self) -> list[tuple[int, int]]:
        """What is left of the span before and after the whole days."""
        since, until = self.whole
        return [(a, b) for a, b in ((self.since_us, since), (until, self.until_us)) if a < b]


def both(tx: Tx, asked: Asked) -> tuple[list[FunnelRow], dict[str, dict[str, int]]]:
    """The funnel and the figures, with the sums read once."""
    sums = _sums(tx, asked)
    return funnel(tx, asked, sums), figures(tx, asked, sums)


def funnel(tx: Tx, asked: Asked, sums: list[dict[str, Any]] | None = None) -> list[FunnelRow]:
    found: dict[tuple[str, str], Sum] = defaultdict(Sum)
    for row in _sums(tx, asked) if sums is None else sums:
        if row["name"].startswith(STAGE):
            stage = row["name"].removeprefix(STAGE)
            found[row["branch"], stage].add(row["n"], row["amount"], 0, row["first_us"])
    for edge in asked.edges:
        for row in tx.all("conversations.funnel", **asked.params(*edge)):
            one = found[row["branch"], row["stage"]]
            one.add(row["conversations"], row["after_us"], 0, row["first_us"])
    return [FunnelRow(branch, stage, s.n, s.first_us, s.amount) for (branch, stage), s in found.items() if s.n]


def figures(tx: Tx, asked: Asked, sums: list[dict[str, Any]] | None = None) -> dict[str, dict[str, int]]:
    """By branch: of the conversations that began in the span how many, with_person, turns; and all of `NOTHING_SPENT`,
    as spent in the span, whenever the conversation began."""
    by: dict[str, dict[str, Sum]] = defaultdict(lambda: defaultdict(Sum))
    for row in _sums(tx, asked) if sums is None else sums:
        by[row["branch"]][row["name"]].add(row["n"], row["amount"], row["unpriced"], 0)
    for edge in asked.edges:
        at = asked.params(*edge)
        for row in tx.all("conversations.figures", **at):
            by[row["branch"]]["began"].add(row["conversations"], 0, 0, 0)
            by[row["branch"]]["turns"].add(row["turns"], 0, 0, 0)
        for row in tx.all("conversations.spent_by_branch", **at):
            by[row["branch"]]["models"].add(row["calls"], row["cost_nano_usd"], row["unpriced"], 0)
        for row in tx.all("conversations.fees_by_branch", **at):
            by[row["branch"]]["fees"].add(row["messages"], row["fees_nano_usd"], row["unpriced_messages"], 0)
    rows = tx.all("conversation_days.with_person", **asked.params(asked.since_us, asked.until_us))
    people = {row["branch"]: row["with_person"] for row in rows}
    return {
        branch: {
            "conversations": of["began"].n, "with_person": people.get(branch, 0), "turns": of["turns"].n,
            "calls": of["models"].n, "cost_nano_usd": of["models"].amount, "unpriced": of["models"].unpriced,
            "messages": of["fees"].n, "fees_nano_usd": of["fees"].amount, "unpriced_messages": of["fees"].unpriced,
        }
        for branch, of in by.items()
        if of["began"].n
    }  # fmt: skip


def _sums(tx: Tx, asked: Asked) -> list[dict[str, Any]]:
    since, until = asked.whole
    return tx.all("conversation_days.sums", **asked.params(since, until)) if since < until else []
