"""Answers that people label, their labels, what judges said of the same, and each look at both. SQL: sql/judges.sql."""

from typing import Literal

from msgspec import Struct

from waterline.store.db import Tx

Label = Literal["pass", "fail", "unsure"]
LABELS: tuple[Label, ...] = ("pass", "fail", "unsure")


class Item(Struct, frozen=True):
    """An answer with what belongs to it. Its texts are empty once their trace has been forgotten."""

    id: str
    ordinal: int
    asked: str
    answer: str
    expected: str
    context: str
    source: str
    at_us: int


class Given(Struct, frozen=True):
    """One person's label."""

    who: str
    label: Label
    note: str
    at_us: int


class Look(Struct, frozen=True):
    """One calibration as it was recorded. `judge`: the id that was looked at."""

    seq: int
    judge: str
    labels: int
    outcome: str
    who: str
    at_us: int
    calibration: bytes


def add_item(tx: Tx, app: str, judge: str, item: Item) -> bool:
    """Whether it is new. Its ordinal is given here."""
    row = {name: getattr(item, name) for name in Item.__struct_fields__ if name != "ordinal"}
    return tx.run("judges.add_item", app=app, judge=judge, **row) > 0


def items(tx: Tx, app: str, judge: str, question: str, after: int, limit: int, unlabelled_by: str = "") -> list[Item]:
    """In order. `unlabelled_by`: only those without a label of this person."""
    rows = tx.all(
        "judges.items", app=app, judge=judge, question=question, after=after, limit=limit,
        unlabelled_by=unlabelled_by or None,
    )  # fmt: skip
    return [Item(**row) for row in rows]


def item(tx: Tx, app: str, judge: str, name: str) -> Item | None:
    row = tx.one("judges.item", app=app, judge=judge, id=name)
    return None if row is None else Item(**row)


def count_items(tx: Tx, app: str, judge: str) -> int:
    row = tx.one("judges.count_items", app=app, judge=judge)
    return int(row["n"]) if row is not None else 0


def labelled_by(tx: Tx, app: str, judge: str, question: str) -> dict[str, int]:
    return {r["who"]: r["n"] for r in tx.all("judges.labelled_by", app=app, judge=judge, question=question)}


def label(tx: Tx, app: str, judge: str, question: str, name: str, given: Given) -> None:
    """The last label of a person counts."""
    tx.run(
        "judges.label", app=app, judge=judge, question=question, item=name, who=given.who, label=given.label,
        note=given.note, at_us=given.at_us,
    )  # fmt: skip


def labels(tx: Tx, app: str, judge: str, question: str) -> dict[str, dict[str, Label]]:
    """By item, by labeller."""
    found: dict[str, dict[str, Label]] = {}
    for row in tx.all("judges.labels", app=app, judge=judge, question=question):
        found.setdefault(row["item"], {})[row["who"]] = row["label"]
    return found


def labels_of(tx: Tx, app: str, judge: str, question: str, name: str) -> list[Given]:
    rows = tx.all("judges.labels_of", app=app, judge=judge, question=question, item=name)
    return [Given(**row) for row in rows]


def of_trace(trace: str) -> str:
    """The source of answers that came from a trace."""
    return f"trace {trace}"


def of_case(experiment: str, ordinal: int) -> str:
    return f"experiment {experiment}, case {ordinal}"


def forget(tx: Tx, source: str) -> int:
    """The words from this source, those of judges and labellers about them too; labels and verdicts stay. Returns how
    many answers had any."""
    found = tx.run("judges.forget_items", source=source)
    if found:
        tx.run("judges.forget_opinions", source=source)
        tx.run("judges.forget_notes", source=source)
    return found


def add_opinion(tx: Tx, app: str, judge_id: str, name: str, said: str, reason: str, trace: str, at_us: int) -> None:
    """The first one stays: a judge is not asked until it says what one likes."""
    tx.run("judges.add_opinion", app=app, judge=judge_id, item=name, said=said, reason=reason, trace=trace, at_us=at_us)


def opinions(tx: Tx, app: str, judge_id: str) -> dict[str, tuple[str, str]]:
    """(said, reason) by item."""
    return {r["item"]: (r["said"], r["reason"]) for r in tx.all("judges.opinions", app=app, judge=judge_id)}


def not_asked(tx: Tx, app: str, name: str, question: str, judge_id: str, limit: int) -> list[Item]:
    """Labelled ones of which this judge has said nothing yet."""
    rows = tx.all("judges.not_asked", app=app, name=name, question=question, judge=judge_id, limit=limit)
    return [Item(**row) for row in rows]


def add_change(tx: Tx, app: str, judge_id: str, model: str, at_us: int) -> None:
    tx.run("judges.add_change", app=app, judge=judge_id, model=model, at_us=at_us)


def change(tx: Tx, app: str, judge_id: str) -> str:
    """The model that answered instead of the pinned one; "" if none did."""
    row = tx.one("judges.change", app=app, judge=judge_id)
    return "" if row is None else str(row["model"])


def add_look(tx: Tx, app: str, name: str, question: str, look: Look) -> None:
    tx.run(
        "judges.add_calibration", app=app, name=name, judge=look.judge, question=question, labels=look.labels,
        outcome=look.outcome, who=look.who, at_us=look.at_us, calibration=look.calibration,
    )  # fmt: skip


def looks(tx: Tx, app: str, name: str, question: str) -> list[Look]:
    """Oldest first, of every judge that this question was put to."""
    return [Look(**row) for row in tx.all("judges.calibrations", app=app, name=name, question=question)]
