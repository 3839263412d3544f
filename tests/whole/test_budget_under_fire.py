"""Fifty callers at once, who leave in the middle of streams, and a kill -9: no budget is passed, by any account.

The accounts are the store's, by app, branch, key and subject, and the provider's own count of what it has sent.
"""

import http.client
import json
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from whole_app import App, Limits, Route, Server

from waterline.core.app_spec import Spending
from waterline.core.money import Usage, cost_nano_usd
from waterline.core.prices import PriceTable
from waterline.providers.simulated_script import Answer, Target, Uniform
from waterline.rollout.check import built_in_prices

CALLERS = 50
WORST_CASE = 100_000  # nano-USD, about: 180 bytes in, 120 tokens out at the prices of gpt-4o-mini
LIMIT = 150 * WORST_CASE
LIMITS = {"app": LIMIT, "branch": LIMIT // 2, "subject": LIMIT // 5, "key": LIMIT // 2}
MOST_S = 120.0


class Fire:
    """The callers, and what they have heard."""

    def __init__(self, server: Server, keys: list[str]) -> None:
        self.server = server
        self.keys = keys
        self.heard: list[str] = []
        self.ends_s = time.monotonic() + MOST_S
        self.threads = [threading.Thread(target=self._caller, args=(n,)) for n in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def _caller(self, number: int) -> None:
        refused = turn = 0
        while refused < 3 and time.monotonic() < self.ends_s:
            turn += 1
            leaves = turn % 3 == 0
            try:
                code = self._ask(number, stream=(number + turn) % 2 == 0 or leaves, leaves=leaves)
            except (OSError, http.client.HTTPException):
                code = "no server"
                time.sleep(0.1)
            self.heard.append(code)
            refused = refused + 1 if code == "budget_exceeded" else 0

    def _ask(self, number: int, *, stream: bool, leaves: bool) -> str:
        parts = urlsplit(self.server.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        try:
            body = {"model": "main", "stream": stream, "messages": [{"role": "user", "content": f"and then? {number}"}]}
            headers = {"authorization": f"Bearer {self.keys[number % len(self.keys)]}",
                       "content-type": "application/json", "x-waterline-subject": f"s{number % 7}"}  # fmt: skip
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            response = connection.getresponse()
            if leaves and response.status == 200:
                response.read1(400)
                return "left"
            data = response.read()
            return "answered" if response.status == 200 else str(json.loads(data)["error"]["code"])
        finally:
            connection.close()


def spent_today(server: Server) -> int:
    return int(next(a["spent_today_nano_usd"] for a in server.ask("GET", "/api/apps") if a["name"] == "fire"))


def sums(rows: list[dict[str, Any]], field: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        if row[field]:
            found[row[field]] = found.get(row[field], 0) + (row["cost_nano_usd"] or 0)
    return found


def test_no_budget_is_passed_by_fifty_callers_who_leave_and_a_kill(tmp_path, sim, capsys):
    sim.play(main=Target(answer=Answer(text="word " * 60), first_token_ms=Uniform(10.0, 60.0), per_token_ms=3.0))
    before = sim.stats("main")
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    try:
        limits = Limits(
            nano_usd_per_day=LIMIT,
            branch=Spending(nano_usd_per_day=LIMITS["branch"]),
            subject=Spending(nano_usd_per_day=LIMITS["subject"]),
        )
        route = Route(provider="openai", model="gpt-4o-mini", max_tokens=120, retries=0)
        app = App(server, "fire", {"main": route}, limits=limits)
        own = {"branch": "porto", "nano_usd_per_day": LIMITS["key"], "assert_identity": True}
        keys = [app.make_key(**own)["key"], app.make_key(branch="lisbon", assert_identity=True)["key"]]
        fire = Fire(server, keys)
        while spent_today(server) < 0.4 * LIMIT and time.monotonic() < fire.ends_s:
            time.sleep(0.02)
        server.kill9()
        server.start()
        for thread in fire.threads:
            thread.join()
        shown = {(b["scope"], b["name"]): b for b in server.ask("GET", "/api/budgets") if b["period"] == "day"}
        rows = []
        page: dict[str, Any] = {"next": ""}
        server.traces()  # everything is stored
        while page["next"] or not rows:
            page = server.ask("GET", "/api/traces", limit=1000, before=page["next"])
            rows += [server.trace(r["id"])["row"] for r in page["rows"]]
    finally:
        server.stop()
    after = sim.stats("main")
    price = PriceTable.find(built_in_prices(), "openai", "gpt-4o-mini", int(time.time() * 1e6))
    assert price is not None
    sent = {k: after[k] - before.get(k, 0) for k in ("input_tokens", "output_tokens", "requests")}
    billed = cost_nano_usd(Usage(input=sent["input_tokens"], output=sent["output_tokens"]), price)
    outcomes = {o: sum(r["outcome"] == o for r in rows) for o in sorted({r["outcome"] for r in rows})}
    heard = {h: fire.heard.count(h) for h in sorted(set(fire.heard))}
    booked = sum(r["cost_nano_usd"] or 0 for r in rows)
    with capsys.disabled():
        print(f"\nlimit {LIMIT:,} nano-USD: {booked:,} booked, {billed:,} billed by the provider; {outcomes}; {heard}")
    assert booked <= LIMIT
    assert billed <= LIMIT
    for field in ("branch", "subject"):
        for name, spent in sums(rows, field).items():
            assert spent <= LIMITS[field], (field, name)
            assert shown[field, name]["spent_nano_usd"] == spent
    of_key = {name: spent for name, spent in sums(rows, "key").items() if ("key", name) in shown}
    assert list(of_key.values()) == [shown["key", name]["spent_nano_usd"] for name in of_key]
    assert all(spent <= LIMITS["key"] for spent in of_key.values())
    assert shown["app", "fire"]["spent_nano_usd"] == booked
    assert shown["app", "fire"]["reserved_nano_usd"] == 0
    assert outcomes["interrupted"] > 0
    assert outcomes["cancelled"] > 0
    assert heard["budget_exceeded"] >= 3 * CALLERS
