"""Judges on live traffic: a declared share of answers is looked at between requests, off unless declared.

Which answers is a keyed hash of trace and judge, so it is the same after a restart and nobody can choose. At most a few
are asked in a round; what a judge does not get to within `WINDOW_US` is left out. A verdict is a row on its trace.
"""

import asyncio
import hmac
import logging
from collections.abc import Callable, Mapping

from waterline.control.judge_calls import JudgeCalls
from waterline.core.errors import WaterlineError
from waterline.core.judge import Judge, judge_id
from waterline.core.said import answer_text
from waterline.core.trace import TraceRow
from waterline.core.verdict import Estimate, JudgeRef, Outcome, Ref, Verdict
from waterline.evals.harvest import asked_of
from waterline.evals.judges import Judgement, Material, ask
from waterline.gateway.deps import App
from waterline.store import judges, traces, verdicts
from waterline.store.db import Store, Tx
from waterline.store.traces import TraceFilter

log = logging.getLogger("waterline.judges")

ROUND_S = 3.0
MOST_A_ROUND = 5
WINDOW_US = 600_000_000
LOOK_AT = 2_000  # newest live answers of one round
OUTCOMES = {"yes": Outcome.PASS, "no": Outcome.FAIL, "": Outcome.INCONCLUSIVE}


class JudgeWatch:
    def __init__(
        self, store: Store, apps: Mapping[str, App], calls: JudgeCalls, clock_us: Callable[[], int], key: bytes,
        late: Callable[[], bool],
    ) -> None:  # fmt: skip
        """`late`: this server has no time for it now."""
        self._store = store
        self._apps = apps
        self._calls = calls
        self._clock_us = clock_us
        self._key = key
        self._late = late
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._rounds())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(ROUND_S)
            for app in list(self._apps.values()):
                for name, judge in sorted(app.spec.judges.items()):
                    if judge.sample > 0.0 and not self._late():
                        try:
                            await self.round(app.spec.name, name, judge)
                        except WaterlineError as error:
                            log.warning("judge %s of app %s: %s", name, app.spec.name, error)

    async def round(self, app: str, name: str, judge: Judge) -> int:
        """Returns how many answers were judged."""
        if judge.nano_usd_per_day is None and self._calls.priced(app, judge):
            return 0  # nobody said what it may cost
        due = await self._store.read(lambda tx: self._due(tx, app, name, judge))
        for row, material in due:
            got = await ask(judge, material, self._calls.of(app, name, row.subject))
            await self._store.write(lambda tx, r=row, g=got: self._keep(tx, app, name, judge, r, g))  # type: ignore[misc]
        return len(due)

    def _due(self, tx: Tx, app: str, name: str, judge: Judge) -> list[tuple[TraceRow, Material]]:
        since, made = self._clock_us() - WINDOW_US, judge_id(judge)
        where = TraceFilter(app=app, purpose="live", outcome="answered", since_us=since)
        found: list[tuple[TraceRow, Material]] = []
        for row in reversed(traces.page(tx, where, before=None, limit=LOOK_AT).rows):  # the oldest first
            if not self._chosen(row.id, made, judge.sample) or verdicts.of(tx, "trace", row.id, f"judge.{name}"):
                continue
            request, answer = traces.body(tx, row.id, "request"), traces.body(tx, row.id, "answer")
            asked, said = asked_of(request or b""), answer_text(answer or b"")
            if isinstance(asked, str) or not said.strip():
                continue
            found.append((row, Material(said, asked.last)))
            if len(found) == MOST_A_ROUND:
                break
        return found

    def _chosen(self, trace: str, made: str, share: float) -> bool:
        digest = hmac.digest(self._key, f"judge:{trace}:{made}".encode(), "sha256")
        return int.from_bytes(digest[:8]) < share * 2**64

    def _keep(self, tx: Tx, app: str, name: str, judge: Judge, row: TraceRow, got: Judgement) -> None:
        made, at_us = judge_id(judge), self._clock_us()
        worth = {"yes": 1.0, "no": 0.0}.get(got.said)
        value = None if worth is None else Estimate(worth, worth, worth, 1, method="observed")
        verdict = Verdict(
            Ref("trace", row.id),
            f"judge.{name}",
            OUTCOMES[got.said],
            value,
            got.reason,
            JudgeRef(f"judge.{name}", made),
        )
        verdicts.add(tx, verdict, at_us)
        if got.changed:
            judges.add_change(tx, app, made, got.changed, at_us)
