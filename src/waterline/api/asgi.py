"""The data plane's gate: one handler a path, each with the right it needs (deny by default). Everything else goes to
the control plane's ASGI application."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from waterline.access.roles import Action, Principal, require
from waterline.api.http import Exchange
from waterline.api.sink import Headers, HttpSink
from waterline.api.webhooks import Doors
from waterline.core.errors import InvalidRequest, Overloaded, PermissionDenied, RequestError
from waterline.gateway.pressure import Pressure

log = logging.getLogger("waterline.api")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]
Handler = Callable[[Exchange, Principal], Awaitable[None]]


class TreeHandler(Protocol):
    async def __call__(self, exchange: Exchange, principal: Principal, *, method: str, query: bytes) -> None: ...


class DataPlane:
    def __init__(
        self,
        authenticate: Callable[[Headers, str], Principal],
        count: Callable[[str], None],
        otherwise: Application,
        max_body_bytes: int,
        pressure: Pressure,
    ) -> None:
        self._pressure = pressure
        self._authenticate = authenticate
        self._count = count
        self._otherwise = otherwise
        self._max_body_bytes = max_body_bytes
        self.routes: dict[str, tuple[str, Action, Handler, type[HttpSink]]] = {}
        self.open_routes: dict[str, Callable[[HttpSink], Awaitable[None]]] = {}  # GET, no key: liveness
        self._sinks: dict[str, type[HttpSink]] = {}  # by prefix: where errors have another shape than OpenAI's
        self.trees: dict[str, tuple[Action, TreeHandler]] = {}  # by prefix: paths that hold an id
        self.doors = Doors()  # web hooks and channels' pages: no key

    def add(self, method: str, path: str, action: Action, handler: Handler, sink: type[HttpSink] = HttpSink) -> None:
        """`sink`: what tells the caller, errors too; also those of paths below this one."""
        self.routes[path] = (method, action, handler, sink)
        if sink is not HttpSink:
            self._sinks[path] = sink

    def add_tree(self, prefix: str, action: Action, handler: TreeHandler) -> None:
        """Every path that begins with `prefix`, whatever the method: the handler decides."""
        self.trees[prefix] = (action, handler)

    # The server calls these.

    def admit(self, exchange: Exchange) -> None:
        """On the head alone: which handler, and may this caller use it? Raises RequestError."""
        path = exchange.path
        found = self.routes.get(path) or self._in_a_tree(exchange)
        if found is not None:
            method, action, handler, exchange.sink_type = found
            if exchange.method != method:
                raise InvalidRequest(f"{path} takes {method}, not {exchange.method}.", status=405)
            exchange.principal = self._authenticate(exchange.headers, exchange.peer)
            require(exchange.principal, action)
            if self._pressure.refuses and action is Action.DATA_CALL:
                self._pressure.check(exchange.principal, exchange.named.get(b"x-waterline-priority"))
            exchange.handler, exchange.handle, exchange.limit = handler, self._handle, self._max_body_bytes
        elif path in self.open_routes:
            exchange.handle = self._probe
        elif path.startswith("/v1/"):
            exchange.sink_type = self._sink_below(exchange)
            raise InvalidRequest(f"There is no {path[:200]} here.", status=404)
        elif not self.doors.admits(exchange):
            exchange.handle = self._pass_on
            if any(name in (b"authorization", b"x-api-key", b"cookie") for name, _ in exchange.headers):
                exchange.limit = self._max_body_bytes  # who shows no credentials has little to say

    async def refuse(self, exchange: Exchange, error: RequestError) -> None:
        self._count(f"refused_{error.code}")
        await exchange.sink.fail(error, [])

    def left_while_sending(self) -> None:
        self._count("client_left_while_sending")

    # What handles a request.

    async def _handle(self, exchange: Exchange) -> None:
        assert exchange.principal is not None
        try:
            await exchange.handler(exchange, exchange.principal)
        except RequestError as error:
            await self.refuse(exchange, error)
        except asyncio.CancelledError:
            if not exchange.sink.gone:  # the server stops and waits no longer; its trace says "interrupted"
                stopping = Overloaded("The server is stopping. Ask again in a moment.", retry_after_s=5)
                await exchange.sink.fail(stopping, [])
        except Exception:
            log.exception("a request failed for a reason that is ours")
            self._count("internal_error")
            ours = RequestError("Something went wrong on our side; it is in the server's log.")
            await exchange.sink.fail(ours, [])

    async def _probe(self, exchange: Exchange) -> None:
        await self.open_routes[exchange.path](exchange.sink)

    async def _pass_on(self, exchange: Exchange) -> None:
        try:
            await run_asgi(self._otherwise, exchange)
        except Exception:
            log.exception("a page failed for a reason that is ours")
            if not exchange.sink.started:
                await exchange.sink.fail(RequestError("Something went wrong on our side; see the server's log."), [])

    def _in_a_tree(self, exchange: Exchange) -> tuple[str, Action, Handler, type[HttpSink]] | None:
        path, method = exchange.path, exchange.method
        for prefix, (action, handler) in self.trees.items():
            if path.startswith(prefix):
                return method, action, partial(handler, method=method, query=exchange.query), self._sink_below(exchange)
        return None

    def _sink_below(self, exchange: Exchange) -> type[HttpSink]:
        path = "/v1/messages" if b"anthropic-version" in exchange.named else exchange.path
        return next((sink for prefix, sink in self._sinks.items() if path.startswith(prefix)), HttpSink)


async def run_asgi(application: Application, exchange: Exchange) -> None:
    """One ASGI exchange (https://asgi.readthedocs.io/en/latest/specs/www.html); the whole body is here already."""
    sink = exchange.sink
    body = await exchange.body(exchange.size)
    told = False

    async def receive() -> dict[str, Any]:
        nonlocal told
        if told:
            await asyncio.Event().wait()  # a caller that leaves cancels the task
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = [h for h in message["headers"] if h[0] != b"connection"]
            sized = any(name == b"content-length" for name, _ in headers)
            sink.head(message["status"], headers, silent=exchange.method == "HEAD", sized=sized)
        elif message.get("more_body"):
            await sink.write(message.get("body", b""))
        else:
            await sink.end(message.get("body", b""))

    raw_path = exchange.target.partition(b"?")[0]
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": exchange.version,
        "method": exchange.method,
        "scheme": "http",
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "raw_path": raw_path,
        "query_string": exchange.query,
        "root_path": "",
        "headers": exchange.headers,
        "client": (exchange.peer, 0),
        "server": None,
        "state": {},
    }
    await application(scope, receive, send)


_ASIDE = (b"session", b"subject", b"groups", b"tags", b"cache", b"delivery", b"priority", b"deadline-ms")
_CLAIMS = frozenset((b"idempotency-key", b"cache-control", *(b"x-waterline-" + name for name in _ASIDE)))
_NOTHING: dict[bytes, str] = {}


def claims(headers: Mapping[bytes, bytes], principal: Principal) -> dict[bytes, str]:
    """What a request says of itself beside its body: our own headers, the idempotency key and cache-control.

    Raises PermissionDenied if identity is asserted by a key that may not, InvalidRequest if one is too long."""
    if _CLAIMS.isdisjoint(headers):
        return _NOTHING
    found: dict[bytes, str] = {}
    for name in _CLAIMS.intersection(headers):
        value = headers[name]
        if len(value) > 256:
            raise InvalidRequest(f"The header {name.decode('latin-1')} is longer than 256 bytes.")
        found[name] = value.decode("latin-1").strip()
    if not principal.assert_identity:
        for name in (b"x-waterline-subject", b"x-waterline-groups"):
            if name in found:
                raise PermissionDenied(
                    f"This key may not assert {name.decode()}. Create one that may: "
                    "waterline key create --app APP --assert-identity."
                )
    return found
