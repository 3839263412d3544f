"""In which branches somebody may do what: what an owner gave them, and the sheet in force still says."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from waterline.access.roles import BRANCH_ROLES, Action, Principal, Role, allowed
from waterline.core.app_spec import AppSpec
from waterline.core.errors import PermissionDenied
from waterline.gateway.deps import App
from waterline.store.conversations import Conversation


def declared(spec: AppSpec) -> dict[str, dict[str, Role]]:
    """By e-mail. A role that no sheet can give is passed over: a record need not come from one."""
    found: dict[str, dict[str, Role]] = {}
    for branch in spec.branches:
        for person in branch.people:
            if person.role in BRANCH_ROLES:
                found.setdefault(person.email, {}).setdefault(branch.id, Role(person.role))
    return found


def branches_of(who: Principal, apps: Mapping[str, App]) -> dict[str, Role] | None:
    """In which branches of `who.app` they may do what, now. None: their key is not by branch."""
    if who.grants is None:
        return None
    app = apps.get(who.app)
    said = declared(app.spec).get(who.name, {}) if app is not None else {}
    return {b: min(role, said[b], key=BRANCH_ROLES[::-1].index) for b, role in who.grants.items() if b in said}


class Placed(Protocol):
    @property
    def app(self) -> str: ...

    @property
    def branch(self) -> str: ...


class Sees(Struct, frozen=True):
    """Whose conversations somebody sees, and what of them. `roles`: by branch of their app; None: in all."""

    who: Principal
    roles: dict[str, Role] | None

    @property
    def mine(self) -> str | None:
        """As in conversations.Filter."""
        return None if self.roles is None else " ".join(["", *self.roles, ""])

    def asked(self, app: str | None, branch: str | None) -> tuple[str | None, str | None]:
        """App and branch of what they ask for."""
        return (self.who.app if self.roles is not None else app), self.who.branch or branch or None

    def has(self, at: Placed) -> bool:
        if self.roles is not None:
            return at.app == self.who.app and at.branch in self.roles
        return not self.who.branch or at.branch == self.who.branch

    def reads(self, at: Placed) -> bool:
        return self._as(at, Action.CONVERSATION_READ)

    def answers(self, at: Conversation) -> Conversation:
        """Raises PermissionDenied."""
        if not self._as(at, Action.CONVERSATION_TAKE):
            raise PermissionDenied(
                f'{self.who.name} is "{Role.VIEWER}" in the branch "{at.branch}", who does not answer there. '
                f'"{Role.DESK}" does: it is a column of the sheet of the branches.'
            )
        return at

    def _as(self, at: Placed, action: Action) -> bool:
        return allowed(self.who.acts_as if self.roles is None else self.roles.get(at.branch), action)
