"""Bad input and bad days: a clear error that names the thing, the limit and the next step; nothing is lost."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest
from whole_app import App, Limits, Retention, Route, Server, eventually, send

from waterline.providers.simulated_script import Answer, Fault, Target

GOOD = Target(answer=Answer(text="ok"))


def raw(server: Server, data: bytes, read: int = 1 << 20, timeout: float = 60) -> bytes:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=timeout) as sock:
        try:
            sock.sendall(data)
        except OSError:
            pass  # the server answered and closed before it had read everything
        got = b""
        try:
            while len(got) < read and (part := sock.recv(65536)):
                got += part
        except OSError:
            pass
        return got


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "does not fit"),
        (b'"x"', "does not fit"),
        (b'{"model":"main"}', "`messages` is missing"),
        (b'{"model":"main","messages":[]}', "`messages` is missing"),
        (b'{"model":"main","messages":"hi"}', "messages"),
        (b'{"model":"main","messages":[{"content":"x"}]}', "role"),
        (b'{"model":3,"messages":[{"role":"user","content":"x"}]}', "model"),
        (b'{"messages":[{"role":"user","content":"x"}]}', "model"),
        (b'{"model":"main","stream":"yes","messages":[{"role":"user"}]}', "stream"),
        (b'{"model":"main","max_tokens":0,"messages":[{"role":"user"}]}', "max_tokens"),
        (b'{"model":"main","n":1000,"messages":[{"role":"user"}]}', "`n`"),
        (b'{"model":"main","messages":[{"role":"user","content":"\xff\xfe"}]}', "UTF-8"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "nested"),
        (b'{"messages":' + b"[" * 200_000, "nested"),
    ],
    ids=lambda v: repr(v[:40]),
)
def test_malformed_bodies_get_a_400_that_says_what_is_wrong_and_leave_a_trace(make_app, sim, body, says):
    app = make_app()
    sim.play(main=GOOD)
    reply = app.post(body)
    assert (reply.status, reply.code) == (400, "invalid_request"), reply.body
    assert says in reply.json["error"]["message"]
    assert app.trace_of(reply)["row"]["outcome"] == "refused"
    assert sim.asked("main") == 0


def test_a_50_mb_body_is_refused_without_being_read(make_app):
    app = make_app()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {app.key}\r\n"
        f"content-length: {50 << 20}\r\n\r\n"
    ).encode()
    answer = raw(app.server, head + b"x" * 100_000)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"WATERLINE_MAX_BODY_BYTES" in answer


def test_a_50_mb_chunked_body_is_refused_at_the_limit(make_app):
    app = make_app()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {app.key}\r\n"
        "transfer-encoding: chunked\r\n\r\n"
    ).encode()
    answer = raw(app.server, head + (b"100000\r\n" + b"x" * 0x100000 + b"\r\n") * 50)
    assert answer.startswith(b"HTTP/1.1 413") or answer == b""  # the connection may be reset while we still send


def test_the_server_still_answers_after_all_that(make_app, sim):
    sim.play(main=GOOD)
    assert make_app().chat().status == 200


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({}, "No API key"),
        ({"authorization": "Bearer nonsense"}, "malformed"),
        ({"authorization": "Basic abc"}, "Bearer"),
        ({"authorization": "Bearer wl-12345678" + "A" * 43}, "not known"),
        ({"authorization": "Bearer wl-12345678' OR 1=1 --"}, "malformed"),
    ],
)
def test_wrong_keys_are_refused_and_never_echoed(make_app, header, says):
    app = make_app()
    body = json.dumps({"model": "main", "messages": [{"role": "user", "content": "x"}]}).encode()
    reply = send(app.server.url, "POST", "/v1/chat/completions", body, header)
    assert (reply.status, reply.code) == (401, "invalid_api_key")
    assert says in reply.json["error"]["message"]
    assert "OR 1=1" not in reply.body.decode()
    assert "AAAA" not in reply.body.decode()


def test_revoked_key_stops_working_at_once(make_app, sim):
    app = make_app()
    sim.play(main=GOOD)
    extra = app.make_key()
    app.key = extra["key"]
    assert app.chat().status == 200
    app.server.ask("POST", f"/api/keys/{extra['id']}/revocation")
    reply = app.chat()
    assert reply.status == 401
    assert "revoked" in reply.json["error"]["message"]


def test_a_key_of_one_app_cannot_see_another(make_app, sim):
    sim.play(main=GOOD)
    one, two = make_app(), make_app()
    trace = one.chat("a secret of one").trace
    said = json.dumps({"trace": trace, "kind": "accepted"}).encode()
    reply = send(one.server.url, "POST", "/v1/feedback", said, {"authorization": f"Bearer {two.key}"})
    assert reply.status == 404
    assert send(one.server.url, "GET", "/api/traces", headers={"authorization": f"Bearer {two.key}"}).status == 403


def test_identity_is_believed_only_from_keys_that_may_assert_it(make_app, sim):
    sim.play(main=GOOD)
    app = make_app()
    reply = app.chat(headers={"x_waterline_subject": "ana"})
    assert (reply.status, reply.code) == (403, "permission_denied")
    app.key = app.make_key(assert_identity=True)["key"]
    reply = app.chat(headers={"x_waterline_subject": "ana"})
    assert reply.status == 200
    subject = app.trace_of(reply)["row"]["subject"]
    assert subject
    assert "ana" not in subject


def test_unknown_model_names_what_there_is(make_app):
    reply = make_app().post({"model": "gpt-9", "messages": [{"role": "user", "content": "x"}]})
    assert (reply.status, reply.code) == (404, "unknown_model")
    assert "main" in reply.json["error"]["message"]


def test_wrong_method_and_unknown_path(server):
    assert send(server.url, "GET", "/v1/chat/completions").status == 405
    assert send(server.url, "POST", "/v1/nothing").status == 404


def test_a_client_that_leaves_cancels_the_upstream_and_is_billed_for_what_was_made(make_app, sim):
    app = make_app(main={"idle_s": 10.0})
    sim.play(main=Target(answer=Answer(text="word " * 400), per_token_ms=20))
    parts = urlsplit(app.server.url)
    body = json.dumps({"model": "main", "stream": True, "messages": [{"role": "user", "content": "x"}]}).encode()
    with socket.create_connection((parts.hostname, parts.port)) as sock:
        sock.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {app.key}\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        got = b""
        while got.count(b"data: ") < 5:
            got += sock.recv(65536)
        aborted_before = sim.stats("main").get("aborted", 0)
    row = eventually(lambda: next((r for r in app.server.traces(app=app.name) if r["outcome"] == "cancelled"), None))
    assert row, app.server.traces(app=app.name)
    assert row["tokens_estimated"]
    assert 0 < row["tokens_out"] < 300
    assert eventually(lambda: sim.stats("main").get("aborted", 0) > aborted_before)


def test_a_client_that_leaves_before_a_plain_answer_cancels_too(make_app, sim):
    app = make_app()
    sim.play(main=Target(first_token_ms=60_000.0))
    parts = urlsplit(app.server.url)
    body = json.dumps({"model": "main", "messages": [{"role": "user", "content": "x"}]}).encode()
    with socket.create_connection((parts.hostname, parts.port)) as sock:
        sock.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {app.key}\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert eventually(lambda: sim.asked("main") == 1)
    row = eventually(lambda: next((r for r in app.server.traces(app=app.name) if r["outcome"] == "cancelled"), None))
    assert row
    assert row["duration_us"] < 8_000_000  # the route's own limit is ten seconds


def test_declared_limits_are_kept_and_a_429_says_when(make_app, sim):
    sim.play(main=GOOD)
    app = make_app(limits=Limits(rpm=3))
    statuses = [app.chat().status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    assert 1 <= int(app.chat().headers["retry-after"]) <= 60


def test_two_apps_at_once_do_not_share_limits_or_budgets(make_app, sim):
    sim.play(main=GOOD)
    one, two = make_app(limits=Limits(rpm=1)), make_app()
    assert one.chat().status == 200
    assert one.chat().status == 429
    assert [two.chat().status for _ in range(5)] == [200] * 5


def test_what_has_no_price_is_refused_under_a_hard_budget(make_app, sim):
    sim.play(main=GOOD)
    app = make_app(main={"provider": "openai", "model": "mystery-1"}, limits=Limits(nano_usd_per_day=10**9))
    reply = app.chat()
    assert (reply.status, reply.code) == (402, "budget_exceeded")
    assert "prices.toml" in reply.json["error"]["message"]


def test_unpriced_is_shown_as_unpriced_never_as_zero(make_app, sim):
    sim.play(main=GOOD)
    app = make_app(main={"provider": "openai", "model": "mystery-1"})
    reply = app.chat()
    assert "x-waterline-cost-usd" not in reply.headers
    assert app.trace_of(reply)["row"]["cost_nano_usd"] is None


def test_hard_budget_is_never_passed_under_concurrency(make_app, sim):
    sim.play(main=Target(answer=Answer(text="word " * 40), first_token_ms=20.0))
    limit = 2_000_000  # 0.002 USD; gpt-4o-mini: 0.15/0.60 USD per million
    app = make_app(main={"provider": "openai", "model": "gpt-4o-mini"}, limits=Limits(nano_usd_per_day=limit))
    replies = []

    def many() -> None:
        for _ in range(15):
            replies.append(app.chat("hello there", max_tokens=60))

    threads = [threading.Thread(target=many) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    codes = {r.status for r in replies}
    assert codes == {200, 402}, codes
    spent = sum(r["cost_nano_usd"] for r in app.server.traces(app=app.name))
    assert spent <= limit
    assert spent > limit * 0.5


# --- the machine -------------------------------------------------------------------------------------------------


def test_below_the_reserve_requests_are_refused_or_answered_as_declared_never_untraced(tmp_path, sim):
    sim.play(main=GOOD)
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}", WATERLINE_MIN_FREE_MB="1000000")
    try:
        route = {"main": Route(provider="simulated", model="small")}
        app = App(server, "careful", route)
        reply = app.chat()
        assert (reply.status, reply.code) == (503, "overloaded")
        assert "Free disk space" in reply.json["error"]["message"]
        assert int(reply.headers["retry-after"]) >= 1
        assert sim.asked("main") == 0
        brave = App(server, "brave", route, retention=Retention(on_trace_failure="answer"))
        assert brave.chat().status == 200
        status = server.ask("GET", "/api/status")
        assert status["rejected"] >= 2
        assert status["emitted"] == status["stored"] + status["rejected"] + status["waiting"] + status["lost"]
    finally:
        server.stop()


def test_a_disk_that_is_really_full_refuses_honestly_loses_nothing_and_recovers(tmp_path, sim):
    """Every file may grow to 3.5 MB: as on a full disk, the system itself refuses the write."""
    sim.play(main=GOOD)
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}", limit_file_kb=3500)
    app = App(server, "full", {"main": Route(provider="simulated", model="small")})
    answered, refused = [], []
    for _ in range(200):
        reply = app.chat("x" * 60_000)
        (answered if reply.status == 200 else refused).append(reply)
        if len(refused) >= 3:
            break
    assert answered
    assert refused
    assert {(r.status, r.code) for r in refused} == {(503, "overloaded")}
    server.kill9()
    server.limit_file_kb = 0
    server.start()
    for reply in answered:
        assert server.trace(reply.trace)["row"]["outcome"] == "answered"
    assert app.chat().status == 200
    assert server.stop() == 0


def run_up(*more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "waterline", "up", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_an_unwritable_data_folder_is_named(tmp_path):
    target = tmp_path / "file"
    target.write_text("not a folder")
    done = run_up("--data", str(target), "--port", "0")
    assert done.returncode == 1
    assert str(target) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_named_with_the_way_out(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_up("--data", str(tmp_path / "d"), "--port", str(port))
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_servers_cannot_share_a_data_folder(server):
    done = run_up("--data", str(server.data), "--port", "0")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("after_s", [0.0, 0.15, 0.4, 0.8, 1.5])
def test_ctrl_c_at_any_moment_ends_cleanly(tmp_path, after_s):
    command = [sys.executable, "-m", "waterline", "up", "--data", str(tmp_path / "d"), "--port", "0"]
    child = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell may start us with SIGINT ignored
    )  # fmt: skip
    time.sleep(after_s)
    os.killpg(child.pid, signal.SIGINT)
    try:
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    ours = "waterline" in errors.replace(str(tmp_path), "")  # before that, it is the interpreter's own start
    assert child.returncode in (0, 130, -signal.SIGINT) or not ours, errors
    if ours:
        assert "Traceback" not in errors
    assert starts_again(tmp_path / "d")


def starts_again(data) -> bool:
    server = Server(data)
    return server.stop() == 0


def test_kill_9_under_load_loses_no_answered_request_and_doubles_none(tmp_path, sim):
    sim.play(main=Target(answer=Answer(text="ok"), first_token_ms=5.0))
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    app = App(server, "steady", {"main": Route(provider="openai", model="gpt-4o-mini")},
              limits=Limits(nano_usd_per_day=10**12))  # fmt: skip
    answered: list[str] = []

    def load() -> None:
        while True:
            try:
                reply = app.chat(stream=len(answered) % 2 == 0)
            except OSError:
                return
            if reply.status == 200 and not reply.broken and (b"[DONE]" in reply.body or b'"choices"' in reply.body):
                answered.append(reply.trace)

    for _ in range(2):
        threads = [threading.Thread(target=load) for _ in range(6)]
        for t in threads:
            t.start()
        enough = len(answered) + 20
        assert eventually(lambda: len(answered) >= enough)  # noqa: B023
        server.kill9()
        for t in threads:
            t.join()
        server.start()
    rows = server.traces(app="steady")
    stored = {r["id"]: r for r in rows}
    assert len(stored) == len(rows)
    missing = [t for t in answered if server.trace(t)["row"]["outcome"] != "answered"]
    assert answered
    assert not missing
    assert not [r for r in rows if r["outcome"] == "open"]
    status = server.ask("GET", "/api/status")
    assert status["lost"] == 0
    assert server.stop() == 0


def test_budget_counts_what_a_killed_process_had_reserved(tmp_path, sim):
    """An interrupted request is booked at its worst case: the limit holds across crashes."""
    sim.play(main=Target(first_token_ms=60_000.0))
    server = Server(tmp_path / "d", f"{sim.address}/{{route}}")
    spec = {"limits": Limits(nano_usd_per_day=10**6)}
    app = App(server, "crash", {"main": Route(provider="openai", model="gpt-4o-mini", max_tokens=500)}, **spec)

    def ask() -> None:
        with contextlib.suppress(OSError):
            app.chat()

    thread = threading.Thread(target=ask)
    thread.start()
    assert eventually(lambda: sim.asked("main") == 1)
    server.kill9()
    thread.join()
    server.start()
    (row,) = server.traces(app="crash")
    assert row["outcome"] == "interrupted"
    assert row["cost_nano_usd"] > 300_000  # 500 tokens at 0.60 USD per million, and the prompt
    view = next(a for a in server.ask("GET", "/api/apps") if a["name"] == "crash")
    assert view["spent_today_nano_usd"] == row["cost_nano_usd"]
    server.stop()


def test_faults_of_a_provider_do_not_leak_into_the_next_request(make_app, sim):
    app = make_app(main={"retries": 0})
    for kind in ("cut", "garbage", "reset_before_headers", "wrong_content_length"):
        sim.play(main=Target(answer=Answer(text="ok"), faults=(Fault(kind),)))
        app.chat(stream=kind == "cut")
        sim.play(main=GOOD)
        time.sleep(2.1 if kind == "reset_before_headers" else 0)
        assert app.chat().text == "ok"
