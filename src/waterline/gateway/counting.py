"""How many tokens a prompt has, asked of the provider that would answer it: its tokenizer is the only one that knows.

The prompt is the one that would be sent, the release's own part and the shortened history too. It costs nothing, so it
leaves no trace; it counts against the app's requests a minute, and its provider's breaker holds it back as any attempt.
"""

from typing import Any

import msgspec
from msgspec import Struct

from waterline.access.roles import Principal
from waterline.core.errors import InvalidRequest
from waterline.core.request import Request
from waterline.gateway.deps import Deps
from waterline.gateway.faults import Cooling, as_request_error, fault_of
from waterline.gateway.health import Health
from waterline.gateway.render import clock_variables, prompt_variables, render
from waterline.gateway.route import Served, Target
from waterline.providers.base import ProviderFault
from waterline.providers.upstream import UpstreamError

PATIENCE_S = 20.0
MAX_ANSWER_BYTES = 1 << 20


class _Counted(Struct):
    """In Anthropic's word, or in Gemini's."""

    input_tokens: int | None = None
    total: int | None = msgspec.field(name="totalTokens", default=None)


_decode = msgspec.json.Decoder(_Counted).decode


async def count_tokens(request: Request, served: Served, principal: Principal, deps: Deps) -> int:
    """Raises RequestError."""
    app, target = deps.apps[principal.app], served.plan(request.model)[0]
    if not target.provider.count_path:
        raise InvalidRequest(
            f'The provider "{target.route.provider}" of route "{target.name}" counts no tokens before a request: only '
            "the model's own tokenizer could. Use a route of Anthropic, Gemini or a local model, or read `usage`.",
            status=404,
        )
    app.limits.admit(request.received_us / 1e6, 0)
    try:
        clock = clock_variables(request.received_us, app.declared.timezone)
        return await _ask(request, served, target, deps, clock)
    except ProviderFault as fault:
        fault.message = target.upstream.hide(fault.message)
        raise as_request_error(fault, target) from fault
    finally:
        app.limits.release(deps.clock_us() / 1e6, 0, 0, request.received_us / 1e6)


async def _ask(request: Request, served: Served, target: Target, deps: Deps, clock: dict[str, str]) -> int:
    route, provider = target.route, target.provider
    prompt = served.release.prompts.get(route.prompt) if route.prompt else None
    variables = prompt_variables(prompt, request.variables, clock) if prompt is not None else {}
    body = provider.countable(render(request, served.release, route, provider, variables, 1), route.model)
    health = target.health
    wait_s = health.wait_s(deps.tick_s())
    if wait_s:
        raise Cooling(target, wait_s)
    began_s = deps.tick_s()
    health.begin(began_s)
    try:
        link = await target.upstream.link()
        patience_s = min(PATIENCE_S, route.total_s)
        head = link.count + target.betas(request.betas)
        response = await link.pool.send(head, body, first_byte=patience_s, idle=route.idle_s, total=patience_s)
        said = await response.read(MAX_ANSWER_BYTES)
        if response.status != 200:
            raise provider.fault(response.status, response.headers, said)
        counted = _tokens(_decode(said))
    except (UpstreamError, ProviderFault, msgspec.DecodeError, UnicodeDecodeError) as error:
        fault = _fault(error)
        _told(health, fault, began_s, deps.tick_s())
        raise fault from error
    except BaseException:
        health.neutral(began_s)
        raise
    health.neutral(began_s)  # that it counts does not say that it answers
    return counted


def _tokens(said: _Counted) -> int:
    counted = said.input_tokens if said.input_tokens is not None else said.total
    if counted is None or counted < 0:
        raise ProviderFault("garbage", "it did not say how many tokens")
    return counted


def _fault(error: Any) -> ProviderFault:
    match error:
        case ProviderFault():
            return error
        case UpstreamError():
            return fault_of(error)
        case _:
            return ProviderFault("garbage", f"it did not say how many tokens: {error}")


def _told(health: Health, fault: ProviderFault, began_s: float, now_s: float) -> None:
    match fault.kind:
        case "rate_limited":
            health.rate_limited(now_s, began_s, fault.retry_after_s, fault.kind)
        case "invalid" | "context_length" | "busy":
            health.neutral(began_s)
        case _:
            health.failed(now_s, began_s, fault.kind)
