"""Stored responses. A stored response is its trace: the call and the answer are in the log before the caller's last
byte, so it outlives a crash; reading one reads the trace, continuing one makes messages of it."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from msgspec import Struct

from waterline.access.roles import Principal
from waterline.core.completion import UNREADABLE, message_of
from waterline.core.errors import InvalidRequest, Overloaded, WaterlineError
from waterline.core.ids import is_trace_id
from waterline.core.responses import Asked, decode_responses
from waterline.core.trace import Event, Received, TraceRow
from waterline.store import deleted_responses, traces
from waterline.store.db import Store, StoreUnavailable, Tx

T = TypeVar("T")
PREFIX = "resp_"
LONGEST_CHAIN = 500  # responses
LARGEST_CHAIN = 32 << 20  # bytes of calls and answers


class ResponseNotFound(WaterlineError):
    """There is no such response for this caller; the message says what is known about it."""


class Kept(Struct, frozen=True):
    """A stored response."""

    row: TraceRow
    events: list[Event]
    asked: Asked
    answer: bytes  # canonical: a chat completion, or a stream's events

    @property
    def id(self) -> str:
        return PREFIX + self.row.id


class StoredResponses:
    def __init__(self, store: Store, drain: Callable[[], Awaitable[None]], clock_us: Callable[[], int]) -> None:
        self._store = store
        self._drain = drain
        self._clock_us = clock_us

    async def chain(self, response_id: str, who: Principal, subject: str) -> list[Kept]:
        """The response and those before it, oldest first. Raises ResponseNotFound."""
        return await self._found(lambda tx: chain(tx, response_id, lambda row: _owns(who, subject, row)))

    async def history(self, response_id: str, who: Principal, subject: str) -> list[dict[str, Any]]:
        """What was said in its chain, as messages of a chat completion. Raises ResponseNotFound."""
        return await self._found(
            lambda tx: history(chain(tx, response_id, lambda row: _owns(who, subject, row)))  # off the event loop
        )

    async def one(self, response_id: str, who: Principal, subject: str) -> Kept:
        """Raises ResponseNotFound."""
        return await self._found(lambda tx: _kept(tx, response_id, lambda row: _owns(who, subject, row)))

    async def delete(self, response_id: str, who: Principal, subject: str) -> None:
        """From now on it can be neither read nor continued, nor can what continued it. Raises ResponseNotFound."""
        kept = await self.one(response_id, who, subject)
        now = self._clock_us()
        try:
            await self._store.write(lambda tx: deleted_responses.add(tx, kept.row.id, now, who.key_id))
        except StoreUnavailable as error:
            raise _not_now() from error

    async def _found(self, read: Callable[[Tx], T]) -> T:
        """Raises Overloaded while the store cannot be asked: what it holds is not lost, only out of reach."""
        try:
            try:
                return await self._store.read(read)
            except ResponseNotFound:
                await self._drain()  # it may have been answered a moment ago
                return await self._store.read(read)
        except StoreUnavailable as error:
            raise _not_now() from error


def _not_now() -> Overloaded:
    return Overloaded("Stored responses are out of reach for the moment; the server's log says why.", retry_after_s=5)


def chain(tx: Tx, response_id: str, may_read: Callable[[TraceRow], bool], *, deleted_too: bool = False) -> list[Kept]:
    """Oldest first. Raises ResponseNotFound if one of them cannot be had."""
    found: list[Kept] = []
    size = 0
    wanted = response_id
    while wanted:
        kept = _kept(tx, wanted, may_read, deleted_too=deleted_too)
        if kept.row.outcome != "answered":
            raise ResponseNotFound(f"The response {kept.id} was not completed ({kept.row.outcome}). Ask it again.")
        found.append(kept)
        size += len(kept.asked.request.body) + len(kept.answer)
        if len(found) > LONGEST_CHAIN or size > LARGEST_CHAIN:
            raise ResponseNotFound(
                f"The chain behind {response_id} is longer than {LONGEST_CHAIN} responses or "
                f"{LARGEST_CHAIN >> 20} MiB. Start a new one with a summary."
            )
        wanted = kept.asked.previous
    return found[::-1]


def history(found: list[Kept]) -> list[dict[str, Any]]:
    """What was said in a chain, as messages of a chat completion, without instructions."""
    messages: list[dict[str, Any]] = []
    for kept in found:
        messages += kept.asked.messages
        try:
            said = message_of(kept.answer)
        except (*UNREADABLE, ValueError) as error:
            raise ResponseNotFound(f"The answer of {kept.id} cannot be read: {error}.") from error
        if said["content"] or len(said) > 2:  # an empty answer is nothing to continue from
            messages.append(said)
    return messages


def history_for_replay(
    tx: Tx, row: TraceRow, events: list[Event], body: bytes | None
) -> tuple[list[dict[str, Any]], str]:
    """What went before the call of a trace (nothing, for most), and why that cannot be had."""
    received = next((e for e in events if isinstance(e, Received)), None)
    if body is None or received is None or not received.path.endswith("/responses"):
        return [], ""
    try:
        previous = decode_responses(received.path, body, row.started_us).previous
        return (history(chain(tx, previous, lambda _: True, deleted_too=True)) if previous else []), ""
    except (ResponseNotFound, InvalidRequest) as error:
        return [], str(error)


def _kept(tx: Tx, response_id: str, may_read: Callable[[TraceRow], bool], *, deleted_too: bool = False) -> Kept:
    trace_id = response_id.removeprefix(PREFIX)
    missing = ResponseNotFound(f"There is no response {response_id[:80]!r} here that this key may read.")
    if not response_id.startswith(PREFIX) or not is_trace_id(trace_id):
        raise missing
    found = traces.get(tx, trace_id)
    if found is None or not may_read(found[0]) or (not deleted_too and deleted_responses.known(tx, trace_id)):
        raise missing
    row, events = found
    received = next((e for e in events if isinstance(e, Received)), None)
    body = traces.body(tx, trace_id, "request")
    answer = traces.body(tx, trace_id, "answer") or b""
    if received is None or not received.path.endswith("/responses") or row.outcome == "open":
        raise missing
    if body is None or (row.outcome == "answered" and not answer):
        raise ResponseNotFound(f"The text of response {response_id} is no longer kept here (app.toml [retention]).")
    try:
        asked = decode_responses(received.path, body, row.started_us)
    except InvalidRequest as error:
        raise missing from error
    if not asked.stored or (row.outcome != "answered" and not row.stream):
        raise missing  # it was not to be stored, or an error was the whole answer
    return Kept(row, events, asked, answer)


def _owns(who: Principal, subject: str, row: TraceRow) -> bool:
    return (row.app, row.env, row.subject) == (who.app, who.env, subject)
