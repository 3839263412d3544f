"""A page or a web hook without a key: what came in, what goes out. The API's server knows nothing else of channels."""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from msgspec import Struct


class Visit(Struct, frozen=True):
    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]  # lower-case names
    body: bytes
    peer: str  # the address it came from

    def header(self, name: bytes) -> bytes:
        """The first value, or b""."""
        return next((value for key, value in self.headers if key == name), b"")

    @property
    def address(self) -> str:
        """The visitor's network address: behind a proxy on this machine, the one that it says."""
        told = self.header(b"x-forwarded-for").decode("latin-1").rpartition(",")[2].strip()
        return told if told and self.peer in ("127.0.0.1", "::1") else self.peer

    def asked(self) -> dict[str, str]:
        """The query's parameters; of a repeated one the last."""
        return dict(parse_qsl(self.query.decode("latin-1"), keep_blank_values=True, max_num_fields=100))


class Page(Struct, frozen=True):
    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


class Door(Struct, frozen=True):
    """`limit`: the largest body in bytes. `answer` raises nothing that it can say itself."""

    answer: Callable[[Visit], Awaitable[Page]]
    limit: int = 64 * 1024
