"""Verdicts, and what people say of an answer: feedback is a Verdict by the judge "user" with a comment or an edit."""

import msgspec
from msgspec import Struct

from waterline.core.verdict import Verdict
from waterline.store.db import Tx

USER = "user"  # the judge of feedback

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Verdict).decode


class StoredVerdict(Struct, frozen=True):
    seq: int
    at_us: int
    verdict: Verdict


class Feedback(Struct, frozen=True):
    """`kind`: "rating", "comment", "edit" ... `edit`: the answer as it should have been."""

    trace_id: str
    kind: str
    comment: str
    edit: str
    who: str
    at_us: int
    verdict: Verdict
    app: str = ""
    event: str = ""  # the client's own name of it: the same again is the same
    spent_ms: int | None = None  # how long the user was with the answer
    words_bp: int | None = None  # of an edit: what was changed, in ten-thousandths of the longer text
    characters_bp: int | None = None


def add(tx: Tx, verdict: Verdict, at_us: int) -> int:
    """Returns its number."""
    row = tx.one(
        "verdicts.add",
        target_kind=verdict.target.kind,
        target_id=verdict.target.id,
        name=verdict.name,
        judge=verdict.judge.name,
        judge_version=verdict.judge.version,
        outcome=verdict.outcome.value,
        at_us=at_us,
        verdict=_encode(verdict),
    )
    assert row is not None  # an INSERT ... RETURNING has a row
    return int(row["seq"])


def of(tx: Tx, kind: str, target: str, judge: str | None = None) -> list[StoredVerdict]:
    """Every verdict on a trace, case, release or drill, oldest first."""
    rows = tx.all("verdicts.of", target_kind=kind, target_id=target, judge=judge)
    return [StoredVerdict(r["seq"], r["at_us"], _decode(r["verdict"])) for r in rows]


def add_feedback(tx: Tx, feedback: Feedback) -> int:
    """Returns the number of its verdict. Raises ValueError if the verdict is not the user's on that trace."""
    verdict = feedback.verdict
    if (verdict.target.kind, verdict.target.id, verdict.judge.name) != ("trace", feedback.trace_id, USER):
        raise ValueError("feedback is a verdict on its trace by the judge 'user'")
    seq = add(tx, verdict, feedback.at_us)
    tx.run(
        "verdicts.add_feedback",
        trace_id=feedback.trace_id,
        verdict_seq=seq,
        kind=feedback.kind,
        comment=feedback.comment,
        edit=feedback.edit,
        who=feedback.who,
        at_us=feedback.at_us,
        app=feedback.app,
        event=feedback.event,
        spent_ms=feedback.spent_ms,
        words_bp=feedback.words_bp,
        characters_bp=feedback.characters_bp,
    )
    return seq


def known_feedback(tx: Tx, trace_id: str, kind: str, event: str) -> int | None:
    """The number of the verdict that this very feedback made before."""
    row = tx.one("verdicts.known_feedback", trace_id=trace_id, kind=kind, event=event) if event else None
    return row["verdict_seq"] if row is not None else None


def feedback_kinds(tx: Tx, trace_id: str) -> list[str]:
    """What was said of a trace, oldest first, each as often as it was said."""
    return [row["kind"] for row in tx.all("verdicts.feedback_kinds", trace_id=trace_id)]


def feedback_of(tx: Tx, trace_id: str) -> list[Feedback]:
    """Oldest first."""
    rows = tx.all("verdicts.feedback_of", trace_id=trace_id)
    return [Feedback(**{**r, "verdict": _decode(r["verdict"])}) for r in rows]


def feedback_page(
    tx: Tx, app: str | None = None, limit: int = 50, before: int | None = None
) -> list[tuple[int, Feedback]]:
    """Newest first, each with its number, which is what `before` takes."""
    return [
        (seq, Feedback(**{**r, "verdict": _decode(r["verdict"])}))
        for r in tx.all("verdicts.feedback_page", app=app, limit=limit, before=before)
        for seq in [r.pop("seq")]
    ]
