"""The simulated provider: a server that behaves as it is told, for drills and tests; never one in a demo that claims
to be real. `python -m waterline.providers.simulated --port 9400 --script provider.toml`

The script's format: docs/reference/simulated-provider.md.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import msgspec

from waterline.core.release import ProviderKind
from waterline.providers.openai_wire import OpenAIWire
from waterline.providers.simulated_script import Script, ScriptError, encode_script, load_script

if TYPE_CHECKING:
    from waterline.providers.simulated_app import Stats
    from waterline.providers.simulated_server import SimulatedServer

START_S = 20.0
CONTROL_S = 10.0


class Simulated(OpenAIWire):
    """As a provider of the gateway it speaks OpenAI's protocol; its address comes from the settings or the route."""

    kind: ProviderKind = "simulated"
    default_base_url = ""
    default_key_env = ""


def run_server(
    script: Path | Script,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    announce: Callable[[str], None] | None = None,
    until_stdin: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM. Prints one JSON line with the address when ready, or calls `announce` with it.

    Raises ScriptError (the script), OSError (the address)."""
    import uvloop

    from waterline.providers.simulated_server import bound_socket, serve

    told = script if isinstance(script, Script) else load_script(script)
    sock = bound_socket(host, port)
    with sock, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(told, sock, announce=announce or _print_ready, until_stdin=until_stdin))


def _print_ready(address: str) -> None:
    sys.stdout.write(msgspec.json.encode({"ready": True, "address": address}).decode() + "\n")
    sys.stdout.flush()


class _Controlled:
    """What a drill does with a simulated provider, wherever it runs."""

    address: str = ""

    def base_url(self, target: str = "") -> str:
        """For an OpenAI SDK or a route; `target` chooses the provider that the server plays."""
        return f"{self.address}/{target}/v1" if target else f"{self.address}/v1"

    async def set_script(self, script: Script) -> None:
        """From the next request on. Clocks, limits and fault counters start anew; statistics go on."""
        await self._control("POST", "/sim/script", encode_script(script))

    async def stats(self) -> "Stats":
        from waterline.providers.simulated_app import Stats

        return msgspec.json.decode(await self._control("GET", "/sim/stats", b""), type=Stats)

    async def _control(self, method: str, path: str, body: bytes) -> bytes:
        async with asyncio.timeout(CONTROL_S):
            parts = urlsplit(self.address)
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                head = f"{method} {path} HTTP/1.1\r\nhost: simulated\r\nconnection: close\r\n"
                writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
                answer = await reader.read()
            finally:
                writer.close()
        status, _, content = answer.partition(b"\r\n\r\n")
        if b" 200 " not in status.split(b"\r\n", 1)[0]:
            raise ScriptError(f"The simulated provider refused {method} {path}: {content.decode(errors='replace')}")
        return content


class SimulatedProcess(_Controlled):
    """A simulated provider in its own process; it ends with ours, however ours ends.

    async with SimulatedProcess(Script(...)) as provider: ... provider.base_url("main") ..."""

    def __init__(self, script: Script | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._script = script or Script()
        self._host, self._port = host, port
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> str:
        """The address, once it answers. Raises ScriptError if it does not start within 20 s."""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (a pipe that nobody reads would fill and block it)
        command = ("-m", "waterline.providers.simulated_main", "--host", self._host, "--port", str(self._port))
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            "--until-stdin-closes",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._stderr,
        )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_S):
                line = await self._process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._stderr.seek(0)
            said = self._stderr.read().decode(errors="replace").strip()
            await self.stop()
            raise ScriptError(f"The simulated provider did not start: {said[-2000:] or 'no reason given'}")
        self.address = msgspec.json.decode(line)["address"]
        await self.set_script(self._script)
        return self.address

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    async def stop(self) -> None:
        """Ask it to end, insist after three seconds."""
        if (process := self._process) is None:
            return
        self._process = None
        self._stderr.close()
        with contextlib.suppress(ProcessLookupError):
            if process.returncode is None:
                process.terminate()
        try:
            async with asyncio.timeout(3):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class SimulatedInProcess(_Controlled):
    """The same server on the running event loop, for tests."""

    def __init__(self, script: Script | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._script = script or Script()
        self._host, self._port = host, port
        self._task: asyncio.Task[None] | None = None
        self._server: SimulatedServer | None = None

    async def start(self) -> str:
        from waterline.providers.simulated_app import SimulatedApp
        from waterline.providers.simulated_server import SimulatedServer, address_of, bound_socket

        sock = bound_socket(self._host, self._port)
        ready = asyncio.Event()
        self._server = SimulatedServer(SimulatedApp(self._script), ready.set)
        self._task = asyncio.create_task(self._server.serve([sock]))
        async with asyncio.timeout(START_S):
            await ready.wait()
        self.address = address_of(sock)
        return self.address

    async def stop(self) -> None:
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
            self._server = self._task = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def main(arguments: list[str] | None = None) -> int:
    """The command line. 2: the script or the address cannot be used."""
    parser = argparse.ArgumentParser(prog="waterline.providers.simulated", description="A provider that does as told.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--script", type=Path, help="TOML or JSON; without it every request is answered at once")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that started this one")
    given = parser.parse_args(arguments)
    try:
        run_server(given.script or Script(), given.host, given.port, until_stdin=given.until_stdin_closes)
    except ScriptError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"Cannot listen on {given.host}:{given.port} ({error.strerror}). Choose another --port.\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
