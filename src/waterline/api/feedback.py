"""POST /v1/feedback, its tokens for browsers, the script for pages, and the door by which that script reports."""

import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

import msgspec
from msgspec import Raw, Struct

from waterline.access.feedback_tokens import LONGEST_HOURS, FeedbackTokens
from waterline.access.roles import Principal
from waterline.api.http import Exchange
from waterline.api.ops import reply
from waterline.api.sink import HttpSink
from waterline.control.feedback import FeedbackBody, Taken
from waterline.core.errors import InvalidRequest, RateLimited, Refused, RequestError
from waterline.core.ids import is_trace_id
from waterline.core.web import Page, Visit

EVENTS = "/feedback/events"
LARGEST = 256 * 1024
LARGEST_BATCH = 2 << 20
MOST_EVENTS = 500
MOST_TOKENS = 100
MOST_A_MINUTE = 240  # requests of one address at the door
MOST_ADDRESSES = 20_000
Take = Callable[[Principal, FeedbackBody], Awaitable[Taken]]
_encode = msgspec.json.Encoder().encode


class _Batch(Struct, forbid_unknown_fields=True):
    events: list[Raw]


class _TokensBody(Struct, forbid_unknown_fields=True):
    traces: list[str]
    hours: float = 24.0
    origin: str = ""


class _Page(Struct, forbid_unknown_fields=True):
    """What the script sends."""

    token: str
    events: list[Raw]


class Feedback:
    """One, or `{"events": [...]}`: then each has its own answer, and one that does not fit keeps no other back."""

    def __init__(self, take: Take) -> None:
        self._take = take

    async def __call__(self, exchange: Exchange, principal: Principal) -> None:
        body = await exchange.body(LARGEST_BATCH)
        if b'"events"' in body[:4096]:
            found = await take_all(self._take, principal, _decoded(body, _Batch).events)
            await reply(exchange.sink, _encode({"results": found}))
            return
        if len(body) > LARGEST:
            raise InvalidRequest(f"Feedback is at most {LARGEST:,} bytes.", status=413)
        try:
            made = await self._take(principal, _decoded(body, FeedbackBody))
        except Refused as error:
            raise InvalidRequest(str(error), status=error.status) from error
        await reply(exchange.sink, _encode(made), status=202 if made.state == "waiting" else 201)


class FeedbackTokenRoute:
    """POST /v1/feedback/tokens {"traces": [...]}: what a page may be given, a token for each trace."""

    def __init__(self, tokens: FeedbackTokens) -> None:
        self._tokens = tokens

    async def __call__(self, exchange: Exchange, principal: Principal) -> None:
        asked = _decoded(await exchange.body(LARGEST), _TokensBody)
        if not 1 <= len(asked.traces) <= MOST_TOKENS or not all(is_trace_id(t) for t in asked.traces):
            raise InvalidRequest(f"`traces` is 1 to {MOST_TOKENS} ids from x-waterline-trace headers.", param="traces")
        if not 0 < asked.hours <= LONGEST_HOURS:
            raise InvalidRequest(f"`hours` is above 0 and at most {LONGEST_HOURS}.", param="hours")
        if len(asked.origin) > 200 or (asked.origin and "://" not in asked.origin):
            raise InvalidRequest("`origin` is that of the page, as https://shop.example.", param="origin")
        made = {t: self._tokens.make(t, principal.key_id, asked.hours, asked.origin) for t in asked.traces}
        await reply(exchange.sink, _encode({"tokens": made}), status=201)


class FeedbackScript:
    """GET /v1/feedback.js. Any page may load it; it holds no secret."""

    def __init__(self) -> None:
        self._text = resources.files("waterline.api").joinpath("feedback.js").read_bytes()

    async def __call__(self, sink: HttpSink) -> None:
        headers = [(b"access-control-allow-origin", b"*"), (b"cache-control", b"public, max-age=3600")]
        await sink.begin(200, b"text/javascript; charset=utf-8", headers)
        await sink.end(self._text)


class FeedbackDoor:
    """Where pages report, with a token instead of a key. Bodies are text/plain, so that a browser asks nothing before
    and a beacon at the end of a page is possible."""

    def __init__(self, tokens: FeedbackTokens, principal: Callable[[str], Principal], take: Take) -> None:
        self._tokens = tokens
        self._principal = principal
        self._take = take
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    async def __call__(self, visit: Visit) -> Page:
        cors = (("access-control-allow-origin", "*"), ("cache-control", "no-store"))
        if visit.method == "OPTIONS":
            allowed = (("access-control-allow-methods", "POST"), ("access-control-allow-headers", "content-type"))
            return Page(204, headers=(*cors, *allowed, ("access-control-max-age", "86400")))
        try:
            if visit.method != "POST":
                raise InvalidRequest(f"{EVENTS} takes POST, not {visit.method}.", status=405)
            self._check_rate(visit.address)
            body = _decoded(visit.body, _Page)
            note = self._tokens.read(body.token, visit.header(b"origin").decode("latin-1"))
            who = self._principal(note.key_id)
            found = await take_all(self._take, who, body.events, trace=note.trace)
        except RequestError as error:
            said = _encode({"error": {"message": error.message, "code": error.code}})
            return Page(error.status, said, "application/json", cors)
        return Page(200, _encode({"results": found}), "application/json", cors)

    def _check_rate(self, address: str) -> None:
        now = time.monotonic()
        times = self._seen.setdefault(address, deque())
        self._seen.move_to_end(address)
        if len(self._seen) > MOST_ADDRESSES:
            self._seen.popitem(last=False)
        while times and times[0] < now - 60:
            times.popleft()
        if len(times) >= MOST_A_MINUTE:
            raise RateLimited("That was a lot of feedback from one address. Wait a minute.", retry_after_s=60)
        times.append(now)


async def take_all(take: Take, who: Principal, events: list[Raw], trace: str = "") -> list[Any]:
    """Each in order, and what came of it. `trace`: the only one that this caller may speak of, and of its session."""
    if len(events) > MOST_EVENTS:
        raise InvalidRequest(f"At most {MOST_EVENTS} events a request, not {len(events)}.", status=413)
    found: list[Any] = []
    for one in events:
        try:
            said = _decoded(bytes(one), FeedbackBody)
            if trace:
                said.trace, said.session = trace, ""
            found.append(await take(who, said))
        except (Refused, InvalidRequest) as error:
            found.append({"error": {"message": str(error), "status": error.status}})
    return found


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The feedback does not fit: {error}.") from None
