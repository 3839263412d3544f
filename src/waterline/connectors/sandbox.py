"""A tool written in Python by the app's team, run in a process that can compute and nothing else.

The contract (tools/<name>.json) and the code (tools/<name>.py, one file, Python's own library beside it) are part of
the release, by value. The code has a function `run(**arguments)` that returns a JSON object. What holds it in is listed
in `sandbox_child.py`; it is tried out once in each process before the first tool runs, and where the kernel cannot give
all of it no tool runs at all.
"""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from waterline.connectors.arguments import unknown_keyword
from waterline.connectors.base import BadParameter, Breaking, Config, ConnectorFault, Manifest, Operation, Scope

MAX_OUTPUT = 64 * 1024
CHILD = Path(__file__).with_name("sandbox_child.py")
_BREAKER = Breaking(failures=10)  # a process of its own each time: what one call takes says little of the next
_START_S = 10.0  # of the process itself, on a busy machine, until it is shut in; not the tool's time

# Each of these must be refused by the kernel.
PROBE = """
import os, socket, threading
def tried(what):
    try:
        what()
    except (OSError, RuntimeError):
        return False
    return True
def run(data):
    def read(path): return tried(lambda: open(path)) or tried(lambda: os.listdir(path))
    def write(path): return tried(lambda: open(path, "w")) or tried(lambda: os.mkdir(path))
    return {
        "read a file": read("/etc/passwd") or read("/proc/self/environ") or read(data),
        "write a file": write("/tmp/waterline-probe"),
        "change a file": tried(lambda: os.chmod("/tmp", 0o777)) or tried(lambda: os.utime("/tmp")),
        "open a socket": tried(socket.socket) or tried(lambda: socket.socket(socket.AF_UNIX)),
        "make a process": tried(os.fork) or tried(lambda: threading.Thread(target=int).start()),
        "run a program": tried(lambda: os.execv("/bin/true", ["true"])),
        "send a signal": tried(lambda: os.kill(os.getppid(), 0)),
    }
"""


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    contract: str
    code: str
    memory_mb: int = 256


class Contract(Struct, frozen=True):
    """tools/*.json, as `rollout/tools.py` checks it."""

    name: str
    description: str
    parameters: dict[str, Any]
    effect: str
    timeout_s: float = 5.0
    code: str = ""


class PythonTool:
    PARAMETERS: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "contract": {"type": "string", "format": "file"},
            "code": {"type": "string", "format": "file"},
            "memory_mb": {"type": "integer", "minimum": 64, "maximum": 4096},
        },
        "required": ["contract", "code"],
    }

    def __init__(self, config: Config) -> None:
        self.options = msgspec.convert(dict(config.parameters), Options)
        self.contract = _contract(self.options, config.files)
        self.manifest = _manifest(self.contract)
        self.code = config.files["code"]

    @staticmethod
    def describe(parameters: Mapping[str, Any], files: Mapping[str, str]) -> Manifest:
        options = msgspec.convert(dict(parameters), Options)
        try:
            compile(files["code"], options.code, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            problem = f"line {getattr(error, 'lineno', 0)} is not Python ({error})"
            raise BadParameter("code", problem, "Correct it") from None
        return _manifest(_contract(options, files))

    async def call(self, operation: str, arguments: Mapping[str, Any], key: str, scope: Scope) -> dict[str, Any]:
        self.manifest.operation(operation)
        await holds()
        o = self.options
        answer = await run(self.code, o.code, dict(arguments), self.contract.timeout_s, o.memory_mb)
        if not isinstance(answer, dict):
            raise ConnectorFault("data", f"{o.code} returned {type(answer).__name__}, not an object.")
        return answer

    async def close(self) -> None:
        pass


_held: dict[str, str] = {}


async def holds() -> None:
    """Raises ConnectorFault unless the sandbox has been seen to hold on this machine."""
    if "no" not in _held:
        try:
            done = await run(PROBE, "probe.py", {"data": "/"}, 10.0, 256)
            _held["no"] = ", ".join(what for what, could in done.items() if could)
        except ConnectorFault as fault:
            if fault.kind == "slow":
                raise
            _held["no"] = fault.message
    if _held["no"]:
        raise ConnectorFault(
            "invalid", f"Tools in Python are not run on this machine, because they could not be held: {_held['no']}."
        )


async def run(code: str, file: str, arguments: dict[str, Any], timeout_s: float, memory_mb: int) -> Any:
    """What `run` returned. Raises ConnectorFault: slow (time is up), data (it failed, crashed, said too much)."""
    given = {"code": code, "file": file, "arguments": arguments, "memory_mb": memory_mb, "cpu_s": int(timeout_s) + 1}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-B", "-X", "utf8", str(CHILD),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={}, cwd="/", start_new_session=True,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    said = bytearray()
    try:
        async with asyncio.timeout(_START_S) as ends:
            with contextlib.suppress(ConnectionError):
                child.stdin.write(json.dumps(given).encode() + b"\n")
                await child.stdin.drain()
            said += await child.stdout.read(1)
            ends.reschedule(asyncio.get_running_loop().time() + timeout_s)
            while block := await child.stdout.read(MAX_OUTPUT):
                said += block
                if len(said) > MAX_OUTPUT:
                    raise ConnectorFault("data", f"{file} answered more than {MAX_OUTPUT >> 10} KiB. Return less.")
            status = await child.wait()
    except TimeoutError:
        took = f"it ran longer than {timeout_s:g} s" if said else f"it could not begin within {_START_S:g} s"
        raise ConnectorFault("slow", f"{file} was stopped: {took}.") from None
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await asyncio.shield(child.wait())
    return _understood(bytes(said), status, file, timeout_s, memory_mb)


def _understood(said: bytes, status: int, file: str, timeout_s: float, memory_mb: int) -> Any:
    if status == -signal.SIGXCPU or (status == -signal.SIGKILL and not said):
        raise ConnectorFault("slow", f"{file} was stopped: it ran longer than {timeout_s:g} s.")
    try:
        answer = msgspec.json.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        name = signal.Signals(-status).name if status < 0 else f"status {status}"
        said_so = f"crashed ({name})" if status else "answered what is no JSON"
        raise ConnectorFault("data", f"{file} {said_so}.") from None
    match answer:
        case {"result": result}:
            return result
        case {"refused": why}:
            raise ConnectorFault("invalid", f"The sandbox cannot be given here: {why}")
        case {"error": "MemoryError"}:
            raise ConnectorFault("data", f"{file} needed more than {memory_mb} MiB. Raise memory_mb, or use less.")
        case {"error": str(name), "line": int(line)}:
            raise ConnectorFault("data", f"{file} failed: {name} in line {line}.")
    raise ConnectorFault("data", f"{file} answered what is not understood.")


def _contract(options: Options, files: Mapping[str, str]) -> Contract:
    try:
        contract = msgspec.json.decode(files["contract"], type=Contract)
    except msgspec.DecodeError as error:
        raise BadParameter(
            "contract", f"it is no contract of a tool ({error})", "See docs/reference/app-folder.md"
        ) from None
    if contract.effect != "read":
        remedy = 'Write effect = "read", and let an operation of a connector do the act'
        raise BadParameter("contract", "a tool in the sandbox can change nothing", remedy)
    if contract.code and contract.code != options.code:
        raise BadParameter("code", f'the contract says "{contract.code}"', f'Write code = "{contract.code}"')
    if wrong := unknown_keyword(contract.parameters):
        raise BadParameter("contract", f'parameters: "{wrong}" is not checked here', "Leave it out")
    return contract


def _manifest(contract: Contract) -> Manifest:
    operation = Operation(
        name=contract.name,
        effect="read",
        description=contract.description,
        parameters={"additionalProperties": False, **contract.parameters},
        personal=tuple(contract.parameters.get("properties", {})),
        timeout_s=contract.timeout_s + _START_S + 1,
        retries=0,
    )
    return Manifest(
        kind="python", title="Tool in Python", settings=(), secrets=(), operations=(operation,), breaker=_BREAKER
    )
