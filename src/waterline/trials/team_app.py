"""The team's own code under trial: `[app]` in app.toml says how it starts and where it answers.

It is started with OPENAI_BASE_URL and OPENAI_API_KEY (and ANTHROPIC_*) set to the trial's own gateway, in its folder,
and asked over the OpenAI protocol at `url` (a base URL, as an SDK takes it). What it asks models goes through the
gateway, so its traces, tokens and cost are the gateway's.
"""

import asyncio
import contextlib
import os
import shlex
import signal
from pathlib import Path
from urllib.parse import urlsplit

from waterline.core.app_spec import Command
from waterline.core.errors import WaterlineError

START_S = 60.0


class TeamAppFailed(WaterlineError):
    """The team's own code did not start; the message has the end of what it said."""


class TeamApp:
    def __init__(self, declared: Command, folder: Path | None, log: Path) -> None:
        self.url = declared.url
        self._command = declared.command
        self._folder = folder
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, gateway: str, key: str) -> None:
        """Returns when something listens at `url`. Raises TeamAppFailed."""
        if not self._command:
            await self._listening()
            return
        environ = dict(os.environ)
        for prefix, path in (("OPENAI", "/v1"), ("ANTHROPIC", "")):
            environ[f"{prefix}_BASE_URL"], environ[f"{prefix}_API_KEY"] = gateway + path, key
        self._log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._log.open("ab") as said:
                self._process = await asyncio.create_subprocess_exec(
                    *shlex.split(self._command), stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said,
                    env=environ, cwd=self._folder, start_new_session=True,
                )  # fmt: skip
        except (OSError, ValueError) as error:
            raise TeamAppFailed(f'[app] command = "{self._command}" cannot be started: {error}.') from error
        await self._listening()

    async def stop(self) -> None:
        """Its whole process group; killed after 5 s."""
        process, self._process = self._process, None
        if process is None:
            return
        for sig, patience_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sig)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await process.wait()
                    return

    async def _listening(self) -> None:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80)
        loop = asyncio.get_running_loop()
        end = loop.time() + (START_S if self._command else 2.0)
        while loop.time() < end:
            if self._process is not None and self._process.returncode is not None:
                break
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.1)
                continue
            writer.close()
            return
        said = ""
        with contextlib.suppress(OSError):
            said = self._log.read_text(errors="replace")[-800:].strip()
        await self.stop()
        raise TeamAppFailed(
            f"The app's own code does not answer at {self.url}: correct [app] command and url in app.toml. {said}"
        )
