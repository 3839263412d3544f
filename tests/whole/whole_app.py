"""The whole app as users run it: a server process, a simulated provider process, and plain HTTP between them."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from waterline.core.app_spec import AppSpec, Limits, Retention, encode_spec
from waterline.core.release import Prompt, Release, Route, encode_release
from waterline.providers.simulated_script import Script, Target, encode_script


def start(command: list[str], environ: dict[str, str], log: Path) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """A child that says {"ready": true, ...} in its first line."""
    with log.open("ab") as errors:
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environ, start_new_session=True
        )
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, f"{command} did not start: {log.read_text()[-3000:]}"
    return child, json.loads(line)


class Sim:
    """The simulated provider: `target` names what a route's name is redirected to."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "waterline.providers.simulated", "--port", "0"]
        self.child, ready = start(command, dict(os.environ), folder / "sim.log")
        self.address: str = ready["address"]

    def play(self, default: Target | None = None, **targets: Target) -> None:
        script = Script(default=default or Target(), targets=targets)
        status, body = request(self.address, "POST", "/sim/script", encode_script(script))
        assert status == 200, body
        self._before = self._targets()

    def asked(self, target: str) -> int:
        """Requests to a target since the last `play`."""
        return int(self._targets().get(target, {}).get("requests", 0) - self._before.get(target, {}).get("requests", 0))

    def counted(self, target: str) -> dict[str, int]:
        """Tokens of a target since the last `play`, by its own books."""
        now, before = self._targets().get(target, {}), self._before.get(target, {})
        return {n: int(now.get(n, 0) - before.get(n, 0)) for n in ("input_tokens", "output_tokens")}

    def stats(self, target: str) -> dict[str, Any]:
        """Since the process began."""
        return self._targets().get(target, {})

    def _targets(self) -> dict[str, dict[str, Any]]:
        status, body = request(self.address, "GET", "/sim/stats")
        assert status == 200
        found: dict[str, dict[str, Any]] = json.loads(body)["targets"]
        return found

    def stop(self) -> None:
        self.child.kill()
        self.child.wait()


class Reply:
    """An HTTP answer, read to its end (or to where it broke off)."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, broken: str = "") -> None:
        self.status, self.headers, self.body, self.broken = status, headers, body, broken

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def trace(self) -> str:
        return self.headers["x-waterline-trace"]

    @property
    def events(self) -> list[str]:
        return [e.removeprefix("data: ") for e in self.body.decode().split("\n\n") if e]

    @property
    def text(self) -> str:
        """What was said, streamed or not."""
        if not self.headers["content-type"].startswith("text/event-stream"):
            return str(self.json["choices"][0]["message"]["content"])
        chunks = [json.loads(e) for e in self.events if e != "[DONE]"]
        return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c.get("choices"))

    @property
    def error_event(self) -> dict[str, Any] | None:
        found = [json.loads(e)["error"] for e in self.events if e != "[DONE]" and '"error"' in e]
        return found[-1] if found else None


def request(
    url: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    reply = send(url, method, path, body, headers)
    return reply.status, reply.body


def send(
    url: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None,
    timeout: float = 60,
) -> Reply:  # fmt: skip
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        seen = {k.lower(): v for k, v in response.getheaders()}
        try:
            return Reply(response.status, seen, response.read())
        except http.client.IncompleteRead as cut:
            return Reply(response.status, seen, cut.partial, broken="cut")
    finally:
        connection.close()


class Server:
    """A Waterline process with its own data folder."""

    def __init__(self, data: Path, redirect: str = "", limit_file_kb: int = 0, **environ: str) -> None:
        self.data = data
        self.limit_file_kb = limit_file_kb
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith("WATERLINE_")} | environ
        if redirect:
            self.environ["WATERLINE_REDIRECT_PROVIDERS"] = redirect
        self.url = ""
        self.key = ""
        self.start()

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "waterline", "up", "--data", str(self.data), "--port", "0", "--json"]
        if self.limit_file_kb:
            command = ["sh", "-c", f'ulimit -f {self.limit_file_kb * 2}; exec "$@"', "sh", *command]
        self.child, ready = start(command, self.environ, self.data / "server.log")
        self.url, self.key = ready["url"], ready["key"]

    def kill9(self) -> None:
        os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def stop(self) -> int:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.child.wait(timeout=60)
        self.kill9()
        return -9

    def ask(self, method: str, path: str, body: Any = None, key: str = "", **query: Any) -> Any:
        target = path + (f"?{urlencode(query)}" if query else "")
        data = json.dumps(body).encode() if body is not None else None
        reply = send(self.url, method, target, data, {"authorization": f"Bearer {key or self.key}"})
        assert reply.status < 400, f"{method} {path}: {reply.status} {reply.body!r}"
        return reply.json if reply.body else None

    def trace(self, trace: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"/api/traces/{trace}")
        return found

    def log(self) -> str:
        return (self.data / "server.log").read_text()

    def traces(self, **query: Any) -> list[dict[str, Any]]:
        """The newest thousand, once everything that was answered is stored."""
        assert eventually(lambda: self.ask("GET", "/api/status")["waiting"] == 0)
        rows: list[dict[str, Any]] = self.ask("GET", "/api/traces", limit=1000, **query)["rows"]
        return rows


class App:
    """An installed app: routes, limits, a key."""

    def __init__(self, server: Server, name: str, routes: dict[str, Route], **spec: Any) -> None:
        self.server = server
        self.name = name
        prompts = spec.pop("prompts", {})
        self.release = Release(app=name, routes=routes, prompts=prompts)
        self.spec = AppSpec(name=name, **spec)
        self.id = self.install(self.release)
        self.key: str = self.make_key()["key"]

    def build(self, release: Release) -> str:
        body = {"manifest": encode_release(release).decode(), "spec": encode_spec(self.spec).decode()}
        return str(self.server.ask("POST", "/api/releases", body)["id"])

    def install(self, release: Release) -> str:
        made = self.build(release)
        self.move("promote", made)
        return made

    def move(self, kind: str, release: str = "", **more: Any) -> Any:
        return self.server.ask("POST", f"/api/apps/{self.name}/moves", {"kind": kind, "release": release, **more})

    def make_key(self, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.server.ask(
            "POST", "/api/keys", {"kind": "app", "app": self.name, "name": "test", **more}
        )
        return made

    def post(self, body: Any, path: str = "/v1/chat/completions", **headers: str) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        return send(self.server.url, "POST", path, data, sent | {k.replace("_", "-"): v for k, v in headers.items()})

    def chat(
        self, text: str = "hello", *, stream: bool = False, headers: dict[str, str] | None = None, **more: Any
    ) -> Reply:
        body = {"model": "main", "messages": [{"role": "user", "content": text}], **more}
        if stream:
            body["stream"] = True
        return self.post(body, **(headers or {}))

    def trace_of(self, reply: Reply) -> dict[str, Any]:
        return self.server.trace(reply.trace)


def eventually(check: Any, timeout_s: float = 60.0) -> Any:
    """The first truthy answer of `check`."""
    end = time.monotonic() + timeout_s
    while True:
        found = check()
        if found or time.monotonic() > end:
            return found
        time.sleep(0.05)


@pytest.fixture(scope="session")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sim]:
    made = Sim(tmp_path_factory.mktemp("sim"))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def server(sim: Sim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for many tests; each installs apps of its own."""
    made = Server(tmp_path_factory.mktemp("data") / "d", f"{sim.address}/{{route}}")
    yield made
    assert made.stop() == 0, made.log()[-3000:]


_COUNT = iter(range(10_000))


@pytest.fixture
def make_app(server: Server) -> Any:
    """make_app(fallback=True, limits=..., main={...}) -> App with routes main (and backup).

    Its time limits are long: a machine may stop for a second. A test of a silent provider says shorter ones."""

    def make(*, fallback: bool = False, main: dict[str, Any] | None = None, **spec: Any) -> App:
        given = {"provider": "simulated", "model": "small", "retries": 1, "first_token_s": 10.0, "idle_s": 10.0,
                 "total_s": 30.0, **(main or {})}  # fmt: skip
        routes = {"main": Route(**given)}
        if fallback:
            routes["main"] = Route(**given, fallbacks=("backup",))
            routes["backup"] = Route(provider="simulated", model="other", retries=0, total_s=30.0)
        return App(server, f"app{next(_COUNT)}", routes, **spec)

    return make


__all__ = ["App", "Limits", "Prompt", "Release", "Reply", "Retention", "Server", "Sim", "eventually"]
