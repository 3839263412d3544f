"""What bench/volume.py keeps of a run in its folder, so that a run that was stopped or killed goes on where it was.

`state.json` is written anew every few seconds; the journal that it names has what happened since, a line each, in the
kernel's hands before anybody else hears of it: B a lead begins, S it says something, H a telephone shows a reply, D the
lead is done.
"""

import os
import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field
from volume_leads import Lead, People


class Shown(Struct, array_like=True):
    """A reply on a telephone: what its statuses are about."""

    at_s: float  # Unix time
    number: str
    wa_id: str
    message_id: str
    key: str


class KeptLead(Struct):
    n: int
    number: str
    wa_id: str
    ids: list[str]  # of what it said, in order
    said: list[str]
    second: dict[str, int]
    heard: list[str]
    told: int


class State(Struct):
    """Of all pieces so far."""

    leads: int
    minutes: float
    seed: int
    journal: str = ""
    installed: bool = False
    before: int = 0  # leads whose rows the database had when the run began
    first: int = 0  # the number of the first lead's telephone
    rows_before: dict[str, int] = field(default_factory=dict)
    mb_before: float = 0.0
    pieces: int = 0
    next: int = 0  # the lead that begins next
    took_s: float = 0.0
    cpu_s: float = 0.0
    rest_cpu_s: float = 0.0
    others_s: float = 0.0  # CPU seconds that were not ours
    late_s: float = 0.0
    idle_rss_mb: float = 0.0
    hooks: int = 0
    refused: int = 0
    samples: list[dict[str, Any]] = field(default_factory=list)
    under_way: list[KeptLead] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)  # in the last minutes
    latency: dict[int, int] = field(default_factory=dict)
    finished: int = 0
    messages: int = 0
    replies: int = 0
    same_second: int = 0
    wrong: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)


SHOWN_S = 180.0  # statuses of what was shown longer ago have arrived


class Keeper:
    """The folder's state and journal. `load` once, then `note` and `save`."""

    def __init__(self, folder: Path, state: State) -> None:
        self.folder = folder
        self.state = state
        self._journal = -1
        self.shown: list[Shown] = []

    @classmethod
    def load(cls, folder: Path) -> "Keeper":
        """Raises OSError: nothing was begun there."""
        state = msgspec.json.decode((folder / "state.json").read_bytes(), type=State)
        return cls(folder, state)

    def restore(self, people: People) -> None:
        """The people as they were when the last line was written."""
        state = self.state
        people.latency.update(state.latency)
        people.finished, people.messages, people.replies = state.finished, state.messages, state.replies
        people.same_second, people.examples = state.same_second, list(state.examples)
        people.wrong.update(state.wrong)
        self.shown = list(state.shown)
        for kept in state.under_way:
            lead = Lead(kept.number, kept.wa_id, kept.n, kept.said, ids=kept.ids, second=kept.second)
            lead.heard, lead.told = kept.heard, kept.told
            people.leads[lead.wa_id] = lead
        lines = (self.folder / state.journal).read_bytes().split(b"\n") if state.journal else [b""]
        for line in lines[:-1]:  # the last one is half a line, or nothing
            self._replay(people, msgspec.json.decode(line))

    def _replay(self, people: People, event: list[Any]) -> None:
        match event:
            case ["B", n, number, wa_id]:
                people.leads[wa_id] = Lead(number, wa_id, n)
                self.state.next = max(self.state.next, n + 1)
            case ["S", wa_id, text, message_id, second]:
                people.leads[wa_id].says(text, message_id, second)
                people.messages += 1
            case ["H", at_s, number, wa_id, message_id, key, text]:
                self.shown.append(Shown(at_s, number, wa_id, message_id, key))
                people.heard(wa_id, text)
            case ["D", wa_id]:
                people.judge(people.leads.pop(wa_id))
            case _:
                raise ValueError(f"{self.folder / self.state.journal}: what is {event!r}?")

    def note(self, *event: Any) -> None:
        """On its way to the disk when this returns: a killed bench has it, a machine without power may not."""
        if self._journal >= 0:
            os.write(self._journal, msgspec.json.encode(event) + b"\n")
            if event[0] == "H":
                self.shown.append(Shown(*event[1:6]))

    def save(self, people: People, now_s: float) -> None:
        """Everything until now; the journal begins anew."""
        state = self.state
        self.shown = [one for one in self.shown if one.at_s > now_s - SHOWN_S or one.wa_id in people.leads]
        state.shown = self.shown
        state.under_way = [
            KeptLead(lead.n, lead.number, lead.wa_id, lead.ids, lead.said, lead.second, lead.heard, lead.told)
            for lead in people.leads.values()
        ]
        state.latency, state.wrong = dict(people.latency), dict(people.wrong)
        state.finished, state.messages, state.replies = people.finished, people.messages, people.replies
        state.same_second, state.examples = people.same_second, people.examples
        before, state.journal = state.journal, f"journal.{state.pieces}.{time.monotonic_ns()}"
        journal = os.open(self.folder / state.journal, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        new = self.folder / "state.new"
        new.write_bytes(msgspec.json.encode(state))
        new.rename(self.folder / "state.json")
        if self._journal >= 0:
            os.close(self._journal)
        self._journal = journal
        if before:
            (self.folder / before).unlink(missing_ok=True)
