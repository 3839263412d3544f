"""Asking the release's real model: an instance of the trial's own, without any redirection, a few calls at a time.

What was asked once is shared by the drills (quality, robustness, cost, and the real latencies of load).
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from waterline.core.case import Case
from waterline.core.errors import WaterlineError
from waterline.core.money import Usage
from waterline.core.release import Release
from waterline.evals.scorers import Score, score
from waterline.trials.calls import Call, Caller, wall_us
from waterline.trials.instance import Instance
from waterline.trials.progress import Teller
from waterline.trials.team_app import TeamApp, TeamAppFailed

AT_ONCE_LOCAL = 2  # the local model has two slots
AT_ONCE = 6
PROBE_S = 300.0  # the first call loads the weights and reads the whole prompt


class CouldNotRun(WaterlineError):
    """A drill that cannot be run here; the message ends in the remedy."""


class Question(Struct, frozen=True):
    case: Case
    text: str = ""  # replaces the last message, when perturbed
    kind: str = ""  # "", "again", or the perturbation


class Asked(Struct):
    """One question, its answer and what the trace says it took. No answer has a failed score."""

    question: Question
    call: Call
    score: Score
    usage: Usage | None = None
    cost_nano_usd: int | None = None
    provider: str = ""
    model: str = ""
    fell_back: bool = False
    first_token_ms: float | None = None
    answer_ms: float | None = None

    @property
    def passed(self) -> bool:
        return self.score.passed


class RealModel:
    """`team`: the app's own code, where [app] names it; questions then go to it, and it asks the gateway."""

    def __init__(
        self, instance: Instance, release: Release, manifest: bytes, spec: bytes, env: str, team: TeamApp | None = None
    ) -> None:
        self.team = team
        self.calls = 0
        self.asked: list[Asked] = []  # everything so far
        self.sampled: list[Asked] | None = None  # the cases of the quality drill, asked as they are
        self._instance = instance
        self._release = release
        self._manifest, self._spec, self._env = manifest, spec, env
        self._key = ""
        self._running = False
        self._warm = ""  # the route whose prompt the model has read last
        self._probed: set[str] = set()
        self._behind: dict[int, list[dict[str, Any]]] = {}  # by call: the gateway's traces behind the team's answer

    @property
    def at_once(self) -> int:
        if self.team is not None:
            return 1  # so that every trace of the gateway belongs to one question
        kinds = {route.provider for route in self._release.routes.values()}
        return AT_ONCE_LOCAL if "local" in kinds else AT_ONCE

    async def ask(self, questions: Sequence[Question], teller: Teller) -> list[Asked]:
        """In the order of `questions`. Raises CouldNotRun where the model is not there to be asked."""
        await self._ready()
        # By route, the last one used first, so that the prompt's prefix stays in the model's cache.
        order = sorted(
            range(len(questions)), key=lambda i: (questions[i].case.route != self._warm, questions[i].case.route, i)
        )
        done: list[Call] = [Call()] * len(questions)
        todo = iter(order)
        async with self._caller() as caller:
            for name in sorted({q.case.route for q in questions}):
                await self._probe(caller, name)

            async def one_after_the_other() -> None:
                for index in todo:
                    done[index] = await self._call(caller, questions[index])
                    teller.step()

            await asyncio.gather(*(one_after_the_other() for _ in range(self.at_once)))
        asked = [await self._read(q, c) for q, c in zip(questions, done, strict=True)]
        if starved := next((a for a in asked if a.call.code == "budget_exceeded"), None):
            raise CouldNotRun(f"The app's budget ended during the drill: {starved.call.message}")
        self.asked += asked
        self._warm = questions[order[-1]].case.route if order else self._warm
        return asked

    async def _ready(self) -> None:
        if self._running:
            return
        await self._instance.start()
        self._running = True
        if not self._key:
            await self._instance.install(self._manifest, self._spec, self._env)
            self._key = await self._instance.app_key(self._release.app, self._env)
        if self.team is not None:
            try:
                await self.team.start(self._instance.url, self._key)
            except TeamAppFailed as failure:
                raise CouldNotRun(str(failure)) from failure

    def _caller(self) -> Caller:
        if self.team is not None:
            return Caller(self.team.url, self._key, connections=self.at_once)
        return self._instance.caller(self._key, self.at_once)

    async def close(self) -> None:
        """The model leaves the machine to the drills that measure time."""
        self._running = False
        self._probed.clear()
        if self.team is not None:
            await self.team.stop()
        await self._instance.stop()

    async def _call(self, caller: Caller, question: Question) -> Call:
        self.calls += 1
        turns = [{"role": m.role, "content": m.content} for m in question.case.turns()]
        if question.text:
            turns[-1] = {"role": "user", "content": question.text}
        extra: dict[str, Any] = {"waterline": {"variables": question.case.variables}} if question.case.variables else {}
        began_us = wall_us()
        call = await caller.chat(turns, model=question.case.route, stream=True, extra=extra, give_up_s=PROBE_S)
        if self.team is not None:
            await self._instance.drained()
            self._behind[id(call)] = await self._instance.traces(since=began_us)
        return call

    async def _probe(self, caller: Caller, name: str) -> None:
        """One short call to each route first: a missing model or key is no bad answer, it is no trial."""
        if name in self._probed:
            return
        route = self._release.routes.get(name)
        if route is None:
            raise CouldNotRun(f'Cases name the route "{name}", which the release does not have. Correct the cases.')
        if route.provider == "simulated":
            raise CouldNotRun(
                f'Route "{name}" is on the simulated provider, and figures of quality come from real models only. '
                "Give it a real provider and model in app.toml."
            )
        self.calls += 1
        hello = [{"role": "user", "content": "Hello"}]
        call = await caller.chat(hello, model=name, stream=True, extra={"max_tokens": 1}, give_up_s=PROBE_S)
        why = f"{call.message or call.code or f'status {call.status}'}"
        if call.complete and self.team is not None:
            self._probed.add(name)
            return
        if call.complete:
            fallen = next((e for e in await self._events(call.trace) if e["type"] == "fell_back"), None)
            if fallen is None:
                self._probed.add(name)
                return
            why = f"its fallback answered instead: {fallen['reason']}"
        raise CouldNotRun(f'Route "{name}" ({route.provider}, {route.model}) does not answer: {why}')

    async def _events(self, trace: str) -> list[dict[str, Any]]:
        found = await self._instance.ask("GET", f"/api/traces/{trace}")
        return list(found["events"])

    async def _read(self, question: Question, call: Call) -> Asked:
        text = call.text if call.complete else None
        asked = Asked(question, call, score(question.case, text, call.finish_reason if call.complete else None))
        asked.answer_ms = call.total_s * 1000.0 if call.complete else None
        asked.first_token_ms = call.ttft_s * 1000.0 if call.ttft_s is not None else None
        if self.team is not None:
            _add_up(asked, self._behind.pop(id(call), []))
            return asked
        if not call.trace:
            return asked
        found = await self._instance.ask("GET", f"/api/traces/{call.trace}")
        row = found["row"]
        asked.usage = msgspec.convert(row["usage"], Usage)
        asked.cost_nano_usd = row["cost_nano_usd"]
        asked.provider, asked.model = row["provider"], row["model"]
        asked.fell_back = any(e["type"] == "fell_back" for e in found["events"])
        return asked


def _add_up(asked: Asked, rows: list[dict[str, Any]]) -> None:
    """What the team's code asked models for one question: maybe several calls, maybe none."""
    if not rows:
        return
    asked.usage = Usage(input=sum(r["tokens_in"] for r in rows), output=sum(r["tokens_out"] for r in rows))
    costs = [r["cost_nano_usd"] for r in rows]
    asked.cost_nano_usd = None if None in costs else sum(costs)
    asked.provider, asked.model = rows[0]["provider"], rows[0]["model"]
