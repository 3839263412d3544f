"""The drills. A new one is a file with `async def run(sea) -> Section` and one line here."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from waterline.trials.drills import budget, cost, load, outage, quality, recovery, robustness, rollback
from waterline.trials.load_line import Section
from waterline.trials.sea import Sea


class Drill(Struct, frozen=True):
    """`usual_s`: for the estimate of what is left (short, full); `most_s`: then it could not run."""

    run: Callable[[Sea], Awaitable[Section]]
    usual_s: tuple[float, float]
    most_s: tuple[float, float]
    real: bool = False  # it asks the real model


DRILL: dict[str, Drill] = {
    "quality": Drill(quality.run, (110.0, 700.0), (420.0, 7200.0), real=True),
    "robustness": Drill(robustness.run, (120.0, 1000.0), (420.0, 7200.0), real=True),
    "load": Drill(load.run, (60.0, 160.0), (240.0, 900.0)),
    "outage": Drill(outage.run, (30.0, 90.0), (180.0, 900.0)),
    "budget": Drill(budget.run, (12.0, 15.0), (120.0, 300.0)),
    "cost": Drill(cost.run, (1.0, 1.0), (420.0, 7200.0), real=True),
    "rollback": Drill(rollback.run, (12.0, 30.0), (120.0, 300.0)),
    "recovery": Drill(recovery.run, (15.0, 45.0), (120.0, 600.0)),
}
