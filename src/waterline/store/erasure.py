"""Taking a person out of the database: their traces' words, what waits, cases in every version, conversations.

Rows that only count (a trace's cost, a version's digest, an evaluation's figures) stay, without words and without
anything that leads to the person. SQL: sql/erasure.sql. The bytes leave the file when it is rewritten: `Store.rewrite`.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct

from waterline.store import cases, conversations, identities, judges
from waterline.store.db import Row, Tx

AT_ONCE = 200  # traces of one transaction
NOTHING = b"[]"  # events
LONGEST = 400  # characters of what names somebody


class Person(Struct, frozen=True):
    """`subjects`: keyed hashes. `sessions`: conversations. `contacts`: phone numbers and addresses."""

    subjects: tuple[str, ...]
    identities: tuple[str, ...]
    sessions: tuple[str, ...]
    contacts: tuple[str, ...]


class Count(Struct):
    """What was taken out, by place."""

    traces: int = 0
    bodies: int = 0
    feedback: int = 0
    candidates: int = 0
    cases: int = 0
    case_sets: int = 0
    experiment_items: int = 0
    judge_items: int = 0
    conversations: int = 0
    open_traces: int = 0  # under way now: erase again when they have ended


def person(tx: Tx, who: str, subject_of: Callable[[str], str], subjects: Iterable[str]) -> Person:
    """Everything that this text may name. `subject_of`: the subject under which an identity's requests are stored."""
    written = (who, f"+{who}") if who.isdigit() else (who,)  # a phone number, as WhatsApp writes it
    found = [row["identity"] for one in written for row in tx.all("erasure.identities", who=one)]
    all_of = list(dict.fromkeys(one for identity in found for one in identities.with_merged(tx, identity)))
    sessions = [row["id"] for one in all_of for row in tx.all("erasure.conversations", identity=one)]
    contacts = [row["value"] for one in all_of for row in tx.all("erasure.contacts", identity=one)]
    theirs = dict.fromkeys((*subjects, *(subject_of(one) for one in all_of)))
    return Person(tuple(theirs), tuple(all_of), tuple(sessions), tuple(dict.fromkeys(contacts)))


def traces_after(tx: Tx, who: Person, after: int, limit: int) -> list[tuple[int, str]]:
    """(number, id) of their traces, oldest first, behind a number; `limit` at most."""
    found: dict[int, str] = {}
    for name, values in (("subject", who.subjects), ("session", who.sessions)):
        for value in values:
            rows = tx.all(f"erasure.traces_of_{name}_after", **{name: value}, after=after, limit=limit)
            found |= {row["n"]: row["id"] for row in rows}
    return sorted(found.items())[:limit]


def case_bodies(tx: Tx, subject: str) -> list[bytes]:
    """The cases that came from their traces, as JSON."""
    return [bytes(row["body"]) for row in tx.all("erasure.case_bodies", subject=subject)]


def erase_traces(tx: Tx, who: Person, count: Count) -> list[Row]:
    """One batch: everything of these traces but what they cost. Returns their cases (n, digest, name), which are to be
    erased in the same transaction; an empty list and an unchanged count: there are no more traces."""
    rows: dict[int, Row] = {}
    for subject in who.subjects:
        for row in tx.all("erasure.traces_of_subject", subject=subject, limit=AT_ONCE):
            rows[row["n"]] = row
    for session in who.sessions:
        for row in tx.all("erasure.traces_of_session", session=session, limit=AT_ONCE):
            rows[row["n"]] = row
    found: dict[int, Row] = {}
    for n, row in rows.items():
        one = {"id": row["id"]}
        found |= {case["n"]: case for case in tx.all("erasure.cases_of_trace", **one)}
        count.candidates += tx.run("erasure.delete_candidates_of_trace", **one)
        count.judge_items += judges.forget(tx, judges.of_trace(row["id"]))
        count.feedback += tx.run("retention.delete_feedback", **one)
        tx.run("erasure.delete_waiting_feedback", **one)
        tx.run("retention.delete_verdicts", **one)
        tx.run("retention.delete_deleted_response", **one)
        count.bodies += tx.run("retention.delete_trace_bodies", n=n)
        tx.run("retention.delete_text", n=n)
        if row["session"]:
            for name in ("delete_session", "delete_session_steps", "blank_canary_units"):
                tx.run(f"erasure.{name}", session=row["session"])
        tx.run("erasure.blank_trace", n=n, nothing=NOTHING)
    count.traces += len(rows)
    return list(found.values())


def erase_rest(tx: Tx, who: Person, count: Count, now_us: int) -> list[Row]:
    """What is left when the traces are done: candidates and cases whose traces are gone, conversations, contacts.
    Returns the cases."""
    found: dict[int, Row] = {}
    for subject in who.subjects:
        found |= {case["n"]: case for case in tx.all("erasure.cases_of_subject", subject=subject)}
        count.candidates += tx.run("erasure.delete_candidates_of_subject", subject=subject)
        row = tx.one("erasure.open_traces", subject=subject)
        count.open_traces += int(row["n"]) if row is not None else 0
    for session in who.sessions:
        for name in ("delete_session", "delete_session_steps", "blank_canary_units"):
            tx.run(f"erasure.{name}", session=session)
    for contact in who.contacts:
        tx.run("erasure.blank_fees", contact=contact)
    for identity in who.identities:
        count.conversations += len(conversations.erase(tx, identity, now_us))
    return list(found.values())


def erase_cases(
    tx: Tx, rows: Iterable[Row], count: Count, by: str, now_us: int, blank_item: Callable[[bytes, str], bytes]
) -> None:
    """Out of every version: a digest is left. Each set that has one now gets a version without it. `blank_item`: a
    stored item of an evaluation without its words, under another name."""
    gone: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        n, name = row["n"], f"erased-{row['digest'][:12]}"
        for place in tx.all("erasure.sets_of_case", n=n):
            for item in tx.all("erasure.items_of_case", app=place["app"], name=row["name"]):
                blank = blank_item(bytes(item["item"]), name)
                where = {"experiment": item["experiment"], "ordinal": item["ordinal"]}
                count.experiment_items += tx.run("erasure.put_item", **where, name=name, item=blank)
                count.judge_items += judges.forget(tx, judges.of_case(**where))
        for place in tx.all("erasure.sets_with_it_now", n=n, open=cases.OPEN):
            gone.setdefault((place["app"], place["set_name"]), []).append(name)
        tx.run("erasure.blank_case", n=n, name=name, nothing=b"", at_us=now_us)
        tx.run("erasure.rename_members", n=n, name=name)
        count.cases += 1
    for (app, set_name), names in gone.items():
        cases.add_version(tx, app, set_name, (), names, by, "a person was erased", now_us)
        count.case_sets += 1


def is_subject(text: str) -> bool:
    """Whether this is a keyed hash, as traces show it."""
    return len(text) == 32 and all(c in "0123456789abcdef" for c in text)
