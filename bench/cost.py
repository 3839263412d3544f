"""What a month of 100,000 leads costs, and what each way of paying less takes off it.

    python bench/cost.py [--data ../shared/data] [--write]

Needs the folder with azure-llm-trace/conv.csv, sgd and clinc150 (numpy is in the development group). Each figure says
whether it was measured, computed from a published price, or assumed; an assumption has its range, and the bill at both
ends of it. Nothing here is a test, and no assumption is chosen by its result.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cost_texts
from cost_answers import ANSWERS, LARGE, SMALL, school
from cost_drawing import waterfall
from cost_month import LEADS, TURNS, Assumed, Bill, Levers, Month, bill, derived_fixed, month_of, read_trace

from waterline.core.case import Case
from waterline.core.money import NANO, Price
from waterline.core.request import decode_request
from waterline.core.savings import Routing
from waterline.core.verdict import Estimate
from waterline.evals.routing import Pair, Point, Trained, train
from waterline.evals.scorers import score
from waterline.evals.statistics import paired_difference, wilson
from waterline.gateway.routing import doubt, request_features
from waterline.rollout.build import build
from waterline.rollout.check import built_in_prices

HERE = Path(__file__).resolve().parent
BASE, DEAR, CHEAP = 5304, ("anthropic", "claude-sonnet-4-6"), ("anthropic", "claude-haiku-5-5")
TARGET = 800
MARGIN = 0.05  # quality that may be lost by routing, as a share of cases; declared before anything was measured
ASSUMED_ROUTED = 0.8  # what published calculations take; only an app's own cases can show it
ROUTED_ENDS = (0.5, 0.9)
ANSWER_CAP = 120  # tokens, about ninety words: a phone's screen; the school declares 64
OTHERS = (("anthropic", "claude-haiku-4-5"), ("openai", "gpt-5-nano"), ("google", "gemini-2.5-flash-lite"))
SUCCESSOR = ("anthropic", "claude-sonnet-5-5")


@dataclass(frozen=True)
class Routed:
    """What the learned router did on the cases. `asked`: of the small model; `escalated`: then of the large one too."""

    who: str
    n: int
    small: Estimate
    large: Estimate | None  # None: assumed to be right
    asked: float
    escalated: float
    loss: Estimate | None
    proved: float  # share for which the loss is shown to be within the margin
    trained: Trained


@dataclass(frozen=True)
class Shorter:
    """Answers of the school's prompt (`n`) and of one without its rule of short answers (`paired`)."""

    n: int
    mean: float
    cut: int  # that ran into the school's limit
    paired: int
    free: float
    short: float
    difference: Estimate | None  # of quality, short less free


def prices() -> dict[tuple[str, str], Price]:
    table, now = built_in_prices(), int(time.time() * 1e6)
    found = {}
    for who in (DEAR, CHEAP, *OTHERS, SUCCESSOR):
        price = table.find(*who, now)
        if price is None:
            sys.exit(f"bench/cost.py: no published price of {who[1]} in core/prices.toml")
        found[who] = price
    return found


# --- measured ----------------------------------------------------------------------------------------------------


def passed(case: Case, answers: dict[str, dict[str, object]]) -> bool:
    answer = answers[case.id]
    return score(case, str(answer["text"]), str(answer["finish_reason"])).passed


def routed(
    who: str, cases: list[Case], small: list[bool], large: list[bool] | None, answers, routing: Routing
) -> Routed:  # type: ignore[no-untyped-def]
    """The project's own training on these pairs. A large model that was not asked is taken to be always right, so what
    is lost is the most that could be."""
    pairs = []
    for index, case in enumerate(cases):
        body = json.dumps({"model": "main", "messages": [{"role": m.role, "content": m.content} for m in case.turns()]})
        request = decode_request("chat", "/v1/chat/completions", body.encode(), 0)
        answer = answers[case.id]
        pairs.append(
            Pair(
                case=case.id,
                features=request_features(request),
                small=small[index],
                large=True if large is None else large[index],
                doubtful=bool(doubt(routing, None, str(answer["text"]), str(answer["finish_reason"]))),
                small_cost=0,
                large_cost=1,  # so that a point's cost is the share of turns that reach the large model
            )
        )
    trained = train(pairs, MARGIN, routes="bench", cases="bench")
    point = _largest(trained.points)
    asked, reach = (point.share, point.cost or 0.0) if point else (0.0, 1.0)
    return Routed(
        who, len(pairs), wilson(sum(small), len(small)), None if large is None else wilson(sum(large), len(large)),
        asked, reach - (1.0 - asked), point.loss if point else None, trained.chosen.share if trained.chosen else 0.0,
        trained,
    )  # fmt: skip


def _largest(points: tuple[Point, ...]) -> Point | None:
    """The largest share for the small model whose measured loss is within the margin; the interval is told beside it."""
    good = [p for p in points if p.loss is not None and p.loss.value <= MARGIN]
    return good[-1] if good else None


def shorter(cases: list[Case], kept: dict[str, dict[str, dict[str, object]]]) -> Shorter:
    def tokens(kind: str, some: list[Case]) -> float:
        return sum(float(str(kept[kind][c.id]["tokens_out"])) for c in some) / len(some)

    both = [c for c in cases if c.id in kept["free"]]
    quality = [[float(passed(c, kept[k])) for c in both] for k in ("free", "large")]
    cut = sum(kept["large"][c.id]["finish_reason"] == "length" for c in cases)
    return Shorter(
        len(cases), tokens("large", cases), cut, len(both), tokens("free", both), tokens("large", both),
        paired_difference(*quality),
    )  # fmt: skip


# --- the bill ----------------------------------------------------------------------------------------------------


@dataclass
class World:
    month: Month
    large: Price
    small: Price
    assumed: Assumed

    def usd(
        self, levers: Levers, assumed: Assumed | None = None, large: Price | None = None, small: Price | None = None
    ) -> Bill:
        """Of the ways to cache the prompt the cheapest is taken, as an operator would who reads this."""
        a = assumed or self.assumed
        modes = ("", "prompt", "5m", "1h") if levers.caching else ("",)
        bills = [
            bill(self.month, replace(levers, caching=m), a, large or self.large, small or self.small) for m in modes
        ]
        return min(bills, key=lambda b: b.usd)

    def ways(self, levers: Levers) -> dict[str, float]:
        return {m: bill(self.month, replace(levers, caching=m), self.assumed, self.large, self.small).usd
                for m in ("", "prompt", "5m", "1h")}  # fmt: skip


def without(levers: Levers, names: tuple[str, ...]) -> Levers:
    off = Levers()
    return replace(levers, **{name: getattr(off, name) for name in names})


def only(levers: Levers, names: tuple[str, ...]) -> Levers:
    return replace(Levers(), **{name: getattr(levers, name) for name in names})


LEVERS = (
    ("routing, small first", ("routed", "escalated")),
    ("shorter answers", ("answer_cap",)),
    ("history summarised", ("summarised",)),
    ("semantic cache", ("semantic",)),
    ("exact cache", ("exact",)),
    ("prompt-cache shaping", ("caching",)),
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    options.add_argument("--write", action="store_true", help="write COST.md and cost.svg")
    options.add_argument("--channel-usd-per-message", type=float, help="what a reply costs on the channel")
    given = options.parse_args()
    trace = given.data / "azure-llm-trace" / "conv.csv"
    for needed in (trace, given.data / "sgd", given.data / "clinc150"):
        if not needed.exists():
            sys.exit(
                f"bench/cost.py: {needed} is not there. Give the folder that holds it: --data DIR. Nothing was run."
            )
    if not ANSWERS.exists():
        sys.exit(f"bench/cost.py: {ANSWERS} is not there. Ask the models first: python bench/cost_answers.py")
    text, picture = report(trace, given.data, given.channel_usd_per_message)
    print(text)
    if given.write:
        (HERE / "COST.md").write_text(text + "\n", encoding="utf-8")
        (HERE / "cost.svg").write_text(picture, encoding="utf-8")


def report(trace: Path, data: Path, channel: float | None) -> tuple[str, str]:
    read, written = read_trace(trace)
    month, price = month_of(read, written), prices()
    release, sampled = school()
    cases = list(sampled)
    kept = json.loads(ANSWERS.read_text())
    answers = kept["answers"]
    question = cost_texts.question_tokens(cases)
    world = World(month, price[DEAR], price[CHEAP], Assumed(derived_fixed(month, question), question))

    complete = [c for c in cases if c.id in answers["large"] and c.id in answers["small"]]
    middling = [passed(c, answers["large"]) for c in complete]
    tiny = [passed(c, answers["small"]) for c in complete]
    pair = routed(f"{SMALL} beside {LARGE}", complete, tiny, middling, answers["small"], release.routing)
    strict = routed(f"{LARGE} beside one that is always right", complete, middling, None, answers["large"], release.routing)
    brief = shorter(complete, answers)
    repeats = texts(release, data, cases)
    measured = Levers(
        caching="on", exact=repeats[0].share, routed=pair.asked, escalated=pair.escalated, summarised=True,
        answer_cap=ANSWER_CAP,
    )  # fmt: skip
    assumed = replace(measured, routed=ASSUMED_ROUTED, escalated=0.0)
    base = world.usd(Levers())
    steps = cumulative(world, assumed)
    parts = [
        baseline_part(read, written, base, price),
        total_part(world, measured, assumed, base, channel),
        lever_part(world, assumed, base, steps, repeats),
        quality_part(pair, strict, brief),
        ends_part(world, assumed, pair),
        prices_part(world, assumed, base, price),
        sources_part(world, kept, repeats),
    ]
    return "\n".join(parts), waterfall([("no lever", base.usd), *steps], TARGET)


def cumulative(world: World, levers: Levers) -> list[tuple[str, float]]:
    on: tuple[str, ...] = ()
    found = []
    for name, fields in LEVERS:
        on = (*on, *fields)
        found.append((name, world.usd(only(levers, on)).usd))
    return found


def texts(release, data: Path, cases: list[Case]) -> list[cost_texts.Repeats]:  # type: ignore[no-untyped-def]
    """First questions first: that share is the one the month uses."""
    manifest = build_manifest()
    said = cost_texts.utterances(data)
    talks = cost_texts.dialogues(data)
    mine = [[{"role": m.role, "content": m.content} for m in c.turns()] for c in cases]
    first = [[{"role": "user", "content": text}] for text, _ in said]
    return [
        cost_texts.exact_hits(release, manifest, "first questions (CLINC150)", first),
        cost_texts.exact_hits(release, manifest, "every turn of 128 dialogues (SGD)", cost_texts.turns_of(talks)),
        cost_texts.exact_hits(release, manifest, "the school's cases", mine),
    ]


def build_manifest() -> bytes:
    from cost_answers import SCHOOL

    from waterline.providers import models
    from waterline.trials import DRILLS

    digests = {s.name: s.sha256 for s in models.known().values()}
    return build(SCHOOL, model_digests=digests, known_drills=DRILLS).manifest


# --- the page ----------------------------------------------------------------------------------------------------


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(r) for r in rows)]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def per_million(price: Price) -> str:
    return f"{price.input / NANO:g} in, {price.cached_input / NANO:g} cached, {price.output / NANO:g} out"


def interval(e: Estimate | None, percent: bool = True) -> str:
    if e is None:
        return "unknown"
    return f"{e.value:+.1%} [{e.low:+.1%}, {e.high:+.1%}]" if percent else f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]"


def baseline_part(read, written, base: Bill, price: dict[tuple[str, str], Price]) -> str:  # type: ignore[no-untyped-def]
    mean_usd = LEADS * TURNS * (read.mean() * price[DEAR].input + written.mean() * price[DEAR].output) / 1e6 / NANO
    return f"""# What a month of 100,000 leads costs

Written by `python bench/cost.py --write` on {time.strftime("%Y-%m-%d", time.gmtime())}; how: [cost.py](cost.py). Every figure
is **measured** (M), **computed** from a published price (C) or **assumed** (A, with its range below). Channel fees are apart.

![The bill, lever by lever](cost.svg)

## The baseline

{LEADS:,} leads of {TURNS} turns, token counts of the {len(read):,} calls of the Azure trace (mean {read.mean():,.1f} read,
{written.mean():.1f} written), {DEAR[1]} at {per_million(price[DEAR])} USD a million tokens, nothing cached:
**{base.usd:,.1f} USD** replayed turn by turn, {mean_usd:,.1f} from the means, {BASE:,} published.
"""


def lever_part(world: World, levers: Levers, base: Bill, steps, repeats) -> str:  # type: ignore[no-untyped-def]
    together = steps[-1][1]
    a = world.assumed
    settings = {
        "routing, small first": (
            f"{levers.routed:.0%} of the turns by {CHEAP[1]}",
            "share A (measured: see Quality); prices C",
        ),
        "shorter answers": (f"at most {levers.answer_cap:.0f} tokens", "declared; lengths of the trace M"),
        "history summarised": (
            f"past {a.summary_past:.0f} tokens into {a.summary_tokens:.0f}, by the small model",
            "decided turn by turn; what is history A",
        ),
        "semantic cache": (f"{levers.semantic:.1%} of first questions", "not in this version: nothing is assumed"),
        "exact cache": (
            f"{levers.exact:.2%} of first questions",
            f"M on {repeats[0].asked:,} texts with the gateway's own key",
        ),
        "prompt-cache shaping": (shaping(world, levers), "hits computed from gaps (A) and retention; prices C"),
    }
    rows = []
    before = base.usd
    for (name, fields), (_, after) in zip(LEVERS, steps, strict=True):
        alone = world.usd(only(levers, fields)).usd
        missing = world.usd(without(levers, fields)).usd
        what, source = settings[name]
        rows.append(
            (
                name, what, f"{alone:,.0f} ({alone / base.usd - 1:+.1%})", f"{after:,.0f} ({after - before:+,.0f})",
                f"{missing - together:+,.0f}", source,
            )
        )  # fmt: skip
        before = after
    head = ("lever", "set to", "alone, USD", "added to those above, USD", "all but it, USD more", "figures")
    return f"## Each lever, with {levers.routed:.0%} routed\n\n" + table(head, rows)


def shaping(world: World, levers: Levers) -> str:
    ways = world.ways(levers)
    best = min(ways, key=lambda m: ways[m])
    said = {
        "": "not worth its writes here",
        "prompt": "the prompt alone",
        "5m": "history, 5 minutes",
        "1h": "history, an hour",
    }
    others = ", ".join(f"{said[m] if m else 'none'} {usd:,.0f}" for m, usd in ways.items())
    return f"{said[best]} (with the rest on: {others})"


def total_part(world: World, measured: Levers, assumed: Levers, base: Bill, channel: float | None) -> str:
    rows = []
    for name, levers in (
        (f"all levers, routing as measured here ({measured.routed:.0%} asked small, {measured.escalated:.0%} then large)",
         measured),
        (f"all levers, {assumed.routed:.0%} of the turns at the small model (A)", assumed),
        (f"... {ROUTED_ENDS[0]:.0%} of them", replace(assumed, routed=ROUTED_ENDS[0])),
        (f"... {ROUTED_ENDS[1]:.0%} of them", replace(assumed, routed=ROUTED_ENDS[1])),
        ("all levers but routing", replace(assumed, routed=0.0)),
    ):  # fmt: skip
        b = world.usd(levers)
        rows.append(
            (name, f"{b.usd:,.0f}", f"{b.usd / base.usd - 1:+.1%}", "yes" if b.usd <= TARGET else "no",
             f"{b.large.calls:,.0f}", f"{b.small.calls:,.0f}", f"{b.summaries:,}")
        )  # fmt: skip
    head = ("", "USD", "against the baseline", f"at most {TARGET}", "calls large", "calls small", "summaries")
    replies = LEADS * TURNS
    fees = "unknown: no price was given" if channel is None else f"{replies * channel:,.0f} USD at {channel:g} each"
    return f"""## All together

{table(head, rows)}
{needed(world, assumed)} Channel fees for {replies:,} replies, apart: {fees} (`--channel-usd-per-message`).
"""


def needed(world: World, levers: Levers) -> str:
    """The share routed at which the target is reached, all else as it is."""
    for percent in range(101):
        if world.usd(replace(levers, routed=percent / 100)).usd <= TARGET:
            return f"{TARGET} USD take {percent} % of the turns at the small model, all else as it is."
    return f"No share of the turns at the small model would make it {TARGET} USD."


def quality_part(pair: Routed, strict: Routed, brief: Shorter) -> str:
    def row(r: Routed) -> tuple[str, ...]:
        large = (
            "taken as always right"
            if r.large is None
            else f"{r.large.value:.0%} [{r.large.low:.0%}, {r.large.high:.0%}]"
        )
        proved = f"{r.proved:.0%}" if r.proved else "none yet"
        return (r.who, str(r.n), f"{r.small.value:.0%} [{r.small.low:.0%}, {r.small.high:.0%}]", large, f"{r.asked:.0%}",
                f"{r.escalated:.0%}", interval(r.loss), proved)  # fmt: skip

    head = (
        "pair",
        "cases",
        "small passes",
        "large passes",
        "asked small",
        "of these also large",
        "quality lost",
        "shown within the margin",
    )
    curve = [(f"{p.share:.0%}", f"{p.quality:.0%}", interval(p.loss)) for p in strict.trained.points]
    return f"""
## Quality beside it

The school's cases, scored by the project's own scorers; each case scored by a router that has not seen it; margin
{MARGIN:.0%}, declared before. The share taken is the largest whose measured loss is within the margin; the last column is
the share for which {pair.n} cases *show* it (one-sided 95 %). More cases narrow it: `waterline router train`.

{table(head, [row(pair), row(strict)])}
The first row is a real pair, and the share the measured bill uses; a 135M model is a poor small one, and most of its answers
are doubted and asked again. The second row asks what a 1.5B model could answer alone beside a large one that is always right:
the most that routing can lose. Neither is the pair of the prices, which no test here can call; `waterline router train` measures
it on an app's own cases. Second row, share by share:

{table(("asked small", "passes", "quality lost"), curve)}
* **Shorter answers**: with the school's prompt {brief.mean:.0f} tokens in the mean of {brief.n} cases, {brief.cut} ran into its
  limit of 64. Without its rule of short answers {brief.free:.0f} instead of {brief.short:.0f}; quality {interval(brief.difference)}
  (short less free, {brief.paired} cases, paired): this model is brief unasked, so the rule's own effect is not seen on it.
* **Exact cache**: the same bytes were asked under the same release; the answer is one that the model gave.
* **History summarised**: not measured; the cases have no conversation that is long enough.
* **Prompt-cache shaping** changes no answer.
"""


def ends_part(world: World, levers: Levers, pair: Routed) -> str:
    a, now = world.assumed, world.usd(levers).usd
    rows = []

    def ends(name: str, used: str, first: tuple[str, float], second: tuple[str, float], source: str) -> None:
        rows.append((name, used, f"{first[0]}: {first[1]:,.0f}", f"{second[0]}: {second[1]:,.0f}", source))

    def on(**changes: float) -> float:
        return world.usd(replace(levers, **changes)).usd  # type: ignore[arg-type]

    def given(**changes: float) -> float:
        return world.usd(levers, replace(a, **changes)).usd  # type: ignore[arg-type]

    low, high = ROUTED_ENDS
    ends("turns at the small model", f"{levers.routed:.0%}", (f"{low:.0%}", on(routed=low)), (f"{high:.0%}", on(routed=high)),
         "to be measured on an app's own cases")
    ends("doubtful small answers, asked again", "none", ("a tenth", on(escalated=levers.routed / 10)),
         ("a third", on(escalated=levers.routed / 3)), f"measured with the poor pair: {pair.escalated / max(pair.asked, 1e-9):.0%}")
    ends("which turns are routed", "any", ("any", now), ("the shortest contexts", given(routed_to_hard_first=True)),
         "difficulty may go with length")
    ends("fixed prompt, tokens", f"{a.fixed:.0f}", ("100", given(fixed=100.0)), ("1,100", given(fixed=1100.0)),
         "used: what is left of the mean context after the exchanges; low: hardly a prompt, high: hardly a history")
    ends("shortest prefix the provider caches", f"{a.cacheable_min:,}", ("1,024", given(cacheable_min=1024)),
         ("4,096", given(cacheable_min=4096)), "1,024 to 4,096 by model; sources differ for this one")
    ends("both: prompt 1,100, cached from 1,024", "no", ("so", given(fixed=1100.0, cacheable_min=1024)), ("no", now),
         "then the prompt is always warm")
    ends("median gap between turns", f"{a.gap_median_s / 60:.0f} min", ("2 min", given(gap_median_s=120.0)),
         ("60 min", given(gap_median_s=3600.0)), "people answer a chat when they can; spread e^1.5")
    ends("summary past, tokens", f"{a.summary_past:.0f}", ("400", given(summary_past=400.0)),
         ("1,600", given(summary_past=1600.0)), "declared by the app")
    ends("a summary's length", f"{a.summary_tokens:.0f}", ("80", given(summary_tokens=80.0)),
         ("300", given(summary_tokens=300.0)), "assumed")
    ends("longest answer", f"{ANSWER_CAP}", ("64", on(answer_cap=64)), ("no limit", on(answer_cap=1e9)),
         "declared by the app; a longer answer is taken to be sayable in it")
    ends("semantic cache, of first questions", "0 %", ("0 %", now), ("40 %", on(semantic=0.4)),
         "not built: what it could be worth")  # fmt: skip
    head = ("assumption", "used", "one end, USD", "other end, USD", "why")
    return f"## If an assumption is wrong: the bill of {now:,.0f}\n\n" + table(head, rows)


def prices_part(world: World, levers: Levers, base: Bill, price: dict[tuple[str, str], Price]) -> str:
    rows = [(CHEAP[1], per_million(price[CHEAP]), f"{world.usd(levers).usd:,.0f}")]
    rows += [(who[1], per_million(price[who]), f"{world.usd(levers, small=price[who]).usd:,.0f}") for who in OTHERS]
    newer = price[SUCCESSOR]
    first, all_on = world.usd(Levers(), large=newer).usd, world.usd(levers, large=newer).usd
    return f"""## Other published prices

{table(("small model", "USD a million tokens", "all levers, USD"), rows)}
Moving the large model to its successor {SUCCESSOR[1]} ({per_million(newer)}): {first:,.0f} USD without any lever
({first / base.usd - 1:+.0%}), {all_on:,.0f} with all. It is no lever of ours and is in no figure above.
"""


def sources_part(world: World, kept: dict[str, object], repeats: list[cost_texts.Repeats]) -> str:
    rows = [(r.what, f"{r.asked:,}", f"{r.hits:,}", f"{r.share:.2%}") for r in repeats]
    return f"""## Where the rest is from

* Prices: core/prices.toml, version {built_in_prices().version}. An hour's retention is written at twice the input price
  (published beside the five minutes of the table).
* The eight turns of a lead are eight calls of the trace, ordered by what they read. The trace has no texts: questions are
  {world.assumed.question:.0f} tokens (mean of the school's cases, four characters a token).
* The models asked: {json.dumps(kept["models"])}, on {kept["asked_on"]}, answers in cost_answers.json.
* The exact cache on texts, with the gateway's renderer and key, shared between callers, without expiry (the most it can find):

{table(("requests", "asked", "again", "share"), rows)}
  First questions of CLINC150 were collected one by one and hardly repeat; a month of real first questions ("oi", "bom dia")
  repeats more, so the share used is a low one. Later turns carry their history in the key and practically never repeat.
"""


if __name__ == "__main__":
    main()
