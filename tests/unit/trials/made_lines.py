"""Load lines made by hand: passed, failed, inconclusive, could not run."""

from waterline.core.app_spec import AppSpec, Objectives, Quality, Trial, encode_spec, plain, spec_id
from waterline.core.verdict import Estimate, Outcome
from waterline.evals.statistics import gate
from waterline.trials import IMPLEMENTED
from waterline.trials.drills.integrations_found import EFFECTS
from waterline.trials.judging import gated, none_allowed, verdict
from waterline.trials.load_line import (
    ANSWERS,
    Fact,
    LoadLine,
    Machine,
    Section,
    Series,
    Table,
    exit_status,
    objectives_id,
)
from waterline.trials.rows import nine_rows

SPEC = AppSpec(
    name="school",
    purpose="Answers parents and takes down what the admissions office needs",
    owner="Admissions office",
    objectives=Objectives(
        availability=0.999,
        ttft_ms_p95=3000,
        answer_ms_p95=8000,
        expected_concurrency=10,
        monthly_conversations=3000,
        nano_usd_per_month=60_000_000_000,
        quality=Quality(score_min=0.6, robustness_drop_max=0.25),
    ),
    trial=Trial(drills=IMPLEMENTED),
)
RELEASE = "9f" * 32


def passed_section(drill: str) -> Section:
    if drill == "quality":
        return Section(
            drill,
            verdicts=[gated(drill, "score", gate(34, 40, 0.6), "real")],
            facts=[Fact("Cases", "40 of 224, sampled by seed 1", "real")],
            tables=[Table("What failed", ["case", "asked", "answered", "why"],
                          [["en-fees-02", "wat r the fees 4 grade 3 pls", "Ask the office.", "'790' is missing"]],
                          "real")],
            excludes=["what users ask that no case looks like"],
            calls_real=40,
        )  # fmt: skip
    if drill == "load":
        value = Estimate(1.12, 0.95, 1.41, 780, 0.9, "order statistics")
        return Section(
            drill,
            verdicts=[
                gated(drill, "answered, 3x: 30 callers", gate(780, 780, 0.99), "simulated"),
                verdict(drill, "p99 of an answer against one caller alone, 3x: 30 callers", Outcome.PASS,
                        "p99 431 ms over 780 calls, 385 ms alone", provider="simulated", value=value, threshold=2.0,
                        unit="x"),
            ],
            curves=[Series("one caller alone", [(0.0, 90.0), (50.0, 210.0), (90.0, 300.0), (99.0, 385.0), (99.9, 400)]),
                    Series("3x: 30 callers", [(0.0, 121.0), (50.0, 215.0), (90.0, 320.0), (99.0, 431.0), (99.9, 520)])],
            calls_simulated=2400,
        )  # fmt: skip
    if drill == "cost":
        value = Estimate(3.21, 2.9, 3.52, 40, 0.9, "clustered")
        return Section(
            drill,
            verdicts=[verdict(drill, "USD a month", Outcome.PASS, "3.21 [2.9, 3.52] over 40 cases, at most 60",
                              provider="real", value=value, threshold=60.0, unit="USD")],
        )  # fmt: skip
    if drill == "rollback":
        return Section(
            drill,
            verdicts=[none_allowed(drill, "requests on the new release after the rollback", 0, 346, "simulated",
                                   "requests sent after the rollback had returned went to the wrong release")],
            facts=[Fact("Rollback", "returned after 31 ms at most, in 2 moves", "simulated")],
        )  # fmt: skip
    if drill == "recovery":
        return Section(
            drill,
            verdicts=[none_allowed(drill, "acknowledged answers lost", 0, 2804, "simulated", "answers were lost")],
            facts=[Fact("Time to recover (RTO)", "1.1 s at most", "simulated"),
                   Fact("Data lost (RPO)", "0 of 2,804 acknowledged answers", "simulated")],
        )  # fmt: skip
    if drill == "integrations":
        states = [verdict(drill, f"{name}: {state}", Outcome.PASS, "2 of 2 people", provider="simulated")
                  for name in ("calendar", "crm") for state in ("healthy", "slow", "down")]  # fmt: skip
        effects = none_allowed(drill, EFFECTS, 0, 55, "simulated", "effects were lost or done twice")
        return Section(drill, verdicts=[*states, effects], facts=[Fact("Played", "calendar (caldav), crm (tryton)")])
    if drill == "budget":
        zero = verdict(drill, "overshoot", Outcome.PASS, "overshoot 0.000000 USD", provider="simulated", threshold=0.0)
        return Section(drill, verdicts=[zero])
    return Section(drill, verdicts=[gated(drill, "answered", gate(4000, 4000, 0.999), "simulated")])


def line_of(sections: list[Section], short: bool = True) -> LoadLine:
    status = exit_status(sections)
    return LoadLine(
        app=SPEC.name, release=RELEASE, spec_id=spec_id(encode_spec(SPEC)),
        objectives_id=objectives_id(SPEC.objectives),
        owner=SPEC.owner, purpose=SPEC.purpose, short=short, seed=1, cases=224, case_set="ab" * 32,
        made_at="2026-11-21T06:00:00Z", seconds=402.0,
        machine=Machine(2, "a processor", 7.8, "Linux 6.1", 0.4), versions={"waterline": "0.1.0", "python": "3.11.2"},
        exit_status=status, answer=ANSWERS[status], because="because of the sections", sections=sections,
        rows=nine_rows(sections, SPEC), declared=plain(SPEC), manifest="{}", spec=encode_spec(SPEC).decode(),
        models=["main: local qwen2.5-coder-1.5b"],
    )  # fmt: skip


def passing() -> list[Section]:
    return [passed_section(drill) for drill in IMPLEMENTED]


def failing() -> list[Section]:
    bad = gated("outage", "answered while the provider failed", gate(3100, 4000, 0.999), "simulated")
    return [s if s.drill != "outage" else Section("outage", verdicts=[bad]) for s in passing()]


def inconclusive() -> list[Section]:
    open_ = gated("quality", "score", gate(25, 40, 0.6), "real")
    return [s if s.drill != "quality" else Section("quality", verdicts=[open_]) for s in passing()]


def stuck() -> list[Section]:
    reason = 'Route "main" (local, qwen2.5-coder-1.5b) does not answer: run: waterline model pull qwen2.5-coder-1.5b'
    real = ("quality", "robustness", "cost")
    return [Section(s.drill, state="could_not_run", reason=reason) if s.drill in real else s for s in passing()]


ALL = {"pass": passing, "fail": failing, "inconclusive": inconclusive, "could-not-run": stuck}
