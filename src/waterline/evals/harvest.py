"""From an answered request to a case that may be one: what was asked, why it is worth a case, what is expected.

Pure: the traces, their verdicts and texts are handed in; `control/harvest.py` reads them.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from waterline.core.case import Basis, Case, Expect, Message, Origin, Similar
from waterline.core.redact import Redaction
from waterline.core.trace import Answered, Event, TraceRow
from waterline.core.verdict import Verdict

Found = Literal["feedback", "score", "failure", "far", "random", "filter"]
WAYS: tuple[Found, ...] = ("feedback", "score", "failure", "far", "random", "filter")  # the first that fits is told
UNHAPPY = frozenset(("feedback.edited", "feedback.rejected", "feedback.retried", "feedback.abandoned"))
CUT = frozenset(("length", "max_tokens", "content_filter", "refusal", "incomplete", "safety"))
SHORT_EDIT = 80  # characters: looked for as they are
LIKE_EDIT = 0.8  # cosine, to begin with: whoever reviews it sets it
LONGEST_BYTES = 2 << 20  # of a request that is read at all
LONGEST_CHARS = 32_000  # of what was asked; more is no case that a person can review

_REFUSES = re.compile(
    r"\A\W*(?:i(?:'m| am) (?:sorry|unable|not able)|i (?:can(?:no|')t|am afraid)|sorry,? (?:but )?i can"
    r"|desculpe|lamento|não (?:posso|consigo)|lo siento|no puedo)",
    re.IGNORECASE,
)


class Asked(Struct, frozen=True):
    """What the model was sent, without the release's own prompt."""

    messages: tuple[Message, ...]
    variables: dict[str, str] = {}

    @property
    def last(self) -> str:
        return self.messages[-1].content


class Told(Struct, frozen=True):
    """A live trace with what is known of its answer. `edit`: the answer as a person would have had it."""

    row: TraceRow
    events: Sequence[Event]
    request: bytes
    answer: str
    verdicts: Sequence[Verdict] = ()
    edit: str = ""


class Wanted(Struct, frozen=True):
    """What makes a case. `below`: of a score. `share`: of all, 0 to 1, chosen by the trace's id and `seed`."""

    ways: frozenset[str]
    below: float = 0.5
    scores: tuple[str, ...] = ()  # names of verdicts; empty: every one but feedback and signals
    share: float = 0.0
    seed: int = 1


def asked_of(request: bytes) -> Asked | str:
    """What was asked, from a stored request of any of the APIs; or why it makes no case."""
    if len(request) > LONGEST_BYTES:
        return f"it is longer than {LONGEST_CHARS:,} characters"
    try:
        body = msgspec.json.decode(request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "the request is no JSON"
    if not isinstance(body, dict):
        return "the request is no conversation"
    said = body.get("messages", body.get("input"))
    if isinstance(said, str):
        said = [{"role": "user", "content": said}]
    messages: list[Message] = []
    for one in said if isinstance(said, list) else []:
        if not isinstance(one, dict) or one.get("role") not in ("system", "user", "assistant", "tool", "developer"):
            return "it has parts that are no messages"
        text = _text(one.get("content"))
        if text is None:
            return "it has parts that are no text"
        if one.get("tool_calls") or one["role"] == "tool":
            return "tools were called before"
        if text:
            messages.append(Message(role=one["role"], content=text))
    if not messages or messages[-1].role != "user":
        return "it does not end with the user's words"
    if sum(len(m.content) for m in messages) > LONGEST_CHARS:
        return f"it is longer than {LONGEST_CHARS:,} characters"
    extra = body.get("waterline")
    variables = extra.get("variables") if isinstance(extra, dict) else None
    given = {str(k): str(v) for k, v in variables.items()} if isinstance(variables, dict) else {}
    return Asked(tuple(messages), given)


def why(told: Told, wanted: Wanted) -> tuple[Found, str] | None:
    """The first way that finds this trace, with the words for it. "far" is found later, among all of them."""
    for way in WAYS:
        if way in wanted.ways and (reason := _WHY[way](told, wanted)) is not None:
            return way, reason
    return None


def _feedback(told: Told, wanted: Wanted) -> str | None:
    names = {v.name for v in told.verdicts}
    if bad := sorted(names & UNHAPPY):
        return ", ".join(name.removeprefix("feedback.") for name in bad)
    seen = [v.name for v in told.verdicts if v.name.startswith("signal.") and v.value and v.value.value >= 0.5]
    return ", ".join(sorted(set(seen))) or None


def _score(told: Told, wanted: Wanted) -> str | None:
    low = [
        (v.value.value, v.name)
        for v in told.verdicts
        if v.value is not None
        and v.value.value < wanted.below
        and (v.name in wanted.scores if wanted.scores else not v.name.startswith(("feedback.", "signal.")))
    ]
    return f"{min(low)[1]} {min(low)[0]:.2f}" if low else None


def _failure(told: Told, wanted: Wanted) -> str | None:
    if told.row.outcome in ("failed", "interrupted"):
        return told.row.code or told.row.outcome
    cut = [e.finish_reason for e in told.events if isinstance(e, Answered) and e.finish_reason in CUT]
    if cut:
        return f"the answer was cut: {cut[0]}"
    return "the answer refuses" if _REFUSES.match(told.answer) else None


def _far(told: Told, wanted: Wanted) -> str | None:
    return None


def _random(told: Told, wanted: Wanted) -> str | None:
    rank = int.from_bytes(hashlib.sha256(f"{wanted.seed}\0{told.row.id}".encode()).digest()[:8], "big")
    return f"one of {wanted.share:.1%}" if rank < wanted.share * 2**64 else None


def _filter(told: Told, wanted: Wanted) -> str | None:
    return "it fits the filter"


_WHY = {"feedback": _feedback, "score": _score, "failure": _failure, "far": _far, "random": _random, "filter": _filter}


def propose(told: Told, asked: Asked, found: str, basis: Basis, *, redact: bool) -> tuple[Case, str]:
    """The case as a person will see it first, and what was taken out of it. An edited answer is what is expected."""
    out = Redaction()
    take = out.take if redact else str
    messages = tuple(Message(role=m.role, content=take(m.content)) for m in asked.messages)
    variables = {name: take(value) for name, value in asked.variables.items()}
    edit = take(told.edit.strip())
    row = told.row
    only = messages[0].content if len(messages) == 1 else None
    expect = Expect()
    if edit:
        short = len(edit) <= SHORT_EDIT
        expect = Expect(contains=(edit,)) if short else Expect(similar=Similar(to=(edit,), least=LIKE_EDIT))
    case = Case(
        id=f"live-{row.id}", expect=expect, input=only, messages=None if only is not None else messages,
        tags=tuple(dict.fromkeys(tag for tag in row.tags.split(",") if tag.strip() and "|" not in tag)),
        route=row.route or "main", variables=variables, basis=basis,
        origin=Origin(trace=row.id, release=row.release, at_us=row.started_us, found=found, redacted=out.told),
    )  # fmt: skip
    return case, out.told


def maybe_names(text: str) -> tuple[str, ...]:
    """Words with a capital letter inside a sentence: they may be people's names, which nobody took out."""
    found = re.findall(r"(?<![.!?:\n]\s)(?<!\A)\b([A-ZÀ-Þ][a-zà-ÿ]{2,}(?: [A-ZÀ-Þ][a-zà-ÿ]+)*)", text)
    return tuple(dict.fromkeys(found))[:12]


def _text(content: Any) -> str | None:
    """None: there are parts that are no text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        return "\n".join(part["text"] for part in content)
    return None
