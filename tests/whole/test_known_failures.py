"""Failures that other gateways are known for and that no other test here states (the whole list: KNOWN_FAILURES.md)."""

import json
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from whole_app import App, eventually, send

from waterline.core.app_spec import PriceOverride
from waterline.providers.simulated_script import Answer, Fault, Target, When

USD = 1_000_000_000
PRICES = (PriceOverride(model="small", provider="simulated", input=1 * USD, output=10 * USD),)
ECHO = Target(answer=Answer(echo=True), per_token_ms=2.0)


def test_reasoning_is_billed_on_a_stream_whose_caller_did_not_ask_for_usage(make_app: Any, sim: Any) -> None:
    app = make_app(prices=PRICES)
    sim.play(main=Target(answer=Answer(text="Yes."), reasoning_tokens=900))
    reply = app.chat(stream=True)
    assert b"usage" not in reply.body, "what we asked for is not the caller's"
    row = app.trace_of(reply)["row"]
    made = sim.counted("main")
    assert made["output_tokens"] > 900
    assert row["usage"]["output"] + row["usage"]["reasoning"] == made["output_tokens"]
    assert row["cost_nano_usd"] == made["input_tokens"] * 1_000 + made["output_tokens"] * 10_000


def test_concurrent_streams_of_many_callers_are_never_mixed(make_app: Any, sim: Any) -> None:
    apps = [make_app() for _ in range(3)]
    sim.play(main=ECHO)
    texts = [" ".join(f"caller{n}word{i}" for i in range(40)) for n in range(36)]
    with ThreadPoolExecutor(18) as callers:
        replies = list(callers.map(lambda n: apps[n % 3].chat(texts[n], stream=True), range(len(texts))))
    assert [reply.text for reply in replies] == texts
    assert len({reply.trace for reply in replies}) == len(texts)


def test_a_huge_prompt_does_not_keep_the_liveness_probe_waiting(make_app: Any, sim: Any) -> None:
    """Nothing is tokenised between a request and its provider: ten prompts of 3 MB, and each probe is answered."""
    app = make_app()
    sim.play(main=Target())
    text = "palavra " * 375_000
    waiting = threading.Event()
    probes = []

    def probe() -> None:
        while not waiting.is_set():
            probes.append(send(app.server.url, "GET", "/healthz", timeout=5.0).status)

    asker = threading.Thread(target=probe)
    asker.start()
    with ThreadPoolExecutor(4) as callers:
        statuses = {reply.status for reply in callers.map(lambda n: app.chat(text), range(10))}
    waiting.set()
    asker.join()
    assert statuses == {200}
    assert set(probes) == {200}
    assert probes


def test_abandoned_streams_leave_no_connection_and_no_request_behind(make_app: Any, sim: Any) -> None:
    app = make_app()
    sim.play(main=Target(answer=Answer(text="word " * 4000), per_token_ms=20.0))
    assert app.server.ask("GET", "/api/status")["in_flight"] == 0
    before = sockets(app)
    callers = [begun(app) for _ in range(24)]
    assert sockets(app) >= before + len(callers)
    for caller in callers:
        caller.close()
    assert eventually(lambda: app.server.ask("GET", "/api/status")["in_flight"] == 0)
    assert eventually(lambda: sockets(app) <= before + 2), "none whose answer was cut off is kept"


def test_editing_a_model_of_a_running_app_never_makes_it_unavailable(make_app: Any, sim: Any) -> None:
    app = make_app()
    sim.play(main=Target())
    stop = threading.Event()
    replies = []

    def ask() -> None:
        while not stop.is_set():
            replies.append(app.chat())

    asker = threading.Thread(target=ask)
    asker.start()
    for model in ("second", "third", "fourth"):
        routes = {"main": msgspec.structs.replace(app.release.routes["main"], model=model)}
        app.install(msgspec.structs.replace(app.release, routes=routes))
        assert app.trace_of(app.chat())["row"]["model"] == model, "in force with the next request"
    stop.set()
    asker.join()
    assert {reply.status for reply in replies} == {200}


def test_retries_wait_a_while_that_is_not_the_same_for_all(make_app: Any, sim: Any) -> None:
    app = make_app()
    sim.play(main=Target(faults=(Fault("http", status=500, when=When(every=2)),)))
    assert app.chat().status == 200
    waits = []
    for _ in range(8):
        first, second = [e for e in app.trace_of(app.chat())["events"] if e["type"] == "attempted"]
        waits.append(second["offset_us"] - first["offset_us"] - first["ended_us"])
    assert min(waits) >= 50_000
    assert max(waits) - min(waits) > 5_000


def test_a_database_that_is_locked_delays_no_answer_and_loses_no_trace(make_app: Any, sim: Any) -> None:
    """No statement is on the way of a request: what is spent is counted in memory and written to the spool."""
    app = make_app(prices=PRICES)
    sim.play(main=Target())
    assert app.chat().status == 200
    with closing(sqlite3.connect(app.server.data / "waterline.db", isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN EXCLUSIVE")
        replies = [app.chat(stream=n % 2 == 0) for n in range(20)]
        other.execute("ROLLBACK")
    assert {reply.status for reply in replies} == {200}
    rows = {row["id"]: row for row in app.server.traces(app=app.name)}
    assert all(rows[reply.trace]["cost_nano_usd"] > 0 for reply in replies)


def begun(app: App) -> socket.socket:
    """A caller who has heard the beginning of a streamed answer."""
    body = json.dumps({"model": "main", "stream": True, "messages": [{"role": "user", "content": "hello"}]}).encode()
    parts = urlsplit(app.server.url)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {app.key}\r\n"
    caller = socket.create_connection((parts.hostname, parts.port))
    caller.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    assert b"200" in caller.recv(100)
    return caller


def sockets(app: App) -> int:
    """Open in the server's process."""
    found = 0
    for name in Path(f"/proc/{app.server.child.pid}/fd").iterdir():
        try:
            found += str(name.readlink()).startswith("socket:")
        except OSError:  # closed meanwhile
            continue
    return found
