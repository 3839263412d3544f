"""What is kept of a person, to be handed to them (GDPR article 15, LGPD article 18, CCPA 1798.110): page by page, so
that nothing is cut. It finds what erasing would reach."""

from collections.abc import Awaitable, Callable

from msgspec import Raw, Struct

from waterline.access.roles import Action, Principal, require
from waterline.access.stored import audited
from waterline.core.errors import Refused
from waterline.core.ids import keyed_digest
from waterline.core.trace import TraceRow
from waterline.store import conversations, effects, erasure, traces, verdicts
from waterline.store.db import Store, Tx
from waterline.store.erasure import LONGEST, Person

AT_ONCE = 100  # requests of one page
MOST_LINES = 500  # read at once from a conversation


class ExportBody(Struct, forbid_unknown_fields=True):
    """`subject` as for an erasure. `after`: what the page before named as `next`; 0: the first."""

    subject: str
    after: int = 0


class Answered(Struct, frozen=True):
    """One request. Empty texts: never stored, or their time is over."""

    summary: TraceRow
    request: str
    answer: str
    feedback: list[dict[str, str]]


class Line(Struct, frozen=True):
    at_us: int
    who: str  # "user", "agent", or the name of a person of the office
    text: str


class Talk(Struct, frozen=True):
    id: str
    app: str
    branch: str
    channel: str
    name: str
    known: Raw  # what the conversation has collected
    lines: list[Line]


class Export(Struct, frozen=True):
    """Conversations, names and cases are on the first page. `next`: 0 on the last."""

    reference: str
    requests: list[Answered]
    conversations: list[Talk]
    contacts: list[str]
    cases: list[Raw]
    next: int


class SubjectExport:
    def __init__(
        self, store: Store, clock_us: Callable[[], int], digest_key: bytes, drain: Callable[[], Awaitable[None]]
    ) -> None:
        self._store = store
        self._clock_us = clock_us
        self._key = digest_key
        self._drain = drain

    async def page(self, who: Principal, said: ExportBody) -> Export:
        require(who, Action.SUBJECT_EXPORT)
        text = said.subject.strip()
        if not text or len(text) > LONGEST:
            raise Refused(f"Name the person in 1 to {LONGEST} characters.", 400)
        subjects = [self._hash(text), *([text] if erasure.is_subject(text) else [])]
        reference = subjects[-1][:12]
        if not said.after:
            await self._drain()
            await self._store.write(lambda tx: self._note(tx, who, reference))
        return await self._store.read(lambda tx: self._read(tx, text, subjects, reference, said.after))

    def _read(self, tx: Tx, text: str, subjects: list[str], reference: str, after: int) -> Export:
        person = erasure.person(tx, text, lambda identity: self._hash(f"person:{identity}"), subjects)
        found = erasure.traces_after(tx, person, after, AT_ONCE + 1)
        requests = [one for _, trace in found[:AT_ONCE] if (one := _answered(tx, trace)) is not None]
        more = found[AT_ONCE - 1][0] if len(found) > AT_ONCE else 0
        if after:
            return Export(reference, requests, [], [], [], more)
        return Export(reference, requests, _talks(tx, person), list(person.contacts), _cases(tx, person), more)

    def _note(self, tx: Tx, who: Principal, reference: str) -> None:
        audited(tx, who, Action.SUBJECT_EXPORT, reference, {}, self._clock_us())

    def _hash(self, text: str) -> str:
        return keyed_digest(self._key, text.encode())


def _answered(tx: Tx, trace: str) -> Answered | None:
    found = traces.get(tx, trace)
    if found is None:
        return None
    said = [{"kind": f.kind, "comment": f.comment, "edit": f.edit} for f in verdicts.feedback_of(tx, trace)]
    request, answer = (_text(traces.body(tx, trace, kind)) for kind in ("request", "answer"))
    return Answered(found[0], request, answer, said)


def _talks(tx: Tx, person: Person) -> list[Talk]:
    return [_talk(tx, at) for name in person.sessions if (at := conversations.get(tx, name)) is not None]


def _talk(tx: Tx, at: conversations.Conversation) -> Talk:
    lines: list[Line] = []
    after = 0
    while kept := conversations.messages(tx, at.id, after, MOST_LINES):
        after = kept[-1].sequence
        lines += [
            Line(one.received_us, "user", one.message.text or f"({one.message.kind})")
            for one in kept
            if one.message.channel not in ("outcome", "clock")
        ]
    for row in effects.of(tx, at.id, limit=10**6):
        if row.effect.message is not None and row.state == "done":
            lines.append(Line(row.ended_us, row.author or "agent", row.effect.message.text))
    lines.sort(key=lambda line: line.at_us)
    return Talk(at.id, at.app, at.branch, at.channel, at.name, Raw(at.slots.encode()), lines)


def _cases(tx: Tx, person: Person) -> list[Raw]:
    return [Raw(body) for subject in person.subjects for body in erasure.case_bodies(tx, subject)]


def _text(body: bytes | None) -> str:
    return "" if body is None else body.decode("utf-8", "replace")
