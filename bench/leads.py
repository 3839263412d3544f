"""Simulated leads against the real thing: the flow of examples/school, the server and its local model (over HTTP),
visits in Radicale, leads in Tryton (both real servers, started here, looked into past our connectors).

    python bench/leads.py --leads 200 --out bench/out/leads.jsonl      # goes on where it stopped
    python bench/leads.py --report bench/out/leads.jsonl               # bench/LEADS.md

Users are scripted and seeded (evals/personas.py). Without Tryton's connector the CRM is a double; the report says so.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from realservers.radicale import PASSWORD, USER, Radicale, radicale  # noqa: E402
from waterline.agents.agent import Asked, AskFailed  # noqa: E402
from waterline.agents.flow import flow_agent  # noqa: E402
from waterline.connectors.base import Config, Scope  # noqa: E402
from waterline.connectors.caldav import CalDav  # noqa: E402
from waterline.connectors.run import Ready, perform  # noqa: E402
from waterline.core.branch import Branch, Hours  # noqa: E402
from waterline.evals.leads import Found, Lead, play  # noqa: E402
from waterline.evals.personas import persona  # noqa: E402
from waterline.evals.talks import DoubleSystems  # noqa: E402
from waterline.rollout.check import check  # noqa: E402

WATERLINE = [sys.executable, "-m", "waterline"]
DRILLS = ("quality", "robustness", "load", "outage", "budget", "cost", "rollback", "recovery")
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


class Systems:
    """The connectors over the real servers; what has no connector yet goes to a double."""

    def __init__(self, ready: dict[str, Ready], places: dict[str, str]) -> None:
        self.ready, self.places = ready, places
        self.double = DoubleSystems(datetime.now(UTC))

    async def call(self, connector: str, operation: str, arguments: dict[str, Any], key: str) -> dict[str, Any]:
        if connector not in self.ready:
            return await self.double.call(connector, operation, arguments, key)
        scope = Scope(BRANCH.id, self.places.get(connector, ""), BRANCH.timezone)
        return await perform(self.ready[connector], operation, arguments, key, scope, confirmed=True)


class Books:
    """Looks into Radicale's files and Tryton's database."""

    def __init__(self, server: Radicale, calendar: str, crm: Any, systems: Systems) -> None:
        self.server, self.calendar, self.crm, self.systems = server, calendar, crm, systems

    def of(self, phone: str) -> Found:
        visits = []
        for text in self.server.events(self.calendar):
            unfolded = text.replace("\r\n ", "").replace("\n ", "")
            if phone in unfolded:
                stamp = unfolded.split("DTSTART", 1)[1].split(":", 1)[1].splitlines()[0].strip()
                visits.append(datetime.strptime(stamp.rstrip("Z"), "%Y%m%dT%H%M%S").replace(tzinfo=UTC).isoformat())
        if self.crm is None:
            lead = self.systems.double.leads.get(phone)
            return Found(tuple(visits), lead is not None, str(dict(lead)) if lead else "")
        rows = self.crm.sql(
            "select o.description, o.comment from sale_opportunity o"
            " join party_contact_mechanism m on m.party = o.party where replace(m.value, ' ', '') = ?",
            phone,
        )
        return Found(tuple(visits), bool(rows), str(rows))


class Model:
    """Model calls through the server's own /v1/chat/completions."""

    def __init__(self, url: str, key: str, session: Any, name: str) -> None:
        self.url, self.session, self.name = url, session, name
        self.headers = {"authorization": f"Bearer {key}", "x-waterline-session": name}

    async def __call__(self, route: str, messages: Any, schema: Any, max_tokens: int) -> Asked:
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
            usd = reply.headers.get("x-waterline-cost-usd")
            text = said["choices"][0]["message"]["content"] or ""
            return Asked(text, reply.headers["x-waterline-trace"], round(float(usd) * 1e9) if usd else None)


async def run(leads: int, out: Path, at_once: int) -> None:
    import aiohttp

    done = {lead["seed"] for lead in _kept(out)}
    release = check(
        ROOT / "examples/school", model_digests={"qwen2.5-coder-1.5b": "0" * 64}, known_drills=DRILLS
    ).release
    agent, flow = flow_agent(release), next(iter(release.flows.values()))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url, key = stack.enter_context(_server(folder / "data"))
        for name in ("radicale", "tryton"):
            (folder / name).mkdir()
        server = stack.enter_context(radicale(folder / "radicale"))
        settings = {"url": server.url, "user": USER, "password": PASSWORD}
        config = Config("calendar", settings)
        ready = {"calendar": Ready(CalDav(config), config)}
        crm = _tryton(stack, folder / "tryton", ready)
        calendar = server.calendar(f"visits{len(done)}")
        systems = Systems(ready, {"calendar": calendar})
        books = Books(server, calendar, crm, systems)
        kind = {"calendar": "Radicale", "crm": "Tryton" if crm is not None else "double"}
        waiting = asyncio.Queue[int]()
        for seed in range(leads):
            if seed not in done:
                waiting.put_nowait(seed)
        timeout = aiohttp.ClientTimeout(total=300)
        async with aiohttp.ClientSession(timeout=timeout) as session:

            async def work() -> None:
                while not waiting.empty():
                    seed = waiting.get_nowait()
                    model = Model(url, key, session, f"lead-{seed}")
                    who = persona(seed)
                    lead = await play(
                        who, agent, flow, BRANCH, model, systems, books, time.time_ns() // 1000, time.monotonic
                    )
                    with out.open("a") as file:
                        file.write(json.dumps({**msgspec.to_builtins(lead), **kind}, ensure_ascii=False) + "\n")
                    print(seed, lead.goal, lead.ended, lead.why, f"{lead.calls} calls {lead.seconds:.0f} s", flush=True)

            await asyncio.gather(*(work() for _ in range(at_once)))
        events = len(server.events(calendar))
        booked = sum(lead["ended"] == "booked" for lead in _kept(out))
        print(f"events in Radicale: {events}; leads booked (all runs of this file): {booked}")


def _kept(out: Path) -> list[dict[str, Any]]:
    out.parent.mkdir(parents=True, exist_ok=True)
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()] if out.exists() else []


def _tryton(stack: contextlib.ExitStack, folder: Path, ready: dict[str, Ready]) -> Any:
    try:
        from realservers.tryton import DATABASE, tryton
        from realservers.tryton import PASSWORD as secret
        from realservers.tryton import USER as user
        from waterline.connectors.tryton import Tryton
    except ImportError:
        return None
    server = stack.enter_context(tryton(folder))
    config = Config("crm", {"url": server.url, "database": DATABASE, "user": user, "password": secret})
    ready["crm"] = Ready(Tryton(config), config)
    return server


@contextlib.contextmanager
def _server(data: Path) -> Any:
    data.mkdir()
    command = [*WATERLINE, "up", "examples/school", "--data", str(data), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ}) as process:
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/out/leads.jsonl")
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args()
    if asked.report:
        from leads_report import report

        leads = [msgspec.json.decode(line, type=Lead) for line in asked.report.read_bytes().splitlines()]
        kinds = json.loads(asked.report.read_text().splitlines()[-1])
        text = report(leads, kinds["calendar"], kinds["crm"])
        (ROOT / "bench/LEADS.md").write_text(text, "utf-8")
        print(text)
        return
    asyncio.run(run(asked.leads, asked.out, asked.at_once))


if __name__ == "__main__":
    main()
