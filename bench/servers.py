"""What is measured, and what stands behind it: Waterline, the plain proxies, the upstream."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from host import GATEWAY_CPU, LOAD_CPU, pinned
from programs import compiled

HERE = Path(__file__).resolve().parent
WATERLINE = [sys.executable, "-m", "waterline"]
# manners of the upstream: the first segment of its path (see native/upstream.c), and the route's name in Waterline
MANNERS = {"instant": "0.64.0", "slow": "50000.64.0", "paced": "0.64.2000"}
PROMPT = "You are a school's assistant. Answer in the language of the question, from the handbook only, and be brief. "
APP = """name = "bench"
purpose = "Everything on, and nothing in the way"

[limits]
rpm = 900000000
tpm = 900000000000
max_concurrency = 1000000
usd_per_day = 100000000
usd_per_month = 100000000
"""
ROUTE = """
[models.{name}]
provider = "openai"
model = "gpt-4o-mini"
base_url = "http://127.0.0.1:{port}/{manners}/v1"
max_tokens = 256
"""


class Started:
    """A process that says its port on the first line it prints."""

    def __init__(self, command: list[str], cpu: int, log: Path, environ: dict[str, str] | None = None) -> None:
        self.begun = time.monotonic()
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                pinned(cpu, command), stdout=subprocess.PIPE, stderr=errors, text=True, env=environ
            )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().strip()
        if not self.said:
            self.process.wait(30)
            raise RuntimeError(f"{command[:3]} did not start; see {log}:\n{log.read_text()[-2000:]}")

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Upstream(Started):
    def __init__(self, work: Path) -> None:
        answer = work / "answer.json"
        answer.write_text(json.dumps(answer_body()))
        super().__init__([str(compiled("upstream")), str(answer)], LOAD_CPU, work / "upstream.log")
        self.port = int(self.said)


class Subject:
    """Something that load can be put on."""

    name: str
    pid: int
    port: int
    headers: list[str]

    def path(self, manners: str) -> str:
        return f"/{MANNERS[manners]}/v1/chat/completions"

    def waiting(self) -> int:
        """Work that it has put off."""
        return 0

    def stop(self) -> None: ...


class Direct(Subject):
    """The upstream with nothing before it."""

    def __init__(self, upstream: Upstream) -> None:
        self.name, self.pid, self.port, self.headers = "upstream alone", upstream.pid, upstream.port, []


class Proxy(Subject):
    def __init__(self, name: str, command: list[str], work: Path) -> None:
        self._started = Started(command, GATEWAY_CPU, work / f"{name.replace(' ', '-')}.log", bare_environment())
        self.name, self.pid, self.port, self.headers = name, self._started.pid, int(self._started.said), []
        self.begun = self._started.begun

    def stop(self) -> None:
        self._started.stop()


def plain_proxy(work: Path, upstream: Upstream) -> Proxy:
    command = [sys.executable, str(HERE / "plain_proxy.py"), f"http://127.0.0.1:{upstream.port}"]
    return Proxy("plain proxy", command, work)


class Waterline(Subject):
    """The real server, as a user starts it, with a key, limits, a hard budget, prices, spool and database."""

    def __init__(self, work: Path, upstream: Upstream) -> None:
        self.name = "Waterline"
        app, self.data = work / "app", work / "data"
        if not app.exists():
            app.mkdir()
            routes = (ROUTE.format(name=n, port=upstream.port, manners=m) for n, m in MANNERS.items())
            (app / "app.toml").write_text(APP + "".join(routes))
        command = [*WATERLINE, "up", str(app), "--data", str(self.data), "--port", "0", "--json"]
        self._started = Started(command, GATEWAY_CPU, work / "waterline.log", bare_environment())
        ready = json.loads(self._started.said)
        self.pid, self.begun = self._started.pid, self._started.begun
        self.port = int(ready["url"].rsplit(":", 1)[1])
        self._operator = ready["key"]
        self.key_file = work / "app.key"
        if not self.key_file.exists():
            made = self.ask("POST", "/api/keys", {"kind": "app", "app": "bench", "env": "production", "name": "bench"})
            self.key_file.write_text(made["key"])
        self.headers = [f"authorization: Bearer {self.key_file.read_text()}"]

    def path(self, manners: str) -> str:
        return "/v1/chat/completions"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(self._raw(method, path, body))

    def metrics(self) -> dict[str, float]:
        lines = [line for line in self._raw("GET", "/metrics", None).decode().splitlines() if line and line[0] != "#"]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def waiting(self) -> int:
        return int(self.metrics()["waterline_traces_waiting"])

    def stop(self) -> None:
        self._started.stop()

    def _raw(self, method: str, path: str, body: Any) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"authorization": f"Bearer {self._operator}", "content-type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path} answered {response.status}: {data[:300]!r}")
        return data


def first_answer_s(subject: Subject, begun: float, body: bytes, route: str = "instant") -> float:
    """Seconds from `begun` to the first answered request."""
    headers = {"content-type": "application/json", **dict(h.split(": ", 1) for h in subject.headers)}
    while time.monotonic() < begun + 60:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", subject.port, timeout=10)
            connection.request("POST", subject.path(route), body, headers)
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                return time.monotonic() - begun
        except OSError:
            pass
        time.sleep(0.002)
    raise RuntimeError(f"{subject.name} answered nothing within 60 s")


def bare_environment() -> dict[str, str]:
    """Ours, without what would change a server's settings or the provider's secret."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WATERLINE_")}
    return {**clean, "OPENAI_API_KEY": "sk-bench", "PYTHONUNBUFFERED": "1"}


def request_body(route: str, *, stream: bool) -> bytes:
    """About 2 KB, as a short conversation with a system prompt has."""
    messages = [
        {"role": "system", "content": PROMPT * 14},
        {"role": "user", "content": "When does the term begin, and what does it cost for two children?"},
    ]
    body: dict[str, Any] = {"model": route, "messages": messages, "temperature": 0.2}
    if stream:
        body["stream"] = True
    return json.dumps(body).encode()


def answer_body() -> dict[str, Any]:
    """About 1.3 KB, 211 tokens: the mean answer of the Azure conversation trace (2024)."""
    said = "The term begins on the second Monday of September. " * 20
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": said, "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 420, "completion_tokens": 211, "total_tokens": 631}
    return {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "gpt-4o-mini",
        "choices": [choice],
        "usage": usage,
    }
