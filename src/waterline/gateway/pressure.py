"""Is this process late? Then the least important requests are refused on their heads alone, before anything queues.

A timer is set for every 100 ms; how much later it is called is the time for which everything waits here, an answer's
next token too. The smoothed lag past the declared bound refuses priority `low`, past twice of it `normal`, past four
times `high`. One stall, however long, is no overload: a sample counts at most six bounds, alone not enough.
"""

import asyncio
from typing import Final, get_args

from waterline.access.roles import Principal
from waterline.core.app_spec import Priority
from waterline.core.errors import Overloaded
from waterline.gateway.deps import App
from waterline.gateway.metrics import Metrics

EVERY_S = 0.1
WEIGHT = 0.15  # of the newest sample
MOST = 6.0  # bounds that one sample counts
PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)  # the least important first
FACTORS = (1.0, 2.0, 4.0)  # of the bound, for each of them
RETRY_AFTER_S: Final[dict[Priority, int]] = {"low": 5, "normal": 2, "high": 1}


class Pressure:
    """`refuses`: how many of PRIORITIES are refused now; 0 nearly always, and then nothing else is looked at."""

    def __init__(self, bound_ms: int, apps: dict[str, App], metrics: Metrics) -> None:
        self.refuses = 0
        self.lag_s = 0.0
        self.bound_s = bound_ms / 1000  # 0: never
        self._apps = apps
        self._metrics = metrics
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Inside the loop that is to be watched."""
        if self.bound_s:
            loop = asyncio.get_running_loop()
            self._ask(loop, loop.time() + EVERY_S)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _ask(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        def called() -> None:
            now_s = loop.time()
            self.late(now_s - due_s)
            self._ask(loop, now_s + EVERY_S)

        self._timer = loop.call_at(due_s, called)

    def late(self, by_s: float) -> None:
        self.lag_s += WEIGHT * (min(max(by_s, 0.0), MOST * self.bound_s) - self.lag_s)
        self.refuses = sum(self.lag_s > factor * self.bound_s for factor in FACTORS)

    def check(self, principal: Principal, asked: bytes | None) -> None:
        """`asked`: the request's own priority. Raises Overloaded."""
        app = self._apps.get(principal.app)
        wanted = (asked or b"").decode("latin-1").strip()
        known = next((p for p in PRIORITIES if p == wanted), None)
        priority = priority_of(principal.priority, known, app.declared.priority if app is not None else "normal")
        if PRIORITIES.index(priority) >= self.refuses:
            return
        self._metrics.shed(principal.app, "event_loop", priority)
        raise Overloaded(
            f"The server is {self.lag_s * 1000:.0f} ms behind (bound {self.bound_s * 1000:.0f} ms) and refuses "
            f"requests of priority {priority} for now. Retry after the time given; if it lasts, add cores or servers.",
            retry_after_s=RETRY_AFTER_S[priority],
        )


def priority_of(key: Priority | None, asked: Priority | None, app: Priority) -> Priority:
    """The key's, which a request may lower, not raise; a key without one leaves it to the request, else to the app."""
    if key is None:
        return asked or app
    return min(key, asked or key, key=PRIORITIES.index)
