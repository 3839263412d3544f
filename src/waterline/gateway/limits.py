"""Declared limits of an app: requests a minute, tokens a minute, requests at once. Exact within one process."""

from math import ceil

from waterline.core.app_spec import Limits
from waterline.core.errors import RateLimited

WINDOW_S = 60


class Window:
    """A sliding minute in sixty one-second slots: never more than the limit in any 60 s, to a second's grain."""

    def __init__(self) -> None:
        self._slots = [0] * WINDOW_S
        self._second = 0
        self.total = 0

    def _advance(self, second: int) -> None:
        if second < self._second - WINDOW_S:  # the clock was set back: what was counted is of another time
            self._slots, self._second, self.total = [0] * WINDOW_S, second, 0
            return
        gone = min(second - self._second, WINDOW_S)
        if gone <= 0:
            return
        for s in range(self._second + 1, self._second + 1 + gone):
            at = s % WINDOW_S
            self.total -= self._slots[at]
            self._slots[at] = 0
        self._second = second

    def now(self, now_s: float) -> int:
        second = int(now_s)
        if second != self._second:
            self._advance(second)
        return self.total

    def add(self, amount: int) -> None:
        """Now: right after `now`."""
        self._slots[self._second % WINDOW_S] += amount
        self.total += amount

    def correct(self, now_s: float, since_s: float, amount: int) -> None:
        """Less than was thought is given back to the second it was counted in, so that no slot goes negative."""
        self.now(now_s)
        if amount > 0:
            self.add(amount)
        elif 0 <= self._second - int(since_s) < WINDOW_S:
            at = int(since_s) % WINDOW_S
            back = min(-amount, self._slots[at])
            self._slots[at] -= back
            self.total -= back

    def seconds_until(self, now_s: float, room: int, limit: int) -> int:
        """Whole seconds until `room` more fit under `limit`; at most a minute."""
        self._advance(int(now_s))
        left = self.total
        for ahead in range(1, WINDOW_S + 1):
            left -= self._slots[(self._second + ahead) % WINDOW_S]
            if left + room <= limit:
                return max(1, ceil(self._second + ahead - now_s))
        return WINDOW_S


class AppLimits:
    """`admit` before anything is spent, `release` exactly once when the request has ended."""

    def __init__(self, app: str, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self.requests = Window()
        self.tokens = Window()
        self.in_flight = 0

    def update(self, limits: Limits) -> None:
        """New limits count from now on what the old ones have counted."""
        self.limits = limits

    def admit(self, now_s: float, tokens: int) -> None:
        """Raises RateLimited, with the seconds after which a retry can help."""
        limits = self.limits
        if limits.max_concurrency is not None and self.in_flight >= limits.max_concurrency:
            raise RateLimited(
                f'App "{self.app}" has {self.in_flight} requests in flight; the limit is {limits.max_concurrency}. '
                "Retry shortly, or raise max_concurrency in app.toml [limits].",
                retry_after_s=1,
            )
        if limits.rpm is not None and self.requests.now(now_s) >= limits.rpm:
            raise RateLimited(
                f'App "{self.app}" has made {self.requests.total} requests in the last minute; the limit is '
                f"{limits.rpm}. Retry after the time given, or raise rpm in app.toml [limits].",
                retry_after_s=self.requests.seconds_until(now_s, 1, limits.rpm),
            )
        if limits.tpm is not None and self.tokens.now(now_s) + tokens > limits.tpm:
            wanted = min(tokens, limits.tpm)  # what is larger than the limit may go when nothing else does
            if self.tokens.total + wanted > limits.tpm:
                raise RateLimited(
                    f'App "{self.app}" has used {self.tokens.total} tokens in the last minute; the limit is '
                    f"{limits.tpm}. Retry after the time given, or raise tpm in app.toml [limits].",
                    retry_after_s=self.tokens.seconds_until(now_s, wanted, limits.tpm),
                )
        self.in_flight += 1
        if limits.rpm is not None:
            self.requests.add(1)
        if limits.tpm is not None:
            self.tokens.add(tokens)

    def release(self, now_s: float, estimated_tokens: int, tokens: int, since_s: float) -> None:
        """Correct the estimate made at admission by what was really used."""
        self.in_flight -= 1
        if self.limits.tpm is not None:
            self.tokens.correct(now_s, since_s, tokens - estimated_tokens)
