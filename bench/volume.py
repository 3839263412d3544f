"""500,000 leads a month, or a declared part of them, in the shape of real traffic and in compressed time: people write
on simulated telephones, web hooks come in, turns ask a simulated model, visits are booked, replies reach telephones.

    python bench/volume.py --leads 20000 --minutes 40 [--write]     # 4 % of the month in 40 minutes
    python bench/volume.py --leads 300 --minutes 1 --profile out.prof
    python bench/volume.py --leads 8000 --minutes 16 --before 490000 --write # the month's last 1.6 %, after its rows
    python bench/volume.py --leads 500000 --minutes 300 --out month      # Ctrl-C, SIGTERM, kill -9 ...
    python bench/volume.py --out month --resume [--write]                # ... and on where it was

Everything is checked from outside: each message is answered once and in order on the telephone that wrote it, each
visit and each lead is booked once, and the database agrees. Nothing is extrapolated: VOLUME.md says what was run.
Exit 1 when anything is lost, doubled or out of order; 3 when it was stopped and may be resumed.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
import volume_before
import volume_leads
from host import all_cpus_busy_s, cpu_s, resident_mb
from msgspec.structs import replace
from volume_found import BRANCHES, DUPLICATES, QUIET_S, Run, Sample, books, findings, page, rows, size_mb
from volume_leads import Lead, People
from volume_server import BOOK
from volume_state import Keeper, State

from waterline.channels.simulated.bubbles import Bubble
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
FIRST_AFTER = 50_000_000  # number of the first telephone that is not in the rows from before
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


class Telephones:
    """The simulated WhatsApp, in this process, with the people who use it."""

    def __init__(self, script: Script, people: People, keeper: Keeper) -> None:
        self.simulator = Simulator(script)
        self.people = people
        self.keeper = keeper
        inner = self.simulator.cloud.send

        def send(number: str, told: dict[str, Any]) -> dict[str, Any]:
            answer = inner(number, told)
            to, text = str(told.get("to")), str((told.get("text") or {}).get("body"))
            key = str(told.get("biz_opaque_callback_data", ""))
            keeper.note("H", self.simulator.clock(), number, to, answer["messages"][0]["id"], key, text)
            people.heard(to, text)
            return answer

        self.simulator.cloud.send = send  # type: ignore[method-assign]

    async def serve(self, sock: socket.socket) -> None:
        config = uvicorn.Config(
            self.simulator.application(), log_level="critical", lifespan="on", backlog=2048,
            timeout_keep_alive=300,  # as long as any pause here: a request on a connection just closed is an unsure one
        )  # fmt: skip
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        await server.serve(sockets=[sock])

    def again(self) -> None:
        """WhatsApp delivers what it does not know to have arrived when the piece before this one ended."""
        cloud = self.simulator.cloud
        for shown in self.keeper.shown:
            number, phone = cloud.numbers[shown.number], cloud.phone(shown.wa_id)
            bubble = Bubble(shown.message_id, True, shown.at_s, "text", key=shown.key, category="service")
            for state in ("sent", "delivered", "read"):
                cloud._status(number, phone, bubble, state, shown.at_s)
        for lead in self.people.leads.values():
            cloud.chat(lead.number, lead.wa_id).last_in_s = self.simulator.clock()
            for text, message_id in zip(lead.said, lead.ids, strict=True):
                if text not in lead.heard:
                    told = {"id": message_id, "timestamp": str(lead.second[text]), "type": "text",
                            "text": {"body": text}, "from": lead.wa_id}  # fmt: skip
                    contact = {"profile": {"name": ""}, "wa_id": lead.wa_id}
                    number = cloud.numbers[lead.number]
                    cloud._deliver({"contacts": [contact], "messages": [told]}, number, self.simulator.clock())

    async def live(self, lead: Lead, compress: float, seed: int) -> None:
        """One lead: eight messages, each after the answer to the one before, some right behind it. One that was under
        way when a piece ended goes on."""
        chance, cloud, people = random.Random(seed * 31 + len(lead.said)), self.simulator.cloud, self.people
        last = volume_leads.SAID - 1
        well = not lead.said or await self._heard(lead, lead.said[-1], told=len(lead.said) > last)
        for n in range(len(lead.said), volume_leads.SAID) if well else ():
            text = f"{lead.wa_id}.{n} {BOOK if n == volume_leads.SAID - 2 else volume_leads.TEXT}"
            lead.said_at[text] = time.monotonic()
            bubble = cloud.say(lead.wa_id, lead.number, {"type": "text", "text": {"body": text}})
            lead.says(text, bubble.id, int(bubble.at_s))
            self.keeper.note("S", lead.wa_id, text, bubble.id, int(bubble.at_s))
            people.messages += 1
            if n < last and chance.random() < volume_leads.TOGETHER:
                await asyncio.sleep(0.05 + 0.3 * chance.random())
                continue
            if not await self._heard(lead, text, told=n == last):
                break
            if n < last:  # a minute or two, and now and then half an hour
                pause_s = chance.lognormvariate(4.4, 1.3)
                await asyncio.sleep(0.02 + pause_s / compress)
        await asyncio.sleep(1.0)  # what would come twice
        self.keeper.note("D", lead.wa_id)
        people.judge(lead)
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
    loop, state, people = asyncio.get_running_loop(), phones.keeper.state, phones.people
    pending = set[asyncio.Task[None]]()

    def live(lead: Lead) -> None:
        task = loop.create_task(phones.live(lead, compress, seed * 1_000_003 + lead.n))
        pending.add(task)
        task.add_done_callback(pending.discard)

    try:
        for lead in list(people.leads.values()):
            live(lead)
        begun_at = due[state.next][0] if state.pieces > 1 and state.next < len(due) else 0.0
        began = loop.time() - begun_at / compress
        for n, (at_s, branch) in enumerate(due[state.next :], state.next):
            at = began + at_s / compress
            if (wait_s := at - loop.time()) > 0.001:
                await asyncio.sleep(wait_s)
            run.late_s = max(run.late_s, loop.time() - at)
            lead = Lead(numbers[branch][0], f"3519{state.first + n:08d}", n)
            phones.keeper.note("B", n, lead.number, lead.wa_id)
            people.leads[lead.wa_id] = lead
            state.next = n + 1
            live(lead)
        if pending:
            await asyncio.wait(pending)
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def sheet(folder: Path, count: int = BRANCHES) -> None:
    """Made-up branches."""
    example = HERE.parent / "examples" / "branches.py"
    command = [sys.executable, str(example), str(folder / "branches.csv"), "--count", str(count), "--no-scopes"]
    subprocess.run(command, check=True, capture_output=True)


async def volume(run: Run, people: People, keeper: Keeper, profile: str) -> bool:
    """One piece of the run. False: it was stopped before the end of the month."""
    work, state = keeper.folder, keeper.state
    folder = work / "app"
    if not state.installed:
        (folder / "prompts").mkdir(parents=True, exist_ok=True)
        (folder / "app.toml").write_text(APP)
        (folder / "prices.toml").write_text(PRICES)
        (folder / "prompts" / "desk.md").write_text(PROMPT)
        sheet(folder)
    await ended(work / "data")
    state.pieces += 1
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
        numbers=[Number(id=n, display=n) for n, _ in numbers], phones=[], limit=0, seed=state.seed,
        deliveries=Deliveries(duplicate=DUPLICATES, late_s=3.0, batch=10),
    )  # fmt: skip
    phones = Telephones(script, people, keeper)
    environ = {
        "WATERLINE_PURPOSE": "live", "WATERLINE_WHATSAPP_URL": address, "VOLUME_FOLDER": str(work),
        "VOLUME_PIECE": str(state.pieces), "WATERLINE_WHATSAPP_TOKEN": script.token,
        "WATERLINE_WHATSAPP_APP_SECRET": script.app_secret,
    }  # fmt: skip
    if profile:
        environ["VOLUME_PROFILE"] = profile
    program = (str(HERE / "volume_server.py"),)
    serving = asyncio.create_task(phones.serve(sock))
    async with SimulatedProcess(ModelScript(seed=state.seed, targets={"main": model})) as provider:
        redirect = f"{provider.address}/{{route}}"
        async with Instance(work / "data", redirect=redirect, environ=environ, program=program) as sea:
            if not state.installed:
                await sea.install(built.manifest, encode_spec(spec))
                state.installed = True
            script.webhook = f"{sea.url}/webhooks/whatsapp"
            state.idle_rss_mb = state.idle_rss_mb or resident_mb(sea.pid)
            watch = Watch(run, keeper, people, phones, sea)
            watch.keep()
            phones.again()
            stopped = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stopped.set)
            stopping = asyncio.ensure_future(stopped.wait())
            work_on = asyncio.ensure_future(month(run, phones, numbers, state.seed))
            while not work_on.done() and not stopped.is_set():
                await asyncio.wait((work_on, stopping), timeout=SAMPLE_S, return_when=asyncio.FIRST_COMPLETED)
                watch.look()
            if stopped.is_set():
                work_on.cancel()
                await asyncio.gather(work_on, return_exceptions=True)
                watch.keep()
            else:
                await work_on
                watch.keep()
                await settled(phones)
                await sea.drained()
                watch.keep()
                run.status = await sea.ask("GET", "/api/status")
    serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    return not stopped.is_set()


class Watch:
    """Looks at the processes of a piece every few seconds, and keeps what it sees with that of the pieces before."""

    def __init__(self, run: Run, keeper: Keeper, people: People, phones: Telephones, sea: Instance) -> None:
        self.run, self.keeper, self.people, self.phones, self.sea = run, keeper, people, phones, sea
        state = keeper.state
        self.before = (state.took_s, state.cpu_s, state.rest_cpu_s, state.others_s, state.hooks, state.refused)
        self.began = time.monotonic()
        self.begun = self._used()
        run.late_s = state.late_s

    def _used(self) -> tuple[float, float, float]:
        """CPU seconds of the server, of the rest of us, and of others."""
        server, all_of_us = cpu_s(self.sea.pid), cpu_s(os.getpid())
        return server, all_of_us - server, all_cpus_busy_s() - all_of_us

    def look(self) -> None:
        state, people = self.keeper.state, self.people
        self.keep()
        seen = Sample(
            state.took_s, people.finished, people.replies, resident_mb(self.sea.pid), state.cpu_s,
            size_mb(self.sea.folder), len(people.leads),
        )  # fmt: skip
        state.samples.append(asdict(seen))
        print(
            f"{seen.at_s:6.0f} s  {seen.leads} leads done, {seen.under_way} under way  {seen.replies} replies  "
            f"{seen.rss_mb:.0f} MB  {seen.cpu_s:.0f} CPU s  {seen.disk_mb:.0f} MB on disk  wrong {dict(people.wrong)}",
            file=sys.stderr, flush=True,
        )  # fmt: skip

    def keep(self) -> None:
        state, used = self.keeper.state, self._used()
        took, server, rest, others, hooks, refused = self.before
        state.took_s = took + time.monotonic() - self.began
        state.cpu_s = server + used[0] - self.begun[0]
        state.rest_cpu_s = rest + used[1] - self.begun[1]
        state.others_s = others + used[2] - self.begun[2]
        state.hooks = hooks + self.phones.simulator.delivered
        state.refused = refused + self.phones.simulator.refused
        state.late_s = self.run.late_s
        self.keeper.save(self.people, self.phones.simulator.clock())


def summed(run: Run, people: People, keeper: Keeper) -> None:
    """What all pieces came to."""
    state, work = keeper.state, keeper.folder
    run.took_s, run.cpu_s, run.rest_cpu_s, run.idle_rss_mb = (
        state.took_s, state.cpu_s, state.rest_cpu_s, state.idle_rss_mb,
    )  # fmt: skip
    run.others = state.others_s / state.took_s / (os.cpu_count() or 1)
    run.samples = [Sample(**sample) for sample in state.samples]
    run.hooks, run.refused, run.late_s, run.pieces = state.hooks, state.refused, state.late_s, state.pieces
    run.rows = {name: n - state.rows_before.get(name, 0) for name, n in rows(work / "data" / "waterline.db").items()}
    run.before, run.turns_before = state.before, state.rows_before.get("turns", 0)
    run.mb_before = state.mb_before
    run.books = books(run, work, people)
    files = {"the database": work / "data" / "waterline.db", "the spool": work / "data" / "spool"}
    run.files_mb = {name: size_mb(path) for name, path in files.items()}


async def ended(data: Path) -> None:
    """Until the server of the piece before, whose parent was killed, has let go of its folder. Raises TimeoutError."""
    lock = data / "waterline.db.lock"
    if not lock.exists():
        return
    async with asyncio.timeout(60):
        with lock.open() as opened:
            while True:
                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    await asyncio.sleep(0.2)


async def settled(phones: Telephones) -> None:
    """Until every web hook was delivered, and a moment more."""
    deadline = time.monotonic() + 60
    while phones.simulator.cloud.hooks and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    await asyncio.sleep(3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--leads", type=int, default=2000, help="how many of the month's 500,000 are run")
    parser.add_argument("--minutes", type=float, default=5.0, help="real time for the 30 days")
    parser.add_argument("--before", type=int, default=0, help="leads whose rows the database has already")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default="", help="a folder that is kept, so that the run may be stopped and resumed")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out, as it was begun")
    parser.add_argument("--profile", default="", help="where cProfile writes what the server's event loop did")
    parser.add_argument("--write", action="store_true", help="write VOLUME.md")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if given.out:
            work = Path(given.out).resolve()
            work.mkdir(parents=True, exist_ok=True)
        else:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="waterline-volume-")))
        if given.resume:
            keeper = Keeper.load(work)
        elif (work / "state.json").exists():
            parser.error(f"{work} has a run already: --resume it, or take another folder")
        else:
            state = State(given.leads, given.minutes, given.seed)
            if given.before:
                nearly_a_month(work, state, given.before)
            keeper = Keeper(work, state)
        return _run(given, keeper)


def nearly_a_month(work: Path, state: State, leads: int) -> None:
    """The database as the rows of so many leads leave it."""
    volume_before.prepare(work, leads)
    state.installed, state.first = True, FIRST_AFTER
    state.rows_before = rows(work / "data" / "waterline.db")
    state.before, state.mb_before = state.rows_before["conversations"], size_mb(work / "data" / "waterline.db")


def _run(given: argparse.Namespace, keeper: Keeper) -> int:
    state = keeper.state
    run, people = Run(state.leads, state.minutes, traced=False), People()
    keeper.restore(people)
    keeper.save(people, time.time())
    profile = str(Path(given.profile).resolve()) if given.profile else ""
    if not uvloop.run(volume(run, people, keeper, profile)):
        print(f"stopped after {people.finished} of {run.leads} leads; go on with --out {keeper.folder} --resume")
        return 3
    summed(run, people, keeper)
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
