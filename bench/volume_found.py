"""What a run of volume.py came to: counted, held against what is expected, and told on a page."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import volume_leads
from host import machine
from volume_leads import People

MONTH_LEADS = 500_000
DUPLICATES = 0.02  # of the web hooks
REPEATED = 0.01  # of the web hooks: a machine that is busy otherwise answers some too late; more is a mistake of ours
BRANCHES = 300
QUIET_S = 0.2


@dataclass
class Sample:
    at_s: float
    leads: int
    replies: int
    rss_mb: float
    cpu_s: float
    disk_mb: float
    under_way: int


@dataclass
class Run:
    leads: int
    minutes: float
    traced: bool
    samples: list[Sample] = field(default_factory=list)
    took_s: float = 0.0
    idle_rss_mb: float = 0.0
    cpu_s: float = 0.0
    books: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    files_mb: dict[str, float] = field(default_factory=dict)
    hooks: int = 0
    refused: int = 0
    rest_cpu_s: float = 0.0  # of the telephones, the load and the simulated model
    others: float = 0.0  # of all CPUs' time, used by what is not ours
    late_s: float = 0.0  # the most that a lead began later than it was due
    pieces: int = 1
    before: int = 0  # leads whose rows were there
    turns_before: int = 0
    mb_before: float = 0.0
    acted_again: int = 0  # under the same key, in a later piece


def rows(database: Path) -> dict[str, int]:
    """What the database has, once the server has ended."""
    asked = {
        "conversations": "SELECT COUNT(*) FROM conversations",
        "people": "SELECT COUNT(*) FROM identities",
        "messages": "SELECT COUNT(*) FROM inbox WHERE kind = 'text'",
        "outcomes": "SELECT COUNT(*) FROM inbox WHERE kind = 'outcome'",
        "unread": "SELECT COUNT(*) FROM inbox WHERE turn = 0",
        "turns": "SELECT COUNT(*) FROM turns",
        "replies done": "SELECT COUNT(*) FROM effects WHERE lane = 'reply' AND state = 'done'",
        "acts done": "SELECT COUNT(*) FROM effects WHERE lane <> 'reply' AND state = 'done'",
        "effects not done": "SELECT COUNT(*) FROM effects WHERE state <> 'done'",
        "sent": "SELECT COUNT(*) FROM sent_messages",
        "read": "SELECT COUNT(*) FROM sent_messages WHERE state = 'read'",
        "handoffs": "SELECT COUNT(*) FROM handoffs",
        "traces": "SELECT COUNT(*) FROM traces",
    }
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return {name: connection.execute(sql).fetchone()[0] for name, sql in asked.items()}


def books(run: Run, work: Path, people: People) -> dict[str, int]:
    """Calls of the calendar and the CRM. One key called twice is a mistake where nothing was stopped; after a stop an
    act is called again under the same key, which a real system recognises."""
    calls: dict[str, set[str]] = {"calendar": set(), "crm": set()}
    for piece in range(1, run.pieces + 1):
        here: set[tuple[str, str]] = set()
        file = work / f"books-{piece}"
        for line in file.read_text().splitlines() if file.exists() else ():
            connector, key, _ = line.split(" ")
            if (connector, key) in here:
                people.blame("acted twice", line)
            elif key in calls[connector]:
                run.acted_again += 1
            here.add((connector, key))
            calls[connector].add(key)
    return {name: len(keys) for name, keys in calls.items()}


def findings(run: Run, people: People) -> list[str]:
    """What is wrong; empty: nothing."""
    wrong = [f"{count} times: {what}" for what, count in people.wrong.items()] + people.examples
    expected = {
        "conversations": run.leads, "people": run.leads, "messages": people.messages, "outcomes": run.leads,
        "unread": 0, "replies done": people.replies, "acts done": 2 * run.leads, "effects not done": 0,
        "sent": people.replies, "read": people.replies, "handoffs": 0,
    }  # fmt: skip
    wrong += [f"{name}: {run.rows[name]} rows, {n} expected" for name, n in expected.items() if run.rows[name] != n]
    if run.refused > REPEATED * run.hooks:
        wrong.append(f"{run.refused} changes were not taken by the web hook at once and came again")
    wrong += [f"{name} was called {n} times for {run.leads} leads" for name, n in run.books.items() if n != run.leads]
    if people.finished != run.leads:
        wrong.append(f"{people.finished} of {run.leads} leads came to an end")
    if run.status["lost"] or run.status["rejected"] or run.status["waiting"]:
        wrong.append(f"traces: {run.status}")
    return wrong


def size_mb(path: Path) -> float:
    total = 0
    files = [path, path.with_name(path.name + "-wal")] if path.suffix == ".db" else path.rglob("*")
    for file in files:
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    return total / 2**20


def quantile(latency: Mapping[int, int], q: float) -> float:
    """Seconds."""
    left = int(q * sum(latency.values()))
    for hundredths in sorted(latency):
        left -= latency[hundredths]
        if left < 0:
            return hundredths / 100
    return 0.0


def page(run: Run, people: People, wrong: list[str]) -> str:
    turns, latency = run.rows["turns"], people.latency
    compress = volume_leads.DAYS * 1440 / run.minutes
    rates = [
        (after.replies - before.replies) / (after.at_s - before.at_s)
        for before, after in pairwise(run.samples)
        if after.at_s - before.at_s > 5
    ]
    half, last = run.samples[len(run.samples) // 2], run.samples[-1]
    said, together = volume_leads.SAID, 100 * volume_leads.TOGETHER
    shape = "the trace named in volume_leads.py" if run.traced else "evenly (the trace is not here)"
    before = f" --before {run.before}" if run.before else ""
    verdict = "nothing lost, nothing doubled, order kept" if not wrong else "WRONG: " + "; ".join(wrong[:10])
    again = f"; {run.acted_again} acts were called a second time, under the same key" if run.acted_again else ""
    table = {
        "run": f"{run.leads:,} leads of a month of {MONTH_LEADS:,} ({100 * run.leads / MONTH_LEADS:.1f} %), 30 days in "
        f"{run.took_s / 60:.1f} minutes (time {compress:,.0f} times as quick); within an hour {shape}",
        "before it": f"the database had the rows of {run.before:,} leads ({run.turns_before:,} turns, "
        f"{run.mb_before:,.0f} MB), copied from those of a small real run" if run.before else "an empty database",
        "pieces": f"{run.pieces}" + (
            f": server, telephones and load were stopped {run.pieces - 1} times and went on with the same "
            f"database{again}" if run.pieces > 1 else ", without a stop"
        ),
        "what happened": f"{people.messages:,} messages, {turns:,} turns, {people.replies:,} replies, "
        f"{sum(run.books.values()):,} acts, {run.hooks:,} changes by web hook ({100 * DUPLICATES:g} % twice), "
        f"{run.rows['traces']:,} model calls, {BRANCHES} branches",
        "checked": verdict,
        "turns a second, mean": f"{turns / run.took_s:.1f}",
        "replies a second, busiest 10 s": f"{max(rates, default=0.0):.1f}",
        "CPU a turn, server": f"{1000 * run.cpu_s / max(1, turns):.2f} ms (all of it: web hooks, statuses, traces, "
        f"database), so {max(1, turns) / max(run.cpu_s, 1e-9):.0f} turns a second would fill one core",
        "CPU a turn, all else": f"{1000 * run.rest_cpu_s / max(1, turns):.2f} ms (telephones, load, simulated model)",
        "message to reply": " ".join(
            f"p{100 * q:g} {quantile(latency, q):.2f} s" for q in (0.5, 0.95, 0.99, 0.999)
        ) + f", of which the quiet time {QUIET_S:g} s, the web hook's delay 0.02 s and the model's own time "
        "(p50 0.25 s, p95 0.6 s)",
        "memory, server": f"{run.idle_rss_mb:.0f} MB before, {half.rss_mb:.0f} MB at half time, "
        f"{last.rss_mb:.0f} MB at the end, {max(s.rss_mb for s in run.samples):.0f} MB at most",
        "disk": ", ".join(f"{name} {mb:,.0f} MB" for name, mb in run.files_mb.items())
        + f"; {1024 * (run.files_mb['the database'] - run.mb_before) / max(1, turns):.1f} KB a turn, model calls and "
        "texts included",
        "changes by web hook that came again, not being answered in time": f"{run.refused:,}",
        "the machine, used by others": f"{100 * run.others:.0f} % of {os.cpu_count()} CPUs, load average "
        f"{os.getloadavg()[2]:.1f} over the last 15 minutes",
        "leads under way at once, most": f"{max(s.under_way for s in run.samples):,}",
        "the load came late by, most": f"{run.late_s:.2f} s",
        "messages of one second that came the other way round": f"{people.same_second} (nobody could tell)",
    }  # fmt: skip
    lines = "\n".join(f"| {name} | {value} |" for name, value in table.items())
    return f"""# Volume

    python bench/volume.py --leads {run.leads} --minutes {run.minutes:g}{before} --write

| what | figure |
| --- | --- |
{lines}

The server is a Waterline as it runs, with every model call traced and stored, budgets on, the real WhatsApp channel
(signed web hooks in, Graph API out) and {BRANCHES} branches from the spreadsheet of `examples/branches.py`. The
telephones (`waterline simulate whatsapp`), the load and the simulated model shared the machine with it. A lead writes
{said} messages, {together:g} % of them right behind the one before; the last but one asks for a visit, which is booked
in a calendar and noted in a CRM that write down every call. Each reply repeats what it answers, so a telephone sees
what was lost, doubled or out of order; the rows of the database are counted against it.

Time is compressed: a second of this run has the messages of {compress / 60:,.0f} minutes of such a month with
{run.leads:,} leads. A month of {MONTH_LEADS:,} leads has {8 * MONTH_LEADS / 30 / 86_400:.2f} turns a second on
average. Nothing on this page is extrapolated to it.

{machine()}, {time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}
"""
