"""A flow: what a conversation collects, checks, asks to be confirmed and does. By value in the release; `flows/*.toml`
in an app's folder, read by `rollout/flows.py`.

The model understands and phrases; the flow decides. What is done, with which arguments, is written here and nowhere
else, so that no user and no document can cause anything else to happen.
"""

from typing import Literal

from msgspec import Struct

SlotKind = Literal["name", "age", "grade", "phone", "email", "yes_no", "choice", "appointment"]
# Who reads. code: a model only what code cannot; both: code, and the model in each turn; model: the model, each turn.
Reading = Literal["code", "both", "model"]
READINGS: tuple[str, ...] = ("code", "both", "model")
KINDS_OF_PERSON = ("name", "phone", "email")
SLOT_KINDS: tuple[str, ...] = ("name", "age", "grade", "phone", "email", "yes_no", "choice", "appointment")
ActionMoment = Literal["known", "confirmed", "moved", "cancelled"]


class Grade(Struct, frozen=True, omit_defaults=True):
    id: str  # "nursery", "1"
    ages: tuple[int, ...]
    words: tuple[str, ...] = ()  # as people call it, in all languages; numbers are known
    labels: dict[str, str] = {}  # language -> what texts call it


class Slot(Struct, frozen=True, omit_defaults=True):
    """Asked for with the text `ask_<name>`, in the order of the file."""

    name: str
    kind: SlotKind
    required: bool = True  # False: asked for once, and may stay empty
    asked: bool = True  # False: taken where it is said, never asked for
    take: str = ""  # kind of an alias that fills it unasked: "phone"
    of_person: bool = False  # a fact of the person: their next conversation begins with it
    follows: str = ""  # grade: the slot of the age that it follows from
    low: int | None = None  # age: outside these the text `outside_<name>` is said and nothing is offered
    high: int | None = None
    options: tuple[str, ...] = ()  # choice: ids; their titles are the texts `<name>_<id>`
    stops: bool = False  # yes_no: after a no, nothing further is asked for


class Lookup(Struct, frozen=True, omit_defaults=True):
    """Where free appointments come from: a read that is given `from`, `days`, `not_before` besides `arguments` and
    returns `slots`, each with a `start` (ISO 8601), soonest first."""

    connector: str
    operation: str
    arguments: dict[str, str] = {}
    ahead_days: int = 21
    offer: int = 3


class Action(Struct, frozen=True, omit_defaults=True):
    """An operation of a connector. `arguments` and `key` are filled in from slots; the same key is the same act.

    known: as soon as what it `needs` is known, and again when that changes; confirmed: after the user's yes; moved:
    after the yes to another time for what was booked; cancelled: after the yes to giving it up."""

    name: str
    connector: str
    operation: str
    when: ActionMoment = "confirmed"
    needs: tuple[str, ...] = ()
    arguments: dict[str, str] = {}
    key: str = ""
    quiet: bool = False  # the user hears of it only if it fails


class Reminder(Struct, frozen=True, omit_defaults=True):
    after_min: int = 180  # of silence after a question; 0: never


class Voice(Struct, frozen=True, omit_defaults=True):
    """Voice notes are written down by a route, and read like what is typed."""

    route: str
    longest_s: int = 120  # a longer one is politely declined


class Flow(Struct, frozen=True, omit_defaults=True):
    name: str
    languages: tuple[str, ...]
    texts: dict[str, dict[str, str]]  # language -> name -> text with {slots}, {facts} and what FILLED names
    slots: tuple[Slot, ...] = ()
    grades: tuple[Grade, ...] = ()
    lookup: Lookup | None = None
    actions: tuple[Action, ...] = ()
    facts: tuple[str, ...] = ()  # of the branch, that texts and arguments may name
    understand: str = ""  # the route that reads what code cannot; "": code only
    reading: Reading = "code"
    answer: str = ""  # the route that phrases answers; "": passages are quoted
    handbook: str = "handbook"  # knowledge/<this>[.<language>].md, where the branch names none
    reminder: Reminder = Reminder()
    tries: int = 3  # of one question, before a person takes over
    warnings: int = 2  # for abuse, before a person takes over
    templates: dict[str, str] = {}  # booked, cancelled, failed -> the channel's approved template, for a closed window
    memory_chars: int = 1200  # of what is kept of the talk, word by word
    voice: Voice | None = None  # None: voice notes are politely declined

    def slot(self, name: str) -> Slot | None:
        return next((slot for slot in self.slots if slot.name == name), None)

    @property
    def keeps_remarks(self) -> bool:
        return any(NOTED in texts for texts in self.texts.values())

    def appointment(self) -> Slot | None:
        return next((slot for slot in self.slots if slot.kind == "appointment"), None)


# What texts, arguments and keys may name besides slots and facts.
FILLED: tuple[str, ...] = (
    "branch", "when", "start", "grade_label", "answer", "question", "value", "suggestion", "conversation", "channel",
    "language", "booking", "visit_rules", "notes", "remarks", "stage",
)  # fmt: skip

# What every flow says at some point, besides ask_<slot>, outside_<slot> and <slot>_<option>.
TEXTS: tuple[str, ...] = (
    "hello", "again", "thanks", "bye", "skipped", "stopped", "not_understood", "off_topic",
    "confirm", "confirm_no", "yes", "no", "other_day",
    "offer", "offer_near", "no_slots", "slots_down", "slot_gone", "booking", "booked", "already_booked",
    "late", "failed", "cancel_confirm", "cancelled", "kept", "nothing_booked",
    "quoted", "unknown_answer", "model_down",
    "handover", "anger", "abuse_warning", "abuse_end", "minor", "voice", "media",
    "reminder", "welcome_back", "opt_out",
    "bad_past", "bad_no_such_date", "bad_no_such_time", "bad_too_far", "bad_conflict", "bad_not_an_age", "bad_several",
    "bad_no_such_grade", "bad_not_a_name", "bad_not_a_number", "bad_incomplete", "bad_slip",
)  # fmt: skip
NOTED = "noted"  # a flow that has this text keeps what people should know, and says so
