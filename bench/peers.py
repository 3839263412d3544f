"""Waterline beside other gateways, from their own packages: one upstream, one load, the same minutes, one core.

    python bench/peers.py --install      once: into ~/.cache/waterline/bench/peers, 0.7 GB (uv, npm)
    python bench/peers.py [--write]      three minutes; --write makes PEERS.md

A peer that is not installed is left out, and said so. Waterline has everything on (see README.md); the peers have what
their quick start has: LiteLLM's proxy with a master key, Portkey with nothing, TensorZero's gateway without its
database (so without observability). Each takes its turn alone on CPU 0.
"""

import argparse
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import host
from run import BURSTS, EVENTS, SATURATED, Bench, Load, Seen
from servers import MANNERS, Proxy, Subject, Upstream, Waterline, bare_environment, plain_proxy, request_body

HERE = Path(__file__).resolve().parent
PEERS = Path.home() / ".cache" / "waterline" / "bench" / "peers"
START_S = 90.0
TENSORZERO = """
import sys, threading, tensorzero.tensorzero as t
gateway = t._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
print(gateway.base_url, flush=True)
threading.Event().wait()
"""


class Peer(Proxy):
    """A process that is ready when it answers; `Proxy`, so that what it gets wrong is told, not fatal."""

    def __init__(self, name: str, command: list[str], work: Path, port: int) -> None:
        self.name, self.port = name, port
        self.log = work / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                host.pinned(host.GATEWAY_CPU, command), stdout=log, stderr=log, env=bare_environment(), cwd=work,
                start_new_session=True,
            )  # fmt: skip
        self.pid = self.process.pid
        self.headers = []

    def path(self, manners: str) -> str:
        return "/v1/chat/completions"

    def model(self, manners: str) -> str:
        return manners

    def await_answer(self) -> None:
        """Raises RuntimeError with the end of its log."""
        body = self.body(SATURATED)
        end, said = time.monotonic() + START_S, ""
        while time.monotonic() < end and self.process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                headers = {"content-type": "application/json", **dict(h.split(": ", 1) for h in self.headers)}
                connection.request("POST", self.path("instant"), body, headers)
                response = connection.getresponse()
                said = response.read().decode(errors="replace")
                if response.status == 200:
                    return
            except OSError as error:
                said = str(error)
            time.sleep(0.3)
        raise RuntimeError(f"{self.name} does not answer ({said[:300]}): {self.log.read_text(errors='replace')[-600:]}")

    def body(self, load: Load) -> bytes:
        asked = json.loads(request_body(load.manners, stream=load.stream))
        return json.dumps({**asked, "model": self.model(load.manners)}).encode()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def litellm(work: Path, upstream: Upstream) -> Peer | None:
    program = PEERS / "litellm" / "bin" / "litellm"
    if not program.exists():
        return None
    routes = [
        {
            "model_name": name,
            "litellm_params": {
                "model": "openai/gpt-4o-mini",
                "api_base": f"http://127.0.0.1:{upstream.port}/{manners}/v1",
                "api_key": "sk-x",
            },
        }
        for name, manners in MANNERS.items()
    ]
    config = work / "litellm.yaml"  # JSON is YAML
    config.write_text(json.dumps({"model_list": routes, "general_settings": {"master_key": "sk-bench"}}))
    port = _free_port()
    made = Peer(
        "LiteLLM", [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)], work, port
    )
    made.headers = ["authorization: Bearer sk-bench"]
    return made


def portkey(work: Path, upstream: Upstream) -> Peer | None:
    program = PEERS / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not program.exists():
        return None
    port = _free_port()

    class Portkey(Peer):
        def put_headers(self, manners: str) -> None:
            address = f"http://127.0.0.1:{upstream.port}/{MANNERS[manners]}/v1"
            self.headers = [
                "authorization: Bearer sk-x", "x-portkey-provider: openai", f"x-portkey-custom-host: {address}"
            ]  # fmt: skip

        def path(self, manners: str) -> str:
            self.put_headers(manners)
            return super().path(manners)

    made = Portkey("Portkey", ["node", str(program), f"--port={port}", "--headless"], work, port)
    made.put_headers("instant")
    return made


def tensorzero(work: Path, upstream: Upstream) -> Peer | None:
    python = PEERS / "tensorzero" / "bin" / "python"
    if not python.exists():
        return None
    config = work / "tensorzero.toml"
    config.write_text(
        "".join(
            f'[models.{name}]\nrouting = ["u"]\n[models.{name}.providers.u]\ntype = "openai"\n'
            'model_name = "gpt-4o-mini"\n'
            f'api_base = "http://127.0.0.1:{upstream.port}/{manners}/v1/"\napi_key_location = "none"\n'
            for name, manners in MANNERS.items()
        )
    )

    class TensorZero(Peer):
        def path(self, manners: str) -> str:
            return "/openai/v1/chat/completions"

        def model(self, manners: str) -> str:
            return f"tensorzero::model_name::{manners}"

    made = TensorZero("TensorZero", [str(python), "-c", TENSORZERO, str(config)], work, 0)
    end = time.monotonic() + START_S
    while time.monotonic() < end and not made.port:
        if found := re.search(r"http://[^/\s]+:(\d+)", made.log.read_text(errors="replace")):
            made.port = int(found[1])
        time.sleep(0.2)
    return made


MAKERS: dict[str, Callable[[Path, Upstream], Peer | None]] = {
    "TensorZero": tensorzero, "Portkey": portkey, "LiteLLM": litellm
}  # fmt: skip


class PeerBench(Bench):
    """Peers name models in their own ways, so each has request bodies of its own."""

    asking: Subject | None = None

    def body(self, load: Load) -> str:
        if not isinstance(self.asking, Peer):
            return super().body(load)
        path = self.work / f"{self.asking.name}-{load.manners}-{load.stream}.json"
        path.write_bytes(self.asking.body(load))
        return str(path)

    def put(self, subject: Subject, load: Load, *, seconds: float, requests: int = 0) -> Seen:
        self.asking = subject
        return super().put(subject, load, seconds=seconds, requests=requests)


def measure(work: Path, quick: bool) -> tuple[list[list[str]], list[str]]:
    bench, notes = PeerBench(work, quick), []
    upstream = Upstream(work)
    seen: dict[str, tuple[Seen, Seen, float]] = {}
    try:
        for name, make in (
            ("plain proxy", plain_proxy), ("Waterline", Waterline), *MAKERS.items()
        ):  # fmt: skip
            subject = make(work, upstream)
            if subject is None:
                notes.append(f"{name}: not installed (`python bench/peers.py --install`).")
                continue
            try:
                if isinstance(subject, Peer):
                    subject.await_answer()
                time.sleep(1.0)
                idle = host.resident_mb(subject.pid)
                plain = bench.take_turns([subject], SATURATED)[name]
                bursts = bench.take_turns([subject], BURSTS)[name]
                best = [min(found, key=lambda s: s.cpu_us) for found in (plain, bursts)]
                seen[name] = (best[0], best[1], idle)
                print(f"{name}: {best[0].cpu_us:,.0f} us a request", file=sys.stderr, flush=True)
            except RuntimeError as error:
                notes.append(f"{name}: could not be measured: {error}")
            finally:
                subject.stop()
    finally:
        upstream.stop()
    notes += [f"{name}: {n} requests without a whole answer." for name, n in bench.wrong.items()]
    return [_row(name, seen, idle) for name, (_, _, idle) in seen.items()], notes


def _row(name: str, seen: dict[str, tuple[Seen, Seen, float]], idle: float) -> list[str]:
    plain, bursts, _ = seen[name]
    ours = seen["Waterline"][0].cpu_us
    return [
        name, f"{plain.cpu_us:,.0f}", f"{plain.cpu_us / ours:.2f}", f"{plain.per_second:,.0f}",
        f"{bursts.cpu_us / EVENTS:,.1f}", f"{idle:,.0f}",
    ]  # fmt: skip


def install() -> None:
    uv = [sys.executable, "-m", "uv"]
    for name, package in (("litellm", "litellm[proxy]"), ("tensorzero", "tensorzero")):
        subprocess.run([*uv, "venv", "--quiet", "--allow-existing", str(PEERS / name)], check=True)
        python = str(PEERS / name / "bin" / "python")
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", python, package], check=True)
    (PEERS / "portkey").mkdir(parents=True, exist_ok=True)
    packages = ["@portkey-ai/gateway@1.15.2", "@hono/node-server@1.13.7"]
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--silent", *packages], cwd=PEERS / "portkey", check=True
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true", help="write PEERS.md")
    given = parser.parse_args()
    if given.install:
        install()
        return 0
    before = host.calibrate()
    with tempfile.TemporaryDirectory(prefix="waterline-peers-") as work:
        rows, notes = measure(Path(work), given.quick)
    heads = [
        "gateway",
        "us CPU a request",
        "to Waterline",
        "requests/s on one core",
        "us CPU a streamed chunk",
        "MB idle",
    ]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads), *(f"| {' | '.join(row)} |" for row in rows)]
    table = "\n".join(lines) + "\n\n" + "".join(f"* {note}\n" for note in notes)
    after = host.calibrate()
    if trouble := host.disturbed(before, after, 0.0):
        table += f"* {trouble}\n"
    print(table)
    if given.write:
        head = (
            "# Beside other gateways\n\nMade by `python bench/peers.py --write`; what it is: [peers.py](peers.py).\n\n"
        )
        (HERE / "PEERS.md").write_text(f"{head}Machine: {host.machine()}\n\n{table}")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("NODE_ENV", "production")
    raise SystemExit(main())
