"""What `make demo` does: pull the demo model, open the school's office (a calendar, a CRM, a telephone), serve
examples/school, send it to sea, keep serving.

`--trial short` opens no office and ends after a short trial with its exit status; `--trial none` only serves.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import webbrowser
from pathlib import Path

from office import Office

ROOT = Path(__file__).resolve().parent.parent
WATERLINE = [sys.executable, "-m", "waterline"]
MODEL = "qwen2.5-coder-1.5b"
COULD_NOT_RUN, INTERRUPTED = 3, 130  # as `waterline trial` says it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trial", choices=["full", "short", "none"], default="full")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "demo")
    parser.add_argument("--port", default=os.environ.get("PORT", "8400"))
    asked = parser.parse_args()
    os.chdir(ROOT)
    data = asked.data.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was opened is closed on any way out
    office = server = None
    try:
        if subprocess.run([*WATERLINE, "model", "pull", MODEL], check=False).returncode:
            return COULD_NOT_RUN
        if asked.trial != "short":
            office = Office(data / "office", f"http://127.0.0.1:{asked.port}/webhooks/whatsapp")
            office.start()
        server = subprocess.Popen(
            [*WATERLINE, "up", "examples/school", "examples/plain-sdk", "--data", data, "--port", asked.port, "--json"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(office.environ if office is not None else {})},
        )
        return serve(server, asked.trial, data, office.board_url if office is not None else "")
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if server is not None:
            end(server)
        if office is not None:
            office.stop()


def end(server: "subprocess.Popen[str]") -> None:
    server.terminate()
    try:
        server.wait(timeout=30)
    except subprocess.TimeoutExpired:
        server.kill()


def serve(server: "subprocess.Popen[str]", trial: str, data: Path, board: str) -> int:
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line:
        if server.wait() == INTERRUPTED:
            return INTERRUPTED
        print("If it is the port: PORT=8401 make demo", file=sys.stderr)
        return COULD_NOT_RUN
    ready = json.loads(line)
    url = ready["url"]
    print(f"\nWaterline serves examples/school.\n  console   {url}/")
    print(f"  admin key {ready['key']}  (also in {data}/operator.key)")
    print(f"  gateway   {url}/v1")
    if board:
        print(f"  chat      {board}/  (be a parent: the telephone is on the left, the school's office on the right)")
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(board)
    sys.stdout.flush()
    threading.Thread(target=server.stdout.read, daemon=True).start()
    code = 0
    if trial != "none":
        print("\nTo sea: waterline trial examples/school" + (" --short" if trial == "short" else ""), flush=True)
        command = [*WATERLINE, "trial", "examples/school", "--data", str(data), "--out", "out/trial"]
        code = subprocess.run([*command, *(["--short"] if trial == "short" else [])], check=False).returncode
        print(f"\nreport    {(ROOT / 'out/trial/load-line.html').as_uri()}\nconsole   {url}/load-lines", flush=True)
    if trial == "short":
        print(f"exit      {code}  (0 may sail, 1 a drill failed, 2 inconclusive, 3 could not run)", flush=True)
        return code
    print("\nServing until Ctrl-C. Ask it something:")
    print(
        f"  .venv/bin/waterline run --data {data} --app plain -- .venv/bin/python examples/plain-sdk/demo.py",
        flush=True,
    )
    return server.wait()


if __name__ == "__main__":
    sys.exit(main())
