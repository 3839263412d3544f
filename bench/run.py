"""What we claim about speed: Waterline with everything on, beside a plain proxy, in the same minutes, on one core.

    python bench/run.py            about five minutes
    python bench/run.py --quick    under one minute, one round, no installation
    python bench/run.py --write    also writes bench/RESULTS.md

The gateway has CPU 0 to itself, the load and the upstream share CPU 1. Subjects take turns, and of each figure the best
round counts: a disturbance only ever makes a figure worse. CPU time is that of the whole process tree, and it counts
until the last trace of the load is in the database.
"""

import argparse
import datetime
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import host
from install_size import Installed, install_size
from programs import MissingTool, compiled, go_proxy
from report import Figure, Target, table
from servers import MANNERS, Direct, Proxy, Subject, Upstream, Waterline, first_answer_s, plain_proxy, request_body

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "RESULTS.md"
EVENTS = 64
RATE = 200
DRAIN_S = 300


@dataclass(frozen=True)
class Load:
    """One way of loading a subject."""

    manners: str
    stream: bool
    connections: int
    rate: float = 0.0


SATURATED = Load("instant", False, 64)
OPEN = Load("slow", False, 256, RATE)
BURSTS = Load("instant", True, 16)
PACED = Load("paced", True, 16)


@dataclass(frozen=True)
class Seen:
    """What one round showed. CPU times are microseconds a request."""

    cpu_us: float
    loop_us: float  # of the first thread: the event loop
    per_second: float
    per_second_stored: float  # counted until the last trace is in the database
    p50_us: float
    p99_us: float

    @property
    def rest_us(self) -> float:
        return self.cpu_us - self.loop_us


class Bench:
    def __init__(self, work: Path, quick: bool) -> None:
        self.work = work
        self.rounds, self.seconds = (1, 1.5) if quick else (3, 4.0)
        self.growth_requests = 10_000 if quick else 50_000
        self.load_program = str(compiled("load"))
        self.others = host.Others()
        self.wrong: dict[str, int] = {}  # by proxy: requests without a whole answer

    def body(self, load: Load) -> str:
        path = self.work / f"{load.manners}-{load.stream}.json"
        if not path.exists():
            path.write_bytes(request_body(load.manners, stream=load.stream))
        return str(path)

    def put(self, subject: Subject, load: Load, *, seconds: float, requests: int = 0) -> Seen:
        """One round, its backlog included. Raises RuntimeError if a request was not answered as it should be."""
        words = [str(subject.port), subject.path(load.manners), self.body(load), str(load.connections), str(load.rate)]
        command = [self.load_program, *words, str(seconds), str(requests), *subject.headers]
        cpu, loop, begun = host.cpu_s(subject.pid), host.main_thread_cpu_s(subject.pid), time.monotonic()
        done = subprocess.run(host.pinned(host.LOAD_CPU, command), capture_output=True, text=True, check=True)
        said = json.loads(done.stdout)
        wrong = said["failed"] + said["unanswered"] + said["never_sent"]
        if wrong and isinstance(subject, Proxy):  # not ours to answer for, but ours to tell
            self.wrong[subject.name] = self.wrong.get(subject.name, 0) + wrong
        elif wrong or not said["requests"]:
            raise RuntimeError(f"{subject.name} did not answer everything: {said}\n{done.stderr}")
        while subject.waiting():
            if time.monotonic() > begun + seconds + DRAIN_S:
                raise RuntimeError(f"{subject.name} still has {subject.waiting()} traces in its spool")
            time.sleep(0.1)
        stored = time.monotonic() - begun
        n = said["requests"]
        return Seen(
            (host.cpu_s(subject.pid) - cpu) * 1e6 / n,
            (host.main_thread_cpu_s(subject.pid) - loop) * 1e6 / n,
            said["per_second"],
            n / max(stored, said["seconds"]),
            said["p50_us"],
            said["p99_us"],
        )

    def take_turns(self, subjects: list[Subject], load: Load) -> dict[str, list[Seen]]:
        seen: dict[str, list[Seen]] = {subject.name: [] for subject in subjects}
        for subject in subjects:
            self.put(subject, load, seconds=0.5)  # warm-up: connections, learned lengths, caches
        self.others.start([subject.pid for subject in subjects])
        for at in range(self.rounds):
            for subject in subjects if at % 2 == 0 else reversed(subjects):
                seen[subject.name].append(self.put(subject, load, seconds=self.seconds))
        self.others.stop()
        return seen


def measure(bench: Bench, quick: bool) -> tuple[list[Figure], list[str]]:
    """The figures, and what must be said about them."""
    notes: list[str] = []
    with ExitStack() as stack:
        figures = _measured(bench, stack, notes)
    figures += _installed(notes, quick)
    return figures, notes


def _measured(bench: Bench, stack: ExitStack, notes: list[str]) -> list[Figure]:
    upstream = Upstream(bench.work)
    stack.callback(upstream.stop)
    direct = Direct(upstream)
    first = Waterline(bench.work, upstream)  # makes the data folder, the release and the key
    first_start_s = first_answer_s(first, first.begun, request_body("instant", stream=False))
    first.stop()
    ours = Waterline(bench.work, upstream)
    stack.callback(ours.stop)
    start_s = first_answer_s(ours, ours.begun, request_body("instant", stream=False))
    plain = plain_proxy(bench.work, upstream)
    stack.callback(plain.stop)
    plain_start_s = first_answer_s(plain, plain.begun, request_body("instant", stream=False))
    subjects: list[Subject] = [plain, ours]
    go_program = go_proxy()
    if go_program is None:
        notes.append("Go proxy: not installed (no `go` on the PATH).")
    else:
        subjects.append(Proxy("Go proxy", [str(go_program), str(upstream.port)], bench.work))
        stack.callback(subjects[-1].stop)
    go = subjects[-1] if go_program is not None else None
    time.sleep(1)
    idle = {s.name: host.resident_mb(s.pid) for s in subjects}
    figures: list[Figure] = []

    def best(seen: dict[str, list[Seen]], of: str, most: bool = False, divide: float = 1.0) -> list[float | None]:
        """Of Waterline, the plain proxy, the Go proxy."""
        pick = max if most else min
        return [
            pick(getattr(s, of) for s in seen[x.name]) / divide if x is not None else None for x in (ours, plain, go)
        ]

    seen = bench.take_turns(subjects, SATURATED)
    whole = min(seen[ours.name], key=lambda s: s.cpu_us)
    figures += [
        Figure("CPU a request, until it is in the database", "us", *best(seen, "cpu_us"), Target(80, 150)),
        Figure("  of which the event loop", "us", whole.loop_us, *best(seen, "loop_us")[1:]),
        Figure("  of which drainer, database, sync to disk", "us", whole.rest_us),
        Figure("requests/s on one core", "1/s", *best(seen, "per_second", True), Target(11_000, 6_000, True)),
        Figure("  until all are in the database", "1/s", *best(seen, "per_second_stored", True)[:1]),
    ]
    seen = bench.take_turns(subjects, BURSTS)
    figures.append(Figure("CPU a streamed chunk, 64 in a burst", "us", *best(seen, "cpu_us", divide=EVENTS), Target(7)))
    seen = bench.take_turns(subjects, PACED)
    figures.append(Figure("CPU a streamed chunk, one every 2 ms", "us", *best(seen, "cpu_us", divide=EVENTS)))

    seen = bench.take_turns([direct, *subjects], OPEN)
    for of, target in (("p50_us", Target(0.6)), ("p99_us", None)):
        alone = min(getattr(s, of) for s in seen[direct.name])
        added = [None if v is None else (v - alone) / 1000 for v in best(seen, of)]
        figures.append(Figure(f"added {of[:3]} at {RATE} requests/s", "ms", *added, target))
    alone = min(s.p50_us for s in seen[direct.name])
    notes.append(f"Latency is added to that of the upstream alone, p50 {alone / 1000:.2f} ms (it waits 50 ms).")

    bench.put(ours, SATURATED, seconds=60, requests=10_000)
    before = host.resident_mb(ours.pid)
    bench.put(ours, SATURATED, seconds=600, requests=bench.growth_requests)
    after = host.resident_mb(ours.pid)
    figures += [
        Figure("resident memory, idle", "MB", idle[ours.name], idle[plain.name], go and idle[go.name], Target(80)),
        Figure(
            "resident memory, after all this",
            "MB",
            after,
            host.resident_mb(plain.pid),
            go and host.resident_mb(go.pid),
        ),
        Figure(f"  growth over {bench.growth_requests:,} requests", "MB", max(0.0, after - before), target=Target(2)),
        Figure("start to first answered request", "s", start_s, plain_start_s, target=Target(1)),
        Figure("  the very first, on an empty data folder", "s", first_start_s),
    ]
    metrics = ours.metrics()
    traces = {k.rsplit("_", 1)[1]: int(v) for k, v in metrics.items() if k.startswith("waterline_traces_")}
    notes.append("Loss account at the end, in records: " + ", ".join(f"{n:,} {k}" for k, n in traces.items()) + ".")
    if traces["lost"] or traces["rejected"] or traces["emitted"] != traces["stored"]:
        raise RuntimeError(f"traces are missing: {traces}")
    return figures


def _installed(notes: list[str], quick: bool) -> list[Figure]:
    installed: Installed | None = None
    if quick:
        notes.append("Installed size: not measured with --quick.")
    else:
        try:
            installed = install_size()
        except (OSError, subprocess.CalledProcessError) as error:
            notes.append(f"Installed size: not measured ({error}).")
    return [
        Figure("installed size", "MB", installed and installed.megabytes, target=Target(110)),
        Figure("installed packages", "", installed and float(installed.packages), target=Target(42)),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--write", action="store_true", help="write bench/RESULTS.md")
    asked = parser.parse_args()
    if not {host.GATEWAY_CPU, host.LOAD_CPU} <= os.sched_getaffinity(0):
        print("The bench needs CPUs 0 and 1: one for the gateway, one for the load.", file=sys.stderr)
        return 3
    before = host.calibrate()
    try:
        with tempfile.TemporaryDirectory(prefix="waterline-bench-") as folder:
            bench = Bench(Path(folder), asked.quick)
            figures, notes = measure(bench, asked.quick)
    except MissingTool as error:
        print(error, file=sys.stderr)
        return 3
    after = host.calibrate()
    notes += [f"{name}: {n} requests got no whole answer." for name, n in bench.wrong.items()]
    doubt = host.disturbed(before, after, bench.others.share)
    notes += [
        f"Best of {bench.rounds} round(s) of {bench.seconds:g} s each, in turns.",
        f"Fixed Python work on the gateway's CPU: before {before}, after {after}.",
        f"The host was DISTURBED: {doubt}. Trust the ratios more than the figures." if doubt else "The host was quiet.",
    ]
    made = table(figures)
    print(made + "\n")
    for note in notes:
        print(f"* {note}")
    if asked.write:
        RESULTS.write_text(_results(made, notes))
        print(f"\nwritten to {RESULTS.relative_to(ROOT)}")
    return 0


def _results(made: str, notes: list[str]) -> str:
    command = shlex.join(["python", "bench/run.py", *sys.argv[1:]])
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    said = "\n".join(f"* {note}" for note in notes)
    return f"""# Bench results

Made by `{command}` on {now}, commit {commit or "unknown"}. Not edited by hand; what each figure means is in
[README.md](README.md).

Machine: {host.machine()}.

{made}

{said}
"""


assert MANNERS["instant"].split(".")[1] == MANNERS["paced"].split(".")[1] == str(EVENTS)

if __name__ == "__main__":
    sys.exit(main())
