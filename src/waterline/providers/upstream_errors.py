"""What may go wrong on the way to a provider.

UpstreamError                    safe: the request cannot have reached the server
├── ConnectFailed      (safe)    DNS, TCP, TLS or proxy
├── PoolBusy           (safe)    no free connection in time, too many waiters, or the pool is closed
├── Timeout                      .phase says which deadline
├── Disconnected                 the connection ended before the response did
└── BadResponse                  not HTTP as we accept it, or over a limit
"""

from typing import Literal

Phase = Literal["first_byte", "first_content", "idle", "total"]


class UpstreamError(Exception):
    """Root of what `send` and a Response raise. `safe`: the request cannot have reached the server."""

    safe: bool = False


class ConnectFailed(UpstreamError):
    safe = True


class PoolBusy(UpstreamError):
    safe = True


class Timeout(UpstreamError):
    """A deadline passed. `first_byte`: no response head; `first_content`: a head, but `content_began` was not called;
    `idle`: no body bytes for too long; `total`: the whole exchange took too long."""

    def __init__(self, phase: Phase, message: str) -> None:
        super().__init__(message)
        self.phase: Phase = phase


class Disconnected(UpstreamError):
    pass


class BadResponse(UpstreamError):
    pass
