"""Robustness: the same cases as users would type them on a bad day; what is lost against the tidy input, in pairs."""

from collections import defaultdict

from waterline.core.verdict import Outcome, Verdict
from waterline.evals.perturbation import OPERATORS, perturb
from waterline.evals.statistics import holm, mcnemar, mde_paired, non_inferiority, paired_difference, wilson
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
    section.verdicts = [_drop(sea, kept)]
    section.facts = [*_flips(kept, same), *_power(kept)]
    section.tables = [_by_kind(kept, "By kind of perturbation, the worst first"), _examples(kept)]
    apart = [(b, a) for b, a in pairs if not OPERATORS[a.question.kind].label_preserving]
    if apart:
        section.tables.insert(1, _by_kind(apart, "Kinds that may change what is asked (not in the verdict)"))
    kinds = {a.question.kind for _, a in pairs}
    section.facts.append(Fact("Kinds of perturbation", f"{len(kinds)}: {', '.join(sorted(kinds))}", "real"))
    if len(kinds) < LEAST_KINDS:
        said = f"only {len(kinds)} kinds had something to change; {LEAST_KINDS} are required. Write more cases"
        section.verdicts.append(
            verdict(DRILL, "kinds", Outcome.INCONCLUSIVE, said, provider="none", more=LEAST_KINDS - len(kinds))
        )
    section.excludes = ["inputs that attack on purpose (the drill injection is not in this version)"]
    return section


def _drop(sea: Sea, pairs: list[tuple[Asked, Asked]]) -> Verdict:
    difference = paired_difference(
        [float(b.passed) for b, _ in pairs],
        [float(a.passed) for _, a in pairs],
        [b.question.case.id for b, _ in pairs],
        seed=sea.seed,
    )
    most = sea.spec.objectives.quality.robustness_drop_max
    if most is None:
        return undeclared(DRILL, "drop", "quality.robustness_drop_max", "real")
    return gated(DRILL, "change of score under perturbation", non_inferiority(difference, most), "real", "difference")


def _flips(pairs: list[tuple[Asked, Asked]], same: list[tuple[Asked, Asked]]) -> list[Fact]:
    changed = sum(b.passed != a.passed for b, a in pairs)
    anyway = sum(b.passed != a.passed for b, a in same)
    noise, seen = wilson(anyway, len(same)), wilson(changed, len(pairs))
    return [
        Fact("Flip rate", f"{changed} of {len(pairs)} verdicts changed either way ({100 * seen.value:.1f} %)", "real"),
        Fact("Same input asked twice", f"{anyway} of {len(same)} changed without any perturbation", "real"),
        Fact("Flip rate beyond the model's own", f"{100 * (seen.value - noise.value):+.1f} percentage points", "real"),
    ]


def _power(pairs: list[tuple[Asked, Asked]]) -> list[Fact]:
    discordant = sum(b.passed != a.passed for b, a in pairs)
    if not pairs or not discordant:
        return []
    found = mde_paired(len(pairs), (discordant / len(pairs)) ** 0.5)
    text = f"a change of {100 * (found or 0):.0f} percentage points, with {len(pairs)} pairs and 80 % power"
    return [Fact("Smallest change that this trial would find", text, "real")]


def _by_kind(pairs: list[tuple[Asked, Asked]], title: str) -> Table:
    kinds: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for before, after in pairs:
        kinds[after.question.kind].append((before.passed, after.passed))
    lost = {k: (sum(b and not a for b, a in v), sum(a and not b for b, a in v)) for k, v in kinds.items()}
    adjusted = dict(zip(lost, holm([mcnemar(*counts) for counts in lost.values()]), strict=True))
    rows = []
    for kind, scores in sorted(kinds.items(), key=lambda kv: (sum(a - b for b, a in kv[1]) / len(kv[1]), kv[0])):
        change = sum(int(a) - int(b) for b, a in scores) / len(scores)
        rows.append([
            kind, OPERATORS[kind].about, str(len(scores)), f"{100 * change:+.0f} pp",
            f"{lost[kind][0]} lost, {lost[kind][1]} won", f"{adjusted[kind]:.2f}",
        ])  # fmt: skip
    return Table(
        title, ["kind", "what is done", "pairs", "change", "cases", "p (McNemar, Holm)"], rows, "real",
        note=f"Worst slice: {rows[0][0]} ({rows[0][3]} over {rows[0][2]} pairs)." if rows else "",
    )  # fmt: skip


def _examples(pairs: list[tuple[Asked, Asked]]) -> Table:
    lost = [(b, a) for b, a in pairs if b.passed and not a.passed]
    rows = [
        [a.question.case.id, a.question.kind, a.question.text[:140], a.call.text[:160], a.score.reason[:120]]
        for _, a in lost[:8]
    ]
    return Table("Right before, wrong when perturbed", ["case", "kind", "asked", "answered", "why"], rows, "real")
