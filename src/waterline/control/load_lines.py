"""Load lines: what trials say of releases, and which releases may sail by them."""

import hmac
from collections.abc import Callable, Mapping

import msgspec

from waterline.access.roles import Action, Principal, require
from waterline.access.stored import audited
from waterline.control.named import resolved
from waterline.control.views import LoadLineView
from waterline.core.app_spec import AppSpec
from waterline.core.errors import Refused
from waterline.core.ids import sha256_hex
from waterline.gateway.deps import App
from waterline.store import load_lines
from waterline.store.db import Store, StoreConflict, Tx

SEAWORTHY, EXPERIMENTAL = "seaworthy", "experimental"


class LoadLineBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a trial hands in: the report's JSON as text, and the page drawn from it."""

    app: str
    release: str
    exit_status: int
    json: str
    html: str


class LoadLineDesk:
    def __init__(
        self, store: Store, apps: Mapping[str, App], clock_us: Callable[[], int], signing_key: bytes,
        known: Callable[[str], App], status_changed: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._store = store
        self._apps = apps
        self._clock_us = clock_us
        self._signing_key = signing_key
        self._known = known
        self._status_changed = status_changed

    async def page(self, who: Principal, app: str | None) -> list[LoadLineView]:
        require(who, Action.LOAD_LINE_READ)

        def read(tx: Tx) -> list[LoadLineView]:
            return [self._view(tx, h) for h in load_lines.list_of(tx, app)]

        return await self._store.read(read)

    async def one(self, who: Principal, line_id: str) -> load_lines.LoadLine:
        require(who, Action.LOAD_LINE_READ)
        found = await self._store.read(lambda tx: load_lines.get(tx, line_id))
        if found is None:
            raise Refused(f"There is no load line {line_id[:40]}.", 404)
        return found

    async def add(self, who: Principal, said: LoadLineBody) -> LoadLineView:
        """Record a trial's report, signed with this server's key. It makes the release seaworthy if it may sail."""
        require(who, Action.LOAD_LINE_WRITE)
        data = said.json.encode()
        measured = _measured_under(said, self._known(said.app).spec)

        def write(tx: Tx) -> LoadLineView:
            stored = resolved(tx, said.release, said.app)
            if measured.release not in ("", stored.id):
                raise Refused(f"This load line is of release {measured.release[:12]}, not of {stored.id[:12]}.", 400)
            line = load_lines.LoadLine(
                id=sha256_hex(data),
                app=said.app,
                release=stored.id,
                spec=measured.objectives_id,
                exit_status=said.exit_status,
                at_us=self._clock_us(),
                expires_us=None,
                signature=hmac.digest(self._signing_key, stored.id.encode() + data, "sha256").hex(),
                who=who.name,
                json=data,
                html=said.html.encode(),
            )
            load_lines.add(tx, line)
            detail = {"release": stored.id, "exit_status": str(said.exit_status)}
            audited(tx, who, Action.LOAD_LINE_WRITE, line.id, detail, line.at_us)
            return self._view(tx, line)

        try:
            view = await self._store.write(write)
        except StoreConflict:
            raise Refused(f"Load line {sha256_hex(data)[:12]} is here already.", 409) from None
        self._status_changed(said.app)
        return view

    def status(self, tx: Tx, release: str) -> str:
        return SEAWORTHY if release in self.seaworthy(tx) else EXPERIMENTAL

    def seaworthy(self, tx: Tx) -> set[str]:
        """Releases with a valid load line: the trial said that they may sail, under the objectives in force."""
        good = set()
        for head in load_lines.list_of(tx):
            if head.exit_status == 0 and self._holds(head):
                good.add(head.release)
        return good

    def _holds(self, head: load_lines.LoadLineHead) -> bool:
        app = self._apps.get(head.app)
        if app is None:
            return False
        return head.spec == sha256_hex(msgspec.json.encode(app.spec.objectives, order="deterministic"))

    def _view(self, tx: Tx, head: load_lines.LoadLineHead) -> LoadLineView:
        return LoadLineView(
            head.id, head.app, head.release, head.spec, head.exit_status, head.at_us, head.who, self._holds(head)
        )


class _Measured(msgspec.Struct):
    """What a load line says of itself. Both "": it was written by something else than `waterline trial`."""

    release: str = ""
    objectives_id: str = ""
    exit_status: int | None = None


def _measured_under(said: LoadLineBody, spec: AppSpec) -> _Measured:
    """A load line holds for the objectives that it was measured under, whichever are in force when it is recorded."""
    try:
        found = msgspec.json.decode(said.json.encode(), type=_Measured)
    except msgspec.DecodeError as error:
        raise Refused(f"This is no load line: {error}.", 400) from None
    if found.exit_status not in (None, said.exit_status):
        raise Refused(f"It ended with {found.exit_status}, not with {said.exit_status}.", 400)
    if not found.objectives_id:
        found.objectives_id = sha256_hex(msgspec.json.encode(spec.objectives, order="deterministic"))
    return found
