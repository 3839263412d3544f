"""Load: once, 2.5 and three times the expected callers, and three times the arrivals, against a provider that limits
rates; beside it the same load from a plain client without Waterline.

The published failure to beat is 2 s alone becoming 12 s at p99 with 50 users. Here: at least 99 % answered, and p99 at
most twice what one caller alone sees.
"""

import asyncio
import math
from typing import TYPE_CHECKING, NamedTuple

from waterline.core.verdict import Estimate, Outcome, Verdict
from waterline.evals.statistics import Gate, gate, gate_quantile, quantile, quantile_interval
from waterline.providers.simulated import SimulatedProcess
from waterline.providers.simulated_script import Answer, Limits, Lognormal, Script, Target
from waterline.trials.asking import Asked
from waterline.trials.calls import Call, Caller, user
from waterline.trials.judging import gated, none_allowed, verdict
from waterline.trials.load import Stage, closed, curve, in_turn, open_loop
from waterline.trials.load_line import Fact, Section, Table
from waterline.trials.sea import LIFTED, Sea

if TYPE_CHECKING:
    from waterline.providers.simulated_play import TargetStats

DRILL = "load"
ANSWERED_MIN = 0.99
SLOWER_MAX = 2.0
LIMITED_AT = 2.0  # times the expected load, from where on the provider answers 429
MOST_USERS = 900
FIRST_TOKEN_MS = Lognormal(150.0, 260.0)
PER_TOKEN_MS = 4.0
QUESTION_CHARS = 60
GIVE_UP_S = 30.0
SDK_RETRIES = 2


class Talk:
    """What the callers say: questions of the app's cases, each with a number of its own, which the provider repeats;
    so an answer that reaches the wrong caller is seen."""

    def __init__(self, sea: Sea) -> None:
        told = [case.turns()[-1].content.strip()[:QUESTION_CHARS].strip() for case in sea.cases if case.turns()]
        self._texts = [t for t in told if t] or ["What does it cost a month?"]
        self._model = sea.main
        self.crossed = 0
        self.compared = 0

    async def say(self, caller: Caller, number: int, meant_at: float) -> Call:
        text = f"{number}: {self._texts[number % len(self._texts)]}"
        call = await caller.chat(
            user(text), model=self._model, stream=True, meant_at=meant_at, give_up_s=GIVE_UP_S,
            session=f"user-{number % 97}",
        )  # fmt: skip
        if call.complete:
            self.compared += 1
            self.crossed += call.text != text
        return call


def script(sea: Sea, limits: Limits) -> Script:
    """Every target answers with the caller's own words; the primary one limits the rate, for the plain client too."""
    free = Target(first_token_ms=FIRST_TOKEN_MS, per_token_ms=PER_TOKEN_MS, answer=Answer(echo=True))
    limited = Target(first_token_ms=FIRST_TOKEN_MS, per_token_ms=PER_TOKEN_MS, answer=Answer(echo=True), limits=limits)
    return Script(seed=sea.seed, default=free, targets={f"ours/{sea.main}": limited, "plain": limited})


class Measured(NamedTuple):
    """What was seen: `alone` is the first stage, `plain` the last, without Waterline; those between are through it."""

    talk: Talk
    stages: list[Stage]
    targets: "dict[str, TargetStats]"

    @property
    def alone(self) -> Stage:
        return self.stages[0]

    @property
    def through(self) -> list[Stage]:
        return self.stages[:-1]


async def run(sea: Sea) -> Section:
    seen = await _measured(sea)
    section = Section(DRILL)
    section.calls_simulated = sum(len(s.calls) for s in seen.stages)
    section.verdicts = _verdicts(sea, seen)
    section.tables = [_table(seen.stages)]
    section.curves = [curve(s.name, s.answer_ms()) for s in (seen.alone, *seen.stages[3:])]
    section.facts = _facts(sea, seen)
    section.excludes = [
        "how many callers the real provider or model can answer at once (its latencies are of few); several gateways",
        "quality under load: the simulated provider has none (that answers reach the right caller is checked)",
    ]
    return section


def _expected(sea: Sea) -> int:
    return max(1, sea.spec.objectives.expected_concurrency)


async def _measured(sea: Sea) -> Measured:
    talk = Talk(sea)
    async with sea.simulated(script(sea, Limits())) as provider:
        redirect = f"{provider.address}/ours/{{route}}"
        async with sea.instance("instance", redirect=redirect) as ours:
            await ours.install(sea.manifest, sea.lifted(), sea.env)
            key = await ours.app_key(sea.spec.name, sea.env)
            async with ours.caller(key) as caller, Caller(f"{provider.address}/plain/v1") as plain:
                stages = await _stages(sea, provider, talk, caller, plain)
        return Measured(talk, stages, (await provider.stats()).targets)


async def _stages(sea: Sea, provider: SimulatedProcess, talk: Talk, caller: Caller, plain: Caller) -> list[Stage]:
    async def through(number: int, meant_at: float) -> Call:
        return await talk.say(caller, number, meant_at)

    async def straight(number: int, meant_at: float) -> Call:
        """As the official SDK does: two retries, honouring Retry-After."""
        call = await talk.say(plain, number, meant_at)
        for _ in range(SDK_RETRIES):
            if call.status != 429:
                break
            await asyncio.sleep(call.retry_after_s or 0.5)
            call = await talk.say(plain, number, meant_at)
        return call

    stages: list[Stage] = []

    async def stage(made: Stage) -> Stage:
        stages.append(made)
        sea.teller.step()
        return made

    expected, pace = _expected(sea), sea.pace
    users = [min(MOST_USERS, math.ceil(expected * times)) for times in (1.0, 2.5, 3.0)]
    sea.teller.doing("stages", 6)
    await in_turn("warm up", 4, through)  # connections and caches, not measured
    alone = await stage(await in_turn("one caller alone", pace.alone_samples, through))
    mean_s = max(0.001, sum(alone.answer_ms()) / max(1, len(alone.answered)) / 1000.0)
    rate = LIMITED_AT * expected / mean_s
    await provider.set_script(script(sea, Limits(rpm=60.0 * rate, burst=max(1.0, rate))))
    for times, count in zip(("1x", "2.5x", "3x"), users, strict=True):
        name = f"{times}: {count} callers"
        await stage(await closed(name, count, pace.stage_s, pace.stage_samples, through))
    rate = users[2] / mean_s
    for_s = max(pace.stage_s, pace.stage_samples / rate)
    await stage(await open_loop(f"3x arrivals: {rate:.0f} a second", rate, for_s, sea.seed, through))
    await stage(await closed(f"plain client, {users[2]} callers", users[2], pace.stage_s, 0, straight))
    return stages


def _verdicts(sea: Sea, seen: Measured) -> list[Verdict]:
    one, two_and_a_half, *most = seen.through[1:]
    fewer = Stage("1x and 2.5x", one.calls + two_and_a_half.calls)
    found = [_answered(stage) for stage in (fewer, *most)]
    found += [_slower(stage, seen.alone) for stage in most]
    everything = [c for s in seen.through for c in s.calls]
    found.append(
        none_allowed(DRILL, "answers for another caller", seen.talk.crossed, seen.talk.compared, "simulated",
                     "answers held something else than the caller's own question")
    )  # fmt: skip
    found.append(
        none_allowed(DRILL, "truncated answers shown as whole", sum(c.truncated for c in everything), len(everything),
                     "simulated", "calls ended in half an answer presented as success")
    )  # fmt: skip
    found += _real(sea)
    if 3 * _expected(sea) > MOST_USERS:
        said = f"one load generator makes at most {MOST_USERS} callers, and 3x would be {3 * _expected(sea)}"
        found.append(verdict(DRILL, "callers", Outcome.INCONCLUSIVE, said, provider="none"))
    return found


def _facts(sea: Sea, seen: Measured) -> list[Fact]:
    limited = seen.targets.get(f"ours/{sea.main}")
    here = limited.answered if limited else 0
    elsewhere = sum(t.answered for name, t in seen.targets.items() if name.startswith("ours/")) - here
    calls = sum(len(s.calls) for s in seen.through)
    return [
        Fact("Expected callers at once", f"{_expected(sea)} (declared)"),
        Fact("The simulated provider", f"first token lognormal, median {FIRST_TOKEN_MS.median:g} ms, p95 "
             f"{FIRST_TOKEN_MS.p95:g} ms; {PER_TOKEN_MS:g} ms a token; 429 beyond {LIMITED_AT:g}x the expected load",
             "simulated"),
        Fact("The rate limit at work", _limited(sea, limited.limited if limited else 0, elsewhere, calls),
             "simulated"),
        Fact("Limits", LIFTED),
    ]  # fmt: skip


def _answered(stage: Stage) -> Verdict:
    judged = gate(len(stage.answered), len(stage.calls), ANSWERED_MIN)
    return gated(DRILL, f"answered, {stage.name}", judged, "simulated", note=_lost(stage, "not answered: "))


def _slower(stage: Stage, alone: Stage) -> Verdict:
    """p99 against what one caller alone sees. Conservative: the worst of the one against the best of the other."""
    loaded = stage.answer_ms() + [math.inf] * (len(stage.calls) - len(stage.answered))
    name = f"p99 of an answer against one caller alone, {stage.name}"
    base, before = gate_quantile(alone.answer_ms(), 0.99, math.inf).estimate, quantile(alone.answer_ms(), 0.99)
    if base is None or before is None or not loaded:
        said = "no answer was measured, alone or under load"
        return verdict(DRILL, name, Outcome.INCONCLUSIVE, said, provider="simulated", threshold=SLOWER_MAX, unit="x")
    slowest_alone = min(base.high, max(alone.answer_ms()))
    limit = SLOWER_MAX * max(base.low, 0.001)
    judged = gate_quantile(loaded, 0.99, limit)
    seen = judged.estimate
    assert seen is not None
    if seen.value == math.inf:
        said = f"more than 1 % of {len(loaded)} calls were not answered, so their p99 has no end"
        return verdict(DRILL, name, Outcome.FAIL, said, provider="simulated", threshold=SLOWER_MAX, unit="x")
    ratio = Estimate(
        value=seen.value / before, low=seen.low / slowest_alone if seen.low > 0 else 0.0,
        high=min(seen.high, max(loaded)) / base.low, n=len(loaded), confidence=0.9, method="order statistics",
    )  # fmt: skip
    said = (
        f"p99 {seen.value:,.0f} ms over {len(loaded):,} calls, {before:,.0f} ms alone over {len(alone.calls)}: "
        f"{ratio.value:.2f}x [{ratio.low:.2f}, {ratio.high:.2f}], at most {SLOWER_MAX:g}x allowed"
    )
    outcome, more = judged.outcome, None
    if outcome is not Outcome.PASS:
        outcome = Outcome.FAIL if seen.low > SLOWER_MAX * slowest_alone else Outcome.INCONCLUSIVE
    if outcome is Outcome.INCONCLUSIVE:
        more = judged.more_cases or max(1, 300 - len(alone.calls))
        said += f"; about {more} more calls may settle it"
    return verdict(
        DRILL, name, outcome, said, provider="simulated", value=ratio, threshold=SLOWER_MAX, unit="x", more=more
    )


def _real(sea: Sea) -> list[Verdict]:
    """The declared latencies, judged by what the real model took (a lost answer took for ever)."""
    goals, asked = sea.spec.objectives, sea.real.asked
    if not asked:
        return []
    found = []
    for name, limit, samples in (
        ("first token p95", goals.ttft_ms_p95, [_or_never(a, a.first_token_ms) for a in asked]),
        ("whole answer p95", goals.answer_ms_p95, [_or_never(a, a.answer_ms) for a in asked]),
    ):
        if limit is not None:
            judged = gate_quantile(samples, 0.95, limit)
            said = _latency(judged, sea.real.at_once, limit)
            estimate = judged.estimate
            if estimate is not None and not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
                ends = [s for s in samples if math.isfinite(s)] or [0.0]
                estimate = Estimate(estimate.value if math.isfinite(estimate.value) else max(ends),
                                    max(estimate.low, min(ends)), min(estimate.high, max(ends)), estimate.n,
                                    estimate.confidence, estimate.method)  # fmt: skip
            found.append(
                verdict(DRILL, f"{name}, real, {sea.real.at_once} at a time", judged.outcome, said, provider="real",
                        value=estimate, threshold=limit, unit="ms", more=judged.more_cases)
            )  # fmt: skip
    return found


def _latency(judged: Gate, at_once: int, limit: float) -> str:
    seen = judged.estimate
    assert seen is not None  # there were calls
    ends = [f"{ms:,.0f}" if math.isfinite(ms) and ms > 0 else "no end" for ms in (seen.value, seen.low, seen.high)]
    said = (
        f"p95 of {seen.n} calls {ends[0]} ms [{ends[1]}, {ends[2]}], {at_once} at a time, at most {limit:,.0f} declared"
    )
    return f"{said}; about {judged.more_cases:,} more calls would settle it" if judged.more_cases else said


def _or_never(asked: Asked, ms: float | None) -> float:
    return ms if asked.call.complete and ms is not None else math.inf


def _limited(sea: Sea, times: int, elsewhere: int, calls: int) -> str:
    if not sea.route.fallbacks:
        return f"429 {times:,} times; the route has no fallback to go to"
    share = 100.0 * elsewhere / max(1, calls)
    return f"429 {times:,} times, each with a pause; {elsewhere:,} calls ({share:.0f} %) were answered by a fallback"


def _table(stages: list[Stage]) -> Table:
    rows = []
    for stage in stages:
        first, whole = stage.first_token_ms(), stage.answer_ms()
        wide = quantile_interval(whole, 0.99)
        shown = [_ms(quantile(first, q)) for q in (0.5, 0.95, 0.99)] + [
            _ms(quantile(whole, q)) for q in (0.5, 0.95, 0.99, 0.999)
        ]
        lost = _lost(stage) or "none"
        interval = f"{wide.low:,.0f} to {wide.high:,.0f}" if wide else "too few"
        rows.append([
            stage.name, f"{len(stage.calls):,}", f"{len(stage.calls) / max(0.001, stage.seconds):,.0f}", *shown,
            interval, lost,
        ])  # fmt: skip
    return Table(
        "Latency in ms, from the moment a call was meant to leave",
        ["stage", "calls", "a second", "TTFT p50", "p95", "p99", "answer p50", "p95", "p99", "p99.9", "p99, 95 %",
         "not answered"],
        rows, "simulated",
        note="The plain client meets the same provider with the same rate limit; it retries twice, as the official "
        "SDK does.",
    )  # fmt: skip


def _lost(stage: Stage, before: str = "") -> str:
    """How many calls were not answered, by code; "" if all were."""
    told = ", ".join(f"{n} {code}" for code, n in sorted(stage.codes().items()))
    return f"{before}{told}" if told else ""


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
