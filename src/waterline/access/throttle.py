"""Too many failures from one address: logins to the console, and API keys that are wrong.

A key cannot be guessed anyway (256 random bits); this keeps noise and load down, and tells a guesser apart in the log.
"""

import ipaddress
import logging
from collections import OrderedDict, deque
from collections.abc import Callable

from waterline.core.errors import InvalidApiKey, RateLimited, RequestError

log = logging.getLogger("waterline.access")


class Throttle:
    """At most `failures` in `window_s` from one address (IPv6: one /64). Bounded: of too many addresses the least
    recent is forgotten."""

    def __init__(
        self,
        clock_us: Callable[[], int],
        *,
        what: str = "failed logins",
        failures: int = 10,
        window_s: int = 300,
        addresses: int = 10_000,
    ) -> None:
        self._clock_us = clock_us
        self._what = what
        self._failures = failures
        self._window_us = window_s * 1_000_000
        self._addresses = addresses
        self._seen: OrderedDict[str, deque[int]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raises RateLimited while there are too many recent failures."""
        times = self._seen.get(_network(address))
        if times is None:
            return
        now_us = self._clock_us()
        while times and times[0] <= now_us - self._window_us:
            times.popleft()
        if len(times) >= self._failures:
            wait_s = max(1, -(-(times[0] + self._window_us - now_us) // 1_000_000))
            raise RateLimited(
                f"{len(times)} {self._what} from this address in {self._window_us // 60_000_000} minutes. "
                f"Try again in {wait_s} seconds.",
                retry_after_s=wait_s,
            )

    def failed(self, address: str) -> None:
        network = _network(address)
        times = self._seen.setdefault(network, deque(maxlen=self._failures))
        times.append(self._clock_us())
        self._seen.move_to_end(network)
        if len(self._seen) > self._addresses:
            self._seen.popitem(last=False)

    def passed(self, address: str) -> None:
        self._seen.pop(_network(address), None)


class WrongKeys:
    """What an address that sends wrong API keys is told: why, and after too many of them 429 and when to come back.

    Asked only when a key is wrong, so a right one costs nothing and works from any address at any time: whoever shares
    an address with a guesser (a proxy, an office) is not shut out."""

    def __init__(self, clock_us: Callable[[], int], *, failures: int = 20, window_s: int = 120) -> None:
        self._throttle = Throttle(clock_us, what="wrong API keys", failures=failures, window_s=window_s)

    def answer(self, error: InvalidApiKey, address: str) -> RequestError:
        """`address`: empty where there is none (a test, a socket of the machine's own): nothing is counted."""
        if not address:
            return error
        try:
            self._throttle.check(address)
        except RateLimited as limited:
            return limited
        self._throttle.failed(address)
        try:
            self._throttle.check(address)
        except RateLimited:
            log.warning("too many wrong API keys from %s; further ones are answered 429 for a while", address)
        return error


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
