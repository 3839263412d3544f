"""Places that are shared fairly: however many calls one holder has waiting, the others are hardly later for it."""

import asyncio
import math
from collections import deque

MOST_OF_ALL = 0.75  # what one holder may have of all places


class Fair:
    """`total` places. One holder has three quarters of them at most; a place that becomes free goes to the holder who
    has the fewest, and within a holder to who has waited longest."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._most = max(1, math.ceil(total * MOST_OF_ALL))
        self._held: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def place(self, holder: str) -> "_Place":
        """`async with fair.place(holder): ...`"""
        return _Place(self, holder)

    async def take(self, holder: str) -> None:
        if self._free and holder not in self._waiting and self._held.get(holder, 0) < self._most:
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

    def _grant(self, holder: str) -> None:
        self._free -= 1
        self._held[holder] = self._held.get(holder, 0) + 1

    def _poorest(self) -> str | None:
        waiting = [(self._held.get(holder, 0), n, holder) for n, holder in enumerate(self._waiting)]
        held, _, holder = min(waiting, default=(self._most, 0, ""))
        return holder if held < self._most else None

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
