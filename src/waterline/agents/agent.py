"""The port between the platform and an agent: what a turn is given, what it may ask for, what it comes to.

An agent decides; it does nothing itself. What it wants done is in the `Turn` that it returns, so a turn that is run
again (a crash, a model that was down) does nothing twice.
"""

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from waterline.core.branch import Branch
from waterline.core.conversation import Inbound, Turn
from waterline.core.release import Release


class TurnInput(Struct, frozen=True):
    """What one turn is about. Times are Unix microseconds."""

    conversation: str
    channel: str
    branch: Branch
    state: bytes  # as the turn before left it; b"" at first
    messages: tuple[Inbound, ...]  # all that wait, in the order of their arrival; never empty
    now_us: int
    subject: str  # keyed hash of who this is
    window_open: bool  # whether a free text may be sent
    with_person: bool = False
    known: dict[str, str] = {}  # at first: the slots of this person's conversation before this one


class Asked(Struct, frozen=True):
    """A model's answer. `usd_nano` None: what it cost is not known."""

    text: str
    trace: str
    usd_nano: int | None


class AskFailed(Exception):
    """No answer could be had now. `again`: whether the same question may succeed later (`retry_after_s`, if known)."""

    def __init__(self, reason: str, *, code: str = "", again: bool = True, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.again = again
        self.retry_after_s = retry_after_s


class Tools(Protocol):
    async def ask(
        self, route: str, messages: list[dict[str, Any]], schema: dict[str, Any] | None = None, max_tokens: int = 0
    ) -> Asked:
        """One model call through the gateway, under the conversation's release. `schema`: JSON Schema of the answer.
        Raises AskFailed: let it pass, and the turn is tried again later."""
        ...

    async def hear(self, route: str, message: Inbound, longest_s: int, language: str = "") -> Asked:
        """What is said in a voice note, written down by a route; the recording is not kept. `language`: ISO 639-1,
        where only one is spoken. Raises AskFailed, also for one that is too long or no voice note."""
        ...

    async def look(self, connector: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """A read of a connected system, within the branch's part of it. Raises ConnectorFault."""
        ...


class Agent(Protocol):
    async def turn(self, given: TurnInput, tools: Tools) -> Turn: ...


MakeAgent = Callable[[Release], Agent]  # made once for each release that is live
