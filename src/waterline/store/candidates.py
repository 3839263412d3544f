"""What may become a case, until somebody has decided. SQL: sql/candidates.sql."""

from typing import Literal

import msgspec
from msgspec import Struct

from waterline.core.case import Case
from waterline.core.ids import sha256_hex
from waterline.core.nearness import normal
from waterline.store.cases import subject_of
from waterline.store.db import Row, Tx

State = Literal["waiting", "accepted", "rejected"]
STATES: tuple[State, ...] = ("waiting", "accepted", "rejected")

_decode = msgspec.json.Decoder(Case).decode
_encode = msgspec.json.Encoder().encode


class Candidate(Struct, frozen=True):
    """`case` None: it was decided, and the words are in the set or nowhere. `alike`: so many more asked the same."""

    n: int
    app: str
    set_name: str
    trace: str
    found: str
    why: str
    redacted: str
    alike: int
    case: Case | None
    at_us: int
    state: State
    revision: int
    claimed_by: str
    claimed_us: int
    decided_by: str
    decided_us: int
    reason: str


class Made(Struct, frozen=True):
    """A candidate to be put in."""

    case: Case
    trace: str
    found: str
    why: str
    redacted: str
    alike: int


class Where(Struct, frozen=True):
    """Empty: everything."""

    app: str = ""
    set_name: str = ""
    found: str = ""


def add(tx: Tx, app: str, set_name: str, made: Made, at_us: int) -> bool:
    """False: its trace was a candidate of this set before."""
    added = tx.run(
        "candidates.add", app=app, set_name=set_name, trace=made.trace, subject=subject_of(tx, made.trace),
        found=made.found, why=made.why[:300], redacted=made.redacted, alike=made.alike,
        text_digest=text_digest(made.case.asked), body=_encode(made.case), at_us=at_us,
    )  # fmt: skip
    return added == 1


def known(tx: Tx, app: str, set_name: str, trace: str, asked: str) -> bool:
    """Whether it was here before, accepted and rejected ones included."""
    found = tx.one("candidates.known", app=app, set_name=set_name, trace=trace, text_digest=text_digest(asked))
    return found is not None


def text_digest(asked: str) -> str:
    return sha256_hex(normal(asked).encode())


def waiting(tx: Tx, app: str, set_name: str, limit: int) -> list[Case]:
    rows = tx.all("candidates.bodies_waiting", app=app, set_name=set_name, limit=limit)
    return [_decode(row["body"]) for row in rows]


def get(tx: Tx, n: int) -> Candidate | None:
    row = tx.one("candidates.get", n=n)
    return None if row is None else _candidate(row)


def page(tx: Tx, where: Where, state: State, after: int, limit: int) -> list[Candidate]:
    """Oldest first, from the one after `after`."""
    rows = tx.all("candidates.page", **_params(where), state=state, after=after or None, limit=limit)
    return [_candidate(row) for row in rows]


def counts(tx: Tx, where: Where) -> dict[State, int]:
    found = {row["state"]: int(row["n"]) for row in tx.all("candidates.counts", **_params(where))}
    return {state: found.get(state, 0) for state in STATES}


def next_one(tx: Tx, where: Where, who: str, stale_us: int, but: int = 0) -> int | None:
    """The next that nobody else looks at."""
    row = tx.one("candidates.next", **_params(where), who=who, stale_us=stale_us, but=but)
    return None if row is None else int(row["n"])


def claim(tx: Tx, n: int, who: str, at_us: int, stale_us: int) -> bool:
    """False: somebody else looks at it, since after `stale_us`, or it is decided."""
    return tx.run("candidates.claim", n=n, who=who, at_us=at_us, stale_us=stale_us) == 1


def change(tx: Tx, was: Candidate, case: Case | None, state: State, who: str, why: str, at_us: int,
           stale_us: int, *, keep: bool = False) -> bool:  # fmt: skip
    """What somebody made of it; `keep`: they go on looking at it. False: it is not as it was any more, or another
    person looks at it."""
    changed = tx.run(
        "candidates.change", n=was.n, revision=was.revision, body=_encode(case) if case is not None else b"",
        state=state, who=who, claimed_by=who if keep else "", claimed_us=at_us if keep else 0,
        decided_by="" if keep else who, decided_us=was.decided_us if keep else at_us, reason=why[:500],
        stale_us=stale_us,
    )  # fmt: skip
    return changed == 1


def traces_judged(
    tx: Tx, app: str, release: str | None, route: str | None, since_us: int | None, until_us: int | None, limit: int
) -> list[str]:
    """Live traces with a verdict, those judged last first, each once."""
    rows = tx.all(
        "candidates.traces_judged", app=app, release=release, route=route, since_us=since_us, until_us=until_us,
        before=1 << 60, limit=limit,
    )  # fmt: skip
    return list(dict.fromkeys(row["trace"] for row in rows))


def _params(where: Where) -> dict[str, object]:
    return {"app": where.app or None, "set_name": where.set_name or None, "found": where.found or None}


def _candidate(row: Row) -> Candidate:
    body = bytes(row["body"])
    return Candidate(**{name: row[name] for name in Candidate.__struct_fields__ if name != "case"},
                     case=_decode(body) if body else None)  # fmt: skip
