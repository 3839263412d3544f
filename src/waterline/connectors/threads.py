"""A client library that blocks, in threads of its own: a system that hangs takes its own threads, nobody else's."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    def __init__(self, name: str, at_once: int = 8) -> None:
        self._name, self._at_once = name, at_once
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, do: Callable[..., T], *given: Any, **named: Any) -> T:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._at_once, thread_name_prefix=f"connector-{self._name}")
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(do, *given, **named))

    def close(self) -> None:
        """Does not wait: each call has a time-out of its own."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
