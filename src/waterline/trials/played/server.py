"""Serves a played system over HTTP, in the state that a drill puts each place of it into, and counts what came."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Literal

from msgspec import Struct

from waterline.trials.played.base import REFUSED, Played, Reply, Request
from waterline.trials.small_server import SmallServer

State = Literal["healthy", "slow", "down", "wrong credentials", "changed schema", "dirty data"]
STATES: tuple[State, ...] = ("healthy", "slow", "down", "wrong credentials", "changed schema", "dirty data")
Point = Literal["before it arrived", "done, not answered", "answered"]
POINTS: tuple[Point, ...] = ("before it arrived", "done, not answered", "answered")
MOST_BODY = 4 << 20


class Armed(Struct, frozen=True):
    """When the caller is killed: at the first such write of a place."""

    wire: str
    point: Point


class PlayedServer(SmallServer):
    """`state` is of a place; `met` counts the requests that came while it was not healthy."""

    def __init__(self, system: Played, kill: Callable[[int], Awaitable[None]], life: Callable[[], int]) -> None:
        """`kill(life)`: returns when the caller is in a later life than that, killed for it if need be."""
        super().__init__()
        self.system = system
        self.state: dict[str, State] = {}
        self.met: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.armed: dict[str, Armed] = {}
        self.killed: Counter[str] = Counter()
        self.only = ""  # the place of whatever does not say one
        self._kill, self._life = kill, life
        self._well: dict[str, asyncio.Event] = {}

    def put(self, place: str, state: State) -> None:
        self.state[place] = state
        if state == "slow":
            self._well[place] = asyncio.Event()
        elif place in self._well:
            self._well.pop(place).set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        life = self._life()
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            request = await read_request(reader)
            place = self.system.place_of(request) or self.only
            self.calls[place] += 1
            armed = self.armed.get(place)
            if armed is not None and armed.wire == self.system.wire(request):
                await self._killing(writer, request, place, armed.point, life)
                return
            reply = await self._reply(request, place)
            if reply is not None:
                await send_reply(writer, reply)

    async def _reply(self, request: Request, place: str) -> Reply | None:
        """None: no word, the connection ends."""
        state = self.state.get(place, "healthy")
        self.met[place] += state != "healthy"
        match state:
            case "down":
                return None
            case "wrong credentials":
                return REFUSED
            case "changed schema":
                return self.system.changed(request)
            case "slow":  # it does what it was asked for: the caller cannot know
                self.system.answer(request, place, False)
                await self._well[place].wait()
                return None
        return self.system.answer(request, place, state == "dirty data")

    async def _killing(
        self, writer: asyncio.StreamWriter, request: Request, place: str, point: Point, life: int
    ) -> None:
        if point != "before it arrived":
            reply = self.system.answer(request, place, False)
            if point == "answered":
                await send_reply(writer, reply)
        self.armed.pop(place, None)
        await self._kill(life)
        self.killed[place] += 1


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, _, rest = first.partition(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = min(int(headers.get("content-length") or 0), MOST_BODY)
    return Request(method, rest.rpartition(" ")[0], headers, await reader.readexactly(length))


async def send_reply(writer: asyncio.StreamWriter, reply: Reply) -> None:
    length = {} if reply.status == 204 else {"content-length": str(len(reply.body))}
    headers = {**reply.headers, **length, "connection": "close"}
    head = f"HTTP/1.1 {reply.status} Played\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    writer.write(head.encode() + b"\r\n" + reply.body)
    await writer.drain()
