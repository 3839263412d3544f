"""The machine under the measurement: CPU time and memory of a process tree, and how disturbed the host was.

CPU time comes from /proc/PID/stat and /proc/PID/task/TID/stat (proc(5)); its grain is a clock tick, 10 ms.
"""

import os
import platform
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
GATEWAY_CPU, LOAD_CPU = 0, 1
_WORK = """
import time
wall, cpu = time.perf_counter(), time.process_time()
total, seen = 0, {}
for i in range(1_000_000):
    seen[i & 1023] = i
    total += i % 7
print(time.process_time() - cpu, time.perf_counter() - wall)
"""


def pinned(cpu: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(cpu), *command]


def tree(pid: int) -> list[int]:
    """The process and everything it started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(entry / "stat")
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        left += children.get(one, [])
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, of a process tree."""
    return sum(_busy(Path(f"/proc/{one}/stat")) for one in tree(pid))


def main_thread_cpu_s(pid: int) -> float:
    """CPU seconds of the first thread of a process alone: in Waterline, the event loop."""
    return _busy(Path(f"/proc/{pid}/task/{pid}/stat"))


def resident_mb(pid: int) -> float:
    kilobytes = 0
    for one in tree(pid):
        try:
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
        except OSError:
            continue
        kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return kilobytes / 1024


def all_cpus_busy_s() -> float:
    """CPU seconds that anything on this machine has used, and that the hypervisor gave to others (steal)."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(f) for f in fields[:8])
    return (user + nice + system + irq + softirq + steal) * TICK_S


def _stat(path: Path) -> list[str]:
    """The fields after the command's name, empty if the process has gone. [1]: the parent, [11] and [12]: the times."""
    try:
        return path.read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def _busy(path: Path) -> float:
    fields = _stat(path)
    return (int(fields[11]) + int(fields[12])) * TICK_S if fields else 0.0


@dataclass
class Calibration:
    """A fixed piece of Python work on the gateway's CPU: best CPU time of five, and its slowest wall time."""

    cpu_s: float
    wall_s: float

    def __str__(self) -> str:
        return f"{self.cpu_s * 1000:.0f} ms CPU, at worst {self.wall_s * 1000:.0f} ms by the clock"


def calibrate() -> Calibration:
    cpu, wall = [], []
    for _ in range(5):
        said = subprocess.run(
            pinned(GATEWAY_CPU, [sys.executable, "-c", _WORK]), capture_output=True, text=True, check=True
        ).stdout.split()
        cpu.append(float(said[0]))
        wall.append(float(said[1]))
    return Calibration(min(cpu), max(wall))


class Others:
    """What programs that are not ours used of the CPUs, from `start` to `share`."""

    def __init__(self) -> None:
        self.used_s = self.wall_s = 0.0

    def start(self, ours: list[int]) -> None:
        self._ours = ours
        self._begun = (all_cpus_busy_s(), self._own(), time.monotonic())

    def stop(self) -> None:
        busy, own, at = self._begun
        self.used_s += max(0.0, all_cpus_busy_s() - busy - (self._own() - own))
        self.wall_s += time.monotonic() - at

    @property
    def share(self) -> float:
        """Of all CPUs, 0 to 1."""
        return self.used_s / (self.wall_s * (os.cpu_count() or 1)) if self.wall_s else 0.0

    def _own(self) -> float:
        return sum(cpu_s(pid) for pid in self._ours) + sum(os.times()[:4])  # children that have ended among them


def disturbed(before: Calibration, after: Calibration, others: float) -> str:
    """Why the figures are to be doubted, or "" for a quiet host."""
    why = []
    if others > 0.05:
        why.append(f"other programs used {others:.0%} of the CPUs")
    slow = max(before.wall_s, after.wall_s) / min(before.cpu_s, after.cpu_s)
    if slow > 1.25:
        why.append(f"the fixed work took up to {slow:.1f} times its CPU time")
    drift = max(before.cpu_s, after.cpu_s) / min(before.cpu_s, after.cpu_s)
    if drift > 1.1:
        why.append(f"the CPU's speed changed by {drift - 1:.0%} between start and end")
    return "; ".join(why)


def machine() -> str:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return (
        f"{os.cpu_count()} x {model}, {memory_kb / 2**20:.1f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {_build()}"
    )


def _build() -> str:
    """Without profile-guided optimisation (pyenv's default) CPython is a third slower; distributions and container
    images have it. Debian's says so nowhere: it is optimised after it is configured."""
    if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        return "built with profile-guided optimisation"
    if sys.base_prefix == "/usr":
        return "as its distribution builds it"
    return "built WITHOUT profile-guided optimisation"
