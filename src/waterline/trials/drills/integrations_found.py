"""What the drill integrations found: who was told what is not so, what was lost, and what was done twice."""

import math
from collections import Counter
from typing import Any

from msgspec import Struct, field

from waterline.core.app_spec import AppSpec
from waterline.core.flow import Flow
from waterline.core.verdict import Outcome, Verdict
from waterline.evals.statistics import gate, quantile
from waterline.trials.integration_people import Cell
from waterline.trials.judging import gated, none_allowed, verdict
from waterline.trials.load_line import Fact, Table
from waterline.trials.played.server import POINTS, STATES
from waterline.trials.sea import LIFTED
from waterline.trials.starved import Turn, softened
from waterline.trials.telephones import ENDS

DRILL = "integrations"
QUIET_S = 0.3  # a turn begins so long after a message; people of the drill do not write in pieces
IN_TIME = 0.95  # of all replies, while one connected system is in trouble
PEOPLE, EFFECTS = "everybody who met with trouble", "effects in the books of all systems"
NEVER = "it was never needed in this state"


class Tried(Struct):
    """`writes`: of each connector, the operations whose effect can be looked up in the books."""

    spec: AppSpec
    flow: Flow
    played: list[str]
    writes: dict[str, tuple[str, ...]] = {}
    cells: list[Cell] = field(default_factory=list)
    turn: Turn = field(default_factory=Turn)
    seconds: float = 0.0

    @property
    def limit_s(self) -> float:
        """For a reply: as declared, else what a turn may take at most."""
        declared = self.spec.objectives.answer_ms_p95
        return declared / 1000 if declared is not None else self.spec.conversations.turn_s

    def wrong(self, cell: Cell) -> str:
        """What was wrong for one person; "": nothing."""
        if cell.unanswered:
            return f'nobody answered "{cell.unanswered}"'
        if early := self._claims(cell):
            return early
        if not cell.claims and not set(cell.told) & set(ENDS):
            return "the talk had no end: nobody said what became of it"
        if left := [a for a in cell.acts if a["state"] in ("planned", "sending")]:
            return f"{_names(left)} was neither done nor given to a person after all was well again"
        if (failed := [a for a in cell.acts if a["state"] == "failed"]) and not cell.handed:
            return f"{_names(failed)} failed, and no person was told"
        if books := self.books(cell):
            return books[0]
        sound = cell.state in ("healthy", "dirty data") and not cell.handed
        if (sound or cell.armed is not None) and not (cell.claims or not self._promised()):
            return "it was not done, though nothing was in its way"
        return ""

    def never(self, cell: Cell) -> bool:
        """Whether the connector did not meet with what was prepared."""
        return not (cell.kills if cell.armed is not None else cell.met)

    def _promised(self) -> list[tuple[str, str]]:
        """What a "done" promises, as (connector, operation), where the books tell."""
        found = [(a.connector, a.operation) for a in self.flow.actions if a.when == "confirmed"]
        return [(c, o) for c, o in found if o in self.writes.get(c, ())]

    def _claims(self, cell: Cell) -> str:
        """Said to be done before the system had it. Clocks are the same machine's."""
        for at_s in cell.claims:
            for connector, operation in self._promised():
                books = cell.records.get(connector)
                if books is not None and not any(r.what == operation and r.at_s <= at_s for r in books):
                    return f"it was said to be done, and {connector} does not have it"
        return ""

    def books(self, cell: Cell) -> list[str]:
        """Effects that are not in the books once: done twice, lost, or there without having been asked for."""
        found = []
        for connector, records in cell.records.items():
            acts = [a for a in cell.acts if a["system"] == connector]
            for operation in self.writes.get(connector, ()):
                there = Counter(r.identity for r in records if r.what == operation)
                asked = {_label(a) for a in acts if a["operation"] == operation}
                done = {_label(a) for a in acts if a["operation"] == operation and a["state"] == "done"}
                found += [f"{connector} has {operation} {n} times" for n in there.values() if n > 1]
                if len(there) > len(asked):
                    found.append(f"{connector} has {len(there)} of {operation}, {len(asked)} asked for")
                if len(there) < len(done):
                    found.append(f"{connector} lost {operation}: {len(there)} of {len(done)} are there")
        return found


def judged(tried: Tried) -> list[Verdict]:
    found = []
    for connector in tried.played:
        mine = [c for c in tried.cells if c.connector == connector]
        if not mine:
            said = "no flow of the release asks it for anything, so it was not tried"
            found.append(verdict(DRILL, connector, Outcome.INCONCLUSIVE, said, provider="none"))
        for name in dict.fromkeys(_name(c) for c in sorted(mine, key=_rank)):
            found.append(_of(tried, name, [c for c in mine if _name(c) == name]))
    for name, connection in sorted(tried.spec.connectors.items()):
        if name not in tried.played:
            said = f"a {connection.kind} cannot be played by this version, so it was not tried"
            found.append(verdict(DRILL, f"{name}: not played", Outcome.INCONCLUSIVE, said, provider="none"))
    wrong = sum(bool(tried.wrong(c)) for c in tried.cells)
    said = "people were told what is not so, or what they asked for was lost or done twice"
    found.append(none_allowed(DRILL, PEOPLE, wrong, len(tried.cells), "simulated", said))
    bad = sum(len(tried.books(c)) for c in tried.cells)
    effects = sum(len(c.records[n]) for c in tried.cells for n in c.records)
    found.append(none_allowed(DRILL, EFFECTS, bad, effects + bad, "simulated", "effects were lost or done twice"))
    found.append(_in_time(tried))
    return found


def _in_time(tried: Tried) -> Verdict:
    """Of those whose server was not killed: how often that happens, the drill chose."""
    took = [s for c in tried.cells if c.armed is None for s in (*c.took_s, *([math.inf] if c.unanswered else ()))]
    within = sum(s <= tried.limit_s for s in took)
    whose = "answer_ms_p95" if tried.spec.objectives.answer_ms_p95 is not None else "turn_s of [conversations]"
    name = f"replies within {tried.limit_s:g} s while a system is in trouble"
    made = gated(DRILL, name, gate(within, len(took), IN_TIME), "simulated", note=f"{whose} is the limit")
    return softened(made, tried.turn)


def _of(tried: Tried, name: str, cells: list[Cell]) -> Verdict:
    """Of all people who met with the same."""
    wrong = [w for c in cells if (w := tried.wrong(c))]
    if not wrong and (never := [c for c in cells if tried.never(c)]):
        said = f"of {len(never)} of {len(cells)} people nothing is known: {NEVER}"
        return verdict(DRILL, name, Outcome.INCONCLUSIVE, said, provider="simulated")
    n = len(cells)
    if wrong:
        said = f"{len(wrong)} of {n} people: {'; '.join(dict.fromkeys(wrong))}"
        return verdict(DRILL, name, Outcome.FAIL, said, provider="simulated")
    handed = sum(c.handed for c in cells)
    said = f"{n} of {n} people heard what is so, and what they asked for is in the books once"
    if handed:
        said = f"{n} of {n} people heard what is so; for {handed} a person was asked, all else is in the books once"
    return verdict(DRILL, name, Outcome.PASS, said, provider="simulated")


def facts(tried: Tried) -> list[Fact]:
    took = sorted(s for c in tried.cells for s in c.took_s)
    p95 = quantile(took, 0.95)
    kills, effects = sum(c.kills for c in tried.cells), sum(len(r) for c in tried.cells for r in c.records.values())
    said, handed = sum(c.said for c in tried.cells), sum(c.handed for c in tried.cells)
    return [
        Fact("Played", ", ".join(f"{n} ({tried.spec.connectors[n].kind})" for n in tried.played) or "nothing"),
        Fact("People", f"{len(tried.cells)}, each in a branch of their own; {said} messages in {tried.seconds:.0f} s; "
             f"{handed} were given to a person", "simulated"),
        Fact("Effects", f"{effects} in the books of the played systems", "simulated"),
        Fact("kill -9", f"{kills} while an effect was under way, {sum(bool(c.armed) for c in tried.cells)} meant",
             "simulated"),
        Fact("Replies", f"p95 {p95:.1f} s, {took[-1]:.1f} s at most" if p95 is not None else "none", "simulated"),
        Fact("This machine", f"the drill's own waits ended {tried.turn.worst_ms:,.0f} ms late at most"),
        Fact("Limits", f"{LIFTED} A turn begins {QUIET_S:g} s after a message."),
    ]  # fmt: skip


def met_with(tried: Tried) -> Table:
    """One row for those who met with the same at the same moment."""
    groups: dict[tuple[str, bool], list[Cell]] = {}
    for cell in sorted(tried.cells, key=lambda c: (c.connector, *_rank(c))):
        groups.setdefault((_name(cell), cell.acting), []).append(cell)
    rows = []
    for (name, acting), cells in groups.items():
        acts = Counter(a["state"] for c in cells for a in c.acts)
        heard = Counter(word for c in cells for word in [*["done"] * bool(c.claims), *c.told])
        found = Counter(tried.wrong(c) or (NEVER if tried.never(c) else "good") for c in cells)
        rows.append([
            name, "acting" if acting or cells[0].armed else "at once", f"{len(cells)}",
            f"{sum(c.kills if c.armed else c.met for c in cells)}",
            f"{max((s for c in cells for s in c.took_s), default=0.0):.1f} s", _counts(heard), _counts(acts),
            f"{sum(c.handed for c in cells)}", f"{sum(len(r) for c in cells for r in c.records.values())}",
            _counts(found),
        ])  # fmt: skip
    columns = ["connector: state", "begins", "people", "requests, kills", "slowest reply", "they heard", "acts",
               "to a person", "in the books", "found"]  # fmt: skip
    note = (
        "Trouble begins at once, or with what was said yes to (acting). What they heard has the names of the flow's "
        "texts; done: that it was done."
    )
    return Table("What people met with", columns, rows, "simulated", note=note)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{n} {what}" for what, n in sorted(counter.items())) or "-"


def _name(cell: Cell) -> str:
    what = f"kill -9 {cell.armed.point}" if cell.armed is not None else cell.state
    return f"{cell.connector}: {what}"


def _rank(cell: Cell) -> tuple[int, bool, str]:
    """States in their order, then kills in theirs."""
    if cell.armed is not None:
        return len(STATES) + POINTS.index(cell.armed.point), False, cell.place
    return STATES.index(cell.state), cell.acting, cell.place


def _label(act: dict[str, Any]) -> str:
    """What the same act has in common, however often it is asked for: a lead is one, whatever is added to it."""
    return str((act["arguments"] or {}).get("lead") or act["key"] if act["operation"] == "upsert_lead" else act["key"])


def _names(acts: list[dict[str, Any]]) -> str:
    return ", ".join(f"{a['system']}.{a['operation']}" for a in acts)
