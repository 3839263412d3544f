"""One request to the control plane, and the shape of a resource: the files beside this one list theirs."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec
from starlette.requests import Request

from waterline.access.roles import Principal
from waterline.control.plane import Plane
from waterline.core.errors import Refused

MAX_BODY_BYTES = 16 << 20
T = TypeVar("T")


class Ask:
    """Somebody known asks; what they may, the plane decides."""

    def __init__(self, plane: Plane, who: Principal, request: Request) -> None:
        self.plane = plane
        self.who = who
        self._request = request

    def path(self, name: str) -> str:
        return str(self._request.path_params[name])

    def query(self, name: str) -> str:
        return self._request.query_params.get(name, "")

    def whole(self, name: str) -> int | None:
        """A whole number of the query; None if it is not there. Raises Refused."""
        text = self.query(name)
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise Refused(f'{name} is a whole number of at most 18 digits, not "{text[:40]}".', 400)
        return int(text)

    async def body(self, kind: type[T]) -> T:
        """Decoded strictly, within a bound. Raises Refused."""
        parts, size = [], 0
        async for part in self._request.stream():
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise Refused(f"The body is larger than {MAX_BODY_BYTES:,} bytes.", 413)
            parts.append(part)
        data = b"".join(parts) or b"{}"
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(f"The body does not fit: {error}.", 400) from None


Answer: TypeAlias = Callable[[Ask], Awaitable[Any]]


class Resource(NamedTuple):
    """`answer` gives what is encoded as JSON, or a Response."""

    method: str
    path: str
    answer: Answer
    status: int = 200
