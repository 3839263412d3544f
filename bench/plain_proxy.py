"""A plain pass-through proxy in Python (uvicorn, uvloop, httptools, our upstream client) with
nothing on: no key, no limit, no price, no trace. What Waterline costs beyond this is what it does.

usage: plain_proxy.py UPSTREAM_URL        prints its port
"""

import asyncio
import gc
import socket
import sys
from typing import Any

import uvicorn
import uvloop

from waterline.providers.upstream import Origin, Pool


class PlainProxy:
    def __init__(self, upstream_url: str) -> None:
        self.pool = Pool(Origin.from_url(upstream_url))
        self.heads: dict[str, bytes] = {}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        path = scope["path"]
        head = self.heads.get(path)
        if head is None:
            head = self.heads[path] = self.pool.head("POST", path, [(b"content-type", b"application/json")])
        response = await self.pool.send(head, body, first_byte=60, idle=60, total=120)
        headers = [(n, v) for n, v in response.headers if n != b"transfer-encoding"]
        if response.header(b"content-length") is not None:
            whole = await response.read()
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            await send({"type": "http.response.body", "body": whole})
            return
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        async for data in response:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def serve(upstream_url: str) -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)  # whoever reads the port may connect
    config = uvicorn.Config(
        PlainProxy(upstream_url),
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    serving = asyncio.create_task(uvicorn.Server(config).serve(sockets=[listener]))
    print(listener.getsockname()[1], flush=True)
    await serving


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1]))
