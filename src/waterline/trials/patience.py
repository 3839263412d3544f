"""Waiting out a provider that says later: one caller's 429 is the provider's answer to all of them."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

from waterline.trials.calls import Call

ATTEMPTS = 6  # at least, of one question that is told to come back later,
WAITED_S = 20.0  # ... for so long: where many wait, the same one may come too late several times
LONGEST_PAUSE_S = 60.0
LATER = frozenset(("rate_limited", "overloaded"))
PROVIDERS_FAULT = LATER | {"provider_unavailable", "provider_timeout", "connection"}


class Patience:
    """Shared by everybody who asks the same provider."""

    def __init__(self) -> None:
        self._paused_until = 0.0

    async def __call__(self, ask: Callable[[], Awaitable[Call]], gone: Callable[[], bool] = lambda: False) -> Call:
        """Asks again while the provider says later. `gone`: there is no use any more."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        for attempt in count():
            while (pause := self._paused_until - loop.time()) > 0.0:  # noqa: ASYNC110  another's 429 may make it longer
                await asyncio.sleep(pause)
            call = await ask()
            # A route that cools down after a 429 is unavailable, and says for how long.
            later = call.code in LATER or (call.code in PROVIDERS_FAULT and call.retry_after_s is not None)
            enough = attempt >= ATTEMPTS - 1 and loop.time() - begun_s >= WAITED_S
            if not later or enough or gone():
                return call
            wait = call.retry_after_s if call.retry_after_s is not None else 2.0 ** min(attempt, ATTEMPTS)
            self._paused_until = max(self._paused_until, loop.time() + min(wait, LONGEST_PAUSE_S))
        raise AssertionError("the last attempt returns")
