"""Evaluations and their cases, as they were judged. SQL: sql/experiments.sql."""

import msgspec
from msgspec import Struct

from waterline.store.db import Tx


class ExperimentHead(Struct, frozen=True):
    """What a list shows. `word`: better, non-inferior, worse, unknown, passed or failed."""

    id: str
    app: str
    release: str
    against: str  # "": held to a threshold alone
    word: str
    outcome: str
    cases: int
    repeats: int
    at_us: int
    who: str


class Experiment(ExperimentHead, frozen=True):
    result: bytes  # JSON of evals.experiment.Result


class ItemRow(Struct, frozen=True):
    """`passed` 1: every repeat of the release under evaluation did."""

    ordinal: int
    name: str
    tags: tuple[str, ...]
    change: str
    passed: int
    item: bytes  # JSON of evals.experiment.Item


class ItemFilter(Struct, frozen=True):
    change: str = ""
    passed: int | None = None
    tag: str = ""


def add(tx: Tx, experiment: Experiment) -> None:
    """Raises StoreConflict if the id is there already."""
    tx.run("experiments.add", **msgspec.structs.asdict(experiment))


def get(tx: Tx, experiment: str) -> Experiment | None:
    row = tx.one("experiments.get", id=experiment)
    return None if row is None else Experiment(**row)


def list_of(
    tx: Tx, app: str | None = None, release: str | None = None, limit: int = 50, before: ExperimentHead | None = None
) -> list[ExperimentHead]:
    """Newest first. `before`: the last one of the page before."""
    rows = tx.all(
        "experiments.list", app=app, release=release, limit=limit,
        before=before.id if before else None, before_us=before.at_us if before else None,
    )  # fmt: skip
    return [ExperimentHead(**row) for row in rows]


def add_items(tx: Tx, experiment: str, rows: list[ItemRow]) -> None:
    """One that is there already stays as it is."""
    for row in rows:
        told = {**msgspec.structs.asdict(row), "tags": f"|{'|'.join(row.tags)}|"}
        tx.run("experiments.add_item", experiment=experiment, **told)


def items(tx: Tx, experiment: str, where: ItemFilter, after: int, limit: int) -> list[bytes]:
    """In the order of the cases, from the one after `after`."""
    rows = tx.all("experiments.items", experiment=experiment, after=after, limit=limit, **_where(where))
    return [row["item"] for row in rows]


def count(tx: Tx, experiment: str, where: ItemFilter) -> int:
    row = tx.one("experiments.count", experiment=experiment, **_where(where))
    return int(row["n"]) if row is not None else 0


def item(tx: Tx, experiment: str, ordinal: int) -> bytes | None:
    row = tx.one("experiments.item", experiment=experiment, ordinal=ordinal)
    return None if row is None else row["item"]


def _where(where: ItemFilter) -> dict[str, object]:
    escaped = where.tag.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return {"change": where.change or None, "passed": where.passed, "tag": f"%|{escaped}|%" if where.tag else None}
