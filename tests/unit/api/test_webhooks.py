"""Doors without a key, spoken to over a socket."""

import asyncio
import socket

from waterline.api.http import Patience, Server
from waterline.api.webhooks import Doors
from waterline.core.errors import RequestError
from waterline.core.web import Door, Page, Visit


class Gate:
    def __init__(self) -> None:
        self.doors = Doors()

    def admit(self, exchange) -> None:  # type: ignore[no-untyped-def]
        assert self.doors.admits(exchange)

    async def refuse(self, exchange, error: RequestError) -> None:  # type: ignore[no-untyped-def]
        await exchange.sink.fail(error, [])

    def left_while_sending(self) -> None:
        pass


async def said_to(method: bytes, page: Page) -> bytes:
    async def answer(visit: Visit) -> Page:
        return page

    gate = Gate()
    gate.doors.add("/webhooks/x", Door(answer))
    server = Server(gate, lambda: 0, Patience())  # type: ignore[arg-type]
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    await server.start(sock)
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    writer.write(method + b" /webhooks/x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
    said = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await server.stop(1)
    return said


async def test_the_answer_to_a_web_hook_says_its_length_once() -> None:
    """Two of them are not HTTP: the sender takes the hook for refused and delivers it again for days."""
    head, _, body = (await said_to(b"POST", Page(200, b"ok"))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.lower().count(b"content-length:") == 1
    assert body == b"ok"
    head, _, body = (await said_to(b"HEAD", Page(200, b"ok"))).partition(b"\r\n\r\n")
    assert head.lower().count(b"content-length:") == 1
    assert body == b""
