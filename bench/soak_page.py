"""The page and the drawing of a soak."""

from collections.abc import Callable, Sequence
from typing import Any

from host import machine

WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 760, 120, 70, 20, 34, 46
LINES: tuple[tuple[str, str, Callable[[Any], float], str], ...] = (
    ("Resident memory, MB", "#1f6f8b", lambda s: s.rss_mb, "{:.0f}"),
    ("Open files", "#8a6d3b", lambda s: s.files, "{:.0f}"),
    ("Requests under way", "#5b7f3a", lambda s: s.in_flight, "{:.0f}"),
)


def page(run: Any, idle: Any, after: Any, bound_mb: float, wrong: Sequence[str]) -> str:
    rows = [("", "idle", "after the warm-up", "at the end", "after the load")]
    for name, of in (
        ("resident memory, MB", lambda s: s.rss_mb), ("open files", lambda s: s.files),
        ("sockets", lambda s: s.sockets), ("threads", lambda s: s.threads), ("spool, MB", lambda s: s.spool_mb),
        ("data folder, MB", lambda s: s.data_mb), ("requests under way", lambda s: s.in_flight),
    ):  # fmt: skip
        first, last = run.ends(of)
        rows.append((name, *(f"{value:.1f}" for value in (of(idle), first, last, of(after)))))
    s = run.status
    books = f"{s['emitted']:,} written, {s['stored']:,} stored, {s['rejected']} rejected, {s['lost']} lost"
    return f"""# The soak

Made by `python bench/soak.py --write`; not edited by hand. What it is: [soak.py](soak.py).

Machine: {machine()}

{run.minutes:g} minutes at {run.rate:g} requests/s: {run.sent:,} requests, {sum(run.faults.values()):,}
faults of the provider.
Memory grew by {run.growth_mb:.1f} MB after the warm-up (the first fifth); the bound is {bound_mb:g} MB.
Traces: {books}. {"**" + "; ".join(wrong) + "**" if wrong else "Nothing stayed behind."}

![memory, files and requests under way](soak.svg)

{_table(rows)}
Medians of the first and the last tenth of the steady part. What the gateway keeps between requests (the pool of
connections to the provider, the exact cache, stored answers of idempotent requests, the database's page caches of 8 MiB
for the connection that writes and 2 MiB for each of the four that read, which fill with the data) is bounded; the data
folder is the traces.

## What the callers saw

{_table([("call", "times"), *((what, f"{n:,}") for what, n in sorted(run.outcomes.items()))])}
## What the provider did

{_table([("fault", "times"), *((what, f"{n:,}") for what, n in run.faults.items())])}"""


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]) + "\n"


def drawing(run: Any) -> str:
    """One small chart for each quantity over the minutes of the run, each from zero."""
    height = TOP + len(LINES) * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    ]
    longest = max(s.at_s for s in run.samples)
    for place, (name, colour, of, form) in enumerate(LINES):
        top = TOP + place * (HEIGHT + GAP)
        values = [of(s) for s in run.samples]
        most = max(values) * 1.1 or 1.0

        def at(sample: Any, value: float, top: int = top, most: float = most) -> str:
            x = LEFT + (WIDTH - LEFT - RIGHT) * sample.at_s / longest
            return f"{x:.1f},{top + HEIGHT - HEIGHT * value / most:.1f}"

        points = " ".join(at(s, of(s)) for s in run.samples)
        parts += [
            f'<text x="{LEFT}" y="{top - 8}" font-size="13" fill="#1a2733">{name}</text>',
            *(_tick(top, part / 2, form.format(most * part / 2)) for part in range(3)),
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
        ]
    parts += [
        f'<text x="{LEFT + (WIDTH - LEFT - RIGHT) * part / 4:.0f}" y="{height - 16}" text-anchor="middle" '
        f'fill="#5a6773">{longest / 60 * part / 4:.3g} min</text>'
        for part in range(5)
    ]
    return "\n".join([*parts, "</svg>\n"])


def _tick(top: int, share: float, label: str) -> str:
    y = top + HEIGHT - HEIGHT * share
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#dde4e9"/>'
        f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end" fill="#5a6773">{label}</text>'
    )
