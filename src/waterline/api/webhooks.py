"""Doors without a key: web hooks and the pages of channels, each by its path or the beginning of it."""

import logging

from waterline.api.http import Exchange
from waterline.core.errors import InvalidRequest, RequestError
from waterline.core.web import Door, Page, Visit

log = logging.getLogger("waterline.api")
TREES = ("/webhooks/", "/chat/", "/feedback/")


class Doors:
    """`{"/webhooks/whatsapp": Door, "/chat/": Door}`; a path that ends in "/" stands for all below it."""

    def __init__(self) -> None:
        self.by_path: dict[str, Door] = {}

    def add(self, path: str, door: Door) -> None:
        if not path.startswith(TREES):
            raise ValueError(f"{path} is not below one of {TREES}")
        self.by_path[path] = door

    def admits(self, exchange: Exchange) -> bool:
        """Whether this is for us; then it is set who answers. Raises InvalidRequest."""
        path = exchange.path
        if not path.startswith(TREES):
            return False
        door = self.by_path.get(path)
        if door is None:
            door = next((d for tree, d in self.by_path.items() if tree.endswith("/") and path.startswith(tree)), None)
        if door is None:
            raise InvalidRequest(f"There is no {path[:200]} here.", status=404)
        exchange.handler, exchange.handle, exchange.limit = door, self._answer, door.limit
        return True

    async def _answer(self, exchange: Exchange) -> None:
        door: Door = exchange.handler
        body = await exchange.body(door.limit)
        visit = Visit(exchange.method, exchange.path, exchange.query, exchange.headers, body, exchange.peer)
        try:
            page = await door.answer(visit)
        except Exception:
            log.exception("a door failed for a reason that is ours: %s", exchange.path[:100])
            await exchange.sink.fail(RequestError("Something went wrong on our side; see the server's log."), [])
            return
        await _send(exchange, page)


async def _send(exchange: Exchange, page: Page) -> None:
    headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in page.headers]
    headers.append((b"content-type", page.content_type.encode("latin-1")))
    headers.append((b"content-length", b"%d" % len(page.body)))
    exchange.sink.head(page.status, headers, silent=exchange.method == "HEAD", sized=True)
    await exchange.sink.end(page.body)
