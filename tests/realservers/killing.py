"""kill -9 of a caller at every answer that it waits for, then the same act again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import waterline
from realservers.wire import Wire

FOLDERS = (Path(waterline.__file__).parents[1], Path(__file__).parents[1])
CALLER = Path(__file__).with_name("caller.py")


def kill_after(wire: Wire, answers: int, asked: dict[str, Any]) -> bool:
    """Starts the act, lets so many pieces of answer through, and kills the caller when the server has said the next.
    False: the caller was done before. The server may have acted, and nobody knows."""
    wire.restore()
    wire.pass_answers = answers
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, FOLDERS))}
    caller = subprocess.Popen(
        [sys.executable, str(CALLER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment,
    )  # fmt: skip
    assert caller.stdin is not None
    caller.stdin.write(json.dumps(asked).encode())
    caller.stdin.close()
    try:
        while not wire.kept_back.wait(0.02):
            if caller.poll() is not None:
                assert caller.stdout is not None
                assert caller.stderr is not None
                said = caller.stderr.read().decode()
                assert caller.returncode == 0, said
                return False
        return True
    finally:
        caller.send_signal(signal.SIGKILL)
        caller.wait()
        for pipe in (caller.stdout, caller.stderr):
            if pipe is not None:
                pipe.close()
        wire.restore()
