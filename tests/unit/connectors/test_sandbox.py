"""Tools in Python are held: whatever their code does, it ends in an answer or a fault, and nothing else happened."""

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from waterline.connectors import sandbox
from waterline.connectors.base import BadParameter, Config, ConnectorFault, Scope
from waterline.connectors.run import Ready, perform
from waterline.connectors.sandbox import PythonTool

CONTRACT: dict[str, Any] = {
    "name": "monthly_fee",
    "description": "The fee of a month",
    "parameters": {"type": "object", "properties": {"grade": {"type": "integer"}}, "required": ["grade"]},
    "effect": "read",
    "timeout_s": 20,
}


def tool(code: str, memory_mb: int = 256, **contract: Any) -> PythonTool:
    files = {"contract": json.dumps(CONTRACT | contract), "code": code}
    parameters = {"contract": "tools/fee.json", "code": "tools/fee.py", "memory_mb": memory_mb}
    return PythonTool(Config("fee", {}, parameters, files))


async def call(made: PythonTool) -> dict[str, Any]:
    return await perform(Ready(made, Config("fee")), "monthly_fee", {"grade": 5}, "", Scope("porto"))


async def fault(made: PythonTool) -> ConnectorFault:
    with pytest.raises(ConnectorFault) as caught:
        await call(made)
    return caught.value


async def test_a_tool_computes_with_pythons_own_library() -> None:
    made = tool("""
import datetime, decimal, hashlib, json, math, random, re, statistics, zoneinfo
print("not an answer")
def run(grade):
    when = datetime.datetime(2027, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Lisbon"))
    return {"fee": str(decimal.Decimal("310.50") * grade), "offset": when.utcoffset().total_seconds(),
            "digest": hashlib.sha256(b"x").hexdigest()[:4], "é": "ã"}
""")
    assert await call(made) == {"fee": "1552.50", "offset": 3600.0, "digest": "2d71", "é": "ã"}


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/shadow", "/proc/self/environ", "DATA", "FOLDER", "CODE"])
async def test_no_file_of_the_machine_can_be_read(tmp_path: Path, path: str) -> None:
    secret = tmp_path / "waterline.db"
    secret.write_text("a secret")
    named = {"DATA": str(secret), "FOLDER": str(tmp_path), "CODE": str(Path(sandbox.__file__))}.get(path, path)
    made = tool(f"""
import os
def run(grade):
    try:
        with open({named!r}, "rb") as opened:
            return {{"read": opened.read(10).decode()}}
    except OSError as error:
        return {{"refused": type(error).__name__}}
""")
    assert await call(made) in ({"refused": "PermissionError"}, {"refused": "IsADirectoryError"})
    listed = tool(f"import os\ndef run(grade): return {{'names': os.listdir({str(tmp_path)!r})}}")
    assert "PermissionError in line 2" in (await fault(listed)).message


async def test_nothing_can_be_written_or_changed(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    tries = [
        "open(p + '/new', 'w')", "os.mkdir(p + '/d')", "os.unlink(p + '/f')", "os.rename(p + '/f', p + '/g')",
        "os.chmod(p + '/f', 0)", "os.utime(p + '/f', (0, 0))", "os.symlink('/', p + '/s')", "os.truncate(p + '/f', 0)",
        "os.chown(p + '/f', 1, 1)", "os.setxattr(p + '/f', 'user.x', b'y')", "open('/dev/shm/x', 'w')",
    ]  # fmt: skip
    before = (tmp_path / "f").stat()
    for act in tries:
        made = tool(f"import os\np = {str(tmp_path)!r}\ndef run(grade):\n    {act}\n    return {{}}")
        assert "Error in line 4" in (await fault(made)).message, act
    assert (tmp_path / "f").stat() == before
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize(
    "act",
    [
        "socket.create_connection(('127.0.0.1', 80), 1)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_INET6)",
        "socket.socket(socket.AF_UNIX)",
        "socket.socketpair()",
        "socket.getaddrinfo('localhost', 80) and socket.socket()",
        "urllib.request.urlopen('http://127.0.0.1')",
    ],
)
async def test_there_is_no_network(act: str) -> None:
    made = tool(f"import socket, urllib.request\ndef run(grade):\n    {act}\n    return {{}}")
    assert "failed" in (await fault(made)).message


@pytest.mark.parametrize(
    "act",
    [
        "os.fork()",
        "subprocess.run(['/bin/true'])",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "threading.Thread(target=print).start()",
        "os.kill(os.getppid(), 9)",
        "signal.raise_signal(9)",
        "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
        "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))",
        "os.setuid(0) or os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
        "ctypes.CDLL(None, use_errno=True).syscall(56, 0, 0, 0, 0, 0) < 0 and 1 / 0",  # clone, past Python
        "ctypes.CDLL(None, use_errno=True).syscall(41, 2, 1, 0) < 0 and 1 / 0",  # socket, past Python
        "ctypes.CDLL(None, use_errno=True).syscall(425, 8, 0) < 0 and 1 / 0",  # io_uring, which could do all of it
    ],
)
async def test_no_process_no_program_no_signal_no_more_rights(act: str) -> None:
    imports = "import ctypes, os, resource, signal, subprocess, threading"
    made = tool(f"{imports}\ndef run(grade):\n    {act}\n    return {{}}")
    assert "failed" in (await fault(made)).message


async def test_the_environment_is_empty() -> None:
    os.environ["WATERLINE_TEST_SECRET"] = "s3cret"
    try:
        made = tool("import os\ndef run(grade): return {'env': dict(os.environ), 'cwd': os.getcwd()}")
        assert await call(made) == {"env": {}, "cwd": "/"}
    finally:
        del os.environ["WATERLINE_TEST_SECRET"]


@pytest.mark.parametrize(
    "code",
    [
        "def run(grade):\n    while True: pass",
        "import time\ndef run(grade): time.sleep(600)",
        "import os, time\nwhile True:\n    os.write(3, b' ')\n    time.sleep(0.1)",
        "import os, time\nos.closerange(0, 32)\ntime.sleep(600)",
        "import signal\nfor s in range(1, 65):\n    try:\n        signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        "def run(grade):\n    while True: pass",
    ],
    ids=["loops", "sleeps", "drips", "closes", "ignores every signal"],
)
async def test_a_tool_has_the_time_that_it_declares_and_leaves_no_process(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sandbox.holds()
    monkeypatch.setattr(sandbox, "_START_S", 60.0)  # for the process to begin; nothing of it is the tool's
    began = time.monotonic()
    found = await fault(tool(code, timeout_s=0.3))
    assert (found.kind, "ran longer than 0.3 s" in found.message) == ("slow", True)
    assert time.monotonic() - began < 30
    assert not _children()


def _children() -> list[int]:
    """Of this process, which run a tool. Others on this machine may have their own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            mine = f"PPid:\t{os.getpid()}\n" in (folder / "status").read_text()
            if mine and str(sandbox.CHILD).encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize(
    "code",
    [
        "def run(grade):\n    held = []\n    while True: held.append(bytearray(10 << 20))",
        "def run(grade):\n    return {'x': 'a' * (1 << 40)}",
        "held = [0] * (1 << 33)\ndef run(grade): return {}",
    ],
)
async def test_a_memory_bomb_is_stopped(code: str) -> None:
    found = await fault(tool(code))
    assert (found.kind, "256 MiB" in found.message) == ("data", True)


async def test_a_fork_bomb_makes_no_second_process() -> None:
    made = tool("""
import os
def run(grade):
    made = 0
    for _ in range(1000):
        try:
            os.fork()
            made += 1
        except OSError:
            pass
    return {"made": made}
""")
    assert await call(made) == {"made": 0}


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("def run(grade): return {'x': 'a' * 1_000_000}", "more than 64 KiB"),
        ("import os\nfor fd in range(3, 32):\n    try:\n        while True: os.write(fd, b'x' * 65536)\n"
         "    except OSError: pass\ndef run(grade): return {}", "more than 64 KiB"),
        ("import ctypes\ndef run(grade): return ctypes.string_at(0)", "crashed (SIGSEGV)"),
        ("import os\nos.write(3, b'[' * 32_000 + b']' * 32_000)\nos._exit(0)", "no JSON"),
        ("import os\nos.write(3, b'{\"result\": \"\\xff\"}')\nos._exit(0)", "no JSON"),
        ("def run(grade): return {'x': '\\ud800'}", "no JSON"),
        ("import os\ndef run(grade): os._exit(3)", "crashed (status 3)"),
        ("import sys\ndef run(grade): sys.exit(0)", "SystemExit in line 2"),
        ("def run(grade): return 1 / 0", "ZeroDivisionError in line 1"),
        ("def run(grade): return run(grade)", "RecursionError in line 1"),
        ("def run(grade): return {'x': float('nan')}", "ValueError"),
        ("def run(grade): return {'x': object()}", "TypeError"),
        ("def run(grade): return [1]", "list, not an object"),
        ("def other(grade): return {}", "KeyError"),
        ("import nothing_like_that\ndef run(grade): return {}", "ModuleNotFoundError in line 1"),
    ],
)  # fmt: skip
async def test_whatever_goes_wrong_is_one_named_fault(code: str, what: str) -> None:
    found = await fault(tool(code))
    assert found.kind == "data"
    assert what in found.message
    assert await call(tool("def run(grade): return {'fee': 310}")) == {"fee": 310}


async def test_where_the_kernel_cannot_hold_a_tool_none_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_held", {})
    monkeypatch.setattr(sandbox, "PROBE", "def run(data): return {'read a file': True, 'open a socket': False}")
    found = await fault(tool("def run(grade): return {}"))
    assert (found.kind, "could not be held: read a file" in found.message) == ("invalid", True)


@pytest.mark.parametrize(
    ("contract", "code", "problem"),
    [
        ({"effect": "write"}, "def run(grade): return {}", "can change nothing"),
        ({"code": "tools/other.py"}, "def run(grade): return {}", "other.py"),
        ({}, "def run(grade) return", "not Python"),
        ({"parameters": {"type": "object", "oneOf": []}}, "def run(): pass", "oneOf"),
    ],
)
def test_a_mistake_is_told_when_the_folder_is_checked(contract: dict[str, Any], code: str, problem: str) -> None:
    parameters = {"contract": "tools/fee.json", "code": "tools/fee.py"}
    with pytest.raises(BadParameter, match=problem):
        PythonTool.describe(parameters, {"contract": json.dumps(CONTRACT | contract), "code": code})
