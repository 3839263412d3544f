"""The same simulated leads once for each reader of a flow (`bench/leads.py --reading`), in pairs: what is lost by asking a
model only where code cannot read.

    for reading in code model both; do
      nice python bench/leads.py --leads 60 --first 50000 --reading $reading --out out/paired/$reading.jsonl; done
    python bench/leads_paired.py out/paired          keeps what was said and found in leads_paired.json, for COST.md
"""
# ruff: noqa: E501

import argparse
import json
import time
from pathlib import Path
from typing import Any

import msgspec
from cost_tables import interval, table
from leads_report import quiet_share

from waterline.core.flow import READINGS
from waterline.core.verdict import Estimate
from waterline.evals.leads import Lead
from waterline.evals.statistics import paired_difference, wilson

HERE = Path(__file__).resolve().parent
KEPT = HERE / "leads_paired.json"
NAMES = {
    "model": "the model, in each turn, alone: the baseline's way",
    "both": "code, and the model in each turn",
    "code": "code; the model only what code cannot: **the lever**",
}
WIDE = 0.05  # half of an interval


def paired_part(all_leads: int, all_wanted: int) -> str:
    """`all_*`: of LEADS.md, where only the flow was asked."""
    title = "### What that loses, in pairs\n\n"
    if not KEPT.exists():
        return f"{title}Not measured here: `python bench/leads_paired.py`.\n"
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    arms = leads_of(kept)
    rows = [_row(name, arms[name], arms["code"]) for name in NAMES if arms.get(name)]
    most = wilson(all_leads - all_wanted, all_leads)
    head = (
        "who reads what people write", "leads", "turns", "of them asked the model", "tokens read and written a turn",
        "got what they wanted", "questions answered with the fact", "pairs", "lost by the lever", "of questions",
    )  # fmt: skip
    worded = sum(lead.words == "model" for lead in arms["code"])
    return f"""{title}**Measured** on {kept["asked_on"]}: the same {len(arms["code"])} simulated people (seeds {kept["first"]} on, which nobody developed with; {worded} of them worded by
the model), once with each reader, real {kept["model"]}, Radicale and Tryton; judged as in LEADS.md, by what the two systems hold, never by
words. In pairs, the same person in both; below 0: gained. The prompt of the model that reads alone was written on other seeds.

{table(head, rows)}
{_verdict(arms)}
How much of what the model alone loses is its own, and how much its prompt's and its form's (bench/leads_reading.py), is not told
apart. A larger model reads better than this one. Whoever never errs would have lost nobody: against such a reader the flow loses
what it misses, {most.value:.1%} [{most.low:.1%}, {most.high:.1%}] of the {all_leads} leads of LEADS.md. That is the most that any model in each turn can be worth.
Looked at once more when everybody was gone, {_differ(kept)}. All talks: leads_paired.json; those who did not get what they wanted:

{_lost(arms)}
"""


def loss(arms: dict[str, list[Lead]], than: str = "model") -> Estimate | None:
    """Of people who got what they wanted, by reading with code first instead; below 0: gained."""
    return _loss(*_pairs(arms[than], arms["code"])) if arms.get(than) else None


def leads_of(kept: dict[str, Any]) -> dict[str, list[Lead]]:
    return {name: msgspec.convert(rows, list[Lead]) for name, rows in kept["leads"].items()}


def kept_leads() -> dict[str, list[Lead]]:
    return leads_of(json.loads(KEPT.read_text(encoding="utf-8"))) if KEPT.exists() else {}


def _row(name: str, leads: list[Lead], code: list[Lead]) -> tuple[str, ...]:
    turns, good = sum(lead.turns for lead in leads), wilson(sum(lead.wanted for lead in leads), len(leads))
    asked = sum(lead.model_turns for lead in leads)
    read, written = (sum(counts[n] for lead in leads for counts in lead.routes.values()) / turns for n in (1, 3))
    facts, right = sum(lead.facts for lead in leads), sum(lead.facts_right for lead in leads)
    theirs, ours = _pairs(leads, code)
    return (
        NAMES[name], str(len(leads)), str(turns), f"{asked / turns:.0%}", f"{read:,.0f} and {written:.1f}",
        f"{good.value:.1%} [{good.low:.1%}, {good.high:.1%}]", f"{right} of {facts}", str(len(ours)),
        "" if name == "code" else interval(_loss(theirs, ours)),
        "" if name == "code" else interval(_facts_lost(theirs, ours)),
    )  # fmt: skip


def _pairs(theirs: list[Lead], ours: list[Lead]) -> tuple[list[Lead], list[Lead]]:
    there = {lead.seed: lead for lead in theirs}
    both = [(there[lead.seed], lead) for lead in ours if lead.seed in there]
    return [a for a, _ in both], [b for _, b in both]


def _loss(theirs: list[Lead], ours: list[Lead]) -> Estimate | None:
    return paired_difference([float(lead.wanted) for lead in ours], [float(lead.wanted) for lead in theirs])


def _facts_lost(theirs: list[Lead], ours: list[Lead]) -> Estimate | None:
    """Over people who put questions in both."""
    both = [(a, b) for a, b in zip(theirs, ours, strict=True) if a.facts and b.facts]
    return paired_difference([b.facts_right / b.facts for _, b in both], [a.facts_right / a.facts for a, _ in both])


def _verdict(arms: dict[str, list[Lead]]) -> str:
    said = []
    for name in ("model", "both"):
        found = loss(arms, name)
        if found is None:
            continue
        wide = (found.high - found.low) / 2 > WIDE
        shown = (
            "nothing is lost (the whole interval is a gain)"
            if found.high <= 0
            else f"a loss of up to {max(0.0, found.high):.1%} is not excluded"
        )
        said.append(
            f"Against {NAMES[name].partition(':')[0]}: {shown}"
            + ("; the interval is wide, more leads narrow it." if wide else ".")
        )
    return "\n".join(said)


def _differ(kept: dict[str, Any]) -> str:
    checks = kept["checks"]
    wrong = sum(len(one["wrong"]) for one in checks)
    held = sum(one["events_in_radicale"] for one in checks), sum(one["opportunities_in_tryton"] for one in checks)
    return (
        f"the systems hold {held[0]} visits and {held[1]} leads of these people, and {wrong or 'none'} of them differ"
    )


def _lost(arms: dict[str, list[Lead]]) -> str:
    lines = []
    for name in NAMES:
        wrong = [f"{lead.seed} ({lead.goal}: {lead.why})" for lead in arms.get(name, ()) if not lead.wanted]
        lines.append(f"* {NAMES[name].partition(':')[0].partition(';')[0]}: {', '.join(wrong) or 'none'}")
    return "\n".join(lines)


def own_share(arms: dict[str, list[Lead]]) -> Estimate | None:
    return quiet_share(arms["code"]) if arms.get("code") else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with code.jsonl, model.jsonl, both.jsonl")
    given = parser.parse_args()
    leads: dict[str, Any] = {}
    for name in READINGS:
        journal = given.folder / f"{name}.jsonl"
        if journal.exists():
            lines = journal.read_bytes().splitlines()
            leads[name] = sorted((json.loads(line) for line in lines), key=lambda one: one["seed"])
    first = min(lead["seed"] for rows in leads.values() for lead in rows)
    checks = [json.loads(line) for file in sorted(given.folder.glob("*.checks.jsonl")) for line in file.open()]
    kept = {
        "asked_on": time.strftime("%Y-%m-%d", time.gmtime()), "model": "qwen2.5-coder-1.5b", "first": first,
        "checks": checks,
        "leads": leads,
    }  # fmt: skip
    KEPT.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(paired_part(200, 194))


if __name__ == "__main__":
    main()
