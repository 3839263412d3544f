"""What stands between a request and its provider to make answers cheaper, where the release declares it."""

from waterline.core.trace import CacheHit
from waterline.gateway.attempt import first_answer
from waterline.gateway.cache import Kept, key_of, may_be_kept
from waterline.gateway.call import Call
from waterline.gateway.relay import SSE
from waterline.gateway.render import render
from waterline.providers.base import ProviderFault


async def cheaper_answer(call: Call) -> bytes:
    """As `first_answer`: the last bytes of a complete answer, not yet sent."""
    trail = call.trail
    request, cache = trail.request, trail.served.release.cache
    # Trials and evaluations repeat questions on purpose: their answers are always the model's own.
    if trail.deps.purpose != "live" or request.cache == "bypass":
        return await first_answer(call)
    key = _key(call)
    if key is None:
        return await first_answer(call)
    if request.cache != "refresh":
        kept = trail.app.answers.find(key, trail.deps.clock_us(), cache.ttl_s)
        if kept is not None:
            return await _again(call, key, kept)
    trail.deps.metrics.count("cache_miss")
    last = await first_answer(call)
    _keep(call, key, last)
    return last


def _key(call: Call) -> str | None:
    """None: this request cannot be rendered, or asks for several answers at once."""
    trail, target = call.trail, call.plan[0]
    request, route, release = trail.request, target.route, trail.served.release
    if request.choices != 1 or route.params.get("n", 1) != 1:
        return None
    wanted = request.max_tokens if request.max_tokens is not None else route.max_tokens or None
    try:
        rendered = render(request, release, route, target.provider, call.variables[target.name], wanted)
    except ProviderFault:
        return None  # the attempt will say why
    return key_of(
        request,
        trail.principal,
        trail.served.id,
        target.name,
        rendered,
        shared=release.cache.shared,
        secret=trail.deps.digest_key,
    )


async def _again(call: Call, key: str, kept: Kept) -> bytes:
    """The kept answer, in the shape it had. It costs nothing: neither tokens nor money are counted."""
    trail = call.trail
    trail.deps.metrics.count("cache_hit")
    trail.events.append(CacheHit(trail.elapsed_us, key, trail.deps.clock_us() - kept.at_us, kept.trace))
    trail.log_admitted()
    trail.headers.append((b"x-waterline-cache", b"hit"))
    trail.text, trail.finish_reason, trail.chunks = list(kept.text), kept.finish_reason, kept.chunks
    if trail.request.stream:
        trail.first_token_us = trail.elapsed_us
        await call.sink.begin(200, SSE, trail.headers)
    return kept.body


def _keep(call: Call, key: str, last: bytes) -> None:
    """What a fallback said, or a budget cut short, is not what this route would have said."""
    trail = call.trail
    request, cache = trail.request, trail.served.release.cache
    if trail.target is not call.plan[0] or trail.clamped_from is not None or trail.note:
        return
    body = b"".join((*trail.answer, last))
    if not may_be_kept(trail.finish_reason, body, chat=request.kind == "chat", tool_calls=cache.tool_calls):
        return
    kept = Kept(body, trail.deps.clock_us(), trail.id, ("".join(trail.text),), trail.finish_reason, trail.chunks)
    trail.app.answers.keep(key, kept, cache.max_mb << 20)
