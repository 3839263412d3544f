"""Coverage: how much of what people ask has a case near it, and what the rest is about.

One request a session is looked at, because those of one person are not independent; the share has its Wilson
interval. What no case is near is put together by likeness, each group named by the words that are more frequent in it
than elsewhere.
"""

import math
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from waterline.core.language import STOP_WORDS
from waterline.core.nearness import normal
from waterline.core.verdict import Estimate
from waterline.evals.near import COVERED_COSINE, COVERED_JACCARD, Embed, Index
from waterline.evals.statistics import wilson

BINS = 20  # of the likeness, 0 to 1
NAMED = 3  # words of a name
GROUPS = 30  # the largest are told, the others are counted
SMALLEST = 2  # requests that make a group


class Request(Struct, frozen=True):
    trace: str
    asked: str


class Group(Struct, frozen=True):
    """Requests that no case is near, and that are near each other. `example` is the one that the most are near."""

    name: str
    requests: int
    example: str
    trace: str


class Coverage(Struct, frozen=True):
    """`uncovered`: the share of requests with no case of at least `threshold` likeness; None where nothing was asked.
    `bins`: requests by the likeness of their nearest case. `left`: groups that are not told; `alone`: requests that no
    other one is near."""

    requests: int
    without_case: int
    uncovered: Estimate | None
    threshold: float
    by_meaning: bool
    cases: int
    bins: tuple[int, ...]
    groups: tuple[Group, ...]
    left: int
    alone: int


def measure(
    asked: Sequence[Request], cases: Sequence[str], embed: Embed | None, threshold: float | None = None
) -> Coverage:
    """`cases`: what they ask. Seconds at 100,000 cases, nearly all of it for their embeddings."""
    least = threshold if threshold is not None else COVERED_COSINE if embed is not None else COVERED_JACCARD
    index = Index(cases, embed)
    hits = index.nearest([one.asked for one in asked])
    likeness = [max(0.0, hit.likeness) if hit is not None else 0.0 for hit in hits]
    bins = [0] * BINS
    for value in likeness:
        bins[min(BINS - 1, int(value * BINS))] += 1
    far = [one for one, value in zip(asked, likeness, strict=True) if value < least]
    groups = _groups(far, asked, embed, least)
    told = [group for group in groups if group.requests >= SMALLEST]
    return Coverage(
        requests=len(asked), without_case=len(far), uncovered=wilson(len(far), len(asked)) if asked else None,
        threshold=least, by_meaning=embed is not None, cases=len(cases), bins=tuple(bins),
        groups=tuple(told[:GROUPS]), left=max(0, len(told) - GROUPS), alone=len(groups) - len(told),
    )  # fmt: skip


def _groups(far: Sequence[Request], everything: Sequence[Request], embed: Embed | None, least: float) -> list[Group]:
    if not far:
        return []
    overall = Counter(word for one in everything for word in _words(one.asked))
    out = []
    for rows in Index([one.asked for one in far], embed).leaders(least):
        members = [far[row] for row in rows]
        name = _name([one.asked for one in members], overall, len(everything))
        out.append(Group(name, len(members), members[0].asked, members[0].trace))
    return out


def _name(texts: Sequence[str], overall: Counter[str], n: int) -> str:
    """The words of most of the texts that are rare elsewhere (by log ratio, weighted by how many have them)."""
    inside = Counter(word for text in texts for word in _words(text))
    scored = sorted(
        inside, key=lambda w: (-(inside[w] / len(texts)) * math.log((inside[w] / len(texts)) / (overall[w] / n)), w)
    )
    often = [word for word in scored if len(word) > 2 and inside[word] * 3 >= len(texts)]
    return " ".join((often or scored)[:NAMED]) or "no words"


def _words(text: str) -> set[str]:
    told = text.replace("[email]", " ").replace("[number]", " ")
    return {word for word in normal(told).split() if not word.isdigit() and word not in STOP_WORDS}
