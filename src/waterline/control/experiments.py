"""Evaluations as the store keeps them and people see them. The plane asks for the right first."""

import msgspec
from msgspec import Struct

from waterline.core.errors import Refused
from waterline.core.verdict import JudgeRef, Ref, Verdict
from waterline.evals.experiment import Item, Result
from waterline.store import experiments, verdicts
from waterline.store.db import Tx
from waterline.store.experiments import Experiment, ExperimentHead, ItemFilter, ItemRow

PAGE_ITEMS = 50
MOST_ITEMS = 500  # of one request
CHANGES = ("lost", "won", "same")


class ExperimentBody(Struct, forbid_unknown_fields=True):
    """What an evaluation hands in: the run's name, and its Result as JSON text."""

    id: str
    result: str


class ItemsBody(Struct, forbid_unknown_fields=True):
    items: list[Item]


class ExperimentView(Struct, frozen=True):
    head: ExperimentHead
    result: Result


class ExperimentPage(Struct, frozen=True):
    """`next`: what `before` takes for the page after this one; "" on the last."""

    rows: list[ExperimentHead]
    next: str


class ItemPage(Struct, frozen=True):
    """`total`: how many fit the filter. `next`: what `after` takes; 0 on the last page."""

    items: list[Item]
    total: int
    next: int


def parsed(said: ExperimentBody) -> Result:
    """Raises Refused."""
    if not (8 <= len(said.id) <= 64 and said.id.isascii() and said.id.isalnum()):
        raise Refused("An experiment's id is 8 to 64 letters and digits.", 400)
    try:
        return msgspec.json.decode(said.result.encode(), type=Result)
    except msgspec.DecodeError as error:
        raise Refused(f"This is not the result of an evaluation: {error}", 400) from None


def add(tx: Tx, said: ExperimentBody, result: Result, who: str, at_us: int) -> ExperimentHead:
    """The experiment, and its verdict on the release."""
    plan = result.plan
    head = ExperimentHead(
        id=said.id, app=plan.app, release=plan.release, against=plan.against, word=result.word,
        outcome=result.outcome.value, cases=plan.cases, repeats=plan.repeats, at_us=at_us, who=who,
    )  # fmt: skip
    experiments.add(tx, Experiment(**msgspec.structs.asdict(head), result=said.result.encode()))
    verdict = Verdict(
        Ref("release", plan.release), f"eval {said.id}", result.outcome, result.estimate, result.reason,
        JudgeRef("eval", plan.scorer), more_cases=result.more_cases, provider=result.provider,
        unit="difference" if plan.against else "share",
        threshold=-plan.margin if plan.margin is not None else plan.score_min,
    )  # fmt: skip
    verdicts.add(tx, verdict, at_us)
    return head


def add_items(tx: Tx, experiment: str, items: list[Item]) -> int:
    if len(items) > MOST_ITEMS:
        raise Refused(f"At most {MOST_ITEMS} cases a request, not {len(items)}.", 413)
    found(tx, experiment)
    rows = [ItemRow(i.ordinal, i.case, i.tags, i.change, int(i.second >= 1.0), msgspec.json.encode(i)) for i in items]
    experiments.add_items(tx, experiment, rows)
    return len(rows)


def found(tx: Tx, experiment: str) -> Experiment:
    one = experiments.get(tx, experiment)
    if one is None:
        raise Refused(f"There is no experiment {experiment[:40]}.", 404)
    return one


def view(tx: Tx, experiment: str) -> ExperimentView:
    one = found(tx, experiment)
    fields = {name: getattr(one, name) for name in ExperimentHead.__struct_fields__}
    return ExperimentView(ExperimentHead(**fields), msgspec.json.decode(one.result, type=Result))


def page(tx: Tx, app: str | None, release: str | None, before: str, limit: int) -> ExperimentPage:
    last = found(tx, before) if before else None
    rows = experiments.list_of(tx, app, release, limit + 1, last)
    return ExperimentPage(rows[:limit], rows[limit - 1].id if len(rows) > limit else "")


def item_page(tx: Tx, experiment: str, where: ItemFilter, after: int, limit: int) -> ItemPage:
    found(tx, experiment)
    if where.change and where.change not in CHANGES:
        raise Refused(f"change is one of {', '.join(CHANGES)}, not {where.change[:40]!r}.", 400)
    rows = [msgspec.json.decode(row, type=Item) for row in experiments.items(tx, experiment, where, after, limit + 1)]
    more = len(rows) > limit
    return ItemPage(rows[:limit], experiments.count(tx, experiment, where), rows[limit - 1].ordinal if more else 0)


def item(tx: Tx, experiment: str, ordinal: int) -> Item:
    found(tx, experiment)
    row = experiments.item(tx, experiment, ordinal)
    if row is None:
        raise Refused(f"Experiment {experiment[:40]} has no case {ordinal}.", 404)
    return msgspec.json.decode(row, type=Item)
