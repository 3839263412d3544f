"""How many requests a provider takes at once, learned: more while answers come as quickly as usual, fewer as soon as it
limits us, fails or slows down. Beyond that a request goes to a fallback or is shed at once, the least important first,
before a queue can grow. Off by default (`[limits] adaptive_concurrency`).

Additive increase, multiplicative decrease (Chiu, Jain 1989); "slows down" compares a short average of the time to the
first byte with a long one, streamed and plain apart.
"""

from typing import Final

from waterline.core.app_spec import Priority

FIRST_LIMIT = 20.0
LEAST, MOST = 1.0, 10_000.0
LESS = 0.8
SLOWER = 2.0  # the short average over the long one
DECREASE_EVERY_S = 1.0  # the answers of one overload count once
SHORT, LONG = 0.2, 0.01  # weights of the averages
SHARES: Final[dict[Priority, float]] = {"low": 0.7, "normal": 0.9, "high": 1.0}


class _Times:
    def __init__(self) -> None:
        self.short_s = 0.0
        self.long_s = 0.0
        self.n = 0

    def slow(self, took_s: float) -> bool:
        self.n += 1
        if self.n <= 1 / LONG:  # plain means until there is enough to forget
            self.long_s += (took_s - self.long_s) / self.n
        else:
            self.long_s += LONG * (took_s - self.long_s)
        self.short_s += max(SHORT, 1 / self.n) * (took_s - self.short_s)
        return self.n > 10 and self.short_s > SLOWER * self.long_s


class Adaptive:
    def __init__(self) -> None:
        self.limit = FIRST_LIMIT
        self._decreased_s = -DECREASE_EVERY_S
        self._times = {False: _Times(), True: _Times()}

    def room(self, in_flight: int, priority: Priority) -> bool:
        return in_flight < max(LEAST, self.limit * SHARES[priority])

    def answered(self, now_s: float, stream: bool, took_s: float, in_flight: int) -> None:
        """`took_s`: to the first byte. `in_flight`: with this one."""
        if self._times[stream].slow(took_s):
            self.refused(now_s)
        elif 2 * in_flight >= self.limit:  # a limit that nobody reaches teaches nothing
            self.limit = min(MOST, self.limit + 1 / self.limit)

    def refused(self, now_s: float) -> None:
        """It limited us, failed or was too slow."""
        if now_s - self._decreased_s >= DECREASE_EVERY_S:
            self._decreased_s = now_s
            self.limit = max(LEAST, self.limit * LESS)
