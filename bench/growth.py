"""Does memory grow with the requests? A closed loop of plain requests, everything on, and the memory beside it.

    python bench/growth.py            240,000 requests, a minute or two
    python bench/growth.py --write    also writes GROWTH.md and growth.svg

Each ten thousand are waited for until they are in the database. What fills up is filled by the first 40,000: the pools
of connections, the writer's page cache (8 MiB), the last answers' lengths. After that each of the four connections that
read may still fill a page cache of 2 MiB, where somebody reads: that is the bound.
"""

import argparse
import datetime
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import host
from programs import MissingTool
from run import SATURATED, Bench
from servers import Upstream, Waterline

HERE = Path(__file__).resolve().parent
STEP, WARM_UP = 10_000, 40_000
BOUND_MB = 8.0
PATIENCE_S = 600
WIDTH, HEIGHT, LEFT, TOP = 720, 220, 60, 30
Curve = list[tuple[int, float]]  # requests so far, MB


def measured(requests: int) -> Curve:
    with tempfile.TemporaryDirectory(prefix="waterline-growth-") as folder, ExitStack() as stack:
        bench = Bench(Path(folder), quick=True)
        upstream = Upstream(bench.work)
        stack.callback(upstream.stop)
        ours = Waterline(bench.work, upstream)
        stack.callback(ours.stop)
        curve = [(0, host.resident_mb(ours.pid))]
        for so_far in range(STEP, requests + 1, STEP):
            bench.put(ours, SATURATED, seconds=PATIENCE_S, requests=STEP)
            curve.append((so_far, host.resident_mb(ours.pid)))
            print(f"{so_far:>9,} requests  {curve[-1][1]:6.1f} MB", flush=True)
    return curve


def growth_mb(curve: Curve) -> float:
    """From the end of the warm-up to the highest after it."""
    after = [mb for requests, mb in curve if requests >= WARM_UP]
    return max(after) - after[0]


def said(curve: Curve) -> str:
    grew = growth_mb(curve)
    verdict = "within" if grew <= BOUND_MB else "**beyond**"
    return (
        f"{curve[0][1]:.1f} MB idle, {dict(curve)[WARM_UP]:.1f} MB after {WARM_UP:,} requests, {curve[-1][1]:.1f} MB "
        f"after {curve[-1][0]:,}: at most {grew:.1f} MB more in the {curve[-1][0] - WARM_UP:,} since, {verdict} the "
        f"bound of {BOUND_MB:g} MB."
    )


def drawing(curve: Curve) -> str:
    most_mb, most = max(mb for _, mb in curve) * 1.15, curve[-1][0]

    def at(requests: int, mb: float) -> str:
        return f"{LEFT + (WIDTH - LEFT - 20) * requests / most:.1f},{TOP + HEIGHT - HEIGHT * mb / most_mb:.1f}"

    ticks = [
        f'<text x="{LEFT + (WIDTH - LEFT - 20) * part / 4:.0f}" y="{TOP + HEIGHT + 20}" text-anchor="middle" '
        f'fill="#5a6773">{most * part // 4:,}</text>'
        f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{TOP + HEIGHT * part / 4}" y2="{TOP + HEIGHT * part / 4}" '
        f'stroke="#dde4e9"/><text x="{LEFT - 8}" y="{TOP + 4 + HEIGHT * part / 4}" text-anchor="end" fill="#5a6773">'
        f"{most_mb * (4 - part) / 4:.0f}</text>"
        for part in range(5)
    ]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {TOP + HEIGHT + 36}" '
        f'font-family="system-ui, sans-serif" font-size="12"><rect width="{WIDTH}" height="{TOP + HEIGHT + 36}" '
        'fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-size="13" fill="#1a2733">resident memory, MB, over requests</text>',
        *ticks,
        f'<polyline points="{" ".join(at(*point) for point in curve)}" fill="none" stroke="#1c7d70" stroke-width="2"/>',
        "</svg>\n",
    ])  # fmt: skip


def page(curve: Curve) -> str:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    rows = "\n".join(f"| {requests:,} | {mb:.1f} |" for requests, mb in curve)
    return f"""# Memory over requests

Made by `python bench/growth.py --write` on {now}; not edited by hand. What it is: [growth.py](growth.py).

Machine: {host.machine()}.

{said(curve)}

![resident memory over requests](growth.svg)

| requests | resident memory, MB |
| --- | --- |
{rows}
"""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--requests", type=int, default=240_000, help="a multiple of 10,000, and more than 40,000")
    options.add_argument("--write", action="store_true", help="write GROWTH.md and growth.svg")
    asked = options.parse_args()
    if asked.requests <= WARM_UP or asked.requests % STEP:
        options.error("--requests is a multiple of 10,000, and more than 40,000")
    try:
        curve = measured(asked.requests)
    except MissingTool as error:
        print(error, file=sys.stderr)
        return 3
    print(said(curve))
    if asked.write:
        (HERE / "GROWTH.md").write_text(page(curve), encoding="utf-8")
        (HERE / "growth.svg").write_text(drawing(curve), encoding="utf-8")
    return 0 if growth_mb(curve) <= BOUND_MB else 1


if __name__ == "__main__":
    sys.exit(main())
