"""What the attempts of one request share."""

from typing import TYPE_CHECKING

from waterline.gateway.deps import Sink
from waterline.gateway.route import Target
from waterline.gateway.trail import Trail

if TYPE_CHECKING:
    from waterline.gateway.hedge import Race
    from waterline.gateway.mend import Resume


class Call:
    resume: "Resume | None" = None  # a broken answer that is being finished
    race: "Race | None" = None  # two attempts at once
    answer_from = 0  # where the answer begins that counts, in what the caller got
    hurried = False  # the caller has less patience than the route
    judged = False  # a streamed answer is looked at as a whole before any of it leaves

    def __init__(self, trail: Trail, plan: list[Target], variables: dict[str, dict[str, str]], sink: Sink) -> None:
        self.trail = trail
        self.plan = plan
        self.variables = variables  # by route
        self.sink = sink
        self.keep_alive_s = plan[0].route.keep_alive_s if trail.request.stream else 0.0
        patience_s = plan[0].route.total_s
        deadline_ms = trail.request.deadline_ms
        if deadline_ms is not None and deadline_ms < patience_s * 1000:
            self.hurried = True
            patience_s = deadline_ms / 1000
        self.ends_s = trail.deps.tick_s() + patience_s - trail.elapsed_us / 1e6

    @property
    def left_s(self) -> float:
        return self.ends_s - self.trail.deps.tick_s()
