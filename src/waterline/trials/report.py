"""The load line as a page that prints well, and as JSON. The page needs nothing else: styles and drawings are in it."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import Struct

from waterline.core.ids import short
from waterline.core.verdict import Outcome, Verdict
from waterline.trials import drawing
from waterline.trials.load_line import LoadLine, Section

HTML, JSON = "load-line.html", "load-line.json"
WORDS = {
    Outcome.PASS: "pass",
    Outcome.FAIL: "fail",
    Outcome.INCONCLUSIVE: "inconclusive",
    Outcome.NOT_RUN: "not shown",
}
ABOUT = {
    "quality": "The app's own cases, asked of the real model through the gateway, scored by plain comparison.",
    "robustness": "The same cases as users type on a bad day; what is lost against the tidy input, in pairs.",
    "load": "One, 2.5 and three times the expected callers, and three times the arrivals, against a provider that "
    "limits rates.",
    "outage": "The provider fails in every way that providers do. Who is answered all the same, and is every failure "
    "honest?",
    "availability": "Many requests, faults on a timetable, and the gateway restarted twice, once by kill -9: how many "
    "are answered?",
    "budget": "Many callers into a small budget, with a kill -9 in the middle: it must hold and block nobody early.",
    "branches": "All branches at once, one of them hostile: it floods, it spends, its part of every connected system "
    "hangs. Who else notices?",
    "cost": "The declared monthly volume, at the tokens that the real conversations took.",
    "rollback": "Another release is promoted and rolled back under traffic.",
    "recovery": "kill -9 under load, then a start: what was answered must be there, once.",
}


class Paths(Struct, frozen=True):
    html: Path
    json: Path


def write(line: LoadLine, folder: Path) -> Paths:
    """Writes both files, over older ones."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = Paths(folder / HTML, folder / JSON)
    document = line.document()
    paths.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    paths.html.write_text(page(line, str(document["digest"])), encoding="utf-8")
    return paths


def page(line: LoadLine, digest: str) -> str:
    """Everything in it is escaped: cases and answers hold whatever users and models wrote."""
    environment = Environment(
        loader=PackageLoader("waterline.trials"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    ran = [s for s in line.sections if s.state == "ran" or s.state == "could_not_run" or s.required]
    return environment.get_template("load_line.html").render(
        line=line,
        digest=digest,
        short=short,
        sections=[_shown(s) for s in ran],
        left_out=[s for s in line.sections if s not in ran],
        tone=_tone(line.exit_status),
        promises=_promises(line),
        minutes=f"{line.seconds / 60:.1f}",
        calls_real=sum(s.calls_real for s in line.sections),
        calls_simulated=sum(s.calls_simulated for s in line.sections),
        words=WORDS,
    )


def _tone(status: int) -> str:
    return {0: "pass", 1: "fail", 2: "inconclusive", 3: "not_run"}[status]


def _shown(section: Section) -> dict[str, Any]:
    states = {"could_not_run": "could not run", "not_run": "not run"}
    return {
        "section": section,
        "about": ABOUT.get(section.drill, ""),
        "tone": str(section.outcome),
        "word": WORDS[section.outcome] if section.state == "ran" else states[section.state],
        "verdicts": [_judged(v) for v in section.verdicts],
        "chart": drawing.chart(section.curves),
    }


def _judged(verdict: Verdict) -> dict[str, Any]:
    seen, floor = verdict.value, drawing.at_least(verdict)
    threshold = ""
    if verdict.threshold is not None:
        threshold = f"{'at least' if floor else 'at most'} {drawing.number(verdict.threshold, verdict.unit)}"
        if not floor and not verdict.threshold:
            threshold = "none allowed"
    counted = verdict.outcome in (Outcome.PASS, Outcome.FAIL)  # its reason says it all
    return {
        "verdict": verdict,
        "word": WORDS[verdict.outcome],
        "bar": drawing.bar(verdict),
        "figure": drawing.number(seen.value, verdict.unit) if seen is not None else "" if counted else "no figure",
        "interval": f"{drawing.number(seen.low, verdict.unit)} to {drawing.number(seen.high, verdict.unit)}"
        if seen is not None
        else "",
        "confidence": f"{100 * seen.confidence:.0f} %" if seen is not None else "",
        "threshold": threshold,
    }


def _promises(line: LoadLine) -> list[dict[str, str]]:
    """For which load, at which cost, with which quality: the three figures under the answer."""
    found = {(v.target.id, v.name): v for s in line.sections for v in s.verdicts}

    def figure(drill: str, starts: str) -> tuple[str, str, str]:
        verdict = next((v for (d, name), v in found.items() if d == drill and name.startswith(starts)), None)
        if verdict is None or verdict.value is None:
            return "not shown", "", "not_run"
        shown = drawing.number(verdict.value.value, verdict.unit)
        interval = (
            f"{drawing.number(verdict.value.low, verdict.unit)} to {drawing.number(verdict.value.high, verdict.unit)}"
        )
        return shown, f"{interval}, {verdict.provider} provider", str(verdict.outcome)

    expected = line.declared.get("objectives", {}).get("expected_concurrency", 1)
    load, load_more, load_tone = figure("load", "answered, 3x:")
    cost, cost_more, cost_tone = figure("cost", "USD a month")
    if cost == "not shown":
        cost, cost_more, cost_tone = figure("cost", "USD a conversation")
    score, score_more, score_tone = figure("quality", "score")
    return [
        {"name": "Load", "figure": load, "what": f"answered at three times the expected {expected} callers",
         "more": load_more, "tone": load_tone},
        {"name": "Cost", "figure": cost, "what": "forecast from measured tokens", "more": cost_more, "tone": cost_tone},
        {"name": "Quality", "figure": score, "what": "of the app's cases passed", "more": score_more,
         "tone": score_tone},
    ]  # fmt: skip
