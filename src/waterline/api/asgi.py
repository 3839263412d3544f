"""The data plane: raw ASGI, one handler a path. Everything else goes to the control plane's application."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from waterline.access.roles import Action, Principal, require
from waterline.api.sink import Callers, HttpSink
from waterline.core.errors import InvalidRequest, Overloaded, PermissionDenied, RequestError

log = logging.getLogger("waterline.api")

Headers = list[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class Exchange:
    """One HTTP request on the data plane, before it is understood."""

    __slots__ = ("headers", "path", "receive", "received_us", "sink")

    def __init__(self, path: str, headers: Headers, receive: Receive, sink: HttpSink, received_us: int) -> None:
        self.path = path
        self.headers = headers
        self.receive = receive
        self.sink = sink
        self.received_us = received_us

    async def body(self, limit: int) -> bytes:
        """Raises InvalidRequest (413) as soon as it is known to be too large, without reading the rest."""
        for name, value in self.headers:
            if name == b"content-length" and (not value.isdigit() or int(value) > limit):
                raise _too_large(limit)
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            self.sink.heard = True
            return body
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            parts.append(message["body"])
            size += len(message["body"])
            if size > limit:
                raise _too_large(limit)
        self.sink.heard = True
        return b"".join(parts)


class ClientLeft(Exception):
    """The caller hung up while it was still sending; there is nobody to answer."""


def _too_large(limit: int) -> InvalidRequest:
    return InvalidRequest(
        f"The body is larger than {limit:,} bytes. Send less, or raise WATERLINE_MAX_BODY_BYTES on the server.",
        status=413,
    )


Handler = Callable[[Exchange, Principal], Awaitable[None]]


class TreeHandler(Protocol):
    async def __call__(self, exchange: Exchange, principal: Principal, *, method: str, query: bytes) -> None: ...


class DataPlane:
    """Routes by exact path and method; every handler declares the action it needs (deny by default)."""

    def __init__(
        self,
        authenticate: Callable[[Headers], Principal],
        clock_us: Callable[[], int],
        callers: Callers,
        count: Callable[[str], None],
        otherwise: Application,
    ) -> None:
        self._authenticate = authenticate
        self._clock_us = clock_us
        self._callers = callers
        self._count = count
        self._otherwise = otherwise
        self.routes: dict[str, tuple[str, Action, Handler]] = {}
        self.open_routes: dict[str, Callable[[HttpSink], Awaitable[None]]] = {}  # GET, no key: liveness
        self._sinks: dict[str, type[HttpSink]] = {}  # where errors have another shape than OpenAI's
        self.trees: dict[str, tuple[Action, TreeHandler]] = {}  # by prefix: paths that hold an id

    def add(self, method: str, path: str, action: Action, handler: Handler, sink: type[HttpSink] = HttpSink) -> None:
        """`sink`: what tells the caller, errors too; also those of paths below this one."""
        self.routes[path] = (method, action, handler)
        if sink is not HttpSink:
            self._sinks[path] = sink

    def add_tree(self, prefix: str, action: Action, handler: TreeHandler) -> None:
        """Every path that begins with `prefix`, whatever the method: the handler decides."""
        self.trees[prefix] = (action, handler)

    def _sink_below(self, path: str) -> type[HttpSink]:
        return next((sink for prefix, sink in self._sinks.items() if path.startswith(prefix)), HttpSink)

    def _in_a_tree(self, path: str, scope: dict[str, Any]) -> tuple[str, Action, Handler] | None:
        for prefix, (action, handler) in self.trees.items():
            if path.startswith(prefix) and scope["type"] == "http":
                method = scope["method"]
                return method, action, partial(handler, method=method, query=scope["query_string"])
        return None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        found = self.routes.get(path) or self._in_a_tree(path, scope)
        if found is None:
            probe = self.open_routes.get(path)
            if probe is not None and scope["type"] == "http":
                await probe(HttpSink(send))
            elif path.startswith("/v1/"):
                await _refuse(
                    self._sink_below(path)(send), InvalidRequest(f"There is no {path[:200]} here.", status=404)
                )
            else:
                await self._otherwise(scope, receive, send)
            return
        received_us = self._clock_us()
        sink = self._sinks.get(path, HttpSink)(send)
        caller = self._callers.enter(receive, sink)
        try:
            method, action, handler = found
            if scope["method"] != method:
                raise InvalidRequest(f"{path} takes {method}, not {scope['method']}.", status=405)
            principal = self._authenticate(scope["headers"])
            require(principal, action)
            await handler(Exchange(path, scope["headers"], receive, sink, received_us), principal)
        except RequestError as error:
            self._count(f"refused_{error.code}")
            await _refuse(sink, error)
        except asyncio.CancelledError:
            if not sink.gone:  # the server stops and waits no longer; its trace says "interrupted"
                await _refuse(sink, Overloaded("The server is stopping. Ask again in a moment.", retry_after_s=5))
        except ClientLeft:
            self._count("client_left_while_sending")
        except Exception:
            log.exception("a request failed for a reason that is ours")
            self._count("internal_error")
            await _refuse(sink, RequestError("Something went wrong on our side; it is in the server's log."))
        finally:
            self._callers.leave(caller)


async def _refuse(sink: HttpSink, error: RequestError) -> None:
    await sink.fail(error, [])


_CLAIMS = frozenset((b"idempotency-key", b"cache-control"))


def claims(headers: Headers, principal: Principal) -> dict[bytes, str]:
    """Every `x-waterline-*` header, the idempotency key and cache-control, in one pass over the headers.

    Raises PermissionDenied if identity is asserted by a key that may not, InvalidRequest if one is too long."""
    found: dict[bytes, str] = {}
    for name, value in headers:
        if name.startswith(b"x-waterline-") or name in _CLAIMS:
            if len(value) > 256:
                raise InvalidRequest(f"The header {name.decode('latin-1')[:60]} is longer than 256 bytes.")
            found[name] = value.decode("latin-1").strip()
    if found and not principal.assert_identity:
        for name in (b"x-waterline-subject", b"x-waterline-groups"):
            if name in found:
                raise PermissionDenied(
                    f"This key may not assert {name.decode()}. Create one that may: "
                    "waterline key create --app APP --assert-identity."
                )
    return found
