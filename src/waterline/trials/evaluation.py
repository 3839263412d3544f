"""`waterline eval`: the cases, K times, asked of one release or of two in turn, through a Waterline of its own.

Nothing is answered from a cache (its traces have the purpose "eval"), fallbacks and routing are as released, and the
app's limits of rate are lifted while its money is not. A rate limit is waited out, by all callers together; an answer
that still does not come is a failed one. A provider that answers nothing any more ends the run, which can be gone on
with: an hour's outage says nothing about a release.
"""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from waterline.core.app_spec import AppSpec, Limits, encode_spec
from waterline.core.case import Case, case_set_id
from waterline.core.judge import judge_id
from waterline.core.release import parse_release, release_id
from waterline.evals.experiment import Answer, Arm, Plan, Result, Tally, judge
from waterline.evals.judged import Standing
from waterline.evals.scorers import VERSION, Given, Score, python, score, score_given, similar
from waterline.evals.scorers.base import Function, Said, ToolCalled
from waterline.trials.asking import AT_ONCE, AT_ONCE_LOCAL, CouldNotRun
from waterline.trials.calls import Call, Caller
from waterline.trials.instance import Instance
from waterline.trials.journal import Journal
from waterline.trials.judge_calls import Judges, install, nano
from waterline.trials.patience import LATER, PROVIDERS_FAULT, Patience
from waterline.trials.progress import Teller

ENVIRONMENTS: dict[Arm, str] = {"first": "first", "second": "second"}
GIVE_UP_S = 300.0
PATIENCE_S = 120.0  # without any answer, before the provider counts as gone


class Work(Struct, frozen=True):
    """What is asked and of whom. `redirect`: the simulated provider stands in, and the figures say so."""

    manifest: bytes
    spec: AppSpec
    cases: tuple[Case, ...]
    cases_from: str = ""  # the set and version that they are of; "": a file
    against: bytes | None = None
    repeats: int = 1
    at_once: int = 0  # 0: what suits the provider
    margin: float | None = None
    score_min: float | None = None
    seed: int = 1
    redirect: str = ""
    patience_s: float = PATIENCE_S
    scorers: Path | None = None  # the folder of the app's own functions
    standings: Mapping[str, Standing] = {}  # of judges: who may gate

    def plan(self, functions: str = "") -> Plan:
        """`functions`: the digest of the app's own scorers.

        Raises CouldNotRun where there is nothing to ask, or no margin was declared."""
        if not self.cases:
            raise CouldNotRun("There are no cases to ask. Write them to cases/*.jsonl, or name a file: --cases FILE.")
        if self.against is not None and self.margin is None:
            raise CouldNotRun(
                "No margin was declared: how much worse may it be? Write [objectives.quality] regression_max = 0.05 in "
                "app.toml, or give --margin 0.05."
            )
        named = sorted({name for case in self.cases for name in case.expect.judge})
        if lost := [name for name in named if name not in self.spec.judges]:
            raise CouldNotRun(f'Cases name the judge "{lost[0]}", but there is no judges/{lost[0]}.md. Write it.')
        return Plan(
            app=self.spec.name, release=release_id(self.manifest), case_set=case_set_id(self.cases),
            cases=len(self.cases), cases_from=self.cases_from, repeats=self.repeats,
            scorer=f"{VERSION}+{functions}" if functions else VERSION,
            against=release_id(self.against) if self.against is not None else "",
            margin=self.margin if self.against is not None else None,
            score_min=self.score_min if self.against is None else None, seed=self.seed,
            judges={name: judge_id(self.spec.judges[name]) for name in named},
        )  # fmt: skip


class Done(Struct):
    run: str
    result: Result
    journal: Path
    asked_now: int  # the others were in the journal already


class Question(Struct, frozen=True):
    case: Case
    arm: Arm
    repeat: int


def questions(plan: Plan, cases: Sequence[Case]) -> Iterator[Question]:
    """Repeat by repeat, both arms of a case one after the other: a slow hour of the provider is one of both."""
    for repeat in range(plan.repeats):
        for case in cases:
            for arm in plan.arms:
                yield Question(case, arm, repeat)


async def evaluate(work: Work, folder: Path, tell: Teller) -> Done:
    """Ask what the journal in `folder` does not have, and judge. Raises CouldNotRun; what was asked is kept."""
    functions, digest = _scorers(work)
    plan = work.plan(digest)
    with Journal(folder, plan) as journal:
        tally = Tally({case.id: _tags(case) for case in work.cases})
        asked: set[tuple[str, Arm, int]] = set()
        for answer in journal.answers():
            if (answer.case, answer.arm, answer.repeat) not in asked:
                asked.add((answer.case, answer.arm, answer.repeat))
                tally.add(answer)
        left = plan.calls - len(asked)
        if left:
            tell.begin("eval", 1, 1, 0.0)
            tell.doing("asking" if not asked else f"going on, {len(asked)} were asked before", left)
            await _Asker(work, plan, journal, tally, tell, functions).run(
                q for q in questions(plan, work.cases) if (q.case.id, q.arm, q.repeat) not in asked
            )
        simulated = bool(work.redirect) or _simulated(work)
        result = judge(plan, tally, "simulated" if simulated else "real", _held_to(plan, work.standings))
        if left:
            tell.end(f"{result.word}: {result.reason}")
        journal.finish()
        return Done(journal.id, result, journal.path, left)


def _held_to(plan: Plan, standings: Mapping[str, Standing]) -> dict[str, Standing]:
    """A standing is of one id: another wording or model of the same name has none."""
    return {name: one for name, one in standings.items() if plan.judges.get(name) == one.id}


def _scorers(work: Work) -> tuple[dict[str, Function], str]:
    """What scoring these cases needs is there, or nothing is asked."""
    if any(_embeds(case) for case in work.cases):
        similar.ready()
    if not any(case.expect.python for case in work.cases):
        return {}, ""
    if work.scorers is None:
        raise CouldNotRun("Cases name functions of the app's own, which are in its folder: waterline eval APP_DIR.")
    return python.load(work.scorers, work.cases)


def _embeds(case: Case) -> bool:
    grounded = case.expect.grounded
    return case.expect.similar is not None or (grounded is not None and "meaning" in grounded.by)


class _Asker:
    def __init__(
        self,
        work: Work,
        plan: Plan,
        journal: Journal,
        tally: Tally,
        tell: Teller,
        functions: Mapping[str, Function],
    ) -> None:
        self._functions = functions
        self._offered = {arm: _tools(m) for arm, m in (("second", work.manifest), ("first", work.against)) if m}
        self._work, self._plan, self._journal, self._tally, self._tell = work, plan, journal, tally, tell
        self._judges: Judges | None = None
        self._patiently = Patience()
        self._starved = ""
        self._answered_at: dict[Arm, float] = {}
        self._held: dict[Arm, list[Answer]] = {arm: [] for arm in plan.arms}  # lost since the arm's last whole answer

    async def run(self, todo: Iterator[Question]) -> None:
        with tempfile.TemporaryDirectory(prefix="waterline-eval-") as folder:
            environ = {"WATERLINE_PURPOSE": "eval"}
            async with Instance(Path(folder), redirect=self._work.redirect, environ=environ) as instance:
                callers = await self._install(instance)
                judging = await self._install_judges(instance)
                every = [*callers.values(), *([judging] if judging else [])]
                try:
                    for caller in every:
                        await caller.__aenter__()
                    for arm, caller in callers.items():
                        await self._probe(arm, caller)
                    if self._judges is not None:
                        await self._judges.probe()
                    self._answered_at = dict.fromkeys(callers, asyncio.get_running_loop().time())
                    async with asyncio.TaskGroup() as group:
                        for _ in range(self._at_once()):
                            group.create_task(self._one_after_the_other(todo, callers))
                finally:
                    for caller in every:
                        await caller.__aexit__()
        if self._starved:
            raise CouldNotRun(f"{self._starved} What was asked is kept; run it again to go on.")
        for arm in self._plan.arms:
            self._keep_held(arm)

    async def _install(self, instance: Instance) -> dict[Arm, Caller]:
        """Both releases side by side, each in an environment of its own, with the same record."""
        spec = encode_spec(
            msgspec.structs.replace(self._work.spec, limits=_money(self._work.spec), environments=("first", "second"))
        )
        callers: dict[Arm, Caller] = {}
        for arm in self._plan.arms:
            manifest = self._work.manifest if arm == "second" else self._work.against
            assert manifest is not None
            await instance.install(manifest, spec, ENVIRONMENTS[arm])
            key = await instance.app_key(self._plan.app, ENVIRONMENTS[arm])
            callers[arm] = instance.caller(key, self._at_once())
        return callers

    async def _install_judges(self, instance: Instance) -> Caller | None:
        judges = {name: self._work.spec.judges[name] for name in self._plan.judges}
        if not judges:
            return None
        caller = instance.caller(await install(instance, self._work.spec, judges), self._at_once())
        self._judges = Judges(judges, caller, self._patiently, GIVE_UP_S)
        return caller

    def _at_once(self) -> int:
        if self._work.at_once:
            return self._work.at_once
        found = [parse_release(m) for m in (self._work.manifest, self._work.against) if m is not None]
        local = any(route.provider == "local" for release in found for route in release.routes.values())
        return AT_ONCE_LOCAL if local else AT_ONCE

    async def _probe(self, arm: Arm, caller: Caller) -> None:
        """A missing model or key is no bad answer, it is no evaluation: one short call to each route first."""
        manifest = self._work.manifest if arm == "second" else self._work.against
        assert manifest is not None
        release = parse_release(manifest)
        for name in sorted({case.route for case in self._work.cases}):
            if name not in release.routes:
                raise CouldNotRun(f'Cases name the route "{name}", which release {release_id(manifest)[:12]} has not.')
            said = [{"role": "user", "content": "Hello"}]
            call = await caller.chat(said, model=name, extra={"max_tokens": 1}, give_up_s=GIVE_UP_S)
            if not call.complete and call.code not in (*LATER, "invalid_request"):  # a prompt may need variables
                raise CouldNotRun(f'Route "{name}" does not answer: {call.message or call.code or call.status}')

    async def _one_after_the_other(self, todo: Iterator[Question], callers: dict[Arm, Caller]) -> None:
        for question in todo:
            if self._starved:
                return
            call = await self._ask(question, callers[question.arm])
            if call.code == "budget_exceeded":
                self._starved = f"The app's budget ended: {call.message}"
                return
            answer = await self._judged(question, call, _answer(question, call, self._functions))
            if call.code in PROVIDERS_FAULT:
                if self._gone(question.arm):
                    self._starved = f"The provider stopped answering: {call.message or call.code}"
                    return
                self._held[question.arm].append(answer)
            else:
                self._answered_at[question.arm] = asyncio.get_running_loop().time()
                self._keep_held(question.arm)
                self._keep(answer)

    async def _judged(self, question: Question, call: Call, answer: Answer) -> Answer:
        """What holds otherwise is shown to its judges; the rest has failed without them."""
        if self._judges is None or not question.case.expect.judge or not call.complete:
            return answer
        if not _scored(_without_judges(question.case), call, answer.ms, answer.cost_nano_usd, self._functions).passed:
            return answer
        opinions = await self._judges.opinions(question.case, answer.text)
        said = {one.judge: Said(one.said, one.reason) for one in opinions}
        found = _scored(question.case, call, answer.ms, answer.cost_nano_usd, self._functions, said)
        return msgspec.structs.replace(answer, passed=found.passed, reason=found.reason, held=True, judged=opinions)

    def _keep(self, answer: Answer) -> None:
        self._journal.add(answer)
        self._tally.add(answer)
        self._tell.step()

    def _keep_held(self, arm: Arm) -> None:
        """The provider is there: what was lost before counts."""
        held, self._held[arm] = self._held[arm], []
        for answer in held:
            self._keep(answer)

    def _gone(self, arm: Arm) -> bool:
        return asyncio.get_running_loop().time() - self._answered_at[arm] > self._work.patience_s

    async def _ask(self, question: Question, caller: Caller) -> Call:
        case = question.case
        turns = [{"role": m.role, "content": m.content} for m in case.turns()]
        extra: dict[str, Any] = {"waterline": {"variables": case.variables}} if case.variables else {}
        if case.expect.tool is not None and (tools := self._offered[question.arm]):
            extra["tools"] = tools
        return await self._patiently(
            lambda: caller.chat(turns, model=case.route, extra=extra, give_up_s=GIVE_UP_S),
            lambda: self._gone(question.arm),
        )


def _answer(question: Question, call: Call, functions: Mapping[str, Function]) -> Answer:
    cost, ms = nano(call.cost_usd), round(1000.0 * call.total_s, 1)
    found = _scored(question.case, call, ms, cost, functions)
    called = "\n".join(f"{name}({arguments})" for name, arguments in call.tools)
    return Answer(
        case=question.case.id, arm=question.arm, repeat=question.repeat, passed=found.passed,
        reason=found.reason if call.complete else (call.message or call.code or found.reason)[:300],
        text="\n".join(filter(None, (call.text, called))), code=call.code, ms=ms if call.complete else None,
        cost_nano_usd=cost, tokens_in=call.tokens_in, tokens_out=call.tokens_out, trace=call.trace,
    )  # fmt: skip


def _scored(
    case: Case,
    call: Call,
    ms: float | None,
    cost: int | None,
    functions: Mapping[str, Function],
    judged: Mapping[str, Said] | None = None,
) -> Score:
    if not call.complete:
        return score(case, None, None)
    tools = tuple(ToolCalled(name, arguments) for name, arguments in call.tools)
    return score_given(case, Given(call.text, call.finish_reason, tools, ms, cost, functions, judged))


def _without_judges(case: Case) -> Case:
    return msgspec.structs.replace(case, expect=msgspec.structs.replace(case.expect, judge={}))


def _tools(manifest: bytes) -> list[dict[str, Any]]:
    """The release's contracts as a request carries them."""
    told = ("name", "description", "parameters")
    tools = parse_release(manifest).tools.values()
    return [{"type": "function", "function": {key: tool[key] for key in told if key in tool}} for tool in tools]


def _tags(case: Case) -> tuple[str, ...]:
    return (*case.tags, f"route:{case.route}")


def _money(spec: AppSpec) -> Limits:
    kept = spec.limits
    return Limits(
        nano_usd_per_day=kept.nano_usd_per_day, nano_usd_per_month=kept.nano_usd_per_month, timezone=kept.timezone
    )


def _simulated(work: Work) -> bool:
    found = [parse_release(m) for m in (work.manifest, work.against) if m is not None]
    return any(route.provider == "simulated" for release in found for route in release.routes.values())
