"""Robustness: the same cases as users would type them on a bad day; what is lost against the tidy input, in pairs.
Judged by `evals/robustness.py`, as every other robustness figure is."""

from waterline.core.verdict import Estimate, Outcome, Verdict
from waterline.evals.perturbation import OPERATORS, perturb
from waterline.evals.robustness import Pair, Robustness, robustness
from waterline.evals.statistics import non_inferiority
from waterline.trials.asking import Asked, Question
from waterline.trials.drills.quality import sampled
from waterline.trials.judging import gated, undeclared, verdict
from waterline.trials.load_line import Fact, Section, Table
from waterline.trials.sea import Sea

DRILL = "robustness"
# Kinds whose expectation stands: they make up the verdict. The others may change what is asked: shown apart.
KINDS = (
    "typos", "lowercase", "no_punctuation", "whitespace", "homoglyphs", "slang", "mixed_language", "context_before",
    "random_case", "speech",
)  # fmt: skip
APART = ("truncation", "several_questions")
LEAST_KINDS = 8
LANGUAGES = ("en", "pt", "es")
PAIRS_NEEDED = 30  # named where there is nothing to estimate from


def questions(asked: list[Asked], count: int, seed: int) -> list[Question]:
    """At most `count` perturbed inputs, the cases in turn, each with the kind that was used least so far and has
    something to change there. The kinds apart come in from the second turn on: first every case gets its pair."""
    times = dict.fromkeys(KINDS, 0)
    made: list[Question] = []
    used: set[tuple[str, str]] = set()
    for turn in range(-(-count // max(1, len(asked)))):
        if turn == 1:
            times |= dict.fromkeys(APART, 0)
        for one in asked:
            case = one.question.case
            language = next((tag for tag in case.tags if tag in LANGUAGES), "en")
            for kind in sorted(times, key=lambda name: times[name]):
                changed = None if (case.id, kind) in used else perturb(_text(one), (kind,), seed, language)
                if changed is not None:
                    times[kind] += 1
                    used.add((case.id, kind))
                    made.append(Question(case, changed.text, kind))
                    break
            if len(made) == count:
                return made
    return made


def _text(asked: Asked) -> str:
    return asked.question.case.turns()[-1].content


async def run(sea: Sea) -> Section:
    section = Section(DRILL)
    asked = await sampled(sea)
    if not asked:
        said = "there are no cases to perturb; write them to cases/*.jsonl"
        section.verdicts = [verdict(DRILL, "drop", Outcome.INCONCLUSIVE, said, provider="none", more=PAIRS_NEEDED)]
        return section
    changed = questions(asked, sea.pace.perturbed, sea.seed)
    again = [Question(a.question.case, kind="again") for a in asked[:: max(1, len(asked) // sea.pace.again)]]
    again = again[: sea.pace.again]
    sea.teller.doing("asking the real model", len(changed) + len(again))
    answers = await sea.real.ask([*changed, *again], sea.teller)
    before = {a.question.case.id: a for a in asked}
    pairs = [(before[a.question.case.id], a) for a in answers[: len(changed)]]
    same = [(before[a.question.case.id], a) for a in answers[len(changed) :]]
    kept = [(b, a) for b, a in pairs if OPERATORS[a.question.kind].label_preserving]
    twice = (sum(b.passed != a.passed for b, a in same), len(same))
    found = robustness(_pairs(kept), twice, seed=sea.seed)
    section.verdicts = [_drop(sea, found)]
    section.facts = [*_flips(found, twice), *_power(found)]
    section.tables = [_by_kind(found, "By kind of perturbation, the worst first"), _examples(kept)]
    apart = [(b, a) for b, a in pairs if not OPERATORS[a.question.kind].label_preserving]
    if apart:
        others = robustness(_pairs(apart), twice, seed=sea.seed)
        section.tables.insert(1, _by_kind(others, "Kinds that may change what is asked (not in the verdict)"))
    kinds = {a.question.kind for _, a in pairs}
    section.facts.append(Fact("Kinds of perturbation", f"{len(kinds)}: {', '.join(sorted(kinds))}", "real"))
    if len(kinds) < LEAST_KINDS:
        said = f"only {len(kinds)} kinds had something to change; {LEAST_KINDS} are required. Write more cases"
        section.verdicts.append(
            verdict(DRILL, "kinds", Outcome.INCONCLUSIVE, said, provider="none", more=LEAST_KINDS - len(kinds))
        )
    section.excludes = ["inputs that attack on purpose (the drill injection is not in this version)"]
    return section


def _pairs(asked: list[tuple[Asked, Asked]]) -> list[Pair]:
    return [
        Pair(b.question.case.id, a.question.kind, float(b.passed), float(a.passed), b.passed != a.passed,
             b.question.case.tags)
        for b, a in asked
    ]  # fmt: skip


def _drop(sea: Sea, found: Robustness) -> Verdict:
    most = sea.spec.objectives.quality.robustness_drop_max
    if most is None:
        return undeclared(DRILL, "drop", "quality.robustness_drop_max", "real")
    difference = found.all.drop if found.all is not None else None
    return gated(DRILL, "change of score under perturbation", non_inferiority(difference, most), "real", "difference")


def _flips(found: Robustness, same: tuple[int, int]) -> list[Fact]:
    if found.all is None:
        return []
    facts = [Fact("Flip rate", f"{_rate(found.all.flips)} of {found.all.n} verdicts changed either way", "real")]
    if found.baseline is not None:
        facts.append(Fact("Same input asked twice", f"{same[0]} of {same[1]} changed without any perturbation", "real"))
        if found.all.flips is not None:
            beyond = 100 * (found.all.flips.value - found.baseline.value)
            facts.append(Fact("Flip rate beyond the model's own", f"{beyond:+.1f} percentage points", "real"))
    return facts


def _rate(found: Estimate | None) -> str:
    return f"{100 * found.value:.1f} %" if found is not None else "an unknown share"


def _power(found: Robustness) -> list[Fact]:
    if found.smallest is None or found.all is None:
        return []
    text = f"a change of {100 * found.smallest:.0f} percentage points, with {found.all.n} pairs and 80 % power"
    return [Fact("Smallest change that this trial would find", text, "real")]


def _by_kind(found: Robustness, title: str) -> Table:
    rows = [
        [
            kind.name, OPERATORS[kind.name].about, str(kind.n), f"{100 * (kind.after - kind.before):+.0f} pp",
            f"{kind.lost} lost, {kind.won} won", f"{kind.p:.2f}",
        ]
        for kind in found.kinds
    ]  # fmt: skip
    return Table(
        title, ["kind", "what is done", "pairs", "change", "cases", "p (sign test, Holm)"], rows, "real",
        note=f"Worst slice: {found.worst}." if found.worst else "",
    )  # fmt: skip


def _examples(pairs: list[tuple[Asked, Asked]]) -> Table:
    lost = [(b, a) for b, a in pairs if b.passed and not a.passed]
    rows = [
        [a.question.case.id, a.question.kind, a.question.text[:140], a.call.text[:160], a.score.reason[:120]]
        for _, a in lost[:8]
    ]
    return Table("Right before, wrong when perturbed", ["case", "kind", "asked", "answered", "why"], rows, "real")
