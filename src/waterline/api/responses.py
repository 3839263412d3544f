"""POST /v1/responses, and what becomes of a stored one: GET, DELETE, its input items.

Source: https://platform.openai.com/docs/api-reference/responses
"""

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from waterline.access.roles import Principal
from waterline.api.asgi import claims
from waterline.api.chat import Around, Completions, FindServed
from waterline.api.http import Exchange
from waterline.api.ops import reply
from waterline.api.response_events import ResponseTranslator
from waterline.api.sink import HttpSink
from waterline.api.translate import TranslatingSink
from waterline.control.responses import Kept, ResponseNotFound, StoredResponses
from waterline.core.completion import UNREADABLE
from waterline.core.errors import InvalidRequest, ProviderUnavailable, RateLimited, RequestError
from waterline.core.ids import keyed_digest
from waterline.core.request import Request
from waterline.core.responses import complete, decode_responses
from waterline.core.trace import Ended
from waterline.gateway.deps import Deps, Sink
from waterline.gateway.idempotency import Stored

if TYPE_CHECKING:
    from waterline.api.http import Connection

TREE = "/v1/responses/"
LARGEST_PAGE = 100
EVENT_STREAM = b"text/event-stream; charset=utf-8"
_encode = msgspec.json.Encoder().encode


class ResponsesSink(HttpSink):
    """A stream that the server itself must end (it stops, say) still ends in an event that the API knows."""

    def __init__(self, connection: "Connection", keep_alive: bool, may_chunk: bool) -> None:
        super().__init__(connection, keep_alive, may_chunk)
        self.translator: ResponseTranslator | None = None

    def error_event(self, error: RequestError) -> bytes:
        return self.translator.broken(error) if self.translator is not None else super().error_event(error)


class Responses(Completions):
    """POST /v1/responses. The same way through the gateway as a chat completion, in other words."""

    def __init__(self, find: FindServed, deps: Deps, max_body_bytes: int, stored: StoredResponses) -> None:
        super().__init__("chat", find, deps, max_body_bytes)
        self._stored = stored

    async def _understand(
        self, exchange: Exchange, principal: Principal, body: bytes, said: dict[bytes, str], trace_id: str
    ) -> tuple[Request, Around | None]:
        asked = decode_responses(exchange.path, body, exchange.received_us)
        self._note(asked.request, said, trace_id)
        before: list[dict[str, Any]] = []
        if asked.previous:
            before = await self._history(asked.previous, principal, asked.request.subject)
        request = complete(asked, before)

        def in_other_words(caller: Sink) -> Sink:
            translator = ResponseTranslator(asked, trace_id)
            if isinstance(exchange.sink, ResponsesSink):
                exchange.sink.translator = translator
            return TranslatingSink(caller, translator)

        return request, in_other_words

    def _retold(self, caller: Sink, stored: Stored, around: Around | None) -> Sink:
        """With the first one's id and time."""
        asked = decode_responses(stored.path, stored.request, stored.started_us)
        return TranslatingSink(caller, ResponseTranslator(asked, stored.trace))

    async def _history(self, previous: str, principal: Principal, subject: str) -> list[dict[str, Any]]:
        try:
            return await self._stored.history(previous, principal, subject)
        except ResponseNotFound as error:
            raise InvalidRequest(str(error), status=404, param="previous_response_id") from None


class ResponseTree:
    """/v1/responses/{id} and /v1/responses/{id}/input_items."""

    def __init__(self, stored: StoredResponses, digest_key: bytes) -> None:
        self._stored = stored
        self._digest_key = digest_key

    async def __call__(self, exchange: Exchange, principal: Principal, *, method: str, query: bytes) -> None:
        said = claims(exchange.named, principal).get(b"x-waterline-subject", "")
        subject = keyed_digest(self._digest_key, said.encode()) if said else ""
        response_id, _, rest = exchange.path.removeprefix(TREE).partition("/")
        try:
            match method, rest:
                case "GET", "":
                    after = _streamed_after(query)
                    kept = await self._stored.one(response_id, principal, subject)
                    if after is not None:
                        return await reply(exchange.sink, events_of(kept, after), EVENT_STREAM)
                    out = response_of(kept)
                case "DELETE", "":
                    await self._stored.delete(response_id, principal, subject)
                    out = {"id": response_id, "object": "response", "deleted": True}
                case "GET", "input_items":
                    chain = await self._stored.chain(response_id, principal, subject)
                    out = _page(await asyncio.to_thread(_input_items, chain), query)
                case _, "" | "input_items":
                    raise InvalidRequest(f"{exchange.path[:200]} does not take {method}.", status=405)
                case _:
                    raise InvalidRequest(f"There is no {exchange.path[:200]} here.", status=404)
        except ResponseNotFound as error:
            raise InvalidRequest(str(error), status=404, param="response_id") from None
        await reply(exchange.sink, _encode(out))


def response_of(kept: Kept) -> dict[str, Any]:
    """The response as its caller got it, made again from its trace. Raises ResponseNotFound."""
    return _told_again(kept)[0]


def events_of(kept: Kept, after: int) -> bytes:
    """The events of its stream, those after a sequence number (-1: all). Raises ResponseNotFound."""
    events = _told_again(kept)[1].split(b"\n\n")  # no event has an empty line in it; the last ends in one
    return b"\n\n".join(events[after + 1 :])


def _told_again(kept: Kept) -> tuple[dict[str, Any], bytes]:
    """The response, and its stream: the events that its caller got, or would have got, byte for byte."""
    translator = ResponseTranslator(kept.asked, kept.row.id)
    try:
        events = (translator.feed if kept.row.stream else translator.answer_as_events)(kept.answer)
    except UNREADABLE as error:  # its caller heard of an error
        raise ResponseNotFound(f"The answer of {kept.id} cannot be read: {error}.") from error
    if not translator.response:  # it broke off, its caller left, or this server died
        ended = next((e for e in kept.events if isinstance(e, Ended)), None)
        why = ended.message if ended is not None and ended.message else f"The response was {kept.row.outcome}."
        limited = ended is not None and ended.code == RateLimited.code
        events += translator.broken(RateLimited(why) if limited else ProviderUnavailable(why))
    return translator.response, events


def _streamed_after(query: bytes) -> int | None:
    """None: it is to be read whole. Raises InvalidRequest."""
    given = parse_qs(query.decode("latin-1"))
    streamed, after = (given.get(name, [""])[-1] for name in ("stream", "starting_after"))
    if streamed not in ("", "true", "false"):
        raise InvalidRequest("`stream` is true or false.", param="stream")
    if after and not (streamed == "true" and after.isascii() and after.isdigit() and len(after) < 10):
        raise InvalidRequest(
            "`starting_after` is the sequence number of an event, beside stream=true.", param="starting_after"
        )
    return None if streamed != "true" else int(after) if after else -1


def _input_items(chain: list[Kept]) -> list[dict[str, Any]]:
    """All that the last response of a chain was made from, oldest first: what went before it, and its own input."""
    out: list[dict[str, Any]] = []
    for kept in chain:
        out += [_listed(item, f"{kept.row.id}_in{i}") for i, item in enumerate(kept.asked.items)]
        if kept is not chain[-1]:
            out += response_of(kept)["output"]
    return out


_SHORT = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}


def _listed(item: dict[str, Any], ending: str) -> dict[str, Any]:
    kind = item["type"]
    out = {"id": f"{_SHORT[kind]}_{ending}", **{name: value for name, value in item.items() if value is not None}}
    if kind == "message":
        assistant = item["role"] == "assistant"
        out["status"] = "completed"
        if isinstance(item["content"], str):
            out["content"] = [{"type": "output_text" if assistant else "input_text", "text": item["content"]}]
        out["content"] = [_part(part) for part in out["content"]]
    elif kind != "reasoning":
        out["status"] = "completed"
    else:
        out.setdefault("summary", [])
    return out


def _part(part: dict[str, Any]) -> dict[str, Any]:
    """What the API's schema wants in a part, and callers may leave out."""
    match part.get("type"):
        case "output_text":
            return {"annotations": [], "logprobs": [], **part}
        case "input_image":
            return {"detail": "auto", **part}
        case _:
            return part


def _page(items: list[dict[str, Any]], query: bytes) -> dict[str, Any]:
    """Newest first unless `order=asc`; `after` names the last item that the caller has seen."""
    given = parse_qs(query.decode("latin-1"))
    limit, order, after = (given.get(name, [default])[-1] for name, default in _PAGE_DEFAULTS)
    if not (limit.isascii() and limit.isdigit()) or not 1 <= int(limit) <= LARGEST_PAGE:
        raise InvalidRequest(f"`limit` is a whole number between 1 and {LARGEST_PAGE}.", param="limit")
    if order not in ("asc", "desc"):
        raise InvalidRequest("`order` is asc or desc.", param="order")
    if order == "desc":
        items = items[::-1]
    if after:
        at = next((i for i, item in enumerate(items) if item["id"] == after), None)
        if at is None:
            raise InvalidRequest(f"`after` names no item of this response: {after[:80]!r}.", param="after")
        items = items[at + 1 :]
    page = items[: int(limit)]
    return {
        "object": "list",
        "data": page,
        "has_more": len(items) > len(page),
        "first_id": page[0]["id"] if page else "",
        "last_id": page[-1]["id"] if page else "",
    }


_PAGE_DEFAULTS = (("limit", "20"), ("order", "desc"), ("after", ""))
