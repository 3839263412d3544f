"""COST.md, part by part."""
# ruff: noqa: E501

import json
import math
import time
from dataclasses import replace

import cost_texts
from cost_month import LEADS, TURNS, Bill, Levers
from cost_tables import interval, table
from cost_world import (
    ANSWER_CAP,
    BASE,
    CHEAP,
    DEAR,
    LEVERS,
    MARGIN,
    OTHERS,
    ROUTED_ENDS,
    SUCCESSOR,
    TARGET,
    Routed,
    Shorter,
    World,
    only,
    without,
)
from history_page import history_part

from waterline.core.money import NANO, Price
from waterline.core.savings import History
from waterline.evals.distributions import normal_cdf
from waterline.rollout.check import built_in_prices


def per_million(price: Price) -> str:
    return f"{price.input / NANO:g} in, {price.cached_input / NANO:g} cached, {price.output / NANO:g} out"


def head_part() -> str:
    return f"""# What a month of 100,000 leads costs

Written by `python bench/cost.py --write` on {time.strftime("%Y-%m-%d", time.gmtime())}; how: [cost.py](cost.py). Every figure
is **measured** (M), **computed** from a published price (C) or **assumed** (A, with its range below). Channel fees are apart.
"""


def baseline_part(read, written, base: Bill, price: dict[tuple[str, str], Price]) -> str:  # type: ignore[no-untyped-def]
    mean_usd = LEADS * TURNS * (read.mean() * price[DEAR].input + written.mean() * price[DEAR].output) / 1e6 / NANO
    return f"""![The bill, lever by lever](cost.svg)

## The baseline

{LEADS:,} leads of {TURNS} turns, token counts of the {len(read):,} calls of the Azure trace (mean {read.mean():,.1f} read,
{written.mean():.1f} written), {DEAR[1]} at {per_million(price[DEAR])} USD a million tokens, nothing cached:
**{base.usd:,.1f} USD** replayed turn by turn, {mean_usd:,.1f} from the means, {BASE:,} published.
"""


def lever_part(world: World, levers: Levers, base: Bill, steps, repeats, alike: cost_texts.Similar) -> str:  # type: ignore[no-untyped-def]
    together = steps[-1][1]
    a = world.assumed
    settings = {
        "routing, small first": (
            f"{levers.routed:.0%} of the turns by {CHEAP[1]}",
            "share A (measured: see Quality); prices C",
        ),
        "shorter answers": (f"at most {levers.answer_cap:.0f} tokens", "declared; lengths of the trace M"),
        "history shortened": (
            f"past {levers.history.max_tokens} tokens: the last {levers.history.keep_last} messages and a note",
            f"the gateway's own rule; notes {a.note_ratio:.0%} of what they stand for, at most a quarter: M on texts",
        ),
        "semantic cache": (
            f"{levers.semantic:.1%} of first questions",
            f"M on {alike.questions} cases of the school: {alike.outcome}" if alike.questions else alike.outcome,
        ),
        "exact cache": (
            f"{levers.exact:.2%} of first questions",
            f"M on {repeats[0].asked:,} texts with the gateway's own key",
        ),
        "prompt-cache shaping": (shaping(world, levers), "hits computed from arrivals and retention; prices C"),
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
    a = world.assumed
    if a.fixed >= a.cacheable_min:
        return f"a prompt of {a.fixed:.0f} tokens, always warm"
    return f"nothing: a prompt of {a.fixed:.0f} tokens is too short to be cached (from {a.cacheable_min:,})"


def total_part(world: World, measured: Levers, assumed: Levers, base: Bill) -> str:
    def verdict(levers: Levers) -> str:
        return "reached" if world.usd(levers).usd <= TARGET else "**not reached**"

    rows = []
    for name, levers in (
        (f"all levers, routing as measured here ({measured.routed:.0%} asked small, {measured.escalated:.0%} then large)", measured),
        (f"all levers, {assumed.routed:.0%} of the turns at the small model (A)", assumed),
        (f"... {ROUTED_ENDS[0]:.0%} of them", replace(assumed, routed=ROUTED_ENDS[0])),
        (f"... {ROUTED_ENDS[1]:.0%} of them", replace(assumed, routed=ROUTED_ENDS[1])),
        ("all levers but routing", replace(assumed, routed=0.0)),
    ):  # fmt: skip
        b = world.usd(levers)
        rows.append(
            (name, f"{b.usd:,.0f}", f"{b.usd / base.usd - 1:+.1%}", "yes" if b.usd <= TARGET else "no",
             f"{b.large.calls:,.0f}", f"{b.small.calls:,.0f}", f"{b.shortened:,}")
        )  # fmt: skip
    head = (
        "",
        "USD",
        "against the baseline",
        f"at most {TARGET}",
        "calls large",
        "calls small",
        "turns sent with a note",
    )
    return f"""## Without a flow: all other levers together

What routing saves is most of the bill, and its share could not be measured on the models that are priced. With the share
measured on two models that could be asked (a poor pair, see Quality) the target is {verdict(measured)}; with
{assumed.routed:.0%}, the share that published calculations take, it is {verdict(assumed)}.

{table(head, rows)}
{needed(world, assumed)}
"""


def needed(world: World, levers: Levers) -> str:
    """The share routed at which the target is reached, all else as it is."""
    for percent in range(101):
        if world.usd(replace(levers, routed=percent / 100)).usd <= TARGET:
            return f"{TARGET} USD take {percent} % of the turns at the small model, all else as it is."
    return f"No share of the turns at the small model would make it {TARGET} USD."


def quality_part(
    pair: Routed, strict: Routed, brief: Shorter, numbers: tuple[int, int], alike: list[cost_texts.Similar]
) -> str:
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
        "of all also large",
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
{meant(alike)}
* **History shortened**: of {numbers[1]} numbers that users had said in what notes stand for (dialogues of SGD, declared at 200
  tokens), {numbers[0]} ({numbers[0] / max(1, numbers[1]):.0%}) still reach the model.
{history_part()}
* **Prompt-cache shaping** changes no answer.
"""


def meant(alike: list[cost_texts.Similar]) -> str:
    if not alike[0].questions:
        return f"* **Semantic cache**: {alike[0].outcome}."
    rows = [
        (a.what, f"{a.questions:,}", f"{a.threshold:g}", f"{a.hits:,} ({a.hits / a.questions:.0%})", f"{a.false_hits:,}",
         f"{a.false_upper:.1%}", a.outcome)
        for a in alike
    ]  # fmt: skip
    head = ("questions", "asked", "threshold", "answered from the cache", "of them falsely", "at most", "")
    said = f"calibrated by the project's own code, at most {cost_texts.MAX_FALSE:.0%} false hits to be shown"
    return f"* **Semantic cache**, {said}:\n\n{table(head, rows)}"


def ends_part(world: World, levers: Levers, pair: Routed, alike: list[cost_texts.Similar]) -> str:
    a, now = world.assumed, world.usd(levers).usd
    rows = []

    def ends(name: str, used: str, first: tuple[str, float], second: tuple[str, float], source: str) -> None:
        rows.append((name, used, f"{first[0]}: {first[1]:,.0f}", f"{second[0]}: {second[1]:,.0f}", source))

    def on(**changes: float) -> float:
        return world.usd(replace(levers, **changes)).usd  # type: ignore[arg-type]

    def given(**changes: float) -> float:
        return world.usd(levers, replace(a, **changes)).usd  # type: ignore[arg-type]

    low, high = ROUTED_ENDS
    ends(
        "turns at the small model",
        f"{levers.routed:.0%}",
        (f"{low:.0%}", on(routed=low)),
        (f"{high:.0%}", on(routed=high)),
        "to be measured on an app's own cases",
    )
    ends(
        "doubtful small answers, asked again",
        "none",
        ("a tenth", on(escalated=levers.routed / 10)),
        ("a third", on(escalated=levers.routed / 3)),
        f"measured with the poor pair: {pair.escalated / max(pair.asked, 1e-9):.0%}",
    )
    ends(
        "which turns are routed",
        "any",
        ("any", now),
        ("the shortest contexts", given(short_first=True)),
        "difficulty may go with length",
    )
    ends(
        "fixed prompt, tokens",
        f"{a.fixed:.0f}",
        ("100", given(fixed=100.0)),
        ("1,100", given(fixed=1100.0)),
        "used: what is left of the mean context after the exchanges; low: hardly a prompt, high: hardly a history",
    )
    ends(
        "shortest prefix the provider caches",
        f"{a.cacheable_min:,}",
        ("1,024", given(cacheable_min=1024)),
        ("4,096", given(cacheable_min=4096)),
        "1,024 to 4,096 by model; sources differ for this one",
    )
    ends(
        "both: prompt 1,100, cached from 1,024",
        "no",
        ("so", given(fixed=1100.0, cacheable_min=1024)),
        ("no", now),
        "then the prompt is always warm",
    )
    ends(
        "median gap between turns",
        f"{a.gap_median_s / 60:.0f} min",
        ("2 min", given(gap_median_s=120.0)),
        ("60 min", given(gap_median_s=3600.0)),
        "people answer a chat when they can; spread e^1.5",
    )
    ends(
        "history shortened past", f"{levers.history.max_tokens} tokens, the last {levers.history.keep_last} whole",
        ("400, the last 2", on(history=History(max_tokens=400, keep_last=2))),
        ("3,000, the last 8", on(history=History(max_tokens=3000, keep_last=8))), "declared by the app",
    )  # fmt: skip
    ends(
        "a note, of what it stands for", f"{a.note_ratio:.0%}", ("10 %", given(note_ratio=0.1)),
        ("100 %", given(note_ratio=1.0)), "up to a quarter of the declared length",
    )  # fmt: skip
    ends(
        "longest answer",
        f"{ANSWER_CAP}",
        ("64", on(answer_cap=64)),
        ("no limit", on(answer_cap=1e9)),
        "declared by the app; a longer answer is taken to be sayable in it",
    )
    ends(
        "semantic cache, of first questions", f"{levers.semantic:.0%}", ("0 %", on(semantic=0.0)),
        ("40 %", on(semantic=0.4)), f"measured on cases; on CLINC150 {alike[1].share:.0%}",
    )  # fmt: skip
    head = ("assumption", "used", "one end, USD", "other end, USD", "why")
    return f"## If an assumption is wrong: the bill of {now:,.0f}\n\n" + table(head, rows)


def caching_part(world: World, gaps: tuple[float, float]) -> str:
    """The provider's prompt cache by itself: the hit rates come from the gaps between turns and the retention."""
    rows = []
    for fixed, least in ((world.assumed.fixed, 2048), (world.assumed.fixed, 1024), (1100.0, 1024)):
        assumed = replace(world.assumed, fixed=fixed, cacheable_min=least)
        cells = []
        for mode in ("prompt", "5m", "1h"):
            b = world.one(Levers(caching=mode), assumed)
            cells.append(f"{b.usd:,.0f} ({b.cached_share:.0%} read from it)")
        rows.append((f"{fixed:,.0f}", f"{least:,}", *cells))
    within = [
        (
            f"{median / 60:.0f} min",
            *(f"{share_within(median, world.assumed.gap_sigma, ttl):.0%}" for ttl in (300, 3600)),
        )
        for median in (120.0, world.assumed.gap_median_s, 3600.0)
    ]
    head = ("fixed prompt", "cached from", "the prompt alone", "history too, 5 minutes", "history too, an hour")
    longest, mean = gaps
    return f"""## The provider's prompt cache, by itself

The prompt of all leads is one prefix: at this volume a turn comes every {mean:.1f} s, and the trace's longest pause is {longest:.0f} s
at that rate, so its copy is always warm, where it is long enough to be cached at all. That is what `prompt_cache = true` marks,
and the lever above. A lead's own history goes cold between turns (a caller may mark it; the last two columns, writes priced):

{table(("median gap between turns (A)", "within 5 minutes", "within an hour"), within)}
{table(head, rows)}
"""


def share_within(median_s: float, sigma: float, ttl_s: float) -> float:
    return normal_cdf(math.log(ttl_s / median_s) / sigma)


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


def sources_part(
    world: World,
    kept: dict[str, object],
    repeats: list[cost_texts.Repeats],
    notes: cost_texts.Shortened,
    modelled: float,
) -> str:
    rows = [(r.what, f"{r.asked:,}", f"{r.hits:,}", f"{r.share:.2%}") for r in repeats]
    return f"""## Where the rest is from

* Prices: core/prices.toml, version {built_in_prices().version}. An hour's retention is written at twice the input price
  (published beside the five minutes of the table).
* The eight turns of a lead are eight calls of the trace, ordered by what they read. The trace has no texts: questions are
  {world.assumed.question:.0f} tokens (mean of the school's cases, four characters a token).
* The models asked: {json.dumps(kept["models"])}, on {kept["asked_on"]}, answers in cost_answers.json.
* History: {notes.requests:,} requests of the first leads, their sizes filled with the sentences of SGD, through `gateway/history.py`:
  {notes.whole:,.0f} tokens became {notes.sent:,.0f} (the month's arithmetic has {modelled:,.0f} for the same leads); notes of
  {notes.notes:,.0f} tokens stand for {notes.gone:,.0f}.
* The exact cache on texts, with the gateway's renderer and key, shared between callers, without expiry (the most it can find):

{table(("requests", "asked", "again", "share"), rows)}
  First questions of CLINC150 were collected one by one and hardly repeat; a month of real first questions ("oi", "bom dia")
  repeats more, so the share used is a low one. Later turns carry their history in the key and practically never repeat.
"""
