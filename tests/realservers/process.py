"""A server of a test: started, waited for, stopped. What is not installed is skipped here and a failure in CI."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE_S = 240.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def program(name: str, package: str, *folders: str) -> str:
    """Its path; without it the test is skipped, except in CI, where `.ci/run` installs everything."""
    path = ":".join([os.environ.get("PATH", ""), *folders, "/usr/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        missing(f"{name} is not installed: apt-get install {package}")
    return str(found)


def missing(what: str) -> None:
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{what}; CI skips no server")
    pytest.skip(what)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def running(
    command: Sequence[str], ready: Callable[[], bool], log: Path, *, user: str = "", stop: int = signal.SIGTERM
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server until the block ends. `user`: whom it runs as where we are root."""
    as_user = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=log.parent, **as_user)
    try:
        end = time.monotonic() + PATIENCE_S
        while not ready():
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{command[0]} did not start:\n{log.read_text('utf-8', 'replace')[-3000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def folder_of(user: str, name: str) -> Iterator[Path]:
    """A folder of that user's own; pytest's belong to us and nobody else may enter them."""
    folder = Path(tempfile.mkdtemp(prefix=f"waterline-{name}-"))
    try:
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_as(user: str, command: Sequence[str], folder: Path) -> None:
    as_user = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, **as_user)
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def unprivileged(*names: str) -> str:
    """A user for servers that refuse to run as root; "" where we are not root."""
    if os.geteuid() != 0:
        return ""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in (*names, "nobody") if name in known)
