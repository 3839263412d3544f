"""Heads that have been understood before.

A client says the same head with each of its requests, but for the length of the body: parsing and checking it again
costs as much as reading the body. So a head that the parser has read, that was checked and whose key was right is
remembered, without the digits of its Content-Length, and the same bytes are understood at a glance. Nothing is guessed:
what is new, split, chunked or otherwise unusual goes the long way, and the key is looked at each time.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waterline.api.http import Exchange

MOST = 1000
LARGEST = 4096  # bytes of one head
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,10})[ \t]*\r\n", re.IGNORECASE)
_PLAIN = frozenset((b"content-length", b"host"))  # it has these
_UNUSUAL = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"trailer"))  # and none of these


class Heads:
    """`find` is asked between two requests of a connection, with what has just come."""

    def __init__(self) -> None:
        self._known: dict[bytes, Exchange] = {}  # the first request that had it, without its body

    def find(self, data: bytes) -> "tuple[Exchange, bytes] | None":
        """The request that had this head before, and the body of this one; None unless `data` is one whole request."""
        end = data.find(b"\r\n\r\n") + 4
        length = _LENGTH.search(data, 0, end)
        if length is None:
            return None
        first, last = length.span(1)
        known = self._known.get(data[:first] + data[last:end])
        if known is None or len(data) != end + int(length[1]):
            return None
        return known, data[end:]

    def learn(self, data: bytes, exchange: "Exchange") -> None:
        """`data` is what came when `exchange` was read."""
        end = data.find(b"\r\n\r\n") + 4
        named, length = exchange.named, _LENGTH.search(data, 0, end)
        if (
            length is None or end > LARGEST or len(data) != end + exchange.size or int(length[1]) != exchange.size
            or exchange.principal is None or exchange.error is not None or not exchange.keep_alive
            or exchange.version != "1.1" or not _PLAIN.issubset(named) or not _UNUSUAL.isdisjoint(named)
        ):  # fmt: skip
            return
        if len(self._known) >= MOST:
            self._known.clear()
        first, last = length.span(1)
        self._known[data[:first] + data[last:end]] = exchange.like(exchange.peer)
