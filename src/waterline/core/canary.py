"""What an app declares of canaries and of shadow traffic: tables of app.toml, in the environment record."""

from decimal import Decimal, InvalidOperation
from typing import Literal

from msgspec import Struct

from waterline.core.rollout import FULL_BP


def basis_points(text: str) -> int:
    """10_000 of "100%", 50 of "0.5 %". Raises ValueError."""
    said = text.strip()
    try:
        bp = Decimal(said.removesuffix("%").strip()) * 100
    except InvalidOperation:
        raise ValueError(f'"{text[:40]}" is no share') from None
    if not said.endswith("%") or not bp.is_finite() or bp != bp.to_integral_value() or not 0 < bp <= FULL_BP:
        raise ValueError(f'"{text[:40]}" is no share from 0.01% to 100%')
    return int(bp)


class Canary(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a release takes over step by step. Margins: how much worse the candidate may be, in shares of 0..1.

    A session counts once a step, by what it asked in its first `session_s`; it is looked at `late_s` after that (or
    after the longest objective of latency, if that is longer), its verdicts `quality_s` after it."""

    steps: tuple[str, ...] = ("5%", "25%", "50%", "100%")
    alpha: float = 0.05  # the chance, over all steps, signals and looks, that an equal candidate is rolled back
    least_sessions: int = 100  # of each side, at each step
    longest_wait_h: float = 72.0  # of a step
    on_unknown: Literal["hold", "rollback"] = "hold"  # after it
    session_s: int = 60
    late_s: int = 60
    quality: tuple[str, ...] = ()  # names of verdicts; "feedback" means every feedback.*
    quality_s: int = 3600
    error_margin: float = 0.02
    slow_margin: float = 0.05  # answers slower than answer_ms_p95, first tokens later than ttft_ms_p95
    cost_margin: float = 0.1  # of usd_per_request
    quality_margin: float = 0.05
    nano_usd_per_request: int | None = None  # the cap that a request's cost is measured by; None: cost is not guarded

    @property
    def steps_bp(self) -> tuple[int, ...]:
        return tuple(basis_points(step) for step in self.steps)


class Shadow(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What answering a copy of live requests may take. None: not limited."""

    nano_usd_per_day: int | None = None
    max_concurrency: int = 4
    queue: int = 64  # copies that wait; more are dropped, and counted
