"""Hedging: a second route is asked when the first has been silent for a while; the first to give content wins.

Off by default: it costs a second prompt. Both attempts are reserved in the budget, and what the loser has used is on
the books. A loser that was merely slower says nothing about its provider; one of which no byte came, again and again,
is dead (`Health.outrun`). Source: J. Dean, L. A. Barroso, The Tail at Scale, CACM 56(2), 2013.
"""

import asyncio
from collections.abc import Awaitable, Callable

from waterline.core.errors import RequestError
from waterline.core.trace import FellBack
from waterline.gateway.call import Call
from waterline.gateway.faults import AfterContent
from waterline.gateway.route import Target

Tries = Callable[[Call, Target, bool], Awaitable[bytes]]


class Race:
    """Two attempts; whoever has content first claims the caller, and the other one is cancelled."""

    def __init__(self) -> None:
        self.winner: Target | None = None
        self.runners: dict[Target, asyncio.Task[bytes]] = {}

    def claim(self, target: Target) -> None:
        if self.winner is None:
            self.winner = target
            for other, task in self.runners.items():
                if other is not target:
                    task.cancel()

    def lost(self, target: Target) -> bool:
        return self.winner is not None and self.winner is not target


async def hedged(call: Call, tries: Tries) -> bytes | dict[Target, Exception]:
    """The answer of the quicker of the first two targets, or why neither gave one."""
    first, second = call.plan[:2]
    race = call.race = Race()
    loop, trail = asyncio.get_running_loop(), call.trail
    failures: dict[Target, Exception] = {}

    async def run(target: Target) -> bytes:
        return await tries(call, target, len(call.plan) == 2 and target is second)

    race.runners[first] = loop.create_task(run(first))
    try:
        pending = set(race.runners.values())
        await asyncio.wait(pending, timeout=first.route.hedge_ms / 1000)
        if race.winner is None and not race.runners[first].done():
            reason = f"hedged: silent for {first.route.hedge_ms} ms"
            trail.events.append(FellBack(trail.elapsed_us, first.name, second.name, reason))
            trail.deps.metrics.count("hedged")
            race.runners[second] = loop.create_task(run(second))
            pending = set(race.runners.values())
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for target, task in race.runners.items():
                if task in done and not task.cancelled():
                    failure = task.exception()
                    if failure is None:
                        return task.result()
                    if not isinstance(failure, Exception):
                        raise failure
                    failures[target] = failure
                    if isinstance(failure, AfterContent) or (target is first and not _may_wait(failure)):
                        return failures
        return failures
    finally:
        for task in race.runners.values():
            task.cancel()
        await asyncio.gather(*race.runners.values(), return_exceptions=True)  # the loser's books are closed
        call.race = None
        if race.winner is not None:
            trail.target = race.winner


def _may_wait(failure: Exception) -> bool:
    """Is the other one's answer still wanted? Not if the request itself is wrong."""
    return isinstance(failure, RequestError) and (failure.status >= 500 or failure.status in (404, 429))
