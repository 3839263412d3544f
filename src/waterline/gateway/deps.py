"""What `serve` is given. Everything with a clock, a disk or a socket behind it comes in through here."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from waterline.core.app_spec import AppSpec, Limits, Spending
from waterline.core.errors import RequestError
from waterline.core.prices import PriceTable
from waterline.core.trace import Purpose
from waterline.gateway.budget import Alert, Budget, Preparation
from waterline.gateway.cache import AnswerCache
from waterline.gateway.idempotency import Once
from waterline.gateway.limits import AppLimits
from waterline.gateway.metrics import Metrics
from waterline.gateway.semantic import Questions
from waterline.gateway.summary import Summaries
from waterline.providers.embedder import LazyEmbedder

if TYPE_CHECKING:
    from waterline.gateway.shadow import Shadow


class Log(Protocol):
    """The durable log of traces. Raises SpoolUnavailable when it cannot be written."""

    def admit(self, head: bytes, body: bytes) -> None: ...
    def outcome(self, head: bytes, body: bytes) -> None: ...


class Sink(Protocol):
    """The caller. `write` and `end` wait while the caller reads slowly."""

    @property
    def started(self) -> bool: ...  # the status line has left
    @property
    def gone(self) -> bool: ...  # the caller has hung up

    async def begin(self, status: int, content_type: bytes, headers: list[tuple[bytes, bytes]]) -> None: ...
    async def write(self, data: bytes) -> None: ...
    async def end(self, data: bytes) -> None: ...
    async def fail(self, error: RequestError, headers: list[tuple[bytes, bytes]]) -> None: ...


class App:
    """An app as the gateway knows it: its environment record, applied."""

    def __init__(self, spec: AppSpec, prices: PriceTable, alert: Callable[[Alert], None] = lambda alert: None) -> None:
        self.spec = spec
        self.prices = prices
        self.limits = AppLimits(spec.name, spec.limits)
        self.answers = AnswerCache()
        self.budget = Budget(spec.name, spec.limits, alert=alert)
        self.questions = Questions()
        self.summaries = Summaries()
        self.shadow: Shadow | None = None  # a candidate that answers copies

    def forget(self) -> None:
        """Nothing is kept of what was asked and answered."""
        self.answers, self.questions, self.summaries = AnswerCache(), Questions(), Summaries()

    def apply(self, spec: AppSpec, prices: PriceTable, keys: Mapping[str, Spending], made: Preparation) -> None:
        """A new environment record, with the budgets that the app's keys carry; what was counted and spent stays."""
        self.spec = spec
        self.prices = prices
        self.limits.update(spec.limits)
        self.budget.configure(spec.limits, keys, made)

    @property
    def declared(self) -> Limits:
        return self.spec.limits


class Deps:
    def __init__(
        self,
        *,
        clock_us: Callable[[], int],
        tick_s: Callable[[], float],
        next_id: Callable[[], str],
        log: Log,
        apps: dict[str, App],
        metrics: Metrics,
        digest_key: bytes,
        boot: str,
        purpose: Purpose,
        sleep: Callable[[float], Awaitable[None]],
        jitter: Callable[[], float],
        once: Once,
    ) -> None:
        self.clock_us = clock_us
        self.tick_s = tick_s  # seconds that never go back, for deadlines and cool-downs
        self.next_id = next_id
        self.log = log
        self.apps = apps
        self.metrics = metrics
        self.digest_key = digest_key
        self.boot = boot
        self.purpose: Purpose = purpose
        self.sleep = sleep
        self.jitter = jitter  # 0..1
        self.embedder = LazyEmbedder()
        self.once = once

    def forget(self) -> None:
        """Nothing that was asked or answered is kept in memory."""
        for app in self.apps.values():
            app.forget()
