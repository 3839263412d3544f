"""Leaks: the same question on both sides of a set, or a case whose words are in a prompt. And sides without any.

What a release was tuned on says nothing about what it does not know. So all cases that ask the same go to one side,
chosen by a hash of one of them; and what tuning has seen never becomes held out.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from waterline.core.case import Case
from waterline.core.nearness import normal, quotes
from waterline.evals.near import Embed, Index

HELD_OUT = 0.5  # of the questions, where nothing else is said
Side = Literal["tuning", "held_out"]


class Crossing(Struct, frozen=True):
    """Cases that ask the same, on both sides. The ids of each side."""

    tuning: tuple[str, ...]
    held_out: tuple[str, ...]
    asked: str


class Quoted(Struct, frozen=True):
    """A case whose question is in a prompt, word for word."""

    case: str
    prompt: str


class Leaks(Struct, frozen=True):
    """`by_meaning` False: the embedder is missing, other wordings were not looked for."""

    cases: int
    tuning: int
    held_out: int
    crossings: tuple[Crossing, ...]
    quoted: tuple[Quoted, ...]
    by_meaning: bool


class Bridged(Exception):
    """A question that is the same as one on each side. `tuning`, `held_out`: rows."""

    def __init__(self, tuning: int, held_out: int) -> None:
        super().__init__("the same as a case on each side")
        self.tuning, self.held_out = tuning, held_out


def find(cases: Sequence[Case], prompts: Mapping[str, str], embed: Embed | None) -> Leaks:
    """Minutes at 100,000 cases: all are compared with all."""
    crossings = []
    for rows in Index([case.asked for case in cases], embed).clusters():
        sides = {side: tuple(cases[row].id for row in rows if cases[row].split == side)
                 for side in ("tuning", "held_out")}  # fmt: skip
        if all(sides.values()):
            crossings.append(Crossing(sides["tuning"], sides["held_out"], cases[rows[0]].asked[:200]))
    return Leaks(
        len(cases), sum(c.split == "tuning" for c in cases), sum(c.split == "held_out" for c in cases),
        tuple(crossings), tuple(quoted(cases, prompts)), embed is not None,
    )  # fmt: skip


def quoted(cases: Iterable[Case], prompts: Mapping[str, str]) -> list[Quoted]:
    """Short questions are no leak: "yes" is in every prompt."""
    texts = {name: normal_whole(text) for name, text in prompts.items()}
    return [Quoted(case.id, name) for case in cases for name, text in texts.items() if quotes(text, case.asked)]


def normal_whole(text: str) -> str:
    """`normal` looks at the beginning of a long text only."""
    return " ".join(normal(line) for line in text.splitlines())


def assigned(cases: Sequence[Case], embed: Embed | None, share: float = HELD_OUT) -> list[Case]:
    """The cases that are to change, so that every one has a side and no question is on both."""
    changed = []
    for rows in Index([case.asked for case in cases], embed).clusters():
        found = {cases[row].split for row in rows}
        side: Side
        if "tuning" in found:
            side = "tuning"
        elif "held_out" in found:
            side = "held_out"
        else:
            side = by_hash(min(normal(cases[row].asked) for row in rows), share)
        changed += [msgspec.structs.replace(cases[row], split=side) for row in rows if cases[row].split != side]
    return changed


def side_of(asked: str, index: Index, splits: Sequence[str], share: float = HELD_OUT) -> Side:
    """Of a new question beside the others (their splits by row of the index). Raises Bridged."""
    found: dict[str, int] = {}
    for hit in index.same(asked):
        found.setdefault(splits[hit.row], hit.row)
    if "tuning" in found and "held_out" in found:
        raise Bridged(found["tuning"], found["held_out"])
    if "tuning" in found:
        return "tuning"
    return "held_out" if "held_out" in found else by_hash(normal(asked), share)


def by_hash(normal_text: str, share: float) -> Side:
    rank = int.from_bytes(hashlib.sha256(normal_text.encode()).digest()[:8], "big")
    return "held_out" if rank < share * 2**64 else "tuning"
