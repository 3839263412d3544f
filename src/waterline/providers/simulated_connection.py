"""The simulated provider's hand on a connection: to wait on it, to fall silent, to break it."""

import asyncio
import contextlib
import socket
import struct

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

FOREVER_S = 3600.0


class Left(Exception):
    """The client has gone, we closed the connection, or the server stops: nothing more can be said."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, handed to the application, so that it can wait on it and break it."""

    gone = False
    _waiter: asyncio.Future[bool] | None = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["connection"] = self

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.leave()

    def leave(self) -> None:
        self.gone = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(False)

    async def wait(self, future: asyncio.Future[bool]) -> None:
        """Until the future is done. Raises Left as soon as the connection is lost."""
        if self.gone:
            raise Left
        self._waiter = future
        try:
            await future
        finally:
            self._waiter = None
        if self.gone:
            raise Left

    async def pause(self, seconds: float) -> None:
        if seconds <= 0:
            if self.gone:
                raise Left
            return
        future: asyncio.Future[bool] = self.loop.create_future()
        timer = self.loop.call_later(seconds, _wake, future)
        try:
            await self.wait(future)
        finally:
            timer.cancel()

    async def hang(self) -> None:
        """Say nothing more until the client leaves."""
        while True:
            await self.pause(FOREVER_S)

    async def close(self, *, reset: bool) -> None:
        """Break the connection: after what was written (FIN), or at once (RST). Raises Left when it is done."""
        if reset:
            await self.pause(0.01)  # let the loop flush what belongs before the reset
            raw = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError), socket.socket(fileno=socket.dup(raw.fileno())) as own:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()
        await self.hang()


def _wake(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(True)
