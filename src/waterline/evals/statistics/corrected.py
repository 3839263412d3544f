"""Means of what a judge said, with the judge's errors taken out of the value and put into the interval."""

import math
from collections.abc import Hashable, Mapping, Sequence

from msgspec import Struct

from waterline.core.verdict import Estimate, Outcome
from waterline.evals.distributions import normal_quantile, student_quantile
from waterline.evals.statistics.clustered import unseen_share
from waterline.evals.statistics.gate import CONFIDENCE, Gate, percent


class JudgeErrors(Struct, frozen=True):
    """Of a calibration: what people passed and the judge too, what people failed and the judge too; as (right, of)."""

    sensitivity: tuple[int, int]
    specificity: tuple[int, int]


class Judged(Struct, frozen=True):
    """One answer. `held`: everything that needs no judge. `said`: what each judge said of it. `weight`: 1, or -1 for
    the release that is compared against."""

    cluster: Hashable
    held: bool
    said: tuple[tuple[str, bool], ...] = ()
    weight: float = 1.0


class _Rates(Struct, frozen=True):
    se: float
    sp: float

    @property
    def youden(self) -> float:
        return self.se + self.sp - 1.0

    def true_share(self, yes: bool) -> float:
        """What one answer adds to the true rate: (p + sp - 1)/(se + sp - 1) is linear in it."""
        return (yes + self.sp - 1.0) / self.youden


def corrected_mean(
    answers: Sequence[Judged], errors: Mapping[str, JudgeErrors], confidence: float = CONFIDENCE
) -> Estimate | None:
    """The mean of `weight` times the true pass of every answer, over the answers of weight 1.

    Rogan and Gladen's correction, (p + q0 - 1)/(q0 + q1 - 1), is linear in what the judge said, so it is taken answer
    by answer; the standard error adds the spread over clusters to the delta method's part of each calibration, at the
    plus-one counts of Lang and Reiczigel (2014), Preventive Veterinary Medicine 113:13-22. It holds for a difference of
    two releases as for one rate, where the judge errs as often on both. None: fewer than two clusters, or a judge that
    is no better than a coin.
    """
    total = sum(1 for one in answers if one.weight > 0)
    clusters = {one.cluster for one in answers}
    plain = {name: _Rates(_share(e.sensitivity), _share(e.specificity)) for name, e in errors.items()}
    careful = {name: _Rates(_share(e.sensitivity, 1), _share(e.specificity, 1)) for name, e in errors.items()}
    if len(clusters) < 2 or any(min(r.youden, plain[n].youden) <= 0.0 for n, r in careful.items()):
        return None
    compared = total != len(answers)
    value = math.fsum(_shared(one, plain) for one in answers) / total
    sums: dict[Hashable, float] = dict.fromkeys(clusters, 0.0)
    for one in answers:
        sums[one.cluster] += _shared(one, careful)
    size, centre, variance = _spread(list(sums.values()), total / len(clusters), compared, careful, confidence)
    parts, shift = [(variance, size - 1)], 0.0
    for name, rates in careful.items():
        by_se, by_sp = _slopes(answers, name, careful, total)
        of_se = rates.se * (1.0 - rates.se) / (errors[name].sensitivity[1] + 2.0)
        of_sp = rates.sp * (1.0 - rates.sp) / (errors[name].specificity[1] + 2.0)
        parts.append((by_se**2 * of_se, errors[name].sensitivity[1] - 1))
        parts.append((by_sp**2 * of_sp, errors[name].specificity[1] - 1))
        shift += 0.0 if compared else -2.0 * (by_se * of_se + by_sp * of_sp) * rates.youden
    z = normal_quantile(0.5 + confidence / 2.0)
    half = student_quantile(0.5 + confidence / 2.0, _degrees(parts)) * math.sqrt(sum(part for part, _ in parts))
    low, high, least = centre + z * z * shift - half, centre + z * z * shift + half, -1.0 if compared else 0.0
    return Estimate(
        value=min(1.0, max(least, value)), low=min(1.0, max(least, low)), high=max(least, min(1.0, high)),
        n=len(clusters), confidence=confidence, method="corrected for the judge, clustered",
    )  # fmt: skip


def _degrees(parts: Sequence[tuple[float, int]]) -> float:
    """Of a sum of variances, each with its own: Satterthwaite (1946), Biometrics Bulletin 2:110-114."""
    below = sum(variance**2 / max(1, degrees) for variance, degrees in parts)
    return max(1.0, sum(variance for variance, _ in parts) ** 2 / below) if below else float(parts[0][1])


def _share(counts: tuple[int, int], added: int = 0) -> float:
    right, of = counts
    return (right + added) / (of + 2 * added) if of else 0.0


def _shared(one: Judged, rates: Mapping[str, _Rates]) -> float:
    return one.weight * math.prod((rates[name].true_share(yes) for name, yes in one.said), start=float(one.held))


def _spread(
    sums: list[float], per: float, compared: bool, rates: Mapping[str, _Rates], confidence: float
) -> tuple[int, float, float]:
    """Clusters, mean and variance of the mean. A rate gets the two pass and two fail clusters of Agresti and Coull
    (1998), The American Statistician 52:119-126; for a difference that never varied, what may have gone unseen."""
    values = [one / per for one in sums]
    if not compared:
        low = min((r.true_share(False) for r in rates.values()), default=0.0)
        high = math.prod((r.true_share(True) for r in rates.values()), start=1.0)
        values += [low, low, high, high]
    n, mean = len(values), math.fsum(values) / len(values)
    variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n
    if compared and variance == 0.0:
        variance = (unseen_share(n, confidence) / 2.0) ** 2
    return len(sums), mean, variance


def _slopes(answers: Sequence[Judged], name: str, rates: Mapping[str, _Rates], total: int) -> tuple[float, float]:
    """How the mean moves with one judge's sensitivity and specificity."""
    by_se = by_sp = 0.0
    youden = rates[name].youden
    for one in answers:
        if not one.held or name not in dict(one.said):
            continue
        rest = one.weight * math.prod((rates[n].true_share(yes) for n, yes in one.said if n != name), start=1.0)
        own = rates[name].true_share(dict(one.said)[name])
        by_se -= rest * own / youden
        by_sp += rest * (1.0 - own) / youden
    return by_se / total, by_sp / total


def gate_corrected(
    answers: Sequence[Judged], errors: Mapping[str, JudgeErrors], threshold: float, confidence: float = CONFIDENCE
) -> Gate:
    """`gate` for answers of which some were judged: one-sided bounds of the corrected rate."""
    seen = corrected_mean(answers, errors, 2.0 * confidence - 1.0)
    if seen is None:
        reason = "too few cases, or a judge that is no better than a coin"
        return Gate(Outcome.INCONCLUSIVE, None, threshold, reason)
    said = (
        f"{percent(seen.value)} of {seen.n} cases, corrected for the judge's errors: between {percent(seen.low)} and "
        f"{percent(seen.high)}, {percent(threshold)} required"
    )
    if seen.low >= threshold:
        return Gate(Outcome.PASS, seen, threshold, said)
    if seen.high < threshold:
        return Gate(Outcome.FAIL, seen, threshold, said)
    return Gate(Outcome.INCONCLUSIVE, seen, threshold, f"{said}; more cases, or more labels for the judge, narrow it")
