"""From which similarity on may two questions share an answer? Calibrated on an app's own cases.

Each single-question case is asked in turn, with all the others as if they had been answered before. It is a hit where
the nearest one that the guard lets through is similar enough, and a false one unless both cases expect the same
specific thing (`contains`, `json` or `regex`; "in English" alone says nothing of the answer).
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from waterline.core.case import Case
from waterline.core.savings import Semantic
from waterline.core.verdict import Outcome
from waterline.evals.statistics import wilson_upper
from waterline.gateway.semantic import MAX_CHARS, compatible, marks_of

GRID = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
MIN_HITS = 20


class Level(Struct, frozen=True):
    threshold: float
    hits: int
    false_hits: int
    false_upper: float
    good: bool
    worst: tuple[str, str] | None  # the most similar false pair


class Calibrated(Struct, frozen=True):
    outcome: Outcome
    reason: str
    questions: int
    levels: tuple[Level, ...]
    semantic: Semantic | None


class _Pair(Struct):
    similarity: float
    good: bool
    asked: str
    other: str


def calibrate(
    cases: Sequence[Case], embed: Callable[[str], Any], max_false: float, *, embedder: str, case_set: str
) -> Calibrated:
    """The lowest threshold whose false-hit rate is shown to be at most `max_false`; INCONCLUSIVE where none is."""
    asked = [case for case in cases if case.input is not None and 0 < len(case.input.strip()) <= MAX_CHARS]
    asked = [case for case in asked if (case.input or "").count("?") <= 1]
    nearest = _nearest(asked, embed)
    levels = tuple(_level(nearest, threshold, max_false) for threshold in GRID)
    good = [level for level in levels if level.good]
    if not good:
        most = max(levels, key=lambda level: level.hits, default=None)
        seen = f"{most.false_hits} false of {most.hits} hits" if most is not None else "no hits"
        reason = (
            f"INCONCLUSIVE: of {len(asked)} single-question cases no threshold shows a false-hit rate of at most "
            f"{max_false:.1%} ({seen} at {GRID[-1]}). Add cases that ask the same thing in several wordings"
        )
        return Calibrated(Outcome.INCONCLUSIVE, reason, len(asked), levels, None)
    best = good[-1]
    semantic = Semantic(
        threshold=best.threshold,
        embedder=embedder,
        cases=case_set,
        questions=len(asked),
        hits=best.hits,
        false_hits=best.false_hits,
        false_upper=round(best.false_upper, 6),
    )
    return Calibrated(Outcome.PASS, semantic.told, len(asked), levels, semantic)


def _nearest(asked: Sequence[Case], embed: Callable[[str], Any]) -> list[_Pair]:
    """For each case that has one: its nearest other case, among those that could be in the same scope."""
    vectors = [embed(case.input or "") for case in asked]
    marks = [marks_of(case.input or "") for case in asked]
    found = []
    for at, case in enumerate(asked):
        best: _Pair | None = None
        for other_at, other in enumerate(asked):
            if other_at == at or other.route != case.route or other.variables != case.variables:
                continue
            similarity = float(vectors[at] @ vectors[other_at])
            if similarity < GRID[-1] or (best is not None and similarity <= best.similarity):
                continue
            if compatible(marks[at], marks[other_at]):
                best = _Pair(similarity, _same(case, other), case.input or "", other.input or "")
        if best is not None:
            found.append(best)
    return found


def _same(one: Case, other: Case) -> bool:
    specific = one.expect.contains or one.expect.json is not None or one.expect.regex is not None
    return bool(specific) and one.expect == other.expect


def _level(nearest: Sequence[_Pair], threshold: float, max_false: float) -> Level:
    hits = [pair for pair in nearest if pair.similarity >= threshold]
    wrong = [pair for pair in hits if not pair.good]
    # Bonferroni: as many thresholds are looked at as the grid has.
    upper = wilson_upper(len(wrong), len(hits), confidence=1.0 - 0.05 / len(GRID)) if hits else 1.0
    worst = max(wrong, key=lambda pair: pair.similarity, default=None)
    good = len(hits) >= MIN_HITS and upper <= max_false
    pair = (worst.asked, worst.other) if worst is not None else None
    return Level(threshold, len(hits), len(wrong), upper, good, pair)
