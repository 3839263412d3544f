"""The way of one request, from top to bottom. `serve` is given its release, so replay, evaluation and drills are the
same call with another one."""

from asyncio import CancelledError

from waterline.access.roles import Principal
from waterline.core.errors import RequestError
from waterline.core.request import Request
from waterline.core.trace import TraceOutcome
from waterline.gateway.alive import kept_alive
from waterline.gateway.attempt import JSON, first_answer
from waterline.gateway.betas import check_betas
from waterline.gateway.call import Call
from waterline.gateway.deps import Deps, Sink
from waterline.gateway.faults import AfterContent
from waterline.gateway.media import prompt_tokens
from waterline.gateway.render import clock_variables, prompt_variables
from waterline.gateway.route import Served, Target
from waterline.gateway.savings import NOWHERE, cheaper_answer, route
from waterline.gateway.trail import Trail

NO_CLOCK: dict[str, str] = {}


async def serve(request: Request, served: Served, principal: Principal, deps: Deps, sink: Sink) -> TraceOutcome:
    """Admit, route, attempt, answer, price, settle. Every request leaves a trace; every failure is an honest error."""
    app = deps.apps[principal.app]
    trail = Trail(request, served, principal, app, deps)
    try:
        plan, better = served.plan(request.model), NOWHERE
        if request.betas:
            check_betas(request, plan[0])
        if served.routed:
            plan, better = route(trail, plan)
        clock, variables = _variables(trail, plan + better) if served.varies else (NO_CLOCK, served.nothing)
        tokens, received_s = prompt_tokens(request, plan[0].route, app.limits.limits.tpm), request.received_us / 1e6
        app.limits.admit(received_s, tokens)
        try:
            trail.admitted(plan[0].name, clock)
            call = Call(trail, plan, variables, sink)
            answer = first_answer(call) if served.plain else cheaper_answer(call, better)
            last = await (kept_alive(call, answer) if call.keep_alive_s else answer)
        finally:
            app.limits.release(deps.clock_us() / 1e6, tokens, trail.tokens_in + trail.tokens_out, received_s)
        trail.answer.append(last)
        trail.close("answered")
        if not sink.started:
            await sink.begin(200, JSON, trail.final_headers())
        await sink.end(last)
    except AfterContent as broken:
        trail.close("failed", broken.error)
        await sink.fail(broken.error, trail.headers)
    except RequestError as error:
        trail.close("failed" if trail.attempts else "refused", error)
        await sink.fail(error, trail.headers)
    except CancelledError:
        trail.close("cancelled" if sink.gone else "interrupted")
        if not sink.gone:
            raise
    finally:
        trail.close("failed")  # a mistake of ours; a trace that is closed stays as it is
    if app.shadow is not None:
        app.shadow.offer(trail)
    return trail.outcome


async def refuse(
    request: Request, served: Served, principal: Principal, deps: Deps, sink: Sink, error: RequestError
) -> None:
    """A request that could not be understood: it gets its error, and leaves a trace all the same."""
    trail = Trail(request, served, principal, deps.apps[principal.app], deps)
    trail.close("refused", error)
    await sink.fail(error, trail.headers)


def _variables(trail: Trail, plan: list[Target]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The clock, and what each route's prompt is filled with; the clock is kept in the trace for replay."""
    request, prompts = trail.request, trail.served.release.prompts
    clock: dict[str, str] = {}
    filled: dict[str, dict[str, str]] = {}
    for target in plan:
        prompt = prompts.get(target.route.prompt) if target.route.prompt else None
        if prompt is None or not prompt.variables:
            filled[target.name] = {}
            continue
        clock = clock or clock_variables(request.received_us, trail.app.declared.timezone)
        filled[target.name] = prompt_variables(prompt, request.variables, clock)
    return clock, filled
