"""How users behave: sessions, the steps that they came to, and counts by day and release. SQL: sql/behaviour.sql.

Counts are added up in the transaction that writes what they count, so a page over months reads hundreds of rows.
Times are Unix microseconds; a day begins at 00:00 UTC."""

from collections import Counter
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from waterline.store.db import Tx

DAY_US = 86_400_000_000
OFF_RAILS = 2  # points
MOST_AT_ONCE = 500


def day_of(at_us: int) -> int:
    return at_us - at_us % DAY_US


class Place(NamedTuple):
    """What a count belongs to: an app's release in an environment, and the day that it began."""

    app: str
    env: str
    day: int
    release: str


class Counts:
    """Collected in a transaction, written at its end: one row for each place and name."""

    def __init__(self) -> None:
        self._found: Counter[tuple[Place, str]] = Counter()

    def add(self, place: Place, name: str, n: int = 1) -> None:
        self._found[place, name] += n

    def write(self, tx: Tx) -> None:
        tx.many("behaviour.count", [{**p._asdict(), "name": name, "n": n} for (p, name), n in self._found.items()])
        self._found.clear()


class DayCount(Struct, frozen=True):
    env: str
    day: int
    release: str
    name: str
    n: int


def counts(
    tx: Tx, app: str, since_us: int, until_us: int, env: str | None = None, release: str | None = None
) -> list[DayCount]:
    """Of the days that begin in the span."""
    rows = tx.all("behaviour.counts", app=app, since_us=since_us, until_us=until_us, env=env, release=release)
    return [DayCount(**row) for row in rows]


class Session(Struct):
    """`recent`: the traces in which the user spoke last, oldest first. `trace`: of the last answer.
    `said`: how many messages of a conversation were looked at. `signals`: those seen, each once."""

    app: str
    env: str
    session: str
    release: str  # of the first answer
    first_us: int
    last_us: int
    answers: int = 0
    trace: str = ""
    recent: tuple[str, ...] = ()
    language: str = ""
    said: int = 0
    signals: tuple[str, ...] = ()
    points: int = 0
    judged: int = 0

    @property
    def place(self) -> Place:
        return Place(self.app, self.env, day_of(self.first_us), self.release)

    @property
    def off_rails(self) -> bool:
        return self.points >= OFF_RAILS


def _session(row: dict[str, Any]) -> Session:
    listed = {name: tuple(x for x in row[name].split(" ") if x) for name in ("recent", "signals")}
    return Session(**{**row, **listed})


def session(tx: Tx, app: str, env: str, name: str) -> Session | None:
    row = tx.one("behaviour.session", app=app, env=env, session=name)
    return _session(row) if row is not None else None


def put_session(tx: Tx, one: Session) -> None:
    row = msgspec.structs.asdict(one) | {"recent": " ".join(one.recent), "signals": " ".join(one.signals)}
    tx.run("behaviour.put_session", **row)


def quiet_sessions(tx: Tx, app: str, before_us: int, limit: int) -> list[Session]:
    """Those in which nothing has happened since, and that were not looked at for it yet."""
    return [_session(row) for row in tx.all("behaviour.quiet", app=app, before_us=before_us, limit=limit)]


def off_rails(
    tx: Tx, app: str, since_us: int, env: str | None, release: str | None, before: tuple[int, str] | None, limit: int
) -> list[Session]:
    """Newest first."""
    at = {"before_us": before[0], "before_session": before[1]} if before else {"before_us": None}
    rows = tx.all("behaviour.off_rails", app=app, since_us=since_us, env=env, release=release, **at, limit=limit)
    return [_session(row) for row in rows]


def add_step(tx: Tx, app: str, env: str, name: str, step: str, release: str, at_us: int) -> bool:
    """False: the session came to it before."""
    return tx.run("behaviour.step", app=app, env=env, session=name, step=step, release=release, at_us=at_us) > 0


def steps(tx: Tx, app: str, env: str, name: str) -> list[str]:
    """Those that a session came to, in that order."""
    return [row["step"] for row in tx.all("behaviour.steps", app=app, env=env, session=name)]


# --- feedback on traces that are not here yet ------------------------------------------------------------------------


class Late(Struct, frozen=True):
    seq: int
    app: str
    env: str
    key_id: str
    trace_id: str
    said: bytes
    at_us: int


def wait(tx: Tx, late: Late, kind: str, event: str, next_us: int) -> bool:
    """False: the same waits already."""
    row = msgspec.structs.asdict(late)
    del row["seq"]
    return tx.run("behaviour.wait", **row, kind=kind, event=event, next_us=next_us) > 0


def waiting(tx: Tx, now_us: int, limit: int) -> list[Late]:
    return [Late(**row) for row in tx.all("behaviour.waiting", now_us=now_us, limit=limit)]


def wait_more(tx: Tx, seq: int, next_us: int) -> None:
    tx.run("behaviour.wait_more", seq=seq, next_us=next_us)


def waited(tx: Tx, seq: int) -> None:
    tx.run("behaviour.waited", seq=seq)


def waiting_count(tx: Tx, app: str, before_us: int) -> tuple[int, int]:
    """How much feedback waits for its trace, and how much of it was sent before a moment."""
    row = tx.one("behaviour.waiting_count", app=app, before_us=before_us)
    return (row["n"], row["long"]) if row is not None else (0, 0)


# --- what is read between requests -----------------------------------------------------------------------------------


class Unread(Struct, frozen=True):
    n: int
    id: str
    app: str
    env: str
    release: str
    session: str
    started_us: int
    outcome: str


def put_in_line(tx: Tx, numbers: list[int]) -> None:
    """Traces that have ended, and that are to be listened to."""
    tx.many("behaviour.put_in_line", [{"n": n} for n in numbers])


def in_line(tx: Tx, limit: int) -> list[Unread]:
    """In the order in which they came."""
    return [Unread(**row) for row in tx.all("behaviour.in_line", limit=limit)]


def listened(tx: Tx, read: list[Unread]) -> None:
    tx.many("behaviour.listened", [{"n": one.n} for one in read])


def moved_conversations(tx: Tx, before_us: int, limit: int) -> list[tuple[str, int]]:
    """Conversations in which something happened since they were looked at: id and when."""
    place = tx.one("behaviour.place", name="conversations")
    at = {"after_us": place["at_us"], "after_id": place["id"]} if place else {"after_us": 0, "after_id": ""}
    rows = tx.all("behaviour.moved_conversations", **at, before_us=before_us, limit=limit)
    return [(row["id"], row["updated_us"]) for row in rows]


def stages(tx: Tx, conversation: str) -> list[tuple[str, int]]:
    """Those that a conversation came to, and when."""
    return [(row["stage"], row["at_us"]) for row in tx.all("behaviour.stages", conversation=conversation)]


def move_conversations_to(tx: Tx, at_us: int, last: str) -> None:
    tx.run("behaviour.move_place", name="conversations", n=0, at_us=at_us, id=last)


def sweep(tx: Tx, app: str, bodies_before_us: int, rows_before_us: int, limit: int = MOST_AT_ONCE) -> int:
    """What is past its time of one app. Counts of days hold nobody's data and stay. Returns how many rows went."""
    tx.run("behaviour.delete_edits", app=app, before_us=bodies_before_us)
    tx.run("behaviour.delete_waiting", app=app, before_us=rows_before_us)
    tx.run("behaviour.forget_line")
    asked = {"app": app, "before_us": rows_before_us, "limit": limit}
    return max(tx.run("behaviour.delete_sessions", **asked), tx.run("behaviour.delete_steps", **asked))
