"""What perturbations cost: drop with a paired interval, flips beyond the same-input ones, the worst slice."""

from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct

from waterline.core.verdict import Estimate
from waterline.evals.statistics import (
    clustered_mean,
    holm,
    mde_paired,
    newcombe_difference,
    paired_difference,
    sign_test,
    wilson,
)

SLICE_LEAST = 10  # cases, below which a slice is not named the worst: many pairs of few cases say little


class Pair(Struct, frozen=True):
    """One input as it is and as perturbed. Scores are in 0..1; a missing answer is a 0."""

    case: str
    kind: str
    before: float
    after: float
    changed: bool  # the answer (or, for judged text, its verdict) is another one
    tags: tuple[str, ...] = ()


class Kind(Struct, frozen=True):
    """One perturbation, or one slice, over its pairs."""

    name: str
    n: int
    before: float
    after: float
    drop: Estimate | None  # after minus before, so that a loss is negative
    lost: int
    won: int
    p: float  # sign test over cases, Holm over the kinds (or slices) beside it
    flips: Estimate | None  # share of pairs with another answer; None where it is all of one case
    # Flips minus the same-input flip rate. None without a baseline, and where pairs share cases: no plain rate then.
    beyond: Estimate | None


class Robustness(Struct, frozen=True):
    all: Kind | None
    kinds: tuple[Kind, ...]  # the worst first
    slices: tuple[Kind, ...]  # by tag, the worst first, over all kinds together
    worst: str  # the worst slice or kind with enough pairs, in words; "" where there is none
    baseline: Estimate | None  # same-input flip rate
    smallest: float | None  # the change that all pairs together would find, 80 % power


def robustness(pairs: Sequence[Pair], same: tuple[int, int] | None, seed: int = 1, resamples: int = 2000) -> Robustness:
    """`same`: (changed, asked) of the inputs that were asked twice unchanged. Pairs of one case are one cluster.
    Flips minus their baseline are a difference of two rates: Newcombe (1998)."""
    whole = _kinds({"all": list(pairs)}, same, seed, resamples)
    by_kind: dict[str, list[Pair]] = defaultdict(list)
    by_tag: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_kind[pair.kind].append(pair)
        for tag in pair.tags:
            by_tag[tag].append(pair)
    kinds, slices = _kinds(by_kind, same, seed, resamples), _kinds(by_tag, same, seed, resamples)
    means = list(_by_case(pairs).values())
    return Robustness(
        all=whole[0] if whole else None,
        kinds=kinds,
        slices=slices,
        worst=_worst(kinds, slices),
        baseline=wilson(*same) if same is not None and same[1] else None,
        smallest=_smallest(means) if len(means) > 1 and any(means) else None,
    )


def _kinds(groups: dict[str, list[Pair]], same: tuple[int, int] | None, seed: int, resamples: int) -> tuple[Kind, ...]:
    groups = {name: found for name, found in groups.items() if found}
    p_values = holm([sign_test(list(_by_case(found).values())) for found in groups.values()])
    made = [
        _kind(name, found, p, same, seed, resamples) for (name, found), p in zip(groups.items(), p_values, strict=True)
    ]
    return tuple(sorted(made, key=lambda kind: (kind.after - kind.before, kind.name)))


def _kind(name: str, pairs: list[Pair], p: float, same: tuple[int, int] | None, seed: int, resamples: int) -> Kind:
    before, after = [pair.before for pair in pairs], [pair.after for pair in pairs]
    flips = sum(pair.changed for pair in pairs)
    cases = [pair.case for pair in pairs]
    apart = len(set(cases)) == len(cases)
    return Kind(
        name=name,
        n=len(pairs),
        before=sum(before) / len(pairs),
        after=sum(after) / len(pairs),
        drop=paired_difference(before, after, cases, seed=seed, resamples=resamples),
        lost=sum(pair.after < pair.before for pair in pairs),
        won=sum(pair.after > pair.before for pair in pairs),
        p=p,
        flips=wilson(flips, len(pairs)) if apart else clustered_mean([float(p.changed) for p in pairs], cases),
        beyond=newcombe_difference(flips, len(pairs), *same) if apart and same is not None and same[1] else None,
    )


def _by_case(pairs: Sequence[Pair]) -> dict[str, float]:
    """The mean change of each case: ten perturbations of one input are no ten inputs."""
    found: dict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        found[pair.case].append(pair.after - pair.before)
    return {case: sum(changes) / len(changes) for case, changes in found.items()}


def _smallest(means: Sequence[float]) -> float | None:
    centre = sum(means) / len(means)
    return mde_paired(len(means), (sum((m - centre) ** 2 for m in means) / (len(means) - 1)) ** 0.5)


def _worst(kinds: Sequence[Kind], slices: Sequence[Kind]) -> str:
    enough = [kind for kind in (*kinds, *slices) if kind.drop is not None and kind.drop.n >= SLICE_LEAST]
    if not enough:
        return ""
    worst = min(enough, key=lambda kind: kind.after - kind.before)
    return f"{worst.name}: {100 * (worst.after - worst.before):+.0f} pp over {worst.n} pairs"
