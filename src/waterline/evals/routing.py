"""Learning which questions a small model may answer, from an app's own cases asked of both models.

The score is fitted by logistic regression (ridge, Newton's method: Hastie, Tibshirani and Friedman 2009, 4.4.1). The
threshold is chosen on scores that each case got from a model fitted without it (five folds), by tests of
non-inferiority in a fixed order: from the smallest share for the small model upwards, until one is not shown to be
good enough. Because the order is fixed beforehand, each may use the full level (Maurer, Hothorn and Lehmacher 1995).
"""

import hashlib
import math
from collections.abc import Sequence

from msgspec import Struct

from waterline.core.difficulty import NAMES, VERSION, Difficulty
from waterline.core.verdict import Estimate, Outcome
from waterline.evals.statistics import non_inferiority, paired_difference

FOLDS = 5
SHARES = tuple(n / 20 for n in range(1, 21))
MIN_CASES = 30
RIDGE = 1.0
STEPS = 25


class Pair(Struct, frozen=True):
    """One case, asked of each route alone. Money in nano-USD, None: unpriced."""

    case: str
    features: tuple[float, ...]
    small: bool  # passed
    large: bool
    doubtful: bool  # a declared check would turn from the small answer to the large model
    small_cost: int | None
    large_cost: int | None

    @property
    def routed(self) -> bool:
        """What the caller gets when the small model is asked first."""
        return self.large if self.doubtful else self.small

    @property
    def routed_cost(self) -> int | None:
        if self.small_cost is None or (self.doubtful and self.large_cost is None):
            return None
        return self.small_cost + (self.large_cost or 0 if self.doubtful else 0)


class Point(Struct, frozen=True):
    """One threshold. `loss`: quality of the large model alone minus that of the routed answers."""

    threshold: float
    share: float  # of the cases that the small model is asked
    quality: float
    loss: Estimate | None
    cost: float | None  # of the routed answers, as a share of the large model's alone
    good: bool  # shown to lose at most the margin
    reason: str


class Trained(Struct, frozen=True):
    outcome: Outcome
    reason: str
    points: tuple[Point, ...]
    chosen: Point | None
    learned: Difficulty | None
    small_quality: float
    large_quality: float


def train(pairs: Sequence[Pair], margin: float, *, routes: str, cases: str) -> Trained:
    """`margin`: the quality that may be lost, as a share of cases. `routes`, `cases`: what the result is bound to."""
    n = len(pairs)
    small = sum(p.small for p in pairs) / n if n else 0.0
    large = sum(p.large for p in pairs) / n if n else 0.0
    if n < MIN_CASES:
        reason = f"INCONCLUSIVE: {n} cases; at least {MIN_CASES} are needed to learn from, some hundred to be sure"
        return Trained(Outcome.INCONCLUSIVE, reason, (), None, None, small, large)
    needs = [p.large and not p.routed for p in pairs]
    points = curve(pairs, _cross_scores(pairs, needs), margin)
    chosen = None
    for point in points:  # the fixed order: the first failure ends it
        if not point.good:
            break
        chosen = point
    if chosen is None:
        reason = f"INCONCLUSIVE: no share is shown to lose at most {margin:.1%}: {points[0].reason}"
        return Trained(Outcome.INCONCLUSIVE, reason, points, None, None, small, large)
    weights, bias = fit([p.features for p in pairs], needs)
    loss = chosen.loss
    learned = Difficulty(
        version=VERSION,
        weights=weights,
        bias=bias,
        threshold=chosen.threshold,
        routes=routes,
        cases=cases,
        n=n,
        share=round(chosen.share, 6),
        loss=(round(loss.value, 6), round(loss.low, 6), round(loss.high, 6)) if loss is not None else (0.0, 0.0, 0.0),
    )
    reason = f"{chosen.share:.0%} of the cases to the small model: {chosen.reason}"
    return Trained(Outcome.PASS, reason, points, chosen, learned, small, large)


def curve(pairs: Sequence[Pair], scores: Sequence[float], margin: float) -> tuple[Point, ...]:
    """Share for the small model against the quality lost, from small shares to all."""
    ranked = sorted(scores)
    thresholds: list[float] = []
    for share in SHARES:
        at = math.ceil(share * len(ranked))
        above = ranked[at] if at < len(ranked) else ranked[-1] + 1e-6
        if not thresholds or above > thresholds[-1]:
            thresholds.append(above)
    return tuple(_point(pairs, scores, threshold, margin) for threshold in thresholds)


def _point(pairs: Sequence[Pair], scores: Sequence[float], threshold: float, margin: float) -> Point:
    easy = [s < threshold for s in scores]
    routed = [float(p.routed if e else p.large) for p, e in zip(pairs, easy, strict=True)]
    large = [float(p.large) for p in pairs]
    difference = paired_difference(large, routed)
    gate = non_inferiority(difference, margin)
    loss = None
    if difference is not None:
        loss = Estimate(-difference.value, -difference.high, -difference.low, difference.n, method=difference.method)
    return Point(
        threshold=threshold,
        share=sum(easy) / len(easy),
        quality=sum(routed) / len(routed),
        loss=loss,
        cost=_cost(pairs, easy),
        good=gate.outcome is Outcome.PASS,
        reason=gate.reason,
    )


def _cost(pairs: Sequence[Pair], easy: Sequence[bool]) -> float | None:
    spent = base = 0
    for pair, e in zip(pairs, easy, strict=True):
        cost = pair.routed_cost if e else pair.large_cost
        if cost is None or pair.large_cost is None:
            return None
        spent += cost
        base += pair.large_cost
    return spent / base if base else None


def _cross_scores(pairs: Sequence[Pair], needs: Sequence[bool]) -> list[float]:
    """Each case scored by a model that has not seen it. The fold is of the case's id, so a new case moves no other."""
    folds = [hashlib.sha256(p.case.encode()).digest()[0] % FOLDS for p in pairs]
    scores = [0.0] * len(pairs)
    for fold in set(folds):
        rest = [i for i, f in enumerate(folds) if f != fold]
        weights, bias = fit([pairs[i].features for i in rest], [needs[i] for i in rest])
        for i, f in enumerate(folds):
            if f == fold:
                scores[i] = _sigmoid(bias + sum(w * x for w, x in zip(weights, pairs[i].features, strict=True)))
    return scores


def fit(rows: Sequence[tuple[float, ...]], labels: Sequence[bool]) -> tuple[tuple[float, ...], float]:
    """Weights on the features as they are, and the bias. Deterministic."""
    n, width = len(rows), len(NAMES)
    means = [math.fsum(row[j] for row in rows) / n for j in range(width)] if n else [0.0] * width
    spreads = [math.sqrt(math.fsum((row[j] - means[j]) ** 2 for row in rows) / n) if n else 0.0 for j in range(width)]
    # A feature that never varied says nothing: its weight is 0.
    scaled = [
        [(row[j] - means[j]) / spreads[j] if spreads[j] > 1e-9 else 0.0 for j in range(width)] + [1.0] for row in rows
    ]
    ridge = [RIDGE] * width + [0.01]
    beta = [0.0] * (width + 1)
    for _ in range(STEPS):
        gradient = [-r * b for r, b in zip(ridge, beta, strict=True)]
        hessian = [[ridge[i] if i == j else 0.0 for j in range(width + 1)] for i in range(width + 1)]
        for row, label in zip(scaled, labels, strict=True):
            p = _sigmoid(sum(b * x for b, x in zip(beta, row, strict=True)))
            error, weight = label - p, p * (1.0 - p)
            for i, x in enumerate(row):
                gradient[i] += error * x
                wx, line = weight * x, hessian[i]
                for j in range(i + 1):
                    line[j] += wx * row[j]
        for i in range(width + 1):
            for j in range(i):
                hessian[j][i] = hessian[i][j]
        step = _solve(hessian, gradient)
        beta = [b + s for b, s in zip(beta, step, strict=True)]
        if max(map(abs, step)) < 1e-8:
            break
    weights = [b / s if s > 1e-9 else 0.0 for b, s in zip(beta, spreads, strict=False)]
    bias = beta[-1] - math.fsum(w * m for w, m in zip(weights, means, strict=True))
    return tuple(round(w, 9) for w in weights), round(bias, 9)


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gaussian elimination with pivots; the ridge keeps the matrix regular."""
    size = len(right)
    rows = [[*line, right[i]] for i, line in enumerate(matrix)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda i: abs(rows[i][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for i in range(column + 1, size):
            factor = rows[i][column] / rows[column][column]
            if factor:
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[column], strict=True)]
    out = [0.0] * size
    for i in reversed(range(size)):
        out[i] = (rows[i][size] - sum(rows[i][j] * out[j] for j in range(i + 1, size))) / rows[i][i]
    return out


def _sigmoid(value: float) -> float:
    if value < -60:
        return 0.0
    return 1.0 / (1.0 + math.exp(-value)) if value < 60 else 1.0
