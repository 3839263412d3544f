"""One attempt at one target, and the order in which targets are tried.

Rules (PEERS: what gateways get wrong): retry and fall back only until the first content event; a 400 is never
retried; a silent provider is not asked again on the same route; `Retry-After` is honoured; a truncated answer is
never presented as success; the first target's failure is what the caller hears, not a fallback's complaint.
"""

from asyncio import CancelledError

from waterline.core.errors import (
    BudgetExceeded,
    InvalidRequest,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RequestError,
)
from waterline.core.ids import keyed_digest
from waterline.core.money import Usage
from waterline.core.trace import Attempted, FellBack
from waterline.gateway.adaptive import Adaptive
from waterline.gateway.billing import UNHEARD, priced_as, streamed, unheard
from waterline.gateway.budget import Reservation
from waterline.gateway.call import Call
from waterline.gateway.faults import AfterContent, Broken, Cooling, OwnPoolFull, as_request_error, fault_of, loudest
from waterline.gateway.hedge import hedged
from waterline.gateway.media import BYTES_PER_TOKEN, TOOLS_TOKENS, media_bound
from waterline.gateway.mend import resume, takes
from waterline.gateway.pressure import priority_of
from waterline.gateway.recording import content_type, reserve_recording, written_down
from waterline.gateway.relay import relay
from waterline.gateway.render import RENDERER, render
from waterline.gateway.route import Target
from waterline.gateway.trail import Trail
from waterline.providers.base import Answer, ProviderFault
from waterline.providers.upstream import Response, Timeout, UpstreamError

MAX_ANSWER_BYTES = 32 << 20
MAX_ERROR_BYTES = 1 << 20
PATIENCE_S = 10.0  # longest wait for a rate-limited provider when there is nowhere else to go
BACKOFF_S = 0.05
TURN_GRAIN_S = 0.005  # timers may fire a little early
FIRST_SHARE = 0.5  # of the time left: what a silent target may take while there is another one to ask
JSON = b"application/json"


async def first_answer(call: Call) -> bytes:
    """Try the targets in order. Returns the last bytes of a complete answer, not yet sent: first it is settled.

    Raises RequestError when no target could answer, AfterContent when one broke off midway."""
    trail = call.trail
    failures: list[RequestError] = []
    broken: Broken | None = None
    before = call.plan[0]
    raced: dict[Target, Exception] = {}
    start = 0
    if before.route.hedge_ms and len(call.plan) > 1:
        won = await hedged(call, _tries)
        if isinstance(won, bytes):
            return won
        raced = won
        start = next((n for n, t in enumerate(call.plan) if isinstance(raced.get(t), AfterContent)), 0)
    try:
        for position, target in enumerate(call.plan[start:], start):
            if not takes(call, target):
                continue
            if failures and target not in raced:
                before.health.fell_back += 1
                trail.events.append(FellBack(trail.elapsed_us, before.name, target.name, failures[-1].message[:300]))
                trail.deps.metrics.count("fallback")
            before = target
            last = position == len(call.plan) - 1
            try:
                if target in raced:
                    raise raced[target]
                return await _tries(call, target, last)
            except Broken as error:
                broken = broken or error
                call.resume = resume(call, error, position)
                if call.resume is None:
                    raise broken from None
                failures.append(error.error)
            except (ProviderUnavailable, ProviderTimeout, RateLimited, BudgetExceeded, OwnPoolFull) as error:
                failures.append(error)
                if call.left_s <= 0:
                    break
            except InvalidRequest as error:
                if (
                    not position and error.status != 404
                ):  # 404: the model is gone there (retired), not the request wrong
                    raise
                failures.append(error)
        if broken is not None:
            raise broken
        raise loudest(failures)
    finally:  # each holds the frames it came through, this one too: a cycle that keeps the request in memory
        failures.clear()
        raced.clear()
        broken = None


async def _tries(call: Call, target: Target, last: bool) -> bytes:
    """All tries at one target. Raises the RequestError of the last one."""
    number = 0
    before: ProviderFault | None = None
    while True:
        try:
            if call.trail.app.spec.limits.adaptive_concurrency:
                _shed(call, target)
            if target.health.wait_s(call.trail.deps.tick_s()):
                await _turn(call, target, last)
        except Cooling:
            if before is None:
                raise
            raise as_request_error(before, target) from None  # why it is cooling down
        try:
            return await _attempt(call, target)
        except ProviderFault as fault:
            number += 1
            if not _again(fault, number, call, target, last):
                raise as_request_error(fault, target) from fault
            pause = fault.retry_after_s
            if pause is None or fault.kind != "rate_limited":
                pause = BACKOFF_S * 2**number * (0.5 + call.trail.deps.jitter())
            if pause >= min(PATIENCE_S, call.left_s):
                raise as_request_error(fault, target) from fault
            before = fault.with_traceback(None)  # it would hold this frame, and this frame it
            await call.trail.deps.sleep(pause)


async def _turn(call: Call, target: Target, last: bool) -> None:
    """Until the target may be asked. Where there is another one, nobody waits for one that cools down; where there is
    none, an answer within our patience is better than a refusal. Raises Cooling, with when a retry can help."""
    health, tick_s = target.health, call.trail.deps.tick_s
    now_s = tick_s()
    gives_up_s = now_s + min(PATIENCE_S, call.left_s)
    while wait_s := health.wait_s(now_s):
        if not last and health.cooling(now_s):
            raise Cooling(target, wait_s)
        if now_s >= gives_up_s or (now_s + wait_s > gives_up_s and not health.probing):
            raise Cooling(target, wait_s)
        await health.news(min(wait_s, gives_up_s - now_s) + TURN_GRAIN_S)
        now_s = tick_s()


def _shed(call: Call, target: Target) -> None:
    """Raises Overloaded where the provider has as much to do as it takes: at once, not after a queue."""
    health, trail = target.health, call.trail
    if health.adaptive is None:
        health.adaptive = Adaptive()
    app = trail.app.declared.priority
    priority = priority_of(trail.principal.priority, trail.request.priority, app)
    if not health.adaptive.room(health.in_flight, priority):
        health.shed += 1
        trail.deps.metrics.shed(trail.principal.app, "provider", priority)
        raise OwnPoolFull(
            f'Route "{target.name}" has {health.in_flight} requests under way: as many as its provider takes at once '
            f"for priority {priority}. Retry after the time given, or declare fallbacks for the route in app.toml.",
            retry_after_s=1,
        )


def _again(fault: ProviderFault, number: int, call: Call, target: Target, last: bool) -> bool:
    """Is another try at the same target worth it?"""
    if number > target.route.retries or call.left_s <= 0:
        return False
    match fault.kind:
        case "rate_limited":
            return last
        case "unavailable" | "garbage" | "truncated":
            return True
        case "refused_key" | "invalid" | "context_length" | "silent" | "busy":
            return False


async def _attempt(call: Call, target: Target) -> bytes:
    """Reserve, log, send, read. Whatever happens, the reservation is settled and the attempt is in the trace."""
    trail, request, deps = call.trail, call.trail.request, call.trail.deps
    choices = request.choices if "n" in request.fields else target.choices
    priced, learned = priced_as(request, target.route), target.lengths
    hold, body = _prepare(call, target, choices, priced)
    trail.target = target
    trail.attempts += 1
    trail.reserved = hold.tab.worst
    try:
        trail.log_admitted()
    except BaseException:  # nothing was sent
        trail.attempts -= 1
        hold.settle(0)
        trail.reserved = hold.tab.worst
        raise
    event = _Event(trail, target, hold, body, call.resume.prefill_characters if call.resume is not None else None)
    target.health.begin(event.began_s)
    usage: Usage | None = UNHEARD
    response: Response | None = None
    try:
        response = await _send(call, target, body)
        event.first_byte(response.status)
        if response.status != 200:
            usage = None
            raise target.provider.fault(response.status, response.headers, await response.read(MAX_ERROR_BYTES))
        if request.stream:
            reader = target.provider.stream(forward_usage=request.include_usage, choices=choices)
            try:
                last = await relay(call, target, response, reader)
            finally:
                usage = streamed(reader, body, hold, choices, learned, event.streaming_s)
                trail.finish_reason, trail.chunks = reader.finish_reason, reader.chunks
                trail.text = reader.text
                if call.resume is not None and call.resume.mode == "continued":
                    trail.text = [call.resume.seen.text, *reader.text]
                    trail.chunks += call.resume.seen.chunks
        else:
            answer = await _read(response, target, trail)
            if call.race is not None:
                call.race.claim(target)
            usage = answer.usage or Usage(
                input=hold.media or learned.prompt(body), output=len(answer.text) // BYTES_PER_TOKEN, estimated=True
            )
            trail.finish_reason, trail.text = answer.finish_reason, [answer.text]
            last = answer.body
        if target.health.adaptive is not None:
            event.taught(target.health.adaptive)
        target.health.succeeded(event.began_s)
        if request.kind == "chat":
            learned.learn(usage.total_output // choices)
            if not usage.estimated:
                learned.learn_tokens(usage, 0 if hold.media else len(body), trail.chunks if request.stream else 0)
        return last
    except UpstreamError as error:
        if error.safe:
            usage = None
        raise event.failed(fault_of(error), call) from error
    except ProviderFault as fault:
        fault.message = target.upstream.hide(fault.message)
        event.failed(fault, call)
        usage = fault.usage or usage
        raise
    except AfterContent as broken:
        event.error = broken.error.message
        target.health.failed(deps.tick_s(), event.began_s, event.error)
        raise
    except BaseException as error:
        event.error = "cancelled: the caller left" if isinstance(error, CancelledError) else "a mistake of ours"
        if call.race is not None and call.race.lost(target):
            event.lost(call)
        else:
            target.health.neutral(event.began_s)
        raise
    finally:
        if response is not None:
            response.close()  # nothing to do after a complete answer
        if usage is UNHEARD:
            usage = unheard(request, body, hold, choices, learned)
        cost = trail.billed(target, priced, usage) if usage is not None else 0
        if hold.settle(cost):
            deps.metrics.count("budget_overshoot")
        event.close()


def _prepare(call: Call, target: Target, choices: int, priced: str) -> tuple[Reservation, bytes]:
    """Render once to know the prompt's size, reserve, and render again if the budget clamped the length."""
    trail, request = call.trail, call.trail.request
    route, app = target.route, trail.app
    if request.recording is not None:
        return reserve_recording(trail, target, request.recording, priced)
    if request.kind == "embeddings" and not target.provider.embeddings_path:
        raise ProviderFault("invalid", "it offers no embeddings; use a route of another provider")
    wanted = request.max_tokens if request.max_tokens is not None else route.max_tokens or None
    prefill = ""
    if call.resume is not None:
        wanted, prefill = call.resume.wanted(wanted), call.resume.prefill
    variables = call.variables[target.name]
    served = trail.served.release
    body = render(request, served, route, target.provider, variables, wanted, prefill)
    chat = request.kind == "chat"
    media = media_bound(body, request.shortened or request.fields.get("messages"), route) if chat else 0
    bound = media or len(body)
    if "tools" in request.fields:
        bound += TOOLS_TOKENS
    price = app.prices.find(route.provider, priced, request.received_us, bound)
    trail.price_version = price.version if price is not None else ""
    hold = app.budget.reserve(
        trail.open_tab(),
        price,
        priced,
        bound,
        wanted if chat else 0,
        choices,
        target.lengths.p99 if chat else 0,
    )
    hold.media = bound if media else 0
    if chat and hold.max_tokens != wanted:
        body = render(request, served, route, target.provider, variables, hold.max_tokens, prefill)
        trail.clamped_from = hold.clamped_from
    return hold, body


async def _send(call: Call, target: Target, body: bytes) -> Response:
    link = target.upstream.ready or await target.upstream.link()
    left_s, route = call.left_s, target.route
    if left_s <= 0:
        raise Timeout("total", "the deadline passed before the request could be sent")
    stream = call.trail.request.stream
    patience_s = left_s if target is call.plan[-1] else left_s * FIRST_SHARE
    head = link.head(call.trail.request.kind, stream)
    if call.trail.request.betas:
        head += target.betas(call.trail.request.betas)
    if call.trail.request.recording is not None:
        head += content_type(call.trail.request.recording)
    if route.forward_deadline:
        head += b"x-waterline-deadline-ms: %d\r\n" % max(1, left_s * 1000)
    return await link.pool.send(
        head,
        body,
        first_byte=min(route.first_token_s, patience_s) if stream else patience_s,
        idle=route.idle_s,
        total=left_s if stream else patience_s,
        hold_first=stream,
    )


async def _read(response: Response, target: Target, trail: Trail) -> Answer:
    request, body = trail.request, await response.read(MAX_ANSWER_BYTES)
    if request.recording is not None:
        return written_down(trail, target, request.recording, body)
    if request.kind == "embeddings":
        return target.provider.embeddings(body, request.fields, target.route)
    return target.provider.answer(body)


class _Event:
    """The Attempted event while the attempt runs."""

    status: int | None = None
    first_byte_us: int | None = None
    error = ""
    retry_after_s: float | None = None

    def __init__(self, trail: Trail, target: Target, hold: Reservation, body: bytes, prefill: int | None) -> None:
        self.trail = trail
        self.target = target
        self.offset_us = trail.elapsed_us
        self.began_s = trail.deps.tick_s()
        self.reserved = hold.amount
        self.max_tokens = hold.max_tokens
        self.digest = keyed_digest(trail.deps.digest_key, body)
        self.number = trail.attempts
        self.prefill = prefill

    def first_byte(self, status: int) -> None:
        self.first_byte_us = self.trail.elapsed_us - self.offset_us
        if status == 200:  # how fast it refuses says nothing about how fast it answers
            self.target.health.first_bytes_s.append(self.first_byte_us / 1e6)

    def taught(self, adaptive: Adaptive) -> None:
        took_s = (self.first_byte_us or 0) / 1e6
        adaptive.answered(self.trail.deps.tick_s(), self.trail.request.stream, took_s, self.target.health.in_flight)

    def lost(self, call: Call) -> None:
        self.error = "cancelled: another route was quicker"
        health = self.target.health
        if self.first_byte_us is None and self._waited_s * 1000 >= call.plan[0].route.hedge_ms:
            said = f"silent: no byte in {self._waited_s:.1f} s, another route was quicker"
            health.outrun(self.trail.deps.tick_s(), self.began_s, said)
        else:
            health.neutral(self.began_s)

    def failed(self, fault: ProviderFault, call: Call) -> ProviderFault:
        said = "" if fault.kind == "refused_key" else f": {fault.message}"  # providers echo keys
        self.error = f"{fault.kind}{said}"[:500]
        self.status = fault.status or None
        self.retry_after_s = fault.retry_after_s
        health, now_s = self.target.health, self.trail.deps.tick_s()
        if health.adaptive is not None and fault.kind in ("rate_limited", "unavailable", "silent"):
            health.adaptive.refused(now_s)
        match fault.kind:
            case "rate_limited":
                health.rate_limited(now_s, self.began_s, fault.retry_after_s, self.error)
            case "invalid" | "context_length" | "busy":
                health.neutral(self.began_s)
            case "silent" if call.hurried and not fault.status and self._waited_s < self._own_patience_s:
                health.neutral(self.began_s)  # the caller's own deadline says nothing about the target
            case _:
                health.failed(now_s, self.began_s, self.error)
        return fault

    @property
    def _waited_s(self) -> float:
        return (self.trail.elapsed_us - self.offset_us) / 1e6

    @property
    def streaming_s(self) -> float:
        """Since its first byte."""
        return (self.trail.elapsed_us - self.offset_us - (self.first_byte_us or 0)) / 1e6

    @property
    def _own_patience_s(self) -> float:
        """What the route itself would have waited, a little less."""
        route = self.target.route
        return 0.9 * (route.first_token_s if self.trail.request.stream else route.total_s * FIRST_SHARE)

    def close(self) -> None:
        trail, route = self.trail, self.target.route
        done = Attempted(  # by position: see Trail._row
            self.offset_us, self.target.name, route.provider, route.model, self.number, RENDERER, self.digest,
            self.max_tokens, self.reserved, self.status if self.error else 200, self.first_byte_us,
            trail.elapsed_us - self.offset_us, self.error, self.retry_after_s,
            self.prefill,
        )  # fmt: skip
        trail.events.append(done)
