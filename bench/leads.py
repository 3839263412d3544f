"""Simulated leads against the real thing: the flow of examples/school, the server and its local model (over HTTP),
visits in Radicale, leads in Tryton (both real servers, started here, looked into past our connectors).

    python bench/leads.py --leads 200 --out out/leads.jsonl      # goes on where it stopped
    python bench/leads.py --report out/leads.jsonl               # writes bench/LEADS.md and leads.json

Users are seeded (evals/personas.py); every fourth is worded by the model (evals/driven.py). The first seed is one that
nobody developed with. A line of the journal is written when a lead ends; what was cut is played again from its first
message, in systems that are new with each start.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from leads_reading import read_by
from leads_report import report

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from realservers.radicale import PASSWORD, USER, Radicale, radicale  # noqa: E402
from realservers.tryton import DATABASE, tryton  # noqa: E402
from realservers.tryton import PASSWORD as CRM_PASSWORD  # noqa: E402
from realservers.tryton import USER as CRM_USER  # noqa: E402
from waterline.agents.agent import AskFailed  # noqa: E402
from waterline.agents.flow import flow_agent  # noqa: E402
from waterline.connectors.base import Config, Scope  # noqa: E402
from waterline.connectors.caldav import CalDav  # noqa: E402
from waterline.connectors.run import Ready, perform  # noqa: E402
from waterline.connectors.tryton import Tryton  # noqa: E402
from waterline.core.branch import Branch, Hours  # noqa: E402
from waterline.core.flow import READINGS  # noqa: E402
from waterline.evals.leads import Counted, Found, Lead, play  # noqa: E402
from waterline.evals.personas import persona  # noqa: E402
from waterline.rollout.check import check  # noqa: E402
from waterline.trials import DRILLS  # noqa: E402

FIRST_SEED = 30_000
WORDED_BY_MODEL = 4  # every so many
WATERLINE = [sys.executable, "-m", "waterline"]
BRANCH = Branch(
    "porto-azul",
    "Porto Azul International School",
    timezone="Europe/Lisbon",
    languages=("en", "pt", "es"),
    visit_hours=tuple(Hours(day, 9 * 60 + 30, 12 * 60 + 30) for day in (1, 3)),
    visit_minutes=45,
    visits_at_once=8,
    facts={"phone": "555-0142", "email": "admissions@portoazul.example", "street": "Rua do Mar 12"},
)
# The one route that the school itself has not: it words what simulated parents say.
PARENT = """

[models.parent]
provider = "local"
model = "qwen2.5-coder-1.5b"
prompt = "parent"
max_tokens = 60
params = { temperature = 0.3, seed = 1 }
first_token_s = 60
total_s = 120
"""
PARENT_PROMPT = """+++
role = "system"
+++
A parent writes to a school. Write the parent's message once more in other words, as the parent would say it.
Never answer it. Use the language and mood that are given. Keep every number, day, name and question, and who speaks.
Write only the message.

Language: English. Mood: in a hurry, short.
Message: hello, I would like to visit the school
hi when can we come see the school?
Language: Portuguese. Mood: friendly and talkative.
Message: terça de manhã
Olá! Para nós o melhor era mesmo na terça de manhã, pode ser?
Language: Spanish. Mood: shy and polite.
Message: me llamo Diego Torres
Disculpe, soy Diego Torres
Language: English. Mood: a little annoyed.
Message: I want to make a complaint
I need to complain about something
Language: Portuguese. Mood: on a phone, no capitals.
Message: a criança tem 9 anos
ela já fez 9 anos
"""


class Systems:
    def __init__(self, ready: dict[str, Ready], places: dict[str, str]) -> None:
        self.ready, self.places = ready, places

    async def call(self, connector: str, operation: str, arguments: dict[str, Any], key: str) -> dict[str, Any]:
        scope = Scope(BRANCH.id, self.places.get(connector, ""), BRANCH.timezone)
        return await perform(self.ready[connector], operation, arguments, key, scope, confirmed=True)


class Books:
    """Looks into Radicale's files and Tryton's database."""

    def __init__(self, server: Radicale, calendar: str, crm: Any) -> None:
        self.server, self.calendar, self.crm = server, calendar, crm

    def of(self, phone: str) -> Found:
        visits = []
        for text in self.server.events(self.calendar):
            unfolded = text.replace("\r\n ", "").replace("\n ", "")
            if phone in unfolded:
                stamp = unfolded.split("DTSTART", 1)[1].split(":", 1)[1].splitlines()[0].strip()
                visits.append(datetime.strptime(stamp.rstrip("Z"), "%Y%m%dT%H%M%S").replace(tzinfo=UTC).isoformat())
        rows = self.crm.sql(
            "select o.id, o.description, o.comment from sale_opportunity o join party_contact_mechanism m"
            " on m.party = o.party where m.value = ? or m.value_compact = ?",
            phone,
            phone,
        )
        notes = [
            self.crm.sql("select message from ir_note where resource = ?", f"sale.opportunity,{row[0]}") for row in rows
        ]
        return Found(tuple(visits), bool(rows), f"{rows} {notes}" if rows else "")

    def leads(self) -> int:
        return int(self.crm.sql("select count(*) from sale_opportunity")[0][0])


class Model:
    """Model calls through the server's own /v1/chat/completions."""

    def __init__(self, url: str, key: str, session: Any, name: str) -> None:
        self.url, self.session, self.name = url, session, name
        self.headers = {"authorization": f"Bearer {key}", "x-waterline-session": name}

    async def __call__(self, route: str, messages: Any, schema: Any, max_tokens: int) -> Counted:
        body: dict[str, Any] = {"model": route, "messages": messages}
        if schema is not None:
            strict = {"name": "answer", "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": strict}
        if max_tokens:
            body["max_tokens"] = max_tokens
        async with self.session.post(f"{self.url}/v1/chat/completions", json=body, headers=self.headers) as reply:
            said = await reply.json()
            if reply.status != 200:
                raise AskFailed(str(said)[:300])
            usd, used = reply.headers.get("x-waterline-cost-usd"), said.get("usage") or {}
            text = said["choices"][0]["message"]["content"] or ""
            cached = (used.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            nano = round(float(usd) * 1e9) if usd else None
            return Counted(
                text, reply.headers["x-waterline-trace"], nano,
                used.get("prompt_tokens", 0), cached, used.get("completion_tokens", 0),
            )  # fmt: skip

    async def phrase(self, asked: str) -> str:
        try:
            return (await self("parent", [{"role": "user", "content": asked}], None, 60)).text
        except AskFailed:
            return ""


async def run(leads: int, out: Path, at_once: int, stop_at: float, takes: int, reading: str, first: int) -> None:
    import aiohttp

    done = {(lead.seed, lead.take) for lead in kept(out)}
    every = [(seed, take) for take in range(takes) for seed in range(first, first + leads)]
    waiting = [one for one in every if one not in done]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        app = _school(folder, reading)
        release = check(app, model_digests={"qwen2.5-coder-1.5b": "0" * 64}, known_drills=DRILLS).release
        agent, flow = flow_agent(release), next(iter(release.flows.values()))
        assert agent is not None
        url, key = stack.enter_context(_server(app, folder))
        server, systems, books = _systems(stack, folder, f"visits{len(done)}")
        began, mine = time.monotonic(), list[Lead]()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as session:

            async def one(seed: int, take: int) -> None:
                model = Model(url, key, session, f"lead-{seed}-{take}")
                phrase: Callable[[str], Awaitable[str]] | None = model.phrase if seed % WORDED_BY_MODEL == 0 else None
                lead = await play(
                    persona(seed, take), agent, flow, BRANCH, model, systems, books, time.time_ns() // 1000,
                    time.monotonic, phrase,
                )  # fmt: skip
                mine.append(lead)
                with out.open("ab") as file:
                    file.write(msgspec.json.encode(lead) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                took = time.monotonic() - began
                left = took / len(mine) * (len(waiting) + at_once)
                at = time.strftime("%H:%M", time.gmtime(time.time() + left))
                print(
                    f"{len(mine)}/{len(mine) + len(waiting)} ({at} UTC) lead {seed}/{take} {lead.language} {lead.goal}:"
                    f" {lead.ended} {lead.why}; {lead.turns} turns, {lead.calls} calls, {lead.seconds:.0f} s",
                    flush=True,
                )

            async def work() -> None:
                while waiting and time.time() < stop_at:
                    await one(*waiting.pop(0))

            await asyncio.gather(*(work() for _ in range(at_once)))
        _check(out, mine, server, books)


def _check(out: Path, mine: list[Lead], server: Radicale, books: Books) -> None:
    """All of it once more, when everybody is gone: nothing moved, nothing doubled, nothing that nobody asked for."""
    wrong = []
    for lead in mine:
        found = books.of(persona(lead.seed, lead.take).phone)
        if found.visits != lead.visits or found.lead != lead.in_crm or len(found.visits) > 1:
            wrong.append((lead.seed, lead.take))
    events, opportunities = len(server.events(books.calendar)), books.leads()
    checked = {
        "at": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        "leads": len(mine),
        "events_in_radicale": events,
        "booked": sum(len(lead.visits) for lead in mine),
        "opportunities_in_tryton": opportunities,
        "leads_with_one": sum(lead.in_crm for lead in mine),
        "wrong": wrong,
    }
    with out.with_suffix(".checks.jsonl").open("a") as file:
        file.write(json.dumps(checked) + "\n")
    print(json.dumps(checked, indent=1), flush=True)


def kept(out: Path) -> list[Lead]:
    """What is in the journal; a last line that was cut off is left out."""
    out.parent.mkdir(parents=True, exist_ok=True)
    found = []
    for line in out.read_bytes().splitlines() if out.exists() else ():
        with contextlib.suppress(msgspec.DecodeError):
            found.append(msgspec.json.decode(line, type=Lead))
    return found


def _systems(stack: contextlib.ExitStack, folder: Path, name: str) -> tuple[Radicale, Systems, Books]:
    for part in ("radicale", "tryton"):
        (folder / part).mkdir()
    server = stack.enter_context(radicale(folder / "radicale"))
    crm = stack.enter_context(tryton(folder / "tryton"))
    calendar = Config("calendar", {"url": server.url, "user": USER, "password": PASSWORD})
    office = Config("crm", {"url": crm.url, "database": DATABASE, "user": CRM_USER, "password": CRM_PASSWORD})
    ready = {"calendar": Ready(CalDav(calendar), calendar), "crm": Ready(Tryton(office), office)}
    place = server.calendar(name)
    return server, Systems(ready, {"calendar": place}), Books(server, place, crm)


def _school(folder: Path, reading: str) -> Path:
    """A copy of the school, and the route that words what parents say."""
    app = folder / "school"
    shutil.copytree(ROOT / "examples/school", app)
    with (app / "app.toml").open("a") as file:
        file.write(PARENT)
    (app / "prompts/parent.md").write_text(PARENT_PROMPT)
    read_by(app, reading)
    return app


@contextlib.contextmanager
def _server(app: Path, folder: Path) -> Any:
    command = [*WATERLINE, "up", str(app), "--data", str(folder / "data"), "--port", "0", "--json"]
    (folder / "data").mkdir()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            body = json.dumps({"kind": "app", "app": "school", "env": "production", "name": "leads", "hours": 24})
            request = urllib.request.Request(f"{ready['url']}/api/keys", body.encode(), method="POST")
            request.add_header("authorization", f"Bearer {ready['key']}")
            request.add_header("content-type", "application/json")
            with urllib.request.urlopen(request) as reply:
                yield ready["url"], json.load(reply)["key"]
        finally:
            process.terminate()
            process.wait(timeout=30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leads", type=int, default=200)
    parser.add_argument("--takes", type=int, default=1, help="each person so often, with other slips")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600.0, help="no lead is begun after so long")
    parser.add_argument("--reading", choices=READINGS, default="code", help="who reads what people write")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first")
    parser.add_argument("--out", type=Path, default=ROOT / "out/leads.jsonl")
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args()
    if asked.report:
        text, figures = report(kept(asked.report), asked.report.with_suffix(".checks.jsonl").read_text())
        (ROOT / "bench/LEADS.md").write_text(text, "utf-8")
        (ROOT / "bench/leads.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        print(text)
        return
    asyncio.run(
        run(
            asked.leads,
            asked.out,
            asked.at_once,
            time.time() + asked.minutes * 60,
            asked.takes,
            asked.reading,
            asked.first,
        )
    )


if __name__ == "__main__":
    main()
