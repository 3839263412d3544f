"""What a build server reads: JUnit XML, JSON shaped like SARIF, and a Markdown summary for a pull request.

An evaluation and a load line end in the same few `Check`s, so each format is written once.
"""

import re
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct

from waterline import __version__
from waterline.core.verdict import Estimate, Outcome, Verdict
from waterline.evals.experiment import ArmFigures, Result
from waterline.trials.load_line import LoadLine

SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
LEVEL = {Outcome.PASS: "none", Outcome.FAIL: "error", Outcome.INCONCLUSIVE: "warning", Outcome.NOT_RUN: "error"}
KIND = {Outcome.PASS: "pass", Outcome.FAIL: "fail", Outcome.INCONCLUSIVE: "open", Outcome.NOT_RUN: "notApplicable"}
SIGN = {Outcome.PASS: "✅", Outcome.FAIL: "❌", Outcome.INCONCLUSIVE: "❔", Outcome.NOT_RUN: "⚠️"}
SLICES_SHOWN = 12
# What XML 1.0 cannot hold, even escaped (section 2.2).
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Check(Struct, frozen=True):
    """`group` is a drill, or "eval". NOT_RUN: it could not run, which is an error and no pass."""

    group: str
    name: str
    outcome: Outcome
    reason: str
    seconds: float = 0.0
    properties: dict[str, Any] = {}


def checks_of_result(result: Result) -> list[Check]:
    """The verdict, and each slice beside it; a slice fails nothing by itself, it says where to look."""
    against = f" against {result.plan.against[:12]}" if result.plan.against else ""
    name = f"{result.plan.app} {result.plan.release[:12]}{against}"
    properties: dict[str, Any] = {"verdict": result.word, "cases": result.plan.cases, "repeats": result.plan.repeats}
    if result.plan.cases_from:
        properties["cases_from"] = result.plan.cases_from
    if result.estimate is not None:
        properties |= {"value": result.estimate.value, "low": result.estimate.low, "high": result.estimate.high}
    return [Check("eval", name, result.outcome, f"{result.word}: {result.reason}", properties=properties)]


def checks_of_line(line: LoadLine) -> list[Check]:
    """Every verdict of every drill that ran; a drill that could not is a check of its own."""
    found: list[Check] = []
    for section in line.sections:
        if section.state == "could_not_run":
            found.append(Check(section.drill, "runs", Outcome.NOT_RUN, section.reason, section.seconds))
        elif section.state == "not_run" and section.required:
            found.append(Check(section.drill, "runs", Outcome.INCONCLUSIVE, f"not run: {section.reason}"))
        for verdict in section.verdicts:
            found.append(_check(section.drill, verdict, section.seconds / max(1, len(section.verdicts))))
    return found


def _check(group: str, verdict: Verdict, seconds: float) -> Check:
    properties: dict[str, Any] = {"provider": verdict.provider, "threshold": verdict.threshold, "unit": verdict.unit}
    if verdict.value is not None:
        properties |= {"value": verdict.value.value, "low": verdict.value.low, "high": verdict.value.high}
    kept = {key: value for key, value in properties.items() if value not in (None, "")}
    return Check(group, verdict.name, verdict.outcome, verdict.reason, seconds, kept)


def junit(suite: str, checks: Sequence[Check]) -> str:
    """JUnit XML as Jenkins, GitLab and GitHub's reporters read it. Inconclusive is skipped, which is not a pass; the
    exit status says the rest."""
    failed = sum(c.outcome is Outcome.FAIL for c in checks)
    errors = sum(c.outcome is Outcome.NOT_RUN for c in checks)
    skipped = sum(c.outcome is Outcome.INCONCLUSIVE for c in checks)
    seconds = sum(c.seconds for c in checks)
    counts = f'tests="{len(checks)}" failures="{failed}" errors="{errors}" skipped="{skipped}" time="{seconds:.3f}"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {counts}>",
             f"  <testsuite name={_attribute(suite)} {counts}>"]  # fmt: skip
    for check in checks:
        head = (
            f"    <testcase classname={_attribute(f'waterline.{check.group}')} name={_attribute(check.name)} "
            f'time="{check.seconds:.3f}"'
        )
        tag = {Outcome.FAIL: "failure", Outcome.NOT_RUN: "error", Outcome.INCONCLUSIVE: "skipped"}.get(check.outcome)
        if tag is None:
            lines.append(f"{head}/>")
            continue
        said = f"      <{tag} message={_attribute(check.reason)}>{escape(_xml(check.reason))}</{tag}>"
        lines += [f"{head}>", said, "    </testcase>"]
    return "\n".join([*lines, "  </testsuite>", "</testsuites>", ""])


def _attribute(text: str) -> str:
    return quoteattr(_xml(text))


def _xml(text: str) -> str:
    return _NOT_XML.sub("�", text)


def sarif(checks: Sequence[Check]) -> dict[str, Any]:
    """Shaped as SARIF 2.1.0 (OASIS), section 3.27: one result a check, `kind` and `level` by its outcome."""
    rules = list(dict.fromkeys(f"{c.group}/{c.name}" for c in checks))
    results = [
        {
            "ruleId": f"{c.group}/{c.name}",
            "ruleIndex": rules.index(f"{c.group}/{c.name}"),
            "kind": KIND[c.outcome] if c.outcome is not Outcome.NOT_RUN else "fail",
            "level": LEVEL[c.outcome] if c.outcome is not Outcome.INCONCLUSIVE else "none",
            "message": {"text": c.reason or c.outcome.value},
            "properties": {"outcome": c.outcome.value, **c.properties},
        }
        for c in checks
    ]
    driver = {
        "name": "waterline", "version": __version__,
        "rules": [{"id": rule, "name": rule.replace("/", " ")} for rule in rules],
    }  # fmt: skip
    return {"$schema": SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


# ------------------------------------------------------------------------------------------------------- Markdown


def markdown_of_line(line: LoadLine) -> str:
    rows = [
        f"| {c.group} | {SIGN[c.outcome]} {c.outcome.value.replace('_', ' ')} | {_cell(c.name)} | {_cell(c.reason)} |"
        for c in checks_of_line(line)
    ]
    return "\n".join([
        f"### Load line of {line.app}: {line.answer}", "", f"{line.because}", "",
        "| drill | outcome | verdict | figure |", "| --- | --- | --- | --- |", *rows, "",
        f"Release `{line.release[:12]}`, {line.cases} cases, {line.seconds / 60:.0f} min.",
    ])  # fmt: skip


def markdown_of_result(result: Result, address: str = "") -> str:
    """`address`: of the experiment in the console, if it was recorded."""
    plan = result.plan
    what = f"`{plan.release[:12]}`" + (f" against `{plan.against[:12]}`" if plan.against else "")
    what += f" on {plan.cases_from}" if plan.cases_from else ""
    lines = [
        f"### {SIGN[result.outcome]} {plan.app}: {result.word}", "", f"{what}: {result.reason}", "",
        "| | score | pass^k | missing | cost, USD | p50, ms | p95, ms |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
        *(_arm_row(name, figures, plan.repeats) for name, figures in result.arms.items()),
    ]  # fmt: skip
    if plan.against:
        counted = f"{result.lost} cases got worse, {result.won} better, {result.same} stayed."
        lines += ["", " ".join((counted, *beside(result)))]
    if result.slices and plan.against:
        lines += [
            "",
            "| slice | cases | before | after | change | p (Holm) |",
            "| --- | ---: | ---: | ---: | --- | ---: |",
        ]
        lines += [
            f"| {_cell(s.tag)} | {s.cases} | {s.first:.0%} | {s.second:.0%} | {points(s.difference)} | {p_value(s.p)} |"
            for s in result.slices[:SLICES_SHOWN]
        ]
        if (more := len(result.slices) - SLICES_SHOWN + result.slices_left_out) > 0:
            lines += ["", f"{more} more slices are in the full report."]
    if result.smallest is not None:
        lines += ["", f"This run would find a difference of {100 * result.smallest:.1f} points with 80 % power."]
    if result.provider == "simulated":
        lines += ["", "**The simulated provider answered: this says nothing of quality.**"]
    if address:
        lines += ["", f"[Every case side by side]({address})"]
    return "\n".join(lines)


def _arm_row(name: str, figures: ArmFigures, repeats: int) -> str:
    label = {"first": "before", "second": "after"}[name]
    cost = f"{figures.cost_nano_usd / 1e9:.4f}" if figures.cost_nano_usd is not None else "unpriced"
    p50 = f"{figures.ms_p50.value:,.0f}" if figures.ms_p50 is not None else "-"
    p95 = f"{figures.ms_p95:,.0f}" if figures.ms_p95 is not None else "-"
    kept = share(figures.pass_hat_k) if repeats > 1 else "-"
    cells = (f"{label} `{figures.release[:12]}`", share(figures.score), kept, str(figures.missing), cost, p50, p95)
    return f"| {' | '.join(cells)} |"


def share(estimate: Estimate | None) -> str:
    if estimate is None:
        return "too few"
    return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def points(estimate: Estimate | None) -> str:
    if estimate is None:
        return "too few"
    return f"{100 * estimate.value:+.1f} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def beside(result: Result) -> list[str]:
    """What the change does to cost and latency, a sentence each; of two releases only."""
    if not result.plan.against:
        return []
    said = []
    if (cost := result.cost_difference) is not None:
        usd = [f"{x / 1e9:+.6f}" for x in (cost.value, cost.low, cost.high)]
        said.append(f"Cost an answer {usd[0]} USD [{usd[1]}, {usd[2]}].")
    else:
        said.append("Cost cannot be compared: an answer is unpriced or missing.")
    if (ms := result.ms_difference) is not None:
        said.append(f"Latency {ms.value:+,.0f} ms [{ms.low:+,.0f}, {ms.high:+,.0f}].")
    return said


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
