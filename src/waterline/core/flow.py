"""A flow: what a conversation collects, checks, asks to be confirmed and does. By value in the release; `flows/*.toml`
in an app's folder, read by `rollout/flows.py`.

The model understands and phrases; the flow decides. What is done, with which arguments, is written here and nowhere
else, so that no user and no document can cause anything else to happen.
"""

from typing import Literal

from msgspec import Struct

SlotKind = Literal["name", "age", "grade", "phone", "email", "choice", "yes_no", "text", "appointment"]


class Grade(Struct, frozen=True, omit_defaults=True):
    id: str  # "nursery", "1"
    ages: tuple[int, ...]
    words: tuple[str, ...] = ()  # as parents call it, in all languages; numbers are known
    labels: dict[str, str] = {}  # language -> what it is called in texts


class Slot(Struct, frozen=True, omit_defaults=True):
    """`ask`: the text that asks for it. `take`: a known alias of the person ("phone") that fills it unasked."""

    name: str
    kind: SlotKind
    ask: str = ""
    required: bool = True  # False: asked once, may stay empty
    asked: bool = True  # False: taken where it is said, never asked for
    take: str = ""
    derive: str = ""  # grade: the slot of the age that it follows from
    low: int | None = None  # age: outside, the text `outside_<slot>` is said and the visit is not offered
    high: int | None = None
    options: tuple[str, ...] = ()  # choice: ids; titles are the texts `<slot>_<id>`


class Lookup(Struct, frozen=True, omit_defaults=True):
    """Where free appointments come from: a read of a connector."""

    connector: str
    operation: str
    arguments: dict[str, str] = {}
    ahead_days: int = 21
    offer: int = 3  # how many are offered at once


class Action(Struct, frozen=True, omit_defaults=True):
    """An operation of a connector, with arguments from slots ("{parent_name}"). `key`: the same key is the same act.

    `when`: complete: as soon as `needs` are known; confirmed: after the user's yes; changed/cancelled: see below."""

    name: str
    connector: str
    operation: str
    when: Literal["complete", "confirmed", "cancelled"] = "confirmed"
    needs: tuple[str, ...] = ()
    arguments: dict[str, str] = {}
    key: str = ""
    quiet: bool = False


class Reminder(Struct, frozen=True, omit_defaults=True):
    after_min: int = 180  # of silence, while something was asked; 0: none
    latest_min: int = 1380  # not beyond the channel's window


class Flow(Struct, frozen=True, omit_defaults=True):
    name: str
    languages: tuple[str, ...]
    texts: dict[str, dict[str, str]]  # language -> name -> text with {slots} and {facts}
    slots: tuple[Slot, ...] = ()
    grades: tuple[Grade, ...] = ()
    appointments: Lookup | None = None
    actions: tuple[Action, ...] = ()
    understand: str = ""  # the route that reads what code cannot; "": code only
    answer: str = ""  # the route that phrases answers; "": passages are quoted
    transcribe: str = ""  # a route that turns a voice note into text; "": it is asked for in writing
    handbook: str = ""  # of the release, where the branch names none
    stages: dict[str, str] = {}  # slot or action -> stage of the funnel
    reminder: Reminder = Reminder()
    tries: int = 3  # of one question, before a person is offered
    memory_chars: int = 1500  # of the rolling summary
    warnings: int = 2  # for abuse, before a person takes over
