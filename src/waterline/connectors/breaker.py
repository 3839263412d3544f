"""May a call go to this system now?

    closed --failures in a row, or wrong credentials--> open --pause--> one probe --success--> closed
                                                          ^               | failure
                                                          +-- longer -----+

How many failures and which pauses a connector's manifest declares.

One probe at a time; the next in time by when it began, so a silent one holds nobody up. A call that began before the
system was found to be down says nothing about now. Wrong credentials open it at once: repeating them locks accounts.
The clock is the caller's, in seconds.
"""

from waterline.connectors.base import Breaking

CREDENTIALS_PAUSE_S = 30.0
LONGEST_PAUSE_S = 5.0  # a system that wants to be left alone for longer is, by all calls


class Breaker:
    def __init__(self, declared: Breaking) -> None:
        self.declared = declared
        self.failures = 0  # in a row
        self.pauses = 0  # probes since it opened, and 1; 0: closed
        self.opened_s = 0.0
        self.probe_after_s = 0.0
        self.why = ""  # the message of the failure that opened it
        self.kind = "down"

    @property
    def open(self) -> bool:
        return self.pauses > 0

    def wait_s(self, now_s: float) -> float:
        """0: a call may go now. Else how long until it is worth asking again."""
        return max(0.0, self.probe_after_s - now_s) if self.pauses else 0.0

    def begin(self, now_s: float) -> None:
        """A call goes; only right after `wait_s` said 0. While open, it is the probe."""
        if self.pauses:
            self._pause(now_s)

    def succeeded(self, began_s: float) -> None:
        """It was answered, be it with a refusal."""
        if not self.pauses or began_s >= self.opened_s:
            self.failures = self.pauses = 0

    def failed(self, now_s: float, began_s: float, kind: str, why: str, retry_after_s: float | None = None) -> None:
        if self.pauses and began_s < self.opened_s:
            return
        self.failures += 1
        at_least_s = max(CREDENTIALS_PAUSE_S if kind == "credentials" else 0.0, retry_after_s or 0.0)
        if not self.pauses and (at_least_s > LONGEST_PAUSE_S or self.failures >= self.declared.failures):
            self.opened_s = now_s
            self._pause(now_s)
        if self.pauses:
            self.kind, self.why = kind, why
            self.probe_after_s = max(self.probe_after_s, now_s + at_least_s)  # extended, never shortened

    def _pause(self, now_s: float) -> None:
        pauses_s = self.declared.pauses_s
        self.probe_after_s = max(self.probe_after_s, now_s + pauses_s[min(self.pauses, len(pauses_s) - 1)])
        self.pauses += 1
