"""`max_ms`, `max_usd`: what one answer may take and cost."""

from waterline.core.case import Case
from waterline.evals.scorers.base import Given, Part


def score(case: Case, given: Given) -> list[Part]:
    parts = []
    if (most := case.expect.max_ms) is not None:
        held = given.ms is not None and given.ms <= most
        parts.append(Part("max_ms", held, "" if held else _said(given.ms, most, "ms")))
    if (dollars := case.expect.max_usd) is not None:
        cost = given.cost_nano_usd / 1e9 if given.cost_nano_usd is not None else None
        held = cost is not None and cost <= dollars
        parts.append(Part("max_usd", held, "" if held else _said(cost, dollars, "USD")))
    return parts


def _said(found: float | None, most: float, unit: str) -> str:
    return f"{found:g} {unit}, at most {most:g}" if found is not None else f"not known in {unit}, at most {most:g}"
