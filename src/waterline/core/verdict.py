"""A Verdict judges a trace, a case, a release or a drill. No data is never green."""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

RefKind = Literal["trace", "case", "release", "drill"]


class Outcome(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not_run"


class Ref(Struct, frozen=True):
    """What is judged."""

    kind: RefKind
    id: str


class Estimate(Struct, frozen=True):
    """A figure with its interval. `n` is the number of independent observations (cases, clusters, calls)."""

    value: float
    low: float
    high: float
    n: int
    confidence: float = 0.95
    method: str = ""  # "wilson", "clustered", "bootstrap", ...


class JudgeRef(Struct, frozen=True):
    """Who judged: a scorer, a guard, a person, a drill; and its version."""

    name: str
    version: str = "1"


class Verdict(Struct, frozen=True):
    target: Ref
    name: str
    outcome: Outcome
    value: Estimate | None
    reason: str
    judge: JudgeRef
    more_cases: int | None = None  # inconclusive: how many more would settle it; None: cannot be said
    provider: Literal["real", "simulated", "none"] = "none"  # what stood behind the figure
    unit: str = ""
    threshold: float | None = None
