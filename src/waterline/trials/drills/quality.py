"""Quality: the app's own cases, asked of the real model through the gateway, against the declared threshold."""

from collections import defaultdict

from waterline.core.verdict import Outcome
from waterline.evals.cases import sample, uncovered
from waterline.evals.scorers import VERSION
from waterline.evals.statistics import gate, pass_hat_k, wilson
from waterline.trials.asking import Asked, CouldNotRun, Question
from waterline.trials.judging import gated, undeclared, verdict
from waterline.trials.load_line import Fact, Section, Table
from waterline.trials.sea import Sea

DRILL = "quality"
SLICES_SHOWN = 14
FAILURES_SHOWN = 12


async def sampled(sea: Sea) -> list[Asked]:
    """The cases of this trial, asked once; other drills build on the same answers. Raises CouldNotRun."""
    if sea.real.sampled is None:
        if not sea.has_cases:
            raise CouldNotRun(
                "Cases are in the app's folder, not in a release. Run the trial on the folder: waterline trial APP_DIR."
            )
        chosen = sample(sea.cases, sea.spec.trial.short_cases, sea.seed) if sea.short else sea.cases
        sea.teller.doing("asking the real model", len(chosen))
        sea.real.sampled = await sea.real.ask([Question(case) for case in chosen], sea.teller)
    return sea.real.sampled


async def run(sea: Sea) -> Section:
    section = Section(DRILL)
    threshold = sea.spec.objectives.quality.score_min
    if not sea.cases and sea.has_cases:
        settled = gate(0, 0, threshold if threshold is not None else 0.9)
        said = f"the app has no cases; {settled.reason}. Write them to cases/*.jsonl"
        section.verdicts = [
            verdict(DRILL, "score", Outcome.INCONCLUSIVE, said, provider="none", more=settled.more_cases)
        ]
        return section
    asked = await sampled(sea)
    passed = sum(a.passed for a in asked)
    if threshold is None:
        section.verdicts.append(undeclared(DRILL, "score", "quality.score_min", "real"))
    else:
        section.verdicts.append(gated(DRILL, "score", gate(passed, len(asked), threshold), "real"))
    missing = sum(not a.call.complete for a in asked)
    fallen = sum(a.fell_back for a in asked)
    section.facts = [
        Fact("Cases", f"{len(asked)} of {len(sea.cases)}, sampled by seed {sea.seed}"
             if len(asked) < len(sea.cases) else f"all {len(asked)}", "real"),
        Fact("Score", f"{passed} of {len(asked)} passed, scorer version {VERSION} (plain comparisons, no model judges)",
             "real"),
        Fact("Without an answer", f"{missing}; each counts as failed", "real"),
        Fact("Answered by a fallback", f"{fallen}", "real"),
        Fact("Model", ", ".join(sorted({f"{a.provider} {a.model}" for a in asked if a.model})), "real"),
    ]  # fmt: skip
    if sea.pace.repeats:
        section.facts.append(await _repeated(sea, asked))
    section.tables = [_slices(asked), _failures(asked)]
    if left_out := uncovered([a.question.case for a in asked], sea.cases):
        section.excludes.append(f"no sampled case has the tags {', '.join(left_out)}")
    if sea.real.team is not None:
        section.facts.append(Fact("Asked", f"the team's own code at {sea.real.team.url}, through the gateway", "real"))
    section.excludes.append("what users ask that no case looks like (the drill distribution is not in this version)")
    return section


async def _repeated(sea: Sea, asked: list[Asked]) -> Fact:
    """pass^2: how often a case passes twice in a row."""
    twice = sample([a.question.case for a in asked], sea.pace.repeats, sea.seed + 1)
    sea.teller.doing("asking again", len(twice))
    again = await sea.real.ask([Question(case, kind="again") for case in twice], sea.teller)
    first = {a.question.case.id: a.passed for a in asked}
    tasks = [(first[a.question.case.id] + a.passed, 2) for a in again]
    value = pass_hat_k(tasks, 2)
    return Fact("pass^2", f"{100 * (value or 0):.1f} % of {len(tasks)} cases passed both of two times", "real")


def _slices(asked: list[Asked]) -> Table:
    tags: dict[str, list[bool]] = defaultdict(list)
    for one in asked:
        for tag in {f"route:{one.question.case.route}", *one.question.case.tags}:
            tags[tag].append(one.passed)
    shown = sorted(tags.items(), key=lambda item: (-len(item[1]), item[0]))[:SLICES_SHOWN]
    rows = []
    for tag, scores in sorted(shown, key=lambda item: sum(item[1]) / len(item[1])):
        seen = wilson(sum(scores), len(scores))
        rows.append([
            tag, f"{sum(scores)} of {len(scores)}", f"{100 * seen.value:.0f} %",
            f"{100 * seen.low:.0f} to {100 * seen.high:.0f} %",
        ])  # fmt: skip
    return Table(
        "By tag, the lowest first", ["tag", "passed", "share", "95 % interval"], rows, "real",
        note="Slices are small: an interval that wide decides nothing. They say where to write more cases.",
    )  # fmt: skip


def _failures(asked: list[Asked]) -> Table:
    failed = [a for a in asked if not a.passed]
    rows = [
        [
            one.question.case.id,
            one.question.case.turns()[-1].content[:140],
            (one.call.text or one.call.message or one.call.code)[:200],
            one.score.reason[:140],
        ]
        for one in failed[:FAILURES_SHOWN]
    ]
    more = f"{len(failed) - FAILURES_SHOWN} more are in no table." if len(failed) > FAILURES_SHOWN else ""
    return Table("What failed", ["case", "asked", "answered", "why"], rows, "real", note=more)
