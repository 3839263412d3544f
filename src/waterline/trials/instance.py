"""A Waterline of the drill's own: a server process with its own data, keys and budgets, driven over HTTP."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from waterline.core.app_spec import ungated
from waterline.core.errors import WaterlineError
from waterline.trials.calls import Caller

START_DEADLINE_S = 60.0
ASK_TIMEOUT_S = 60.0
DRAIN_DEADLINE_S = 30.0
HAND_OVER = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])"""  # a socket, as systemd hands it over (sd_listen_fds(3))


class InstanceFailed(WaterlineError):
    """The instance did not start, or refused what the drill needs; the message has its last words."""


class Instance:
    """`async with Instance(folder) as sea: ...`; the process ends with the block, killed if it must be."""

    def __init__(
        self,
        folder: Path,
        *,
        redirect: str = "",
        environ: dict[str, str] | None = None,
        listener: socket.socket | None = None,
        program: tuple[str, ...] = ("-m", "waterline"),
    ) -> None:
        """`program`: what Python runs. `listener`: a listening socket that outlives the process, as a service manager
        would hold it; callers then wait through a restart instead of being refused."""
        self.folder = folder
        self._listener = listener
        self._program = program
        self.redirect = redirect
        self.environ = environ or {}
        self.url = ""
        self.key = ""
        self._process: asyncio.subprocess.Process | None = None
        self._drain: asyncio.Task[bytes] | None = None

    async def __aenter__(self) -> "Instance":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Returns when the instance answers. Raises InstanceFailed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environ = {k: v for k, v in os.environ.items() if not k.startswith("WATERLINE_") or k == "WATERLINE_MODELS"}
        environ |= {"WATERLINE_PURPOSE": "trial", **self.environ}
        if self.redirect:
            environ["WATERLINE_REDIRECT_PROVIDERS"] = self.redirect
        command = [sys.executable, *self._program, "up", "--data", str(self.folder), "--port", "0", "--json"]
        command.append("--until-stdin-closes")
        held: tuple[int, ...] = ()
        if self._listener is not None:
            held = (self._listener.fileno(),)
            command = [sys.executable, "-c", HAND_OVER, str(held[0]), *command]
        with (self.folder / "instance.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=log, stdin=asyncio.subprocess.PIPE, env=environ,
                start_new_session=True, pass_fds=held,
            )  # fmt: skip
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                line = await self._process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            await self.kill9()
            raise InstanceFailed(f"The drill's own Waterline did not start: {self.last_words()}")
        ready = json.loads(line)
        self.url, self.key = ready["url"], ready["key"]
        self._drain = asyncio.create_task(self._process.stdout.read())

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def stop(self) -> None:
        """A clean stop; killed after 20 s."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            await self.kill9()

    async def kill9(self) -> None:
        """As a power cut would, for this process and what it started."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def last_words(self) -> str:
        """The last line of its log: where it died, that names the reason."""
        lines: list[str] = []
        with contextlib.suppress(OSError):
            lines = (self.folder / "instance.log").read_text(errors="replace").strip().splitlines()
        return lines[-1][-500:] if lines else "it said nothing"

    # --- the control plane -----------------------------------------------------------------------------------

    async def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The decoded answer. Raises InstanceFailed with the server's own words."""
        status, data = await asyncio.to_thread(self._ask, method, path, body, query)
        answer = json.loads(data) if data else None
        if status >= 400:
            raise InstanceFailed(f"{method} {path}: {status} {answer}")
        return answer

    def _ask(self, method: str, path: str, body: Any, query: dict[str, Any]) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=ASK_TIMEOUT_S)
        filled = {k: v for k, v in query.items() if v is not None}
        target = path + (f"?{urlencode(filled)}" if filled else "")
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        try:
            connection.request(method, target, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise InstanceFailed(f"The drill's own Waterline does not answer ({error}): {self.last_words()}") from error
        finally:
            connection.close()

    async def install(self, manifest: bytes, spec: bytes, env: str = "production") -> str:
        """Store a release and make it live. Returns its id. No gates: what they ask for is found out here."""
        body = {"manifest": manifest.decode(), "spec": ungated(spec).decode(), "message": "trial"}
        made = await self.ask("POST", "/api/releases", body)
        await self.promote(made["app"], made["id"], env)
        return str(made["id"])

    async def promote(self, app: str, release: str, env: str = "production", weight: str = "100%") -> None:
        move = {"kind": "promote", "env": env, "release": release, "weight": weight, "reason": "trial"}
        await self.ask("POST", f"/api/apps/{app}/moves", move)

    async def app_key(self, app: str, env: str = "production") -> str:
        return str((await self.make_key(app, env))["key"])

    async def make_key(self, app: str, env: str = "production", **more: Any) -> dict[str, Any]:
        """`key` and its `id`; `more` as POST /api/keys takes it."""
        asked = {"kind": "app", "app": app, "env": env, "name": "trial", **more}
        made: dict[str, Any] = await self.ask("POST", "/api/keys", asked)
        return made

    def caller(self, key: str, connections: int = 1024) -> Caller:
        return Caller(f"{self.url}/v1", key, connections=connections)

    async def drained(self) -> None:
        """Returns when the store holds everything that was answered so far: lists may lag behind a moment."""
        async with asyncio.timeout(DRAIN_DEADLINE_S):
            while (await self.ask("GET", "/api/status"))["waiting"]:  # noqa: ASYNC110  another process has no event of ours
                await asyncio.sleep(0.05)

    async def traces(self, **query: Any) -> list[dict[str, Any]]:
        """Every trace that fits, over all pages."""
        rows: list[dict[str, Any]] = []
        before = ""
        while True:
            page = await self.ask("GET", "/api/traces", limit=1000, before=before or None, **query)
            rows += page["rows"]
            before = page["next"]
            if not before:
                return rows
