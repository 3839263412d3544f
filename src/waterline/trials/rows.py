"""Page one: the executive's question in nine rows. A row without evidence says "not shown"."""

from waterline.core.app_spec import AppSpec
from waterline.core.verdict import Outcome, Verdict
from waterline.trials.drawing import number
from waterline.trials.drills.integrations_found import EFFECTS
from waterline.trials.load_line import Behind, Row, Section

NAMES = (
    "scale", "service level", "connected systems", "regulations", "governance", "rollback", "cost", "incident plan",
    "continuity plan",
)  # fmt: skip
NOT_SHOWN = "not shown"
WHY_NOT = {
    "regulations": "no drill of this version looks at personal data (privacy, leak) or erasure",
    "governance": "no drill of this version walks roles and tampers with the audit log (access, audit)",
    "incident plan": "no drill of this version plants incidents and waits for the alert (observability)",
}


def nine_rows(sections: list[Section], spec: AppSpec) -> list[Row]:
    found = {s.drill: s for s in sections if s.state == "ran"}
    rows = {
        "scale": _scale(found.get("load")),
        "service level": _service(found.get("outage"), found.get("load"), found.get("quality")),
        "connected systems": _systems(found.get("integrations")),
        "rollback": _rollback(found.get("rollback")),
        "cost": _cost(found.get("cost"), found.get("budget")),
        "continuity plan": _continuity(found.get("recovery")),
    }
    owner = spec.owner or "nobody is named"
    out = []
    for name in NAMES:
        made = rows.get(name)
        if made is None:
            needs = {"scale": "load", "service level": "outage", "connected systems": "integrations",
                     "rollback": "rollback", "cost": "cost", "continuity plan": "recovery"}.get(name, "")  # fmt: skip
            why = WHY_NOT.get(name) or f"the drill {needs} did not run"
            out.append(Row(name, NOT_SHOWN, owner=owner, excludes=why))
        else:
            figure, evidence, excludes, outcome, provider = made
            out.append(Row(name, figure, evidence, owner, excludes, outcome, provider))
    return out


Made = tuple[str, str, str, Outcome, Behind] | None


def _scale(load: Section | None) -> Made:
    if load is None:
        return None
    three = [v for v in load.verdicts if "3x" in v.name and v.value is not None]
    said = []
    for verdict in three:
        value = verdict.value
        assert value is not None
        kind = verdict.name.rpartition(", ")[2]
        if verdict.unit == "share":
            said.append(f"{kind}: {number(value.value, 'share')} of {value.n:,} answered")
        else:
            said.append(f"{kind}: p99 {value.value:.2f} times that of one caller alone")
    return "; ".join(said) or "nothing was measured", "drill load", _left_out(load), _worst(three), "simulated"


def _service(outage: Section | None, load: Section | None, quality: Section | None) -> Made:
    said, verdicts = [], []
    if quality is not None:
        for verdict in quality.verdicts:
            if verdict.value is not None:
                said.append(f"quality {_share(verdict)}{_objective(verdict)} (real)")
                verdicts.append(verdict)
    if outage is not None:
        verdicts += outage.verdicts
        first = next((v for v in outage.verdicts if v.value is not None), None)
        if first is not None:
            said.append(f"{_share(first)} answered while the provider failed{_objective(first)} (simulated)")
    for verdict in load.verdicts if load is not None else []:
        if verdict.provider == "real" and verdict.value is not None:
            most = f", at most {verdict.threshold:,.0f} declared" if verdict.threshold is not None else ""
            said.append(f"{verdict.name.partition(',')[0]} {verdict.value.value:,.0f} ms{most} (real)")
            verdicts.append(verdict)
    if not said:
        return None
    drills = [s.drill for s in (quality, outage, load) if s is not None]
    left_out = _left_out(*(s for s in (outage, quality) if s is not None))
    behind: Behind = "real" if any(v.provider == "real" for v in verdicts) else "simulated"
    return "; ".join(said), f"drill {', '.join(drills)}", left_out, _worst(verdicts), behind


def _systems(integrations: Section | None) -> Made:
    if integrations is None:
        return None
    each = [v for v in integrations.verdicts if ": " in v.name]
    good = sum(v.outcome is Outcome.PASS for v in each)
    effects = next((v for v in integrations.verdicts if v.name == EFFECTS), None)
    bad, n = 0, 0
    if effects is not None and effects.value is not None:
        bad, n = round(effects.value.value * effects.value.n), effects.value.n
    played = next((f.text for f in integrations.facts if f.name == "Played"), "nothing")
    figure = f"{good} of {len(each)} states and kills of {played} passed; {bad} of {n} effects lost or done twice"
    return figure, "drill integrations", _left_out(integrations), _worst(integrations.verdicts), "simulated"


def _rollback(rollback: Section | None) -> Made:
    if rollback is None:
        return None
    took = next((f.text for f in rollback.facts if f.name == "Rollback"), "")
    first = next(iter(rollback.verdicts), None)
    seen = first.value.n if first is not None and first.value is not None else 0
    bad = round(first.value.value * seen) if first is not None and first.value is not None else 0
    figure = f"{took}; {bad} of {seen:,} later requests on the wrong release"
    return figure, "drill rollback", _left_out(rollback), _worst(rollback.verdicts), "simulated"


def _cost(cost: Section | None, budget: Section | None) -> Made:
    said, verdicts = [], []
    if cost is not None:
        verdicts += cost.verdicts
        said += [f"{number(v.value.value, 'USD')} {v.name.removeprefix('USD ')} [{number(v.value.low, 'USD')}, "
                 f"{number(v.value.high, 'USD')}], {_declared(v)} (real)"
                 for v in cost.verdicts if v.value is not None]  # fmt: skip
    if budget is not None:
        verdicts += budget.verdicts
        over = next((v for v in budget.verdicts if v.name == "overshoot"), None)
        if over is not None:
            held = {Outcome.PASS: "held", Outcome.FAIL: "was PASSED"}.get(over.outcome, "was not tried to its end")
            said.append(f"a hard budget {held} under 32 callers and a kill -9 (simulated)")
    if not said:
        return None
    parts = [s for s in (cost, budget) if s is not None]
    behind: Behind = "real" if cost is not None else "simulated"
    return "; ".join(said), f"drill {', '.join(s.drill for s in parts)}", _left_out(*parts), _worst(verdicts), behind


def _continuity(recovery: Section | None) -> Made:
    if recovery is None:
        return None
    facts = {f.name: f.text for f in recovery.facts}
    figure = f"RTO {facts.get('Time to recover (RTO)', '-')}; lost: {facts.get('Data lost (RPO)', '-')}"
    retired = "a model that is retired (the drill continuity is not in this version)"
    return (
        figure,
        "drill recovery",
        "; ".join(filter(None, (_left_out(recovery), retired))),
        _worst(recovery.verdicts),
        "simulated",
    )


def _share(verdict: Verdict) -> str:
    value = verdict.value
    assert value is not None
    return f"{number(value.value, 'share')} [{number(value.low, 'share')}, {number(value.high, 'share')}]"


def _objective(verdict: Verdict) -> str:
    return "" if verdict.threshold is None else f", {number(verdict.threshold, 'share')} required"


def _declared(verdict: Verdict) -> str:
    return "nothing declared" if verdict.threshold is None else f"at most {number(verdict.threshold, 'USD')} declared"


def _left_out(*sections: Section) -> str:
    return "; ".join(text for section in sections for text in section.excludes)


def _worst(verdicts: list[Verdict]) -> Outcome:
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS):
        if any(v.outcome is outcome for v in verdicts):
            return outcome
    return Outcome.INCONCLUSIVE
