"""500,000 leads a month, or a declared part of them, in the shape of real traffic and in compressed time: people write
on simulated telephones, web hooks come in, turns ask a simulated model, visits are booked, replies reach telephones.

    python bench/volume.py --leads 20000 --minutes 40 [--write]     # 4 % of the month in 40 minutes
    python bench/volume.py --leads 300 --minutes 1 --profile out.prof

Everything is checked from outside: each message is answered once and in order on the telephone that wrote it, each
visit and each lead is booked once, and the database agrees. Nothing is extrapolated: VOLUME.md says what was run.
Exit 1 when anything is lost, doubled or out of order.
"""

import argparse
import asyncio
import contextlib
import os
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import uvicorn
import volume_leads
from host import all_cpus_busy_s, cpu_s, machine, resident_mb
from msgspec.structs import replace
from volume_leads import Lead, People
from volume_server import BOOK

from waterline.channels.simulated.script import Deliveries, Number, Script
from waterline.channels.simulated.server import Simulator
from waterline.core.app_spec import encode_spec, parse_spec
from waterline.core.conversing import Conversing
from waterline.providers.simulated import SimulatedProcess
from waterline.providers.simulated_script import Answer, Lognormal, Target
from waterline.providers.simulated_script import Script as ModelScript
from waterline.rollout.build import build
from waterline.trials import DRILLS
from waterline.trials.instance import Instance

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("SHARED_TEST_DATA") or HERE.parents[1] / "shared" / "data")
SAMPLE_S = 10.0
ANSWER_S = 180.0  # a message that is not answered by then is lost
MONTH_LEADS = 500_000
DUPLICATES = 0.02  # of the web hooks
REPEATED = 0.01  # of the web hooks: a machine that is busy otherwise answers some too late; more is a mistake of ours
BRANCHES = 300
QUIET_S = 0.2
APP = """
name = "volume"
owner = "The bench"
[models.main]
provider = "simulated"
model = "small"
prompt = "desk"
retries = 2
total_s = 30
max_tokens = 300
[limits]
max_concurrency = 5000
usd_per_month = 1000000
[channels.whatsapp]
"""
PRICES = """
[[price]]
provider = "simulated"
model = "small"
input = 0.1
output = 0.4
"""
PROMPT = "You are at the front desk of a school. Answer briefly and in the language of the parent.\n" + (
    "The school teaches from the nursery to the twelfth year, in three languages, with lunch and a bus.\n" * 12
)


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
    others: float = 0.0  # of all CPUs' time, used by what is not ours
    late_s: float = 0.0  # the most that a lead began later than it was due


class Telephones:
    """The simulated WhatsApp, in this process, with the people who use it."""

    def __init__(self, script: Script, people: People) -> None:
        self.simulator = Simulator(script)
        self.people = people
        inner = self.simulator.cloud.send

        def send(number: str, told: dict[str, Any]) -> dict[str, Any]:
            answer = inner(number, told)
            people.heard(str(told.get("to")), str((told.get("text") or {}).get("body")))
            return answer

        self.simulator.cloud.send = send  # type: ignore[method-assign]

    async def serve(self, sock: socket.socket) -> None:
        config = uvicorn.Config(self.simulator.application(), log_level="critical", lifespan="on", backlog=2048)
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        await server.serve(sockets=[sock])

    async def live(self, lead: Lead, compress: float, seed: int) -> None:
        """One lead: eight messages, each after the answer to the one before, some right behind it."""
        chance, cloud, people = random.Random(seed), self.simulator.cloud, self.people
        people.leads[lead.wa_id] = lead
        for n in range(volume_leads.SAID):
            text = f"{lead.wa_id}.{n} {BOOK if n == volume_leads.SAID - 2 else volume_leads.TEXT}"
            lead.said.append(text)
            lead.said_at[text] = time.monotonic()
            lead.second[text] = int(self.simulator.clock())
            cloud.say(lead.wa_id, lead.number, {"type": "text", "text": {"body": text}})
            people.messages += 1
            last = n == volume_leads.SAID - 1
            if not last and chance.random() < volume_leads.TOGETHER:
                await asyncio.sleep(0.05 + 0.3 * chance.random())
                continue
            if not await self._heard(lead, text, told=last):
                break
            if not last:  # a minute or two, and now and then half an hour
                pause_s = chance.lognormvariate(4.4, 1.3)
                await asyncio.sleep(0.02 + pause_s / compress)
        await asyncio.sleep(1.0)  # what would come twice
        people.judge(lead)
        lead.done = True
        del people.leads[lead.wa_id]
        cloud.chats.pop((lead.number, lead.wa_id), None)

    async def _heard(self, lead: Lead, text: str, *, told: bool) -> bool:
        """False: no answer in a long time."""
        try:
            async with asyncio.timeout(ANSWER_S):
                while text not in lead.heard or (told and not lead.told):
                    lead.news.clear()
                    await lead.news.wait()
        except TimeoutError:
            return False
        return True


async def month(run: Run, phones: Telephones, numbers: list[tuple[str, str]], seed: int) -> None:
    """Everybody, when they are due. `numbers`: a number and a time zone for each branch."""
    trace = volume_leads.within_an_hour(DATA / "azure-llm-trace" / "conv.csv")
    run.traced = bool(trace)
    due = volume_leads.arrivals(run.leads, [zone for _, zone in numbers], trace, seed)
    compress = volume_leads.DAYS * 86_400 / (run.minutes * 60)
    loop, pending = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    began = loop.time()
    for n, (at_s, branch) in enumerate(due):
        at = began + at_s / compress
        if (wait_s := at - loop.time()) > 0.001:
            await asyncio.sleep(wait_s)
        run.late_s = max(run.late_s, loop.time() - at)
        lead = Lead(numbers[branch][0], f"3519{n:08d}")
        task = loop.create_task(phones.live(lead, compress, seed * 1_000_003 + n))
        pending.add(task)
        task.add_done_callback(pending.discard)
    if pending:
        await asyncio.wait(pending)


def sheet(folder: Path, count: int = BRANCHES) -> None:
    """Made-up branches."""
    example = HERE.parent / "examples" / "branches.py"
    command = [sys.executable, str(example), str(folder / "branches.csv"), "--count", str(count), "--no-scopes"]
    subprocess.run(command, check=True, capture_output=True)


async def volume(run: Run, people: People, work: Path, seed: int, profile: str) -> None:
    folder = work / "app"
    (folder / "prompts").mkdir(parents=True)
    (folder / "app.toml").write_text(APP)
    (folder / "prices.toml").write_text(PRICES)
    (folder / "prompts" / "desk.md").write_text(PROMPT)
    sheet(folder)
    built = build(folder, model_digests={}, known_drills=DRILLS)
    spec = parse_spec(built.spec_record)
    spec = replace(spec, conversations=Conversing(quiet_s=QUIET_S, longest_quiet_s=2.0))  # time is compressed
    numbers = [(b.addresses["whatsapp"][0], b.timezone) for b in spec.branches]
    model = Target(first_token_ms=Lognormal(250.0, 600.0), per_token_ms=0.0, answer=Answer(echo=True))
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(2048)
    address = f"http://127.0.0.1:{sock.getsockname()[1]}"
    script = Script(
        numbers=[Number(id=n, display=n) for n, _ in numbers], phones=[], limit=0, seed=seed,
        deliveries=Deliveries(duplicate=DUPLICATES, late_s=3.0, batch=10),
    )  # fmt: skip
    phones = Telephones(script, people)
    environ = {
        "WATERLINE_PURPOSE": "live", "WATERLINE_WHATSAPP_URL": address, "VOLUME_FOLDER": str(work),
        "WATERLINE_WHATSAPP_TOKEN": script.token, "WATERLINE_WHATSAPP_APP_SECRET": script.app_secret,
    }  # fmt: skip
    if profile:
        environ["VOLUME_PROFILE"] = profile
    program = (str(HERE / "volume_server.py"),)
    serving = asyncio.create_task(phones.serve(sock))
    async with SimulatedProcess(ModelScript(seed=seed, targets={"main": model})) as provider:
        redirect = f"{provider.address}/{{route}}"
        async with Instance(work / "data", redirect=redirect, environ=environ, program=program) as sea:
            await sea.install(built.manifest, encode_spec(spec))
            script.webhook = f"{sea.url}/webhooks/whatsapp"
            run.idle_rss_mb = resident_mb(sea.pid)
            began, cpu = time.monotonic(), cpu_s(sea.pid)
            all_cpus, ours = all_cpus_busy_s(), cpu_s(os.getpid())
            work_on = asyncio.ensure_future(month(run, phones, numbers, seed))
            while not work_on.done():
                await asyncio.wait((work_on,), timeout=SAMPLE_S)
                seen = Sample(
                    time.monotonic() - began, people.finished, people.replies, resident_mb(sea.pid),
                    cpu_s(sea.pid) - cpu, _size_mb(sea.folder), len(people.leads),
                )  # fmt: skip
                run.samples.append(seen)
                print(
                    f"{seen.at_s:6.0f} s  {seen.leads} leads done, {seen.under_way} under way  {seen.replies} replies  "
                    f"{seen.rss_mb:.0f} MB  {seen.cpu_s:.0f} CPU s  {seen.disk_mb:.0f} MB on disk  "
                    f"wrong {dict(people.wrong)}",
                    file=sys.stderr, flush=True,
                )  # fmt: skip
            await work_on
            run.took_s = time.monotonic() - began
            busy_s = all_cpus_busy_s() - all_cpus - (cpu_s(os.getpid()) - ours)
            run.others = busy_s / run.took_s / (os.cpu_count() or 1)
            await settled(phones)
            await sea.drained()
            run.cpu_s = cpu_s(sea.pid) - cpu
            run.status = await sea.ask("GET", "/api/status")
    run.hooks, run.refused = phones.simulator.delivered, phones.simulator.refused
    run.rows = rows(work / "data" / "waterline.db")
    run.books = books(work / "books", people)
    files = {"the database": work / "data" / "waterline.db", "the spool": work / "data" / "spool"}
    run.files_mb = {name: _size_mb(path) for name, path in files.items()}
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def settled(phones: Telephones) -> None:
    """Until every web hook was delivered, and a moment more."""
    deadline = time.monotonic() + 60
    while phones.simulator.cloud.hooks and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    await asyncio.sleep(3)


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


def books(file: Path, people: People) -> dict[str, int]:
    """Calls of the calendar and the CRM; one key called twice is a mistake, since nothing crashed."""
    calls: dict[str, set[str]] = {"calendar": set(), "crm": set()}
    if file.exists():
        for line in file.read_text().splitlines():
            connector, key, _ = line.split(" ")
            if key in calls[connector]:
                people.blame("acted twice", line)
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


def _size_mb(path: Path) -> float:
    total = 0
    files = [path, path.with_name(path.name + "-wal")] if path.suffix == ".db" else path.rglob("*")
    for file in files:
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    return total / 2**20


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def page(run: Run, people: People, wrong: list[str]) -> str:
    turns, latency = run.rows["turns"], people.latency_s
    compress = volume_leads.DAYS * 1440 / run.minutes
    rates = [
        (after.replies - before.replies) / (after.at_s - before.at_s)
        for before, after in pairwise(run.samples)
        if after.at_s - before.at_s > 5
    ]
    half, last = run.samples[len(run.samples) // 2], run.samples[-1]
    said, together = volume_leads.SAID, 100 * volume_leads.TOGETHER
    shape = "the trace named in volume_leads.py" if run.traced else "evenly (the trace is not here)"
    verdict = "nothing lost, nothing doubled, order kept" if not wrong else "WRONG: " + "; ".join(wrong[:10])
    table = {
        "run": f"{run.leads:,} leads of a month of {MONTH_LEADS:,} ({100 * run.leads / MONTH_LEADS:.1f} %), 30 days in "
        f"{run.took_s / 60:.1f} minutes (time {compress:,.0f} times as quick); within an hour {shape}",
        "what happened": f"{people.messages:,} messages, {turns:,} turns, {people.replies:,} replies, "
        f"{sum(run.books.values()):,} acts, {run.hooks:,} changes by web hook ({100 * DUPLICATES:g} % twice), "
        f"{run.rows['traces']:,} model calls, {BRANCHES} branches",
        "checked": verdict,
        "turns a second, mean": f"{turns / run.took_s:.1f}",
        "replies a second, busiest 10 s": f"{max(rates, default=0.0):.1f}",
        "CPU a turn, server": f"{1000 * run.cpu_s / max(1, turns):.2f} ms (all of it: web hooks, statuses, traces, "
        f"database), so {max(1, turns) / max(run.cpu_s, 1e-9):.0f} turns a second would fill one core",
        "message to reply": " ".join(
            f"p{100 * q:g} {quantile(latency, q):.2f} s" for q in (0.5, 0.95, 0.99, 0.999)
        ) + f", of which the quiet time {QUIET_S:g} s, the web hook's delay 0.02 s and the model's own time "
        "(p50 0.25 s, p95 0.6 s)",
        "memory, server": f"{run.idle_rss_mb:.0f} MB before, {half.rss_mb:.0f} MB at half time, "
        f"{last.rss_mb:.0f} MB at the end, {max(s.rss_mb for s in run.samples):.0f} MB at most",
        "disk": ", ".join(f"{name} {mb:,.0f} MB" for name, mb in run.files_mb.items())
        + f"; {1024 * run.files_mb['the database'] / max(1, turns):.1f} KB a turn, model calls and texts included",
        "changes by web hook that came again, not being answered in time": f"{run.refused:,}",
        "the machine, used by others": f"{100 * run.others:.0f} % of {os.cpu_count()} CPUs, load average "
        f"{os.getloadavg()[2]:.1f} over the last 15 minutes",
        "leads under way at once, most": f"{max(s.under_way for s in run.samples):,}",
        "the load came late by, most": f"{run.late_s:.2f} s",
        "messages of one second that came the other way round": f"{people.same_second} (nobody could tell)",
    }  # fmt: skip
    lines = "\n".join(f"| {name} | {value} |" for name, value in table.items())
    return f"""# Volume

    python bench/volume.py --leads {run.leads} --minutes {run.minutes:g} --write

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--leads", type=int, default=2000, help="how many of the month's 500,000 are run")
    parser.add_argument("--minutes", type=float, default=5.0, help="real time for the 30 days")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--profile", default="", help="where cProfile writes what the server's event loop did")
    parser.add_argument("--write", action="store_true", help="write VOLUME.md")
    given = parser.parse_args()
    run, people = Run(given.leads, given.minutes, traced=False), People()
    profile = str(Path(given.profile).resolve()) if given.profile else ""
    with tempfile.TemporaryDirectory(prefix="waterline-volume-") as work:
        asyncio.run(volume(run, people, Path(work), given.seed, profile))
    wrong = findings(run, people)
    text = page(run, people, wrong)
    print(text)
    if given.write:
        (HERE / "VOLUME.md").write_text(text)
    for one in wrong:
        print(f"WRONG: {one}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
