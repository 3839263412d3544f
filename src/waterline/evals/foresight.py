"""Before an evaluation: what it could show with these cases, and how many it would take.

How often cases will differ between two releases is not known before; so each figure stands under a share of cases that
change, which whoever knows the change can judge. A case that changes, changes in all its repeats: repeats take away the
model's own noise, they do not make up for cases.
"""

import math

from msgspec import Struct

from waterline.evals.distributions import normal_cdf, normal_quantile
from waterline.evals.experiment import Plan
from waterline.evals.statistics import CONFIDENCE, cases_for_gate, cases_for_non_inferiority, mde_paired, power_gate

CHANGING = (0.02, 0.05, 0.1, 0.2, 0.4)
POWER = 0.8


class Foresight(Struct, frozen=True):
    """Under one assumption. `chance`: of a pass, when the truth is no difference (or the assumed score)."""

    assumed: float  # the share of cases that change, or the true score
    chance: float
    cases_needed: int | None  # for a chance of 80 %; None: never
    smallest: float | None = None  # the difference that would be found, 80 % power; None without --against


def foresee(plan: Plan) -> tuple[Foresight, ...]:
    """Empty where nothing was declared to judge by."""
    if plan.against and plan.margin is not None:
        return tuple(_paired(plan.cases, plan.margin, changing) for changing in CHANGING)
    if not plan.against and plan.score_min is not None and plan.score_min < 1.0:
        above = 1.0 - plan.score_min
        return tuple(_gated(plan.cases, plan.score_min, 1.0 - above * part) for part in (0.75, 0.5, 0.25, 0.0))
    return ()


def _paired(cases: int, margin: float, changing: float) -> Foresight:
    sd = math.sqrt(changing)
    least = fewest_pairs(margin)
    needed = cases_for_non_inferiority(margin, sd, power=POWER)
    z = normal_quantile(0.5 + CONFIDENCE / 2.0)
    return Foresight(
        assumed=changing,
        chance=normal_cdf(margin * math.sqrt(cases) / sd - z) if least is not None and cases >= least else 0.0,
        cases_needed=max(needed, least) if needed is not None and least is not None else None,
        smallest=mde_paired(cases, sd, POWER),
    )


def fewest_pairs(margin: float) -> int | None:
    """Below this many cases even two equal releases are not shown to be so: a loss of `margin` could hide from all of
    them. The exact rule of three, 1 - (a/2)**(1/n) < margin, as in `paired_difference`. None: never."""
    if not 0.0 < margin < 1.0:
        return 2 if margin >= 1.0 else None
    return max(2, math.ceil(math.log((1.0 - CONFIDENCE) / 2.0) / math.log1p(-margin)))


def _gated(cases: int, threshold: float, rate: float) -> Foresight:
    rate = min(rate, 1.0)
    return Foresight(rate, power_gate(cases, rate, threshold), cases_for_gate(rate, threshold, POWER))
