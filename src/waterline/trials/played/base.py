"""A connected system as a drill plays it: what it answers on its own wire, and what its books hold afterwards.

Only what our connector of the kind asks for is played, with the system's own answers: a conditional PUT that is
refused, a unique code, a session that ends. Each place (a branch's part) has books of its own.
"""

from typing import Protocol

from msgspec import Struct

from waterline.core.app_spec import Connection


class Request(Struct, frozen=True):
    method: str
    target: str  # path and query, as they came
    headers: dict[str, str]  # names in lower case
    body: bytes


class Reply(Struct, frozen=True):
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}


class Record(Struct, frozen=True):
    """Something in the books. `what`: the operation that it comes from; two of the same `identity`: done twice."""

    what: str
    identity: str
    at_s: float  # Unix time


class Played(Protocol):
    """Made for one connector of an app."""

    # operation -> what it writes on the wire, in order; others cannot be judged
    writes: dict[str, tuple[str, ...]]
    scoped: bool  # every request says whose part it is about; else one person at a time is tried

    def __init__(self, connection: Connection) -> None: ...

    def connection(self) -> Connection:
        """As the drill declares it: of this machine, where the kind must be told so."""
        ...

    def settings(self, url: str) -> dict[str, str]:
        """Of the connector, by the names of its manifest."""
        ...

    def place_of(self, request: Request) -> str:
        """Whose part of the system it is about; "": it does not say (a login)."""
        ...

    def wire(self, request: Request) -> str:
        """What it writes, by the names of `WRITES`; "": it reads."""
        ...

    def answer(self, request: Request, place: str, dirty: bool) -> Reply:
        """Does it. `dirty`: what is read has records among it of which nobody can make sense."""
        ...

    def changed(self, request: Request) -> Reply:
        """As it answers where a part that the connector needs was renamed."""
        ...

    def records(self, place: str) -> list[Record]: ...


REFUSED = Reply(401, b"wrong credentials", {"www-authenticate": "Basic"})


def place_name(number: int) -> str:
    """The branch's id in the drill, and its part of every system. Digits alone, which each kind takes as a name."""
    return str(1000 + number)
