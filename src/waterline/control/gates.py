"""Whether a release may be promoted to an environment: what the environment requires (core/gates.py), each gate with
what it found and the next command to type.

The gates in force decide, never those that the release brings with it. `report` is a function over one transaction, so
a promotion is decided and made on the same state: nothing can happen in between.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import Struct

from waterline.access.roles import person_id
from waterline.core.app_spec import AppSpec, asks_less, parse_spec
from waterline.core.case import set_id_of
from waterline.core.errors import Refused
from waterline.core.gates import LIVE, SCORE_MIN, GateName, Gates, named_cases
from waterline.core.ids import sha256_hex, short
from waterline.core.release import StoredRelease, parse_release
from waterline.core.rollout import Share
from waterline.evals.experiment import Result
from waterline.rollout.moves import before, moves_of
from waterline.store import approvals, cases, experiments, incidents, keys, load_lines, releases, rollouts
from waterline.store.approvals import Approval
from waterline.store.db import Tx
from waterline.store.experiments import ExperimentHead, ItemFilter
from waterline.trials.ci_report import points, share
from waterline.trials.load_line import objectives_id

State = Literal["passed", "not_passed", "does_not_apply"]
DAY_US = 86_400_000_000
CLOSE = 1e-9  # margins are written by people


class Evidence(Struct, frozen=True):
    """`kind`: "load_line", "experiment", "incident" or "approval"."""

    kind: str
    id: str


class Gate(Struct, frozen=True):
    """`next`: the command that would change it; "" where there is none to type."""

    name: GateName
    state: State
    says: str
    evidence: list[Evidence] = []
    next: str = ""


class ApprovalView(Struct, frozen=True):
    """`holds`: it counts now; else `why_not`."""

    who: str
    person: str
    at_us: int
    note: str
    holds: bool
    why_not: str = ""
    key_by_author: bool = False  # the author made the key that it was given with: look twice


class GateReport(Struct, frozen=True):
    """`against`: the release that it would take traffic from; "" where nothing is live. `shown`: the SHA-256 of what an
    approval is given on (release, environment, what is required, evidence, the release before)."""

    app: str
    env: str
    release: str
    author: str
    against: str
    gates: list[Gate]
    approvals: list[ApprovalView]
    shown: str
    record: str  # JSON of what `shown` is the digest of
    not_passed: list[GateName]
    passed: bool

    @property
    def ready(self) -> bool:
        """Everything that can be shown to an approver is there."""
        return not [name for name in self.not_passed if name != "approval"]

    @property
    def evidence(self) -> str:
        """For the history, in a line."""
        used = [f"{e.kind} {short(e.id)}" for gate in self.gates for e in gate.evidence if gate.state == "passed"]
        waived = [f"{gate.name} does not apply" for gate in self.gates if gate.state == "does_not_apply"]
        return ", ".join((*used, *waived)) or "gates passed"


class _Looked(Struct, frozen=True):
    """What every gate looks at."""

    tx: Tx
    spec: AppSpec  # in force
    gates: Gates
    env: str
    stored: StoredRelease
    against: str
    now_us: int


def report(tx: Tx, stored: StoredRelease, env: str, now_us: int) -> GateReport:
    """What the gates of an environment say of a release now. Nothing is required: a report without gates."""
    spec = in_force(tx, stored.app)
    now = rollouts.latest(tx, stored.app, env)
    moves = moves_of(tx, stored.app, env)
    back = max((move.seq for move in moves if move.kind == "rollback"), default=0)
    against = _against(stored.id, now.shares if now else (), before(moves, now.shares) if now else None)
    looked = _Looked(tx, spec, spec.gates_of(env), env, stored, against, now_us)
    found: dict[GateName, Gate] = {}
    for name in looked.gates.requires:
        match name:
            case "load_line":
                found[name] = _load_line(looked)
            case "evaluation":
                found[name] = _evaluation(looked)
            case "no_open_incident":
                found[name] = _incidents(looked)
            case "approval":
                pass
    seen = [[n, g.state, [e.id for e in g.evidence]] for n, g in found.items() if n != "no_open_incident"]
    record = msgspec.json.encode({
        "format": 1, "app": stored.app, "env": env, "release": stored.id, "environment_record": stored.spec,
        "against": against, "rolled_back": back, "gates": looked.gates, "evidence": seen,
    }, order="sorted")  # fmt: skip
    shown = sha256_hex(record)
    given = _approvals(looked, shown)
    if "approval" in looked.gates.requires:
        found["approval"] = _approval(looked, given)
    in_order = [found[name] for name in looked.gates.requires]
    missing = [gate.name for gate in in_order if gate.state == "not_passed"]
    return GateReport(
        stored.app,
        env,
        stored.id,
        author(stored),
        against,
        in_order,
        given,
        shown,
        record.decode(),
        missing,
        not missing,
    )


def refusal(found: GateReport) -> Refused:
    """One error that says every gate, and what to type next."""
    lines = [f'Release {short(found.release)} may not be promoted to "{found.env}" of app "{found.app}" yet.']
    lines += list(told(found))
    lines.append(
        "Nothing was changed. In an emergency an owner may go past the gates, and it stays on record: "
        f"waterline promote {found.app} {short(found.release)} --to {found.env} --override REASON"
    )
    return Refused("\n".join(lines))


def told(found: GateReport) -> Iterator[str]:
    """A line for each gate, and the next command below those that are not passed."""
    words = {"passed": "passed", "not_passed": "NOT PASSED", "does_not_apply": "does not apply"}
    for gate in found.gates:
        yield f"  {gate.name}: {words[gate.state]}: {gate.says}"
        if gate.next:
            yield f"      next: {gate.next}"


def in_force(tx: Tx, app: str) -> AppSpec:
    """The environment record that holds now."""
    record = releases.current_spec(tx, app)
    return parse_spec(record.bytes) if record is not None else AppSpec(app)


def record_stays(now: AppSpec, brought: AppSpec) -> str:
    """Why the environment record in force stays at a promotion, although the release brings another; "": it does not.
    No promotion asks less of the next one, nor changes what load lines were measured under: an operator does, and says
    so (`waterline limits`)."""
    if less := asks_less(now, brought):
        return f"the one built with the release asks less ({'; '.join(less)})"
    measured = any("load_line" in gates.requires for gates in now.gates.values())
    if measured and objectives_id(now.objectives) != objectives_id(brought.objectives):
        return "the one built with the release has other objectives"
    return ""


def author(stored: StoredRelease) -> str:
    """Who built it, as people call them; `person_id` of it is who may not approve it."""
    return stored.person or stored.who


def _against(release: str, shares: tuple[Share, ...], had_all: str | None) -> str:
    """The release that a promotion takes traffic from: of several the one that last had all of it. "": none."""
    others = [s for s in shares if s.release != release]
    if not others:
        return ""
    if had_all is not None and any(s.release == had_all for s in others):
        return had_all
    return max(others, key=lambda s: s.weight_bp).release


# --- the gates -----------------------------------------------------------------------------------------------------


class _SaidOfLine(Struct):
    """The parts of a load line's document that are looked at."""

    objectives_id: str = ""
    short: bool = False


def _load_line(at: _Looked) -> Gate:
    app, release = at.stored.app, short(at.stored.id)
    objectives = objectives_id(at.spec.objectives)
    record = releases.get_spec(at.tx, at.stored.spec)
    same = record is not None and objectives_id(parse_spec(record.bytes).objectives) == objectives
    trial = f"waterline trial {f'{app} --release {release}' if same else 'APP_DIR (one with the objectives in force)'}"
    lines = load_lines.list_of(at.tx, app, at.stored.id)
    line = next((head for head in lines if head.exit_status in (0, 1) and head.spec == objectives), None)
    if line is None:
        return Gate("load_line", "not_passed", _no_line(lines, objectives), next=trial)
    evidence = [Evidence("load_line", line.id)]
    named = f"load line {short(line.id)} of {_day(line.at_us)}, recorded by {line.who}"
    said = _document(at.tx, line.id)
    if said.objectives_id and said.objectives_id != objectives:
        text = f"{named}, was measured under other objectives than those in force"
        return Gate("load_line", "not_passed", text, evidence, trial)
    if line.exit_status == 1:
        return Gate("load_line", "not_passed", f"{named}, says that it may not sail", evidence, trial)
    days = (at.now_us - line.at_us) / DAY_US
    if days > at.gates.load_line_days or (line.expires_us is not None and at.now_us >= line.expires_us):
        text = f"{named}, has expired: it is {days:.0f} days old, and may be {at.gates.load_line_days}"
        return Gate("load_line", "not_passed", text, evidence, trial)
    return Gate("load_line", "passed", f"{named}{', of a short trial' * said.short}: may sail", evidence)


def _no_line(lines: list[load_lines.LoadLineHead], objectives: str) -> str:
    if not lines:
        return "it has not been to sea"
    if any(head.spec == objectives for head in lines):
        return f"no trial came to an end that says yes or no; the last one, {short(lines[0].id)}, could not tell"
    return f"its load line {short(lines[0].id)} was measured under other objectives than those in force"


def _document(tx: Tx, line: str) -> _SaidOfLine:
    found = load_lines.get(tx, line)
    try:
        return msgspec.json.decode(found.json, type=_SaidOfLine) if found is not None else _SaidOfLine()
    except msgspec.DecodeError:
        return _SaidOfLine()


def _evaluation(at: _Looked) -> Gate:
    wanted, against = at.gates.evaluation_against, ""
    if wanted == LIVE:
        if not at.against:
            text = f'nothing else is live in "{at.env}" that it could be worse than'
            return Gate("evaluation", "does_not_apply", text)
        against = at.against
    elif wanted != SCORE_MIN:
        known = releases.find(at.tx, wanted, at.stored.app)
        if len(known) != 1:
            text = f'evaluation_against = "{wanted}" names {len(known) or "no"} releases of the app'
            return Gate("evaluation", "not_passed", text, next=f"waterline release list {at.stored.app}")
        if known[0] == at.stored.id:
            return Gate("evaluation", "does_not_apply", "it is the release that others are compared with")
        against = known[0]
    next_ = _evaluate(at, against)
    asked, missing = _case_set(at)
    if missing:
        return Gate("evaluation", "not_passed", missing, next=f"waterline cases list {at.stored.app}")
    unfit, seen = "", list[Evidence]()
    heads = [h for h in experiments.list_of(at.tx, at.stored.app, at.stored.id, 200) if h.against == against]
    for head in heads:
        result = _result(at.tx, head.id)
        why_not = _unfit(at, head, result, asked) if result is not None else "cannot be read"
        if result is None or why_not:
            unfit = unfit or f"experiment {short(head.id)} of {_day(head.at_us)} {why_not}"
            seen = seen or [Evidence("experiment", head.id)]
            continue
        return _judged(at, head, result, len(heads), next_)
    whom = f"against {short(against)}" if against else "against score_min"
    return Gate("evaluation", "not_passed", unfit or f"no evaluation of it {whom} is recorded", seen, next_)


def _judged(at: _Looked, head: ExperimentHead, result: Result, recorded: int, next_: str) -> Gate:
    figure = f"{points(result.estimate)} points" if result.plan.against else share(result.estimate)
    whom = f" than {short(head.against)}" if head.word in ("better", "worse") and head.against else ""
    whom = f" to {short(head.against)}" if head.word == "non-inferior" else whom
    among = f", the newest of {recorded} on record that says yes or no" if recorded > 1 else ""
    text = (
        f"experiment {short(head.id)} of {_day(head.at_us)}, recorded by {head.who}{among}: {head.word}{whom}, "
        f"{figure} on {head.cases} cases x {head.repeats}"
    )
    evidence = [Evidence("experiment", head.id)]
    if failing := _must_pass(at, head):
        return Gate("evaluation", "not_passed", f"{text}; {failing}", evidence, next_)
    if head.word in ("better", "non-inferior", "passed"):
        return Gate("evaluation", "passed", text, evidence)
    return Gate("evaluation", "not_passed", text, evidence, next_)


def _case_set(at: _Looked) -> tuple[str, str]:
    """The digest (or its first digits) of the cases that must have been asked, "" for any; or what is missing. Of a set
    of the server it is the newest version: a case that was added since must have been asked too."""
    wanted = named_cases(at.gates.evaluation_cases)
    if wanted is None or wanted.digest:
        return wanted.digest if wanted is not None else "", ""
    newest = cases.head(at.tx, at.stored.app, wanted.name)
    if newest is None:
        return "", f'the app has no case set "{wanted.name}"'
    if not wanted.split:
        return newest.digest, ""
    found = cases.digests(at.tx, at.stored.app, wanted.name, newest.version, wanted.split)
    return set_id_of(found), "" if found else f'no case of the set "{wanted.name}" is in {wanted.split}'


def _must_pass(at: _Looked, head: ExperimentHead) -> str:
    """Which case that must pass did not; "": every answer of all of them passed."""
    tags = at.gates.evaluation_must_pass
    if tags and experiments.count(at.tx, head.id, ItemFilter()) < head.cases:
        return "its cases are not all on record"
    for tag in tags:
        if not experiments.count(at.tx, head.id, ItemFilter(tag=tag)):
            return f'none of its cases has the tag "{tag}"'
        if failed := experiments.count(at.tx, head.id, ItemFilter(tag=tag, passed=0)):
            return f'{failed} of its cases with the tag "{tag}" did not pass'
    return ""


def _unfit(at: _Looked, head: ExperimentHead, result: Result, asked: str) -> str:
    """Why an evaluation is no evidence here, neither way; "" if it is."""
    plan, margin = result.plan, at.gates.evaluation_margin or 0.0
    if head.word == "unknown":
        more = f"; about {result.more_cases} more cases would" if result.more_cases else ""
        return f"could not tell{more}: {result.reason[:200]}"
    if (at.now_us - head.at_us) / DAY_US > at.gates.evaluation_days:
        return f"is older than {at.gates.evaluation_days} days"
    if not plan.case_set.startswith(asked):
        named = f' (the newest "{at.gates.evaluation_cases}")' if asked != at.gates.evaluation_cases else ""
        return f"asked case set {short(plan.case_set)}, not {short(asked)}{named}"
    if plan.against and (plan.margin or 0.0) > margin + CLOSE:
        return f"was held to a margin of {plan.margin:g}, and {margin:g} is allowed"
    floor = at.spec.objectives.quality.score_min
    if not plan.against and (plan.score_min or 0.0) < (floor if floor is not None else 1.0) - CLOSE:
        return (
            f"was held to score_min {plan.score_min or 0.0:g}, and {floor if floor is not None else 1.0:g} is in force"
        )
    if result.provider != "real" and not _simulated(at.stored):
        return "was answered by the simulated provider, which says nothing of quality"
    return ""


def _simulated(stored: StoredRelease) -> bool:
    """Its own models are simulated ones, so nothing stood in for them."""
    return all(route.provider == "simulated" for route in parse_release(stored.manifest).routes.values())


def _evaluate(at: _Looked, against: str) -> str:
    wanted = named_cases(at.gates.evaluation_cases)
    named = f"{wanted.name}{f' --split {wanted.split}' * bool(wanted.split)}" if wanted is not None else ""
    command = f"waterline eval {at.stored.app} --release {short(at.stored.id)} --cases {named or 'APP_DIR/cases'}"
    compared = f" --against {short(against)} --margin {at.gates.evaluation_margin or 0.0:g}" if against else ""
    digest = f" (case set {wanted.digest[:12]})" if wanted is not None and wanted.digest else ""
    return f"{command}{compared}{digest}"


def _result(tx: Tx, experiment: str) -> Result | None:
    found = experiments.get(tx, experiment)
    try:
        return msgspec.json.decode(found.result, type=Result) if found is not None else None
    except msgspec.DecodeError:
        return None


def _incidents(at: _Looked) -> Gate:
    open_ = incidents.blocking(at.tx, at.stored.app, at.env)
    if not open_:
        others = incidents.count(at.tx, at.stored.app, "open")
        beside = f" ({others} other {'is' if others == 1 else 'are'})" if others else ""
        return Gate("no_open_incident", "passed", f"none that blocks is open{beside}")
    evidence = [Evidence("incident", one.id) for one in open_]
    text = "open: " + ", ".join(f"{one.id} {one.title[:80]!r} ({one.severity})" for one in open_[:5])
    more = f" and {len(open_) - 5} more" if len(open_) > 5 else ""
    close = f"waterline incident close {open_[0].id} --resolution TEXT"
    return Gate("no_open_incident", "not_passed", text + more, evidence, close)


def _approvals(at: _Looked, shown: str) -> list[ApprovalView]:
    found = approvals.latest(at.tx, at.stored.app, at.env, at.stored.id)
    return [_view(at, one, shown) for one in found if one.kind == "approve"]


def _view(at: _Looked, one: Approval, shown: str) -> ApprovalView:
    key = keys.get(at.tx, one.key_id)
    why_not = ""
    if one.person == person_id(author(at.stored)):
        why_not = "it is the author's own"
    elif one.shown != shown:
        why_not = "it was given on other evidence than there is now, or the release was rolled back since"
    elif key is not None and key.revoked_us is not None:
        why_not = "the key that gave it was revoked since"
    by_author = key is not None and person_id(key.created_by) == person_id(author(at.stored))
    return ApprovalView(one.who, one.person, one.at_us, one.note, not why_not, why_not, by_author)


def _approval(at: _Looked, given: list[ApprovalView]) -> Gate:
    holding = [one for one in given if one.holds]
    said = [
        f"{one.who} on {_day(one.at_us)}{' (with a key that the author made)' * one.key_by_author}" for one in holding
    ]
    said += [f"{one.who}'s of {_day(one.at_us)} does not count: {one.why_not}" for one in given if not one.holds]
    text = f"{len(holding)} of {at.gates.approvals}{': ' if said else ''}{'; '.join(said)}"
    evidence = [Evidence("approval", one.person) for one in holding]
    if len(holding) >= at.gates.approvals:
        return Gate("approval", "passed", text, evidence)
    next_ = f"waterline approve {at.stored.app} {short(at.stored.id)} --to {at.env}"
    text += f"; its author, {author(at.stored)}, cannot"
    return Gate("approval", "not_passed", text, evidence, f"{next_} (by somebody else than its author)")


def _day(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%d")
