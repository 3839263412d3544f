"""How much of this machine other programs use while something is measured: a timed figure may fail by that alone."""

import os
import time
from pathlib import Path

CROWDED = 0.15  # share of the CPUs from where a failure may be the machine's
TICKS_S = os.sysconf("SC_CLK_TCK")


class Busy:
    """From when it is made. Children count as ours once they have ended."""

    def __init__(self) -> None:
        self._since, self._all, self._own = time.monotonic(), _all_s(), _own_s()

    def others(self) -> float | None:
        """Share of the CPUs, 0 to 1; None where the system does not tell."""
        now, seconds = _all_s(), time.monotonic() - self._since
        if now is None or self._all is None or seconds <= 0:
            return None
        used = now - self._all - (_own_s() - self._own)
        return min(1.0, max(0.0, used / (seconds * (os.cpu_count() or 1))))


def crowded(exit_status: int, others: float | None) -> str:
    """A sentence for an answer that a quiet machine may not have given; else ""."""
    if exit_status not in (1, 3) or others is None or others < CROWDED:
        return ""
    return (
        f" (Other programs used {100 * others:.0f} % of this machine's CPUs meanwhile, and what is timed may fail by "
        "that: repeat it on a quiet one.)"
    )


def _own_s() -> float:
    return sum(os.times()[:4])


def _all_s() -> float | None:
    """CPU seconds of every program since the start of the system, and what a hypervisor gave to others; proc(5)."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields)
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq + steal) / TICKS_S
