"""Evaluations as the store keeps them and people see them."""

from collections.abc import Callable

import msgspec
from msgspec import Struct

from waterline.access import audit
from waterline.access.roles import Action, Principal, require
from waterline.access.stored import AuditRows
from waterline.core.errors import Refused
from waterline.core.release import StoredRelease
from waterline.core.verdict import JudgeRef, Ref, Verdict
from waterline.evals.experiment import Item, Result
from waterline.gateway.deps import App
from waterline.store import experiments, verdicts
from waterline.store.db import Store, StoreConflict, Tx
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


class ExperimentDesk:
    def __init__(
        self, store: Store, clock_us: Callable[[], int], known: Callable[[str], App],
        resolve: Callable[[Tx, str, str | None], StoredRelease],
    ) -> None:  # fmt: skip
        """`known` and `resolve` raise Refused for an app or a release that is not there."""
        self._store = store
        self._clock_us = clock_us
        self._known = known
        self._resolve = resolve

    async def list_of(
        self, who: Principal, app: str | None, release: str | None = None, before: str = "", limit: int = 50
    ) -> ExperimentPage:
        require(who, Action.EXPERIMENT_READ)
        return await self._store.read(lambda tx: page(tx, app, release, before, limit))

    async def view(self, who: Principal, experiment: str) -> ExperimentView:
        require(who, Action.EXPERIMENT_READ)
        return await self._store.read(lambda tx: view(tx, experiment))

    async def items(
        self, who: Principal, experiment: str, where: ItemFilter, after: int = 0, limit: int = PAGE_ITEMS
    ) -> ItemPage:
        """With what was asked and answered."""
        require(who, Action.BODIES_READ)
        return await self._store.read(lambda tx: item_page(tx, experiment, where, after, limit))

    async def item(self, who: Principal, experiment: str, ordinal: int) -> Item:
        require(who, Action.BODIES_READ)
        return await self._store.read(lambda tx: item(tx, experiment, ordinal))

    async def add(self, who: Principal, said: ExperimentBody) -> ExperimentHead:
        """Record an evaluation and its verdict. The same one again changes nothing, so that it may be sent twice."""
        require(who, Action.EXPERIMENT_WRITE)
        result = parsed(said)
        self._known(result.plan.app)

        def write(tx: Tx) -> ExperimentHead:
            for release in filter(None, (result.plan.release, result.plan.against)):
                self._resolve(tx, release, result.plan.app)
            made = add(tx, said, result, who.name, self._clock_us())
            detail = {"release": made.release, "against": made.against, "verdict": made.word}
            audit.append(
                AuditRows(tx), at_us=made.at_us, by=who, action=Action.EXPERIMENT_WRITE.value, target=made.id,
                detail=detail,
            )  # fmt: skip
            return made

        try:
            return await self._store.write(write)
        except StoreConflict:
            return (await self._store.read(lambda tx: view(tx, said.id))).head

    async def add_items(self, who: Principal, experiment: str, items: list[Item]) -> int:
        require(who, Action.EXPERIMENT_WRITE)
        return await self._store.write(lambda tx: add_items(tx, experiment, items))
