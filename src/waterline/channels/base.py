"""What a channel does besides handing in `Inbound`s: it sends. One that fails says what may help."""

from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from waterline.core.conversation import ChannelKind, Media, Outbound
from waterline.store.db import Tx

FaultKind = Literal[
    "later",  # nothing was sent, and it may be tried again: after `retry_after_s`, where the channel says so
    "window_closed",  # the user has been silent for too long: only a template may be sent
    "never",  # this message to this user: not now and not later
    "number_stopped",  # our own number is banned, paused or misconfigured: people must act
    "opted_out",  # the user does not want this
    "template",  # the template is unknown, not approved, paused, or its parameters do not fit
]


class Sent(Struct, frozen=True):
    message_id: str  # the channel's own: statuses name it
    at_us: int


class SendFault(Exception):
    """The message is for people in the office; it holds no secret. `code` is the channel's own, or 0."""

    def __init__(self, kind: FaultKind, message: str, *, retry_after_s: float | None = None, code: int = 0) -> None:
        super().__init__(message)
        self.kind: FaultKind = kind
        self.message = message
        self.retry_after_s = retry_after_s
        self.code = code


class Withheld(Exception):
    """It was not to leave any more, and did not."""


class Entry(Protocol):
    """What the sender writes down of a message, in the transactions in which the channel writes down its own."""

    def leaving(self, tx: Tx) -> bool:
        """Right before it leaves. False: it is not to."""
        ...

    def left(self, tx: Tx, message_id: str) -> None: ...


class Channel(Protocol):
    """May be called concurrently.

    `sends_once` is False where nothing tells us whether a message left when we died while sending it: after a crash
    wait `echo_s` seconds for a `Status` that carries the key, and send again only when none came.
    """

    kind: ChannelKind
    sends_once: bool
    echo_s: float

    async def send(self, address: str, to: str, message: Outbound, key: str, window_open: bool) -> Sent:
        """Sends one bubble from our `address` to `to`. `key` names the effect: the same key, the same message.
        Raises SendFault."""
        ...


@runtime_checkable
class KeepsFiles(Protocol):
    """A channel that keeps what users send beside text, for a while."""

    kind: ChannelKind

    async def fetch(self, media: Media, most: int) -> bytes:
        """A file of `most` bytes at most. Raises SendFault."""
        ...


@runtime_checkable
class KeepsBook(Protocol):
    """A channel that writes down what it sends: then the sender's part is in the same transactions."""

    async def send_booked(
        self, address: str, to: str, message: Outbound, key: str, window_open: bool, entry: Entry
    ) -> Sent:
        """As `send`. Raises Withheld too."""
        ...
