"""The control plane: every view and every act, with the right it needs, in one place.

The API says the results as JSON, the console draws them, the command line asks the API. Each public method names its
Action first (a test walks all of them against the role matrix); each act that changes something writes the audit log
in its own transaction.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, TypeVar

import msgspec

from waterline.access import audit
from waterline.access.keys import KeyRing, StoredKey
from waterline.access.roles import PERSON_ROLES, Action, Principal, Role, allowed, require
from waterline.access.stored import AuditRows
from waterline.control import replaying, responses
from waterline.control.behaviour import BehaviourDesk
from waterline.control.canaries import Canaries
from waterline.control.cases import CaseDesk
from waterline.control.channels import ChannelsView, LineState, channels_view
from waterline.control.conversations import ConversationDesk
from waterline.control.coverage import CoverageDesk
from waterline.control.erasure import ErasureDesk
from waterline.control.experiments import ExperimentDesk
from waterline.control.feedback import FeedbackDesk
from waterline.control.gates import in_force, record_stays
from waterline.control.harvest import Harvest
from waterline.control.incidents import IncidentDesk, canary_rolled_back
from waterline.control.judge_calls import JudgeCalls
from waterline.control.judges import Judges
from waterline.control.money import MoneyDesk
from waterline.control.promotion import Gatekeeper
from waterline.control.providers import AppProviders, app_providers
from waterline.control.review import Review
from waterline.control.shadows import Shadows
from waterline.control.sides import Sides
from waterline.control.subject_export import SubjectExport
from waterline.control.views import (
    AppView,
    DiffView,
    EnvState,
    KeyView,
    LiveShare,
    LoadLineView,
    ReleaseView,
    ReplayView,
    RolloutView,
    RowView,
    StatusView,
    TracePage,
    TraceView,
)
from waterline.core.app_spec import UNLIMITED, AppSpec, Priority, Spending, asks_less, parse_spec, spec_id
from waterline.core.errors import NotReplayable, Refused
from waterline.core.ids import is_trace_id, sha256_hex
from waterline.core.prices import PriceTable
from waterline.core.release import Release, StoredRelease, parse_release, release_id
from waterline.core.rollout import Move
from waterline.evals.near import embedder
from waterline.gateway.deps import App, Deps
from waterline.gateway.ledger import KINDS
from waterline.gateway.route import Served
from waterline.gateway.upstreams import Upstreams
from waterline.providers.base import Provider
from waterline.rollout.diff import diff
from waterline.rollout.live import Live
from waterline.rollout.moves import LONGEST_WHY, Moves, parse_weight
from waterline.store import audit_log, load_lines, releases, rollouts, traces, verdicts
from waterline.store.db import Store, StoreConflict, Tx

T = TypeVar("T")
SEAWORTHY, EXPERIMENTAL = "seaworthy", "experimental"
MAX_MANIFEST_BYTES = 8 << 20


class LoadLineBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a trial hands in: the report's JSON as text, and the page drawn from it."""

    app: str
    release: str
    exit_status: int
    json: str
    html: str


class Plane:
    def __init__(
        self,
        *,
        store: Store,
        keys: KeyRing,
        live: Live,
        moves: Moves,
        deps: Deps,
        upstreams: Upstreams,
        providers: dict[str, Provider],
        master_key: bytes,
        preparing: Callable[[AppSpec], AbstractAsyncContextManager[Callable[[], None]]],
        key_budgets_changed: Callable[[str], Coroutine[Any, Any, None]],
        status_changed: Callable[[str], None],
        drain: Callable[[], Awaitable[None]],
        status_now: Callable[[], Awaitable[StatusView]],
        shadow_ready: Callable[[str, Release], Served],
        late: Callable[[], bool],
        woken: Callable[[str], None] = lambda conversation: None,
    ) -> None:
        self._store = store
        self.keys = keys
        self._live = live
        self._moves = moves
        self._deps = deps
        self._upstreams = upstreams
        self._providers = providers
        self._master_key = master_key
        self._preparing = preparing
        self._key_budgets_changed = key_budgets_changed
        self._under_way: set[asyncio.Task[Any]] = set()
        self._status_changed = status_changed
        self._drain = drain
        self._status_now = status_now
        self.line_state: Callable[[], LineState] = LineState  # set when channels are opened
        self.conversations = ConversationDesk(store, deps.clock_us, woken)
        self.money = MoneyDesk(store, deps.apps, live, deps.clock_us, drain, self._known_app)
        self.experiments = ExperimentDesk(store, deps.clock_us, self._known_app, self._resolved)
        self.cases = CaseDesk(store, deps.clock_us, self._known_app)
        self.behaviour = BehaviourDesk(store, deps.apps, deps.clock_us)
        self.feedback = FeedbackDesk(store, deps.apps, deps.clock_us, drain, self._release_of)
        self.harvest = Harvest(store, deps.clock_us, self._known_app, drain, embedder)
        self.shadows = Shadows(store=store, deps=deps, resolve=self._resolved, ready=shadow_ready, late=late)
        calls = JudgeCalls(deps, shadow_ready, store, self._known_app)
        self.judges = Judges(store, deps.clock_us, self._known_app, calls, drain)
        self.canaries = Canaries(
            store=store, moves=moves, live=live, clock_us=deps.clock_us, purpose=deps.purpose, promote=self.promote,
            resolve=self._resolved, spec_of=lambda app: self._known_app(app).spec,
        )  # fmt: skip
        self.gates = Gatekeeper(store, deps.clock_us, self._resolved)
        self.incidents = IncidentDesk(store, deps.clock_us, self._environments)
        self.canaries.watch.admit = lambda who, app, env: self.gates.admit(who, app, env, None, "", "")
        self.canaries.watch.rolled_back = canary_rolled_back
        sides = Sides(store, embedder)
        self.review = Review(store, deps.clock_us, self.cases, sides)
        self.coverage = CoverageDesk(store, deps.clock_us, self._known_app, drain, embedder)
        self.subject_export = SubjectExport(store, deps.clock_us, deps.digest_key, drain)
        self.erasure = ErasureDesk(
            store, deps.clock_us, deps.digest_key, drain,
            [self.cases.forget, sides.forget, self.coverage.forget, deps.forget],
        )  # fmt: skip

    # --- views -------------------------------------------------------------------------------------------------

    async def status(self, who: Principal) -> StatusView:
        require(who, Action.OVERVIEW_READ)
        return await self._status_now()

    async def apps(self, who: Principal) -> list[AppView]:
        require(who, Action.APP_LIST)
        good = await self._store.read(self._seaworthy)
        return [self._app_view(app, good) for _, app in sorted(self._deps.apps.items())]

    async def overview(
        self, who: Principal, app: str | None, since_us: int, until_us: int, step_us: int
    ) -> traces.Overview:
        """Traffic, cost, latency and errors by time and by release."""
        require(who, Action.OVERVIEW_READ)
        if not step_us > 0 or (until_us - since_us) / step_us > 2000:
            raise Refused("That span has too many steps. Ask for at most 2,000.", 400)
        purpose = self._deps.purpose
        return await self._store.read(lambda tx: traces.overview(tx, app, since_us, until_us, step_us, purpose=purpose))

    async def providers(self, who: Principal, app: str | None) -> list[AppProviders]:
        """How the providers of the live routes are, now and in the last minutes, as this process knows it."""
        require(who, Action.OVERVIEW_READ)
        if app:
            self._known_app(app)
        now_s, clock_us = self._deps.tick_s(), self._deps.clock_us()
        chosen = [known for name, known in sorted(self._deps.apps.items()) if app in (None, name)]
        return [app_providers(known, self._live, self._upstreams, now_s, clock_us) for known in chosen]

    async def channels(self, who: Principal, app: str) -> ChannelsView:
        """How the numbers, templates and mailboxes of an app are."""
        require(who, Action.OVERVIEW_READ)
        spec, now, now_us = self._known_app(app).spec, self.line_state(), self._deps.clock_us()
        theirs = {
            number
            for name, known in self._deps.apps.items()
            if name != app
            for branch in known.spec.branches
            for number in branch.addresses.get("whatsapp", ())
        }
        return await self._store.read(lambda tx: channels_view(tx, spec, theirs.__contains__, now, now_us))

    async def traces(
        self, who: Principal, where: traces.TraceFilter, before: str = "", limit: int = 50, count: bool = False
    ) -> TracePage:
        """A page, newest first; `before` is the cursor that the page before gave."""
        require(who, Action.TRACES_READ)
        if where.text:
            require(who, Action.BODIES_READ)  # a search tells what a text says
        try:
            cursor = traces.Cursor.parse(before) if before else None
        except ValueError as error:
            raise Refused(f"{error}.", 400) from None

        def read(tx: Tx) -> TracePage:
            page = traces.page(tx, where, before=cursor, limit=limit)
            total = traces.count(tx, where) if count else None
            return TracePage([RowView.of(r) for r in page.rows], str(page.next) if page.next else "", total)

        return await self._store.read(read)

    async def trace(self, who: Principal, trace_id: str) -> TraceView:
        require(who, Action.TRACES_READ)
        readable = allowed(who.acts_as, Action.BODIES_READ)
        feedback = allowed(who.acts_as, Action.FEEDBACK_READ)
        await self._stored(trace_id)

        def read(tx: Tx) -> TraceView:
            found = traces.get(tx, trace_id)
            if found is None:
                raise Refused(f"There is no trace {trace_id[:40]}.", 404)
            request = traces.body(tx, trace_id, "request") if readable else None
            answer = traces.body(tx, trace_id, "answer") if readable else None
            said = [v.verdict for v in verdicts.of(tx, "trace", trace_id)] if feedback else []
            return TraceView(*found, said, _text(request), _text(answer), not readable)

        return await self._store.read(read)

    async def releases(self, who: Principal, app: str | None) -> list[ReleaseView]:
        require(who, Action.ROLLOUT_READ)

        def read(tx: Tx) -> list[ReleaseView]:
            good = self._seaworthy(tx)
            return [self._release_view(r, good) for r in releases.list_of(tx, app)]

        return await self._store.read(read)

    async def release(self, who: Principal, wanted: str) -> tuple[ReleaseView, Release, bytes]:
        """By id, or by its first digits."""
        require(who, Action.RELEASE_READ)

        def read(tx: Tx) -> tuple[ReleaseView, Release, bytes]:
            stored = self._resolved(tx, wanted)
            return self._release_view(stored, self._seaworthy(tx)), _parsed(stored), stored.manifest

        return await self._store.read(read)

    async def stored(self, who: Principal, wanted: str) -> tuple[bytes, bytes]:
        """The bytes of a release and of the environment record built beside it."""
        require(who, Action.RELEASE_READ)

        def read(tx: Tx) -> tuple[bytes, bytes]:
            found = self._resolved(tx, wanted)
            record = releases.get_spec(tx, found.spec)
            if record is None:
                raise Refused(f"The environment record of release {found.id[:12]} is not here.", 404)
            return found.manifest, record.bytes

        return await self._store.read(read)

    async def diff(self, who: Principal, a: str, b: str) -> list[DiffView]:
        require(who, Action.RELEASE_READ)
        first, second = await self._store.read(lambda tx: (self._resolved(tx, a), self._resolved(tx, b)))
        return [DiffView(d.path, list(d.lines)) for d in diff(_parsed(first), _parsed(second))]

    async def rollout(self, who: Principal, app: str, env: str) -> RolloutView:
        require(who, Action.ROLLOUT_READ)
        self._known_app(app)

        def read(tx: Tx) -> RolloutView:
            now = rollouts.latest(tx, app, env)
            pinned = {m.session: m.shares[0].release for m in rollouts.pins(tx, app, env) if m.shares}
            return RolloutView(app, env, now.shares if now else (), pinned, rollouts.history(tx, app, env))

        return await self._store.read(read)

    async def key_list(self, who: Principal) -> list[KeyView]:
        require(who, Action.KEY_READ)
        return [_key_view(k) for k in self.keys.list()]

    async def audit_entries(self, who: Principal, limit: int, before: int | None = None) -> list[audit.SealedEntry]:
        """Newest first."""
        require(who, Action.AUDIT_READ)
        rows = await self._store.read(lambda tx: audit_log.newest(tx, limit, before))
        return [AuditRows.read(r) for r in rows]

    async def audit_export(self, who: Principal) -> bytes:
        require(who, Action.AUDIT_READ)

        def read(tx: Tx) -> bytes:
            return b"".join(audit.export_line(AuditRows.read(r)) for r in audit_log.entries(tx))

        return await self._store.read(read)

    async def audit_checkpoint(self, who: Principal) -> str:
        require(who, Action.AUDIT_READ)
        return await self._store.read(
            lambda tx: str(audit.checkpoint([AuditRows.read(r) for r in audit_log.entries(tx)]))
        )

    async def load_line_list(self, who: Principal, app: str | None) -> list[LoadLineView]:
        require(who, Action.LOAD_LINE_READ)

        def read(tx: Tx) -> list[LoadLineView]:
            return [self._load_line_view(tx, h) for h in load_lines.list_of(tx, app)]

        return await self._store.read(read)

    async def load_line(self, who: Principal, line_id: str) -> load_lines.LoadLine:
        require(who, Action.LOAD_LINE_READ)
        found = await self._store.read(lambda tx: load_lines.get(tx, line_id))
        if found is None:
            raise Refused(f"There is no load line {line_id[:40]}.", 404)
        return found

    async def spec(self, who: Principal, app: str) -> AppSpec:
        require(who, Action.SPEC_READ)
        return self._known_app(app).spec

    # --- acts --------------------------------------------------------------------------------------------------

    async def add_release(self, who: Principal, manifest: bytes, spec: bytes, message: str) -> ReleaseView:
        """Store what a folder built. Nothing goes live; the environment record applies when it is promoted."""
        require(who, Action.RELEASE_BUILD)
        if len(manifest) > MAX_MANIFEST_BYTES:
            raise Refused(f"The manifest is larger than {MAX_MANIFEST_BYTES:,} bytes.", 413)
        try:
            release, record = parse_release(manifest), parse_spec(spec)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Refused(f"This is no release: {error}.", 400) from None
        if release.app != record.name:
            raise Refused(f'The release is of app "{release.app}", its environment record of "{record.name}".', 400)
        try:
            App(record, PriceTable.parse('version = "check"', record.prices))
            for name, route in release.routes.items():
                self._upstreams.check(route)
                if missing := [f for f in route.fallbacks if f not in release.routes]:
                    raise ValueError(f'route "{name}" falls back to "{missing[0]}", which is no route')
                if route.prompt and route.prompt not in release.prompts:
                    raise ValueError(f'route "{name}" names the prompt "{route.prompt}", which is not there')
            if problem := release.routing.problem(release.routes):
                raise ValueError(problem)
        except (ValueError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
            raise Refused(f"This release cannot be served: {error}.", 400) from None
        now = self._deps.clock_us()
        made = StoredRelease(
            release_id(manifest), release.app, manifest, now, who.name, message[:500], spec_id(spec), who.owned_by
        )

        def write(tx: Tx) -> bool:
            releases.add_spec(tx, release.app, spec, now, who.name)
            if releases.current_spec(tx, release.app) is None:
                releases.set_current_spec(tx, release.app, made.spec, now, who.name)
            new = releases.add(tx, made)
            if new:
                self._audit(tx, who, Action.RELEASE_BUILD, made.id, {"app": made.app, "message": made.message})
            return new

        new = await self._store.write(write)
        if release.app not in self._deps.apps:
            await self._to_the_end(self._put_into_force(record))
        view = await self._store.read(lambda tx: self._release_view(made, self._seaworthy(tx)))
        return msgspec.structs.replace(view, new=new)

    async def promote(
        self, who: Principal, app: str, wanted: str, env: str, weight: str, why: str, evidence: str = "",
        override: str = "",
    ) -> Move:  # fmt: skip
        """The release's environment record (limits, prices, objectives) becomes the one in force, unless it asks less
        of releases. `override`: why it may go past the gates that it does not pass."""
        require(who, Action.ROLLOUT_PROMOTE)
        if override:
            require(who, Action.GATE_OVERRIDE)
        known = self._known_app(app)
        stored, good = await self._store.read(lambda tx: (self._resolved(tx, wanted, app), self._seaworthy(tx)))
        record = await self._store.read(lambda tx: releases.get_spec(tx, stored.spec))
        brought = parse_spec(record.bytes) if record is not None else known.spec
        stays = record_stays(known.spec, brought)
        spec = known.spec if stays else brought
        if env not in spec.environments:
            names = ", ".join(spec.environments)
            raise Refused(f'App "{app}" has no environment "{env}". It has: {names}.', 404)
        status = SEAWORTHY if stored.id in good else EXPERIMENTAL
        past = override.strip()[:LONGEST_WHY]
        admit = self.gates.admit(who, app, env, None if stays else spec, stays, past, otherwise=status)

        async def _step() -> Move:
            async with self._preparing(spec) as put_into_force:
                return await self._moves.promote(
                    who, app=app, env=env, release=stored.id, weight_bp=parse_weight(weight), why=why,
                    evidence="" if past else evidence,
                    spec="" if stays else stored.spec, apply=put_into_force, admit=admit,
                )  # fmt: skip

        move = await self._to_the_end(_step())
        self._status_changed(app)
        return move

    async def put_into_force(self, who: Principal, record: bytes, why: str) -> AppSpec:
        """An environment record (limits, prices, objectives) on its own: the live release stays as it is. Only an owner
        puts one into force that asks less of releases than the one before."""
        require(who, Action.LIMITS_WRITE)
        try:
            spec = parse_spec(record)
            App(spec, PriceTable.parse('version = "check"', spec.prices))
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, KeyError) as error:
            raise Refused(f"This is no environment record: {error}.", 400) from None
        self._known_app(spec.name)

        def write(tx: Tx) -> None:
            less = "; ".join(asks_less(in_force(tx, spec.name), spec))
            if less:
                require(who, Action.GATE_OVERRIDE)
                if not why.strip():
                    raise Refused(f"This record asks less of releases ({less}). Say why: --reason TEXT.", 400)
            now = self._deps.clock_us()
            made = releases.add_spec(tx, spec.name, record, now, who.name)
            releases.set_current_spec(tx, spec.name, made, now, who.name)
            detail = {"environment_record": made, "why": why[:500]} | ({"asks_less": less} if less else {})
            self._audit(tx, who, Action.LIMITS_WRITE, spec.name, detail)

        await self._to_the_end(self._put_into_force(spec, write))
        self._status_changed(spec.name)
        return spec

    async def rollback(self, who: Principal, app: str, wanted: str, env: str, why: str) -> Move:
        """Limits and budgets stay as they are now: going back must not bring an old budget back."""
        require(who, Action.ROLLOUT_ROLLBACK)
        self._known_app(app)
        to = (await self._store.read(lambda tx: self._resolved(tx, wanted, app))).id if wanted else None
        return await self._moves.rollback(who, app=app, env=env, to=to, why=why)

    async def pin(self, who: Principal, app: str, wanted: str, env: str, session: str, why: str) -> Move:
        """An empty `wanted` unpins."""
        require(who, Action.ROLLOUT_PIN)
        self._known_app(app)
        if not wanted:
            return await self._moves.unpin(who, app=app, env=env, session=session, why=why)
        stored = await self._store.read(lambda tx: self._resolved(tx, wanted, app))
        return await self._moves.pin(who, app=app, env=env, session=session, release=stored.id, why=why)

    async def create_key(
        self, who: Principal, kind: str, name: str, app: str, env: str, role: str, hours: int, assert_identity: bool,
        branch: str = "", budget: Spending = UNLIMITED, priority: str = "", person: str = "",
    ) -> KeyView:  # fmt: skip
        """The key itself is in the answer, this once."""
        require(who, Action.KEY_CREATE_PERSON if kind == "person" else Action.KEY_CREATE_APP)
        expires_us = self._deps.clock_us() + hours * 3_600_000_000 if hours else None
        if kind == "person":
            if role not in PERSON_ROLES:
                raise Refused(f'"{role}" is no role. Roles: {", ".join(PERSON_ROLES)}.', 400)
            if branch and all(branch != b.id for a in self._deps.apps.values() for b in a.spec.branches):
                raise Refused(
                    f'No app has a branch "{branch}". Branches are declared in branches.toml or a sheet.', 404
                )
            made = await self.keys.create_personal_key(
                who, name=name, role=Role(role), expires_us=expires_us, branch=branch, person=person
            )
        else:
            spec = self._known_app(app).spec
            if env not in spec.environments:
                raise Refused(f'App "{app}" has no environment "{env}". It has: {", ".join(spec.environments)}.', 404)
            made = await self.keys.create_app_key(
                who, name=name, app=app, env=env, assert_identity=assert_identity, expires_us=expires_us,
                branch=branch, budget=budget, priority=_priority(priority),
            )  # fmt: skip
            if budget != UNLIMITED:
                await self._to_the_end(self._key_budgets_changed(app))
        return msgspec.structs.replace(_key_view(made.stored), key=made.text)

    async def revoke_key(self, who: Principal, key_id: str, why: str) -> KeyView:
        require(who, Action.KEY_REVOKE)
        return _key_view(await self.keys.revoke(who, key_id, why))

    async def replay(self, who: Principal, trace_id: str, wanted: str) -> ReplayView:
        """Render the trace's upstream requests again; on a reproducible route ask again and compare the answers."""
        require(who, Action.TRACE_REPLAY)
        await self._stored(trace_id)

        def read(tx: Tx) -> tuple[replaying.Sealed, StoredRelease]:
            found = traces.get(tx, trace_id)
            if found is None:
                raise Refused(f"There is no trace {trace_id[:40]}.", 404)
            row, events = found
            request, answer = traces.body(tx, trace_id, "request"), traces.body(tx, trace_id, "answer")
            history, gap = responses.history_for_replay(tx, row, events, request)
            summary, lost = replaying.summary_of(tx, events)
            sealed = replaying.Sealed(row, events, request, answer, history, gap or lost, summary)
            if not wanted and not row.release:
                raise Refused(f"Trace {trace_id} was refused before a release was chosen; nothing to replay.")
            return sealed, self._resolved(tx, wanted or row.release, row.app)

        sealed, stored = await self._store.read(read)
        try:
            return await replaying.replay(
                sealed, stored.id, _parsed(stored), self._providers, self._upstreams, self._deps
            )
        except NotReplayable as reason:
            return ReplayView(trace_id, stored.id, False, str(reason), [], "")

    async def add_load_line(self, who: Principal, said: LoadLineBody) -> LoadLineView:
        """Record a trial's report, signed with this server's key. It makes the release seaworthy if it may sail."""
        require(who, Action.LOAD_LINE_WRITE)
        data = said.json.encode()
        measured = _measured_under(said, self._known_app(said.app).spec)

        def write(tx: Tx) -> LoadLineView:
            stored = self._resolved(tx, said.release, said.app)
            if measured.release not in ("", stored.id):
                raise Refused(f"This load line is of release {measured.release[:12]}, not of {stored.id[:12]}.", 400)
            line = load_lines.LoadLine(
                id=sha256_hex(data),
                app=said.app,
                release=stored.id,
                spec=measured.objectives_id,
                exit_status=said.exit_status,
                at_us=self._deps.clock_us(),
                expires_us=None,
                signature=hmac.digest(self._master_key, stored.id.encode() + data, "sha256").hex(),
                who=who.name,
                json=data,
                html=said.html.encode(),
            )
            load_lines.add(tx, line)
            detail = {"release": stored.id, "exit_status": str(said.exit_status)}
            self._audit(tx, who, Action.LOAD_LINE_WRITE, line.id, detail)
            return self._load_line_view(tx, line)

        try:
            view = await self._store.write(write)
        except StoreConflict:
            raise Refused(f"Load line {sha256_hex(data)[:12]} is here already.", 409) from None
        self._status_changed(said.app)
        return view

    async def _put_into_force(self, spec: AppSpec, write: Callable[[Tx], None] | None = None) -> None:
        async with self._preparing(spec) as put_into_force:
            if write is not None:
                await self._store.write(write)
            put_into_force()

    async def _to_the_end(self, step: Coroutine[Any, Any, T]) -> T:
        """A caller that leaves must not leave a change half made."""
        task = asyncio.create_task(step)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    def _release_of(self, app: str, env: str, session: str) -> str:
        """The release that a session gets now. Raises Refused, UnknownModel."""
        found = self._live.pick(app, env, session, session)
        if found is None:
            raise Refused(f'App "{app}" has no live release in "{env}".', 404)
        return found.id

    # --- parts -------------------------------------------------------------------------------------------------

    def release_status(self, tx: Tx, release: str) -> str:
        return SEAWORTHY if release in self._seaworthy(tx) else EXPERIMENTAL

    def _seaworthy(self, tx: Tx) -> set[str]:
        """Releases with a valid load line: the trial said that they may sail, under the objectives in force."""
        good = set()
        for head in load_lines.list_of(tx):
            if head.exit_status == 0 and self._holds(head):
                good.add(head.release)
        return good

    def _holds(self, head: load_lines.LoadLineHead) -> bool:
        app = self._deps.apps.get(head.app)
        if app is None:
            return False
        return head.spec == sha256_hex(msgspec.json.encode(app.spec.objectives, order="deterministic"))

    def _load_line_view(self, tx: Tx, head: load_lines.LoadLineHead) -> LoadLineView:
        return LoadLineView(
            head.id, head.app, head.release, head.spec, head.exit_status, head.at_us, head.who, self._holds(head)
        )

    def _app_view(self, app: App, good: set[str]) -> AppView:
        spec, budget = app.spec, app.budget
        budget.roll(self._deps.clock_us())
        day, month = (budget.of_app(kind) for kind in KINDS)
        environments = [EnvState(spec.name, env, *self._live.state(spec.name, env)) for env in spec.environments]
        main = environments[0].shares if environments else ()
        return AppView(
            spec.name, spec.purpose, spec.owner, environments,
            SEAWORTHY if main and all(s.release in good for s in main) else EXPERIMENTAL,
            day.spent, day.limit, month.spent, month.limit,
        )  # fmt: skip

    def _release_view(self, stored: StoredRelease, good: set[str]) -> ReleaseView:
        live = [
            LiveShare(env, share.weight_bp)
            for env, shares in self._live.environments(stored.app).items()
            for share in shares
            if share.release == stored.id
        ]
        status = SEAWORTHY if stored.id in good else EXPERIMENTAL
        return ReleaseView(stored.id, stored.app, stored.at_us, stored.who, stored.message, stored.spec, status, live)

    def _resolved(self, tx: Tx, wanted: str, app: str | None = None) -> StoredRelease:
        """A release by its id or the first digits of it."""
        text = wanted.strip().lower()
        ids = releases.find(tx, text, app) if len(text) >= 4 and all(c in "0123456789abcdef" for c in text) else []
        stored = releases.get(tx, ids[0]) if len(ids) == 1 else None
        if stored is not None:
            return stored
        if len(ids) > 1:
            raise Refused(f'"{wanted[:70]}" could be {len(ids)} releases. Give more digits.', 400)
        whose = f' of app "{app}"' if app else ""
        raise Refused(
            f'There is no release "{wanted[:70]}"{whose}. List them: waterline release list {app or "APP"}.', 404
        )

    def _environments(self, app: str) -> tuple[str, ...] | None:
        found = self._deps.apps.get(app)
        return found.spec.environments if found is not None else None

    def _known_app(self, app: str) -> App:
        found = self._deps.apps.get(app)
        if found is None:
            known = ", ".join(sorted(self._deps.apps)) or "none; build one with: waterline release build APP_DIR"
            raise Refused(f'There is no app "{app[:70]}". Known: {known}.', 404)
        return found

    async def _stored(self, trace_id: str) -> None:
        """A trace that was just answered may still be on its way from the spool to the store."""
        if not is_trace_id(trace_id):
            raise Refused(f'"{trace_id[:40]}" is no trace id; it has 24 hex digits.', 404)
        found = await self._store.read(lambda tx: traces.get(tx, trace_id))
        if found is None or found[0].outcome == "open":
            await self._drain()

    def _audit(self, tx: Tx, who: Principal, action: Action, target: str, detail: dict[str, str]) -> None:
        audit.append(
            AuditRows(tx), at_us=self._deps.clock_us(), by=who, action=action.value, target=target, detail=detail
        )


def _parsed(stored: StoredRelease) -> Release:
    try:
        return parse_release(stored.manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"Release {stored.id[:12]} can no longer be read: {error}.") from None


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


def _priority(said: str) -> Priority | Literal[""]:
    match said:
        case "" | "low" | "normal" | "high":
            return said
        case _:
            raise Refused(f'A priority is "low", "normal" or "high", not "{said[:40]}".', 400)


def _text(body: bytes | None) -> str | None:
    return None if body is None else body.decode("utf-8", "replace")


def _key_view(k: StoredKey) -> KeyView:
    return KeyView(
        k.id, k.kind, k.name, k.app, k.env, k.role or "", k.assert_identity, k.created_us, k.created_by,
        k.expires_us, k.revoked_us, branch=k.branch, nano_usd_per_day=k.nano_usd_per_day,
        nano_usd_per_month=k.nano_usd_per_month, priority=k.priority, person=k.person,
    )  # fmt: skip
