"""The drills. A new one is a file with `async def run(sea) -> Section` and one line here."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from waterline.core.app_spec import AppSpec
from waterline.trials.drills.availability import run as run_availability
from waterline.trials.drills.branches import not_applicable as no_other_branch
from waterline.trials.drills.branches import run as run_branches
from waterline.trials.drills.budget import run as run_budget
from waterline.trials.drills.cost import run as run_cost
from waterline.trials.drills.integrations import not_applicable as no_connector
from waterline.trials.drills.integrations import run as run_integrations
from waterline.trials.drills.load import run as run_load
from waterline.trials.drills.outage import run as run_outage
from waterline.trials.drills.quality import run as run_quality
from waterline.trials.drills.recovery import run as run_recovery
from waterline.trials.drills.robustness import run as run_robustness
from waterline.trials.drills.rollback import run as run_rollback
from waterline.trials.load_line import Section
from waterline.trials.sea import Sea


class Drill(Struct, frozen=True):
    """`usual_s`: for the estimate of what is left (short, full); `most_s`: then it could not run."""

    run: Callable[[Sea], Awaitable[Section]]
    usual_s: tuple[float, float]
    most_s: tuple[float, float]
    real: bool = False  # it asks the real model
    not_applicable: Callable[[AppSpec], str] = lambda spec: ""  # why it says nothing of this app; "": it does


DRILL: dict[str, Drill] = {
    "quality": Drill(run_quality, (110.0, 700.0), (1200.0, 7200.0), real=True),
    "robustness": Drill(run_robustness, (120.0, 1000.0), (1200.0, 7200.0), real=True),
    "load": Drill(run_load, (60.0, 160.0), (240.0, 900.0)),
    "outage": Drill(run_outage, (30.0, 90.0), (180.0, 900.0)),
    "availability": Drill(run_availability, (15.0, 300.0), (120.0, 1200.0)),
    "budget": Drill(run_budget, (12.0, 15.0), (120.0, 300.0)),
    "branches": Drill(run_branches, (35.0, 330.0), (180.0, 1200.0), not_applicable=no_other_branch),
    "cost": Drill(run_cost, (1.0, 1.0), (1200.0, 7200.0), real=True),
    "rollback": Drill(run_rollback, (12.0, 30.0), (120.0, 300.0)),
    "recovery": Drill(run_recovery, (15.0, 45.0), (120.0, 600.0)),
    "integrations": Drill(run_integrations, (30.0, 60.0), (300.0, 900.0), not_applicable=no_connector),
}
