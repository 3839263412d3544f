"""Callers that send nonsense, come slowly, leave early or are cut off by a stop; and what may not be blamed on a
provider, or told to a caller."""

import json
import signal
import socket
import sys
import time
from urllib.parse import urlsplit

import pytest
from whole_app import App, Limits, Route, Server, eventually, send, start

from waterline.core.app_spec import AppSpec, Objectives
from waterline.core.release import Release
from waterline.providers.simulated_script import Answer, Fault, Target

GOOD = Target(answer=Answer(text="ok"))


def begin(app: App, *parts: bytes, length: int | None = None, pause_s: float = 0.0) -> socket.socket:
    """A request sent in parts, its answer not yet read. Without parts: a streamed question."""
    if not parts:
        message = {"role": "user", "content": "x"}
        parts = (json.dumps({"model": "main", "stream": True, "max_tokens": 4000, "messages": [message]}).encode(),)
    address = urlsplit(app.server.url)
    sock = socket.create_connection((address.hostname, address.port), timeout=60)
    sock.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {app.key}\r\n"
        f"content-length: {sum(map(len, parts)) if length is None else length}\r\n\r\n".encode()
    )
    for part in parts:
        sock.sendall(part)
        time.sleep(pause_s)
    return sock


def read_events(sock: socket.socket, count: int = 5) -> None:
    got = b""
    while got.count(b"data: ") < count:
        part = sock.recv(65536)
        assert part, got
        got += part


def message(content: str, more: str = "") -> bytes:
    return f'{{"model":"main","messages":[{{"role":"user","content":{content}}}]{more}}}'.encode()


@pytest.mark.parametrize(
    "body",
    [
        message(r'"\ud800"'),
        message(r'"\x"'),
        message(r'[{"type":"text","text":"\udfff"}]'),
        message('"a\x01b"'),
        message('"x"', r',"user":"\ud800"'),
        message('"x"', ',"temperature":01'),
        message('"x"', ',"temperature":NaN'),
    ],
    ids=ascii,
)
def test_no_body_is_a_mistake_of_ours(make_app, sim, body):
    sim.play(main=GOOD)
    app = make_app()
    reply = app.post(body)
    assert reply.status in (200, 400), (reply.status, reply.body)
    assert app.trace_of(reply)["row"]["outcome"] in ("answered", "refused")


@pytest.mark.parametrize("said", ["\u00b2", "-1", "0", "1e3", "3600001"])
def test_a_deadline_that_is_no_number_of_milliseconds_is_a_400(make_app, sim, said):
    sim.play(main=GOOD)
    reply = make_app().chat(headers={"x_waterline_deadline_ms": said})
    assert reply.status == 400
    assert "x-waterline-deadline-ms" in reply.json["error"]["message"]


def test_a_caller_whose_upload_was_slow_is_still_noticed_when_it_leaves(make_app, sim):
    app = make_app(main={"idle_s": 10.0})
    sim.play(main=Target(answer=Answer(text="word " * 1000), per_token_ms=20))
    body = message('"x"', ',"stream":true')
    with begin(app, body[:20], body[20:], pause_s=0.4) as sock:
        read_events(sock)
    row = eventually(lambda: next((r for r in app.server.traces(app=app.name) if r["outcome"] != "open"), None))
    assert row["outcome"] == "cancelled"
    assert row["duration_us"] < 12_000_000  # the whole answer takes twenty seconds


def test_a_caller_that_left_before_its_body_made_no_bad_request(make_app):
    app = make_app()
    before = left_while_sending(app.server)
    begin(app, b"{", length=100).close()
    assert eventually(lambda: left_while_sending(app.server) > before)
    assert app.server.traces(app=app.name) == []


def left_while_sending(server: Server) -> int:
    metrics = send(server.url, "GET", "/metrics", headers={"authorization": f"Bearer {server.key}"}).body.decode()
    lines = [line for line in metrics.splitlines() if 'event="client_left_while_sending"' in line]
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines)


def test_a_callers_own_short_deadline_says_nothing_about_the_provider(make_app, sim):
    app = make_app(fallback=True, main={"first_token_s": 10.0})
    sim.play(main=Target(answer=Answer(text="ok"), first_token_ms=300.0), backup=GOOD)
    for _ in range(3):
        app.chat(headers={"x_waterline_deadline_ms": "100"})
    assert app.trace_of(app.chat())["row"]["route"] == "main"


def test_a_fallbacks_400_does_not_hide_a_rate_limit(make_app, sim):
    app = make_app(fallback=True)
    limited = Target(faults=(Fault("http", status=429, retry_after_s=30),))
    sim.play(main=limited, backup=Target(faults=(Fault("http", status=400),)))
    reply = app.chat()
    assert (reply.status, reply.code) == (429, "rate_limited")
    assert int(reply.headers["retry-after"]) == 30


def test_a_key_that_a_provider_echoes_is_in_no_trace_and_no_answer(make_app, sim):
    app = make_app()
    said = '{"error":{"message":"Incorrect API key provided: sk-live-SECRETSECRET"}}'
    sim.play(main=Target(faults=(Fault("http", status=401, body=said),)))
    reply = app.chat()
    assert reply.status >= 500
    assert b"SECRETSECRET" not in reply.body
    assert "SECRETSECRET" not in json.dumps(app.trace_of(reply))


# --- what is known stays known -----------------------------------------------------------------------------------


def hand_in_load_line(app: App, **said: object) -> None:
    line = {"app": app.name, "release": app.id, "exit_status": 0, "json": json.dumps(said), "html": ""}
    app.server.ask("POST", "/api/load-lines", line)


def test_a_load_line_does_not_make_a_dead_provider_look_alive(make_app, sim):
    app, other = make_app(fallback=True, main={"retries": 0}), make_app()
    sim.play(main=Target(faults=(Fault("http", status=503),)), backup=GOOD)
    for _ in range(4):
        app.chat()
    asked = sim.asked("main")
    for number in range(3):
        hand_in_load_line(other, of=other.name, number=number)
        hand_in_load_line(app, of=app.name, number=number)
        assert app.chat().status == 200
    assert sim.asked("main") == asked


def test_the_status_header_follows_the_objectives_in_force(make_app, sim):
    sim.play(main=GOOD)
    app = make_app(objectives=Objectives(availability=0.9))
    hand_in_load_line(app)
    assert app.chat().headers["x-waterline-status"] == "seaworthy"
    app.spec = AppSpec(name=app.name, objectives=Objectives(availability=0.999))
    stricter = app.build(Release(app=app.name, routes=app.release.routes, purpose="stricter"))
    app.move("promote", stricter, weight="1%")
    replies = [app.chat().headers for _ in range(5)]
    said = {h["x-waterline-status"] for h in replies if h["x-waterline-release"] == app.id}
    listed = {r["id"]: r["status"] for r in app.server.ask("GET", "/api/releases", app=app.name)}
    assert said == {listed[app.id]} == {"experimental"}


# --- a stop ------------------------------------------------------------------------------------------------------


class Hasty(Server):
    """Waits one second, not ten, for answers under way when it is stopped."""

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        program = "import waterline.app as app; app.GRACE_S = 1; from waterline.__main__ import main; main()"
        command = [sys.executable, "-c", program, "up", "--data", str(self.data), "--port", "0", "--json"]
        self.child, ready = start(command, self.environ, self.data / "server.log")
        self.url, self.key = ready["url"], ready["key"]


@pytest.mark.parametrize("signals", [1, 2])
def test_a_stream_cut_by_a_stop_has_its_own_outcome_in_the_store(tmp_path, sim, signals):
    server = Hasty(tmp_path / "d", f"{sim.address}/{{route}}")
    route = Route(provider="openai", model="gpt-4o-mini", idle_s=20)
    app = App(server, "a", {"main": route}, limits=Limits(nano_usd_per_day=10**10))
    sim.play(main=Target(answer=Answer(text="word " * 3000), per_token_ms=20))
    with begin(app) as sock:
        read_events(sock)
        for _ in range(signals):
            server.child.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        assert server.child.wait(timeout=60) == 0, server.log()[-3000:]
    server.start()
    (row,) = server.traces(app="a")
    trace = server.trace(row["id"])
    assert row["outcome"] == "interrupted"
    assert "ended" in [e["type"] for e in trace["events"]]
    assert 0 < row["cost_nano_usd"] < trace["row"]["reserved_nano_usd"]  # what was made, not the worst case
    assert server.stop() == 0
