"""The first page of COST.md: what is reached with measured figures, what with assumptions, and each lever's share."""
# ruff: noqa: E501

import json
from dataclasses import replace
from typing import Any

import history_page
import leads_paired
from cost_flow import MEASURED
from cost_month import LEADS, TURNS, Bill, Levers
from cost_tables import interval, table
from cost_world import LEVERS, TARGET, Routed, Shorter, World, only

from waterline.evals.leads import Lead
from waterline.evals.statistics import wilson

ORDER = (("the flow decides", ("flow",)), *(lever for lever in LEVERS if lever[0] != "routing, small first"), LEVERS[0])
NONE_LOST = "none: it changes no answer"


def glance_part(
    world: World, measured: Levers, assumed: Levers, base: Bill, pair: Routed, brief: Shorter
) -> tuple[str, list[tuple[str, float]]]:
    """The text, and the bill after each measured lever, for the picture."""
    seen = json.loads(MEASURED.read_text())
    share = seen["share"]
    flowing = replace(measured, flow=share["value"])
    unrouted = replace(flowing, routed=0.0, escalated=0.0)
    flow_loss, rest = _flow_loss(seen), "the flow's, and those of the levers used, below"
    rows: list[tuple[str, ...]] = []

    def row(name: str, levers: Levers, lost: str, figures: str) -> None:
        usd = world.usd(levers).usd
        rows.append(
            (name, f"{usd:,.0f}", f"{usd / base.usd - 1:+.1%}", "**yes**" if usd <= TARGET else "no", lost, figures)
        )

    rows.append((f"**baseline**: a model in each of {LEADS * TURNS:,} turns", f"{base.usd:,.1f}", "", "no", "", "M, C"))
    rows.append(("*measured figures only*", "", "", "", "", ""))
    row(
        f"**the flow decides, a model reads only what code cannot**: {share['value']:.1%} of the turns without a call",
        Levers(flow=share["value"]),
        flow_loss,
        "M on simulated leads",
    )
    row(f"... the low end of that interval, {share['low']:.1%}", Levers(flow=share["low"]), "the same", "M")
    row("the flow, and all levers but routing", unrouted, rest, "M; answers' length declared")
    row(
        "the flow, and all levers, routing as measured",
        flowing,
        f"{rest}; routing {interval(pair.loss)}",
        "M, on a poor pair",
    )
    row("no flow: all levers but routing", replace(unrouted, flow=0.0), "those of the levers below", "M")
    row("no flow: all levers, routing as measured", measured, f"{interval(pair.loss)} by routing", "M, on a poor pair")
    rows.append(("*with an assumption*", "", "", "", "", ""))
    row(
        f"no flow: all levers, {assumed.routed:.0%} of the turns at the small model",
        assumed,
        "unknown: the pair that is priced was not asked",
        "A: the share",
    )
    for ends in (0.7, 0.5):
        row(
            f"the flow alone, if real people let it answer only {ends:.0%}",
            Levers(flow=ends),
            "unknown",
            "A: the share",
        )
    head = ("", "USD a month", "against the baseline", f"at most {TARGET}", "quality lost", "figures")
    text = f"""## At a glance

{table(head, rows)}
{_needed(world, unrouted)} The flow's share is of the school's simulated leads, not of the trace's conversations;
what it loses is measured in pairs by a real model ([below](#what-that-loses-in-pairs); below 0: gained);\nbeside a reader that never errs it loses what it misses at all.

### Each lever's share

{_shares(world, flowing, assumed, base, pair, brief)}"""
    return text, _steps(world, flowing, base)


def _needed(world: World, unrouted: Levers) -> str:
    def least(levers: Levers) -> int:
        return next(n for n in range(101) if world.usd(replace(levers, flow=n / 100)).usd <= TARGET)

    return f"{TARGET} USD take {least(Levers())} % of the turns without a call and no other lever, {least(unrouted)} % with all others but routing."


def _flow_loss(seen: dict[str, Any]) -> str:
    arms = leads_paired.kept_leads()
    most = wilson(seen["leads"] - seen["wanted"], seen["leads"])
    said = [
        _paired(arms, "model", "the model alone in each turn"),
        _paired(arms, "both", "code and the model in each turn"),
    ]
    return f"{'; '.join(said)}; beside a reader that never errs {most.value:.1%} [{most.low:.1%}, {most.high:.1%}]"


def _paired(arms: dict[str, list[Lead]], than: str, name: str) -> str:
    found = leads_paired.loss(arms, than)
    gained = " (gained)" if found is not None and found.value < 0 else ""
    return (
        f"beside {name} {interval(found)}{gained}, {found.n} pairs" if found is not None else f"beside {name} unknown"
    )


def _steps(world: World, levers: Levers, base: Bill) -> list[tuple[str, float]]:
    on: tuple[str, ...] = ()
    found = [("no lever", base.usd)]
    for name, fields in ORDER:
        on = (*on, *fields)
        found.append((name, world.usd(only(levers, on)).usd))
    return found


def _shares(world: World, levers: Levers, assumed: Levers, base: Bill, pair: Routed, brief: Shorter) -> str:
    lost = {
        "the flow decides": "see above",
        "routing, small first": f"{interval(pair.loss)} ({pair.who})",
        "shorter answers": _gained(brief),
        "history shortened": f"{interval(history_page.note_loss())} where an early turn is needed",
        "semantic cache": "none is taken: too few cases to show its false hits",
        "exact cache": "none: the answer is one that the model gave",
        "prompt-cache shaping": NONE_LOST,
    }
    rows, before = [], base.usd
    for (name, fields), (_, after) in zip(ORDER, _steps(world, levers, base)[1:], strict=True):
        alone = world.usd(only(levers, fields)).usd
        rows.append(
            (name, f"{alone:,.0f} ({alone / base.usd - 1:+.1%})", f"{after:,.0f} ({after - before:+,.0f})", lost[name])
        )
        before = after
    alone = world.usd(only(assumed, ("routed", "escalated"))).usd
    rows.append(
        (
            f"(routing, {assumed.routed:.0%} of the turns: A)",
            f"{alone:,.0f} ({alone / base.usd - 1:+.1%})",
            "",
            "unknown",
        )
    )
    return table(("lever, as measured", "alone, USD", "added to those above, USD", "quality lost"), rows)


def _gained(brief: Shorter) -> str:
    e = brief.difference
    return (
        "unknown"
        if e is None
        else f"{-e.value:+.1%} [{-e.high:+.1%}, {-e.low:+.1%}] (of a model that is brief unasked)"
    )
