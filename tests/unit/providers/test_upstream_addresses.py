"""A name is looked up by us, once a connection: what is connected to is what was looked at."""

import asyncio
import socket
from typing import Any

import pytest

from waterline.providers import upstream, upstream_aiohttp
from waterline.providers.upstream import ConnectFailed, Origin, Pool, addresses_of

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"


def infos(*addresses: str) -> list[tuple[Any, ...]]:
    family = {True: socket.AF_INET6, False: socket.AF_INET}
    return [(family[":" in a], socket.SOCK_STREAM, 6, "", (a, 80)) for a in addresses]


class Loop(asyncio.SelectorEventLoop):
    """With a DNS that says something else each time, and a note of what was connected to."""

    said: list[tuple[str, ...]] = []  # noqa: RUF012
    dialled: list[str] = []  # noqa: RUF012

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        return infos(*(self.said.pop(0) if len(self.said) > 1 else self.said[0]))

    async def create_connection(self, protocol: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        self.dialled.append(host)
        return await super().create_connection(protocol, host, port, **more)


def run(said: list[tuple[str, ...]], times: int, pool: Any = Pool) -> tuple[list[Any], list[str]]:
    """What became of requests, one after the other, to a name that a server of this machine answers to."""

    async def main() -> tuple[list[Any], list[str]]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        loop.said, loop.dialled = list(said), []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        made = pool(Origin("provider.example", server.sockets[0].getsockname()[1], tls=False))
        found: list[Any] = []
        for _ in range(times):
            try:
                response = await made.send(made.head("GET", "/", []), b"", first_byte=20, idle=20, total=20)
                found.append(await response.read())
            except upstream.UpstreamError as error:
                found.append(error)
        made.close()
        server.close()
        return found, loop.dialled

    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main())


@pytest.mark.parametrize("bad", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "fd00:ec2::254"])
def test_a_name_that_leads_to_credentials_is_refused_and_nothing_is_connected_to(bad: str) -> None:
    (error,), dialled = run([(bad,)], 1)
    assert isinstance(error, ConnectFailed)
    assert error.safe
    assert bad in str(error)
    assert "provider.example" in str(error)
    assert dialled == []


def test_a_name_that_changes_between_two_connections_is_looked_at_each_time() -> None:
    """Rebinding: good at first, then the metadata server."""
    found, dialled = run([("127.0.0.1",), ("169.254.169.254",), ("127.0.0.1",)], 3)
    assert found[0] == found[2] == b"ok"
    assert isinstance(found[1], ConnectFailed)
    assert dialled == ["127.0.0.1", "127.0.0.1"]


def test_only_the_addresses_that_were_looked_at_are_connected_to_in_their_order() -> None:
    found, dialled = run([("169.254.169.254", "127.0.0.2", "127.0.0.1", "127.0.0.1")], 1)
    assert found == [b"ok"]
    assert dialled == ["127.0.0.2", "127.0.0.1"]  # nobody listens at the first


def test_the_client_in_reserve_refuses_it_too() -> None:
    (error,), _ = run([("169.254.169.254",)], 1, upstream_aiohttp.Pool)
    assert isinstance(error, ConnectFailed)
    assert "credentials" in str(error)


def test_an_address_in_digits_is_not_asked_of_dns() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await addresses_of(loop, "2130706433", 80) == ["127.0.0.1"]
        assert await addresses_of(loop, "::1", 80) == ["::1"]
        with pytest.raises(ConnectFailed):
            await addresses_of(loop, "0xa9fea9fe", 80)

    asyncio.run(main())
