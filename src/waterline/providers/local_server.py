"""The local model in a process of its own: the server that runs in it, and the handle that keeps it running.

    python -m waterline.providers.local_server --model FILE --port 0 [--slots N] [--context N] [--reproducible] ...

serves OpenAI's chat completions (and embeddings) of one GGUF file with llama.cpp on 127.0.0.1 and prints one line,
`{"ready": true, "address": "http://127.0.0.1:PORT"}`, when it can answer. It is a process because llama.cpp is C++:
a crash in it, or the kernel's out-of-memory killer, must not take the gateway along, and its threads must not hold
ours up. It ends when whoever started it ends.

The inside listens without a key (loopback only, no CORS, no pages); limits and keys are the gateway's.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from waterline.core.errors import WaterlineError

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 5.0
HEALTHY_AFTER_S = 60.0  # a child that lived so long may crash once without a longer back-off
BACK_OFF_S = (0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
LOG_TAIL_BYTES = 2_000
PROMPT_CACHE_MIB = 512  # prompts kept beside the slots, for those that come back
SEED = 20_250_101  # of a reproducible server, where the request names none

# The child sees none of our secrets, only what a C++ program needs to start.
_ENV = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_ENV_PREFIXES = ("GGML_", "CUDA_", "HIP_", "OMP_")


class LocalOptions(Struct, frozen=True):
    """How to serve one model. `context` is tokens per slot: prompt and answer together.

    `reproducible`: one slot, no prompt cache, one batch at a time and a fixed seed, so that the same request to the
    same build gives the same text; whatever shares a batch or a cached prefix changes the last bits of a sum.
    """

    model: Path
    slots: int = 2
    context: int = 4096
    reproducible: bool = False
    threads: int = 0  # 0: one less than this process may use, see `default_threads`
    embeddings: bool = False  # serve embeddings instead of chat
    port: int = 0  # 0: any free one, and the same one again after a crash

    def arguments(self, port: int) -> list[str]:
        words = ["--model", str(self.model), "--port", str(port), "--slots", str(self.slots)]
        words += ["--context", str(self.context), "--threads", str(self.threads)]
        words += ["--reproducible"] if self.reproducible else []
        return words + (["--embeddings"] if self.embeddings else [])


class LocalModelDown(WaterlineError, ConnectionError):
    """The local model's process is not running now. The message says why and holds the end of its log."""


class _Ready(Struct):
    ready: bool
    address: str


# The handle


class LocalProcess:
    """Keeps one local server running: starts it when first asked, again (with back-off) when it dies.

    Belongs to one event loop. After a crash the address stays the same unless someone else took the port, so read
    `address` for each call. While it is down, connections are refused and `ensure` raises LocalModelDown.
    """

    def __init__(
        self,
        options: LocalOptions,
        log: Path,
        *,
        start_deadline_s: float = START_DEADLINE_S,
        python: str = sys.executable,
    ) -> None:
        self._options = options
        self._log = log
        self._start_deadline_s = start_deadline_s
        self._python = python
        self._keeper: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._starting: asyncio.Event | None = None  # set when the attempt under way is decided
        self._address: str | None = None  # of the running child
        self._port = options.port
        self._down = "it was not started"
        self._retry_at = 0.0  # loop time before which no new attempt is made
        self._failures = 0
        self.restarts = 0

    @property
    def address(self) -> str:
        """`http://127.0.0.1:PORT`. Raises LocalModelDown while the model cannot answer."""
        if self._address is None:
            raise LocalModelDown(f"Local model {self._options.model.name} is down: {self._down}")
        return self._address

    @property
    def alive(self) -> bool:
        """Whether the model is loaded and its process has not ended."""
        return self._address is not None

    @property
    def pid(self) -> int | None:
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self) -> str:
        """Load the model now rather than at the first request; the address. Raises LocalModelDown."""
        return await self.ensure()

    async def ensure(self) -> str:
        """The address of the running model, started if it is not: once, however many callers wait.

        Waits at most the start deadline. Raises LocalModelDown at once while a crashed model waits for its restart,
        so that a route can fall back.
        """
        if self._address is not None:
            return self._address
        if self._starting is None:
            loop = asyncio.get_running_loop()
            if (self._keeper is not None and not self._keeper.done()) or loop.time() < self._retry_at:
                return self.address  # raises
            self._starting = asyncio.Event()
            self._keeper = loop.create_task(self._keep(), name=f"local model {self._options.model.name}")
        await self._starting.wait()
        return self.address

    async def stop(self) -> None:
        """End the process (SIGTERM, then SIGKILL after 5 s). May be called twice; `ensure` starts it again."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        self._down, self._failures, self._retry_at = "it was stopped", 0, 0.0

    async def _keep(self) -> None:
        """Start, wait for the end, start again. Gives up only on a model that never ran: a caller is told why."""
        loop = asyncio.get_running_loop()
        ran = False
        try:
            while True:
                self._starting = self._starting or asyncio.Event()
                try:
                    self._address = await self._spawn()
                    self._decided()
                    ran, began = True, loop.time()
                    assert self._process is not None
                    code = await self._process.wait()
                    self._down = f"it {_ending(code)}{self._tail()}"
                    self._failures = 0 if loop.time() - began > HEALTHY_AFTER_S else self._failures
                except LocalModelDown as error:
                    self._down = str(error)
                finally:
                    self._address = None
                    await self._end()
                pause_s = BACK_OFF_S[min(self._failures, len(BACK_OFF_S) - 1)]
                self._failures += 1
                self._retry_at = loop.time() + pause_s
                self._decided()
                if not ran:
                    return
                self.restarts += 1
                await asyncio.sleep(pause_s)
        finally:
            self._decided()

    def _decided(self) -> None:
        if self._starting is not None:
            self._starting.set()
            self._starting = None

    async def _spawn(self) -> str:
        """Start a child and wait until it can answer; its address. Raises LocalModelDown."""
        command = [self._python, "-P", "-m", "waterline.providers.local_server", *self._options.arguments(self._port)]
        try:
            with self._open_log() as log:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.PIPE,  # held open for as long as we live: its end is the child's end
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    env={k: v for k, v in os.environ.items() if k in _ENV or k.startswith(_ENV_PREFIXES)},
                    start_new_session=True,  # Ctrl-C is for us; we stop the child when we have answered
                )
        except OSError as error:
            raise LocalModelDown(f"it could not be started ({error})") from error
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(self._start_deadline_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise LocalModelDown(f"it was not ready within {self._start_deadline_s:g} s{self._tail()}") from None
        try:
            ready = msgspec.json.decode(line, type=_Ready)
        except msgspec.DecodeError:
            if self._port != self._options.port:
                self._port = self._options.port  # someone may have taken the one it had: any will do
            with contextlib.suppress(TimeoutError):  # it closed its output, so it is ending: let it say how
                await asyncio.wait_for(self._process.wait(), STOP_DEADLINE_S)
            code = await self._end()
            raise LocalModelDown(f"it {_ending(code)} before it was ready{self._tail()}") from None
        self._port = int(ready.address.rpartition(":")[2])
        return ready.address

    async def _end(self) -> int:
        """End the child if it runs, and wait for it. Returns its exit status (negative: the signal)."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.stdin is not None:
            process.stdin.close()
        for send in (process.terminate, process.kill):
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    send()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), STOP_DEADLINE_S)
        return -signal.SIGKILL if process.returncode is None else process.returncode

    def _open_log(self) -> BinaryIO:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        return self._log.open("wb")  # one run's worth: what is quiet and new at each start needs no rotation

    def _tail(self) -> str:
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
                tail = log.read().decode(errors="replace").strip()
        except OSError:
            return ""
        return f". The end of {self._log}:\n{tail}" if tail else ""


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


# The process


def default_threads(cores: int) -> int:
    """One core fewer than there are: the gateway's, or whoever's.

    llama.cpp's threads meet many times a token and wait for each other spinning, so one that must share its core
    stalls all. Measured with the 1.5B demo model on two busy cores: 0.9 tokens/s with two threads, 13 with one."""
    return max(1, cores - 1)


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: what taskset and containers leave us
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def serve(options: LocalOptions, ready: Callable[[str], None]) -> None:
    """Load the model, call `ready` with the address, and serve for ever. Raises RuntimeError if it cannot load."""
    import xllamacpp  # the extra `local`; only this process needs it

    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.model_alias = {options.model.stem}  # else answers carry the whole path as `model`
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.cors_origins = ""  # names no origin, so no browser lets a page read an answer
    params.ui = False
    params.endpoint_slots = False  # would show other callers' prompts
    params.verbosity = 1  # errors
    params.fit_params = False  # the context is what was asked for, not what happens to fit
    slots = 1 if options.reproducible else options.slots
    params.n_parallel = slots
    params.n_ctx = options.context * slots
    threads = options.threads or default_threads(_usable_cores())
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cont_batching = not options.reproducible
    params.cache_prompt = not options.reproducible
    params.cache_idle_slots = not options.reproducible
    params.cache_ram_mib = 0 if options.reproducible else PROMPT_CACHE_MIB
    if options.reproducible:
        params.n_ctx_checkpoints = 0
        params.sampling.seed = SEED
    if options.embeddings:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(params)
    ready(server.listening_address)
    while True:
        time.sleep(3600)  # it serves from its own threads; `server` must stay


def _end_with_parent() -> None:
    """End this process when the one that started it ends: its stdin closes, or it is no longer our parent.

    Not PR_SET_PDEATHSIG: that fires when the *thread* that forked us ends, which may be long before the process."""
    parent = os.getppid()

    def watch_stdin() -> None:
        while os.read(0, 4096):
            pass
        os._exit(0)

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)

    mode = os.fstat(0).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):  # by hand it is a terminal or /dev/null: the other watch will do
        threading.Thread(target=watch_stdin, daemon=True).start()
    threading.Thread(target=watch_parent, daemon=True).start()


def _parse(words: list[str] | None) -> tuple[LocalOptions, Path | None]:
    parser = argparse.ArgumentParser(
        prog="python -m waterline.providers.local_server",
        description="Serve one GGUF model, OpenAI-compatible, on 127.0.0.1, until whoever started this ends.",
    )
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (it is printed)")
    parser.add_argument("--slots", type=int, default=2, help="requests answered at once")
    parser.add_argument("--context", type=int, default=4096, help="tokens per slot, prompt and answer together")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores but one")
    parser.add_argument("--reproducible", action="store_true", help="same request, same text: one slot, no caches")
    parser.add_argument("--embeddings", action="store_true", help="serve embeddings instead of chat")
    parser.add_argument("--log", type=Path, help="where errors go (default: stderr)")
    found = parser.parse_args(words)
    log: Path | None = found.log
    del found.log
    return LocalOptions(**vars(found)), log


def main(words: list[str] | None = None) -> int:
    options, log = _parse(words)
    _end_with_parent()
    if log is not None:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 2)
    # llama.cpp may print; only our line may reach whoever reads stdout.
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        os.dup2(2, 1)

        def ready(address: str) -> None:
            out.write(msgspec.json.encode(_Ready(True, address)) + b"\n")

        try:
            serve(options, ready)
        except (RuntimeError, ImportError) as error:
            remedy = " Install the extra: pip install 'waterline[local]'." if isinstance(error, ImportError) else ""
            sys.stderr.write(f"Cannot serve {options.model}: {str(error).rstrip('.')}.{remedy}\n")
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
