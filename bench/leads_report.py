"""LEADS.md and leads.json, from the journal of bench/leads.py."""
# ruff: noqa: E501

import json
import time
from collections.abc import Sequence
from typing import Any

from waterline.core.verdict import Estimate
from waterline.evals.leads import Lead
from waterline.evals.statistics import clustered_mean, pass_hat_k_mean, wilson

NAMES = {"en": "English", "pt": "Portuguese", "es": "Spanish"}
ENDS = ("booked", "qualified", "handed_over", "lost")
GOALS = {
    "book": "want to book a visit", "ask": "only have questions", "person": "want to speak to a person",
    "angry": "want to complain", "outside": "want a place for a child of 15 to 18", "leave": "stop writing half-way",
    "minor": "are children themselves",
}  # fmt: skip


def report(leads: Sequence[Lead], checks: str) -> tuple[str, dict[str, Any]]:
    """The page, and the figures that bench/cost.py takes."""
    first = [lead for lead in leads if lead.take == 0]
    checked = [json.loads(line) for line in checks.splitlines()]
    figures = _figures(first)
    parts = [
        _head(first),
        _outcomes(first),
        _wanted(first),
        _repeated(leads),
        _systems(leads, checked),
        _models(first, figures),
    ]
    return "\n".join(parts), figures


def _rate(k: int, n: int) -> str:
    if not n:
        return "none"
    e = wilson(k, n)
    return f"{k} of {n}: {e.value:.1%} [{e.low:.1%}, {e.high:.1%}]"


def _share(k: int, n: int) -> str:
    e = wilson(k, n)
    return f"{k} ({e.value:.0%} [{e.low:.0%}, {e.high:.0%}])"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _head(leads: Sequence[Lead]) -> str:
    worded = sum(lead.words == "model" for lead in leads)
    return f"""# {len(leads)} simulated leads

Written by `python bench/leads.py --report ...` on {time.strftime("%Y-%m-%d", time.gmtime())}; how: [leads.py](leads.py). Simulated people
(seeded; typos, chat words, missing accents, three languages; {worded} of them worded by the model) write to the flow of
examples/school; the model is Qwen2.5-Coder-1.5B behind the whole gateway, the calendar a real Radicale, the CRM a real
Tryton. An end is judged by what these two hold, looked at past our connectors. Intervals: 95 %, Wilson.

**What this does not show.** The people are simulated: they answer what they are asked, and their slips are those of our
own list. The flow was developed against other seeds of the same people, so this is the rate on unseen people of a known
kind, not on real parents. Three full runs before this one, each on seeds of its own, had 174, 194 and 193 of 200. Each was
read, then the flow was corrected: a day that is full leads to the same day of the next week; a slip of the keyboard no longer
changes the language, a weekday ("thursayd") or the age that a child tells; a question needs no question mark. After the
first the people were corrected too: they had taken the first offer on whatever day. What this run showed is corrected since,
and not counted: "por favor", where a yes was asked for, was not understood three times in a row.
"""


def _outcomes(leads: Sequence[Lead]) -> str:
    rows = []
    groups = [("all", leads)]
    groups += [(NAMES[code], [lead for lead in leads if lead.language == code]) for code in NAMES]
    groups += [(f"who {goal}", [lead for lead in leads if lead.goal == kind]) for kind, goal in GOALS.items()]
    for name, some in groups:
        if some:
            rows.append(
                (name, str(len(some)), *(_share(sum(lead.ended == end for lead in some), len(some)) for end in ENDS))
            )
    return f"""## How they ended

booked: a visit is in Radicale. handed over: a person was asked for. qualified: no visit, but a lead in Tryton. lost: neither,
which is right for whoever only asks, is a child, or wants what the school does not offer.

{_table(("", "leads", "booked", "qualified", "handed over", "lost"), rows)}"""


def _wanted(leads: Sequence[Lead]) -> str:
    rows = []
    for name, some in (
        ("all", leads),
        ("scripted words", [lead for lead in leads if lead.words == "script"]),
        ("words of the model", [lead for lead in leads if lead.words == "model"]),
        *((NAMES[code], [lead for lead in leads if lead.language == code]) for code in NAMES),
        ("who want to book a visit", [lead for lead in leads if lead.goal == "book"]),
    ):
        rows.append((name, _rate(sum(lead.wanted for lead in some), len(some))))
    wrong = [lead for lead in leads if not lead.wanted]
    listed = [
        f"* {lead.seed} ({NAMES[lead.language]}, words of the {lead.words}), of those who {GOALS[lead.goal]}: {lead.why}"
        for lead in wrong
    ]
    asked, right = sum(lead.facts for lead in leads), sum(lead.facts_right for lead in leads)
    return f"""## Did they get what they wanted?

The systems hold what this person wanted, and nothing else: one visit on a day that suits, the lead with the child's age; or a
person asked for; or, for the others, nothing.

{_table(("", "wanted and got"), rows)}
Questions that were put on the way, answered with the fact, or honestly not where the handbook does not say it:
{_rate(right, asked)}.

Those who did not (a model that words what a person says sometimes changes who speaks: "I'm 8 years old" is then a child):

{chr(10).join(listed) or "* none"}
"""


def _repeated(leads: Sequence[Lead]) -> str:
    by_seed: dict[int, list[Lead]] = {}
    for lead in leads:
        by_seed.setdefault(lead.seed, []).append(lead)
    most = max(len(takes) for takes in by_seed.values())
    tasks = [(sum(lead.wanted for lead in takes), len(takes)) for takes in by_seed.values() if len(takes) == most]
    if most < 2:
        return "## Again and again\n\nNot run: `--takes 4`.\n"
    rows = []
    for k in range(1, most + 1):
        e = pass_hat_k_mean(tasks, k)
        rows.append((f"pass^{k}", "unknown" if e is None else f"{e.value:.1%} [{e.low:.1%}, {e.high:.1%}]"))
    return f"""## Again and again

{len(tasks)} of the people wrote {most} times, each time with other slips. pass^k: all of k times went as wanted (mean over people,
t interval over them).

{_table(("", "of the people"), rows)}"""


def _systems(leads: Sequence[Lead], checks: Sequence[dict[str, Any]]) -> str:
    rows = [
        (c["at"], str(c["leads"]), str(c["booked"]), str(c["events_in_radicale"]), str(c["leads_with_one"]),
         str(c["opportunities_in_tryton"]), ", ".join(map(str, c["wrong"])) or "none")
        for c in checks
    ]  # fmt: skip
    twice = sum(len(lead.visits) > 1 for lead in leads)
    head = (
        "run ended",
        "leads",
        "booked",
        "events in Radicale",
        "with a lead",
        "opportunities in Tryton",
        "that differ",
    )
    return f"""## In the systems, once more when everybody was gone

{_table(head, rows)}
Booked twice: {twice} of {len(leads)}. A run that was cut is not in this table; its finished leads are in the journal, each with what
the two systems held when it ended.
"""


def _figures(leads: Sequence[Lead]) -> dict[str, Any]:
    turns = sum(lead.turns for lead in leads)
    routes: dict[str, list[int]] = {}
    for lead in leads:
        for route, counts in lead.routes.items():
            routes[route] = [a + b for a, b in zip(routes.get(route, [0] * 4), counts, strict=True)]
    quiet = quiet_share(leads)
    model_turns = sum(lead.model_turns for lead in leads)
    calls = sum(lead.calls for lead in leads)
    return {
        "share": {"value": quiet.value, "low": quiet.low, "high": quiet.high} if quiet else None,
        "calls_a_model_turn": calls / model_turns if model_turns else 0.0,
        "leads": len(leads),
        "turns": turns,
        "turns_without_a_call": turns - model_turns,
        "calls": calls,
        "routes": routes,  # calls, tokens read, of them from a cache, tokens written
        "wanted": sum(lead.wanted for lead in leads),
        "people": "simulated, examples/school",
        "model": "qwen2.5-coder-1.5b",
    }


def _quiet(leads: Sequence[Lead]) -> str:
    e = quiet_share(leads)
    return "unknown" if e is None else f"{e.value:.1%} [{e.low:.1%}, {e.high:.1%}]"


def quiet_share(leads: Sequence[Lead]) -> Estimate | None:
    """Turns that no model was asked in; the interval is over people, because turns of one person are alike."""
    scores, people = [], []
    for lead in leads:
        scores += [0.0] * lead.model_turns + [1.0] * (lead.turns - lead.model_turns)
        people += [lead.seed] * lead.turns
    return clustered_mean(scores, people)


def _models(leads: Sequence[Lead], f: dict[str, Any]) -> str:
    read, cached, written = (sum(r[n] for r in f["routes"].values()) for n in (1, 2, 3))
    rows = [
        (route, str(r[0]), f"{r[1] / r[0]:.0f}", f"{r[2] / r[0]:.0f}", f"{r[3] / r[0]:.1f}")
        for route, r in sorted(f["routes"].items())
    ]
    scripted = [lead for lead in leads if lead.words == "script"]
    return f"""## What the model was asked

Turns (of users) that needed no call of a model: {f["turns_without_a_call"]} of {f["turns"]}: {_quiet(leads)}; of people whose words
are scripted {_quiet(scripted)} (interval over people: turns of one person are alike).
Tokens a turn, all turns: {read / f["turns"]:.1f} read (of them {cached / f["turns"]:.1f} from the model's prompt cache), {written / f["turns"]:.1f} written.

{_table(("route", "calls", "tokens read a call", "of them cached", "written"), rows)}
`bench/cost.py` takes the share of turns without a call from here (leads.json).
"""
