"""What we know about a target: is it cooling down, and may one probe go to it.

A cool-down is extended, never shortened. A target that failed three times in a row is left alone for 2 s, then twice
as long each time, at most 15 s; when that is over, one probe goes through and the others wait for what it says.
"""

FAILURES_TO_OPEN = 3
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 15.0
PROBE_PATIENCE_S = 30.0


class Health:
    def __init__(self) -> None:
        self.failures = 0
        self.not_before_s = 0.0
        self.probing_since_s = 0.0
        self.pauses = 0

    def usable(self, now_s: float) -> bool:
        """May a request go to this target now?"""
        if now_s < self.not_before_s:
            return False
        return self.pauses == 0 or now_s - self.probing_since_s > PROBE_PATIENCE_S

    def begin(self, now_s: float) -> None:
        if self.pauses:
            self.probing_since_s = now_s  # this request is the probe

    def succeeded(self) -> None:
        self.failures = self.pauses = 0
        self.probing_since_s = 0.0

    def neutral(self) -> None:
        """It ended without telling anything about the target (the caller left)."""
        self.probing_since_s = 0.0

    def rate_limited(self, now_s: float, retry_after_s: float | None) -> None:
        self.probing_since_s = 0.0
        self.not_before_s = max(self.not_before_s, now_s + (1.0 if retry_after_s is None else retry_after_s))

    def failed(self, now_s: float) -> None:
        self.failures += 1
        self.probing_since_s = 0.0
        if self.failures >= FAILURES_TO_OPEN:
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self.pauses)
            self.pauses = min(self.pauses + 1, 8)
            self.not_before_s = max(self.not_before_s, now_s + pause)
