"""COST.md: the bill of an app whose flow decides, where a model only reads what code cannot. Shares from leads.json."""
# ruff: noqa: E501

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cost_month import LEADS, TURNS, Bill, Levers
from cost_tables import table
from cost_world import DEAR, TARGET, World
from leads_paired import paired_part

from waterline.core.cost_model import Tokens, priced
from waterline.core.money import NANO

MEASURED = Path(__file__).resolve().parent / "leads.json"


def flow_part(world: World, measured: Levers, assumed: Levers, base: Bill, file: Path = MEASURED) -> str:
    title = "## A flow decides, a model only reads what code cannot\n\n"
    if not file.exists():
        return f"{title}Not measured here: `python bench/leads.py`, then `--report`.\n"
    seen = json.loads(file.read_text())
    share = seen["share"]
    rows = []

    def row(name: str, levers: Levers) -> None:
        b = world.usd(levers)
        reached = "yes" if b.usd <= TARGET else "no"
        rows.append(
            (name, f"{b.usd:,.0f}", f"{b.usd / base.usd - 1:+.1%}", reached, f"{b.large.calls + b.small.calls:,.0f}")
        )

    row(f"the flow alone, {share['value']:.1%} of the turns without a call (M)", Levers(flow=share["value"]))
    row(f"... the low end of its interval, {share['low']:.1%}", Levers(flow=share["low"]))
    row("the flow and all levers, routing as measured", replace(measured, flow=share["value"]))
    row(f"the flow and all levers, {assumed.routed:.0%} routed (A)", replace(assumed, flow=share["value"]))
    for ends in (0.5, 0.7):
        row(f"the flow alone, if real people let it answer only {ends:.0%} (A)", Levers(flow=ends))
    needed = next(n for n in range(101) if world.usd(Levers(flow=n / 100)).usd <= TARGET)
    small = _own_size(world, seen)
    head = ("", "USD a month", "against the baseline", f"at most {TARGET}", "calls")
    return f"""{title}An app with a declared flow (docs/howto/flows.md) asks a model in the turns that code cannot read, or that take more than one
section of the handbook. **Measured on the school's flow with {seen["leads"]} simulated leads** (bench/LEADS.md, {seen["turns"]:,} turns, the model
{seen["model"]}), not on real parents, and not on the trace's conversations: {share["value"]:.1%} [{share["low"]:.1%}, {share["high"]:.1%}] of the turns needed no call.
Each turn that does is billed here as one call of the trace's full size, with the whole conversation in it (measured:
{seen["calls_a_model_turn"]:.2f} calls in such a turn):

{table(head, rows)}
{TARGET} USD take {needed} % of the turns without a call, and no other lever. Those calls are in truth much smaller, for they carry
no history: at the sizes that were measured ({small["read"]:.1f} tokens read and {small["written"]:.1f} written a turn, all turns, by that model's tokenizer) the
month's {LEADS * TURNS:,} turns are {small["usd"]:,.0f} USD at {DEAR[1]}. Beside it, the quality: LEADS.md says how many people got what they wanted.

{paired_part(seen["leads"], seen["wanted"])}"""


def _own_size(world: World, seen: dict[str, Any]) -> dict[str, float]:
    read, _, written = (sum(counts[n] for counts in seen["routes"].values()) / seen["turns"] for n in (1, 2, 3))
    turns = LEADS * TURNS
    usd = priced(Tokens(read * turns, 0.0, 0.0, written * turns), world.large) / NANO
    return {"read": read, "written": written, "usd": usd}
