"""Local models: OpenAI's wire format, spoken by a process of ours (`local_server.py`) for each set of weights.

A crash of the model never takes the gateway along; while it starts again, callers fall back or hear an honest 502.
"""

import asyncio
from pathlib import Path

from waterline.core.errors import WaterlineError
from waterline.core.release import ProviderKind, Route
from waterline.providers import models
from waterline.providers.local_server import LocalOptions, LocalProcess
from waterline.providers.openai_wire import OpenAIWire
from waterline.providers.upstream import ConnectFailed

DEFAULT_CONTEXT = 4096


class Local(OpenAIWire):
    kind: ProviderKind = "local"
    default_base_url = ""
    default_key_env = ""
    transcriptions_path = ""
    count_path = "/chat/completions/input_tokens"  # llama.cpp's: its own template and tokenizer


class LocalModels:
    """The running model processes: one for each weights, context and kind of use; started when first asked."""

    def __init__(self, models_dir: Path, log_dir: Path) -> None:
        self._models_dir = models_dir
        self._log_dir = log_dir
        self._processes: dict[LocalOptions, LocalProcess] = {}

    async def address(self, route: Route) -> str:
        """Base URL of the server for a route. Raises ConnectFailed with the reason (and the command to run)."""
        try:
            options = LocalOptions(
                model=models.resolve(route.digest or route.model, self._models_dir),
                context=route.context or DEFAULT_CONTEXT,
                reproducible=route.reproducible,
                embeddings=route.embeddings,
                slots=1 if route.reproducible else 2,
            )
            process = self._processes.get(options)
            if process is None:
                log = self._log_dir / f"model-{options.model.stem[:40]}-{len(self._processes)}.log"
                process = self._processes[options] = LocalProcess(options, log)
            return await process.ensure() + "/v1"
        except (WaterlineError, OSError) as error:
            raise ConnectFailed(str(error)) from error

    async def stop(self) -> None:
        await asyncio.gather(*(p.stop() for p in self._processes.values()))
        self._processes.clear()
