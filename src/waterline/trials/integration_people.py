"""People of the drill integrations: each in a branch of their own, with one connected system in trouble there."""

import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct, field

from waterline.core.branch import Branch
from waterline.core.flow import Flow
from waterline.evals.personas import said_in
from waterline.trials.played.base import Record
from waterline.trials.played.server import Armed, State
from waterline.trials.telephones import ENDS, GREETINGS, MOST_MESSAGES, Telephones, answer

ANSWER_S = 90.0  # without an answer for so long: none comes
MORE_S = 45.0  # after a yes, until somebody says what became of it
CLAIMS = ("booked", "already_booked")  # texts of a flow that say it is done
TOLD = (*ENDS, "late")


class Cell(Struct):
    """One person, and what one connector met with meanwhile. `place`: of their branch, in every system."""

    connector: str
    state: State
    place: str
    branch: Branch
    who: str
    acting: bool = False  # the trouble begins with the yes; else it is there from the beginning
    armed: Armed | None = None  # kill -9 there
    took_s: list[float] = field(default_factory=list)  # from each message to its first answer
    said: int = 0
    unanswered: str = ""  # the message that nobody answered
    confirmed: bool = False  # said yes to what was to be done
    claims: list[float] = field(default_factory=list)  # when it was said to be done; Unix time
    told: list[str] = field(default_factory=list)  # what else of its end was said, by the names of the flow's texts
    met: int = 0  # requests of the connector while it was in this state
    kills: int = 0
    acts: list[dict[str, Any]] = field(default_factory=list)  # as GET /api/acts has them
    handed: bool = False
    records: dict[str, list[Record]] = field(default_factory=dict)  # by connector

    async def live(
        self, phones: Telephones, flow: Flow, trouble: Callable[["Cell"], None], well: Callable[["Cell"], None]
    ) -> None:
        """Talks until the flow has nothing more to ask. `trouble` and `well` begin and end what the connector has."""
        number, language = self.branch.addresses["whatsapp"][0], self.branch.languages[0]
        text: str | None = GREETINGS.get(language, "hello")
        if not self.acting:
            trouble(self)
        while text is not None and self.said < MOST_MESSAGES:
            before, began = len(phones.heard[self.who]), time.time()
            await phones.say(self.who, number, text)
            self.said += 1
            if not await phones.hears(self.who, before + 1, ANSWER_S):
                self.unanswered = text
                break
            self.took_s.append(max(0.0, phones.heard[self.who][before].at_s - began))
            text = await self._reply(phones, flow, before, trouble, well)
        well(self)

    async def _reply(
        self, phones: Telephones, flow: Flow, before: int, trouble: Callable[["Cell"], None],
        well: Callable[["Cell"], None],
    ) -> str | None:  # fmt: skip
        """To what was heard since the last message; None: the talk is over."""
        while True:
            heard = "\n".join(h.text for h in phones.heard[self.who][before:])
            found = answer(flow, heard)
            if found is not None:
                if found.confirms:
                    self.confirmed = True
                    if self.acting:
                        trouble(self)
                return found.text
            if self.confirmed and names_in(flow, heard, TOLD):  # they were told how it is: now it may be well again
                well(self)
            if names_in(flow, heard, ENDS):
                return None
            if not await phones.hears(self.who, len(phones.heard[self.who]) + 1, MORE_S):
                return None

    def look_back(self, phones: Telephones, flow: Flow) -> None:
        for heard in phones.heard[self.who]:
            names = names_in(flow, heard.text, (*TOLD, *CLAIMS))
            if any(name in CLAIMS for name in names):
                self.claims.append(heard.at_s)
            self.told += [name for name in names if name not in CLAIMS and name not in self.told]


def names_in(flow: Flow, heard: str, names: tuple[str, ...]) -> list[str]:
    return [n for n in dict.fromkeys(names) if any(said_in(heard, texts.get(n, "")) for texts in flow.texts.values())]
