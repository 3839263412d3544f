"""The load generator: users in a closed loop, arrivals in an open one, the same for a plain client without Waterline.

Open loop: arrivals are a Poisson process drawn before the stage begins, and a latency counts from the moment at which
the call was meant to leave, so a slow server cannot hide by slowing its callers down (coordinated omission: Tene,
"How NOT to Measure Latency", 2013). Latencies are kept in HDR histograms, and as they are for the intervals.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random

from hdrh.histogram import HdrHistogram
from msgspec import Struct, field

from waterline.trials.calls import Call
from waterline.trials.load_line import Series

Send = Callable[[int, float], Awaitable[Call]]  # (number of the call, loop time at which it was meant to leave)
PERCENTILES = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9, 100.0)
LONGEST_US = 600_000_000
PAUSE_S = 0.2  # of a user who was refused
AFTER_STAGE_S = 60.0  # most that a stage waits for its last answers


class Stage(Struct):
    """What came of one stage. Latencies in ms; a call without an answer has none and counts as failed."""

    name: str
    calls: list[Call] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def answered(self) -> list[Call]:
        return [c for c in self.calls if c.complete]

    def answer_ms(self) -> list[float]:
        return [c.total_s * 1000.0 for c in self.answered]

    def first_token_ms(self) -> list[float]:
        return [c.ttft_s * 1000.0 for c in self.answered if c.ttft_s is not None]

    def codes(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for call in self.calls:
            if not call.complete:
                code = "truncated" if call.truncated else call.code or f"status {call.status}"
                counts[code] = counts.get(code, 0) + 1
        return counts


async def closed(name: str, users: int, least_s: float, least: int, send: Send) -> Stage:
    """Every user sends the next call when the answer is in, for `least_s` seconds and `least` answers; four times
    that long at most."""
    stage, loop = Stage(name), asyncio.get_running_loop()
    began = 0.0
    number = iter(range(10**9))

    def over() -> bool:
        for_s = loop.time() - began
        return for_s >= least_s and (len(stage.calls) >= least or for_s >= 4 * least_s)

    async def user() -> None:
        while not over():
            call = await send(next(number), loop.time())
            stage.calls.append(call)
            if not call.complete:
                await asyncio.sleep(PAUSE_S)

    with _quiet_collector():
        began = loop.time()  # the collector's own time is not the users'
        await asyncio.gather(*(user() for _ in range(users)))
    stage.seconds = loop.time() - began
    return stage


async def in_turn(name: str, count: int, send: Send) -> Stage:
    """One caller, one call after the other."""
    stage, loop = Stage(name), asyncio.get_running_loop()
    began = loop.time()
    for number in range(count):
        stage.calls.append(await send(number, loop.time()))
    stage.seconds = loop.time() - began
    return stage


async def open_loop(name: str, per_second: float, for_s: float, seed: int, send: Send) -> Stage:
    """Calls leave at the moments of a Poisson process, whether or not earlier ones have come back."""
    stage, loop = Stage(name), asyncio.get_running_loop()
    draw = Random(f"arrivals:{seed}")
    began = loop.time() + 0.05
    sent: list[asyncio.Task[Call]] = []
    with _quiet_collector():
        meant, number = began + draw.expovariate(per_second), 0
        while meant < began + for_s:
            if (wait := meant - loop.time()) > 0:
                await asyncio.sleep(wait)
            sent.append(asyncio.ensure_future(send(number, meant)))
            meant += draw.expovariate(per_second)
            number += 1
        done, late = await asyncio.wait(sent, timeout=AFTER_STAGE_S) if sent else (set(), set())
        for task in late:
            task.cancel()
    stage.calls = [task.result() for task in done] + [Call(code="no answer", total_s=AFTER_STAGE_S)] * len(late)
    stage.seconds = loop.time() - began
    return stage


def histogram(milliseconds: list[float]) -> HdrHistogram:
    """1 µs to 10 min, three significant digits."""
    kept = HdrHistogram(1, LONGEST_US, 3)
    for ms in milliseconds:
        kept.record_value(max(1, min(LONGEST_US, round(ms * 1000.0))))
    return kept


def curve(name: str, milliseconds: list[float]) -> Series:
    kept = histogram(milliseconds)
    points = [(p, kept.get_value_at_percentile(p) / 1000.0) for p in PERCENTILES] if milliseconds else []
    return Series(name, points)


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """Our own garbage collector would show up in the tail of what we measure."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
