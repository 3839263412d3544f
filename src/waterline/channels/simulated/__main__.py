"""python -m waterline.channels.simulated --port 0: a process of its own, for tests and drills."""

import argparse
from pathlib import Path

from waterline.channels.simulated.server import run_server

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path)
    parser.add_argument("--webhook", default="")
    given = parser.parse_args()
    run_server(given.script, "127.0.0.1", given.port, given.webhook)
