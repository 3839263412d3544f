"""What stands between a request and its provider to make answers cheaper, where the release declares it."""

from typing import Any

import msgspec
from msgspec import Struct

from waterline.core.errors import RequestError
from waterline.core.request import Request
from waterline.core.trace import CacheHit, Escalated, Routed, Shortened
from waterline.gateway.attempt import first_answer
from waterline.gateway.cache import Kept, calls_tool, key_of, may_be_kept
from waterline.gateway.call import Call
from waterline.gateway.relay import SSE, begin
from waterline.gateway.render import render, shortened
from waterline.gateway.route import Target
from waterline.gateway.routing import choose, doubt
from waterline.gateway.semantic import Near, question_of, without_question
from waterline.gateway.summary import TAG
from waterline.gateway.trail import Trail
from waterline.providers.base import ProviderFault

NOWHERE: list[Target] = []


def route(trail: Trail, plan: list[Target]) -> tuple[list[Target], list[Target]]:
    """The plan to follow, and the plan to turn to when its answer is not good enough (empty: there is no better one).

    Whoever is sent to another route still has the one that was asked for, and its fallbacks, behind it."""
    served, request = trail.served, trail.request
    routing = served.release.routing
    if plan[0].name != routing.route or request.kind != "chat":
        return plan, NOWHERE
    choice = choose(routing, request)
    threshold = routing.learned.threshold if routing.learned is not None and choice.score is not None else None
    trail.events.append(Routed(trail.elapsed_us, plan[0].name, choice.to, choice.rule, choice.score, threshold))
    if choice.to == plan[0].name:
        return plan, NOWHERE
    trail.deps.metrics.count("routed")
    other = served.plans[choice.to]
    return other + [target for target in plan if target not in other], plan


async def cheaper_answer(call: Call, better: list[Target]) -> bytes:
    """As `first_answer`: the last bytes of a complete answer, not yet sent."""
    trail = call.trail
    request, cache = trail.request, trail.served.release.cache
    await _shorten(call)
    # Trials and evaluations repeat questions on purpose: their answers are always the model's own.
    if not cache.exact or trail.deps.purpose != "live" or request.cache == "bypass":
        return await _answer(call, better)
    key = _key(call, request)
    if key is None:
        return await _answer(call, better)
    if request.cache != "refresh":
        kept = trail.app.answers.find(key, trail.deps.clock_us(), cache.ttl_s)
        if kept is not None:
            return await _again(call, key, kept)
    asked = _asked(call) if cache.semantic is not None else None
    if asked is not None and request.cache != "refresh":
        near = _near(call, asked)
        if near is not None:
            return await _again(call, near.key, near.kept, near.similarity)
    trail.deps.metrics.count("cache_miss")
    first = call.plan[:1]
    last = await _answer(call, better)
    # What a fallback said, or a small model against our doubt, is not what the route would have said.
    own = better[:1] if call.plan is better else first + better[:1]
    if trail.target in own and _keep(call, key, last) and asked is not None:
        trail.app.questions.add(asked.scope, key, asked.text, asked.vector)
    return last


async def _shorten(call: Call) -> None:
    """The trace says that older turns were sent as a note, and who made it; the rendering puts it in."""
    trail = call.trail
    request, history = trail.request, trail.served.release.history
    if history.max_tokens and request.kind == "chat":
        made = None
        if history.summary_route and request.tags != TAG:
            made = await trail.app.summaries.of(trail, history, call.left_s)
            request.summary = made.text if made is not None else ""
        before, after = len(request.fields["messages"]), len(shortened(request, history))
        if after < before:
            trail.events.append(Shortened(trail.elapsed_us, before, after, made.trace if made is not None else ""))
            trail.deps.metrics.count("history_shortened")


async def _answer(call: Call, better: list[Target]) -> bytes:
    """The chosen route's answer; where it is doubtful and nothing of it has left, the better route's.

    A streamed answer leaves as it comes, and cannot be taken back, unless the release wants it judged first."""
    trail = call.trail
    stream = trail.request.stream
    held = call.judged = stream and bool(better) and trail.served.release.routing.escalate_streams
    last = await first_answer(call)
    call.judged = False
    answered = trail.target
    if better and (held or not stream) and answered is call.plan[0] and (reason := _doubt(call, answered, last)):
        said = (trail.finish_reason, trail.text, trail.chunks)
        trail.events.append(Escalated(trail.elapsed_us, answered.name, better[0].name, reason[:300]))
        trail.deps.metrics.count("escalated")
        call.plan = better
        try:
            return await first_answer(call)
        except RequestError:  # a doubtful answer is more than none
            trail.target, (trail.finish_reason, trail.text, trail.chunks) = answered, said
    if held and answered is not None:
        await begin(call, answered)
    return last


def _doubt(call: Call, target: Target, last: bytes) -> str:
    trail = call.trail
    if calls_tool(last):
        return ""
    form: Any = target.route.params.get("response_format")
    if "response_format" in trail.request.fields:
        form = msgspec.json.decode(trail.request.fields["response_format"])
    return doubt(trail.served.release.routing, form, "".join(trail.text), trail.finish_reason)


class _Asked(Struct, frozen=True):
    """The one question of a first turn, and everything else that its answer depends on."""

    scope: str
    text: str
    vector: Any


def _asked(call: Call) -> _Asked | None:
    """None: it is not a single question of a first turn, or the embedder of the calibration is not there (yet)."""
    trail = call.trail
    semantic = trail.served.release.cache.semantic
    embedder = trail.deps.embedder.ready()
    if semantic is None or embedder is None or embedder.digest != semantic.embedder:
        trail.deps.metrics.count("semantic_not_ready")
        return None
    text = question_of(trail.request)
    scope = _key(call, without_question(trail.request)) if text else None
    return _Asked(scope, text, embedder.embed(text)) if scope is not None else None


def _near(call: Call, asked: _Asked) -> Near | None:
    trail, cache = call.trail, call.trail.served.release.cache
    assert cache.semantic is not None
    now_us, threshold = trail.deps.clock_us(), cache.semantic.threshold
    app = trail.app
    return app.questions.nearest(asked.scope, asked.text, asked.vector, threshold, app.answers, now_us, cache.ttl_s)


def _key(call: Call, request: Request) -> str | None:
    """None: this request cannot be rendered, or asks for several answers at once."""
    trail, target = call.trail, call.plan[0]
    route, release = target.route, trail.served.release
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
        f"{request.model} {target.name}",
        rendered,
        shared=release.cache.shared,
        secret=trail.deps.digest_key,
    )


async def _again(call: Call, key: str, kept: Kept, similarity: float | None = None) -> bytes:
    """The kept answer, in the shape it had. It costs nothing: neither tokens nor money are counted."""
    trail = call.trail
    exact = similarity is None
    trail.deps.metrics.count("cache_hit" if exact else "semantic_hit")
    trail.events.append(CacheHit(trail.elapsed_us, key, trail.deps.clock_us() - kept.at_us, kept.trace, similarity))
    trail.log_admitted()
    trail.headers.append((b"x-waterline-cache", b"hit" if exact else b"semantic"))
    trail.text, trail.finish_reason, trail.chunks = list(kept.text), kept.finish_reason, kept.chunks
    if trail.request.stream:
        trail.first_token_us = trail.elapsed_us
        await call.sink.begin(200, SSE, trail.headers)
    return kept.body


def _keep(call: Call, key: str, last: bytes) -> bool:
    """Whether it may be given again."""
    trail = call.trail
    request, cache = trail.request, trail.served.release.cache
    if trail.clamped_from is not None or trail.note:  # a budget cut it short, or its end was not as it should be
        return False
    if call.resume is not None:  # two routes said a half each
        return False
    text = "".join(trail.text)
    if request.kind == "chat" and not cache.tool_calls and not text.strip():
        return False
    body = b"".join((*trail.answer, last))
    if not may_be_kept(trail.finish_reason, body, chat=request.kind == "chat", tool_calls=cache.tool_calls):
        return False
    kept = Kept(body, trail.deps.clock_us(), trail.id, (text,), trail.finish_reason, trail.chunks)
    trail.app.answers.keep(key, kept, cache.max_mb << 20)
    return True
