"""The table of figures, as it is printed and as it is kept in RESULTS.md."""

from dataclasses import dataclass

Number = float | None


@dataclass(frozen=True)
class Target:
    """What DESIGN.md holds us to; `first` is the step before it."""

    final: float
    first: float | None = None
    least: bool = False  # the figure must be at least this; else at most

    def __str__(self) -> str:
        sign = ">=" if self.least else "<="
        steps = [self.final] if self.first is None else [self.first, self.final]
        return f"{sign} " + ", then ".join(_shown(step) for step in steps)

    def met(self, value: float) -> str:
        def holds(limit: float) -> bool:
            return value >= limit if self.least else value <= limit

        if holds(self.final):
            return "yes"
        return "the first" if self.first is not None and holds(self.first) else "NO"


@dataclass(frozen=True)
class Figure:
    name: str
    unit: str
    ours: Number
    plain: Number = None
    go: Number = None
    target: Target | None = None

    def cells(self, with_go: bool) -> list[str]:
        ratio = f"{self.ours / self.plain:.2f}" if self.ours is not None and self.plain else ""
        cells = [self.name, self.unit, _shown(self.ours), _shown(self.plain), ratio]
        if with_go:
            cells.append(_shown(self.go))
        met = self.target.met(self.ours) if self.target is not None and self.ours is not None else ""
        return [*cells, str(self.target or ""), met]


def table(figures: list[Figure]) -> str:
    """Markdown whose columns also line up on a terminal."""
    with_go = any(figure.go is not None for figure in figures)
    head = ["figure", "unit", "Waterline", "plain proxy", "ratio", *(["Go proxy"] if with_go else []), "target", "met"]
    rows = [head, *(figure.cells(with_go) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    numbers = range(2, len(head) - 2)

    def line(row: list[str]) -> str:
        cells = (c.rjust(w) if i in numbers else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        return "| " + " | ".join(cells) + " |"

    rule = "| " + " | ".join("-" * (w - 1) + (":" if i in numbers else "-") for i, w in enumerate(widths)) + " |"
    return "\n".join([line(head), rule, *(line(row) for row in rows[1:])])


def _shown(value: Number) -> str:
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"
