"""What went wrong at a provider, as the caller hears it."""

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


class OwnPoolFull(Overloaded):
    """Our own bound, not the provider's failure: a fallback may still answer."""


def loudest(failures: list[RequestError]) -> RequestError:
    """What the caller hears: the first failure; but a rate limit only if every target is rate-limited."""
    if all(isinstance(f, RateLimited) for f in failures):
        return min(failures, key=lambda f: f.retry_after_s or 0)
    return next((f for f in failures if isinstance(f, ProviderUnavailable | ProviderTimeout)), failures[0])


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
            return ProviderTimeout(f"The {who} did not answer in time: {fault.message}.")
        case "unavailable" | "garbage" | "truncated":
            return ProviderUnavailable(f"The {who} failed: {fault.message}.")


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
