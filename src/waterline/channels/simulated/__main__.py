"""python -m waterline.channels.simulated --port 0: a process of its own, for tests and drills."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from waterline.channels.simulated.server import run_server

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path)
    parser.add_argument("--webhook", default="")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that started this one")
    given = parser.parse_args()
    if given.until_stdin_closes:

        def watch() -> None:
            sys.stdin.read()
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=watch, daemon=True).start()
    run_server(given.script, "127.0.0.1", given.port, given.webhook)
