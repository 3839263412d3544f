"""What keeps a release from an environment, as its page shows it, and the acts of the second person."""

from msgspec import Struct

from waterline.access.roles import person_id
from waterline.console.frame import Ask, Moved, url
from waterline.control.gates import GateReport
from waterline.control.promotion import PassedBefore
from waterline.control.views import ReleaseView
from waterline.core.app_spec import AppSpec
from waterline.core.rollout import FULL_BP

WORDS = {
    "load_line": "Load line", "evaluation": "Evaluation", "no_open_incident": "No open incident",
    "approval": "Second person",
}  # fmt: skip
BADGES = {"passed": ("pass", "passed"), "not_passed": ("fail", "not passed"), "does_not_apply": ("", "does not apply")}
PLACES = {"load_line": "/load-lines/", "experiment": "/experiments/", "incident": "/incidents/"}


class Checklist(Struct, frozen=True):
    """Of one environment that requires something. `own`: whoever looks is the author; `given`: has approved already."""

    report: GateReport
    live: bool  # it has all of the traffic already
    own: bool
    given: bool

    @property
    def asks_approval(self) -> bool:
        return any(gate.name == "approval" for gate in self.report.gates)

    @property
    def ready(self) -> bool:
        return self.report.ready


async def checklists(ask: Ask, release: ReleaseView, spec: AppSpec) -> list[Checklist]:
    found = []
    for env in spec.environments:
        if not spec.gates_of(env).requires:
            continue
        report = await ask.plane.gates.report(ask.who, release.app, release.id, env)
        live = any(share.env == env and share.weight_bp == FULL_BP for share in release.live)
        own = ask.who.person == person_id(report.author)
        given = any(one.person == ask.who.person and one.holds for one in report.approvals)
        found.append(Checklist(report, live, own, given))
    return found


async def past(ask: Ask, release: ReleaseView) -> dict[int, PassedBefore]:
    """By the number of the move."""
    return {one.move: one for one in await ask.plane.gates.past(ask.who, release.id)}


def context() -> dict[str, object]:
    return {"gate_words": WORDS, "gate_badges": BADGES, "gate_places": PLACES}


# --- acts --------------------------------------------------------------------------------------------------------


async def approve(ask: Ask) -> Moved:
    view, _, _ = await ask.plane.release(ask.who, ask.path("release"))
    env, note = ask.form.get("env", ""), ask.form.get("note", "")
    after = await ask.plane.gates.approve(ask.who, view.app, view.id, env, ask.form.get("shown", ""), note)
    return Moved(url(f"/releases/{view.id}", approved=env), after, 201)


async def withdraw(ask: Ask) -> Moved:
    view, _, _ = await ask.plane.release(ask.who, ask.path("release"))
    env, person = ask.form.get("env", ""), ask.form.get("person", "")
    after = await ask.plane.gates.withdraw(ask.who, view.app, view.id, env, person, ask.form.get("note", ""))
    return Moved(url(f"/releases/{view.id}", withdrawn=env), after, 201)
