"""Replay of a stored trace: the requests are rendered again; on a reproducible route the question is asked again."""

from typing import Any

import msgspec
from msgspec import Struct

from waterline.control.views import ReplayedAttempt, ReplayView
from waterline.core.completion import UNREADABLE, message_of
from waterline.core.errors import NotReplayable
from waterline.core.release import Release
from waterline.core.trace import Event, Shortened, TraceRow
from waterline.gateway.deps import Deps
from waterline.gateway.replay import Rendered, rerender
from waterline.gateway.upstreams import Upstreams
from waterline.providers.base import Provider, ProviderFault
from waterline.providers.upstream import UpstreamError
from waterline.store import traces
from waterline.store.db import Tx

ASK_AGAIN_S = 120.0
MAX_ANSWER_BYTES = 32 << 20


class Sealed(Struct, frozen=True):
    """What the store kept of a trace."""

    row: TraceRow
    events: list[Event]
    request: bytes | None
    answer: bytes | None
    history: list[dict[str, Any]]  # messages before the call, where it continued a stored response
    gap: str = ""  # why they cannot be had
    summary: str = ""  # of the older turns, where a model made one


async def replay(
    sealed: Sealed,
    release_id: str,
    release: Release,
    providers: dict[str, Provider],
    upstreams: Upstreams,
    deps: Deps,
) -> ReplayView:
    """Raises NotReplayable with the reason."""
    if sealed.gap:
        raise NotReplayable(f"NOT REPLAYABLE: what the call of {sealed.row.id} continued cannot be had. {sealed.gap}")
    attempts = rerender(
        sealed.row, sealed.events, sealed.request, release, providers, deps.digest_key, sealed.history, sealed.answer,
        sealed.summary,
    )  # fmt: skip
    same = all(a.same for a in attempts)
    if sealed.row.outcome != "answered" or sealed.answer is None:
        said = "There is no complete answer to compare."
    elif release_id != sealed.row.release or release.routes[attempts[-1].route].provider not in ("local", "simulated"):
        said = "Answers are compared only under the trace's own release, and only where asking again costs nothing."
    elif not attempts[-1].reproducible:
        said = f'Answers are compared only on a route declared reproducible; "{attempts[-1].route}" is not.'
    else:
        same_answer, said = await _compare(sealed, attempts[-1], release, upstreams)
        same = same and same_answer
    shown = [
        ReplayedAttempt(a.number, a.route, a.model, a.same, a.digest, a.sealed_digest, len(a.body)) for a in attempts
    ]
    return ReplayView(sealed.row.id, release_id, same, "", shown, said)


async def _compare(sealed: Sealed, last: Rendered, release: Release, upstreams: Upstreams) -> tuple[bool, str]:
    """Ask the provider again with the same bytes; compare what was said, not ids and times."""
    route = release.routes[last.route]
    upstream = upstreams.of(last.route, route)
    provider = upstream.provider
    try:
        link = await upstream.link()
        response = await link.pool.send(
            link.chat, last.body, first_byte=ASK_AGAIN_S, idle=ASK_AGAIN_S, total=ASK_AGAIN_S
        )
        body = await response.read(MAX_ANSWER_BYTES)
        if response.status != 200:
            raise provider.fault(response.status, response.headers, body)
        if sealed.row.stream:
            reader = provider.stream(forward_usage=True)
            reader.feed(body)
            again = "".join(reader.text)
            before_reader = provider.stream(forward_usage=True)
            before_reader.feed(sealed.answer or b"")
            before = "".join(before_reader.text)
        else:
            again = provider.answer(body).text
            before = _said(sealed.answer or b"")
    except (UpstreamError, ProviderFault) as error:
        return False, f"The provider could not be asked again: {error}"
    if not again and not before:
        return False, "INCONCLUSIVE: the answer has no text (a tool call?); only texts are compared."
    if again == before:
        return True, f"The answer is the same, byte for byte ({len(again.encode())} bytes)."
    at = next((i for i, (x, y) in enumerate(zip(again, before, strict=False)) if x != y), min(len(again), len(before)))
    return False, f"The answer DIFFERS from character {at}: {before[at : at + 60]!r} became {again[at : at + 60]!r}."


def summary_of(tx: Tx, events: list[Event]) -> tuple[str, str]:
    """What a model made of the older turns of a trace (nothing, for most), and why that cannot be had."""
    made = next((e.summary for e in events if isinstance(e, Shortened) and e.summary), "")
    if not made:
        return "", ""
    answer = traces.body(tx, made, "answer")
    try:
        return (message_of(answer)["content"] or "").strip() if answer else "", "" if answer else _LOST.format(made)
    except (*UNREADABLE, ValueError):
        return "", _LOST.format(made)


_LOST = "The summary of its older turns is in trace {}, whose text is no longer kept."


class _Message(Struct):
    content: str | None = None


class _Choice(Struct):
    message: _Message


class _Completion(Struct):
    choices: list[_Choice]


def _said(body: bytes) -> str:
    """The text of an answer as the caller got it (a chat completion)."""
    return msgspec.json.decode(body, type=_Completion).choices[0].message.content or ""
