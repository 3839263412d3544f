"""What the drill branches found: who missed the objective, and whether the hostile branch was hostile at all."""

import math

from msgspec import Struct, field

from waterline.core.branch import Branch
from waterline.core.money import usd
from waterline.core.verdict import Outcome, Verdict
from waterline.evals.statistics import gate_quantile, quantile, wilson_lower
from waterline.trials.judging import gated, none_allowed, verdict
from waterline.trials.load_line import Fact, Table
from waterline.trials.starved import Turn, softened
from waterline.trials.telephones import Person

DRILL = "branches"
LATE = "p95"  # begins the reason of a branch that was answered, and too late


class Tried(Struct):
    """What happened. `missed` needs nothing else."""

    objective_ms: float
    hostile: Branch
    people: list[Person]  # of the other branches
    flood: int = 0
    flood_answers: int = 0
    hung: int = 0
    acts: dict[str, int] = field(default_factory=dict)  # by branch: what was done for it in connected systems
    each: int = 0  # acts for each yes
    budget: int | None = None  # nano-USD a day of each branch; None: models without a price
    spent: dict[str, int] = field(default_factory=dict)
    ran_out: set[str] = field(default_factory=set)  # branches whose budget was used up
    seconds: float = 0.0
    turn: Turn = field(default_factory=Turn)

    @property
    def branches(self) -> list[str]:
        return sorted({p.branch.id for p in self.people})

    def took_ms(self, branch: str = "") -> list[float]:
        """Of each message; infinite: no answer came."""
        mine = [p for p in self.people if branch in ("", p.branch.id)]
        return [1000.0 * s for p in mine for s in p.took_s] + [math.inf for p in mine if p.unanswered]

    def p95_ms(self, branch: str) -> float:
        return quantile(self.took_ms(branch), 0.95) or math.inf

    def expected(self, branch: str = "") -> int:
        return self.each * sum(p.confirmed for p in self.people if branch in ("", p.branch.id))

    def missed(self) -> dict[str, str]:
        """The other branches that missed their objective, each with why."""
        found = {}
        for branch in self.branches:
            slow, done = self.p95_ms(branch), self.acts.get(branch, 0)
            if slow == math.inf:
                found[branch] = "a message was not answered"
            elif slow > self.objective_ms:
                found[branch] = f"{LATE} {slow:,.0f} ms"
            elif done != self.expected(branch):
                found[branch] = f"{done} acts done, {self.expected(branch)} asked for"
            elif branch in self.ran_out:
                found[branch] = "its own budget was used up"
        return found

    def not_hostile(self) -> str:
        """Why this proved nothing; "": it did."""
        others = sum(p.said for p in self.people)
        if self.flood < others:
            return f"the hostile branch sent {self.flood:,} messages, the others {others:,}: that is no flood"
        if self.budget is not None and self.hostile.id not in self.ran_out:
            return "the hostile branch did not use up its budget, so its spending was not tried"
        if self.each and not self.hung:
            return "the hostile branch never met its broken systems, so a breakdown was not tried"
        return ""


def judged(tried: Tried, declared: bool) -> list[Verdict]:
    missed, others = tried.missed(), len(tried.branches)
    whose = "" if declared else " (a default: app.toml declares no answer_ms_p95)"
    why = "; ".join(f"{branch}: {said}" for branch, said in list(missed.items())[:3])
    said = f"other branches missed their objective, p95 of {tried.objective_ms:,.0f} ms{whose} and everything done once"
    hurt = none_allowed(DRILL, "other branches that missed their objective", len(missed), others, "simulated",
                        said + (f": {why}" if why else ""))  # fmt: skip
    slow = gated(DRILL, "p95 of the other branches' answers, ms",
                 gate_quantile(tried.took_ms(), 0.95, tried.objective_ms), "simulated", unit="ms")  # fmt: skip
    only_late = all(reason.startswith(LATE) for reason in missed.values())
    found = [softened(hurt, tried.turn) if only_late else hurt, softened(slow, tried.turn)]
    if tried.each:
        wrong = sum(abs(tried.acts.get(b, 0) - tried.expected(b)) for b in tried.branches)
        found.append(
            none_allowed(DRILL, "acts of the other branches lost or doubled", wrong, tried.expected(), "simulated",
                         "acts that people said yes to were not in the connected systems once")
        )  # fmt: skip
    if tried.budget is not None:
        over = max(0, tried.spent.get(tried.hostile.id, 0) - tried.budget)
        reason = f"overshoot {usd(over, 6)} of {usd(tried.budget, 6)} USD"
        outcome = Outcome.FAIL if over else Outcome.PASS
        found.append(verdict(DRILL, "the hostile branch's budget held", outcome, reason, provider="simulated"))
    proved_nothing = tried.not_hostile()
    reason = proved_nothing or "it flooded" + (", used up its budget" if tried.budget is not None else "") + (
        ", and its part of the connected systems hung" if tried.each else ""
    )
    outcome = Outcome.INCONCLUSIVE if proved_nothing else Outcome.PASS
    found.append(verdict(DRILL, "the hostile branch was hostile", outcome, reason, provider="simulated"))
    return found


def facts(tried: Tried) -> list[Fact]:
    missed, n = tried.missed(), len(tried.branches)
    met = n - len(missed)
    worst = max(tried.branches, key=tried.p95_ms)
    return [
        Fact("Other branches that met their objective",
             f"{met} of {n} ({100 * met / n:.1f} %, at least {100 * wilson_lower(met, n):.1f} % with 95 % confidence)",
             "simulated"),
        Fact("Worst other branch", f"{worst}: p95 {_ms(tried.p95_ms(worst))}", "simulated"),
        Fact("The hostile branch", f"{tried.flood:,} messages in {tried.seconds:.0f} s, "
             f"{tried.flood_answers:,} answers; {tried.hung} calls of connected systems hung", "simulated"),
        Fact("This machine", f"the drill itself was late by {tried.turn.worst_ms:,.0f} ms at most; what else runs here "
             "makes the branches late too"),
        Fact("Limits", "the app's were lifted for this drill, all but max_concurrency"
             + (f"; each branch had {usd(tried.budget, 6)} USD a day" if tried.budget is not None else "")),
    ]  # fmt: skip


def classes(tried: Tried) -> Table:
    took = tried.took_ms()
    spent = sum(nano for branch, nano in tried.spent.items() if branch != tried.hostile.id)
    rows = [
        ["hostile", "1", f"{tried.flood:,}", f"{tried.flood_answers:,} answers", "-", "-", "-", "-", "-",
         _usd(tried, tried.spent.get(tried.hostile.id, 0)), str(int(tried.hostile.id in tried.ran_out))],
        ["others", f"{len(tried.branches):,}", f"{sum(p.said for p in tried.people):,}",
         f"{sum(len(p.took_s) for p in tried.people):,} answered",
         *(_ms(quantile(took, q) or math.inf) for q in (0.5, 0.95, 0.99)), _ms(max(took, default=math.inf)),
         f"{sum(tried.acts.values()):,} of {tried.expected():,}", _usd(tried, spent),
         str(len(tried.ran_out - {tried.hostile.id}))],
    ]  # fmt: skip
    columns = [
        "class",
        "branches",
        "messages in",
        "out",
        "p50",
        "p95",
        "p99",
        "most",
        "acts done",
        "USD spent",
        "budgets used up",
    ]
    return Table("By class of branch", columns, rows, "simulated")


def worst_branches(tried: Tried) -> Table:
    missed = tried.missed()
    slowest = sorted(tried.branches, key=tried.p95_ms, reverse=True)[:5]
    shown = list(dict.fromkeys([*missed, *slowest]))[:10]
    rows = [
        [b, f"{len(tried.took_ms(b))}", _ms(tried.p95_ms(b)),
         f"{tried.acts.get(b, 0)} of {tried.expected(b)}", missed.get(b, "met")]
        for b in shown
    ]  # fmt: skip
    return Table("The worst other branches", ["branch", "messages", "p95", "acts done", "objective"], rows, "simulated")


def _ms(value: float) -> str:
    return "no answer" if value == math.inf else f"{value:,.0f} ms"


def _usd(tried: Tried, nano: int) -> str:
    return "-" if tried.budget is None else usd(nano, 6)
