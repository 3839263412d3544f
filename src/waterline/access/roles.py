"""Who may do what: a closed set of actions, and the matrix. What is not declared is denied.

docs/reference/roles.md explains the choices; its table is `matrix_table()`, checked by a test.
The duties are kept apart: whoever changes behaviour (developer) does not decide what is live, whoever decides that
(operator) does not read what users wrote, and only an owner gives people rights.
"""

import unicodedata
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from waterline.core.app_spec import Priority
from waterline.core.errors import PermissionDenied


class Role(StrEnum):
    """`APP` is what an app key acts as; the other five are given to people."""

    OWNER = "owner"
    DEVELOPER = "developer"
    OPERATOR = "operator"
    VIEWER = "viewer"
    DESK = "desk"
    APP = "app"


PERSON_ROLES = (Role.OWNER, Role.DEVELOPER, Role.OPERATOR, Role.VIEWER, Role.DESK)
BRANCH_ROLES = (Role.DESK, Role.VIEWER)  # that one may have in some branches and not in others


class Action(StrEnum):
    """Everything that can be read or done through the API, the console or the command line."""

    APP_LIST = "apps.read"
    OVERVIEW_READ = "overview.read"
    METRICS_READ = "metrics.read"
    TRACES_READ = "traces.read"
    BODIES_READ = "bodies.read"
    FEEDBACK_READ = "feedback.read"
    TRACE_REPLAY = "trace.replay"
    RELEASE_READ = "release.read"
    RELEASE_BUILD = "release.build"
    SPEC_READ = "spec.read"
    ROLLOUT_READ = "rollout.read"
    ROLLOUT_PROMOTE = "rollout.promote"
    ROLLOUT_ROLLBACK = "rollout.rollback"
    ROLLOUT_PIN = "rollout.pin"
    ROLLOUT_APPROVE = "rollout.approve"
    GATE_OVERRIDE = "gate.override"
    INCIDENT_READ = "incident.read"
    INCIDENT_OPEN = "incident.open"
    INCIDENT_CLOSE = "incident.close"
    LIMITS_WRITE = "limits.write"
    LOAD_LINE_READ = "load_line.read"
    LOAD_LINE_WRITE = "load_line.write"
    TRIAL_RUN = "trial.run"
    EXPERIMENT_READ = "experiment.read"
    EXPERIMENT_WRITE = "experiment.write"
    CASE_LIST = "case_sets.read"
    CASE_READ = "cases.read"
    CASE_REVIEW = "cases.review"
    SUBJECT_ERASE = "subject.erase"
    SUBJECT_EXPORT = "subject.export"
    JUDGE_READ = "judges.read"
    JUDGE_LABEL = "judges.label"
    JUDGE_CALIBRATE = "judges.calibrate"
    MODEL_READ = "model.read"
    MODEL_PULL = "model.pull"
    KEY_READ = "key.read"
    KEY_CREATE_APP = "key.create_app"
    KEY_ASSERT_IDENTITY = "key.assert_identity"
    KEY_REVOKE = "key.revoke"
    KEY_CREATE_PERSON = "key.create_person"
    KEY_CHANGE_PERSON = "key.change_person"
    KEY_REVOKE_PERSON = "key.revoke_person"
    AUDIT_READ = "audit.read"
    SETTINGS_READ = "settings.read"
    CONVERSATION_LIST = "conversations.read"
    CONVERSATION_READ = "conversation_texts.read"
    CONVERSATION_TAKE = "conversations.take"
    DATA_CALL = "data.call"
    DATA_FEEDBACK = "data.feedback"
    DATA_INGEST = "data.ingest"
    TOOLS_CALL = "tools.call"


class Rule(Struct, frozen=True):
    what: str
    roles: frozenset[Role]


def _rule(what: str, *roles: Role) -> Rule:
    return Rule(what, frozenset(roles))


_O, _D, _P, _V, _T = PERSON_ROLES

_DECLARED: dict[Action, Rule] = {
    Action.APP_LIST: _rule("See which apps there are", _O, _D, _P, _V, _T),
    Action.OVERVIEW_READ: _rule("See traffic, cost, latency and errors", _O, _D, _P, _V),
    Action.METRICS_READ: _rule("Read /metrics", _O, _D, _P, _V),
    Action.TRACES_READ: _rule("List traces and see one's events, cost and release, without any text", _O, _D, _P, _V),
    Action.BODIES_READ: _rule("Read and search what was asked and answered", _O, _D),
    Action.FEEDBACK_READ: _rule("Read users' ratings with their comments", _O, _D),
    Action.TRACE_REPLAY: _rule("Render a trace's upstream request again (shows its text)", _O, _D),
    Action.RELEASE_READ: _rule("Read and compare releases, prompts included", _O, _D, _P),
    Action.RELEASE_BUILD: _rule("Build a release from an app folder", _O, _D),
    Action.SPEC_READ: _rule("Read an app's limits, prices and objectives", _O, _D, _P, _V),
    Action.ROLLOUT_READ: _rule("See what is live, and who moved it and why", _O, _D, _P, _V),
    Action.ROLLOUT_PROMOTE: _rule("Make a release live, wholly or by weight", _O, _P),
    Action.ROLLOUT_ROLLBACK: _rule("Go back to an earlier release", _O, _P),
    Action.ROLLOUT_PIN: _rule("Pin a session to a release, or unpin it", _O, _P),
    Action.ROLLOUT_APPROVE: _rule("Approve a release that somebody else built, or take that back", _O, _D, _P),
    Action.GATE_OVERRIDE: _rule("Promote past the gates of an environment, or ask less of releases", _O),
    Action.INCIDENT_READ: _rule("See incidents", _O, _D, _P, _V),
    Action.INCIDENT_OPEN: _rule("Open an incident", _O, _D, _P),
    Action.INCIDENT_CLOSE: _rule("Close an incident", _O, _P),
    Action.LIMITS_WRITE: _rule("Change an app's limits and budgets", _O, _P),
    Action.LOAD_LINE_READ: _rule("Read load lines", _O, _D, _P, _V),
    Action.LOAD_LINE_WRITE: _rule("Record the load line of a trial", _O, _D, _P),
    Action.TRIAL_RUN: _rule("Send a release to sea", _O, _D, _P),
    Action.EXPERIMENT_READ: _rule("Read the verdicts of evaluations", _O, _D, _P, _V),
    Action.EXPERIMENT_WRITE: _rule("Record an evaluation", _O, _D, _P),
    Action.CASE_LIST: _rule(
        "See which case sets there are, their versions and coverage, without any text", _O, _D, _P, _V
    ),
    Action.CASE_READ: _rule("Read and export cases, which may be users' words", _O, _D),
    Action.CASE_REVIEW: _rule("Harvest, review and change cases", _O, _D),
    Action.SUBJECT_ERASE: _rule("Erase a person from traces, conversations and cases", _O),
    Action.SUBJECT_EXPORT: _rule("Read all that is kept of a person, to hand it to them", _O),
    Action.JUDGE_READ: _rule("See judges and whether their word counts", _O, _D, _P, _V),
    Action.JUDGE_LABEL: _rule("Label answers for a judge, which shows what users wrote", _O, _D),
    Action.JUDGE_CALIBRATE: _rule("Ask a judge about labelled answers, and record what came of it", _O, _D),
    Action.MODEL_READ: _rule("See which local models are here", _O, _D, _P, _V),
    Action.MODEL_PULL: _rule("Fetch or remove a local model", _O, _P),
    Action.KEY_READ: _rule("List keys (never the secret part)", _O, _P),
    Action.KEY_CREATE_APP: _rule("Create a key for an app", _O, _P),
    Action.KEY_ASSERT_IDENTITY: _rule("Let an app key say whom it speaks for (subject, groups)", _O),
    Action.KEY_REVOKE: _rule("Revoke an app's key", _O, _P),
    Action.KEY_CREATE_PERSON: _rule("Create a person's key, with a role", _O),
    Action.KEY_CHANGE_PERSON: _rule("Change in which branches a person's key counts", _O),
    Action.KEY_REVOKE_PERSON: _rule("Revoke a person's key", _O),
    Action.AUDIT_READ: _rule("Read, verify and export the audit log", _O, _P),
    Action.SETTINGS_READ: _rule("See the settings (secrets hidden)", _O, _P),
    Action.CONVERSATION_LIST: _rule(
        "See conversations with their stages, acts, costs and waiting times, without any text", _O, _D, _P, _V, _T
    ),
    Action.CONVERSATION_READ: _rule(
        "Read what was said in a conversation, and what is known of the person", _O, _D, _T
    ),
    Action.CONVERSATION_TAKE: _rule("Take a conversation over, reply in it, and give it back", _O, _T),
    Action.DATA_CALL: _rule("Ask models, list routes", Role.APP),
    Action.DATA_FEEDBACK: _rule("Send feedback on an answer", Role.APP),
    Action.DATA_INGEST: _rule("Send traces of the app's own", Role.APP),
    Action.TOOLS_CALL: _rule("Call what the app offers of its connected systems, at /mcp", Role.APP),
}

MATRIX: Mapping[Action, Rule] = MappingProxyType(_DECLARED)
# What is shown branch by branch: all that somebody may do whose key is of some branches, whatever their role.
BRANCH_ACTIONS = frozenset(
    {Action.APP_LIST, Action.CONVERSATION_LIST, Action.CONVERSATION_READ, Action.CONVERSATION_TAKE}
)


class Principal(Struct, frozen=True):
    """Who is calling, with which rights. An app has `app` and `env` and no role; a person has a role, and `app` and
    `grants` where it is a role in some branches of one app only: what the sheet of the branches said of them."""

    key_id: str  # "wl-1a2b3c4d", the shown part of the key
    kind: Literal["app", "person"]
    name: str
    app: str = ""
    env: str = ""
    role: Role | None = None
    assert_identity: bool = False
    branch: str = ""  # of the organisation
    priority: Priority | None = None  # the highest that its requests may have; None: they say
    owned_by: str = ""  # the person, where the key's name is not one
    grants: Mapping[str, Role] | None = None  # branch -> role; None: not by branch

    @property
    def acts_as(self) -> Role | None:
        """The row of the matrix. A person without a role, or with an app's, may do nothing."""
        if self.kind == "app":
            return Role.APP if self.role is None else None
        return self.role if self.role in PERSON_ROLES else None

    def may(self, action: Action) -> bool:
        if self.kind == "person" and (self.branch or self.grants is not None) and action not in BRANCH_ACTIONS:
            return False
        return allowed(self.acts_as, action)

    @property
    def person(self) -> str:
        """Who it is, whichever key is used. Only an owner says so, when the key is made."""
        return person_id(self.owned_by or self.name)


def person_id(text: str) -> str:
    """The same for all spellings that a reader would take for one name."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def allowed(role: Role | None, action: Action) -> bool:
    """Deny by default: no role, an unknown role or an undeclared action is False."""
    rule = MATRIX.get(action)
    return role is not None and rule is not None and role in rule.roles


def who_may(action: Action) -> tuple[Role, ...]:
    """In the order of `Role`."""
    rule = MATRIX.get(action)
    return tuple(role for role in Role if rule is not None and role in rule.roles)


def require(principal: Principal, action: Action) -> None:
    """Return, or raise PermissionDenied that names the role, the action and who may."""
    role = principal.acts_as
    if principal.may(action):
        return
    may = who_may(action)
    if allowed(role, action):
        remedy = "Their key is of some branches, and this is of all. An owner makes others: waterline key create."
    elif may == (Role.APP,):
        remedy = "Use a key of the app: waterline key create --app APP --env ENV."
    elif principal.kind == "app":
        remedy = f"Use a personal key with the role {_either(may)}; an app key is for /v1 only."
    else:
        remedy = f"Ask someone with the role {_either(may)}." if may else "Nobody may do it."
    raise PermissionDenied(
        f'{principal.name} ({principal.key_id}) has the role "{role or "none"}", which may not do "{action}". {remedy}'
    )


def _either(roles: tuple[Role, ...]) -> str:
    return " or ".join(roles)


def matrix_table() -> str:
    """The table of docs/reference/roles.md."""
    lines = [f"| action | what it is | {' | '.join(Role)} |", f"| --- | --- |{' :---: |' * len(Role)}"]
    for action in Action:
        marks = " | ".join("yes" if allowed(role, action) else "-" for role in Role)
        lines.append(f"| `{action}` | {MATRIX[action].what} | {marks} |")
    return "\n".join(lines) + "\n"
