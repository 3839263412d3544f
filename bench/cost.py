"""What a month of 100,000 leads costs, and what each way of paying less takes off it.

    python bench/cost.py [--data ../shared/data] [--write]

Needs the folder with azure-llm-trace/conv.csv, sgd and clinc150 (numpy is in the development group). Each figure says
whether it was measured, computed from a published price, or assumed; an assumption has its range, and the bill at both
ends of it. Nothing here is a test, and no assumption is chosen by its result.
"""

import argparse
import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import cost_page as page
import cost_texts
from cost_answers import ANSWERS, LARGE, SCHOOL, SMALL, school
from cost_drawing import waterfall
from cost_fees import fees_part
from cost_flow import flow_part
from cost_glance import glance_part
from cost_month import (
    Assumed,
    Levers,
    Month,
    arrival_gaps,
    derived_fixed,
    lead_sizes,
    month_of,
    read_trace,
    sent_history,
)
from cost_world import (
    ANSWER_CAP,
    ASSUMED_ROUTED,
    CHEAP,
    DEAR,
    HISTORY,
    MARGIN,
    TARGET,
    Routed,
    Shorter,
    World,
    cumulative,
    prices,
)  # fmt: skip

from waterline.core.case import Case
from waterline.core.request import decode_request
from waterline.core.savings import History, Routing
from waterline.evals.cases import load_cases
from waterline.evals.routing import Pair, Point, train
from waterline.evals.scorers import score
from waterline.evals.statistics import paired_difference, wilson
from waterline.gateway.routing import doubt, request_features
from waterline.providers import models
from waterline.rollout.build import build
from waterline.trials import DRILLS

HERE = Path(__file__).resolve().parent
SAMPLE = 300  # leads whose every turn goes through the gateway's history code


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
    assumed_now = Assumed(derived_fixed(month, question), question)
    notes, numbers = history_on_texts(month, assumed_now, cost_texts.dialogues(data))
    assumed_now = replace(assumed_now, note_ratio=notes.notes / notes.gone if notes.gone else 1.0)
    world = World(month, price[DEAR], price[CHEAP], assumed_now)

    complete = [c for c in cases if c.id in answers["large"] and c.id in answers["small"]]
    middling = [passed(c, answers["large"]) for c in complete]
    tiny = [passed(c, answers["small"]) for c in complete]
    pair = routed(f"{SMALL} beside {LARGE}", complete, tiny, middling, answers["small"], release.routing)
    strict = routed(
        f"{LARGE} beside one that is always right", complete, middling, None, answers["large"], release.routing
    )
    brief = shorter(complete, answers)
    repeats, alike = texts(release, data, cases), meanings(data)
    measured = Levers(
        caching="prompt", exact=repeats[0].share, semantic=alike[0].share, routed=pair.asked,
        escalated=pair.escalated, history=HISTORY, answer_cap=ANSWER_CAP,
    )  # fmt: skip
    assumed = replace(measured, routed=ASSUMED_ROUTED, escalated=0.0)
    modelled = sent_history(month, assumed_now, Levers(history=HISTORY, answer_cap=ANSWER_CAP), SAMPLE)
    base = world.usd(Levers())
    glance, bars = glance_part(world, measured, assumed, base, pair, brief)
    steps = cumulative(world, assumed)
    parts = [
        page.head_part(),
        glance,
        page.baseline_part(read, written, base, price),
        flow_part(world, measured, assumed, base),
        page.total_part(world, measured, assumed, base),
        page.lever_part(world, assumed, base, steps, repeats, alike[0]),
        page.quality_part(pair, strict, brief, numbers, alike),
        page.ends_part(world, assumed, pair, alike),
        page.caching_part(world, arrival_gaps(trace)),
        page.prices_part(world, assumed, base, price),
        fees_part(channel),
        page.sources_part(world, kept, repeats, notes, modelled),
    ]
    best = (f"no flow, {assumed.routed:.0%} routed (A)", steps[-1][1])
    return "\n".join(parts), waterfall(bars, TARGET, best)


def history_on_texts(
    month: Month, assumed: Assumed, talks: list[cost_texts.Messages]
) -> tuple[cost_texts.Shortened, tuple[int, int]]:
    """The gateway's own code on the first leads of the month, their sizes filled with texts; and what notes keep."""
    lead = lead_sizes(month, assumed, ANSWER_CAP)[:SAMPLE]
    notes = cost_texts.shortened(lead.tolist(), assumed.question, HISTORY, talks)
    return notes, cost_texts.numbers_kept(talks, History(max_tokens=200, keep_last=HISTORY.keep_last))


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


def meanings(data: Path) -> list[cost_texts.Similar]:
    """The semantic cache, calibrated on the school's cases (all of them) and on every second question of CLINC150's
    validation split."""
    if find_spec("waterline.evals.semantic") is None:
        return [cost_texts.Similar("", 0, 0.0, 0, 0, 0.0, "not in this version", 0.0)] * 2
    from waterline.providers import embedder

    embed = embedder.load().embed
    mine = [c for c in load_cases(SCHOOL / "cases") if c.route == "main"]
    split = json.loads((data / "clinc150" / "data_full.json").read_text())["val"][::2]
    return [
        cost_texts.similar("the school's cases", mine, embed),
        cost_texts.similar("CLINC150, validation", cost_texts.as_cases([(t, i) for t, i in split]), embed),
    ]


def build_manifest() -> bytes:
    digests = {s.name: s.sha256 for s in models.known().values()}
    return build(SCHOOL, model_digests=digests, known_drills=DRILLS).manifest


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
    """The largest share for the small model whose measured loss is within the margin; its interval is told."""
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


if __name__ == "__main__":
    main()
