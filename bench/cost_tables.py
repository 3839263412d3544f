"""How the pages of the bill print tables and intervals."""

from collections.abc import Sequence

from waterline.core.verdict import Estimate


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(r) for r in rows)]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def interval(e: Estimate | None, percent: bool = True) -> str:
    if e is None:
        return "unknown"
    return f"{e.value:+.1%} [{e.low:+.1%}, {e.high:+.1%}]" if percent else f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]"
