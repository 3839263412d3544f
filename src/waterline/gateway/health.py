"""What we know about a model at a provider: may a request go there now?

    unknown --success--> well --2 failures in a row--> open --2 s--> one probe --success--> well
       |  two at a time, until                           ^             | failure
       |  the first news                                 +-18, 20 s ---+

So a dead provider gets at most 5 attempts in any minute from the moment it is known to be dead, and is asked again at
most 20 s after it came back. Probes go by the time they begin: a silent one holds nobody up. A cool-down is extended,
never shortened. A rate limit is no failure: it is a pause, and three in a row without an answer are probed like a
failure. The clock is the caller's, in seconds.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Literal

from msgspec import Struct

from waterline.gateway.adaptive import Adaptive

FAILURES_TO_OPEN = 2
PAUSES_S = (2.0, 18.0, 20.0)  # before the first, the second, every later probe
LIMIT_PAUSE_S = 1.0  # a 429 without Retry-After; twice as long each time
LONGEST_LIMIT_PAUSE_S = 15.0
LIMITS_TO_PROBE = 3
OUTRUNS_TO_FAIL = 3
UNKNOWN_S = 0.5  # how long the others wait for news of the very first attempts
KEPT = 200  # latencies
MINUTES = 15  # of what happened, for people

State = Literal["unknown", "well", "limited", "open"]


class Minute(Struct):
    """What began in one minute of the clock; `before`: attempts until then."""

    number: int
    before: int
    failed: int = 0
    limited: int = 0


class Seen(Struct, frozen=True):
    """One minute. The others of `attempts` were answered, are under way, or ended without blame (the caller left)."""

    attempts: int
    failed: int
    limited: int


class Snapshot(Struct, frozen=True):
    """For people. `wait_s`: until a request may go there; times of the last attempts in ms, None: there were none.

    `minutes`: the last 15, oldest first. `fell_back`: requests that went on to the next route. `last_error` is of the
    provider, never of a caller's mistake; None: none since the server started."""

    state: State
    wait_s: float
    failures: int  # in a row
    attempts: int
    succeeded: int
    failed: int
    limited: int
    in_flight: int
    concurrency_limit: float | None  # learned; None: not wanted
    first_byte_ms_p50: float | None
    first_byte_ms_p95: float | None
    probing: bool
    fell_back: int
    shed: int  # more than it takes at once
    last_error: str | None
    last_error_s_ago: float | None
    minutes: list[Seen]


class Health:
    def __init__(self) -> None:
        self.apps: set[str] = set()  # whose routes ask it
        self.known = False  # it has answered once
        self.failures = 0  # in a row
        self.pauses = 0  # since it opened; 0: closed
        self.limits = 0  # rate limits in a row
        self.outruns = 0  # hedges lost in a row without a byte
        self.opened_s = 0.0
        self.probe_after_s = 0.0
        self.limited_until_s = 0.0
        self.probe_began_s = -1.0  # of the probe under way; negative: none
        self.trials = 0  # in flight while it is unknown
        self.trial_since_s = 0.0
        self.attempts = self.succeeded_n = self.failed_n = self.limited_n = self.in_flight = 0
        self.adaptive: Adaptive | None = None  # made when an app wants it
        self.first_bytes_s: deque[float] = deque(maxlen=KEPT)
        self.fell_back = 0
        self.shed = 0
        self._error: tuple[float, str] | None = None  # when, what it was
        self._minutes: deque[Minute] = deque(maxlen=MINUTES)
        self._minute_ends_s = -1.0
        self._waiting: list[asyncio.Future[None]] = []

    def wait_s(self, now_s: float) -> float:
        """0: a request may go now. Else how long until it is worth asking again (news may come before)."""
        until_s = max(self.probe_after_s, self.limited_until_s)
        if now_s < until_s:
            return until_s - now_s
        if self.known or self.pauses or self.trials < FAILURES_TO_OPEN - self.failures:
            return 0.0
        return max(0.0, self.trial_since_s + UNKNOWN_S - now_s)

    def cooling(self, now_s: float) -> bool:
        return now_s < max(self.probe_after_s, self.limited_until_s)

    @property
    def probing(self) -> bool:
        return self.probe_began_s >= 0

    def begin(self, now_s: float) -> None:
        """A request goes there; only right after `wait_s` said 0."""
        if now_s >= self._minute_ends_s:
            self._next_minute(now_s)
        self.attempts += 1
        self.in_flight += 1
        if self.pauses:  # this is the probe; the next one in time, whatever becomes of it
            self.probe_began_s = now_s
            self.probe_after_s = now_s + PAUSES_S[min(self.pauses, len(PAUSES_S) - 1)]
            self.pauses += 1
        elif self.limits >= LIMITS_TO_PROBE:
            self.probe_began_s = now_s
            self.limited_until_s = now_s + self._limit_pause_s
        elif not self.known:
            if not self.trials:
                self.trial_since_s = now_s
            self.trials += 1

    def succeeded(self, began_s: float) -> None:
        """It answered in full. One that began before it failed says nothing about now."""
        self.succeeded_n += 1
        self._ended(began_s)
        self.limits = self.outruns = 0
        if not self.pauses or began_s >= self.opened_s:
            self.known = True
            self.failures = self.pauses = 0
            self.probe_after_s = 0.0
        self._tell()

    def neutral(self, began_s: float) -> None:
        """It ended without telling anything about the provider: the caller left, or was wrong."""
        self._ended(began_s)
        self._tell()

    def rate_limited(self, now_s: float, began_s: float, retry_after_s: float | None, said: str = "") -> None:
        self.limited_n += 1
        self._note(now_s, said).limited += 1
        if now_s >= self.limited_until_s or self.limits == 0 or began_s == self.probe_began_s:
            self.limits += 1  # those of one burst count once
        self._ended(began_s)
        pause_s = self._limit_pause_s if retry_after_s is None else retry_after_s
        self.limited_until_s = max(self.limited_until_s, now_s + pause_s)
        self._tell()

    def failed(self, now_s: float, began_s: float, said: str = "") -> None:
        self.failed_n += 1
        self._note(now_s, said).failed += 1
        self._ended(began_s)
        self.failures += 1
        if self.failures >= FAILURES_TO_OPEN and not self.pauses:
            self.pauses = 1
            self.opened_s = now_s
            self.probe_after_s = max(self.probe_after_s, now_s + PAUSES_S[0])
        self._tell()

    def outrun(self, now_s: float, began_s: float, said: str) -> None:
        """Another route was quicker before a byte of this one came. Some are always slow; several in a row without an
        answer between them are failures."""
        self.outruns += 1
        if self.outruns >= OUTRUNS_TO_FAIL:
            self.failed(now_s, began_s, said)
        else:
            self.neutral(began_s)

    async def news(self, at_most_s: float) -> None:
        """Wait until something has become known, or the time is up."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await waiter
        with suppress(ValueError):
            self._waiting.remove(waiter)

    def snapshot(self, now_s: float) -> Snapshot:
        times = sorted(self.first_bytes_s)
        state: State = "open" if self.pauses else "limited" if self.cooling(now_s) else "well"
        if state == "well" and not self.known:
            state = "unknown"
        return Snapshot(
            state,
            self.wait_s(now_s),
            self.failures,
            self.attempts,
            self.succeeded_n,
            self.failed_n,
            self.limited_n,
            self.in_flight,
            self.adaptive.limit if self.adaptive is not None else None,
            _quantile_ms(times, 0.5),
            _quantile_ms(times, 0.95),
            self.probing,
            self.fell_back,
            self.shed,
            self._error[1] if self._error else None,
            now_s - self._error[0] if self._error else None,
            self._seen(int(now_s // 60)),
        )

    def _next_minute(self, now_s: float) -> None:
        number = int(now_s // 60)
        self._minutes.append(Minute(number, self.attempts))
        self._minute_ends_s = (number + 1) * 60.0

    def _note(self, now_s: float, said: str) -> Minute:
        """An attempt failed: the minute it failed in."""
        self._error = (now_s, said or "no reason given")
        if now_s >= self._minute_ends_s:
            self._next_minute(now_s)
        return self._minutes[-1]

    def _seen(self, now: int) -> list[Seen]:
        by_number: dict[int, Seen] = {}
        end = self.attempts
        for minute in reversed(self._minutes):
            by_number[minute.number] = Seen(end - minute.before, minute.failed, minute.limited)
            end = minute.before
        return [by_number.get(number, Seen(0, 0, 0)) for number in range(now - MINUTES + 1, now + 1)]

    @property
    def _limit_pause_s(self) -> float:
        return min(LONGEST_LIMIT_PAUSE_S, LIMIT_PAUSE_S * 2.0 ** max(0, min(self.limits - 1, 8)))

    def _ended(self, began_s: float) -> None:
        self.in_flight -= 1
        if began_s == self.probe_began_s:
            self.probe_began_s = -1.0
        if self.trials:
            self.trials -= 1

    def _tell(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)


def _quantile_ms(ordered: list[float], q: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))] * 1000 if ordered else None
