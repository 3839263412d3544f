"""What a month will cost, with an interval: before a pilot from what is declared, after it from the days of its traces.

Declared: Monte Carlo with a fixed seed over the formula of `core/cost_model.py`; each assumption has its own
uncertainty. From days: a residual bootstrap with weekday factors once there are two weeks (Efron and Tibshirani 1993,
ch. 9), before that a Student t predictive interval, which is wide because it should be; below a week nothing is
said. Money is USD as a float: these are forecasts, not books.
"""

import math
from collections.abc import Callable, Sequence
from random import Random

import msgspec
from msgspec import Struct

from waterline.core.cost_model import Conversation, Share, conversation_nano_usd
from waterline.core.money import NANO, Price
from waterline.core.verdict import Estimate
from waterline.evals.distributions import normal_quantile
from waterline.evals.statistics import quantile

CONFIDENCE = 0.90  # two-sided; each bound by itself holds with 95 %
DRAWS = 4000
SEED = 1
WEEK = 7
LEAST_DAYS = WEEK  # below it there is no forecast: a weekday that nobody has seen could cost anything
WEEKDAY_DAYS = 2 * WEEK  # from here on a weekday has its own mean
LONGEST_DAYS = 8 * WEEK  # older days say little of next month
_Z = normal_quantile(0.5 + CONFIDENCE / 2.0)


class Assumption(Struct, frozen=True):
    """`within` 0.3: with 90 % confidence the truth is between value / 1.3 and value * 1.3 (log-normal)."""

    name: str
    value: float
    within: float
    unit: str
    source: str

    def at(self, z: float) -> float:
        """The value `z` standard deviations away."""
        return self.value * math.exp(z * math.log1p(self.within) / _Z)

    def said(self, z: float) -> str:
        value = self.at(z)
        return f"{value:,.0f} {self.unit}".strip() if value >= 1000 else f"{value:,.4g} {self.unit}".strip()


class Effect(Struct, frozen=True):
    """A row of the tornado: the month, in USD, if one thing were lower or higher and all else as it is."""

    name: str
    low: str
    low_usd: float
    high: str
    high_usd: float

    @property
    def swing(self) -> float:
        return abs(self.high_usd - self.low_usd)


class Odds(Struct, frozen=True):
    """The chance that the month passes a declared limit."""

    name: str
    limit_usd: float
    probability: float


class Forecast(Struct, frozen=True):
    """`month` None: inconclusive, and `more_days` says how many more days of traffic it needs (None: days would not
    help). `spent_usd`: what of the month is spent already. `notes`: what a reader must know to believe it."""

    basis: str  # "declared" or "traces"
    month: Estimate | None
    spent_usd: float
    more_days: int | None
    notes: list[str]
    assumptions: list[Assumption]
    effects: list[Effect]
    odds: list[Odds]


Budgets = Sequence[tuple[str, float]]  # name, USD


# --- before the pilot --------------------------------------------------------------------------------------------


class Declared(Struct, frozen=True):
    """The formula's inputs. `shares`: who answers, and `other`: the model that more turns could be routed to."""

    volume: Assumption
    turns: Assumption
    fixed: Assumption
    question: Assumption
    answer: Assumption
    retrieved: float
    calls: float
    cached: float
    price: Price
    other: Price | None = None
    other_name: str = ""

    @property
    def varied(self) -> tuple[Assumption, ...]:
        return (self.volume, self.turns, self.fixed, self.question, self.answer)


def _month(d: Declared, values: Sequence[float], cached: float, shares: list[Share]) -> float:
    volume, turns, fixed, question, answer = values
    made = Conversation(max(1.0, turns), fixed, question, answer, d.retrieved, d.calls, cached)
    return volume * conversation_nano_usd(made, shares) / NANO


def declared_month(d: Declared, budgets: Budgets = (), *, seed: int = SEED, draws: int = DRAWS) -> Forecast:
    """The value is the one at the declared figures; the interval holds 90 % of the draws."""
    rng = Random(seed)
    alone = [Share(d.price)]
    drawn = sorted(
        _month(d, [a.at(rng.gauss(0.0, 1.0)) for a in d.varied], d.cached, alone) for _ in range(draws)
    )  # fmt: skip
    centre = _month(d, [a.value for a in d.varied], d.cached, alone)
    return Forecast(
        "declared", _estimate(centre, drawn, 0), 0.0, None,
        ["from declared figures alone: nothing of it is measured; after the pilot, forecast from its traces"],
        list(d.varied), _declared_effects(d, centre), _odds(drawn, budgets),
    )  # fmt: skip


def _declared_effects(d: Declared, centre: float) -> list[Effect]:
    values = [a.value for a in d.varied]

    def month(cached: float = d.cached, shares: list[Share] | None = None) -> float:
        return _month(d, values, cached, shares or [Share(d.price)])

    effects = [Effect("price", "-20 %", centre * 0.8, "+20 %", centre * 1.2)]
    for index, a in enumerate(d.varied):
        low, high = ([*values[:index], a.at(z), *values[index + 1 :]] for z in (-_Z, _Z))
        effects.append(
            Effect(
                a.name, a.said(-_Z), _month(d, low, d.cached, [Share(d.price)]),
                a.said(_Z), _month(d, high, d.cached, [Share(d.price)]),
            )
        )  # fmt: skip
    effects.append(Effect("cache hit rate", "0 %", month(0.0), "80 % of prompt and history", month(0.8)))
    if d.other is not None:
        half = [Share(d.price, 0.2), Share(d.other, 0.8)]
        effects.append(Effect("routing", "all as now", centre, f"80 % to {d.other_name}", month(shares=half)))
    return _ordered(effects)


# --- after the pilot ---------------------------------------------------------------------------------------------


class Day(Struct, frozen=True):
    """A whole UTC day of live traffic. `number`: days since 1970-01-01, which was a Thursday."""

    number: int
    usd: float

    @property
    def weekday(self) -> int:
        return self.number % WEEK


def from_days(
    days: Sequence[Day], left: Sequence[tuple[int, float]], spent_usd: float, budgets: Budgets = (),
    effects: Callable[[float], list[Effect]] = lambda month: [], *, seed: int = SEED, draws: int = DRAWS,
) -> Forecast:  # fmt: skip
    """`days`: consecutive whole days, oldest first, days without traffic included. `left`: the days of the month that
    are still to come, as (number, part of the day 0..1). `effects` makes the tornado of a month's USD."""
    seen = list(days)[-LONGEST_DAYS:]
    n = len(seen)
    if n < LEAST_DAYS or not any(d.usd > 0 for d in seen):
        more = max(1, LEAST_DAYS - n)
        seen_so_far = f"{n} whole day(s) of live traffic"
        why = f"{seen_so_far}; {more} more for a wide interval, {max(1, WEEKDAY_DAYS - n)} more for weekdays"
        return Forecast("traces", None, spent_usd, more, [why], [], [], [])
    if n < WEEKDAY_DAYS:
        sums = _student(seen, left, seed, draws)
        notes = [f"{n} days only: a wide interval, and no weekday pattern; {WEEKDAY_DAYS - n} more days would show one"]
    else:
        sums = _weekday_bootstrap(seen, left, seed, draws)
        notes = [f"{n} days, each weekday with its own mean; assumes that traffic goes on as it was"]
        notes += _trend(seen)
    drawn = sorted(spent_usd + max(0.0, s) for s in sums)
    centre = spent_usd + _expected(seen, left)
    month = _estimate(centre, drawn, n)
    return Forecast("traces", month, spent_usd, None, notes, [], _ordered(effects(centre)), _odds(drawn, budgets))


def weekday_means(days: Sequence[Day]) -> list[float]:
    """Mean USD of each weekday (index: number % 7); all the same below two weeks."""
    everything = math.fsum(d.usd for d in days) / len(days)
    if len(days) < WEEKDAY_DAYS:
        return [everything] * WEEK
    return [_mean([d.usd for d in days if d.weekday == w]) for w in range(WEEK)]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _expected(days: Sequence[Day], left: Sequence[tuple[int, float]]) -> float:
    means = weekday_means(days)
    return math.fsum(means[number % WEEK] * part for number, part in left)


def _student(days: Sequence[Day], left: Sequence[tuple[int, float]], seed: int, draws: int) -> list[float]:
    """Sum of m new days from a normal sample of n: m mean + s sqrt(m + m^2/n) t with n-1 degrees of freedom."""
    n, m = len(days), math.fsum(part for _, part in left)
    mean = _mean([d.usd for d in days])
    deviation = math.sqrt(math.fsum((d.usd - mean) ** 2 for d in days) / (n - 1))
    width = deviation * math.sqrt(m + m * m / n)
    rng, df = Random(seed), n - 1
    return [
        m * mean + width * rng.gauss(0.0, 1.0) / math.sqrt(rng.gammavariate(df / 2.0, 2.0 / df)) for _ in range(draws)
    ]


def _weekday_bootstrap(
    days: Sequence[Day], left: Sequence[tuple[int, float]], seed: int, draws: int
) -> list[float]:  # fmt: skip
    """Each draw makes another history of the same weekdays, learns its means anew, and lets the days to come vary
    around those: so the interval has both the noise of days and what we do not know of the means. Residuals are widened
    for the seven means that were fitted."""
    means = weekday_means(days)
    widen = math.sqrt(len(days) / (len(days) - WEEK))
    residuals = [(d.usd - means[d.weekday]) * widen for d in days]
    counts = [sum(d.weekday == w for d in days) for w in range(WEEK)]
    rng, sums = Random(seed), []
    for _ in range(draws):
        learnt = [means[w] + _mean([rng.choice(residuals) for _ in range(counts[w])]) for w in range(WEEK)]
        sums.append(math.fsum(part * max(0.0, learnt[k % WEEK] + rng.choice(residuals)) for k, part in left))
    return sums


def _trend(days: Sequence[Day]) -> list[str]:
    last, before = (_mean([d.usd for d in part]) for part in (days[-WEEK:], days[-2 * WEEK : -WEEK]))
    if before <= 0 or abs(last / before - 1.0) <= 0.2:
        return []
    return [
        f"the last seven days cost {last / before - 1.0:+.0%} against the seven before: no trend is in the forecast"
    ]


# --- parts -------------------------------------------------------------------------------------------------------


def _estimate(value: float, drawn: Sequence[float], n: int) -> Estimate:
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = quantile(drawn, tail), quantile(drawn, 1.0 - tail)
    assert low is not None
    assert high is not None
    return Estimate(value=value, low=low, high=high, n=n, confidence=CONFIDENCE, method="monte carlo")


def _odds(drawn: Sequence[float], budgets: Budgets) -> list[Odds]:
    return [Odds(name, limit, sum(x > limit for x in drawn) / len(drawn)) for name, limit in budgets]


def _ordered(effects: list[Effect]) -> list[Effect]:
    return sorted(effects, key=lambda e: -e.swing)


def scaled(value: Estimate, factor: float) -> Estimate:
    """The same estimate in other units: of a month from that of a turn, say."""
    return msgspec.structs.replace(
        value, value=value.value * factor, low=max(0.0, value.low * factor), high=value.high * factor
    )
