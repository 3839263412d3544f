"""What judges said in an evaluation: whose word counts, and the verdict with their errors in it."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from waterline.core.verdict import Outcome
from waterline.evals.statistics import CONFIDENCE, Gate, Judged, JudgeErrors, corrected_mean, gate_corrected
from waterline.evals.statistics.paired import non_inferiority


class Opinion(Struct, frozen=True, omit_defaults=True):
    """What one judge said of one answer. `said` "": no verdict. `changed`: another model than the pinned one."""

    judge: str
    said: str
    reason: str = ""
    changed: str = ""
    cost_nano_usd: int | None = None


class Standing(Struct, frozen=True, omit_defaults=True):
    """Whether a judge may gate, and why not. `id`: what was calibrated. `errors`: of that calibration."""

    name: str
    id: str
    may_gate: bool = False
    why: str = "nobody has labelled answers for it; label some in the console and run: waterline judge calibrate"
    errors: JudgeErrors | None = None


class Use(Struct, frozen=True, omit_defaults=True):
    """A judge in one evaluation."""

    standing: Standing
    asked: int
    passed: int
    no_verdict: int
    changed: str = ""
    cost_nano_usd: int | None = None  # None: something is unpriced


class Heard(Struct, frozen=True):
    """One judged answer as the statistics need it. `held`: everything but the judges."""

    case: str
    arm: str
    held: bool
    said: tuple[tuple[str, bool], ...]


class Bench(Struct):
    """All opinions of an evaluation, counted as they come."""

    heard: list[Heard] = []
    asked: dict[str, int] = {}
    passed: dict[str, int] = {}
    no_verdict: dict[str, int] = {}
    changed: dict[str, str] = {}
    costs: dict[str, int | None] = {}

    def add(self, case: str, arm: str, held: bool, opinions: Sequence[Opinion]) -> None:
        for one in opinions:
            name = one.judge
            self.asked[name] = self.asked.get(name, 0) + 1
            self.passed[name] = self.passed.get(name, 0) + (one.said == "yes")
            self.no_verdict[name] = self.no_verdict.get(name, 0) + (not one.said)
            so_far = self.costs.get(name, 0)
            unpriced = so_far is None or one.cost_nano_usd is None
            self.costs[name] = None if unpriced else (so_far or 0) + (one.cost_nano_usd or 0)
            if one.changed:
                self.changed[name] = one.changed
        self.heard.append(Heard(case, arm, held, tuple((one.judge, one.said == "yes") for one in opinions)))

    def uses(self, standings: Mapping[str, Standing]) -> tuple[Use, ...]:
        """A judge whose model changed under way does not gate, whatever it was before."""
        found = []
        for name, standing in sorted(standings.items()):
            if changed := self.changed.get(name, ""):
                why = f"the provider answered as {changed}, which is not the pinned model"
                standing = Standing(name, standing.id, False, why)
            found.append(
                Use(standing, self.asked.get(name, 0), self.passed.get(name, 0), self.no_verdict.get(name, 0), changed,
                    self.costs.get(name))
            )  # fmt: skip
        return tuple(found)


def gate_judged(
    plain: Sequence[Judged],
    bench: Bench,
    uses: Sequence[Use],
    *,
    margin: float | None,
    threshold: float | None,
) -> Gate:
    """The verdict of an evaluation with judges. `plain`: the answers that no judge was asked about. `margin`: of a
    comparison with another release; else `threshold`.

    Who may not gate is taken as if it had said yes: what fails even so has failed; nothing passes.
    """
    counted = {one.standing.name: one.standing.errors for one in uses if one.standing.may_gate}
    errors = {name: found for name, found in counted.items() if found is not None}
    answers = [*plain, *(_answer(one, errors, margin is not None) for one in bench.heard)]
    if margin is not None:
        gate = non_inferiority(corrected_mean(answers, errors, CONFIDENCE), margin)
    else:
        gate = gate_corrected(answers, errors, threshold if threshold is not None else 1.0)
    silent = [one.standing for one in uses if one.standing.name not in errors]
    if not silent:
        return gate
    said = "; ".join(f'the judge "{one.name}" may not gate: {one.why}' for one in silent)
    if gate.outcome is Outcome.FAIL and margin is None:
        return Gate(Outcome.FAIL, gate.estimate, gate.threshold, f"{gate.reason}; even with a yes to all of it, {said}")
    return Gate(Outcome.INCONCLUSIVE, gate.estimate, gate.threshold, said)


def _answer(one: Heard, errors: Mapping[str, JudgeErrors], compared: bool) -> Judged:
    weight = -1.0 if compared and one.arm == "first" else 1.0
    return Judged(one.case, one.held, tuple((name, yes) for name, yes in one.said if name in errors), weight)
