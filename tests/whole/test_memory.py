"""What a request leaves behind in memory: nothing that only a garbage collection would find.

A failed call whose error, frames and connection hold each other stays until the collector looks, and what has outlived
one look waits very long for the next: so memory grows with the failures (a published gateway grew to 4 GB in a day)."""

import json
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from whole_app import App, Server, Sim, eventually

from waterline.core.release import Route
from waterline.providers.simulated_script import Answer, Fault, Target

# The server's own interpreter runs this: it stops collecting, and says what could not be reached, when a file appears.
PROBE = """
import collections, gc, os, sys, threading, time
if "waterline" in sys.orig_argv and os.environ.get("PROBE"):
    folder = os.environ["PROBE"]
    def wait_for(name):
        while not os.path.exists(os.path.join(folder, name)):
            time.sleep(0.02)
    def probe():
        wait_for("begin")
        gc.disable()
        gc.collect()
        open(os.path.join(folder, "begun"), "w").close()
        wait_for("end")
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = collections.Counter(type(one).__name__ for one in gc.garbage)
        with open(os.path.join(folder, "part"), "w") as out:
            out.write(repr(dict(found)).replace("'", '"'))
        os.rename(os.path.join(folder, "part"), os.path.join(folder, "found"))
    threading.Thread(target=probe, daemon=True).start()
"""
FAULTS = [
    Fault("http", status=500),
    Fault("http", status=429),
    Fault("reset_before_headers"),
    Fault("cut", after=2),
    Fault("malformed_event", after=2),
    Fault("error_event", after=2),
    Fault("context_length"),
    Fault("silence"),
]
TIMES = 6
OURS = {"Trail", "Call", "Request", "Exchange", "Connection", "HttpSink", "Response", "Tab", "Reservation"}


@pytest.fixture
def probed(sim: Sim, tmp_path: Path) -> Any:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(PROBE)
    path = os.pathsep.join((str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")))
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}", PYTHONPATH=path, PROBE=str(tmp_path))
    yield server, tmp_path
    server.stop()


@pytest.mark.slow
def test_no_failure_leaves_anything_that_only_the_garbage_collector_would_find(probed: Any, sim: Sim) -> None:
    server, folder = probed
    route = Route(provider="simulated", model="m", first_token_s=0.4, idle_s=0.4, total_s=1.0, retries=1)
    apps = [App(server, f"app{n}", {"main": route}) for n in range(len(FAULTS))]
    for app in apps:
        app.chat()
    assert eventually(lambda: server.ask("GET", "/api/status")["waiting"] == 0)
    (folder / "begin").touch()
    assert eventually((folder / "begun").exists)
    for app, fault in zip(apps, FAULTS, strict=True):
        sim.play(main=Target(answer=Answer(text="one two three four five six"), faults=(fault,)))
        for n in range(TIMES):
            assert app.chat(stream=n % 2 == 0).status in (200, 400, 429, 502, 503, 504)
    sim.play(main=Target(answer=Answer(text="one two three four five six"), per_token_ms=300.0))
    key, app.key = app.key, "wl-00000000" + "x" * 43
    assert {app.chat().status for _ in range(TIMES)} <= {401, 429}
    app.key = key
    assert app.post({"model": "nobody", "messages": []}).status in (400, 404)
    for _ in range(TIMES):
        hang_up(apps[0])
    assert eventually(lambda: server.ask("GET", "/api/status")["in_flight"] == 0)
    (folder / "end").touch()
    assert eventually((folder / "found").exists)
    found = json.loads((folder / "found").read_text())
    # The question itself was under way, and a connection or two that the collector caught half way to their end.
    assert {name: n for name, n in found.items() if name in OURS and n > 3} == {}, found
    assert found.get("frame", 0) < 10, found


def hang_up(app: App) -> None:
    """In the middle of a streamed answer."""
    body = json.dumps({"model": "main", "stream": True, "messages": [{"role": "user", "content": "hello"}]}).encode()
    parts = urlsplit(app.server.url)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {app.key}\r\n"
    with socket.create_connection((parts.hostname, parts.port)) as caller:
        caller.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        caller.recv(100)
