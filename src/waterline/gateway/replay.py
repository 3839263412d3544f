"""Render the upstream requests of a trace again and compare them, byte for byte, by their keyed digests."""

from typing import Any

from msgspec import Struct

from waterline.core.errors import InvalidRequest, NotReplayable
from waterline.core.ids import keyed_digest
from waterline.core.messages import decode_messages
from waterline.core.release import Release
from waterline.core.request import Request, decode_request
from waterline.core.responses import complete, decode_responses
from waterline.core.trace import Admitted, Attempted, CacheHit, Event, Received, TraceRow
from waterline.gateway.mend import delivered
from waterline.gateway.recording import TRANSCRIPTIONS
from waterline.gateway.render import RENDERER, prompt_variables, render
from waterline.providers.base import Provider, ProviderFault


def _decode(path: str, body: bytes, received_us: int, history: list[dict[str, Any]]) -> Request:
    """As the API did that is at this path."""
    if path.endswith("/responses"):
        return complete(decode_responses(path, body, received_us), history)
    if path.endswith("/messages"):
        return decode_messages(path, body, received_us)
    return decode_request("embeddings" if path.endswith("/embeddings") else "chat", path, body, received_us)


class Rendered(Struct, frozen=True):
    """One attempt, rendered again. `same`: the bytes have the digest that was sealed when they were sent."""

    number: int
    route: str
    model: str
    same: bool
    digest: str
    sealed_digest: str
    body: bytes
    reproducible: bool


def rerender(
    row: TraceRow,
    events: list[Event],
    body: bytes | None,
    release: Release,
    providers: dict[str, Provider],
    digest_key: bytes,
    history: list[dict[str, Any]],
    answer: bytes | None = None,
    summary: str = "",
) -> list[Rendered]:
    """Every attempt of the trace. `release`: the trace's own, or another one to see what would change. `history`: the
    messages before the call, where it continued a stored response. `summary`: a model's, of its older turns.

    Raises NotReplayable with the reason."""
    if body is None:
        raise NotReplayable(f"NOT REPLAYABLE: the request of trace {row.id} is no longer kept (retention, or erased).")
    received, admitted, attempts = _sent(row, events)
    request = _decode(received.path, body, row.started_us, history)
    request.summary = summary

    def again(attempt: Attempted) -> Rendered:
        route = release.routes.get(attempt.route)
        if route is None:
            raise NotReplayable(f'NOT REPLAYABLE: the release has no route "{attempt.route}".')
        prompt = release.prompts.get(route.prompt) if route.prompt else None
        prefill = _said_before(row, attempt, answer)
        try:
            variables = prompt_variables(prompt, request.variables, admitted.clock) if prompt else {}
            made = render(request, release, route, providers[route.provider], variables, attempt.max_tokens, prefill)
        except (InvalidRequest, ProviderFault) as error:
            raise NotReplayable(f"NOT REPLAYABLE: {error}") from error
        digest = keyed_digest(digest_key, made)
        return Rendered(
            number=attempt.number,
            route=attempt.route,
            model=route.model,
            same=digest == attempt.body_digest,
            digest=digest,
            sealed_digest=attempt.body_digest,
            body=made,
            reproducible=route.reproducible,
        )

    return [again(attempt) for attempt in attempts]


def _sent(row: TraceRow, events: list[Event]) -> tuple[Received, Admitted, list[Attempted]]:
    """What was asked and sent upstream, by a renderer that is still ours. Raises NotReplayable."""
    received = next((e for e in events if isinstance(e, Received)), None)
    admitted = next((e for e in events if isinstance(e, Admitted)), None)
    attempts = [e for e in events if isinstance(e, Attempted)]
    kept = next((e for e in events if isinstance(e, CacheHit)), None)
    if kept is not None:
        raise NotReplayable(
            f"NOT REPLAYABLE: trace {row.id} was answered from the cache, with the answer of trace {kept.source}. "
            "Replay that one."
        )
    if received is None or admitted is None or not attempts:
        why = "it died before its outcome was written" if row.outcome == "interrupted" else "nothing was sent upstream"
        raise NotReplayable(f"NOT REPLAYABLE: trace {row.id} has no attempt: {why} (outcome {row.outcome}).")
    if received.path == TRANSCRIPTIONS:
        raise NotReplayable(f"NOT REPLAYABLE: the recording of trace {row.id} is not kept, only its digest.")
    for attempt in attempts:
        if attempt.renderer != RENDERER:
            raise NotReplayable(
                f"NOT REPLAYABLE: trace {row.id} was rendered by version {attempt.renderer} of the renderer; "
                f"this is version {RENDERER}."
            )
    return received, admitted, attempts


def _said_before(row: TraceRow, attempt: Attempted, answer: bytes | None) -> str:
    """What another route had said when its stream broke, which this attempt went on from."""
    if attempt.prefill_characters is None:
        return ""
    said = delivered(answer or b"").text[: attempt.prefill_characters]
    if len(said) != attempt.prefill_characters:
        raise NotReplayable(f"NOT REPLAYABLE: what trace {row.id} had said until it broke is no longer kept.")
    return said
