"""100,000 requests while the provider fails by a timetable and the gateway is restarted twice, once by kill -9: the
availability drill of `waterline trial`, at its full size, on examples/school with a simulated provider.

    python bench/availability.py [--requests 100000] [--write]      some ten minutes; --write makes AVAILABILITY.md

Nobody retries. Ends with 1 where the drill does not pass: the Wilson bound of 99.9 % leaves 83 failures of 100,000.
"""

# ruff: noqa: E501

import argparse
import asyncio
import sys
import time
from pathlib import Path

from host import machine
from msgspec import structs

from waterline.core.verdict import Outcome
from waterline.evals.statistics import wilson_lower
from waterline.providers import models
from waterline.rollout.build import build
from waterline.trials import DRILLS
from waterline.trials.drills.availability import DRILL, PUBLISHED
from waterline.trials.load_line import LoadLine, Section
from waterline.trials.runner import Order, run_trial
from waterline.trials.sea import FULL

HERE = Path(__file__).resolve().parent
SCHOOL = HERE.parent / "examples" / "school"


def order() -> Order:
    digests = {one.name: one.sha256 for one in models.known().values()}
    built = build(SCHOOL, model_digests=digests, known_drills=DRILLS)
    return Order(built.app, built.manifest, built.spec_record, SCHOOL)


def allowed(requests: int) -> int:
    """The most failures whose Wilson bound is still the published share; -1: even none is too few requests."""
    most = -1
    while wilson_lower(requests - most - 1, requests) >= PUBLISHED:
        most += 1
    return most


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def page(line: LoadLine, section: Section) -> str:
    others = line.machine.others_share
    busy = "not known" if others is None else f"{100 * others:.0f} %"
    judged = [[v.name, str(v.outcome), v.reason] for v in section.verdicts]
    lost = section.tables[0]
    return f"""# {section.calls_simulated:,} requests, a provider that fails, two restarts

Made by `python bench/availability.py --write` on {time.strftime("%Y-%m-%d", time.gmtime())}; not edited by hand. What it is: [availability.py](availability.py);
the drill: `waterline trial APP --drill {DRILL}`.

{table(["", ""], [[fact.name, fact.text] for fact in section.facts])}
{100 * PUBLISHED:g} % by the Wilson bound (95 %, one-sided) leaves **{allowed(section.calls_simulated)} failures** of {section.calls_simulated:,}.

{table(["judged", "outcome", "why"], judged)}
{table([*lost.columns], [list(row) for row in lost.rows] or [["none", "0"]])}
Not shown: {"; ".join(section.excludes)}.

It took {section.seconds:,.0f} s. Machine: {machine()}; other programs used {busy} of its CPUs meanwhile.
Release {line.release[:12]}, Waterline {line.versions["waterline"]}.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=FULL.requests)
    parser.add_argument("--write", action="store_true", help="write AVAILABILITY.md")
    given = parser.parse_args()
    pace = structs.replace(FULL, requests=given.requests)
    line = asyncio.run(run_trial(order(), drills=(DRILL,), quiet=True, pace=pace))
    section = next(one for one in line.sections if one.drill == DRILL)
    if section.state != "ran":
        print(f"{section.reason}\n{section.detail}", file=sys.stderr)
        return 1
    text = page(line, section)
    print(text)
    if given.write:
        (HERE / "AVAILABILITY.md").write_text(text, encoding="utf-8")
    return 0 if section.outcome is Outcome.PASS else 1


if __name__ == "__main__":
    raise SystemExit(main())
