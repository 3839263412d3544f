"""A streamed answer on its way to the caller: whole events, from the first content on."""

from asyncio import timeout

from waterline.gateway.call import Call
from waterline.gateway.faults import Broken, as_request_error, fault_of
from waterline.gateway.mend import announce
from waterline.gateway.route import Target
from waterline.providers.base import ProviderFault, StreamReader
from waterline.providers.upstream import Response, UpstreamError

LINGER_S = 0.05
MAX_HELD_BYTES = 32 << 20
DONE = b"data: [DONE]\n\n"
SSE = b"text/event-stream; charset=utf-8"


async def relay(call: Call, target: Target, response: Response, reader: StreamReader) -> bytes:
    """Forward whole events from the first content on. Returns what is left to send when the answer is complete."""
    trail, sink = call.trail, call.sink
    kind = response.header(b"content-type") or b""
    if not kind.startswith(b"text/event-stream"):
        raise ProviderFault("garbage", f"a stream was asked for, but the answer is {kind[:80]!r}")
    held = b""
    resume, whole = call.resume, trail.request.delivery == "whole" or call.judged
    began = False  # content of this attempt has reached the caller
    try:
        async for data in response:
            held += reader.feed(data)
            if reader.done:
                break
            if reader.began and held:
                if whole:
                    _bound(held)
                    response.content_began()
                    continue
                if not began:
                    response.content_began()
                    began = True
                    await begin(call, target)
                if resume is not None:
                    held = resume.said(held)
                trail.answer.append(held)
                await sink.write(held)
                held = b""
        held += reader.end()
        if not (reader.done or reader.finished):
            raise ProviderFault("truncated", "the stream ended before the answer was complete")
    except (UpstreamError, ProviderFault) as error:
        if not began:
            raise
        await _flush(call, held + reader.pending)
        raise _broken(error, target) from error
    if not reader.done:
        trail.note = "finish reason without [DONE]"
    if not began:
        await begin(call, target)
    await _linger(response)
    return (held if resume is None else resume.said(held)) + DONE


def _broken(error: UpstreamError | ProviderFault, target: Target) -> Broken:
    fault = fault_of(error) if isinstance(error, UpstreamError) else error
    fault.message = target.upstream.hide(fault.message)
    return Broken(as_request_error(fault, target))


async def _linger(response: Response) -> None:
    """Read what may still follow [DONE] for a moment, so that the connection can serve again."""
    if response.complete:
        return
    try:
        async with timeout(LINGER_S):
            async for _ in response:
                pass
    except (TimeoutError, UpstreamError):
        response.close()


async def begin(call: Call, target: Target) -> None:
    trail = call.trail
    if call.race is not None:
        call.race.claim(target)
    if call.resume is not None:
        await announce(call, target)
        return
    if call.judged:
        return
    trail.first_token_us = trail.elapsed_us
    await call.sink.begin(200, SSE, trail.headers)


def _bound(held: bytes) -> None:
    if len(held) > MAX_HELD_BYTES:
        raise ProviderFault("garbage", f"the answer is longer than {MAX_HELD_BYTES} bytes, too long to be held back")


async def _flush(call: Call, held: bytes) -> None:
    if held and call.resume is not None:
        held = call.resume.said(held)
    if held:
        call.trail.answer.append(held)
        await call.sink.write(held)
