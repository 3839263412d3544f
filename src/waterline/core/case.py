"""A Case: an input with what is expected of the answer, and where it came from."""

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from waterline.core.ids import sha256_hex


class Message(Struct, frozen=True, omit_defaults=True):
    role: Literal["system", "user", "assistant", "tool", "developer"]
    content: str


class Number(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    value: float
    tolerance: float = 0.0  # absolute


class Similar(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    to: tuple[str, ...]  # to one of these
    least: float  # cosine, 0 to 1


class ToolCall(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    name: str  # "": no tool is called
    arguments: dict[str, object] = {}  # at least these


class Expect(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is expected of the answer. Every field that is set must hold. Text compares without case and accents."""

    contains: tuple[str, ...] = ()  # all of these
    contains_any: tuple[str, ...] = ()  # at least one of these
    not_contains: tuple[str, ...] = ()
    regex: str | None = None
    language: str | None = None  # ISO 639-1 of the answer
    json: dict[str, object] | None = None  # the answer is JSON and has at least these fields with these values
    max_words: int | None = None
    equals: tuple[str, ...] = ()  # the whole answer is one of these
    number: Number | None = None
    json_schema: dict[str, object] | None = None
    tool: ToolCall | None = None
    grounded_in: str = ""  # a text that has every number, name and yes of the answer
    similar: Similar | None = None
    max_ms: float | None = None
    max_usd: float | None = None
    python: dict[str, float] = {}  # "file:function" of scorers/, and what it must reach


class Case(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of cases/*.jsonl. Exactly one of `input` and `messages` is set."""

    id: str
    expect: Expect
    input: str | None = None
    messages: tuple[Message, ...] | None = None
    tags: tuple[str, ...] = ()
    source: str = ""
    route: str = "main"
    variables: dict[str, str] = {}

    def turns(self) -> tuple[Message, ...]:
        """The conversation to send; the last message is the user's."""
        if self.messages is not None:
            return self.messages
        return (Message(role="user", content=self.input or ""),)


def case_digest(case: Case) -> str:
    """SHA-256 of one case's canonical JSON."""
    return sha256_hex(msgspec.json.encode(case, order="deterministic"))


def case_set_id(cases: Iterable[Case]) -> str:
    """A name for a set of cases by content: the same in any order and in any split over files."""
    return sha256_hex("\n".join(sorted(case_digest(case) for case in cases)).encode())
