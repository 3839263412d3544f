"""What went wrong at a provider, as the caller hears it."""

from math import ceil

from waterline.core.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    Overloaded,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RequestError,
)
from waterline.gateway.route import Target
from waterline.providers.base import ProviderFault
from waterline.providers.upstream import (
    BadResponse,
    ConnectFailed,
    Disconnected,
    PoolBusy,
    Timeout,
    UpstreamError,
)


class AfterContent(Exception):
    """The answer broke off after content had reached the caller: no retry can mend it."""

    def __init__(self, error: RequestError) -> None:
        super().__init__(error.message)
        self.error = error


class Broken(AfterContent):
    """It was the provider that broke it off: another route may finish it, where that is declared."""


class OwnPoolFull(Overloaded):
    """Our own bound, not the provider's failure: a fallback may still answer."""


class Cooling(ProviderUnavailable):
    """Nothing was sent: the target failed before and is left alone for a while. 503, with when to come back."""

    def __init__(self, target: Target, wait_s: float) -> None:
        health, seconds = target.health, max(1, ceil(wait_s))
        why = "after failures" if health.pauses else "as its provider asked" if health.limits else "until it answers"
        super().__init__(
            f'Route "{target.name}" (model "{target.route.model}") is cooling down {why}; it is asked again in '
            f"{seconds} s. Retry then, or declare fallbacks for the route in app.toml.",
            retry_after_s=seconds,
            status=503,
        )


def loudest(failures: list[RequestError]) -> RequestError:
    """What the caller hears: the first failure, rather one of an attempt than a cool-down; never a fallback's complaint
    about the request; a rate limit only if every target is rate-limited."""
    if all(isinstance(f, Cooling) for f in failures) or all(isinstance(f, RateLimited) for f in failures):
        return min(failures, key=lambda f: f.retry_after_s or 0)
    down = [f for f in failures if isinstance(f, ProviderUnavailable | ProviderTimeout)]
    return next((f for f in down if not isinstance(f, Cooling)), (down or failures)[0])


def as_request_error(fault: ProviderFault, target: Target) -> RequestError:
    who = f'provider "{target.route.provider}" (route "{target.name}", model "{target.route.model}")'
    match fault.kind:
        case "context_length":
            return ContextLengthExceeded(f"The prompt does not fit the model: {fault.message}", param="messages")
        case "invalid":
            return InvalidRequest(f"The {who} refused the request: {fault.message}", status=fault.status or 400)
        case "rate_limited":
            wait = 1 if fault.retry_after_s is None else max(1, round(fault.retry_after_s))
            return RateLimited(f"The {who} is rate-limiting us: {fault.message}", retry_after_s=wait)
        case "refused_key":
            name = target.route.api_key_env or target.provider.default_key_env or "the provider's key"
            return ProviderUnavailable(f"The {who} refused our credentials. Set {name} on the server.")
        case "busy":
            return OwnPoolFull(f"All connections to the {who} are in use: {fault.message}", retry_after_s=1)
        case "silent":
            return ProviderTimeout(f"The {who} did not answer in time: {fault.message.rstrip('.')}.")
        case "unavailable" | "garbage" | "truncated":
            return ProviderUnavailable(f"The {who} failed: {fault.message.rstrip('.')}.")


def fault_of(error: UpstreamError) -> ProviderFault:
    match error:
        case Timeout():
            return ProviderFault("silent", str(error))
        case PoolBusy():
            return ProviderFault("busy", str(error))
        case ConnectFailed() | Disconnected():
            return ProviderFault("unavailable", str(error))
        case BadResponse():
            return ProviderFault("garbage", str(error))
        case _:
            return ProviderFault("unavailable", str(error))
