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


Tone = Literal["formal", "informal", "no_insult", "no_shouting", "no_emoji", "thanks", "greets"]


PolicyRule = Literal["no_personal_data", "no_links", "no_promises", "not_a_person"]


class Policy(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an answer must not say, but for what the user said and what is allowed here."""

    rules: tuple[PolicyRule, ...]
    may_say: tuple[str, ...] = ()  # the office's own address and telephone, say
    links_to: tuple[str, ...] = ()  # hosts, with those below them


class Grounded(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    text: str
    by: tuple[Literal["words", "meaning"], ...] = ("words", "meaning")
    need: Literal["all", "any"] = "all"  # of the ways
    least: float = 0.5  # cosine, 0 to 1, of every sentence with its nearest


class Judged(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a judge is given beside the question and the answer; it has to say yes."""

    expected: str = ""
    context: str = ""


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
    grounded: Grounded | None = None
    tone: tuple[Tone, ...] = ()
    policy: Policy | None = None
    judge: dict[str, Judged] = {}  # judges of judges/ that must say yes


Split = Literal["", "tuning", "held_out"]  # looked at while a release is made, or only when it is judged
Basis = Literal["", "consent", "contract", "legitimate_interest", "public_task", "legal_obligation", "made_up"]
SPLITS: tuple[Split, ...] = ("", "tuning", "held_out")
BASES: tuple[Basis, ...] = (
    "consent", "contract", "legitimate_interest", "public_task", "legal_obligation", "made_up",
)  # fmt: skip


class Origin(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which answered request a case comes from, and how it was found there."""

    trace: str
    release: str = ""
    at_us: int = 0  # when the request came
    found: str = ""  # "failure", "feedback", "score", "far", "random", "filter"
    redacted: str = ""  # what was taken out: "2 e-mail addresses"; "" with a trace: nothing was found


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
    split: Split = ""
    basis: Basis = ""  # why it may be kept and used (GDPR article 6), or that nobody said it
    origin: Origin | None = None

    @property
    def asked(self) -> str:
        """What the user says last."""
        return self.turns()[-1].content

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
    return set_id_of(case_digest(case) for case in cases)


def set_id_of(digests: Iterable[str]) -> str:
    """The same, from the digests of the cases."""
    return sha256_hex("\n".join(sorted(digests)).encode())
