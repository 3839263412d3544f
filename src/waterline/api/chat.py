"""POST /v1/chat/completions and POST /v1/embeddings: decode strictly, find the live release, serve."""

from collections.abc import Callable

from waterline.access.roles import Principal
from waterline.api.asgi import claims
from waterline.api.http import Exchange
from waterline.api.sink import HttpSink
from waterline.core.app_spec import Priority
from waterline.core.errors import InvalidRequest, RequestError
from waterline.core.ids import keyed_digest
from waterline.core.request import CacheWish, Delivery, Kind, Request, decode_request
from waterline.core.trace import TraceOutcome
from waterline.gateway.deps import Deps, Sink
from waterline.gateway.idempotency import Stored
from waterline.gateway.route import Served
from waterline.gateway.serve import refuse, serve

Around = Callable[[Sink], Sink]
FindServed = Callable[[Principal, str, str], Served]  # principal, session, fallback when there is no session


class Completions:
    """One instance a kind of request."""

    def __init__(self, kind: Kind, find: FindServed, deps: Deps, max_body_bytes: int) -> None:
        self._kind = kind
        self._find = find
        self._deps = deps
        self._max_body_bytes = max_body_bytes

    async def __call__(self, exchange: Exchange, principal: Principal) -> None:
        said = claims(exchange.named, principal)
        session = said.get(b"x-waterline-session", "")
        trace_id = self._deps.next_id()
        served = self._find(principal, session, trace_id)
        body = b""
        try:
            body = await exchange.body(self._max_body_bytes)
            request, around = await self._understand(exchange, principal, body, said, trace_id)
        except RequestError as error:
            nothing = Request(self._kind, exchange.path, body[:4096], {}, "", exchange.received_us, session=session)
            await refuse(nothing, served, principal, self._deps, exchange.sink, error)
            return
        if request.idempotency_key:
            await self._once(request, served, principal, exchange.sink, around)
            return
        await serve(request, served, principal, self._deps, exchange.sink if around is None else around(exchange.sink))

    async def _understand(
        self, exchange: Exchange, principal: Principal, body: bytes, said: dict[bytes, str], trace_id: str
    ) -> tuple[Request, Around | None]:
        """What is asked, and what makes the sink that says the gateway's answer in this API's words (None: they are the
        gateway's own). Raises RequestError."""
        request = decode_request(self._kind, exchange.path, body, exchange.received_us)
        self._note(request, said, trace_id)
        return request, None

    async def _once(
        self,
        request: Request,
        served: Served,
        principal: Principal,
        caller: HttpSink,
        around: Around | None,
    ) -> None:
        async def run(recorded: Sink) -> TraceOutcome:
            sink = recorded if around is None else around(recorded)
            return await serve(request, served, principal, self._deps, sink)

        try:
            await self._deps.once.serve(
                request, principal, caller, run, lambda stored: self._retold(caller, stored, around)
            )
        except RequestError as error:
            sink = caller if around is None else around(caller)
            await refuse(request, served, principal, self._deps, sink, error)

    def _retold(self, caller: Sink, stored: Stored, around: Around | None) -> Sink:
        """What says a stored answer again, as it was said the first time."""
        return caller if around is None else around(caller)

    def _note(self, request: Request, said: dict[bytes, str], trace_id: str) -> None:
        request.trace_id = trace_id
        if not said:
            return
        request.session = said.get(b"x-waterline-session", "")
        subject = said.get(b"x-waterline-subject", "")
        if subject:
            request.subject = keyed_digest(self._deps.digest_key, subject.encode())
        groups = said.get(b"x-waterline-groups", "")
        request.groups = tuple(g for g in groups.split(",") if g)
        request.tags = said.get(b"x-waterline-tags", "")
        request.idempotency_key = said.get(b"idempotency-key", "")
        request.cache = _cache_wish(said)
        request.delivery = _delivery(said, request.path)
        request.priority = _priority(said)
        deadline = said.get(b"x-waterline-deadline-ms", "")
        if deadline:
            if not (deadline.isascii() and deadline.isdigit()) or not 0 < int(deadline) <= 3_600_000:
                raise InvalidRequest("x-waterline-deadline-ms is a whole number of milliseconds, at most 3600000.")
            request.deadline_ms = int(deadline)


def _priority(said: dict[bytes, str]) -> Priority | None:
    match said.get(b"x-waterline-priority", ""):
        case "":
            return None
        case "low" | "normal" | "high" as known:
            return known
        case other:
            raise InvalidRequest(f'x-waterline-priority is "low", "normal" or "high", not "{other[:40]}".')


def _delivery(said: dict[bytes, str], path: str) -> Delivery:
    match said.get(b"x-waterline-delivery", ""):
        case "" | "live":
            return "live"
        case "whole":
            return "whole"
        case "restartable" if path == "/v1/chat/completions":  # no other API has a word for it
            return "restartable"
        case other:
            raise InvalidRequest(
                f'x-waterline-delivery is "live", "whole" or (chat completions only) "restartable", not "{other[:40]}".'
            )


def _cache_wish(said: dict[bytes, str]) -> CacheWish:
    """`x-waterline-cache: bypass | refresh`, or what RFC 9111 (5.2.1) has for it: `no-store`, `no-cache`."""
    match said.get(b"x-waterline-cache", ""):
        case "":
            pass
        case "bypass":
            return "bypass"
        case "refresh":
            return "refresh"
        case other:
            raise InvalidRequest(f'x-waterline-cache is "bypass" or "refresh", not "{other[:40]}".')
    directives = {d.strip().lower() for d in said.get(b"cache-control", "").split(",")}
    if "no-store" in directives:
        return "bypass"
    return "refresh" if "no-cache" in directives else ""
