"""What a release declares to make answers cheaper. All of it can change an answer, so it is part of the Release."""

from collections.abc import Collection
from typing import Literal

from msgspec import Struct

from waterline.core.difficulty import NAMES, VERSION, Difficulty


class Semantic(Struct, frozen=True, omit_defaults=True):
    """What was calibrated on the app's own cases: from which similarity on two questions share an answer."""

    threshold: float  # cosine
    embedder: str  # SHA-256 of the weights
    cases: str  # the set of cases
    questions: int  # how many cases are single questions
    hits: int  # of them, with another case's answer
    false_hits: int  # of those, where the other case expects something else
    false_upper: float  # one-sided 95 % Wilson bound of false_hits / hits, corrected for the thresholds tried

    @property
    def told(self) -> str:
        return (
            f"threshold {self.threshold:g}: {self.hits} of {self.questions} questions would have been answered from "
            f"the cache, {self.false_hits} of them falsely (at most {self.false_upper:.1%})"
        )


class Cache(Struct, frozen=True, omit_defaults=True):
    """The exact cache: in memory, of one process, empty after a restart."""

    exact: bool = False
    ttl_s: int = 3600
    max_mb: int = 64  # of this app in one process; the least recently used go first
    shared: bool = False  # between the keys and subjects of an environment; groups never share
    tool_calls: bool = False  # answers that call tools are kept too
    semantic: Semantic | None = None


class History(Struct, frozen=True, omit_defaults=True):
    """Conversations longer than `max_tokens` are sent upstream with their older turns as a short note. 0: never."""

    max_tokens: int = 0  # estimated: four bytes a token
    keep_last: int = 8  # messages that stay as they are; up to twice as many, so that the prefix seldom changes
    summary_route: str = ""  # a model tells the older turns in fewer words; "": sentences are only chosen

    @property
    def summary_tokens(self) -> int:
        return max(50, self.max_tokens // 4)


Doubt = Literal["empty", "length", "refusal", "schema"]
DOUBTS: tuple[Doubt, ...] = ("empty", "length", "refusal", "schema")


class Rule(Struct, frozen=True, omit_defaults=True):
    """Everything that is set must hold of the request; of a list, one entry."""

    to: str
    languages: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()  # in the last message, case does not matter
    tags: tuple[str, ...] = ()
    min_chars: int | None = None  # of the last message
    max_chars: int | None = None
    tools: bool | None = None  # tools are offered, or not


class Routing(Struct, frozen=True, omit_defaults=True):
    """Which requests for `route` go to another one: first the rules in order, then the learned score."""

    route: str = "main"
    small: str = ""  # asked instead of `route` where the question is easy
    rules: tuple[Rule, ...] = ()
    learned: Difficulty | None = None
    escalate_on: tuple[Doubt, ...] = DOUBTS  # answers of another route after which `route` is asked
    refusals: tuple[str, ...] = ()  # what an answer says that gives up
    escalate_streams: bool = False  # a streamed answer of another route is held back until it is judged

    @property
    def on(self) -> bool:
        return bool(self.rules) or self.learned is not None

    def problem(self, routes: Collection[str]) -> str:
        """Why this cannot be followed with these routes, or ""."""
        if not self.on:
            return ""
        named = [self.route, *(rule.to for rule in self.rules), *([self.small] if self.learned is not None else [])]
        if missing := [name for name in named if name not in routes]:
            return f'routing names "{missing[0]}", which is no route'
        if self.learned is not None and (self.learned.version != VERSION or len(self.learned.weights) != len(NAMES)):
            return f"the learned router is of version {self.learned.version}, this Waterline knows {VERSION}"
        return ""


def told(cache: Cache, routing: Routing, history: History) -> list[str]:
    """What a release saves with, a line each, for people. Empty: nothing is declared."""
    lines = []
    if cache.exact:
        whose = "shared by the keys and subjects of an environment" if cache.shared else "of a key and subject"
        lines.append(f"exact cache: answers {whose}, kept {cache.ttl_s} s")
    if cache.semantic is not None:
        lines.append(f"semantic cache: {cache.semantic.told}")
    if routing.rules:
        lines.append(f"routing of {routing.route}: {len(routing.rules)} rules")
    if routing.learned is not None:
        mean, low, high = routing.learned.loss
        lines.append(
            f"routing of {routing.route}: {routing.learned.share:.0%} of {routing.learned.n} cases to {routing.small}, "
            f"{mean:.1%} of quality lost ({low:+.1%} to {high:+.1%})"
        )
    if history.max_tokens:
        how = f"summarised by {history.summary_route}" if history.summary_route else "a note"
        lines.append(f"history: beyond {history.max_tokens} tokens older turns are {how}")
    return lines
