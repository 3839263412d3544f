"""The simulated provider as a process: uvicorn with connections that can be broken, its address, its end."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator

import uvicorn

from waterline.providers.simulated_app import SimulatedApp
from waterline.providers.simulated_connection import Connection
from waterline.providers.simulated_script import Script


class SimulatedServer(uvicorn.Server):
    """uvicorn without its signal handlers; stopping wakes whoever waits."""

    def __init__(self, app: SimulatedApp, announce: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            loop="none",
            log_level="error",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)
        self.announce = announce

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.leave()
                connection.transport.close()
        await super().shutdown(sockets)


def bound_socket(host: str, port: int) -> socket.socket:
    """A listening address. Port 0: any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def address_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _UntilClosed(asyncio.Protocol):
    """Stops the server when the pipe from the parent is closed, so no orphan stays behind."""

    def __init__(self, server: uvicorn.Server) -> None:
        self.server = server

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.should_exit = True


async def serve(script: Script, sock: socket.socket, *, announce: Callable[[str], None], until_stdin: bool) -> None:
    """Until SIGINT or SIGTERM, or (`until_stdin`) until the standard input is closed."""
    server = SimulatedServer(SimulatedApp(script), lambda: announce(address_of(sock)))

    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    if until_stdin:
        await loop.connect_read_pipe(lambda: _UntilClosed(server), sys.stdin)
    await server.serve([sock])
