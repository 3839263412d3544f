"""Places that are shared fairly: however many calls one holder has waiting, the others are hardly later for it."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

MOST_OF_ALL = 0.75  # what one holder may have of all places
MOST_WHEN_LATE = 0.125  # while the process is late and others are about: places are not what is short then
ABOUT_S = 10.0  # after their last place


class Fair:
    """`total` places. One holder has three quarters of them at most; a place that becomes free goes to the holder who
    has the fewest, and within a holder to who has waited longest.

    `late`: whether this process is. What one holder then does with three quarters of the places takes the processor
    from everybody at each of their steps, so it gets an eighth while others are about."""

    def __init__(
        self, total: int, late: Callable[[], bool] = lambda: False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._free = total
        self._most_of_all = max(1, math.ceil(total * MOST_OF_ALL))
        self._most_when_late = max(1, math.ceil(total * MOST_WHEN_LATE))
        self._late, self._clock = late, clock
        self._last = self._last_but_one = ("", -math.inf)  # the two holders who were served last, and when
        self._held: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def place(self, holder: str) -> "_Place":
        """`async with fair.place(holder): ...`"""
        return _Place(self, holder)

    async def take(self, holder: str) -> None:
        if self._free and holder not in self._waiting and self._held.get(holder, 0) < self._most(holder):
            self._grant(holder)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(holder, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(holder)  # it was given one in the same moment
            else:
                self._forget(holder, turn)
            raise

    def give_back(self, holder: str) -> None:
        self._free += 1
        self._held[holder] -= 1
        if not self._held[holder]:
            del self._held[holder]
        while self._free and (next_one := self._poorest()) is not None:
            turn = self._waiting[next_one][0]
            self._forget(next_one, turn)
            self._grant(next_one)
            turn.set_result(None)

    def _most(self, holder: str) -> int:
        if not self._late():
            return self._most_of_all
        other = self._last_but_one if self._last[0] == holder else self._last
        return self._most_when_late if self._clock() - other[1] < ABOUT_S else self._most_of_all

    def _grant(self, holder: str) -> None:
        if self._last[0] != holder:
            self._last_but_one = self._last
        self._last = (holder, self._clock())
        self._free -= 1
        self._held[holder] = self._held.get(holder, 0) + 1

    def _poorest(self) -> str | None:
        waiting = [(self._held.get(holder, 0), n, holder) for n, holder in enumerate(self._waiting)]
        held, _, holder = min(waiting, default=(0, 0, ""))
        return holder if waiting and held < self._most(holder) else None

    def _forget(self, holder: str, turn: "asyncio.Future[None]") -> None:
        """Who has been served goes behind the others."""
        queue = self._waiting.pop(holder, None)
        if queue is None:
            return
        queue.remove(turn)
        if queue:
            self._waiting[holder] = queue


class _Place:
    def __init__(self, fair: Fair, holder: str) -> None:
        self._fair = fair
        self._holder = holder

    async def __aenter__(self) -> None:
        await self._fair.take(self._holder)

    async def __aexit__(self, *_: object) -> None:
        self._fair.give_back(self._holder)
