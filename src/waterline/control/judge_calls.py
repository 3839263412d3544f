"""Judges asked by this server: the same `serve` as any request, under another purpose, with budgets of their own.

A judge's model is a route of an app that exists only here, so what it costs never counts against the app that it
judges, and its traces (purpose "judge") feed neither drift nor judges.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from waterline.access.roles import Principal
from waterline.agents.tools import Collected, cost_of
from waterline.core.app_spec import AppSpec, Limits
from waterline.core.completion import UNREADABLE, decode_completion
from waterline.core.errors import BudgetExceeded, Overloaded, RateLimited, RequestError
from waterline.core.judge import Judge, judge_id
from waterline.core.release import Release
from waterline.core.request import decode_request
from waterline.evals.judges import Complete, Completed
from waterline.gateway.budget import Preparation
from waterline.gateway.deps import App, Deps
from waterline.gateway.faults import Cooling
from waterline.gateway.route import Served
from waterline.gateway.serve import serve
from waterline.store import traces
from waterline.store.db import Store, Tx

PATH = "/v1/chat/completions"
KEY_ID = "judges"  # what traces name as their key
DEADLINE_MS = 120_000
PATIENCE_S = 8  # with a provider that cools down or is busy: nobody waits for a verdict as for an answer
MOST_READY = 64
ENVIRONMENT = "judges"  # of their traces
NOT_ASKED = (BudgetExceeded, Cooling, Overloaded, RateLimited)  # the model has said nothing, not even nonsense


class JudgeCalls:
    def __init__(
        self, deps: Deps, ready: Callable[[str, Release], Served], store: Store, app_of: Callable[[str], App]
    ) -> None:
        """`ready`: with connections that are not the callers'."""
        self._gateway = Deps(
            clock_us=deps.clock_us, tick_s=deps.tick_s, next_id=deps.next_id, log=deps.log, apps={},
            metrics=deps.metrics, digest_key=deps.digest_key, boot=deps.boot, purpose="judge", sleep=deps.sleep,
            jitter=deps.jitter, once=deps.once,
        )  # fmt: skip
        self._make_ready = ready
        self._store = store
        self._app_of = app_of
        self._ready: dict[tuple[str, str, str], Served] = {}

    def of(self, app: str, name: str, subject: str = "") -> Complete:
        """How the judge `name` of an app is asked. `subject`: whose words are judged."""

        async def complete(judge: Judge, said: list[dict[str, str]], form: dict[str, Any]) -> Completed:
            await self._prepare(app)
            return await self._ask(app, name, judge, said, form, subject)

        return complete

    def priced(self, app: str, judge: Judge) -> bool:
        """Whether asking it costs money, or may."""
        found = self._app_of(app).prices.find(judge.route.provider, judge.route.model, self._gateway.clock_us())
        if found is None:
            return judge.route.provider not in ("local", "simulated")
        return bool(found.input or found.output)

    async def _prepare(self, app: str) -> None:
        """The budget of all judges of an app together, with what they spent today before a restart."""
        known = self._app_of(app)
        declared = [judge.nano_usd_per_day for judge in known.spec.judges.values()]
        most = sum(nano for nano in declared if nano is not None) if any(declared) else None
        limits = Limits(nano_usd_per_day=most, timezone=known.spec.limits.timezone)
        there = self._gateway.apps.get(app)
        if there is not None and there.spec.limits == limits and there.prices is known.prices:
            return
        made = App(AppSpec(name=app, limits=limits), known.prices)
        prepared = made.budget.prepare(limits, {}, self._gateway.clock_us())
        prepared.restore(await self._store.read(lambda tx: _spent(tx, app, prepared)))
        made.apply(made.spec, made.prices, {}, prepared)
        made.budget.drop(prepared)
        self._gateway.apps[app] = made

    def _served(self, app: str, name: str, judge: Judge) -> Served:
        made = judge_id(judge)
        key = (app, name, made)
        if key not in self._ready:
            if len(self._ready) >= MOST_READY:
                self._ready.clear()
            release = Release(app=app, routes={name: judge.route})
            self._ready[key] = self._make_ready(made, release)
        return self._ready[key]

    async def _ask(
        self, app: str, name: str, judge: Judge, said: list[dict[str, str]], form: dict[str, Any],
        subject: str,
    ) -> Completed:  # fmt: skip
        shape = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": form, "strict": True}}
        body = msgspec.json.encode({"model": name, "messages": said, "response_format": shape})
        until_s = self._gateway.tick_s() + PATIENCE_S
        while True:
            sink, trace = Collected(), self._gateway.next_id()
            try:
                request = decode_request("chat", PATH, body, self._gateway.clock_us())
                request.trace_id, request.deadline_ms, request.subject = trace, DEADLINE_MS, subject
                who = Principal(KEY_ID, "app", KEY_ID, app, ENVIRONMENT)
                await serve(request, self._served(app, name, judge), who, self._gateway, sink)
            except RequestError as error:
                sink.error = error
            if sink.error is None:
                return _read(sink, trace)
            pause_s = sink.error.retry_after_s
            if pause_s is None or self._gateway.tick_s() + pause_s > until_s:
                unasked = isinstance(sink.error, NOT_ASKED)
                return Completed(trace=trace, error=f"{sink.error.code}: {sink.error.message}", unasked=unasked)
            await self._gateway.sleep(pause_s)


def _read(sink: Collected, trace: str) -> Completed:
    try:
        read = decode_completion(bytes(sink.body))
        text = read.choices[0].message.content or ""
    except (*UNREADABLE, IndexError):
        return Completed(trace=trace, error="its answer is no chat completion")
    return Completed(text, read.model or "", trace, cost_of(sink.headers))


def _spent(tx: Tx, app: str, made: Preparation) -> list[dict[str, int]]:
    return [
        traces.spent_by(tx, app, ledger.scope, window.start_us, ledger.most_names + 1, made.ids.copy, "judge")
        for ledger, window in made.asked
    ]
