"""The people of the branches: the sheet declares who they are, an owner gives them their keys and takes them back.

A sheet comes into force with a release or a record, which are not an owner's to move. So it gives nobody anything: what
somebody may do in a branch is what an owner applied and the sheet in force still says.
"""

from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct

from waterline.access.keys import KeyRing
from waterline.access.roles import Action, Principal, Role, require
from waterline.control.branch_roles import declared
from waterline.core.errors import Refused
from waterline.core.ids import sha256_hex
from waterline.gateway.deps import App

State = Literal["new", "changed", "same", "gone"]
ORDER: tuple[State, ...] = ("new", "changed", "gone", "same")


class PersonLine(Struct, frozen=True):
    """`branches`: what the sheet in force says; `now`: what their key opens. Branch -> role."""

    email: str
    name: str
    state: State  # what applying the sheet does
    branches: dict[str, Role]
    now: dict[str, Role]
    key_id: str = ""
    key: str = ""  # only in the answer that makes it


class PeopleView(Struct, frozen=True):
    app: str
    plan: str  # names all that is below: what is applied is what was seen
    waiting: int  # lines that applying would change
    people: list[PersonLine]


class PeopleDesk:
    def __init__(self, ring: KeyRing, known: Callable[[str], App]) -> None:
        self._ring = ring
        self._known = known

    async def people(self, who: Principal, app: str) -> PeopleView:
        require(who, Action.KEY_READ)
        return self._view(app)

    async def apply(self, who: Principal, app: str, plan: str) -> PeopleView:
        """Everybody in the sheet has one key that opens what it says, nobody else has one. The keys that were made are
        in the answer, this once. 409 where the sheet or a key is not as in `plan` any more."""
        require(who, Action.KEY_CREATE_PERSON)
        seen = self._view(app)

        def as_seen() -> dict[str, dict[str, Role]]:
            if not plan == seen.plan == self._view(app).plan:
                raise Refused(f'What the sheet of "{app}" would change is not what you saw. Look again, then apply it.')
            return declared(self._known(app).spec)

        made = await self._ring.settle_sheet(who, app, as_seen)
        keys = {new.stored.name: new for new in made}
        lines = [
            msgspec.structs.replace(line, key_id=new.stored.id, key=new.text)
            if (new := keys.get(line.email)) is not None
            else line
            for line in seen.people
        ]
        return msgspec.structs.replace(seen, people=lines)

    def _view(self, app: str) -> PeopleView:
        spec, there = self._known(app).spec, self._ring.of_sheet(app)
        names = {p.email: p.name for branch in spec.branches for p in reversed(branch.people) if p.name}
        said, lines = declared(spec), list[PersonLine]()
        for email in said.keys() | there.keys():
            key, wanted = there.get(email), said.get(email, {})
            now = dict(key.grants or {}) if key is not None else {}
            state: State = "gone" if not wanted else "new" if key is None else "same" if now == wanted else "changed"
            lines.append(PersonLine(email, names.get(email, ""), state, wanted, now, key.id if key is not None else ""))
        lines.sort(key=lambda line: (ORDER.index(line.state), line.email))
        plan = sha256_hex(msgspec.json.encode([app, lines], order="sorted"))[:16]
        return PeopleView(app, plan, sum(line.state != "same" for line in lines), lines)
