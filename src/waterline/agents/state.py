"""What a flow keeps of a conversation between two turns. Bytes with a version; an older one is read for ever."""

import msgspec
from msgspec import Struct, field

VERSION = 1


class Offer(Struct, frozen=True):
    start: str  # ISO 8601, as the calendar gave it
    title: str


class Wish(Struct, omit_defaults=True):
    """When the user would like to come; kept while nothing is chosen."""

    days: list[str] = []
    minute: int | None = None
    from_min: int = 0
    to_min: int = 1440
    avoid: list[str] = []

    @property
    def said(self) -> bool:
        return bool(self.days or self.avoid or self.timed)

    @property
    def timed(self) -> bool:
        return self.minute is not None or (self.from_min, self.to_min) != (0, 1440)


class Memory(Struct, omit_defaults=True):
    """Facts are the slots. `open`: questions that nobody could answer. `remarks`: what people should know. `talk`: the
    last lines; older ones are dropped, the next step never is, because it is kept apart."""

    open: list[str] = []
    remarks: list[str] = []
    talk: list[str] = []
    dropped: int = 0
    next_step: str = ""


class State(Struct, omit_defaults=True):
    v: int = VERSION
    language: str = ""
    slots: dict[str, str] = {}
    skipped: list[str] = []
    pending: str = ""  # what was asked last: a slot, "confirm", "cancel", "language"; "" nothing
    tries: int = 0  # of it
    offered: list[Offer] = []
    wish: Wish = field(default_factory=Wish)
    acts: dict[str, str] = {}  # action -> planned, done, refused, late, failed
    sent: dict[str, str] = {}  # action of kind "known" -> digest of what it was last done with
    booking: str = ""  # key of what is booked
    booked_at: str = ""  # its start
    planned_at: str = ""  # start of what is being booked or moved
    bookings: int = 0  # how many were tried: makes the key of each
    stopped: bool = False  # said no: nothing further is asked for
    outside: bool = False
    warnings: int = 0
    minor: bool = False
    handed: str = ""  # why a person was asked for; "" not now
    reminded: bool = False
    greeted: bool = False
    out: bool = False  # opted out
    stage: str = ""
    last_us: int = 0
    memory: Memory = field(default_factory=Memory)


def read_state(data: bytes) -> State:
    """Raises msgspec.ValidationError for a state of a later version: a rollback must not garble what it cannot read."""
    if not data:
        return State()
    state = msgspec.json.decode(data, type=State)
    if state.v > VERSION:
        raise msgspec.ValidationError(f"state version {state.v} is newer than this Waterline knows ({VERSION})")
    return state


def write_state(state: State) -> bytes:
    return msgspec.json.encode(state)
