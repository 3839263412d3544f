"""One tree of errors.

    WaterlineError
    ├── RequestError                 what a caller's SDK sees: status, code, message
    │   ├── InvalidRequest           400  invalid_request
    │   │   └── ContextLengthExceeded 400 context_length_exceeded
    │   ├── InvalidApiKey            401  invalid_api_key
    │   │   └── MissingApiKey        401  invalid_api_key
    │   ├── PermissionDenied         403  permission_denied
    │   ├── UnknownModel             404  unknown_model
    │   ├── BudgetExceeded           402  budget_exceeded      a retry cannot help before the period ends
    │   ├── IdempotencyConflict      409  idempotency_conflict   + Retry-After while the first is under way
    │   ├── RateLimited              429  rate_limited         + Retry-After
    │   ├── ProviderUnavailable      502  provider_unavailable
    │   ├── ProviderTimeout          504  provider_timeout
    │   └── Overloaded               503  overloaded           + Retry-After
    ├── AppFolderError               one or more mistakes in an app folder, each with file, line and remedy
    ├── NotReplayable                a trace that cannot be rendered again, and why
    └── Refused                      a command or console act that cannot be done, and why

A message names the thing, the limit and the next step. A key or a secret never appears in one.
Statuses follow RFC 9110; 402 is used for a budget because the official SDKs retry a 429 by themselves.
"""

from msgspec import Struct


class WaterlineError(Exception):
    """Root of everything we raise on purpose. Programmer mistakes are not in this tree: they crash."""


class RequestError(WaterlineError):
    """An expected failure of a request. `retryable`: whether the same request may succeed later."""

    status = 500
    code = "internal_error"
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: int | None = None,
        param: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.param = param
        if status is not None:
            self.status = status


class InvalidRequest(RequestError):
    """The request cannot be understood, is too large (413), or asks for what this server has not (404, 405)."""

    status = 400
    code = "invalid_request"


class ContextLengthExceeded(InvalidRequest):
    """The prompt does not fit the model. Never retried unchanged."""

    code = "context_length_exceeded"


class InvalidApiKey(RequestError):
    """The key is missing, unknown, expired or revoked."""

    status = 401
    code = "invalid_api_key"


class MissingApiKey(InvalidApiKey):
    """No key was sent at all: nobody guessed."""


class PermissionDenied(RequestError):
    """The key is good, but may not do this."""

    status = 403
    code = "permission_denied"


class UnknownModel(RequestError):
    """`model` names no route of the app's live release."""

    status = 404
    code = "unknown_model"


class BudgetExceeded(RequestError):
    """The hard budget has no room for this call, or the call has no price under a hard budget."""

    status = 402
    code = "budget_exceeded"


class IdempotencyConflict(RequestError):
    """The Idempotency-Key was used for another request, or the first one is still under way."""

    status = 409
    code = "idempotency_conflict"


class RateLimited(RequestError):
    """A declared limit (requests, tokens or concurrency) is reached."""

    status = 429
    code = "rate_limited"
    retryable = True


class ProviderUnavailable(RequestError):
    """No configured route could give an answer: refused, reset, 5xx, garbage, cut off."""

    status = 502
    code = "provider_unavailable"
    retryable = True


class ProviderTimeout(RequestError):
    """A deadline passed: connect, first token, idle or total."""

    status = 504
    code = "provider_timeout"
    retryable = True


class Overloaded(RequestError):
    """We cannot take the request safely now (no room to trace it, too many in flight)."""

    status = 503
    code = "overloaded"
    retryable = True


class Mistake(Struct, frozen=True):
    """One mistake in an app folder: where it is, what is wrong, what to write instead."""

    file: str  # relative to the app folder
    line: int  # 1-based; 0 where a line makes no sense (a missing file)
    problem: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.problem}. {self.remedy}"


class AppFolderError(WaterlineError):
    """Everything that is wrong with an app folder, at once."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(str(m) for m in mistakes))
        self.mistakes = mistakes


class NotReplayable(WaterlineError):
    """The trace cannot be rendered again; the message says why (erased, expired, renderer changed)."""


class Refused(WaterlineError):
    """A command or console act that cannot be done now; the message says why and what to do.

    `status` is the HTTP status on the control plane (409 conflict, 404 unknown, 400 malformed)."""

    def __init__(self, message: str, status: int = 409) -> None:
        super().__init__(message)
        self.status = status


def request_errors() -> dict[str, type[RequestError]]:
    """Every stable code, with its class; the reference page is checked against this."""
    found: dict[str, type[RequestError]] = {}
    queue: list[type[RequestError]] = [RequestError]
    while queue:
        cls = queue.pop(0)
        found.setdefault(cls.code, cls)
        queue.extend(cls.__subclasses__())
    return found
