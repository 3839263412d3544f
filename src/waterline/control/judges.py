"""Judges for people: which there are, whether their word counts, the answers to label, and the looks at both.

`standing` is the one place that says whether a judge may gate, and why not.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Struct

from waterline.access import audit
from waterline.access.roles import Action, Principal, require
from waterline.access.stored import AuditRows
from waterline.control.experiments import found as found_experiment
from waterline.control.judge_calls import JudgeCalls
from waterline.core.case import Expect
from waterline.core.errors import Refused
from waterline.core.ids import sha256_hex
from waterline.core.judge import Judge, judge_id, question_id
from waterline.core.redact import redact
from waterline.core.said import answer_text
from waterline.core.verdict import Outcome
from waterline.evals.calibration import Calibration, LabelledItem, calibrate
from waterline.evals.experiment import Item as ExperimentItem
from waterline.evals.harvest import asked_of
from waterline.evals.judged import Standing
from waterline.evals.judges import Material, Preference, ask, compare, preference
from waterline.gateway.deps import App
from waterline.store import experiments, judges, traces
from waterline.store.db import Store, Tx
from waterline.store.experiments import ItemFilter
from waterline.store.judges import LABELS, Given, Item, Look
from waterline.store.traces import TraceFilter

PAGE = 50
MOST_ITEMS = 500  # of one request
MOST_HELD = 20_000  # answers of one judge
MOST_RUN = 50  # asked of a judge in one request
AT_ONCE = 4
TEXT_CHARS = 20_000
LOOK_AT = 5_000


class NewItem(Struct, forbid_unknown_fields=True):
    """One answer to label. With `label`, `labeller` says whose it is."""

    answer: str
    asked: str = ""
    expected: str = ""
    context: str = ""
    source: str = ""
    label: str = ""
    labeller: str = ""


class ItemsBody(Struct, forbid_unknown_fields=True):
    items: list[NewItem]


class SampleBody(Struct, forbid_unknown_fields=True):
    """Answers to label from live traffic, the newest first, or from an experiment that asked this judge."""

    count: int = 50
    experiment: str = ""


class LabelBody(Struct, forbid_unknown_fields=True):
    item: str
    label: str
    note: str = ""


class RunBody(Struct, forbid_unknown_fields=True):
    limit: int = 20


class CompareBody(Struct, forbid_unknown_fields=True):
    experiment: str
    limit: int = 20


class JudgeView(Struct, frozen=True):
    """`now`: what the labels say, looked at by nobody; `looks`: what was recorded, which is what counts."""

    app: str
    name: str
    id: str
    question: str
    scale: str
    provider: str
    model: str
    sample: float
    standing: Standing
    items: int
    labelled_by: dict[str, int]
    looks: list["LookView"]


class LookView(Struct, frozen=True):
    at_us: int
    who: str
    labels: int
    this_judge: bool  # else another wording or model of the same question
    calibration: Calibration


class ItemPage(Struct, frozen=True):
    """`next`: what `after` takes; 0 on the last page."""

    items: list[Item]
    next: int


class ToLabel(Struct, frozen=True):
    """An answer as it is shown to a labeller: without what others, or the judge, said of it. `item` None: all done."""

    item: Item | None
    mine: int  # labelled by this person
    items: int


class Ran(Struct, frozen=True):
    """`stopped`: why the judge could not be asked about the rest now; nothing is recorded of that."""

    asked: int
    no_verdict: int
    left: int
    changed: str
    stopped: str = ""


class Judges:
    def __init__(
        self, store: Store, clock_us: Callable[[], int], known: Callable[[str], App], calls: JudgeCalls,
        drain: Callable[[], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._store = store
        self._clock_us = clock_us
        self._known = known
        self.calls = calls
        self._drain = drain

    # --- views -------------------------------------------------------------------------------------------------

    async def all_of(self, who: Principal, app: str) -> list[JudgeView]:
        require(who, Action.JUDGE_READ)
        declared = self._known(app).spec.judges
        return await self._store.read(lambda tx: [_view(tx, app, n, j) for n, j in sorted(declared.items())])

    async def one(self, who: Principal, app: str, name: str) -> JudgeView:
        require(who, Action.JUDGE_READ)
        judge = self._judge(app, name)
        return await self._store.read(lambda tx: _view(tx, app, name, judge))

    async def items(self, who: Principal, app: str, name: str, after: int, limit: int) -> ItemPage:
        require(who, Action.JUDGE_LABEL)
        judge = self._judge(app, name)
        rows = await self._store.read(
            lambda tx: judges.items(tx, app, name, question_id(judge), after, min(limit, 200) + 1)
        )
        shown = rows[: min(limit, 200)]
        return ItemPage(shown, shown[-1].ordinal if len(rows) > len(shown) else 0)

    async def next(self, who: Principal, app: str, name: str, after: int = 0) -> ToLabel:
        """The first answer that this person has not labelled."""
        require(who, Action.JUDGE_LABEL)
        question = question_id(self._judge(app, name))

        def read(tx: Tx) -> ToLabel:
            found = judges.items(tx, app, name, question, after, 1, unlabelled_by=_signed(who))
            mine = judges.labelled_by(tx, app, name, question).get(_signed(who), 0)
            return ToLabel(found[0] if found else None, mine, judges.count_items(tx, app, name))

        return await self._store.read(read)

    def standing(self, tx: Tx, app: str, name: str) -> Standing:
        """Whether this judge may gate now, and why not."""
        return standing(tx, app, name, self._judge(app, name))

    # --- acts --------------------------------------------------------------------------------------------------

    async def add(self, who: Principal, app: str, name: str, said: ItemsBody) -> dict[str, int]:
        """Answers to label, and labels that were given elsewhere."""
        require(who, Action.JUDGE_LABEL)
        judge = self._judge(app, name)
        if len(said.items) > MOST_ITEMS:
            raise Refused(f"At most {MOST_ITEMS} answers a request, not {len(said.items)}.", 413)
        for number, one in enumerate(said.items, 1):
            if not one.answer.strip():
                raise Refused(f"Answer {number} is empty.", 400)
            if one.label and one.label not in LABELS:
                raise Refused(f"Answer {number}: a label is {', '.join(LABELS)}, not {one.label[:40]!r}.", 400)
        return await self._put(who, app, name, judge, said.items)

    async def sample(self, who: Principal, app: str, name: str, said: SampleBody) -> dict[str, int]:
        """Answers to label from what was answered, without e-mail addresses and long numbers."""
        require(who, Action.JUDGE_LABEL)
        judge = self._judge(app, name)
        if not 1 <= said.count <= MOST_ITEMS:
            raise Refused(f"count is 1 to {MOST_ITEMS}, not {said.count}.", 400)
        await self._drain()
        if said.experiment:
            made = await self._store.read(lambda tx: _of_experiment(tx, said.experiment, name, said.count))
        else:
            made = await self._store.read(lambda tx: _of_traces(tx, app, said.count))
        return await self._put(who, app, name, judge, made)

    async def _put(self, who: Principal, app: str, name: str, judge: Judge, made: list[NewItem]) -> dict[str, int]:
        def write(tx: Tx) -> dict[str, int]:
            if judges.count_items(tx, app, name) + len(made) > MOST_HELD:
                raise Refused(f'The judge "{name}" would have more than {MOST_HELD:,} answers to label.', 413)
            added = labelled = 0
            for one in made:
                item = _item(one, self._clock_us())
                added += judges.add_item(tx, app, name, item)
                if one.label:
                    labeller = f"{one.labeller[:60] or 'unnamed'}, by {who.name}"
                    given = Given(labeller, one.label, "", self._clock_us())  # type: ignore[arg-type]
                    judges.label(tx, app, name, question_id(judge), item.id, given)
                    labelled += 1
            told = {"given": str(len(made)), "new": str(added), "labels": str(labelled)}
            self._audit(tx, who, Action.JUDGE_LABEL, app, name, told)
            return {"given": len(made), "new": added, "labels": labelled}

        return await self._store.write(write)

    async def label(self, who: Principal, app: str, name: str, said: LabelBody) -> ToLabel:
        """One label; a second one of the same person takes the place of the first. Answers with what comes next."""
        require(who, Action.JUDGE_LABEL)
        question = question_id(self._judge(app, name))
        if said.label not in LABELS:
            raise Refused(f"A label is {', '.join(LABELS)}, not {said.label[:40]!r}.", 400)

        def write(tx: Tx) -> int:
            found = judges.item(tx, app, name, said.item)
            if found is None:
                raise Refused(f'The judge "{name}" has no answer {said.item[:40]} to label.', 404)
            given = Given(_signed(who), said.label, said.note[:500], self._clock_us())  # type: ignore[arg-type]
            judges.label(tx, app, name, question, said.item, given)
            self._audit(tx, who, Action.JUDGE_LABEL, app, name, {"item": said.item, "label": said.label})
            return found.ordinal

        after = await self._store.write(write)
        following = await self.next(who, app, name, after)
        return following if following.item is not None else await self.next(who, app, name)

    async def run(self, who: Principal, app: str, name: str, limit: int) -> Ran:
        """Ask the judge about labelled answers that it has not been asked about. Each is asked once; where it cannot be
        asked now (no budget, no provider), the rest is left for another time."""
        require(who, Action.JUDGE_CALIBRATE)
        judge = self._yes_no(app, name)
        made, question = judge_id(judge), question_id(judge)
        limit = max(1, min(limit, MOST_RUN))
        todo = await self._store.read(lambda tx: judges.not_asked(tx, app, name, question, made, MOST_HELD))
        subjects = await self._store.read(lambda tx: {item.id: _subject(tx, item) for item in todo[:limit]})
        waiting, done, changed, stopped = iter(todo[:limit]), [], "", ""
        none = 0

        async def one_after_the_other() -> None:
            nonlocal changed, none, stopped
            for item in waiting:
                material = Material(item.answer, item.asked, item.expected, item.context)
                got = await ask(judge, material, self.calls.of(app, name, subjects[item.id]))
                if got.unasked:
                    stopped = got.reason
                    return
                changed = changed or got.changed
                none += not got.said
                done.append((item.id, got))
                if stopped:
                    return

        await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))

        def write(tx: Tx) -> None:
            for item, got in done:
                judges.add_opinion(tx, app, made, item, got.said, got.reason, got.trace, self._clock_us())
            if changed:
                judges.add_change(tx, app, made, changed, self._clock_us())
            told = {"judge": made, "asked": str(len(done)), "no_verdict": str(none), "changed": changed}
            self._audit(tx, who, Action.JUDGE_CALIBRATE, app, name, told)

        await self._store.write(write)
        return Ran(len(done), none, len(todo) - len(done), changed, stopped)

    async def calibrate(self, who: Principal, app: str, name: str) -> JudgeView:
        """One look at labels and verdicts, recorded. Nothing new since the last look: that one stands."""
        require(who, Action.JUDGE_CALIBRATE)
        judge = self._yes_no(app, name)
        made, question = judge_id(judge), question_id(judge)

        def write(tx: Tx) -> JudgeView:
            before = judges.looks(tx, app, name, question)
            told = _labelled(tx, app, name, judge)
            count = sum(len(one.labels) for one in told if one.said is not None)
            if not before or (before[-1].judge, before[-1].labels) != (made, count):
                found = calibrate(told, len(before) + 1)
                if found.not_asked and judges.not_asked(tx, app, name, question, made, 1):
                    raise Refused(
                        f"The judge has not been asked about {found.not_asked} labelled answers. Ask it first: "
                        f"waterline judge run {app} {name}",
                        409,
                    )
                look = Look(0, made, count, found.outcome.value, who.name, self._clock_us(), msgspec.json.encode(found))
                judges.add_look(tx, app, name, question, look)
                detail = {"judge": made, "look": str(found.look), "outcome": found.outcome.value}
                self._audit(tx, who, Action.JUDGE_CALIBRATE, app, name, detail)
            return _view(tx, app, name, judge)

        return await self._store.write(write)

    async def compare(self, who: Principal, app: str, name: str, said: CompareBody) -> Preference:
        """A judge of pairs on the answers of a recorded comparison, in both orders. It gates nothing."""
        require(who, Action.JUDGE_CALIBRATE)
        require(who, Action.BODIES_READ)
        judge = self._judge(app, name)
        if judge.scale != "pairwise":
            raise Refused(f'The judge "{name}" does not compare pairs. Write scale = "pairwise" in its file.', 400)
        limit = max(1, min(said.limit, MOST_RUN))
        pairs = await self._store.read(lambda tx: _pairs(tx, said.experiment, app, limit))
        complete = self.calls.of(app, name)
        found = [await compare(judge, first, second, complete) for first, second in pairs]
        await self._store.write(
            lambda tx: self._audit(tx, who, Action.JUDGE_CALIBRATE, app, name, {"compared": said.experiment})
        )
        return preference(found)

    # --- parts -------------------------------------------------------------------------------------------------

    def _judge(self, app: str, name: str) -> Judge:
        declared = self._known(app).spec.judges
        if name not in declared:
            known = ", ".join(sorted(declared)) or "none; declare one in judges/*.md and put the record into force"
            raise Refused(f'App "{app}" has no judge "{name[:60]}". It has: {known}.', 404)
        return declared[name]

    def _yes_no(self, app: str, name: str) -> Judge:
        judge = self._judge(app, name)
        if judge.scale != "yes/no":
            raise Refused(f'The judge "{name}" compares pairs, which nobody labels here. It gates nothing.', 400)
        return judge

    def _audit(self, tx: Tx, who: Principal, action: Action, app: str, name: str, detail: dict[str, str]) -> None:
        audit.append(
            AuditRows(tx), at_us=self._clock_us(), by=who, action=action.value, target=f"{app}/{name}", detail=detail
        )


def standing(tx: Tx, app: str, name: str, judge: Judge) -> Standing:
    """Calibrated means: the last recorded look at this very judge passed, and its model has not changed since."""
    made = judge_id(judge)
    if judge.scale != "yes/no":
        return Standing(name, made, False, "judges of pairs are not calibrated in this version")
    if changed := judges.change(tx, app, made):
        return Standing(name, made, False, f"the provider answered as {changed}, which is not the pinned model")
    looks = judges.looks(tx, app, name, question_id(judge))
    mine = [look for look in looks if look.judge == made]
    if not mine:
        if looks:
            return Standing(name, made, False, "its prompt, model or parameters are not those that were calibrated")
        return Standing(name, made)
    last = msgspec.json.decode(mine[-1].calibration, type=Calibration)
    if last.outcome is Outcome.PASS:
        return Standing(name, made, True, "", last.errors)
    more = f"; about {last.more_labels} more labels would settle it" if last.more_labels else ""
    return Standing(name, made, False, f"{last.reason}{more}")


def _view(tx: Tx, app: str, name: str, judge: Judge) -> JudgeView:
    made, question = judge_id(judge), question_id(judge)
    looks = [
        LookView(
            one.at_us, one.who, one.labels, one.judge == made, msgspec.json.decode(one.calibration, type=Calibration)
        )
        for one in judges.looks(tx, app, name, question)
    ]
    return JudgeView(
        app=app, name=name, id=made, question=judge.question, scale=judge.scale, provider=judge.route.provider,
        model=judge.route.model, sample=judge.sample, standing=standing(tx, app, name, judge),
        items=judges.count_items(tx, app, name), labelled_by=judges.labelled_by(tx, app, name, question), looks=looks,
    )  # fmt: skip


def _labelled(tx: Tx, app: str, name: str, judge: Judge) -> list[LabelledItem]:
    said = judges.opinions(tx, app, judge_id(judge))
    labels = judges.labels(tx, app, name, question_id(judge))
    return [LabelledItem(item, given, said[item][0] if item in said else None) for item, given in labels.items()]


def _signed(who: Principal) -> str:
    return f"{who.name} ({who.key_id})" if who.key_id else who.name


def _item(one: NewItem, at_us: int) -> Item:
    texts = [text[:TEXT_CHARS] for text in (one.asked, one.answer, one.expected, one.context)]
    name = sha256_hex(msgspec.json.encode(texts))[:16]
    return Item(name, 0, texts[0], texts[1], texts[2], texts[3], one.source[:200] or "given", at_us)


def _of_traces(tx: Tx, app: str, count: int) -> list[NewItem]:
    found: list[NewItem] = []
    page = traces.page(tx, TraceFilter(app=app, purpose="live", outcome="answered"), before=None, limit=LOOK_AT)
    for row in page.rows:
        request, answer = traces.body(tx, row.id, "request"), traces.body(tx, row.id, "answer")
        asked, said = asked_of(request or b""), answer_text(answer or b"")
        if not isinstance(asked, str) and said.strip():
            found.append(NewItem(redact(said), redact(asked.last), source=judges.of_trace(row.id)))
        if len(found) == count:
            break
    return found


def _subject(tx: Tx, item: Item) -> str:
    """Whose words these are: the judge's trace is to be erased with them."""
    found = traces.get(tx, item.source.removeprefix("trace ")) if item.source.startswith("trace ") else None
    return found[0].subject if found is not None else ""


def _experiment_items(tx: Tx, experiment: str) -> list[ExperimentItem]:
    found_experiment(tx, experiment)
    rows = experiments.items(tx, experiment, ItemFilter(), 0, LOOK_AT)
    return [msgspec.json.decode(row, type=ExperimentItem) for row in rows]


def _of_experiment(tx: Tx, experiment: str, name: str, count: int) -> list[NewItem]:
    found: list[NewItem] = []
    for item in _experiment_items(tx, experiment):
        given = msgspec.json.decode(item.expect, type=Expect).judge.get(name)
        for answer in item.answers if given is not None else ():
            if answer.text.strip() and given is not None:
                source = judges.of_case(experiment, item.ordinal)
                found.append(NewItem(answer.text, item.asked, given.expected, given.context, source))
    return found[:count]


def _pairs(tx: Tx, experiment: str, app: str, limit: int) -> list[tuple[Material, str]]:
    head = found_experiment(tx, experiment)
    if head.app != app or not head.against:
        raise Refused(f'Experiment {experiment[:40]} compares no two releases of app "{app}".', 400)
    pairs = []
    for item in _experiment_items(tx, experiment):
        first = {a.repeat: a.text for a in item.answers if a.arm == "first" and a.text}
        second = {a.repeat: a.text for a in item.answers if a.arm == "second" and a.text}
        pairs += [(Material(first[n], item.asked), second[n]) for n in sorted(first) if n in second]
    return pairs[:limit]
